"""Who may be sent what: legal basis, consent, suppression, erasure and age, row by row.

What belongs here: which customers a purpose allows, in sets. What does not: what consents there are
(``consents``), or which rows are wanted (``plan``).
"""

from collections.abc import Iterable, Mapping

import duckdb
from sqlalchemy import Engine

from customer360.activation import stops
from customer360.activation.consents import NOW
from customer360.activation.destinations import Purpose
from customer360.content import ID_MAP_TABLE, has_table
from customer360.warehouse import literal

REFUSED = "refused_{purpose}"
"""Temporary table of a purpose: customer_id, reason; who is not in it may be sent."""


def judge(
    connection: duckdb.DuckDBPyConnection,
    engine: Engine,
    purposes: Mapping[str, Purpose],
    needed: Iterable[str],
    customers_sql: str,
) -> None:
    """Make the table :data:`REFUSED` of every purpose in ``needed``.

    Args:
        customers_sql: a query of the customers who are to be judged: customer_id.
    """
    connection.execute(
        "create or replace temp table suppressed (customer_id varchar, reason varchar)"
    )
    known = stops.suppressed(engine)
    if known:
        connection.executemany("insert into suppressed values (?, ?)", known)
        if has_table(connection, "snapshot", ID_MAP_TABLE):
            # Whoever was merged away, or split, is still the person who is sent nothing.
            connection.execute(
                "insert into suppressed select known.new_id, suppressed.reason from suppressed "
                f"inner join snapshot.{ID_MAP_TABLE} as known "
                "on suppressed.customer_id = known.old_id"
            )
    for name in dict.fromkeys(needed):
        refusals = ["select customer_id, reason, 1 as place from suppressed"]
        refusals += _refusals(connection, name, purposes[name], customers_sql)
        connection.execute(
            f"create or replace temp table {REFUSED.format(purpose=name)} as "
            f"select customer_id, arg_min(reason, place) as reason "
            f"from ({' union all '.join(refusals)}) group by customer_id"
        )


def _refusals(
    connection: duckdb.DuckDBPyConnection, name: str, purpose: Purpose, customers_sql: str
) -> list[str]:
    found = []
    if purpose.basis == "none":
        reason = literal(f"purpose {name} has no legal basis")
        found.append(f"select customer_id, {reason}, 2 from ({customers_sql})")
    if purpose.basis == "consent":
        by = f" by {purpose.channel}" if purpose.channel else ""
        reason = literal(f"no consent to {purpose.consent}{by}")
        found.append(
            f"select customer_id, {reason}, 3 from ({customers_sql}) "
            f"where customer_id not in ({_consenting(purpose)})"
        )
    if purpose.min_age is not None:
        known = {
            row[0]
            for row in connection.execute(
                "select column_name from duckdb_columns() where database_name = 'snapshot' "
                "and table_name = 'customers'"
            ).fetchall()
        }
        if "age_band" in known:
            # The band's upper end: nobody is taken for younger than they may be.
            oldest = "list_max(regexp_extract_all(age_band, '\\d+')::integer[])"
            reason = literal(f"younger than {purpose.min_age}")
            found.append(
                f"select customer_id, {reason}, 4 from snapshot.customers "
                f"where {oldest} < {purpose.min_age}"
            )
    return found


def _consenting(purpose: Purpose) -> str:
    """Customers whose last word, by a channel and by all together, is yes."""
    asked = f"purpose = {literal(str(purpose.consent))}"
    channels = (
        f"(select {literal(purpose.channel)} as asked_channel)"
        if purpose.channel
        else f"(select distinct coalesce(channel, 'all') as asked_channel from {NOW} where {asked})"
    )
    # On a tie no wins: false sorts before true.
    return (
        "select customer_id from ("
        "select customer_id, asked_channel, "
        "arg_max(is_granted, (moment, not is_granted)) as is_yes "
        f"from {NOW} inner join {channels} as channels "
        "on coalesce(channel, 'all') in ('all', asked_channel) "
        f"where {asked} group by customer_id, asked_channel) where is_yes"
    )
