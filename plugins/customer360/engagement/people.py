"""Who may be touched, by which channels, how often yet, and when: a row a customer.

What belongs here: reach, consent, complaints, hold-outs, what was sent already, response rates and
hours. What does not: what anybody wants to send (``candidates``), or the choice (``optimise``).
"""

import datetime as dt

import duckdb

from customer360.engagement.candidates import TABLE, channel_list
from customer360.engagement.config import Channel, Engagement
from customer360.engagement.memory import Memory
from customer360.engagement.tables import find
from customer360.warehouse import literal

PEOPLE = "touch_people"
UNCAPPED = 99
MARKETING_TOUCH, SERVICE_TOUCH = "touch", "service_touch"
"""Kinds of decisions in the memory; caps count the first only."""


def gather(connection: duckdb.DuckDBPyConnection, rules: Engagement, plan_on: dt.date) -> None:
    """Write the temporary table ``touch_people``, numbered by ``number`` from 0 in order of id.

    Columns by channel k: ``reach_k``, ``consent_k``, ``room_k`` (touches that its caps leave),
    ``response_k``, ``hour_k``, ``spoken_k`` (touched this way on the day already); of the customer:
    ``room`` (over all channels), ``is_muted``, ``is_control``, ``province_code``, ``zone`` (0 is
    the company's). :func:`remember_touches` comes before it.
    """
    channels = channel_list(rules)
    day = f"date {literal(str(plan_on))}"
    reach = "".join(f", {_reached(each)} as reach_{number}" for number, _, each in channels)
    agreed = "".join(f", {_agreed(each)} as consent_{number}" for number, _, each in channels)
    room = f", {_room(rules.contact.caps, None, day)} as room" + "".join(
        f", {_room(each.caps, name, day)} as room_{number}" for number, name, each in channels
    )
    of_channels = "".join(
        f", coalesce(reached.reach_{number}, false) as reach_{number}"
        f", coalesce(agreed.consent_{number}, {each.consent is None}) as consent_{number}"
        f", coalesce(touched.room_{number}, {_most(each.caps)}) as room_{number}"
        f", coalesce(spoken.spoken_{number}, false) as spoken_{number}"
        f", cast(coalesce(liked.response_{number}, {each.response}) as float) as response_{number}"
        f", cast(coalesce(liked.hour_{number}, {each.hour}) as integer) as hour_{number}"
        for number, _, each in channels
    )
    spoken = "".join(
        f", bool_or(channel = {literal(name)}) as spoken_{number}" for number, name, _ in channels
    )
    zones = "".join(
        f" when {literal(province)} then {number}"
        for number, province in enumerate(rules.contact.zones, 1)
    )
    topics = ", ".join(literal(topic) for topic in rules.contact.complaints) or "''"
    connection.execute(
        f"""
        create or replace temp table {PEOPLE} as
        with reached as (
            select customer_id{reach}
            from main.customer_identifiers
            where learned_to is null and held_to is null
            group by customer_id
        ),

        agreed as (
            select customer_id{agreed}
            from main.consents
            where purpose = 'marketing'
            group by customer_id
        ),

        muted as (
            select distinct customer_id
            from main.service_cases
            where status <> 'closed' and topic in ({topics})
        ),

        held_out as (
            select distinct customer_id
            from engagement.holdouts
            where campaign = 'global' and arm = 'control'
        ),

        touched as (
            select customer_id{room}
            from touches_made
            group by customer_id
        ),

        spoken as (
            select customer_id{spoken}
            from touches_known
            where decided_on + 1 = {day}
            group by customer_id
        ),

        liked as (
            {_preferences(connection, channels)}
        )

        select
            cast(row_number() over (order by wanted.customer_id) - 1 as integer) as number,
            wanted.customer_id,
            customers.province_code,
            {f"case customers.province_code{zones} else 0 end" if zones else "0"} as zone,
            muted.customer_id is not null as is_muted,
            held_out.customer_id is not null as is_control,
            coalesce(touched.room, {_most(rules.contact.caps)}) as room
            {of_channels}
        from (select distinct customer_id from {TABLE}) as wanted
        inner join main.customers as customers on wanted.customer_id = customers.customer_id
        left join reached on wanted.customer_id = reached.customer_id
        left join agreed on wanted.customer_id = agreed.customer_id
        left join muted on wanted.customer_id = muted.customer_id
        left join held_out on wanted.customer_id = held_out.customer_id
        left join touched on wanted.customer_id = touched.customer_id
        left join spoken on wanted.customer_id = spoken.customer_id
        left join liked on wanted.customer_id = liked.customer_id
        order by number
        """
    )


