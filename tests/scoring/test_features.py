"""The purchase features, against numbers worked out by hand."""

from datetime import date, timedelta

import duckdb
import pytest

from customer360.scoring.features import feature_batches, orders_content, read_features

AS_OF = date(2026, 6, 30)  # a Tuesday


@pytest.fixture
def connection():
    with duckdb.connect() as opened:
        opened.execute(
            "create table orders (customer_id varchar, ordered_on date, "
            "amount_cents bigint, quantity bigint)"
        )
        yield opened


def add(connection, customer, days_before, cents=1000, quantity=1):
    connection.execute(
        "insert into orders values (?, ?, ?, ?)",
        [customer, AS_OF - timedelta(days=days_before), cents, quantity],
    )


def features(connection, origins=(AS_OF,), **options):
    rows = read_features(connection, origins, 28, **options).to_pylist()
    return {(row["as_of"], row["customer_id"]): row for row in rows}


def test_every_number_of_a_small_history(connection):
    # Days before the as-of: 100, 40, 20 (two orders), 5; gaps 60, 20, 15.
    for days, cents in ((100, 1000), (40, 2000), (20, 500), (20, 700), (5, 900)):
        add(connection, "anna", days, cents, quantity=2)
    row = features(connection)[AS_OF, "anna"]
    assert row["recency_days"] == 5
    assert row["tenure_days"] == 100
    assert row["visits"] == 4
    assert row["orders_total"] == 5
    assert row["spend_cents_total"] == 5100
    assert [row[f"orders_{week}w"] for week in (1, 2, 4, 8, 13, 26, 52)] == [1, 1, 3, 4, 4, 5, 5]
    assert [row[f"spend_cents_{week}w"] for week in (1, 2, 4, 8, 13, 26, 52)] == [
        900, 900, 2100, 4100, 4100, 5100, 5100,
    ]  # fmt: skip
    assert row["gap_mean_days"] == pytest.approx(95 / 3)
    assert row["gap_median_days"] == 20
    assert row["gap_std_days"] == pytest.approx(24.6644, abs=1e-3)
    assert (row["gap_max_days"], row["gap_last_days"]) == (60, 15)
    assert row["recency_in_gaps"] == pytest.approx(5 / (95 / 3))
    # Weeks 0, 2, 5 and 14; periods of 28 days 0, 1 and 3 of the four that are known.
    assert [row[f"active_weeks_{week}w"] for week in (4, 13, 26, 52)] == [2, 3, 4, 4]
    assert (row["active_periods"], row["known_periods"]) == (3, 4)
    assert row["orders_change_4w"] == 3 - 1
    assert row["orders_change_13w"] == pytest.approx(3 - (4 - 3) * 4 / 9)
    assert row["basket_cents"] == pytest.approx(1020)
    assert row["spend_cents_last"] == 900
    assert row["basket_quantity_26w"] == 2
    # 5 days before Tuesday 30 June is a Thursday; 20 a Wednesday (twice), 40 a Thursday, 100 a
    # Sunday.
    assert row["weekend_share"] == pytest.approx(1 / 5)
    assert row["main_weekday_share"] == pytest.approx(2 / 5)


def test_a_single_purchase_has_no_gap_and_a_refund_is_no_visit(connection):
    add(connection, "once", 30)
    add(connection, "back", 30)
    add(connection, "back", 3, cents=-400)
    add(connection, "only refund", 3, cents=-400)
    found = features(connection)
    once, back = found[AS_OF, "once"], found[AS_OF, "back"]
    assert once["gap_mean_days"] is None
    assert once["recency_in_gaps"] is None
    assert (back["recency_days"], back["visits"], back["orders_total"]) == (30, 1, 1)
    assert back["spend_cents_total"] == 600
    assert back["spend_cents_1w"] == -400
    assert (AS_OF, "only refund") not in found


def test_the_future_changes_no_feature(connection):
    for days in (90, 31, 12):
        add(connection, "anna", days)
    origins = [AS_OF - timedelta(days=28), AS_OF]
    before = features(connection, origins)
    add(connection, "anna", -1, cents=99_999, quantity=50)
    add(connection, "anna", -300)
    add(connection, "ben", -2)
    assert features(connection, origins) == before


def test_origins_do_not_touch_each_other(connection):
    for customer, days in (("anna", 90), ("anna", 31), ("anna", 12), ("ben", 20)):
        add(connection, customer, days)
    add(connection, "long ago", 900)
    origins = [AS_OF - timedelta(days=days) for days in (56, 25, 0)]
    together = features(connection, origins)
    alone = {key: row for day in origins for key, row in features(connection, [day]).items()}
    assert together == alone
    assert (origins[0], "ben") not in together
    assert together[AS_OF, "long ago"]["orders_52w"] == 0
    assert together[AS_OF, "long ago"]["recency_days"] == 900


def test_labels_count_what_came_after_and_within_the_horizon(connection):
    for days in (40, 0, -1, -28, -29):
        add(connection, "anna", days)
    add(connection, "ben", 10)
    found = features(connection, labels=True)
    assert found[AS_OF, "anna"]["future_orders"] == 2
    assert found[AS_OF, "anna"]["future_spend_cents"] == 2000
    assert found[AS_OF, "ben"]["future_orders"] == 0


def test_batches_hold_the_same_rows(connection):
    for number in range(25):
        add(connection, f"c{number:02d}", number)
    batches = list(feature_batches(connection, AS_OF, 28, batch_rows=10))
    ids = [customer for batch in batches for customer in batch["customer_id"]]
    assert ids == sorted(ids)
    assert len(ids) == 25


def test_the_content_hash_ignores_the_order_of_rows_and_sees_a_cell(connection):
    for days in (40, 20, 5):
        add(connection, "anna", days)
    before = orders_content(connection, AS_OF)
    connection.execute(
        "create or replace table orders as select * from orders order by ordered_on desc"
    )
    assert orders_content(connection, AS_OF) == before
    add(connection, "anna", -3)
    assert orders_content(connection, AS_OF) == before
    connection.execute(
        "update orders set amount_cents = 1001 where ordered_on = ?", [AS_OF - timedelta(days=5)]
    )
    assert orders_content(connection, AS_OF).hash != before.hash


def test_an_empty_table_gives_no_rows(connection):
    assert read_features(connection, [AS_OF], 28, labels=True).num_rows == 0
    assert orders_content(connection, AS_OF).first_on is None
