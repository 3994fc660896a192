"""Churn risk on a warehouse: training with the registry, scoring, and watching.

What belongs here: from the table of orders to the model and back. What does not: the model itself
(``models.churn``), the SQL of the features (``customer360.scoring.features``), commands.
"""

import logging
import time
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import sklearn
from sqlalchemy import Engine

from customer360.exceptions import ModelError
from customer360.registry import LoadedModel, Registry, code_version, decide, version_name
from customer360.scoring.features import (
    MACROS,
    MAX_TRAINING_ROWS,
    feature_batches,
    read_features,
    training_rows,
)
from customer360.scoring.output import CARD_FILE, models_may_refuse, write_card_into
from customer360.settings import PROJECT, Settings
from customer360.warehouse import connect, transaction
from models.churn.card import churn_card
from models.churn.evaluate import Evaluation, evaluate
from models.churn.predict import explainer, predict
from models.churn.train import (
    ASSUMED,
    SCORE,
    WATCHED,
    ChurnModel,
    churned,
    train,
    without_history,
)
from models.common.card import ModelCard
from models.common.errors import ModelDataError
from models.common.features import FEATURES, matrix
from models.common.metrics import count_in, log_losses, stability
from models.common.windows import Windows, rows_of

log = logging.getLogger(__name__)

BATCH_ROWS = 100_000
DRIFT_ALARM = 0.25
# Versions that no past window has checked: fitted to the company, or only assumed.
UNCHECKED = "buy-till-you-die"
ASSUMED_VERSION = "prior"
SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("as_of", pa.date32()),
        ("churn_probability", pa.float64()),
        ("horizon_days", pa.int32()),
        ("reason_1", pa.string()),
        ("reason_2", pa.string()),
        ("reason_3", pa.string()),
        ("model_version", pa.string()),
        ("is_prior", pa.bool_()),
    ]
)


def kind_of(horizon_days: int) -> str:
    """The registry's name of churn models with this horizon."""
    return f"churn-{horizon_days}d"


@dataclass(frozen=True)
class TrainedChurn:
    """What a training ended in.

    Attributes:
        summary: counts, figures and the decision; plain values, fit for a task's result.
        card: to render and keep with the run's reports.
    """

    summary: dict[str, Any]
    card: ModelCard


@dataclass(frozen=True)
class ChurnScores:
    """Scores of all customers as of a date.

    Attributes:
        table: see ``SCHEMA``; sorted by customer.
        summary: rows, mean, drift by input (population stability index), alarms in words.
    """

    table: pa.Table
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FittedChurn:
    """A model with its figures, before anyone has decided about it."""

    model: ChurnModel
    windows: Windows
    evaluation: Evaluation
    frame: pd.DataFrame
    facts: dict[str, object]

    def card(self, facts: dict[str, object] | None = None) -> ModelCard:
        """The card, with more facts if there are any."""
        return churn_card(
            self.model, self.evaluation, self.windows, {**self.facts, **(facts or {})}
        )


def fit_churn(
    connection: duckdb.DuckDBPyConnection,
    as_of: date,
    horizon_days: int,
    orders: str = "orders",
    seed: int = 42,
    threads: int = 1,
    max_rows: int = MAX_TRAINING_ROWS,
) -> FittedChurn:
    """Fit and evaluate on windows before ``as_of`` (see ``features.training_rows``).

    Raises:
        ModelError: too little history, too few customers, or one class only.
    """
    with models_may_refuse():
        rows = training_rows(connection, as_of, horizon_days, orders, max_rows)
        frame, windows = rows.frame, rows.windows
        model = train(frame, windows, seed=seed, threads=threads)
        evaluation = evaluate(model, rows_of(frame, windows.report), threads)
    facts: dict[str, object] = {
        "as of": as_of,
        "orders": rows.content.rows,
        "customers": rows.content.customers,
        "sample of customers": "all" if rows.share == 1 else f"one in {rows.share}",
        "data hash": rows.content.hash,
    }
    return FittedChurn(model, windows, evaluation, frame, facts)


def fit_unchecked(
    connection: duckdb.DuckDBPyConnection, as_of: date, horizon_days: int, orders: str = "orders"
) -> tuple[ChurnModel, str]:
    """Buy till you die as of a date, for a history too short to learn from; it never refuses.

    Returns:
        The model and its version: ``UNCHECKED``, or ``ASSUMED_VERSION`` where nothing was learned.
    """
    frame = read_features(connection, [as_of], horizon_days, orders).to_pandas()
    with models_may_refuse():
        model = without_history(frame, horizon_days, as_of.isoformat())
    return model, ASSUMED_VERSION if model.btyd == ASSUMED.parameters else UNCHECKED


