"""Drives as-of days through a local Airflow, and tells a person what happens.

What belongs here: waiting for the instance, starting runs, progress, what failed and why. What
does not: Airflow's processes (``instance``, ``serve``) or the work itself (``customer360``).
"""

import dataclasses
import datetime as dt
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from customer360.settings import PROJECT
from customer360_airflow import names
from customer360_airflow.local.client import Client
from customer360_airflow.local.instance import Instance, LocalAirflowError, PortTakenError, Running

FINAL = {"success", "failed", "upstream_failed", "skipped", "removed"}
FAILED = {"failed", "upstream_failed"}
READY_SECONDS = 300
POLL_SECONDS = 0.5

Say = Callable[[str], None]
Task = dict[str, Any]


def wait_until_ready(
    instance: Instance,
    running: Running,
    process: "subprocess.Popen[bytes] | None",
    since: dt.datetime,
) -> Client:
    """Wait until the API answers and every DAG file has been parsed since ``since``.

    Raises:
        PortTakenError: another program has the port: start again with another one.
        LocalAirflowError: a service ended, a DAG file cannot be imported, or it takes too long.
    """
    client = Client(running.url, running.task_url, instance.password)
    wanted = {path.name for path in (PROJECT / "dags").glob("*.py")}
    missing = wanted
    deadline = time.monotonic() + READY_SECONDS
    up = False
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            if "address already in use" in (instance.home / "api.log").read_text()[-2000:]:
                raise PortTakenError(f"Port {running.port} was taken while Airflow started.")
            raise LocalAirflowError(
                f"Airflow's services did not start. See {_shown(instance.home)}/*.log."
            )
        up = up or client.is_up()
        if up:
            fresh = [error for error in client.import_errors() if _moment(error) >= since]
            if fresh:
                raise LocalAirflowError("\n".join(map(_import_error, fresh)))
            missing = wanted - {
                Path(dag["fileloc"]).name
                for dag in client.dags()
                if dag["last_parsed_time"] and _moment(dag, "last_parsed_time") >= since
            }
            if not missing:
                return client
        time.sleep(0.3)
    reason = f"not parsed: {', '.join(sorted(missing))}" if up else "its API does not answer"
    raise LocalAirflowError(
        f"Airflow was not ready after {READY_SECONDS} s ({reason}). "
        f"See {_shown(instance.home)}/*.log."
    )


@dataclasses.dataclass
class Day:
    """One as-of day on its way: the runs that belong to it, known as far as it has come."""

    key: str
    runs: dict[str, str] = dataclasses.field(default_factory=dict)
    """DAG id -> run id."""
    state: str = "running"

    def ingests(self) -> dict[str, str]:
        """DAG id -> run id of the ingest runs."""
        return {
            dag: run for dag, run in self.runs.items() if dag not in (names.BUILD, names.ACTIVATE)
        }


