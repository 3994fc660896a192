"""The steps of the chain, as the DAGs call them.

Each step is a function of (settings, as-of day, run id) and of what earlier steps left in files; it
may be run again after it failed or was killed. It returns counts and ids, never data. What does
not belong here: how a step does its work.
"""

import contextlib
import datetime as dt
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
from customer360.config import Config, load_config
from customer360.declarations import check_day
from customer360.exceptions import BusyError, Customer360Error, GateError
from customer360.lock import writer_lock
from customer360.notify import Finding
from customer360.run_status import DELIVER, INGEST, TAKEN_UP, ingest_id
from customer360.settings import Settings
from customer360.warehouse import connect, disk_full, is_disk_full, literal

if TYPE_CHECKING:
    from customer360.scoring.nightly import Given

log = logging.getLogger(__name__)

MARTS_FILE = "customer360.duckdb"
RESOLVED_MARK = "resolved"


def extract(settings: Settings, source: str, as_of: dt.date) -> dict[str, Any]:
    """Land what ``source`` holds as of the end of ``as_of``."""
    config = _checked_config(settings)
    check_day(settings, as_of)
    step = f"extract_{source}"
    with (
        _mendable(settings, step),
        state.record_step(state.opened(settings), ingest_id(as_of), step) as result,
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
    with state.record_step(state.opened(settings), ingest_id(as_of), f"stale_{source}") as result:
        result |= {"stale_days": age, "warnings": [warning]}
    log.warning(warning)
    return {"stale_days": age, "findings": [asdict(Finding("stale", source, warning))]}


def take_up(settings: Settings, as_of: dt.date, runs: list[str]) -> None:
    """Note for :func:`status` that a scheduler goes on with ``runs`` of a day that were cut off."""
    with state.record_step(state.opened(settings), ingest_id(as_of), TAKEN_UP) as result:
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
        for run_id, step in state.done_steps(state.opened(settings), INGEST, "extract_")
    ]


def begin(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Take the token of this run and clear away what earlier runs left unfinished."""
    _checked_config(settings)
    engine = state.opened(settings)
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
    from customer360 import gates

    config = load_config(settings)
    engine = state.opened(settings)
    try:
        with _step(settings, run_id, f"audit_{layer}") as result:
            if layer == "raw":
                result |= gates.audit_raw(settings, engine, config, as_of, run_id)
            else:
                result |= gates.audit_built(
                    settings, engine, config, as_of, run_id, layer, _work_file(settings, run_id)
                )
    except GateError:
        if layer == "raw":
            from customer360 import raw

            with writer_lock(settings, f"refusal by {run_id}"):
                raw.refuse(settings)
        state.end_run(engine, run_id, "failed")
        raise
    return result


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
                state.opened(settings),
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
    from customer360 import increments, nearness
    from customer360.transform import (
        LAST,
        PEOPLE,
        VAULT_FILE,
        WORKSPACE_FILE,
        run_dbt,
        whole_tables,
    )

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
        with connect(settings, work_file) as connection:
            result["put_in_order"] = nearness.tidy(connection, whole_tables(settings))
    return result


def train_if_needed(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Train a champion of each model where none knows only the past of ``as_of``."""
    from customer360.scoring import nightly
    from customer360.scoring.scores import SCORES

    with _scoring_step(settings, as_of, run_id, "train_if_needed") as (result, given):
        engine = state.opened(settings)
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
        engine = state.opened(settings)
        personas.write_last_groups(given.connection, *_last_snapshot(settings, engine, as_of))
        told = {score.name: nightly.score_into(settings, engine, score, given) for score in SCORES}
        nightly.write_runs(given.connection, run_id, as_of, told)
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
    engine = state.opened(settings)
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
            store = state.opened(settings)
            result |= decide(connection, store, config, rules, as_of, run_id)
            outbox.tell(store, connection, f"{SCHEMA}.deliveries")
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
        return hourly.answer(
            settings, state.opened(settings), config, load_engagement(settings), hour
        )


def publish(settings: Settings, as_of: dt.date, run_id: str) -> dict[str, Any]:
    """Publish what passed every audit, once."""
    from customer360 import increments
    from customer360 import publish as publishing
    from customer360.docs import column_lineage
    from customer360.transform import VAULT_FILE, WORKSPACE_FILE, WORKSPACES, published_tables

    config = load_config(settings)
    engine = state.opened(settings)
    with _step(settings, run_id, "publish") as result:
        work_file = _work_file(settings, run_id)
        if work_file.exists():
            with connect(settings, work_file) as connection:
                for schema in WORKSPACES:
                    connection.execute(f"drop schema if exists {schema} cascade")
                result |= _sizes(connection)
                quality_runs.tell(engine, connection, as_of)
                column_lineage.tell(settings, connection)
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
    engine = state.opened(settings)
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
    engine = state.opened(settings)
    snapshot = _published(settings, engine, run_id)
    with _step(settings, run_id, f"{DELIVER}{destination}", writes=False) as result:
        what = f"nothing is sent to {destination}"
        trust.require(settings, config, as_of, snapshot, "sending", what)
        done = sending.deliver(settings, engine, config, destination, snapshot, as_of, run_id)
        result |= done.as_dict()
    findings = [asdict(finding) for finding in done.findings()]
    return {**result, "findings": findings} if findings else result


def deliver_hour(settings: Settings, hour: dt.datetime, destination: str) -> dict[str, Any]:
    """Send what the hours before ``hour`` have answered, beside what the night decided.

    While a night is being built nothing is sent; the next hour, or the night, sends it then.

    Raises:
        GateError, DeliveryError: see :func:`deliver`.
    """
    engine = state.opened(settings)
    run = state.last_published(engine, hour.date())
    if run is None:
        return {"destination": destination, "status": "held_back", "message": "nothing published"}
    try:
        return deliver(settings, run["as_of"], run["run_id"], destination)
    except BusyError as error:
        return {"destination": destination, "status": "held_back", "message": str(error)}


def preview_delivery(
    settings: Settings, as_of: dt.date, run_id: str, destination: str, out: Path | None = None
) -> dict[str, Any]:
    """What :func:`deliver` would send now, with its first rows; all of them to ``out``."""
    from customer360.activation import sending

    config = load_config(settings)
    engine = state.opened(settings)
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
    engine = state.opened(settings)
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


@contextlib.contextmanager
def _step(
    settings: Settings, run_id: str, name: str, *, writes: bool = True
) -> Iterator[dict[str, Any]]:
    """A recorded step of a run that has not been overtaken; one writer of the warehouse."""
    lock = writer_lock(settings, f"{name} of {run_id}") if writes else contextlib.nullcontext()
    with _mendable(settings, name), lock:
        engine = state.opened(settings)
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


def _work_file(settings: Settings, run_id: str) -> Path:
    return settings.work_dir / run_id / MARTS_FILE
