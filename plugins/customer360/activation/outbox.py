"""The ledger of deliveries: what went to whom, what a receiver holds, and what waits.

What belongs here: the tables of the ledger, the states of a row, and the questions asked of them,
all in sets. What does not: deciding what should go (``plan``) and sending it (``receivers``).

A row of ``deliveries`` stands for one destination, customer and object (what tells rows of one
customer apart, such as a segment). It names its last sending: one request, or one transaction. An
intent is written before anything leaves, its result after, so a kill in between is seen: a sending
that is still ``intended`` when a run begins was cut off.

A row follows its sending's status unless it has one of its own:

==============  ============================================================================
acknowledged    the receiver holds what ``payload_hash`` stands for (nothing, for a removal)
intended        on its way
failed          refused or not taken; the next run tries again, ``attempts`` counts the runs
dead            failed too often; waits for ``customer360 delivery replay``
unknown         perhaps it arrived, at a receiver that would take it twice; waits for a person
held            nothing allows it to be sent; ``reason`` says why
==============  ============================================================================

**Parts.** Hundreds of thousands of rows that go in one transaction stand in a *part*: one
compressed value beside the rows, written in a moment. A row's newest sending counts, wherever it
stands; a row of its own goes before one in a part of the same sending.

**The image.** The ledger is slow to read whole, and a day's change must not cost the whole. So
each destination has a DuckDB file that holds its ledger's effective state as columns, written in
step with the ledger. Both carry a version; where they differ (a kill, a restored backup) the image
is made anew from the ledger, which alone is the truth.
"""

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    RowMapping,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from customer360 import state
from customer360.exceptions import DamagedFileError
from customer360.settings import Settings
from customer360.warehouse import connect

