"""What people decided about pairs of records: kept in the decision state, obeyed by every run.

What belongs here: adding, listing and undoing must_link and cannot_link. What does not: obeying
them
(``cores``, ``remainder``) and the pairs that await a decision (table ``identity_reviews``).
"""

import duckdb
import pyarrow as pa
from sqlalchemy import Column, Engine, Integer, RowMapping, String, Table, insert, select, update

from customer360.exceptions import ConfigError
from customer360.state import UtcDateTime, metadata, now

KINDS = ("must_link", "cannot_link")

identity_decisions = Table(
    "identity_decisions",
    metadata,
    Column("decision_id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("record_a", String(400), nullable=False),
    Column("record_b", String(400), nullable=False),
    Column("decided_by", String(200), nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    Column("undone_by", String(200)),
    Column("undone_at", UtcDateTime),
    comment="must_link, cannot_link: pairs of records that people decided; record_a < record_b.",
)


def decide(engine: Engine, kind: str, record_a: str, record_b: str, by: str) -> int:
    """Keep a decision; returns its number. The same decision twice is one.

    Raises:
        ConfigError: the records are one, or what is decided already says the contrary.
    """
    if kind not in KINDS:
        raise ConfigError(f"a decision is must_link or cannot_link, not {kind}")
    if record_a == record_b:
        raise ConfigError("a decision is about two records; these are one and the same")
    low, high = sorted((record_a, record_b))
    table = identity_decisions
    with engine.begin() as connection:
        rows = connection.execute(select(table).where(table.c.undone_at.is_(None))).all()
        for row in rows:
            if (row.record_a, row.record_b) == (low, high) and row.kind == kind:
                return int(row.decision_id)
        linked = _linked([(row.record_a, row.record_b) for row in rows if row.kind == KINDS[0]])
        one, other = linked.get(low, low), linked.get(high, high)
        if kind == "cannot_link" and one == other:
            raise ConfigError(
                f"{low} and {high} are linked by must_link decisions; undo those first "
                "(customer360 identity review list --decided)"
            )
        for row in rows:
            ends = {linked.get(row.record_a, row.record_a), linked.get(row.record_b, row.record_b)}
            if kind == "must_link" and row.kind == "cannot_link" and ends == {one, other}:
                raise ConfigError(
                    f"decision {row.decision_id} says that {row.record_a} and {row.record_b} are "
                    f"two persons; undo it first (customer360 identity review undo "
                    f"{row.decision_id})"
                )
        result = connection.execute(
            insert(table).values(
                kind=kind, record_a=low, record_b=high, decided_by=by, decided_at=now()
            )
        )
        key = result.inserted_primary_key
        assert key is not None
        return int(key[0])


def _linked(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Record -> a name of its group of must_link pairs."""
    group: dict[str, str] = {}

    def root(record: str) -> str:
        while group.setdefault(record, record) != record:
            record = group[record]
        return record

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        group[high] = low
    return {record: root(record) for record in group}


def undo(engine: Engine, decision_id: int, by: str) -> RowMapping:
    """Take a decision back; the next run forgets it. Returns its row.

    Raises:
        ConfigError: no such decision, or it is undone already.
    """
    table = identity_decisions
    with engine.begin() as connection:
        row = (
            connection.execute(select(table).where(table.c.decision_id == decision_id))
            .mappings()
            .first()
        )
        if row is None or row["undone_at"] is not None:
            raise ConfigError(
                f"decision {decision_id} is not in force; see customer360 identity review list "
                "--decided"
            )
        connection.execute(
            update(table)
            .where(table.c.decision_id == decision_id)
            .values(undone_at=now(), undone_by=by)
        )
        return row


def in_force(engine: Engine) -> list[RowMapping]:
    """Decisions that are not undone, oldest first."""
    table = identity_decisions
    with engine.begin() as connection:
        return list(
            connection.execute(
                select(table).where(table.c.undone_at.is_(None)).order_by(table.c.decision_id)
            ).mappings()
        )


def load(engine: Engine, con: duckdb.DuckDBPyConnection) -> None:
    """Make ``decision`` (``record_l`` < ``record_r``, ``kind``): what is in force."""
    rows = in_force(engine)
    con.register(
        "decisions_read",
        pa.table({
            "record_l": pa.array([row["record_a"] for row in rows], pa.string()),
            "record_r": pa.array([row["record_b"] for row in rows], pa.string()),
            "kind": pa.array([row["kind"] for row in rows], pa.string()),
        }),
    )  # fmt: skip
    con.execute("CREATE OR REPLACE TEMP TABLE decision AS SELECT * FROM decisions_read")
    con.unregister("decisions_read")
