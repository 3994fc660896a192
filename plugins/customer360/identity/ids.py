"""Stable ids: which customer a group of records is, from run to run.

What belongs here: the memory of who was which customer (in the decision state), the giving of ids
to the groups of a run, merges and splits as events. What does not: forming the groups
(``engine``), people's decisions (``decisions``).

A customer keeps its id as long as the biggest part of it stays together: of each id and each group
the pairs with the largest overlap of records are matched first (ties: the older id, then the
smaller; of two parts the one that has been it for longer). A group without one gets back an id
of its past if a split made it, else a new one. The
memory is bitemporal in what we knew: a membership is closed, never changed.

**Runs.** Each identity run has a number. A run that is repeated first takes back what it wrote, so
it ends in the same ids. A run that is older than the last one reads and writes nothing.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
from sqlalchemy import (
    Column,
    Connection,
    Date,
    Engine,
    Index,
    Integer,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from customer360.state import UtcDateTime, metadata, now

_CHUNK = 20_000

T = TypeVar("T")

identity_runs = Table(
    "identity_runs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("run_id", String(250), nullable=False, unique=True),
    Column("as_of", Date, nullable=False),
    Column("version", String(64), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    comment="Runs of identity resolution in order; version is the frozen model's.",
)

identity_customers = Table(
    "identity_customers",
    metadata,
    Column("customer_id", String(40), primary_key=True),
    Column("opened", Integer, primary_key=True, autoincrement=False),
    Column("closed", Integer),
    comment="Every id ever given, a row for each time it was in use; opened and closed are numbers"
    " of identity_runs.",
)

identity_members = Table(
    "identity_members",
    metadata,
    Column("record_id", String(400), primary_key=True),
    Column("opened", Integer, primary_key=True, autoincrement=False),
    Column("closed", Integer),
    Column("customer_id", String(40), nullable=False),
    Index("identity_members_by_customer", "customer_id"),
    comment="Which record belonged to which customer, from which run until which.",
)

identity_changes = Table(
    "identity_changes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("old_id", String(40), primary_key=True),
    Column("new_id", String(40), primary_key=True),
    Column("reason", String(16), nullable=False),
    comment="merge: old is gone and went into new, the most of it; split: a part of old is new;"
    " undo: new came back.",
)


@dataclass(frozen=True)
class Run:
    """A run's place in the memory.

    Attributes:
        number: its number.
        before: number of the run before, whose memberships it starts from; 0 for none.
        writes: False for a run that is older than the last one.
    """

    number: int
    before: int
    writes: bool


@dataclass
class Assignment:
    """What a run changes: memberships to close and open, ids, events."""

    close: list[str] = field(default_factory=list)
    open: list[tuple[str, str]] = field(default_factory=list)
    changes: list[tuple[str, str, str]] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    revived: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


def last_run(engine: Engine) -> Any | None:
    """The row of the last identity run, or None."""
    with engine.begin() as connection:
        return connection.execute(
            select(identity_runs).order_by(identity_runs.c.number.desc()).limit(1)
        ).first()


def run_ids(engine: Engine) -> dict[int, str]:
    """Number of each run -> its ``run_id``."""
    with engine.begin() as connection:
        rows = connection.execute(select(identity_runs.c.number, identity_runs.c.run_id)).all()
    return {int(row.number): str(row.run_id) for row in rows}


def begin(engine: Engine, run_id: str, as_of: dt.date) -> Run:
    """The run's place. A repeated last run takes back what it wrote."""
    with engine.begin() as connection:
        rows = connection.execute(
            select(identity_runs).order_by(identity_runs.c.number.desc()).limit(2)
        ).all()
        last = rows[0] if rows else None
        if last is None:
            return Run(1, 0, writes=True)
        if last.run_id == run_id:
            _take_back(connection, last.number)
            return Run(last.number, rows[1].number if len(rows) > 1 else 0, writes=True)
        known = connection.execute(
            select(identity_runs.c.number).where(identity_runs.c.run_id == run_id)
        ).first()
        if known is not None or as_of < last.as_of:
            return Run(last.number, last.number, writes=False)
        return Run(last.number + 1, last.number, writes=True)


def _take_back(connection: Connection, number: int) -> None:
    for table in (identity_members, identity_customers):
        connection.execute(delete(table).where(table.c.opened == number))
        connection.execute(update(table).where(table.c.closed == number).values(closed=None))
    connection.execute(delete(identity_changes).where(identity_changes.c.number == number))
    connection.execute(delete(identity_runs).where(identity_runs.c.number == number))


def load_members(engine: Engine, con: duckdb.DuckDBPyConnection, table: str) -> None:
    """Make ``table`` (``record_id``, ``customer_id``, ``opened``, ``closed``): all memberships."""
    con.execute(
        f"CREATE OR REPLACE TABLE {table} "
        "(record_id VARCHAR, customer_id VARCHAR, opened INTEGER, closed INTEGER)"
    )
    members = identity_members.c
    query = select(members.record_id, members.customer_id, members.opened, members.closed)
    with engine.begin() as connection:
        for rows in connection.execution_options(yield_per=_CHUNK).execute(query).partitions():
            columns = list(zip(*rows, strict=True))
            con.register("members_read", pa.table({
                "record_id": pa.array(columns[0], pa.string()),
                "customer_id": pa.array(columns[1], pa.string()),
                "opened": pa.array(columns[2], pa.int32()),
                "closed": pa.array(columns[3], pa.int32()),
            }))  # fmt: skip
            con.execute(f"INSERT INTO {table} SELECT * FROM members_read")
            con.unregister("members_read")


