"""What would be sent: the rows that a destination wants, against what its receiver holds.

What belongs here: the difference, in sets, and the guard over it. What does not: sending.

A day's change must not cost the whole, so the whole is compared by two numbers a row, which DuckDB
makes in no time: ``key_hash`` of customer and object, ``quick`` of what is sent. Only rows
that differ there are looked at by the hash that the ledger keeps. Quick numbers live in the image
alone, for DuckDB promises nothing of them across versions.

In the connection of the destination's outbox there are then the view ``wanted`` (customer_id,
object, key_hash, quick, payload_hash, the columns) and the temporary tables ``marks`` (the numbers
of every wanted row), ``plan`` (rows that must be told, with ``change``) and ``held``.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from customer360.activation import consents, lawful, outbox, stops
from customer360.activation.destinations import Destination, Destinations
from customer360.activation.outbox import Outbox
from customer360.content import ID_MAP_TABLE, has_table, read_tables
from customer360.exceptions import DeliveryError
from customer360.warehouse import literal, quote

CHANGES = ("added", "changed", "removed")
SOURCE = "source_table"
"""View of the table that a destination is sent of."""

SEPARATOR = "\x1f"
"""Between the values of a key that has several columns beside customer_id."""


@dataclass(frozen=True)
class Shape:
    """What a row looks like at the receiver.

    Attributes:
        key: columns beside customer_id that tell a customer's rows apart.
        columns: name -> DuckDB type of everything that is sent, customer_id first.
        again_on: columns whose change is told; all without it.
    """

    key: tuple[str, ...]
    columns: dict[str, str]
    again_on: tuple[str, ...] = ()

    @property
    def payload(self) -> list[str]:
        """Columns that are no part of the key."""
        return [name for name in self.columns if name not in ("customer_id", *self.key)]

    @property
    def _compared(self) -> list[str]:
        return [*self.again_on] or self.payload

    @property
    def _salt(self) -> str:
        """The names under which values go: a new shape reaches every receiver."""
        names = "|".join(self.columns).encode()
        return literal(hashlib.md5(names, usedforsecurity=False).hexdigest())

    @property
    def quick(self) -> str:
        """SQL for a number of the payload that DuckDB makes in no time."""
        return f"hash({', '.join([self._salt, *map(quote, self._compared)])})"

    @property
    def hashed(self) -> str:
        """SQL for a number of the payload that stays the same in every version: 63 bits of MD5."""
        cells = [f"coalesce({quote(column)}::varchar, chr(30))" for column in self._compared]
        text = f"concat_ws(chr(31), {', '.join([self._salt, *cells])})"
        return f"(md5_number_lower({text}) >> 1)::bigint"


@dataclass(frozen=True)
class Plan:
    """What a run would send to a destination.

    Attributes:
        wanted: rows that the snapshot holds for it; held ones are not counted.
        holds: rows that the receiver holds now.
        counts: change -> rows.
        held: reason -> rows that nothing allows to be sent.
        waiting: dead or unknown -> rows that wait for a person.
        stopped: parts (name, rows before, rows now) that the guard stops.
    """

    shape: Shape
    wanted: int
    holds: int
    counts: dict[str, int]
    held: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    stopped: tuple[tuple[str, int, int], ...] = ()

    @property
    def rows(self) -> int:
        """All that would be sent."""
        return sum(self.counts.values())


def open_source(
    connection: duckdb.DuckDBPyConnection, name: str, destination: Destination, hours: list[Path]
) -> None:
    """Make the view of what may be sent: a table of the attached ``snapshot``, and what hours plan.

    Args:
        connection: the image's.
        name: of the destination.
        destination: it.
        hours: touch plans of hours since. An hour repeats, as held, what an earlier one planned;
            only what it planned itself counts.

    Raises:
        DeliveryError: the snapshot has no such table.
    """
    if not has_table(connection, "snapshot", destination.source):
        raise DeliveryError(
            f"destination {name}: the snapshot has no table {destination.source}; correct `from`"
        )
    added = ", ".join(literal(file) for file in hours)
    rows = f"union all by name from read_parquet([{added}]) where is_planned" if hours else ""
    connection.execute(
        f"create or replace temp view {SOURCE} as from snapshot.{quote(destination.source)} {rows}"
    )


def find_shape(connection: duckdb.DuckDBPyConnection, name: str, destination: Destination) -> Shape:
    """The columns of a destination, checked against what :func:`open_source` opened.

    Raises:
        DeliveryError: the table has no such column, no key, or no customers.
    """
    tables = {info.name: info for info in read_tables(connection, "snapshot")}
    info = tables[destination.source]
    described = connection.execute(f"describe {SOURCE}").fetchall()
    types = {str(row[0]): str(row[1]) for row in described}
    if "customer_id" not in types:
        raise DeliveryError(
            f"destination {name}: {info.name} has no customer_id: it is no audience"
        )
    if not info.key:
        raise DeliveryError(f"destination {name}: {info.name} declares no key in its model's YAML")
    key = tuple(column for column in info.key if column != "customer_id")
    if destination.passes and destination.passes not in key:
        key = (*key, destination.passes)
    missing = [column for column in (*key, *destination.columns) if column not in types]
    if missing:
        raise DeliveryError(
            f"destination {name}: {info.name} has no column {', '.join(missing)}; correct `columns`"
        )
    columns = {column: types[column] for column in ("customer_id", *key)}
    columns |= {column: types[column] for column in destination.columns}
    columns |= dict.fromkeys(destination.identifiers, "VARCHAR")
    return Shape(key, columns, destination.again_on)


def judge(
    connection: duckdb.DuckDBPyConnection,
    book: Outbox,
    declared: Destinations,
    destination: Destination,
) -> None:
    """Say who may be sent, for every purpose that the destination names."""
    lawful.judge(
        connection,
        book.engine,
        declared.purposes,
        [destination.purpose, *destination.columns.values()],
        f"select distinct customer_id from {SOURCE}",
    )


def make(book: Outbox, name: str, destination: Destination, as_of: dt.date) -> Plan:
    """Make the tables ``wanted``, ``held`` and ``plan``; :func:`judge` comes before it."""
    connection = book.connection
    shape = find_shape(connection, name, destination)
    _make_wanted(connection, destination, shape)
    coming = _is_coming(destination, shape, as_of)
    _make_plan(connection, destination, shape, coming)
    stopped = _stopped(connection, destination, shape, coming)
    counted = connection.execute("select change, count(*) from plan group by change").fetchall()
    reasons = connection.execute("select reason, count(*) from held group by all").fetchall()
    waiting = connection.execute(
        f"select status, count(*) from ledger where status in {outbox.WAITING} group by all"
    ).fetchall()
    return Plan(
        shape=shape,
        wanted=count_rows(connection, "marks"),
        holds=count_rows(connection, f"ledger where received_hash is not null and {coming}"),
        counts=dict.fromkeys(CHANGES, 0) | dict(counted),
        held=dict(reasons),
        waiting=dict(waiting),
        stopped=_unconfirmed(book, name, stopped),
    )


def _make_wanted(
    connection: duckdb.DuckDBPyConnection, destination: Destination, shape: Shape
) -> None:
    joins, values = [], {}
    for column, purpose in destination.columns.items():
        values[column] = f"source_rows.{quote(column)}"
        refused = lawful.REFUSED.format(purpose=purpose)
        if purpose != destination.purpose and count_rows(connection, refused):
            joins.append(f"left join {refused} on source_rows.customer_id = {refused}.customer_id")
            values[column] = f"case when {refused}.customer_id is null then {values[column]} end"
    for column, records in destination.identifiers.items():
        alias = quote(f"known_{column}")
        joins.append(f"left join ({_identifiers(connection, records)}) as {alias} "
                     f"on source_rows.customer_id = {alias}.customer_id")  # fmt: skip
        values[column] = f"{alias}.known"
    keys = [f"source_rows.{quote(column)}" for column in shape.key]
    texts = [f"coalesce({key}::varchar, '')" for key in keys] or ["''"]
    thing = texts[0] if len(texts) == 1 else f"concat_ws({literal(SEPARATOR)}, {', '.join(texts)})"
    payload = "".join(f", {values[column]} as {quote(column)}" for column in shape.payload)
    selected = "".join(
        f", {cell} as {quote(column)}" for cell, column in zip(keys, shape.key, strict=True)
    )
    where = f"where {destination.where}" if destination.where else ""
    refused = lawful.REFUSED.format(purpose=destination.purpose)
    is_refused = count_rows(connection, refused) > 0
    rows = f"(select * from {SOURCE} {where}) as source_rows"
    if is_refused:
        joins.append(f"anti join {refused} on source_rows.customer_id = {refused}.customer_id")
    connection.execute(
        "create or replace temp view wanted as "
        f"select source_rows.customer_id, {thing} as object, "
        f"hash(source_rows.customer_id, {thing}) as key_hash"
        f"{selected}{payload} from {rows} {' '.join(dict.fromkeys(joins))} "
        "where source_rows.customer_id is not null"
    )
    connection.execute(
        f"create or replace temp table held as select source_rows.customer_id, {thing} as object, "
        f"{refused}.reason from {rows} inner join {refused} "
        f"on source_rows.customer_id = {refused}.customer_id"
    )
    part = _part(destination, shape)
    connection.execute(
        f"create or replace temp table marks as select key_hash, {shape.quick} as quick, "
        f"{part} as part from wanted"
    )


def _part(destination: Destination, shape: Shape) -> str:
    """The part of an ``object`` by which the guard watches rows apart.

    Raises:
        DeliveryError: the guard names no column of the key.
    """
    guarded = destination.guard.part
    if guarded is None:
        return "''"
    if guarded not in shape.key:
        raise DeliveryError(
            f"guard.part: {guarded} is no part of the key of {destination.source} "
            f"({', '.join(shape.key)})"
        )
    if len(shape.key) == 1:
        return "object"
    return f"split_part(object, {literal(SEPARATOR)}, {shape.key.index(guarded) + 1})"


def _is_coming(destination: Destination, shape: Shape, as_of: dt.date) -> str:
    """Condition for rows of the ledger that are not past: a tool is not told to take those back."""
    if destination.passes is None:
        return "true"
    place = shape.key.index(destination.passes) + 1
    day = f"split_part(ledger.object, {literal(SEPARATOR)}, {place})"
    return f"try_cast({day} as date) > date {literal(str(as_of))}"


def _identifiers(connection: duckdb.DuckDBPyConnection, records: str) -> str:
    """customer_id -> the lowest key of its records in a table; merged customers may have more."""
    prefix = f"{records}:"
    return (
        f"select customer_id, min(substr(identifier_value, {len(prefix) + 1})) as known "
        "from snapshot.customer_identifiers where identifier_type = 'record' "
        f"and {consents.present(connection)} "
        f"and starts_with(identifier_value, {literal(prefix)}) group by customer_id"
    )


def _make_plan(
    connection: duckdb.DuckDBPyConnection,
    destination: Destination,
    shape: Shape,
    coming: str,
) -> None:
    """Rows whose receiver does not hold what is wanted now.

    Rows that wait for a person, or for an answer to their key, are left alone. Where a
    table keeps what has left (upsert), rows that nothing allows to stay are removed all the same.
    """
    # Hashed above the selection, so that only what differs is.
    differing = f"select *, {shape.quick} as quick, {shape.hashed} as payload_hash from wanted"
    known = count_rows(connection, "ledger") > 0
    if known:
        connection.execute(
            f"create or replace temp table differing as {differing} where key_hash in ("
            "select key_hash from marks anti join ledger "
            "on marks.key_hash = ledger.key_hash and marks.quick = ledger.received_quick)"
        )
    kept = "and held.reason is not null" if getattr(destination, "mode", "") == "upsert" else ""
    # A row that has left is known by its key alone, which its object holds.
    parts = [
        f"cast(split_part(ledger.object, {literal(SEPARATOR)}, {place}) as {shape.columns[column]})"
        for place, column in enumerate(shape.key, 1)
    ]
    payload = [f"differing.{quote(column)}" for column in (*shape.key, *shape.payload)]
    gone = [*parts, *("null" for _ in shape.payload)]
    attempts = "coalesce(case when ledger.status = 'failed' then ledger.attempts end, 0)"
    waits = f"coalesce(ledger.status, '') in {(*outbox.WAITING, 'intended')}"
    connection.execute(
        "create or replace temp table plan as select "
        + ", ".join([
            "differing.customer_id", "differing.object",
            "case when ledger.received_hash is null then 'added' else 'changed' end as change",
            "differing.payload_hash", "ledger.received_hash", f"{attempts} as own_attempts",
            "null::varchar as own_reason", "differing.key_hash", "differing.quick",
            "ledger.received_quick", "null::varchar as successor_id", *payload,
        ])
        + f" from {'differing' if known else f'({differing}) as differing'} "
        "left join ledger on differing.key_hash = ledger.key_hash "
        "and differing.customer_id = ledger.customer_id and differing.object = ledger.object "
        "where differing.payload_hash is distinct from ledger.received_hash "
        f"and not {waits} union all select "
        + ", ".join([
            "ledger.customer_id", "ledger.object", "'removed'", "null", "ledger.received_hash",
            attempts, "held.reason", "ledger.key_hash", "null", "ledger.received_quick",
            "successors.new_id", *gone,
        ])
        + " from ledger anti join marks on ledger.key_hash = marks.key_hash "
        "left join held on ledger.customer_id = held.customer_id and ledger.object = held.object "
        f"left join ({_successors(connection)}) as successors "
        "on ledger.customer_id = successors.old_id "
        f"where ledger.received_hash is not null and not {waits} and {coming} {kept} "
        # The order of requests is seen.
        + ("order by 1, 2" if destination.kind in ("webhook", "mail") else "")
    )  # fmt: skip
    if known:
        _learn(connection)


def _successors(connection: duckdb.DuckDBPyConnection) -> str:
    """old_id -> the one customer whom a tool that kept it finds there now."""
    if not has_table(connection, "snapshot", ID_MAP_TABLE):
        return "select null::varchar as old_id, null::varchar as new_id where false"
    return (
        f"select old_id, min(new_id) as new_id from snapshot.{ID_MAP_TABLE} "
        "where reason = 'merge' group by old_id having count(distinct new_id) = 1"
    )


def _learn(connection: duckdb.DuckDBPyConnection) -> None:
    """Quick numbers of rows that the receiver holds already: the image had lost them."""
    if count_rows(connection, "(select 1 from ledger where received_quick is null "
                  "and received_hash is not null limit 1)"):  # fmt: skip
        connection.execute(
            "update ledger set received_quick = differing.quick from differing "
            "where ledger.key_hash = differing.key_hash "
            "and ledger.received_hash = differing.payload_hash"
        )


def new_holds() -> str:
    """A query of held rows that the ledger does not know as held for this reason yet."""
    return (
        "select held.customer_id, held.object, 'added' as change, null::bigint as payload_hash, "
        "null::bigint as received_hash, 'held' as status, 0 as attempts, held.reason, "
        "hash(held.customer_id, held.object) as key_hash, null::ubigint as received_quick "
        "from held left join ledger "
        "on held.customer_id = ledger.customer_id and held.object = ledger.object "
        "where ledger.received_hash is null and ledger.reason is distinct from held.reason "
        f"and coalesce(ledger.status, '') not in {outbox.WAITING}"
    )


def _stopped(
    connection: duckdb.DuckDBPyConnection, destination: Destination, shape: Shape, coming: str
) -> list[tuple[str, int, int]]:
    """Parts that grew or emptied beyond what the guard lets pass, against what is held."""
    guard, part = destination.guard, _part(destination, shape)
    rows = connection.execute(
        "select coalesce(before.part, now.part), coalesce(before.held_rows, 0), "
        "coalesce(now.wanted_rows, 0) from "
        f"(select {part} as part, count(*) as held_rows from ledger "
        f"where received_hash is not null and {coming} group by all) as before full join "
        # Consents that are taken back are no reason to stop: those rows have to leave.
        "(select part, count(*) as wanted_rows from (select part from marks union all "
        f"select {part} from held) group by all) as now "
        "on before.part = now.part"
    ).fetchall()
    return [
        (str(name), before, now)
        for name, before, now in sorted(rows)
        if (not now and before >= guard.min_before)
        or (before and now > max(before * guard.max_growth, guard.min_rows))
    ]


def _unconfirmed(
    book: Outbox, name: str, stopped: Iterable[tuple[str, int, int]]
) -> tuple[tuple[str, int, int], ...]:
    """Those that no person has confirmed at about this size."""
    confirmed = {
        row["part"]: row["rows_now"]
        for row in stops.stopped_parts(book.engine, name)
        if row["is_confirmed"]
    }
    return tuple(
        each
        for each in stopped
        if not (each[0] in confirmed and each[2] <= confirmed[each[0]] * 1.2)
    )


def write_rows(connection: duckdb.DuckDBPyConnection, shape: Shape, target: Path) -> None:
    """Write the plan as JSON Lines: exactly what would be sent, deletes included."""
    connection.execute(
        f"copy (select customer_id, object, change, "
        f"{', '.join(quote(name) for name in shape.columns if name != 'customer_id')} "
        f"from plan order by customer_id, object) to {literal(target)} (format json)"
    )


def count_rows(connection: duckdb.DuckDBPyConnection, what: str) -> int:
    """Rows of a table, or of a query in brackets."""
    row = connection.execute(f"select count(*) from {what}").fetchone()
    assert row
    return int(row[0])
