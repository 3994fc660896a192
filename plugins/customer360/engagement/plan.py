"""The touch plan of a day: a row a candidate touch, made or held back with its reason.

What belongs here: from candidates and people to the problem that ``optimise`` solves, and from its
answer to the table. What does not: who wants to touch (``candidates``, ``care``, ``triggers``).

A touch of service (points that expire, a warranty that ends) needs no consent to marketing, is
under no cap of marketing and in no hold-out; it goes first, and one voice counts it.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from customer360.engagement.calendars import festival_days
from customer360.engagement.candidates import TABLE, channel_list
from customer360.engagement.config import (
    PERSONAL_VARIABLES,
    Engagement,
    QuietHours,
    variables_of,
)
from customer360.engagement.memory import DECISION_SCHEMA
from customer360.engagement.optimise import NEVER, Problem, Resource, choose
from customer360.engagement.people import MARKETING_TOUCH, PEOPLE, SERVICE_TOUCH
from customer360.warehouse import literal

REASONS = (
    "variable_missing",
    "holdout_global",
    "holdout_campaign",
    "already_made",
    "cool_down",
    "open_complaint",
    "festival",
    "quiet_hours",
    "not_reachable",
    "no_consent",
    "cap",
    "one_voice",
    "not_worth_it",
    "better_touch",
    "budget",
    "capacity",
    "coupon_budget",
)
"""Why a touch is held back, in the order in which it is asked (README, "Touch customers")."""

_CODE = {name: number for number, name in enumerate(REASONS)}
NONE = -1

Array = NDArray[Any]


@dataclass(frozen=True)
class Planned:
    """What a plan came to.

    Attributes:
        problem: of marketing, for measuring.
        value: expected value of the marketing touches with their priorities, in minor units.
        prices: of the shared resources.
        made: the touches that are let through, for the memory.
    """

    problem: Problem
    value: float
    prices: dict[str, float]
    made: pa.Table


def plan_touches(
    connection: duckdb.DuckDBPyConnection,
    rules: Engagement,
    as_of: dt.date,
    plan_on: dt.date,
    time_zone: str,
    now: dt.datetime | None = None,
) -> Planned:
    """Write ``engagement.touch_plan`` of the candidates for ``plan_on``.

    With ``now`` (naive, the company's clock) touches go out in this very hour, or not at all where
    it is quiet; without it each goes out at the hour that suits its customer.

    Without any channel there are no candidates: the table is empty then.
    """
    _number_candidates(connection, rules)
    people = _columns(connection, f"select * exclude (customer_id) from {PEOPLE} order by number")
    people["is_quiet"] = np.zeros(len(people["number"]), bool)
    asked = _columns(
        connection,
        "select number, person, is_marketing, is_treated, is_made, is_cooling, is_whole, ways, "
        "value_cents, priority, coupon_cents, name_number from touches_asked order by number",
    )
    channels = channel_list(rules)
    if now is not None:
        _at_once(rules, people, time_zone, now)
    gain, reason = _gains(rules, people, asked, plan_on)
    free = np.ones((len(people["number"]), len(rules.contact.one_voice)), bool)
    for number, group in enumerate(_groups(rules)):
        for way in group:
            free[:, number] &= ~people[f"spoken_{way}"]
    channel = np.full(len(reason), NONE, np.int32)
    spent = _serve_first(rules, people, asked, gain, reason, channel, free)
    problem = _problem(rules, people, asked, gain, reason, free, spent)
    rows = np.flatnonzero((reason == NONE) & asked["is_marketing"])
    chosen = choose(problem)
    channel[rows] = chosen.channel
    _tell_why(problem, chosen.channel, chosen.held_by, reason, rows)
    _write(connection, rules, people, asked, channel, reason, plan_on, time_zone)
    made = connection.execute(
        f"""
        select
            if(purpose = 'marketing', {literal(MARKETING_TOUCH)}, {literal(SERVICE_TOUCH)}) as kind,
            touch_id as decision_id,
            customer_id as subject_id,
            name,
            channel,
            date {literal(str(as_of))} as decided_on,
            cast(null as date) as until_on,
            cast(null as date) as since_on,
            cast(null as double) as score,
            cast(null as varchar) as owner
        from engagement.touch_plan
        where is_planned
        order by touch_id
        """
    ).to_arrow_table()
    assert len(channels) == gain.shape[1]
    return Planned(problem, chosen.value, chosen.prices, made.cast(DECISION_SCHEMA))


def _at_once(rules: Engagement, people: dict[str, Array], time_zone: str, now: dt.datetime) -> None:
    """Every touch in the customer's own hour of ``now``."""
    moment = now.replace(tzinfo=ZoneInfo(time_zone))
    zones = [time_zone, *rules.contact.zones.values()]
    hours = np.array([moment.astimezone(ZoneInfo(zone)).hour for zone in zones], np.int32)
    for number in range(len(rules.channels)):
        people[f"hour_{number}"] = hours[people["zone"]]
    people["is_quiet"] = hours[people["zone"]] != hour_in(
        rules.contact.quiet_hours, hours[people["zone"]]
    )


def _columns(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Array]:
    table = connection.execute(query).to_arrow_table()
    return {
        name: table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
        for name in table.column_names
        if not pa.types.is_string(table.schema.field(name).type)
    }


def _number_candidates(connection: duckdb.DuckDBPyConnection, rules: Engagement) -> None:
    """Candidates in order of customer, with their numbers, arms and what was made before."""
    names = ", ".join(
        f"({literal(name)}, {number}, {touching.cool_down_days})"
        for number, (name, touching) in enumerate(rules.touching.items())
    )
    needed = "".join(
        f" when {literal(name)} then "
        + (" and ".join(f"(variables ->> '$.{each}') is not null" for each in wanted) or "true")
        for name, text in rules.templates.items()
        for wanted in [[each for each in variables_of(text) if each not in PERSONAL_VARIABLES]]
    )
    connection.execute(
        f"""
        create or replace temp table touches_asked as
        with names (name, name_number, cool_down_days) as (values {names or "('', 0, 0)"}),

        numbered as (
            select
                candidates.*,
                people.number as person,
                coalesce(names.name_number, -1) as name_number,
                coalesce(names.cool_down_days, 0) as cool_down_days,
                't' || left(md5(concat_ws(
                    '|', candidates.source, candidates.name, candidates.subject,
                    candidates.customer_id
                )), 24) as touch_id
            from {TABLE} as candidates
            inner join {PEOPLE} as people on candidates.customer_id = people.customer_id
            left join names on candidates.name = names.name
        ),

        made as (select distinct decision_id from touches_known),

        last_made as (
            select customer_id, name, max(decided_on) as made_on
            from touches_known
            group by customer_id, name
        )

        select
            cast(
                row_number() over (
                    order by numbered.person, numbered.source, numbered.name, numbered.subject
                ) - 1 as integer
            ) as number,
            numbered.*,
            numbered.purpose = 'marketing' as is_marketing,
            {f"case template{needed} else true end" if needed else "true"} as is_whole,
            coalesce(arms.arm, 'none') as arm,
            coalesce(arms.arm, 'none') <> 'control' as is_treated,
            made.decision_id is not null as is_made,
            last_made.made_on is not null
            and last_made.made_on + numbered.cool_down_days > current_plan.as_of as is_cooling
        from numbered
        cross join (select getvariable('engagement_as_of') as as_of) as current_plan
        left join (
            select distinct campaign, customer_id, arm from engagement.holdouts
        ) as arms
            on numbered.name = arms.campaign and numbered.customer_id = arms.customer_id
        left join made on numbered.touch_id = made.decision_id
        left join last_made
            on numbered.customer_id = last_made.customer_id and numbered.name = last_made.name
        order by number
        """
    )


def _gains(
    rules: Engagement, people: dict[str, Array], asked: dict[str, Array], plan_on: dt.date
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Gain of each candidate by channel, and why it is held back before any choice."""
    person = asked["person"]
    marketing = asked["is_marketing"]
    reason = np.full(len(person), NONE, np.int32)
    gain = np.full((len(person), len(rules.channels)), NEVER, np.float32)
    reached = np.zeros(len(person), bool)
    allowed = np.zeros(len(person), bool)
    roomy = np.zeros(len(person), bool)
    net = (asked["value_cents"] - asked["coupon_cents"]).astype(np.float32)
    for number, _, channel in channel_list(rules):
        way = (asked["ways"] >> number & 1).astype(bool)
        way &= people[f"reach_{number}"][person]
        reached |= way
        way &= people[f"consent_{number}"][person] | ~marketing
        allowed |= way
        way &= (people[f"room_{number}"][person] > 0) | ~marketing
        roomy |= way
        expected = people[f"response_{number}"][person] * net - np.float32(channel.cost * 100)
        gain[way, number] = (asked["priority"] * expected)[way]
    roomy &= (people["room"][person] > 0) | ~marketing
    quiet = festival_days(plan_on, plan_on).get(plan_on) in rules.contact.quiet_festivals
    checks = (
        ("variable_missing", ~asked["is_whole"]),
        ("holdout_global", marketing & people["is_control"][person]),
        ("holdout_campaign", marketing & ~asked["is_treated"]),
        ("already_made", asked["is_made"]),
        ("cool_down", asked["is_cooling"]),
        ("open_complaint", marketing & people["is_muted"][person]),
        ("festival", marketing & quiet),
        ("quiet_hours", people["is_quiet"][person]),
        ("not_reachable", ~reached),
        ("no_consent", ~allowed),
        ("cap", ~roomy),
        ("not_worth_it", marketing & (gain.max(axis=1, initial=NEVER) <= 0)),
    )
    for name, holds in checks:
        reason[(reason == NONE) & holds] = _CODE[name]
    return gain, reason


def _serve_first(
    rules: Engagement,
    people: dict[str, Array],
    asked: dict[str, Array],
    gain: NDArray[np.float32],
    reason: NDArray[np.int32],
    channel: NDArray[np.int32],
    free: NDArray[np.bool_],
) -> float:
    """Make the touches of service, by the way that is answered best; returns what they cost."""
    rows = np.flatnonzero((reason == NONE) & ~asked["is_marketing"])
    spent = 0.0
    costs = np.array([each.cost for each in rules.channels.values()])
    response = _by_channel(people, "response", len(costs))
    for row in rows:  # few: those whose points expire or whose warranty ends
        who = asked["person"][row]
        ways = np.flatnonzero(gain[row] > NEVER)
        for number, group in enumerate(_groups(rules)):
            if not free[who, number]:
                ways = np.setdiff1d(ways, group)
        if not len(ways):
            reason[row] = _CODE["one_voice"]
            continue
        way = int(ways[np.argmax(response[who, ways])])
        channel[row] = way
        spent += float(costs[way])
        for number, group in enumerate(_groups(rules)):
            free[who, number] &= way not in group
    return spent


def _by_channel(people: dict[str, Array], name: str, channels: int) -> Array:
    """``name`` of each person (rows) in each channel (columns); a company may have no channel."""
    columns = [people[f"{name}_{number}"] for number in range(channels)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(people["number"]), 0))


def _groups(rules: Engagement) -> tuple[tuple[int, ...], ...]:
    numbers = {name: number for number, name in enumerate(rules.channels)}
    return tuple(tuple(numbers[name] for name in group) for group in rules.contact.one_voice)


def _problem(
    rules: Engagement,
    people: dict[str, Array],
    asked: dict[str, Array],
    gain: NDArray[np.float32],
    reason: NDArray[np.int32],
    free: NDArray[np.bool_],
    spent: float,
) -> Problem:
    """The choice among the candidates of marketing that nothing has held back yet."""
    rows = np.flatnonzero((reason == NONE) & asked["is_marketing"])
    channels = channel_list(rules)
    resources = []
    if rules.contact.budget is not None:
        costs = np.array([channel.cost for _, _, channel in channels], np.float32)
        resources.append(Resource("budget", max(0.0, rules.contact.budget - spent), costs))
    for number, _, channel in channels:
        if channel.capacity is not None:
            unit = np.eye(len(channels), dtype=np.float32)[number]
            resources.append(Resource("capacity", channel.capacity, unit))
    for number, touching in enumerate(rules.touching.values()):
        if touching.coupon and touching.coupon.budget is not None:
            is_of = asked["name_number"][rows] == number
            value = (is_of * touching.coupon.value).astype(np.float32)
            resources.append(Resource("coupon_budget", touching.coupon.budget, of_candidate=value))
    return Problem(
        asked["person"][rows].astype(np.int32),
        gain[rows],
        people["room"].astype(np.int32),
        _by_channel(people, "room", len(channels)).astype(np.int32),
        _groups(rules),
        free,
        tuple(resources),
    )


def _tell_why(
    problem: Problem,
    channel: NDArray[np.int32],
    held_by: NDArray[np.int32] | None,
    reason: NDArray[np.int32],
    rows: NDArray[np.int64],
) -> None:
    """A reason for each candidate that was not chosen."""
    assert held_by is not None
    waiting = channel < 0
    touched = np.zeros(len(problem.cap), bool)
    touched[problem.customer[~waiting]] = True
    why = np.where(touched[problem.customer], _CODE["better_touch"], _CODE["one_voice"])
    names = [_CODE[resource.name] for resource in problem.resources]
    if names:
        why = np.where(held_by >= 0, np.array(names)[np.maximum(held_by, 0)], why)
    reason[rows[waiting]] = why[waiting]


def hour_in(quiet: QuietHours, hours: Array) -> Array:
    """The hours nearest to ``hours`` at which something may go out."""
    return np.clip(hours, quiet.end, quiet.start - 1)


def _write(
    connection: duckdb.DuckDBPyConnection,
    rules: Engagement,
    people: dict[str, Array],
    asked: dict[str, Array],
    channel: NDArray[np.int32],
    reason: NDArray[np.int32],
    plan_on: dt.date,
    time_zone: str,
) -> None:
    """The table; moments are in UTC."""
    person = asked["person"]
    planned = channel >= 0
    way = np.maximum(channel, 0)
    hours = _by_channel(people, "hour", len(rules.channels))[person, way]
    response = _by_channel(people, "response", len(rules.channels))[person, way]
    connection.register(
        "touch_answers",
        pa.table(
            {
                "number": pa.array(asked["number"]),
                "way": pa.array(channel, mask=~planned),
                "reason": pa.array(reason, mask=planned),
                "local_hour": pa.array(
                    hour_in(rules.contact.quiet_hours, hours).astype(np.int32), mask=~planned
                ),
                "response": pa.array(response.astype(np.float64), mask=~planned),
            }
        ),
    )
    channels = ", ".join(
        f"({number}, {literal(name)}, {round(each.cost * 100)})"
        for number, name, each in channel_list(rules)
    )
    zones = "".join(
        f" when {literal(province)} then {literal(zone)}"
        for province, zone in rules.contact.zones.items()
    )
    moments = ", ".join(
        f"({literal(zone)}, {hour}, timestamp {literal(_moment(zone, plan_on, hour))})"
        for zone in {time_zone, *rules.contact.zones.values()}
        for hour in range(24)
    )
    reasons = ", ".join(f"({code}, {literal(name)})" for name, code in _CODE.items())
    zone_of = f"case people.province_code{zones} else {literal(time_zone)} end"
    connection.execute(
        f"""
        create or replace table engagement.touch_plan as
        with channels (way, channel, cost_cents) as (values {channels or "(-1, '', 0)"}),
        reasons (reason, held_because) as (values {reasons}),
        moments (time_zone, local_hour, planned_at) as (values {moments})

        select
            asked.touch_id,
            asked.customer_id,
            date {literal(str(plan_on))} as plan_on,
            asked.source,
            asked.name,
            asked.subject,
            asked.purpose,
            asked.owner,
            channels.channel,
            moments.planned_at,
            answers.local_hour,
            {zone_of if zones else literal(time_zone)} as time_zone,
            cast(asked.priority as double) as priority,
            round(answers.response, 6) as response_probability,
            cast(
                round(answers.response * (asked.value_cents - asked.coupon_cents))
                - channels.cost_cents as bigint
            ) as expected_value_cents,
            cast(channels.cost_cents as bigint) as cost_cents,
            asked.coupon_cents,
            asked.template,
            asked.variables,
            asked.arm,
            asked.until_on,
            answers.way is not null as is_planned,
            reasons.held_because
        from touches_asked as asked
        inner join touch_answers as answers on asked.number = answers.number
        inner join {PEOPLE} as people on asked.person = people.number
        left join channels on answers.way = channels.way
        left join reasons on answers.reason = reasons.reason
        left join moments
            on
                answers.local_hour = moments.local_hour
                and moments.time_zone = {zone_of if zones else literal(time_zone)}
        """
    )
    connection.unregister("touch_answers")


def _moment(zone: str, day: dt.date, hour: int) -> str:
    local = dt.datetime.combine(day, dt.time(hour), ZoneInfo(zone))
    return local.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