def assign(con: duckdb.DuckDBPyConnection, engine: Engine, before: str, grouped: str) -> Assignment:
    """Give ids to groups and say what changes.

    Args:
        con: holds the two tables.
        engine: the decision state, read for ids of the past.
        before: table (``record_id``, ``customer_id``, ``opened``) of the memberships until now. It
            may be cut
            down to customers that any group of ``grouped`` touches, if it has these wholly.
        grouped: table (``record_id``, ``group_id``) of the records now, cut down likewise.

    Returns:
        The changes; ``group_customer`` (``group_id``, ``customer_id``) is made in ``con``.
    """
    overlap = con.execute(
        f"""
        SELECT customer_id, group_id, count(*) AS records, min(opened) AS since
        FROM {before} JOIN {grouped} USING (record_id) GROUP BY ALL
        """
    ).fetchall()
    opened = dict(_of_customers(engine, {row[0] for row in overlap}))
    overlap.sort(
        key=lambda row: (-row[2], opened.get(row[0], (0, None))[0], row[0], row[3], row[1])
    )
    group_of: dict[str, str] = {}
    given: dict[str, str] = {}
    for customer, group, _, _ in overlap:
        if customer not in group_of and group not in given:
            group_of[customer] = group
            given[group] = customer
    found = Assignment()
    present = set(group_of)
    lost = [
        (group, first)
        for group, first in con.execute(
            f"SELECT group_id, min(record_id) FROM {grouped} GROUP BY group_id ORDER BY group_id"
        ).fetchall()
        if group not in given
    ]
    split_off = {group for _, group, _, _ in overlap} - set(given)
    past = _past_ids(con, engine, grouped, split_off)
    taken: dict[str, tuple[int, int | None]] = dict(
        _of_customers(engine, [_new_id(first, 0) for _, first in lost])
    )
    for group, first in lost:
        revived = next((one for one in past.get(group, ()) if one not in present), None)
        if revived is None:
            revived = _free_id(first, taken, present, engine, found)
        else:
            found.revived.append(revived)
        given[group] = revived
        present.add(revived)
    revived_ids = set(found.revived)
    heir = set(group_of)  # ids that live on, in themselves or in the one they went into
    for customer, group, _, _ in overlap:
        new = given[group]
        if new == customer:
            continue
        reason = "undo" if new in revived_ids else "split" if customer in heir else "merge"
        if reason == "merge":
            heir.add(customer)
        found.changes.append((customer, new, reason))
    found.changes.sort()
    con.register(
        "ids_given",
        pa.table({
            "group_id": pa.array(list(given), pa.string()),
            "customer_id": pa.array(list(given.values()), pa.string()),
        }),
    )  # fmt: skip
    con.execute("CREATE OR REPLACE TEMP TABLE group_customer AS SELECT * FROM ids_given")
    con.unregister("ids_given")
    moved = con.execute(
        f"""
        SELECT record_id, old.customer_id, new.customer_id
        FROM {before} AS old
        FULL JOIN (SELECT record_id, customer_id FROM {grouped} JOIN group_customer
            USING (group_id)) AS new USING (record_id)
        WHERE old.customer_id IS DISTINCT FROM new.customer_id ORDER BY record_id
        """
    ).fetchall()
    found.close = [record for record, old, _ in moved if old is not None]
    found.open = [(record, new) for record, _, new in moved if new is not None]
    befores = {
        row[0] for row in con.execute(f"SELECT DISTINCT customer_id FROM {before}").fetchall()
    }
    found.ended = sorted(befores - set(given.values()))
    return found


def _new_id(first: str, attempt: int) -> str:
    text = f"{first}#{attempt}" if attempt else first
    return "c-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def _free_id(
    first: str,
    taken: dict[str, tuple[int, int | None]],
    present: set[str],
    engine: Engine,
    found: Assignment,
) -> str:
    """An id for a group whose smallest record is ``first``: a new one, or its own ended one."""
    attempt = 0
    while True:
        candidate = _new_id(first, attempt)
        known = (
            taken.get(candidate)
            if attempt == 0
            else dict(_of_customers(engine, [candidate])).get(candidate)
        )
        if known is None and candidate not in present:
            found.begun.append(candidate)
            return candidate
        if known is not None and known[1] is not None and candidate not in present:
            found.revived.append(candidate)
            return candidate
        attempt += 1


