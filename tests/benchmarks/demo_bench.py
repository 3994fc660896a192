"""What a demo company costs: time by step, memory, disk, rows (``make bench-demo SIZE=medium``).

What belongs here: running the commands as a person would, and watching them from outside. What
does not: any limit that a test could enforce.

The company is made in a folder of its own, moved on by a day, looked at and removed. Memory is
that of all its processes together, PostgreSQL and the web server among them, looked at each
second: resident memory counts shared pages once a process, so it is an upper bound, and the
proportional one (Linux) counts them once. Processor seconds say what the work costs on a machine
that has other work too.
"""

import contextlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click
import psutil

from customer360.demo.commands import SIZES


class Watch:
    """Peaks of memory and disk of all processes that work for the company below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seconds: dict[tuple[int, float], float] = {}
        self._over = threading.Event()
        self.resident = self.proportional = self.disk = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def processor_seconds(self) -> float:
        """Seconds that all processes seen so far have computed."""
        return sum(self._seconds.values())

    def _run(self) -> None:
        while not self._over.wait(1):
            resident = proportional = 0
            for process in self._processes():
                with contextlib.suppress(psutil.Error):
                    memory, times = process.memory_full_info(), process.cpu_times()
                    resident += memory.rss
                    proportional += getattr(memory, "pss", memory.rss)
                    self._seconds[process.pid, process.create_time()] = times.user + times.system
            self.resident = max(self.resident, resident)
            self.proportional = max(self.proportional, proportional)
            self.disk = max(self.disk, disk_of(self._folder))

    def _processes(self) -> set[psutil.Process]:
        me = psutil.Process()
        found = set(me.children(recursive=True))
        # The servers outlive the command that started them.
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(str(self._folder) in word for word in process.cmdline()):
                    found |= {process, *process.children(recursive=True)}
        return found - {me}


def disk_of(folder: Path) -> int:
    """Bytes on disk below ``folder``; files may go while it is counted."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(place) / name).lstat().st_blocks * 512
    return total


def run_demo(*words: str) -> tuple[dict[str, Any], float]:
    """The JSON answer of a ``customer360 demo`` command, and how long it took."""
    began = time.monotonic()
    command = [sys.executable, "-m", "customer360.cli", "demo", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise click.ClickException(f"demo {' '.join(words)} ended with {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout) if "--json" in words else {}
    return answer, time.monotonic() - began


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@click.command()
@click.option("--size", type=click.Choice(SIZES), default="medium", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where; default temporary.")
def main(size: str, folder: Path | None) -> None:
    """Make a company of a size, let a day pass, count, remove it; print what that cost."""
    place = Path(tempfile.mkdtemp(prefix="bench-demo-", dir=folder))
    os.environ["CUSTOMER360_DATA"] = str(place)
    click.echo(
        f"{size} demo, DuckDB's threads and memory as the settings say; {os.cpu_count()} "
        f"processors, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    try:
        with Watch(place) as watch:
            started, seconds = run_demo(
                "start", "--size", size, "--port", str(free_port()), "--json"
            )
            steps = ", ".join(f"{name} {value:.0f}" for name, value in started["seconds"].items())
            click.echo(f"start    {seconds:7.1f} s   ({steps}; the last three side by side)")
            click.echo(f"         {watch.processor_seconds():7.1f} processor seconds")
            counted, seconds = run_demo("status", "--json")
            click.echo(f"status   {seconds:7.1f} s")
            _, seconds = run_demo("advance", "--days", "1", "--json")
            click.echo(f"advance  {seconds:7.1f} s   (one day)")
        click.echo(
            f"memory   {watch.resident / 1e9:7.2f} GB at most, all processes "
            f"({watch.proportional / 1e9:.2f} GB with shared pages counted once)"
        )
        click.echo(f"disk     {watch.disk / 1e9:7.2f} GB at most")
        total = 0
        for system, tables in counted["systems"].items():
            rows = sum(tables.values())
            total += rows
            click.echo(f"{system:<11}{rows:>13,} rows")
        click.echo(f"{'all':<11}{total:>13,} rows")
    finally:
        run_demo("reset")
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
