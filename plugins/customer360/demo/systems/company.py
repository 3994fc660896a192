"""The life of the demo: made, started, moved on, looked at, stopped, removed.

What belongs here: the order of the steps and what a kill between two of them means. What does
not: how each system works inside (``postgres``, ``postgres_tables``, ``files``, ``api``,
``http_server``).

The state file is written last when a demo is made: without it, whatever lies in the folder is
half-made and is made anew. An advance first records where it goes, and each of its steps can be
done twice, so that the next command finishes what a kill cut off.
"""

import contextlib
import errno
import hashlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote as percent

import duckdb
import psutil
import psycopg

from customer360.atomic import write_atomically
from customer360.demo import GENERATOR_VERSION
from customer360.demo.systems import Connection, api, files, postgres, postgres_tables
from customer360.demo.systems.layout import (
    Layout,
    State,
    claim,
    is_ours,
    load_secrets,
    locked,
    read_state,
    remove_tree,
    write_state,
)
from customer360.demo.systems.world import (
    FILES,
    HTTP,
    POSTGRES,
    SYSTEMS,
    Table,
    World,
    literal,
    quote,
)
from customer360.exceptions import DemoError
from customer360.processes import wait_until_ended
from customer360.settings import load_settings

Report = Callable[[str], None]

DEFAULT_PORT = 8360
DEFAULT_SEED = 42
DEFAULT_SIZE = "small"

DISK_NEEDED = {
    "tiny": 500_000_000,
    "small": 1_000_000_000,
    "medium": 6_000_000_000,
    "large": 44_000_000_000,
}
"""Bytes that a demo of each size takes, world, databases and files together, with some air."""

SERVER_MODULE = "customer360.demo.systems.http_server"

NO_DEMO = "there is no demo company in {}: `customer360 demo start` makes it"


def open_world(layout: Layout) -> World:
    """The demo's world, within the limits of the settings."""
    settings = load_settings("demo")
    layout.spill.mkdir(exist_ok=True)
    return World(
        layout.world,
        threads=settings.threads,
        memory_limit=settings.memory_limit,
        spill=layout.spill,
    )


def start(
    layout: Layout,
    *,
    size: str | None = None,
    seed: int | None = None,
    port: int | None = None,
    postgres_url: str | None = None,
    report: Report,
) -> State:
    """Make the demo where there is none, and see that its servers run.

    Raises:
        DemoError: the port or a database is taken, the disk is too small, or a demo of another
            size or seed is there.
    """
    claim(layout)
    with locked(layout), clear_errors(layout):
        state = read_state(layout)
        if state is None:
            return make(
                layout,
                size or DEFAULT_SIZE,
                DEFAULT_SEED if seed is None else seed,
                port or free_port(),
                postgres_url,
                report,
            )
        need_current(layout, state)
        if size not in (None, state.size) or seed not in (None, state.seed):
            raise DemoError(
                f"a demo of size {state.size} with seed {state.seed} is already there; "
                "`customer360 demo reset` removes it"
            )
        if postgres_url not in (None, state.postgres_url):
            raise DemoError(
                "this demo keeps its databases on another PostgreSQL server; "
                "`customer360 demo reset` removes it"
            )
        if port is not None and port != state.port:
            need_port(port)
            stop_web(layout)
            state.port = port
            write_state(layout, state)
        run_servers(layout, state)
        if state.advancing_to is not None:
            finish_advance(layout, state, report)
        set_clock(layout, state)
        return state


def make(
    layout: Layout, size: str, seed: int, port: int, postgres_url: str | None, report: Report
) -> State:
    """Make a whole demo; whatever lies in the folder without a state is half-made."""
    stop_web(layout)
    need_port(port)
    plan = {
        "size": size,
        "seed": seed,
        "postgres_url": postgres_url,
        "generator": GENERATOR_VERSION,
    }
    clear_half_made(layout, plan)
    need_disk(layout, size, report)
    write_atomically(layout.root / "plan.json", json.dumps(plan), mode=0o600)
    server = postgres.open_server(layout, postgres_url)
    seconds: dict[str, float] = {}
    with timed(seconds, "postgres_ready"):
        report("PostgreSQL starts")
        server.start()
        postgres.create_reader(server)
        # Before the long work: a database that is not ours must not be found after minutes.
        with postgres.maintenance(server) as connection:
            for system in POSTGRES:
                postgres.drop_ours(server, connection, system, refuse_others=True)
    if not layout.world.exists():
        with timed(seconds, "generate"):
            generate_world(layout, size, seed, report)
    with open_world(layout) as world:
        day = world.start_day

        def fill_served() -> None:
            with timed(seconds, "databases"):
                for system in POSTGRES:
                    postgres_tables.load(server, world, system, day)
                    report(f"{system}: database is filled")

            with timed(seconds, "services"):
                api.build(layout, world, day)
                report("web services are filled")

        def write_files() -> None:
            with timed(seconds, "files"):
                files.deliver_history(layout, world, day)
                report("files are written")

        with ThreadPoolExecutor(2) as pool:
            for step in [pool.submit(fill_served), pool.submit(write_files)]:
                step.result()
        apply_downtime(server, world, day)
    postgres.set_up_desk(server)
    state = State(size, seed, day, day, port, postgres_url, seconds, generator=GENERATOR_VERSION)
    start_web(layout, port)
    write_connections(layout, state, server)
    write_state(layout, state)
    set_clock(layout, state)
    return state


