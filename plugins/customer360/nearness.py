"""Keeping the rows of one customer near each other, so that reading one customer reads little.

What belongs here: rewriting what nights have appended to a table, in order of customers. What does
not: which rows a night changes (``dbt_project/macros/increments.sql``).

A full build leaves a table in order of customers, and what a night adds lies behind that, in an
order of its own: a stretch. DuckDB passes over each row group, of up to 122,880 rows, in which a
customer cannot be, so a customer costs one row group of every stretch. Few stretches are kept as in
a log-structured merge tree: where one holds less than eight times the rows behind it, it and they
become one.

Nothing is remembered from night to night: where stretches begin is seen in the table. A wrong guess
costs time, and no row.
"""

import bisect
import itertools
from collections.abc import Collection

import duckdb

from customer360.exceptions import Customer360Error
from customer360.warehouse import literal, quote, transaction

KEY = "customer_id"

STEP = 2048
"""Every so many rows one is looked at, to see where stretches begin."""

KEEPS = 8
"""A stretch stays as it is while it holds so many times the rows behind it."""

LEAST = 32_768
"""Fewer rows than these are left as they are: a reader is through them in half a millisecond."""


def tidy(connection: duckdb.DuckDBPyConnection, leave: Collection[str] = ()) -> dict[str, int]:
    """Bring the rows of each customer together again, in every table of ``main`` with customers.

    Args:
        connection: the marts; no transaction is open.
        leave: tables to leave alone, such as those that are made anew each night.

    Returns:
        table -> rows that were rewritten, of tables where some were.

    Raises:
        Customer360Error: a table would have another number of rows; it is as it was.
    """
    tables = connection.execute(
        "select columns.table_name from duckdb_columns() as columns "
        "semi join duckdb_tables() using (database_oid, table_oid) where columns.database_name = "
        f"current_database() and schema_name = 'main' and column_name = {literal(KEY)} order by all"
    )
    done = {}
    for (table,) in tables.fetchall():
        if table not in leave:
            first = _loose_from(connection, table)
            if first is not None:
                done[table] = _rewrite(connection, table, first)
    return done


def stretches(connection: duckdb.DuckDBPyConnection, table: str) -> list[int]:
    """Where stretches of row groups in order of customers begin, and where the last ends: row ids.

    What is shorter than :data:`STEP` rows is not seen.
    """
    groups = connection.execute(
        "select sum(count) from pragma_storage_info(?) where column_name = ? "
        "and segment_type = 'VARCHAR' group by row_group_id order by row_group_id",
        [f"main.{quote(table)}", KEY],
    ).fetchall()
    begins = [0, *itertools.accumulate(int(rows) for (rows,) in groups)]
    # Rows without a customer come last, as in an ordered table.
    breaks = connection.execute(
        "with looked_at as (select rowid as place, "
        f"coalesce({KEY}, chr(1114111)) as customer from main.{quote(table)} "
        f"where rowid % {STEP} = 0), "
        "compared as (select place, customer < lag(customer) over (order by place) as is_break "
        "from looked_at) select place from compared where is_break"
    ).fetchall()
    # A row group that holds an end and a beginning is read for every customer: it is loose.
    found = {begins[bisect.bisect_right(begins, place) - 1] for (place,) in breaks}
    return [*sorted({0, *found}), begins[-1]]


def _loose_from(connection: duckdb.DuckDBPyConnection, table: str) -> int | None:
    """The row id from which on the rows are to become one stretch; None: they may stay."""
    *starts, end = stretches(connection, table)
    for first, following in zip(starts, [*starts[1:], end], strict=True):
        if end - first < LEAST:
            return None
        if following - first < KEEPS * (end - following):
            return first
    return None


def _rewrite(connection: duckdb.DuckDBPyConnection, table: str, first: int) -> int:
    """Put the rows from ``first`` on in order of customers; how many these are."""
    name = f"main.{quote(table)}"
    count = f"select count(*) from {name}"
    with transaction(connection):
        before = connection.execute(count).fetchall()
        connection.execute(
            f"create or replace temp table loose as select * from {name} where rowid >= {first} "
            f"order by {KEY}, rowid"
        )
        connection.execute(f"delete from {name} where rowid >= {first}")
        connection.execute(f"insert into {name} select * from temp.loose")
        rewritten: int = connection.execute("select count(*) from temp.loose").fetchall()[0][0]
        connection.execute("drop table temp.loose")
        if connection.execute(count).fetchall() != before:
            raise Customer360Error(
                f"putting {table} in order of customers would change how many rows it has; it is "
                "as it was. Run the build again, and report this if it happens twice."
            )
    return rewritten
