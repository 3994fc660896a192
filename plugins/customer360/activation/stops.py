"""What stops sending: the switch, customers who are sent nowhere, guards that wait for a person.

What belongs here: what a person has said, or has to say, before rows may go. What does not: the
ledger of what went (``outbox``), and who may be sent for which purpose (``lawful``).
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Engine,
    RowMapping,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from customer360 import state

guards = Table(
    "guards",
    state.metadata,
    Column("destination", String(63), primary_key=True),
    Column("part", String(250), primary_key=True),
    Column("rows_before", BigInteger, nullable=False),
    Column("rows_now", BigInteger, nullable=False),
    Column("is_confirmed", Boolean, nullable=False),
    Column("at", state.UtcDateTime, nullable=False),
    comment="Parts of a sending that a guard has stopped, and whether a person has confirmed them.",
)

switches = Table(
    "switches",
    state.metadata,
    Column("name", String(63), primary_key=True),
    Column("because", String(250), nullable=False),
    Column("at", state.UtcDateTime, nullable=False),
    comment="What is switched off; a row of the name `sending` stops all sending at once.",
)

suppressions = Table(
    "suppressions",
    state.metadata,
    Column("customer_id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("because", String(250), nullable=False),
    Column("at", state.UtcDateTime, nullable=False),
    comment="Customers who are sent nowhere, whatever they agreed to: suppressed or erased.",
)

SENDING = "sending"
"""The name under which the switch stands."""


# --- the switch -------------------------------------------------------------------------------


def stop_sending(engine: Engine, because: str) -> None:
    """Switch all sending off, for every destination, until :func:`start_sending`."""
    with engine.begin() as connection:
        connection.execute(delete(switches).where(switches.c.name == SENDING))
        connection.execute(
            insert(switches).values(name=SENDING, because=because[:250], at=state.now())
        )


def start_sending(engine: Engine) -> None:
    """Switch sending on again."""
    with engine.begin() as connection:
        connection.execute(delete(switches).where(switches.c.name == SENDING))


def why_stopped(engine: Engine) -> RowMapping | None:
    """Why and since when sending is switched off, or None."""
    with engine.begin() as connection:
        query = select(switches).where(switches.c.name == SENDING)
        return connection.execute(query).mappings().first()


# --- customers who are sent nowhere -------------------------------------------------------------


SUPPRESSED = "suppressed"
"""Kind of suppressions that people enter, and may take back."""


def suppress(engine: Engine, customer_ids: Iterable[str], kind: str, because: str) -> None:
    """Send these customers nowhere from now on; what receivers hold of them is removed."""
    rows = [
        {"customer_id": one, "kind": kind, "because": because[:250], "at": state.now()}
        for one in dict.fromkeys(customer_ids)
    ]
    if not rows:
        return
    with engine.begin() as connection:
        gone = delete(suppressions).where(suppressions.c.customer_id == bindparam("one"))
        connection.execute(gone, [{"one": row["customer_id"]} for row in rows])
        connection.execute(insert(suppressions), rows)


def allow(engine: Engine, customer_ids: Iterable[str]) -> int:
    """Take suppressions back; how many there were."""
    with engine.begin() as connection:
        gone = delete(suppressions).where(
            suppressions.c.customer_id.in_(list(customer_ids)), suppressions.c.kind == SUPPRESSED
        )
        return connection.execute(gone).rowcount


def suppressed(engine: Engine) -> list[tuple[str, str]]:
    """(customer_id, kind) of everybody who is sent nowhere."""
    with engine.begin() as connection:
        query = select(suppressions.c.customer_id, suppressions.c.kind)
        return [(row.customer_id, row.kind) for row in connection.execute(query)]


# --- guards -----------------------------------------------------------------------------------


def stopped_parts(engine: Engine, destination: str) -> list[RowMapping]:
    """What guards have stopped of a destination, confirmed or not."""
    with engine.begin() as connection:
        query = select(guards).where(guards.c.destination == destination).order_by(guards.c.part)
        return list(connection.execute(query).mappings())


def stop_parts(engine: Engine, destination: str, parts: Sequence[tuple[str, int, int]]) -> None:
    """Note parts (name, rows before, rows now) that wait for a person; others are forgotten."""
    with engine.begin() as connection:
        connection.execute(delete(guards).where(guards.c.destination == destination))
        if parts:
            connection.execute(
                insert(guards),
                [
                    {
                        "destination": destination,
                        "part": part,
                        "rows_before": before,
                        "rows_now": now,
                        "is_confirmed": False,
                        "at": state.now(),
                    }
                    for part, before, now in parts
                ],
            )


def confirm_parts(engine: Engine, destination: str) -> int:
    """A person says that what a guard stopped is meant; returns how many parts."""
    with engine.begin() as connection:
        return connection.execute(
            update(guards).where(guards.c.destination == destination).values(is_confirmed=True)
        ).rowcount
