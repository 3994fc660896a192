"""What the web server serves: a read-only DuckDB file for a day, replaced atomically.

What belongs here: making and reading that file. What does not: HTTP (``http_server``).

Each row is kept as the JSON text that is served, in the order of its last change, with its
position: a page is a range of positions, however far into the table it lies.
"""

import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from customer360.atomic import write_atomically
from customer360.demo.systems import shapes
from customer360.demo.systems.layout import Layout
from customer360.demo.systems.world import HTTP, Table, World, literal, quote


def build(layout: Layout, world: World, day: int) -> None:
    """Make the file for the end of ``day`` and let the pointer name it."""
    layout.api.mkdir(exist_ok=True)
    # A published path is never used again: the server may still have the old file open.
    name = f"day-{day}-{secrets.token_hex(4)}.duckdb"
    path = layout.api / name
    cursor = world.cursor()
    cursor.execute(f"attach {literal(str(path))} as served")
    try:
        cursor.execute(
            "create table served.resources (system varchar, name varchar, size bigint, "
            "is_down boolean)"
        )
        for system in HTTP:
            for table in world.tables(system):
                serve_table(cursor, world, table, day)
    finally:
        cursor.execute("detach served")
    write_atomically(layout.api / "current", name)
    for old in layout.api.glob("day-*"):
        if not old.name.startswith(name):
            old.unlink()


def serve_table(cursor: duckdb.DuckDBPyConnection, world: World, table: Table, day: int) -> None:
    """Copy the rows of a table that are visible on ``day``, as JSON text."""
    columns = world.columns_on(table, day)
    changed = change_time(table)
    key = " || '|' || ".join(f"{quote(name)}::varchar" for name in table.key)
    order = ", ".join(map(quote, [changed, *table.key] if changed else table.key))
    target = f"served.{quote(f'{table.system}_{table.name}')}"
    cursor.execute(
        f"create table {target} as select row_number() over () - 1 as position, "
        f"{quote(changed) if changed else 'null::timestamp'} as changed_at, {key} as key, "
        f"{shapes.api_body(table, columns)} as body "
        f"from (select * from {table.source} where {world.visible(table, day)} "
        f"order by {order})"
    )
    cursor.execute(
        f"insert into served.resources select ?, ?, count(*), ? from {target}",
        [table.system, table.name, world.is_down(table.system, day)],
    )


def change_time(table: Table) -> str | None:
    """Column that says when a row last changed: ``updated_at``, or the first time it has."""
    if table.column("updated_at"):
        return "updated_at"
    return next((column.name for column in table.columns if column.type == "TIMESTAMP"), None)


def current_path(layout: Layout) -> Path:
    """The file that the pointer names."""
    return layout.api / (layout.api / "current").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Resource:
    """A table as the server knows it."""

    system: str
    name: str
    size: int
    is_down: bool

    @property
    def table(self) -> str:
        """Its table in the served file."""
        return quote(f"{self.system}_{self.name}")


class Served:
    """One served file, open for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = duckdb.connect(
            str(path), read_only=True, config={"threads": 1, "memory_limit": "400MB"}
        )
        self.resources = {
            (row[0], row[1]): Resource(*row)
            for row in self._connection.execute("from resources order by all").fetchall()
        }

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def rows(self, resource: Resource, position: int, count: int) -> list[tuple[str, str, str]]:
        """``count`` rows from ``position`` on: time of change, key, JSON text."""
        return (
            self._connection.cursor()
            .execute(
                f"select coalesce(changed_at::varchar, ''), key, body from {resource.table} "
                "where position between ? and ? order by position",
                [position, position + count - 1],
            )
            .fetchall()
        )

    def position_after(self, resource: Resource, changed_at: str, key: str) -> int:
        """Position of the first row that was changed later than the given one."""
        return self._first(
            resource,
            "changed_at > ?::timestamp or (changed_at = ?::timestamp and key > ?)"
            if changed_at
            else "key > ?",
            [changed_at, changed_at, key] if changed_at else [key],
        )

    def position_since(self, resource: Resource, changed_at: str) -> int:
        """Position of the first row that was changed at or after a time (in the table's zone)."""
        return self._first(resource, "changed_at >= ?::timestamp", [changed_at])

    def one(self, resource: Resource, key: str) -> str | None:
        """JSON text of the row with a key."""
        row = (
            self._connection.cursor()
            .execute(f"select body from {resource.table} where key = ?", [key])
            .fetchone()
        )
        return str(row[0]) if row else None

    def _first(self, resource: Resource, condition: str, values: list[str]) -> int:
        row = (
            self._connection.cursor()
            .execute(f"select min(position) from {resource.table} where {condition}", values)
            .fetchone()
        )
        return int(row[0]) if row and row[0] is not None else resource.size


@contextlib.contextmanager
def opened(layout: Layout) -> Iterator[Served]:
    """The file served now, for a command that looks at it."""
    with contextlib.closing(Served(current_path(layout))) as served:
        yield served


def count_rows(layout: Layout, system: str) -> dict[str, int]:
    """Rows served of each table."""
    with opened(layout) as served:
        return {each.name: each.size for each in served.resources.values() if each.system == system}


def hash_tables(layout: Layout, system: str) -> dict[str, str]:
    """Content hash of each table's served JSON, whatever its order."""
    with opened(layout) as served:
        hashes = {}
        for each in served.resources.values():
            if each.system == system:
                row = served._connection.execute(
                    "select count(*), sum(md5_number_lower(body)), sum(md5_number_upper(body)) "
                    f"from {each.table}"
                ).fetchone()
                hashes[each.name] = hashlib.sha256(str(row).encode()).hexdigest()[:16]
        return hashes


def sample(layout: Layout, table: Table, rows: int) -> tuple[list[str], list[tuple[object, ...]]]:
    """Keys and some rows of a table, the same ones each time."""
    with opened(layout) as served:
        resource = served.resources[table.system, table.name]
        documents = [
            json.loads(row[0])
            for row in served._connection.execute(
                f"select body from {resource.table} order by md5(key) limit {rows}"
            ).fetchall()
        ]
    names = list(documents[0]) if documents else []
    return names, [tuple(document.values()) for document in documents]
