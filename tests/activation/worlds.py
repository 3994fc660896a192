"""A company with one destination, and what its snapshots hold."""

import datetime as dt
import json

import yaml

from customer360.activation import outbox, sending
from customer360.config import load_config
from tests.activation.receiver import Receiver
from tests.publish.company import DAY, open_state, publish_tables

TABLES = {
    "touch_plan": {"key": ["touch_id", "customer_id"]},
    "segment_members": {"key": ["segment", "customer_id"]},
}
PURPOSES = {
    "care": {"description": "Service to customers", "basis": "contract"},
    "offers": {"description": "Offers", "basis": "consent", "consent": "marketing",
               "channel": "sms"},
}  # fmt: skip
CONSENTS = (
    "select * from (values {}) as told(source, consent_id, customer_id, purpose, channel, "
    "is_granted, captured_at, withdrawn_at)"
)
NEXT = DAY + dt.timedelta(days=1)


def members(*rows: tuple[str, str, int]) -> str:
    typed = "select null::varchar as customer_id, null::varchar as segment, 0 as score where false"
    return " union all ".join(
        [typed, *(f"select '{c}', '{s}', {n}" for c, s, n in rows)]
    )  # fmt: skip


def consents(**granted: bool) -> str:
    rows = ", ".join(
        f"('crm', '{who}', '{who}', 'marketing', 'all', {yes}, timestamp '2026-01-01', "
        f"{'null::timestamp' if yes else chr(39) + '2026-02-01' + chr(39) + '::timestamp'})"
        for who, yes in granted.items()
    )
    return CONSENTS.format(rows)


class World:
    """A company with one destination, a web service."""

    def __init__(self, company, receiver: Receiver) -> None:
        self.company = company
        self.receiver = receiver
        self.settings = company.settings
        self.engine = open_state(self.settings)
        self.runs = 0
        data = self.settings.data_dir
        data.mkdir(parents=True, exist_ok=True)
        (data / "connections.json").write_text(json.dumps({"tool": receiver.connection}))
        self.declare()

    def declare(self, **changed) -> None:
        declared = {
            "title": "A tool", "owner": "marketing", "kind": "webhook", "connection": "tool",
            "from": "segment_members", "purpose": "care", "columns": {"score": "care"},
            "retry": {"attempts": 3, "first_wait": 0, "give_up_after": 2}, "parallel": 1,
            **changed,
        }  # fmt: skip
        self.declare_only(declared)

    def declare_only(self, declared: dict) -> None:
        """The one destination ``tool``, of whatever kind."""
        section = {"purposes": PURPOSES, "destinations": {"tool": declared}}
        path = self.company.root / "config" / "destinations.yml"
        path.write_text(yaml.safe_dump({"tiny": section}))

    def publish(self, rows, as_of=DAY, **tables) -> tuple:
        self.runs += 1
        run_id = f"run{self.runs}"
        tables = {"segment_members": members(*rows), **tables}
        info = {"tables": {name: TABLES[name] for name in TABLES if name in tables}}
        snapshot = publish_tables(self.settings, run_id, as_of, info, **tables)
        return snapshot, as_of, run_id

    def deliver(self, published) -> sending.Delivered:
        config = load_config(self.settings)
        return sending.deliver(self.settings, self.engine, config, "tool", *published)

    def send(self, rows, as_of=DAY, **tables) -> sending.Delivered:
        return self.deliver(self.publish(rows, as_of, **tables))

    def ledger(self) -> dict:
        with outbox.Outbox.open(self.settings, self.engine, "tool") as book:
            book.rebuild()
            rows = book.connection.execute(
                "select customer_id, object, status, received_hash is not null, reason from ledger"
            ).fetchall()
        return {(customer, thing): rest for customer, thing, *rest in rows}

    def held(self) -> set:
        return {(row["customer_id"], row["segment"]) for row in self.receiver.held().values()}
