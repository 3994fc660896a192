"""Figures that say how good a probability is: ranking, calibration, gain, drift.

Pure functions over arrays. ``label`` is 0/1, ``probability`` is the predicted chance of 1; for
rules that only rank (recency), use ``ranking_metrics``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit
from sklearn.metrics import average_precision_score, roc_auc_score

from models.common.calibration import clip_probability, fit_logit_line
from models.common.errors import ModelDataError

Floats = NDArray[np.float64]


def as_labels(label: ArrayLike) -> Floats:
    """Labels as floats; refuses anything but 0 and 1, and an empty set."""
    values = np.asarray(label, dtype=np.float64)
    if values.size == 0:
        raise ModelDataError("there are no labelled rows to evaluate on")
    if not np.isin(values, (0.0, 1.0)).all():
        raise ModelDataError("labels must be 0 or 1; map them before evaluating")
    return values


def _as_scores(score: ArrayLike, rows: int) -> Floats:
    values = np.asarray(score, dtype=np.float64)
    if values.shape != (rows,):
        raise ModelDataError(f"{rows} labels but scores of shape {values.shape}")
    if not np.isfinite(values).all():
        raise ModelDataError(f"{int((~np.isfinite(values)).sum())} scores are not finite numbers")
    return values


def top_tenth(score: ArrayLike, share: float = 0.1) -> NDArray[np.intp]:
    """Row numbers of the ``share`` with the highest scores; ties keep the order of the rows."""
    values = np.asarray(score, dtype=np.float64)
    count = max(1, round(len(values) * share))
    return np.argsort(-values, kind="stable")[:count]


def lift_top_tenth(label: ArrayLike, score: ArrayLike) -> float:
    """Rate among the tenth with the highest scores, divided by the overall rate.

    Customers that share the score at the border count with the mean rate of their group, so that
    a rule with many equal scores is neither favoured nor punished by the order of the rows.
    """
    truth = as_labels(label)
    values = _as_scores(score, len(truth))
    rate = float(truth.mean())
    if rate == 0.0:
        return float("nan")
    count = max(1, round(len(truth) * 0.1))
    border = np.partition(values, len(values) - count)[len(values) - count]
    above, tied = values > border, values == border
    hits = truth[above].sum() + truth[tied].mean() * (count - above.sum())
    return float(hits / count / rate)


def ranking_metrics(label: ArrayLike, score: ArrayLike) -> dict[str, float]:
    """AUC, PR-AUC and lift of any score that ranks; NaN where only one class is present."""
    truth = as_labels(label)
    values = _as_scores(score, len(truth))
    one_class = truth.min() == truth.max()
    return {
        "auc": float("nan") if one_class else float(roc_auc_score(truth, values)),
        "pr_auc": float("nan") if one_class else float(average_precision_score(truth, values)),
        "lift_top_tenth": lift_top_tenth(truth, values),
    }


def log_losses(label: ArrayLike, probability: ArrayLike) -> Floats:
    """Log loss of each row, in nats; the mean of it is the log loss."""
    truth = as_labels(label)
    chance = clip_probability(_as_scores(probability, len(truth)))
    losses: Floats = -(truth * np.log(chance) + (1.0 - truth) * np.log1p(-chance))
    return losses


def binary_metrics(label: ArrayLike, probability: ArrayLike) -> dict[str, float]:
    """All figures of a calibrated probability.

    ``calibration_slope`` and ``calibration_intercept`` are of a logistic regression of the label
    on the logit of the probability (1 and 0 are perfect; Cox 1958); ``ece`` is the mean distance
    between predicted and observed rate over ten bins of equal size.
    """
    truth = as_labels(label)
    chance = _as_scores(probability, len(truth))
    if chance.min() < 0.0 or chance.max() > 1.0:
        raise ModelDataError("probabilities must lie between 0 and 1")
    slope, intercept = float("nan"), float("nan")
    if truth.min() != truth.max() and chance.min() != chance.max():
        slope, intercept = fit_logit_line(logit(clip_probability(chance)), truth)
    bins = calibration_bins(truth, chance)
    weights = bins["customers"] / bins["customers"].sum()
    return {
        "rows": float(len(truth)),
        "base_rate": float(truth.mean()),
        "mean_probability": float(chance.mean()),
        **ranking_metrics(truth, chance),
        "brier": float(np.mean((chance - truth) ** 2)),
        "log_loss": float(log_losses(truth, chance).mean()),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
        "ece": float((weights * (bins["predicted"] - bins["observed"]).abs()).sum()),
    }


def calibration_bins(label: ArrayLike, probability: ArrayLike, bins: int = 10) -> pd.DataFrame:
    """Predicted and observed rate in bins of about equal size.

    Returns a frame with ``bin`` (1 is the lowest), ``customers``, ``predicted``, ``observed`` and
    the 95 % Wilson interval of the observed rate, ``low`` and ``high``.
    """
    truth = as_labels(label)
    chance = _as_scores(probability, len(truth))
    order = np.argsort(chance, kind="stable")
    rows: list[dict[str, Any]] = []
    for number, members in enumerate(np.array_split(order, min(bins, len(order))), start=1):
        low, high = wilson_interval(float(truth[members].sum()), len(members))
        rows.append(
            {
                "bin": number,
                "customers": len(members),
                "predicted": float(chance[members].mean()),
                "observed": float(truth[members].mean()),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows)


def wilson_interval(hits: float, rows: int, z_value: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval of a share; holds at 0 and 1 as well."""
    if rows == 0:
        return 0.0, 1.0
    share, square = hits / rows, z_value**2
    centre = (share + square / (2 * rows)) / (1 + square / rows)
    spread = z_value / (1 + square / rows)
    spread *= float(np.sqrt(share * (1 - share) / rows + square / (4 * rows**2)))
    return max(0.0, centre - spread), min(1.0, centre + spread)


