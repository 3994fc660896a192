"""Snapshots: how a marts file that passed its audit becomes what everyone reads.

What belongs here: sealing a work file, copying it to an immutable snapshot, the one pointer that
says which snapshot is current, taking back, clearing away. What does not: building or judging the
marts, and the comparison of two files (``customer360.content``).

Rules that make it safe to read at any time:

- A published file never changes and its name is never used again, because DuckDB keeps serving
  the old content of a reopened name while a connection is open.
- ``current.duckdb``, a symbolic link, is the only pointer. It is replaced by a rename, so a reader
  that resolves it once has one run's data for as long as it likes.
- The vault of a snapshot (``customer360.vault``) has the snapshot's name, is there before it and
  goes after it: one pointer says which of both is current, and taking back takes back both.
- The link moves inside the fence of the decision state: a run that has been overtaken cannot move
  it. Unless taken back, it only moves forward in as-of; a backfilled older day is kept beside.
"""

import datetime as dt
import filecmp
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Connection, Engine, RowMapping, insert, select, update

from customer360 import state
from customer360.content import (
    INFO_TABLE,
    KINDS,
    TABLES_TABLE,
    attached,
    relation,
    table_columns,
    table_names,
)
from customer360.exceptions import PublishError
from customer360.lock import file_lock
from customer360.settings import Settings
from customer360.vault import INFO_TABLE as VAULT_INFO
from customer360.vault import vault_of
from customer360.warehouse import connect, first_line, quote, transaction

POINTER = "current.duckdb"
LOCK_SECONDS = 120


@dataclass(frozen=True)
class Retention:
    """Which snapshots to keep; the current one and very young ones are kept in any case.

    Attributes:
        keep_days: those published in the last days are kept ...
        keep_at_most: ... but not more than this many (a backfill makes many in an hour).
        keep_at_least: this many are kept however old, so that there is one to go back to.
        min_age: younger ones stay, since a reader may just have resolved its path.
    """

    keep_days: int = 14
    keep_at_most: int = 20
    keep_at_least: int = 3
    min_age: dt.timedelta = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Snapshot:
    """A published file. ``withdrawn``: it was taken back and will not become current again."""

    name: str
    path: Path
    run_id: str
    as_of: dt.date
    published_at: dt.datetime
    size: int
    current: bool
    withdrawn: bool


def publish(
    settings: Settings,
    engine: Engine,
    work_file: Path,
    run_id: str,
    as_of: dt.date,
    info: dict[str, Any],
    *,
    vault: Path | None = None,
    retention: Retention | None = None,
) -> Path:
    """Make ``work_file`` an immutable snapshot and, if its day is not past, the current one.

    Killed at any moment, it leaves the pointer wholly at the old or wholly at the new snapshot,
    and may simply be called again. Close all connections to ``work_file`` first.

    Args:
        settings: whose snapshots.
        engine: the decision state.
        work_file: marts file that passed its audit; gets the tables ``snapshot_info`` (one row)
            and ``snapshot_tables``, and loses views that cannot be read without other files.
        run_id: the run, begun with :func:`customer360.state.begin_run`.
        as_of: the day that the data stands for.
        info: ``model_versions``: name -> version; ``tables``: name -> ``kind`` (``data``,
            ``scores``, ``volatile``), ``key`` (columns; default: the primary key) and
            ``volatile`` (columns with run ids or clock times); any other entry is kept as JSON
            in ``snapshot_info.details``.
        vault: file of this run with the personal values, published with the snapshot.
        retention: what to clear away afterwards.

    Returns:
        Path of the snapshot, whether or not it became current (:func:`snapshot_path` says).

    Raises:
        BusyError: the run has been overtaken, or another publish is going on.
        PublishError: the file cannot be read or copied (disk full); the old snapshot still serves.
    """
    state.check_token(engine, run_id)
    with _publishing(settings, run_id), _mendable(settings, work_file):
        _sweep(settings)
        _record_unrecorded(settings, engine)
        target = _already_copied(settings, engine, work_file, run_id, as_of)
        if target is None:
            _seal(settings, work_file, run_id, as_of, info)
            name = _free_name(settings, engine, run_id, as_of)
            if vault is not None:
                _copy_vault(settings, vault, name, run_id, as_of)
            target = _copy(settings, work_file, name, run_id)
        with state.fence(engine, run_id) as connection:
            current = _current(settings)
            forward = current is None or as_of >= _day(current)
            _record(connection, settings, target, became_current=forward)
            connection.execute(
                update(state.runs)
                .where(state.runs.c.run_id == run_id)
                .values(status="published", snapshot=target.name)
            )
            if forward:
                _point(settings, target)
        _clear(settings, engine, retention or Retention())
    return target


