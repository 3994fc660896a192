"""SIGKILL of a delivery in each of its stages, and the retry that follows (F1, F2, F17, F20).

A delivery to a web service that honours keys, and one to a table of PostgreSQL, is killed at its
n-th moment, then run again as a scheduler does. What the receiver holds in the end has to be what
it holds undisturbed: nothing lost, nothing twice, nobody without consent. ``CUSTOMER360_KILLS``
times five kills in each stage are made by ``make test-faults``; the default suite makes a few.

Planted bugs show that the same kills would see them: a ledger that calls a sending done before it
is sent, a key that is dropped, a consent that is not asked for.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from customer360.activation import lawful, outbox, plan, sending, to_parcels
from customer360.activation.receivers.postgres import PostgresTable
from customer360.activation.receivers.webhook import Webhook
from customer360.config import load_config
from customer360.settings import PROJECT, load_settings
from tests.collect.database_servers import start_postgres
from tests.conftest import make_company
from tests.faults import killing
from tests.publish.company import DAY, open_state, publish_tables

killing.preload("tests.faults.test_kill_deliveries", "adbc_driver_postgresql.dbapi", "jinja2")

INFO = {"tables": {"segment_members": {"key": ["segment", "customer_id"]}}}
PEOPLE = 60
NO_CONSENT = {f"c{number:02}" for number in range(0, PEOPLE, 7)}
STAGES = {
    "hook": ("settle", "plan", "intend", "entered", "request", "answered", "answer", "keep"),
    "table": ("settle", "plan", "intend", "entered", "merge", "commit", "answer", "keep"),
}


def members(run: int) -> str:
    """Half of them change from the first run to the second, some come, some leave."""
    first, last = (0, PEOPLE - 10) if run == 1 else (8, PEOPLE)
    return (
        "select printf('c%02d', number) as customer_id, 'vip' as segment, "
        f"case when number % 2 = 0 then {run} else 0 end as score "
        f"from range({first}, {last}) as numbers(number)"
    )


def consents() -> str:
    return (
        "select 'crm' as source, number::varchar as consent_id, printf('c%02d', number) as "
        "customer_id, 'marketing' as purpose, 'all' as channel, number % 7 <> 0 as is_granted, "
        "timestamp '2026-01-01' as captured_at, null::timestamp as withdrawn_at "
        f"from range({PEOPLE}) as numbers(number)"
    )


@dataclass(frozen=True)
class World:
    """A company's files, and the receivers that outlive every kill."""

    root: Path
    name: str
    address: str
    desk: Any

    def enter(self) -> None:
        os.environ |= {
            "COMPANY": "tiny", "CUSTOMER360_CONFIG": str(self.root / "config"),
            "CUSTOMER360_DATA": str(self.root / "data"), "CUSTOMER360_THREADS": "2",
        }  # fmt: skip

    def prepare(self) -> None:
        """Two published runs; the first has been delivered to both."""
        self.enter()
        make_company(self.root)
        settings = load_settings()
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        for number in (1, 2):
            tables = {"segment_members": members(number), "consents": consents()}
            publish_tables(settings, f"run{number}", DAY, INFO, **tables)

    def declare(self) -> None:
        common = {"title": "t", "owner": "o", "from": "segment_members", "purpose": "offers",
                  "columns": {"score": "offers"}}  # fmt: skip
        section = {
            "purposes": {
                "offers": {"description": "o", "basis": "consent", "consent": "marketing"}
            },
            "destinations": {
                "hook": {**common, "kind": "webhook", "connection": "hook", "batch_size": 5,
                         "path": self.name, "parallel": 1, "retry": {"first_wait": 0}},
                "table": {**common, "kind": "postgres", "connection": "desk",
                          "table": f"desk.{self.name}"},
            },
        }  # fmt: skip
        (self.root / "config" / "destinations.yml").write_text(yaml.safe_dump({"tiny": section}))
        known = {"hook": {"conn_type": "http", "host": self.address}, "desk": self.desk}
        (self.root / "data" / "tiny" / "connections.json").write_text(json.dumps(known))

    def copy(self, name: str) -> "World":
        root = self.root.parent / "broken"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.root, root, symlinks=True)
        made = World(root, name, self.address, self.desk)
        made.declare()
        return made


