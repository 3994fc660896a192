"""The one place where DAGs get their defaults: owner, retries, time limits, callbacks, tags.

What belongs here: what every DAG and task of customer360 has in common. What does not: what a DAG
does (``dags/``), or how a task calls the library (``customer360_airflow.tasks``).
"""

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from customer360_airflow import callbacks

if TYPE_CHECKING:
    from customer360.declarations import SourceDeclaration

OWNER = "customer-data"
"""Who answers for a DAG that no source system's owner answers for."""

RETRIES = 2
LONGEST_RETRY_DELAY = dt.timedelta(minutes=10)

WRITER_POOL = "warehouse_writer"
"""One slot: one process at a time writes DuckDB files (a writer blocks even readers of others)."""


TRAINING_POOL = "training"
"""One slot: a training takes a core and some gigabytes, and reads published files only."""


def source_pool(source: str) -> str:
    """Name of the pool that keeps a source system from being read by too many tasks at once."""
    return f"source_{source}"


def pools(sources: Iterable["SourceDeclaration"]) -> dict[str, tuple[int, str]]:
    """Pools that a deployment must have: name -> slots and description."""
    return {
        WRITER_POOL: (1, "One process at a time writes the warehouse files."),
        TRAINING_POOL: (1, "One model at a time is trained."),
        **{
            source_pool(source.name): (source.at_once, f"Tasks that read {source.name} at once.")
            for source in sources
        },
    }


QUICK = dt.timedelta(minutes=10)
LONG = dt.timedelta(hours=1)
"""Time limits of a task: bookkeeping, and work in proportion to the data."""


LATEST = dt.timedelta(hours=2)
"""After so long in the queue or at work, somebody is told that a run is late."""


def deadline(after: dt.timedelta = LATEST) -> DeadlineAlert:
    """Tells the notify webhook when a run has not ended in time; the run itself goes on."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=after,
        callback=SyncCallback("customer360_airflow.callbacks.tell_deadline_missed"),
    )


def default_args(owner: str = OWNER) -> dict[str, Any]:
    """Arguments that every task starts from.

    The first delay before a retry is the deployment's (``[core] default_task_retry_delay``): a
    night's run waits for a source to come back, a person at a laptop does not. From there it
    doubles.
    """
    return {
        "owner": owner,
        "retries": RETRIES,
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": LONGEST_RETRY_DELAY,
        "execution_timeout": LONG,
        "on_failure_callback": callbacks.record_failure,
        "on_retry_callback": callbacks.record_retry,
    }


def customer360_dag(
    dag_id: str,
    *,
    schedule: Any,
    description: str,
    documentation: str | None,
    owner: str = OWNER,
    tags: Iterable[str] = (),
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
    deadline: DeadlineAlert | None = None,
) -> DAG:
    """A DAG with the house's defaults, to be used as a context manager.

    Args:
        dag_id: name of the DAG.
        schedule: a timetable.
        description: one line for the list of DAGs.
        documentation: the DAG file's docstring; it is shown with the DAG.
        owner: who is asked when it fails.
        tags: added to ``customer360``.
        start: first moment at which the schedule may start a run; None lets it begin with the
            first moment after the DAG is switched on.
        end: last moment at which the schedule may start a run.
        deadline: who is told when a run takes too long.
    """
    return DAG(
        dag_id,
        schedule=schedule,
        description=description,
        doc_md=documentation,
        default_args=default_args(owner),
        tags={"customer360", *tags},
        start_date=start,
        end_date=end,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=True,
        deadline=deadline,
    )
