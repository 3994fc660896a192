"""A company that lacks some of the ten systems gets empty, typed tables and a working 360."""

import datetime as dt
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from customer360 import pipeline, transform
from customer360.declarations import declared_sources
from customer360.publish import snapshot_path
from customer360.settings import PROJECT, Settings, load_settings
from tests.conftest import HOUSEHOLDS, LAST_DAY
from tests.faults.living import living

SYSTEMS = (
    "crm", "shop", "loyalty", "tills", "wechat", "site", "call_centre", "campaigns",
    "after_sales", "voice",
)  # fmt: skip

FED_BY_ONE = {
    "crm": ("leads", "deals"),
    "shop": ("returns",),
    "loyalty": ("loyalty_accounts", "loyalty_transactions"),
    "tills": ("stores",),
    "wechat": (),
    "site": (),
    "call_centre": ("service_cases",),
    "campaigns": ("campaigns", "campaign_touches", "coupon_redemptions"),
    "after_sales": ("installed_products", "repairs"),
    "voice": ("feedback",),
}
"""System -> the marts that nobody else feeds."""


@pytest.fixture(scope="module")
def whole() -> Iterator[Settings]:
    """A small demo company of all ten systems, landed."""
    with living(seed=11):
        settings = load_settings()
        for source in declared_sources(settings):
            pipeline.extract(settings, source.name, day(settings))
        yield settings


def day(settings: Settings) -> dt.date:
    return dt.date.fromisoformat((settings.data_dir / "clock").read_text().strip())


def without(config: Any, kept: tuple[str, ...]) -> Any:
    """The demo's configuration with the sources ``kept``, and no word of the others."""
    config["sources"]["sources"] = {
        name: source for name, source in config["sources"]["sources"].items() if name in kept
    }
    uses = config["policies"]["trust"]["uses"]
    for use, fields in uses.items():
        uses[use] = [field for field in fields if field.partition(".")[0] in kept]
    recorded = config["policies"]["consent_recorded_in"]
    config["policies"]["consent_recorded_in"] = {
        kind: field for kind, field in recorded.items() if field.partition(".")[0] in kept
    }
    survivorship = config["policies"]["survivorship"]
    for ranked in (survivorship, *survivorship["attributes"].values()):
        for order in {"trust", "masters"} & ranked.keys():
            ranked[order] = [name for name in ranked[order] if name in kept]
    return config


def published(
    whole: Settings, kept: tuple[str, ...], folder: Path, added: dict[str, Any] | None = None
) -> duckdb.DuckDBPyConnection:
    """The snapshot of a company that has only the systems ``kept``, from their landing batches.

    ``added``: further sources, which are read.
    """
    config = {
        name: yaml.safe_load((PROJECT / "config" / f"{name}.yml").read_text(encoding="utf-8"))[
            "demo"
        ]
        for name in ("sources", "audiences", "policies")
    }
    (folder / "config").mkdir()
    without(config, kept)["sources"]["sources"] |= added or {}
    for name, section in config.items():
        text = yaml.safe_dump({"demo": section}, sort_keys=False, allow_unicode=True)
        (folder / "config" / f"{name}.yml").write_text(text, encoding="utf-8")
    shutil.copy(PROJECT / "config" / "identity.yml", folder / "config")
    settings = replace(whole, data_dir=folder / "demo")
    for name in kept:
        shutil.copytree(whole.landing_dir / name, settings.landing_dir / name)
    shutil.copy(whole.data_dir / "clock", settings.data_dir / "clock")
    os.environ["CUSTOMER360_CONFIG"] = str(folder / "config")
    try:
        as_of, run_id = day(settings), "run"
        for name in added or {}:
            pipeline.extract(settings, name, as_of)
        pipeline.begin(settings, as_of, run_id)
        pipeline.load_raw(settings, as_of, run_id)
        pipeline.resolve_identities(settings, as_of, run_id)
        pipeline.build_marts(settings, as_of, run_id)
        pipeline.audit(settings, as_of, run_id, "marts")
        pipeline.train_if_needed(settings, as_of, run_id)
        pipeline.score(settings, as_of, run_id)
        pipeline.build_scored_marts(settings, as_of, run_id)
        pipeline.engage(settings, as_of, run_id)
        pipeline.audit(settings, as_of, run_id, "scores")
        pipeline.publish(settings, as_of, run_id)
        return duckdb.connect(str(snapshot_path(settings)), read_only=True)
    finally:
        del os.environ["CUSTOMER360_CONFIG"]


