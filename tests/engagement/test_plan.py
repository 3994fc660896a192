"""The touch plan: who is touched, how, when, and why not."""

import datetime as dt

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from customer360.exceptions import ConfigError
from tests.engagement.conftest import DAY, RULES

SALE = RULES["campaigns"]["sale"]
SERVICE = (
    "select 'care' as source, 'points' as name, 'x' as subject, 'c1' as customer_id, "
    "'service' as purpose, 'loyalty' as owner, {ways} as ways, 0 as value_cents, 1 as priority, "
    "0 as coupon_cents, 'hello' as template, '{{}}' as variables, date '2026-07-10' as until_on"
)


def test_the_channel_that_is_worth_most_is_taken_in_waking_hours(desk):
    desk.person("c1", "phone", "openid", consents=("sms",))
    desk.person("c2", "openid", province="65")
    desk.rules["contact"] = {**RULES["contact"], "zones": {"65": "Asia/Urumqi"}}
    planned = desk.plan()
    assert planned == {("c1", "sale"): ("sms", None), ("c2", "sale"): ("wechat", None)}
    assert desk.ask(
        "select customer_id, local_hour, planned_at, plan_on, expected_value_cents "
        "from engagement.touch_plan order by 1"
    ) == [
        ("c1", 11, dt.datetime(2026, 7, 1, 3), dt.date(2026, 7, 1), 490),
        # 23 o'clock is quiet: the last hour before, in the customer's own zone
        ("c2", 20, dt.datetime(2026, 7, 1, 14), dt.date(2026, 7, 1), 240),
    ]


def test_each_touch_that_is_not_made_says_why(desk):
    desk.person("nothing")
    desk.person("withdrew", "phone")
    desk.put("consents", {"customer_id": "withdrew", "purpose": "marketing", "channel": "sms",
                          "is_granted": False, "captured_at": "2025-01-01",
                          "withdrawn_at": "2026-01-01"})  # fmt: skip
    desk.person("complains", "openid")
    desk.put("service_cases", {"customer_id": "complains", "topic": "quality", "status": "open"})
    desk.person("left all", "openid")  # no consent to this channel is asked, but a no to all holds
    desk.put("consents", {"customer_id": "left all", "purpose": "marketing", "channel": "all",
                          "is_granted": False, "withdrawn_at": "2026-01-01"})  # fmt: skip
    desk.person("sated", "phone", consents=("sms",))
    desk.put("campaign_touches", {"customer_id": "sated", "channel": "sms", "sent_on": DAY})
    held = {who: why for (who, _), (_, why) in desk.plan().items()}
    assert held == {
        "nothing": "not_reachable",
        "withdrew": "no_consent",
        "left all": "no_consent",
        "complains": "open_complaint",
        "sated": "cap",
    }


def test_marketing_rests_on_a_quiet_festival(desk):
    desk.person("c1", "openid")
    desk.rules["contact"] = {**RULES["contact"], "quiet_festivals": ["mid_autumn"]}
    assert desk.plan(dt.date(2026, 9, 24)) == {("c1", "sale"): (None, "festival")}
    assert desk.plan(dt.date(2026, 9, 23)) == {("c1", "sale"): ("wechat", None)}


def test_caps_count_what_earlier_plans_sent_and_a_campaign_cools_down(desk):
    desk.person("c1", "openid")
    desk.rules["campaigns"] = {"sale": {**SALE, "cool_down_days": 3}}
    days = [DAY + dt.timedelta(days=number) for number in range(12)]
    held = [desk.plan(day)["c1", "sale"][1] for day in days]
    assert held == [None, "cool_down", "cool_down", None] + ["cool_down"] * 2 + ["cap"] + [
        None, "cool_down", "cool_down", None, "cool_down"
    ]  # fmt: skip


def test_the_same_day_again_is_the_same_plan(desk):
    for number in range(9):
        desk.person(f"c{number}", "openid")
    desk.rules["contact"] = {**RULES["contact"], "budget": 0.45}
    first = desk.plan()
    assert desk.plan() == first
    assert [why for _, why in first.values()].count("budget") == 5


def test_a_customer_is_called_or_texted_but_not_both(desk):
    desk.rules["contact"] = {"caps": {1: 3}, "one_voice": [["call", "sms"]]}
    call = {**SALE, "channels": ["call"], "value": 200}
    desk.rules["campaigns"] = {"sale": {**SALE, "channels": ["sms"]}, "ring": call}
    desk.person("c1", "phone", consents=("sms", "call"))
    assert desk.plan() == {("c1", "ring"): ("call", None), ("c1", "sale"): (None, "better_touch")}


def test_service_goes_out_without_consent_and_counts_for_one_voice(desk):
    desk.person("c1", "phone", consents=("sms",))
    desk.rules["holdouts"] = {"global_share": 0.49}
    planned = desk.plan(extra=SERVICE.format(ways=1))
    assert planned["c1", "points"] == ("sms", None)
    assert planned["c1", "sale"][1] in ("one_voice", "holdout_global")


def test_a_company_that_declares_nothing_touches_nobody(desk):
    desk.person("c1", "phone", consents=("sms",))
    desk.rules = {}
    assert desk.plan() == {}


def test_a_template_without_its_variable_stops_before_anything_is_sent(desk):
    desk.rules["templates"] = {"hello": "Dear {name}, {points} points"}
    with pytest.raises(ConfigError, match=r"campaigns.sale.template: 'hello' uses \{points\}"):
        desk.checked()


@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_caps_voices_and_holdouts_hold_over_many_days(desk, data):
    """Whatever customers and campaigns there are: a week of plans keep every promise."""
    for table in ("customers", "customer_360", "customer_identifiers", "consents"):
        desk.connection.execute(f"delete from main.{table}")
    from customer360.engagement.memory import decisions

    with desk.engine.begin() as connection:
        connection.execute(decisions.delete())
    desk.rules["holdouts"] = {"global_share": 0.2}
    desk.rules["contact"] = {"caps": {1: 2, 7: 3}, "one_voice": [["call", "sms"]], "budget": 30}
    desk.rules["campaigns"] = {
        f"k{number}": {**SALE, "channels": data.draw(channel_sets), "cool_down_days": 1,
                       "holdout_share": 0.3, "value": data.draw(st.integers(10, 300))}
        for number in range(3)
    }  # fmt: skip
    for number in range(8):
        desk.person(f"c{number}", *data.draw(identifier_sets), consents=("sms", "call"))
    made = []
    for offset in range(6):
        desk.plan(DAY + dt.timedelta(days=offset))
        made += desk.ask(
            "select plan_on, customer_id, channel, name, local_hour from engagement.touch_plan "
            "where is_planned"
        )
        assert desk.ask(
            "select count(*) from engagement.touch_plan as plan inner join engagement.holdouts "
            "as held on plan.customer_id = held.customer_id and held.arm = 'control' and "
            "held.campaign in ('global', plan.name) where plan.is_planned"
        ) == [(0,)]
    for day, who, *_ in made:
        of_who = [row for row in made if row[1] == who]
        today = [row for row in of_who if row[0] == day]
        week = [row for row in of_who if 0 <= (day - row[0]).days < 7]
        assert len(today) <= 2
        assert len(week) <= 3
        assert sum(row[2] in ("call", "sms") for row in today) <= 1
        assert sum(row[2] == "sms" for row in week) <= 1
    assert all(9 <= row[4] < 21 for row in made)


channel_sets = st.lists(st.sampled_from(["sms", "wechat", "call"]), min_size=1, unique=True)
identifier_sets = st.lists(st.sampled_from(["phone", "openid"]), max_size=2, unique=True)
