"""The hourly lane: carts that were left within the hour are answered without waiting for the night.

What belongs here: carts out of events that the hourly ingest has landed, judged by the published
snapshot and what was decided since. What does not: triggers, caps and the choice themselves, which
are the night's (``triggers``, ``people``, ``plan``).

It touches no warehouse file: it reads landing and a snapshot, writes the decision state and one
folder of its own. An hour goes on from the night before it: its decisions are of the same day, so
that the next night knows them. The same hour again decides the same.
"""

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Engine

from customer360 import landing
from customer360.config import Config
from customer360.engagement import candidates, holdouts, people, plan, triggers
from customer360.engagement.config import CartEvents, Engagement
from customer360.engagement.memory import HOURLY, Memory
from customer360.publish import snapshot_path
from customer360.settings import Settings
from customer360.warehouse import connect, literal, quote

MARTS = (
    "customers",
    "customer_360",
    "customer_id_map",
    "customer_identifiers",
    "consents",
    "service_cases",
    "campaign_touches",
    "channel_preference",
)
TRIGGER = "abandoned_cart"
FOLDER = "%Y-%m-%dT%H"
"""Name of the folder of an hour, which ends then."""


def answer(
    settings: Settings, engine: Engine, config: Config, rules: Engagement, hour: dt.datetime
) -> dict[str, Any]:
    """Answer the carts that were left before ``hour`` (naive, the company's clock).

    Writes ``hourly/<hour>/touch_plan.parquet`` and ``triggered_touches.parquet`` below the
    company's data, and last ``_SUCCESS``.

    Returns:
        Counts.
    """
    plan_on = _day_of(hour)
    as_of = plan_on - dt.timedelta(days=1)
    until = hour.replace(tzinfo=config.sources.zone).astimezone(dt.UTC).replace(tzinfo=None)
    name = hour.strftime(FOLDER)
    memory = Memory(engine, f"{HOURLY}{name}", as_of)
    only = rules.model_copy(
        update={
            "campaigns": {},
            "care": {},
            "triggers": {key: each for key, each in rules.triggers.items() if key == TRIGGER},
        }
    )
    with connect(settings) as connection:
        _open(connection, settings)
        _read_carts(connection, settings, rules, plan_on, until)
        connection.execute(f"set variable engagement_as_of = date {literal(str(as_of))}")
        candidates.begin(connection)
        fired = triggers.fire(connection, only, memory, until, plan_on)
        audience = f"(select name as campaign, customer_id from {candidates.TABLE})"
        holdouts.assign(connection, only, memory, audience)
        people.remember_touches(connection, memory, plan_on, rules.longest_window)
        people.gather(connection, only, plan_on)
        zone = config.sources.time_zone
        planned = plan.plan_touches(connection, only, as_of, plan_on, zone, now=hour)
        memory.keep([fired, planned.made])
        folder = settings.data_dir / "hourly" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for table in ("touch_plan", "triggered_touches"):
            connection.execute(
                f"copy (select * from engagement.{table} order by customer_id) "
                f"to {literal(folder / f'{table}.parquet')} (format parquet)"
            )
        (folder / "_SUCCESS").touch()
    return {"hour": name, "new_triggers": len(fired), "touches": len(planned.made)}


def _day_of(hour: dt.datetime) -> dt.date:
    """The day of an hour; the one that ends at midnight belongs to the day before."""
    return (hour - dt.timedelta(microseconds=1)).date()


def planned_since(settings: Settings, as_of: dt.date) -> list[Path]:
    """Touch plans, as Parquet, of the hours after the night of ``as_of``."""
    return [
        done.with_name("touch_plan.parquet")
        for done in sorted((settings.data_dir / "hourly").glob("*/_SUCCESS"))
        if _day_of(dt.datetime.fromisoformat(done.parent.name)) > as_of
    ]


def _open(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """The marts of the current snapshot under the names that they have at night."""
    snapshot = snapshot_path(settings)
    connection.execute(f"attach {literal(snapshot)} as published (read_only)")
    there = {
        row[0]
        for row in connection.execute(
            "select table_name from duckdb_tables() where database_name = 'published'"
        ).fetchall()
    }
    for name in MARTS:
        if name in there:
            connection.execute(f"create view main.{name} as from published.main.{name}")
    connection.execute("create schema engagement")


def _read_carts(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    rules: Engagement,
    day: dt.date,
    until: dt.datetime,
) -> None:
    """Carts and orders of the day that goes on, by the events that say so."""
    connection.execute(
        "create table main.carts (customer_id varchar, cart_key varchar, status varchar, "
        "amount_cents bigint, main_product_id varchar, updated_at timestamp); "
        "create table main.orders (customer_id varchar, ordered_at timestamp)"
    )
    for events in rules.cart_events:
        batches = [
            batch.folder(settings) / "rows.parquet"
            for batch in landing.batches(settings, events.source, events.table)
            if batch.day >= day - dt.timedelta(days=1)
        ]
        if batches:
            _take_events(connection, events, batches, until)


def _take_events(
    connection: duckdb.DuckDBPyConnection,
    events: CartEvents,
    files: list[Any],
    until: dt.datetime,
) -> None:
    listed = ", ".join(literal(file) for file in files)
    moment, told = quote(events.moment), f"events.{quote(events.properties)}"
    known = " or ".join(
        f"(identifiers.identifier_type = {literal(kind)} "
        f"and identifiers.identifier_value = events.{quote(column)})"
        for kind, column in events.identifiers.items()
    )
    connection.execute(
        f"""
        create or replace temp table cart_events as
        select
            identifiers.customer_id,
            events.{quote(events.event)} = {literal(events.bought)} as is_order,
            coalesce(
                try_cast({moment} as timestamp), make_timestamp(try_cast({moment} as bigint) * 1000)
            ) as happened_at,
            {told} ->> {literal("$." + events.product)} as product_id,
            try_cast({told} ->> {literal("$." + events.amount)} as double) as amount
        from read_parquet([{listed}], union_by_name = true) as events
        inner join (
            select identifier_type, identifier_value, min(customer_id) as customer_id
            from main.customer_identifiers
            where learned_to is null
            group by identifier_type, identifier_value
            having count(distinct customer_id) = 1
        ) as identifiers on {known}
        where
            events.{quote(events.event)} in ({literal(events.added)}, {literal(events.bought)})
        """
    )
    connection.execute(
        f"""
        insert into main.orders
        select customer_id, happened_at
        from cart_events
        where is_order and happened_at < timestamp {literal(str(until))};

        insert into main.carts
        select
            customer_id,
            {literal(events.source)} || ' ' || cast(max(happened_at) as varchar),
            'open',
            cast(round(100 * sum(amount)) as bigint),
            max_by(product_id, amount),
            max(happened_at)
        from cart_events
        where
            not is_order
            and happened_at < timestamp {literal(str(until))}
            and happened_at >= timestamp {literal(str(until - dt.timedelta(hours=2)))}
        group by customer_id
        """
    )
