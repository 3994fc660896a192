"""What happens when a task fails or finds something: a line in its log, a count, a notification.

All without personal data.

What belongs here: callbacks of tasks. What does not: alerts about customers (``activation``).
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk.observability.stats import incr

log = logging.getLogger(__name__)


def _record(what: str, context: Mapping[str, Any]) -> None:
    task = context["ti"]
    error = context.get("exception")
    incr(f"customer360.{what}", tags={"dag_id": task.dag_id, "task_id": task.task_id})
    # The error's text is not repeated: the adapter in tasks.py decides what of it may be shown.
    log.error(
        "%s: %s.%s for %s, try %s, %s",
        what,
        task.dag_id,
        task.task_id,
        context["dag_run"].partition_key,
        task.try_number,
        type(error).__name__ if isinstance(error, BaseException) else "ended from outside",
    )


def record_failure(context: Mapping[str, Any]) -> None:
    """The task has finally failed: what its gate found is told, else that it failed."""
    _record("task_failed", context)
    task, error = context["ti"], context.get("exception")
    kind = type(error).__name__ if isinstance(error, BaseException) else "ended from outside"
    failed = {
        "kind": "task_failed",
        "source": getattr(context.get("task"), "source", None),
        "text": f"{task.dag_id}.{task.task_id} failed at try {task.try_number}: {kind}",
    }
    tell(context, getattr(error, "findings", ()) or [failed])


def record_retry(context: Mapping[str, Any]) -> None:
    """The task has failed and will be tried again."""
    _record("task_retried", context)


def tell(context: Mapping[str, Any], findings: Iterable[Mapping[str, Any]]) -> None:
    """Post findings (kind, source, text) where policies.yml says; never fails the task."""
    found = list(findings)
    if not found:
        return
    from customer360 import connections, notify
    from customer360.settings import load_settings
    from customer360_airflow.reach import airflow_connection

    run = context["dag_run"]
    connections.use(airflow_connection)
    try:
        notify.send(
            load_settings(),
            [notify.Finding(**finding) for finding in found],
            f"{run.dag_id}/{run.run_id}",
            run.partition_key,
        )
    except Exception as error:  # noqa: BLE001, whatever a notification meets, the task goes on
        log.warning("nobody could be notified: %s", type(error).__name__)


def tell_deadline_missed(context: Mapping[str, Any], **_: Any) -> None:
    """A run has not ended by its deadline: a person should look, the run goes on."""
    from customer360 import connections, notify
    from customer360.settings import load_settings
    from customer360_airflow.reach import airflow_connection

    run = context.get("dag_run") or {}
    dag_id, run_id = (
        (run.get("dag_id"), run.get("dag_run_id") or run.get("run_id"))
        if isinstance(run, Mapping)
        else (run.dag_id, run.run_id)
    )
    log.error("deadline missed: %s", dag_id)
    connections.use(airflow_connection)
    text = f"{dag_id} has not ended by its deadline; it goes on"
    notify.send(
        load_settings(), [notify.Finding("task_failed", None, text)], f"{dag_id}/{run_id}", None
    )
