"""What a marts file holds, compared without regard to how it got there.

What belongs here: the content hash and the difference of two files, and the list of tables that
both go by. What does not: which file is current (``customer360.publish``).

Both are set-based and run inside DuckDB. A row becomes text column by column, by column name; its
MD5 is one 128-bit number; a table is its count of rows and the sums of the two halves of those
numbers. Sums do not depend on the order of rows and, other than xor, count duplicates.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from customer360.exceptions import PublishError
from customer360.settings import Settings
from customer360.warehouse import connect, first_line, literal, quote

INFO_TABLE = "snapshot_info"
TABLES_TABLE = "snapshot_tables"
ID_MAP_TABLE = "customer_id_map"

KINDS = ("data", "scores", "volatile")
"""``data`` and ``scores`` are hashed, apart; ``volatile`` tables are a record of the run itself."""


@dataclass(frozen=True)
class TableInfo:
    """One table of a marts file.

    Attributes:
        name: its name, with the schema before it where that is not ``main``.
        kind: one of :data:`KINDS`.
        key: columns that tell its rows apart; empty where none are declared.
        volatile: columns that hold run ids or the clock; neither hashed nor compared.
        rows: how many it has.
    """

    name: str
    kind: str
    key: tuple[str, ...]
    volatile: tuple[str, ...]
    rows: int


@contextmanager
def attached(settings: Settings, **files: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in memory with each file attached read-only under its keyword."""
    with connect(settings) as connection:
        for alias, path in files.items():
            try:
                connection.execute(f"attach {literal(path)} as {quote(alias)} (read_only)")
            except duckdb.Error as error:
                raise PublishError(
                    f"{path} cannot be read as a DuckDB file: {first_line(error)};"
                    " `customer360 snapshot list` shows what there is"
                ) from None
        yield connection


def table_names(connection: duckdb.DuckDBPyConnection, alias: str) -> list[str]:
    """Tables of an attached file without those that publishing adds."""
    rows = connection.execute(
        "select schema_name, table_name from duckdb_tables()"
        " where database_name = ? and not internal and not temporary order by all",
        [alias],
    ).fetchall()
    names = [table if schema == "main" else f"{schema}.{table}" for schema, table in rows]
    return [name for name in names if name not in (INFO_TABLE, TABLES_TABLE)]


def has_table(connection: duckdb.DuckDBPyConnection, alias: str, table: str) -> bool:
    """Whether an attached database has a table of this name."""
    query = "select 1 from duckdb_tables() where database_name = ? and table_name = ?"
    return connection.execute(query, [alias, table]).fetchone() is not None


def relation(alias: str, name: str) -> str:
    """SQL name of a table that :func:`table_names` listed."""
    schema, _, table = name.rpartition(".")
    return f"{quote(alias)}.{quote(schema or 'main')}.{quote(table)}"


def table_columns(
    connection: duckdb.DuckDBPyConnection, alias: str, name: str
) -> list[tuple[str, str]]:
    """Names and types of a table's columns, by name."""
    rows = connection.execute(f"describe {relation(alias, name)}").fetchall()
    return sorted((str(row[0]), str(row[1])) for row in rows)


def read_tables(connection: duckdb.DuckDBPyConnection, alias: str) -> list[TableInfo]:
    """The tables of a file as declared when it was published; bare files count as all data."""
    present = table_names(connection, alias)
    declared: dict[str, tuple[Any, ...]] = {}
    if has_table(connection, alias, TABLES_TABLE):
        rows = connection.execute(
            f"select name, kind, key, volatile from {relation(alias, TABLES_TABLE)}"
        ).fetchall()
        declared = {row[0]: row[1:] for row in rows}
    infos = []
    for name in present:
        kind, key, volatile = declared.get(name, ("data", [], []))
        counted = connection.execute(f"select count(*) from {relation(alias, name)}").fetchone()
        assert counted
        infos.append(TableInfo(name, kind, tuple(key), tuple(volatile), counted[0]))
    return infos


def row_number(columns: list[str]) -> str:
    """SQL for the 128-bit number of a row's content in ``columns``, taken in their order.

    A JSON array of texts: NULL differs from 'null', and no text can spill into its neighbour.
    Casting each value by itself keeps decimals exact, which JSON numbers would not.
    """
    values = ", ".join(f"cast({quote(column)} as varchar)" for column in columns)
    return f"md5_number(cast(json_array({values}) as varchar))"


def snapshot_hash(path: Path, settings: Settings) -> dict[str, Any]:
    """Content hash of a marts file: of each table, of the data, of the scores, of all.

    It does not depend on the order of rows or columns, nor on run ids and the clock as far as
    those are declared volatile; ``snapshot_info`` and ``snapshot_tables`` are not covered.

    Returns:
        ``hash`` (data and scores), ``data``, ``scores``, ``model_versions`` (scores of two files
        may be compared where these agree), ``tables``: name -> ``kind``, ``rows``, ``hash``.
    """
    tables: dict[str, dict[str, Any]] = {}
    with attached(settings, snapshot=path) as connection:
        for info in read_tables(connection, "snapshot"):
            if info.kind == "volatile":
                continue
            columns = [
                column
                for column in table_columns(connection, "snapshot", info.name)
                if column[0] not in info.volatile
            ]
            sums = connection.execute(
                "select count(*), sum(cast(content & 18446744073709551615 as ubigint)),"
                " sum(cast(content >> 64 as ubigint)) from ("
                f"select {row_number([name for name, _ in columns])} as content"
                f" from {relation('snapshot', info.name)})"
            ).fetchone()
            tables[info.name] = {
                "kind": info.kind,
                "rows": info.rows,
                "hash": _digest([columns, sums]),
            }
        versions = _model_versions(connection)
    parts = {
        kind: _digest([[name, t["hash"]] for name, t in tables.items() if t["kind"] == kind])
        for kind in ("data", "scores")
    }
    return {
        "hash": _digest([parts["data"], parts["scores"]]),
        **parts,
        "model_versions": versions,
        "tables": tables,
    }


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _model_versions(connection: duckdb.DuckDBPyConnection) -> Any:
    try:
        row = connection.execute(
            f"select model_versions from {relation('snapshot', INFO_TABLE)}"
        ).fetchone()
    except duckdb.CatalogException:  # a file that was never published
        return {}
    return json.loads(row[0]) if row else {}


