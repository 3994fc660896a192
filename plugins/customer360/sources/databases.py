"""Databases: all tables of a source read in one transaction, by DuckDB's scanners.

What belongs here: reaching a server in bounded time, and what is asked of it for a table. What does
not: what only one system understands (``dialects``), and where rows go (``customer360.landing``).

A session is one transaction, so that all its tables are read at one moment. A stored table that is
wanted whole is read by the scanner in parts at once; anything else (a window, a view, a column that
only text can carry) by one query in the source's own SQL, where an index on the cursor serves.
"""

import contextlib
import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

import duckdb

from customer360.config import Source, Table
from customer360.connections import Connection, resolve
from customer360.exceptions import SourceError, SourceUnavailableError
from customer360.settings import Settings
from customer360.sources.dialects import DIALECTS, Dialect, Found, Stored, place, quoted
from customer360.sources.relation import Arrived, Reading, Relation
from customer360.sources.watch import Watch, open_sockets
from customer360.warehouse import connect, first_line, is_disk_full, literal, load_extension

CONNECT_SECONDS = 10
READ_SECONDS = 300
CLOSE_SECONDS = 5
PROGRESS = "memory.main.rows_read"
"""A sequence that numbers the rows, which the watch can see from beside."""

# What libpq, MariaDB's client and the servers say when the server is not there (any more).
_GONE = (
    "could not connect", "Unable to connect", "connection to server", "server closed",
    "Connection refused", "timeout expired", "Lost connection", "gone away", "Can't connect",
    "terminating connection", "starting up", "shutting down", "no connection to the server",
    "too many", "Too many connections", "reset by peer", "Broken pipe", "could not receive",
    "could not send", "SSL connection has been closed", "Server has gone", "Failed to connect",
)  # fmt: skip


