"""The hourly lane and stale sources: parts of a day, and days that go on without a system."""

import datetime as dt

import pytest

from customer360 import landing, pipeline, raw, run_status, state
from customer360.config import load_config
from customer360.exceptions import GateError
from tests.conftest import LAST_DAY

DAY = dt.date(2017, 3, 6)
HOURS = [dt.datetime(2017, 3, 6, hour) for hour in (13, 15, 17)]


def raw_state(company):
    import duckdb

    settings = company.settings
    raw.load(settings, load_config(settings), LAST_DAY, "run")
    with duckdb.connect(str(settings.raw_path), read_only=True) as connection:
        return connection.execute(
            "select columns(c -> c != '_batch') from till.transactions order by all"
        ).fetchall()


def test_hours_and_the_night_end_in_the_state_of_the_night_alone(company, tmp_path, monkeypatch):
    pipeline.extract(company.settings, "till", DAY - dt.timedelta(days=1))
    for hour in HOURS:
        pipeline.extract_hour(company.settings, "till", hour)
    pipeline.extract(company.settings, "till", DAY)
    with_hours = raw_state(company)
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path / "other"))
    pipeline.extract(company.settings, "till", DAY - dt.timedelta(days=1))
    pipeline.extract(company.settings, "till", DAY)
    assert raw_state(company) == with_hours


def test_an_hour_reads_on_from_the_hour_before_and_not_into_the_next(company):
    pipeline.extract(company.settings, "till", DAY - dt.timedelta(days=1))
    for hour in HOURS:
        pipeline.extract_hour(company.settings, "till", hour)
    found = landing.batches(company.settings, "till", "transactions")
    windows = [(batch.cursor_from, batch.cursor_to) for batch in found if batch.lane == "hourly"]
    assert windows[1:] == [
        ("2017-03-06T16:00:00", "2017-03-06T20:00:00"),
        ("2017-03-06T18:00:00", "2017-03-06T22:00:00"),
    ]


def test_an_hour_leaves_tables_alone_that_only_have_a_state(company):
    landed = pipeline.extract_hour(company.settings, "till", HOURS[0])
    assert list(landed["tables"]) == ["transactions"]


def test_the_hour_that_ends_at_midnight_belongs_to_the_day_before(company):
    pipeline.extract_hour(company.settings, "till", dt.datetime(2017, 3, 7))
    (batch,) = landing.batches(company.settings, "till", "transactions")
    assert batch.day == DAY


def allow_stale(company, **policy):
    company.config["policies"]["stale"] = policy
    company.write()


def test_policy_decides_whether_a_stale_source_stops_the_day(company):
    pipeline.extract(company.settings, "till", DAY)
    following = DAY + dt.timedelta(days=1)
    allow_stale(company, default="accept", sources={"till": "stop"})
    with pytest.raises(GateError, match=r"policies\.yml \(stale\) stops the build"):
        pipeline.mark_stale(company.settings, "till", following)
    allow_stale(company, default="accept")
    assert pipeline.mark_stale(company.settings, "till", following)["stale_days"] == 1


def test_a_source_that_was_silent_for_too_long_or_always_stops_the_day(company):
    allow_stale(company, default="accept", at_most_days=2)
    with pytest.raises(GateError, match="has never delivered"):
        pipeline.mark_stale(company.settings, "till", DAY)
    pipeline.extract(company.settings, "till", DAY)
    pipeline.mark_stale(company.settings, "till", DAY + dt.timedelta(days=2))
    with pytest.raises(GateError, match="3 days old"):
        pipeline.mark_stale(company.settings, "till", DAY + dt.timedelta(days=3))


def test_a_day_that_brought_nothing_new_counts_as_a_delivery(company):
    allow_stale(company, default="accept", at_most_days=1)
    pipeline.extract(company.settings, "customer_file", DAY)
    following = DAY + dt.timedelta(days=1)
    pipeline.extract(company.settings, "customer_file", following)  # the same table: no new batch
    landed = landing.batches(company.settings, "customer_file")
    assert {batch.day for batch in landed} == {DAY}
    pipeline.mark_stale(company.settings, "customer_file", following + dt.timedelta(days=1))


def test_the_status_says_which_newer_day_was_not_built(company):
    settings = company.settings
    engine = state.opened(settings)
    pipeline.extract(settings, "till", DAY)
    pipeline.begin(settings, DAY, "run")
    assert run_status.status(settings)["unbuilt"] is None
    following = DAY + dt.timedelta(days=1)
    pipeline.extract(settings, "customer_file", following)
    with pytest.raises(OSError), state.record_step(engine, f"ingest_{following}", "extract_till"):
        raise OSError("down")
    told = run_status.status(settings)
    assert told["unbuilt"] == {"as_of": "2017-03-07", "failed_sources": ["till"]}
    assert "2017-03-07 is not built: could not read till" in run_status.format_summary(told)


def test_the_status_names_the_stale_source_until_it_has_been_read(company):
    settings, engine = company.settings, state.opened(company.settings)
    allow_stale(company, default="accept")
    following = DAY + dt.timedelta(days=1)
    for source in load_config(settings).sources.sources:
        pipeline.extract(settings, source, DAY)
        if source != "till":
            pipeline.extract(settings, source, following)
    with pytest.raises(OSError), state.record_step(engine, f"ingest_{following}", "extract_till"):
        raise OSError("down")
    pipeline.mark_stale(settings, "till", following)
    pipeline.begin(settings, following, "run")
    pipeline.load_raw(settings, following, "run")
    told = run_status.status(settings)
    assert told["sources"]["till"]["stale_days"] == 1
    assert told["failed_step"] is None
    assert "stale: 1 days" in run_status.format_summary(told)
    pipeline.extract(settings, "till", following)
    assert run_status.status(settings)["sources"]["till"]["stale_days"] == 0
