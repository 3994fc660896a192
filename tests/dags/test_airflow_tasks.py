"""How a run of a DAG becomes arguments of the library, and what of an error may be told."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from customer360 import pipeline
from customer360.exceptions import BusyError, ConfigError, GateError, SourceError
from customer360_airflow import tasks


@dataclass
class DagRun:
    partition_key: str | None = "2017-12-31"
    dag_id: str = "build_customer_360"
    run_id: str = "asset_triggered__2026-11-22T01:02:03.456789+00:00_x1Y2"
    run_after: dt.datetime = dt.datetime(2026, 11, 22, 1, 2, 3, tzinfo=dt.UTC)


@dataclass
class AssetEvent:
    extra: dict[str, Any]
    timestamp: dt.datetime


@dataclass
class OutletEvents:
    extras: dict[Any, Any] = field(default_factory=dict)

    def __getitem__(self, asset):
        return self.extras.setdefault(asset.name, AssetEvent({}, dt.datetime.now(dt.UTC)))


def test_the_run_id_is_stable_tells_runs_apart_and_can_name_a_file():
    run_id = tasks.run_id_of(DagRun())
    assert run_id == tasks.run_id_of(DagRun())
    assert run_id.startswith("2017-12-31_20261122T010203_")
    assert run_id.replace("-", "").replace("_", "").isalnum()
    assert run_id != tasks.run_id_of(DagRun(run_id="asset_triggered__other"))


@pytest.mark.parametrize("key", [None, "", "yesterday", "2017-02-30"])
def test_a_run_without_a_day_fails_at_once_and_says_how_to_start_it(key):
    with pytest.raises(AirflowFailException, match="such as 2017-12-31"):
        tasks.as_of_day(DagRun(partition_key=key))


@pytest.mark.parametrize("kind", [ConfigError, GateError])
def test_what_a_person_must_mend_is_not_tried_again(kind):
    with pytest.raises(AirflowFailException, match="3 rows"), tasks.told_plainly():
        raise kind("3 rows")


@pytest.mark.parametrize("kind", [SourceError, BusyError])
def test_what_may_pass_is_tried_again_without_its_causes(kind):
    def step():
        try:
            raise ValueError("Wang Xiaoming")
        except ValueError as cause:
            raise kind("not there") from cause

    with pytest.raises(kind, match="not there") as caught, tasks.told_plainly():
        step()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_the_text_of_an_unforeseen_error_is_kept_back():
    with pytest.raises(tasks.StepFailedError) as caught, tasks.told_plainly():
        raise ValueError("Wang Xiaoming 13812345678")
    assert "Wang" not in str(caught.value)
    assert "138" not in str(caught.value)
    assert "ValueError" in str(caught.value)
    assert caught.value.__suppress_context__


def test_the_text_of_an_error_about_files_is_shown():
    with pytest.raises(tasks.StepFailedError, match=r"disk\.duckdb"), tasks.told_plainly():
        raise OSError(28, "No space left on device", "disk.duckdb")


def test_publishing_hands_its_run_id_to_activation(monkeypatch):
    from customer360_airflow import assets

    seen = []
    for name in ("publish", "activate"):
        monkeypatch.setattr(
            pipeline,
            name,
            lambda settings, as_of, run_id, name=name: seen.append((name, as_of, run_id)) or {},
        )
    monkeypatch.setattr(
        pipeline, "deliver", lambda _, as_of, run_id, name: seen.append((name, as_of, run_id)) or {}
    )
    outlets = OutletEvents()
    publish = tasks.PublishStep(step="publish", outlets=[assets.SNAPSHOT])
    publish.execute({"dag_run": DagRun(), "outlet_events": outlets})
    told = outlets.extras[assets.SNAPSHOT.name].extra
    older = AssetEvent({"run_id": "older"}, dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    newer = AssetEvent(told, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    for step in (
        tasks.ActivateStep(step="activate"),
        tasks.DeliverStep(destination="crm", task_id="deliver"),
    ):
        step.execute(
            {
                "dag_run": DagRun(dag_id="activate_customers", run_id="asset_triggered__later"),
                "triggering_asset_events": {assets.SNAPSHOT: [newer, older]},
            }
        )
    day, run_id = dt.date(2017, 12, 31), tasks.run_id_of(DagRun())
    assert seen == [(name, day, run_id) for name in ("publish", "activate", "crm")]


def test_activation_without_a_snapshot_says_what_to_run():
    activate = tasks.ActivateStep(step="activate")
    with pytest.raises(AirflowFailException, match="Run build_customer_360"):
        activate.execute({"dag_run": DagRun(), "triggering_asset_events": {}})


@dataclass
class Activation:
    """A task instance that is asked how many activations are going on."""

    counts: list[int]

    def get_dr_count(self, dag_id, states):
        assert (dag_id, states) == ("activate_customers", ["queued", "running"])
        return self.counts.pop(0)


def test_a_run_begins_when_the_one_before_has_been_activated(monkeypatch):
    begun_with = []
    activation = Activation([1, 1, 0, 1])
    monkeypatch.setattr(tasks.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(pipeline, "begin", lambda *_: begun_with.append(activation.counts) or {})
    tasks.BeginStep(step="begin").execute({"dag_run": DagRun(), "ti": activation})
    assert begun_with == [[1]]


def test_an_activation_that_never_ends_does_not_hold_up_the_next_run_for_ever(monkeypatch):
    monkeypatch.setattr(tasks, "PATIENCE_SECONDS", -1)
    monkeypatch.setattr(pipeline, "begin", lambda *_: {"token": 2})
    result = tasks.BeginStep(step="begin").execute({"dag_run": DagRun(), "ti": Activation([1])})
    assert result["token"] == 2


class Published:
    """A snapshot's event that carries the run that published it."""

    timestamp = dt.datetime(2017, 12, 25, tzinfo=dt.UTC)
    extra = {"run_id": "nightly"}  # noqa: RUF012, read only


def train_step(monkeypatch, work, memory_gib=2.0):
    monkeypatch.setattr(pipeline, "train", work)
    context = {"dag_run": DagRun(), "triggering_asset_events": {"snapshot": [Published()]}}
    return tasks.TrainStep(model="churn", memory_gib=memory_gib).execute(context)


def test_training_works_for_the_run_that_published_and_skips_what_is_not_due(monkeypatch):
    seen = []

    def work(settings, as_of, run_id, model):
        seen.append((run_id, model))
        return {"due": "a week has passed", "trained": True}

    assert train_step(monkeypatch, work)["trained"]
    assert seen == [("nightly", "churn")]
    with pytest.raises(tasks.AirflowSkipException, match="nothing drifted"):
        train_step(monkeypatch, lambda *_: {"due": None})


def test_a_training_that_wants_too_much_memory_fails_with_the_mend(monkeypatch):
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)

    def wanting(mib):
        return lambda *_: {"due": "now", "rows": len(bytearray(mib * 2**20))}

    assert train_step(monkeypatch, wanting(300), 2.0)["rows"]
    # More than was given back before, which an allocator may have kept.
    with pytest.raises(tasks.AirflowFailException, match=r"more than its 0.25 GiB"):
        train_step(monkeypatch, wanting(1200), 0.25)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
