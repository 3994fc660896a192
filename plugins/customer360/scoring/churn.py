"""Churn risk on a warehouse: training with the registry, scoring, and watching.

What belongs here: from the table of orders to the model and back. What does not: the model itself
(``models.churn``), the SQL of the features (``customer360.scoring.features``), commands.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from customer360.registry import ModelVersion
from customer360.scoring.features import (
    MAX_TRAINING_ROWS,
    feature_batches,
    read_features,
    training_rows,
    what_came,
)
from customer360.scoring.nightly import Challenger, Given, NightlyScore, Scored
from customer360.scoring.output import models_may_refuse
from models.churn.card import churn_card
from models.churn.evaluate import Evaluation, evaluate
from models.churn.predict import explainer, predict
from models.churn.train import SCORE, WATCHED, ChurnModel, churned, train, without_history
from models.common.btyd import ASSUMED
from models.common.card import ModelCard
from models.common.features import FEATURES, matrix
from models.common.metrics import count_in, log_losses, stability
from models.common.windows import Windows, rows_of

BATCH_ROWS = 100_000
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


@dataclass(frozen=True)
class ChurnScores:
    """Scores of all customers as of a date.

    Attributes:
        table: see ``SCHEMA``; sorted by customer.
        summary: rows, mean.
        drift: input or score -> population stability index since the training.
    """

    table: pa.Table
    summary: dict[str, Any] = field(default_factory=dict)
    drift: dict[str, float] = field(default_factory=dict)


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


class Churn(NightlyScore):
    """The probability of no purchase within the horizon, of everyone who has bought."""

    name = "churn"
    looks_ahead = True
    folders = ("churn",)

    def fit(self, given: Given) -> Challenger:
        """See ``NightlyScore.fit``; champions are compared on the choice window.

        It lies after everything that either has learned from; the report window decides nothing.
        """
        fitted = fit_churn(
            given.connection, given.as_of, given.horizon_days, given.orders, given.seed,
            given.threads,
        )  # fmt: skip
        windows, evaluation = fitted.windows, fitted.evaluation
        choice = rows_of(fitted.frame, windows.choice)
        chance = predict(fitted.model, choice, given.threads)["churn_probability"].to_numpy()

        def losses_of(artefact: dict[str, Any]) -> np.ndarray | None:
            champion = ChurnModel.from_artefact(artefact)
            if date.fromisoformat(champion.learned_until) > windows.choice:
                return None
            scored = predict(champion, choice, given.threads)
            return log_losses(churned(choice), scored["churn_probability"].to_numpy())

        return Challenger(
            artefact=fitted.model.to_artefact(),
            data_hash=str(fitted.facts["data hash"]),
            metrics=evaluation.metrics,
            thresholds=_thresholds(chance),
            losses=log_losses(churned(choice), chance),
            losses_of=losses_of,
            window=f"the {len(choice):,} customers of {windows.choice}",
            parameters={"horizon_days": given.horizon_days, "max_rows": MAX_TRAINING_ROWS},
            card=fitted.card,
            summary={
                "chosen": fitted.model.chosen,
                "best_rule": evaluation.best_rule,
                "auc": evaluation.metrics["auc"],
                "best_rule_auc": evaluation.auc_of[evaluation.best_rule],
                "auc_by_score": evaluation.auc_of,
                "report_origin": windows.report.isoformat(),
                "training_rows": len(fitted.frame),
            },
        )

    def score(self, given: Given, artefact: dict[str, Any] | None, version: str) -> Scored:
        """See ``NightlyScore.score``.

        Where there never was a champion, as in the first months of a company's data, buy till you
        die scores, and an alarm says that nothing has checked it.
        """
        alarms: tuple[str, ...] = ()
        thresholds: dict[str, float] | None = None
        if artefact is None:
            model, version = fit_unchecked(
                given.connection, given.as_of, given.horizon_days, given.orders
            )
            alarms = (
                f"churn: no model was trained by {given.as_of}: {version} scores, and nothing has "
                "checked it",
            )
            thresholds = {"high": model.base_rate, "medium": model.base_rate}
        else:
            model = ChurnModel.from_artefact(artefact)
        scores = score_with(
            given.connection, model, given.as_of, version, given.orders, given.threads,
            given.features,
        )  # fmt: skip
        summary = {**scores.summary}
        if thresholds is not None:
            if len(scores.table):
                thresholds = _thresholds(scores.table["churn_probability"].to_numpy())
            summary["thresholds"] = thresholds
        drift = scores.drift if artefact is not None and len(scores.table) else {}
        return Scored({"churn": scores.table}, version, summary, drift, alarms)

    def watch(self, given: Given, row: ModelVersion, artefact: dict[str, Any]) -> dict[str, Any]:
        """See ``NightlyScore.watch``: ``{"alarms": []}`` while no later window is complete."""
        model = ChurnModel.from_artefact(artefact)
        origin = given.as_of - timedelta(days=given.horizon_days)
        if date.fromisoformat(model.learned_until) > origin:
            return {"alarms": []}
        frame = what_came(given.connection, origin, given.horizon_days, given.orders)
        if frame.empty:
            return {"alarms": []}
        figures = evaluate(model, frame, given.threads).metrics
        alarms = []
        distance = figures["mean_probability"] - figures["base_rate"]
        if abs(distance) > max(0.02, 0.2 * figures["base_rate"]):
            alarms.append(
                f"{row.version} predicted {figures['mean_probability']:.1%} churn for the "
                f"{given.horizon_days} days after {origin}, {figures['base_rate']:.1%} came; "
                "train again"
            )
        trained_auc = row.metrics.get("auc") or 0.0
        if figures["auc"] < trained_auc - 0.05:
            alarms.append(
                f"{row.version} ranks worse than when it was trained "
                f"(AUC {figures['auc']:.3f}, then {trained_auc:.3f}); train again"
            )
        return {"origin": origin.isoformat(), "metrics": figures, "alarms": alarms}


def score_with(
    connection: duckdb.DuckDBPyConnection,
    model: ChurnModel,
    as_of: date,
    version: str,
    orders: str = "orders",
    threads: int = 1,
    made: str | None = None,
) -> ChurnScores:
    """Score every customer with a model at hand, batch by batch (``made``: see features)."""
    explain = explainer(model)
    counts = {name: np.zeros(len(model.reference[name]["counts"])) for name in (*WATCHED, SCORE)}
    batches, total = [], 0.0
    with models_may_refuse():
        for frame in feature_batches(
            connection, as_of, model.horizon_days, orders, BATCH_ROWS, made
        ):
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
    return ChurnScores(
        table,
        {
            "chosen": model.chosen,
            "customers": len(table),
            "priors": int(np.sum(table["is_prior"].to_numpy())),
            "mean_probability": round(total / max(1, len(table)), 6),
        },
        {name: stability(model.reference[name], counts[name]) for name in counts},
    )


def _thresholds(chance: np.ndarray) -> dict[str, float]:
    """From which probability on a customer is among the tenth, or the quarter, most at risk."""
    return {"high": float(np.quantile(chance, 0.9)), "medium": float(np.quantile(chance, 0.75))}


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
