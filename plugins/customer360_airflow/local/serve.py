"""The first process of a local instance: prepares the metadata, starts the services, ends them.

It imports Airflow once and forks scheduler, DAG processor and API servers from there: three imports
less at every start. It ends them all when one of them ends, on SIGTERM, and, in mode ``run``, when
the command that started it is gone (its standard input, a pipe, then reads as closed).
"""

import contextlib
import ctypes
import datetime as dt
import gc
import importlib
import importlib.metadata
import json
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from customer360.processes import is_alive, wait_until_ended
from customer360_airflow.local.instance import TAKEN_UP_FILE

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger("customer360.local")

PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 5

EVERYONE_NEEDS = (
    "airflow.cli.cli_parser",
    "airflow.jobs.job",
    "airflow.models.dagrun",
    "airflow.api_fastapi.app",
)
TASKS_NEED = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "customer360_airflow.tasks",
    "customer360.pipeline",
    "dbt.cli.main",
    "dbt.adapters.duckdb.impl",
    "great_expectations",
    "sklearn.ensemble",
    "skops.io",
)
"""Tasks are forked from the scheduler: what it has imported they need not import, each of them.

It has the time for it while the API servers, which take longest, build their routes. Nothing may
have been used before the fork: libraries start their threads with their first work.
"""


def main() -> None:
    """Run until told to stop."""
    mode, task_port = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    os.umask(0o077)
    home = Path(os.environ["AIRFLOW_HOME"])
    stopping = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.append(True))

    # Importing makes many objects and no garbage: collect seldom, here and in what is forked.
    gc.set_threshold(50_000, 50, 50)
    _import(EVERYONE_NEEDS)
    if not _is_migrated(home):  # the services look at the metadata when they start
        _wait_for("migrate", home, _migrate)
    services = {}
    for name, arguments in (
        ("task-api", ["--apps", "execution", "--port", task_port]),
        ("api", ["--apps", "core"]),
    ):
        services[_fork(name, home, _service("api-server", *arguments))] = name
    _wait_for("tidy", home, _tidy)
    services[_fork("dag-processor", home, _service("dag-processor"))] = "dag-processor"
    # The API reads the logs of tasks from files; nobody needs them served on a port.
    scheduler = _service("scheduler", "--skip-serve-logs", imports=TASKS_NEED)
    services[_fork("scheduler", home, scheduler)] = "scheduler"
    while not stopping:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            name = services.pop(pid)
            log.error("%s ended with %s: see %s.log", name, status, name)
            break
        if mode == "run":
            if select.select([sys.stdin], [], [], 0.2)[0]:
                break
        else:
            time.sleep(0.2)
    _end()


def _end() -> None:
    """End every process of our session: services, their workers, and tasks that still run."""
    deadline = time.monotonic() + GRACE_SECONDS
    while members := _session_members():
        number = signal.SIGKILL if time.monotonic() > deadline else signal.SIGTERM
        for process in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        wait_until_ended(members, 2)


def _wait_for(name: str, home: Path, work: Callable[[], None]) -> None:
    """Run ``work`` in a child, so that we keep no open connection when we fork the services."""
    _, status = os.waitpid(_fork(name, home, work), 0)
    if status:
        log.error("%s failed: see %s.log", name, name)
        _end()
        sys.exit(1)


def _session_members() -> list[psutil.Process]:
    """Living processes of our session, without ourselves."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            ours = os.getsid(process.pid) == os.getsid(0) and process.pid != os.getpid()
            if ours and is_alive(process):
                members.append(process)
    return members


def _fork(name: str, home: Path, work: Callable[[], None]) -> int:
    """Run ``work`` in a child that ends with us and writes to ``<name>.log``."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            raise SystemExit(0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        output = os.open(home / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        log.exception("%s failed", name)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _import(names: Sequence[str]) -> None:
    for name in names:
        importlib.import_module(name)


def _service(*arguments: str, imports: Sequence[str] = ()) -> Callable[[], None]:
    def work() -> None:
        _import(imports)
        from airflow.__main__ import main as airflow_main

        sys.argv = ["airflow", *arguments]
        airflow_main()

    return work


def _is_migrated(home: Path) -> bool:
    """Whether the metadata was made by this version of Airflow: asking Airflow takes seconds."""
    stamp = home / "migrated"
    return (
        (home / "airflow.db").exists()
        and stamp.exists()
        and stamp.read_text() == importlib.metadata.version("apache-airflow-core")
    )


def _migrate() -> None:
    """Make the metadata, or bring that of an older Airflow up to date."""
    from airflow.utils import db

    db.initdb()
    version = importlib.metadata.version("apache-airflow-core")
    (Path(os.environ["AIRFLOW_HOME"]) / "migrated").write_text(version)


def _tidy() -> None:
    """Make the pools, and close or take up what a killed instance left open."""
    from airflow.utils.session import create_session

    from customer360_airflow.deploy import ensure_pools

    ensure_pools()
    with create_session() as session:
        closes = sys.argv[1] == "run"
        taken_up = [] if closes else _unfinished(session)
        _close_dead(session, runs=closes)
    (Path(os.environ["AIRFLOW_HOME"]) / TAKEN_UP_FILE).write_text(json.dumps(taken_up))
    _record_taken_up(taken_up)


def _unfinished(session: "Session") -> list[tuple[str, str]]:
    """DAG id and day of each run that was cut off and that the scheduler is about to go on with."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from sqlalchemy import select

    query = (
        select(DagRun.dag_id, DagRun.partition_key)
        .where(DagRun.state.in_([DagRunState.RUNNING, DagRunState.QUEUED]))
        .order_by(DagRun.id)
    )
    return [(dag_id, key) for dag_id, key in session.execute(query) if key]


def _record_taken_up(unfinished: list[tuple[str, str]]) -> None:
    """Have ``customer360 status`` tell it too."""
    if not unfinished:
        return
    from customer360 import pipeline
    from customer360.settings import load_settings

    for key in dict.fromkeys(key for _, key in unfinished):
        with contextlib.suppress(ValueError):  # a key that somebody made up is no day
            day = dt.date.fromisoformat(key)
            pipeline.take_up(load_settings(), day, [dag for dag, its in unfinished if its == key])


def _close_dead(session: "Session", *, runs: bool) -> None:
    """Mark jobs of dead processes as failed, so that the scheduler takes their tasks back.

    With ``runs`` (``make run`` is one person's one run) unfinished DAG runs are closed as well:
    what they left is done again by the run that is about to start.
    """
    from airflow.jobs.job import Job, JobState
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import DagRunState, State, TaskInstanceState
    from sqlalchemy import update

    now = dt.datetime.now(dt.UTC)
    session.execute(
        update(Job)
        .where(Job.state == JobState.RUNNING)
        .values(state=JobState.FAILED, end_date=now)
        .execution_options(synchronize_session=False)
    )
    if not runs:
        return
    open_runs = DagRun.state.in_([DagRunState.RUNNING, DagRunState.QUEUED])
    closed = session.execute(
        update(DagRun)
        .where(open_runs)
        .values(state=DagRunState.FAILED, end_date=now)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(TaskInstance)
        .where(TaskInstance.state.in_([state for state in State.unfinished if state]))
        .values(state=TaskInstanceState.FAILED, end_date=now)
        .execution_options(synchronize_session=False)
    )
    log.info("closed %s unfinished runs", getattr(closed, "rowcount", "?"))


if __name__ == "__main__":
    main()
