"""Real database servers of the tests' own, and a company that reads from them."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import psutil
import psycopg
import pytest

from customer360.demo.systems import postgres
from customer360.demo.systems.layout import Layout
from customer360.exceptions import DemoError
from customer360.warehouse import literal, load_extension
from tests.conftest import Company


class DatabaseServer:
    """A server that tests may pause; every test has a database of its own in it."""

    format: str
    processes: Callable[[], list[psutil.Process]]

    def run(self, *statements: str) -> None:
        """Execute statements in the test's database, each committed."""
        raise NotImplementedError

    def new_database(self) -> None:
        """Make the test's database anew."""
        raise NotImplementedError

    def connection(self, **changed: Any) -> dict[str, Any]:
        """An Airflow Connection to the test's database, as its owner."""
        raise NotImplementedError

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP to every process of the server."""
        stopped = self.processes()
        assert stopped
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)


class PostgresServer(DatabaseServer):
    format = "postgres"

    def __init__(self, root: Path) -> None:
        self._server = postgres.EmbeddedServer(Layout(root))
        self._layout = Layout(root)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def url(self) -> str:
        """As SQLAlchemy and connectorx read it."""
        folder, secret = self._server.socket_folder, self._server.secrets["owner"]
        return f"postgresql://postgres:{secret}@localhost/shop?host={folder}"

    def scanner_url(self) -> str:
        """As DuckDB reads it."""
        return self._server.owner_url("shop")

    def processes(self) -> list[psutil.Process]:
        postmaster = self._server._process()
        return [postmaster, *postmaster.children(recursive=True)]

    def run(self, *statements: str, database: str = "shop") -> None:
        url = self._server.owner_url(database)
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def new_database(self) -> None:
        self.run(
            "drop database if exists shop with (force)", "create database shop",
            database="postgres",
        )  # fmt: skip

    def connection(self, **changed: Any) -> dict[str, Any]:
        return {
            "conn_type": "postgres",
            "host": str(self._server.socket_folder),
            "login": "postgres",
            "password": self._server.secrets["owner"],
            "schema": "shop",
            "extra": {"read_timeout": 20, "connect_timeout": 5},
            **changed,
        }


class MariaDbServer(DatabaseServer):
    format = "mysql"
    password = "own'er \\ \"pass"

    def __init__(self, root: Path, daemon: str, install: str) -> None:
        self._root = root
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("mysql")
            os.chown(root, user.pw_uid, user.pw_gid)
            self._identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.socket = root / "s"
        subprocess.run(
            [
                install, "--no-defaults", f"--datadir={root / 'data'}", "--skip-test-db",
                "--auth-root-authentication-method=normal", "--skip-name-resolve",
            ],
            cwd="/", check=True, capture_output=True, timeout=120, **self._identity,
        )  # fmt: skip
        with (root / "log").open("wb") as log:
            self._process = psutil.Popen(
                [
                    daemon, "--no-defaults", f"--datadir={root / 'data'}",
                    f"--socket={self.socket}", f"--port={self.port}",
                    "--bind-address=127.0.0.1", f"--pid-file={root / 'pid'}",
                    "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M",
                    "--sql-mode=", "--character-set-server=utf8mb4",
                    "--default-time-zone=+05:00", "--performance-schema=off",
                ],
                cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._identity,
            )  # fmt: skip
        self._duckdb = duckdb.connect(config={"threads": 1})
        load_extension(self._duckdb, "mysql_scanner")
        deadline = time.monotonic() + 60
        while True:
            try:
                address = f"host=localhost socket={self.socket} user=root database=mysql"
                self._duckdb.execute(f"attach {literal(address)} as server (type mysql)")
                break
            except duckdb.Error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((root / "log").read_text(errors="replace")) from None
                time.sleep(0.05)
        escaped = self.password.replace("\\", "\\\\").replace("'", "\\'")
        for host in ("localhost", "127.0.0.1"):
            self.run(
                f"create user owner@'{host}' identified by '{escaped}'",
                f"grant all on *.* to owner@'{host}' with grant option",
            )

    def url(self) -> str:
        """As SQLAlchemy and connectorx read it."""
        return f"mysql://root@127.0.0.1:{self.port}/shop"

    def scanner_url(self) -> str:
        """As DuckDB reads it."""
        return f"host=localhost socket={self.socket} user=root database=shop"

    def stop(self) -> None:
        self._duckdb.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except psutil.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def processes(self) -> list[psutil.Process]:
        return [psutil.Process(self._process.pid)]

    def run(self, *statements: str) -> None:
        for statement in statements:
            self._duckdb.execute(f"call mysql_execute('server', {literal(statement)})")

    def new_database(self) -> None:
        self.run("drop database if exists shop", "create database shop", "use shop")

    def connection(self, **changed: Any) -> dict[str, Any]:
        return {
            "conn_type": "mysql",
            "host": "127.0.0.1",
            "port": self.port,
            "login": "owner",
            "password": self.password,
            "schema": "shop",
            "extra": {"read_timeout": 20, "connect_timeout": 5},
            **changed,
        }


def start_postgres(folder: Path) -> PostgresServer:
    """An embedded PostgreSQL in ``folder``."""
    root = folder / "pg"
    root.mkdir()
    return PostgresServer(root)


def start_mariadb(folder: Path) -> MariaDbServer | None:
    """A MariaDB of the machine's packages in ``folder``; None where there is none."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    daemon = shutil.which("mariadbd", path=path)
    install = shutil.which("mariadb-install-db", path=path)
    if not daemon or not install:
        return None
    root = folder / "maria"
    root.mkdir()
    return MariaDbServer(root, daemon, install)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """An embedded PostgreSQL; not below pytest's folders, which its user may not enter."""
    with tempfile.TemporaryDirectory(prefix="c360-") as folder:
        try:
            server = start_postgres(Path(folder))
        except DemoError as error:
            pytest.skip(f"no embedded PostgreSQL here: {error}")
        yield server
        server.stop()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDbServer]:
    """A MariaDB of the machine's packages, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="c360-") as folder:
        Path(folder).chmod(0o755)
        server = start_mariadb(Path(folder))
        if server is None:
            pytest.skip("no mariadbd here: install the package mariadb-server")
        yield server
        server.stop()


class Shop:
    """The tiny company with one source ``shop`` in a real database."""

    def __init__(self, company: Company, server: DatabaseServer) -> None:
        self.company = company
        self.server = server
        self.tables: dict[str, Any] = {}
        server.new_database()
        company.config["policies"].pop("trust")  # it names fields of another company
        company.config["sources"]["sources"] = {
            "shop": {
                "title": "Shop", "owner": "Ann", "stage": "basic", "format": server.format,
                "connection": "shop", "tables": self.tables,
            }
        }  # fmt: skip
        company.config["sources"]["first_day"] = "2026-01-01"
        company.config["sources"].pop("last_day", None)
        company.config["sources"]["time_zone"] = "Asia/Shanghai"
        self.connect()

    @property
    def settings(self) -> Any:
        return self.company.settings

    def connect(self, **changed: Any) -> None:
        """Write the connection, with ``changed`` in place of the owner's."""
        data = self.company.settings.data_dir
        data.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"shop": self.server.connection(**changed)})
        (data / "connections.json").write_text(text)

    def declare(self, name: str, columns: dict[str, Any], key: list[str], **more: Any) -> None:
        """A table's contract; a column is a type, or a dictionary."""
        shaped = {
            column: {"type": spec} if isinstance(spec, str) else dict(spec)
            for column, spec in columns.items()
        }
        needed = [*key, *([more["cursor"]["column"]] if "cursor" in more else [])]
        for column in needed:
            shaped[column]["required"] = True
        self.tables[name] = {"key": key, "columns": shaped, **more}
        self.company.write()

    def run(self, *statements: str) -> None:
        self.server.run(*statements)


@pytest.fixture
def postgres_shop(company: Company, postgres_server: PostgresServer) -> Shop:
    """A company that reads from PostgreSQL."""
    return Shop(company, postgres_server)


@pytest.fixture
def mariadb_shop(company: Company, mariadb_server: MariaDbServer) -> Shop:
    """A company that reads from MariaDB."""
    return Shop(company, mariadb_server)


@pytest.fixture(params=["postgres", "mariadb"])
def shop(request: pytest.FixtureRequest) -> Shop:
    """The same company on either system."""
    made: Shop = request.getfixturevalue(f"{request.param}_shop")
    return made
