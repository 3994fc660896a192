"""Triggers: each fires once, rests after, and never for who has acted meanwhile."""

import datetime as dt

import pytest

from customer360.engagement import candidates, triggers
from tests.engagement.conftest import DAY

CHANNELS = {"sms": {"cost": 0.1, "response": 0.1, "identifier": "phone"}}


@pytest.fixture
def fired(desk):
    """(customer, subject, fired_on, is_new) of a trigger at the end of a day."""

    def run(name, day=DAY, **rules):
        given = {"owner": "shop", "template": "hello", "value": 10, **rules}
        desk.rules = {"channels": CHANNELS, "templates": {"hello": "Dear {name}"},
                      "triggers": {name: given}}  # fmt: skip
        memory = desk.memory(day)
        candidates.begin(desk.connection)
        cutoff = dt.datetime.combine(day, dt.time(16))
        found = triggers.fire(
            desk.connection, desk.checked(), memory, cutoff, day + dt.timedelta(days=1)
        )
        memory.keep([found])
        return desk.ask(
            "select customer_id, subject, fired_on, is_new from engagement.triggered_touches "
            "order by all"
        )

    desk.put("customers", {"customer_id": "c1"}, {"customer_id": "c2"})
    desk.connection.execute(
        "create table main.carts (customer_id varchar, cart_key varchar, status varchar, "
        "amount_cents bigint, main_product_id varchar, updated_at timestamp); "
        "create table main.orders (customer_id varchar, ordered_at timestamp)"
    )
    return run


def cart(desk, customer, key, moment, status="open"):
    desk.put("carts", {"customer_id": customer, "cart_key": key, "status": status,
                       "amount_cents": 19_900, "main_product_id": "p",
                       "updated_at": moment})  # fmt: skip


def test_a_cart_fires_once_it_has_lain_unless_it_was_bought(desk, fired):
    cart(desk, "c1", "k1", "2026-06-30 15:00:00")
    cart(desk, "c2", "k2", "2026-06-30 15:45:00")  # half an hour has not passed
    assert fired("abandoned_cart") == [("c1", "k1", DAY, True)]
    desk.put("orders", {"customer_id": "c1", "ordered_at": "2026-06-30 15:10:00"})
    assert fired("abandoned_cart") == []


def test_a_trigger_goes_on_for_its_days_and_then_cools_down(desk, fired):
    cart(desk, "c1", "k1", "2026-06-30 12:00:00")
    one = dt.timedelta(days=1)
    rules = {"within_days": 2, "cool_down_days": 5}
    assert fired("abandoned_cart", **rules) == [("c1", "k1", DAY, True)]
    assert fired("abandoned_cart", DAY + one, **rules) == [("c1", "k1", DAY, False)]
    cart(desk, "c1", "k2", "2026-07-02 12:00:00")
    assert fired("abandoned_cart", DAY + 2 * one, **rules) == []
    cart(desk, "c1", "k3", "2026-07-05 12:00:00")
    assert fired("abandoned_cart", DAY + 5 * one, **rules) == [("c1", "k3", DAY + 5 * one, True)]


def test_a_price_drop_is_told_to_who_had_it_in_the_cart(desk, fired):
    cart(desk, "c1", "k1", "2026-06-20 12:00:00")
    cart(desk, "c2", "k2", "2026-06-20 12:00:00", status="ordered")
    desk.connection.execute(
        "create table main.cart_lines as select * from (values ('k1', 'shop', 'p'), "
        "('k2', 'shop', 'p')) as lines (cart_key, catalogue, product_id); "
        "create table main.product_prices as select 'shop' as source, 'p' as product_id, "
        "900 as price_cents, 1000 as previous_price_cents, timestamp '2026-06-29' as valid_from, "
        "true as is_current"
    )
    assert [row[0] for row in fired("price_drop", min_drop=0.1)] == ["c1"]
    assert fired("price_drop", min_drop=0.11) == []


def test_the_repurchase_window_follows_the_customer_s_own_cycle(desk, fired):
    desk.connection.execute(
        "create table main.products as select 'shop' as source, 'f' as product_id, "
        "'filter' as category; "
        "create table main.order_lines as select customer_id, 'shop' as catalogue, "
        "'f' as product_id, day as ordered_on, 1 as quantity from (values "
        "('c1', date '2026-01-01'), ('c1', date '2026-03-02'), ('c1', date '2026-05-01'), "
        "('c2', date '2026-01-01'), ('c2', date '2026-05-01')) as bought (customer_id, day)"
    )
    # every 60 days: the window opens on 30 June; two purchases are no cycle
    assert [row[0] for row in fired("repurchase_window")] == ["c1"]
    assert fired("repurchase_window", DAY - dt.timedelta(days=2)) == []


def test_warranties_and_lapses_fire_on_their_days(desk, fired):
    desk.connection.execute(
        "create table main.installed_products as select 'c1' as customer_id, 'p1' as product_key, "
        "'RO' as model, date '2026-07-20' as warranty_until"
    )
    assert [row[:2] for row in fired("warranty_ending", within_days=30)] == [("c1", "p1")]
    assert fired("warranty_ending", lead_days=18) == []
    desk.put("customer_360", {"customer_id": "c2", "last_order_on": "2026-01-01"})
    assert [row[0] for row in fired("lapse", after_days=180)] == ["c2"]
    assert fired("lapse", after_days=120) == []
