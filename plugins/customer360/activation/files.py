"""The files of one export: its rows as Parquet and CSV, whole and as changes, and their schema.

What belongs here: queries over a snapshot and the files that they become. What does not: where the
folder stands (``versions``) and who has received it (``ledger``).
"""

import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from customer360.activation.declared import Export
from customer360.content import read_tables, relation
from customer360.exceptions import ExportError
from customer360.warehouse import literal, quote

CHANGES = ("added", "changed", "removed")


def write_full(
    connection: duckdb.DuckDBPyConnection,
    wanted: Export,
    target: Path,
    refused: str | None = None,
) -> list[tuple[str, str]]:
    """Write the whole export in the order of its key; returns its columns with their types.

    Args:
        refused: a table of customers who are left out.
    """
    source = _source(connection, wanted)
    if refused:
        source = (
            f"select * from ({source}) where customer_id not in (select customer_id from {refused})"
        )
    described = connection.execute(f"describe {source}").fetchall()
    types = {str(row[0]): str(row[1]) for row in described}
    missing = [name for name in (*wanted.key, *wanted.required) if name not in types]
    if missing:
        raise ExportError(
            f"export {wanted.name} needs column {', '.join(dict.fromkeys(missing))}, which its"
            " table does not have: add it to the mart, or mend the declaration of the export"
        )
    names = [*wanted.key, *(name for name in types if name not in wanted.key)]
    keys = ", ".join(quote(name) for name in wanted.key)
    nulls = " or ".join(f"{quote(name)} is null" for name in wanted.key)
    bad = connection.execute(
        f"select count(*) filter ({nulls}), count(*) - count(distinct row({keys})) from ({source})"
    ).fetchone()
    assert bad
    if any(bad):
        raise ExportError(
            f"export {wanted.name}: {bad[0]} rows without a key and {bad[1]} with the key of"
            f" another; its key is ({', '.join(wanted.key)}) and must tell rows apart"
        )
    ordered = ", ".join(quote(name) for name in names)
    connection.execute(
        f"copy (select {ordered} from ({source}) order by {keys})"
        f" to {literal(target)} (format parquet, compression zstd)"
    )
    return [(name, types[name]) for name in names]


def _source(connection: duckdb.DuckDBPyConnection, wanted: Export) -> str:
    """A query for the rows to export, without columns that hold run ids or the clock."""
    connection.execute("use snapshot")
    if wanted.query is not None:
        return wanted.query
    tables = {info.name: info for info in read_tables(connection, "snapshot")}
    info = tables.get(wanted.name)
    if info is None:
        if not wanted.empty:
            raise ExportError(f"the snapshot has no table {wanted.name} to export")
        columns = ", ".join(f"cast(null as {t}) as {quote(n)}" for n, t in wanted.empty.items())
        return f"select {columns} where false"
    rows = connection.execute(f"describe {relation('snapshot', info.name)}").fetchall()
    columns = ", ".join(quote(row[0]) for row in rows if row[0] not in info.volatile)
    return f"select {columns} from {relation('snapshot', info.name)}"


def write_changes(
    connection: duckdb.DuckDBPyConnection,
    wanted: Export,
    columns: list[tuple[str, str]],
    folder: Path,
    previous: Path | None,
) -> dict[str, int]:
    """Write what leads from ``previous`` to the full export beside; returns counts.

    A removed row keeps its key only: a receiver needs no more of someone who left.
    """
    full = f"read_parquet({literal(folder / 'full.parquet')})"
    names = [name for name, _ in columns]
    payload = [name for name in names if name not in wanted.key]
    if previous is None:
        before = f"(select * from {full} where false)"
        old_names = set(names)
    else:
        before = f"read_parquet({literal(previous)})"
        old_names = {row[0] for row in connection.execute(f"describe from {before}").fetchall()}
        if not old_names.issuperset(wanted.key):
            raise ExportError(
                f"export {wanted.name} has another key than the export before it: give it a new"
                " name, or have it restated"
            )
    matched = " and ".join(
        f"current_rows.{quote(name)} = previous_rows.{quote(name)}" for name in wanted.key
    )
    # Compared value by value: no hash, so no collision, and NULL equals NULL.
    differs = " or ".join(
        f"current_rows.{quote(name)} is distinct from previous_rows.{quote(name)}"
        if name in old_names
        else "true"
        for name in payload
    )
    if old_names - set(names):
        differs = "true"  # a column went away: every receiver has to learn the new shape
    first, *rest = wanted.key
    keys = {
        name: f"coalesce(current_rows.{quote(name)}, previous_rows.{quote(name)}) as {quote(name)}"
        for name in wanted.key
    }
    selected = ", ".join(
        [
            keys[first],
            "case when previous_rows.is_there is null then 'added'"
            " when current_rows.is_there is null then 'removed' else 'changed' end as change",
            *(keys[name] for name in rest),
            *(f"current_rows.{quote(name)} as {quote(name)}" for name in payload),
        ]
    )
    connection.execute(
        f"copy (select {selected} from (select *, true as is_there from {full}) as current_rows"
        f" full join (select *, true as is_there from {before}) as previous_rows on {matched}"
        " where previous_rows.is_there is null or current_rows.is_there is null"
        f" or {differs or 'false'} order by {', '.join(quote(name) for name in wanted.key)})"
        f" to {literal(folder / 'changes.parquet')} (format parquet, compression zstd)"
    )
    row = connection.execute(
        f"select (select count(*) from {full}),"
        + ",".join(f"count(*) filter (change = '{change}')" for change in CHANGES)
        + f" from read_parquet({literal(folder / 'changes.parquet')})"
    ).fetchone()
    assert row
    return dict(zip(("rows", *CHANGES), row, strict=True))


