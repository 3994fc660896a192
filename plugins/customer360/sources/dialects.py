"""What differs between database systems: addresses, catalogues, types, and their complaints.

What belongs here: SQL and text that only one system understands. What does not: when anything is
asked (``databases``), or what a table promises (``customer360.contracts``).

A type is read as it is where DuckDB's holds every value of it exactly, and as text otherwise, so
that a value that cannot be represented is refused by its contract, row by row. Some types are
exact but for rare values that the scanner changes in silence (NaN in numeric(12, 2) becomes 0.00,
a timestamp of the year 294276 one before Christ). What has arrived shows whether such a value can
be behind it (a zero, a null); the source is asked then, or beforehand for a window, which its index
serves.
"""

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, ClassVar, Protocol

from customer360.config import Table
from customer360.connections import Connection
from customer360.sources.relation import Arrived
from customer360.warehouse import literal

DECIMAL_DIGITS = 38
"""The most digits that DuckDB's decimals hold."""


@dataclass(frozen=True)
class Stored:
    """A column as the source has it, and how it is read.

    Attributes:
        shown: its type for comparison with the contract.
        landed: the DuckDB type that arrives.
        asked: expression in the source's SQL; None where the column is taken as it is.
        taken: expression in DuckDB over what the scanner hands over.
        rare: condition in the source's SQL for values that only text can carry.
        text: expression in the source's SQL for the column as text.
        moment: ``zoned``, ``local`` or ``date`` for a column that can bound a window.
        outside: condition in the source's SQL for rows that are read whatever the window.
        queried: like ``asked``, but where a query is made anyway.
        may_hide: whether a rare value can be behind what has arrived; rare values that are in no
            window of a cursor are meant too.
    """

    name: str
    shown: str
    landed: str
    asked: str | None
    taken: str
    rare: str | None
    text: str
    moment: str | None = None
    outside: str | None = None
    queried: str | None = None
    may_hide: Callable[[Arrived], bool] = lambda _: True

    def as_text(self) -> "Stored":
        """The same column carried as text."""
        if self.landed == "VARCHAR":
            return self
        return replace(self, landed="VARCHAR", asked=self.text, taken=quoted(self.name))


@dataclass(frozen=True)
class Found:
    """A table or view of the source: its columns in order, and what may be read.

    Attributes:
        is_table: whether it is stored, so that DuckDB's scanner can read it in parts at once.
        denied: names of columns that our user may not read.
    """

    schema: str
    name: str
    is_table: bool
    columns: list[Stored]
    denied: list[str]


class Dialect(Protocol):
    """One database system."""

    kind: str
    title: str
    extension: str
    default_port: int
    asks_for_parts: bool
    """Whether a window is asked for in the source's SQL, and not filtered by DuckDB's scanner."""

    def attach(self, connection: Connection, connect_seconds: int) -> list[str]:
        """DuckDB statements that attach the server as ``source``; they hold the password."""
        ...

    def begin(self, read_seconds: int) -> list[str]:
        """Statements of the source's SQL that open the one transaction of a session."""
        ...

    def default_schema(self, connection: Connection) -> str:
        """Schema of a relation that names none; empty: the source is asked."""
        ...

    def catalogue(self, schema: str, name: str) -> str:
        """A query for the columns of a table."""
        ...

    def found(self, rows: list[dict[str, Any]], table: Table) -> Found:
        """The answer to ``catalogue``."""
        ...

    def quote(self, identifier: str) -> str:
        """An identifier in the source's SQL."""
        ...

    def bound(self, column: Stored, moment: dt.datetime, local: dt.datetime) -> str:
        """A window's bound as a literal of the source's SQL, in the column's own clock."""
        ...

    def never(self, column: Stored) -> str:
        """Condition for a cursor that is in no window (infinite, a zero date)."""
        ...

    def never_arrived(self, column: Stored) -> str:
        """Of ``never``, what is not before the end of a window, in DuckDB's SQL."""
        ...

    def unending(self, column: Stored) -> Stored:
        """A cursor as text in which what is in no window is no moment for the contract."""
        ...

    def is_peer(self, connection: Connection) -> Callable[[object], bool]:
        """Whether a socket's peer is the server."""
        ...

    def explain(self, text: str, connection: Connection, table: str) -> tuple[str, bool] | None:
        """(a complaint in our words, whether trying again may help), without secrets or values."""
        ...


def quoted(name: str) -> str:
    """An identifier for DuckDB and PostgreSQL."""
    return '"' + name.replace('"', '""') + '"'


