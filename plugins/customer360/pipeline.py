"""The steps of the chain, as the DAGs call them.

Each step is a function of (settings, as-of day, run id) and of what earlier steps left in files; it
may be run again after it failed or was killed. It returns counts and ids, never data. What does
not belong here: how a step does its work.
"""

import contextlib
import datetime as dt
import functools
import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from customer360 import landing, quality_runs, state, trust, vault
from customer360.config import SCALES, Config, Table, load_config
from customer360.declarations import check_day
from customer360.exceptions import Customer360Error, GateError
from customer360.gate_report import Section
from customer360.lock import writer_lock
from customer360.notify import Finding
from customer360.settings import Settings
from customer360.warehouse import connect, disk_full, is_disk_full, literal, quote

if TYPE_CHECKING:
    from customer360.scoring.nightly import Given
    from expectations.relations import Total

log = logging.getLogger(__name__)

MARTS_FILE = "customer360.duckdb"
RESOLVED_MARK = "resolved"
INGEST = "ingest_"
TAKEN_UP = "taken_up"
DELIVER = "deliver_"
SHOWN_WEAK = 5


def extract(settings: Settings, source: str, as_of: dt.date) -> dict[str, Any]:
    """Land what ``source`` holds as of the end of ``as_of``."""
    config = _checked_config(settings)
    check_day(settings, as_of)
    step = f"extract_{source}"
    with (
        _mendable(settings, step),
        state.record_step(_engine(settings), _ingest_id(as_of), step) as result,
    ):
        result["tables"] = landing.totals(
            list(landing.extract_source(settings, config, source, as_of))
        )
    return result


def extract_hour(settings: Settings, source: str, hour: dt.datetime) -> dict[str, Any]:
    """Land what ``source`` has before ``hour`` (naive, the company's clock) of a day that goes on.

    It touches landing alone, so that it can run beside a nightly build; the next build loads it.
    """
    config = _checked_config(settings)
    # The hour that ends at midnight belongs to the day before.
    as_of = (hour - dt.timedelta(microseconds=1)).date()
    check_day(settings, as_of)
    until = hour.replace(tzinfo=config.sources.zone).astimezone(dt.UTC).replace(tzinfo=None)
    with _mendable(settings, f"extract_hour_{source}"):
        landed = list(landing.extract_source(settings, config, source, as_of, until))
    return {"tables": landing.totals(landed)}


def mark_stale(settings: Settings, source: str, as_of: dt.date) -> dict[str, Any]:
    """Let the build of ``as_of`` go on with what ``source`` delivered last, if policy allows it.

    Raises:
        GateError: policy stops the build, or the last delivery is too old or never came.
    """
    config = load_config(settings)
    policy = config.policies.stale
    days = [batch.day for batch in landing.batches(settings, source) if batch.day < as_of]
    # A reading that found nothing new lands no batch, yet it was a delivery.
    days += [day for name, day in _extractions(settings) if name == source and day < as_of]
    name = f"source {source} could not be read for {as_of}"
    told = Finding("stale", source, name)
    if policy.verdict(source) == "stop":
        raise GateError(
            f"{name}, and policies.yml (stale) stops the build. Mend the source and run the day "
            "again.",
            [told],
        )
    if not days:
        raise GateError(
            f"{name}, and it has never delivered. Mend it and run the day again.", [told]
        )
    age = (as_of - max(days)).days
    if age > policy.at_most_days:
        raise GateError(
            f"{name}, and its last delivery is {age} days old; policies.yml (stale.at_most_days) "
            f"accepts {policy.at_most_days}. Mend the source and run the day again.",
            [told],
        )
    warning = f"{name}: built with what it delivered {age} days ago"
    with state.record_step(_engine(settings), _ingest_id(as_of), f"stale_{source}") as result:
        result |= {"stale_days": age, "warnings": [warning]}
    log.warning(warning)
    return {"stale_days": age, "findings": [asdict(Finding("stale", source, warning))]}


def take_up(settings: Settings, as_of: dt.date, runs: list[str]) -> None:
    """Note for :func:`status` that a scheduler goes on with ``runs`` of a day that were cut off."""
    with state.record_step(_engine(settings), _ingest_id(as_of), TAKEN_UP) as result:
        result["runs"] = runs


def last_extracted(settings: Settings) -> dict[str, dt.date]:
    """source -> the newest day as of which it was read to its end, whether or not it had news."""
    newest: dict[str, dt.date] = {}
    for source, day in _extractions(settings):
        newest[source] = max(day, newest.get(source, day))
    return newest


def _extractions(settings: Settings) -> list[tuple[str, dt.date]]:
    """(source, day) of every reading that came to its end."""
    return [
        (step.removeprefix("extract_"), dt.date.fromisoformat(run_id.removeprefix(INGEST)))
        for run_id, step in state.done_steps(_engine(settings), INGEST, "extract_")
    ]