def remember_touches(
    connection: duckdb.DuckDBPyConnection, memory: Memory, plan_on: dt.date, longest: int
) -> None:
    """Write temporary tables of what was sent: ``touches_made`` and ``touches_known``.

    ``touches_made``: touches of marketing a customer, channel and day, by the campaign tool or by
    our plan. What we planned may come back as a send of the tool: of the two counts of one day the
    larger holds. ``touches_known``: every touch that an earlier plan let through.
    """
    since = memory.as_of - dt.timedelta(days=longest)
    for kind in (MARKETING_TOUCH, SERVICE_TOUCH):
        connection.register(f"known_{kind}", memory.recall(kind, since))
    connection.execute(
        f"""
        create or replace temp table touches_known as
        select
            coalesce(moved.new_id, known.subject_id) as customer_id,
            known.* exclude (subject_id)
        from (from known_{MARKETING_TOUCH} union all from known_{SERVICE_TOUCH}) as known
        left join main.customer_id_map as moved on known.subject_id = moved.old_id
        """
    )
    connection.execute(
        f"""
        create or replace temp table touches_made as
        select
            customer_id,
            channel,
            touched_on,
            greatest(sum(sent), sum(planned)) as touches
        from (
            select customer_id, channel, sent_on as touched_on, 1 as sent, 0 as planned
            from main.campaign_touches
            where sent_on > date {literal(str(plan_on))} - {longest}
            union all
            -- A plan is of the day after the one that it was decided on.
            select customer_id, channel, decided_on + 1, 0, 1
            from touches_known
            where kind = {literal(MARKETING_TOUCH)}
        ) as touches
        group by customer_id, channel, touched_on
        """
    )
    for kind in (MARKETING_TOUCH, SERVICE_TOUCH):
        connection.unregister(f"known_{kind}")


def _reached(channel: Channel) -> str:
    kind = channel.identifier
    return (
        f"bool_or(identifier_type = {literal(kind)} "
        f"or starts_with(identifier_type, {literal(kind + ':')}))"
    )


def _agreed(channel: Channel) -> str:
    """Consent holds if the last word on the channel, or on all of them, was yes.

    A channel that needs none is still closed by a no to all of them.
    """
    of_channel = f"coalesce(channel, 'all') in ({literal(channel.consent or 'all')}, 'all')"
    if channel.consent is None:
        return (
            f"not coalesce(max(withdrawn_at) filter ({of_channel}) >= "
            f"coalesce(max(captured_at) filter (is_granted and {of_channel}), "
            "timestamp '1900-01-01'), false)"
        )
    return (
        f"coalesce(max(captured_at) filter (is_granted and {of_channel}) > "
        f"coalesce(max(withdrawn_at) filter ({of_channel}), timestamp '1900-01-01'), false)"
    )


def _most(caps: dict[int, int]) -> int:
    return min(caps.values(), default=UNCAPPED)


def _room(caps: dict[int, int], channel: str | None, day: str) -> str:
    """SQL for the touches that the tightest of the caps still leaves."""
    of_channel = "" if channel is None else f" and channel = {literal(channel)}"
    left = ", ".join(
        f"{most} - coalesce(sum(touches) filter (touched_on > {day} - {days}{of_channel}), 0)"
        for days, most in caps.items()
    )
    return f"cast(greatest(0, least({left or UNCAPPED})) as integer)"


def _preferences(
    connection: duckdb.DuckDBPyConnection, channels: list[tuple[int, str, Channel]]
) -> str:
    """SQL for response rates and hours by channel, as far as they are scored."""
    if not find(connection, "channel_preference")[1]:
        columns = "".join(
            f", cast(null as float) as response_{number}, cast(null as integer) as hour_{number}"
            for number, _, _ in channels
        )
        return f"select cast(null as varchar) as customer_id{columns} where false"
    columns = "".join(
        f", max(response_probability) filter (channel = {literal(name)}) as response_{number}"
        f", max(best_from_hour) filter (channel = {literal(name)}) as hour_{number}"
        for number, name, _ in channels
    )
    return f"select customer_id{columns} from main.channel_preference group by customer_id"