def deliver(world: World, kind: str, runs: tuple[int, ...], kill: int | None, plant: Any) -> None:
    """The work of one process: deliver, and end by SIGKILL at the given moment."""
    world.enter()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    to_parcels.WINDOW_ROWS = 10
    passed: list[str] = []

    def reach(stage: str) -> None:
        if len(passed) == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        passed.append(stage)

    def watch(owner: Any, name: str, before: str | None, after: str | None) -> None:
        call = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            if before:
                reach(before)
            result = call(*arguments, **options)
            if after:
                reach(after)
            return result

        setattr(owner, name, watched)

    if plant:
        plant()
    watch(outbox.Outbox, "cut_off", "settle", None)
    watch(plan, "make", "plan", "plan")
    watch(outbox.Outbox, "_write", "intend", "intend")
    watch(outbox.Outbox, "intend", None, "entered")
    watch(Webhook, "_attempt", "request", "answered")
    watch(PostgresTable, "merge", "merge", "merge")
    watch(PostgresTable, "commit", "commit", "answered")
    watch(outbox.Outbox, "answer", "answer", "keep")
    watch(outbox.Outbox, "keep", "keep", "keep")
    watch(outbox.Outbox, "_note_version", "keep", None)
    settings = load_settings()
    config, engine = load_config(settings), open_state(settings)
    for run in runs:
        (snapshot,) = settings.snapshots_dir.glob(f"*-run{run}.duckdb")
        run_id = f"run{run}"
        if run == 1:  # the second has begun already, so the first would be refused
            outbox.state.check_token, honest = (lambda *_: None), outbox.state.check_token
        sending.deliver(settings, engine, config, kind, snapshot, DAY, run_id)
        if run == 1:
            outbox.state.check_token = honest
    (world.root / "passed.json").write_text(json.dumps(passed))


# --- what must hold -----------------------------------------------------------------------------


@dataclass
class Receivers:
    """The outside world of all trials."""

    folder: Path
    address: str
    server: Any = None

    def outcome(self, world: World, kind: str) -> dict[str, Any]:
        if kind == "hook":
            return self._of_hook(world.name)
        with psycopg.connect(self.server._server.owner_url("shop")) as connection:
            rows = connection.execute(
                f"select customer_id, score from desk.{world.name}"
            ).fetchall()
        return {"held": dict(rows), "twice": 0}

    def _of_hook(self, name: str) -> dict[str, Any]:
        held: dict[str, Any] = {}
        twice = 0
        for line in (self.folder / "effects.jsonl").open():
            effect = json.loads(line)
            if effect["path"] != f"/{name}":
                continue
            for row in effect["body"]["rows"]:
                who = row["customer_id"]
                if row["change"] == "removed":
                    twice += who not in held
                    held.pop(who, None)
                else:
                    twice += held.get(who) == row["score"]
                    held[who] = row["score"]
        return {"held": held, "twice": twice}


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    with tempfile.TemporaryDirectory(prefix="c360-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.activation.bench_receiver", str(folder)], cwd=PROJECT
        )
        while not (folder / "port").exists():
            time.sleep(0.02)
        port = (folder / "port").read_text()
        try:
            yield Receivers(folder, f"http://127.0.0.1:{port}")
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def with_table(receivers: Receivers, template: "World") -> Iterator["World"]:
    """The company with a table in a real PostgreSQL, too."""
    folder = receivers.folder / "server"
    folder.mkdir()
    receivers.server = start_postgres(folder)
    receivers.server.new_database()
    yield replace(template, desk=receivers.server.connection())
    receivers.server.stop()


