"""Care: the occasions on which a customer hears from us without having asked.

What belongs here: who has which occasion now, and what its text needs to know. What does not: which
channel and whether caps allow it (``plan``), days of calendars (``calendars``).

A task is due from ``lead_days`` before its occasion until the occasion, so that a touch that is
held back today may still be made tomorrow. Birthdays are read from the staging layer of the run, by
the calendar that the customer keeps; only the day of the occasion leaves this module.
"""

import datetime as dt

import duckdb
import pyarrow as pa

from customer360.engagement import candidates
from customer360.engagement.calendars import festival_days, occasions
from customer360.engagement.config import Care, Engagement
from customer360.engagement.tables import day, rows_of
from customer360.warehouse import literal

TASKS = "engagement.care_tasks"


def plan_care(
    connection: duckdb.DuckDBPyConnection, rules: Engagement, plan_on: dt.date, time_zone: str
) -> None:
    """Write ``engagement.care_tasks`` and add each task to the candidates."""
    connection.execute(
        f"create or replace table {TASKS} (task_id varchar, customer_id varchar, kind varchar, "
        "occasion varchar, occasion_on date, plan_on date, purpose varchar, owner varchar, "
        "template varchar, variables varchar, coupon_cents bigint)"
    )
    for kind, care in rules.care.items():
        who = f"customer_id in (select customer_id from main.customer_360 where {care.rule})"
        coupon = round(care.coupon.value * 100) if care.coupon else 0
        known = f'{{"coupon_yuan":"{care.coupon.value:g}"}}' if care.coupon else "{}"
        connection.execute(
            f"""
            insert into {TASKS}
            select
                'k' || left(sha256(concat_ws('|', {literal(kind)}, customer_id, occasion)), 24),
                customer_id,
                {literal(kind)},
                occasion,
                occasion_on,
                {day(plan_on)},
                {literal(care.purpose)},
                {literal(care.owner)},
                {literal(care.template)},
                cast(json_merge_patch(variables, {literal(known)}) as varchar),
                {coupon}
            from ({_OCCASIONS[kind](connection, care, plan_on, time_zone)}) as occasions
            where
                customer_id in (select customer_id from main.customers)
                and occasion_on between {day(plan_on)} and {day(plan_on)} + {care.lead_days}
                and {who if care.rule else "true"}
            qualify row_number() over (
                partition by customer_id, occasion order by occasion_on, variables
            ) = 1
            """
        )
        candidates.add(
            connection,
            f"select 'care' as source, task_id as subject, customer_id, variables, "
            f"{candidates.fixed_columns(rules, kind, care, care.purpose)}, "
            f"occasion_on as until_on from {TASKS} where kind = {literal(kind)}",
        )


def _birthday(
    connection: duckdb.DuckDBPyConnection, care: Care, plan_on: dt.date, _zone: str
) -> str:
    """Needs a consent to personalisation or marketing: a birthday is given for nothing else."""
    records = rows_of(
        connection,
        "union_person_records",
        schema="unify",
        record_id="varchar",
        birthday="varchar",
        birthday_calendar="varchar",
    )
    owners = rows_of(
        connection,
        "customer_records",
        schema="identity",
        record_id="varchar",
        customer_id="varchar",
    )
    consents = rows_of(
        connection, "consents", customer_id="varchar", purpose="varchar", is_granted="boolean"
    )
    connection.execute(
        f"""
        create or replace temp table care_birthdays as
        with told as (
            select
                owners.customer_id,
                -- who says which calendar knows better than who does not
                coalesce(records.birthday_calendar, 'solar') as calendar,
                records.birthday_calendar is not null as is_sure,
                list_transform(
                    regexp_extract_all(records.birthday, '\\d+'), part -> try_cast(part as integer)
                ) as parts
            from {records} as records
            inner join {owners} as owners on records.record_id = owners.record_id
            where records.birthday is not null
        ),

        said as (
            select customer_id, calendar, is_sure, parts[2] as month, parts[3] as day
            from told
            where
                len(parts) = 3 and parts[1] > 1900 and parts[2] between 1 and 12
                and parts[3] between 1 and 31
        )

        select customer_id, calendar, month, day
        from said
        where customer_id in (
            select customer_id from {consents} as consents
            where purpose in ('marketing', 'personalisation')
            group by customer_id having bool_or(is_granted)
        )
        group by customer_id, calendar, month, day
        qualify row_number() over (
            partition by customer_id
            order by bool_or(is_sure) desc, count(*) desc, calendar, month, day
        ) = 1
        """
    )
    kept = connection.execute(
        "select distinct month, day, calendar from care_birthdays order by all"
    ).fetchall()
    last = plan_on + dt.timedelta(days=care.lead_days)
    days = [
        (month, number, calendar, when)
        for month, number, calendar in kept
        for when in occasions(month, number, calendar, plan_on, last)
    ]
    kinds = (pa.int32(), pa.int32(), pa.string(), pa.date32())
    names = ("month", "day", "calendar", "occasion_on")
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    rows = [dict(zip(names, each, strict=True)) for each in days]
    connection.register("care_days", pa.Table.from_pylist(rows, schema))
    return """
        select
            birthdays.customer_id,
            'birthday ' || year(days.occasion_on) as occasion,
            days.occasion_on,
            json_object('occasion_on', cast(days.occasion_on as varchar)) as variables
        from care_birthdays as birthdays
        inner join care_days as days using (month, day, calendar)
    """