def snapshot_diff(older: Path, newer: Path, settings: Settings) -> dict[str, Any]:
    """What changed from ``older`` to ``newer``.

    Rows are told apart by the table's declared key; without one, or where it is not unique in
    either file, whole rows are compared, and a changed row counts as one removed and one added.

    Returns:
        ``tables``: name -> ``added``, ``changed``, ``removed`` rows, ``key``, and, where they
        differ, ``columns_added``, ``columns_removed``, ``columns_retyped``; ``tables_added`` and
        ``tables_removed``; ``customers``: how many old ids were ``merged`` or ``split`` by rows
        that are new in ``customer_id_map``, None where there is no such table.
    """
    with attached(settings, older=older, newer=newer) as connection:
        before = {t.name: t for t in read_tables(connection, "older") if t.kind != "volatile"}
        after = {t.name: t for t in read_tables(connection, "newer") if t.kind != "volatile"}
        return {
            "tables": {
                name: _diff_table(connection, before.get(name), after.get(name))
                for name in sorted({*before, *after})
            },
            "tables_added": sorted({*after} - {*before}),
            "tables_removed": sorted({*before} - {*after}),
            "customers": _diff_customers(connection, before, after),
        }


def _diff_table(
    connection: duckdb.DuckDBPyConnection, before: TableInfo | None, after: TableInfo | None
) -> dict[str, Any]:
    if before is None or after is None:
        return {
            "added": after.rows if after else 0,
            "changed": 0,
            "removed": before.rows if before else 0,
            "key": list((after or before or _NO_TABLE).key),
        }
    volatile = {*before.volatile, *after.volatile}
    old = dict(table_columns(connection, "older", before.name))
    new = dict(table_columns(connection, "newer", after.name))
    common = [name for name in new if name in old and name not in volatile]
    key = [name for name in after.key if name in common]
    if len(key) < len(after.key) or not all(
        _is_unique(connection, alias, after.name, key) for alias in ("older", "newer")
    ):
        key = []
    drift = {
        "columns_added": [name for name in new if name not in old],
        "columns_removed": [name for name in old if name not in new],
        "columns_retyped": [name for name in new if name in old and new[name] != old[name]],
    }
    return {
        **_diff_rows(connection, after.name, key, common),
        "key": key,
        **{what: names for what, names in drift.items() if names},
    }


_NO_TABLE = TableInfo("", "data", (), (), 0)


def _is_unique(
    connection: duckdb.DuckDBPyConnection, alias: str, name: str, key: list[str]
) -> bool:
    if not key:
        return False
    columns = ", ".join(quote(column) for column in key)
    row = connection.execute(
        f"select count(*) = count(distinct row({columns})) from {relation(alias, name)}"
    ).fetchone()
    return bool(row and row[0])


def _diff_rows(
    connection: duckdb.DuckDBPyConnection, name: str, key: list[str], columns: list[str]
) -> dict[str, int]:
    content = row_number(columns)
    if key:
        names = ", ".join(quote(column) for column in key)
        sides = (
            f"(select {names}, {content} as content from {relation(alias, name)})"
            for alias in ("older", "newer")
        )
        matched = " and ".join(
            f"older_rows.{quote(column)} is not distinct from newer_rows.{quote(column)}"
            for column in key
        )
        query = (
            "select count(*) filter (older_rows.content is null),"
            " count(*) filter (older_rows.content <> newer_rows.content),"
            " count(*) filter (newer_rows.content is null)"
            f" from {next(sides)} as older_rows full join {next(sides)} as newer_rows on {matched}"
        )
    else:
        sides = (
            f"select {content} as content, {sign} as copies from {relation(alias, name)}"
            for alias, sign in (("older", -1), ("newer", 1))
        )
        query = (
            "select coalesce(sum(greatest(surplus, 0)), 0), 0,"
            " coalesce(sum(greatest(-surplus, 0)), 0)"
            " from (select sum(copies) as surplus"
            f" from ({next(sides)} union all {next(sides)}) group by content)"
        )
    row = connection.execute(query).fetchone()
    assert row
    return dict(zip(("added", "changed", "removed"), map(int, row), strict=True))


def _diff_customers(
    connection: duckdb.DuckDBPyConnection,
    before: dict[str, TableInfo],
    after: dict[str, TableInfo],
) -> dict[str, int] | None:
    if ID_MAP_TABLE not in after:
        return None
    news = f"select old_id, new_id, reason from {relation('newer', ID_MAP_TABLE)}"
    if ID_MAP_TABLE in before:
        news += f" except select old_id, new_id, reason from {relation('older', ID_MAP_TABLE)}"
    row = connection.execute(
        "select count(distinct old_id) filter (reason = 'merge'),"
        f" count(distinct old_id) filter (reason = 'split') from ({news})"
    ).fetchone()
    assert row
    return {"merged": row[0], "split": row[1]}
