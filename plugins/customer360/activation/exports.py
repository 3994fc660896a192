"""Exports: tables of a snapshot as files that downstream tools pick up, whole and as changes.

What belongs here: which exports there are, their shape on disk, the difference to what a receiver
holds, and the ledger that says what that is. What does not: who is in a segment or gets an alert
(marts), and transport to anything but a folder.

How a tool reads an export and is never wrong:

- ``exports/<name>/<as_of>`` is a link to a folder below ``.versions`` that never changes; it is
  replaced by one rename, after ``_SUCCESS``. Resolve it once, then read.
- ``changes`` lead from the export that the manifest calls ``previous_export`` to this one. A tool
  that holds another state (it missed one, or the manifest says ``restated``) follows
  ``previous_export`` back, or takes ``full``. That is how a tool that has picked up the first of
  two runs of one day, and one that has not, both end right.
"""

import datetime as dt
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import duckdb
from sqlalchemy import Connection, Engine, RowMapping, insert, select, update

from customer360 import state
from customer360.content import ID_MAP_TABLE, attached, read_tables, relation
from customer360.exceptions import ExportError
from customer360.lock import file_lock
from customer360.publish import read_info, sync
from customer360.settings import Settings
from customer360.warehouse import first_line, literal, quote

LOCK_SECONDS = 120
CHANGES = ("added", "changed", "removed")

ALERT_ID = "'a' || left(sha256(concat_ws('|', customer_id, kind, started_on)), 24)"
"""SQL for the id of an alert: the same for one customer, kind and start, run after run."""


@dataclass(frozen=True)
class Export:
    """What is exported under a name.

    Attributes:
        name: of the export, and of the table in the snapshot unless ``query`` is given.
        key: columns that tell rows apart; the first is the first column of every file.
        query: SQL over the snapshot's tables instead of the table ``name``.
        required: column -> what it says, for the JSON Schema; a table without one is refused.
        derived: column -> SQL over the table's columns, where the export itself decides.
        empty: column -> type, exported without rows where the snapshot has no such table.
    """

    name: str
    key: tuple[str, ...] = ("customer_id",)
    query: str | None = None
    required: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, str] = field(default_factory=dict)
    empty: Mapping[str, str] = field(default_factory=dict)


SEGMENT_MEMBERS = Export(
    "segment_members",
    key=("customer_id", "segment"),
    required={
        "customer_id": "Whom it is about.",
        "segment": "Name of the segment in config/audiences.yml.",
    },
)

CHURN_ALERTS = Export(
    "churn_alerts",
    key=("customer_id", "alert_id"),
    required={
        "customer_id": "Whom it is about.",
        "alert_id": "Stays the same while the alert lasts; an answer names it.",
        "kind": "What the alert warns of.",
        "started_on": "First day of the alert.",
        "reason_1": "Why, in words; the strongest reason.",
        "reason_2": "The second reason, if there is one.",
        "reason_3": "The third reason, if there is one.",
        "value_at_risk_cents": "Expected spend that would be lost, in minor units.",
        "owner": "Who should act.",
        "suggested_action": "What to do first.",
        "expires_on": "Last day on which acting makes sense.",
    },
    derived={"alert_id": ALERT_ID},
)

CUSTOMER_ID_MAP = Export(
    ID_MAP_TABLE,
    key=("old_id", "new_id"),
    required={
        "old_id": "An id that a tool may have kept.",
        "new_id": "Where that customer is found now.",
        "reason": "merge or split.",
    },
    empty={"old_id": "varchar", "new_id": "varchar", "reason": "varchar"},
)

EXPORTS = (SEGMENT_MEMBERS, CHURN_ALERTS, CUSTOMER_ID_MAP)


@dataclass(frozen=True)
class Policy:
    """How exports are delivered.

    Attributes:
        acknowledge: ``on_write``: what stands in the folder counts as received, a rerun with
            nothing new is an empty change. ``by_receiver``: it counts from :func:`acknowledge`
            on, until then changes are repeated.
        lost_previous: when the last received export is gone or altered: ``fail``, or ``restate``
            (``changes`` holds everything as added and the manifest says so).
        spreadsheet: also write ``*.spreadsheet.csv``, with a byte-order mark and with formulas
            neutralised, for people who open it by double click.
        keep_days: exports of earlier days are cleared away after as many days.
    """

    acknowledge: Literal["on_write", "by_receiver"] = "on_write"
    lost_previous: Literal["fail", "restate"] = "fail"
    spreadsheet: bool = False
    keep_days: int = 90


