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

**The image.** A store of rows is slow to read whole, and a day's change must not cost the whole. So
each destination has a DuckDB file that holds its ledger's effective state as columns, written in
step with the ledger. Both carry a version; where they differ (a kill, a restored backup) the image
is made anew from the ledger, which alone is the truth.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import duckdb
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
    case,
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
    create table if not exists ledger (
        customer_id varchar, object varchar, change varchar, payload_hash bigint,
        received_hash bigint, status varchar, attempts integer, reason varchar
    )
"""
FETCH = 20_000

_effective_status = func.coalesce(deliveries.c.status, sendings.c.status)
_effective_hash = case(
    (_effective_status == "acknowledged", deliveries.c.payload_hash),
    else_=deliveries.c.received_hash,
)
_with_sendings = deliveries.outerjoin(sendings, deliveries.c.sending_id == sendings.c.sending_id)


# --- looking at the ledger ----------------------------------------------------------------------


def states_query(destination: str) -> Any:
    """A query of (state, rows) of a destination's ledger."""
    return (
        select(_effective_status, func.count())
        .select_from(_with_sendings)
        .where(deliveries.c.destination == destination)
        .group_by(_effective_status)
        .order_by(_effective_status)
    )


def rows(
    engine: Engine, destination: str, customer_id: str | None, status: str | None, limit: int
) -> list[RowMapping]:
    """Ledger rows with what was answered and when."""
    query = (
        select(
            deliveries.c.customer_id,
            deliveries.c.object,
            deliveries.c.change,
            _effective_status.label("status"),
            sendings.c.attempts,
            deliveries.c.attempts.label("failed_runs"),
            deliveries.c.reason,
            deliveries.c.payload_hash,
            sendings.c.run_id,
            sendings.c.idempotency_key,
            sendings.c.answer,
            func.coalesce(sendings.c.answered_at, sendings.c.intended_at).label("at"),
        )
        .select_from(_with_sendings)
        .where(deliveries.c.destination == destination)
        .order_by(deliveries.c.customer_id, deliveries.c.object)
        .limit(limit)
    )
    if customer_id is not None:
        query = query.where(deliveries.c.customer_id == customer_id)
    if status is not None:
        query = query.where(_effective_status == status)
    with engine.begin() as connection:
        return list(connection.execute(query).mappings())


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
        self.connection.execute(EMPTY_IMAGE)
        self.connection.execute("create table if not exists image (version bigint)")
        with self.engine.begin() as connection:
            self._version = _version(connection, self.destination)
        held = self.connection.execute("select max(version) from image").fetchone()
        if held and held[0] == self._version:
            return
        self.rebuild()

    def rebuild(self) -> None:
        """Make the image anew from the ledger."""
        self.connection.execute("drop table ledger")
        self.connection.execute(EMPTY_IMAGE)
        with self.engine.begin() as connection:
            self._version = _version(connection, self.destination)
            rows = connection.execution_options(stream_results=True).execute(
                select(
                    deliveries.c.customer_id,
                    deliveries.c.object,
                    deliveries.c.change,
                    deliveries.c.payload_hash,
                    _effective_hash,
                    _effective_status,
                    deliveries.c.attempts,
                    deliveries.c.reason,
                )
                .join_from(
                    deliveries, sendings, deliveries.c.sending_id == sendings.c.sending_id,
                    isouter=True,
                )
                .where(deliveries.c.destination == self.destination)
            )  # fmt: skip
            import pyarrow as pa

            names = ("customer_id", "object", "change", "payload_hash", "received_hash", "status",
                     "attempts", "reason")  # fmt: skip
            kinds = (pa.string(), pa.string(), pa.string(), pa.int64(), pa.int64(), pa.string(),
                     pa.int32(), pa.string())  # fmt: skip
            while batch := rows.fetchmany(FETCH * 5):
                columns = zip(*batch, strict=True)
                arrays = [pa.array(c, k) for c, k in zip(columns, kinds, strict=True)]
                part = pa.table(dict(zip(names, arrays, strict=True)))
                self.connection.register("part", part)
                self.connection.execute("insert into ledger select * from part")
                self.connection.unregister("part")
        self._note_version()

    def _note_version(self) -> None:
        self.connection.execute("delete from image")
        self.connection.execute("insert into image values (?)", [self._version])

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
            self._write(
                connection,
                f"select customer_id, object, change, payload_hash, received_hash, parcel + {first}"
                f", null, attempts, reason from ({rows_sql})",
            )
            self._bump(connection)
        return [(first + place, key) for place, key in enumerate(keys)]

    def enter(self, rows_sql: str) -> None:
        """Enter rows that are not sent, as the image's table has them."""
        with self.engine.begin() as connection:
            self._write(
                connection,
                "select customer_id, object, change, payload_hash, received_hash, null, status,"
                f" attempts, reason from ({rows_sql})",
            )
            self._bump(connection)

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
        mine = [deliveries.c.destination == self.destination]
        if customer_id is not None:
            mine.append(deliveries.c.customer_id == customer_id)
        those = select(sendings.c.sending_id).where(
            sendings.c.destination == self.destination, sendings.c.status == status
        )
        follows = deliveries.c.status.is_(None) & deliveries.c.sending_id.in_(those)
        with self.engine.begin() as connection:
            done = connection.execute(
                update(deliveries)
                .where(*mine, (deliveries.c.status == status) | follows)
                .values(status=becomes, attempts=0)
            )
            self._bump(connection)
        self.rebuild()
        return done.rowcount

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
                "delete from ledger using changed where ledger.customer_id = changed.customer_id"
                " and ledger.object = changed.object"
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
