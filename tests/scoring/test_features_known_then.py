"""Travelling back: a warehouse of today tells of a past day what the warehouse of that day told."""

from datetime import date, timedelta

import duckdb
import pytest

from customer360.scoring.features import read_features, training_rows

THEN = date(2026, 6, 1)
LATER = THEN + timedelta(days=7)
HORIZON = 28

ORDERS = {
    # order -> (day before THEN, cents); what comes after THEN is negative
    "a1": (60, 1000), "a2": (10, 2000), "a3": (-3, 500),
    "b1": (40, 700), "b2": (-5, 900),
    "c1": (30, 300), "c2": (20, 400), "c3": (-20, 800),
    "d1": (15, 600),
    "e1": (50, 100), "e2": (5, 150),
}  # fmt: skip

# Until THEN a and b were two, and c was one with d; the buyer of e2 was found out later.
BELIEVED_THEN = {"a": ["a1", "a2", "a3"], "b": ["b1", "b2"], "c": ["c1", "c2", "d1"], "e": ["e1"]}
BELIEVED_NOW = {
    "a": ["a1", "a2", "a3", "b1", "b2"], "c": ["c1", "c2", "c3"], "d": ["d1"], "e": ["e1", "e2"],
}  # fmt: skip


def warehouse(connection, believed, beliefs=(), id_map=()):
    connection.execute(
        "create or replace table orders (order_id varchar, customer_id varchar, ordered_on date, "
        "amount_cents bigint, quantity bigint)"
    )
    connection.execute(
        "create or replace table order_beliefs "
        "(order_id varchar, customer_id varchar, known_from date, known_to date)"
    )
    connection.execute("create or replace table customer_id_map (old_id varchar, new_id varchar)")
    rows = [
        (order, customer, THEN - timedelta(days=ORDERS[order][0]), ORDERS[order][1], 1)
        for customer, orders in believed.items()
        for order in orders
    ]
    for table, given in (("orders", rows), ("order_beliefs", beliefs), ("customer_id_map", id_map)):
        for row in given:
            connection.execute(f"insert into {table} values ({', '.join('?' * len(row))})", row)


START = date(2026, 1, 1)
CHANGES = [
    ("b1", "b", START, LATER), ("b1", "a", LATER, None),
    ("b2", "b", START, LATER), ("b2", "a", LATER, None),
    ("d1", "c", START, LATER), ("d1", "d", LATER, None),
    ("e2", "c-unknown", START, LATER), ("e2", "e", LATER, None),
]  # fmt: skip


@pytest.fixture
def now():
    with duckdb.connect() as connection:
        warehouse(connection, BELIEVED_NOW, CHANGES, [("b", "a"), ("c", "d")])
        yield connection


def told(connection, labels=False):
    rows = read_features(connection, [THEN], HORIZON, labels=labels).to_pylist()
    return {row["customer_id"]: row for row in rows}


def test_features_of_a_past_day_are_those_of_that_day(now):
    with duckdb.connect() as then:
        believed = {**BELIEVED_THEN, "c-unknown": ["e2"]}
        warehouse(then, believed)
        assert told(now) == told(then)
    assert set(told(now)) == {"a", "b", "c", "e", "c-unknown"}


def test_a_planted_leak_is_caught(now):
    """Without what was believed, the past knows already who will be one."""
    honest = told(now)
    now.execute("delete from order_beliefs")
    leaky = told(now)
    assert leaky != honest
    assert leaky["a"]["orders_total"] == 3
    assert honest["a"]["orders_total"] == 2
    assert "b" in honest
    assert "b" not in leaky


def test_labels_follow_an_id_to_its_successors(now):
    rows = told(now, labels=True)
    # b became a: what a bought since is b's return, too; c was split, and both parts are its future
    assert (rows["a"]["future_orders"], rows["a"]["future_spend_cents"]) == (2, 1400)
    assert (rows["b"]["future_orders"], rows["b"]["future_spend_cents"]) == (2, 1400)
    assert (rows["c"]["future_orders"], rows["c"]["future_spend_cents"]) == (1, 800)
    assert rows["e"]["future_orders"] == 0
    assert rows["c-unknown"]["future_orders"] == 0


def test_today_knows_what_is_believed_today(now):
    rows = read_features(now, [LATER], HORIZON).to_pylist()
    assert {row["customer_id"]: row["orders_total"] for row in rows} == {
        "a": 5, "c": 2, "d": 1, "e": 2,
    }  # fmt: skip


def test_several_origins_at_once_are_each_their_own(now):
    rows = read_features(now, [THEN, LATER], HORIZON).to_pylist()
    alone = [row for day in (THEN, LATER) for row in read_features(now, [day], HORIZON).to_pylist()]
    columns = ("as_of", "customer_id", "orders_total", "spend_cents_total", "recency_days")
    assert [[row[name] for name in columns] for row in rows] == [
        [row[name] for name in columns] for row in alone
    ]


def test_training_rows_stand_on_it(now):
    """A long history around it, so that there are windows to learn from."""
    now.execute(
        "insert into orders select 'x' || n || '-' || d, 'x' || n, "
        "date '2024-06-01' + (d * 9 + n)::integer, 1000, 1 "
        "from range(40) people(n), range(80) days(d)"
    )
    rows = training_rows(now, date(2026, 6, 28), HORIZON)
    ids = set(rows.frame["customer_id"])
    assert "b" in ids
    assert not any("@" in each for each in ids)
