"""File drops: Parquet, CSV, JSON Lines and Excel.

Every row keeps its position (from 1), so that a refused one can be found in its file.
"""

import contextlib
import dataclasses
import datetime as dt
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import duckdb

from customer360.config import Source, Table
from customer360.exceptions import SourceError
from customer360.settings import Settings
from customer360.sources.excel import Sheet, open_sheet
from customer360.sources.json_rows import json_relation
from customer360.sources.lines import UnreadableError
from customer360.sources.relation import Reading, Relation, TakenFile
from customer360.sources.spool import REJECTS, Spool, labelled, rejects
from customer360.sources.storage import Entry, open_folder
from customer360.sources.text import OTHER_DELIMITERS, Csv, open_csv
from customer360.warehouse import first_line, literal, quote


class FileSession:
    """The files of one source."""

    connection: duckdb.DuckDBPyConnection | None = None

    def __init__(self, settings: Settings, source: Source) -> None:
        assert source.path
        self.source = source
        self.folder = open_folder(settings, source.path, source.connection)

    def columns(self, table_name: str, table: Table) -> dict[str, str] | None:  # noqa: ARG002, the protocol's
        """A file says its columns when it is opened."""
        return None

    def relation(self, connection: duckdb.DuckDBPyConnection, reading: Reading) -> Relation:
        """The rows of the table's files.

        Raises:
            SourceError: no such file, or it cannot be read as the declared format.
        """
        name, table = reading.name, reading.table
        found = self._found(name, table)
        if not found and not reading.taken and not table.may_be_empty:
            raise SourceError(
                f"{name}: no file at {self.folder}/{table.file}. Put it there, or correct "
                "path/file in sources.yml."
            )
        taken: list[TakenFile] = []
        try:
            if table.each_file == "once":
                found, taken = self._new(found, reading)
            files = [self.folder.local(entry, reading.workspace) for entry in found]
        except SourceError as error:
            raise SourceError(f"{name}: {error}") from None
        names = [entry.name for entry in found]
        relation = self._read(connection, reading, files, names) if found else _nothing(table)
        for entry in found:
            if self.folder.entry(entry.name) != entry:
                raise SourceError(
                    f"{name}: {entry.name} was changed while it was read. Let the source write "
                    "under another name (.part) and rename when it is whole; then ingest again."
                )
        if table.each_file == "once":
            taken = _counted(connection, name, relation, taken)
            return dataclasses.replace(relation, is_windowed=True, files=taken)
        return relation

    def _found(self, name: str, table: Table) -> list[Entry]:
        """Files that fit the pattern and are whole, by name."""
        assert table.file
        if ".." in PurePosixPath(table.file).parts or table.file.startswith("/"):
            raise SourceError(f"{name}: `file` {table.file} leads out of the source's folder")
        try:
            there = list(self.folder.entries(table.file))
        except SourceError as error:
            raise SourceError(f"{name}: {error}") from None
        return [
            entry
            for entry in there
            if not entry.name.endswith(".part")
            and not any(part.startswith((".", "~$")) for part in PurePosixPath(entry.name).parts)
        ]

    def _new(self, found: list[Entry], reading: Reading) -> tuple[list[Entry], list[TakenFile]]:
        """Files whose content no batch of an earlier day has taken, each content once."""
        known = {(file.name, file.size, file.modified_ns): file.sha256 for file in reading.taken}
        seen = set(known.values())
        new, taken = [], []
        for entry in found:
            day = _day_in(PurePosixPath(entry.name).name, reading.table.day_in_name)
            if day is not None and day > reading.as_of:
                continue
            # Without a stamp nothing but the content can tell.
            if entry.stamp and (entry.name, entry.size, entry.stamp) in known:
                continue
            with self.folder.local(entry, reading.workspace).open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            if sha256 not in seen:
                seen.add(sha256)
                new.append(entry)
                taken.append(TakenFile(entry.name, entry.size, entry.stamp, sha256, 0))
        return new, taken

    def _read(
        self,
        connection: duckdb.DuckDBPyConnection,
        reading: Reading,
        files: list[Path],
        names: list[str],
    ) -> Relation:
        if self.source.format in ("csv", "excel"):
            return _open_tables(reading, files, names)
        if self.source.format == "json_lines":
            return json_relation(
                connection,
                reading.name,
                reading.table,
                files,
                workspace=reading.workspace,
                file_names=names,
            )
        return _open_parquet(connection, reading.name, files, names)

    def close(self) -> None:
        """Nothing is held open."""


def open_session(settings: Settings, name: str, source: Source) -> FileSession:  # noqa: ARG001, every connector's
    """Files need no session; the folder is found."""
    return FileSession(settings, source)


def _nothing(table: Table) -> Relation:
    """No row of the declared columns."""
    cells = ", ".join(f"null::varchar as {quote(column)}" for column in table.columns)
    return Relation(
        "select * from "
        f"(select null::varchar as _file, 0::bigint as _position, {cells} where false)",
        dict.fromkeys(table.columns, "VARCHAR"),
    )