sendings = Table(
    "sendings",
    state.metadata,
    Column("sending_id", BigInteger, primary_key=True, autoincrement=False),
    Column("destination", String(63), nullable=False, index=True),
    Column("run_id", String(250), nullable=False),
    Column("idempotency_key", String(64), nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("answer", String(250)),
    Column("intended_at", state.UtcDateTime, nullable=False),
    Column("answered_at", state.UtcDateTime),
    Column("body", LargeBinary),
    comment="One request or transaction: its key, how often it was tried, what was answered. The"
    " body is kept until it is answered, so that a cut-off sending can be repeated as it was.",
)

deliveries = Table(
    "deliveries",
    state.metadata,
    Column("destination", String(63), primary_key=True),
    Column("customer_id", String(64), primary_key=True),
    Column("object", String(250), primary_key=True),
    Column("change", String(8), nullable=False),
    Column("payload_hash", BigInteger),
    Column("received_hash", BigInteger),
    Column("sending_id", BigInteger),
    Column("status", String(16)),
    Column("attempts", Integer, nullable=False),
    Column("reason", String(250)),
    sqlite_with_rowid=False,
    comment="The ledger: a row a destination, customer and object. received_hash is what the"
    " receiver held before the sending that the row names.",
)

parts = Table(
    "delivery_parts",
    state.metadata,
    Column("destination", String(63), primary_key=True),
    Column("sending_id", BigInteger, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    comment="Rows of the ledger in bulk: the columns of deliveries but destination, as a compressed"
    " Arrow stream.",
)

ledger_versions = Table(
    "ledger_versions",
    state.metadata,
    Column("destination", String(63), primary_key=True),
    Column("version", BigInteger, nullable=False),
    comment="Grows with every change to a destination's ledger; its image carries the same number.",
)

STATES = ("intended", "acknowledged", "failed", "dead", "unknown", "held")
WAITING = ("dead", "unknown")
"""States of rows that only a person can set going again."""

SENDING = "sending"
EMPTY_IMAGE = """
    create or replace table ledger (
        customer_id varchar, object varchar, change varchar, payload_hash bigint,
        received_hash bigint, status varchar, attempts integer, reason varchar,
        key_hash ubigint, received_quick ubigint
    )
"""
FETCH = 20_000
BULK_ROWS = 10_000
"""From so many rows on, those of one sending are written as a part."""

MAKER = f"1 {duckdb.__version__}"
"""Shape and engine of images; one of another maker is made anew."""

PART_ROWS = 500_000
MAX_SCATTER = 3
"""Parts are gathered into one when they hold so many times the rows that count."""

LEDGER = """
    select
        customer_id,
        object,
        change,
        payload_hash,
        case when coalesce(entered.status, sent.status) = 'acknowledged' then payload_hash
            else received_hash end as received_hash,
        coalesce(entered.status, sent.status) as status,
        attempts,
        reason,
        sending_id
    from (
        select *, false as is_part from delivery_rows
        union all by name
        select *, true as is_part from delivery_parts
    ) as entered
    left join sent using (sending_id)
    qualify row_number() over (
        partition by customer_id, object order by sending_id desc nulls last, is_part
    ) = 1
"""
"""A row for each customer and object in its effective state, from what :func:`read` has read."""

SENT = pa.schema(
    [
        ("sending_id", pa.int64()),
        ("run_id", pa.string()),
        ("idempotency_key", pa.string()),
        ("status", pa.string()),
        ("tries", pa.int32()),
        ("answer", pa.string()),
        ("answered_at", pa.timestamp("us")),
    ]
)
ENTERED = pa.schema(
    [
        ("customer_id", pa.string()),
        ("object", pa.string()),
        ("change", pa.string()),
        ("payload_hash", pa.int64()),
        ("received_hash", pa.int64()),
        ("sending_id", pa.int64()),
        ("status", pa.string()),
        ("attempts", pa.int32()),
        ("reason", pa.string()),
    ]
)


# --- looking at the ledger ----------------------------------------------------------------------


def read(connection: Connection, destination: str, into: duckdb.DuckDBPyConnection) -> None:
    """Read a destination's ledger into temporary tables, from which :data:`LEDGER` selects."""
    mine = deliveries.c.destination == destination
    _take(connection, select(*(deliveries.c[name] for name in ENTERED.names)).where(mine),
          ENTERED, into, "delivery_rows")  # fmt: skip
    moment = func.coalesce(sendings.c.answered_at, sendings.c.intended_at)
    query = select(
        sendings.c.sending_id, sendings.c.run_id, sendings.c.idempotency_key, sendings.c.status,
        sendings.c.attempts, sendings.c.answer, moment,
    ).where(sendings.c.destination == destination)  # fmt: skip
    _take(connection, query, SENT, into, "sent")
    _make(into, ENTERED, "delivery_parts")
    content = select(parts.c.content).where(parts.c.destination == destination)
    for row in connection.execution_options(yield_per=1).execute(content):
        _insert(into, "delivery_parts", pa.ipc.open_stream(row.content).read_all())


def _take(
    connection: Connection,
    query: Any,
    schema: pa.Schema,
    into: duckdb.DuckDBPyConnection,
    name: str,
) -> None:
    _make(into, schema, name)
    for rows in connection.execution_options(yield_per=FETCH * 5).execute(query).partitions():
        columns = zip(*rows, strict=True)
        arrays = [pa.array(c, each.type) for c, each in zip(columns, schema, strict=True)]
        _insert(into, name, pa.Table.from_arrays(arrays, schema=schema))


def _make(into: duckdb.DuckDBPyConnection, schema: pa.Schema, name: str) -> None:
    into.register("made", schema.empty_table())
    into.execute(f"create or replace temp table {name} as from made")
    into.unregister("made")


def _insert(into: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    into.register("read_rows", rows)
    into.execute(f"insert into {name} by name from read_rows")
    into.unregister("read_rows")


def states(engine: Engine, destination: str) -> dict[str, int]:
    """State -> rows of a destination's ledger."""
    with duckdb.connect() as connection:
        with engine.begin() as store:
            read(store, destination, connection)
        return dict(
            connection.execute(
                f"select status, count(*) from ({LEDGER}) group by status order by status"
            ).fetchall()
        )


def rows(
    engine: Engine, destination: str, customer_id: str | None, status: str | None, limit: int
) -> list[dict[str, Any]]:
    """Ledger rows with what was answered and when."""
    with duckdb.connect() as connection:
        with engine.begin() as store:
            read(store, destination, connection)
        found = connection.execute(
            "select customer_id, object, change, ledger.status, tries as attempts, "
            "attempts as failed_runs, reason, payload_hash, run_id, idempotency_key, answer, "
            "answered_at "
            f"from ({LEDGER}) as ledger left join sent using (sending_id) "
            "where ($customer is null or customer_id = $customer) "
            "and ($status is null or ledger.status = $status) "
            "order by customer_id, object limit $limit",
            {"customer": customer_id, "status": status, "limit": limit},
        )
        names = [column[0] for column in found.description or []]
        told = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    for row in told:
        at = row.pop("answered_at")
        row["at"] = at.replace(tzinfo=dt.UTC) if at else None
    return told


def tell(engine: Engine, into: duckdb.DuckDBPyConnection, table: str) -> None:
    """Write every destination's ledger as one ``table``, for analysts: tokens, states, answers."""
    into.execute(
        f"create or replace table {table} (delivery_id varchar, destination varchar, "
        "customer_id varchar, object varchar, change varchar, status varchar, reason varchar, "
        "failed_runs integer, tries integer, answer varchar, run_id varchar, answered_at timestamp)"
    )
    with engine.begin() as store:
        for name in store.execute(select(ledger_versions.c.destination)).scalars().all():
            read(store, name, into)
            into.execute(
                f"insert into {table} select md5(concat_ws('|', $name, customer_id, object)), "
                "$name, customer_id, replace(object, chr(31), '|'), change, ledger.status, reason, "
                "attempts, tries, answer, run_id, answered_at "
                f"from ({LEDGER}) as ledger left join sent using (sending_id)",
                {"name": name},
            )
    for part in ("delivery_rows", "delivery_parts", "sent"):
        into.execute(f"drop table if exists temp.{part}")


# --- the ledger of one destination --------------------------------------------------------------


class Outbox:
    """The ledger of one destination, with its image attached to a DuckDB connection.

    Attributes:
        connection: in it the image is the schema ``outbox``; callers attach what else they need.
    """

    def __init__(
        self, engine: Engine, destination: str, connection: duckdb.DuckDBPyConnection
    ) -> None:
        self.engine = engine
        self.destination = destination
        self.connection = connection
        self._version = 0

    @classmethod
    @contextmanager
    def open(cls, settings: Settings, engine: Engine, destination: str) -> Iterator["Outbox"]:
        """Open the ledger and its image; one process at a time does (``sending`` holds a lock)."""
        folder = settings.data_dir / "outbox"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{destination}.duckdb"
        with ExitStack() as opened:
            try:
                connection = opened.enter_context(connect(settings, path))
            except DamagedFileError:
                _remove(path)  # it can be made anew
                connection = opened.enter_context(connect(settings, path))
            book = cls(engine, destination, connection)
            book._catch_up()
            yield book

    def _catch_up(self) -> None:
        self.connection.execute("create table if not exists image (version bigint, maker varchar)")
        with self.engine.begin() as connection:
            self._version = _version(connection, self.destination)
        if self.connection.execute("from image").fetchall() == [(self._version, MAKER)]:
            return
        self.rebuild()

    def rebuild(self) -> None:
        """Make the image anew from the ledger."""
        with self.engine.begin() as connection:
            self._version = _version(connection, self.destination)
            read(connection, self.destination, self.connection)
        self.connection.execute(EMPTY_IMAGE)
        self.connection.execute(
            "insert into ledger select * exclude (sending_id), hash(customer_id, object), null "
            f"from ({LEDGER})"
        )
        self._note_version()

    def _note_version(self) -> None:
        self.connection.execute("create or replace table image (version bigint, maker varchar)")
        self.connection.execute("insert into image values (?, ?)", [self._version, MAKER])

    def cut_off(self) -> list[RowMapping]:
        """Sendings that were intended and never answered, the first first, with their bodies."""
        with self.engine.begin() as connection:
            query = (
                select(sendings)
                .where(sendings.c.destination == self.destination, sendings.c.status == "intended")
                .order_by(sendings.c.sending_id)
            )
            return list(connection.execute(query).mappings())

    def rows_of(self, sending_ids: Sequence[int]) -> list[RowMapping]:
        """Ledger rows that name one of these sendings."""
        found: list[RowMapping] = []
        with self.engine.begin() as connection:
            for start in range(0, len(sending_ids), 500):
                part = sending_ids[start : start + 500]
                query = select(deliveries).where(
                    deliveries.c.destination == self.destination,
                    deliveries.c.sending_id.in_(part),
                )
                found += connection.execute(query).mappings()
        return found

    def intend(
        self,
        run_id: str,
        parcels: Sequence[tuple[int, bytes | None]],
        rows_sql: str,
        keys: Sequence[str] = (),
    ) -> list[tuple[int, str]]:
        """Enter sendings and their rows before anything leaves.

        Args:
            parcels: rows and body of each sending.
            rows_sql: a query of the rows in the image's connection: customer_id, object, change,
                payload_hash, received_hash, attempts, reason, and ``parcel``, the place of its
                sending in ``parcels``; ordered by customer_id and object.
            keys: idempotency keys, where they are known already.

        Returns:
            Id and idempotency key of each sending.
        """
        keys = keys or [new_key() for _ in parcels]
        moment = state.now()
        with self.engine.begin() as connection:
            first = _take_numbers(connection, len(parcels))
            connection.execute(
                insert(sendings),
                [
                    {
                        "sending_id": first + place,
                        "destination": self.destination,
                        "run_id": run_id,
                        "idempotency_key": key,
                        "rows": count,
                        "status": "intended",
                        "attempts": 0,
                        "intended_at": moment,
                        "body": body,
                    }
                    for place, (key, (count, body)) in enumerate(zip(keys, parcels, strict=True))
                ],
            )
            entered = (
                f"select customer_id, object, change, payload_hash, received_hash, parcel + {first}"
                f" as sending_id, null as status, attempts, reason from ({rows_sql})"
            )
            if len(parcels) == 1 and parcels[0][0] >= BULK_ROWS:
                self._write_part(connection, first, entered)
            else:
                self._write(connection, entered)
            self._bump(connection)
        return [(first + place, key) for place, key in enumerate(keys)]

    def enter(self, rows_sql: str, sending_id: int | None = None) -> None:
        """Enter rows with a state of their own, as the image's table has them.

        Args:
            sending_id: of which they were part; without one they are not sent.
        """
        with self.engine.begin() as connection:
            number = sending_id or _take_numbers(connection, 1)
            self._write(
                connection,
                f"select customer_id, object, change, payload_hash, received_hash, {number}, "
                f"status, attempts, reason from ({rows_sql})",
            )
            self._bump(connection)

    def _write_part(self, connection: Connection, sending_id: int, sql: str) -> None:
        """Enter the rows of one sending as a part."""
        read_rows = self.connection.execute(sql).to_arrow_reader(PART_ROWS)
        for place, batch in enumerate(read_rows):
            sink = pa.BufferOutputStream()
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            table = pa.Table.from_batches([batch]).cast(ENTERED)
            with pa.ipc.new_stream(sink, ENTERED, options=options) as writer:
                writer.write_table(table)
            connection.execute(
                insert(parts).values(
                    destination=self.destination, sending_id=sending_id, place=place,
                    count=len(table), content=sink.getvalue().to_pybytes(),
                )
            )  # fmt: skip

    def gather(self) -> None:
        """Bring scattered parts and rows together into one; nothing may be on its way."""
        with self.engine.begin() as connection:
            held = select(func.sum(parts.c.count)).where(parts.c.destination == self.destination)
            scattered = connection.execute(held).scalar() or 0
            counting = self.connection.execute("select count(*) from ledger").fetchone()
            if not counting or scattered <= max(BULK_ROWS, counting[0]) * MAX_SCATTER:
                return
            read(connection, self.destination, self.connection)
            self.connection.execute(f"create or replace temp table gathered as {LEDGER}")
            for table in (deliveries, parts):
                connection.execute(delete(table).where(table.c.destination == self.destination))
            self._write_part(
                connection,
                _take_numbers(connection, 1),
                f"select {', '.join(ENTERED.names)} from gathered order by customer_id, object",
            )

    def _write(self, connection: Connection, sql: str) -> None:
        """Enter or replace ledger rows, as fast as the store takes them.

        ``sql`` gives customer_id and the columns behind it, in the table's order.
        """
        names = [column.name for column in deliveries.columns]
        rows = self.connection.execute(sql)
        if connection.dialect.name != "sqlite":
            _copy_rows(connection, self.destination, names, rows)
            return
        marks = ", ".join("?" * (len(names) - 1))
        into = f"insert or replace into deliveries ({', '.join(names)})"
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.executemany(f"{into} values ('{self.destination}', {marks})", _fetched(rows))

    def answer(
        self,
        answers: Sequence[tuple[int, str, int, str]],
        own: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Record what became of sendings.

        Args:
            answers: (sending_id, status, attempts, answer in words without data).
            own: rows that do not follow their sending: customer_id, object, status, attempts,
                reason.
        """
        moment = state.now()
        with self.engine.begin() as connection:
            together: dict[tuple[str, int, str], list[int]] = {}
            for sending_id, status, attempts, said in answers:
                together.setdefault((status, attempts, said), []).append(sending_id)
            for (status, attempts, said), ids in together.items():
                change = update(sendings).values(
                    status=status, attempts=attempts, answer=said[:250], answered_at=moment,
                    body=None,
                )  # fmt: skip
                if ids[-1] - ids[0] == len(ids) - 1 and ids == sorted(ids):
                    between = sendings.c.sending_id.between(ids[0], ids[-1])
                    connection.execute(change.where(between))
                else:
                    one = change.where(sendings.c.sending_id == bindparam("one"))
                    connection.execute(one, [{"one": each} for each in ids])
            if own:
                connection.execute(
                    update(deliveries)
                    .where(
                        deliveries.c.destination == self.destination,
                        deliveries.c.customer_id == bindparam("its_customer"),
                        deliveries.c.object == bindparam("its_object"),
                    )
                    .values(
                        status=bindparam("its_status"),
                        attempts=bindparam("its_attempts"),
                        reason=bindparam("its_reason"),
                    ),
                    [
                        {
                            "its_customer": row["customer_id"],
                            "its_object": row["object"],
                            "its_status": row["status"],
                            "its_attempts": row["attempts"],
                            "its_reason": (row["reason"] or "")[:250],
                        }
                        for row in own
                    ],
                )
            self._bump(connection)

    def replay(self, customer_id: str | None) -> int:
        """Let dead rows (of one customer) be tried again from the next run on; how many."""
        return self._decide("dead", "failed", customer_id)

    def confirm(self, *, received: bool, customer_id: str | None = None) -> int:
        """A person says whether unknown rows have arrived; how many."""
        return self._decide("unknown", "acknowledged" if received else "failed", customer_id)

    def _decide(self, status: str, becomes: str, customer_id: str | None) -> int:
        """Whatever is in ``status`` gets another state of its own, and its attempts back."""
        with self.engine.begin() as connection:
            read(connection, self.destination, self.connection)
        self.connection.execute(
            "create or replace temp table decided as select * replace (? as status, 0 as attempts) "
            f"from ({LEDGER}) where status = ? and (? is null or customer_id = ?)",
            [becomes, status, customer_id, customer_id],
        )
        counted = self.connection.execute("select count(*) from decided").fetchone()
        with self.engine.begin() as connection:
            self._write(connection, f"select {', '.join(ENTERED.names)} from decided")
            self._bump(connection)
        self.rebuild()
        return int(counted[0]) if counted else 0

    def _bump(self, connection: Connection) -> None:
        """Another version of the ledger; its image is behind until :meth:`keep`."""
        mine = ledger_versions.c.destination == self.destination
        done = connection.execute(
            update(ledger_versions).where(mine).values(version=ledger_versions.c.version + 1)
        )
        if not done.rowcount:
            connection.execute(
                insert(ledger_versions).values(destination=self.destination, version=1)
            )
        self._version = _version(connection, self.destination)

    def keep(self, rows_sql: str, *, seal: bool = True) -> None:
        """Bring the image in step with the ledger.

        Args:
            rows_sql: a query of every ledger row that has changed since the image was in step, as
                the image's table has them.
            seal: false where the ledger is about to follow: :meth:`seal` ends it. After a kill in
                between, the image is made anew.
        """
        self.connection.execute("begin")
        self.connection.execute(f"create or replace temp table changed as {rows_sql}")
        held = self.connection.execute("select count(*) from ledger").fetchone()
        if held and held[0]:
            self.connection.execute(
                "delete from ledger using changed where ledger.key_hash = changed.key_hash"
                " and ledger.customer_id = changed.customer_id and ledger.object = changed.object"
            )
        self.connection.execute("insert into ledger from changed")
        if seal:
            self._note_version()
        self.connection.execute("commit")

    def seal(self) -> None:
        """The image is in step with the ledger now."""
        self._note_version()


def new_key() -> str:
    """An idempotency key; nobody else has it."""
    return uuid.uuid4().hex


def _fetched(rows: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while batch := rows.fetchmany(FETCH):
        yield from batch


def _copy_rows(
    connection: Connection, destination: str, names: list[str], rows: duckdb.DuckDBPyConnection
) -> None:
    """PostgreSQL: COPY to a temporary table, and one statement that merges it."""
    raw = connection.connection.driver_connection
    assert raw is not None
    preparer = connection.dialect.identifier_preparer
    company = str(connection.engine.get_execution_options().get("company", ""))
    target = f"{preparer.quote(company)}.deliveries"
    listed = ", ".join(names)
    with raw.cursor() as cursor:
        cursor.execute("create temp table if not exists entered (like " + target + ")")
        cursor.execute("truncate entered")
        with cursor.copy(f"copy entered ({listed}) from stdin") as copy:
            for row in _fetched(rows):
                copy.write_row((destination, *row))
        updates = ", ".join(f"{name} = excluded.{name}" for name in names[3:])
        cursor.execute(
            f"insert into {target} ({listed}) select {listed} from entered"
            f" on conflict (destination, customer_id, object) do update set {updates}"
        )


def _take_numbers(connection: Connection, count: int) -> int:
    """The first of ``count`` numbers for sendings; they only grow."""
    counters = state.counters
    mine = counters.c.name == SENDING
    done = connection.execute(update(counters).where(mine).values(value=counters.c.value + count))
    if not done.rowcount:
        connection.execute(insert(counters).values(name=SENDING, value=count))
    last: int = connection.execute(select(counters.c.value).where(mine)).scalar_one()
    return last - count + 1


def _version(connection: Connection, destination: str) -> int:
    query = select(ledger_versions.c.version).where(ledger_versions.c.destination == destination)
    return int(connection.execute(query).scalar() or 0)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
