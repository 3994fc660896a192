"""Every touch that somebody would like to make on the day of the plan, in one shape.

What belongs here: the shape, campaigns and alerts as candidates. What does not: care and triggers
(their own modules write the same shape), and which of them are made (``plan``).
"""

import datetime as dt

import duckdb

from customer360.config import Audiences
from customer360.engagement.config import Channel, Engagement, Touching
from customer360.warehouse import literal

TABLE = "touch_candidates"
ALERT_CHANNELS = ("call",)

SHAPE = """
    source varchar, name varchar, subject varchar, customer_id varchar, purpose varchar,
    owner varchar, ways integer, value_cents bigint, priority float, coupon_cents bigint,
    template varchar, variables varchar, until_on date
"""
"""``ways``: bit k is set where channel number k may be taken. ``subject``: what makes the touch
another one than yesterday's (an occasion, a cart); a campaign's is the day."""


def begin(connection: duckdb.DuckDBPyConnection) -> None:
    """An empty table of candidates."""
    connection.execute(f"create or replace temp table {TABLE} ({SHAPE})")


def ways(rules: Engagement, names: tuple[str, ...]) -> int:
    """Channels as bits; all of them where none are named."""
    return sum(
        1 << number for number, name in enumerate(rules.channels) if not names or name in names
    )


def fixed_columns(rules: Engagement, name: str, touching: Touching, purpose: str) -> str:
    """SQL for the columns that are the same for all touches of a campaign, care or trigger."""
    coupon = round(touching.coupon.value * 100) if touching.coupon else 0
    return (
        f"{literal(name)} as name, {literal(purpose)} as purpose, "
        f"{literal(touching.owner)} as owner, "
        f"{ways(rules, touching.channels)} as ways, {round(touching.value * 100)} as value_cents, "
        f"{touching.priority} as priority, {coupon} as coupon_cents, "
        f"{literal(touching.template)} as template"
    )


def add(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Add what ``query`` selects by name; its columns are those of the shape."""
    connection.execute(f"insert into {TABLE} by name {query}")


def add_campaigns(
    connection: duckdb.DuckDBPyConnection, rules: Engagement, plan_on: dt.date
) -> None:
    """Customers whom the campaigns of the day address."""
    for name, campaign in rules.campaigns.items():
        if campaign.starts_on <= plan_on <= campaign.ends_on:
            coupon = "{}"
            if campaign.coupon:
                coupon = f'{{"coupon_yuan":"{campaign.coupon.value:g}"}}'
            add(
                connection,
                f"select 'campaign' as source, {literal(str(plan_on))} as subject, customer_id, "
                f"{fixed_columns(rules, name, campaign, 'marketing')}, "
                f"{literal(coupon)} as variables, "
                f"date {literal(str(campaign.ends_on))} as until_on "
                f"from main.customer_360 where {campaign.rule}",
            )


def add_alerts(
    connection: duckdb.DuckDBPyConnection, rules: Engagement, audiences: Audiences
) -> None:
    """Calls by the owners of open alerts; worth what such a call saves of the value at risk."""
    callable_ways = ways(rules, tuple(name for name in ALERT_CHANNELS if name in rules.channels))
    if not any(name in rules.channels for name in ALERT_CHANNELS):
        return
    add(
        connection,
        f"""
        select
            'alert' as source,
            kind as name,
            alert_id as subject,
            customer_id,
            'marketing' as purpose,
            owner,
            {callable_ways} as ways,
            cast(coalesce(value_at_risk_cents, 0) * {audiences.churn.alert.saves} as bigint)
                as value_cents,
            1 as priority,
            0 as coupon_cents,
            cast(null as varchar) as template,
            '{{}}' as variables,
            expires_on as until_on
        from engagement.churn_alerts
        """,
    )


def channel_list(rules: Engagement) -> list[tuple[int, str, Channel]]:
    """Number, name and rules of each channel."""
    return [
        (number, name, channel) for number, (name, channel) in enumerate(rules.channels.items())
    ]
