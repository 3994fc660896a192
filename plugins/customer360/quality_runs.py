"""The trend of the gates: what each check of each run found, kept when the run is thrown away.

What belongs here: remembering results in the decision state and putting them into a marts file.
What does not: running checks (``customer360.quality``) and which there are (``expectations``).
"""

import datetime as dt

import duckdb
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Engine,
    String,
    Table,
    delete,
    insert,
    select,
)

from customer360 import state
from customer360.gate_report import Check

TABLE = "quality_runs"
"""In the decision state and in a snapshot."""

TOLD_DAYS = 400
"""Results of so many days before a snapshot's day stand in it."""

quality_runs = Table(
    TABLE,
    state.metadata,
    Column("run_id", String(250), primary_key=True),
    Column("layer", String(32), primary_key=True),
    Column("table_name", String(250), primary_key=True),
    Column("check_name", String(500), primary_key=True),
    Column("as_of", Date, nullable=False),
    Column("checked_at", state.UtcDateTime, nullable=False),
    Column("severity", String(8), nullable=False),
    Column("is_passed", Boolean, nullable=False),
    Column("observed", BigInteger),
    comment="One row a run and check of a gate; counts only, never a value of a row.",
)

_COLUMNS = (
    "run_id", "as_of", "checked_at", "layer", "table_name", "check_name", "severity", "is_passed",
    "observed",
)  # fmt: skip


def record(engine: Engine, run_id: str, as_of: dt.date, layer: str, checks: list[Check]) -> None:
    """Remember what a gate found; a gate that is run again replaces what it found before."""
    found = {
        (check.table, check.name): {
            "run_id": run_id,
            "as_of": as_of,
            "checked_at": state.now(),
            "layer": layer,
            "table_name": check.table,
            "check_name": check.name,
            "severity": check.severity,
            "is_passed": check.status == "passed",
            "observed": check.observed,
        }
        for check in checks
    }
    with engine.begin() as connection:
        connection.execute(
            delete(quality_runs).where(
                quality_runs.c.run_id == run_id, quality_runs.c.layer == layer
            )
        )
        if found:
            connection.execute(insert(quality_runs), list(found.values()))


def tell(engine: Engine, connection: duckdb.DuckDBPyConnection, as_of: dt.date) -> int:
    """Fill ``quality_runs`` of a marts file with the trend up to ``as_of``; returns its rows."""
    since = as_of - dt.timedelta(days=TOLD_DAYS)
    with engine.begin() as store:
        rows = store.execute(
            select(*(quality_runs.c[name] for name in _COLUMNS))
            .where(quality_runs.c.as_of > since, quality_runs.c.as_of <= as_of)
            .order_by(quality_runs.c.as_of, quality_runs.c.run_id)
        ).all()
    told = [
        tuple(cell.replace(tzinfo=None) if isinstance(cell, dt.datetime) else cell for cell in row)
        for row in rows
    ]
    held = f"select {', '.join(_COLUMNS)} from main.{TABLE}"
    # A publish that is tried again must leave the file as it was, byte by byte.
    if {*connection.execute(held).fetchall()} != {*told}:
        connection.execute(f"delete from main.{TABLE}")
        marks = ", ".join("?" for _ in _COLUMNS)
        connection.executemany(
            f"insert into main.{TABLE} ({', '.join(_COLUMNS)}) values ({marks})", told
        )
    return len(told)
