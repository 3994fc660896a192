"""The chain in one process: what it publishes depends on data and day, not on how it got there."""

import datetime as dt
import json
import random
import re
import shutil

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from customer360 import pipeline, run_status, state, transform, vault
from customer360.config import load_config
from customer360.content import snapshot_hash
from customer360.docs.questions import questions
from customer360.exceptions import Customer360Error, GateError
from customer360.metrics import ask as answer_metric
from customer360.publish import snapshot_path
from tests.conftest import HOUSEHOLDS, LAST_DAY

WEEKS = [LAST_DAY - dt.timedelta(weeks=back) for back in (2, 1, 0)]


def data_hash(company) -> str:
    settings = company.settings
    return snapshot_hash(snapshot_path(settings), settings)["data"]


def ask(company, sql):
    with duckdb.connect(str(snapshot_path(company.settings)), read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.timeout(900)
def test_a_run_and_its_rerun(company, chain):
    """One published run, looked at from all sides, then run again."""

    def before_publish(marts):
        holds_the_rules_on_tiny_rows(company, marts)
        compares_no_row_with_every_row(company, marts)

    status = chain(run_id="first", before_publish=before_publish)
    accounts_for_every_row(company, status)
    documents_every_column(company)
    answers_every_question(company)
    remembers_every_check(company)
    tells_where_columns_begin(company)
    stores_identifiers_so_that_they_are_found(company)
    first = snapshot_hash(snapshot_path(company.settings), company.settings)
    again = chain(run_id="second")
    second = snapshot_hash(snapshot_path(company.settings), company.settings)
    assert (second["data"], second["scores"]) == (first["data"], first["scores"])
    for export in again["exports"].values():
        assert (export["added"], export["changed"], export["removed"]) == (0, 0, 0)
    changes_with_one_cell(company, chain, first["tables"])


def accounts_for_every_row(company, status):
    lines = company.read("transactions").num_rows
    assert status["status"] == "published"
    assert status["sources"]["till"] == {
        "read": lines + 12,
        "loaded": lines + 12,
        "duplicates": 0,
        "quarantined": 0,
        "stale_days": 0,
    }
    assert status["customers"] == HOUSEHOLDS
    assert status["checks"]["failed"] == 0
    assert ask(company, "select count(*) from order_lines") == [(lines,)]
    knows_what_to_ask_next(company)
    cents = sum(
        round(value * 100) for value in company.read("transactions")["sales_value"].to_pylist()
    )
    assert ask(company, "select sum(amount_cents) from orders") == [(cents,)]
    sizes = {segment["name"]: segment["size"] for segment in status["segments"]}
    done = company.settings.exports_dir / "segment_members" / LAST_DAY.isoformat()
    assert (done / "_SUCCESS").exists()
    exported = pq.read_table(done / "full.parquet").column("segment").to_pylist()
    assert {name: exported.count(name) for name in set(exported)} == sizes
    manifest = json.loads((done / "manifest.json").read_text())
    assert manifest["run_id"] == "first"


def knows_what_to_ask_next(company):
    """Profiles come from a source of the basic stage, orders from behavioural ones."""
    told = company.read("demographics").num_rows
    assert ask(
        company,
        "select has_basic, has_active, next_question, next_question_reason, count(*) "
        "from customer_360 group by all order by has_basic",
    ) == [
        (False, False, "household_size", "offers and pack sizes fit the household", 60 - told),
        (True, False, None, None, told),
    ]
    bought = "select count(*) from customer_360 where orders_total > 0"
    assert ask(company, f"{bought} and not has_behavioural") == [(0,)]
    assert ask(
        company,
        "select accurate, timely, compliant, is_weak from collection_quality "
        "where table_name = 'transactions' and field = 'household_id'",
    ) == [(1, 1, 1, False)]


def answers_every_question(company):
    """Those of systems that this company lacks too, with nothing."""
    for question in questions():
        ask(company, question.sql)
    months = ask(company, "select sum(spend_cents) from customer_months")
    assert months == ask(company, "select sum(amount_cents) from orders")
    assert ask(
        company,
        "select count(*), count(distinct measure) * count(distinct month) from kpi_scorecard",
    ) == ask(company, "select count(*), count(*) from kpi_scorecard")
    active = answer_metric(company.settings, "active_customers", [])
    by_tier = answer_metric(company.settings, "active_customers", ["tier"])
    assert active.rows[0]["value"] == sum(row["value"] for row in by_tier.rows)


def remembers_every_check(company):
    checks = run_status.status(company.settings)["checks"]
    assert ask(company, "select count(*), sum(is_passed::int) from quality_runs") == [
        (sum(checks.values()), checks["passed"])
    ]


def changes_with_one_cell(company, chain, before):
    rows = company.read("transactions")
    values = rows.column("sales_value").to_pylist()
    values[-1] += 0.01
    company.put("transactions", rows.set_column(5, "sales_value", pa.array(values)))
    chain(run_id="third", until="build_marts")
    marts = company.settings.work_dir / "third" / pipeline.MARTS_FILE
    after = snapshot_hash(marts, company.settings)["tables"]
    for table in ("orders", "order_lines", "customer_months"):
        assert after[table]["hash"] != before[table]["hash"], table
    assert after["products"]["hash"] == before["products"]["hash"]


@pytest.mark.faults
def test_backfill_in_any_order_ends_as_one_run_over_all(company, chain, tmp_path, monkeypatch):
    chain(run_id="at_once")
    expected = data_hash(company)
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path / "elsewhere"))
    order = WEEKS.copy()
    random.Random(4).shuffle(order)
    assert order != WEEKS
    for number, week in enumerate(order):
        chain(week, run_id=f"backfill_{number}")
    assert data_hash(company) == expected
    for number, week in enumerate(order):
        knows_nothing_after(company, f"backfill_{number}", week)


