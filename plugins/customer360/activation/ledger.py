"""The ledger of deliveries: what was written for whom, and what receivers hold.

What belongs here: the states of a delivery (``pending``: written, about to be shown or waiting for
its receiver; ``acknowledged``; ``abandoned``: never shown) and the questions asked of them. What
does not: writing an export (``exports``).
"""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, insert, select, update

from customer360 import state
from customer360.activation import versions
from customer360.exceptions import ExportError


def acknowledge(engine: Engine, name: str, file_hash: str) -> None:
    """A receiver says that it holds the export whose ``full.parquet`` has this SHA-256.

    Raises:
        ExportError: no such export was written.
    """
    table = state.exports
    with engine.begin() as connection:
        found = connection.execute(
            select(table.c.delivery_id)
            .where(
                table.c.destination == name,
                table.c.file_hash == file_hash,
                table.c.status != "abandoned",
            )
            .order_by(table.c.delivery_id.desc())
        ).first()
        if found is None:
            raise ExportError(
                f"no export {name} has a full.parquet with SHA-256 {file_hash}; its manifest.json"
                " names the right one"
            )
        mark_received(connection, found.delivery_id)


def entries(engine: Engine, name: str | None = None) -> list[RowMapping]:
    """Deliveries, the last first."""
    query = select(state.exports).order_by(state.exports.c.delivery_id.desc())
    if name:
        query = query.where(state.exports.c.destination == name)
    with engine.begin() as connection:
        return list(connection.execute(query).mappings())


def last_received(engine: Engine, name: str) -> RowMapping | None:
    """The delivery whose full file receivers hold."""
    table = state.exports
    query = (
        select(table)
        .where(table.c.destination == name, table.c.status == "acknowledged")
        .order_by(table.c.as_of.desc(), table.c.delivery_id.desc())
    )
    with engine.begin() as connection:
        return connection.execute(query).mappings().first()


def delivered(engine: Engine, name: str) -> set[str]:
    """Versions that were shown, or that are about to be."""
    return {row["version"] for row in entries(engine, name) if row["status"] != "abandoned"}


def written_by(
    engine: Engine, home: Path, name: str, as_of: dt.date, run_id: str, full_hash: str
) -> RowMapping | None:
    """The delivery by which this run has shown the very same export before."""
    link = home / str(as_of)
    for row in entries(engine, name):
        if (row["run_id"], row["as_of"], row["file_hash"]) == (run_id, as_of, full_hash):
            shown = link.is_symlink() and link.readlink().name == row["version"]
            return row if shown else None
    return None


def intend(engine: Engine, delivery: Mapping[str, Any]) -> int:
    """Enter a delivery before it is shown, so that a kill can be settled; returns its id."""
    entry = {**delivery, "status": "pending", "at": state.now()}
    with engine.begin() as connection:
        return int(
            connection.execute(
                insert(state.exports).values(entry).returning(state.exports.c.delivery_id)
            ).scalar_one()
        )


def mark_received(connection: Connection, delivery_id: int) -> None:
    """Note that receivers hold what a delivery brought."""
    table = state.exports
    connection.execute(
        update(table)
        .where(table.c.delivery_id == delivery_id, table.c.status == "pending")
        .values(status="acknowledged", acknowledged_at=state.now())
    )


def settle(home: Path, engine: Engine, name: str, *, on_write: bool) -> None:
    """Finish the record of exports whose run was killed just before or after showing them.

    Each export of a day is shown before the next one of it is written: so one that waits for its
    receiver was never shown if it is the last of its day, its folder is there and no link leads
    to it.
    """
    shown = versions.shown(home)
    last_of_day = {row["as_of"]: row["delivery_id"] for row in reversed(entries(engine, name))}
    table = state.exports
    for row in entries(engine, name):
        if row["status"] != "pending":
            continue
        with engine.begin() as connection:
            if row["version"] in shown:
                if on_write:
                    mark_received(connection, row["delivery_id"])
            elif (
                last_of_day[row["as_of"]] == row["delivery_id"]
                and versions.folder(home, row["version"]).is_dir()
            ):
                connection.execute(
                    update(table)
                    .where(table.c.delivery_id == row["delivery_id"])
                    .values(status="abandoned")
                )