@dataclass(frozen=True)
class ExportResult:
    """What an export did.

    Attributes:
        status: ``written``; ``unchanged`` (this run had written the same before); ``held_back``
            (an older day than what receivers hold: nothing is written).
        path: ``exports/<name>/<as_of>``; None where held back.
    """

    name: str
    as_of: dt.date
    status: Literal["written", "unchanged", "held_back"]
    message: str
    path: Path | None = None
    rows: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0


def export_all(
    settings: Settings,
    engine: Engine,
    snapshot: Path,
    as_of: dt.date,
    run_id: str,
    policy: Policy | None = None,
) -> list[ExportResult]:
    """Write every export of :data:`EXPORTS`."""
    return [export(settings, engine, snapshot, one, as_of, run_id, policy) for one in EXPORTS]


def export(
    settings: Settings,
    engine: Engine,
    snapshot: Path,
    wanted: Export,
    as_of: dt.date,
    run_id: str,
    policy: Policy | None = None,
) -> ExportResult:
    """Write one export of a published snapshot.

    Called again by the same run it writes nothing new; killed at any moment it may be called
    again, and readers never see half of it.

    Args:
        settings: whose exports.
        engine: the decision state.
        snapshot: path of the published snapshot, of the same ``as_of``.
        wanted: what to export.
        as_of: the day that it stands for.
        run_id: the run; refused once it has been overtaken.
        policy: how it is delivered.

    Raises:
        ExportError: the data are not as declared, or the export before is gone or altered.
        BusyError: the run has been overtaken, or the same export is being written.
    """
    policy = policy or Policy()
    state.check_token(engine, run_id)
    home = settings.exports_dir / wanted.name
    with file_lock(home / ".export.lock", f"export of {run_id}", LOCK_SECONDS):
        _settle(home, engine, wanted.name, policy)
        _sweep(home, engine, wanted.name)
        last = _last_received(engine, wanted.name)
        later = _later_day(home, last, as_of)
        if later:
            return ExportResult(
                wanted.name,
                as_of,
                "held_back",
                f"receivers already hold {later}: an export of {as_of} would take them back",
            )
        try:
            return _write(settings, engine, snapshot, wanted, as_of, run_id, policy, home, last)
        except duckdb.Error as error:
            _drop_partial(home)
            raise ExportError(
                f"export {wanted.name} cannot be written: {first_line(error)}. The last export"
                " stands; check the table and the free disk space, then retry"
            ) from None
        except OSError as error:
            _drop_partial(home)
            raise ExportError(
                f"export {wanted.name} cannot be written: {error.strerror}"
                f" ({error.filename or home}). The last export stands; mend that, then retry"
            ) from error


def acknowledge(engine: Engine, name: str, file_hash: str) -> None:
    """A receiver says that it holds the export whose ``full.parquet`` has this SHA-256.

    Raises:
        ExportError: no such export was written.
    """
    table = state.deliveries
    with engine.begin() as connection:
        found = connection.execute(
            select(table.c.delivery_id)
            .where(table.c.destination == name, table.c.file_hash == file_hash)
            .order_by(table.c.delivery_id.desc())
        ).first()
        if found is None:
            raise ExportError(
                f"no export {name} has a full.parquet with SHA-256 {file_hash}; its manifest.json"
                " names the right one"
            )
        _acknowledge(connection, found.delivery_id)


def ledger(engine: Engine, name: str | None = None) -> list[RowMapping]:
    """Deliveries, the last first."""
    query = select(state.deliveries).order_by(state.deliveries.c.delivery_id.desc())
    if name:
        query = query.where(state.deliveries.c.destination == name)
    with engine.begin() as connection:
        return list(connection.execute(query).mappings())


# --- one version of an export ---------------------------------------------------------------


