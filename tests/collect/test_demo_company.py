"""The ten systems of the demo company, collected day by day: raw holds what they hold, exactly."""

import csv
import datetime as dt
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from click.testing import CliRunner

from customer360 import pipeline, state, transform
from customer360.config import Column, Config, Table, load_config
from customer360.contracts import sql_type
from customer360.demo.systems import company, files
from customer360.demo.systems.layout import Layout
from customer360.demo.systems.world import FILES, World
from customer360.identity import decisions
from customer360.identity.commands import identity
from customer360.settings import Settings, load_settings
from tests.conftest import TOKEN_KEY
from tests.pipeline.nights import extract_all

SYSTEM = {
    "tills": "till",
    "site": "events",
    "call_centre": "callcentre",
    "campaigns": "campaign",
    "after_sales": "aftersales",
}
"""Source in config/sources.yml -> system of the demo, where their names differ."""

CHINESE = ("crm", "call_centre", "tills", "voice")
"""Sources whose tables in the world hold Chinese time; the others hold UTC."""

WORLD_NAMES = {("wechat", "occurred_at"): "time", ("site", "occurred_at"): "timestamp"}


@dataclass
class Life:
    """A started demo and what was collected of it."""

    layout: Layout
    settings: Settings
    config: Config
    totals: list[dict[str, dict[str, int]]] = field(default_factory=list)
    day: dt.date = dt.date.min

    def collect(self) -> None:
        """Take the day that has ended from every system into raw."""
        self.day = dt.date.fromisoformat(self.layout.clock.read_text().strip())
        run_id = f"run_{self.day}"
        extract_all(self.settings, self.day)
        pipeline.begin(self.settings, self.day, run_id)
        self.totals.append(pipeline.load_raw(self.settings, self.day, run_id)["sources"])
        pipeline.audit(self.settings, self.day, run_id, "raw")

    def resolve(self, run_id: str) -> dict[str, str]:
        """Record -> customer after the step that says who is who."""
        pipeline.begin(self.settings, self.day, run_id)
        pipeline.resolve_identities(self.settings, self.day, run_id)
        return dict(self.identity(run_id, "select record_id, customer_id from customer_records"))

    def identity(self, run_id: str, query: str) -> list[tuple[Any, ...]]:
        """What a run's file says in its schema ``identity``."""
        path = self.settings.work_dir / run_id / transform.WORKSPACE_FILE
        with duckdb.connect(str(path), read_only=True) as connection:
            return connection.execute(f"use identity; {query}").fetchall()

    def truth(self) -> list[tuple[str, str]]:
        """(record, person) of every record that is a person's, as the warehouse names records."""
        sources = {system: source for source, system in SYSTEM.items()}
        with duckdb.connect(str(self.layout.truth), read_only=True) as connection:
            rows = connection.execute(
                "select system, table_name, record_key, person_id::varchar "
                "from truth.truth.records where person_id is not null"
            ).fetchall()
        return [
            (f"{sources.get(system, system)}.{table}:{key}", person)
            for system, table, key, person in rows
        ]

    def differences(self) -> dict[str, tuple[int, int]]:
        """table -> rows that raw lacks and rows that it should not have, where there are any."""
        found = {}
        with company.open_world(self.layout) as world, duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.execute(f"attach '{self.settings.raw_path}' as raw (read_only)")
            connection.execute(f"attach '{self.layout.world}' as world (read_only)")
            for source, declared in self.config.sources.sources.items():
                if source == "answers":  # what people answer to us is no system of the company's
                    continue
                for name, table in declared.tables.items():
                    there = self.expected(world, source, name, table)
                    here = self.collected(source, name, table)
                    counts = tuple(
                        connection.execute(
                            f"select count(*) from ({left} except all {right})"
                        ).fetchall()[0][0]
                        for left, right in ((there, here), (here, there))
                    )
                    if counts != (0, 0):
                        found[f"{source}.{name}"] = counts
        return found

    def collected(self, source: str, name: str, table: Table) -> str:
        """A select of the rows that raw says are there at the end of the day."""
        key = ", ".join(table.key)
        cutoff = self.config.sources.day_end(self.day)
        return (
            f"select {columns(table)} from (select * from raw.{source}.{name} "
            f"where _version_at < timestamp '{cutoff}' qualify row_number() over (partition by "
            f"{key} order by _version_at desc, _as_of desc, _row_hash desc) = 1 "
            "and not _is_deleted)"
        )

    def expected(self, world: World, source: str, name: str, table: Table) -> str:
        """A select of the rows that the system shows, in the contract's types."""
        system = SYSTEM.get(source, source)
        made = world.table(system, name)
        night = world.day_of(self.day)
        if system in FILES:
            drops = list(files.history(world, made, world.start_day))
            for each in range(world.start_day + 1, night + 1):
                drops += files.due(world, made, each)
            shown = " or ".join(f"({drop.where()})" for drop in drops)
        else:
            shown = world.visible(made, night)
        cells = ", ".join(
            f"{expected_cell(source, column_name, column)} as {column_name}"
            for column_name, column in table.columns.items()
            if column.type != "json"
        )
        # What changes is delivered again; the newest delivery is what holds.
        return (
            f"select {columns(table)} from (select {cells} from (select * from "
            f'world.{system}."{name}" where {shown} qualify row_number() over '
            f"(partition by {', '.join(made.key)} order by _from_day desc) = 1))"
        )


