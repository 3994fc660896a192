"""A made-up shop: customers who buy at their own pace and, some of them, stop for good."""

from collections.abc import Callable, Iterator
from datetime import date

import duckdb
import numpy as np
import pandas as pd
import pytest

START = date(2025, 1, 1)


def make_orders(customers: int = 700, days: int = 420, seed: int = 5) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    rows = []
    for customer in range(customers):
        gap = random.gamma(2.0, 8.0) + 2.0
        joined = 0 if random.random() < 0.6 else int(random.integers(0, days - 10))
        lifetime = random.exponential(300.0)
        basket = random.lognormal(8.0, 0.6)
        at = joined
        while at < min(days, joined + lifetime):
            rows.append((f"c{customer:05d}", at, int(basket * random.lognormal(0, 0.3))))
            at += max(1, int(random.exponential(gap)))
    orders = pd.DataFrame(rows, columns=["customer_id", "day", "amount_cents"])
    orders["ordered_on"] = pd.Timestamp(START) + pd.to_timedelta(orders.pop("day"), unit="D")
    orders["quantity"] = 1
    return orders


def load(connection: duckdb.DuckDBPyConnection, orders: pd.DataFrame, name: str = "orders") -> None:
    connection.register("given", orders)
    connection.execute(
        f"create or replace table {name} as select customer_id, ordered_on::date as ordered_on, "
        "amount_cents::bigint as amount_cents, quantity::bigint as quantity from given"
    )
    connection.unregister("given")


@pytest.fixture(scope="session")
def load_orders() -> Callable[[duckdb.DuckDBPyConnection, pd.DataFrame], None]:
    return load


@pytest.fixture(scope="session")
def shop_orders() -> pd.DataFrame:
    return make_orders()


@pytest.fixture
def shop(shop_orders: pd.DataFrame) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        load(connection, shop_orders)
        yield connection
