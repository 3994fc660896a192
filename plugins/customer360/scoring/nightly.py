"""What every score of the nightly chain has in common: the registry, the fallback, the alarms.

What belongs here: keeping a trained model (or refusing it), finding the champion, putting scores
into the work file, ``model_runs``. What does not: what a single model learns from and says; each
is a ``NightlyScore`` in a module of its own.
"""

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import sklearn
from numpy.typing import NDArray
from sqlalchemy import Engine

from customer360.exceptions import ModelError
from customer360.macros import macro_file
from customer360.notify import Finding
from customer360.registry import (
    ModelVersion,
    Registry,
    code_version,
    decide,
    plain,
    version_name,
)
from customer360.scoring.features import MACRO_FILE
from customer360.scoring.output import CARD_FILE, models_may_refuse, write_card_into
from customer360.settings import PROJECT, Settings
from customer360.transform import WORKSPACE_FILE
from customer360.warehouse import connect, literal, quote, transaction
from models.common.card import CardTable, ModelCard, bars_picture
from models.common.errors import ModelDataError

log = logging.getLogger(__name__)

RETRAIN_DAYS = 7
DRIFT_ALARM = 0.25
UNTRAINED = "untrained"


@dataclass(frozen=True)
class Given:
    """What a model may look at: one file as of one day.

    Attributes:
        connection: open on the work file, on a published snapshot or on any table of orders.
        horizon_days: how far ahead is looked.
        zone: the company's time zone.
        features: a relation that holds the features as of the day already; computed without it.
        champion: what the model that scores now holds, for models that build on it.
        unify: the schema that holds ``union_texts`` and ``identify_customers``.
    """

    connection: duckdb.DuckDBPyConnection
    as_of: date
    horizon_days: int
    zone: str = "UTC"
    orders: str = "orders"
    seed: int = 42
    threads: int = 1
    features: str | None = None
    champion: dict[str, Any] | None = None
    unify: str = "unify"

    def has(self, relation: str) -> bool:
        """Whether there is a relation of this name, and it can be read."""
        try:
            self.connection.execute(f"describe {relation}")
        except (duckdb.CatalogException, duckdb.BinderException):
            return False
        return True


@dataclass(frozen=True)
class Challenger:
    """A trained model with its figures, before anyone has decided about it.

    Attributes:
        artefact: plain values and estimators, as the registry keeps them; ``learned_until`` is
            the last day that it has seen.
        losses: of each row of a window that lies after all that it learned from.
        losses_of: the same rows by the artefact of a champion; None where it cannot be compared.
        window: those rows, in words.
        parameters: what else shaped it; a part of its name.
        facts: shown on the card, and told.
        card: the card, with more facts.
    """

    artefact: dict[str, Any]
    data_hash: str
    metrics: dict[str, Any]
    thresholds: dict[str, float]
    losses: NDArray[np.float64]
    losses_of: Callable[[dict[str, Any]], NDArray[np.float64] | None]
    window: str
    parameters: dict[str, Any]
    card: Callable[[dict[str, object]], ModelCard]
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """What scoring made.

    Attributes:
        tables: name in schema ``scores`` -> its rows.
        version: of the model that scored.
        drift: input or score -> population stability index since the training.
        alarms: in words, for a person.
    """

    tables: dict[str, pa.Table]
    version: str
    summary: dict[str, Any] = field(default_factory=dict)
    drift: dict[str, float] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()


