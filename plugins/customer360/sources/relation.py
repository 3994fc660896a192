"""What every connector is given and gives back.

What belongs here: the shapes between landing and connectors, nothing that reads.
"""

import contextlib
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import duckdb

from customer360.config import CompanySources, Source, Table
from customer360.settings import Settings


@dataclass(frozen=True)
class TakenFile:
    """A file that a batch took, by content: the same bytes are taken once, whatever their name.

    Attributes:
        name: path below the source's folder.
        size, modified_ns: what spares hashing a file again that has not been touched.
        sha256: of the bytes.
        rows: rows and rejects together.
    """

    name: str
    size: int
    modified_ns: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class Reading:
    """One table to be read as of a moment.

    Attributes:
        source_name, table_name: as in sources.yml.
        start, end: the window [start, end) in naive UTC; ``start`` is None for the first reading.
            Nothing that happened at or after ``end`` belongs to the batch.
        taken: files that batches of earlier days took.
        is_sweep: whether every key that is there now is wanted as well, to find deletions.
        workspace: a folder that stays between attempts of the same day, for what must not be
            fetched again; emptied when the batch has landed.
        is_sample: whether some rows are enough, to look at them: a connector may stop after the
            first page.
    """

    settings: Settings
    company: CompanySources
    source_name: str
    source: Source
    table_name: str
    table: Table
    as_of: dt.date
    start: dt.datetime | None
    end: dt.datetime
    taken: tuple[TakenFile, ...]
    is_sweep: bool
    workspace: Path
    is_sample: bool = False

    @property
    def name(self) -> str:
        """``source.table``, for messages."""
        return f"{self.source_name}.{self.table_name}"


@dataclass(frozen=True)
class Arrived:
    """What a column holds, as its Parquet file counted it.

    Attributes:
        least, most: as text; None where the file does not say, or every value is null.
        nulls, values: counts; ``values`` has the nulls in it.
    """

    least: str | None
    most: str | None
    nulls: int
    values: int


@dataclass(frozen=True)
class Relation:
    """A source table as DuckDB can read it.

    Attributes:
        sql: a select of the source's columns and ``_position`` (from 1; a line, a row, a record).
        columns: name -> DuckDB type, in the source's order, without ``_position``.
        rejects_sql: a select of ``_position``, ``_reason`` and ``_line`` of what is not even a row;
            None for formats that have no such thing. A relation over several files adds ``_file``
            to both selects.
        is_windowed: whether the connector has applied the window itself; if not, landing filters
            by the cursor.
        keys_sql: a select of the key columns of every row that is there, for a sweep.
        files: what was taken, for files that are each taken once.
        guard: entered while the relation is read: it bounds the time that may take, and says what
            went wrong in words of the source.
        amended: given what has arrived in each column, the relation that must be read in the place
            of this one, because a value may have come that only text can carry; None: all is well.
    """

    sql: str
    columns: dict[str, str]
    rejects_sql: str | None = None
    is_windowed: bool = False
    keys_sql: str | None = None
    files: list[TakenFile] = field(default_factory=list)
    guard: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    amended: Callable[[dict[str, Arrived]], "Relation | None"] = lambda _: None


class Session(Protocol):
    """An open source system: all its tables are read at one moment where the system can do that.

    Attributes:
        connection: the session's own DuckDB connection, in which its relations are read; None
            where any connection will do.
    """

    connection: duckdb.DuckDBPyConnection | None

    def columns(self, table_name: str, table: Table) -> dict[str, str] | None:
        """name -> type as the system says before anything is read; None where it cannot say."""
        ...

    def relation(self, connection: duckdb.DuckDBPyConnection, reading: Reading) -> Relation:
        """The table as ``connection`` can read it, valid until the session is closed.

        Raises:
            SourceError: unreachable, gone while it was read, or not what was declared.
        """
        ...

    def close(self) -> None:
        """Let go of the system."""
        ...
