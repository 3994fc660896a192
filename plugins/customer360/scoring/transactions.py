"""From a table of transactions to the orders that the features need.

What belongs here: adding lines up to orders, days and cents. What does not: how files are read
(``customer360.scoring.mapping``), features.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd

from customer360.exceptions import SourceError
from customer360.scoring.mapping import TransactionMapping, load_mapping, read_table
from customer360.settings import load_settings
from customer360.warehouse import connect

LONG_SILENCE = 180
"""Days without any order after which the as-of date, and not the company, is thought wrong."""


@contextmanager
def orders_of(
    source: Path, mapping_path: Path, as_of: date
) -> Iterator[tuple[duckdb.DuckDBPyConnection, list[str]]]:
    """A database in memory with the ``orders`` of a file, and what a person should know of it.

    Raises:
        SourceError: there are no orders by ``as_of``.
    """
    table = read_table(source, load_mapping(mapping_path, TransactionMapping))
    with connect(load_settings()) as connection:
        load_orders(connection, table.frame)
        yield connection, [*table.notes, *check_as_of(connection, as_of)]


def load_orders(connection: duckdb.DuckDBPyConnection, frame: pd.DataFrame) -> None:
    """Make the table ``orders`` of a frame of transactions (see ``TransactionMapping``).

    Lines with the same ``order_id`` are one order; without order ids, all lines of a customer at
    one moment are. Amounts become cents, days are UTC.
    """
    connection.register("given_lines", frame)
    order = "order_id" if "order_id" in frame.columns else '"at"'
    quantity = "coalesce(quantity, 0)" if "quantity" in frame.columns else "1"
    connection.execute(
        f"""
        create or replace table orders as
        select
            customer_id,
            {order} as order_id,
            min("at")::date as ordered_on,
            round(sum(amount) * 100)::bigint as amount_cents,
            round(sum({quantity}))::bigint as quantity
        from given_lines
        group by customer_id, {order}
        """
    )
    connection.unregister("given_lines")


def check_as_of(connection: duckdb.DuckDBPyConnection, as_of: date) -> list[str]:
    """What a person should know about the date; the orders after it are left alone.

    Raises:
        SourceError: there are no orders by then.
    """
    before, after, first, last, below = connection.execute(
        "select count(*) filter (ordered_on <= ?), count(*) filter (ordered_on > ?), "
        "min(ordered_on), max(ordered_on), "
        "count(*) filter (ordered_on <= ? and amount_cents < 0) from orders",
        [as_of, as_of, as_of],
    ).fetchall()[0]
    if not before:
        raise SourceError(f"there are no orders until {as_of}; they run from {first} to {last}")
    if below == before:
        raise SourceError(
            f"all {before:,} orders until {as_of} have an amount below zero, which means goods "
            "that came back; turn the sign of the amounts round if these are sales"
        )
    notes = []
    if below > before / 2:
        notes.append(
            f"WARNING: {below:,} of {before:,} orders have an amount below zero and count as goods "
            "that came back, not as purchases"
        )
    if after:
        notes.append(f"{after:,} orders after {as_of} are left alone: they are the future")
    silent = (as_of - last).days
    if silent > LONG_SILENCE:
        notes.append(
            f"WARNING: the last order is of {last}, {silent} days before {as_of}: everyone looks "
            "lapsed, and no score of such a day can be checked. Give the last day of the data as "
            "--as-of"
        )
    elif silent > 31:
        notes.append(f"the last order is of {last}, {silent} days before {as_of}")
    return notes
