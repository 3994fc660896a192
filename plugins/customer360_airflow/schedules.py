"""When DAGs run: how declared sources become timetables, partition keys and last runs.

What belongs here: the calendar. What does not: what runs (``dags/``), links by assets (``assets``).
"""

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from airflow.sdk import CronPartitionTimetable

if TYPE_CHECKING:
    from customer360.declarations import SourceDeclaration

KEY_FORMAT = "%Y-%m-%d"
"""A partition key is an as-of day of the company's calendar."""

HOUR_FORMAT = "%Y-%m-%dT%H"
"""A partition key of the hourly lane is the hour, in the company's zone, that ends what is read."""

EVERY_HOUR = "5 * * * *"

AFTER_EVERY_HOUR = "20 * * * *"
"""When the hourly lane has landed what it found."""


def nightly(source: "SourceDeclaration") -> CronPartitionTimetable:
    """A run a night; its key is the day that has just ended, the tick before its own."""
    return CronPartitionTimetable(
        source.schedule, timezone=source.timezone, run_offset=-1, key_format=KEY_FORMAT
    )


def hourly(source: "SourceDeclaration") -> CronPartitionTimetable:
    """A run an hour, five minutes past, for all that happened before the hour began."""
    return CronPartitionTimetable(
        EVERY_HOUR, timezone=source.timezone, run_offset=0, key_format=HOUR_FORMAT
    )


def after_hourly(source: "SourceDeclaration") -> CronPartitionTimetable:
    """A run an hour with the keys of :func:`hourly`, once its sources have been read."""
    return CronPartitionTimetable(
        AFTER_EVERY_HOUR, timezone=source.timezone, run_offset=0, key_format=HOUR_FORMAT
    )


def last_start(sources: Iterable["SourceDeclaration"]) -> dt.datetime | None:
    """Last moment at which a schedule may start a run: the day after the last as-of day.

    Data that have ended so get an end in the past, and switching their DAGs on starts nothing.
    None where a source lives on: there the schedule begins with its first tick after the DAG is
    switched on, because the DAG has no start either.
    """
    moments = []
    for source in sources:
        if source.end is None:
            return None
        next_day = source.end + dt.timedelta(days=1)
        moments.append(dt.datetime.combine(next_day, dt.time.max, ZoneInfo(source.timezone)))
    return max(moments)
