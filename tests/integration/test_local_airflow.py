"""The local Airflow, its scheduler and the DAGs, with a fake library that obeys orders."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from customer360.processes import is_alive, wait_until_ended
from customer360.settings import PROJECT, load_settings
from customer360_airflow.local.client import Client
from customer360_airflow.local.instance import Instance
from customer360_airflow.local.run import FINAL

pytestmark = [pytest.mark.scheduler, pytest.mark.timeout(600)]

CHAIN = [
    "begin",
    "load_raw",
    "audit:raw",
    "resolve_identities",
    "build_marts",
    "audit:marts",
    "train_if_needed",
    "score",
    "build_scored_marts",
    "engage",
    "audit:scores",
    "publish",
    "activate",
    "deliver:crm",
]
SECRET = "Wang Xiaoming 13812345678"


@dataclass
class Local:
    """A local Airflow of a company that nobody else uses."""

    instance: Instance
    environment: dict[str, str]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "customer360_airflow.local", *arguments],
            env=self.environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def fake(self) -> Path:
        folder = self.instance.settings.data_dir / "fake"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "customer360_airflow.local", *arguments],
            env=self.environment,
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait_for(self, step: str, key: str) -> None:
        while step not in self.steps(key):
            time.sleep(0.2)

    @staticmethod
    def end_of(client: Client, dag_id: str, run_id: str) -> str:
        while True:
            tasks = client.tasks([run_id])
            states = {str(task["state"]) for task in tasks if task["dag_id"] == dag_id}
            if states and states <= {*FINAL}:
                return ", ".join(sorted(states))
            time.sleep(0.2)

    def break_steps(self, **faults: str) -> None:
        (self.fake / "faults.json").write_text(json.dumps(faults))

    def steps(self, key: str) -> list[str]:
        told = self.fake / "steps.jsonl"
        lines = told.read_text().splitlines() if told.exists() else []
        steps = [record["step"] for record in map(json.loads, lines) if record["as_of"] == key]
        # Challengers are trained beside the chain, at any moment after it has published.
        return [step for step in steps if not step.startswith("train:")]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    company = f"test_{os.getpid()}"
    data = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUSTOMER360_DATA", str(data))
        instance = Instance.of(load_settings(company))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "COMPANY": company,
        "CUSTOMER360_DATA": str(data),
        "PYTHONPATH": str(PROJECT / "tests" / "fakes"),
    }
    made = Local(instance, environment)
    try:
        up = made("up")
        assert up.returncode == 0, up.stderr
        yield made
    finally:
        made("down")
        shutil.rmtree(instance.home, ignore_errors=True)


def test_one_day_goes_through_the_whole_chain_also_when_a_task_is_killed(local):
    local.break_steps(load_raw="crash")
    done = local("run", "--as-of", "2017-03-01")
    assert done.returncode == 0, done.stderr
    steps = local.steps("2017-03-01")
    extracts, rest = steps[:4], steps[4:]
    assert all(step.startswith("extract:") for step in extracts)
    assert rest == ["begin", "load_raw", *CHAIN[1:]]
    assert "will be tried again" in done.stderr
    assert "as_of: 2017-03-01" in done.stdout


def test_every_step_of_a_day_gets_the_same_run_id_also_on_a_retry(local):
    lines = (local.fake / "steps.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    ids = {record["run_id"] for record in records if "run_id" in record}
    assert len(ids) == 1
    assert ids.pop().startswith("2017-03-01_")


def test_a_failed_gate_stops_the_day_says_what_to_mend_and_publishes_nothing(local):
    local.break_steps(**{"audit:raw": "gate"})
    done = local("run", "--as-of", "2017-03-02")
    assert done.returncode == 1
    assert "3 rows break 'quantity at least 0' (keys 17, 18, 19). Mend them." in done.stderr
    log = done.stderr.split("log: ")[1].split()[0]
    assert (PROJECT / log).is_file()
    assert local.steps("2017-03-02")[-1] == "audit:raw"


@pytest.mark.faults  # a fast test holds the rule; this one its way through Airflow
def test_a_failed_source_holds_back_its_day_and_a_new_run_of_the_day_reads_all_anew(local):
    local.break_steps(**{"extract:till": "gate"})
    failed = local("run", "--as-of", "2017-03-03")
    assert failed.returncode == 1
    assert local.steps("2017-03-03")[-1] == "stale:till"
    assert "begin" not in local.steps("2017-03-03")
    local.break_steps()
    before = len(local.steps("2017-03-03"))
    done = local("run", "--as-of", "2017-03-03")
    assert done.returncode == 0, done.stderr
    steps = local.steps("2017-03-03")[before:]
    assert len(steps[:4]) == len({*steps[:4]}) == 4  # all four again, and before
    assert all(step.startswith("extract:") for step in steps[:4])
    assert steps[4:] == CHAIN


@pytest.mark.faults  # a fast test holds the rule; this one its way through Airflow
def test_a_day_goes_on_without_a_stale_source_where_policy_lets_it(local):
    local.break_steps(**{"extract:till": "gate", "may_be_stale": "till"})
    done = local("run", "--as-of", "2017-03-15")
    local.break_steps()
    assert done.returncode == 0, done.stderr
    steps = local.steps("2017-03-15")
    assert "stale:till" in steps
    assert steps[-len(CHAIN) :] == CHAIN


def test_the_hourly_lane_reads_beside_a_build_that_holds_the_warehouse(local):
    local.break_steps(load_raw="sleep:12")
    build = local.start("run", "--as-of", "2017-03-16")
    try:
        local.wait_for("load_raw", "2017-03-16")
        client = Client(local.instance.running().url, local.instance.running().task_url,
                        local.instance.password)  # fmt: skip
        run = client.trigger("ingest_till_hourly", "2017-03-16T14")
        state = local.end_of(client, "ingest_till_hourly", run)
        run = client.trigger("answer_triggers", "2017-03-16T14")
        answered = local.end_of(client, "answer_triggers", run)
        during = local.steps("2017-03-16")
    finally:
        ended = build.wait()
    local.break_steps()
    assert ended == 0
    assert state == answered == "success"
    assert during[-1] == "load_raw"  # the build had not gone on when the hour was there
    assert local.steps("2017-03-16T14:00:00") == [
        "extract_hour:till", "answer_hour", "deliver_hour:crm",
    ]  # fmt: skip


@pytest.mark.faults
def test_several_days_follow_each_other_whole(local):
    local.break_steps(**{"extract:till@2017-04-02": "gate", "activate": "sleep:3"})
    done = local("backfill", "--from", "2017-04-01", "--to", "2017-04-03")
    assert done.returncode == 1
    for task in ("extract", "mark_stale"):  # what went wrong, and that policy stops the day
        assert done.stderr.count(f"ingest_till.{task} failed for 2017-04-02") == 1
    assert done.stderr.count("failed for 2017-04-") == 2
    assert local.steps("2017-04-01")[4:] == CHAIN
    assert local.steps("2017-04-03")[4:] == CHAIN
    assert not set(CHAIN) & set(local.steps("2017-04-02"))
    # A run that begins overtakes the one before: it must have been activated by then.
    records = [json.loads(line) for line in (local.fake / "steps.jsonl").read_text().splitlines()]
    order = [record["step"] for record in records if record["as_of"] > "2017-04"]
    assert [step for step in order if step in {"begin", "activate"}] == ["begin", "activate"] * 2
    local.break_steps()


@pytest.mark.faults  # a fast test holds the rule; this one its way through Airflow
def test_no_log_holds_what_an_unforeseen_error_quotes(local):
    local.break_steps(**{"extract:till": "unexpected"})
    done = local("run", "--as-of", "2017-03-04")
    local.break_steps()
    assert done.returncode == 1
    assert "unexpected ValueError" in done.stderr
    holding = [
        path
        for path in local.instance.home.rglob("*.log")
        if SECRET.split()[-1] in path.read_text(errors="replace")
    ]
    assert holding == []


def test_a_run_that_was_killed_with_airflow_is_taken_up_by_the_next_start_which_says_so(local):
    local.break_steps(build_marts="sleep:600")
    command = [sys.executable, "-m", "customer360_airflow.local", "run", "--as-of", "2017-03-05"]
    with subprocess.Popen(
        command, env=local.environment, cwd=PROJECT, stderr=subprocess.DEVNULL
    ) as run:
        while "build_marts" not in local.steps("2017-03-05"):
            assert run.poll() is None
            time.sleep(0.1)
        run.kill()
    members = local.instance.processes()
    for process in members:
        process.kill()
    assert wait_until_ended(members, 60) == []
    local.break_steps()
    up = local("up")
    assert up.returncode == 0, up.stderr
    assert "going on with what was cut off: build_customer_360 of 2017-03-05\n" in up.stderr
    done = local("run", "--as-of", "2017-03-06")
    assert done.returncode == 0, done.stderr
    cut = CHAIN.index("build_marts")
    assert local.steps("2017-03-05")[4:] == [*CHAIN[: cut + 1], "take_up", *CHAIN[cut:]]


def test_down_leaves_no_living_process_even_after_the_first_one_was_killed(local):
    running = local.instance.running()
    assert running is not None
    members = local.instance.processes()
    assert len(members) >= 4
    os.kill(running.pid, signal.SIGKILL)
    assert local("down").returncode == 0
    assert not [process for process in members if is_alive(process)]
    assert local.instance.running() is None
