"""A reader that looks every 100 ms, through publishes, with nothing to complain of."""

import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from customer360 import publish
from customer360.exceptions import Customer360Error
from customer360.settings import Settings
from tests.publish.company import DAY, publish_run

READER = """
import json, pathlib, sys, threading
import duckdb
from customer360.publish import snapshot_path
from customer360.settings import Settings

settings = Settings("acme", pathlib.Path(sys.argv[1]), 2, "200MB")
tick = threading.Event()
for number in range(10_000):
    try:
        stable = settings.snapshots_dir / "current.duckdb"
        path = stable if number % 2 else snapshot_path(settings)
        with duckdb.connect(str(path), read_only=True) as connection:
            seen = [
                connection.execute(f"select distinct run_id from {table}").fetchall()
                for table in ("customers", "orders", "customer_360")
            ]
        read = {"seen": [row[0] for rows in seen for row in rows]}
    except Exception as error:
        read = {"error": type(error).__name__}
    print(json.dumps(read), flush=True)
    tick.wait(0.1)
"""

Look = Callable[[int], None]


@contextmanager
def reading(settings: Settings) -> Iterator[tuple[Look, Callable[[], list[dict]]]]:
    """A reader process: ``look(n)`` returns when it has looked ``n`` whole times since the call,
    ``reads()`` is all that it has seen.
    """
    log = settings.data_dir / "reads.jsonl"

    def reads() -> list[dict]:
        lines = log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def look(times: int) -> None:
        enough = len(reads()) + 1 + times  # one may be half-way now
        while len(reads()) < enough:
            assert reader.poll() is None, "the reader ended by itself"
            time.sleep(0.02)

    with log.open("w") as output:
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, str(settings.data_dir)], stdout=output
        )
    try:
        look(1)
        yield look, reads
    finally:
        reader.kill()
        reader.wait()


def faults(reads: list[dict]) -> list[dict]:
    """Reads that failed or saw other than one run in its three tables."""
    return [read for read in reads if len(read.get("seen", [])) != 3 or len(set(read["seen"])) != 1]


def publish_three(settings: Settings, look: Look) -> None:
    for number in range(1, 4):
        publish_run(settings, f"run {number}", DAY + dt.timedelta(days=number))
        look(3)


def test_a_reader_sees_one_run_at_a_time_through_three_publishes(settings):
    publish_run(settings, "run 0")
    with reading(settings) as (look, reads):
        publish_three(settings, look)
    assert faults(reads()) == []
    runs = [read["seen"][0] for read in reads()]
    assert list(dict.fromkeys(runs)) == ["run 0", "run 1", "run 2", "run 3"]


def update_between_reads(settings: Settings, file: Path) -> None:
    """DuckDB lets nobody write while the reader has the file open: try until it has not."""
    for _ in range(2000):
        try:
            with publish.connect(settings, file) as connection:
                connection.execute("update customers set run_id = 'half'")
        except Customer360Error:
            continue
        return
    raise AssertionError("the reader never let go of the file")


@pytest.mark.parametrize("step", ["pointer removed before it is set", "tables one after the other"])
def test_the_same_reader_catches_a_publish_in_two_steps(settings, monkeypatch, step):
    publish_run(settings, "run 0")
    with reading(settings) as (look, reads):

        def point(settings: Settings, target) -> None:
            pointer = settings.snapshots_dir / publish.POINTER
            if step.startswith("pointer"):
                pointer.unlink()
                look(2)
                pointer.symlink_to(target.name)
            else:
                # Another way to get it wrong: the file that is read is updated where it lies.
                current = pointer.resolve()
                current.chmod(0o644)
                update_between_reads(settings, current)
                look(2)

        monkeypatch.setattr(publish, "_point", point)
        publish_run(settings, "run 1", DAY + dt.timedelta(days=1))
        look(1)
    assert faults(reads())
