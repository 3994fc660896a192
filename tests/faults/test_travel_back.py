"""Travelling back on the demo company: what a later warehouse says of a past day was true then."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from customer360 import pipeline, transform
from customer360.demo.systems import company
from customer360.scoring.features import read_features
from customer360.settings import load_settings
from tests.collect.test_demo_company import Life, load_config
from tests.faults.living import living

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def weeks() -> Iterator[tuple[Life, Path, Path]]:
    """The marts of a day and, twelve nights later, those of then."""
    with living(seed=11) as layout:
        life = Life(layout, load_settings(), load_config(load_settings()))
        kept = []
        for days in (0, 12):  # on the seventh day the campaign tool is down
            for _ in range(days):
                company.advance(layout, 1, lambda _: None)
            life.collect()
            run_id = f"after_{days}"
            life.resolve(run_id)
            pipeline.build_marts(life.settings, life.day, run_id)
            kept.append(life.settings.data_dir / f"{run_id}.duckdb")
            shutil.copyfile(life.settings.work_dir / run_id / pipeline.MARTS_FILE, kept[-1])
        yield life, kept[0], kept[1]


def told_then(path: Path) -> dict[str, tuple[int, int]]:
    with duckdb.connect(str(path), read_only=True) as then:
        return {
            customer: (orders, cents)
            for customer, orders, cents in then.execute(
                "select customer_id, orders_total, spend_cents_total from customer_features"
            ).fetchall()
        }


def told_since(now: duckdb.DuckDBPyConnection, day, horizon: int) -> dict[str, tuple[int, int]]:
    rows = read_features(now, [day], horizon).to_pylist()
    return {row["customer_id"]: (row["orders_total"], row["spend_cents_total"]) for row in rows}


def test_features_of_a_past_day_are_what_that_day_said(weeks):
    life, first, second = weeks
    horizon = life.config.audiences.churn.horizon_days
    with duckdb.connect(str(first), read_only=True) as connection:
        day = connection.execute("select max(as_of) from customer_features").fetchall()[0][0]
    then = told_then(first)
    with duckdb.connect(str(second)) as now:
        # A row that came late belongs to the day on which it happened: that is not tried here.
        now.execute(f"attach '{first}' as past (read_only)")
        now.execute(
            "delete from orders where ordered_on <= ? and order_id not in "
            "(select order_id from past.main.orders)",
            [day],
        )
        since = told_since(now, day, horizon)
        now.execute("delete from order_beliefs")
        leaky = told_since(now, day, horizon)
    wrong = {each for each in then.keys() | since.keys() if then.get(each) != since.get(each)}
    leaked = {each for each in then.keys() | leaky.keys() if then.get(each) != leaky.get(each)}
    assert leaked, "nobody merged: the comparison would prove nothing"
    assert not wrong, f"{len(wrong)} of {len(then)} differ; without beliefs {len(leaked)}"


def test_a_customer_with_a_hundred_thousand_events_is_one_row(weeks):
    life, _, _ = weeks
    marts = life.settings.work_dir / "after_12" / pipeline.MARTS_FILE
    with duckdb.connect(str(marts)) as connection:
        busy = connection.execute("select min(customer_id) from customers").fetchall()[0][0]
        columns = [row[0] for row in connection.execute("describe customer_touchpoints").fetchall()]
        given = {
            "touchpoint_id": "'busy-' || n",
            "customer_id": f"'{busy}'",
            "occurred_on": f"date '{life.day}' - (n % 60)::integer",
            "occurred_at": f"timestamp '{life.day}' - to_minutes(n)",
            "direction": "'inbound'",
        }
        cells = ", ".join(given.get(column, "null") for column in columns)
        connection.execute(
            f"insert into customer_touchpoints select {cells} from range(100000) numbers(n)"
        )
    pipeline.score(life.settings, life.day, "after_12")
    transform.run_dbt(
        life.settings, life.config, life.day, marts,
        ["build", "--select", "path:models/activation", "--exclude-resource-type", "unit_test"],
    )  # fmt: skip
    with duckdb.connect(str(marts), read_only=True) as connection:
        rows = connection.execute(
            "select inbound_touches_13_weeks >= 100000, last_inbound_on from customer_360 "
            "where customer_id = ?",
            [busy],
        ).fetchall()
        assert rows == [(True, life.day)]
        assert connection.execute(
            "select count(*) - count(distinct customer_id) from customer_360"
        ).fetchall() == [(0,)]
