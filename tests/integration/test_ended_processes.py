"""Ending processes on a machine whose first process does not collect orphans: zombies have ended.

The parent of an orphan there is a program that never waits for it. Here such a parent is made.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from customer360.processes import is_alive, wait_until_ended
from customer360.settings import PROJECT, Settings, load_settings
from customer360_airflow.local import instance as local
from customer360_airflow.local.instance import Instance, Running

# Starts a sleeping process in a session of its own, says its number, and never waits for it.
NEGLIGENT_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                         start_new_session=True)
print(child.pid, flush=True)
sys.stdin.read()
"""

# In a session of their own: a first process, and a child that ends while its parent, which has
# left the session, never waits for it. Says so when the first process has ended all others.
SESSION_WITH_A_ZOMBIE = """
import os, time
import psutil
from customer360_airflow.local import serve

os.setsid()
reading, writing = os.pipe()
if os.fork() == 0:
    if (child := os.fork()) == 0:
        os._exit(0)
    os.setsid()
    os.write(writing, str(child).encode())
    time.sleep(600)
zombie = psutil.Process(int(os.read(reading, 20)))
while zombie.status() != "zombie":
    time.sleep(0.01)
assert os.getsid(zombie.pid) == os.getsid(0)
serve._end()
zombie.parent().kill()
print("ended")
"""


@contextmanager
def orphan(**environment: str) -> Iterator[psutil.Process]:
    parent = subprocess.Popen(
        [sys.executable, "-c", NEGLIGENT_PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env={**os.environ, **environment},
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    process = psutil.Process(int(parent.stdout.readline()))
    try:
        yield process
    finally:
        process.kill()
        parent.stdin.close()
        parent.wait()


def test_a_zombie_has_ended_and_is_not_waited_for():
    with orphan() as process:
        assert is_alive(process)
        assert wait_until_ended([process], 0.1) == [process]
        process.kill()
        assert wait_until_ended([process], 60) == []
        assert psutil.pid_exists(process.pid), "somebody collects it: this test shows nothing"
        assert not is_alive(process)


@pytest.mark.timeout(60)
def test_an_instance_stops_where_nobody_collects_its_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "STOP_SECONDS", 600)
    instance = Instance(Settings("tiny", tmp_path / "data", 2, "1GB"), tmp_path)
    with orphan(**{local.MARKER: str(tmp_path)}) as first, orphan() as beside:
        running = Running(first.pid, first.create_time(), 1, 2, "up")
        local._write_private(instance.state_path, vars(running))
        assert instance.running() == running
        assert first in instance.processes()
        instance.stop()
        assert not is_alive(first)
        assert is_alive(beside), "it ended a process that is none of its own"
        assert instance.processes() == []
        assert instance.running() is None


def test_stopping_waits_also_for_those_that_cannot_be_found_any_more(tmp_path, monkeypatch):
    """A process that is ending shows neither environment nor folder."""
    instance = Instance(Settings("tiny", tmp_path / "data", 2, "1GB"), tmp_path)
    with orphan() as member:
        monkeypatch.setattr(Instance, "processes", lambda _: [])
        member.send_signal(signal.SIGSTOP)  # so that SIGTERM alone does not end it
        instance.end_processes([member])
        assert not is_alive(member)


@pytest.mark.timeout(60)
def test_the_first_process_ends_though_its_session_holds_a_zombie():
    done = subprocess.run(
        [sys.executable, "-c", SESSION_WITH_A_ZOMBIE],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
        start_new_session=False,
    )
    assert done.stdout == "ended\n", done.stderr


def test_connections_of_the_environment_reach_airflow_and_its_other_settings_do_not(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_TICKETS", "postgres://u@h/db")
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "999")
    instance = Instance.of(load_settings(f"test_{os.getpid()}"))
    instance.prepare_home()
    try:
        made = instance.environment("run", 8080, 8081)
    finally:
        shutil.rmtree(instance.home)
    assert made["AIRFLOW_CONN_TICKETS"] == "postgres://u@h/db"
    assert made["AIRFLOW__CORE__PARALLELISM"] != "999"