def _write(
    settings: Settings,
    engine: Engine,
    snapshot: Path,
    wanted: Export,
    as_of: dt.date,
    run_id: str,
    policy: Policy,
    home: Path,
    last: RowMapping | None,
) -> ExportResult:
    held = read_info(settings, snapshot)["as_of"]
    if held != as_of:
        raise ExportError(f"{snapshot.name} stands for {held}, not for {as_of}")
    versions = home / ".versions"
    aside = versions / ".partial"
    aside.mkdir(parents=True)
    with attached(settings, snapshot=snapshot) as connection:
        columns = _write_full(connection, wanted, aside / "full.parquet")
        full_hash = _sha256(aside / "full.parquet")
        known = _written_by(engine, home, wanted.name, as_of, run_id, full_hash)
        if known:
            shutil.rmtree(aside)
            return _result(home, known, "unchanged", "this run has written the same export already")
        previous, restated = _previous_file(home, last, policy)
        counts = _write_changes(connection, wanted, columns, aside, previous)
        _write_csv(connection, columns, aside, policy)
    rows = counts.pop("rows")
    version = _free_version(engine, versions, wanted.name, as_of)
    manifest = {
        "name": wanted.name,
        "as_of": str(as_of),
        "run_id": run_id,
        "snapshot": snapshot.name,
        "version": version,
        "schema_version": _schema_version(home, last, _row_schema(wanted, columns)),
        "row_schema": _row_schema(wanted, columns),
        "key": list(wanted.key),
        "rows": rows,
        "changes": counts,
        "acknowledge": policy.acknowledge,
        "restated": restated,
        "previous_export": None
        if last is None or restated
        else {
            "as_of": str(last["as_of"]),
            "run_id": last["run_id"],
            "version": last["version"],
            "path": os.path.relpath(versions / last["version"], home),
            "sha256": last["file_hash"],
        },
        "files": {
            path.name: {
                "rows": rows if path.name.startswith("full.") else sum(counts.values()),
                "bytes": path.stat().st_size,
                "sha256": _sha256(path),
            }
            for path in sorted(aside.iterdir())
        },
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (aside / "manifest.json").write_text(text, encoding="utf-8")
    (aside / "_SUCCESS").write_text(hashlib.sha256(text.encode()).hexdigest() + "\n")
    for path in aside.iterdir():
        path.chmod(0o444)
        sync(path)
    sync(aside)
    aside.rename(versions / version)
    sync(versions)
    delivery = {
        "destination": wanted.name,
        "as_of": as_of,
        "run_id": run_id,
        "version": version,
        "file_hash": full_hash,
        "rows": rows,
        **{f"rows_{change}": counts[change] for change in CHANGES},
        "status": "pending",
        "at": state.now(),
    }
    with engine.begin() as connection:  # the intent first, so that a kill can be settled
        delivery_id = connection.execute(
            insert(state.deliveries).values(delivery).returning(state.deliveries.c.delivery_id)
        ).scalar_one()
    with state.fence(engine, run_id) as connection:
        if policy.acknowledge == "on_write":
            _acknowledge(connection, delivery_id)
        _show(home, as_of, version)
    _clear(home, engine, wanted.name, policy)
    message = "everything is new" if last is None else f"changes since {last['version']}"
    return _result(home, delivery, "written", message)


def _write_full(
    connection: duckdb.DuckDBPyConnection, wanted: Export, target: Path
) -> list[tuple[str, str]]:
    """Write the whole export in the order of its key; returns its columns with their types."""
    source = _source(connection, wanted)
    described = connection.execute(f"describe {source}").fetchall()
    types = {str(row[0]): str(row[1]) for row in described}
    missing = [name for name in (*wanted.key, *wanted.required) if name not in types]
    if missing:
        raise ExportError(
            f"export {wanted.name} needs column {', '.join(dict.fromkeys(missing))}, which its"
            " table does not have: add it to the mart, or mend the declaration of the export"
        )
    names = [*wanted.key, *(name for name in types if name not in wanted.key)]
    keys = ", ".join(quote(name) for name in wanted.key)
    nulls = " or ".join(f"{quote(name)} is null" for name in wanted.key)
    bad = connection.execute(
        f"select count(*) filter ({nulls}), count(*) - count(distinct row({keys})) from ({source})"
    ).fetchone()
    assert bad
    if any(bad):
        raise ExportError(
            f"export {wanted.name}: {bad[0]} rows without a key and {bad[1]} with the key of"
            f" another; its key is ({', '.join(wanted.key)}) and must tell rows apart"
        )
    ordered = ", ".join(quote(name) for name in names)
    connection.execute(
        f"copy (select {ordered} from ({source}) order by {keys})"
        f" to {literal(target)} (format parquet, compression zstd)"
    )
    return [(name, types[name]) for name in names]


def _source(connection: duckdb.DuckDBPyConnection, wanted: Export) -> str:
    """A query for the rows to export, without columns that hold run ids or the clock."""
    connection.execute("use snapshot")
    if wanted.query is not None:
        return wanted.query
    tables = {info.name: info for info in read_tables(connection, "snapshot")}
    info = tables.get(wanted.name)
    if info is None:
        if not wanted.empty:
            raise ExportError(f"the snapshot has no table {wanted.name} to export")
        columns = ", ".join(f"cast(null as {t}) as {quote(n)}" for n, t in wanted.empty.items())
        return f"select {columns} where false"
    left_out = {*info.volatile, *wanted.derived}
    rows = connection.execute(f"describe {relation('snapshot', info.name)}").fetchall()
    columns = ", ".join(
        [quote(row[0]) for row in rows if row[0] not in left_out]
        + [f"{sql} as {quote(name)}" for name, sql in wanted.derived.items()]
    )
    return f"select {columns} from {relation('snapshot', info.name)}"


def _write_changes(
    connection: duckdb.DuckDBPyConnection,
    wanted: Export,
    columns: list[tuple[str, str]],
    folder: Path,
    previous: Path | None,
) -> dict[str, int]:
    """Write what leads from ``previous`` to the full export beside; returns counts.

    A removed row keeps its key only: a receiver needs no more of someone who left.
    """
    full = f"read_parquet({literal(folder / 'full.parquet')})"
    names = [name for name, _ in columns]
    payload = [name for name in names if name not in wanted.key]
    if previous is None:
        before = f"(select * from {full} where false)"
        old_names = set(names)
    else:
        before = f"read_parquet({literal(previous)})"
        old_names = {row[0] for row in connection.execute(f"describe from {before}").fetchall()}
        if not old_names.issuperset(wanted.key):
            raise ExportError(
                f"export {wanted.name} has another key than the export before it: give it a new"
                " name, or have it restated"
            )
    matched = " and ".join(
        f"current_rows.{quote(name)} = previous_rows.{quote(name)}" for name in wanted.key
    )
    # Compared value by value: no hash, so no collision, and NULL equals NULL.
    differs = " or ".join(
        f"current_rows.{quote(name)} is distinct from previous_rows.{quote(name)}"
        if name in old_names
        else "true"
        for name in payload
    )
    if old_names - set(names):
        differs = "true"  # a column went away: every receiver has to learn the new shape
    first, *rest = wanted.key
    keys = {
        name: f"coalesce(current_rows.{quote(name)}, previous_rows.{quote(name)}) as {quote(name)}"
        for name in wanted.key
    }
    selected = ", ".join(
        [
            keys[first],
            "case when previous_rows.is_there is null then 'added'"
            " when current_rows.is_there is null then 'removed' else 'changed' end as change",
            *(keys[name] for name in rest),
            *(f"current_rows.{quote(name)} as {quote(name)}" for name in payload),
        ]
    )
    connection.execute(
        f"copy (select {selected} from (select *, true as is_there from {full}) as current_rows"
        f" full join (select *, true as is_there from {before}) as previous_rows on {matched}"
        " where previous_rows.is_there is null or current_rows.is_there is null"
        f" or {differs or 'false'} order by {', '.join(quote(name) for name in wanted.key)})"
        f" to {literal(folder / 'changes.parquet')} (format parquet, compression zstd)"
    )
    row = connection.execute(
        f"select (select count(*) from {full}),"
        + ",".join(f"count(*) filter (change = '{change}')" for change in CHANGES)
        + f" from read_parquet({literal(folder / 'changes.parquet')})"
    ).fetchone()
    assert row
    return dict(zip(("rows", *CHANGES), row, strict=True))


def _write_csv(
    connection: duckdb.DuckDBPyConnection,
    columns: Sequence[tuple[str, str]],
    folder: Path,
    policy: Policy,
) -> None:
    """The Parquet files again as CSV: untouched for machines, made harmless for spreadsheets."""
    nested = [name for name, kind in columns if re.match(r"STRUCT|MAP|UNION|.*]$", kind)]
    texts = [name for name, kind in columns if kind == "VARCHAR"]
    plain = {name: f"cast(to_json({quote(name)}) as varchar)" for name in nested}
    harmless = {
        name: f"if(regexp_matches({quote(name)}, '^\\s*[=+@＝＋－＠\\-]'),"
        f" '''' || {quote(name)}, {quote(name)})"
        for name in texts
    }
    profiles = {"csv": plain}
    if policy.spreadsheet:
        profiles["spreadsheet.csv"] = {**plain, **harmless}
    for stem in ("full", "changes"):
        for suffix, replaced in profiles.items():
            target = folder / f"{stem}.{suffix}"
            star = "*"
            if replaced:
                pairs = ", ".join(f"{sql} as {quote(name)}" for name, sql in replaced.items())
                star = f"* replace ({pairs})"
            connection.execute(
                f"copy (select {star} from read_parquet({literal(folder / f'{stem}.parquet')}))"
                f" to {literal(target)} (format csv, header,"
                " timestampformat '%Y-%m-%dT%H:%M:%S.%fZ')"
            )
            if suffix == "spreadsheet.csv":
                _mark_utf8(target)


def _mark_utf8(path: Path) -> None:
    """Put the byte-order mark before a file, without which spreadsheets guess the encoding."""
    marked = path.with_suffix(".marked")
    with path.open("rb") as source, marked.open("wb") as target:
        target.write(b"\xef\xbb\xbf")
        shutil.copyfileobj(source, target)
    marked.replace(path)


def _row_schema(wanted: Export, columns: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """JSON Schema of a row of ``full``; in ``changes`` comes ``change``, and removed rows have
    NULL in all but their key.
    """
    properties: dict[str, Any] = {}
    for name, kind in columns:
        schema = _json_type(kind)
        if name not in wanted.key:
            schema["type"] = [schema["type"], "null"]
        if name in wanted.required:
            schema["description"] = wanted.required[name]
        properties[name] = schema
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _json_type(kind: str) -> dict[str, Any]:
    if kind.endswith("[]"):
        return {"type": "array"}
    base = kind.partition("(")[0]
    if base.endswith(("INT", "INTEGER")):
        return {"type": "integer"}
    if base in ("DECIMAL", "DOUBLE", "FLOAT"):
        return {"type": "number"}
    if base in ("STRUCT", "MAP"):
        return {"type": "object"}
    formats = {"DATE": "date", "TIMESTAMP": "date-time", "TIMESTAMP WITH TIME ZONE": "date-time"}
    if base in formats:
        return {"type": "string", "format": formats[base]}
    return {"type": "boolean" if base == "BOOLEAN" else "string"}


def _schema_version(home: Path, last: RowMapping | None, schema: dict[str, Any]) -> int:
    """One more than that of the export before, if a row has another shape now."""
    if last is None:
        return 1
    path = home / ".versions" / last["version"] / "manifest.json"
    if not path.is_file():
        return 1
    before = json.loads(path.read_text(encoding="utf-8"))
    return int(before["schema_version"]) + int(before["row_schema"] != schema)


# --- what receivers hold --------------------------------------------------------------------


def _last_received(engine: Engine, name: str) -> RowMapping | None:
    table = state.deliveries
    query = (
        select(table)
        .where(table.c.destination == name, table.c.status == "acknowledged")
        .order_by(table.c.as_of.desc(), table.c.delivery_id.desc())
    )
    with engine.begin() as connection:
        return connection.execute(query).mappings().first()


def _later_day(home: Path, last: RowMapping | None, as_of: dt.date) -> dt.date | None:
    """The latest day after ``as_of`` that receivers hold or can see."""
    days = [dt.date.fromisoformat(path.name) for path in _links(home)]
    if last is not None:
        days.append(last["as_of"])
    return max((day for day in days if day > as_of), default=None)


def _links(home: Path) -> list[Path]:
    return sorted(path for path in home.glob("????-??-??") if path.is_symlink())


def _previous_file(home: Path, last: RowMapping | None, policy: Policy) -> tuple[Path | None, bool]:
    """The full file of the last received export, or None and whether that is a restatement."""
    if last is None:
        return None, False
    path = home / ".versions" / last["version"] / "full.parquet"
    if path.is_file() and _sha256(path) == last["file_hash"]:
        return path, False
    if policy.lost_previous == "restate":
        return None, True
    raise ExportError(
        f"{path} is gone or altered since it was delivered, so changes against it cannot be"
        " told: put it back, or export once with lost_previous: restate (receivers then load"
        " the full file)"
    )


def _written_by(
    engine: Engine, home: Path, name: str, as_of: dt.date, run_id: str, full_hash: str
) -> RowMapping | None:
    """The delivery by which this run has shown the very same export before."""
    link = home / str(as_of)
    for row in ledger(engine, name):
        if (row["run_id"], row["as_of"], row["file_hash"]) == (run_id, as_of, full_hash):
            shown = link.is_symlink() and link.readlink().name == row["version"]
            return row if shown else None
    return None


def _acknowledge(connection: Connection, delivery_id: int) -> None:
    table = state.deliveries
    connection.execute(
        update(table)
        .where(table.c.delivery_id == delivery_id, table.c.status == "pending")
        .values(status="acknowledged", acknowledged_at=state.now())
    )


def _settle(home: Path, engine: Engine, name: str, policy: Policy) -> None:
    """Finish the record of exports whose run was killed just before or after showing them.

    Each export of a day is shown before the next one of it is written: so one that waits for its
    receiver was never shown if it is the last of its day, its folder is there and no link leads
    to it.
    """
    shown = {path.readlink().name for path in _links(home)}
    last_of_day = {row["as_of"]: row["delivery_id"] for row in reversed(ledger(engine, name))}
    table = state.deliveries
    for row in ledger(engine, name):
        if row["status"] != "pending":
            continue
        with engine.begin() as connection:
            if row["version"] in shown:
                if policy.acknowledge == "on_write":
                    _acknowledge(connection, row["delivery_id"])
            elif (
                last_of_day[row["as_of"]] == row["delivery_id"]
                and (home / ".versions" / row["version"]).is_dir()
            ):
                connection.execute(
                    update(table)
                    .where(table.c.delivery_id == row["delivery_id"])
                    .values(status="abandoned")
                )


# --- the folders ----------------------------------------------------------------------------


def _free_version(engine: Engine, versions: Path, name: str, as_of: dt.date) -> str:
    """A folder name under which nothing was ever shown."""
    used = {path.name for path in versions.iterdir()} | _delivered(engine, name)
    number = 1
    while f"{as_of}-{number:03d}" in used:
        number += 1
    return f"{as_of}-{number:03d}"


def _show(home: Path, as_of: dt.date, version: str) -> None:
    """Make ``<as_of>`` lead to ``version``: one rename, before it the old export, after the new."""
    aside = home / ".link.partial"
    aside.unlink(missing_ok=True)
    aside.symlink_to(Path(".versions") / version)
    aside.rename(home / str(as_of))
    sync(home)


def _sweep(home: Path, engine: Engine, name: str) -> None:
    """Remove what a killed run left: half a folder, or a whole one that it never showed."""
    _drop_partial(home)
    known = _delivered(engine, name) | {path.readlink().name for path in _links(home)}
    for path in (home / ".versions").glob("????-??-??-*"):
        if path.name not in known:
            shutil.rmtree(path)


def _drop_partial(home: Path) -> None:
    shutil.rmtree(home / ".versions" / ".partial", ignore_errors=True)


def _delivered(engine: Engine, name: str) -> set[str]:
    """Versions that were shown, or that are about to be."""
    return {row["version"] for row in ledger(engine, name) if row["status"] != "abandoned"}


def _clear(home: Path, engine: Engine, name: str, policy: Policy) -> None:
    """Remove exports that are past keeping; what receivers hold is always kept."""
    last = _last_received(engine, name)
    newest = _links(home)[-1].readlink().name
    kept = {newest, last["version"] if last else newest}
    oldest = state.now().timestamp() - policy.keep_days * 86400
    for path in (home / ".versions").glob("????-??-??-*"):
        if path.name in kept or path.stat().st_mtime >= oldest:
            continue
        for link in _links(home):
            if link.readlink().name == path.name:
                link.unlink()
        shutil.rmtree(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _result(
    home: Path,
    delivery: Mapping[str, Any] | RowMapping,
    status: Literal["written", "unchanged"],
    message: str,
) -> ExportResult:
    return ExportResult(
        name=delivery["destination"],
        as_of=delivery["as_of"],
        status=status,
        message=message,
        path=home / str(delivery["as_of"]),
        rows=delivery["rows"],
        added=delivery["rows_added"],
        changed=delivery["rows_changed"],
        removed=delivery["rows_removed"],
    )