def _counted(
    connection: duckdb.DuckDBPyConnection, name: str, relation: Relation, taken: list[TakenFile]
) -> list[TakenFile]:
    """The files with their rows and rejects."""
    if not taken:
        return []
    entries = f"select _file from ({relation.sql})"
    if relation.rejects_sql:
        entries += f" union all select _file from ({relation.rejects_sql})"
    try:
        found = connection.execute(f"select _file, count(*) from ({entries}) group by _file")
        rows = dict(found.fetchall())
    except duckdb.Error as error:
        raise SourceError(f"{name}: reading stopped: {first_line(error)}") from None
    return [dataclasses.replace(file, rows=rows.get(file.name, 0)) for file in taken]


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


def _open_parquet(
    connection: duckdb.DuckDBPyConnection, name: str, files: list[Path], names: list[str]
) -> Relation:
    odd = [file_name for file_name in names if any(sign in file_name for sign in "*?[")]
    if odd:
        raise SourceError(f"{name}: {odd[0]} holds a wildcard in its name. Rename the file.")
    listed = ", ".join(literal(file) for file in files)
    scan = f"read_parquet([{listed}], file_row_number=true, filename='_path', union_by_name=true)"
    try:
        described = connection.execute(f"describe select * from {scan}").fetchall()
    except duckdb.Error as error:
        of = names[0] if len(names) == 1 else f"one of {len(names)} files"
        raise SourceError(
            f"{name}: {of} cannot be read as Parquet: {first_line(error)}. "
            "Ask the source for the file again."
        ) from None
    own = ("file_row_number", "_path")
    columns = {row[0]: row[1] for row in described if row[0] not in own}
    cells = ", ".join(quote(column) for column in columns)
    labels = ", ".join(
        f"{literal(file)}: {literal(file_name)}"
        for file, file_name in zip(files, names, strict=True)
    )
    return Relation(
        f"select map {{{labels}}}[_path] as _file, file_row_number + 1 as _position, {cells} "
        f"from {scan}",
        columns,
    )


def _open_tables(reading: Reading, files: list[Path], names: list[str]) -> Relation:
    """Files that begin with the names of their columns."""
    name, table = reading.name, reading.table
    rows, refused = Spool(reading.workspace / "rows"), Spool(reading.workspace / "rejects")
    refused.add(REJECTS.empty_table())
    headers = {}
    for file, file_name in zip(files, names, strict=True):
        try:
            with _opened(reading, file) as opened:
                headers[file_name] = opened.header
                for part in opened.parts:
                    rows.add(labelled(file_name, part.rows))
                    if part.rejects:
                        refused.add(rejects(file_name, part.rejects))
        except UnreadableError as error:
            raise SourceError(f"{name}: {file_name}: {error}") from None
    columns = _columns_of(table, headers)
    if not columns:
        raise SourceError(f"{name}: {names[-1]} has none of the declared columns")
    cells = ", ".join(quote(column) for column in columns)
    return Relation(
        f"select _file, _position, {cells} from {rows.relation()}",
        dict.fromkeys(columns, "VARCHAR"),
        f"from {refused.relation()}",
    )


@contextlib.contextmanager
def _opened(reading: Reading, file: Path) -> Iterator[Csv | Sheet]:
    table = reading.table
    if reading.source.format == "excel":
        wanted = {name for name, column in table.columns.items() if column.required}
        with open_sheet(file, sheet=table.sheet, wanted=wanted) as sheet:
            yield sheet
    else:
        opened = open_csv(file, delimiter=table.delimiter, encoding=table.encoding)
        _check_delimiter(opened.header, table)
        yield opened


def _check_delimiter(header: list[str], table: Table) -> None:
    found = [sign for sign in OTHER_DELIMITERS if sign in header[0] and sign != table.delimiter]
    if len(header) == 1 and len(table.columns) > 1 and found:
        raise UnreadableError(
            f"has one column where {len(table.columns)} are declared. Correct `delimiter` of the "
            f"table in sources.yml; is it {found[0]!r}?"
        )


def _columns_of(table: Table, headers: dict[str, list[str]]) -> list[str]:
    """The columns that files have together.

    A declared one is among them if the last file has it, and every file if it is required: an
    older file may lack what was added since.
    """
    last = list(headers.values())[-1]
    everywhere = set.intersection(*(set(header) for header in headers.values()))
    spelled = {column.casefold(): column for column in table.columns}
    found: dict[str, str] = {}
    for header in headers.values():
        for column in header:
            # To SQL names that differ in case are one.
            folded = column.casefold()
            found.setdefault(folded, column)
            if spelled.get(folded) == column:
                found[folded] = column
    return [
        column
        for column in found.values()
        if column not in table.columns
        or column in everywhere
        or (column in last and not table.columns[column].required)
    ]
