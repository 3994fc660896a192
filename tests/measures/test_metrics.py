"""Measures: one definition, asked of a published snapshot by any of its dimensions."""

import datetime as dt
import json

import pytest
import yaml
from click.testing import CliRunner

from customer360 import metrics
from customer360.exceptions import ConfigError, Customer360Error
from customer360.metric_commands import metric
from customer360.metrics import Definitions, ask, last_whole_month, load_definitions
from customer360.settings import PROJECT, load_settings
from tests.publish.company import publish_tables

MONTHS = """
    select * from (values
        ('a', date '2026-05-01', 'high', null, 2, 700, true, false, 3, true),
        ('b', date '2026-05-01', 'low', null, 1, 100, true, false, 0, true),
        ('a', date '2026-06-01', 'low', 'high', 0, 0, true, true, 0, true),
        ('b', date '2026-06-01', 'low', 'low', 0, 0, false, true, 1, false),
        ('c', date '2026-06-01', 'high', null, 1, 300, true, false, 1, false),
        ('c', date '2026-07-01', 'low', 'high', 4, 400, true, false, 1, false)
    ) as months (customer_id, month, value_tier, earlier_value_tier, orders, spend_cents, is_active,
        was_active, complaints, is_high_value)
"""
DEALS = """
    select * from (values (true, date '2026-07-01', 1), (false, date '2026-06-02', 9))
        as deals (is_won, closed_on, cycle_days)
"""


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A snapshot as of the middle of July."""
    monkeypatch.setenv("COMPANY", "demo")
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path))
    settings = load_settings()
    tables = {"customer_months": MONTHS, "deals": DEALS}
    publish_tables(settings, "run", dt.date(2026, 7, 15), {}, **tables)
    return settings


def values(answer):
    return [tuple(row[name] for name in (*answer.by, "value")) for row in answer.rows]


def test_a_rate_by_month_and_tier(published):
    answer = ask(published, "retention_rate", ["month", "tier"])
    assert values(answer) == [
        (dt.date(2026, 5, 1), None, None),
        (dt.date(2026, 6, 1), "high", 1.0),
        (dt.date(2026, 6, 1), "low", 0.0),
        (dt.date(2026, 6, 1), None, None),
        (dt.date(2026, 7, 1), "high", None),
    ]


def test_without_month_it_is_the_last_whole_month_or_the_one_that_is_named(published):
    assert values(ask(published, "active_customers", ["tier"])) == [("high", 1.0), ("low", 1.0)]
    may = dt.date(2026, 5, 17)
    assert values(ask(published, "active_customers", [], month=may)) == [(2.0,)]
    assert last_whole_month(dt.date(2026, 6, 30)) == dt.date(2026, 6, 1)
    assert last_whole_month(dt.date(2026, 6, 29)) == dt.date(2026, 5, 1)


def test_a_numerator_and_a_denominator_may_look_at_rows_of_their_own(published):
    assert values(ask(published, "order_value")) == [
        (dt.date(2026, 5, 1), 800 / 3),
        (dt.date(2026, 6, 1), 300.0),
        (dt.date(2026, 7, 1), 100.0),
    ]
    june = dt.date(2026, 6, 1)
    assert ask(published, "complaint_rate", [], month=june).rows == [
        {"numerator": 1.0, "denominator": 2.0, "value": 0.5}
    ]


def test_a_row_falls_into_the_month_of_its_day(published):
    answer = ask(published, "sales_cycle_days")
    assert values(answer) == [(dt.date(2026, 6, 1), None), (dt.date(2026, 7, 1), 1.0)]


def test_an_unknown_name_or_dimension_gets_the_near_ones(published):
    with pytest.raises(Customer360Error, match="did you mean retention_rate"):
        ask(published, "retention")
    with pytest.raises(Customer360Error, match="did you mean tier"):
        ask(published, "retention_rate", ["tiers"])
    with pytest.raises(Customer360Error, match="by month, source, table"):
        ask(published, "sync_rate", ["xyz"])
    with pytest.raises(Customer360Error, match="has no table service_cases"):
        ask(published, "satisfaction")


def test_the_command_answers_lists_and_shows(published):
    def call(*arguments):
        done = CliRunner().invoke(metric, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    told = json.loads(call("retention_rate", "--by", "month,tier", "--month", "2026-06", "--json"))
    assert told["by"] == ["month", "tier"]
    assert told["rows"][0] == {
        "month": "2026-06-01", "tier": "high", "numerator": 1.0, "denominator": 1.0, "value": 1.0,
    }  # fmt: skip
    assert "100.0%" in call("retention_rate", "--by", "tier")
    assert set(json.loads(call("list", "--json"))["measures"]) == set(load_definitions().measures)
    assert "since       2026-11-22" in call("show", "retention_rate")


def test_a_change_of_a_definition_is_told():
    raw = yaml.safe_load(metrics.DEFINITIONS.read_text(encoding="utf-8"))
    raw["measures"]["spend"]["changes"] = [{"on": "2027-01-05", "what": "returns are taken off"}]
    changed = Definitions.model_validate(raw)
    assert changed.measures["spend"].changed == dt.date(2027, 1, 5)
    assert changed.as_var()["measures"]["spend"]["changed"] == "2027-01-05"


def test_a_wrong_definition_is_refused_with_its_place(tmp_path):
    raw = yaml.safe_load(metrics.DEFINITIONS.read_text(encoding="utf-8"))
    raw["measures"]["spend"]["numerator"]["of"] = "moon"
    path = tmp_path / "metrics.yml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(ConfigError, match="rows 'moon' are not declared"):
        load_definitions(path)


def test_every_measure_counts_columns_that_its_mart_has():
    known = {
        model["name"]: {column["name"] for column in model.get("columns", [])}
        for path in (PROJECT / "dbt_project" / "models").rglob("*.yml")
        for model in yaml.safe_load(path.read_text(encoding="utf-8")).get("models", [])
    }
    definitions = load_definitions()
    for name, rows in definitions.rows.items():
        named = {*rows.by.values(), rows.month or rows.day}
        assert named <= known[rows.table], name