def columns(table: Table) -> str:
    """Names of the columns that are compared; JSON text may be written in many ways."""
    names = [name for name, column in table.columns.items() if column.type != "json"]
    return ", ".join(f'"{name}"' for name in names)


def expected_cell(source: str, name: str, column: Column) -> str:
    """A column of the world in the contract's type: text trimmed, time in UTC."""
    cell = f'"{WORLD_NAMES.get((source, name), name)}"'
    if column.type == "text":
        return f"nullif(trim({cell}::varchar), '')"
    if column.type != "timestamp":
        return f"{cell}::{sql_type(column)}"
    if column.format in ("epoch_s", "epoch_ms"):
        scale = 1_000_000 if column.format == "epoch_s" else 1_000
        return f"make_timestamp({cell} * {scale})"
    if column.format:
        cell = f"strptime({cell}, '{column.format}')"
    moment = f"{cell}::timestamp"
    return f"({moment} - interval 8 hour)" if source in CHINESE else moment


@pytest.fixture(scope="module")
def life() -> Iterator[Life]:
    """A small company of its own, collected on the evening of its start."""
    with (
        tempfile.TemporaryDirectory(prefix="c360-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("COMPANY", "demo")
        patch.setenv("CUSTOMER360_DATA", folder)
        patch.setenv("CUSTOMER360_THREADS", "2")
        patch.setenv("CUSTOMER360_TOKEN_KEY", TOKEN_KEY)
        layout = Layout(Path(folder) / "demo" / "systems")
        company.start(layout, size="tiny", seed=7, report=lambda _: None)
        settings = load_settings()
        living = Life(layout, settings, load_config(settings))
        try:
            living.collect()
            yield living
        finally:
            company.reset(layout)


def test_the_first_day_brings_every_row_of_every_system(life):
    assert life.differences() == {}
    assert sum(source["quarantined"] for source in life.totals[0].values()) == 0
    counted = company.count_rows(life.layout, company.whole(life.layout))
    for source, totals in life.totals[0].items():
        assert totals["read"] == totals["loaded"] + totals["duplicates"] + totals["quarantined"]
        assert totals["read"] == sum(counted.get(SYSTEM.get(source, source), {}).values())


@pytest.fixture(scope="module")
def known(life) -> dict[str, str]:
    """Record -> customer on the first evening."""
    return life.resolve("first")


def test_the_warehouse_stands_on_them(life, known):
    """Every mart is built and audited; the rules of this company's own staging hold."""
    run_id = "first"
    built = pipeline.build_marts(life.settings, life.day, run_id)
    assert built.keys() == {"success", "pass", "put_in_order"}
    assert pipeline.audit(life.settings, life.day, run_id, "marts")["failed"] == 0
    marts = life.settings.work_dir / run_id / pipeline.MARTS_FILE
    with duckdb.connect(str(marts), read_only=True) as connection:
        systems = connection.execute("select max(source_systems) from customers").fetchall()[0][0]
        kinds = connection.execute("select count(distinct kind) from customer_touchpoints")
        assert systems >= 5
        assert kinds.fetchall()[0][0] >= 10
    tested = transform.run_dbt(
        life.settings, life.config, life.day, marts,
        ["test", "--select", "test_type:unit", "--exclude", "path:models/activation"],
    )  # fmt: skip
    assert tested.keys() == {"pass"}


def test_no_value_of_a_person_stands_in_the_marts(life, known, tmp_path):
    """Neither a name, number, address, birthday or text of any source; the vault has them."""
    work = life.settings.work_dir / "first"
    values = personal_values(life)
    assert len(values) > 2_000
    assert personal_cells(work / pipeline.MARTS_FILE, values) == {}
    planted = tmp_path / "planted.duckdb"
    with duckdb.connect(str(planted)) as connection:
        connection.execute("create table marts as select '找 ' || ? || ' 吗' as note", [values[-1]])
        connection.execute("create table names as select ? as name", [values[0]])
    assert personal_cells(planted, values) == {"marts.note": 1, "names.name": 1}
    with duckdb.connect(str(work / transform.VAULT_FILE), read_only=True) as vault:
        kept = {value for (value,) in vault.execute("select value from personal_values").fetchall()}
    assert "+86" + values[-1] in kept


def personal_values(life: Life) -> list[str]:
    """What the sources' contracts call a person's, the mobile numbers last."""
    regions = ("province", "city", "district")
    found: set[str] = set()
    with duckdb.connect(str(life.settings.raw_path), read_only=True) as raw:
        for source_name, source in life.config.sources.sources.items():
            for table_name, table in source.tables.items():
                for name, column in table.columns.items():
                    classes = ("name", "contact", "address", "birthday", "free_text")
                    if column.personal not in classes or name in (*regions, "traits"):
                        continue
                    rows = raw.execute(
                        f'select distinct trim("{name}"::varchar) from {source_name}.{table_name} '
                        f'where length("{name}"::varchar) > 1'
                    ).fetchall()
                    found |= {value for (value,) in rows}
    return sorted(found, key=lambda value: (bool(re.fullmatch(r"1[3-9]\d{9}", value)), value))


def personal_cells(path: Path, values: list[str]) -> dict[str, int]:
    """column -> cells of a marts file that are such a value, or hold a mobile number of one."""
    with duckdb.connect(str(path), read_only=True) as marts:
        marts.register("told", pa.table({"value": values}))
        marts.execute("create temp table personal as select value from told")
        texts = marts.execute(
            "select table_name, column_name from duckdb_columns() where not internal "
            "and data_type like 'VARCHAR%' and database_name = current_database()"
        ).fetchall()
        found = {}
        for table, column in texts:
            cells = f'(select distinct "{column}"::varchar as cell from "{table}") as cells'
            number = "regexp_extract(cell, '1[3-9][0-9]{9}')"
            count = marts.execute(
                f"select count(*) from {cells} where cell in (select value from personal) "
                f"or ({number} <> '' and {number} in (select value from personal))"
            ).fetchall()[0][0]
            if count:
                found[f"{table}.{column}"] = count
        return found


def test_the_marts_hold_what_the_systems_say(life, known):
    """Sums by day to the cent, counts by table, and the timeline with nothing left out."""
    marts = life.settings.work_dir / "first" / pipeline.MARTS_FILE
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"attach '{life.layout.world}' as world (read_only)")
        connection.execute(f"attach '{marts}' as marts (read_only)")
        connection.execute("use marts")
        with company.open_world(life.layout) as world:
            day = world.day_of(life.day)

        def ask(query: str) -> list[tuple[Any, ...]]:
            return connection.execute(query.format(visible=visible)).fetchall()

        visible = f"_from_day <= {day} and (_to_day is null or {day} < _to_day)"
        by_day = "select ordered_on, sum(paid_cents) from orders where source = '{}' group by all"
        shop = (
            "select cast(ordered_at + interval 8 hour as date), sum(paid_fen) "
            "from world.shop.orders where status <> 'cancelled' and {visible} group by all"
        )
        # A till's drop may be late: what was delivered by now is what counts.
        tills = (
            "select ordered_on, sum(paid_cents) from (select cast(strptime(sold_at, "
            "'%Y/%m/%d %H:%M:%S') as date) as ordered_on, 100 * paid_yuan as paid_cents "
            "from world.till.receipts where receipt_no in (select order_number from orders "
            "where source = 'tills')) group by all"
        )
        for source, said in (("shop", shop), ("tills", tills)):
            assert set(ask(by_day.format(source))) == set(ask(said))
        assert ask("select count(*) from order_exceptions where not is_kept") == [(0,)]
        assert ask(
            "select count(*) from orders where customer_id is null and not is_anonymous"
        ) == [(0,)]
        for mart, table in (
            ("carts", "shop.carts"),
            ("cart_lines", "shop.cart_lines"),
            ("lead_activities", "crm.activities"),
            ("leads", "crm.leads"),
            ("deals", "crm.deals"),
            ("service_cases", "callcentre.tickets"),
            ("case_messages", "callcentre.messages"),
            ("campaign_messages", "campaign.sends"),
            ("campaign_responses", "campaign.responses"),
            ("campaign_audiences", "campaign.audience"),
            ("coupons", "campaign.coupons"),
            ("loyalty_transactions", "loyalty.points"),
            ("loyalty_tier_changes", "loyalty.tier_changes"),
            ("referrals", "wechat.referrals"),
        ):
            assert ask(f"select count(*) from {mart}") == ask(
                f"select count(*) from world.{table} where {{visible}}"
            ), mart
        assert ask("select sum(events) from sessions where source = 'wechat'") == ask(
            "select count(*) from world.wechat.events where {visible}"
        )
        assert (
            ask(
                "select coverage_key from timeline_coverage "
                "where rows_held <> touchpoints + of_nobody + no_touches"
            )
            == []
        )
        unbalanced = ask(
            "select account_key from loyalty_points_left inner join loyalty_accounts "
            "using (account_key) group by account_key, points_balance "
            "having sum(points_left) <> points_balance"
        )
        assert unbalanced == []


def test_service_waits_by_its_calendar(life, known):
    """Closed days count nothing, days of the week as long as they are open."""
    marts = life.settings.work_dir / "first" / pipeline.MARTS_FILE
    workspace = marts.with_name(transform.WORKSPACE_FILE)
    with duckdb.connect(str(marts), read_only=True) as connection:
        connection.execute(f"attach '{workspace}' as workspace (read_only)")
        minutes = dict(
            connection.execute(
                "select on_day::varchar, minutes from workspace.unify.count_working_minutes"
            ).fetchall()
        )
        slower = connection.execute(
            "select count(*) from service_cases where first_response_working_minutes < 0 "
            "or first_response_working_minutes > first_response_minutes + 1"
        ).fetchall()
    assert minutes["2026-06-26"] == 720
    assert minutes["2026-06-27"] == 540
    assert minutes["2026-02-17"] == 0
    assert slower == [(0,)]


def test_sessions_are_of_whom_the_truth_says(life, known):
    """A session's customer is the one whose shop account the visitor owns."""
    marts = life.settings.work_dir / "first" / pipeline.MARTS_FILE
    accounts = {
        key.removeprefix("shop.accounts:"): customer
        for key, customer in known.items()
        if key.startswith("shop.accounts:")
    }
    with duckdb.connect(str(marts), read_only=True) as connection:
        connection.execute(f"attach '{life.layout.truth}' as truth (read_only)")
        connection.register(
            "known", pa.table({"account": list(accounts), "customer_id": list(accounts.values())})
        )
        said, right = connection.execute(
            "select count(*), count(*) filter (where customer_id in ("
            "select known.customer_id from truth.truth.records as records "
            "inner join known on records.record_key = known.account "
            "where records.system = 'shop' and records.table_name = 'accounts' "
            "and records.person_id = visitors.person_id)) "
            "from sessions inner join truth.truth.anonymous as visitors "
            "on sessions.device_id = md5('site:' || visitors.anonymous_id) "
            "where sessions.customer_id is not null"
        ).fetchall()[0]
    assert said > 500
    assert right >= 0.99 * said


def test_who_is_who_agrees_with_the_truth(life, known, tmp_path):
    """``identity evaluate`` on what the chain says; the company itself never reads the truth."""
    out, truth = tmp_path / "out.csv", tmp_path / "truth.csv"
    for path, names, rows in (
        (out, ("record_id", "customer_id"), known.items()),
        (truth, ("record_id", "person_id"), life.truth()),
    ):
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([names, *rows])
    done = CliRunner().invoke(identity, ["evaluate", str(out), "--truth", str(truth), "--json"])
    assert done.exit_code == 0, done.output
    judged = json.loads(done.stdout)
    assert judged["records"] > 1_000
    assert judged["pairwise"]["precision"] >= 0.99
    assert judged["pairwise"]["recall"] >= 0.88


def test_days_that_pass_bring_changes_late_files_and_deletions(life):
    company.advance(life.layout, 1, lambda _: None)
    life.collect()
    assert life.differences() == {}
    company.advance(life.layout, 2, lambda _: None)
    life.collect()
    assert life.differences() == {}


@pytest.mark.faults
def test_customers_keep_their_ids_and_a_reviewer_undoes_a_merge(life, known):
    company.advance(life.layout, 1, lambda _: None)
    life.collect()
    after = life.resolve("after")
    assert len(after) > len(known)
    moved = {(known[each], after[each]) for each in known.keys() & after.keys()}
    led_on = set(life.identity("after", "select old_id, new_id from customer_id_map"))
    assert {(old, new) for old, new in moved if old != new} <= led_on
    one, other = life.identity(
        "after",
        "select record_l, record_r from identity_links where rule = 'identifier' and together "
        "order by all limit 1",
    )[0]
    decisions.decide(state.engine(life.settings), "cannot_link", one, other, "reviewer")
    parted = life.resolve("parted")
    assert parted[one] != parted[other]
    assert after[one] in (parted[one], parted[other])
    events = life.identity(
        "parted",
        "select distinct reason from identity_changes "
        f"where run_id = 'parted' and old_id = '{after[one]}'",
    )
    assert events == [("split",)]