def _of_customers(
    engine: Engine, ids: Iterable[str]
) -> Iterator[tuple[str, tuple[int, int | None]]]:
    """``customer_id``, when first opened and when last closed of those ``ids`` ever given."""
    table = identity_customers
    first: dict[str, int] = {}
    with engine.begin() as connection:
        for part in _batched(sorted(set(ids)), 500):
            query = select(table).where(table.c.customer_id.in_(part)).order_by(table.c.opened)
            for row in connection.execute(query):
                first.setdefault(row.customer_id, row.opened)
                yield row.customer_id, (first[row.customer_id], row.closed)


def _past_ids(
    con: duckdb.DuckDBPyConnection, engine: Engine, grouped: str, groups: set[str]
) -> dict[str, list[str]]:
    """For groups that a split made: ended ids of their records' past, the likeliest first."""
    if not groups:
        return {}
    con.register("groups_asked", pa.table({"group_id": pa.array(sorted(groups), pa.string())}))
    records = dict(
        con.execute(
            f"SELECT record_id, group_id FROM {grouped} SEMI JOIN groups_asked USING (group_id)"
        ).fetchall()
    )
    con.unregister("groups_asked")
    members, customers = identity_members.c, identity_customers.c
    counts: dict[str, dict[str, int]] = {}
    with engine.begin() as connection:
        for part in _batched(sorted(records), 500):
            rows = connection.execute(
                select(members.record_id, members.customer_id)
                .where(
                    members.record_id.in_(part),
                    members.customer_id.not_in(
                        select(customers.customer_id).where(customers.closed.is_(None))
                    ),
                )
                .distinct()
            )
            for row in rows:
                of_group = counts.setdefault(records[row.record_id], {})
                of_group[row.customer_id] = of_group.get(row.customer_id, 0) + 1
    return {
        group: sorted(found, key=lambda one: (-found[one], one)) for group, found in counts.items()
    }


def write(
    engine: Engine, run: Run, run_id: str, as_of: dt.date, version: str, found: Assignment
) -> None:
    """Keep a run's changes in the memory, in one transaction."""
    members, customers = identity_members, identity_customers
    with engine.begin() as connection:
        connection.execute(
            insert(identity_runs).values(
                number=run.number, run_id=run_id, as_of=as_of, version=version, at=now()
            )
        )
        for part in _batched(found.close, 500):
            connection.execute(
                update(members)
                .where(members.c.record_id.in_(part), members.c.closed.is_(None))
                .values(closed=run.number)
            )
        _insert(connection, members, (
            {"record_id": record, "customer_id": customer, "opened": run.number}
            for record, customer in found.open
        ))  # fmt: skip
        _insert(connection, customers, (
            {"customer_id": customer, "opened": run.number}
            for customer in (*found.begun, *found.revived)
        ))  # fmt: skip
        for part in _batched(found.ended, 500):
            connection.execute(
                update(customers)
                .where(customers.c.customer_id.in_(part), customers.c.closed.is_(None))
                .values(closed=run.number)
            )
        _insert(connection, identity_changes, (
            {"number": run.number, "old_id": old, "new_id": new, "reason": reason}
            for old, new, reason in found.changes
        ))  # fmt: skip


def _batched(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(rows)
    while part := list(islice(iterator, size)):
        yield part


def _insert(connection: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    for part in _batched(rows, _CHUNK):
        connection.execute(insert(table), part)


def apply(con: duckdb.DuckDBPyConnection, table: str, run: Run, found: Assignment) -> None:
    """Do to ``table`` (shape: ``load_members``) what ``write`` does to the memory."""
    con.register("members_closed", pa.table({"record_id": pa.array(found.close, pa.string())}))
    con.execute(
        f"UPDATE {table} SET closed = {run.number} WHERE closed IS NULL "
        "AND record_id IN (SELECT record_id FROM members_closed)"
    )
    con.register("members_opened", pa.table({
        "record_id": pa.array([record for record, _ in found.open], pa.string()),
        "customer_id": pa.array([customer for _, customer in found.open], pa.string()),
    }))  # fmt: skip
    con.execute(
        f"INSERT INTO {table} SELECT record_id, customer_id, {run.number}, NULL FROM members_opened"
    )
    con.unregister("members_closed")
    con.unregister("members_opened")


def present_ids(engine: Engine, customer_id: str) -> list[str]:
    """The present ids of a past or present one: itself, what it merged into, its parts.

    Empty where the id is unknown, or all its records are gone.
    """
    customers, changes = identity_customers.c, identity_changes.c
    with engine.begin() as connection:
        seen = {customer_id}
        waiting = [customer_id]
        while waiting:
            for row in connection.execute(
                select(changes.new_id).where(changes.old_id == waiting.pop())
            ):
                if row.new_id not in seen:
                    seen.add(row.new_id)
                    waiting.append(row.new_id)
        rows = connection.execute(
            select(customers.customer_id).where(
                customers.customer_id.in_(sorted(seen)), customers.closed.is_(None)
            )
        )
        return sorted(row.customer_id for row in rows)


def customers_now(engine: Engine) -> int:
    """Number of present customers."""
    closed = identity_customers.c.closed
    with engine.begin() as connection:
        return int(
            connection.execute(
                select(func.count()).select_from(identity_customers).where(closed.is_(None))
            ).scalar_one()
        )