def _festival(
    _connection: duckdb.DuckDBPyConnection, care: Care, plan_on: dt.date, _zone: str
) -> str:
    last = plan_on + dt.timedelta(days=care.lead_days)
    days = [
        f"({literal(name)}, {day(when)})"
        for when, name in festival_days(plan_on, last).items()
        if not care.festivals or name in care.festivals
    ]
    if not days:
        return _NOBODY
    return f"""
        select
            customers.customer_id,
            festivals.name || ' ' || year(festivals.occasion_on) as occasion,
            festivals.occasion_on,
            json_object(
                'festival', festivals.name, 'occasion_on', cast(festivals.occasion_on as varchar)
            ) as variables
        from main.customers as customers
        cross join (values {", ".join(days)}) as festivals (name, occasion_on)
    """


def _purchase_anniversary(
    connection: duckdb.DuckDBPyConnection, _care: Care, plan_on: dt.date, _zone: str
) -> str:
    owned = rows_of(
        connection,
        "installed_products",
        customer_id="varchar",
        product_key="varchar",
        model="varchar",
        installed_on="date",
    )
    return f"""
        select
            customer_id,
            'anniversary ' || product_key || ' ' || years as occasion,
            cast(installed_on + to_years(years) as date) as occasion_on,
            json_object(
                'years', years, 'product', model,
                'occasion_on', cast(cast(installed_on + to_years(years) as date) as varchar)
            ) as variables
        from {owned} as owned
        -- this year's or, around New Year, the next one's
        cross join (select unnest([0, 1]) as ahead) as turns
        cross join lateral (
            select cast(year({day(plan_on)}) - year(owned.installed_on) + ahead as integer) as years
        ) as ages
        where customer_id is not null and years >= 1
    """


def _points_expiring(
    connection: duckdb.DuckDBPyConnection, care: Care, _plan_on: dt.date, _zone: str
) -> str:
    """Points that are left of each lot; where the mart does not say, the lots less the balance."""
    lots = rows_of(
        connection,
        "loyalty_points_left",
        customer_id="varchar",
        expires_on="date",
        points_left="bigint",
    )
    return f"""
        select
            customer_id,
            'points ' || cast(expires_on as varchar) as occasion,
            expires_on as occasion_on,
            json_object(
                'points', sum(points_left), 'occasion_on', cast(expires_on as varchar)
            ) as variables
        from {lots} as lots
        where customer_id is not null and points_left > 0
        group by customer_id, expires_on
        having sum(points_left) >= {care.min_points}
    """


