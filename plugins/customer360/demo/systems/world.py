"""Read the generated world: its tables, what each day shows of them, and the planned mess.

What belongs here: everything that knows how ``world.duckdb`` is laid out (``_from_day``,
``_to_day``, schema ``meta``). What does not: how any system shows it, and the truth.
"""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from customer360.exceptions import DemoError

POSTGRES = ("crm", "shop", "loyalty")
FILES = ("till", "wechat", "events", "aftersales", "voice")
HTTP = ("callcentre", "campaign")
SYSTEMS = (*POSTGRES, *FILES, *HTTP)


def quote(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """``text`` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class Column:
    """A column as a system shows it on some day: its type, and how to make it from the world."""

    name: str
    type: str
    expression: str


@dataclass(frozen=True)
class ForeignKey:
    """``columns`` of a table point to ``parent_columns`` of ``parent``."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table of one system. ``mutable``: rows are changed or deleted after they appear."""

    system: str
    name: str
    key: tuple[str, ...]
    mutable: bool
    comment: str
    columns: tuple[Column, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()

    @property
    def source(self) -> str:
        """The table in the world, as SQL names it."""
        return f"{quote(self.system)}.{quote(self.name)}"

    def column(self, name: str) -> bool:
        """Whether the table has the column."""
        return any(column.name == name for column in self.columns)


@dataclass(frozen=True)
class Incident:
    """One planned mishap; ``day`` is when it strikes."""

    system: str
    table: str | None
    day: int
    kind: str
    detail: dict[str, Any] = field(default_factory=dict)


class World:
    """A world file, opened for reading only."""

    def __init__(self, path: Path, *, threads: int, memory_limit: str, spill: Path) -> None:
        # The world is attached, not opened: a read-only instance could write to no system.
        self._connection = duckdb.connect(
            config={
                "threads": threads,
                "memory_limit": memory_limit,
                "temp_directory": str(spill),
            }
        )
        try:
            self._connection.execute(f"attach {literal(str(path))} as world (read_only)")
            rows = self.cursor().execute("select key, value from meta.info").fetchall()
        except duckdb.Error as error:
            raise DemoError(
                f"{path} is not a whole world file; `customer360 demo reset` clears it away"
            ) from error
        self.info: dict[str, str] = {str(key): str(value) for key, value in rows}
        self._tables = self._read_tables()
        self.incidents = self._read_incidents()

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @property
    def start_day(self) -> int:
        """The day that ``demo start`` shows; history lies before it."""
        return int(self.info["start_day"])

    @property
    def last_day(self) -> int:
        """The last day that was lived in advance."""
        return int(self.info["last_day"])

    def date_of(self, day: int) -> dt.date:
        """Calendar date of a world day."""
        start = dt.date.fromisoformat(self.info["start_date"])
        return start + dt.timedelta(days=day - self.start_day)

    def day_of(self, date: dt.date) -> int:
        """World day of a calendar date."""
        start = dt.date.fromisoformat(self.info["start_date"])
        return self.start_day + (date - start).days

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the same file, for one thread."""
        cursor = self._connection.cursor()
        cursor.execute("use world")
        cursor.execute("set TimeZone = 'UTC'")
        return cursor

    def tables(self, system: str) -> list[Table]:
        """Tables of a system, parents before the tables that point to them."""
        waiting = [table for table in self._tables if table.system == system]
        done: list[Table] = []
        while waiting:
            names = {table.name for table in waiting}
            free = [
                table
                for table in waiting
                if not ({key.parent for key in table.foreign_keys} - {table.name}) & names
            ]
            if not free:
                raise DemoError(f"the tables of {system} point to each other in a circle")
            done += free
            waiting = [table for table in waiting if table not in free]
        return done

    def table(self, system: str, name: str) -> Table:
        """One table, or an error that lists the names."""
        for table in self.tables(system):
            if table.name == name:
                return table
        names = ", ".join(table.name for table in self.tables(system))
        raise DemoError(f"{system} has no table {name!r}; it has {names}")

    def visible(self, table: Table, day: int) -> str:
        """Condition that holds for the row versions that a system shows at the end of ``day``."""
        if not table.mutable:
            return f"_from_day <= {day}"
        return f"_from_day <= {day} and (_to_day is null or _to_day > {day})"

    def columns_on(self, table: Table, day: int) -> list[Column]:
        """Columns as they are on ``day``: careless releases add some late, and retype others."""
        changes = [each for each in self.incidents_of(table) if "column" in each.detail]
        added = {each.detail["column"]: each.day for each in changes if each.kind == "column_added"}
        retyped = {
            each.detail["column"]: each
            for each in changes
            if each.kind == "column_retyped" and day >= each.day
        }
        shown = []
        for column in table.columns:
            if day < added.get(column.name, 0):
                continue
            expression = column.expression
            if column.name in added:
                # A row that was written before the release has nothing in the new column.
                expression = f"case when _from_day >= {added[column.name]} then {expression} end"
            if column.name in retyped:
                kind, expression = retyping(column.name, retyped[column.name], expression)
                shown.append(Column(column.name, kind, expression))
            else:
                shown.append(Column(column.name, column.type, expression))
        return shown

    def incidents_of(self, table: Table) -> list[Incident]:
        """Mishaps that strike this table, in order of days."""
        return [
            each
            for each in self.incidents
            if each.system == table.system and each.table == table.name
        ]

    def is_down(self, system: str, day: int) -> bool:
        """Whether the system cannot be reached on ``day``."""
        return any(
            each.system == system and each.day == day and each.kind == "system_down"
            for each in self.incidents
        )

    def _read_tables(self) -> list[Table]:
        cursor = self.cursor()
        columns: dict[tuple[str, str], list[Column]] = {}
        for schema, name, column, kind in cursor.execute(
            "select schema_name, table_name, column_name, data_type from duckdb_columns() "
            "where database_name = 'world' order by schema_name, table_name, column_index"
        ).fetchall():
            if not column.startswith("_"):
                columns.setdefault((schema, name), []).append(Column(column, kind, quote(column)))
        keys: dict[tuple[str, str], list[ForeignKey]] = {}
        for system, name, own, parent, others in cursor.execute(
            "select system, table_name, columns, parent, parent_columns from meta.foreign_keys "
            "order by all"
        ).fetchall():
            keys.setdefault((system, name), []).append(
                ForeignKey(tuple(own), parent, tuple(others))
            )
        return [
            Table(
                system,
                name,
                tuple(key),
                bool(mutable),
                str(comment or ""),
                tuple(columns[system, name]),
                tuple(keys.get((system, name), ())),
            )
            for system, name, key, mutable, comment in cursor.execute(
                "select system, table_name, primary_key, mutable, comment from meta.tables "
                "order by system, table_name"
            ).fetchall()
        ]

    def _read_incidents(self) -> list[Incident]:
        return [
            Incident(system, table, int(day), kind, json.loads(detail or "{}"))
            for system, table, day, kind, detail in self.cursor()
            .execute(
                "select system, table_name, day, kind, detail::varchar from meta.incidents "
                "order by day, system, table_name, kind, detail::varchar"
            )
            .fetchall()
        ]


def retyping(name: str, incident: Incident, value: str) -> tuple[str, str]:
    """New type of a column that a release retypes, and the SQL that turns ``value`` into it."""
    kind = str(incident.detail["type"])
    expression = str(incident.detail.get("expression") or quote(name))
    return kind, f"cast({expression.replace(quote(name), value)} as {kind})"


def months(world: World, first_day: int, last_day: int) -> Iterator[tuple[str, int, int]]:
    """Calendar months of a range of days: label ``YYYYMM``, first and last day of the part."""
    day = first_day
    while day <= last_day:
        date = world.date_of(day)
        following = (date.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
        end = min(last_day, world.day_of(following) - 1)
        yield date.strftime("%Y%m"), day, end
        day = end + 1
