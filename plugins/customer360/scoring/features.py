"""Purchase features of any table of orders, by the SQL that the mart uses.

What belongs here: rendering ``dbt_project/macros/customer_features.sql`` without dbt, and running
it for a set of origins. What does not: another definition of a feature.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from customer360.exceptions import ModelError
from customer360.macros import load_macros
from models.common.windows import Windows, plan_windows

MAX_TRAINING_ROWS = 400_000
WATCHED_ROWS = 100_000
"""So many customers tell well enough whether a forecast came true."""
MACRO_FILE = "customer_features.sql"
BELIEFS = "order_beliefs"
ID_MAP = "customer_id_map"


@cache
def _macros() -> dict[str, Any]:
    return load_macros(MACRO_FILE)


def features_sql(orders: str, origins: str, horizon_days: int) -> str:
    """The features' SQL over relations ``orders`` and ``origins`` (quoted by the caller)."""
    return str(_macros()["customer_features"](orders, origins, horizon_days=horizon_days))


def labels_sql(orders: str, origins: str, horizon_days: int) -> str:
    """The SQL of what came after each origin."""
    return str(_macros()["future_orders"](orders, origins, horizon_days=horizon_days))


def _features_known_then(connection: duckdb.DuckDBPyConnection, orders: str, days: int) -> str:
    """The features' SQL, under the customers of each origin where the file knows of any change."""
    if not _remembers(connection):
        return features_sql(orders, "scoring_origins", days)
    macros = _macros()
    known = macros["known_orders"](orders, BELIEFS, "scoring_origins")
    told = features_sql(f"({known})", "scoring_origins", days)
    return _named(str(macros["at_their_origin"](told)))


def _labels_of_successors(connection: duckdb.DuckDBPyConnection, orders: str, days: int) -> str:
    """The SQL of what came after each origin, for every id that an origin may have known."""
    if not _remembers(connection):
        return labels_sql(orders, "scoring_origins", days)
    followed = _macros()["followed_orders"](orders, BELIEFS, ID_MAP)
    return labels_sql(f"({followed})", "scoring_origins", days)


def _named(told: str) -> str:
    columns = "* exclude (known_customer_id, customer_id), known_customer_id as customer_id"
    return f"select {columns} from ({told})"


