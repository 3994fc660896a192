"""Care: who has an occasion, by which calendar, once each, and what its text is told."""

import datetime as dt
import json

import pytest

from customer360.engagement import candidates, care
from customer360.engagement.calendars import festival_days, lunar_day, occasions

CHANNELS = {"sms": {"cost": 0.1, "response": 0.1, "identifier": "phone"}}


@pytest.fixture
def due(desk):
    """(customer, occasion, occasion_on, variables) of a kind of care on a day."""

    def run(kind, plan_on, **rules):
        given = {"owner": "care", "template": "hello", "value": 10, **rules}
        desk.rules = {"channels": CHANNELS, "templates": {"hello": "Dear {name}"},
                      "care": {kind: given}}  # fmt: skip
        candidates.begin(desk.connection)
        care.plan_care(desk.connection, desk.checked(), plan_on, "Asia/Shanghai")
        return [
            (*row[:3], json.loads(row[3]))
            for row in desk.ask(
                "select customer_id, occasion, occasion_on, variables from engagement.care_tasks "
                "order by all"
            )
        ]

    return run


def born(desk, customer, birthday, calendar):
    desk.put("customers", {"customer_id": customer})
    desk.connection.execute(
        "create schema if not exists unify; create schema if not exists identity; "
        "create table if not exists unify.union_person_records "
        "(record_id varchar, birthday varchar, birthday_calendar varchar); "
        "create table if not exists identity.customer_records "
        "(record_id varchar, customer_id varchar)"
    )
    desk.connection.execute(
        "insert into unify.union_person_records values (?, ?, ?)",
        [f"r-{customer}-{calendar}", birthday, calendar],
    )
    desk.connection.execute(
        "insert into identity.customer_records values (?, ?)",
        [f"r-{customer}-{calendar}", customer],
    )


def agrees(desk, customer):
    desk.put("consents", {"customer_id": customer, "purpose": "personalisation",
                          "is_granted": True})  # fmt: skip


def test_a_birthday_is_kept_by_the_customer_s_own_calendar(desk, due):
    for who, calendar in (("solar", "solar"), ("moon", "lunar"), ("unsaid", None)):
        born(desk, who, "1990-05-05", calendar)
        agrees(desk, who)
    born(desk, "no_consent", "1990-05-05", "solar")
    assert {row[0] for row in due("birthday", dt.date(2026, 5, 5))} == {"solar", "unsaid"}
    moon = due("birthday", dt.date(2026, 6, 19))  # the fifth day of the fifth month: dragon boat
    assert [(row[0], row[2]) for row in moon] == [("moon", dt.date(2026, 6, 19))]


def test_who_says_the_calendar_is_believed_before_who_does_not(desk, due):
    born(desk, "c1", "1990/6/1", None)
    born(desk, "c1", "1990-05-05", "lunar")
    agrees(desk, "c1")
    assert due("birthday", dt.date(2026, 6, 1)) == []
    assert len(due("birthday", dt.date(2026, 6, 17), lead_days=2)) == 1


@pytest.mark.parametrize(
    ("day", "festival"),
    [("2026-02-17", "spring_festival"), ("2026-02-16", "new_years_eve"),
     ("2026-09-25", "mid_autumn"), ("2026-06-19", "dragon_boat"), ("2026-04-05", "qingming"),
     ("2025-04-04", "qingming"), ("2025-10-06", "mid_autumn"), ("2026-10-01", "national_day")],
)  # fmt: skip
def test_festivals_fall_on_the_days_of_the_almanac(day, festival):
    when = dt.date.fromisoformat(day)
    assert festival_days(when, when) == {when: festival}


def test_days_that_a_year_does_not_have_are_kept_on_the_day_before():
    assert occasions(2, 29, "solar", dt.date(2026, 2, 1), dt.date(2026, 3, 1)) == [
        dt.date(2026, 2, 28)
    ]
    thirtieths = [lunar_day(2026, month, 30) for month in range(1, 13)]
    assert thirtieths == sorted(set(thirtieths))
    # around New Year the occasion lies in the lunar year before
    assert occasions(12, 8, "lunar", dt.date(2026, 1, 26), dt.date(2026, 1, 26)) == [
        dt.date(2026, 1, 26)
    ]


def test_points_are_warned_of_from_a_sum_on_and_told_in_the_text(desk, due):
    desk.put("customers", {"customer_id": "c1"}, {"customer_id": "c2"})
    desk.connection.execute(
        "create table main.loyalty_points_left as select * from (values "
        "('c1', date '2026-07-10', 300), ('c1', date '2026-07-10', 50), "
        "('c1', date '2027-01-01', 900), ('c2', date '2026-07-10', 20)) "
        "as lots (customer_id, expires_on, points_left)"
    )
    ((who, _, on, told),) = due("points_expiring", dt.date(2026, 7, 1), lead_days=14)
    assert (who, on, told["points"]) == ("c1", dt.date(2026, 7, 10), 350)


def test_a_tier_within_reach_says_what_is_missing_once_a_month(desk, due):
    desk.put("customers", {"customer_id": "c1"})
    desk.put("customer_360", {"customer_id": "c1", "loyalty_tier": "silver",
                              "spend_52_weeks_cents": 260_001})  # fmt: skip
    desk.connection.execute(
        "create table main.loyalty_tiers as select * from (values "
        "('silver', 0), ('gold', 300000), ('platinum', 800000)) as tiers (tier, from_spend_cents)"
    )
    days = [dt.date(2026, 7, number) for number in (1, 15, 31)]
    seen = {due("tier_within_reach", day, within=400)[0][1] for day in days}
    assert seen == {"tier 2026-07 gold"}
    assert due("tier_within_reach", days[0], within=400)[0][3] == {
        "next_tier": "gold", "missing_yuan": 400.0}  # fmt: skip
    assert due("tier_within_reach", days[0], within=399) == []


def test_an_anniversary_counts_the_years(desk, due):
    desk.put("customers", {"customer_id": "c1"})
    desk.connection.execute(
        "create table main.installed_products as select 'c1' as customer_id, 'p1' as product_key, "
        "'RO-45' as model, date '2024-07-03' as installed_on"
    )
    ((_, _, on, told),) = due("purchase_anniversary", dt.date(2026, 7, 1), lead_days=3)
    assert (on, told["years"], told["product"]) == (dt.date(2026, 7, 3), 2, "RO-45")


def test_a_company_without_the_systems_has_no_tasks(desk, due):
    desk.put("customers", {"customer_id": "c1"})
    for kind in ("points_expiring", "feedback_answer", "community_welcome", "referral_thanks"):
        assert due(kind, dt.date(2026, 7, 1)) == []
