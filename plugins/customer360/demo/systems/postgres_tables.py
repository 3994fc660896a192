"""The PostgreSQL systems' databases: filling them, their daily changes, and looking at them.

What belongs here: tables and rows. What does not: the server and whose databases those are
(``postgres``), which row is visible on which day (``world``), and the order of the steps of
``demo start`` (``company``).

Bulk loads go through DuckDB's own scanner (binary COPY): 830 k rows a second, where COPY of CSV
reached 420 k and ADBC 300 k on the same table and machine.
"""

import hashlib
from collections.abc import Iterator

import duckdb
import psycopg

from customer360.demo.systems.postgres import (
    MARK,
    RemoteServer,
    Server,
    create_database,
    statement,
)
from customer360.demo.systems.world import (
    Column,
    Incident,
    Table,
    World,
    literal,
    quote,
    retyping,
)
from customer360.exceptions import DemoError
from customer360.warehouse import load_extension

PLAIN_TYPES = {
    "TINYINT": "smallint",
    "SMALLINT": "smallint",
    "INTEGER": "integer",
    "UINTEGER": "bigint",
    "BIGINT": "bigint",
    "UBIGINT": "numeric(20, 0)",
    "HUGEINT": "numeric(38, 0)",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "BOOLEAN": "boolean",
    "VARCHAR": "text",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "JSON": "jsonb",
}


def postgres_type(system: str, column: Column) -> str:
    """PostgreSQL's name of a column's type."""
    if column.type.startswith("DECIMAL("):
        return column.type.replace("DECIMAL", "numeric")
    if column.type.endswith("[]"):
        return f"{PLAIN_TYPES[column.type[:-2]]}[]"
    # The loyalty system keeps instants with their zone; the world holds them in UTC.
    if system == "loyalty" and column.type == "TIMESTAMP":
        return "timestamptz"
    return PLAIN_TYPES[column.type]


def load(server: Server, world: World, system: str, day: int) -> None:
    """Make the database of ``system`` as it is at the end of ``day``."""
    create_database(server, system, day)
    database = server.database(system)
    tables = world.tables(system)
    with server.connect(database) as connection:
        for table in tables:
            connection.execute(statement(create_table(world, table, day)))
    cursor = world.cursor()
    load_extension(cursor, "postgres_scanner")
    target = f"target_{system}"
    try:
        cursor.execute(f"attach {literal(server.owner_url(database))} as {target} (type postgres)")
        for table in tables:
            columns = world.columns_on(table, day)
            cursor.execute(
                f"insert into {target}.public.{quote(table.name)} "
                f"select {', '.join(column.expression for column in columns)} "
                f"from world.{table.source} where {world.visible(table, day)}"
            )
        cursor.execute(f"detach {target}")
    except duckdb.Error as error:
        # DuckDB quotes rows and the URL with its password.
        raise DemoError(
            f"{system} could not be loaded into PostgreSQL ({type(error).__name__}"
            f"{', the disk is full' if 'No space left' in str(error) else ''}); "
            "`customer360 demo reset` recovers"
        ) from None
    with server.connect(database) as connection:
        for table in tables:
            for command in finish_table(table):
                connection.execute(statement(command))
        if not isinstance(server, RemoteServer):
            for command in (
                f"revoke all on database {quote(database)} from public",
                f"grant connect on database {quote(database)} to {quote(server.reader)}",
                f"grant select on all tables in schema public to {quote(server.reader)}",
            ):
                connection.execute(statement(command))
        connection.execute("analyze")


def create_table(world: World, table: Table, day: int) -> str:
    """DDL of a bare table: keys and indexes follow when it is filled."""
    columns = ", ".join(
        f"{quote(column.name)} {postgres_type(table.system, column)}"
        for column in world.columns_on(table, day)
    )
    return f"create table public.{quote(table.name)} ({columns})"


def finish_table(table: Table) -> Iterator[str]:
    """Keys, the index that incremental readers need, and the comment."""
    name = f"public.{quote(table.name)}"
    if table.key:
        yield f"alter table {name} add primary key ({', '.join(map(quote, table.key))})"
    if table.column("updated_at"):
        yield f"create index on {name} (updated_at)"
    for foreign in table.foreign_keys:
        yield (
            f"alter table {name} add foreign key ({', '.join(map(quote, foreign.columns))}) "
            f"references public.{quote(foreign.parent)} "
            f"({', '.join(map(quote, foreign.parent_columns))})"
        )
    if table.comment:
        yield f"comment on table {name} is {literal(table.comment)}"


def advance(server: Server, world: World, system: str, day: int) -> None:
    """Bring a database to the end of ``day`` in one transaction; where it is there, do nothing."""
    tables = world.tables(system)
    with server.connect(server.database(system)) as connection, connection.transaction():
        row = connection.execute(statement(f"select day from {MARK}.state for update")).fetchone()
        assert row is not None
        shown = int(row[0])
        if shown >= day:
            return
        for table in tables:
            for incident in world.incidents_of(table):
                if shown < incident.day <= day and "column" in incident.detail:
                    release(connection, world, table, incident)
        for table in tables:
            upsert(connection, world, table, shown, day)
        for table in reversed(tables):
            delete(connection, world, table, shown, day)
        connection.execute(statement(f"update {MARK}.state set day = {day}"))


