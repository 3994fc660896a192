"""Thin adapters: a task calls one step of ``customer360.pipeline`` and passes counts and ids on.

What belongs here: how a run of a DAG becomes arguments of the library, and which errors are worth
a retry. What does not: any work on data. The library is imported when a task runs, not when a DAG
file is parsed.
"""

import contextlib
import datetime as dt
import hashlib
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)

from customer360.exceptions import (
    ConfigError,
    Customer360Error,
    GateError,
    ModelError,
    SchemaDriftError,
)
from customer360.settings import Settings, load_settings
from customer360_airflow import callbacks, names, reach, schedules

NO_USE_IN_RETRYING = (ConfigError, GateError, ModelError, SchemaDriftError)
"""The same input gives the same error: a person has to act first."""

BUGS = (AttributeError, ImportError, NameError)
"""Errors of the code itself, not worth a retry either."""

SAFE_TO_QUOTE = (*BUGS, MemoryError, OSError)
"""Unexpected errors whose text names code or files, never values of rows."""


PATIENCE_SECONDS = 300
"""How long a build waits for the exports of the one before."""


class RefusedError(AirflowFailException):
    """A gate refused; its findings are what a person is told."""

    def __init__(self, text: str, findings: list[dict[str, Any]]) -> None:
        super().__init__(text)
        self.findings = findings


class StepFailedError(Exception):
    """A step failed in a way that nobody foresaw; the text says where, and quotes no data."""


def as_of_day(dag_run: Any) -> dt.date:
    """The as-of day of a run: its partition key.

    Raises:
        AirflowFailException: the run has no key, or one that is not a day.
    """
    key = dag_run.partition_key
    try:
        return dt.date.fromisoformat(key or "")
    except ValueError:
        raise AirflowFailException(
            f"This run of {dag_run.dag_id} has the partition key {key!r}; it needs a day. "
            "Start it with a partition key such as 2017-12-31."
        ) from None


def run_id_of(dag_run: Any) -> str:
    """The library's run id for a run of a DAG: the same on every retry, safe as a file name.

    As-of day, moment of the run's creation (UTC) and six digits that keep two runs of the same
    second apart, such as ``2017-12-31_20261122T010203_5f2c9a``: ids of one as-of day sort by time.
    """
    digest = hashlib.sha256(f"{dag_run.dag_id}/{dag_run.run_id}".encode()).hexdigest()[:6]
    moment = dag_run.run_after.astimezone(dt.UTC)
    return f"{as_of_day(dag_run)}_{moment:%Y%m%dT%H%M%S}_{digest}"


@contextlib.contextmanager
def told_plainly() -> Iterator[None]:
    """Let errors out so that logs hold what mends them and no personal data.

    Errors of ours keep their text, without the chain of causes that it was made from. Of all other
    errors only the kind and the place get out: DuckDB, dbt and Great Expectations quote values.
    """
    try:
        yield
    except AirflowException:
        raise
    except GateError as error:
        raise RefusedError(str(error), [asdict(finding) for finding in error.findings]) from None
    except NO_USE_IN_RETRYING as error:
        raise AirflowFailException(str(error)) from None
    except Customer360Error as error:
        raise type(error)(*error.args) from None
    except Exception as error:  # noqa: BLE001, whatever it is: its text must not reach the log
        text = f": {error}" if isinstance(error, SAFE_TO_QUOTE) else ""
        places = "\n".join(
            f"  {frame.filename}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)[1:]
        )
        kind = AirflowFailException if isinstance(error, BUGS) else StepFailedError
        raise kind(
            f"unexpected {type(error).__qualname__}{text} at\n{places}\n"
            "(the text of such errors is kept back where it may quote rows)"
        ) from None


