"""What happens when a task fails: one line in its log and one count, without personal data.

What belongs here: callbacks of tasks. What does not: alerts about customers (``activation``).
"""

import logging
from collections.abc import Mapping
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
    """The task has finally failed."""
    _record("task_failed", context)


def record_retry(context: Mapping[str, Any]) -> None:
    """The task has failed and will be tried again."""
    _record("task_retried", context)
