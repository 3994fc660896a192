"""The rows of a customer come together again, none is lost, and what is in order is left alone."""

import duckdb
import pytest

from customer360 import nearness
from customer360.exceptions import Customer360Error

CUSTOMERS = 40_000


@pytest.fixture
def marts(tmp_path):
    """Orders of a full build and of five nights, each in order of its own customers."""
    with duckdb.connect(str(tmp_path / "marts.duckdb"), config={"threads": 2}) as connection:
        connection.execute("create table orders (order_id bigint, customer_id varchar)")
        append(connection, 2_000_000, first=0)
        for night in range(5):
            append(connection, 25_000, first=10_000_000 * (night + 1))
        yield connection


def append(connection, rows, first):
    """Rows of random customers, every tenth without one, as a night leaves them."""
    connection.execute(
        "insert into orders select place, if(place % 10 = 0, null, "
        f"'c' || substr(md5((hash(place) % {CUSTOMERS})::varchar), 1, 16)) as customer_id "
        f"from range({first}, {first + rows}) as made(place) order by customer_id"
    )
    connection.execute("checkpoint")


def content(connection):
    return connection.execute("select count(*), sum(hash(orders)) from orders").fetchall()


def test_nights_become_one_stretch_and_no_row_changes(marts):
    before = content(marts)
    assert len(nearness.stretches(marts, "orders")) == 4
    done = nearness.tidy(marts)
    marts.execute("checkpoint")
    assert content(marts) == before
    # The last row group of the full build held the first nights, and goes with them.
    assert 125_000 <= done["orders"] < 125_000 + 122_880
    assert len(nearness.stretches(marts, "orders")) == 3
    assert nearness.tidy(marts) == {}


def test_a_table_without_an_order_gets_one(marts):
    marts.execute("create table visits as select * from orders order by hash(order_id)")
    assert nearness.tidy(marts, leave=["orders"]) == {"visits": 2_125_000}
    assert marts.execute(
        "select bool_and(customer_id >= previous) from "
        "(select customer_id, lag(customer_id) over (order by rowid) as previous from visits)"
    ).fetchall() == [(True,)]


def test_few_loose_rows_wait_and_other_tables_are_left_alone(marts):
    marts.execute("create table few as select * from orders order by hash(order_id) limit 30000")
    marts.execute("create table products as select order_id from orders order by hash(order_id)")
    marts.execute("create schema workings; create table workings.orders as from orders")
    assert nearness.tidy(marts, leave={"orders"}) == {}
    assert list(nearness.tidy(marts)) == ["orders"]


def test_a_rewriting_that_would_lose_rows_is_taken_back(marts, monkeypatch):
    before = content(marts)
    monkeypatch.setattr(nearness, "KEY", "customer_id limit 7 --")
    with pytest.raises(Customer360Error, match="orders"):
        nearness._rewrite(marts, "orders", 0)
    assert content(marts) == before
