"""A table in MySQL or MariaDB: staged in a table of its own, merged in one transaction.

What belongs here: SQL that only MySQL understands, sent through DuckDB's scanner, which is the
driver that we have. What does not: which rows go. The promises are those of ``postgres``.
"""

import contextlib
from typing import Any

import duckdb
import pyarrow as pa

from customer360.activation.destinations import DatabaseDestination
from customer360.activation.plan import Shape
from customer360.activation.receivers.columns import base, see_unchanged
from customer360.connections import Connection
from customer360.exceptions import DeliveryError, ReceiverUnavailableError
from customer360.sources.dialects import MySql
from customer360.warehouse import first_line, literal, load_extension

CONNECT_SECONDS = 10
RECEIVED = "customer360_received"
KEY_LENGTH = 190
"""Characters of a text in a key; longer ones would not fit into an index."""

INTEGERS = {"smallint", "int", "bigint", "decimal"}
TYPES = {
    "VARCHAR": ("longtext", {"char", "varchar", "text", "mediumtext", "longtext"}),
    "BOOLEAN": ("tinyint(1)", {"tinyint", "smallint", "int", "bit"}),
    "TINYINT": ("tinyint", {"tinyint", *INTEGERS}),
    "SMALLINT": ("smallint", INTEGERS),
    "INTEGER": ("int", {"int", "bigint", "decimal"}),
    "BIGINT": ("bigint", {"bigint", "decimal"}),
    "FLOAT": ("float", {"float", "double", "decimal"}),
    "DOUBLE": ("double", {"double", "decimal"}),
    "DECIMAL": ("decimal", {"decimal", "double"}),
    "DATE": ("date", {"date"}),
    "TIMESTAMP": ("datetime(6)", {"datetime", "timestamp"}),
}


