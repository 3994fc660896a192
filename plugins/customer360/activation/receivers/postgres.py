"""A table in PostgreSQL: staged by COPY, merged in one transaction, known by its key afterwards.

What belongs here: SQL that only PostgreSQL understands. What does not: which rows go.

Every row that we write carries ``written_by``, and nothing without it is ever changed or deleted.
The transaction also enters its key into ``customer360_received`` beside the table: whether a
sending that was cut off arrived is asked there, so that it has one effect, not two.
"""

from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.conninfo import make_conninfo

from customer360.activation.destinations import DatabaseDestination
from customer360.activation.plan import Shape
from customer360.activation.receivers.columns import base, see_unchanged
from customer360.connections import Connection
from customer360.exceptions import DeliveryError, ReceiverUnavailableError
from customer360.sources.dialects import Postgres
from customer360.warehouse import quote

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 600
RECEIVED = "customer360_received"
STAGE = "customer360_staged"

TYPES = {
    "VARCHAR": ("text", {"text", "character varying", "character", "uuid"}),
    "BOOLEAN": ("boolean", {"boolean"}),
    "TINYINT": ("smallint", {"smallint", "integer", "bigint", "numeric"}),
    "SMALLINT": ("smallint", {"smallint", "integer", "bigint", "numeric"}),
    "INTEGER": ("integer", {"integer", "bigint", "numeric"}),
    "BIGINT": ("bigint", {"bigint", "numeric"}),
    "HUGEINT": ("numeric", {"numeric"}),
    "FLOAT": ("real", {"real", "double precision", "numeric"}),
    "DOUBLE": ("double precision", {"double precision", "numeric"}),
    "DECIMAL": ("numeric", {"numeric", "double precision"}),
    "DATE": ("date", {"date"}),
    "TIMESTAMP": ("timestamp", {"timestamp without time zone", "timestamp with time zone"}),
}
"""DuckDB's type -> the column's type where we make the table, and types that we write to."""

AS_TEXT = {"DECIMAL", "HUGEINT"}
"""Staged as text and cast by the server, for they would lose digits on the way."""


