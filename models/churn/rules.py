"""The simple rules that a model has to beat, each made into a probability of its own."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from models.common.btyd import BuyTillYouDie, purchases
from models.common.calibration import clip_probability

Floats = NDArray[np.float64]
LOGISTIC = "three-variable logistic"
BTYD = "buy till you die"
LAST_PERIOD = "last period"
_LOGISTIC_INPUTS = ("recency_days", "orders_13w", "tenure_days")


def _log(frame: pd.DataFrame, name: str) -> Floats:
    values: Floats = np.log1p(frame[name].to_numpy(dtype=np.float64, na_value=0.0))
    return values


# Higher means more likely to stay away.
SCORES: dict[str, Callable[[pd.DataFrame, int], Floats]] = {
    "recency": lambda frame, _: _log(frame, "recency_days"),
    "13-week frequency": lambda frame, _: -_log(frame, "orders_13w"),
    LAST_PERIOD: lambda frame, horizon_days: (
        frame["recency_days"].to_numpy(dtype=np.float64) >= horizon_days
    ).astype(np.float64),
}
NAMES: tuple[str, ...] = (*SCORES, LOGISTIC, BTYD)


def fit_logistic(frame: pd.DataFrame, churned: Floats) -> list[float]:
    """Weights of log recency, log 13-week frequency and log tenure, and the constant."""
    inputs = np.column_stack([_log(frame, name) for name in _LOGISTIC_INPUTS])
    fitted = LogisticRegression(max_iter=500).fit(inputs, churned)
    return [*map(float, fitted.coef_[0]), float(fitted.intercept_[0])]


def rule_scores(
    frame: pd.DataFrame, horizon_days: int, logistic: list[float], btyd: list[float]
) -> dict[str, Floats]:
    """Score of every rule that has been fitted; they only rank, calibration does the rest."""
    scores = {name: score(frame, horizon_days) for name, score in SCORES.items()}
    if logistic:
        *weights, constant = logistic
        inputs = np.column_stack([_log(frame, name) for name in _LOGISTIC_INPUTS])
        scores[LOGISTIC] = inputs @ np.asarray(weights) + constant
    if btyd:
        scores[BTYD] = btyd_score(BuyTillYouDie(*btyd), frame, horizon_days)
    return scores


def btyd_score(fitted: BuyTillYouDie, frame: pd.DataFrame, horizon_days: int) -> Floats:
    """Logit of exp(-expected purchases).

    The expected number ranks better than the model's own probability of none: on CDNOW, 39 weeks
    ahead, AUC .773 against .760.
    """
    expected = fitted.expected(purchases(frame), horizon_days / 7.0)
    score: Floats = logit(clip_probability(np.exp(-expected)))
    return score