class MySqlTable:
    """A destination's table, connected to."""

    def __init__(
        self, name: str, destination: DatabaseDestination, connection: Connection, shape: Shape
    ) -> None:
        """Connect, and see that the table is what we write to; make it where it may be made.

        Raises:
            ReceiverUnavailableError: the server does not answer.
            DeliveryError: the table is not what was declared.
        """
        self._name, self._writer, self._shape = name, f"customer360:{name}", shape
        schema, _, self._table = destination.table.rpartition(".")
        self._schema = schema or connection.schema or ""
        self._target = f"{_quote(self._schema)}.{_quote(self._table)}"
        self._stage_name = f"customer360_stage_{name}"[:64]
        self._stage = f"{_quote(self._schema)}.{_quote(self._stage_name)}"
        self._received = f"{_quote(self._schema)}.{_quote(RECEIVED)}"
        self._keys = ["customer_id", *shape.key]
        self._duckdb = duckdb.connect(config={"threads": 1})
        try:
            load_extension(self._duckdb, MySql.extension)
            for statement in MySql().attach(connection, CONNECT_SECONDS):
                self._duckdb.execute(
                    statement.replace("attach '' as source", "attach '' as target")
                )
        except duckdb.Error as error:
            self._duckdb.close()
            raise ReceiverUnavailableError(
                f"destination {name}: MariaDB does not answer, or does not let us in (connection "
                f"'{connection.name}', {first_line(error)})"
            ) from None
        try:
            self._prepare(create=destination.create)
        except duckdb.Error as error:
            self.close()
            raise self._explain(error) from None
        except DeliveryError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the server; what is not committed is gone."""
        for statement in ("rollback", "detach target"):
            with contextlib.suppress(duckdb.Error):
                self._duckdb.execute(statement)
        self._duckdb.close()

    def _do(self, sql: str) -> None:
        self._duckdb.execute(f"call mysql_execute('target', {literal(sql)})")

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._duckdb.execute(
            f"select * from mysql_query('target', {literal(sql)})"
        ).fetchall()

    def _prepare(self, *, create: bool) -> None:
        found = {
            str(name): str(kind)
            for name, kind in self._ask(
                "select column_name, data_type from information_schema.columns where "
                f"table_schema = {literal(self._schema)} and table_name = {literal(self._table)}"
            )
        }
        if not found:
            if not create:
                raise DeliveryError(
                    f"destination {self._name}: there is no table {self._target} (or we may not "
                    "see it): make it, or allow `create: true`"
                )
            keys = ", ".join(map(_quote, self._keys))
            self._do(
                f"create table {self._target} ({self._columns()}, written_by varchar(80) not null, "
                "written_at datetime(6) not null default current_timestamp(6), "
                f"primary key ({keys})) character set utf8mb4 collate utf8mb4_bin"
            )
        else:
            see_unchanged(self._name, self._target, self._shape.columns, found, TYPES)
        self._do(
            f"create table if not exists {self._received} (idempotency_key varchar(64) primary "
            "key, destination varchar(63) not null, "
            "received_at datetime(6) not null default current_timestamp(6))"
        )

    def _columns(self) -> str:
        return ", ".join(
            f"{_quote(column)} {self._type_of(column, kind)}"
            for column, kind in self._shape.columns.items()
        )

    def _type_of(self, column: str, kind: str) -> str:
        if column in self._keys and base(kind) not in TYPES.keys() - {"VARCHAR"}:
            return f"varchar({KEY_LENGTH})"
        if base(kind) == "DECIMAL":
            return kind.lower()
        return TYPES.get(base(kind), TYPES["VARCHAR"])[0]

    def has_received(self, key: str) -> bool:
        """Whether the transaction of this key was committed."""
        return bool(self._ask(f"select 1 from {self._received} where idempotency_key = '{key}'"))

    def rows(self, connection: duckdb.DuckDBPyConnection) -> pa.Table:
        """The table ``plan`` as it is staged."""
        cells = ", ".join('"' + column + '"' for column in self._shape.columns)
        return connection.execute(f"select object, change, {cells} from plan").to_arrow_table()

    def merge(self, rows: pa.Table, key: str) -> set[tuple[str, str]]:
        """Stage and merge rows, but do not commit; see ``postgres``."""
        columns = list(self._shape.columns)
        listed = ", ".join(map(_quote, columns))
        match = " and ".join(
            f"target.{_quote(column)} = staged.{_quote(column)}" for column in self._keys
        )
        writer = literal(self._writer)
        try:
            # What defines tables commits; so the stage is made and left empty before.
            self._do(f"drop table if exists {self._stage}")
            self._do(
                f"create table {self._stage} (object varchar(250), `change` varchar(8), "
                f"{self._columns()}) character set utf8mb4 collate utf8mb4_bin"
            )
            self._duckdb.execute("call mysql_clear_cache()")
            self._duckdb.execute("begin")
            self._duckdb.register("rows_to_stage", rows)
            stage = f'target."{self._schema}"."{self._stage_name}"'
            self._duckdb.execute(f"insert into {stage} select * from rows_to_stage")
            foreign = {
                (_text(customer), _text(thing))
                for customer, thing in self._inside(
                    f"select staged.customer_id, staged.object from {stage} as staged inner join "
                    f'target."{self._schema}"."{self._table}" as target on '
                    f"{match.replace('`', chr(34))} where staged.change <> 'removed' "
                    f"and target.written_by <> {writer}"
                )
            }
            others = (
                f"select 1 from {self._target} as target where {match} "
                f"and target.written_by <> {writer}"
            )
            updates = "".join(
                f"{_quote(column)} = values({_quote(column)}), "
                for column in columns
                if column not in self._keys
            )
            self._do(
                f"insert into {self._target} ({listed}, written_by) select {listed}, {writer} "
                f"from {self._stage} as staged where `change` <> 'removed' and not exists "
                f"({others}) on duplicate key update {updates}written_at = current_timestamp(6)"
            )
            self._do(
                f"delete target from {self._target} as target inner join {self._stage} as staged "
                f"on {match} where staged.`change` = 'removed' and target.written_by = {writer}"
            )
            self._do(
                f"insert into {self._received} (idempotency_key, destination) "
                f"values ('{key}', '{self._name}')"
            )
            self._do(f"delete from {self._stage}")
        except duckdb.Error as error:
            self.rollback()
            raise self._explain(error) from None
        return foreign

    def _inside(self, sql: str) -> list[tuple[Any, ...]]:
        """Asked within the transaction, by the scanner."""
        return self._duckdb.execute(sql).fetchall()

    def commit(self) -> None:
        """Make it so.

        Raises:
            ReceiverUnavailableError: it is not known whether it was; the key will tell.
        """
        try:
            self._duckdb.execute("commit")
        except duckdb.Error:
            raise ReceiverUnavailableError(
                f"destination {self._name}: MariaDB went away while it committed; the next run asks"
                " whether it did"
            ) from None
        with contextlib.suppress(duckdb.Error):
            self._do(f"drop table if exists {self._stage}")

    def rollback(self) -> None:
        """Nothing was written."""
        with contextlib.suppress(duckdb.Error):
            self._duckdb.execute("rollback")

    def _explain(self, error: duckdb.Error) -> DeliveryError:
        """In words: the server's own text may quote rows."""
        text = str(error)
        place = f"destination {self._name}: {self._target}"
        if any(sign in text for sign in ("gone away", "Lost connection", "Can't connect")):
            return ReceiverUnavailableError(f"{place}: the server went away")
        for sign, said in (
            ("denied", "our user may not write there: grant it"),
            ("Duplicate entry", "another unique index of the table refuses a row"),
            ("cannot be null", "a column that we do not write may not be null"),
            ("doesn't have a default", "a column that we do not write may not be null"),
            ("Data too long", "a text does not fit its column"),
            ("Out of range", "a number does not fit its column"),
            ("CONSTRAINT", "a check of the table refuses a row"),
        ):
            if sign in text:
                return DeliveryError(f"{place}: {said}. Nothing was written; the rows wait.")
        return DeliveryError(
            f"{place}: the server refuses ({first_line(error)}). Nothing was written; rows wait."
        )


def _text(value: Any) -> str:
    """Text; the scanner hands over bytes where a collation is binary."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
