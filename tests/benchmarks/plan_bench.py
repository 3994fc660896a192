"""How fast and how good the touch plan is (``make bench-plan``).

What belongs here: the plan of a million customers and ten campaigns, timed with its memory; the
plan of 20,000 beside the linear-programming bound by HiGHS; the planted faulty batch of the demo
and the false alarms, judged by the demo's truth. What does not: any limit that a test enforces.

Customers are drawn by hash, so that a rerun draws the same; marts have the columns that the plan
reads and rows in the proportions of the demo. Reading the marts, deciding and writing
``engagement.touch_plan`` are timed; assigning and recording hold-outs are timed apart.
"""

import datetime as dt
import json
import resource
import shutil
import sys
import time
from pathlib import Path

import click
import duckdb

from customer360 import state
from customer360.engagement import candidates, holdouts, people, plan, service_warnings
from customer360.engagement.bound import upper_bound
from customer360.engagement.config import Engagement, ServiceRules, parse_engagement
from customer360.engagement.memory import Memory
from customer360.settings import PROJECT, Settings

DAY = dt.date(2026, 6, 30)
CAMPAIGNS = 10

MARTS = """
create schema engagement;
create table main.customers as select 'c' || lpad(number::varchar, 9, '0') as customer_id,
    ['310000', '440000', '650000', '110000'][1 + number % 4] as province_code
from range({customers}) as numbers (number);
create table main.customer_360 as select customer_id, u(customer_id, 'rule') as score
from main.customers;
create table main.customer_id_map (old_id varchar, new_id varchar, reason varchar);
create table main.customer_identifiers as
select customer_id, kind as identifier_type, null::timestamp as held_to,
    null::timestamp as learned_to
from main.customers, (values ('phone', .8), ('email', .5), ('openid', .6)) as kinds (kind, share)
where u(customer_id, kind) < share;
create table main.consents as
select customer_id, 'marketing' as purpose, kind as channel,
    u(customer_id, 'yes' || kind) < .9 as is_granted,
    timestamp '2025-01-01' as captured_at,
    if(u(customer_id, 'yes' || kind) < .9, null, timestamp '2026-01-01') as withdrawn_at
from main.customers, (values ('sms', .6), ('email', .5), ('call', .3)) as kinds (kind, share)
where u(customer_id, 'has' || kind) < share;
create table main.service_cases as
select customer_id, 'quality' as topic, 'open' as status
from main.customers where u(customer_id, 'case') < .01;
create table main.campaign_touches as
select customer_id,
    ['sms', 'email', 'wechat'][1 + (u(customer_id, 'way') * 3)::integer % 3] as channel,
    date '2026-06-30' - (u(customer_id, 'when' || turn) * 40)::integer as sent_on
from main.customers, range(2) as turns (turn) where u(customer_id, 'sent' || turn) < .5;
create table main.channel_preference as
select customer_id, kind as channel, (.01 + .15 * u(customer_id, 'likes' || kind) ^ 3)::double
    as response_probability, (9 + 3 * (u(customer_id, 'hour') * 4)::integer) as best_from_hour
from main.customers, (values ('sms'), ('email'), ('call'), ('wechat')) as kinds (kind)
where u(customer_id, 'known') < .5;
"""


def make_company(
    folder: Path, customers: int
) -> tuple[duckdb.DuckDBPyConnection, Engagement, Memory]:
    """Marts of a company in a file, its rules, and an empty memory."""
    path = folder / "work.duckdb"
    connection = duckdb.connect(
        str(path),
        config={"threads": 2, "memory_limit": "1500MB", "temp_directory": str(folder / "spill")},
    )
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(
        "create temp macro u(who, what) as (hash(who || what) % 1000003) / 1000003.0"
    )
    connection.execute(MARTS.format(customers=customers))
    connection.execute(f"set variable engagement_as_of = date '{DAY}'")
    settings = Settings("bench", folder, threads=2, memory_limit="1500MB")
    engine = state.engine(settings)
    state.ensure(engine)
    state.begin_run(engine, "bench", DAY)
    return connection, _rules(customers), Memory(engine, "bench", DAY)