def _tier_within_reach(
    connection: duckdb.DuckDBPyConnection, care: Care, plan_on: dt.date, _zone: str
) -> str:
    """Once a month, while the sum that is missing for the next tier is small."""
    tiers = rows_of(connection, "loyalty_tiers", tier="varchar", from_spend_cents="bigint")
    month_end = (plan_on.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    until_on = min(month_end - dt.timedelta(days=1), plan_on + dt.timedelta(days=care.lead_days))
    return f"""
        select
            customers.customer_id,
            'tier {plan_on:%Y-%m} ' || next_tiers.tier as occasion,
            {day(until_on)} as occasion_on,
            json_object(
                'next_tier', next_tiers.tier,
                'missing_yuan',
                ceil((next_tiers.from_spend_cents - customers.spend_52_weeks_cents) / 100)
            ) as variables
        from main.customer_360 as customers
        inner join {tiers} as own_tiers on customers.loyalty_tier = own_tiers.tier
        inner join {tiers} as next_tiers
            on own_tiers.from_spend_cents < next_tiers.from_spend_cents
        where
            next_tiers.from_spend_cents > customers.spend_52_weeks_cents
            and next_tiers.from_spend_cents - customers.spend_52_weeks_cents
            <= {round(care.within * 100)}
        qualify row_number() over (
            partition by customers.customer_id order by next_tiers.from_spend_cents
        ) = 1
    """


def _feedback_answer(
    connection: duckdb.DuckDBPyConnection, care: Care, plan_on: dt.date, time_zone: str
) -> str:
    """A review of one or two stars deserves an answer soon."""
    feedback = rows_of(
        connection,
        "feedback",
        customer_id="varchar",
        feedback_key="varchar",
        kind="varchar",
        stars="integer",
        given_at="timestamp",
    )
    return f"""
        select
            customer_id,
            'feedback ' || feedback_key as occasion,
            {day(plan_on)} as occasion_on,
            json_object('occasion_on', cast({_local(time_zone, "given_at")} as varchar))
                as variables
        from {feedback} as feedback
        where
            customer_id is not null and kind = 'review' and stars <= 2
            and {_local(time_zone, "given_at")} >= {day(plan_on)} - 1 - {care.lead_days}
    """


def _community_welcome(
    connection: duckdb.DuckDBPyConnection, care: Care, plan_on: dt.date, time_zone: str
) -> str:
    members = rows_of(
        connection,
        "community_memberships",
        customer_id="varchar",
        community_id="varchar",
        joined_at="timestamp",
        left_at="timestamp",
    )
    return f"""
        select
            customer_id,
            'community ' || community_id as occasion,
            {day(plan_on)} as occasion_on,
            json_object('occasion_on', cast({_local(time_zone, "joined_at")} as varchar))
                as variables
        from {members} as members
        where
            customer_id is not null and left_at is null
            and {_local(time_zone, "joined_at")} >= {day(plan_on)} - 1 - {care.lead_days}
    """


def _referral_thanks(
    connection: duckdb.DuckDBPyConnection, care: Care, plan_on: dt.date, time_zone: str
) -> str:
    referrals = rows_of(
        connection,
        "referrals",
        inviter_customer_id="varchar",
        referral_key="varchar",
        reward_points="integer",
        converted_at="timestamp",
    )
    return f"""
        select
            inviter_customer_id as customer_id,
            'referral ' || referral_key as occasion,
            {day(plan_on)} as occasion_on,
            json_object(
                'points', reward_points,
                'occasion_on', cast({_local(time_zone, "converted_at")} as varchar)
            ) as variables
        from {referrals} as referrals
        where
            inviter_customer_id is not null
            and {_local(time_zone, "converted_at")} >= {day(plan_on)} - 1 - {care.lead_days}
    """


def _local(time_zone: str, moment: str) -> str:
    """SQL for the company's day of a moment in UTC."""
    return f"cast(timezone({literal(time_zone)}, timezone('UTC', {moment})) as date)"


_NOBODY = (
    "select null::varchar as customer_id, null::varchar as occasion, null::date as occasion_on, "
    "null::json as variables where false"
)
_OCCASIONS = {
    "birthday": _birthday,
    "festival": _festival,
    "purchase_anniversary": _purchase_anniversary,
    "points_expiring": _points_expiring,
    "tier_within_reach": _tier_within_reach,
    "feedback_answer": _feedback_answer,
    "community_welcome": _community_welcome,
    "referral_thanks": _referral_thanks,
}
