"""SIGKILL of any step of the chain, as a scheduler would see it, and the retry that follows.

Each step runs in a process of its own on the tiny company. It is killed at a moment, run again
with the same run id as Airflow's retry does, and the chain goes on. What is left in the end has to
be what an undisturbed chain leaves: content, scores, exports, control totals, the list of files.
After every kill a reader of the snapshot has to find one whole run.

The moments are spread over each step's own measured time: a round kills every step once, in its
n-th part. ``CUSTOMER360_KILLS`` rounds (default 6) are played by ``make test-faults``; the default
suite plays a part of one. That a zombie cannot publish (F16) is in ``tests/publish``.
"""

import datetime as dt
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from customer360 import landing, pipeline, publish, raw, state
from customer360.content import snapshot_hash
from customer360.declarations import declared_sources
from customer360.exceptions import Customer360Error
from customer360.settings import Settings, load_settings
from tests.conftest import LAST_DAY, make_company
from tests.faults import killing

killing.preload(
    "dbt.cli.main",
    "dbt.adapters.duckdb.impl",
    "great_expectations",
    "sklearn.ensemble",
    "customer360.scoring.churn",
    "customer360.activation.exports",
    "customer360.identity.engine",
    "customer360.quality",
    "tests.faults.test_kill_chain",
)

BEFORE = LAST_DAY - dt.timedelta(weeks=1)
STEPS = (
    "extract till",
    "extract customer_file",
    "extract campaign_tool",
    "extract coupon_system",
    "begin",
    "load_raw",
    "audit raw",
    "resolve_identities",
    "build_marts",
    "audit marts",
    "train_if_needed",
    "score",
    "build_scored_marts",
    "engage",
    "audit scores",
    "publish",
    "activate",
)
RUN = "run"


# --- one step in a process of its own ---------------------------------------------------------


@dataclass(frozen=True)
class World:
    """A company's files; ``root`` holds its configuration and systems, ``data`` what runs make."""

    root: Path
    data: Path

    @property
    def settings(self) -> Settings:
        return Settings("tiny", self.data / "tiny", threads=2, memory_limit="500MB")

    def enter(self) -> None:
        os.environ.update(
            {
                "COMPANY": "tiny",
                "CUSTOMER360_CONFIG": str(self.root / "config"),
                "CUSTOMER360_DATA": str(self.data),
                "CUSTOMER360_THREADS": "2",
                "CUSTOMER360_MEMORY": "500MB",
            }
        )


def do(step: str, world: World, as_of: Any, run_id: str, plant: Callable[[], None] | None = None):
    """One step as a task does it; its error goes beside the data."""
    world.enter()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    if plant:
        plant()
    settings = load_settings()
    name, _, what = step.partition(" ")
    try:
        if name == "extract":
            pipeline.extract(settings, what, as_of)
        elif name == "audit":
            pipeline.audit(settings, as_of, run_id, what)
        else:
            getattr(pipeline, name)(settings, as_of, run_id)
    except Exception as error:  # noqa: BLE001, the test reads what it was
        kind = "clear" if isinstance(error, Customer360Error) else "unclear"
        said = f"{kind}: {type(error).__name__}: {error}\n{traceback.format_exc()}"
        error_file(world).write_text(said)
        raise SystemExit(1) from None


def error_file(world: World) -> Path:
    return world.data.with_suffix(".error")


def finish(step: str, world: World, as_of: Any = LAST_DAY, run_id: str = RUN, **more: Any) -> float:
    """One step to its end; an error of it fails the test with its text."""
    try:
        return killing.finish(do, step, world, as_of, run_id, *more.values())
    except AssertionError:
        said = error_file(world)
        text = said.read_text() if said.exists() else "ended without a word"
        raise AssertionError(f"{step}: {text}") from None


# --- what must be the same ------------------------------------------------------------------