def gain_curve(label: ArrayLike, score: ArrayLike, points: int = 101) -> pd.DataFrame:
    """Share of all positives that is found when the top ``contacted`` share is looked at."""
    truth = as_labels(label)
    values = _as_scores(score, len(truth))
    found = np.concatenate([[0.0], np.cumsum(truth[np.argsort(-values, kind="stable")])])
    contacted = np.linspace(0.0, 1.0, points)
    total = max(1.0, float(truth.sum()))
    gained = np.interp(contacted * len(truth), np.arange(len(truth) + 1), found) / total
    return pd.DataFrame({"contacted": contacted, "found": gained})


def paired_gain(champion_losses: ArrayLike, challenger_losses: ArrayLike) -> dict[str, float]:
    """How much better the challenger is on the same rows, and how much of that is noise.

    Positive ``gain`` means the challenger loses less on average. ``low`` is the lower bound of
    the one-sided 95 % interval of the mean paired difference: above zero is more than noise.
    """
    old = np.asarray(champion_losses, dtype=np.float64)
    new = np.asarray(challenger_losses, dtype=np.float64)
    if old.shape != new.shape or old.size < 2:
        raise ModelDataError("champion and challenger must be compared on the same rows (two up)")
    difference = old - new
    error = float(difference.std(ddof=1) / np.sqrt(difference.size))
    gain = float(difference.mean())
    return {"gain": gain, "standard_error": error, "low": gain - 1.644854 * error}


def population_stability(reference: ArrayLike, current: ArrayLike, bins: int = 10) -> float:
    """Population stability index between two samples of one number; above .2 is a drift.

    Bins are deciles of the reference; missing values are a bin of their own.
    """
    before = distribution(reference, bins)
    return stability(before, count_in(before, current))


def distribution(values: ArrayLike, bins: int = 10) -> dict[str, list[float]]:
    """Edges of the bins and their counts, missing last: all of a sample that a model file keeps."""
    sample = np.asarray(values, dtype=np.float64)
    known = sample[np.isfinite(sample)]
    edges: list[float] = []
    if known.size:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])).tolist()
    counts = count_in({"edges": edges}, sample).tolist()
    return {"edges": edges, "counts": counts}


def count_in(reference: Mapping[str, Sequence[float]], values: ArrayLike) -> Floats:
    """Counts of ``values`` in the bins of ``reference``; counts of batches may be added up."""
    edges = np.asarray(reference["edges"], dtype=np.float64)
    sample = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(sample)
    places = np.searchsorted(edges, sample[finite], side="left")
    counts = np.bincount(places, minlength=len(edges) + 1)
    return np.append(counts, (~finite).sum()).astype(np.float64)


def stability(reference: Mapping[str, Sequence[float]], counts: ArrayLike) -> float:
    """Population stability index of counts in the bins of ``reference``."""

    def shares(numbers: Floats) -> Floats:
        smoothed: Floats = (numbers + 0.5) / (numbers.sum() + 0.5 * len(numbers))
        return smoothed

    old = shares(np.asarray(reference["counts"], dtype=np.float64))
    new = shares(np.asarray(counts, dtype=np.float64))
    return float(((new - old) * np.log(new / old)).sum())