def place(connection: Connection, default_port: int) -> str:
    """Where the server is, for people."""
    host = connection.host or "localhost"
    return host if host.startswith("/") else f"{host}:{connection.port or default_port}"


def tcp_or_unix(port: int, unix_path: str | None) -> Callable[[object], bool]:
    """Matches the peer's address of a socket."""

    def is_ours(peer: object) -> bool:
        if isinstance(peer, tuple):
            return unix_path is None and peer[1] == port
        return unix_path is not None and peer == unix_path

    return is_ours


def has_zero(arrived: Arrived) -> bool:
    """NaN comes as zero."""
    if arrived.least is None or arrived.most is None:
        return arrived.nulls < arrived.values
    return Decimal(arrived.least) <= 0 <= Decimal(arrived.most)


def is_beyond(arrived: Arrived) -> bool:
    """PostgreSQL knows no moment before 4713 BC; what is later than DuckDB's last comes as one.

    Infinity is a moment to both, but as a cursor it is in no window.
    """
    if arrived.least is None or arrived.most is None:
        return arrived.nulls < arrived.values
    return "(BC)" in arrived.least or "infinity" in arrived.least + arrived.most


def has_nulls(arrived: Arrived) -> bool:
    """A date that is none comes as null."""
    return arrived.nulls > 0


