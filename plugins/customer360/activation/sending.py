"""One destination, from a published snapshot to what its receiver has taken.

What belongs here: the order of things that makes a delivery safe, and nothing of any one kind of
receiver. What does not: the difference (``plan``), the ledger (``outbox``), transport
(``receivers``).

The order: settle what a kill cut off; judge who may be sent, from the newest consents; compare with
what the receiver holds; let the guard look at it; then, sending by sending: look whether somebody
has stopped all sending or consents have changed, write the intent, send, write the result.
"""

import datetime as dt
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select

from customer360 import state
from customer360.activation import outbox
from customer360.activation import plan as planning
from customer360.activation.destinations import (
    DatabaseDestination,
    FilesDestination,
    MailDestination,
    one_destination,
)
from customer360.activation.job import Delivered, Job, check_switch, open_job
from customer360.activation.outbox import Outbox
from customer360.activation.receivers.mail import Mailer
from customer360.activation.receivers.webhook import Webhook
from customer360.activation.to_files import deliver_files
from customer360.activation.to_parcels import Letters, deliver_in_parcels
from customer360.activation.to_tables import deliver_to_table
from customer360.config import Config
from customer360.connections import resolve
from customer360.lock import file_lock
from customer360.settings import Settings

LOCK_SECONDS = 60


def dry_run(
    settings: Settings,
    engine: Engine,
    config: Config,
    name: str,
    snapshot: Path,
    as_of: dt.date,
    run_id: str,
    out: Path | None = None,
) -> tuple[planning.Plan, list[dict[str, Any]]]:
    """What would be sent now, and its first rows; nothing is written anywhere but to ``out``."""
    with _locked(settings, name), Outbox.open(settings, engine, name) as book:
        job = open_job(settings, engine, config, name, snapshot, as_of, run_id, book)
        plan = planning.make(book, name, job.destination, as_of)
        if out is not None:
            planning.write_rows(book.connection, plan.shape, out)
        rows = book.connection.execute(
            "select * exclude (received_hash, key_hash, quick, received_quick, own_attempts, "
            "own_reason), own_reason as because from plan limit 20"
        )
        names = [column[0] for column in rows.description or []]
        return plan, [dict(zip(names, row, strict=True)) for row in rows.fetchall()]


def deliver(
    settings: Settings,
    engine: Engine,
    config: Config,
    name: str,
    snapshot: Path,
    as_of: dt.date,
    run_id: str,
) -> Delivered:
    """Send what ``name`` does not hold yet; may be called again after any failure or kill.

    Raises:
        SendingStoppedError: the switch is off, or a guard stopped it: a person has to act.
        ReceiverUnavailableError: nobody answers; the next attempt goes on where this one ended.
        DeliveryError: the receiver is not what was declared.
        BusyError: the run has been overtaken, or another process sends there.
    """
    if not one_destination(settings, name).is_on:
        return Delivered(name, "off", "is_on: false in destinations.yml")
    check_switch(engine)
    with _locked(settings, name), Outbox.open(settings, engine, name) as book:
        state.check_token(engine, run_id)
        later = _later_day(engine, name, as_of)
        if later:
            said = f"the receiver holds {later}: {as_of} would take it back"
            return Delivered(name, "held_back", said)
        job = open_job(settings, engine, config, name, snapshot, as_of, run_id, book)
        return _deliver(job)


def _deliver(job: Job) -> Delivered:
    destination = job.destination
    if isinstance(destination, FilesDestination):
        return deliver_files(job, destination)
    connection = resolve(job.settings, destination.connection)
    if isinstance(destination, DatabaseDestination):
        return deliver_to_table(job, destination)
    if isinstance(destination, MailDestination):
        return deliver_in_parcels(job, Letters(destination, Mailer(connection)), destination)
    receiver = Webhook(job.name, destination, connection)
    try:
        return deliver_in_parcels(job, receiver, destination)
    finally:
        receiver.close()


def _later_day(engine: Engine, name: str, as_of: dt.date) -> dt.date | None:
    """The latest day after ``as_of`` of which the receiver has taken anything."""
    sendings, runs = outbox.sendings, state.runs
    query = (
        select(func.max(runs.c.as_of))
        .join_from(sendings, runs, sendings.c.run_id == runs.c.run_id)
        .where(sendings.c.destination == name, sendings.c.status == "acknowledged")
    )
    with engine.begin() as connection:
        newest: dt.date | None = connection.execute(query).scalar()
    return newest if newest and newest > as_of else None


def _locked(settings: Settings, name: str) -> Any:
    """One process at a time sends to a destination."""
    return file_lock(settings.data_dir / "outbox" / f".{name}.lock", f"delivery to {name}",
                     LOCK_SECONDS)  # fmt: skip