def generate_world(layout: Layout, size: str, seed: int, report: Report) -> None:
    """Have the whole life generated, aside first."""
    from customer360.demo.world import generate

    aside = layout.root / "world.new"
    remove_tree(aside)
    aside.mkdir()
    generate(
        aside / layout.world.name,
        aside / layout.truth.name,
        size=size,
        seed=seed,
        progress=lambda part: report(f"the company's life: {part}"),
    )
    aside.rename(layout.world.parent)


def clear_half_made(layout: Layout, plan: dict[str, Any]) -> None:
    """Remove what an interrupted start left, but for a whole world of the same kind."""
    try:
        old = json.loads((layout.root / "plan.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        old = None
    postgres.open_server(layout, (old or plan)["postgres_url"]).remove()
    kept = {layout.marker, layout.secrets, layout.run}
    if old and all(old.get(name) == plan[name] for name in ("size", "seed", "generator")):
        kept.add(layout.world.parent)
    for path in layout.root.iterdir():
        if path not in kept:
            remove_tree(path)
    layout.run.mkdir(exist_ok=True)


def run_servers(layout: Layout, state: State) -> postgres.Server:
    """See that PostgreSQL and the web server answer."""
    server = postgres.open_server(layout, state.postgres_url)
    server.start()
    postgres.set_up_desk(server)
    if not answers(layout, state.port):
        stop_web(layout)
        need_port(state.port)
        start_web(layout, state.port)
    write_connections(layout, state, server)
    return server


def stop(layout: Layout) -> bool:
    """End both servers, of a half-made demo too. False where there is no demo."""
    if not is_ours(layout):
        return False
    with locked(layout):
        stop_web(layout)
        postgres.open_server(layout, plan_url(layout)).stop()
    return True


def reset(layout: Layout, *, leave_databases: bool = False) -> bool:
    """Stop and remove everything of the demo, whatever its state. False where there is none.

    Raises:
        DemoError: the folder is not ours, or databases on another server cannot be dropped.
    """
    if not layout.root.exists():
        return False
    claim(layout)
    with locked(layout):
        stop_web(layout)
        server = postgres.open_server(layout, plan_url(layout))
        if not (leave_databases and isinstance(server, postgres.RemoteServer)):
            server.remove()
        layout.pipeline_connections.unlink(missing_ok=True)
        layout.clock.unlink(missing_ok=True)
        # The marker goes last: a kill in between must not leave a folder that nobody owns.
        for path in layout.root.iterdir():
            if path != layout.marker:
                remove_tree(path)
        layout.marker.unlink()
    layout.root.rmdir()
    return True


def plan_url(layout: Layout) -> str | None:
    """URL of the PostgreSQL server that this demo, whole or half-made, was given."""
    try:
        plan = json.loads((layout.root / "plan.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return str(plan["postgres_url"]) if plan.get("postgres_url") else None


def advance(layout: Layout, days: int, report: Report) -> State:
    """Let ``days`` days pass in every system.

    Where an earlier advance was cut off, it is finished instead: the same command again ends
    where it would have ended.
    """
    if not is_ours(layout):
        raise DemoError(NO_DEMO.format(layout.root))
    with locked(layout), clear_errors(layout):
        state = whole(layout)
        run_servers(layout, state)
        if state.advancing_to is None:
            with open_world(layout) as world:
                left = world.last_day - state.day
                if days > left:
                    raise DemoError(
                        f"the life of this company is known for {left} more days; "
                        "ask for fewer, or `customer360 demo reset` and start again"
                    )
            state.advancing_to = state.day + days
            write_state(layout, state)
        else:
            report("an earlier advance was cut off; it is finished now")
        finish_advance(layout, state, report)
        return state


def finish_advance(layout: Layout, state: State, report: Report) -> None:
    """Carry an advance out; each step may have been done before."""
    target = state.advancing_to
    assert target is not None
    server = postgres.open_server(layout, state.postgres_url)
    with open_world(layout) as world:
        for night in range(state.day + 1, target + 1):
            files.deliver_night(layout, world, night)
            report(f"{world.date_of(night)}: files have come")
        for system in POSTGRES:
            postgres_tables.advance(server, world, system, target)
        report("databases are up to date")
        api.build(layout, world, target)
        apply_downtime(server, world, target)
    state.day, state.advancing_to = target, None
    write_state(layout, state)
    set_clock(layout, state)


def set_clock(layout: Layout, state: State) -> None:
    """Tell the pipeline which day has ended."""
    with open_world(layout) as world:
        write_atomically(layout.clock, world.date_of(state.day).isoformat() + "\n")


def apply_downtime(server: postgres.Server, world: World, day: int) -> None:
    """Keep readers out of the databases that are down on ``day``, and let them into the others."""
    for system in POSTGRES:
        postgres.set_reachable(server, system, not world.is_down(system, day))


def whole(layout: Layout) -> State:
    """The state of a finished demo, or an error that says how to get one."""
    state = read_state(layout) if is_ours(layout) else None
    if state is None:
        if is_ours(layout):
            raise DemoError(
                f"the demo in {layout.root} is half-made: `customer360 demo start` makes it anew, "
                "`customer360 demo reset` removes it"
            )
        raise DemoError(NO_DEMO.format(layout.root))
    need_current(layout, state)
    return state


def need_current(layout: Layout, state: State) -> None:
    """Refuse a demo that another version of the generator made: its future would not fit."""
    if state.generator != GENERATOR_VERSION:
        raise DemoError(
            f"the demo in {layout.root} was made by version {state.generator} of the generator, "
            f"and this is version {GENERATOR_VERSION}: `customer360 demo reset` and "
            "`customer360 demo start` make it anew"
        )


def running(layout: Layout, state: State) -> dict[str, bool]:
    """Whether the server of each system runs; files have none."""
    databases = postgres.open_server(layout, state.postgres_url).is_running()
    services = answers(layout, state.port)
    return dict.fromkeys(POSTGRES, databases) | dict.fromkeys(HTTP, services)


def count_rows(layout: Layout, state: State) -> dict[str, dict[str, int]]:
    """Rows of each table of each system, as the system itself counts them.

    Systems whose PostgreSQL is stopped are left out.
    """
    server = postgres.open_server(layout, state.postgres_url)
    counts: dict[str, dict[str, int]] = {}
    if server.is_running():
        counts = {system: postgres_tables.count_rows(server, system) for system in POSTGRES}
    with files.Deliveries(layout) as deliveries:
        counts |= {system: deliveries.counts(system) for system in FILES}
    counts |= {system: api.count_rows(layout, system) for system in HTTP}
    return {system: counts[system] for system in SYSTEMS if system in counts}


def content_hashes(layout: Layout, state: State) -> dict[str, dict[str, str]]:
    """Content hash of each table as its system shows it, and of the truth."""
    server = postgres.open_server(layout, state.postgres_url)
    hashes = {system: postgres_tables.hash_tables(server, system) for system in POSTGRES}
    hashes |= {system: files.hash_files(layout, system) for system in FILES}
    hashes |= {system: api.hash_tables(layout, system) for system in HTTP}
    return {system: hashes[system] for system in SYSTEMS} | {"truth": hash_truth(layout)}


def hash_truth(layout: Layout) -> dict[str, str]:
    """Content hash of each table of the truth, whatever the order of its rows."""
    hashes = {}
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"attach {literal(str(layout.truth))} as truths (read_only)")
        names = connection.execute(
            "select schema_name, table_name from duckdb_tables() "
            "where database_name = 'truths' order by all"
        ).fetchall()
        for schema, name in names:
            row = connection.execute(
                "select count(*), sum(md5_number_lower(whole::varchar)), "
                "sum(md5_number_upper(whole::varchar)) "
                f"from truths.{quote(schema)}.{quote(name)} as whole"
            ).fetchone()
            hashes[name] = hash_text(str(row))
    return hashes


def hash_text(text: str) -> str:
    """Sixteen hexadecimal digits that stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sample(
    layout: Layout, state: State, table: Table, rows: int
) -> tuple[list[str], list[tuple[object, ...]]]:
    """Some rows of a table as its system shows them."""
    if table.system in POSTGRES:
        return postgres_tables.sample(postgres.open_server(layout, state.postgres_url), table, rows)
    return (files if table.system in FILES else api).sample(layout, table, rows)


def write_connections(layout: Layout, state: State, server: postgres.Server) -> None:
    """Write down how each system is reached."""
    known = load_secrets(layout)
    found = []
    for system in POSTGRES:
        url = server.reader_url(system)
        found.append(Connection(system, "postgres", url, "", "postgres" + url[url.index(":") :]))
    desk = server.writer_url("crm")
    found.append(Connection("crm_desk", "postgres", desk, "", "postgres" + desk[desk.index(":") :]))
    for system in FILES:
        folder = str((layout.files / system).resolve())
        airflow = f"fs:///?path={percent(folder, safe='')}"
        found.append(Connection(system, "files", folder, "", airflow))
    for system in (*HTTP, "hooks"):
        path = f"/{system}/v1" if system in HTTP else "/hooks"
        token = known["webhook" if system == "hooks" else system]
        airflow = f"http://:{token}@127.0.0.1:{state.port}/http?base_path={percent(path, safe='')}"
        url = f"http://127.0.0.1:{state.port}{path}"
        found.append(Connection(system, "http", url, token, airflow))
    text = json.dumps({each.system: asdict(each) for each in found}, indent=2) + "\n"
    write_atomically(layout.connections, text, mode=0o600)
    uris = {f"demo_{each.system}": each.airflow for each in found}
    # Connections that somebody else added to the file stay.
    known_uris = {}
    if layout.pipeline_connections.exists():
        known_uris = json.loads(layout.pipeline_connections.read_text(encoding="utf-8"))
    text = json.dumps(known_uris | uris, indent=2) + "\n"
    write_atomically(layout.pipeline_connections, text, mode=0o600)


def web_processes(layout: Layout) -> list[psutil.Process]:
    """The web server of this very folder, wherever an interrupted command left it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if SERVER_MODULE in command and str(layout.root) in command:
                found.append(process)
    return found


def start_web(layout: Layout, port: int) -> None:
    """Start the web server in a process group of its own and wait until it answers."""
    layout.run.mkdir(exist_ok=True)
    log_path = layout.run / "http.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603, our own interpreter and module
            [sys.executable, "-m", SERVER_MODULE, str(layout.root), str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 60
    while not answers(layout, port):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            end = log_path.read_text(errors="replace")[-500:]
            raise DemoError(f"the web server does not start on port {port}: {end}")
        time.sleep(0.05)


def stop_web(layout: Layout) -> None:
    """End the web server of this demo."""
    running = web_processes(layout)
    for process in running:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in wait_until_ended(running, 5):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until_ended(running, 5)


def answers(layout: Layout, port: int) -> bool:
    """Whether this demo's own server answers on the port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return bool(json.load(connection.getresponse())["demo"] == str(layout.root))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """The port that people know, or any free one where somebody else uses it."""
    try:
        need_port(DEFAULT_PORT)
    except DemoError:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])
    return DEFAULT_PORT


def need_port(port: int) -> None:
    """Refuse a port that somebody else uses."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DemoError(
                f"port {port} cannot be used ({error.strerror}): stop the program that holds it, "
                "or choose another with `customer360 demo start --port N`"
            ) from None


def need_disk(layout: Layout, size: str, report: Report) -> None:
    """Say what disk a demo takes, and refuse to begin what the disk cannot hold."""
    free = shutil.disk_usage(layout.root).free
    needed = DISK_NEEDED[size]
    if free < needed:
        raise DemoError(
            f"a {size} demo needs about {needed / 1e9:.0f} GB in {layout.root}, and "
            f"{free / 1e9:.1f} GB are free: free some, or set CUSTOMER360_DATA to another disk"
        )
    report(f"up to {needed / 1e9:.0f} GB of disk are needed, {free / 1e9:.0f} GB are free")


@contextlib.contextmanager
def clear_errors(layout: Layout) -> Iterator[None]:
    """Say what a full disk means, whichever of the systems met it first."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DemoError(full_disk(layout.root)) from error
    except (psycopg.errors.DiskFull, duckdb.IOException) as error:
        if isinstance(error, duckdb.IOException) and "No space left" not in str(error):
            raise
        raise DemoError(full_disk(layout.root)) from None


def full_disk(root: Path) -> str:
    """The message for a full disk."""
    return (
        f"the disk of {root} is full: free some space and run the command again, or "
        "`customer360 demo reset` gives back what the demo takes"
    )


@contextlib.contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Note how long a step takes."""
    began = time.monotonic()
    yield
    seconds[step] = round(time.monotonic() - began, 2)
