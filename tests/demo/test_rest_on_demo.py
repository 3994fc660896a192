"""The demo's real web services, read by the connector, well and while they misbehave."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
import yaml
from click.testing import CliRunner

from customer360 import landing, raw
from customer360.cli import cli
from customer360.config import Config, load_config
from customer360.demo.systems import company, read_connections
from customer360.demo.systems.layout import Layout, load_secrets
from customer360.exceptions import SourceError
from customer360.settings import PROJECT, Settings, load_settings
from customer360.sources import web_service

DAY = dt.date(2026, 3, 1)


def ticket_table(pagination: dict[str, Any]) -> dict[str, Any]:
    return {
        "request": {
            "path": "tickets",
            "records": "data",
            "since_parameter": "updated_since",
            "pagination": {"size_parameter": "per_page", "size": 300, **pagination},
        },
        "key": ["ticket_id"],
        "cursor": {"column": "updated_at", "look_back_days": 2},
        "columns": {
            "ticket_id": {"type": "bigint", "required": True},
            "subject": {"type": "text"},
            "status": {"type": "text"},
            "satisfaction": {"type": "integer"},
            "opened_at": {"type": "timestamp"},
            "updated_at": {"type": "timestamp", "required": True},
        },
    }


SOURCES = {
    "callcentre": {
        "tickets": ticket_table({"kind": "cursor", "parameter": "cursor", "next": "next_cursor"}),
        "paged": ticket_table({"kind": "page", "parameter": "page", "total": "total"}),
    },
    "campaign": {
        "sends": {
            "request": {
                "path": "sends",
                "records": "items",
                "pagination": {"kind": "link", "size_parameter": "limit", "size": 100},
            },
            "key": ["send_id"],
            "columns": {
                "send_id": {"type": "bigint", "required": True},
                "channel": {"type": "text"},
                "sent_at": {"type": "timestamp", "zone": "UTC"},
            },
        }
    },
}


@pytest.fixture
def declared(living: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """The demo's services declared as a user would, in a company of their own."""
    monkeypatch.setenv("COMPANY", "tiny")
    monkeypatch.setenv("CUSTOMER360_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path / "data"))
    known = read_connections(living)
    sources = {
        name: {
            "title": name,
            "owner": "service",
            "stage": "active",
            "format": "rest",
            "connection": name,
            "tables": tables,
        }
        for name, tables in SOURCES.items()
    }
    for name in sources:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", known[name].airflow)
    (tmp_path / "config").mkdir()
    for file in ("audiences", "policies"):
        section = yaml.safe_load((PROJECT / "config" / f"{file}.yml").read_text("utf-8"))
        section["complete_journey"].pop("trust", None)  # it names fields of another company
        text = yaml.safe_dump({"tiny": section["complete_journey"]}, sort_keys=False)
        (tmp_path / "config" / f"{file}.yml").write_text(text, encoding="utf-8")
    content = {
        "title": "Tiny",
        "currency": "CNY",
        "time_zone": "Asia/Shanghai",
        "first_day": dt.date(2026, 1, 1),
        "sources": sources,
    }
    text = yaml.safe_dump({"tiny": content}, sort_keys=False)
    (tmp_path / "config" / "sources.yml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(
        web_service, "PATIENCE", web_service.Patience(first_wait=0.01, read_seconds=1)
    )
    yield load_config(load_settings())
    order(living, "DELETE")


def order(layout: Layout, method: str = "POST", **fault: Any) -> None:
    """What ``demo fault`` does."""
    state = company.whole(layout)
    httpx.request(
        method,
        f"http://127.0.0.1:{state.port}/admin/faults",
        headers={"Authorization": f"Bearer {load_secrets(layout)['admin']}"},
        json=fault if method == "POST" else None,
        trust_env=False,
    ).raise_for_status()


def land(config: Config, source: str) -> dict[str, landing.Batch]:
    found = landing.extract_source(load_settings(), config, source, DAY)
    return {batch.table: batch for batch, _ in found}


def column(settings: Settings, batch: landing.Batch, name: str) -> list[str]:
    file = batch.folder(settings) / "rows.parquet"
    return [
        row[0]
        for row in duckdb.sql(f"select {name} from read_parquet('{file}') order by all").fetchall()
    ]


def test_cursor_page_and_link_pagination_read_every_row_once(
    living: Layout, declared: Config
) -> None:
    settings = load_settings()
    tickets = land(declared, "callcentre")
    expected = [str(number) for number in range(60 * 24)]
    for name in ("tickets", "paged"):
        assert tickets[name].rejects == 0
        assert column(settings, tickets[name], "ticket_id") == sorted(expected)
    sends = land(declared, "campaign")["sends"]
    assert column(settings, sends, "send_id") == sorted(expected)
    totals = raw.load(settings, declared, DAY, "run")
    assert totals["callcentre"] == {
        "read": 2880, "loaded": 2880, "duplicates": 0, "quarantined": 0,
    }  # fmt: skip
    assert not list(settings.landing_dir.glob("*/*/.reading-*"))


@pytest.mark.parametrize("kind", ["error", "reset", "slow", "half", "wrong-length"])
def test_a_fault_that_passes_costs_no_row(living: Layout, declared: Config, kind: str) -> None:
    order(living, system="callcentre", kind=kind, times=2, after=1, seconds=3)
    batches = land(declared, "callcentre")
    for batch in batches.values():
        assert len(set(column(load_settings(), batch, "ticket_id"))) == batch.rows == 60 * 24


def only(config: Config, source: str, table: str) -> Config:
    """The declarations with one table of one source."""
    declared = config.sources.sources[source]
    tables = {table: declared.tables[table]}
    sources = {source: declared.model_copy(update={"tables": tables})}
    company_sources = config.sources.model_copy(update={"sources": sources})
    return config.model_copy(update={"sources": company_sources})


def test_a_fault_that_stays_stops_the_source_and_the_next_attempt_goes_on(
    living: Layout, declared: Config
) -> None:
    tickets = only(declared, "callcentre", "tickets")
    order(living, system="callcentre", kind="half", times=0, after=3)
    with pytest.raises(SourceError, match=r"callcentre\.tickets: page 4: .*not JSON.* goes on"):
        land(tickets, "callcentre")
    settings = load_settings()
    assert landing.batches(settings) == []
    kept = list(settings.landing_dir.glob("callcentre/tickets/.reading-*/0*/records.jsonl"))
    assert len(kept) == 3
    order(living, "DELETE")
    # Were the first three pages asked for again, the fault behind two answers would strike.
    order(living, system="callcentre", kind="error", times=0, after=2)
    batch = land(tickets, "callcentre")["tickets"]
    assert len(set(column(settings, batch, "ticket_id"))) == batch.rows == 60 * 24


def test_a_repeated_cursor_is_a_loop_and_its_page_is_not_kept(
    living: Layout, declared: Config
) -> None:
    order(living, system="callcentre", kind="repeated-cursor", times=1, after=2)
    with pytest.raises(SourceError, match=r"page \d+: .*a cursor that it named before.*circle"):
        land(declared, "callcentre")
    assert landing.batches(load_settings()) == []
    batch = land(declared, "callcentre")["tickets"]
    assert len(set(column(load_settings(), batch, "ticket_id"))) == batch.rows == 60 * 24


def test_a_web_service_is_looked_at_and_declared(
    living: Layout, declared: Config, tmp_path: Path
) -> None:
    def add(name: str, connection: str, table: str) -> dict[str, Any]:
        words = ["--format", "rest", "--connection", connection, "--table", table, "--dry-run"]
        done = CliRunner().invoke(cli, ["source", "add", name, *words])
        assert done.exit_code == 0, (done.output, done.exception)
        text = done.stdout.partition("\n# ")[0]
        found = yaml.safe_load(text)[name]["tables"][table]
        assert isinstance(found, dict)
        return found

    tickets = add("support", "callcentre", "tickets")
    assert tickets["request"] == {
        "path": "tickets",
        "records": "data",
        "pagination": {"kind": "cursor", "parameter": "cursor", "next": "next_cursor"},
    }
    assert tickets["key"] == ["ticket_id"]
    assert tickets["cursor"]["column"] == "updated_at"
    assert tickets["columns"]["updated_at"] == {"type": "timestamp", "required": True}
    assert tickets["columns"]["ticket_id"] == {"type": "bigint", "required": True}
    sends = add("mailing", "campaign", "sends")
    assert sends["request"]["pagination"] == {"kind": "link"}
    assert sends["request"]["records"] == "items"


def test_source_check_asks_a_service_for_one_page(living: Layout, declared: Config) -> None:
    # The second answer would be an error for ever.
    order(living, system="callcentre", kind="error", times=0, after=1)
    words = ["source", "check", "callcentre", "--table", "paged", "--json"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert len(json.loads(done.stdout)["tables"]["paged"]["rows"]) == 10
    assert not list(load_settings().landing_dir.glob("callcentre/*"))
