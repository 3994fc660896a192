"""Consents are read again at the moment of sending: what has landed since the snapshot counts."""

import datetime as dt
import json
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from customer360 import landing
from customer360.activation import consents, exports, stops, to_parcels
from customer360.activation.declared import SEGMENT_MEMBERS
from customer360.config import ExportPolicy, load_config
from customer360.settings import PROJECT
from tests.activation.worlds import World, members
from tests.publish.company import DAY

LATER = "2099-01-01T00:00:00+00:00"
IDENTIFIERS = (
    "select * from (values ('a', 'record', 'crm.persons:P1'), ('b', 'record', 'crm.persons:P2'))"
    " as known(customer_id, identifier_type, identifier_value)"
)
MART = (
    "select 'crm' as source, number::varchar as consent_id, who as customer_id, "
    "'marketing' as purpose, 'all' as channel, true as is_granted, timestamp '2026-01-01' as "
    "captured_at, null::timestamp as withdrawn_at "
    "from (values (1, 'a'), (2, 'b')) as c(number, who)"
)


@pytest.fixture
def shop(world) -> World:
    """A company whose consents come from a CRM, as the demo's."""
    declared = yaml.safe_load((PROJECT / "config" / "sources.yml").read_text(encoding="utf-8"))
    crm = declared["demo"]["sources"]["crm"]
    crm["tables"] = {"consents": crm["tables"]["consents"]}
    world.company.config["sources"]["sources"]["crm"] = crm
    world.company.write()
    world.declare(purpose="offers", columns={"score": "offers"})
    return world


def publish(shop: World) -> tuple:
    return shop.publish(
        (), segment_members=members(("a", "vip", 1), ("b", "vip", 1)), consents=MART,
        customer_identifiers=IDENTIFIERS,
    )  # fmt: skip


def land(shop: World, rows: list[tuple[int, str, str]], keys: list[int] | None = None) -> None:
    """A batch of the CRM's consents: number, person, status; perhaps with a sweep of keys."""
    day = DAY + dt.timedelta(days=1)
    there = len(landing.batches(shop.settings, "crm", "consents"))
    batch = landing.Batch(
        source="crm", table="consents", as_of=str(day), batch=f"{there + 1:04d}-x", mode="window",
        cursor_from=None, cursor_to=f"{day}T00:00:00", rows=len(rows), rejects=0, content="x",
        sha256={}, columns={}, landed_at=LATER, is_sweep=keys is not None, lane="hourly",
    )  # fmt: skip
    folder = batch.folder(shop.settings)
    folder.mkdir(parents=True)
    moment = dt.datetime(2026, 3, 2, 1 + there)
    columns = {
        "consent_id": [row[0] for row in rows], "person_no": [row[1] for row in rows],
        "purpose": ["营销"] * len(rows), "channel": ["all"] * len(rows),
        "status": [row[2] for row in rows], "legal_basis": ["同意"] * len(rows),
        "source": ["app"] * len(rows), "captured_at": [moment] * len(rows),
        "withdrawn_at": [moment if row[2] == "withdrawn" else None for row in rows],
        "updated_at": [moment] * len(rows),
    }  # fmt: skip
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    if keys is not None:
        pq.write_table(
            pa.table({"consent_id": pa.array(keys, pa.int64())}), folder / "keys.parquet"
        )
    (folder / "manifest.json").write_text(json.dumps(asdict(batch)))


def test_a_consent_that_was_taken_back_since_the_snapshot_is_obeyed(shop):
    published = publish(shop)
    land(shop, [(1, "P1", "granted"), (2, "P2", "withdrawn")])
    done = shop.deliver(published)
    assert done.held == {"no consent to marketing by sms": 1}
    assert shop.held() == {("a", "vip")}
    land(shop, [(1, "P1", "withdrawn"), (2, "P2", "granted")])
    done = shop.deliver(published)
    assert done.counts == {"added": 1, "changed": 0, "removed": 1}
    assert shop.held() == {("b", "vip")}


def test_a_consent_that_is_gone_from_its_source_is_none(shop):
    published = publish(shop)
    land(shop, [(1, "P1", "granted"), (2, "P2", "granted")])
    shop.deliver(published)
    assert shop.held() == {("a", "vip"), ("b", "vip")}
    land(shop, [(1, "P1", "granted")], keys=[1])
    shop.deliver(published)
    assert shop.held() == {("a", "vip")}


def test_a_consent_taken_back_while_rows_are_sent_stops_those_that_are_left(shop, monkeypatch):
    shop.declare(purpose="offers", columns={"score": "offers"}, batch_size=1)
    monkeypatch.setattr(to_parcels, "WINDOW_ROWS", 1)
    published = publish(shop)
    land(shop, [(1, "P1", "granted"), (2, "P2", "granted")])
    honest = to_parcels.Webhook.send

    def send_and_land(self, parcels):
        replies = honest(self, parcels)
        if not consents.stamp(shop.settings, load_config(shop.settings))[1:]:
            land(shop, [(2, "P2", "withdrawn")])
        return replies

    monkeypatch.setattr(to_parcels.Webhook, "send", send_and_land)
    done = shop.deliver(published)
    assert done.held == {"no consent to marketing by sms": 1}
    assert shop.held() == {("a", "vip")}


def exported(shop: World, published: tuple) -> tuple[list, dict]:
    snapshot, as_of, run_id = published
    config = load_config(shop.settings)
    policy = ExportPolicy(purposes={"segment_members": "offers"})
    done = exports.export(
        shop.settings, shop.engine, snapshot, SEGMENT_MEMBERS, as_of, run_id, policy, config
    )
    rows = pq.read_table(done.path / "full.parquet")["customer_id"].to_pylist()
    return rows, json.loads((done.path / "manifest.json").read_text())


def test_an_export_asks_for_consent_when_it_is_written(shop):
    published = publish(shop)
    assert exported(shop, published)[0] == ["a", "b"]
    land(shop, [(1, "P1", "granted"), (2, "P2", "withdrawn")])
    rows, manifest = exported(shop, published)
    assert rows == ["a"]
    assert manifest["purpose"] == {"name": "offers", "basis": "consent", "consent": "marketing"}
    assert manifest["changes"] == {"added": 0, "changed": 0, "removed": 1}
    stops.suppress(shop.engine, ["a"], "erased", "asked for it")
    assert exported(shop, published)[0] == []
