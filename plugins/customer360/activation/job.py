"""A delivery's material: what it knows, the plan of it, and the bookkeeping that each kind shares.

What belongs here: what ``to_tables``, ``to_files`` and ``to_parcels`` have in common. What does
not: the order of things (``sending``), the difference (``plan``), the ledger (``outbox``).
"""

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sqlalchemy import Engine

from customer360 import state
from customer360.activation import consents, stops
from customer360.activation import plan as planning
from customer360.activation.destinations import (
    Destination,
    Destinations,
    load_destinations,
    one_destination,
)
from customer360.activation.outbox import Outbox
from customer360.activation.plan import count_rows
from customer360.config import Config
from customer360.engagement import hourly
from customer360.exceptions import SendingStoppedError
from customer360.notify import Finding
from customer360.settings import Settings
from customer360.warehouse import literal


@dataclass
class Delivered:
    """What a run did for a destination.

    Attributes:
        status: ``delivered``; ``unchanged`` (nothing was to be told); ``held_back`` (the receiver
            knows a later day); ``off``.
        counts: change -> rows that the receiver has taken.
        failed, dead, unknown: rows that it has not, or perhaps not, taken in this run.
        held: reason -> rows that nothing allows to be sent.
        reasons: why rows failed -> how many.
    """

    destination: str
    status: str = "delivered"
    message: str = ""
    rows: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(planning.CHANGES, 0))
    failed: int = 0
    dead: int = 0
    unknown: int = 0
    held: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Counts and words, as a step records them."""
        return {
            "destination": self.destination,
            "status": self.status,
            "message": self.message,
            "rows": self.rows,
            **self.counts,
            "failed": self.failed,
            "dead": self.dead,
            "unknown": self.unknown,
            "held": self.held,
            "reasons": self.reasons,
        }

    def findings(self) -> list[Finding]:
        """What a person should hear of."""
        told = []
        for count, what in (
            (self.failed, "were not taken and will be tried again"),
            (self.dead, "failed too often: customer360 delivery replay"),
            (self.unknown, "may have arrived or not: customer360 delivery confirm"),
        ):
            if count:
                said = f"{self.destination}: {count} rows {what}"
                told.append(Finding("delivery", self.destination, said))
        return told


@dataclass(frozen=True)
class Job:
    """All that one sending needs to know."""

    settings: Settings
    engine: Engine
    config: Config
    declared: Destinations
    name: str
    destination: Destination
    snapshot: Path
    as_of: dt.date
    run_id: str
    built_at: str
    book: Outbox

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The image's, with the snapshot attached."""
        return self.book.connection


def open_job(
    settings: Settings,
    engine: Engine,
    config: Config,
    name: str,
    snapshot: Path,
    as_of: dt.date,
    run_id: str,
    book: Outbox,
) -> Job:
    """Attach the snapshot and judge who may be sent."""
    book.connection.execute(f"attach {literal(snapshot)} as snapshot (read_only)")
    destination = one_destination(settings, name)
    hours = hourly.planned_since(settings, as_of) if destination.hourly else []
    planning.open_source(book.connection, name, destination, hours)
    run = state.get_run(engine, run_id)
    built_at = run["started_at"].isoformat() if run else ""
    job = Job(
        settings=settings,
        engine=engine,
        config=config,
        declared=load_destinations(settings),
        name=name,
        destination=destination,
        snapshot=snapshot,
        as_of=as_of,
        run_id=run_id,
        built_at=built_at,
        book=book,
    )
    judge(job)
    return job


def judge(job: Job) -> None:
    """From the newest consents; only purposes that ask for one need them."""
    needed = [job.destination.purpose, *job.destination.columns.values()]
    if any(job.declared.purposes[purpose].basis == "consent" for purpose in needed):
        consents.bring_up_to_date(job.connection, job.settings, job.config, job.built_at)
    planning.judge(job.connection, job.book, job.declared, job.destination)


def make_plan(job: Job) -> tuple[planning.Plan, Delivered]:
    """Make the plan, note what is held, and let the guard stop what a person should see."""
    plan = planning.make(job.book, job.name, job.destination, job.as_of)
    holds = planning.new_holds()
    if count_rows(job.connection, f"({holds})"):
        job.connection.execute(f"create or replace temp table new_holds as {holds}")
        job.book.enter("from new_holds")
        job.book.keep("from new_holds")
    if plan.stopped:
        stops.stop_parts(job.engine, job.name, plan.stopped)
        # What nothing allows to stay leaves all the same.
        job.connection.execute("delete from plan where change <> 'removed' or own_reason is null")
        job.connection.execute("create or replace temp table plan as from plan order by all")
    said = Delivered(job.name, rows=plan.wanted, held=plan.held)
    return plan, said