def begin(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Take the token of this run and clear away what earlier runs left unfinished."""
    _checked_config(settings)
    engine = _engine(settings)
    with writer_lock(settings, run_id):
        token = state.begin_run(engine, run_id, as_of)
        if settings.work_dir.is_dir():
            for folder in settings.work_dir.iterdir():
                if folder.name != run_id:
                    shutil.rmtree(folder)
        _clear_spill(settings)
    return {"run_id": run_id, "token": token}


def _checked_config(settings: Settings) -> Config:
    from customer360.activation.destinations import load_destinations
    from customer360.engagement.config import load_engagement
    from customer360.identity.config import load_identity_config
    from customer360.transform import check_rules, check_touching

    config = load_config(settings)
    check_rules(config)
    load_identity_config(settings)
    check_touching(load_engagement(settings), config)
    load_destinations(settings)
    return config


def check_configuration(settings: Settings) -> None:
    """See that every file of ``config/`` can be worked with, before anything starts.

    Raises:
        ConfigError: names file, place and mend.
    """
    _checked_config(settings)


def _clear_spill(settings: Settings) -> None:
    """Remove what killed processes spilled; younger files may be an ingest's that is running."""
    yesterday = dt.datetime.now(dt.UTC).timestamp() - 86_400
    for file in (settings.data_dir / "tmp").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_mtime < yesterday:
                file.unlink()


def load_raw(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Load landed batches into raw."""
    from customer360 import raw

    config = load_config(settings)
    with _step(settings, run_id, "load_raw") as result:
        warning = raw.set_damaged_aside(settings)
        if warning:
            log.warning(warning)
            result["warnings"] = [warning]
        result["sources"] = raw.load(settings, config, as_of, run_id)
    return result


def audit(settings: Settings, as_of: dt.date, run_id: str, layer: str) -> dict[str, Any]:
    """Run the gate of ``layer``: raw, marts or scores.

    Raises:
        GateError: a critical check failed; what this run loaded or built is not kept.
    """
    config = load_config(settings)
    engine = _engine(settings)
    try:
        with _step(settings, run_id, f"audit_{layer}") as result:
            if layer == "raw":
                result |= _audit_raw(settings, engine, config, as_of, run_id)
            else:
                result |= _audit_marts(settings, engine, config, as_of, run_id, layer)
    except GateError:
        if layer == "raw":
            from customer360 import raw

            with writer_lock(settings, f"refusal by {run_id}"):
                raw.refuse(settings)
        state.end_run(engine, run_id, "failed")
        raise
    return result


def _audit_raw(
    settings: Settings, engine: Engine, config: Config, as_of: dt.date, run_id: str
) -> dict[str, Any]:
    from customer360 import raw
    from customer360.contracts import rules
    from customer360.quality import run_gate
    from expectations import raw as expected

    cutoff = config.sources.day_end(as_of)
    gates = config.policies.gates
    before = _published_rows(engine, as_of)
    counts: dict[str, int] = {}
    tables = []
    with connect(settings, settings.raw_path) as connection:
        connection.execute("create schema if not exists audit")
        for source_name, source in config.sources.sources.items():
            for name, table in source.tables.items():
                key = ", ".join(quote(column) for column in table.key)
                view = f"audit.{quote(f'{source_name}__{name}')}"
                connection.execute(
                    f"create or replace view {view} as "
                    f"select {key} from {quote(source_name)}.{quote(name)} "
                    f"where _version_at < timestamp {literal(str(cutoff))} "
                    f"qualify row_number() over (partition by {key} "
                    "order by _version_at desc, _as_of desc, _row_hash desc) = 1 "
                    "and not _is_deleted"
                )
                full_name = f"{source_name}.{name}"
                counts[full_name] = connection.execute(f"select count(*) from {view}").fetchall()[
                    0
                ][0]
                floor = int(before.get(full_name, 0) * gates.min_volume_ratio)
                newest_after = {
                    severity: str(cutoff - dt.timedelta(days=days))
                    for severity, days in (
                        ("warn", table.freshness.warn_after_days),
                        ("stop", table.freshness.stop_after_days),
                    )
                    if days is not None and table.cursor
                }
                tables.append(
                    expected.RawTable(
                        source=source_name,
                        name=name,
                        key=_speakable_key(table),
                        rules=tuple(
                            (f"Contract: {rule.column}: {rule.name}", rule.ok)
                            for rule in rules(table)
                            if rule.name != "type" and "_uncast" not in rule.ok
                        ),
                        min_rows=max(floor, 0 if table.may_be_empty else 1),
                        max_quarantined_share=gates.max_quarantined_share,
                        newest_after=newest_after,
                    )
                )
    with connect(settings, settings.raw_path, read_only=True) as connection:
        measured = trust.measures(connection, config, as_of)
    checks = run_gate(
        settings,
        "raw",
        expected.suites(tables, run_id),
        settings.raw_path,
        run_id,
        section=_quality_section(config, measured),
        record=functools.partial(quality_runs.record, engine, run_id, as_of, "raw"),
    )
    raw.approve(settings)
    return {**checks, "rows": counts, "weak_fields": _weak_fields(measured)}


def _weak_fields(measured: list[trust.Measure]) -> list[dict[str, Any]]:
    """Each scale of each field that is below its limit, the worst field first."""
    return [
        {
            "field": measure.field,
            "day": measure.day.isoformat(),
            "scale": scale,
            "share": share,
            "limit": limit,
        }
        for measure in sorted(measured, key=lambda measure: measure.badness, reverse=True)
        for scale, share, limit in measure.weaknesses
    ]


def _quality_section(config: Config, measured: list[trust.Measure]) -> Section:
    """The four scales a source, for the raw gate's page."""
    rows = []
    for source in config.sources.sources:
        fields = [measure for measure in measured if measure.source == source]
        means = []
        for scale in SCALES:
            shares = [share for each in fields if (share := each.shares[scale]) is not None]
            means.append(trust.percent(sum(shares) / len(shares)) if shares else "-")
        weak = [each for each in fields if each.weaknesses]
        lowest = trust.worst(weak)
        rows.append(
            (source, *means, f"{len(weak)} of {len(fields)}", lowest.field if lowest else "")
        )
    return Section(
        "Collection quality",
        "Mean over the fields of what each table delivered last; weak is below a limit of trust in "
        "policies.yml.",
        ("Source", *(scale.capitalize() for scale in SCALES), "Weak fields", "Worst of them"),
        tuple(rows),
    )


def _speakable_key(table: Table) -> tuple[str, ...]:
    """Columns that may stand in a report to name a row: its key, if that is no personal data."""
    if any(table.columns[column].personal != "none" for column in table.key):
        return ("_batch", "_row_hash")
    return table.key


def _published_rows(engine: Engine, as_of: dt.date) -> dict[str, int]:
    """Rows of each raw table at the last published run of an earlier or the same day."""
    run = state.last_published(engine, as_of)
    if run is None:
        return {}
    for step in reversed(state.run_steps(engine, run["run_id"])):
        if step["step"] == "audit_raw" and step["status"] == "done":
            return dict(step["result"].get("rows", {}))
    return {}


def _audit_marts(
    settings: Settings, engine: Engine, config: Config, as_of: dt.date, run_id: str, layer: str
) -> dict[str, Any]:
    from customer360.quality import run_gate
    from customer360.transform import WORKSPACE_FILE, dbt_vars
    from expectations import marts, scores

    if layer == "marts":
        feeds = {
            entity: [feed["model"] for feed in found]
            for entity, found in dbt_vars(config, as_of)["feeds"].items()
        }
        suites = marts.suites(feeds, as_of.isoformat(), _totals(config, as_of))
    elif layer == "scores":
        suites = scores.suites(list(config.audiences.segments))
    else:
        raise ValueError(f"no layer '{layer}'")
    work_file = _work_file(settings, run_id)
    return run_gate(
        settings,
        layer,
        suites,
        work_file,
        run_id,
        {"raw": settings.raw_path, "workspace": work_file.with_name(WORKSPACE_FILE)},
        record=functools.partial(quality_runs.record, engine, run_id, as_of, layer),
    )


def _totals(config: Config, as_of: dt.date) -> list["Total"]:
    """The sums that sources.yml declares, over the tables' state at the end of ``as_of``."""
    from expectations.relations import Total

    cutoff = literal(str(config.sources.day_end(as_of)))
    found = []
    for source_name, source in config.sources.sources.items():
        for name, table in source.tables.items():
            if table.total is None:
                continue
            mart, _, column = table.total.of.partition(".")
            key = ", ".join(quote(column_name) for column_name in table.key)
            state_of = (
                f"select * from raw.{quote(source_name)}.{quote(name)} "
                f"where _version_at < timestamp {cutoff} qualify row_number() over "
                f"(partition by {key} order by _version_at desc, _as_of desc, _row_hash desc) = 1 "
                "and not _is_deleted"
            )
            value, where = table.total.value, table.total.where
            found.append(Total(source_name, name, state_of, value, where, mart, column))
    return found


def resolve_identities(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Say which records are which customer, in schema ``identity`` of this run's workspace."""
    from customer360 import increments
    from customer360.identity.engine import resolve_company
    from customer360.transform import PEOPLE, WORKSPACE_FILE, run_dbt

    config = load_config(settings)
    with _step(settings, run_id, "resolve_identities") as result:
        work_file = _work_file(settings, run_id)
        shutil.rmtree(work_file.parent, ignore_errors=True)
        work_file.parent.mkdir(mode=0o700, parents=True)
        selection = ["--select", *PEOPLE, "--exclude-resource-type", "unit_test"]
        workspace = work_file.with_name(WORKSPACE_FILE)
        why_full = increments.begin(settings, config, as_of, workspace)
        result["why_full"] = why_full
        log.info("build: %s", f"full, since {why_full}" if why_full else "increment")
        run_dbt(settings, config, as_of, work_file, ["build", *selection], increment=not why_full)
        with connect(settings, workspace) as connection:
            vault.install(connection, settings)
            result |= resolve_company(
                connection,
                settings,
                _engine(settings),
                run_id=run_id,
                as_of=as_of,
                records="unify.union_person_records",
                identifiers="unify.union_identifiers",
                say=log.info,
            )
        # Said last, so that marts are only built on identities that are whole.
        work_file.with_name(RESOLVED_MARK).touch()
    return result


def build_marts(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Build every model that needs no score, on what :func:`resolve_identities` left."""
    from customer360 import increments
    from customer360.transform import LAST, PEOPLE, VAULT_FILE, WORKSPACE_FILE, run_dbt

    config = load_config(settings)
    with _step(settings, run_id, "build_marts") as result:
        work_file = _work_file(settings, run_id)
        workspace = work_file.with_name(WORKSPACE_FILE)
        # Publishing takes the workspace away: it is the next run's.
        if not (work_file.with_name(RESOLVED_MARK).exists() and workspace.exists()):
            raise Customer360Error(
                f"run {run_id} has no resolved identities: run its step resolve_identities first"
            )
        # Both begin as if this step had never run: whatever they hold at the end it has written.
        for name in (MARTS_FILE, VAULT_FILE):
            for file in (work_file.with_name(name), work_file.with_name(f"{name}.wal")):
                file.unlink(missing_ok=True)
        base = increments.base(settings, workspace)
        if base:
            increments.take_up(settings, base, work_file)
        with connect(settings, work_file) as connection:
            connection.execute("create schema if not exists scores")
            connection.execute("create schema if not exists changes")
        later = ["path:models/activation", "path:models/engagement", *LAST]
        selection = ["--exclude", *later, *PEOPLE]
        selection += ["--exclude-resource-type", "unit_test"]
        result |= run_dbt(
            settings, config, as_of, work_file, ["build", *selection], increment=bool(base)
        )
    return result


def train_if_needed(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Train a champion of each model where none knows only the past of ``as_of``."""
    from customer360.scoring import nightly
    from customer360.scoring.scores import SCORES

    with _scoring_step(settings, as_of, run_id, "train_if_needed") as (result, given):
        engine = _engine(settings)
        told = {
            score.name: nightly.train_if_needed(settings, engine, score, given) for score in SCORES
        }
        result |= {"models": told, "trained": sum(one["trained"] for one in told.values())}
    return result


def score(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Score every customer with the champions and put the scores beside the marts."""
    from customer360.scoring import nightly, personas
    from customer360.scoring.output import write_card_into
    from customer360.scoring.scores import SCORES

    with _scoring_step(settings, as_of, run_id, "score") as (result, given):
        engine = _engine(settings)
        told = {score.name: nightly.score_into(settings, engine, score, given) for score in SCORES}
        nightly.write_runs(given.connection, run_id, as_of, told)
        last = _last_snapshot(settings, engine, as_of)
        personas.write_last_segments(given.connection, *last)
        card = nightly.runs_card(run_id, as_of, told)
        write_card_into(card, settings.reports_dir / run_id / "models")
        result |= {
            **told["churn"],
            "alarms": [alarm for one in told.values() for alarm in one["alarms"]],
            "models": told,
            "findings": nightly.findings(told),
        }
    return result


def _last_snapshot(
    settings: Settings, engine: Engine, as_of: dt.date
) -> tuple[Path | None, dt.date | None]:
    """The newest published file of an earlier day that is still kept, and its day."""
    run = state.last_published(engine, as_of - dt.timedelta(days=1))
    if run is None or not run["snapshot"]:
        return None, None
    path = settings.snapshots_dir / str(run["snapshot"])
    return (path, run["as_of"]) if path.exists() else (None, None)


@contextlib.contextmanager
def _scoring_step(
    settings: Settings, as_of: dt.date, run_id: str, name: str
) -> Iterator[tuple[dict[str, Any], "Given"]]:
    """A step on the work file that waits for fields that can be trusted."""
    from customer360.scoring import nightly

    config = load_config(settings)
    engine = _engine(settings)
    try:
        with _step(settings, run_id, name) as result:
            work_file = _work_file(settings, run_id)
            trust.require(settings, config, as_of, work_file, "scoring", "nothing is scored")
            with nightly.opened(settings, work_file) as connection:
                features = "main.customer_features"
                yield result, _given(config, connection, as_of, features)
    except GateError:
        state.end_run(engine, run_id, "failed")
        raise


def _given(
    config: Config,
    connection: duckdb.DuckDBPyConnection,
    as_of: dt.date,
    features: str | None = None,
) -> "Given":
    from customer360.scoring.nightly import Given

    horizon_days = config.audiences.churn.horizon_days
    return Given(
        connection,
        as_of,
        horizon_days,
        zone=config.sources.time_zone,
        features=features,
        unify="workspace.unify",
    )


def build_scored_marts(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Build the models that hold scores."""
    from customer360 import increments
    from customer360.transform import WORKSPACE_FILE, run_dbt

    config = load_config(settings)
    with _step(settings, run_id, "build_scored_marts") as result:
        selection = ["--select", "path:models/activation", "--exclude-resource-type", "unit_test"]
        work_file = _work_file(settings, run_id)
        base = increments.base(settings, work_file.with_name(WORKSPACE_FILE))
        result |= run_dbt(
            settings, config, as_of, work_file, ["build", *selection], increment=bool(base)
        )
    return result


def engage(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Decide what to do for whom on the next day, and remember it before anything is sent."""
    from customer360.activation import outbox
    from customer360.engagement.config import load_engagement
    from customer360.engagement.step import SCHEMA
    from customer360.engagement.step import engage as decide
    from customer360.transform import LAST, WORKSPACE_FILE, run_dbt

    config = load_config(settings)
    rules = load_engagement(settings)
    with _step(settings, run_id, "engage") as result:
        work_file = _work_file(settings, run_id)
        # Birthdays and texts stand in the workspace alone; its views read the raw file.
        attached = {"raw": settings.raw_path, "workspace": work_file.with_name(WORKSPACE_FILE)}
        with connect(settings, work_file) as connection:
            vault.install(connection, settings)
            for name, path in attached.items():
                connection.execute(f"attach {literal(path)} as {name} (read_only)")
            result |= decide(connection, _engine(settings), config, rules, as_of, run_id)
            outbox.tell(_engine(settings), connection, f"{SCHEMA}.deliveries")
        selection = ["--select", "path:models/engagement", *LAST]
        selection += ["--exclude-resource-type", "unit_test"]
        result |= run_dbt(settings, config, as_of, work_file, ["build", *selection])
    return result


def answer_hour(settings: Settings, hour: dt.datetime) -> dict[str, Any]:
    """Answer the carts that were left before ``hour`` (naive, the company's clock).

    It reads landing and the snapshot, so that it can run beside a nightly build.
    """
    from customer360.engagement import hourly
    from customer360.engagement.config import load_engagement

    config = _checked_config(settings)
    with _mendable(settings, "answer_hour"):
        return hourly.answer(settings, _engine(settings), config, load_engagement(settings), hour)


def publish(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Publish what passed every audit, once."""
    from customer360 import increments
    from customer360 import publish as publishing
    from customer360.transform import VAULT_FILE, WORKSPACE_FILE, WORKSPACES, published_tables

    config = load_config(settings)
    engine = _engine(settings)
    with _step(settings, run_id, "publish") as result:
        work_file = _work_file(settings, run_id)
        if work_file.exists():
            with connect(settings, work_file) as connection:
                for schema in WORKSPACES:
                    connection.execute(f"drop schema if exists {schema} cascade")
                result |= _sizes(connection)
                quality_runs.tell(engine, connection, as_of)
        policy = config.policies.snapshots
        path = publishing.publish(
            settings,
            engine,
            work_file,
            run_id,
            as_of,
            {
                "model_versions": _model_versions(engine, run_id),
                "tables": published_tables(settings),
            },
            vault=work_file.with_name(VAULT_FILE),
            retention=publishing.Retention(**policy.model_dump()),
        )
        is_current = publishing.snapshot_path(settings) == path
        if is_current:
            increments.keep(settings, work_file.with_name(WORKSPACE_FILE), path)
        result |= {"snapshot": path.name, "current": is_current}
    return result


def _sizes(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    segments = connection.execute(
        "select segment, count(*) from main.segment_members group by segment order by segment"
    ).fetchall()
    counts = [
        connection.execute(f"select count(*) from main.{table}").fetchall()[0][0]
        for table in ("customers", "churn_alerts")
    ]
    return {"customers": counts[0], "alerts": counts[1], "segments": dict(segments)}


def _model_versions(engine: Engine, run_id: str) -> dict[str, str]:
    for step in reversed(state.run_steps(engine, run_id)):
        if step["step"] == "score" and step["status"] == "done":
            told = step["result"].get("models") or {"churn": step["result"]}
            return {name: one["model_version"] for name, one in told.items()}
    return {}


def activate(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Write segments and alerts out of the snapshot that ``run_id`` published."""
    from customer360.activation import exports

    config = load_config(settings)
    policy = config.policies.exports
    engine = _engine(settings)
    snapshot = _published(settings, engine, run_id)
    with _step(settings, run_id, "activate", writes=False) as result:
        refusal = None
        told: list[dict[str, Any]] = []
        try:
            trust.require(settings, config, as_of, snapshot, "sending", "alerts are held back")
        except GateError as error:
            refusal = str(error)
            log.warning(refusal)
            told = [asdict(finding) for finding in error.findings]
        for done in exports.export_all(
            settings,
            engine,
            snapshot,
            as_of,
            run_id,
            policy,
            config=config,
            sending_refused=refusal,
        ):
            result[done.name] = {
                "status": done.status,
                "message": done.message,
                "rows": done.rows,
                "added": done.added,
                "changed": done.changed,
                "removed": done.removed,
                "path": str(done.path) if done.path else None,
            }
    state.end_run(engine, run_id, "published")
    return {**result, "findings": told} if told else result


def deliver(settings: Settings, as_of: dt.date, run_id: str, destination: str) -> dict[str, Any]:
    """Send one destination what it does not hold yet of the snapshot that ``run_id`` published.

    Raises:
        GateError: sending waits for a person: a weak field, the switch, or a guard.
        DeliveryError: the receiver is not what was declared, or does not answer.
    """
    from customer360.activation import sending

    config = load_config(settings)
    engine = _engine(settings)
    snapshot = _published(settings, engine, run_id)
    with _step(settings, run_id, f"{DELIVER}{destination}", writes=False) as result:
        what = f"nothing is sent to {destination}"
        trust.require(settings, config, as_of, snapshot, "sending", what)
        done = sending.deliver(settings, engine, config, destination, snapshot, as_of, run_id)
        result |= done.as_dict()
    findings = [asdict(finding) for finding in done.findings()]
    return {**result, "findings": findings} if findings else result


def preview_delivery(
    settings: Settings, as_of: dt.date, run_id: str, destination: str, out: Path | None = None
) -> dict[str, Any]:
    """What :func:`deliver` would send now, with its first rows; all of them to ``out``."""
    from customer360.activation import sending

    config = load_config(settings)
    engine = _engine(settings)
    snapshot = _published(settings, engine, run_id)
    plan, sample = sending.dry_run(
        settings, engine, config, destination, snapshot, as_of, run_id, out
    )
    return {
        "destination": destination,
        "status": "stopped by its guard" if plan.stopped else "dry run",
        "rows": plan.wanted,
        "holds": plan.holds,
        **plan.counts,
        "held": plan.held,
        "waiting": plan.waiting,
        "stopped": list(plan.stopped),
        "sample": sample,
    }


def _published(settings: Settings, engine: Engine, run_id: str) -> Path:
    """The snapshot that a run has published."""
    run = state.get_run(engine, run_id)
    if run is None or not run["snapshot"]:
        raise Customer360Error(f"run {run_id} has published nothing that could be sent")
    return settings.snapshots_dir / str(run["snapshot"])


def train(
    settings: Settings, as_of: dt.date, run_id: str, model: str, *, only_if_due: bool = True
) -> dict[str, Any]:
    """Train a challenger of one model on what ``run_id`` published; it must earn its place.

    Args:
        model: see ``customer360.scoring.scores``.
        only_if_due: train only where a week has passed since the last training, or the champion
            has drifted.

    Returns:
        ``due``: why, or None where nothing was done; and what the training ended in.
    """
    from customer360.scoring import nightly
    from customer360.scoring.scores import score_named

    config = load_config(settings)
    engine = _engine(settings)
    wanted = score_named(model)
    snapshot = _published(settings, engine, run_id)
    trust.require(settings, config, as_of, snapshot, "scoring", "no challenger is trained")
    with connect(settings, snapshot, read_only=True) as connection:
        given = _given(config, connection, as_of)
        due = nightly.why_due(settings, engine, wanted, given)
        if only_if_due and due is None:
            return {"model": model, "due": None}
        if not wanted.reads_texts:
            told = nightly.train_challenger(settings, engine, wanted, given)
            return {"model": model, "due": due, **told}
    with (
        _texts_of(settings, config, as_of, run_id) as file,
        nightly.opened(settings, file, read_only=True) as connection,
    ):
        given = _given(config, connection, as_of)
        told = nightly.train_challenger(settings, engine, wanted, given)
    return {"model": model, "due": due, **told}


@contextlib.contextmanager
def _texts_of(settings: Settings, config: Config, as_of: dt.date, run_id: str) -> Iterator[Path]:
    """A file with the view of people's texts as of a day and nothing else; it goes afterwards."""
    from customer360.transform import run_dbt

    folder = settings.work_dir / f"{run_id}-texts"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / MARTS_FILE
    try:
        with writer_lock(settings, f"texts of {run_id}"):
            run_dbt(settings, config, as_of, file, ["run", "--select", "+union_texts"])
            yield file
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def status(settings: Settings) -> dict[str, Any]:
    """The last run, in the shape that tools rely on (README, "What a run tells").

    Raises:
        Customer360Error: nothing has run yet.
    """
    load_config(settings)
    engine = _engine(settings)
    run = state.last_run(engine)
    if run is None:
        raise Customer360Error(f"company {settings.company} has no run yet: make run")
    ingest = state.run_steps(engine, _ingest_id(run["as_of"]))
    # The last attempt of each step is the one that counts.
    done = {step["step"]: step for step in [*ingest, *state.run_steps(engine, run["run_id"])]}
    stale = _settle_stale(done)
    taken_up = done.pop(TAKEN_UP, None)
    if taken_up and all(step["started_at"] > taken_up["started_at"] for step in done.values()):
        taken_up = None  # everything was done anew since
    results = {name: step["result"] or {} for name, step in done.items()}
    audits = [result for name, result in results.items() if name.startswith("audit_")]
    published = results.get("publish", {})
    failed = [name for name, step in done.items() if step["status"] == "failed"]
    exported = results.get("activate", {})
    return {
        "company": settings.company,
        "run_id": run["run_id"],
        "as_of": run["as_of"].isoformat(),
        "status": run["status"],
        "failed_step": failed[0] if failed else None,
        "unbuilt": _unbuilt(engine, run["as_of"]),
        "taken_up": {"at": taken_up["started_at"].isoformat(), **taken_up["result"]}
        if taken_up
        else None,
        "sources": {
            name: {**counts, "stale_days": stale.get(name, 0)}
            for name, counts in results.get("load_raw", {}).get("sources", {}).items()
        },
        "customers": published.get("customers"),
        "checks": {
            kind: sum(audit.get(kind, 0) for audit in audits)
            for kind in ("passed", "warned", "failed")
        },
        "weak_fields": results.get("audit_raw", {}).get("weak_fields", []),
        "warnings": [text for step in results.values() for text in step.get("warnings", [])],
        "model_alarms": results.get("score", {}).get("alarms", []),
        "segments": [
            {"name": name, "size": size} for name, size in published.get("segments", {}).items()
        ],
        "alerts": published.get("alerts"),
        "snapshot": str(settings.snapshots_dir / run["snapshot"]) if run["snapshot"] else None,
        "exports": exported,
        "deliveries": {
            name.removeprefix(DELIVER): result
            for name, result in results.items()
            if name.startswith(DELIVER)
        },
        "model": results.get("score", {}).get("model_version"),
        "models": {
            name: one["model_version"]
            for name, one in results.get("score", {}).get("models", {}).items()
        },
        "reports": str(settings.reports_dir / run["run_id"]),
        "seconds": {
            name: round(step["seconds"], 2)
            for name, step in done.items()
            if step["seconds"] is not None
        },
    }


def _unbuilt(engine: Engine, as_of: dt.date) -> dict[str, Any] | None:
    """The newest day after ``as_of`` whose sources were asked and that was not built."""
    day = state.last_day_of(engine, INGEST)
    if day is None or day <= as_of:
        return None
    last = {step["step"]: step["status"] for step in state.run_steps(engine, _ingest_id(day))}
    failed = [name.removeprefix("extract_") for name, ended in last.items() if ended == "failed"]
    return {"as_of": day.isoformat(), "failed_sources": sorted(failed)}


def _settle_stale(done: dict[str, Any]) -> dict[str, int]:
    """Take out of a day's steps what was made good: by a later reading, or by policy.

    Returns:
        source -> days since its last delivery, of sources that the day was built without.
    """
    stale = {}
    for name in [name for name in done if name.startswith("stale_")]:
        source = name.removeprefix("stale_")
        extract = done.get(f"extract_{source}")
        if done[name]["status"] != "done":
            continue
        if extract is not None and extract["started_at"] > done[name]["started_at"]:
            del done[name]
            continue
        done.pop(f"extract_{source}", None)
        stale[source] = int(done[name]["result"]["stale_days"])
    return stale


def _unbuilt_in_words(unbuilt: dict[str, Any]) -> str:
    failed = ", ".join(unbuilt["failed_sources"])
    why = f"could not read {failed}" if failed else "its sources were read, no build has begun"
    return f"{unbuilt['as_of']} is not built: {why}"


def format_summary(status: dict[str, Any]) -> str:
    """``status`` for a person."""
    lines = [
        f"{status['company']} as of {status['as_of']}: {status['status']}"
        + (f" in step {status['failed_step']}" if status["failed_step"] else ""),
        *([f"its gates: {status['reports']}"] if status["failed_step"] else []),
        *([_unbuilt_in_words(status["unbuilt"])] if status["unbuilt"] else []),
        *([_taken_up_line(status["taken_up"])] if status["taken_up"] else []),
        "",
        f"{'source':<20}{'read':>12}{'loaded':>12}{'duplicates':>12}{'quarantined':>12}",
    ]
    for name, counts in status["sources"].items():
        cells = (counts[key] for key in ("read", "loaded", "duplicates", "quarantined"))
        stale = f"   stale: {counts['stale_days']} days" if counts["stale_days"] else ""
        lines.append(f"{name:<20}" + "".join(f"{cell:>12,}" for cell in cells) + stale)
    checks = status["checks"]
    lines += [
        "",
        f"customers  {status['customers'] or 0:,}",
        f"checks     {checks['passed']} passed, {checks['warned']} warned, "
        f"{checks['failed']} failed",
        *[f"           warning: {text}" for text in status["warnings"]],
        *_weak_lines(status["weak_fields"]),
        f"alerts     {status['alerts'] or 0:,} churn alerts",
        "",
        *[f"segment    {part['name']:<24}{part['size']:>8,}" for part in status["segments"]],
        "",
        f"snapshot   {status['snapshot']}",
        *[f"model      {name:<12}{version}" for name, version in status["models"].items()],
        *[f"           alarm: {text}" for text in status["model_alarms"]],
        f"reports    {status['reports']}",
    ]
    for name, done in status["exports"].items():
        changes = f"+{done['added']:,} ~{done['changed']:,} -{done['removed']:,}"
        lines.append(
            f"export     {name:<20}{done['rows']:>8,} rows, {changes}  {done['path'] or ''}"
            if done["path"]
            else f"export     {name:<20}held back: {done['message']}"
        )
    lines += [_delivery_line(name, done) for name, done in status["deliveries"].items()]
    seconds = status["seconds"]
    lines += ["", "seconds    " + ", ".join(f"{name} {spent:g}" for name, spent in seconds.items())]
    lines.append(f"           {sum(seconds.values()):.1f} in all steps")
    return "\n".join(lines)


def _delivery_line(name: str, done: dict[str, Any]) -> str:
    if "rows" not in done:
        return f"delivery   {name:<20}{done.get('error', 'not finished')}"
    changes = f"+{done['added']:,} ~{done['changed']:,} -{done['removed']:,}"
    waits = [f"{done[word]:,} {word}" for word in ("failed", "dead", "unknown") if done[word]]
    held = sum(done["held"].values())
    waits += [f"{held:,} held"] if held else []
    tail = f"  ({', '.join(waits)})" if waits else ""
    return f"delivery   {name:<20}{done['rows']:>8,} rows, {changes}  {done['status']}{tail}"


def _weak_lines(weak: list[dict[str, Any]]) -> list[str]:
    """Weak fields, the worst first; ``--json`` has them all."""
    lines = [
        f"weak       {each['field']}: {each['scale']} {trust.percent(each['share'])} on "
        f"{each['day']}, limit {trust.percent(each['limit'])}"
        for each in weak[:SHOWN_WEAK]
    ]
    if len(weak) > SHOWN_WEAK:
        lines.append(f"           and {len(weak) - SHOWN_WEAK} more")
    return lines


def _taken_up_line(taken_up: dict[str, Any]) -> str:
    moment = dt.datetime.fromisoformat(taken_up["at"])
    runs = ", ".join(taken_up["runs"])
    return f"cut off, and taken up again on {moment:%Y-%m-%d %H:%M} UTC: {runs}"


def _ingest_id(as_of: dt.date) -> str:
    """Extraction is no part of a build's run; its steps are kept by day."""
    return f"{INGEST}{as_of.isoformat()}"


@contextlib.contextmanager
def _step(
    settings: Settings, run_id: str, name: str, *, writes: bool = True
) -> Iterator[dict[str, Any]]:
    """A recorded step of a run that has not been overtaken; one writer of the warehouse."""
    lock = writer_lock(settings, f"{name} of {run_id}") if writes else contextlib.nullcontext()
    with _mendable(settings, name), lock:
        engine = _engine(settings)
        state.check_token(engine, run_id)
        with state.record_step(engine, run_id, name) as result:
            yield result


@contextlib.contextmanager
def _mendable(settings: Settings, name: str) -> Iterator[None]:
    """A full disk in words; the record of the step may be what did not fit."""
    try:
        yield
    except (OSError, duckdb.Error, SQLAlchemyError) as error:
        if not is_disk_full(error):
            raise
        raise disk_full(settings, name, error) from None


def _engine(settings: Settings) -> Engine:
    engine = state.engine(settings)
    state.ensure(engine)
    return engine


def _work_file(settings: Settings, run_id: str) -> Path:
    return settings.work_dir / run_id / MARTS_FILE
