"""Fourteen nights of a living company, each delivered: what its receivers hold must be right.

The nightly steps run in this process, to the demo's own CRM (PostgreSQL), web service and folders.
After each night the receivers are asked, not the pipeline: caps and cool-downs, nobody sent twice,
withdrawn consents obeyed within the run, the alert in the sales person's own list. What a tool is
told is replayed from its own book of requests. ``CUSTOMER360_DAYS`` makes it shorter or longer.
"""

import datetime as dt
import json
import os
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from customer360 import pipeline
from customer360.declarations import declared_destinations
from customer360.demo.systems import company, postgres
from customer360.demo.systems.layout import Layout
from customer360.engagement.config import load_engagement
from customer360.settings import Settings, load_settings
from tests.faults.living import ask
from tests.pipeline.nights import extract_all

DAYS = int(os.environ.get("CUSTOMER360_DAYS", "14"))
WITHDRAWN_ON = min(5, DAYS - 1)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

REFUSED = """
    select customer_id from (
        select customer_id, arg_max(is_granted, (
            coalesce(case when is_granted then captured_at else withdrawn_at end, captured_at),
            not is_granted
        )) as is_yes
        from consents
        where purpose = 'marketing' and coalesce(channel, 'all') in ('all', 'sms')
        group by customer_id
    ) where not is_yes
"""
"""Customers whose last word about offers by SMS is no, said without the product's own code."""


