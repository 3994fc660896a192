"""Opening DuckDB files the one way that customer360 does it.

What belongs here: connections with limits, quoting, small helpers for SQL text. What does not: any
knowledge of tables or of layers.
"""

import contextlib
import errno
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import duckdb

from customer360.exceptions import Customer360Error, DamagedFileError, DiskFullError
from customer360.settings import Settings

# How DuckDB says that a file is not whole; a lock, a missing right or a full disk reads otherwise.
_DAMAGED = ("not a valid DuckDB database", "Could not read enough bytes", "checksum", "orrupt")

_FULL = ("No space left", "Could not write", "File too large", "disk is full", "disk I/O error")


def quote(identifier: str) -> str:
    """An SQL identifier, quoted."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: str | Path) -> str:
    """An SQL string literal."""
    return "'" + str(value).replace("'", "''") + "'"


@contextlib.contextmanager
def connect(
    settings: Settings, path: Path | None = None, *, read_only: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to ``path`` (in memory where None) with the limits of ``settings``, in UTC.

    Raises:
        DamagedFileError: the file is not a whole database.
        Customer360Error: the file is locked by another process, or cannot be opened.
    """
    spill = settings.data_dir / "tmp"
    if not read_only:
        spill.mkdir(parents=True, exist_ok=True)
    try:
        connection = duckdb.connect(
            str(path) if path else ":memory:",
            read_only=read_only,
            config={
                "threads": settings.threads,
                "memory_limit": settings.memory_limit,
                "temp_directory": str(spill),
                "autoinstall_known_extensions": "false",
            },
        )
    except duckdb.Error as error:
        if any(sign in str(error) for sign in _DAMAGED):
            raise DamagedFileError(f"{path} is damaged: {first_line(error)}") from None
        raise Customer360Error(
            f"cannot open {path}: {first_line(error)}. Is another process writing to it?"
        ) from None
    connection.execute("set TimeZone = 'UTC'")
    try:
        yield connection
    finally:
        connection.close()


def load_extension(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load a DuckDB extension from its wheel, or from DuckDB's own store where there is none."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        version = f"v{duckdb.__version__}"
        path = Path(folder) / "extensions" / version / f"{name}.duckdb_extension"
        if path.exists():
            connection.execute(f"load {literal(path)}")
            return
    connection.execute(f"install {name}")
    connection.execute(f"load {name}")


def is_disk_full(error: object) -> bool:
    """Whether an error of DuckDB, SQLite or the system, or its text, says that nothing fits."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return any(sign in str(error) for sign in _FULL)


def disk_full(settings: Settings, step: str, error: object) -> DiskFullError:
    """What a person is told then; the text of ``error`` is left out, for it may quote values."""
    return DiskFullError(
        f"{step}: a file below {settings.data_dir} could not be written ({type(error).__name__}): "
        "the disk is full, or a limit on the size of files holds. What is published is still "
        "served. Free space and run the step again."
    )


@contextlib.contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All or nothing."""
    connection.execute("begin")
    try:
        yield
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")


def first_line(error: Exception) -> str:
    """The kind of a DuckDB error without the values that its text may quote."""
    return f"{type(error).__name__} ({str(error).splitlines()[0].split(':')[0]})"
