"""One destination, from a published snapshot to what its receiver has taken.

What belongs here: the order of things that makes a delivery safe, and nothing of any one kind of
receiver. What does not: the difference (``plan``), the ledger (``outbox``), transport
(``receivers``).

The order: settle what a kill cut off; judge who may be sent, from the newest consents; compare with
what the receiver holds; let the guard look at it; then, sending by sending: look whether somebody
has stopped all sending or consents have changed, write the intent, send, write the result.
"""

import datetime as dt
import json
import logging
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Engine, func, select

from customer360 import state
from customer360.activation import consents, exports, ledger, outbox
from customer360.activation import lawful as lawful_rows
from customer360.activation import plan as planning
from customer360.activation.declared import Export
from customer360.activation.destinations import (
    DatabaseDestination,
    Destination,
    Destinations,
    FilesDestination,
    MailDestination,
    WebhookDestination,
    load_destinations,
    one_destination,
)
from customer360.activation.files import sha256
from customer360.activation.outbox import Outbox
from customer360.activation.receivers import folder
from customer360.activation.receivers.mail import Letter, Mailer
from customer360.activation.receivers.webhook import Parcel, Reply, Webhook
from customer360.config import Config
from customer360.connections import resolve
from customer360.exceptions import (
    Customer360Error,
    ReceiverUnavailableError,
    SendingStoppedError,
)
from customer360.lock import file_lock
from customer360.notify import Finding
from customer360.settings import Settings
from customer360.warehouse import literal, quote

log = logging.getLogger(__name__)

LOCK_SECONDS = 60
WINDOW_ROWS = 1000
"""Rows whose intents are written together; so many at most are in doubt after a kill."""

Say = Callable[[str], None]


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
    run = state.get_run(engine, run_id)
    built_at = run["started_at"].isoformat() if run else ""
    job = Job(
        settings=settings,
        engine=engine,
        config=config,
        declared=load_destinations(settings),
        name=name,
        destination=one_destination(settings, name),
        snapshot=snapshot,
        as_of=as_of,
        run_id=run_id,
        built_at=built_at,
        book=book,
    )
    _judge(job)
    return job


def _judge(job: Job) -> None:
    """From the newest consents; only purposes that ask for one need them."""
    needed = [job.destination.purpose, *job.destination.columns.values()]
    if any(job.declared.purposes[purpose].basis == "consent" for purpose in needed):
        consents.bring_up_to_date(job.connection, job.settings, job.config, job.built_at)
    planning.judge(job.connection, job.book, job.declared, job.destination)


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
        plan = planning.make(book, name, job.destination)
        if out is not None:
            planning.write_rows(book.connection, plan.shape, out)
        rows = book.connection.execute("select * exclude (received_hash) from plan limit 20")
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
    _check_switch(engine)
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
    if isinstance(destination, DatabaseDestination):
        return _deliver_to_table(job, destination)
    if isinstance(destination, WebhookDestination):
        receiver = Webhook(job.name, destination, resolve(job.settings, destination.connection))
        try:
            return _deliver_in_parcels(job, receiver, destination)
        finally:
            receiver.close()
    if isinstance(destination, MailDestination):
        return _deliver_in_parcels(
            job, Letters(destination, Mailer(resolve(job.settings, destination.connection))),
            destination,
        )  # fmt: skip
    return _deliver_files(job, destination)


def _plan(job: Job) -> tuple[planning.Plan, Delivered]:
    """Make the plan, note what is held, and let the guard stop what a person should see."""
    plan = planning.make(job.book, job.name, job.destination)
    holds = planning.new_holds()
    if planning._count(job.connection, f"({holds})"):
        job.connection.execute(f"create or replace temp table new_holds as {holds}")
        job.book.enter("from new_holds")
        job.book.keep("from new_holds")
    if plan.stopped:
        outbox.stop_parts(job.engine, job.name, plan.stopped)
        # What nothing allows to stay leaves all the same.
        job.connection.execute("delete from plan where change <> 'removed' or reason is null")
        job.connection.execute("create or replace temp table plan as from plan order by all")
    said = Delivered(job.name, rows=plan.wanted, held=plan.held)
    return plan, said


