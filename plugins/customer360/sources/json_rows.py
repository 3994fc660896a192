"""JSON records, one a line, as rows of a declared table.

What belongs here: telling records from what is not one, and taking declared columns out of nested
values. What does not: fetching the files or pages that hold the lines.
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from customer360.config import Table
from customer360.exceptions import SourceError
from customer360.sources.lines import Block, UnreadableError, blocks
from customer360.sources.relation import Relation
from customer360.warehouse import first_line, is_disk_full, literal, quote

MAX_ADDED_COLUMNS = 1_000
BOM = b"\xef\xbb\xbf"

PATH_STEP = re.compile(r'"([^"]*)"|([^."]+)')

REASON = r"""
case
    when not json_valid(_line) then 'is not JSON'
    when json_type(_line) <> 'OBJECT' then 'is not a JSON object'
    when len(list_distinct(json_keys(_line))) < len(json_keys(_line))
        then 'holds a key twice'
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

    Args:
        connection: reads the relation afterwards.
        name: ``source.table``, for messages.
        table: the contract.
        files: UTF-8, one object a line, perhaps .gz.
        workspace: a folder that stays until the relation was read; ``records`` in it is replaced.
        file_names: what ``_file`` says, in the order of ``files``; their names if not given.

    Raises:
        SourceError: a file cannot be unpacked, or its keys cannot be columns.
    """
    records = workspace / "records"
    shutil.rmtree(records, ignore_errors=True)
    records.mkdir(parents=True)
    keys: dict[str, None] = {}
    names = list(file_names) if file_names is not None else [file.name for file in files]
    connection.execute(
        "create or replace table json_rejects "
        "(_file varchar, _position bigint, _reason varchar, _line varchar)"
    )
    number = 0
    for file, file_name in zip(files, names, strict=True):
        try:
            for lines in _numbered(file):
                part = records / f"{number:06d}.parquet"
                _keep(connection, lines, file_name, part, keys)
                number += 1
        except UnreadableError as error:
            raise SourceError(f"{name}: {file_name}: {error}") from None
        except duckdb.Error as error:
            if is_disk_full(error):
                raise
            raise SourceError(
                f"{name}: {file_name} cannot be read as JSON: {first_line(error)}"
            ) from None
    pointers = {
        column: _pointer(steps(declared.path) if declared.path else [column])
        for column, declared in table.columns.items()
    }
    pointers |= _added(name, table, keys)
    values = ", ".join(literal(pointer) for pointer in pointers.values())
    cells = ", ".join(
        f"_values[{index}] as {quote(column)}" for index, column in enumerate(pointers, start=1)
    )
    if number:
        lines_sql = f"read_parquet({literal(records / '*.parquet')})"
    else:
        lines_sql = "(select ''::varchar as _file, 0::bigint as _position, ''::varchar as _line)"
        lines_sql += " where false"
    sql = (
        f"select _file, _position, {cells} from (select _file, _position, "
        f"json_extract_string(_line, [{values}]) as _values from {lines_sql})"
    )
    return Relation(sql, dict.fromkeys(pointers, "VARCHAR"), "from json_rejects")


def _numbered(file: Path) -> Iterator[pa.Table]:
    """``_position``, ``_line`` and ``_reason`` of what is known to be no record."""
    for block in blocks(file):
        if block.is_too_long:
            yield _table([block.first], [block.data], "line too long")
            continue
        data = block.data
        if block.first == 1:
            data = data.removeprefix(BOM)
        yield _decoded(Block(block.first, data))


def _decoded(block: Block) -> pa.Table:
    lines = pc.split_pattern(pa.array([block.data], pa.large_binary()), b"\n").flatten()
    positions = pa.array(range(block.first, block.first + len(lines)), pa.int64())
    try:
        text = lines.cast(pa.large_string())
    except pa.ArrowInvalid:
        return _decoded_one_by_one(positions, lines)
    reasons = pa.nulls(len(lines), pa.string())
    table = pa.table({"_position": positions, "_line": text, "_reason": reasons})
    return table.filter(pc.not_equal(pc.utf8_trim_whitespace(text), ""))


def _decoded_one_by_one(positions: pa.Array, lines: pa.Array) -> pa.Table:
    texts: list[str] = []
    reasons: list[str | None] = []
    for line in lines.to_pylist():
        try:
            texts.append(line.decode())
            reasons.append(None)
        except UnicodeDecodeError:
            texts.append(line.decode(errors="backslashreplace"))
            reasons.append("is not utf-8")
    table = pa.table(
        {
            "_position": positions,
            "_line": pa.array(texts, pa.large_string()),
            "_reason": pa.array(reasons, pa.string()),
        }
    )
    return table.filter(pc.not_equal(pc.utf8_trim_whitespace(table["_line"]), ""))


def _table(positions: list[int], lines: list[bytes], reason: str) -> pa.Table:
    return pa.table(
        {
            "_position": pa.array(positions, pa.int64()),
            "_line": pa.array(
                [line.decode(errors="backslashreplace") for line in lines], pa.large_string()
            ),
            "_reason": pa.array([reason] * len(lines), pa.string()),
        }
    )


def _keep(
    connection: duckdb.DuckDBPyConnection,
    lines: pa.Table,
    file_name: str,
    part: Path,
    keys: dict[str, None],
) -> None:
    """Write the records to ``part``, the others to json_rejects; note the records' keys."""
    connection.register("json_lines", lines)
    connection.execute(
        f"create or replace temp table json_block as select {literal(file_name)} as _file, "
        f"_position, _line, coalesce(_reason, {REASON}) as _reason from json_lines"
    )
    connection.unregister("json_lines")
    connection.execute(
        f"copy (select _file, _position, _line from json_block where _reason is null) "
        f"to {literal(part)} (format parquet, compression lz4)"
    )
    connection.execute(
        "insert into json_rejects select _file, _position, _reason, _line from json_block "
        "where _reason is not null"
    )
    for (key,) in connection.execute(
        "select distinct unnest(json_keys(_line)) as name from json_block where _reason is null "
        "order by name"
    ).fetchall():
        keys.setdefault(key)
    connection.execute("drop table json_block")


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