@dataclass
class Tool:
    """The web service: what it holds, and what it was told day by day."""

    path: Path
    read: int = 0
    held: dict[str, dict[tuple[str, ...], dict[str, Any]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    touches: list[tuple[str, str, dt.date]] = field(default_factory=list)
    twice: list[Any] = field(default_factory=list)
    taken_back_too_late: list[Any] = field(default_factory=list)

    def take(self, as_of: dt.date) -> None:
        """Follow every request since the last look, as the tool itself would."""
        with sqlite3.connect(self.path) as book:
            rows = book.execute(
                "select number, name, body from hooks where number > ? order by number",
                (self.read,),
            ).fetchall()
        for number, name, text in rows:
            self.read = number
            for row in json.loads(text).get("rows", ()):
                self._take(name, row, as_of)

    def _take(self, name: str, row: dict[str, Any], as_of: dt.date) -> None:
        key = tuple(
            str(row[column]) for column in ("customer_id", "segment", "touch_id") if column in row
        )
        held = self.held[name]
        if row["change"] == "removed":
            gone = held.pop(key, None)
            if name == "touches":
                on = dt.date.fromisoformat(row["plan_on"])
                self.taken_back_too_late += [] if on > as_of else [key]
                if gone:
                    self.touches.remove((row["customer_id"], gone["channel"], on))
            return
        if held.get(key) == row or (row["change"] == "added" and key in held):
            self.twice.append((name, key))
        if name == "touches" and key not in held:
            on = dt.date.fromisoformat(row["plan_on"])
            self.touches.append((row["customer_id"], row["channel"], on))
        held[key] = row


def night(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """A night from extraction to the last receiver; what each destination said."""
    extract_all(settings, as_of)
    pipeline.begin(settings, as_of, run_id)
    pipeline.load_raw(settings, as_of, run_id)
    pipeline.audit(settings, as_of, run_id, "raw")
    pipeline.resolve_identities(settings, as_of, run_id)
    pipeline.build_marts(settings, as_of, run_id)
    pipeline.audit(settings, as_of, run_id, "marts")
    pipeline.train_if_needed(settings, as_of, run_id)
    pipeline.score(settings, as_of, run_id)
    pipeline.build_scored_marts(settings, as_of, run_id)
    engaged = pipeline.engage(settings, as_of, run_id)
    pipeline.audit(settings, as_of, run_id, "scores")
    pipeline.publish(settings, as_of, run_id)
    pipeline.activate(settings, as_of, run_id)
    names = declared_destinations(settings)
    return {"touches": engaged["touches"]} | {
        name: pipeline.deliver(settings, as_of, run_id, name) for name in names
    }


def crm(layout: Layout, query: str) -> list[tuple[Any, ...]]:
    """What the CRM's own tables say."""
    known = json.loads(layout.connections.read_text())
    with psycopg.connect(known["crm"]["url"]) as connection:
        return connection.execute(query).fetchall()


def test_caps_consents_and_alerts_hold_at_the_receivers_for_fourteen_nights(tiny_company):
    live(tiny_company)


def live(layout: Layout) -> None:
    settings = load_settings()
    tool = Tool(layout.run / "hooks.sqlite")
    obeyed, alerts, withdrawn, before = 0, 0, set(), set()
    for number in range(DAYS):
        if number:
            company.advance(layout, 1, lambda _: None)
        day = dt.date.fromisoformat(layout.clock.read_text().strip())
        if number == WITHDRAWN_ON:
            withdrawn = withdraw(settings, layout, sorted(before)[:5], day)
        told = night(settings, day, f"day_{number}")
        tool.take(day)
        print(day, told["touches"], {n: d["status"] for n, d in told.items() if "status" in d})
        audience = {customer for customer, _ in tool.held["audiences"]}
        refused = {row[0] for row in ask(settings, REFUSED)}
        assert not audience & refused, f"{day}: without consent"
        assert withdrawn <= refused, f"{day}: what was said in the CRM is not known"
        obeyed += len(before & refused)
        before = audience
        check_touches(settings, tool, day)
        alerts += check_desk(settings, layout)
        again = {
            name: pipeline.deliver(settings, day, f"day_{number}", name)["status"]
            for name in declared_destinations(settings)
        }
        assert set(again.values()) <= {"unchanged", "off"}, again
    tool.take(day)
    assert not tool.twice
    assert not tool.taken_back_too_late
    assert tool.touches, "nothing was planned: nothing is shown"
    assert alerts, "no alert reached a sales person"
    assert obeyed >= len(withdrawn) > 0, "nobody took a consent back: nothing is shown"
    print(f"{len(tool.touches)} touches, {alerts} alerts a night in the CRM's list in sum, "
          f"{obeyed} consents taken back and obeyed in the same night")  # fmt: skip


def withdraw(settings: Settings, layout: Layout, customers: list[str], day: dt.date) -> set[str]:
    """In the CRM, before the night: no more offers by SMS to these customers; who has it there."""
    records = dict(
        ask(
            settings,
            "select substr(identifier_value, 13), customer_id from customer_identifiers "
            "where identifier_type = 'record' and starts_with(identifier_value, 'crm.persons:') "
            f"and customer_id in ({', '.join(repr(customer) for customer in customers)})",
        )
    )
    server = postgres.open_server(layout, None)
    with server.connect(server.database("crm")) as connection:
        changed = connection.execute(
            "update consents set status = 'withdrawn', withdrawn_at = %(at)s, "
            "updated_at = %(at)s where purpose = '营销' and channel = 'sms' "
            "and person_no = any(%(persons)s) returning person_no",
            {"at": f"{day} 12:00", "persons": list(records)},
        ).fetchall()
    return {records[person] for (person,) in changed}


def check_touches(settings: Settings, tool: Tool, day: dt.date) -> None:
    """Caps over all channels and of each, over every rolling window that ends with the plan."""
    rules = load_engagement(settings)
    plan_on = day + dt.timedelta(days=1)
    for days, most in rules.contact.caps.items():
        seen = Counter(who for who, _, on in tool.touches if on > plan_on - dt.timedelta(days=days))
        assert max(seen.values(), default=0) <= most, f"{day}: over the cap of {days} days"
    for name, channel in rules.channels.items():
        for days, most in channel.caps.items():
            since = plan_on - dt.timedelta(days=days)
            seen = Counter(who for who, by, on in tool.touches if by == name and on > since)
            assert max(seen.values(), default=0) <= most, f"{day}: {name} over {days} days"
    controls = {row[0] for row in ask(settings, "select customer_id from holdouts "
                "where campaign = 'global' and arm = 'control'")}  # fmt: skip
    assert not controls & {who for who, _, on in tool.touches if on == plan_on}


def check_desk(settings: Settings, layout: Layout) -> int:
    """The CRM's table is the published one; the list of sales people shows it to each of them."""
    wanted = set(ask(settings, "select alert_id, customer_id from churn_alerts"))
    held = set(crm(layout, "select alert_id, customer_id from customer360.churn_alerts"))
    assert held == wanted
    listed = crm(
        layout, "select count(*) from customer360.alerts_of_sales where alert_id is not null"
    )
    known = crm(layout, "select count(*) from customer360.churn_alerts where person_no is not null")
    assert listed == known
    return int(listed[0][0])