def _finish(job: Job, plan: planning.Plan, said: Delivered) -> Delivered:
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
    confirmed = outbox.stopped_parts(job.engine, job.name)
    if confirmed:
        outbox.stop_parts(job.engine, job.name, ())
    if not plan.rows:
        said.status, said.message = "unchanged", "the receiver holds it all"
    return said


# --- one transaction ----------------------------------------------------------------------------


def _open_table(job: Job, destination: DatabaseDestination) -> Any:
    shape = planning.find_shape(job.connection, job.name, destination)
    connection = resolve(job.settings, destination.connection)
    if destination.kind == "postgres":
        from customer360.activation.receivers.postgres import PostgresTable

        return PostgresTable(job.name, destination, connection, shape)
    from customer360.activation.receivers.mysql import MySqlTable

    return MySqlTable(job.name, destination, connection, shape)


def _deliver_to_table(job: Job, destination: DatabaseDestination) -> Delivered:
    book = job.book
    # Planned first: a receiver is not asked where there is nothing to say.
    open_sendings = book.cut_off()
    table = None
    try:
        if open_sendings:
            table = _open_table(job, destination)
            for sending in open_sendings:
                arrived = table.has_received(sending["idempotency_key"])
                status = "acknowledged" if arrived else "failed"
                answer = "committed before it was cut off" if arrived else "cut off, not committed"
                book.answer([(sending["sending_id"], status, 1, answer)])
            book.rebuild()
        plan, said = _plan(job)
        rows = planning._count(job.connection, "plan")
        if rows:
            table = table or _open_table(job, destination)
            _merge(job, table, rows, said)
        return _finish(job, plan, said)
    finally:
        if table is not None:
            table.close()


def _merge(job: Job, table: Any, rows: int, said: Delivered) -> None:
    """Intent, transaction, result.

    The ledger and its image are written while the server stages and merges: nothing has an effect
    before the commit, and that waits for the intent.
    """
    book, key = job.book, outbox.new_key()
    staged = table.rows(job.connection)
    with ThreadPoolExecutor(1) as beside:
        merging = beside.submit(table.merge, staged, key)
        ((sending_id, _),) = book.intend(
            job.run_id,
            [(rows, None)],
            "select customer_id, object, change, payload_hash, received_hash, attempts, reason, "
            "0 as parcel from plan",
            [key],
        )
        _note_exceptions(job, [])
        _keep(job, "true", seal=False)
    try:
        foreign = merging.result()
        _check_switch(job.engine)
        state.check_token(job.engine, job.run_id)
    except Exception as error:
        table.rollback()
        book.answer([(sending_id, "failed", 1, type(error).__name__)])
        book.rebuild()
        raise
    table.commit()
    own = [
        {**row, "status": "failed", "reason": "a row with this key belongs to somebody else"}
        for row in (_planned(job, "") if foreign else ())
        if (row["customer_id"], row["object"]) in foreign
    ]
    _age(own, job.destination.retry.give_up_after)
    book.answer([(sending_id, "acknowledged", 1, "committed")], own)
    if own:
        _note_exceptions(job, own)
        _keep(job, "true")
    else:
        book.seal()
    _count_outcome(job, said)


# --- files ----------------------------------------------------------------------------------------


