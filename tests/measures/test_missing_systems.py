"""A company that lacks some of the ten systems gets empty, typed tables and a working 360."""

import datetime as dt
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from customer360 import pipeline
from customer360.declarations import declared_sources
from customer360.demo.systems import company
from customer360.demo.systems.layout import Layout
from customer360.publish import snapshot_path
from customer360.settings import PROJECT, Settings, load_settings

SYSTEMS = (
    "crm", "shop", "loyalty", "tills", "wechat", "site", "call_centre", "campaigns",
    "after_sales", "voice",
)  # fmt: skip

FED_BY_ONE = {
    "crm": ("leads", "deals", "consents"),
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
    with (
        tempfile.TemporaryDirectory(prefix="c360-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("COMPANY", "demo")
        patch.setenv("CUSTOMER360_DATA", folder)
        patch.setenv("CUSTOMER360_THREADS", "2")
        layout = Layout(Path(folder) / "demo" / "systems")
        company.start(layout, size="tiny", seed=11, report=lambda _: None)
        try:
            settings = load_settings()
            for source in declared_sources(settings):
                pipeline.extract(settings, source.name, day(settings))
            yield settings
        finally:
            company.reset(layout)


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
    return config


def published(whole: Settings, kept: tuple[str, ...], folder: Path) -> duckdb.DuckDBPyConnection:
    """The snapshot of a company that has only the systems ``kept``, from their landing batches."""
    config = {
        name: yaml.safe_load((PROJECT / "config" / f"{name}.yml").read_text(encoding="utf-8"))[
            "demo"
        ]
        for name in ("sources", "audiences", "policies")
    }
    (folder / "config").mkdir()
    for name, section in without(config, kept).items():
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
        pipeline.begin(settings, as_of, run_id)
        pipeline.load_raw(settings, as_of, run_id)
        pipeline.resolve_identities(settings, as_of, run_id)
        pipeline.build_marts(settings, as_of, run_id)
        pipeline.audit(settings, as_of, run_id, "marts")
        pipeline.train_if_needed(settings, as_of, run_id)
        pipeline.score(settings, as_of, run_id)
        pipeline.build_scored_marts(settings, as_of, run_id)
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
