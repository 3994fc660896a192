"""Out-of-fold evaluation: no customer is scored by a model that has seen its label."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from models.common.errors import ModelDataError
from models.common.metrics import binary_metrics
from models.common.tabular import TableEncoder, column_auc, linear_block, suspect_leaks
from models.contractual.reasons import contributions, reasons_in_words
from models.contractual.train import check_labels, train

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """What cross-validation found.

    Attributes:
        probability: out-of-fold churn probability of each row.
        reasons: ``reason_1..3`` from the model that scored the row.
        rules: naive rule -> its out-of-fold probability, for the card.
        importance: column -> mean absolute contribution in log-odds.
        weights: member -> mean weight in the blend over the folds.
        leaks: column -> why it is suspected of knowing the answer.
        notes: what was left out of the features, and why.
    """

    probability: Floats
    reasons: pd.DataFrame
    rules: dict[str, Floats]
    importance: dict[str, float]
    weights: dict[str, float]
    leaks: dict[str, str]
    notes: list[str]


def cross_validate(frame: pd.DataFrame, label: Floats, folds: int, seed: int) -> Evaluation:
    """Score every row by a model of the other folds, with the naive rules beside it.

    Raises:
        ModelDataError: fewer than two folds, or labels and columns that do not allow it.
    """
    if folds < 2:
        raise ModelDataError(f"{folds} folds cannot be held out; use 2 or more")
    check_labels(label)
    fewest = int(min(label.sum(), len(label) - label.sum()))
    if fewest * (folds - 1) // folds < 10 or fewest < folds:
        raise ModelDataError(
            f"{fewest} customers of the rarer class are too few for {folds} folds; "
            "use fewer folds or more rows"
        )
    described = TableEncoder.fit(frame)
    readable = described.readable(frame)
    leaks = suspect_leaks(described, readable, label)
    aucs = {one.name: column_auc(readable[one.name], label, one) for one in described.columns}
    best = max(aucs, key=lambda name: aucs[name])
    probability = np.zeros(len(label))
    rules = {
        "plain logistic": np.zeros(len(label)),
        f"rate by {best} alone": np.zeros(len(label)),
        "base rate for all": np.zeros(len(label)),
    }
    parts, added_parts = [], []
    weights: dict[str, float] = {}
    for fit, held in StratifiedKFold(folds, shuffle=True, random_state=seed).split(frame, label):
        model = train(frame.iloc[fit], label[fit], seed)
        rows = frame.iloc[held]
        probability[held] = model.predict(rows)
        added = contributions(model, model.encoder.readable(rows))
        added_parts.append(added)
        parts.append(reasons_in_words(model, rows, added))
        for name, weight in zip(model.members, model.weights, strict=True):
            weights[name] = weights.get(name, 0.0) + float(weight) / folds
        fitted = rule_scores(frame.iloc[fit], label[fit], rows, best)
        for rule, score in zip(rules, fitted, strict=True):
            rules[rule][held] = score
    importance = pd.concat(added_parts).abs().mean().sort_values(ascending=False)
    return Evaluation(
        probability,
        pd.concat(parts).loc[frame.index],
        rules,
        {str(name): float(value) for name, value in importance.items()},
        weights,
        leaks,
        described.notes,
    )


def rule_scores(
    fit: pd.DataFrame, label: Floats, held: pd.DataFrame, best: str
) -> tuple[NDArray, ...]:
    """What one would do without this model: one-hot logistic, one column, the base rate."""
    encoder = TableEncoder.fit(fit)
    known, unknown = encoder.readable(fit), encoder.readable(held)

    def plain(readable: pd.DataFrame) -> Floats:
        parts: list[Floats] = []
        for column in encoder.columns:
            values = readable[column.name]
            if column.kind == "category":
                parts.append(linear_block(column, values))
            else:
                filled = values.fillna(column.center).to_numpy(dtype=np.float64)
                parts.append(((filled - column.center) / column.scale)[:, None])
        return np.hstack(parts)

    logistic = LogisticRegression(solver="newton-cholesky").fit(plain(known), label)
    base = float(label.mean())
    if best in known:
        one = next(column for column in encoder.columns if column.name == best)
        edges = np.unique(known[best].quantile([0.2, 0.4, 0.6, 0.8])) if not one.levels else None
        groups = [
            rows[best] if edges is None else pd.Series(np.searchsorted(edges, rows[best]))
            for rows in (known, unknown)
        ]
        rates = pd.Series(label).groupby(groups[0].to_numpy()).mean()
        single = groups[1].map(rates).fillna(base).to_numpy(dtype=np.float64)
    else:
        single = np.full(len(held), base)
    return logistic.predict_proba(plain(unknown))[:, 1], single, np.full(len(held), base)


def metrics_table(label: Floats, evaluation: Evaluation) -> pd.DataFrame:
    """The model's figures with each naive rule's beside them, one row each."""
    rows = [{"who": "model", **binary_metrics(label, evaluation.probability)}]
    rows += [
        {"who": rule, **binary_metrics(label, score)} for rule, score in evaluation.rules.items()
    ]
    # A constant has no slope; what the folds' rates give is an artefact of stratifying.
    rows[-1]["calibration_slope"] = float("nan")
    shown = ["who", "auc", "pr_auc", "brier", "log_loss", "lift_top_tenth", "calibration_slope"]
    return pd.DataFrame(rows)[shown]