def snapshot_path(settings: Settings) -> Path:
    """The current snapshot; resolve it once and open that file with ``read_only=True``.

    Raises:
        PublishError: nothing has been published yet.
    """
    current = _current(settings)
    if current is None:
        raise PublishError(
            f"nothing is published in {settings.snapshots_dir} yet: run the chain (`make run`)"
        )
    return current


def read_info(settings: Settings, path: Path) -> dict[str, Any]:
    """The row of ``snapshot_info`` of a published file; JSON columns are parsed."""
    with attached(settings, snapshot=path) as connection:
        try:
            cursor = connection.execute(f"select * from {relation('snapshot', INFO_TABLE)}")
        except duckdb.CatalogException:
            raise PublishError(f"{path} is no published snapshot: it has no {INFO_TABLE}") from None
        names = [column[0] for column in cursor.description]
        row = cursor.fetchone()
    if row is None:
        raise PublishError(f"{path} is no published snapshot: its {INFO_TABLE} is empty")
    info = dict(zip(names, row, strict=True))
    for column in ("model_versions", "row_counts", "details"):
        info[column] = json.loads(info[column])
    info["published_at"] = info["published_at"].replace(tzinfo=dt.UTC)
    return info


def snapshot_list(settings: Settings, engine: Engine) -> list[Snapshot]:
    """What is kept, the newest as-of first, of one day the last published first."""
    with engine.begin() as connection:
        withdrawn = {
            row["name"] for row in _rows(connection).values() if row["withdrawn_at"] is not None
        }
    current = _current(settings)
    found = []
    for path in _files(settings):
        info = read_info(settings, path)
        found.append(
            Snapshot(
                name=path.name,
                path=path,
                run_id=info["run_id"],
                as_of=info["as_of"],
                published_at=info["published_at"],
                size=path.stat().st_size,
                current=path == current,
                withdrawn=path.name in withdrawn,
            )
        )
    return sorted(found, key=lambda one: (one.as_of, one.published_at), reverse=True)


def find_snapshot(settings: Settings, reference: str) -> Path:
    """The snapshot that a person means: ``current``, a name, a path, or a day (its last).

    Raises:
        PublishError: there is no such snapshot.
    """
    if reference == "current":
        return snapshot_path(settings)
    for path in (Path(reference), settings.snapshots_dir / reference):
        for candidate in (path, path.with_name(f"{path.name}.duckdb")):
            if candidate.is_file():
                return candidate.resolve()
    with suppress(ValueError):
        day = dt.date.fromisoformat(reference)
        of_day = [path for path in _files(settings) if read_info(settings, path)["as_of"] == day]
        if of_day:
            return max(of_day, key=lambda path: read_info(settings, path)["published_at"])
    raise PublishError(
        f"there is no snapshot {reference!r} in {settings.snapshots_dir};"
        " `customer360 snapshot list` shows those there are"
    )


