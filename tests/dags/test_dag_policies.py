"""What every DAG must have, whoever wrote it."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from customer360.declarations import declared_sources
from customer360.settings import PROJECT, load_settings
from customer360_airflow.defaults import TRAINING_POOL, WRITER_POOL, pools
from customer360_airflow.tasks import ExtractStep, TrainStep

HEAVY = (
    "customer360.pipeline",
    "customer360.state",
    "dbt",
    "duckdb",
    "great_expectations",
    "matplotlib",
    "pandas",
    "pyarrow",
    "scipy",
    "skops",
    "sklearn",
    "splink",
    "sqlglot",
)
"""The decision state stands for SQLAlchemy, which Airflow imports itself."""
READ_ONLY = {"extract", "activate", "deliver", "answer"}


@pytest.fixture(scope="module")
def sources():
    return [source.name for source in declared_sources(load_settings())]


def waited_for(dag):
    """Names of the assets that a DAG needs, every one of them, before it starts."""
    condition = dag.timetable.asset_condition
    return {asset.name for asset in getattr(condition, "objects", [condition])}


def test_no_dag_file_fails_to_import(dag_bag):
    assert dag_bag.import_errors == {}


def test_every_dag_file_gives_a_dag(dag_bag):
    files = {path.name for path in (PROJECT / "dags").glob("*.py")}
    assert {Path(dag.fileloc).name for dag in dag_bag.dags.values()} == files


def test_each_declared_source_has_an_ingest_dag_of_its_owner(dag_bag):
    declared = {
        f"ingest_{source.name}": source.owner for source in declared_sources(load_settings())
    }
    found = {
        dag_id: dag.get_task("extract").owner
        for dag_id, dag in dag_bag.dags.items()
        if dag_id.startswith("ingest_") and not dag_id.endswith("_hourly")
    }
    assert found == declared


def test_dags_say_what_they_are_and_do_not_overlap_with_themselves(dag_bag):
    for dag in dag_bag.dags.values():
        assert dag.description, dag.dag_id
        assert dag.doc_md, dag.dag_id
        assert "customer360" in dag.tags, dag.dag_id
        assert len(dag.tags) >= 2, dag.dag_id
        assert dag.max_active_runs == 1, dag.dag_id
        assert dag.catchup is False, dag.dag_id


def test_tasks_have_owner_retries_time_limit_and_callbacks(dag_bag):
    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            name = f"{dag.dag_id}.{task.task_id}"
            assert task.owner not in {"", "airflow"}, name
            assert task.retries >= 1, name
            assert task.retry_exponential_backoff > 1, name
            assert timedelta(0) < task.max_retry_delay <= timedelta(minutes=30), name
            assert timedelta(0) < task.execution_timeout <= timedelta(hours=2), name
            assert task.on_failure_callback, name
            assert task.on_retry_callback, name
            assert not task.depends_on_past, name  # days arrive in any order


def test_whoever_writes_the_warehouse_takes_the_one_slot_for_it(dag_bag):
    assert pools([])[WRITER_POOL][0] == 1
    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            if not isinstance(task, ExtractStep):
                expected = "default_pool" if task.task_id in READ_ONLY else WRITER_POOL
                if isinstance(task, TrainStep) and task.model != "sentiment":
                    expected = TRAINING_POOL  # it reads a published file
                assert task.pool == expected, f"{dag.dag_id}.{task.task_id}"


def test_no_more_tasks_read_a_system_at_once_than_it_allows(dag_bag):
    declared = declared_sources(load_settings())
    made = pools(declared)
    for source in declared:
        extract = dag_bag.dags[f"ingest_{source.name}"].get_task("extract")
        assert made[extract.pool][0] == source.at_once


def test_a_source_that_could_not_be_read_is_marked_stale_by_a_task_of_its_own(dag_bag, sources):
    for source in sources:
        dag = dag_bag.dags[f"ingest_{source}"]
        stale = dag.get_task("mark_stale")
        assert stale.upstream_task_ids == {"extract"}
        assert stale.trigger_rule == "one_failed"
        assert stale.outlets == dag.get_task("extract").outlets


def test_build_waits_for_every_source_and_publishes_last(dag_bag, sources):
    build = dag_bag.dags["build_customer_360"]
    assert waited_for(build) == {f"raw_{source}" for source in sources}
    order = [task.task_id for task in build.topological_sort()]
    assert order == [
        "begin",
        "load_raw",
        "audit_raw",
        "resolve_identities",
        "build_marts",
        "audit_marts",
        "train_if_needed",
        "score",
        "build_scored_marts",
        "engage",
        "audit_scores",
        "publish",
    ]
    assert [task.task_id for task in build.tasks if task.outlets] == ["publish"]


def test_activation_follows_the_published_snapshot(dag_bag):
    (published,) = dag_bag.dags["build_customer_360"].get_task("publish").outlets
    assert waited_for(dag_bag.dags["activate_customers"]) == {published.name}


def test_each_model_is_trained_by_a_task_of_its_own_with_a_limit(dag_bag):
    from customer360.scoring.limits import MEMORY_GIB
    from customer360.scoring.scores import SCORES

    train = dag_bag.dags["train_models"]
    assert waited_for(train) == waited_for(dag_bag.dags["activate_customers"])
    assert [task.task_id for task in train.tasks] == [f"train_{score.name}" for score in SCORES]
    assert {score.name for score in SCORES} == set(MEMORY_GIB)
    for task in train.tasks:
        assert 0 < task.memory_gib <= 3
        assert task.upstream_task_ids == task.downstream_task_ids == set()


def test_dag_files_import_nothing_heavy():
    code = (
        "import runpy, sys\n"
        f"for path in {[str(path) for path in sorted((PROJECT / 'dags').glob('*.py'))]}:\n"
        "    runpy.run_path(path)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