def release(connection: psycopg.Connection, world: World, table: Table, incident: Incident) -> None:
    """Carry out what a careless release does to a column."""
    name = str(incident.detail["column"])
    column = next(each for each in world.columns_on(table, incident.day) if each.name == name)
    kind = postgres_type(table.system, column)
    change = f"add column {quote(name)} {kind}"
    if incident.kind == "column_retyped":
        _, expression = retyping(name, incident, quote(name))
        change = f"alter column {quote(name)} type {kind} using {expression}"
    connection.execute(statement(f"alter table public.{quote(table.name)} {change}"))


def upsert(
    connection: psycopg.Connection, world: World, table: Table, shown: int, day: int
) -> None:
    """Insert or update the rows that became visible after ``shown`` and still are on ``day``."""
    columns = world.columns_on(table, day)
    names = ", ".join(quote(column.name) for column in columns)
    changed = world.cursor().execute(
        f"select {', '.join(column.expression for column in columns)} from {table.source} "
        f"where _from_day > {shown} and {world.visible(table, day)}"
    )
    target = f"public.{quote(table.name)}"
    into = f"pg_temp.{quote('new_' + table.name)}" if table.mutable else target
    rows = changed.fetchmany(10_000)
    if not rows:
        return
    if table.mutable:
        connection.execute(
            statement(
                f"create temp table {quote('new_' + table.name)} on commit drop as "
                f"select {names} from {target} with no data"
            )
        )
    with (
        connection.cursor() as cursor,
        cursor.copy(statement(f"copy {into} ({names}) from stdin")) as copy,
    ):
        while rows:
            for row in rows:
                copy.write_row(row)
            rows = changed.fetchmany(10_000)
    if table.mutable:
        key = ", ".join(map(quote, table.key))
        values = ", ".join(
            f"{quote(column.name)} = excluded.{quote(column.name)}"
            for column in columns
            if column.name not in table.key
        )
        action = f"update set {values}" if values else "nothing"
        connection.execute(
            statement(
                f"insert into {target} ({names}) select {names} from {into} "
                f"on conflict ({key}) do {action}"
            )
        )


def delete(
    connection: psycopg.Connection, world: World, table: Table, shown: int, day: int
) -> None:
    """Delete the rows that were visible on ``shown`` and have no version on ``day``."""
    if not table.mutable:
        return
    key = ", ".join(map(quote, table.key))
    gone = (
        world.cursor()
        .execute(
            f"select {key} from {table.source} where {world.visible(table, shown)} "
            f"and _to_day <= {day} except "
            f"select {key} from {table.source} where {world.visible(table, day)}"
        )
        .fetchall()
    )
    if not gone:
        return
    target, aside = f"public.{quote(table.name)}", quote("gone_" + table.name)
    connection.execute(
        statement(
            f"create temp table {aside} on commit drop as select {key} from {target} with no data"
        )
    )
    with (
        connection.cursor() as cursor,
        cursor.copy(statement(f"copy pg_temp.{aside} ({key}) from stdin")) as copy,
    ):
        for row in gone:
            copy.write_row(row)
    connection.execute(
        statement(f"delete from {target} where ({key}) in (select {key} from pg_temp.{aside})")
    )


def table_names(connection: psycopg.Connection) -> list[str]:
    """Tables that a reader sees, in alphabetical order."""
    return [
        str(row[0])
        for row in connection.execute(
            "select tablename from pg_tables where schemaname = 'public' order by 1"
        ).fetchall()
    ]


def count_rows(server: Server, system: str) -> dict[str, int]:
    """Rows of each table, counted by PostgreSQL."""
    with server.connect(server.database(system)) as connection:
        counts = {}
        for name in table_names(connection):
            row = connection.execute(
                statement(f"select count(*) from public.{quote(name)}")
            ).fetchone()
            counts[name] = int(row[0]) if row else 0
        return counts


def hash_tables(server: Server, system: str) -> dict[str, str]:
    """Content hash of each table: columns, types and rows, whatever their order."""
    with server.connect(server.database(system)) as connection:
        hashes = {}
        for name in table_names(connection):
            columns = connection.execute(
                "select column_name, data_type from information_schema.columns "
                "where table_schema = 'public' and table_name = %s order by ordinal_position",
                (name,),
            ).fetchall()
            row = connection.execute(
                statement(
                    "select count(*), coalesce(sum(hashtextextended(whole::text, 0)), 0), "
                    "coalesce(sum(hashtextextended(whole::text, 1)), 0) "
                    f"from public.{quote(name)} as whole"
                )
            ).fetchone()
            digest = hashlib.sha256(f"{columns}{row}".encode()).hexdigest()
            hashes[name] = digest[:16]
        return hashes


def sample(server: Server, table: Table, rows: int) -> tuple[list[str], list[tuple[object, ...]]]:
    """Column names and some rows of a table, the same ones each time."""
    order = ", ".join(map(quote, table.key)) or "1"
    with server.connect(server.database(table.system)) as connection:
        cursor = connection.execute(
            statement(
                f"select * from public.{quote(table.name)} as whole "
                f"order by hashtext(({order})::text), {order} limit {rows}"
            )
        )
        names = [column.name for column in cursor.description or []]
        return names, cursor.fetchall()
