"""A work file with a handful of rows in each mart that the rules of engagement read."""

import datetime as dt
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import Engine, update

from customer360 import state
from customer360.config import Audiences
from customer360.engagement import alerts, candidates, holdouts, people, plan
from customer360.engagement.config import Engagement, parse_engagement
from customer360.engagement.memory import Memory
from customer360.settings import Settings

DAY = dt.date(2026, 6, 30)

MARTS = {
    "customers": "customer_id varchar, province_code varchar",
    "customer_360": "customer_id varchar, value_tier varchar, churn_probability double, "
    "churn_horizon_days integer, value_at_risk_cents bigint, last_order_on date, "
    "loyalty_tier varchar, products_owned integer, spend_52_weeks_cents bigint, "
    "has_marketing_consent boolean, days_since_last_order integer",
    "churn_risk": "customer_id varchar, reason_1 varchar, reason_2 varchar, reason_3 varchar",
    "customer_id_map": "old_id varchar, new_id varchar, reason varchar",
    "customer_identifiers": "customer_id varchar, identifier_type varchar, "
    "held_to timestamp, learned_to timestamp",
    "consents": "customer_id varchar, purpose varchar, channel varchar, is_granted boolean, "
    "captured_at timestamp, withdrawn_at timestamp",
    "service_cases": "case_key varchar, customer_id varchar, topic varchar, status varchar",
    "campaign_touches": "customer_id varchar, channel varchar, sent_on date",
    "alert_answers": "alert_id varchar, answer varchar, answered_at timestamp, answered_on date",
}

AUDIENCES = {
    "value_tiers": {"high": 1000, "low": 0},
    "segments": {},
    "churn": {
        "alert": {
            "min_probability": 0.5,
            "min_value_tier": "high",
            "owners": {"high": "key-accounts"},
            "actions": {"high": "call"},
            "expires_after_days": 20,
            "repeat_after_days": 60,
            "worse_by": 0.1,
        }
    },
}

RULES: dict[str, Any] = {
    "contact": {"caps": {1: 1, 7: 2}, "one_voice": [["call", "sms"]]},
    "channels": {
        "sms": {"cost": 0.1, "caps": {7: 1}, "response": 0.1, "identifier": "phone",
                "consent": "sms", "hour": 11},
        "wechat": {"cost": 0.1, "response": 0.05, "identifier": "openid", "hour": 23},
        "call": {"cost": 4, "response": 0.2, "identifier": "phone", "consent": "call"},
    },
    "templates": {"hello": "Dear {name}"},
    "campaigns": {
        "sale": {"owner": "marketing", "starts_on": DAY, "ends_on": DAY + dt.timedelta(days=90),
                 "rule": "products_owned > 0", "channels": ["sms", "wechat"],
                 "template": "hello", "value": 50},
    },
}  # fmt: skip


@dataclass
class Desk:
    """The company at one moment: its marts, its decision state, its rules."""

    connection: duckdb.DuckDBPyConnection
    engine: Engine
    rules: dict[str, Any] = field(default_factory=lambda: {**RULES})
    audiences: Audiences = field(default_factory=lambda: Audiences.model_validate(AUDIENCES))

    def put(self, table: str, *rows: dict[str, Any]) -> None:
        for row in rows:
            names = ", ".join(row)
            marks = ", ".join("?" * len(row))
            self.connection.execute(
                f"insert into main.{table} ({names}) values ({marks})", list(row.values())
            )

    def person(self, customer: str, *identifiers: str, consents: tuple[str, ...] = (), **also):
        """A customer who can be reached and has agreed."""
        self.put(
            "customers", {"customer_id": customer, "province_code": also.pop("province", "31")}
        )
        self.put("customer_360", {"customer_id": customer, "products_owned": 1, **also})
        for kind in identifiers:
            self.put("customer_identifiers", {"customer_id": customer, "identifier_type": kind})
        for channel in consents:
            self.put(
                "consents",
                {"customer_id": customer, "purpose": "marketing", "channel": channel,
                 "is_granted": True, "captured_at": "2025-01-01"},
            )  # fmt: skip

    def checked(self) -> Engagement:
        return parse_engagement(self.rules, "tiny", Path("engagement.yml"))

    def memory(self, day: dt.date = DAY) -> Memory:
        """The memory of a run of that day that will have been published."""
        run_id = f"{day}-{uuid.uuid4().hex[:8]}"
        state.begin_run(self.engine, run_id, day)
        with self.engine.begin() as connection:
            connection.execute(
                update(state.runs).where(state.runs.c.run_id == run_id).values(snapshot="x")
            )
        self.connection.execute(f"set variable engagement_as_of = date '{day}'")
        return Memory(self.engine, run_id, day)

    def assign(self, day: dt.date = DAY, audience: str = "sale") -> list[tuple[Any, ...]]:
        holdouts.assign(
            self.connection,
            self.checked(),
            self.memory(day),
            f"(select '{audience}' as campaign, customer_id from main.customers)",
        )
        return self.ask(
            "select campaign, customer_id, arm, arm_assigned, assigned_customer_id, assigned_on "
            "from engagement.holdouts order by all"
        )

    def alert(self, day: dt.date = DAY) -> list[tuple[Any, ...]]:
        memory = self.memory(day)
        memory.keep([alerts.raise_alerts(self.connection, self.audiences, memory)])
        return self.ask(
            "select customer_id, alert_id, raised_on, is_new from engagement.churn_alerts "
            "order by all"
        )

    def plan(self, day: dt.date = DAY, extra: str | None = None) -> dict[tuple[str, str], Any]:
        """(customer, name) -> (channel, held_because) of the day after."""
        memory, rules = self.memory(day), self.checked()
        plan_on = day + dt.timedelta(days=1)
        candidates.begin(self.connection)
        candidates.add_campaigns(self.connection, rules, plan_on)
        if extra:
            candidates.add(self.connection, extra)
        audience = f"(select name as campaign, customer_id from {candidates.TABLE})"
        holdouts.assign(self.connection, rules, memory, audience)
        people.remember_touches(self.connection, memory, plan_on, rules.longest_window)
        people.gather(self.connection, rules, plan_on)
        done = plan.plan_touches(self.connection, rules, day, plan_on, "Asia/Shanghai")
        memory.keep([done.made])
        return {
            (customer, name): (channel, held)
            for customer, name, channel, held in self.ask(
                "select customer_id, name, channel, held_because from engagement.touch_plan"
            )
        }

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()


@pytest.fixture
def desk(tmp_path):
    settings = Settings("tiny", tmp_path, threads=2, memory_limit="500MB")
    engine = state.engine(settings)
    state.ensure(engine)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("create schema engagement")
        for name, columns in MARTS.items():
            connection.execute(f"create table main.{name} ({columns})")
        yield Desk(connection, engine)
