"""Whether processes of ours still live, and waiting until they do not.

What belongs here: what "ended" means on any machine. What does not: which processes are ours, and
how they are told to end.

A process that has ended stays in the process table, as a zombie, until its parent collects it. The
parent of an orphan is the first process of the machine or container, and where that is no init but
some program, it never does. So a process counts as ended once it runs no more; that its number is
still taken, as ``psutil.pid_exists``, ``Process.is_running`` and ``psutil.wait_procs`` tell, says
nothing.
"""

import time
from collections.abc import Iterable

import psutil

POLL_SECONDS = 0.05


def is_alive(process: psutil.Process) -> bool:
    """Whether this very process still runs: not ended, no zombie, its number not given on."""
    try:
        return process.is_running() and process.status() not in (
            psutil.STATUS_ZOMBIE,
            psutil.STATUS_DEAD,
        )
    except psutil.NoSuchProcess:
        return False


def wait_until_ended(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until none of ``processes`` lives, at the most so long; returns those that still do."""
    deadline = time.monotonic() + seconds
    left = [process for process in processes if is_alive(process)]
    while left and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        left = [process for process in left if is_alive(process)]
    return left