class Drive:
    """Starts the ingest runs of days and follows each day until it is activated or has failed."""

    def __init__(self, client: Client, logs_dir: Path, say: Say) -> None:
        self.client = client
        self.logs_dir = logs_dir
        self.say = say
        self.begun = time.monotonic()
        self.work: list[tuple[dt.datetime, dt.datetime]] = []
        self.own_seconds = 0.0
        self._told: set[tuple[str, str, str, int, str]] = set()

    def days(self, keys: Iterable[str], sources: Iterable[str]) -> list[Day]:
        """Take ``keys`` from their sources to activation; returns how each of them ended."""
        dag_ids = [f"ingest_{source}" for source in sources]
        days = [Day(key) for key in keys]
        for day in days:
            self._start(day, dag_ids)
        while any(day.state == "running" for day in days):
            time.sleep(POLL_SECONDS)
            going = [day for day in days if day.state == "running"]
            tasks = self._tasks(going)
            for day in going:
                self._advance(day, tasks, len(days) > 1)
        return days

    def _start(self, day: Day, dag_ids: list[str]) -> None:
        """Start a day's ingest runs.

        After a failed ingest the build still waits under this key, holding the assets that did
        arrive: the first arrival of what it lacks would start it beside the old ones. So what it
        has already is brought in anew first, and what it lacks comes last.
        """
        waiting = self.client.waiting_assets(names.BUILD, day.key)
        there = [dag for dag in dag_ids if waiting.get(f"raw_{dag.removeprefix('ingest_')}")]
        if there:
            self.say(f"{day.key}: an earlier run stopped half-way; its sources are read again")
            for dag_id in there:
                day.runs[dag_id] = self.client.trigger(dag_id, day.key)
            while not all(task["state"] in FINAL for task in self._tasks([day]).values()):
                time.sleep(POLL_SECONDS)
            tasks = self._tasks([day])
            if any(_has_failed(task, tasks) for task in tasks.values()):
                return  # what it lacks stays away, or the build would start on what is old
        for dag_id in dag_ids:
            if dag_id not in day.runs:
                day.runs[dag_id] = self.client.trigger(dag_id, day.key)

    def _tasks(self, days: list[Day]) -> dict[tuple[str, str, str], Task]:
        run_ids = [run_id for day in days for run_id in day.runs.values()]
        return {
            (task["dag_id"], task["dag_run_id"], _part(task)): task
            for task in self.client.tasks(run_ids)
        }

    def _advance(self, day: Day, tasks: Mapping[tuple[str, str, str], Task], several: bool) -> None:
        """Tell what is new about a day, and find the runs that have followed."""
        mine = [
            task for task in tasks.values() if day.runs.get(task["dag_id"]) == task["dag_run_id"]
        ]
        for task in sorted(mine, key=lambda task: task["end_date"] or "9999"):
            self._tell(task, f"{day.key}  " if several else "")
        if not all(task["state"] in FINAL for task in mine):
            return
        if any(_has_failed(task, tasks) for task in mine):
            day.state = "failed"
        elif names.ACTIVATE in day.runs:
            day.state = "activated"
        elif names.BUILD in day.runs:
            self._follow(day, names.ACTIVATE, {day.runs[names.BUILD]})
        elif mine:
            self._follow(day, names.BUILD, set(day.ingests().values()))

    def _follow(self, day: Day, dag_id: str, causes: set[str]) -> None:
        for run in self.client.runs(dag_id, partition_key_prefix_pattern=day.key):
            # Airflow's API fails on the events of a run that has not started yet.
            if run["start_date"] and causes & self.client.started_by(dag_id, run["dag_run_id"]):
                day.runs[dag_id] = run["dag_run_id"]
                return

    def _tell(self, task: Task, prefix: str) -> None:
        state = task["state"]
        news = (task["dag_id"], task["dag_run_id"], _part(task), task["try_number"], str(state))
        if news in self._told or state not in {"success", "failed", "up_for_retry"}:
            return
        self._told.add(news)
        name = task["dag_id"] if task["task_id"] == "extract" else _part(task)
        line = f"{time.monotonic() - self.begun:7.1f} s  {prefix}{name:<24}"
        if task["start_date"] and task["end_date"]:
            self.work.append((_moment(task, "start_date"), _moment(task, "end_date")))
        if state == "success":
            result = self.client.result(task)
            seconds = float(result.get("seconds", 0))
            self.own_seconds += seconds
            counts = ", ".join(
                f"{key} {value:,}"
                for key, value in result.items()
                if isinstance(value, int) and not isinstance(value, bool)
            )
            self.say(f"{line}{seconds:6.1f} s  {counts}".rstrip())
        elif state == "up_for_retry":
            self.say(f"{line}try {task['try_number']} failed, will be tried again: "
                     f"{self.error_of(task)}")  # fmt: skip
        else:
            self.say(f"{line}FAILED")

    def failures(self, days: Iterable[Day]) -> list[str]:
        """What finally failed in ``days``: task, error text, log."""
        return [
            f"{task['dag_id']}.{_part(task)} failed for {day.key}:\n"
            f"  {self.error_of(task)}\n  log: {_shown(self._log_path(task))}"
            for day in days
            if day.state == "failed"
            for task in self._tasks([day]).values()
            if task["state"] == "failed"
        ]

    def error_of(self, task: Task) -> str:
        """The error's text in the log of the last try, else the log's last complaint."""
        complaint = "the task's process was ended from outside"
        for line in self.client.log(task):
            for error in line.get("error_detail") or ():
                if error.get("exc_value"):
                    complaint = str(error["exc_value"])
        return complaint

    def _log_path(self, task: Task) -> Path:
        return (
            self.logs_dir
            / f"dag_id={task['dag_id']}"
            / f"run_id={task['dag_run_id']}"
            / f"task_id={task['task_id']}"
            / (f"map_index={task['map_index']}" if task.get("map_index", -1) >= 0 else "")
            / f"attempt={task['try_number']}.log"
        )

    def seconds_with_a_task(self) -> float:
        """Seconds in which at least one task was running, from its start to its end."""
        total, reached = 0.0, dt.datetime.min.replace(tzinfo=dt.UTC)
        for start, end in sorted(self.work):
            total += max(0.0, (end - max(start, reached)).total_seconds())
            reached = max(reached, end)
        return total


def _part(task: Mapping[str, Any]) -> str:
    """A task's name; one of several that were mapped has its own, such as ``deliver [crm]``."""
    if task.get("map_index", -1) < 0:
        return str(task["task_id"])
    return f"{task['task_id']} [{task.get('rendered_map_index') or task['map_index']}]"


def _has_failed(task: Task, tasks: Mapping[tuple[str, str, str], Task]) -> bool:
    """Whether a failure holds the day back: a stale source that policy accepts does not."""
    accepted = tasks.get((task["dag_id"], task["dag_run_id"], "mark_stale"))
    return task["state"] in FAILED and not (accepted and accepted["state"] == "success")


def _moment(record: Mapping[str, Any], field: str = "timestamp") -> dt.datetime:
    return dt.datetime.fromisoformat(record[field])


def _import_error(error: Mapping[str, Any]) -> str:
    trace = str(error["stack_trace"]).rstrip().splitlines()
    return f"dags/{Path(error['filename']).name} cannot be imported:\n  " + "\n  ".join(trace[-6:])


def _shown(path: Path) -> Path:
    """A path as a person in the project folder would write it."""
    return path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path
