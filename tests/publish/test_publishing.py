import datetime as dt
import os
import stat

import duckdb
import pytest

from customer360 import publish, state
from customer360.exceptions import BusyError, PublishError
from tests.publish.company import DAY, INFO, open_state, publish_run, run_ids, write_marts

WEEK = dt.timedelta(days=7)


def test_a_published_snapshot_says_what_it_holds(settings, engine):
    path = publish_run(settings, "one")
    assert path == publish.snapshot_path(settings)
    info = publish.read_info(settings, path)
    assert (info["run_id"], info["as_of"]) == ("one", DAY)
    assert info["model_versions"] == {"churn": "1"}
    assert info["row_counts"] == {"customer_360": 20, "customers": 20, "orders": 20}
    with duckdb.connect(str(path), read_only=True) as reader:
        rows = reader.execute("select name, kind, key, rows from snapshot_tables order by 1")
        assert rows.fetchall() == [
            ("customer_360", "scores", ["customer_id"], 20),
            ("customers", "data", ["customer_id"], 20),
            ("orders", "data", ["order_id"], 20),
        ]
    run = state.get_run(engine, "one")
    assert (run["status"], run["snapshot"]) == ("published", path.name)


def test_the_stable_path_is_a_link_to_an_immutable_file(settings):
    path = publish_run(settings, "scheduled__2026-03-01T02:00:00+00:00")
    link = settings.snapshots_dir / "current.duckdb"
    assert (
        link.readlink().name == "customer360-2026-03-01-scheduled__2026-03-01T02-00-00-00-00.duckdb"
    )
    assert run_ids(link) == {"scheduled__2026-03-01T02:00:00+00:00"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_backfills_in_any_order_end_with_the_latest_day_current(settings):
    latest = publish_run(settings, "b", DAY + WEEK)
    older = publish_run(settings, "a", DAY)
    assert publish.snapshot_path(settings) == latest
    assert run_ids(older) == {"a"}
    again = publish_run(settings, "c", DAY + WEEK)
    assert publish.snapshot_path(settings) == again


def test_publishing_the_same_file_again_changes_nothing(settings, engine):
    first = publish_run(settings, "one")
    work_file = settings.work_dir / "one" / "marts.duckdb"
    assert publish.publish(settings, engine, work_file, "one", DAY, INFO) == first
    assert len(publish.snapshot_list(settings, engine)) == 1


def test_a_run_that_rebuilt_its_marts_publishes_them_under_a_new_name(settings):
    first = publish_run(settings, "one", rows=20)
    second = publish_run(settings, "one", rows=21)
    assert (first.name, second.name) == (
        "customer360-2026-03-01-one.duckdb",
        "customer360-2026-03-01-one-2.duckdb",
    )
    assert publish.snapshot_path(settings) == second


def test_an_overtaken_run_cannot_publish_even_if_it_checked_before(settings, engine, monkeypatch):
    publish_run(settings, "zero")
    state.begin_run(engine, "zombie", DAY + WEEK)
    work_file = write_marts(settings, "zombie")
    seal = publish._seal

    def overtaken_meanwhile(*arguments):
        seal(*arguments)
        state.begin_run(open_state(settings), "successor", DAY + WEEK)

    monkeypatch.setattr(publish, "_seal", overtaken_meanwhile)
    with pytest.raises(BusyError, match="zombie has been overtaken by run successor"):
        publish.publish(settings, engine, work_file, "zombie", DAY + WEEK, INFO)
    assert run_ids(publish.snapshot_path(settings)) == {"zero"}
    assert state.get_run(engine, "zombie")["status"] == "overtaken"


def test_views_on_other_files_are_left_out_and_named(settings, engine, tmp_path):
    state.begin_run(engine, "one", DAY)
    work_file = write_marts(settings, "one")
    with duckdb.connect(str(work_file)) as marts:
        marts.execute(f"attach '{tmp_path}/raw.duckdb' as raw")
        marts.execute("create table raw.people as select 'secret' as phone")
        marts.execute(f"copy customers to '{tmp_path}/file.parquet'")
        marts.execute("create schema staging")
        marts.execute("create view staging.people as select * from raw.people")
        marts.execute(f"create view outside as from read_parquet('{tmp_path}/file.parquet')")
        marts.execute("create view inside as select * from customers")
    path = publish.publish(settings, engine, work_file, "one", DAY, INFO)
    left_out = publish.read_info(settings, path)["details"]["views_left_out"]
    assert left_out == ["main.outside", "staging.people"]
    with duckdb.connect(str(path), read_only=True) as reader:
        assert reader.execute("select count(*) from inside").fetchone() == (20,)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"nothing": {}}, "not in the file: nothing"),
        ({"orders": {"key": ["order"]}}, "table orders has no column order"),
        ({"orders": {"volatile": ["clock"]}}, "table orders has no column clock"),
        ({"orders": {"kind": "misc"}}, "kind 'misc' is none of"),
    ],
)
def test_a_wrong_declaration_is_refused_and_publishes_nothing(settings, engine, tables, message):
    state.begin_run(engine, "one", DAY)
    work_file = write_marts(settings, "one")
    with pytest.raises(PublishError, match=message):
        publish.publish(settings, engine, work_file, "one", DAY, {"tables": tables})
    with pytest.raises(PublishError, match="nothing is published"):
        publish.snapshot_path(settings)


