"""Kill a piece of work at every moment at which it touches the outside world.

A moment is a call that changes files, takes a lock, opens a database or commits. The work runs in
a process of its own that passes moments by number and ends itself with SIGKILL at the one asked
for: before the call, or in the middle of it where it writes many bytes.

    for number, name in enumerate(moments(work, *arguments)):
        kill_at(number, work, *arguments)
        ...look at what is left, run the work again, look again...

With ``statements=True`` each SQL statement that the library sends to DuckDB is a moment too. Work
that is too rich for that is killed by the clock (``finish``, ``kill_after``).

``work`` and its arguments go to another process, so they have to be picklable.
"""

import fcntl
import multiprocessing
import os
import signal
import time
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
_preloaded = [
    "pandas",
    "pyarrow.dataset",
    "pytest",
    "sqlalchemy.dialects.sqlite",
    "sqlite3",
    "tests.publish.company",
]
_processes.set_forkserver_preload(_preloaded)


def preload(*modules: str) -> None:
    """Have every process start with these modules imported; call it when a test file is read."""
    _preloaded.extend(modules)
    _processes.set_forkserver_preload(_preloaded)


def finish(work: Callable[..., Any], *arguments: Any) -> float:
    """Do ``work`` to its end in a process of its own; seconds.

    Raises:
        AssertionError: it ended in an error.
    """
    began = time.monotonic()
    process = _processes.Process(target=work, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0, f"{work.__name__} failed"
    return time.monotonic() - began


def ended(work: Callable[..., Any], *arguments: Any) -> int | None:
    """Do ``work`` in a process of its own, which may end itself; how it ended."""
    process = _processes.Process(target=work, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def kill_after(seconds: float, work: Callable[..., Any], *arguments: Any) -> bool:
    """Do ``work`` and kill it after so long; False where it had ended before."""
    process = _processes.Process(target=work, args=arguments)
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def moments(work: Callable[..., Any], *arguments: Any, statements: bool = False) -> list[str]:
    """Names of the moments that ``work`` passes; it is done to its end."""
    passed: SimpleQueue[str] = _processes.SimpleQueue()
    process = _processes.Process(target=_run, args=(passed, None, statements, work, arguments))
    process.start()
    names = []
    while (name := passed.get()) != "end":
        names.append(name)
    process.join()
    assert process.exitcode == 0, f"the work failed by itself after {names}"
    return names


def kill_at(
    number: int, work: Callable[..., Any], *arguments: Any, statements: bool = False
) -> None:
    """Do ``work`` until moment ``number`` and kill it there."""
    process = _processes.Process(target=_run, args=(None, number, statements, work, arguments))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"moment {number} was not reached"


def _run(
    passed: "SimpleQueue[str] | None",
    kill_number: int | None,
    statements: bool,
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
    if statements:
        connect = duckdb.connect
        duckdb.connect = lambda *given, **options: _Statements(connect(*given, **options), reach)
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


class _Statements:
    """A DuckDB connection whose every statement is a moment."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, reach: Callable[..., None]) -> None:
        self._connection = connection
        self._reach = reach

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __enter__(self) -> "_Statements":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def execute(self, query: Any, *arguments: Any) -> Any:
        self._reach(f"sql: {' '.join(str(query).split())}")
        return self._connection.execute(query, *arguments)