@pytest.fixture(scope="module")
def template(receivers: Receivers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    before = dict(os.environ)
    root = tmp_path_factory.mktemp("kills") / "template"
    root.mkdir()
    world = World(root, "template", receivers.address, {"conn_type": "postgres"})
    world.prepare()
    yield world
    os.environ.clear()
    os.environ.update(before)


def undisturbed(template: World, receivers: Receivers, kind: str) -> tuple[dict, list[str], int]:
    """What must come out, the moments of both runs, and where the second begins."""
    world = template.copy(f"whole_{uuid.uuid4().hex[:8]}")
    assert killing.ended(deliver, world, kind, (1,), None, None) == 0
    first = json.loads((world.root / "passed.json").read_text())
    assert killing.ended(deliver, world, kind, (2,), None, None) == 0
    second = json.loads((world.root / "passed.json").read_text())
    outcome = receivers.outcome(world, kind)
    lawful_people = {f"c{n:02}" for n in range(8, PEOPLE)} - NO_CONSENT
    assert outcome["held"].keys() == lawful_people
    return outcome, first + second, len(first)


def kill_and_go_on(
    template: World,
    receivers: Receivers,
    kind: str,
    number: int,
    first: int,
    plant: Callable[[], None] | None = None,
) -> tuple[dict[str, Any], World]:
    """Kill at a moment (of the first or the second run), then run again to the end."""
    world = template.copy(f"trial_{uuid.uuid4().hex[:8]}")
    runs: tuple[int, ...] = (1,)
    if number >= first:
        assert killing.ended(deliver, world, kind, (1,), None, plant) == 0
        number -= first
        runs = (2,)
    assert killing.ended(deliver, world, kind, runs, number, plant) == -signal.SIGKILL
    for run in (*runs, 2) if runs == (1,) else (2,):
        assert killing.ended(deliver, world, kind, (run,), None, plant) == 0, f"run {run} failed"
    return receivers.outcome(world, kind), world


def chosen(names: list[str], stages: tuple[str, ...], each: int, seed: int = 7) -> list[int]:
    """Moments: so many in each stage, drawn at random."""
    draw = random.Random(seed)
    found = []
    for stage in stages:
        places = [place for place, name in enumerate(names) if name == stage]
        assert places, f"no moment in stage {stage}"
        found += draw.choices(places, k=each)
    return sorted(found)


def check_kills(
    template: World, receivers: Receivers, kind: str, each: int, stages: tuple[str, ...]
) -> int:
    expected, names, first = undisturbed(template, receivers, kind)
    moments = chosen(names, stages, each)
    for number in moments:
        outcome, _ = kill_and_go_on(template, receivers, kind, number, first)
        assert outcome == expected, f"killed at moment {number}, {names[number]}"
    return len(moments)


def test_a_killed_delivery_goes_on_and_ends_the_same(template, receivers):
    assert check_kills(template, receivers, "hook", 1, ("entered", "answered")) == 2


EACH = 5 * int(os.environ.get("CUSTOMER360_KILLS", "6")) // 4


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_delivery_to_a_service_killed_at_any_moment_goes_on(template, receivers):
    kills = check_kills(template, receivers, "hook", EACH, STAGES["hook"])
    print(f"{kills} kills of a delivery to a web service")


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_delivery_to_a_table_killed_at_any_moment_goes_on(with_table, receivers):
    kills = check_kills(with_table, receivers, "table", EACH, STAGES["table"])
    print(f"{kills} kills of a delivery to a table")


# --- planted bugs -------------------------------------------------------------------------------


def done_before_sent() -> None:
    honest = outbox.Outbox.intend

    def intend(self: Any, *arguments: Any) -> Any:
        intents = honest(self, *arguments)
        self.answer([(number, "acknowledged", 1, "200") for number, _ in intents])
        return intents

    outbox.Outbox.intend = intend  # type: ignore[method-assign]  # the planted bug


def key_dropped() -> None:
    honest = Webhook._attempt

    def attempt(self: Any, parcel: Any, number: int) -> Any:
        return honest(self, type(parcel)(parcel.sending_id, uuid.uuid4().hex, parcel.body), number)

    Webhook._attempt = attempt  # type: ignore[method-assign]  # the planted bug


def consent_not_asked() -> None:
    honest = lawful.judge

    def judge(connection: Any, *arguments: Any) -> None:
        honest(connection, *arguments)
        connection.execute("delete from refused_offers")

    lawful.judge = judge


@pytest.mark.parametrize(
    ("plant", "stage"),
    [
        (key_dropped, "answered"),
        pytest.param(done_before_sent, "request", marks=pytest.mark.faults),
        pytest.param(consent_not_asked, "request", marks=pytest.mark.faults),
    ],
)
def test_the_same_kills_see_a_planted_bug(template, receivers, plant, stage):
    expected, names, first = undisturbed(template, receivers, "hook")
    number = next(place for place, name in enumerate(names) if name == stage and place > first)
    outcome, _ = kill_and_go_on(template, receivers, "hook", number, first, plant)
    assert outcome != expected