def train_churn(
    connection: duckdb.DuckDBPyConnection,
    as_of: date,
    horizon_days: int,
    registry: Registry,
    orders: str = "orders",
    seed: int = 42,
    threads: int = 1,
    max_rows: int = MAX_TRAINING_ROWS,
) -> TrainedChurn:
    """Train a challenger, compare it with the champion, and keep it in the registry.

    Champion and challenger are compared on the challenger's choice window, which lies after
    everything that either of them has learned from; the report window decides nothing. The same
    training again gives the same version and changes nothing.

    Raises:
        ModelError: too little history, too few customers, or one class only.
    """
    began = time.monotonic()
    fitted = fit_churn(connection, as_of, horizon_days, orders, seed, threads, max_rows)
    windows, kind = fitted.windows, kind_of(horizon_days)
    code = _code()
    version = version_name(
        kind,
        as_of,
        str(fitted.facts["data hash"]),
        code,
        {"seed": seed, "horizon_days": horizon_days, "max_rows": max_rows},
    )
    choice = rows_of(fitted.frame, windows.choice)
    chance = predict(fitted.model, choice, threads)["churn_probability"].to_numpy()
    decision = decide(
        _champion_losses(registry, kind, as_of, version, choice, windows.choice, threads),
        log_losses(churned(choice), chance),
        f"the {len(choice):,} customers of {windows.choice}",
    )
    row = registry.register(
        version=version,
        kind=kind,
        trained_as_of=as_of,
        artefact=fitted.model.to_artefact(),
        decision=decision,
        data_hash=str(fitted.facts["data hash"]),
        code=code,
        metrics=fitted.evaluation.metrics,
        thresholds=_thresholds(chance),
    )
    summary = {
        "kind": kind,
        "model_version": row.version,
        "status": row.status,
        "reason": row.reason,
        "chosen": fitted.model.chosen,
        "best_rule": fitted.evaluation.best_rule,
        "auc": fitted.evaluation.auc_of,
        "metrics": fitted.evaluation.metrics,
        "thresholds": row.thresholds,
        "report_origin": windows.report.isoformat(),
        "training_rows": len(fitted.frame),
        "seconds": round(time.monotonic() - began, 1),
    }
    facts: dict[str, object] = {
        "model version": row.version,
        "status": f"{row.status}: {row.reason}",
        "code version": code,
    }
    return TrainedChurn(summary, fitted.card(facts))


def score_churn(
    connection: duckdb.DuckDBPyConnection,
    as_of: date,
    horizon_days: int,
    registry: Registry,
    orders: str = "orders",
    threads: int = 1,
) -> ChurnScores:
    """Score every customer with the newest sound champion that was trained by ``as_of``.

    Where there never was one, as in the first months of a company's data, buy till you die
    scores, and an alarm says that nothing has checked it.

    Raises:
        ModelError: there are champions, but no file of any is sound.
    """
    champion = registry.latest_champion(kind_of(horizon_days), trained_not_after=as_of)
    if champion is None:
        model, version = fit_unchecked(connection, as_of, horizon_days, orders)
        scores = score_with(connection, model, as_of, version, orders, threads)
        alarm = (
            f"no model of {kind_of(horizon_days)} was trained by {as_of}: {version} scores, "
            "and nothing has checked it"
        )
        thresholds = {"high": model.base_rate, "medium": model.base_rate}
        if len(scores.table):
            thresholds = _thresholds(scores.table["churn_probability"].to_numpy())
        summary = {**scores.summary, "alarms": [alarm], "thresholds": thresholds}
        return ChurnScores(scores.table, summary)
    model = _model(champion)
    scores = score_with(connection, model, as_of, champion.row.version, orders, threads)
    alarms = [*champion.warnings, *scores.summary["alarms"]]
    summary = {**scores.summary, "alarms": alarms, "thresholds": champion.row.thresholds}
    return ChurnScores(scores.table, summary)