class PostgresTable:
    """A destination's table, connected to."""

    def __init__(
        self, name: str, destination: DatabaseDestination, connection: Connection, shape: Shape
    ) -> None:
        """Connect, and see that the table is what we write to; make it where it may be made.

        Raises:
            ReceiverUnavailableError: the server does not answer.
            DeliveryError: the table is not what was declared; says what is different.
        """
        self._name = name
        self._writer = f"customer360:{name}"
        self._shape = shape
        schema, _, table = destination.table.rpartition(".")
        self._schema, self._table = schema or "public", table
        self._target = f"{quote(self._schema)}.{quote(table)}"
        self._received = f"{quote(self._schema)}.{quote(RECEIVED)}"
        self._keys = ["customer_id", *shape.key]
        try:
            self._adbc = adbc.connect(_address(connection), autocommit=False)
        except adbc.Error as error:
            raise ReceiverUnavailableError(
                f"destination {name}: PostgreSQL does not answer, or does not let us in "
                f"(connection '{connection.name}', {type(error).__name__})"
            ) from None
        try:
            self._ask(f"set statement_timeout = {STATEMENT_SECONDS * 1000}")
            self._prepare(create=destination.create)
        except adbc.Error as error:
            self.close()
            raise self._explain(error) from None
        except DeliveryError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the server; what is not committed is gone."""
        self._adbc.close()

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        with self._adbc.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def _prepare(self, *, create: bool) -> None:
        found = dict(
            self._ask(
                "select attname::text, format_type(atttypid, null) from pg_attribute "
                f"where attrelid = to_regclass('{self._target}') "
                "and attnum > 0 and not attisdropped"
            )
        )
        if not found:
            if not create:
                raise DeliveryError(
                    f"destination {self._name}: there is no table {self._target} (or we may not "
                    "see it): make it, or allow `create: true`"
                )
            self._make()
        else:
            see_unchanged(self._name, self._target, self._shape.columns, found, TYPES)
        if not self._ask(f"select to_regclass('{self._received}')::text")[0][0]:
            self._ask(
                f"create table if not exists {self._received} (idempotency_key text primary key, "
                "destination text not null, received_at timestamptz not null default now())"
            )
        self._adbc.commit()

    def _make(self) -> None:
        columns = ", ".join(
            f"{quote(column)} {TYPES[base(kind)][0] if base(kind) in TYPES else 'text'}"
            for column, kind in self._shape.columns.items()
        )
        if not self._ask(
            f"select 1 from information_schema.schemata where schema_name = '{self._schema}'"
        ):
            self._ask(f"create schema {quote(self._schema)}")
        self._ask(
            f"create table {self._target} ({columns}, written_by text not null, "
            "written_at timestamptz not null default now(), "
            f"primary key ({', '.join(map(quote, self._keys))}))"
        )

    def has_received(self, key: str) -> bool:
        """Whether the transaction of this key was committed."""
        found = self._ask(f"select 1 from {self._received} where idempotency_key = '{key}'")
        self._adbc.commit()
        return bool(found)

    def rows(self, connection: duckdb.DuckDBPyConnection) -> pa.Table:
        """The table ``plan`` as it is staged; what tells nothing is left out."""
        (removals,) = connection.execute(
            "select count(*) from plan where change = 'removed'"
        ).fetchall()[0]
        told = {"object": self._object_of() == 'staged."object"', "change": removals}
        cells = ", ".join(
            f"{quote(column)}::varchar as {quote(column)}"
            if self._is_text(column)
            else quote(column)
            for column in (
                *(name for name, is_told in told.items() if is_told),
                *self._shape.columns,
            )
        )
        return connection.execute(f"select {cells} from plan").to_arrow_table()

    def _object_of(self) -> str:
        """SQL for a staged row's object: its key itself where that says it all."""
        kinds = [self._shape.columns[column] for column in self._shape.key]
        if not kinds:
            return "''"
        return f"staged.{quote(self._shape.key[0] if kinds == ['VARCHAR'] else 'object')}"

    def merge(self, rows: pa.Table, key: str) -> set[tuple[str, str]]:
        """Stage and merge rows, but do not commit.

        Returns:
            (customer_id, object) of rows whose place others own; they are left alone.

        Raises:
            DeliveryError: the server refuses; nothing was written.
        """
        try:
            return self._stage_and_write(rows, key, "")
        except adbc.IntegrityError:
            # If somebody wrote the same key meanwhile, theirs stays; whatever else it was, the
            # server says again. (This driver cannot go back to a savepoint.)
            self._adbc.rollback()
        except adbc.Error as error:
            self._adbc.rollback()
            raise self._explain(error) from None
        try:
            keys = ", ".join(map(quote, self._keys))
            return self._stage_and_write(rows, key, f"on conflict ({keys}) do nothing")
        except adbc.Error as error:
            self._adbc.rollback()
            raise self._explain(error) from None

    def _stage_and_write(self, rows: pa.Table, key: str, on_conflict: str) -> set[tuple[str, str]]:
        with self._adbc.cursor() as cursor:
            cursor.adbc_ingest(STAGE, rows, mode="create", temporary=True)
        foreign = self._write(rows, on_conflict)
        self._ask(
            f"insert into {self._received} (idempotency_key, destination) "
            f"values ('{key}', '{self._name}')"
        )
        return foreign

    def _is_text(self, column: str) -> bool:
        kind = base(self._shape.columns.get(column, "VARCHAR"))
        return kind in AS_TEXT or kind not in TYPES

    def _write(self, staged: pa.Table, on_conflict: str) -> set[tuple[str, str]]:
        """Deletes, updates and inserts from the stage; only where nobody else has written."""
        values = {
            column: f"staged.{quote(column)}" + ("::numeric" if base(kind) in AS_TEXT else "")
            for column, kind in self._shape.columns.items()
        }
        listed = ", ".join(map(quote, values))
        writer = f"'{self._writer}'"
        match = " and ".join(
            f"target.{quote(column)} = staged.{quote(column)}" for column in self._keys
        )
        updates = "".join(
            f"{quote(column)} = {value}, "
            for column, value in values.items()
            if column not in self._keys
        )
        stays, removals = "true", 0
        if "change" in staged.column_names:
            stays = "staged.change <> 'removed'"
            removals = pc.sum(pc.equal(staged["change"], "removed")).as_py()
            self._ask(
                f"delete from {self._target} as target using {STAGE} as staged "
                f"where staged.change = 'removed' and {match} and target.written_by = {writer}"
            )
        # What is there already first; then the rest is new, and needs no look at conflicts.
        written = self._count(
            f"update {self._target} as target set {updates}written_at = now() "
            f"from {STAGE} as staged where {stays} and {match} and target.written_by = {writer}"
        )
        written += self._count(
            f"insert into {self._target} as target ({listed}, written_by) "
            f"select {', '.join(values.values())}, {writer} from {STAGE} as staged where {stays} "
            f"and not exists (select 1 from {self._target} as target where {match}) {on_conflict}"
        )
        foreign: set[tuple[str, str]] = set()
        if written != len(staged) - removals:
            foreign = {
                (str(customer), str(thing))
                for customer, thing in self._ask(
                    f"select staged.customer_id, {self._object_of()} from {STAGE} as staged "
                    f"inner join {self._target} as target on {match} "
                    f"where {stays} and target.written_by <> {writer}"
                )
            }
        self._ask(f"drop table {STAGE}")
        return foreign

    def _count(self, sql: str) -> int:
        with self._adbc.cursor() as cursor:
            cursor.execute(sql)
            return cursor.rowcount

    def commit(self) -> None:
        """Make it so.

        Raises:
            ReceiverUnavailableError: it is not known whether it was; the key will tell.
        """
        try:
            self._adbc.commit()
        except adbc.Error:
            raise ReceiverUnavailableError(
                f"destination {self._name}: PostgreSQL went away while it committed; the next run "
                "asks whether it did"
            ) from None

    def rollback(self) -> None:
        """Nothing was written."""
        self._adbc.rollback()

    def _explain(self, error: adbc.Error) -> DeliveryError:
        """In words: the server's own text may quote rows."""
        state = getattr(error, "sqlstate", None) or ""
        if "permission denied" in str(error):  # the driver does not always hand the state over
            state = "42501"
        place = f"destination {self._name}: {self._target}"
        if state.startswith(("08", "57")):
            return ReceiverUnavailableError(f"{place}: the server went away ({state})")
        said = {
            "42501": "our user may not write there: grant the table, and temporary on the database",
            "42P10": f"needs a unique index on ({', '.join(self._keys)})",
            "3F000": "the schema is not there",
            "23505": "another unique index of the table refuses a row",
            "23502": "a column that we do not write may not be null",
            "23514": "a check of the table refuses a row",
            "22P02": "a value does not fit its column",
            "22003": "a number does not fit its column",
            "22001": "a text does not fit its column",
        }.get(state, f"the server refuses (SQLSTATE {state or 'unknown'})")
        return DeliveryError(f"{place}: {said}. Nothing was written; the rows wait.")


def _address(connection: Connection) -> str:
    """A libpq string; it holds the password, so it is never part of an error."""
    parts = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.schema,
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "customer360",
        **{key: connection.extra.get(key) for key in Postgres.extras},
    }
    return make_conninfo(**{key: str(value) for key, value in parts.items() if value})
