"""Where the demo's things lie, who owns them, and what state they are in.

What belongs here: paths, the ownership marker, the lock, the secrets, the state file. What does
not: anything that knows a database, a web server or a file format.
"""

import contextlib
import fcntl
import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from customer360.atomic import write_atomically
from customer360.exceptions import BusyError, DemoError
from customer360.settings import load_settings

MARKER = ".customer360-demo"
MARKER_TEXT = (
    "This folder was made by `customer360 demo start`; `customer360 demo reset` removes it.\n"
)


@dataclass(frozen=True)
class Layout:
    """Paths of one demo, all below ``root``."""

    root: Path

    @property
    def marker(self) -> Path:
        """The file that says that the folder is ours; also the lock between commands."""
        return self.root / MARKER

    @property
    def state(self) -> Path:
        """Which demo this is and its day; written last, so that its absence means half-made."""
        return self.root / "state.json"

    @property
    def secrets(self) -> Path:
        """Passwords and tokens, readable by the owner alone."""
        return self.root / "secrets.json"

    @property
    def connections(self) -> Path:
        """What a pipeline needs to reach each system, readable by the owner alone."""
        return self.root / "connections.json"

    @property
    def pipeline_connections(self) -> Path:
        """The same as Airflow Connections (name -> URI), where the company's pipeline looks."""
        return self.root.parent / "connections.json"

    @property
    def clock(self) -> Path:
        """The newest day that has ended (YYYY-MM-DD): the company lives in a time of its own."""
        return self.root.parent / "clock"

    @property
    def world(self) -> Path:
        """The whole life of the company: each row version with the days it is visible."""
        return self.root / "world" / "world.duckdb"

    @property
    def truth(self) -> Path:
        """What is true of it; read by evaluations only."""
        return self.root / "world" / "truth.duckdb"

    @property
    def files(self) -> Path:
        """What systems drop as files, ``<system>/...``."""
        return self.root / "files"

    @property
    def deliveries(self) -> Path:
        """SQLite list of the files delivered, with their rows; no system shows it."""
        return self.root / "deliveries.sqlite"

    @property
    def api(self) -> Path:
        """What the web server serves, one read-only file a day, and the pointer to it."""
        return self.root / "api"

    @property
    def postgres(self) -> Path:
        """The embedded PostgreSQL cluster."""
        return self.root / "postgres"

    @property
    def run(self) -> Path:
        """Process ids and logs."""
        return self.root / "run"

    @property
    def spill(self) -> Path:
        """Where DuckDB may write what does not fit in memory."""
        return self.root / "spill"


@dataclass
class State:
    """What a finished demo is.

    Attributes:
        size: ``small``, ``medium`` or ``large``.
        seed: seed of the generated world.
        day: world day that the systems show.
        start_day: world day of ``demo start``.
        advancing_to: the day that an unfinished ``advance`` was to reach, else None.
        port: port of the web server.
        postgres_url: server that holds the databases, or None for the embedded one.
        seconds: how long the making took, by step.
        generator: version of the generator that made the world.
    """

    size: str
    seed: int
    day: int
    start_day: int
    port: int
    postgres_url: str | None
    seconds: dict[str, float]
    advancing_to: int | None = None
    generator: int = 1


def default_layout() -> Layout:
    """The demo below the data folder of the company ``demo``."""
    return Layout(load_settings("demo").data_dir.absolute() / "systems")


def is_ours(layout: Layout) -> bool:
    """Whether the folder carries our marker."""
    try:
        return layout.marker.read_text() == MARKER_TEXT
    except OSError:
        return False


def claim(layout: Layout) -> None:
    """Make the folder and mark it; refuse one that somebody else filled."""
    layout.root.mkdir(parents=True, exist_ok=True)
    if is_ours(layout):
        return
    foreign = [path for path in layout.root.iterdir() if path.name != MARKER]
    # An empty folder is what a kill between mkdir and the marker leaves behind.
    if foreign:
        raise DemoError(
            f"{layout.root} exists and was not made by `customer360 demo`: it is left alone. "
            "Move it away, or choose another place with CUSTOMER360_DATA."
        )
    write_atomically(layout.marker, MARKER_TEXT)


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Hold the demo for one command; the lock goes with the process, however it ends."""
    with layout.marker.open("r") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"another `customer360 demo` command is at work on {layout.root}; wait for it"
            ) from None
        yield


def read_state(layout: Layout) -> State | None:
    """State of a finished demo, or None where there is none or a half-made one."""
    try:
        return State(**json.loads(layout.state.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise DemoError(
            f"{layout.state} cannot be read as the state of a demo; `customer360 demo reset` "
            "clears it away"
        ) from error


def write_state(layout: Layout, state: State) -> None:
    """Record the state durably."""
    write_atomically(layout.state, json.dumps(asdict(state), indent=2) + "\n", mode=0o600)


SECRETS = ("demo_id", "owner", "reader", "writer", "callcentre", "campaign", "webhook", "admin")


def load_secrets(layout: Layout) -> dict[str, str]:
    """Passwords and tokens of this demo, drawn when it is made."""
    try:
        values: dict[str, Any] = json.loads(layout.secrets.read_text(encoding="utf-8"))
    except FileNotFoundError:
        values = {}
    # A demo of an older version lacks what has been added since.
    drawn = {name: secrets.token_hex(16) for name in SECRETS if name not in values}
    if drawn:
        values |= drawn
        write_atomically(layout.secrets, json.dumps(values, indent=2) + "\n", mode=0o600)
    return {str(name): str(value) for name, value in values.items()}


def remove_tree(path: Path) -> None:
    """Remove a folder or file of ours, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