def knows_nothing_after(company, run_id, day):
    settings = company.settings
    snapshot = settings.snapshots_dir / state.get_run(state.engine(settings), run_id)["snapshot"]
    with duckdb.connect(str(snapshot), read_only=True) as connection:
        newest = connection.execute(
            "select max(ordered_on), (select max(occurred_on) from customer_touchpoints), "
            "(select max(as_of) from customer_360) from orders"
        ).fetchall()[0]
    assert max(newest) == day


def test_a_source_that_delivers_nothing_is_not_published_and_not_inherited(company, chain):
    chain(WEEKS[0], run_id="good")
    before = data_hash(company)
    products = company.read("products")
    company.put("products", products.slice(0, 0))
    with pytest.raises(GateError, match=r"audit.till__products: At least 6 rows"):
        chain(WEEKS[1], run_id="bad")
    assert data_hash(company) == before
    assert run_status.status(company.settings)["status"] == "failed"
    company.put("products", products)
    chain(WEEKS[1], run_id="mended", until="audit raw")
    steps = state.run_steps(state.engine(company.settings), "mended")
    assert steps[-1]["result"]["rows"]["till.products"] == 12


def test_marts_stand_on_resolved_identities(company):
    pipeline.begin(company.settings, LAST_DAY, "run")
    with pytest.raises(Customer360Error, match="run its step resolve_identities first"):
        pipeline.build_marts(company.settings, LAST_DAY, "run")


def test_too_many_bad_rows_stop_the_run_and_say_which(company, chain):
    rows = company.read("transactions")
    quantity = [-1 if index % 10 == 0 else 1 for index in range(rows.num_rows)]
    company.put("transactions", rows.set_column(4, "quantity", pa.array(quantity, pa.int64())))
    with pytest.raises(GateError, match=r"At most 1.00% .*keys till/transactions/\d+ of \d+ rows"):
        chain()
    with pytest.raises(Customer360Error, match="nothing is published"):
        snapshot_path(company.settings)


def test_a_failing_expectation_of_the_marts_publishes_nothing(company, chain, monkeypatch):
    from expectations import marts
    from expectations.suites import Suite, no_rows

    planted = Suite(
        "main", "orders", [no_rows("No order of store 301", "order_id", "store_id = '301'")]
    )
    suites = marts.suites
    monkeypatch.setattr(marts, "suites", lambda *given: [*suites(*given), planted])
    with pytest.raises(GateError) as error:
        chain()
    text = str(error.value)
    assert "No order of store 301" in text
    assert re.search(r"keys till-\d+, till-\d+", text)
    assert "Report: " in text
    assert not (company.settings.snapshots_dir / "current.duckdb").exists()


def tells_where_columns_begin(company):
    ways = ask(
        company,
        "select column_name, source, source_table, source_column from column_lineage "
        "where table_name = 'customer_360'",
    )
    assert ("spend_52_weeks_cents", "till", "transactions", "sales_value") in ways
    assert ("age_band", "customer_file", "demographics", "age") in ways
    assert ("churn_probability", "scores", "churn", "churn_probability") in ways
    assert "unread" not in {source for _, source, _, _ in ways}