class DatabaseSession:
    """One transaction on one server; see the module.

    Attributes:
        connection: the DuckDB connection in which the server is attached.
    """

    connection: duckdb.DuckDBPyConnection | None

    def __init__(self, settings: Settings, name: str, source: Source) -> None:
        assert source.connection
        self._name = name
        self._dialect: Dialect = DIALECTS[source.format]
        self._server: Connection = resolve(settings, source.connection)
        self._read_seconds = float(self._server.extra.get("read_timeout") or READ_SECONDS)
        self._tables: dict[str, Found] = {}
        self._closing = contextlib.ExitStack()
        spared = set(open_sockets())
        self._duckdb = self._closing.enter_context(connect(settings))
        self.connection = self._duckdb
        self._duckdb.execute("create sequence rows_read; select nextval('rows_read')")
        self._beside = self._duckdb.cursor()
        self._watch = Watch(
            lambda: self._beside.execute(f"select currval('{PROGRESS}')").fetchall(),
            self._dialect.is_peer(self._server),
            spared,
        )
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        kind = self._dialect.kind
        connect_seconds = int(self._server.extra.get("connect_timeout") or CONNECT_SECONDS)
        load_extension(self._duckdb, self._dialect.extension)
        with self._guard(f"source {self._name}", seconds=2 * connect_seconds):
            for statement in self._dialect.attach(self._server, connect_seconds):
                self._duckdb.execute(statement)
            self._duckdb.execute("begin")
            for statement in self._dialect.begin(int(self._read_seconds)):
                self._duckdb.execute(f"call {kind}_execute('source', {literal(statement)})")

    @contextlib.contextmanager
    def _guard(self, what: str, seconds: float | None = None) -> Iterator[None]:
        """Bound the time of a reading, and say what went wrong without secrets or values."""
        limit = seconds or self._read_seconds
        try:
            with self._watch.limit(limit):
                yield
        except duckdb.Error as error:
            text = str(error)
            if is_disk_full(text) and not self._watch.has_cut:
                raise
            server = place(self._server, self._dialect.default_port)
            at = f"{what}: {self._dialect.title} at {server}"
            if self._watch.has_cut:
                raise SourceUnavailableError(
                    f"{at} has sent nothing for {limit:g} s and was cut off. Is it overloaded or "
                    "paused? (`read_timeout` in the connection's extra)"
                ) from None
            table = what.partition(".")[2]
            explained = self._dialect.explain(text, self._server, table)
            if explained:
                kind = SourceUnavailableError if explained[1] else SourceError
                raise kind(f"{at}: {explained[0]}.") from None
            if any(phrase in text for phrase in _GONE):
                raise SourceUnavailableError(
                    f"{at} cannot be reached, or has gone away while it was read. Is it running, "
                    f"and are host and port of connection '{self._server.name}' right?"
                ) from None
            raise SourceError(f"{at}: reading stopped: {first_line(error)}") from None

    def columns(self, table_name: str, table: Table) -> dict[str, str] | None:
        """As the catalogue says.

        Raises:
            SourceError: it is not there, or may not be read; says what to grant.
        """
        return {column.name: column.shown for column in self._find(table_name, table).columns}

    def _find(self, table_name: str, table: Table) -> Found:
        if table_name in self._tables:
            return self._tables[table_name]
        name = f"{self._name}.{table_name}"
        schema, _, relation = (table.relation or table_name).rpartition(".")
        schema = schema or self._dialect.default_schema(self._server)
        with self._guard(name):
            answer = self._ask(self._dialect.catalogue(schema, relation))
            names = [column[0] for column in answer.description or []]
            rows = [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
        title, user = self._dialect.title, self._server.login or "the user"
        if not rows:
            where = f"schema {schema}" if schema else "the user's schema"
            raise SourceError(
                f"{name}: {title} shows no table or view {relation} in {where} of database "
                f"{self._server.schema}. Correct `relation` of the table in sources.yml, or grant "
                f"select on {table.relation or table_name} to {user}."
            )
        found = self._dialect.found(rows, table)
        denied = [column for column in found.denied if column in table.columns]
        if denied or not found.columns:
            raise SourceError(
                f"{name}: user {user} may not read {found.schema}.{found.name}"
                f"{' (' + ', '.join(denied) + ')' if found.columns else ''}: grant usage on schema "
                f"{found.schema} to {user}; grant select on {found.schema}.{found.name} to {user}."
            )
        self._refuse_twins(name, found)
        self._tables[table_name] = found
        return found

    @staticmethod
    def _refuse_twins(name: str, found: Found) -> None:
        folded = [column.name.lower() for column in found.columns]
        twins = sorted(
            column.name for column in found.columns if folded.count(column.name.lower()) > 1
        )
        if twins:
            raise SourceError(
                f"{name}: columns {', '.join(twins)} differ only in their case. Read a view that "
                "gives one of them another name."
            )

    def _ask(self, sql: str) -> duckdb.DuckDBPyConnection:
        return self._duckdb.execute(f"select * from {self._query(sql)}")

    def _query(self, sql: str) -> str:
        return f"{self._dialect.kind}_query('source', {literal(sql)})"

    def relation(self, connection: duckdb.DuckDBPyConnection, reading: Reading) -> Relation:  # noqa: ARG002, our own
        """The table, or its window, by whichever way is right and fast."""
        found = self._find(reading.table_name, reading.table)
        table = reading.table
        cursor = next(
            (
                column
                for column in found.columns
                if table.cursor and column.name == table.cursor.column and column.moment
            ),
            None,
        )
        asked, taken = "true", "true"
        if cursor:
            asked = self._window(cursor, reading, self._dialect.quote(cursor.name))
            taken = self._window(cursor, reading, quoted(cursor.name))
        # An index can serve only a window that is open to neither side.
        is_part = cursor is not None and reading.start is not None

        def built(columns: list[Stored], taken: str = taken) -> Relation:
            key = [column.as_text() if column.rare else column for column in columns]
            key = [column for column in key if column.name in table.key]
            return Relation(
                sql=self._select(found, columns, (asked, taken), is_part=is_part),
                columns={column.name: column.landed for column in columns},
                is_windowed=cursor is not None,
                keys_sql=self._keys(found, key) if reading.is_sweep else None,
                guard=lambda: self._guard(reading.name),
            )

        if is_part or reading.is_sample or not self._is_native(found, found.columns):
            everything = {column.name for column in found.columns}
            return built(self._carried(found, asked, cursor, reading.name, everything))

        # A second reading of a whole table, to look for rare values, would cost much: what has
        # arrived says for which columns that is needed.
        def amended(arrived: dict[str, Arrived]) -> Relation | None:
            suspect = {
                column.name for column in found.columns if column.may_hide(arrived[column.name])
            }
            carried = self._carried(found, asked, cursor, reading.name, suspect)
            return None if carried == found.columns else built(carried)

        if cursor:
            taken = f"({taken} or {self._dialect.never_arrived(cursor)})"
        return replace(built(found.columns, taken), amended=amended)

    def _window(self, cursor: Stored, reading: Reading, cell: str) -> str:
        """[start, end) in the column's own clock; a cursor that is no moment passes.

        The contract refuses such a row with a reason; it must not be passed over in silence.
        """
        zone = reading.company.zone_of(reading.table.columns[cursor.name])

        def bound(moment: dt.datetime) -> str:
            local = moment.replace(tzinfo=dt.UTC).astimezone(zone).replace(tzinfo=None)
            return self._dialect.bound(cursor, moment, local)

        inside = f"{cell} < {bound(reading.end)}"
        if reading.start is not None:
            inside += f" and {cell} >= {bound(reading.start)}"
        return f"(({inside}) or {cell} is null)"

    def _carried(
        self, found: Found, condition: str, cursor: Stored | None, name: str, suspect: set[str]
    ) -> list[Stored]:
        """The columns, those ``suspect`` as text that hold a value which only text can carry.

        A cursor that is no moment (infinity, a zero date) is outside of every window: where there
        is one, such rows are read with each, for the contract to refuse.
        """
        rare = {column.name: column.rare for column in found.columns if column.rare}
        if cursor:
            rare[cursor.name] = self._dialect.never(cursor)
            condition = f"({condition} or {rare[cursor.name]})"
        rare = {column: each for column, each in rare.items() if column in suspect}
        if not rare:
            return found.columns
        source = self._source(found)
        any_rare = " or ".join(f"({each})" for each in rare.values())
        with self._guard(name):
            if not self._ask(
                f"select 1 as found from {source} where {condition} and ({any_rare}) limit 1"
            ).fetchall():
                return found.columns
            flags = ", ".join(
                f"max(case when {each} then 1 else 0 end) as flag_{number}"
                for number, each in enumerate(rare.values())
            )
            row = self._ask(f"select {flags} from {source} where {condition}").fetchall()[0]
        affected = {column for column, flag in zip(rare, row, strict=True) if flag}
        carried = []
        for column in found.columns:
            if column.name in affected:
                column = column.as_text()
                if cursor and column.name == cursor.name:
                    column = self._dialect.unending(column)
            carried.append(column)
        return carried

    @staticmethod
    def _is_native(found: Found, columns: list[Stored]) -> bool:
        """Whether DuckDB's scanner can read it as a table."""
        return found.is_table and all(column.asked is None for column in columns)

    def _source(self, found: Found) -> str:
        return f"{self._dialect.quote(found.schema)}.{self._dialect.quote(found.name)}"

    def _select(
        self, found: Found, columns: list[Stored], conditions: tuple[str, str], *, is_part: bool
    ) -> str:
        taken = ", ".join(f"{column.taken} as {quoted(column.name)}" for column in columns)
        return (
            f"select nextval('{PROGRESS}') as _position, {taken} from "
            f"{self._from(found, columns, conditions, is_part=is_part)}"
        )

    def _keys(self, found: Found, columns: list[Stored]) -> str:
        taken = ", ".join(f"{column.taken} as {quoted(column.name)}" for column in columns)
        return (
            f"select {taken} from {self._from(found, columns, ('true', 'true'), is_part=False)} "
            f"where nextval('{PROGRESS}') > 0"
        )

    def _from(
        self, found: Found, columns: list[Stored], conditions: tuple[str, str], *, is_part: bool
    ) -> str:
        """The rows of a condition, which is given in the source's SQL and in DuckDB's."""
        is_native = self._is_native(found, columns)
        if is_native and not (is_part and self._dialect.asks_for_parts):
            stored = f"source.{quoted(found.schema)}.{quoted(found.name)}"
            return f"(select * from {stored} where {conditions[1]})"
        outside = [column.outside for column in columns if column.outside]
        condition = " or ".join([conditions[0], *outside])
        asked = ", ".join(
            f"{column.asked or column.queried or self._dialect.quote(column.name)} as "
            f"{self._dialect.quote(column.name)}"
            for column in columns
        )
        return self._query(f"select {asked} from {self._source(found)} where {condition}")

    def close(self) -> None:
        """End the transaction; never waits long for a server that does not answer."""
        self.connection = None
        with self._watch.limit(CLOSE_SECONDS):
            # Each by itself and first: what fails while DuckDB closes a database ends the process.
            for statement in ("rollback", "detach source"):
                with contextlib.suppress(duckdb.Error):
                    self._duckdb.execute(statement)
        self._beside.close()
        self._closing.close()


def open_session(settings: Settings, name: str, source: Source) -> DatabaseSession:
    """Connect, and begin the transaction in which every table of the source is read.

    Raises:
        SourceUnavailableError: the server does not answer. SourceError: it refuses us.
    """
    return DatabaseSession(settings, name, source)
