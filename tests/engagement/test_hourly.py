"""The hourly lane: a cart is answered within the hour, once, and the night knows of it."""

import dataclasses
import datetime as dt
import json
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from customer360.engagement import hourly
from customer360.engagement.config import parse_engagement
from customer360.engagement.memory import Memory
from customer360.landing import Batch
from customer360.settings import Settings
from tests.engagement.conftest import MARTS
from tests.publish.company import open_state, publish_tables

NIGHT = dt.date(2026, 6, 30)
RULES = {
    "contact": {"caps": {1: 1}, "quiet_hours": {"start": 21, "end": 9}},
    "channels": {"wechat": {"cost": 0.01, "response": 0.1, "identifier": "openid"}},
    "templates": {"cart": "{name}, {amount_yuan}"},
    "triggers": {"abandoned_cart": {"owner": "shop", "template": "cart", "value": 50,
                                    "wait_minutes": 30, "cool_down_days": 3}},
    "cart_events": [{"source": "site", "table": "events", "added": "Added", "bought": "Bought",
                     "product": "sku", "amount": "price", "identifiers": {"openid": "who"}}],
}  # fmt: skip


@pytest.fixture
def shop(tmp_path):
    settings = Settings("acme", tmp_path / "acme", threads=2, memory_limit="500MB")
    tables = {
        name: "select " + ", ".join(
            f"null::{part.rsplit(' ', 1)[1]} as {part.rsplit(' ', 1)[0]}"
            for part in columns.split(", ")
        ) + " where false"
        for name, columns in MARTS.items()
    }  # fmt: skip
    who = "from (values ('c1'), ('c2'), ('c3')) as ids (customer_id)"
    tables["customers"] = f"select customer_id, '31' as province_code {who}"
    tables["customer_identifiers"] = (
        "select customer_id, 'openid' as identifier_type, 'o-' || customer_id as identifier_value, "
        f"null::timestamp as held_to, null::timestamp as learned_to {who}"
    )
    publish_tables(settings, "night", NIGHT, {}, **tables)
    control = {"campaign": "global", "customer_id": "c3", "arm": "control", "assigned_on": NIGHT}
    Memory(open_state(settings), "night", NIGHT).assign(pa.Table.from_pylist([control]))
    return settings


def land(settings, *events):
    """(who, event, moment in UTC)"""
    rows = [
        {"who": f"o-{who}", "event": event, "occurred_at": f"2026-07-01T{moment}Z",
         "properties": json.dumps({"sku": "p", "price": 199})}
        for who, event, moment in events
    ]  # fmt: skip
    batch = Batch("site", "events", "2026-07-01", "0001-x", "window", None, "", len(rows), 0,
                  "", {}, {}, "", lane="hourly")  # fmt: skip
    folder = batch.folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    (folder / "manifest.json").write_text(json.dumps(dataclasses.asdict(batch)))


def answer(settings, hour):
    company = SimpleNamespace(
        sources=SimpleNamespace(zone=ZoneInfo("Asia/Shanghai"), time_zone="Asia/Shanghai")
    )
    rules = parse_engagement(RULES, "acme", settings.config_dir / "engagement.yml")
    moment = dt.datetime(2026, 7, 1, hour)
    hourly.answer(settings, open_state(settings), company, rules, moment)
    folder = settings.data_dir / "hourly" / f"2026-07-01T{hour:02}"
    assert (folder / "_SUCCESS").exists()
    rows = pq.read_table(folder / "touch_plan.parquet").to_pylist()
    return {row["customer_id"]: (row["local_hour"], row["held_because"]) for row in rows}


def test_a_cart_is_answered_within_the_hour_once_and_never_to_the_control_group(shop):
    land(
        shop,
        ("c1", "Added", "05:10:00"),
        ("c2", "Added", "05:00:00"),
        ("c2", "Bought", "05:05:00"),
        ("c3", "Added", "05:10:00"),
    )
    expected = {"c1": (14, None), "c3": (None, "holdout_global")}
    assert answer(shop, 14) == expected  # 06:00 UTC
    assert answer(shop, 14) == expected  # the same hour again: the same
    assert answer(shop, 15)["c1"] == (None, "already_made")
    night = Memory(open_state(shop), "next night", dt.date(2026, 7, 1))
    assert night.recall("touch").column("subject_id").to_pylist() == ["c1"]


def test_nothing_goes_out_in_quiet_hours(shop):
    land(shop, ("c1", "Added", "13:10:00"))
    assert answer(shop, 22) == {"c1": (None, "quiet_hours")}
