"""JSON records, one a line or in a list, as rows of a declared table.

What belongs here: telling records from what is not one, and taking declared columns out of nested
values. What does not: fetching the files or pages that hold the lines.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from customer360.config import Table
from customer360.exceptions import Customer360Error, SourceError
from customer360.sources.lines import BLOCK_BYTES, UnreadableError, chunks, cut
from customer360.sources.relation import Relation
from customer360.sources.spool import REJECTS, Spool, labelled
from customer360.warehouse import first_line, is_disk_full, literal, quote

MAX_ADDED_COLUMNS = 1_000
MAX_DOCUMENT_BYTES = 64_000_000
UTF8_BOM = b"\xef\xbb\xbf"

RECORDS = pa.schema([field for field in REJECTS if field.name != "_reason"])

PATH_STEP = re.compile(r'"([^"]*)"|([^."]+)')

REASON = r"""
case
    when not json_valid(_line) then 'is not JSON'
    when json_type(_line) <> 'OBJECT' then 'is not a JSON object'
    when contains(_line, '\u0000') and regexp_matches(_line, '(^|[^\\])(\\\\)*\\u0000')
        then 'holds a NUL character'
end
"""


def steps(path: str) -> list[str]:
    """The keys that lead to a value: ``properties.$city``, or ``"a.b".c`` where a key holds a dot.

    Raises:
        ValueError: it is not such a path.
    """
    found, end = [], 0
    while True:
        match = PATH_STEP.match(path, end)
        if match is None:
            raise ValueError(f"'{path}' is not a path such as properties.$city")
        found.append(match[1] if match[1] is not None else match[2])
        end = match.end()
        if end == len(path):
            return found
        if path[end] != ".":
            raise ValueError(f"'{path}' is not a path such as properties.$city")
        end += 1


def json_relation(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    table: Table,
    files: Sequence[Path],
    *,
    workspace: Path,
    file_names: Sequence[str] | None = None,
) -> Relation:
    """The records of ``files`` as text columns.

    Declared columns are taken out by ``Column.path`` as text (nested values as JSON text; null
    where a key is absent); undeclared top-level keys follow as added columns. Blank lines are not
    records; everything else that is not one JSON object is a reject with its line.

    A ``.json`` file that begins with ``[`` is one document, and so is each file of a table that
    declares ``records``: its elements are the records, and their number is the position.

    Args:
        connection: reads the relation afterwards.
        name: ``source.table``, for messages.
        table: the contract.
        files: UTF-8, one object a line or one document, perhaps .gz.
        workspace: a folder that stays until the relation was read; ``records`` and ``rejects`` in
            it are replaced.
        file_names: what ``_file`` says, in the order of ``files``; their names if not given.

    Raises:
        SourceError: a file cannot be unpacked, is no whole document, or its keys cannot be columns.
    """
    names = list(file_names) if file_names is not None else [file.name for file in files]
    records = _Records(connection, workspace)
    for file, file_name in zip(files, names, strict=True):
        try:
            is_document = table.records is not None or _begins_a_list(file)
            found = (
                _elements(connection, file, table.records or "") if is_document else _lines(file)
            )
            for lines in found:
                records.add(labelled(file_name, lines))
        except UnreadableError as error:
            raise SourceError(f"{name}: {file_name}: {error}") from None
    try:
        records.classify()
    except duckdb.Error as error:
        if is_disk_full(error):
            raise
        raise SourceError(f"{name}: its JSON cannot be read: {first_line(error)}") from None
    pointers = {
        column: _pointer(steps(declared.path) if declared.path else [column])
        for column, declared in table.columns.items()
    }
    pointers |= _added(name, table, records.keys)
    values = ", ".join(literal(pointer) for pointer in pointers.values())
    cells = ", ".join(
        f"_values[{index}] as {quote(column)}" for index, column in enumerate(pointers, start=1)
    )
    sql = (
        f"select _file, _position, {cells} from (select _file, _position, "
        f"json_extract_string(_line, [{values}]) as _values from {records.good.relation()})"
    )
    return Relation(sql, dict.fromkeys(pointers, "VARCHAR"), f"from {records.rejects.relation()}")


class _Records:
    """Lines told apart: those that are records, with their keys, and those that are not."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, workspace: Path) -> None:
        self.connection = connection
        self.keys: dict[str, None] = {}
        self.good = Spool(workspace / "records")
        self.rejects = Spool(workspace / "rejects")
        self.rejects.add(REJECTS.empty_table())
        self.good.add(RECORDS.empty_table())
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0

    def add(self, lines: pa.Table) -> None:
        """Take lines in; they are told apart when there are enough of them."""
        self._pending.append(lines)
        self._pending_bytes += lines.nbytes
        if self._pending_bytes > BLOCK_BYTES:
            self.classify()

    def classify(self) -> None:
        """Tell apart what has been taken in."""
        if not self._pending:
            return
        lines = pa.concat_tables(self._pending)
        self._pending, self._pending_bytes = [], 0
        self.connection.register("json_lines", lines)
        judged = (
            "select *, case when _reason is null then json_keys(_line) end as _keys "
            f"from (select * replace (coalesce(_reason, {REASON}) as _reason) from json_lines)"
        )
        is_clean, doubled = True, []
        for (keys,) in self.connection.execute(
            f"select distinct _keys from ({judged}) order by all"
        ).fetchall():
            if keys is None:
                is_clean = False
            elif len(set(keys)) < len(keys):
                doubled.append(keys)
            else:
                self.keys |= dict.fromkeys(keys)
        if is_clean and not doubled:
            self.good.add(lines.select(RECORDS.names).cast(RECORDS))
        else:
            self._set_aside(judged, doubled, lines.num_rows)
        self.connection.unregister("json_lines")

    def _set_aside(self, judged: str, doubled: list[list[str]], count: int) -> None:
        """Keep the records of lines among which some are none."""
        self.connection.execute(
            "create or replace temp table json_block as select * replace (case when "
            "list_contains($doubled::varchar[][], _keys) then 'holds a key twice' "
            f"else _reason end as _reason) from ({judged})",
            {"doubled": doubled},
        )
        good = self.connection.execute(
            "select _file, _position, _line from json_block where _reason is null"
        ).to_arrow_table()
        bad = self.connection.execute(
            "select _file, _position, _reason, _line from json_block where _reason is not null"
        ).to_arrow_table()
        self.connection.execute("drop table json_block")
        if good.num_rows + bad.num_rows != count:
            raise Customer360Error("lines of JSON were lost. This is a fault of customer360.")
        self.good.add(good.cast(RECORDS))
        self.rejects.add(bad.cast(REJECTS))


def _begins_a_list(file: Path) -> bool:
    if ".json" not in file.suffixes:
        return False
    start = next(chunks(file), b"")
    return start.removeprefix(UTF8_BOM).lstrip().startswith(b"[")


def _elements(
    connection: duckdb.DuckDBPyConnection, file: Path, records: str
) -> Iterator[pa.Table]:
    """The elements of the document's list as lines."""
    data = bytearray()
    for piece in chunks(file):
        data += piece
        if len(data) > MAX_DOCUMENT_BYTES:
            raise UnreadableError(
                f"is one JSON document of more than {MAX_DOCUMENT_BYTES // 1_000_000} MB, which is "
                "too much to be read whole. Ask the source for JSON Lines."
            )
    try:
        text = bytes(data.removeprefix(UTF8_BOM)).decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(f"line {line} is not utf-8. Ask the source for it again.") from None
    try:
        path = _pointer(steps(records)) if records else ""
    except ValueError as error:
        raise UnreadableError(f"`records` in sources.yml: {error}") from None
    is_whole = connection.execute("select json_valid(?)", [text]).fetchall() == [(True,)]
    if not is_whole:
        raise UnreadableError("is not a whole JSON document. Ask the source for it again.")
    document = (
        "select $text::json as list" if not path else "select json_extract($text, $path) as list"
    )
    values = {"text": text, "path": path} if path else {"text": text}
    kind = connection.execute(f"select json_type(list) from ({document})", values).fetchall()
    if kind != [("ARRAY",)]:
        place = f"at {records}" if records else "in it"
        raise UnreadableError(
            f"has no list of records {place}. Correct `records` of the table in sources.yml."
        )
    found = connection.execute(
        "select unnest(range(1, len(items) + 1)) as _position, unnest(items)::varchar as _line "
        f"from (select json_extract(list, '$[*]') as items from ({document}))",
        values,
    ).to_arrow_table()
    lines = found["_line"].cast(pa.large_string())
    positions = found["_position"].cast(pa.int64())
    yield pa.table(
        {"_position": positions, "_line": lines, "_reason": pa.nulls(len(lines), pa.string())}
    )


def _lines(file: Path) -> Iterator[pa.Table]:
    """``_position``, ``_line`` and ``_reason`` of what is known to be no record."""
    for block in cut(chunks(file)):
        if block.is_too_long:
            text = block.data.decode(errors="backslashreplace")
            yield _table(pa.array([block.first], pa.int64()), [text], ["line too long"])
            continue
        data = block.data
        if block.first == 1:
            data = data.removeprefix(UTF8_BOM)
        lines = pc.split_pattern(pa.array([data], pa.large_binary()), b"\n").flatten()
        positions = pa.array(range(block.first, block.first + len(lines)), pa.int64())
        try:
            texts = lines.cast(pa.large_string())
            found = _table(positions, texts, pa.nulls(len(lines), pa.string()))
        except pa.ArrowInvalid:
            found = _table(positions, *_decoded(lines.to_pylist()))
        yield found.filter(pc.not_equal(pc.utf8_trim_whitespace(found["_line"]), ""))


def _decoded(lines: list[bytes]) -> tuple[list[str], list[str | None]]:
    """Text and reason of each line."""
    texts: list[str] = []
    reasons: list[str | None] = []
    for line in lines:
        try:
            texts.append(line.decode())
            reasons.append(None)
        except UnicodeDecodeError:
            texts.append(line.decode(errors="backslashreplace"))
            reasons.append("is not utf-8")
    return texts, reasons


def _table(positions: pa.Array, lines: Any, reasons: Any) -> pa.Table:
    return pa.table(
        {
            "_position": positions,
            "_line": pa.array(lines, pa.large_string()),
            "_reason": pa.array(reasons, pa.string()),
        }
    )


def _pointer(path: list[str]) -> str:
    """JSON Pointer (RFC 6901)."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)


def _added(name: str, table: Table, keys: dict[str, None]) -> dict[str, str]:
    """Top-level keys that no declared column begins with -> pointer, under names free in SQL."""
    known = {
        steps(column.path)[0] if column.path else declared
        for declared, column in table.columns.items()
    }
    taken = {declared.casefold() for declared in table.columns} | {"_position", "_file"}
    found: dict[str, str] = {}
    for key in keys:
        if key in known:
            continue
        column, number = key or "_", 1
        while column.casefold() in taken:
            number += 1
            column = f"{key}_{number}"
        taken.add(column.casefold())
        found[column] = _pointer([key])
    if len(found) > MAX_ADDED_COLUMNS:
        raise SourceError(
            f"{name}: the records have {len(found)} keys that are not declared. Are their keys "
            "values? Ask the source for a list of name and value instead."
        )
    return found