def write_csv(
    connection: duckdb.DuckDBPyConnection,
    columns: Sequence[tuple[str, str]],
    folder: Path,
    *,
    spreadsheet: bool,
) -> None:
    """The Parquet files again as CSV: untouched for machines, made harmless for spreadsheets."""
    nested = [name for name, kind in columns if re.match(r"STRUCT|MAP|UNION|.*]$", kind)]
    texts = [name for name, kind in columns if kind == "VARCHAR"]
    plain = {name: f"cast(to_json({quote(name)}) as varchar)" for name in nested}
    harmless = {
        name: f"if(regexp_matches({quote(name)}, '^\\s*[=+@＝＋－＠\\-]'),"
        f" '''' || {quote(name)}, {quote(name)})"
        for name in texts
    }
    profiles = {"csv": plain}
    if spreadsheet:
        profiles["spreadsheet.csv"] = {**plain, **harmless}
    for stem in ("full", "changes"):
        for suffix, replaced in profiles.items():
            target = folder / f"{stem}.{suffix}"
            star = "*"
            if replaced:
                pairs = ", ".join(f"{sql} as {quote(name)}" for name, sql in replaced.items())
                star = f"* replace ({pairs})"
            connection.execute(
                f"copy (select {star} from read_parquet({literal(folder / f'{stem}.parquet')}))"
                f" to {literal(target)} (format csv, header,"
                " timestampformat '%Y-%m-%dT%H:%M:%S.%fZ')"
            )
            if suffix == "spreadsheet.csv":
                _mark_utf8(target)


def write_json_lines(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """The Parquet files again as JSON Lines; empty values are left out."""
    for stem in ("full", "changes"):
        connection.execute(
            f"copy (from read_parquet({literal(folder / f'{stem}.parquet')}))"
            f" to {literal(folder / f'{stem}.jsonl')} (format json,"
            " timestampformat '%Y-%m-%dT%H:%M:%S.%fZ')"
        )


def _mark_utf8(path: Path) -> None:
    """Put the byte-order mark before a file, without which spreadsheets guess the encoding."""
    marked = path.with_suffix(".marked")
    with path.open("rb") as source, marked.open("wb") as target:
        target.write(b"\xef\xbb\xbf")
        shutil.copyfileobj(source, target)
    marked.replace(path)


def row_schema(wanted: Export, columns: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """JSON Schema of a row of ``full``; in ``changes`` comes ``change``, and removed rows have
    NULL in all but their key.
    """
    properties: dict[str, Any] = {}
    for name, kind in columns:
        schema = _json_type(kind)
        if name not in wanted.key:
            schema["type"] = [schema["type"], "null"]
        if name in wanted.required:
            schema["description"] = wanted.required[name]
        properties[name] = schema
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _json_type(kind: str) -> dict[str, Any]:
    if kind.endswith("[]"):
        return {"type": "array"}
    base = kind.partition("(")[0]
    if base.endswith(("INT", "INTEGER")):
        return {"type": "integer"}
    if base in ("DECIMAL", "DOUBLE", "FLOAT"):
        return {"type": "number"}
    if base in ("STRUCT", "MAP"):
        return {"type": "object"}
    formats = {"DATE": "date", "TIMESTAMP": "date-time", "TIMESTAMP WITH TIME ZONE": "date-time"}
    if base in formats:
        return {"type": "string", "format": formats[base]}
    return {"type": "boolean" if base == "BOOLEAN" else "string"}


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