def _rules(customers: int) -> Engagement:
    """Ten campaigns that compete for caps, a budget, people who call, and coupons."""
    campaigns = {
        f"campaign_{number}": {
            "owner": "marketing",
            "starts_on": DAY,
            "ends_on": DAY + dt.timedelta(days=30),
            "rule": f"score between {number / 20} and {number / 20 + 0.5}",
            "template": "hello",
            "value": 20 + 12 * number,
            "priority": 1 + number % 3,
            "holdout_share": 0.1,
            **({"coupon": {"value": 10, "budget": customers / 4}} if number % 3 == 0 else {}),
        }
        for number in range(CAMPAIGNS)
    }
    channels = {
        "wechat": {"cost": 0.02, "caps": {7: 2}, "response": 0.05, "identifier": "openid"},
        "sms": {"cost": 0.05, "caps": {7: 1}, "response": 0.04, "identifier": "phone",
                "consent": "sms"},
        "email": {"cost": 0.01, "caps": {7: 2}, "response": 0.03, "identifier": "email",
                  "consent": "email"},
        "call": {"cost": 4, "caps": {30: 1}, "response": 0.15, "identifier": "phone",
                 "consent": "call", "capacity": customers // 200},
    }  # fmt: skip
    section = {
        "holdouts": {"global_share": 0.05},
        "contact": {"caps": {1: 2, 7: 3}, "budget": customers * 0.03,
                    "one_voice": [["call", "sms"]], "zones": {"650000": "Asia/Urumqi"}},
        "channels": channels,
        "templates": {"hello": "{name}"},
        "campaigns": campaigns,
    }  # fmt: skip
    return parse_engagement(section, "bench", Path("engagement.yml"))


def bench_plan(folder: Path, customers: int, *, bound: bool) -> dict[str, object]:
    """Figures of one plan."""
    connection, rules, memory = make_company(folder, customers)
    plan_on = DAY + dt.timedelta(days=1)
    processor = time.process_time()
    started = time.monotonic()
    candidates.begin(connection)
    candidates.add_campaigns(connection, rules, plan_on)
    asked = time.monotonic() - started
    started = time.monotonic()
    audience = f"(select name as campaign, customer_id from {candidates.TABLE})"
    holdouts.assign(connection, rules, memory, audience)
    assigned = time.monotonic() - started
    recording = time.process_time() - processor
    started = time.monotonic()
    people.remember_touches(connection, memory, plan_on, rules.longest_window)
    people.gather(connection, rules, plan_on)
    done = plan.plan_touches(connection, rules, DAY, plan_on, "Asia/Shanghai")
    planned = time.monotonic() - started
    processor = time.process_time() - processor - recording
    rows = connection.execute(
        "select coalesce(held_because, 'planned'), count(*) from engagement.touch_plan "
        "group by all order by 2 desc"
    ).fetchall()
    figures: dict[str, object] = {
        "customers": customers,
        "candidates": sum(count for _, count in rows),
        "plan_seconds": round(asked + planned, 1),
        "plan_processor_seconds": round(processor, 1),
        "holdout_seconds": round(assigned, 1),
        "holdout_processor_seconds": round(recording, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "value": round(done.value / 100, 2),
        "prices": {name: round(price, 3) for name, price in done.prices.items()},
        "rows": dict(rows),
    }
    if bound:
        best = upper_bound(done.problem)
        figures |= {"bound": round(best / 100, 2), "share_of_bound": round(done.value / best, 5)}
    connection.close()
    return figures


TYPED_DAY = (
    "list_transform(regexp_extract_all({0}, '[0-9]+'), part -> part::bigint)",
    "try_cast(concat_ws('-', {0}[1], {0}[2], {0}[3]) as date)",
)

DEMO_MARTS = """
attach '{world}' as world (read_only);
create table main.installed_products as
select serial_no as serial_id, model, batch_no as batch, {installed_on} as installed_on
from (select *, {installed_parts} as installed_parts from world.aftersales.installed)
where _from_day <= 729;
create table main.repairs as
select serial_no as serial_id, {reported_on} as reported_on
from (select *, {reported_parts} as reported_parts from world.aftersales.visits)
where _from_day <= 729 and kind <> '安装';
"""


def bench_batches(world: Path, truth: Path) -> dict[str, object]:
    """The planted batches of a demo's world, and what was alarmed of without being planted."""
    parts, made = TYPED_DAY
    rules = ServiceRules(batch_groups={"production_line": "([A-Z][0-9])$"})
    with duckdb.connect(config={"threads": 2, "memory_limit": "1500MB"}) as connection:
        connection.execute(
            DEMO_MARTS.format(
                world=world,
                installed_parts=parts.format("installed_on"),
                installed_on=made.format("installed_parts"),
                reported_parts=parts.format("reported_on"),
                reported_on=made.format("reported_parts"),
            )
        )
        rows = service_warnings.compare_batches(connection, rules, DAY).to_pylist()
    with duckdb.connect(str(truth), read_only=True) as connection:
        planted = set(
            connection.execute("select batch_no, model from truth.truth.faulty_batches").fetchall()
        )
    lines = {(name[-2:], model) for name, model in planted}
    alarms = [row for row in rows if row["is_alarm"]]
    right = [row for row in alarms if (row["name"], row["model"]) in planted | lines]
    return {
        "tested": sum(row["units"] >= rules.min_units for row in rows),
        "planted_batches": len(planted),
        "planted_units": sum(r["units"] for r in rows if (r["name"], r["model"]) in planted),
        "alarms": len(alarms),
        "right": [
            f"{row['level']} {row['name']} of {row['model']}: {row['faulty']} of {row['units']}, "
            f"{row['expected']:.1f} expected, adjusted p {row['adjusted_p']:.1e}"
            for row in right
        ],
        "false_alarms": [
            f"{row['level']} {row['name']} of {row['model']}: {row['faulty']} of {row['units']}"
            for row in alarms
            if row not in right
        ],
    }


@click.command()
@click.option("--customers", default=1_000_000, show_default=True)
@click.option("--bound-customers", default=20_000, show_default=True)
@click.option(
    "--world",
    type=click.Path(path_type=Path),
    default=PROJECT / "data" / "demo" / "systems" / "world",
    help="Folder of world.duckdb and truth.duckdb of a demo company.",
)
@click.option("--folder", type=click.Path(path_type=Path), default=PROJECT / "data" / "plan_bench")
def main(customers: int, bound_customers: int, world: Path, folder: Path) -> None:
    """Plan, compare with the bound, and look for the demo's faulty batch."""
    results: dict[str, object] = {}
    for name, count, bound in (("bound", bound_customers, True), ("plan", customers, False)):
        if count:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            print(f"{name}: {count:,} customers ...", file=sys.stderr, flush=True)
            results[name] = bench_plan(folder, count, bound=bound)
            print(json.dumps(results[name]), file=sys.stderr, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    if (world / "truth.duckdb").exists():
        results["batches"] = bench_batches(world / "world.duckdb", world / "truth.duckdb")
    print(json.dumps(results, indent=2, default=str, ensure_ascii=False))


if __name__ == "__main__":
    main()
