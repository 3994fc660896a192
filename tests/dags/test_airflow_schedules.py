"""Which nights start a run, and for which day: asked of Airflow's own scheduler code."""

import datetime as dt
from dataclasses import dataclass

import pytest

from customer360_airflow import schedules

NOW = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)


@dataclass
class Source:
    """As much of a declared source as a calendar needs."""

    schedule: str = "0 2 * * *"
    timezone: str = "Asia/Shanghai"
    end: dt.date | None = None


@pytest.fixture
def next_run(monkeypatch):
    """The next run of a timetable in Airflow's serialized form, at NOW."""
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable
    from airflow.timetables import trigger
    from airflow.timetables.base import TimeRestriction

    monkeypatch.setattr(trigger, "utcnow", lambda: NOW)

    def ask(sources, timetable=None, last=None):
        chosen = decode_timetable(encode_timetable(timetable or schedules.nightly(sources[0])))
        restriction = TimeRestriction(None, schedules.last_start(sources), catchup=False)
        return chosen.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction)

    return ask


def test_a_new_ingest_waits_for_the_coming_night_and_takes_the_day_that_ends_then(next_run):
    run = next_run([Source()])
    assert run.run_after == dt.datetime(2026, 3, 10, 18, tzinfo=dt.UTC)  # 2 o'clock in Shanghai
    assert run.partition_key == "2026-03-10"


def test_data_that_have_ended_start_nothing(next_run):
    assert next_run([Source(end=dt.date(2017, 12, 31))]) is None


def test_the_last_day_of_data_that_end_tonight_still_runs(next_run):
    run = next_run([Source(end=dt.date(2026, 3, 10))])
    assert run.partition_key == "2026-03-10"
    assert next_run([Source(end=dt.date(2026, 3, 10))], last=run) is None


def test_a_range_of_days_in_a_zone_ahead_of_utc_keeps_its_last_day():
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    timetable = decode_timetable(encode_timetable(schedules.nightly(Source())))
    runs = timetable.iter_partition_dagrun_infos(
        earliest=dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
        latest=dt.datetime(2026, 3, 3, 23, 59, 59, tzinfo=dt.UTC),
    )
    assert [run.partition_key for run in runs] == ["2026-03-01", "2026-03-02", "2026-03-03"]