def score_with(
    connection: duckdb.DuckDBPyConnection,
    model: ChurnModel,
    as_of: date,
    version: str,
    orders: str = "orders",
    threads: int = 1,
) -> ChurnScores:
    """Score every customer with a model at hand, batch by batch."""
    explain = explainer(model)
    counts = {name: np.zeros(len(model.reference[name]["counts"])) for name in (*WATCHED, SCORE)}
    batches, total = [], 0.0
    with models_may_refuse():
        for frame in feature_batches(connection, as_of, model.horizon_days, orders, BATCH_ROWS):
            scored = predict(model, frame, threads)
            own = ~scored["is_prior"].to_numpy()
            values = matrix(frame)[own]
            for name in WATCHED:
                counts[name] += count_in(model.reference[name], values[:, FEATURES.index(name)])
            counts[SCORE] += count_in(model.reference[SCORE], scored[SCORE][own])
            total += float(scored[SCORE].sum())
            reasons = explain.explain(frame, scored, threads)
            batches.append(_batch(frame, scored, reasons, version, model.horizon_days))
    table = pa.Table.from_batches(batches, SCHEMA)
    drift = {name: round(stability(model.reference[name], counts[name]), 4) for name in counts}
    return ChurnScores(
        table,
        {
            "model_version": version,
            "chosen": model.chosen,
            "customers": len(table),
            "priors": int(np.sum(table["is_prior"].to_numpy())),
            "mean_probability": round(total / max(1, len(table)), 6),
            "drift": drift,
            "alarms": [
                f"{name} has drifted since the training (stability index {index:.2f}, "
                f"alarm from {DRIFT_ALARM})"
                for name, index in drift.items()
                if len(table) and index > DRIFT_ALARM
            ],
        },
    )


def watch_churn(
    connection: duckdb.DuckDBPyConnection,
    as_of: date,
    horizon_days: int,
    registry: Registry,
    orders: str = "orders",
    threads: int = 1,
) -> dict[str, Any]:
    """What the champion would have said a horizon ago, against what happened since.

    Returns figures of that window and ``alarms`` in words; ``{"alarms": []}`` where there is no
    champion, or the window is not later than what it has learned.
    """
    champion = registry.latest_champion(kind_of(horizon_days), trained_not_after=as_of)
    origin = as_of - timedelta(days=horizon_days)
    if champion is None or date.fromisoformat(champion.artefact["learned_until"]) > origin:
        return {"alarms": []}
    frame = read_features(connection, [origin], horizon_days, orders, labels=True).to_pandas()
    if frame.empty:
        return {"alarms": []}
    with models_may_refuse():
        figures = evaluate(_model(champion), frame, threads).metrics
    alarms = []
    distance = figures["mean_probability"] - figures["base_rate"]
    if abs(distance) > max(0.02, 0.2 * figures["base_rate"]):
        alarms.append(
            f"{champion.row.version} predicted {figures['mean_probability']:.1%} churn for the "
            f"{horizon_days} days after {origin}, {figures['base_rate']:.1%} came; train again"
        )
    trained_auc = champion.row.metrics.get("auc") or 0.0
    if figures["auc"] < trained_auc - 0.05:
        alarms.append(
            f"{champion.row.version} ranks worse than when it was trained "
            f"(AUC {figures['auc']:.3f}, then {trained_auc:.3f}); train again"
        )
    return {
        "model_version": champion.row.version,
        "origin": origin.isoformat(),
        "metrics": figures,
        "alarms": alarms,
    }


def train_if_needed(
    settings: Settings, engine: Engine, marts_file: Path, as_of: date, horizon_days: int
) -> dict[str, Any]:
    """Train where there is no sound champion that knows only the past of ``as_of``.

    Never fails for want of data: with too little of it nothing is trained, ``note`` says why, and
    ``score_into`` scores by a stated fallback.

    Returns:
        ``model_version``, ``trained``, and of a training its figures and the path of the card.
    """
    registry = Registry(engine, settings.models_dir)
    try:
        champion = registry.latest_champion(kind_of(horizon_days), trained_not_after=as_of)
    except ModelError as error:
        log.warning("training anew: %s", error)
        champion = None
    if champion is not None:
        # A training of this very day that was killed before it wrote its card is done again: it
        # ends in the same version.
        card = settings.reports_dir / "models" / champion.row.version / CARD_FILE
        if card.exists() or champion.row.trained_as_of != as_of:
            return {"model_version": champion.row.version, "trained": False}
    try:
        with connect(settings, marts_file, read_only=True) as connection:
            trained = train_churn(connection, as_of, horizon_days, registry)
    except ModelError as error:
        return {"model_version": UNCHECKED, "trained": False, "note": str(error)}
    return _told(settings, trained)