class Postgres:
    """PostgreSQL, and what speaks its language."""

    kind = "postgres"
    title = "PostgreSQL"
    extension = "postgres_scanner"
    default_port = 5432
    asks_for_parts = True

    # From an Airflow Connection's extra, as libpq calls them.
    extras = (
        "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "channel_binding",
        "gssencmode", "krbsrvname", "target_session_attrs",
    )  # fmt: skip
    plain: ClassVar = {
        "bool": "BOOLEAN", "int2": "SMALLINT", "int4": "INTEGER", "int8": "BIGINT",
        "float4": "FLOAT", "float8": "DOUBLE", "date": "DATE",
        "text": "VARCHAR", "varchar": "VARCHAR", "bpchar": "VARCHAR",
    }  # fmt: skip
    # The scanner reads these whole and exactly; DuckDB writes them as PostgreSQL does.
    as_varchar = ("uuid", "json", "jsonb")

    def attach(self, connection: Connection, connect_seconds: int) -> list[str]:
        """By a libpq string."""
        parts = {
            "host": connection.host,
            "port": connection.port,
            "user": connection.login,
            "password": connection.password,
            "dbname": connection.schema,
            "connect_timeout": connect_seconds,
            "application_name": "customer360",
            "client_encoding": "UTF8",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            **{key: connection.extra.get(key) for key in self.extras},
        }

        def escaped(value: object) -> str:
            return str(value).replace("\\", "\\\\").replace("'", "\\'")

        address = " ".join(f"{key}='{escaped(value)}'" for key, value in parts.items() if value)
        return [f"attach {literal(address)} as source (type postgres, read_only)"]

    def begin(self, read_seconds: int) -> list[str]:
        """The scanner has begun a repeatable read; text forms are made independent of roles."""
        return [
            "set datestyle = 'ISO'",
            "set timezone = 'UTC'",
            "set extra_float_digits = 1",
            "set bytea_output = 'hex'",
            f"set statement_timeout = {read_seconds * 1000}",
            "set idle_in_transaction_session_timeout = 0",
        ]

    def default_schema(self, connection: Connection) -> str:  # noqa: ARG002, MariaDB's is its database
        """The first of the user's search path, which ``catalogue`` asks for."""
        return ""

    def catalogue(self, schema: str, name: str) -> str:
        """Columns with the base type of domains."""
        wanted = literal(schema) if schema else "current_schema()"
        return f"""
            select space.nspname::text as schema_name, relation.relname::text as relation_name,
                relation.relkind::text as relation_kind, attribute.attname::text as name,
                coalesce(base.typname, type.typname)::text as type_name,
                coalesce(base.typtype, type.typtype)::text as type_kind,
                coalesce(base.typcategory, type.typcategory)::text as category,
                case when base.oid is null then attribute.atttypmod else type.typtypmod end
                    as modifier,
                has_schema_privilege(space.oid, 'usage')
                    and has_column_privilege(relation.oid, attribute.attnum, 'select') as readable
            from pg_catalog.pg_class as relation
            inner join pg_catalog.pg_namespace as space on space.oid = relation.relnamespace
            inner join pg_catalog.pg_attribute as attribute
                on attribute.attrelid = relation.oid
                and attribute.attnum > 0 and not attribute.attisdropped
            inner join pg_catalog.pg_type as type on type.oid = attribute.atttypid
            left join pg_catalog.pg_type as base
                on base.oid = type.typbasetype and type.typtype = 'd'
            where space.nspname = {wanted} and relation.relname = {literal(name)}
                and relation.relkind in ('r', 'p', 'v', 'm', 'f')
            order by attribute.attnum
        """

    def found(self, rows: list[dict[str, Any]], table: Table) -> Found:  # noqa: ARG002, MariaDB's
        """The answer to ``catalogue``."""
        return Found(
            schema=rows[0]["schema_name"],
            name=rows[0]["relation_name"],
            is_table=rows[0]["relation_kind"] in ("r", "m"),
            columns=[self._stored(row) for row in rows if row["readable"]],
            denied=[row["name"] for row in rows if not row["readable"]],
        )

    def _stored(self, row: dict[str, Any]) -> Stored:
        name, kind = row["name"], row["type_name"]
        cell = quoted(name)
        text = f"{cell}::text"
        if kind in self.plain:
            moment = "date" if kind == "date" else None
            landed = self.plain[kind]
            stored = Stored(name, landed, landed, None, cell, None, text, moment)
            return replace(stored, may_hide=is_beyond) if moment else stored
        if kind in self.as_varchar or row["type_kind"] == "e":
            return Stored(name, "VARCHAR", "VARCHAR", None, f"{cell}::varchar", None, text)
        if kind == "numeric":
            digits, scale = divmod(row["modifier"] - 4, 65536)
            if row["modifier"] >= 4 and digits <= DECIMAL_DIGITS and scale <= digits:
                landed = f"DECIMAL({digits},{scale})"
                rare = f"{cell} = 'NaN'"
                return Stored(name, landed, landed, None, cell, rare, text, may_hide=has_zero)
            return Stored(name, "DECIMAL", "VARCHAR", text, cell, None, text)
        if kind in ("timestamp", "timestamptz"):
            rare = f"({cell} > '290000-01-01' and isfinite({cell}))"
            landed = "TIMESTAMP" if kind == "timestamp" else "TIMESTAMP WITH TIME ZONE"
            moment = "local" if kind == "timestamp" else "zoned"
            stored = Stored(name, landed, landed, None, cell, rare, text, moment)
            stored = replace(stored, may_hide=is_beyond)
            if kind == "timestamp":
                return stored
            text = f"case when isfinite({cell}) then ({cell} at time zone 'UTC')::text || 'Z' "
            text += f"else {cell}::text end"
            return replace(stored, text=text)
        if row["category"] == "A":
            text = f"array_to_json({cell})::text"
        return Stored(name, "VARCHAR", "VARCHAR", text, cell, None, text)

    def quote(self, identifier: str) -> str:
        """Double quotes."""
        return quoted(identifier)

    def bound(self, column: Stored, moment: dt.datetime, local: dt.datetime) -> str:
        """A typed literal, so that an index on the cursor serves."""
        if column.moment == "zoned":
            return f"timestamptz '{moment.isoformat(sep=' ')}+00'"
        return f"timestamp '{local.isoformat(sep=' ')}'"

    def never(self, column: Stored) -> str:
        """Infinity."""
        return f"{quoted(column.name)} in ('infinity', '-infinity')"

    def never_arrived(self, column: Stored) -> str:
        """Infinity is DuckDB's too."""
        return f"{quoted(column.name)} = 'infinity'"

    def unending(self, column: Stored) -> Stored:
        """``infinity`` would be taken for a moment."""
        never = self.never(column)
        asked = f"case when {never} then 'not finite: ' else '' end || ({column.text})"
        return replace(column, asked=asked, outside=never)

    def is_peer(self, connection: Connection) -> Callable[[object], bool]:
        """By port, or by the socket's path."""
        port = connection.port or self.default_port
        host = connection.host or ""
        return tcp_or_unix(port, f"{host}/.s.PGSQL.{port}" if host.startswith("/") else None)

    def explain(self, text: str, connection: Connection, table: str) -> tuple[str, bool] | None:
        """By the phrases of libpq and the server."""
        user, database = connection.login or "the user", connection.schema or "the database"
        if match := re.search(r"permission denied for (table|view|schema|relation|sequence)", text):
            return (
                f"user {user} may not read it ({match[1]}): grant usage on its schema and "
                f"grant select on {table} to {user}"
            ), False
        for phrase, said, may_help in (
            ("password authentication failed", f"it refuses the password of user {user}: "
             "correct login and password of the connection", False),
            ("no password supplied", f"it wants a password for user {user}", False),
            ("no pg_hba.conf entry", f"it lets no user {user} in from here: add a line to its "
             "pg_hba.conf", False),
            ("permission denied for database", f"user {user} may not connect: grant connect on "
             f"database {database} to {user}", True),
            ("certificate", "its certificate is not accepted: see sslmode and sslrootcert of the "
             "connection", False),
            ("statement timeout", "it took longer than read_timeout for one statement: an index "
             "on the cursor helps, or a greater read_timeout in the connection's extra", False),
            ("canceling statement due to conflict with recovery", "the replica cancelled the "
             "reading (max_standby_streaming_delay)", True),
            ("invalid byte sequence", "it holds text that is not valid in its encoding", False),
        ):  # fmt: skip
            if phrase in text:
                return said, may_help
        if re.search(r'role "[^"]*" does not exist', text):
            return f"it knows no user {user}: create it, or correct the connection's login", False
        if re.search(r'database "[^"]*" does not exist', text):
            return f"it has no database {database}: correct the connection's schema", False
        return None


