"""What was decided about touching whom, kept in the decision state.

What belongs here: hold-outs as assigned, and the decisions (alerts, touches, triggers, tasks,
assignments) that later runs must know of. What does not: why they were decided.

A run of a day sees what was decided on days before it, by runs that were published, and replaces
nothing of other runs: so the same day again gives the same content, whatever came of the first try,
and a decision that was never published is not held against anyone.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import (
    Column,
    Connection,
    Date,
    Engine,
    Float,
    Index,
    String,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    not_,
    or_,
    select,
)

from customer360 import state

ROWS_AT_ONCE = 50_000
HOURLY = "hour_"
"""Runs of the hourly lane begin so; they publish nothing, what they decide goes out at once."""

KEEP_DAYS = 400
"""Older decisions are forgotten; no window or cool-down is longer."""

holdouts = Table(
    "holdouts",
    state.metadata,
    Column("campaign", String(100), primary_key=True),
    Column("customer_id", String(64), primary_key=True),
    Column("arm", String(8), nullable=False),
    Column("assigned_on", Date, nullable=False),
    comment="Which arm of a campaign a customer was put into, when; never changed afterwards.",
)

decisions = Table(
    "engagement_decisions",
    state.metadata,
    Column("run_id", String(250), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("decision_id", String(40), primary_key=True),
    Column("subject_id", String(64), nullable=False),
    Column("name", String(100), nullable=False),
    Column("channel", String(32)),
    Column("decided_on", Date, nullable=False),
    Column("until_on", Date),
    Column("since_on", Date),
    Column("score", Float),
    Column("owner", String(100)),
    Index("engagement_decisions_by_day", "kind", "decided_on"),
    comment="What runs decided about touching whom: later runs keep to it.",
)

DECISION_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("decision_id", pa.string()),
        ("subject_id", pa.string()),
        ("name", pa.string()),
        ("channel", pa.string()),
        ("decided_on", pa.date32()),
        ("until_on", pa.date32()),
        ("since_on", pa.date32()),
        ("score", pa.float64()),
        ("owner", pa.string()),
    ]
)
HOLDOUT_SCHEMA = pa.schema(
    [
        ("campaign", pa.string()),
        ("customer_id", pa.string()),
        ("arm", pa.string()),
        ("assigned_on", pa.date32()),
    ]
)


@dataclass(frozen=True)
class Memory:
    """The memory of one run.

    Attributes:
        engine: the decision state.
        run_id: the run that decides.
        as_of: its day; what was decided on it or later is not seen.
    """

    engine: Engine
    run_id: str
    as_of: dt.date

    def recall(self, kind: str, since: dt.date | None = None) -> pa.Table:
        """Decisions of ``kind`` that hold for this run; one row a decision.

        A night sees those of the days before it, by published nights and by hours. An hour sees
        those of its own day too, by the night and by the hours before it.
        """
        columns = [decisions.c[name] for name in DECISION_SCHEMA.names]
        run_id, decided_on = decisions.c.run_id, decisions.c.decided_on
        is_hour = run_id.startswith(HOURLY, autoescape=True)
        before = decided_on < self.as_of
        if self.run_id.startswith(HOURLY):
            earlier = or_(not_(is_hour), run_id < self.run_id)
            before = or_(before, and_(decided_on == self.as_of, earlier))
        query = (
            select(*columns)
            .outerjoin(state.runs, state.runs.c.run_id == run_id)
            .where(
                decisions.c.kind == kind, before, or_(state.runs.c.snapshot.is_not(None), is_hour)
            )
            .distinct()
        )
        if since is not None:
            query = query.where(decisions.c.decided_on >= since)
        return _once(_read(self.engine, query, DECISION_SCHEMA))

    def keep(self, made: Iterable[pa.Table]) -> None:
        """Keep what this run decided, in place of what an earlier try of it did."""
        old = self.as_of - dt.timedelta(days=KEEP_DAYS)
        with self.engine.begin() as connection:
            connection.execute(delete(decisions).where(decisions.c.run_id == self.run_id))
            connection.execute(delete(decisions).where(decisions.c.decided_on < old))
            for table in made:
                checked = table.select(DECISION_SCHEMA.names).cast(DECISION_SCHEMA)
                _write(connection, decisions, checked, run_id=self.run_id)

    def assigned(self) -> pa.Table:
        """Every arm as assigned until this day."""
        columns = [holdouts.c[name] for name in HOLDOUT_SCHEMA.names]
        query = select(*columns).where(holdouts.c.assigned_on <= self.as_of)
        return _read(self.engine, query, HOLDOUT_SCHEMA)

    def assign(self, arms: pa.Table) -> None:
        """Keep arms that are assigned for the first time; to be called before anything is sent.

        A day of the past may assign earlier what a later one has assigned: the arm is the same (a
        keyed hash), the earlier day holds.
        """
        with self.engine.begin() as connection:
            for batch in arms.select(HOLDOUT_SCHEMA.names).to_batches(max_chunksize=ROWS_AT_ONCE):
                rows = batch.to_pylist()
                _forget(connection, rows)
                connection.execute(insert(holdouts), rows)


def _forget(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Take out rows that a later day had assigned, so that the earlier day can stand."""
    later = select(holdouts.c.campaign).where(holdouts.c.assigned_on > rows[0]["assigned_on"])
    if connection.execute(later.limit(1)).first() is None:
        return
    connection.execute(
        delete(holdouts).where(
            holdouts.c.campaign == bindparam("of_campaign"),
            holdouts.c.customer_id == bindparam("of_customer"),
        ),
        [{"of_campaign": row["campaign"], "of_customer": row["customer_id"]} for row in rows],
    )


def _read(engine: Engine, query: Any, schema: pa.Schema) -> pa.Table:
    batches = []
    with engine.connect().execution_options(yield_per=ROWS_AT_ONCE) as connection:
        for rows in connection.execute(query).partitions():
            columns = list(zip(*rows, strict=True))
            arrays = [
                pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)
            ]
            batches.append(pa.record_batch(arrays, schema))
    return pa.Table.from_batches(batches, schema)


def _once(table: pa.Table) -> pa.Table:
    """The decisions of several runs of one day, each once."""
    if len(table) == 0:
        return table
    import duckdb

    with duckdb.connect() as connection:
        connection.register("decided", table)
        return connection.execute(
            "select * from decided qualify row_number() over ("
            "partition by decision_id order by decided_on desc, score desc nulls last, owner) = 1"
        ).to_arrow_table()


def _write(connection: Connection, table: Table, rows: pa.Table, **fixed: Any) -> None:
    for batch in rows.to_batches(max_chunksize=ROWS_AT_ONCE):
        if batch.num_rows:
            connection.execute(insert(table), [{**row, **fixed} for row in batch.to_pylist()])