class Step(BaseOperator):
    """A task that runs one function of ``customer360.pipeline``.

    Args:
        step: name of the function; also the task id unless ``task_id`` is given.
        layer: for ``audit``: raw, marts or scores.
    """

    def __init__(self, *, step: str, layer: str | None = None, **kwargs: Any) -> None:
        super().__init__(**{"task_id": f"{step}_{layer}" if layer else step, **kwargs})
        self.step = step
        self.layer = layer

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step; its counts and ids, and its own seconds, become the task's XCom."""
        started = time.monotonic()
        with told_plainly():
            result = self.run_step(load_settings(), as_of_day(context["dag_run"]), context)
        callbacks.tell(context, result.get("findings", ()))
        return {**result, "seconds": round(time.monotonic() - started, 2)}

    def run_id(self, context: Context) -> str:
        """The library's run id that this task works for."""
        return run_id_of(context["dag_run"])

    def run_step(self, settings: Settings, as_of: dt.date, context: Context) -> dict[str, Any]:
        """Call the library."""
        from customer360 import pipeline

        arguments = {"layer": self.layer} if self.layer else {}
        function = getattr(pipeline, self.step)
        result: dict[str, Any] = function(settings, as_of, self.run_id(context), **arguments)
        return result


class ExtractStep(Step):
    """Brings in what ``source`` has for the as-of day."""

    def __init__(self, *, source: str, **kwargs: Any) -> None:
        super().__init__(step="extract", **kwargs)
        self.source = source

    def run_step(self, settings: Settings, as_of: dt.date, context: Context) -> dict[str, Any]:
        """Call the library; the asset's event says that it is fresh."""
        from customer360 import pipeline

        reach.lend()
        result = pipeline.extract(settings, self.source, as_of)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {"status": "fresh"}
        return result


def hour_of(dag_run: Any) -> dt.datetime:
    """The hour, on the company's clock, that ends what a run works on: its partition key.

    Raises:
        AirflowFailException: the run has no key, or one that is no hour.
    """
    key = dag_run.partition_key
    try:
        return dt.datetime.strptime(key or "", schedules.HOUR_FORMAT)  # noqa: DTZ007, the company's own
    except ValueError:
        raise AirflowFailException(
            f"This run of {dag_run.dag_id} has the partition key {key!r}; it needs "
            "an hour of the company's day. Start it with a key such as 2026-07-01T14."
        ) from None


class AnswerHourStep(BaseOperator):
    """Answers what customers did before the hour that is the run's partition key."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Call the library."""
        from customer360 import pipeline

        started = time.monotonic()
        hour = hour_of(context["dag_run"])
        with told_plainly():
            result = pipeline.answer_hour(load_settings(), hour)
        return {**result, "seconds": round(time.monotonic() - started, 2)}