class MySql:
    """MySQL and MariaDB.

    A session's snapshot is seen by the scanner's tables alone: a query in the source's own SQL
    runs on another connection of the scanner's. So everything is read from the tables, but for
    tables that hold what only text can carry; those are read at a moment of their own.
    """

    kind = "mysql"
    title = "MariaDB"
    extension = "mysql_scanner"
    default_port = 3306
    asks_for_parts = False

    extras = ("ssl_mode", "ssl_ca", "ssl_capath", "ssl_cert", "ssl_cipher", "ssl_crl", "ssl_key")
    plain: ClassVar = {
        "tinyint": "TINYINT", "smallint": "SMALLINT", "mediumint": "INTEGER", "int": "INTEGER",
        "bigint": "BIGINT", "year": "INTEGER", "float": "FLOAT", "double": "DOUBLE",
    }  # fmt: skip
    unsigned: ClassVar = {
        "tinyint": "UTINYINT", "smallint": "USMALLINT", "mediumint": "UINTEGER", "int": "UINTEGER",
        "bigint": "UBIGINT",
    }  # fmt: skip
    texts = (
        "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json",
        "time", "uuid", "inet4", "inet6",
    )  # fmt: skip

    def attach(self, connection: Connection, connect_seconds: int) -> list[str]:  # noqa: ARG002, its client has no such option
        """By a secret, which takes any character in a password."""
        host = connection.host or "localhost"
        parts: dict[str, object] = {
            "host": "localhost" if host.startswith("/") else host,
            "port": connection.port or self.default_port,
            "user": connection.login,
            "password": connection.password,
            "database": connection.schema,
            "socket": host if host.startswith("/") else None,
            **{key: connection.extra.get(key) for key in self.extras},
        }
        options = ", ".join(
            f"{key} {literal(str(value))}" for key, value in parts.items() if value is not None
        )
        return [
            "set mysql_session_time_zone = '+00:00'",
            "set mysql_tinyint1_as_boolean = false",
            "set mysql_bit1_as_boolean = false",
            "set mysql_incomplete_dates_as_nulls = true",
            f"create temporary secret source_secret (type mysql, {options})",
            "attach '' as source (type mysql, secret source_secret)",
        ]

    def begin(self, read_seconds: int) -> list[str]:  # noqa: ARG002, the watch bounds it
        """All tables as of now, whatever the server's default isolation is."""
        return [
            "set session transaction isolation level repeatable read",
            "start transaction with consistent snapshot, read only",
        ]

    def default_schema(self, connection: Connection) -> str:
        """The database of the connection."""
        return connection.schema or ""

    def catalogue(self, schema: str, name: str) -> str:
        """What the user may see of it."""
        return f"""
            select table_schema as schema_name, table_name as relation_name, column_name as name,
                data_type as type_name, column_type as full_type,
                cast(numeric_precision as signed) as digits, cast(numeric_scale as signed) as scale
            from information_schema.columns
            where table_schema = {literal(schema)} and table_name = {literal(name)}
            order by ordinal_position
        """

    def found(self, rows: list[dict[str, Any]], table: Table) -> Found:
        """The answer to ``catalogue``."""
        declared = {name: column.type for name, column in table.columns.items()}
        names = [rows[0]["schema_name"], rows[0]["relation_name"], *(row["name"] for row in rows)]
        return Found(
            schema=rows[0]["schema_name"],
            name=rows[0]["relation_name"],
            # The scanner does not quote such names rightly; we do.
            is_table=not set("`\"\\'") & set("".join(names)),
            columns=[self._stored(row, declared.get(row["name"])) for row in rows],
            denied=[],
        )

    def _stored(self, row: dict[str, Any], declared: str | None) -> Stored:
        name, kind, full = row["name"], row["type_name"].lower(), row["full_type"].lower()
        cell, asked = quoted(name), self.quote(name)
        text = f"cast({asked} as char)"
        if full.startswith(("tinyint(1)", "bit(1)")) and declared == "boolean":
            # As text, so that a 2 is refused and not taken for true.
            taken = f"{cell}::varchar"
            if kind == "bit":
                taken = f"('0x' || hex({cell}))::utinyint::varchar"
            return Stored(name, "BOOLEAN", "VARCHAR", None, taken, None, text)
        if kind in self.plain:
            landed = (self.unsigned if "unsigned" in full else self.plain).get(kind)
            landed = landed or self.plain[kind]
            return Stored(name, landed, landed, None, cell, None, text)
        if kind == "decimal":
            if row["digits"] <= DECIMAL_DIGITS:
                landed = f"DECIMAL({row['digits']},{row['scale']})"
                return Stored(name, landed, landed, None, cell, None, text)
            return Stored(name, "DECIMAL", "VARCHAR", text, cell, None, text)
        if kind in ("date", "datetime", "timestamp"):
            # 0000-00-00 and 2026-02-00 become null.
            rare = f"(month({asked}) = 0 or dayofmonth({asked}) = 0)"
            landed, taken, moment = "DATE" if kind == "date" else "TIMESTAMP", cell, "date"
            if kind != "date":
                moment = "local"
            if kind == "timestamp":
                landed, moment = "TIMESTAMP WITH TIME ZONE", "zoned"
                taken, text = f"timezone('UTC', {cell})", f"concat({text}, 'Z')"
            stored = Stored(name, landed, landed, None, taken, rare, text, moment)
            return replace(stored, may_hide=has_nulls)
        if kind in self.texts:
            # Text that is compared byte by byte would come as bytes.
            taken = f"{cell}::varchar"
            return Stored(name, "VARCHAR", "VARCHAR", None, taken, None, text, queried=text)
        return Stored(name, "VARCHAR", "VARCHAR", f"hex({asked})", cell, None, f"hex({asked})")

    def quote(self, identifier: str) -> str:
        """Backticks, whatever the server's sql_mode is."""
        return "`" + identifier.replace("`", "``") + "`"

    def bound(self, column: Stored, moment: dt.datetime, local: dt.datetime) -> str:
        """The session's time zone is UTC, in which TIMESTAMP columns arrive."""
        bound = moment if column.moment == "zoned" else local
        return f"timestamp '{bound.isoformat(sep=' ')}'"

    def never(self, column: Stored) -> str:
        """A date that is none."""
        asked = self.quote(column.name)
        return f"month({asked}) = 0 or dayofmonth({asked}) = 0"

    def never_arrived(self, column: Stored) -> str:
        """It comes as null."""
        return f"{quoted(column.name)} is null"

    def unending(self, column: Stored) -> Stored:
        """A zero date is no moment as it stands."""
        return replace(column, outside=self.never(column))

    def is_peer(self, connection: Connection) -> Callable[[object], bool]:
        """By port, or by the socket's path."""
        host = connection.host or ""
        is_path = host.startswith("/")
        return tcp_or_unix(connection.port or self.default_port, host if is_path else None)

    def explain(self, text: str, connection: Connection, table: str) -> tuple[str, bool] | None:
        """By the phrases of the server."""
        user, database = connection.login or "the user", connection.schema or "the database"
        if "Access denied for user" in text and "to database" not in text:
            return f"it refuses user {user} or the password: correct the connection", False
        if "Access denied" in text or "command denied" in text:
            return (
                f"user {user} may not read {table}: grant select on {database}.* to {user}",
                False,
            )
        if "Unknown database" in text:
            return f"it has no database {database}: correct the connection's schema", False
        return None


DIALECTS: dict[str, Dialect] = {"postgres": Postgres(), "mysql": MySql()}
