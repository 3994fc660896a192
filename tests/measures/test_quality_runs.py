"""The trend of the gates outlives the runs, and stands in every snapshot."""

import datetime as dt

import duckdb
import pytest

from customer360 import quality_runs
from customer360.exceptions import GateError
from customer360.gate_report import Check
from customer360.quality import run_gate
from expectations.raw import RawTable, suites
from expectations.suites import WARN, Suite, at_least, no_rows
from tests.publish import company

DAY = dt.date(2026, 7, 1)


def check(name: str, *, passed: bool, observed: int) -> Check:
    status = "passed" if passed else "failed"
    return Check("main.orders", name, status, "", name=name, severity="stop", observed=observed)


@pytest.fixture
def settings(tmp_path):
    return company.make_settings(tmp_path)


@pytest.fixture
def marts(tmp_path):
    path = tmp_path / "marts.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "create table quality_runs (run_id varchar, as_of date, checked_at timestamp,"
            " layer varchar, table_name varchar, check_name varchar, severity varchar,"
            " is_passed boolean, observed bigint)"
        )
        connection.execute("create table orders as select 1 as order_id, -5 as amount")
    return path


def told(engine, marts, day=DAY):
    with duckdb.connect(str(marts)) as connection:
        quality_runs.tell(engine, connection, day)
        return connection.execute(
            "select run_id, check_name, is_passed, observed from quality_runs order by all"
        ).fetchall()


def test_a_gate_that_is_run_again_replaces_what_it_found(settings, marts):
    engine = company.open_state(settings)
    quality_runs.record(engine, "one", DAY, "marts", [check("sum", passed=False, observed=3)])
    quality_runs.record(engine, "one", DAY, "scores", [check("spread", passed=True, observed=0)])
    quality_runs.record(engine, "one", DAY, "marts", [check("sum", passed=True, observed=0)])
    later = DAY + dt.timedelta(days=1)
    quality_runs.record(engine, "two", later, "marts", [check("sum", passed=False, observed=1)])
    assert told(engine, marts) == [("one", "spread", True, 0), ("one", "sum", True, 0)]
    assert told(engine, marts, later)[2:] == [("two", "sum", False, 1)]


def test_telling_it_again_leaves_the_file_as_it_is(settings, marts):
    """A publish that was killed finds its copy by comparing bytes."""
    engine = company.open_state(settings)
    quality_runs.record(engine, "one", DAY, "marts", [check("sum", passed=True, observed=0)])
    told(engine, marts)
    before = marts.read_bytes()
    told(engine, marts)
    assert marts.read_bytes() == before


def test_a_gate_that_refuses_is_remembered(settings, marts):
    engine = company.open_state(settings)
    suite = Suite(
        "main",
        "orders",
        [
            at_least(1, "At least 1 rows: no sudden fall"),
            no_rows("No amount is negative", "order_id", "amount < 0"),
            no_rows("No amount is below -3", "order_id", "amount < -3", severity=WARN),
        ],
    )
    with pytest.raises(GateError):
        run_gate(
            settings, "marts", [suite], marts, "bad",
            record=lambda checks: quality_runs.record(engine, "bad", DAY, "marts", checks),
        )  # fmt: skip
    assert told(engine, marts) == [
        ("bad", "No amount is below -3", False, 1),
        ("bad", "No amount is negative", False, 1),
        ("bad", "volume (stop)", True, 1),
    ]


def test_a_pattern_with_braces_is_asked_as_it_stands(settings, tmp_path):
    path = tmp_path / "raw.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema desk; create schema audit; create schema meta")
        connection.execute(
            "create table desk.cases as "
            "select unnest(['a12', 'a123']) as number, false as _is_deleted"
        )
        connection.execute("create table audit.desk__cases as select 1 as one")
    rule = ("number: matches", "regexp_full_match(number, 'a[0-9]{2}')")
    table = RawTable("desk", "cases", ("number",), (rule,), 1, 0.01, {})
    first = suites([table], "run")[0]
    with pytest.raises(GateError, match="number: matches: 1 rows?, keys a123"):
        run_gate(settings, "raw", [first], path, "run")
