"""Hold-outs: stable, of the declared size, and control wins when customers merge."""

import datetime as dt

import pytest

from tests.engagement.conftest import DAY, RULES

SALE = RULES["campaigns"]["sale"]


@pytest.fixture
def shop(desk):
    desk.rules["campaigns"] = {"sale": {**SALE, "holdout_share": 0.3}}
    desk.rules["holdouts"] = {"global_share": 0.1}
    desk.put("customers", *({"customer_id": f"c{number}"} for number in range(400)))
    return desk


def arms(rows, campaign="sale"):
    return {row[1]: row[2] for row in rows if row[0] == campaign}


def test_shares_are_kept_and_arms_of_two_campaigns_are_independent(shop):
    shop.rules["campaigns"]["other"] = shop.rules["campaigns"]["sale"]
    first = arms(shop.assign())
    other = arms(shop.assign(audience="other"), "other")
    assert list(first.values()).count("control") == pytest.approx(120, abs=30)
    assert len(arms(shop.assign(), "global")) == pytest.approx(40, abs=20)
    both = sum(first[who] == other[who] == "control" for who in first)
    assert both == pytest.approx(36, abs=18)


def test_a_later_run_a_rerun_and_another_share_move_nobody(shop):
    before = shop.assign()
    assert shop.assign() == before
    shop.rules["campaigns"]["sale"]["holdout_share"] = 0.9
    assert shop.assign(DAY + dt.timedelta(days=1)) == before


def test_a_day_of_the_past_assigns_the_same_arms_as_of_then(shop):
    before = shop.assign()
    earlier = DAY - dt.timedelta(days=3)
    past = shop.assign(earlier)
    assert {row[5] for row in past} == {earlier}
    assert [row[:5] for row in past] == [row[:5] for row in before]


def test_control_wins_when_customers_merge_and_the_arm_as_assigned_is_kept(shop):
    before = arms(shop.assign())
    control = next(who for who, arm in before.items() if arm == "control")
    treat = next(who for who, arm in before.items() if arm == "treat")
    shop.connection.execute("delete from main.customers where customer_id = ?", [control])
    shop.put("customer_id_map", {"old_id": control, "new_id": treat, "reason": "merge"})
    rows = [row for row in shop.assign(DAY + dt.timedelta(days=1)) if row[0] == "sale"]
    of_both = {row[4]: row[2:4] for row in rows if row[1] == treat}
    assert of_both == {control: ("control", "control"), treat: ("control", "treat")}


def test_who_is_split_off_a_control_stays_a_control(shop):
    before = shop.assign()
    control = next(row[1] for row in before if row[0] == "sale" and row[2] == "control")
    shop.put("customers", {"customer_id": "new"})
    shop.put("customer_id_map", {"old_id": control, "new_id": "new", "reason": "split"})
    after = arms(shop.assign(DAY + dt.timedelta(days=1)))
    assert after["new"] == after[control] == "control"