class NightlyScore(ABC):
    """One model of the chain.

    Attributes:
        name: what it is called in commands, tasks and ``model_runs``.
        folders: below ``models/``, whose code is a part of a version.
        looks_ahead: it answers for one horizon, and is another model for another.
        reads_texts: it learns from people's own words, which no snapshot holds.
    """

    name: ClassVar[str]
    folders: ClassVar[tuple[str, ...]]
    looks_ahead: ClassVar[bool] = False
    reads_texts: ClassVar[bool] = False

    def kind(self, horizon_days: int) -> str:
        """The registry's name of its models."""
        return f"{self.name}-{horizon_days}d" if self.looks_ahead else self.name

    def is_wanted(self, given: Given) -> bool:  # noqa: ARG002, most always are
        """Whether this company has anything to learn from at all."""
        return True

    @abstractmethod
    def fit(self, given: Given) -> Challenger:
        """Train on the past of ``given.as_of``.

        Raises:
            ModelError: too little to learn from; the text says what is missing.
        """

    @abstractmethod
    def score(self, given: Given, artefact: dict[str, Any] | None, version: str) -> Scored:
        """Score everyone with a champion, or by a stated fallback where there is none."""

    def watch(self, given: Given, row: ModelVersion, artefact: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002, not all can look back
        """What the champion would have said a horizon ago against what came: figures, alarms."""
        return {"alarms": []}

    def code(self) -> str:
        """The version of the code that shapes its models."""
        folders = (*self.folders, "common")
        files = [path for name in folders for path in (PROJECT / "models" / name).glob("*.py")]
        return f"{code_version([*files, macro_file(MACRO_FILE)])}-sklearn{sklearn.__version__}"


@dataclass(frozen=True)
class Kept:
    """A training and what was decided about it; ``summary`` is fit for a task's result."""

    row: ModelVersion
    card: ModelCard
    summary: dict[str, Any]


def train(score: NightlyScore, given: Given, registry: Registry) -> Kept:
    """Train a challenger, compare it with the champion, and keep it in the registry.

    Both are compared on a window that lies after everything that either has learned from. The
    same training again gives the same version and changes nothing.

    Raises:
        ModelError: there is too little to learn from.
    """
    began = time.monotonic()
    kind, code = score.kind(given.horizon_days), score.code()
    try:
        champion = registry.latest_champion(kind, given.as_of)
    except ModelError:
        champion = None
    # Trained on this very day it may be this training's own, made before a retry.
    if champion is not None and champion.row.trained_as_of < given.as_of:
        given = replace(given, champion=champion.artefact)
    with models_may_refuse():
        made = score.fit(given)
    version = version_name(
        kind, given.as_of, made.data_hash, code, {"seed": given.seed, **made.parameters}
    )
    row = registry.register(
        version=version,
        kind=kind,
        trained_as_of=given.as_of,
        artefact=made.artefact,
        decision=decide(
            _champion_losses(registry, kind, given.as_of, version, made), made.losses, made.window
        ),
        data_hash=made.data_hash,
        code=code,
        metrics=made.metrics,
        thresholds=made.thresholds,
    )
    card = made.card(
        {
            "model version": row.version,
            "status": f"{row.status}: {row.reason}",
            "code version": code,
            "data hash": made.data_hash,
        }
    )
    summary = {
        "kind": kind,
        "model_version": row.version,
        "trained": True,
        "status": row.status,
        "reason": row.reason,
        "metrics": row.metrics,
        "thresholds": row.thresholds,
        **made.summary,
        "seconds": round(time.monotonic() - began, 1),
    }
    return Kept(row, card, plain(summary))


def _champion_losses(
    registry: Registry, kind: str, as_of: date, version: str, made: Challenger
) -> NDArray[np.float64] | None:
    """Losses of the champion on the challenger's window, or None where none can be compared."""
    try:
        champion = registry.latest_champion(kind, trained_not_after=as_of)
        if champion is None or champion.row.version == version:
            return None
        return made.losses_of(champion.artefact)
    except (ModelError, ModelDataError, KeyError, TypeError, ValueError):
        log.warning("the champion of %s cannot be compared; the challenger takes its place", kind)
        return None


def train_if_needed(
    settings: Settings, engine: Engine, score: NightlyScore, given: Given
) -> dict[str, Any]:
    """Train where there is no sound champion that knows only the past of ``given.as_of``.

    Never fails for want of data: with too little of it nothing is trained, ``note`` says why, and
    scoring falls back.
    """
    registry = Registry(engine, settings.models_dir)
    try:
        champion = registry.latest_champion(score.kind(given.horizon_days), given.as_of)
    except ModelError as error:
        log.warning("training anew: %s", error)
        champion = None
    if champion is not None:
        # A training of this very day that was killed before it wrote its card is done again: it
        # ends in the same version.
        card = settings.reports_dir / "models" / champion.row.version / CARD_FILE
        if card.exists() or champion.row.trained_as_of != given.as_of:
            return {"model_version": champion.row.version, "trained": False}
    return train_challenger(settings, engine, score, given)


def train_challenger(
    settings: Settings, engine: Engine, score: NightlyScore, given: Given
) -> dict[str, Any]:
    """Train, keep, and write the card; ``note`` says why where there is nothing to learn from."""
    if not score.is_wanted(given):
        return {"model_version": UNTRAINED, "trained": False, "note": "nothing to learn from"}
    try:
        kept = train(score, given, Registry(engine, settings.models_dir))
    except ModelError as error:
        return {"model_version": UNTRAINED, "trained": False, "note": str(error)}
    path = write_card_into(kept.card, settings.reports_dir / "models" / kept.row.version)
    return {**kept.summary, "card": str(path)}


def why_due(settings: Settings, engine: Engine, score: NightlyScore, given: Given) -> str | None:
    """Why a challenger is wanted now: a week has passed, or the champion has drifted.

    Drift is what the last scoring told of the champion, and what came against what it said.
    """
    kind = score.kind(given.horizon_days)
    registry = Registry(engine, settings.models_dir)
    trained = [row for row in registry.versions(kind) if row.trained_as_of <= given.as_of]
    if not trained:
        return "there is no model yet"
    newest = trained[0].trained_as_of
    if given.as_of - newest >= timedelta(days=RETRAIN_DAYS):
        return f"the last training was as of {newest}"
    if given.as_of == newest:
        return None
    if given.has("model_runs"):
        told = given.connection.execute(
            "select alarms from model_runs where model = ? and len(alarms) > 0", [score.name]
        ).fetchall()
        if told:
            return f"drift: {'; '.join(told[0][0])}"
    return None


def score_into(
    settings: Settings, engine: Engine, score: NightlyScore, given: Given
) -> dict[str, Any]:
    """Score with the newest sound champion into tables of schema ``scores``, made anew.

    Returns:
        ``model_version``, ``status``, ``scored``, ``drift``, ``alarms``, ``thresholds``, and what
        else the model tells.

    Raises:
        ModelError: there are champions, but no file of any is sound.
    """
    began = time.monotonic()
    registry = Registry(engine, settings.models_dir)
    champion = registry.latest_champion(score.kind(given.horizon_days), given.as_of)
    with models_may_refuse():
        if champion is None:
            made = score.score(given, None, UNTRAINED)
            watched: dict[str, Any] = {"alarms": []}
            row = None
        else:
            row = champion.row
            try:
                made = score.score(given, champion.artefact, row.version)
            except (TypeError, KeyError, AttributeError) as error:
                raise ModelError(
                    f"model {row.version} was made by another version of customer360; train again"
                ) from error
            watched = score.watch(given, row, champion.artefact)
    with transaction(given.connection):
        given.connection.execute("create schema if not exists scores")
        for name, table in made.tables.items():
            given.connection.register("scored", table)
            given.connection.execute(
                f"create or replace table scores.{quote(name)} as select * from scored"
            )
            given.connection.unregister("scored")
    alarms = [
        *(champion.warnings if champion else ()),
        *made.alarms,
        *(
            f"{score.name}: {name} has drifted since the training (stability index {index:.2f}, "
            f"alarm from {DRIFT_ALARM})"
            for name, index in made.drift.items()
            if index > DRIFT_ALARM
        ),
        *watched["alarms"],
    ]
    rows = next(iter(made.tables.values())).num_rows if made.tables else 0
    told = {
        "model_version": made.version,
        "status": row.status if row else "fallback",
        "trained_as_of": row.trained_as_of.isoformat() if row else None,
        "scored": rows,
        "metrics": row.metrics if row else {},
        "thresholds": row.thresholds if row else {},
        **made.summary,
        "drift": {name: round(index, 4) for name, index in made.drift.items()},
        "watch": watched,
        "alarms": alarms,
        "seconds": round(time.monotonic() - began, 2),
    }
    found: dict[str, Any] = plain(told)
    return found


RUNS = pa.schema(
    [
        ("model", pa.string()),
        ("run_id", pa.string()),
        ("as_of", pa.date32()),
        ("model_version", pa.string()),
        ("status", pa.string()),
        ("trained_as_of", pa.date32()),
        ("scored", pa.int64()),
        ("metrics", pa.string()),
        ("thresholds", pa.string()),
        ("drift", pa.string()),
        ("max_drift", pa.float64()),
        ("alarms", pa.list_(pa.string())),
    ]
)


def write_runs(
    connection: duckdb.DuckDBPyConnection, run_id: str, as_of: date, told: dict[str, dict[str, Any]]
) -> None:
    """Table ``scores.model_runs``: a row a model, of this run."""
    rows = [
        {
            "model": name,
            "run_id": run_id,
            "as_of": as_of,
            "model_version": one["model_version"],
            "status": one["status"],
            "trained_as_of": date.fromisoformat(one["trained_as_of"])
            if one["trained_as_of"]
            else None,
            "scored": one["scored"],
            "metrics": json.dumps(one["metrics"], sort_keys=True),
            "thresholds": json.dumps(one["thresholds"], sort_keys=True),
            "drift": json.dumps(one["drift"], sort_keys=True),
            "max_drift": max(one["drift"].values(), default=None),
            "alarms": one["alarms"],
        }
        for name, one in told.items()
    ]
    table = pa.Table.from_pylist(rows, RUNS)
    connection.register("scored", table)
    with transaction(connection):
        connection.execute("create schema if not exists scores")
        connection.execute("create or replace table scores.model_runs as select * from scored")
    connection.unregister("scored")


def runs_card(run_id: str, as_of: date, told: dict[str, dict[str, Any]]) -> ModelCard:
    """What scored in a run, how far its inputs and scores have drifted, what came of its words."""
    table = pd.DataFrame(
        [
            {
                "model": name,
                "version": one["model_version"],
                "status": one["status"],
                "trained": one["trained_as_of"] or "never",
                "scored": one["scored"],
                "largest_drift": max(one["drift"].values(), default=float("nan")),
                "alarms": len(one["alarms"]),
            }
            for name, one in told.items()
        ]
    )
    alarms = [alarm for one in told.values() for alarm in one["alarms"]]
    pictures = [
        bars_picture(
            list(one["drift"]),
            list(one["drift"].values()),
            f"Drift of {name} since its training",
            f"drift-{name}",
            f"stability index (alarm from {DRIFT_ALARM})",
            DRIFT_ALARM,
        )
        for name, one in told.items()
        if one["drift"]
    ]
    looked_back = [
        {
            "model": name,
            "looked_back_to": one["watch"].get("origin", ""),
            **{
                figure: value
                for figure, value in {**one["watch"], **one["watch"].get("metrics", {})}.items()
                if figure in {"auc", "calibration_slope", "mean_probability", "base_rate", "total"}
            },
        }
        for name, one in told.items()
        if len(one["watch"]) > 1
    ]
    return ModelCard(
        title=f"Models of {as_of}",
        summary=" ".join(f"**{alarm}.**" for alarm in alarms) or "Nothing has drifted.",
        facts={"run": run_id},
        tables=[
            CardTable("What scored", table),
            *(
                [
                    CardTable(
                        "What the models said a horizon ago, and what came",
                        pd.DataFrame(looked_back),
                        "Calibration slope 1 and total 1 are perfect.",
                    )
                ]
                if looked_back
                else []
            ),
        ],
        pictures=pictures,
    )


def findings(told: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Alarms of trained models as a person is told of them.

    That a young company has no model yet is no news each night: it stands in ``model_runs``.
    """
    return [
        asdict(Finding("drift", None, alarm))
        for one in told.values()
        if one["status"] == "champion"
        for alarm in one["alarms"]
    ]


@contextmanager
def opened(
    settings: Settings, path: Path, *, read_only: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A file of marts, with the workspace of its run and raw attached where they are there.

    The view of people's texts lies in the workspace and reads raw; it keeps nothing.
    """
    with connect(settings, path, read_only=read_only) as connection:
        for name, file in (
            ("raw", settings.raw_path),
            ("workspace", path.with_name(WORKSPACE_FILE)),
        ):
            if file.exists():
                connection.execute(f"attach {literal(file)} as {name} (read_only)")
        yield connection


def fill(columns: Sequence[tuple[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """A batch of ``schema`` from columns by name; a column that is missing is a mistake."""
    given = dict(columns)
    return pa.RecordBatch.from_arrays(
        [pa.array(given[one.name], one.type, from_pandas=True) for one in schema], schema=schema
    )
