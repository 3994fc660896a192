"""File drops: Parquet and CSV, local.

Every row keeps its position (from 1), so that a refused one can be found in its file.
"""

import importlib.util
import os
from pathlib import Path

import duckdb

from customer360.config import Source, Table
from customer360.exceptions import SourceError
from customer360.settings import PROJECT, Settings
from customer360.sources.relation import Reading, Relation
from customer360.sources.text import CsvError, read_csv
from customer360.warehouse import first_line, literal, quote


def resolve_path(declared: str) -> Path:
    """The folder or file that ``path`` of a source means.

    ``python:<package>/<folder>`` is inside an installed package; ``$NAME`` is taken from the
    environment; anything relative begins at the project folder.
    """
    if declared.startswith("python:"):
        package, _, rest = declared.removeprefix("python:").partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise SourceError(f"path {declared}: the Python package '{package}' is not installed")
        return Path(spec.origin).parent / rest
    expanded = os.path.expandvars(declared)
    if "$" in expanded:
        raise SourceError(f"path {declared}: the environment variable it names is not set")
    return PROJECT / expanded


class FileSession:
    """The files of one source."""

    connection: duckdb.DuckDBPyConnection | None = None

    def __init__(self, source: Source) -> None:
        assert source.path
        self.source = source
        self.folder = resolve_path(source.path)

    def columns(self, table_name: str, table: Table) -> dict[str, str] | None:  # noqa: ARG002, the protocol's
        """A file says its columns when it is opened."""
        return None

    def relation(self, connection: duckdb.DuckDBPyConnection, reading: Reading) -> Relation:
        """The rows of the table's files.

        Raises:
            SourceError: no such file, or it cannot be read as the declared format.
        """
        name, table = reading.name, reading.table
        assert table.file
        pattern = self.folder / table.file
        has_wildcard = any(character in table.file for character in "*?[")
        files = sorted(self.folder.glob(table.file)) if has_wildcard else [pattern]
        missing = [file for file in files if not file.is_file()]
        if missing or not files:
            raise SourceError(
                f"{name}: no file at {pattern}. Put it there, or correct path/file in sources.yml."
            )
        if self.source.format == "csv":
            return _open_csv(connection, name, table, files)
        return _open_parquet(connection, name, files)

    def close(self) -> None:
        """Nothing is held open."""


def open_session(settings: Settings, name: str, source: Source) -> FileSession:  # noqa: ARG001, every connector's
    """Files need no session; the folder is found."""
    return FileSession(source)


def _list(files: list[Path]) -> str:
    return "[" + ", ".join(literal(file) for file in files) + "]"


def _open_parquet(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    files: list[Path],
) -> Relation:
    scan = f"read_parquet({_list(files)}, file_row_number=true)"
    try:
        described = connection.execute(f"describe select * from {scan}").fetchall()
    except duckdb.Error as error:
        raise SourceError(
            f"{name}: {_names(files)} cannot be read as Parquet: {first_line(error)}. "
            "Ask the source for the file again."
        ) from None
    columns = {row[0]: row[1] for row in described if row[0] != "file_row_number"}
    names = ", ".join(quote(column) for column in columns)
    return Relation(f"select file_row_number + 1 as _position, {names} from {scan}", columns)


def _open_csv(
    connection: duckdb.DuckDBPyConnection, name: str, table: Table, files: list[Path]
) -> Relation:
    header: list[str] | None = None
    connection.execute("drop table if exists csv_rows; drop table if exists csv_rejects")
    for file in files:
        try:
            parsed = read_csv(file, delimiter=table.delimiter, encoding=table.encoding)
        except CsvError as error:
            raise SourceError(f"{name}: {file.name}: {error}") from None
        if header is not None and parsed.header != header:
            raise SourceError(f"{name}: the columns of {file.name} differ from {files[0].name}")
        header = parsed.header
        for target, content in (("csv_rows", parsed.rows), ("csv_rejects", parsed.rejects)):
            connection.register("csv_content", content)
            connection.execute(f"create table if not exists {target} as from csv_content limit 0")
            connection.execute(f"insert into {target} from csv_content")
            connection.unregister("csv_content")
    assert header is not None
    names = ", ".join(quote(column) for column in header)
    return Relation(
        f"select _position, {names} from csv_rows",
        dict.fromkeys(header, "VARCHAR"),
        "select _position, _reason, _line from csv_rejects",
    )


def _names(files: list[Path]) -> str:
    return files[0].name if len(files) == 1 else f"one of {len(files)} files"