def finish(job: Job, plan: planning.Plan, said: Delivered) -> Delivered:
    """What the run did; where the guard stopped a part of it, a person is asked.

    Raises:
        SendingStoppedError: the guard has stopped a part.
    """
    if plan.stopped:
        parts = "; ".join(
            f"{part or 'all rows'}: {before:,} rows before, {now:,} now"
            for part, before, now in plan.stopped
        )
        text = (
            f"destination {job.name} waits for a person: {parts}. Look at it (customer360 activate "
            f"--dry-run {job.name}); if it is meant: customer360 delivery confirm {job.name}"
        )
        raise SendingStoppedError(text, [Finding("delivery", job.name, text)])
    confirmed = stops.stopped_parts(job.engine, job.name)
    if confirmed:
        stops.stop_parts(job.engine, job.name, ())
    if not plan.rows and not said.failed:
        said.status, said.message = "unchanged", "the receiver holds it all"
    return said


def age(failures: list[dict[str, Any]], give_up_after: int) -> None:
    """Count the run against each row that failed; one that has failed in so many is dead."""
    for row in failures:
        if row["status"] == "failed" and row.get("counts", True):
            row["attempts"] += 1
            if row["attempts"] >= give_up_after:
                row["status"] = "dead"


def planned_rows(job: Job, where: str) -> list[dict[str, Any]]:
    """Rows of the plan as the ledger names them."""
    rows = job.connection.execute(
        f"select rowid, customer_id, object, own_attempts from plan {where}"
    ).fetchall()
    names = ("place", "customer_id", "object", "attempts")
    return [dict(zip(names, row, strict=True)) for row in rows]


def note_exceptions(job: Job, own: list[dict[str, Any]], *, add: bool = False) -> None:
    """The temporary table ``exceptions``: rows that do not follow their sending."""
    if not add:
        job.connection.execute(
            "create or replace temp table exceptions (place bigint, customer_id varchar, "
            "object varchar, status varchar, attempts integer, reason varchar)"
        )
    if not own:
        return
    kinds = {"place": pa.int64(), "customer_id": pa.string(), "object": pa.string(),
             "status": pa.string(), "attempts": pa.int32(), "reason": pa.string()}  # fmt: skip
    columns = {name: pa.array([row.get(name) for row in own], kind) for name, kind in kinds.items()}
    part = pa.table(columns)
    job.connection.register("part", part)
    job.connection.execute("insert into exceptions select * from part")
    job.connection.unregister("part")


def keep(job: Job, condition: str, *, seal: bool = True) -> None:
    """Bring the image in step: rows of the plan that were sent, but for exceptions."""
    job.book.keep(
        "select planned.customer_id, planned.object, change, payload_hash, "
        "case when coalesce(exceptions.status, 'acknowledged') = 'acknowledged' "
        "then payload_hash else received_hash end as received_hash, "
        "coalesce(exceptions.status, 'acknowledged') as status, "
        "coalesce(exceptions.attempts, planned.own_attempts) as attempts, "
        "coalesce(exceptions.reason, planned.own_reason) as reason, key_hash, "
        "case when coalesce(exceptions.status, 'acknowledged') = 'acknowledged' "
        "then quick else received_quick end as received_quick "
        "from (select rowid as place, * from plan) as planned "
        "left join exceptions on planned.customer_id = exceptions.customer_id "
        f"and planned.object = exceptions.object where {condition}",
        seal=seal,
    )


def count_outcome(job: Job, said: Delivered) -> None:
    """Count what the run did, from what the image now says of the plan's rows."""
    for change, status, reason, count in job.connection.execute(
        "select changed.change, changed.status, changed.reason, count(*) from changed group by all"
    ).fetchall():
        if status == "acknowledged":
            said.counts[change] += count
        elif status == "intended":
            said.failed += count
            said.reasons["no answer yet"] = said.reasons.get("no answer yet", 0) + count
        elif status in ("failed", "dead", "unknown"):
            setattr(said, status, getattr(said, status) + count)
            said.reasons[reason or "no reason"] = said.reasons.get(reason or "no reason", 0) + count
        elif status == "held":
            said.held[reason] = said.held.get(reason, 0) + count


def check_switch(engine: Engine) -> None:
    """See that nobody has stopped all sending.

    Raises:
        SendingStoppedError: somebody has.
    """
    stopped = stops.why_stopped(engine)
    if stopped:
        text = (
            f"all sending was stopped on {stopped['at']:%Y-%m-%d %H:%M} UTC: {stopped['because']}. "
            "customer360 sending start lets it go on; nothing is lost"
        )
        raise SendingStoppedError(text, [Finding("delivery", None, text)])
