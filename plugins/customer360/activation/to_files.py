"""Rows to a folder of files that a tool picks up: whole and as changes, as exports are written.

What belongs here: intent, files, result. What does not: what is in the files (``exports``), and
bringing them there (``receivers.folder``).
"""

from customer360.activation import exports, ledger
from customer360.activation.declared import Export
from customer360.activation.destinations import FilesDestination
from customer360.activation.files import sha256
from customer360.activation.job import (
    Delivered,
    Job,
    check_switch,
    count_outcome,
    finish,
    keep,
    make_plan,
    note_exceptions,
)
from customer360.activation.receivers import folder
from customer360.content import ID_MAP_TABLE
from customer360.exceptions import Customer360Error
from customer360.warehouse import literal, quote


def deliver_files(job: Job, destination: FilesDestination) -> Delivered:
    """Write the whole and the changes as an export is written, and bring them there.

    A file that is written twice is the same file, so what was cut off is simply done again.
    """
    book = job.book
    for sending in book.cut_off():
        book.answer([(sending["sending_id"], "failed", 1, "cut off; written again")])
        book.rebuild()
    plan, said = make_plan(job)
    if plan.stopped:
        return finish(job, plan, said)
    check_switch(job.engine)
    wanted = job.settings.data_dir / "outbox" / f"{job.name}.parquet"
    columns = ", ".join(quote(column) for column in plan.shape.columns)
    job.connection.execute(
        f"copy (select {columns} from wanted) to {literal(wanted)} (format parquet)"
    )
    intents = book.intend(
        job.run_id,
        [(plan.rows, None)],
        "select customer_id, object, change, payload_hash, received_hash, "
        "own_attempts as attempts, own_reason as reason, "
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
        _bring_map(job, destination)
    except Customer360Error as error:
        book.answer([(intents[0][0], "failed", 1, type(error).__name__)])
        book.rebuild()
        raise
    finally:
        wanted.unlink(missing_ok=True)
    ledger.acknowledge(job.engine, job.name, sha256(done.path / "full.parquet"))
    book.answer([(intents[0][0], "acknowledged", 1, "written")])
    note_exceptions(job, [])
    keep(job, "true")
    book.gather()
    count_outcome(job, said)
    return finish(job, plan, said)


def _bring_map(job: Job, destination: FilesDestination) -> None:
    """The exported ``customer_id_map`` beside the rows: a tool follows who was merged or split."""
    exported = job.settings.exports_dir / ID_MAP_TABLE / str(job.as_of)
    if not (exported / folder.LAST).exists():
        return
    files = [
        file for file in folder.wanted(exported.resolve(), destination.formats) if file.exists()
    ]
    below = f"{ID_MAP_TABLE}/{job.as_of}"
    folder.put(job.settings, destination.path, destination.connection, below, files)