def _remembers(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the connection's file knows of orders that changed hands; bare tables do not."""
    tables = connection.execute(
        "select count(*) from duckdb_tables() where table_name in (?, ?) "
        "and database_name = current_database()",
        [BELIEFS, ID_MAP],
    ).fetchone()
    if not tables or tables[0] < 2:
        return False
    return bool(connection.execute(f"select 1 from {BELIEFS} limit 1").fetchone())


def make_origins(connection: duckdb.DuckDBPyConnection, origins: Sequence[date]) -> None:
    """(Re)make the temporary table ``scoring_origins`` of these dates."""
    connection.execute("create or replace temp table scoring_origins (as_of date)")
    connection.executemany("insert into scoring_origins values (?)", [[day] for day in origins])


@dataclass(frozen=True)
class OrdersContent:
    """What a table of orders holds until a date; ``hash`` does not depend on the order of rows."""

    rows: int
    customers: int
    first_on: date | None
    last_on: date | None
    hash: str


def orders_content(
    connection: duckdb.DuckDBPyConnection, as_of: date, orders: str = "orders"
) -> OrdersContent:
    """Counts, first and last day, and a content hash of the orders until ``as_of``."""
    row = connection.execute(
        f"""
        select
            count(*),
            count(distinct customer_id),
            min(ordered_on),
            max(ordered_on),
            sum(hash(customer_id, ordered_on, amount_cents, quantity)::hugeint)
        from {orders}
        where customer_id is not null and ordered_on <= ?
        """,
        [as_of],
    ).fetchone()
    assert row is not None
    rows, customers, first_on, last_on, total = row
    digest = hashlib.sha256(f"{rows} {total}".encode()).hexdigest()
    return OrdersContent(rows, customers, first_on, last_on, digest)


def relation_hash(connection: duckdb.DuckDBPyConnection, query: str, as_of: date) -> str:
    """A content hash of the rows of a query that does not depend on their order."""
    rows, total = connection.execute(
        f"select count(*), sum(hash(given)::hugeint) from ({query}) as given"
    ).fetchall()[0]
    return hashlib.sha256(f"{as_of} {rows} {total}".encode()).hexdigest()


@dataclass(frozen=True)
class TrainingRows:
    """What a model of purchases learns from.

    Attributes:
        windows: past origins, each with what came after it.
        frame: features and labels of every customer, or of the sample, at every origin.
        content: the orders that they were made of.
        share: one customer in so many was taken.
    """

    windows: Windows
    frame: pd.DataFrame
    content: OrdersContent
    share: int


def training_rows(
    connection: duckdb.DuckDBPyConnection,
    as_of: date,
    horizon_days: int,
    orders: str = "orders",
    max_rows: int = MAX_TRAINING_ROWS,
) -> TrainingRows:
    """Features and labels from windows before ``as_of``; nothing after it is looked at.

    Where customers times origins exceed ``max_rows``, a sample of customers is taken by a hash of
    their id, the same at every origin and in every run.

    Raises:
        ModelError: there are no orders at all.
        ModelDataError: the history is too short for windows.
    """
    content = orders_content(connection, as_of, orders)
    if content.first_on is None:
        raise ModelError(f"there are no orders until {as_of}; nothing to learn from")
    windows = plan_windows(content.first_on, as_of, horizon_days)
    sampled, share = sample(orders, content.customers * len(windows.origins), max_rows)
    table = read_features(connection, windows.origins, horizon_days, sampled, labels=True)
    return TrainingRows(windows, table.to_pandas(), content, share)


def what_came(
    connection: duckdb.DuckDBPyConnection, origin: date, horizon_days: int, orders: str
) -> pd.DataFrame:
    """Features and labels of a past origin, by which a model is watched; of a sample if many."""
    customers = connection.execute(f"select count(distinct customer_id) from {orders}").fetchall()
    sampled, _ = sample(orders, customers[0][0], WATCHED_ROWS)
    return read_features(connection, [origin], horizon_days, sampled, labels=True).to_pandas()


def sample(orders: str, rows: int, max_rows: int) -> tuple[str, int]:
    """The orders, or those of one customer in so many that of ``rows`` few enough are left.

    Customers are taken by a hash of their id, the same at every origin and in every run.

    Returns:
        A relation to select from, and one customer in how many.
    """
    share = max(1, -(-rows // max_rows))
    chosen = f"(select * from {orders} where hash(customer_id) % {share} = 0)"
    return (chosen if share > 1 else orders), share


def feature_batches(
    connection: duckdb.DuckDBPyConnection,
    as_of: date,
    horizon_days: int,
    orders: str = "orders",
    batch_rows: int = 100_000,
    made: str | None = None,
) -> Iterator[pd.DataFrame]:
    """Features of every customer as of one date, in batches sorted by customer.

    The connection must not be used for anything else until the last batch has been taken.

    Args:
        made: a relation that holds them already, such as the mart of this very day.
    """
    if made is None:
        make_origins(connection, [as_of])
        query = features_sql(orders, "scoring_origins", horizon_days)
    else:
        query = f"select * from {made}"
    reader = connection.execute(f"{query} order by customer_id").to_arrow_reader(batch_rows)
    for batch in reader:
        yield batch.to_pandas()


def read_features(
    connection: duckdb.DuckDBPyConnection,
    origins: Sequence[date],
    horizon_days: int,
    orders: str = "orders",
    labels: bool = False,
) -> pa.Table:
    """Features of every customer at every origin, sorted by origin and customer.

    Args:
        connection: holds the relation ``orders``.
        origins: the as-of dates.
        horizon_days: length of the time ahead; shapes the period features and the labels.
        orders: name or parenthesised query of the orders.
            Where the file knows which orders changed hands (marts ``order_beliefs`` and
            ``customer_id_map``), each origin has the customers that were believed in then, and
            labels follow an id to its successors.
        labels: also ``future_orders`` and ``future_spend_cents`` (0 where there was nothing).
    """
    make_origins(connection, origins)
    query = f"select * from ({_features_known_then(connection, orders, horizon_days)})"
    if labels:
        future = _labels_of_successors(connection, orders, horizon_days)
        query = f"""
            select
                features.*,
                coalesce(later.future_orders, 0) as future_orders,
                coalesce(later.future_spend_cents, 0) as future_spend_cents
            from ({query}) as features
            left join ({future}) as later using (as_of, customer_id)
        """
    return connection.execute(f"{query} order by as_of, customer_id").to_arrow_table()
