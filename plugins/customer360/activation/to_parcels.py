"""Rows in many requests: to a web service, or as messages to people in chat and by mail.

What belongs here: windows of requests, each with intent, sending and result; requests that a kill
cut off. What does not: one request to its end (``receivers``).
"""

import hashlib
import json
import zlib
from collections import deque
from collections.abc import Sequence
from typing import Any

import duckdb

from customer360 import state
from customer360.activation import consents, lawful
from customer360.activation.destinations import (
    MailDestination,
    WebhookDestination,
    variables,
)
from customer360.activation.job import (
    Delivered,
    Job,
    age,
    check_switch,
    count_outcome,
    finish,
    judge,
    keep,
    make_plan,
    note_exceptions,
    planned_rows,
)
from customer360.activation.plan import count_rows
from customer360.activation.receivers.mail import Letter, Mailer
from customer360.activation.receivers.webhook import Parcel, Reply, Webhook
from customer360.exceptions import ReceiverUnavailableError
from customer360.warehouse import quote

WINDOW_ROWS = 1000
"""Rows whose intents are written together; so many at most are in doubt after a kill."""

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


def deliver_in_parcels(job: Job, receiver: Webhook | Letters, destination: Sender) -> Delivered:
    """Send the plan window by window; what fails, waits or is refused is known row by row.

    Raises:
        ReceiverUnavailableError: nobody answers; what was sent stays sent.
    """
    in_doubt = _settle_cut_off(job, receiver, destination)
    plan, said = make_plan(job)
    said.failed += in_doubt
    total = count_rows(job.connection, "plan")
    note_exceptions(job, [])
    size, honours_key, parallel = _manner(destination)
    ranges = deque((start, min(start + size, total)) for start in range(0, total, size))
    at_once = max(WINDOW_ROWS // size, parallel) if honours_key else parallel
    seen = consents.stamp(job.settings, job.config)
    sent_to, is_whole = 0, False
    exceptions: list[dict[str, Any]] = []
    try:
        while ranges:
            check_switch(job.engine)
            state.check_token(job.engine, job.run_id)
            now = consents.stamp(job.settings, job.config)
            if now != seen:
                seen = now
                judge(job)
            window = [ranges.popleft() for _ in range(min(at_once, len(ranges)))]
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
        note_exceptions(job, exceptions)
        if sent_to:
            unsent = _places(ranges, sent_to)
            sent = f"planned.place < {sent_to} and planned.place not in ({unsent})"
            # After an error the image is made anew: not every row's end is known here.
            keep(job, sent, seal=is_whole)
            count_outcome(job, said)
    return finish(job, plan, said)


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
        "select customer_id, object, change, payload_hash, received_hash, "
        "own_attempts as attempts, own_reason as reason, parcel from plan inner join "
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
    in_doubt: list[dict[str, Any]] = []
    for each, parcel, reply in zip(kept, parcels, answered, strict=True):
        replies[each] = reply
        first, last = window[each]
        if reply.in_doubt:
            # It stays intended, with its body and key: the next run settles it.
            in_doubt += [
                row | {"status": None, "attempts": row["attempts"] + 1}
                for row in _failures(connection, first, last, reply)
            ]
            continue
        answers.append((parcel.sending_id, reply.status, max(1, reply.attempts), reply.answer))
        if reply.status == "acknowledged" and not reply.rejected:
            continue
        if reply.status == "refused" and last - first > 1:
            continue  # split by the caller
        failures += _failures(connection, first, last, reply)
    age(failures, destination.retry.give_up_after)
    book.answer(answers, failures + in_doubt)
    return replies, own + failures + [{**row, "status": "intended"} for row in in_doubt]


def _failures(
    connection: duckdb.DuckDBPyConnection, first: int, last: int, reply: Reply
) -> list[dict[str, Any]]:
    """The rows of a parcel that were not taken."""
    rows = connection.execute(
        f"select rowid, customer_id, object, own_attempts, {DELIVERY_ID} from plan "
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

OWN = ("payload_hash", "received_hash", "own_attempts", "own_reason", "object", "key_hash", "quick",
       "received_quick", "successor_id")  # fmt: skip
"""Columns of the plan that are no business of the receiver's."""


def _bodies(
    job: Job, destination: Sender, window: list[tuple[int, int]]
) -> tuple[list[bytes], list[int], list[dict[str, Any]]]:
    """The body of each parcel and how many rows are in it; rows whose message lacks a value."""
    plan_columns = [
        row[0] for row in job.connection.execute("describe plan").fetchall() if row[0] not in OWN
    ]
    cells = ", ".join(f"{quote(name)} := {quote(name)}" for name in plan_columns)
    lower, upper = min(first for first, _ in window), max(last for _, last in window)
    packed = f"delivery_id := {DELIVERY_ID}, {cells}"
    rows = job.connection.execute(
        "select rowid, case when successor_id is null "
        f"then to_json(struct_pack({packed})) "
        f"else to_json(struct_pack({packed}, successor_id := successor_id)) end from plan "
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
    (row,) = planned_rows(job, f"where rowid = {place}")
    return {**row, "status": status, "reason": reason}


def _rendered(template: Any, row: dict[str, Any], destination: Sender) -> tuple[Any, str | None]:
    """The template with the row's values, and the first column it needs that is empty."""
    missing: list[str] = []

    def fill(part: Any) -> Any:
        if isinstance(part, str):
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
    refused = lawful.REFUSED.format(purpose=job.destination.purpose)
    lower, upper = min(first for first, _ in window), max(last for _, last in window)
    rows = job.connection.execute(
        f"select plan.rowid, plan.customer_id, object, own_attempts, {refused}.reason from plan "
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
    note_exceptions(job, own, add=True)
    places = ", ".join(str(row["place"]) for row in own)
    job.book.enter(
        "select plan.customer_id, plan.object, change, payload_hash, received_hash, "
        "exceptions.status, plan.own_attempts as attempts, exceptions.reason from plan "
        "inner join exceptions on plan.rowid = exceptions.place "
        f"where plan.rowid in ({places}) order by plan.customer_id, plan.object"
    )


def _settle_cut_off(job: Job, receiver: Webhook | Letters, destination: Sender) -> int:
    """Requests that a kill, or silence, left without an answer.

    A receiver that honours keys gets them once more as they were, without rows that may no longer
    be sent. At any other their rows wait for a person.

    Returns:
        Rows that are still in doubt: nothing else is sent of them until they are settled.

    Raises:
        ReceiverUnavailableError: nobody answers.
    """
    open_sendings = job.book.cut_off()
    if not open_sendings:
        return 0
    if not _manner(destination)[1]:
        job.book.answer(
            [
                (sending["sending_id"], "unknown", 1, "cut off; the receiver would take it twice")
                for sending in open_sendings
            ]
        )
        job.book.rebuild()
        return 0
    still_in_doubt = 0
    refused_rows = lawful.REFUSED.format(purpose=destination.purpose)
    refused = dict(
        job.connection.execute(f"select customer_id, reason from {refused_rows}").fetchall()
    )
    rows_of: dict[int, list[Any]] = {}
    for row in job.book.rows_of([sending["sending_id"] for sending in open_sendings]):
        rows_of.setdefault(row["sending_id"], []).append(row)
    for start in range(0, len(open_sendings), WINDOW_ROWS):
        check_switch(job.engine)
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
        still = {
            p.sending_id for p, r in zip(parcels, replies, strict=True) if r.status == "failed"
        }
        for sending_id in sorted(still):
            rows = [dict(row) | {"status": "failed"} for row in rows_of.get(sending_id, ())]
            age(rows, destination.retry.give_up_after)
            if any(row["status"] == "failed" for row in rows):
                rows = [row | {"status": None} for row in rows]  # as their sending: intended
                still_in_doubt += len(rows)
            else:
                reason = "no answer to its key in so many runs; perhaps it arrived"
                rows = [row | {"reason": reason} for row in rows]
                still.discard(sending_id)
            own += rows
        job.book.answer([each for each in answers if each[0] not in still], own)
    job.book.rebuild()
    return still_in_doubt


def _unsent(row: Any, reason: str) -> dict[str, Any]:
    """A row of a cut-off request that may not go again. Perhaps it arrived the first time.

    It counts as received where that is possible, so that its removal is sent.
    """
    names = ("customer_id", "object", "attempts")
    return {**{name: row[name] for name in names}, "status": "acknowledged", "reason": reason}


def _rejected_of(rows: Any, reply: Reply) -> list[dict[str, Any]]:
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
