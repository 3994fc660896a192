"""Where the local Airflow of a company lives, how it is configured, and whether it is running.

What belongs here: files below ``.airflow/<company>/``, the environment of its processes, starting
and stopping them from outside. What does not: what happens inside them (``serve``).
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import psutil

from customer360.exceptions import BusyError, Customer360Error
from customer360.processes import is_alive, wait_until_ended
from customer360.settings import PROJECT, Settings

Mode = Literal["run", "up"]

MARKER = "CUSTOMER360_LOCAL_AIRFLOW"
"""Names the home of an instance in the environment of its processes.

Not enough to find them: a process that sets its title may overwrite what others see of this.
"""

TAKEN_UP_FILE = "taken_up.json"
"""In an instance's home: runs that were cut off and that this start goes on with."""

STOP_SECONDS = 20
KILL_SECONDS = 3
"""How long the first process gets to end all others, and how long what is left over gets."""


class LocalAirflowError(Customer360Error):
    """The local Airflow does not start, or a run in it has failed."""


class PortTakenError(LocalAirflowError):
    """Another program took a port between our looking for a free one and our services' start."""


@dataclasses.dataclass(frozen=True)
class Running:
    """A running instance: its first process, and where its two API servers listen.

    People and commands use one, tasks the other: each takes seconds to build its routes, and so
    they do it side by side.
    """

    pid: int
    created: float
    port: int
    task_port: int
    mode: Mode

    @property
    def url(self) -> str:
        """Base URL of the web interface and the API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def task_url(self) -> str:
        """Base URL of the API that tasks report to."""
        return f"http://127.0.0.1:{self.task_port}/execution/"


@dataclasses.dataclass(frozen=True)
class Instance:
    """The local Airflow of one company.

    Attributes:
        settings: whose pipeline it runs.
        home: everything that Airflow writes is below it.
    """

    settings: Settings
    home: Path

    @classmethod
    def of(cls, settings: Settings) -> "Instance":
        """The instance of the company of ``settings``, in the project folder."""
        return cls(settings, PROJECT / ".airflow" / settings.company)

    # files ----------------------------------------------------------------------------------

    @property
    def state_path(self) -> Path:
        """What is running, as JSON."""
        return self.home / "instance.json"

    @property
    def database_path(self) -> Path:
        """Airflow's metadata."""
        return self.home / "airflow.db"

    @property
    def logs_dir(self) -> Path:
        """Logs of tasks; those of the services are beside it."""
        return self.home / "logs"

    @property
    def passwords_path(self) -> Path:
        """Passwords of the web interface."""
        return self.home / "passwords.json"

    def prepare_home(self) -> None:
        """Make the folder, readable by its owner only, and the secrets, once."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o700)
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        self._kept_secrets()
        if not self.passwords_path.exists():
            _write_private(self.passwords_path, {"admin": secrets.token_urlsafe(12)})

    def _kept_secrets(self) -> dict[str, str]:
        path = self.home / "secrets.json"
        if not path.exists():
            _write_private(
                path,
                {
                    "fernet_key": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                    "jwt_secret": secrets.token_urlsafe(48),
                    "api_secret_key": secrets.token_urlsafe(48),
                },
            )
        kept: dict[str, str] = json.loads(path.read_text())
        return kept

    @property
    def password(self) -> str:
        """Password of ``admin``."""
        return str(json.loads(self.passwords_path.read_text())["admin"])

    def taken_up(self) -> list[str]:
        """Runs that were cut off when Airflow last ended, such as ``ingest_till of 2017-12-31``.

        A started instance goes on with them by itself.
        """
        runs = json.loads((self.home / TAKEN_UP_FILE).read_text())
        return [f"{dag_id} of {key}" for dag_id, key in runs]

    # configuration --------------------------------------------------------------------------

    def environment(self, mode: Mode, port: int, task_port: int) -> dict[str, str]:
        """The environment of every process of the instance."""
        kept = self._kept_secrets()
        # Who leaves Airflow running edits DAGs and configuration; one run is over before that.
        parse_again = 30 if mode == "up" else 24 * 3600
        airflow = {
            "core__dags_folder": PROJECT / "dags",
            "core__plugins_folder": PROJECT / "plugins",
            "core__executor": "LocalExecutor",
            "core__parallelism": 4,  # 32 on two cores lost a task to a time-out of the API
            "core__load_examples": False,
            "core__default_task_retry_delay": 3,  # a person is waiting
            "core__fernet_key": kept["fernet_key"],
            "core__simple_auth_manager_users": "admin:admin",
            "core__simple_auth_manager_passwords_file": self.passwords_path,
            "core__execution_api_server_url": f"http://127.0.0.1:{task_port}/execution/",
            "core__min_serialized_dag_update_interval": 0,
            "core__min_serialized_dag_fetch_interval": 0,
            "database__sql_alchemy_conn": f"sqlite:///{self.database_path}",
            "api__host": "127.0.0.1",
            "api__port": port,
            "api__base_url": f"http://127.0.0.1:{port}",
            "api__workers": 1,
            "api__secret_key": kept["api_secret_key"],
            "api__expose_config": False,
            "api_auth__jwt_secret": kept["jwt_secret"],
            "logging__base_log_folder": self.logs_dir,
            "logging__dag_processor_child_process_log_directory": self.logs_dir / "dag_processor",
            "dag_processor__refresh_interval": parse_again,
            "dag_processor__min_file_process_interval": parse_again,
            "dag_processor__parsing_processes": 2,
            # After a task has ended its supervisor may sleep this long, and its slot with it.
            "workers__min_heartbeat_interval": 1,
            "scheduler__scheduler_idle_sleep_time": 0.2,
            "scheduler__orphaned_tasks_check_interval": 30,
            "scheduler__task_instance_heartbeat_timeout": 60,
            "scheduler__enable_health_check": False,
            "usage_data_collection__enabled": False,
            **self._connections(),
        }
        # Connections are the user's own; every other setting of Airflow is this instance's.
        kept_variables = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("AIRFLOW") or key.startswith("AIRFLOW_CONN_")
        }
        return {
            **kept_variables,
            **{f"AIRFLOW__{key.upper()}": str(value) for key, value in airflow.items()},
            "AIRFLOW_HOME": str(self.home),
            MARKER: str(self.home),
            "COMPANY": self.settings.company,
            "CUSTOMER360_DATA": str(self.settings.data_dir.parent),
            "MPLCONFIGDIR": str(self.home / "matplotlib"),
            "DO_NOT_TRACK": "1",
            "GX_ANALYTICS_ENABLED": "false",
            "PYTHONUNBUFFERED": "1",
        }

    def _connections(self) -> dict[str, str]:
        """Where Airflow finds the Connections of a company that keeps them in its data folder."""
        file = self.settings.data_dir / "connections.json"
        if not file.is_file():
            return {}
        return {
            "secrets__backend": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
            "secrets__backend_kwargs": json.dumps({"connections_file_path": str(file)}),
        }

    # processes ------------------------------------------------------------------------------

    def _last_started(self) -> Running | None:
        try:
            return Running(**json.loads(self.state_path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def running(self) -> Running | None:
        """The running instance, or None; a file that a killed one left behind counts as None."""
        last = self._last_started()
        with contextlib.suppress(psutil.NoSuchProcess):
            if last:
                process = psutil.Process(last.pid)
                if process.create_time() == last.created and is_alive(process):
                    return last
        return None

    def processes(self) -> list[psutil.Process]:
        """Every living process of the instance last started here, its tasks among them.

        All of them are in the session of the first one, or carry its marker. A session's number
        may be somebody else's by now: so they must work in our folder and be younger than it.
        """
        last = self._last_started()
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                ours = process.environ().get(MARKER) == str(self.home) or (
                    last is not None
                    and os.getsid(process.pid) == last.pid
                    and process.create_time() >= last.created
                    and process.cwd() == str(PROJECT)
                )
                if ours and process.pid != os.getpid() and is_alive(process):
                    found.append(process)
        return found

    @contextlib.contextmanager
    def kept_to_one(self) -> Iterator[None]:
        """Let only one command at a time start, stop or run something here.

        Raises:
            BusyError: another command is at it.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(
                    f"Another make run, backfill, up or down of {self.settings.company} is at work "
                    f"in {self.home.relative_to(PROJECT)}: wait for it, or end it with Ctrl-C."
                ) from None
            yield

    def start(self, mode: Mode, wanted_port: int) -> "tuple[Running, subprocess.Popen[bytes]]":
        """Start the instance's processes; they may not be ready yet.

        People's API listens on ``wanted_port`` where that is free (0: any free one).
        In mode ``run`` they end when the calling process ends, however it ends.
        """
        self.prepare_home()
        self.end_processes()
        port, task_port = _free_ports(wanted_port)
        lifeline = subprocess.PIPE if mode == "run" else subprocess.DEVNULL
        with (self.home / "serve.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603, our own interpreter and module
                [sys.executable, "-m", "customer360_airflow.local.serve", mode, str(task_port)],
                env=self.environment(mode, port, task_port),
                cwd=PROJECT,
                stdin=lifeline,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        created = psutil.Process(process.pid).create_time()
        running = Running(process.pid, created, port, task_port, mode)
        _write_private(self.state_path, dataclasses.asdict(running))
        return running, process

    def stop(self) -> int:
        """Stop the instance; returns how many processes had to be ended."""
        running = self.running()
        members = self.processes()
        if running:
            first = [process for process in members if process.pid == running.pid]
            for process in first:
                _signal(process, signal.SIGTERM)
            wait_until_ended(first, STOP_SECONDS)
        self.end_processes(members)
        self.state_path.unlink(missing_ok=True)
        return len(members)

    def end_processes(self, members: Iterable[psutil.Process] = ()) -> None:
        """End ``members`` and whatever else a killed instance left behind; returns when all have.

        A process that is ending has no environment and no folder by which it could be found, and
        yet may hold files and ports: so all that were ever found are waited for.
        """
        deadline = time.monotonic() + KILL_SECONDS
        found = set(members)
        while left := {process for process in found.union(self.processes()) if is_alive(process)}:
            found |= left
            late = time.monotonic() > deadline
            for process in left:
                _signal(process, signal.SIGKILL if late else signal.SIGTERM)
            wait_until_ended(left, 2)


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that only its owner may read, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    temporary.touch(0o600)
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def _free_ports(wanted: int) -> tuple[int, int]:
    """``wanted`` where it is free, else any free port; and another one."""
    with contextlib.ExitStack() as stack:
        found = []
        for port in (wanted, 0, 0):
            probe = stack.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(int(probe.getsockname()[1]))
    return found[0], found[1]
