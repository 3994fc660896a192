"""Exports: tables of a snapshot as files that downstream tools pick up, whole and as changes.

What belongs here: one export from a snapshot to what a tool may read, step by step. What does not:
which exports there are (``declared``), their files (``files``), their folders (``versions``), what
receivers hold (``ledger``), who is in a segment or gets an alert (marts), and transport to anything
but a folder.

How a tool reads an export and is never wrong:

- ``exports/<name>/<as_of>`` is a link to a folder below ``.versions`` that never changes; it is
  replaced by one rename, after ``_SUCCESS``. Resolve it once, then read.
- Who may be in it is asked when it is written, as for any receiver: customers who are suppressed or
  erased are not, nor is anyone whom the export's purpose (``exports.purposes``) does not allow.
- ``changes`` lead from the export that the manifest calls ``previous_export`` to this one. A tool
  that holds another state (it missed one, or the manifest says ``restated``) follows
  ``previous_export`` back, or takes ``full``. That is how a tool that has picked up the first of
  two runs of one day, and one that has not, both end right.
"""

import datetime as dt
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
from sqlalchemy import Engine, RowMapping

from customer360 import state
from customer360.activation import consents, files, lawful, ledger, versions
from customer360.activation.declared import EXPORTS, Export
from customer360.activation.destinations import Purpose, load_destinations
from customer360.config import Config, ExportPolicy
from customer360.content import attached
from customer360.exceptions import ConfigError, ExportError
from customer360.lock import file_lock
from customer360.publish import read_info
from customer360.settings import Settings
from customer360.warehouse import first_line, quote

LOCK_SECONDS = 120


@dataclass(frozen=True)
class ExportResult:
    """What an export did.

    Attributes:
        status: ``written``; ``unchanged`` (this run had written the same before); ``held_back``
            (an older day than what receivers hold, or data that cannot be trusted for sending:
            nothing is written).
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
    policy: ExportPolicy | None = None,
    *,
    config: Config | None = None,
    sending_refused: str | None = None,
) -> list[ExportResult]:
    """Write every export of :data:`EXPORTS`.

    Args:
        config: whose consents are asked; without one nobody is left out.
        sending_refused: why exports that make somebody write to customers wait, if they must.
    """
    return [
        ExportResult(one.name, as_of, "held_back", sending_refused)
        if sending_refused and one.is_sent
        else export(settings, engine, snapshot, one, as_of, run_id, policy, config)
        for one in EXPORTS
    ]


def export(
    settings: Settings,
    engine: Engine,
    snapshot: Path,
    wanted: Export,
    as_of: dt.date,
    run_id: str,
    policy: ExportPolicy | None = None,
    config: Config | None = None,
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
        policy: how it is delivered, and for which purpose.
        config: whose consents are asked; without one nobody is left out, for the caller has asked.

    Raises:
        ExportError: the data are not as declared, or the export before is gone or altered.
        BusyError: the run has been overtaken, or the same export is being written.
    """
    policy = policy or ExportPolicy()
    state.check_token(engine, run_id)
    home = settings.exports_dir / wanted.name
    with file_lock(home / ".export.lock", f"export of {run_id}", LOCK_SECONDS):
        on_write = policy.acknowledge == "on_write"
        ledger.settle(home, engine, wanted.name, on_write=on_write)
        versions.sweep(home, ledger.delivered(engine, wanted.name))
        last = ledger.last_received(engine, wanted.name)
        later = _later_day(home, last, as_of)
        if later:
            return ExportResult(
                wanted.name,
                as_of,
                "held_back",
                f"receivers already hold {later}: an export of {as_of} would take them back",
            )
        try:
            return _write(
                settings, engine, snapshot, wanted, as_of, run_id, policy, config, home, last
            )
        except duckdb.Error as error:
            versions.drop_partial(home)
            raise ExportError(
                f"export {wanted.name} cannot be written: {first_line(error)}. The last export"
                " stands; check the table and the free disk space, then retry"
            ) from None
        except OSError as error:
            versions.drop_partial(home)
            raise ExportError(
                f"export {wanted.name} cannot be written: {error.strerror}"
                f" ({error.filename or home}). The last export stands; mend that, then retry"
            ) from error