def snapshot_rollback(settings: Settings, engine: Engine, to: Path | None = None) -> Path:
    """Take the current snapshot back: the one that was current before it serves again.

    The file taken back stays until retention clears it and is never made current again; the next
    publish goes on as always. Repeated, it goes back one more.

    Args:
        settings: whose snapshots.
        engine: the decision state.
        to: a snapshot to go to instead of the previous one.

    Returns:
        The snapshot that is current now.

    Raises:
        PublishError: there is none to go back to.
    """
    with _publishing(settings, "rollback"):
        _sweep(settings)
        _record_unrecorded(settings, engine)
        current = snapshot_path(settings)
        with engine.begin() as connection:
            target = to or _previous(connection, settings, current)
            if target is None or target == current or target not in _files(settings):
                raise PublishError(
                    f"there is no snapshot to go back to from {current.name};"
                    " `customer360 snapshot list` shows what is kept"
                )
            _record(connection, settings, target, became_current=True)
            for path, taken_back_at, status in (
                (target, None, "published"),
                (current, state.now(), "withdrawn"),
            ):
                connection.execute(
                    update(state.snapshots)
                    .where(state.snapshots.c.name == path.name)
                    .values(withdrawn_at=taken_back_at)
                )
                connection.execute(
                    update(state.runs)
                    .where(state.runs.c.snapshot == path.name)
                    .values(status=status)
                )
            _point(settings, target)
    return target


# --- the files ------------------------------------------------------------------------------


@contextmanager
def _publishing(settings: Settings, who: str) -> Iterator[None]:
    with file_lock(settings.snapshots_dir / ".publish.lock", who, LOCK_SECONDS):
        yield


@contextmanager
def _mendable(settings: Settings, work_file: Path) -> Iterator[None]:
    """Turn what the disk or the file may do into an error that says how to go on."""
    try:
        yield
    except duckdb.Error as error:
        raise PublishError(
            f"{work_file} cannot be sealed for publishing: {first_line(error)}. The last snapshot"
            " still serves; free disk space or rebuild the file, then retry"
        ) from None
    except OSError as error:
        raise PublishError(
            f"{work_file} cannot be published: {error.strerror}"
            f" ({error.filename or settings.snapshots_dir}). The last snapshot still serves;"
            " mend that (free disk space, give the right to write), then retry"
        ) from error


def _files(settings: Settings) -> list[Path]:
    return sorted(settings.snapshots_dir.resolve().glob("customer360-*.duckdb"))


def _current(settings: Settings) -> Path | None:
    pointer = settings.snapshots_dir / POINTER
    return pointer.resolve() if pointer.is_file() else None


def _day(path: Path) -> dt.date:
    """The as-of in a snapshot's name, which can be read even where the file is damaged."""
    return dt.date.fromisoformat(path.name.removeprefix("customer360-")[:10])