def fingerprint(world: World) -> dict[str, Any]:
    """All that a kill must not change."""
    settings = world.settings
    content = snapshot_hash(publish.snapshot_path(settings), settings)
    with duckdb.connect(str(settings.raw_path), read_only=True) as connection:
        totals = connection.execute(
            "select source, table_name, batch, read_rows, loaded_rows, duplicate_rows, "
            "quarantined_rows, is_audited from meta.batches order by all"
        ).fetchall()
        unaccounted = connection.execute(
            "select count(*) from meta.batches where read_rows <> loaded_rows + quarantined_rows"
        ).fetchall()
    assert unaccounted == [(0,)]
    run = state.get_run(state.engine(settings), RUN)
    return {
        "data": content["data"],
        "scores": content["scores"],
        "tables": content["tables"],
        "totals": totals,
        "status": run and run["status"],
        "exports": {
            str(path.relative_to(settings.exports_dir)): _sha256(path)
            for path in sorted(settings.exports_dir.rglob("*"))
            if path.is_file() and path.name not in ("manifest.json", ".export.lock")
        },
        "files": files(world),
    }


def files(world: World) -> set[str]:
    """Every file and folder, without what dbt and SQLite keep for themselves."""
    found = (path.relative_to(world.data / "tiny") for path in (world.data / "tiny").rglob("*"))
    return {
        str(path)
        for path in found
        if path.parts[0] not in ("dbt", "state.sqlite-wal", "state.sqlite-shm")
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """In words, for the failing test."""
    told = []
    for name, value in expected.items():
        if isinstance(value, set):
            told += [f"left over: {one}" for one in sorted(found[name] - value)]
            told += [f"missing: {one}" for one in sorted(value - found[name])]
        elif isinstance(value, dict) and isinstance(found[name], dict):
            keys = sorted(value.keys() | found[name].keys())
            told += [
                f"{name} {key}: {found[name].get(key)} instead of {value.get(key)}"
                for key in keys
                if found[name].get(key) != value.get(key)
            ]
        elif found[name] != value:
            told.append(f"{name}: {found[name]} instead of {value}")
    return told


def served(world: World) -> str:
    """The run that a reader of the snapshot finds now."""
    try:
        path = publish.snapshot_path(world.settings)
    except Customer360Error:
        return "nothing"
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            rows = connection.execute(
                "select run_id, (select count(*) > 0 from customer_360) from snapshot_info"
            ).fetchall()
    except duckdb.Error as error:
        return f"{type(error).__name__}"
    return rows[0][0] if rows[0][1] else "an empty table"


# --- worlds -------------------------------------------------------------------------------------


@dataclass
class Start:
    """A world before the run that is disturbed, and what the undisturbed run makes of it.

    Attributes:
        serves: what a reader finds before the run.
        seconds: step -> how long it took undisturbed.
        before: step -> a copy of the world before it, of those that were asked for.
    """

    world: World
    serves: str
    seconds: dict[str, float]
    before: dict[str, World]
    expected: dict[str, Any]


class Worlds:
    """Starts, made once, and copies of them to break."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "company"
        make_company(self.root)
        killing.finish(os.getpid)  # the imports of all processes to come are not a step's time
        self._copies = 0
        self._starts: dict[str, Start] = {}

    def copy(self, world: World) -> World:
        self._copies += 1
        made = World(self.root, self.folder / f"world{self._copies}")
        if world.data.exists():
            shutil.copytree(world.data, made.data, symlinks=True)
        return made

    def start(self, name: str) -> Start:
        """``first``: nothing has ever run. ``next``: the week before is published."""
        if name not in self._starts:
            world = World(self.root, self.folder / name)
            if name == "next":
                for step in STEPS:
                    finish(step, world, BEFORE, "before")
            self._starts[name] = self._undisturbed(world, "before" if name == "next" else "nothing")
        return self._starts[name]

    def _undisturbed(self, world: World, serves: str) -> Start:
        working = self.copy(world)
        seconds, before = {}, {}
        for step in STEPS:
            if step in (
                "extract till",
                "load_raw",
                "resolve_identities",
                "build_marts",
                "publish",
            ):
                before[step] = self.copy(working)
            seconds[step] = finish(step, working)
        return Start(world, serves, seconds, before, fingerprint(working))


@pytest.fixture(scope="module")
def worlds(tmp_path_factory) -> Iterator[Worlds]:
    folder = tmp_path_factory.mktemp("kills")
    yield Worlds(folder)
    shutil.rmtree(folder, ignore_errors=True)


def play(worlds: Worlds, start: Start, shares: dict[str, float]) -> list[str]:
    """One chain in which each step of ``shares`` is killed there and retried; what was noted."""
    world = worlds.copy(start.world)
    notes = []
    for step in STEPS:
        if step in shares:
            moment = shares[step] * start.seconds[step]
            killed = killing.kill_after(moment, do, step, world, LAST_DAY, RUN)
            notes.append(f"{step} {'killed' if killed else 'ended'} at {moment:.2f} s")
            allowed = {start.serves} | ({RUN} if step in ("publish", "activate") else set())
            assert served(world) in allowed, notes
        finish(step, world)
    different = differences(fingerprint(world), start.expected)
    assert different == [], notes
    shutil.rmtree(world.data)
    return notes


# --- the tests ----------------------------------------------------------------------------------


@pytest.mark.faults
def test_a_chain_with_kills_ends_as_an_undisturbed_one(worlds):
    """Every third step and the long ones; the long version is below."""
    seeded = random.Random(11)
    chosen = (*STEPS[::3], "load_raw", "resolve_identities", "publish")
    shares = {step: seeded.uniform(0.1, 0.9) for step in chosen}
    notes = play(worlds, worlds.start("first"), shares)
    assert sum("killed" in note for note in notes) >= len(shares) // 2, notes


ROUNDS = int(os.environ.get("CUSTOMER360_KILLS", "6"))


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_every_step_is_killed_in_every_part_of_its_time(worlds, number, record_property):
    seeded = random.Random(number)
    start = worlds.start("next" if number % 2 else "first")
    shares = {step: (number + seeded.random()) / ROUNDS for step in STEPS}
    for note in play(worlds, start, shares):
        print(note)


@pytest.mark.faults
@pytest.mark.parametrize(
    "step", ["extract till", "begin", "load_raw", "train_if_needed", "score", "publish", "activate"]
)
def test_a_kill_before_any_statement_or_rename_is_made_good_by_the_retry(worlds, step):
    """The short steps, moment by moment; the retry alone must give what the step gives."""
    start = worlds.start("next")
    ready = worlds.copy(start.world)
    for earlier in STEPS[: STEPS.index(step)]:
        finish(earlier, ready)
    whole = worlds.copy(ready)
    names = killing.moments(do, step, whole, LAST_DAY, RUN, statements=True)
    expected = files(whole)
    seeded = random.Random(step)
    statements = [n for n, name in enumerate(names) if name.startswith("sql: ")]
    others = [n for n in range(len(names)) if n not in statements]
    numbers = [
        number
        for kind in (statements, others)
        for number in seeded.sample(kind, min(len(kind), ROUNDS))
    ]
    for number in sorted(numbers):
        world = worlds.copy(ready)
        killing.kill_at(number, do, step, world, LAST_DAY, RUN, statements=True)
        assert served(world) in ("before", RUN), names[number]
        finish(step, world)
        assert files(world) == expected, names[number]
        if step == "load_raw":
            assert raw_content(world) == raw_content(whole), names[number]
        if step == "publish":
            assert served(world) == RUN
        shutil.rmtree(world.data)


def raw_content(world: World) -> list[Any]:
    """Every row of raw, whichever order it came in."""
    found = []
    with duckdb.connect(str(world.settings.raw_path), read_only=True) as connection:
        tables = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables() order by all"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f"select count(*), sum(hash(t)) from {table} as t").fetchall()
            found.append((table, rows))
    return found


# --- planted bugs -----------------------------------------------------------------------------


def land_in_steps() -> None:
    """The planted bug: a batch appears with its manifest first, then its rows."""
    rename = Path.rename

    def in_steps(self: Path, target: Path) -> Path:
        if not self.name.startswith(".landing-"):
            return rename(self, target)
        target.mkdir()
        for name in ("manifest.json", "rows.parquet"):
            shutil.copyfile(self / name, target / name)
        shutil.rmtree(self)
        return target

    Path.rename = in_steps


def load_without_transaction() -> None:
    """The planted bug: rows and the note that they were loaded are two commits."""

    class Loose:
        def __init__(self, _connection: object) -> None:
            pass

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

    raw.transaction = Loose


def publish_in_two_steps() -> None:
    """The planted bug: the pointer is removed before it is made anew."""

    def point(settings: Settings, target: Path) -> None:
        pointer = settings.snapshots_dir / publish.POINTER
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(target.name)

    publish._point = point


@pytest.mark.faults
@pytest.mark.parametrize(
    ("plant", "step", "moment", "which"),
    [
        # A copy ends with a call that copies nothing more: the last but one is in the rows.
        (land_in_steps, "extract till", "os.sendfile", -2),
        (load_without_transaction, "load_raw", "sql: insert into meta.batches", 0),
        (publish_in_two_steps, "publish", "os.symlink", -1),
    ],
)
def test_the_same_check_catches_a_planted_bug(worlds, plant, step, moment, which):
    start = worlds.start("next")
    probe = worlds.copy(start.before[step])
    names = killing.moments(do, step, probe, LAST_DAY, RUN, plant, statements=True)
    number = [n for n, name in enumerate(names) if name.startswith(moment)][which]
    world = worlds.copy(start.before[step])
    killing.kill_at(number, do, step, world, LAST_DAY, RUN, plant, statements=True)
    if served(world) not in ("before", RUN):
        return
    try:
        finish(step, world, plant=plant)
        for later in STEPS[STEPS.index(step) + 1 :]:
            finish(later, world)
    except AssertionError:
        return
    assert differences(fingerprint(world), start.expected), "the check does not see this bug"


# --- a full disk ------------------------------------------------------------------------------


def limit_file_size(size: int = 200_000) -> None:
    """No file may grow beyond ``size``: what a full disk looks like to every write."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def fill_before_landing() -> None:
    """The disk is full by the time that rows are written."""
    write = landing._write

    def full(*given: Any) -> Any:
        limit_file_size(1_000)
        return write(*given)

    landing._write = full


@pytest.mark.faults
@pytest.mark.parametrize(
    ("step", "fill"),
    [
        ("extract till", fill_before_landing),
        ("load_raw", limit_file_size),
        ("resolve_identities", limit_file_size),
        ("build_marts", limit_file_size),
        ("publish", limit_file_size),
    ],
)
def test_a_full_disk_is_a_clear_failure_and_the_old_snapshot_is_served(worlds, step, fill):
    start = worlds.start("next")
    world = worlds.copy(start.before[step])
    with pytest.raises(AssertionError, match=f"{step}: clear: .*(disk|space)"):
        finish(step, world, plant=fill)
    assert served(world) == "before"
    for again in STEPS[STEPS.index(step) :]:
        finish(again, world)
    assert differences(fingerprint(world), start.expected) == []


# --- a stub of a database file ----------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 1, 4096, 12288])
def test_a_raw_file_that_was_being_created_is_set_aside_and_made_again(company, chain, left):
    settings = company.settings
    settings.raw_path.parent.mkdir(parents=True)
    whole = settings.raw_path.with_name("whole.duckdb")
    with duckdb.connect(str(whole)) as connection:
        connection.execute("create table anything as select 1 as one")
    settings.raw_path.write_bytes(whole.read_bytes()[:left])
    whole.unlink()
    as_of, run_id = LAST_DAY, RUN
    for source in declared_sources(settings):
        pipeline.extract(settings, source.name, as_of)
    pipeline.begin(settings, as_of, run_id)
    loaded = pipeline.load_raw(settings, as_of, run_id)
    lines = company.read("transactions").num_rows
    assert loaded["sources"]["till"]["loaded"] == lines + 12
    assert "raw.duckdb was damaged" in loaded["warnings"][0]
    assert (settings.data_dir / "raw.damaged.duckdb").stat().st_size == left


def test_a_raw_file_that_someone_else_has_open_is_not_taken_for_damaged(company):
    settings = company.settings
    settings.raw_path.parent.mkdir(parents=True)
    code = (
        "import duckdb, sys\n"
        "connection = duckdb.connect(sys.argv[1])\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    run = [sys.executable, "-c", code, str(settings.raw_path)]
    with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(Customer360Error, match="Is another process writing to it"):
            raw.set_damaged_aside(settings)
        other.stdin.close()
    assert settings.raw_path.exists()