def _write(
    settings: Settings,
    engine: Engine,
    snapshot: Path,
    wanted: Export,
    as_of: dt.date,
    run_id: str,
    policy: ExportPolicy,
    config: Config | None,
    home: Path,
    last: RowMapping | None,
) -> ExportResult:
    held = read_info(settings, snapshot)["as_of"]
    if held != as_of:
        raise ExportError(f"{snapshot.name} stands for {held}, not for {as_of}")
    aside = versions.begin(home)
    with attached(settings, snapshot=snapshot) as connection:
        purpose, refused, held = None, None, {}
        if config is not None and "customer_id" in wanted.key:
            purpose, refused = _judge(connection, settings, engine, config, wanted, run_id, policy)
            held = _held(connection, wanted, refused)
        columns = files.write_full(connection, wanted, aside / "full.parquet", refused)
        full_hash = files.sha256(aside / "full.parquet")
        known = ledger.written_by(engine, home, wanted.name, as_of, run_id, full_hash)
        if known:
            versions.drop_partial(home)
            return _result(home, known, "unchanged", "this run has written the same export already")
        previous, restated = _previous_file(home, last, policy)
        counts = files.write_changes(connection, wanted, columns, aside, previous)
        files.write_csv(connection, columns, aside, spreadsheet=policy.spreadsheet)
        if policy.json_lines:
            files.write_json_lines(connection, aside)
    rows = counts.pop("rows")
    version = versions.free_name(home, as_of, ledger.delivered(engine, wanted.name))
    row_schema = files.row_schema(wanted, columns)
    manifest = {
        "name": wanted.name,
        "as_of": str(as_of),
        "run_id": run_id,
        "snapshot": snapshot.name,
        "version": version,
        "schema_version": _schema_version(home, last, row_schema),
        "row_schema": row_schema,
        "key": list(wanted.key),
        "rows": rows,
        "changes": counts,
        "purpose": purpose,
        "held": held,
        "acknowledge": policy.acknowledge,
        "restated": restated,
        "previous_export": None
        if last is None or restated
        else {
            "as_of": str(last["as_of"]),
            "run_id": last["run_id"],
            "version": last["version"],
            "path": os.path.relpath(versions.folder(home, last["version"]), home),
            "sha256": last["file_hash"],
        },
        "files": {
            path.name: {
                "rows": rows if path.name.startswith("full.") else sum(counts.values()),
                "bytes": path.stat().st_size,
                "sha256": files.sha256(path),
            }
            for path in sorted(aside.iterdir())
        },
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (aside / "manifest.json").write_text(text, encoding="utf-8")
    (aside / "_SUCCESS").write_text(hashlib.sha256(text.encode()).hexdigest() + "\n")
    versions.seal(home, version)
    delivery = {
        "destination": wanted.name,
        "as_of": as_of,
        "run_id": run_id,
        "version": version,
        "file_hash": full_hash,
        "rows": rows,
        **{f"rows_{change}": counts[change] for change in files.CHANGES},
    }
    delivery_id = ledger.intend(engine, delivery)
    with state.fence(engine, run_id) as connection:
        if policy.acknowledge == "on_write":
            ledger.mark_received(connection, delivery_id)
        versions.show(home, as_of, version)
    received = ledger.last_received(engine, wanted.name)
    versions.clear(home, policy.keep_days, received["version"] if received else None)
    message = "everything is new" if last is None else f"changes since {last['version']}"
    if held:
        message += f"; {sum(held.values())} rows are held back: {', '.join(held)}"
    return _result(home, delivery, "written", message)


def _judge(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    engine: Engine,
    config: Config,
    wanted: Export,
    run_id: str,
    policy: ExportPolicy,
) -> tuple[dict[str, str | None], str]:
    """Why rows go, as the manifest says it, and the table of customers whom that does not allow.

    Raises:
        ConfigError: the export's purpose is not declared.
    """
    purposes = load_destinations(settings).purposes
    name = policy.purposes.get(wanted.name)
    if name is not None and name not in purposes:
        raise ConfigError(
            f"policies.yml, exports.purposes.{wanted.name}: '{name}' is not among the purposes of "
            f"destinations.yml: {', '.join(purposes) or 'there are none'}"
        )
    purpose = purposes[name] if name else Purpose(description="exports", basis="contract")
    if purpose.basis == "consent":
        run = state.get_run(engine, run_id)
        built_at = run["started_at"].isoformat() if run else ""
        consents.bring_up_to_date(connection, settings, config, built_at)
    key = name or "exports"
    customers = f"select distinct customer_id from snapshot.{quote(wanted.name)}"
    lawful.judge(connection, engine, {key: purpose}, [key], customers)
    told = {"name": name, "basis": purpose.basis, "consent": purpose.consent}
    return told, lawful.REFUSED.format(purpose=key)


def _held(connection: duckdb.DuckDBPyConnection, wanted: Export, refused: str) -> dict[str, int]:
    """Reason -> rows that nothing allows to be in the files."""
    return dict(
        connection.execute(
            f"select reason, count(*) from snapshot.{quote(wanted.name)} as wanted "
            f"inner join {refused} on wanted.customer_id = {refused}.customer_id "
            "group by reason order by reason"
        ).fetchall()
    )


def _schema_version(home: Path, last: RowMapping | None, schema: dict[str, Any]) -> int:
    """One more than that of the export before, if a row has another shape now."""
    if last is None:
        return 1
    path = versions.folder(home, last["version"]) / "manifest.json"
    if not path.is_file():
        return 1
    before = json.loads(path.read_text(encoding="utf-8"))
    return int(before["schema_version"]) + int(before["row_schema"] != schema)


def _later_day(home: Path, last: RowMapping | None, as_of: dt.date) -> dt.date | None:
    """The latest day after ``as_of`` that receivers hold or can see."""
    days = [dt.date.fromisoformat(path.name) for path in versions.links(home)]
    if last is not None:
        days.append(last["as_of"])
    return max((day for day in days if day > as_of), default=None)


def _previous_file(
    home: Path, last: RowMapping | None, policy: ExportPolicy
) -> tuple[Path | None, bool]:
    """The full file of the last received export, or None and whether that is a restatement."""
    if last is None:
        return None, False
    path = versions.folder(home, last["version"]) / "full.parquet"
    if path.is_file() and files.sha256(path) == last["file_hash"]:
        return path, False
    if policy.lost_previous == "restate":
        return None, True
    raise ExportError(
        f"{path} is gone or altered since it was delivered, so changes against it cannot be"
        " told: put it back, or export once with lost_previous: restate (receivers then load"
        " the full file)"
    )


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