def train_challenger(
    settings: Settings, engine: Engine, snapshot: Path, as_of: date, horizon_days: int
) -> dict[str, Any]:
    """Train on a published snapshot; the challenger replaces the champion only if better.

    Returns what ``train_if_needed`` returns, and what the champion's watch says (``watch``).
    """
    registry = Registry(engine, settings.models_dir)
    with connect(settings, snapshot, read_only=True) as connection:
        watched = watch_churn(connection, as_of, horizon_days, registry)
        try:
            trained = train_churn(connection, as_of, horizon_days, registry)
        except ModelError as error:
            note = {"model_version": UNCHECKED, "trained": False, "note": str(error)}
            return {**note, "watch": watched}
    return {**_told(settings, trained), "watch": watched}


def score_into(
    settings: Settings, engine: Engine, marts_file: Path, as_of: date, horizon_days: int
) -> dict[str, Any]:
    """Score every customer of a marts file into its table ``scores.churn``, made anew.

    Returns:
        ``model_version``, ``scored``, ``priors``, ``drift``, ``alarms``, ``thresholds``.
    """
    registry = Registry(engine, settings.models_dir)
    with connect(settings, marts_file) as connection:
        scores = score_churn(connection, as_of, horizon_days, registry)
        connection.register("scored_churn", scores.table)
        with transaction(connection):
            connection.execute("create schema if not exists scores")
            connection.execute("create or replace table scores.churn as select * from scored_churn")
        connection.unregister("scored_churn")
    return {**scores.summary, "scored": len(scores.table)}


def _thresholds(chance: np.ndarray) -> dict[str, float]:
    """From which probability on a customer is among the tenth, or the quarter, most at risk."""
    return {"high": float(np.quantile(chance, 0.9)), "medium": float(np.quantile(chance, 0.75))}


def _told(settings: Settings, trained: TrainedChurn) -> dict[str, Any]:
    version = trained.summary["model_version"]
    card = write_card_into(trained.card, settings.reports_dir / "models" / version)
    rule = trained.summary["best_rule"]
    return {
        **trained.summary,
        "trained": True,
        "best_rule_auc": trained.summary["auc"][rule],
        "auc_by_score": trained.summary["auc"],
        "auc": trained.summary["metrics"]["auc"],
        "card": str(card),
    }


def _batch(
    frame: pd.DataFrame,
    scored: pd.DataFrame,
    reasons: dict[str, Any],
    version: str,
    horizon_days: int,
) -> pa.RecordBatch:
    rows = len(frame)
    columns = {
        "customer_id": pa.array(frame["customer_id"].astype(str), pa.string()),
        "as_of": pa.array(frame["as_of"], pa.date32()),
        # Six decimals: sums of threads may differ in the last bits.
        "churn_probability": pa.array(scored["churn_probability"].round(6), pa.float64()),
        "horizon_days": pa.array(np.full(rows, horizon_days), pa.int32()),
        **{name: pa.array(words, pa.string()) for name, words in reasons.items()},
        "model_version": pa.array([version] * rows, pa.string()),
        "is_prior": pa.array(scored["is_prior"], pa.bool_()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _model(champion: LoadedModel) -> ChurnModel:
    try:
        return ChurnModel.from_artefact(champion.artefact)
    except (TypeError, KeyError, ValueError) as error:
        raise ModelError(
            f"model {champion.row.version} was made by another version of customer360; train again"
        ) from error


def _champion_losses(
    registry: Registry,
    kind: str,
    as_of: date,
    version: str,
    choice: pd.DataFrame,
    origin: date,
    threads: int,
) -> np.ndarray | None:
    """Losses of the champion on the choice window, or None where none can be compared."""
    try:
        champion = registry.latest_champion(kind, trained_not_after=as_of)
        if champion is None or champion.row.version == version:
            return None
        model = _model(champion)
        scored = predict(model, choice, threads)
    except (ModelError, ModelDataError):
        return None
    if date.fromisoformat(model.learned_until) > origin:
        return None
    return log_losses(churned(choice), scored["churn_probability"].to_numpy())


def _code() -> str:
    folders = (PROJECT / "models" / "churn", PROJECT / "models" / "common")
    files: list[Path] = [path for folder in folders for path in folder.glob("*.py")]
    return f"{code_version([*files, MACROS])}-sklearn{sklearn.__version__}"
