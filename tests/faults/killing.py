"""Kill a piece of work at every moment at which it touches the outside world.

A moment is a call that changes files, takes a lock, opens a database or commits. The work runs in
a process of its own that passes moments by number and ends itself with SIGKILL at the one asked
for: before the call, or in the middle of it where it writes many bytes.

    for number, name in enumerate(moments(work, *arguments)):
        kill_at(number, work, *arguments)
        ...look at what is left, run the work again, look again...

``work`` and its arguments go to another process, so they have to be picklable.
"""

import fcntl
import multiprocessing
import os
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.queues import SimpleQueue
from typing import Any

import duckdb
from sqlalchemy import Engine, event

CALLS = (
    *((os, name) for name in ("rename", "replace", "symlink", "unlink", "rmdir")),
    *((os, name) for name in ("fsync", "sendfile")),
    (fcntl, "flock"),
    (duckdb, "connect"),
)

_processes = multiprocessing.get_context("forkserver")
# Each fork starts warm; DuckDB loads pandas when it first binds a value.
_processes.set_forkserver_preload(
    [
        "pandas",
        "pyarrow.dataset",
        "pytest",
        "sqlalchemy.dialects.sqlite",
        "sqlite3",
        "tests.publish.company",
    ]
)


def moments(work: Callable[..., Any], *arguments: Any) -> list[str]:
    """Names of the moments that ``work`` passes; it is done to its end."""
    passed: SimpleQueue[str] = _processes.SimpleQueue()
    process = _processes.Process(target=_run, args=(passed, None, work, arguments))
    process.start()
    names = []
    while (name := passed.get()) != "end":
        names.append(name)
    process.join()
    assert process.exitcode == 0, f"the work failed by itself after {names}"
    return names


def kill_at(number: int, work: Callable[..., Any], *arguments: Any) -> None:
    """Do ``work`` until moment ``number`` and kill it there."""
    process = _processes.Process(target=_run, args=(None, number, work, arguments))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"moment {number} was not reached"


def _run(
    passed: "SimpleQueue[str] | None",
    kill_number: int | None,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    count = 0

    def reach(name: str, half: Callable[[], Any] | None = None) -> None:
        nonlocal count
        if passed is not None:
            passed.put(name)
        if count == kill_number:
            if half is not None:
                half()
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    for module, name in CALLS:
        setattr(module, name, _watched(getattr(module, name), f"{module.__name__}.{name}", reach))
    event.listen(Engine, "commit", lambda _connection: reach("commit"))
    try:
        work(*arguments)
    finally:  # also when it fails: someone waits for the end
        if passed is not None:
            passed.put("end")


def _watched(call: Callable[..., Any], name: str, reach: Callable[..., None]) -> Callable[..., Any]:
    def watched(*arguments: Any, **options: Any) -> Any:
        half = None
        if name == "os.sendfile":
            target, source, offset, _ = arguments
            half = partial(call, target, source, offset, os.fstat(source).st_size // 2)
        reach(name, half)
        return call(*arguments, **options)

    return watched