def stores_identifiers_so_that_they_are_found(company):
    """DuckDB itself would pack those of orders by dictionary, as it does with those of lines."""
    kinds = {
        table: ask(
            company,
            f"select distinct compression from pragma_storage_info('{table}') "
            "where column_name = 'customer_id' and segment_type = 'VARCHAR'",
        )
        for table in ("orders", "order_lines")
    }
    assert kinds == {"orders": [("Uncompressed",)], "order_lines": [("Dictionary",)]}


def holds_the_rules_on_tiny_rows(company, marts):
    settings = company.settings
    config = load_config(settings)
    counts = transform.run_dbt(
        settings, config, LAST_DAY, marts, ["test", "--select", "test_type:unit"]
    )
    assert counts.keys() == {"pass"}
    assert counts["pass"] > 10


SMALL_SIDES = {"locate_records": "provinces", "service_cases": "a day"}
"""Models that may compare all their rows with all of another table, because that one is small."""


def compares_no_row_with_every_row(company, marts):
    """A join that is no hash join takes minutes where a company is large; tiny rows do not show it.

    DuckDB falls back to it for an outer join with more than comparisons of both sides.
    """
    settings = company.settings
    models = settings.data_dir / "dbt" / "compiled" / "customer360" / "models"
    slow, seen = set(), 0
    with duckdb.connect() as connection:
        vault.install(connection, settings)
        for name, path in (
            ("customer360", marts),
            ("workspace", marts.with_name(transform.WORKSPACE_FILE)),
            ("raw", settings.raw_path),
        ):
            connection.execute(f"attach '{path}' as {name} (read_only)")
        for model in models.rglob("*.sql"):
            if not any(part.endswith(".yml") for part in model.parts):
                plan = connection.execute(f"explain {model.read_text()}").fetchall()[0][1]
                seen += 1
                if re.search("NL_JOIN|NESTED_LOOP_JOIN", plan):
                    slow.add(model.stem)
    assert seen > 100
    assert slow <= {*SMALL_SIDES}


def documents_every_column(company):
    undocumented = ask(
        company,
        "select table_name, column_name from duckdb_columns() "
        "where not internal and schema_name = 'main' and comment is null "
        "and table_name not like 'snapshot_%'",
    )
    assert undocumented == []
    assert ask(company, "select count(*) from duckdb_views() where not internal") == [(0,)]


def test_a_source_file_in_another_shape_is_one_entry_and_one_model(
    company, chain, tmp_path, monkeypatch
):
    """The steps of README, "Add a source": a CSV of web orders beside the tills."""
    project = tmp_path / "dbt_project"
    shutil.copytree(transform.DBT_PROJECT, project)
    monkeypatch.setattr(transform, "DBT_PROJECT", project)
    folder = project / "models" / "staging" / "web_shop"
    (company.files / "web.csv").write_text(
        "Order No;Customer;When;Paid\n1;5;2017-05-01 10:00:00;19.90\n2;6;2017-05-02 11:00:00;oops\n"
    )
    company.config["sources"]["sources"]["web_shop"] = {
        "title": "Web orders",
        "owner": "web",
        "stage": "behavioural",
        "format": "csv",
        "path": str(company.files),
        "tables": {
            "orders": {
                "file": "web.csv",
                "delimiter": ";",
                "key": ["Order No"],
                "columns": {
                    "Order No": {"type": "bigint", "required": True},
                    "Customer": {"type": "bigint", "required": True, "personal": "identifier"},
                    "When": {"type": "timestamp", "required": True},
                    "Paid": {"type": "decimal(12,2)", "required": True},
                },
            }
        },
    }
    company.config["policies"]["gates"]["max_quarantined_share"] = 0.5
    company.write()
    folder.mkdir()
    (folder / "stg_web_shop__order_lines.sql").write_text(
        """
        select 'household_id' as identifier_type, "Customer"::varchar as identifier_value,
            "Order No"::varchar as order_id, '1' as line_id, 'web' as channel,
            "When" as ordered_at, 1 as quantity, 0 as discount_cents,
            (round("Paid" * 100))::bigint as amount_cents, 'USD' as currency
        from {{ source_rows('web_shop', 'orders') }} as orders
        """
    )
    status = chain(until="audit marts")
    assert status["sources"]["web_shop"]["quarantined"] == 1
    marts = company.settings.work_dir / "run" / pipeline.MARTS_FILE
    with duckdb.connect(str(marts), read_only=True) as connection:
        assert connection.execute(
            "select order_id, amount_cents from orders where source = 'web_shop'"
        ).fetchall() == [("web_shop-1", 1990)]
