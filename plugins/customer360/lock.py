"""One writer at a time: an operating-system lock on the company's warehouse files.

What belongs here: the lock that keeps two processes of one machine from writing the same DuckDB
files. What does not: the order of runs (``customer360.state`` fences those, across machines too).

The kernel frees the lock when its holder dies, however it dies; a stale lock file means nothing.
"""

import datetime as dt
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from customer360.exceptions import BusyError
from customer360.settings import Settings

POLL_SECONDS = 0.1


@contextmanager
def writer_lock(settings: Settings, who: str, timeout: float = 60) -> Iterator[None]:
    """Hold the right to write ``raw.duckdb`` and the work files while the block runs.

    It does not nest: a process that holds it and asks again waits for itself.

    Args:
        settings: whose warehouse.
        who: name for the message that others get, for example ``"build manual__2026-03-01"``.
        timeout: seconds to wait for the present holder.

    Raises:
        BusyError: another process still holds it after ``timeout`` seconds; says which.
    """
    with file_lock(settings.data_dir / "warehouse.lock", who, timeout):
        yield


@contextmanager
def file_lock(path: Path, who: str, timeout: float) -> Iterator[None]:
    """Hold an exclusive lock on ``path``, whose text says who holds it, while the block runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise BusyError(
                        f"{path} is held by {_holder(handle)}; waited {timeout:g} s. Let it end,"
                        " or end that process, then retry"
                    ) from None
                time.sleep(POLL_SECONDS)
        since = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps({"who": who, "pid": os.getpid(), "since": since}).encode(), 0)
        try:
            yield
        finally:
            # Explicitly: a forked child shares the lock and would keep it after the block.
            fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    try:
        note = json.loads(os.pread(handle, 4096, 0))
        return f"{note['who']} (process {note['pid']}, since {note['since']})"
    except (ValueError, KeyError):
        return "another process"