def _deliver_files(job: Job, destination: FilesDestination) -> Delivered:
    """Write the whole and the changes as an export is written, and bring them there.

    A file that is written twice is the same file, so what was cut off is simply done again.
    """
    book = job.book
    for sending in book.cut_off():
        book.answer([(sending["sending_id"], "failed", 1, "cut off; written again")])
        book.rebuild()
    plan, said = _plan(job)
    if plan.stopped:
        return _finish(job, plan, said)
    _check_switch(job.engine)
    wanted = job.settings.data_dir / "outbox" / f"{job.name}.parquet"
    columns = ", ".join(quote(column) for column in plan.shape.columns)
    job.connection.execute(
        f"copy (select {columns} from wanted) to {literal(wanted)} (format parquet)"
    )
    intents = book.intend(
        job.run_id,
        [(plan.rows, None)],
        "select customer_id, object, change, payload_hash, received_hash, attempts, reason, "
        "0 as parcel from plan",
    )
    export = Export(
        job.name,
        key=("customer_id", *plan.shape.key),
        query=f"select {columns} from read_parquet({literal(wanted)})",
    )
    policy = job.config.policies.exports.model_copy(
        update={
            "acknowledge": "by_receiver",
            "spreadsheet": "spreadsheet.csv" in destination.formats,
            "json_lines": "jsonl" in destination.formats,
        }
    )
    try:
        done = exports.export(
            job.settings, job.engine, job.snapshot, export, job.as_of, job.run_id, policy
        )
        assert done.path, "an older day is refused before"
        files = folder.wanted(done.path.resolve(), destination.formats)
        below = f"{job.name}/{job.as_of}"
        folder.put(job.settings, destination.path, destination.connection, below, files)
    except Customer360Error as error:
        book.answer([(intents[0][0], "failed", 1, type(error).__name__)])
        book.rebuild()
        raise
    finally:
        wanted.unlink(missing_ok=True)
    ledger.acknowledge(job.engine, job.name, sha256(done.path / "full.parquet"))
    book.answer([(intents[0][0], "acknowledged", 1, "written")])
    _note_exceptions(job, [])
    _keep(job, "true")
    _count_outcome(job, said)
    return _finish(job, plan, said)


# --- many requests ------------------------------------------------------------------------------


Sender = WebhookDestination | MailDestination


class Letters:
    """Mail as a receiver of parcels: a parcel's body is one letter."""

    def __init__(self, destination: MailDestination, mailer: Mailer) -> None:
        self._declared = destination
        self._mailer = mailer

    def send(self, parcels: Sequence[Parcel]) -> list[Reply]:
        """A reply for each, in their order."""
        bodies = [json.loads(parcel.body) for parcel in parcels]
        return self._mailer.send(
            [
                Letter(parcel.key, body["to"], body["subject"], body["text"])
                for parcel, body in zip(parcels, bodies, strict=True)
            ]
        )