def rows(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(connection.execute(f"select count(*) from {table}").fetchall()[0][0])


def works(connection: duckdb.DuckDBPyConnection) -> None:
    """There are customers, each with its wide row, and every table has types."""
    assert rows(connection, "customers") == rows(connection, "customer_360") > 10
    untyped = connection.execute(
        "select table_name, column_name from duckdb_columns() "
        "where schema_name = 'main' and not internal and data_type in ('NULL', '\"NULL\"')"
    ).fetchall()
    assert untyped == []


def test_one_file_of_orders_is_enough_for_the_marts(company):
    """The fast form: the tills alone, up to the gate of the marts."""
    sources = company.config["sources"]["sources"]
    company.config["sources"]["sources"] = {"till": sources["till"]}
    del sources["till"]["tables"]["products"]
    for fields in company.config["policies"]["trust"]["uses"].values():
        fields[:] = [field for field in fields if field.startswith("till.transactions.")]
    company.write()
    settings = company.settings
    pipeline.extract(settings, "till", LAST_DAY)
    for step in (
        pipeline.begin, pipeline.load_raw, pipeline.resolve_identities, pipeline.build_marts,
    ):  # fmt: skip
        step(settings, LAST_DAY, "run")
    assert pipeline.audit(settings, LAST_DAY, "run", "marts")["failed"] == 0
    marts = settings.work_dir / "run" / pipeline.MARTS_FILE
    with duckdb.connect(str(marts), read_only=True) as connection:
        assert rows(connection, "customers") == HOUSEHOLDS
        assert rows(connection, "customer_months") > HOUSEHOLDS
        for table in {table for tables in FED_BY_ONE.values() for table in tables}:
            assert rows(connection, table) == 0, table


@pytest.mark.faults
@pytest.mark.parametrize("missing", SYSTEMS)
def test_with_each_system_left_out(whole, tmp_path, missing):
    kept = tuple(name for name in SYSTEMS if name != missing)
    with published(whole, kept, tmp_path) as connection:
        works(connection)
        for table in FED_BY_ONE[missing]:
            assert rows(connection, table) == 0, table


@pytest.mark.faults
def test_with_one_file_of_orders(whole, tmp_path):
    with published(whole, ("tills",), tmp_path) as connection:
        works(connection)
        assert rows(connection, "orders") > 0
        for table in {table for tables in FED_BY_ONE.values() for table in tables} - {"stores"}:
            assert rows(connection, table) == 0, table


FAIR = {
    "title": "Trade fair",
    "owner": "sales-operations",
    "stage": "active",
    "format": "csv",
    "tables": {
        "visitors": {
            "file": "visitors.csv",
            "key": ["no"],
            "may_be_empty": True,
            "total": {"of": "order_lines.amount_cents", "value": "deposit * 100"},
            "columns": {
                "no": {"type": "bigint", "required": True},
                "name": {"type": "text", "personal": "name"},
                "mobile": {"type": "text", "personal": "contact"},
                "deposit": {"type": "decimal(12,2)", "min": 0},
                "came_at": {"type": "timestamp", "required": True},
            },
        }
    },
}

FAIR_MODELS = {
    "person_records": """
        select {{ record_id('fair.visitors', 'no') }} as record_id, 'person' as entity,
            {{ plain_text('name') }} as full_name, came_at as created_at, came_at as updated_at
        from {{ source_rows('fair', 'visitors') }} as visitors
    """,
    "identifiers": """
        {{ identifiers_of(
            source_rows('fair', 'visitors'), record_id('fair.visitors', 'no'),
            [['phone', real_phone('mobile'), 'true']], 'came_at', 'came_at'
        ) }}
    """,
    "order_lines": """
        select 'record' as identifier_type,
            {{ record_id('fair.visitors', 'no') }} as identifier_value,
            cast(no as varchar) as order_id, '1' as line_id, 'fair' as channel,
            came_at as ordered_at, 1 as quantity, 0 as discount_cents,
            {{ minor_units('deposit') }} as amount_cents, '{{ var("currency") }}' as currency
        from {{ source_rows('fair', 'visitors') }} as visitors
    """,
}


@pytest.mark.faults
def test_a_source_of_one_s_own_reaches_the_360_without_an_edit(whole, tmp_path, monkeypatch):
    """The words of README, "To make customers of it": an entry and three models, nothing else."""
    project = tmp_path / "dbt_project"
    shutil.copytree(transform.DBT_PROJECT, project)
    monkeypatch.setattr(transform, "DBT_PROJECT", project)
    folder = project / "models" / "staging" / "fair"
    folder.mkdir()
    for entity, sql in FAIR_MODELS.items():
        (folder / f"stg_fair__{entity}.sql").write_text(sql, encoding="utf-8")
    name, mobile = duckdb.connect(str(whole.raw_path.parent / "systems" / "world" / "world.duckdb"),
                           read_only=True).execute(
        "select full_name, mobile from crm.persons "
        "where regexp_full_match(mobile, '1[0-9]{10}') limit 1"
    ).fetchall()[0]  # fmt: skip
    (tmp_path / "visitors.csv").write_text(
        f"no,name,mobile,deposit,came_at\n1,{name},{mobile},99.50,2026-06-29 10:00:00\n"
        "2,Stranger,13911112223,10.00,2026-06-29 11:00:00\n",
        encoding="utf-8",
    )
    fair = {**FAIR, "path": str(tmp_path)}
    with published(whole, ("crm", "tills"), tmp_path, {"fair": fair}) as connection:
        works(connection)
        assert connection.execute(
            "select sum(amount_cents), count(distinct customer_id) from orders "
            "where source = 'fair'"
        ).fetchall() == [(10950, 2)]
        assert connection.execute(
            "select count(*) from customer_360 join orders using (customer_id) "
            "where orders.source = 'fair' and has_active and source_systems > 1"
        ).fetchall() == [(1,)]
        assert connection.execute(
            "select count(*) from customer_touchpoints where channel = 'fair'"
        ).fetchall() == [(2,)]
