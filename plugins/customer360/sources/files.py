"""File drops: Parquet, CSV and JSON Lines, local.

Every row keeps its position (from 1), so that a refused one can be found in its file.
"""

import dataclasses
import datetime as dt
import hashlib
import importlib.util
import os
import re
from pathlib import Path

import duckdb

from customer360.config import Source, Table
from customer360.exceptions import SourceError
from customer360.settings import PROJECT, Settings
from customer360.sources.json_rows import json_relation
from customer360.sources.relation import Reading, Relation, TakenFile
from customer360.sources.text import CsvError, read_csv
from customer360.warehouse import first_line, literal, quote


def resolve_path(declared: str, data_dir: Path) -> Path:
    """The folder or file that ``path`` of a source means.

    ``python:<package>/<folder>`` is inside an installed package; ``data:<folder>`` is below the
    company's data folder; ``$NAME`` is taken from the environment; anything relative begins at the
    project folder.
    """
    if declared.startswith("data:"):
        return data_dir / declared.removeprefix("data:")
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

    def __init__(self, settings: Settings, source: Source) -> None:
        assert source.path
        self.source = source
        self.folder = resolve_path(source.path, settings.data_dir)

    def columns(self, table_name: str, table: Table) -> dict[str, str] | None:  # noqa: ARG002, the protocol's
        """A file says its columns when it is opened."""
        return None

    def relation(self, connection: duckdb.DuckDBPyConnection, reading: Reading) -> Relation:
        """The rows of the table's files.

        Raises:
            SourceError: no such file, or it cannot be read as the declared format.
        """
        name, table = reading.name, reading.table
        files = self._found(name, table)
        if not files and not reading.taken:
            raise SourceError(
                f"{name}: no file at {self.folder / str(table.file)}. Put it there, or correct "
                "path/file in sources.yml."
            )
        before = {file: _stamp(file) for file in files}
        taken: list[TakenFile] = []
        if table.each_file == "once":
            taken = self._new(files, reading)
            files = [self.folder / file.name for file in taken]
        if files:
            relation = self._read(connection, reading, files)
        else:
            cells = ", ".join(f"null::varchar as {quote(column)}" for column in table.columns)
            relation = Relation(
                f"select 0::bigint as _position, {cells} where false",
                dict.fromkeys(table.columns, "VARCHAR"),
            )
        for file in files:
            if not file.is_file() or _stamp(file) != before[file]:
                raise SourceError(
                    f"{name}: {file.name} was changed while it was read. Let the source write "
                    "under another name (.part) and rename when it is whole; then ingest again."
                )
        if table.each_file == "once":
            return dataclasses.replace(relation, is_windowed=True, files=taken)
        return relation

    def _found(self, name: str, table: Table) -> list[Path]:
        """Files that fit the pattern and are whole, by name."""
        assert table.file
        root = self.folder.resolve()
        found = []
        for file in sorted(self.folder.glob(table.file)):
            below = file.relative_to(self.folder)
            if any(part.startswith((".", "~$")) for part in below.parts):
                continue
            if file.suffix == ".part" or not file.is_file():
                continue
            if not file.resolve().is_relative_to(root):
                raise SourceError(f"{name}: {below} leads out of the source's folder")
            found.append(file)
        return found

    def _new(self, files: list[Path], reading: Reading) -> list[TakenFile]:
        """Files whose content no batch of an earlier day has taken, each content once."""
        known = {(file.name, file.size, file.modified_ns): file.sha256 for file in reading.taken}
        seen = set(known.values())
        new = []
        for file in files:
            day = _day_in(file.name, reading.table.day_in_name)
            if day is not None and day > reading.as_of:
                continue
            stat = file.stat()
            below = file.relative_to(self.folder).as_posix()
            if (below, stat.st_size, stat.st_mtime_ns) in known:
                continue
            with file.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            if sha256 not in seen:
                seen.add(sha256)
                new.append(TakenFile(below, stat.st_size, stat.st_mtime_ns, sha256, 0))
        return new

    def _read(
        self, connection: duckdb.DuckDBPyConnection, reading: Reading, files: list[Path]
    ) -> Relation:
        name, table = reading.name, reading.table
        if self.source.format == "csv":
            return _open_csv(connection, name, table, files)
        if self.source.format == "json_lines":
            return json_relation(connection, name, table, files, workspace=reading.workspace)
        return _open_parquet(connection, name, files)

    def close(self) -> None:
        """Nothing is held open."""


def open_session(settings: Settings, name: str, source: Source) -> FileSession:  # noqa: ARG001, every connector's
    """Files need no session; the folder is found."""
    return FileSession(settings, source)


def _stamp(file: Path) -> tuple[int, int, int]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


DAY_PARTS = {"%Y": r"\d{4}", "%m": r"\d\d", "%d": r"\d\d", "%y": r"\d\d", "%j": r"\d{3}"}


def _day_in(file_name: str, form: str | None) -> dt.date | None:
    """The day that a file's name holds, or None where it holds none."""
    if form is None:
        return None
    pattern = re.escape(form)
    for part, digits in DAY_PARTS.items():
        pattern = pattern.replace(re.escape(part), digits)
    for match in re.finditer(rf"(?<!\d){pattern}(?!\d)", file_name):
        try:
            return dt.datetime.strptime(match[0], form).date()  # noqa: DTZ007, a day has no zone
        except ValueError:
            continue
    return None


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