class DeliverHourStep(BaseOperator):
    """Sends one destination what the hour has answered; mapped over those that are hourly."""

    template_fields = ("destination",)

    def __init__(self, *, destination: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.destination = destination

    def execute(self, context: Context) -> dict[str, Any]:
        """Call the library; receivers are reached by Airflow's Connections."""
        from customer360 import pipeline

        started = time.monotonic()
        hour = hour_of(context["dag_run"])
        reach.lend()
        with told_plainly():
            result = pipeline.deliver_hour(load_settings(), hour, self.destination)
        return {**result, "seconds": round(time.monotonic() - started, 2)}


class ExtractHourStep(ExtractStep):
    """Brings in what ``source`` has before the hour that is the run's partition key."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Call the library."""
        from customer360 import pipeline

        started = time.monotonic()
        hour = hour_of(context["dag_run"])
        reach.lend()
        with told_plainly():
            result = pipeline.extract_hour(load_settings(), self.source, hour)
        return {**result, "seconds": round(time.monotonic() - started, 2)}


class MarkStaleStep(ExtractStep):
    """Lets the day go on without ``source`` when it could not be read, if policy allows it."""

    def __init__(self, *, source: str, **kwargs: Any) -> None:
        super().__init__(
            source=source, **{"task_id": "mark_stale", "trigger_rule": "one_failed", **kwargs}
        )

    def run_step(self, settings: Settings, as_of: dt.date, context: Context) -> dict[str, Any]:
        """Call the library; the asset's event says that it is stale."""
        from customer360 import pipeline

        result = pipeline.mark_stale(settings, self.source, as_of)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {
                "status": "stale",
                "stale_days": result["stale_days"],
            }
        return result


class BeginStep(Step):
    """Begins a run when the snapshot before has been activated.

    A run that begins overtakes the one before it, which then may write nothing any more. Among
    several days in a queue that would cut off each day's exports. Airflow creates the run that
    activates before it starts the next run of the build, so that looking for it is enough.
    """

    def run_step(self, settings: Settings, as_of: dt.date, context: Context) -> dict[str, Any]:
        """Wait, but not for ever (activation may be switched off), then call the library."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while context["ti"].get_dr_count(names.ACTIVATE, states=["queued", "running"]):
            if time.monotonic() > deadline:
                self.log.warning("%s has not ended; beginning all the same", names.ACTIVATE)
                break
            time.sleep(1)
        return super().run_step(settings, as_of, context)


class PublishStep(Step):
    """Publishes, and tells the snapshot's asset which run did."""

    def run_step(self, settings: Settings, as_of: dt.date, context: Context) -> dict[str, Any]:
        """Call the library; the asset's event carries the run id to activation."""
        result = super().run_step(settings, as_of, context)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {"run_id": self.run_id(context)}
        return result


class ActivateStep(Step):
    """Works for the run that published the snapshot which started this run."""

    def run_step(self, settings: Settings, as_of: dt.date, context: Context) -> dict[str, Any]:
        """Call the library, which may write to object storages."""
        reach.lend()
        return super().run_step(settings, as_of, context)

    def run_id(self, context: Context) -> str:
        """The publishing run's id, from the newest event of the snapshot.

        Raises:
            AirflowFailException: the run was not started by a published snapshot.
        """
        events = [
            event
            for asset_events in context["triggering_asset_events"].values()
            for event in asset_events
            if "run_id" in event.extra
        ]
        if not events:
            raise AirflowFailException(
                "This run was not started by a published snapshot. Run build_customer_360 for "
                "the day; activation follows by itself."
            )
        newest = max(events, key=lambda event: event.timestamp)
        return str(newest.extra["run_id"])


class DeliverStep(ActivateStep):
    """Sends one destination what it does not hold yet; mapped over the declared destinations."""

    template_fields = ("destination",)

    def __init__(self, *, destination: str, **kwargs: Any) -> None:
        super().__init__(step="deliver", **kwargs)
        self.destination = destination

    def run_step(self, settings: Settings, as_of: dt.date, context: Context) -> dict[str, Any]:
        """Call the library; receivers are reached by Airflow's Connections."""
        from customer360 import pipeline

        reach.lend()
        return pipeline.deliver(settings, as_of, self.run_id(context), self.destination)


class TrainStep(ActivateStep):
    """Trains a challenger of one model on the snapshot that started this run, if it is due.

    Args:
        model: see ``customer360.scoring.scores``.
        memory_gib: what the task's process may take beyond what it has; a training that wants more
            fails with a message, and the champion goes on scoring.
    """

    def __init__(self, *, model: str, memory_gib: float, **kwargs: Any) -> None:
        super().__init__(step="train", task_id=f"train_{model}", **kwargs)
        self.model = model
        self.memory_gib = memory_gib

    def run_step(self, settings: Settings, as_of: dt.date, context: Context) -> dict[str, Any]:
        """Call the library; a model that is not due is skipped."""
        from customer360 import pipeline

        with memory_limit(self.memory_gib):
            result = pipeline.train(settings, as_of, self.run_id(context), self.model)
        if result["due"] is None:
            raise AirflowSkipException(f"{self.model} was trained within the week, nothing drifted")
        return result


@contextlib.contextmanager
def memory_limit(gib: float) -> Iterator[None]:
    """Let this process take so much more private memory, and say so plainly where that is short."""
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = pages * resource.getpagesize() + int(gib * 2**30)
    resource.setrlimit(
        resource.RLIMIT_DATA,
        (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard),
    )
    try:
        yield
    except MemoryError:
        raise AirflowFailException(
            f"the training wants more than its {gib:g} GiB (customer360.scoring.limits); the "
            "champion goes on scoring. Give it more, or lower MAX_TRAINING_ROWS."
        ) from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