def _free_name(settings: Settings, engine: Engine, run_id: str, as_of: dt.date) -> str:
    """A name never used before; run ids hold characters that shells and URLs trip over."""
    stem = f"customer360-{as_of}-{re.sub(r'[^A-Za-z0-9_.]+', '-', run_id)}"
    with engine.begin() as connection:
        taken = {*_rows(connection), *(path.name for path in _files(settings))}
    names = [f"{stem}.duckdb", *(f"{stem}-{n}.duckdb" for n in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _already_copied(
    settings: Settings, engine: Engine, work_file: Path, run_id: str, as_of: dt.date
) -> Path | None:
    """The snapshot that a killed attempt made of this very file, byte by byte."""
    with engine.begin() as connection:
        rows = _rows(connection)
    filecmp.clear_cache()
    for path in _files(settings):
        taken_back = path.name in rows and rows[path.name]["withdrawn_at"] is not None
        if (
            not taken_back
            and _day(path) == as_of
            and work_file.is_file()
            and filecmp.cmp(work_file, path, shallow=False)
            and read_info(settings, path)["run_id"] == run_id
        ):
            return path
    return None


def _seal(
    settings: Settings, work_file: Path, run_id: str, as_of: dt.date, info: dict[str, Any]
) -> None:
    """Write what the file says about itself, and leave no write-ahead log behind."""
    if not work_file.is_file():
        raise PublishError(f"{work_file} is missing: build it before publishing")
    with connect(settings, work_file) as connection:
        alias = _main_alias(connection)
        # A view on other files would show readers what changes, or is not theirs to see.
        connection.execute("set enable_external_access = false")
        left_out = _drop_unreadable_views(connection)
        tables = _declared_tables(connection, alias, info.get("tables", {}))
        details = {k: v for k, v in info.items() if k not in ("model_versions", "tables")}
        if left_out:
            details["views_left_out"] = left_out
        with transaction(connection):
            connection.execute(
                f"create or replace table {TABLES_TABLE} (name varchar, kind varchar,"
                " key varchar[], volatile varchar[], rows bigint)"
            )
            connection.executemany(f"insert into {TABLES_TABLE} values (?, ?, ?, ?, ?)", tables)
            connection.execute(
                f"create or replace table {INFO_TABLE} (run_id varchar, as_of date,"
                " published_at timestamp, model_versions json, row_counts json, details json)"
            )
            connection.execute(
                f"insert into {INFO_TABLE} values (?, ?, ?, ?, ?, ?)",
                [
                    run_id,
                    as_of,
                    state.now().replace(tzinfo=None),
                    json.dumps(info.get("model_versions", {})),
                    json.dumps({table[0]: table[4] for table in tables}),
                    json.dumps(details),
                ],
            )
        connection.execute("force checkpoint")


def _main_alias(connection: duckdb.DuckDBPyConnection) -> str:
    row = connection.execute("select current_database()").fetchone()
    assert row
    return str(row[0])


def _drop_unreadable_views(connection: duckdb.DuckDBPyConnection) -> list[str]:
    views = connection.execute(
        "select schema_name, view_name from duckdb_views() where not internal order by all"
    ).fetchall()
    dropped = []
    for schema, view in views:
        name = f"{quote(schema)}.{quote(view)}"
        try:
            connection.execute(f"select * from {name} limit 0")
        except duckdb.Error:
            connection.execute(f"drop view {name}")
            dropped.append(f"{schema}.{view}")
    return dropped


def _declared_tables(
    connection: duckdb.DuckDBPyConnection, alias: str, declared: dict[str, dict[str, Any]]
) -> list[list[Any]]:
    """Rows of ``snapshot_tables``; a declaration that names nothing real is an error."""
    names = table_names(connection, alias)
    unknown = sorted({*declared} - {*names})
    if unknown:
        raise PublishError(f"tables to publish are not in the file: {', '.join(unknown)}")
    primary: dict[str, list[str]] = dict(
        connection.execute(
            "select if(schema_name = 'main', table_name, schema_name || '.' || table_name),"
            " constraint_column_names from duckdb_constraints()"
            " where database_name = ? and constraint_type = 'PRIMARY KEY'",
            [alias],
        ).fetchall()
    )
    rows = []
    for name in names:
        entry = declared.get(name, {})
        kind = entry.get("kind", "data")
        key = list(entry.get("key", primary.get(name, [])))
        volatile = list(entry.get("volatile", []))
        if kind not in KINDS:
            raise PublishError(f"table {name}: kind {kind!r} is none of {', '.join(KINDS)}")
        columns = {column for column, _ in table_columns(connection, alias, name)}
        missing = sorted({*key, *volatile} - columns)
        if missing:
            raise PublishError(f"table {name} has no column {', '.join(missing)}, as was declared")
        counted = connection.execute(f"select count(*) from {relation(alias, name)}").fetchone()
        assert counted
        rows.append([name, kind, key, volatile, counted[0]])
    return rows


def _copy(settings: Settings, work_file: Path, name: str, run_id: str) -> Path:
    """Copy aside, make durable, look inside, and only then give it its name."""
    log = work_file.with_name(work_file.name + ".wal")
    if log.exists():
        raise PublishError(f"{work_file} is still being written ({log.name}): close it first")
    folder = settings.snapshots_dir.resolve()
    partial = folder / f".{name}.partial"
    try:
        shutil.copyfile(work_file, partial)
        partial.chmod(0o444)
        sync(partial)
    except OSError:
        partial.unlink(missing_ok=True)  # on a full disk every byte counts for the others
        raise
    if read_info(settings, partial)["run_id"] != run_id:
        raise PublishError(f"{work_file} was changed by another run while it was being published")
    target = folder / name
    partial.rename(target)
    sync(folder)
    return target


def _copy_vault(
    settings: Settings, work_file: Path, name: str, run_id: str, as_of: dt.date
) -> None:
    """Put the run's vault where the snapshot ``name`` will look for it, for its owner alone."""
    with connect(settings, work_file) as connection, transaction(connection):
        connection.execute(
            f"create or replace table {VAULT_INFO} as select ? as run_id, ?::date as as_of",
            [run_id, as_of],
        )
    target = vault_of(settings, Path(name))
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        shutil.copyfile(work_file, partial)
        sync(partial)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    partial.rename(target)
    sync(target.parent)


def _point(settings: Settings, target: Path) -> None:
    """Move the pointer: readers see the old snapshot or the new one, nothing between."""
    folder = settings.snapshots_dir.resolve()
    aside = folder / f".{POINTER}.partial"
    aside.unlink(missing_ok=True)
    aside.symlink_to(target.name)
    aside.rename(folder / POINTER)
    sync(folder)


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(settings: Settings) -> None:
    """Remove what killed attempts left aside; the lock says that no one is writing them."""
    for folder in (settings.snapshots_dir, settings.vault_dir):
        for path in folder.glob(".*.partial"):
            path.unlink()
    published = {vault_of(settings, path).name for path in _files(settings)}
    for path in settings.vault_dir.glob("vault-*.duckdb"):
        if path.name not in published:
            path.unlink()


# --- the record -----------------------------------------------------------------------------


def _rows(connection: Connection) -> dict[str, RowMapping]:
    return {row["name"]: row for row in connection.execute(select(state.snapshots)).mappings()}


def _record(
    connection: Connection, settings: Settings, path: Path, *, became_current: bool
) -> None:
    """Note a snapshot, and that it becomes current now if it was not before."""
    table = state.snapshots
    known = _rows(connection).get(path.name)
    if known is None:
        info = read_info(settings, path)
        connection.execute(
            insert(table).values(
                name=path.name,
                run_id=info["run_id"],
                as_of=info["as_of"],
                published_at=info["published_at"],
            )
        )
    if became_current and (known is None or known["became_current_at"] is None):
        connection.execute(
            update(table).where(table.c.name == path.name).values(became_current_at=state.now())
        )


def _record_unrecorded(settings: Settings, engine: Engine) -> None:
    """Note a pointer that moved just before its run was killed."""
    current = _current(settings)
    if current is not None:
        with engine.begin() as connection:
            _record(connection, settings, current, became_current=True)


def _previous(connection: Connection, settings: Settings, current: Path) -> Path | None:
    """The last that was current before the current one, is kept and was not taken back."""
    rows = _rows(connection)
    kept = {path.name: path for path in _files(settings)}
    before = [
        row
        for row in rows.values()
        if row["name"] in kept
        and row["became_current_at"] is not None
        and row["withdrawn_at"] is None
        and row["became_current_at"] < rows[current.name]["became_current_at"]
    ]
    if not before:
        return None
    return kept[max(before, key=lambda row: row["became_current_at"])["name"]]


def _clear(settings: Settings, engine: Engine, retention: Retention) -> None:
    """Remove the snapshots that ``retention`` does not keep."""
    table = state.snapshots
    current = _current(settings)
    with engine.begin() as connection:
        withdrawn = {
            name for name, row in _rows(connection).items() if row["withdrawn_at"] is not None
        }
    moment = state.now().timestamp()
    aged = sorted((moment - path.stat().st_mtime, path) for path in _files(settings))
    good = 0
    for age, path in aged:
        good += path.name not in withdrawn
        needed = path.name not in withdrawn and good <= retention.keep_at_least
        recent = age < retention.keep_days * 86400 and good <= retention.keep_at_most
        if path == current or needed or recent or age < retention.min_age.total_seconds():
            continue
        path.unlink()
        vault_of(settings, path).unlink(missing_ok=True)
        with engine.begin() as connection:
            connection.execute(
                update(table).where(table.c.name == path.name).values(removed_at=state.now())
            )