def _deliver_in_parcels(job: Job, receiver: Webhook | Letters, destination: Sender) -> Delivered:
    _settle_cut_off(job, receiver, destination)
    plan, said = _plan(job)
    total = planning._count(job.connection, "plan")
    _note_exceptions(job, [])
    size, honours_key, parallel = _manner(destination)
    ranges = deque((start, min(start + size, total)) for start in range(0, total, size))
    in_doubt = max(WINDOW_ROWS // size, parallel) if honours_key else parallel
    seen = consents.stamp(job.settings, job.config)
    sent_to, is_whole = 0, False
    exceptions: list[dict[str, Any]] = []
    try:
        while ranges:
            _check_switch(job.engine)
            state.check_token(job.engine, job.run_id)
            now = consents.stamp(job.settings, job.config)
            if now != seen:
                seen = now
                _judge(job)
            window = [ranges.popleft() for _ in range(min(in_doubt, len(ranges)))]
            replies, own = _send_window(job, receiver, destination, window)
            exceptions += own
            sent_to = max(sent_to, *(last for _, last in window))
            for (first, last), reply in zip(window, replies, strict=True):
                if reply is not None and reply.status == "refused" and last - first > 1:
                    # One row that is refused must not keep the others from their receiver.
                    middle = (first + last) // 2
                    ranges.appendleft((middle, last))
                    ranges.appendleft((first, middle))
            answered = [reply for reply in replies if reply is not None]
            if answered and all(reply.is_unreachable for reply in answered):
                raise ReceiverUnavailableError(
                    f"destination {job.name}: {answered[-1].answer} (connection "
                    f"'{destination.connection}'). {sent_to - sum(b - a for a, b in window)} rows "
                    "were sent; the others wait for the next attempt."
                )
        is_whole = True
    finally:
        _note_exceptions(job, exceptions)
        if sent_to:
            unsent = _places(ranges, sent_to)
            sent = f"planned.place < {sent_to} and planned.place not in ({unsent})"
            # After an error the image is made anew: not every row's end is known here.
            _keep(job, sent, seal=is_whole)
            _count_outcome(job, said)
    return _finish(job, plan, said)


def _manner(destination: Sender) -> tuple[int, bool, int]:
    """Rows in a parcel, whether keys are honoured, parcels at the same time."""
    if isinstance(destination, MailDestination):
        return 1, False, 1
    return destination.batch_size, destination.honours_key, destination.parallel


def _templates(destination: Sender) -> Any:
    """What is filled with a row's values to become the body, for messages to people."""
    if isinstance(destination, MailDestination):
        return {"to": destination.to, "subject": destination.subject, "text": destination.text}
    return destination.message


def _places(ranges: "deque[tuple[int, int]]", below: int) -> str:
    """Places of rows that were split off and not sent again yet."""
    waiting = [each for each in ranges if each[0] < below]
    if not waiting:
        return "-1"
    parts = [f"select unnest(range({first}, {last}))" for first, last in waiting]
    return " union all ".join(parts)


def _send_window(
    job: Job,
    receiver: Webhook | Letters,
    destination: Sender,
    window: list[tuple[int, int]],
) -> tuple[list[Reply | None], list[dict[str, Any]]]:
    """Intent, requests, results of some parcels; None for one in which nobody may be sent."""
    book, connection = job.book, job.connection
    own = _withdrawn(job, window)
    if own:
        _pass_over(job, own)
    bodies, counts, lacking = _bodies(job, destination, window)
    own += lacking
    kept = [place for place, count in enumerate(counts) if count]
    replies: list[Reply | None] = [None] * len(window)
    if lacking:
        _pass_over(job, lacking)
    if not kept:
        return replies, own
    listed = ", ".join(
        f"({place}, {window[each][0]}, {window[each][1]})" for place, each in enumerate(kept)
    )
    intents = book.intend(
        job.run_id,
        [(counts[each], zlib.compress(bodies[each], 1)) for each in kept],
        "select customer_id, object, change, payload_hash, received_hash, attempts,"
        " reason, parcel from plan inner join "
        f"(select * from (values {listed}) as parcels (parcel, first, last)) as parcels "
        "on plan.rowid >= first and plan.rowid < last "
        "where not exists (select 1 from exceptions where exceptions.place = plan.rowid) "
        "order by customer_id, object",
    )
    parcels = [
        Parcel(sending_id, key, bodies[each])
        for (sending_id, key), each in zip(intents, kept, strict=True)
    ]
    answered = receiver.send(parcels)
    answers = []
    failures: list[dict[str, Any]] = []
    for each, parcel, reply in zip(kept, parcels, answered, strict=True):
        replies[each] = reply
        answers.append((parcel.sending_id, reply.status, max(1, reply.attempts), reply.answer))
        first, last = window[each]
        if reply.status == "acknowledged" and not reply.rejected:
            continue
        if reply.status == "refused" and last - first > 1:
            continue  # split by the caller
        failures += _failures(connection, first, last, reply)
    _age(failures, destination.retry.give_up_after)
    book.answer(answers, failures)
    return replies, own + failures


def _failures(
    connection: duckdb.DuckDBPyConnection, first: int, last: int, reply: Reply
) -> list[dict[str, Any]]:
    """The rows of a parcel that were not taken."""
    rows = connection.execute(
        f"select rowid, customer_id, object, attempts, {DELIVERY_ID} from plan "
        f"where rowid >= {first} and rowid < {last} and not exists "
        "(select 1 from exceptions where exceptions.place = plan.rowid)"
    ).fetchall()
    found = []
    for place, customer, thing, attempts, delivery_id in rows:
        reason = reply.answer
        if reply.rejected:
            said = reply.rejected.get(delivery_id, reply.rejected.get(customer))
            if said is None:
                continue
            reason = f"not taken: {said}" if said else "not taken"
        found.append(
            {
                "place": place,
                "customer_id": customer,
                "object": thing,
                "attempts": attempts,
                "status": "unknown" if reply.status == "unknown" else "failed",
                "reason": reason,
                "counts": not reply.is_unreachable,
            }
        )
    return found


DELIVERY_ID = "left(md5(customer_id || '/' || object), 20)"
"""Names a row to its receiver: the same for one customer and object, run after run."""


def _bodies(
    job: Job, destination: Sender, window: list[tuple[int, int]]
) -> tuple[list[bytes], list[int], list[dict[str, Any]]]:
    """The body of each parcel and how many rows are in it; rows whose message lacks a value."""
    plan_columns = [
        row[0]
        for row in job.connection.execute("describe plan").fetchall()
        if row[0] not in ("payload_hash", "received_hash", "attempts", "reason", "object")
    ]
    cells = ", ".join(f"{quote(name)} := {quote(name)}" for name in plan_columns)
    lower, upper = min(first for first, _ in window), max(last for _, last in window)
    rows = job.connection.execute(
        f"select rowid, to_json(struct_pack(delivery_id := {DELIVERY_ID}, {cells})) from plan "
        f"where rowid >= {lower} and rowid < {upper} and not exists "
        "(select 1 from exceptions where exceptions.place = plan.rowid) order by rowid"
    ).fetchall()
    by_place = dict(rows)
    head = json.dumps({"destination": job.name, "as_of": str(job.as_of), "run_id": job.run_id})
    template = _templates(destination)
    bodies, counts, lacking = [], [], []
    for first, last in window:
        texts = [by_place[place] for place in range(first, last) if place in by_place]
        if template is not None and texts:
            row = json.loads(texts[0])
            rendered, missing = _rendered(template, row, destination)
            if row["change"] == "removed":
                texts = []  # a message that was read is not taken back
                lacking.append(_exception(job, first, "acknowledged", None))
            elif missing:
                texts = []
                reason = f"the message needs {missing}, which is not there"
                lacking.append(_exception(job, first, "held", reason))
            bodies.append(json.dumps(rendered, ensure_ascii=False).encode())
        else:
            bodies.append(f'{head[:-1]}, "rows": [{",".join(texts)}]}}'.encode())
        counts.append(len(texts))
    return bodies, counts, lacking


def _exception(job: Job, place: int, status: str, reason: str | None) -> dict[str, Any]:
    (row,) = _planned(job, f"where rowid = {place}")
    return {**row, "status": status, "reason": reason}


def _rendered(template: Any, row: dict[str, Any], destination: Sender) -> tuple[Any, str | None]:
    """The template with the row's values, and the first column it needs that is empty."""
    missing: list[str] = []

    def fill(part: Any) -> Any:
        if isinstance(part, str):
            from customer360.activation.destinations import variables

            missing.extend(name for name in variables(part) if row.get(name) is None)
            return part.format_map({name: "" if v is None else v for name, v in row.items()})
        if isinstance(part, dict):
            return {name: fill(value) for name, value in part.items()}
        return [fill(value) for value in part] if isinstance(part, list) else part

    if isinstance(destination, MailDestination):
        owner = row.get(destination.owner_column)
        template = {**template, "to": destination.to.get(str(owner))}
        if template["to"] is None:
            missing.append(f"an address for {destination.owner_column} {owner}")
    filled = fill(template)
    return filled, missing[0] if missing else None


def _withdrawn(job: Job, window: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Rows of a window whose customers may not be sent any more, by the newest judgement."""
    refused = lawful_rows.REFUSED.format(purpose=job.destination.purpose)
    lower, upper = min(first for first, _ in window), max(last for _, last in window)
    rows = job.connection.execute(
        f"select plan.rowid, plan.customer_id, object, attempts, {refused}.reason from plan "
        f"inner join {refused} on plan.customer_id = {refused}.customer_id "
        f"where plan.rowid >= {lower} and plan.rowid < {upper} and change <> 'removed'"
    ).fetchall()
    return [
        {
            "place": place, "customer_id": customer, "object": thing, "attempts": attempts,
            "status": "held", "reason": reason,
        }
        for place, customer, thing, attempts, reason in rows
        if any(first <= place < last for first, last in window)
    ]  # fmt: skip


def _pass_over(job: Job, own: list[dict[str, Any]]) -> None:
    """Take rows out of what is still to be sent, and enter why.

    What the receiver holds of them stays known, so that the next run removes it there.
    """
    _note_exceptions(job, own, add=True)
    places = ", ".join(str(row["place"]) for row in own)
    job.book.enter(
        "select plan.customer_id, plan.object, change, payload_hash, received_hash, "
        "exceptions.status, plan.attempts, exceptions.reason from plan "
        "inner join exceptions on plan.rowid = exceptions.place "
        f"where plan.rowid in ({places}) order by plan.customer_id, plan.object"
    )


def _settle_cut_off(job: Job, receiver: Webhook | Letters, destination: Sender) -> None:
    """Requests that a kill left without an answer.

    A receiver that honours keys gets them once more as they were, without rows that may no longer
    be sent. At any other their rows wait for a person.
    """
    open_sendings = job.book.cut_off()
    if not open_sendings:
        return
    if not _manner(destination)[1]:
        job.book.answer(
            [
                (sending["sending_id"], "unknown", 1, "cut off; the receiver would take it twice")
                for sending in open_sendings
            ]
        )
        job.book.rebuild()
        return
    refused_rows = lawful_rows.REFUSED.format(purpose=destination.purpose)
    refused = dict(
        job.connection.execute(f"select customer_id, reason from {refused_rows}").fetchall()
    )
    rows_of: dict[int, list[Any]] = {}
    for row in job.book.rows_of([sending["sending_id"] for sending in open_sendings]):
        rows_of.setdefault(row["sending_id"], []).append(row)
    for start in range(0, len(open_sendings), WINDOW_ROWS):
        _check_switch(job.engine)
        window = open_sendings[start : start + WINDOW_ROWS]
        parcels, answers, own = [], [], []
        for sending in window:
            body = zlib.decompress(sending["body"] or zlib.compress(b"{}"))
            unlawful = {
                row["customer_id"]
                for row in rows_of.get(sending["sending_id"], ())
                if row["customer_id"] in refused and row["change"] != "removed"
            }
            left = _without(body, unlawful) if unlawful else body
            own += [
                _unsent(row, refused[row["customer_id"]])
                for row in rows_of.get(sending["sending_id"], ())
                if row["customer_id"] in unlawful
            ]
            if left is None:
                answers.append((sending["sending_id"], "failed", 1, "cut off; nobody may be sent"))
            else:
                parcels.append(Parcel(sending["sending_id"], sending["idempotency_key"], left))
        replies = receiver.send(parcels)
        for parcel, reply in zip(parcels, replies, strict=True):
            answers.append((parcel.sending_id, reply.status, reply.attempts, reply.answer))
            if reply.rejected:
                own += _rejected_of(rows_of.get(parcel.sending_id, ()), reply)
        if any(reply.is_unreachable for reply in replies):
            # They stay intended: nobody knows yet.
            known = {p.sending_id for p, r in zip(parcels, replies, strict=True)
                     if not r.is_unreachable}  # fmt: skip
            job.book.answer([each for each in answers if each[0] in known], own)
            job.book.rebuild()
            raise ReceiverUnavailableError(
                f"destination {job.name}: the receiver cannot be reached; requests that were cut "
                "off wait for it"
            )
        still = [
            p.sending_id for p, r in zip(parcels, replies, strict=True) if r.status == "failed"
        ]
        # Not answered after all attempts: still in doubt, and settled by the next run.
        job.book.answer([each for each in answers if each[0] not in still], own)
        if still:
            job.book.rebuild()
            raise ReceiverUnavailableError(
                f"destination {job.name}: the receiver does not answer; {len(still)} requests that "
                "were cut off wait for it"
            )
    job.book.rebuild()


def _unsent(row: Any, reason: str) -> dict[str, Any]:
    """A row of a cut-off request that may not go again. Perhaps it arrived the first time.

    It counts as received where that is possible, so that its removal is sent.
    """
    names = ("customer_id", "object", "attempts")
    return {**{name: row[name] for name in names}, "status": "acknowledged", "reason": reason}


def _rejected_of(rows: Any, reply: Reply) -> list[dict[str, Any]]:
    import hashlib

    found = []
    for row in rows:
        text = f"{row['customer_id']}/{row['object']}"
        delivery_id = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:20]
        said = reply.rejected.get(delivery_id, reply.rejected.get(row["customer_id"]))
        if said is not None:
            found.append({**{name: row[name] for name in ("customer_id", "object", "attempts")},
                          "status": "failed", "reason": f"not taken: {said}"})  # fmt: skip
    return found


def _without(body: bytes, customers: set[str]) -> bytes | None:
    """A body without the rows of ``customers``; None where no row is left."""
    document = json.loads(body)
    rows = document.get("rows") if isinstance(document, dict) else None
    if rows is None:
        return None  # a message is about one customer
    document["rows"] = [row for row in rows if row["customer_id"] not in customers]
    return json.dumps(document, ensure_ascii=False).encode() if document["rows"] else None


# --- what both have in common -------------------------------------------------------------------


def _age(failures: list[dict[str, Any]], give_up_after: int) -> None:
    """Count the run against each row that failed; one that has failed in so many is dead."""
    for row in failures:
        if row["status"] == "failed" and row.get("counts", True):
            row["attempts"] += 1
            if row["attempts"] >= give_up_after:
                row["status"] = "dead"


def _planned(job: Job, where: str) -> list[dict[str, Any]]:
    """Rows of the plan as the ledger names them."""
    rows = job.connection.execute(
        f"select rowid, customer_id, object, attempts from plan {where}"
    ).fetchall()
    names = ("place", "customer_id", "object", "attempts")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _note_exceptions(job: Job, own: list[dict[str, Any]], *, add: bool = False) -> None:
    """The temporary table ``exceptions``: rows that do not follow their sending."""
    if not add:
        job.connection.execute(
            "create or replace temp table exceptions (place bigint, customer_id varchar, "
            "object varchar, status varchar, attempts integer, reason varchar)"
        )
    if not own:
        return
    import pyarrow as pa

    kinds = {"place": pa.int64(), "customer_id": pa.string(), "object": pa.string(),
             "status": pa.string(), "attempts": pa.int32(), "reason": pa.string()}  # fmt: skip
    columns = {name: pa.array([row.get(name) for row in own], kind) for name, kind in kinds.items()}
    part = pa.table(columns)
    job.connection.register("part", part)
    job.connection.execute("insert into exceptions select * from part")
    job.connection.unregister("part")


def _keep(job: Job, condition: str, *, seal: bool = True) -> None:
    """Bring the image in step: rows of the plan that were sent, but for exceptions."""
    job.book.keep(
        "select planned.customer_id, planned.object, change, payload_hash, "
        "case when coalesce(exceptions.status, 'acknowledged') = 'acknowledged' "
        "then payload_hash else received_hash end as received_hash, "
        "coalesce(exceptions.status, 'acknowledged') as status, "
        "coalesce(exceptions.attempts, planned.attempts) as attempts, "
        "coalesce(exceptions.reason, planned.reason) as reason "
        "from (select rowid as place, * from plan) as planned "
        "left join exceptions on planned.customer_id = exceptions.customer_id "
        f"and planned.object = exceptions.object where {condition}",
        seal=seal,
    )


def _count_outcome(job: Job, said: Delivered) -> None:
    """Count what the run did, from what the image now says of the plan's rows."""
    for change, status, reason, count in job.connection.execute(
        "select changed.change, changed.status, changed.reason, count(*) from changed group by all"
    ).fetchall():
        if status == "acknowledged":
            said.counts[change] += count
        elif status in ("failed", "dead", "unknown"):
            setattr(said, status, getattr(said, status) + count)
            said.reasons[reason or "no reason"] = said.reasons.get(reason or "no reason", 0) + count
        elif status == "held":
            said.held[reason] = said.held.get(reason, 0) + count


def _check_switch(engine: Engine) -> None:
    stopped = outbox.why_stopped(engine)
    if stopped:
        text = (
            f"all sending was stopped on {stopped['at']:%Y-%m-%d %H:%M} UTC: {stopped['because']}. "
            "customer360 sending start lets it go on; nothing is lost"
        )
        raise SendingStoppedError(text, [Finding("delivery", None, text)])


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