def test_the_key_comes_from_the_primary_key_where_none_is_declared(settings, engine):
    state.begin_run(engine, "one", DAY)
    work_file = write_marts(settings, "one")
    with duckdb.connect(str(work_file)) as marts:
        marts.execute("alter table orders add primary key (order_id)")
    path = publish.publish(settings, engine, work_file, "one", DAY, {})
    with duckdb.connect(str(path), read_only=True) as reader:
        keys = reader.execute("select key from snapshot_tables where name = 'orders'").fetchone()
    assert keys == (["order_id"],)


def test_a_missing_or_damaged_work_file_is_named(settings, engine):
    publish_run(settings, "zero")
    state.begin_run(engine, "one", DAY)
    with pytest.raises(PublishError, match=r"marts\.duckdb is missing"):
        publish.publish(settings, engine, settings.work_dir / "marts.duckdb", "one", DAY, INFO)
    damaged = write_marts(settings, "one")
    damaged.write_bytes(b"not a database" * 1000)
    with pytest.raises(Exception, match=r"marts\.duckdb is damaged"):
        publish.publish(settings, engine, damaged, "one", DAY, INFO)
    assert run_ids(publish.snapshot_path(settings)) == {"zero"}


def test_rollback_goes_back_step_by_step_and_the_next_publish_goes_on(settings, engine):
    paths = [publish_run(settings, f"{n}", DAY + n * WEEK) for n in range(3)]
    assert publish.snapshot_rollback(settings, engine) == paths[1]
    assert publish.snapshot_path(settings) == paths[1]
    assert publish.snapshot_rollback(settings, engine) == paths[0]
    with pytest.raises(PublishError, match="no snapshot to go back to"):
        publish.snapshot_rollback(settings, engine)
    withdrawn = {one.run_id for one in publish.snapshot_list(settings, engine) if one.withdrawn}
    assert withdrawn == {"1", "2"}
    assert state.last_run(engine, "published")["run_id"] == "0"
    again = publish_run(settings, "again", DAY + WEEK)
    assert publish.snapshot_path(settings) == again
    assert publish.snapshot_rollback(settings, engine) == paths[0]


def test_rollback_does_not_go_to_a_backfilled_day_that_was_never_current(settings, engine):
    first = publish_run(settings, "first", DAY)
    publish_run(settings, "second", DAY + 2 * WEEK)
    publish_run(settings, "backfill", DAY + WEEK)
    assert publish.snapshot_rollback(settings, engine) == first


def test_rollback_to_a_named_snapshot(settings, engine):
    paths = [publish_run(settings, f"{n}", DAY + n * WEEK) for n in range(3)]
    assert publish.snapshot_rollback(settings, engine, paths[0]) == paths[0]
    assert publish.snapshot_path(settings) == paths[0]
    assert publish.snapshot_rollback(settings, engine, paths[2]) == paths[2]


def age(path, days: float) -> None:
    then = state.now().timestamp() - days * 86400
    os.utime(path, (then, then))


def test_retention_keeps_the_recent_the_current_and_a_least_number(settings, engine):
    policy = publish.Retention(keep_days=7, keep_at_most=4, keep_at_least=2)
    current = publish_run(settings, "current", DAY + WEEK)
    age(current, 100)
    old = [publish_run(settings, f"old{n}") for n in range(3)]
    for number, path in enumerate(old):
        age(path, 10 + number)
    publish_run(settings, "new", retention=policy)
    names = {one.run_id for one in publish.snapshot_list(settings, engine)}
    assert names == {"current", "old0", "new"}
    assert publish.snapshot_path(settings) == current


def test_retention_never_removes_what_a_reader_may_just_have_resolved(settings, engine):
    policy = publish.Retention(keep_days=0, keep_at_most=0, keep_at_least=0)
    for number in range(4):
        publish_run(settings, str(number), retention=policy)
    assert len(publish.snapshot_list(settings, engine)) == 4


def test_a_backfill_does_not_fill_the_disk(settings, engine):
    policy = publish.Retention(keep_at_most=3, min_age=dt.timedelta(0))
    for number in range(6):
        publish_run(settings, str(number), DAY + number * WEEK, retention=policy)
    assert [one.run_id for one in publish.snapshot_list(settings, engine)] == ["5", "4", "3"]


def test_a_name_that_retention_freed_is_not_used_again(settings, engine):
    policy = publish.Retention(0, 0, 0, min_age=dt.timedelta(0))
    publish_run(settings, "later", DAY + WEEK)
    first = publish_run(settings, "one", retention=policy)
    assert not first.exists()
    assert publish_run(settings, "one").name == "customer360-2026-03-01-one-2.duckdb"
