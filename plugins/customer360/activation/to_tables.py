"""Rows to a table of a database: one transaction, known by its key afterwards.

What belongs here: intent, transaction, result. What does not: a database's own SQL (``receivers``).
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from customer360 import state
from customer360.activation import outbox
from customer360.activation import plan as planning
from customer360.activation.destinations import DatabaseDestination
from customer360.activation.job import (
    Delivered,
    Job,
    age,
    check_switch,
    count_outcome,
    finish,
    keep,
    make_plan,
    note_exceptions,
    planned_rows,
)
from customer360.activation.plan import count_rows
from customer360.connections import resolve


def _open_table(job: Job, destination: DatabaseDestination) -> Any:
    shape = planning.find_shape(job.connection, job.name, destination)
    connection = resolve(job.settings, destination.connection)
    if destination.kind == "postgres":
        from customer360.activation.receivers.postgres import PostgresTable

        return PostgresTable(job.name, destination, connection, shape)
    from customer360.activation.receivers.mysql import MySqlTable

    return MySqlTable(job.name, destination, connection, shape)


def deliver_to_table(job: Job, destination: DatabaseDestination) -> Delivered:
    """Settle what was cut off, then merge the plan in one transaction."""
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
        plan, said = make_plan(job)
        rows = count_rows(job.connection, "plan")
        if rows:
            table = table or _open_table(job, destination)
            _merge(job, table, rows, said)
        return finish(job, plan, said)
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
            "select customer_id, object, change, payload_hash, received_hash, "
            "own_attempts as attempts, own_reason as reason, "
            "0 as parcel from plan",
            [key],
        )
        note_exceptions(job, [])
        keep(job, "true", seal=False)
    try:
        foreign = merging.result()
        check_switch(job.engine)
        state.check_token(job.engine, job.run_id)
    except Exception as error:
        table.rollback()
        book.answer([(sending_id, "failed", 1, type(error).__name__)])
        book.rebuild()
        raise
    table.commit()
    own = [
        {**row, "status": "failed", "reason": "a row with this key belongs to somebody else"}
        for row in (planned_rows(job, "") if foreign else ())
        if (row["customer_id"], row["object"]) in foreign
    ]
    if own:
        age(own, job.destination.retry.give_up_after)
        note_exceptions(job, own)
        book.enter(
            "select plan.customer_id, plan.object, change, payload_hash, received_hash, "
            "exceptions.status, exceptions.attempts, exceptions.reason from plan "
            "inner join exceptions on plan.rowid = exceptions.place order by all",
            sending_id,
        )
    book.answer([(sending_id, "acknowledged", 1, "committed")])
    if own:
        keep(job, "true")
    else:
        book.seal()
    book.gather()
    count_outcome(job, said)
