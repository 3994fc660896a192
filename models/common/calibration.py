"""Calibration: turning a score that ranks into a probability that holds.

A straight line on the logit (Platt 1999): two numbers, monotone, so it never changes the order
of customers, and it does not overfit on the few thousand rows of one window as a step function
(isotonic) does.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from models.common.errors import ModelDataError

Floats = NDArray[np.float64]
_EDGE = 1e-6


def clip_probability(probability: ArrayLike) -> Floats:
    """Probabilities moved off 0 and 1, so that logits and log losses are finite."""
    clipped: Floats = np.clip(np.asarray(probability, dtype=np.float64), _EDGE, 1.0 - _EDGE)
    return clipped


def fit_logit_line(score: ArrayLike, label: ArrayLike, ridge: float = 1e-6) -> tuple[float, float]:
    """Slope and intercept of a logistic regression of ``label`` on one ``score`` (Newton steps)."""
    values = np.asarray(score, dtype=np.float64)
    truth = np.asarray(label, dtype=np.float64)
    design = np.column_stack([values, np.ones_like(values)])
    weights = np.array([1.0, 0.0])
    for _ in range(50):
        chance = expit(design @ weights)
        gradient = design.T @ (chance - truth) + ridge * (weights - np.array([1.0, 0.0]))
        curve = design.T @ (design * (chance * (1 - chance))[:, None]) + ridge * np.eye(2)
        step = np.linalg.solve(curve, gradient)
        # A full Newton step may overshoot where classes are almost separable.
        weights = weights - np.clip(step, -2.0, 2.0)
        if float(np.abs(step).max()) < 1e-9:
            break
    return float(weights[0]), float(weights[1])


@dataclass(frozen=True)
class LogitCalibration:
    """``probability = expit(slope * logit(raw) + intercept)``."""

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, probability: ArrayLike) -> Floats:
        """Calibrated probabilities of raw ones."""
        raw = logit(clip_probability(probability))
        calibrated: Floats = np.asarray(expit(self.slope * raw + self.intercept))
        return calibrated


def fit_calibration(label: ArrayLike, probability: ArrayLike) -> LogitCalibration:
    """Fit the line on rows that the model was not fitted on.

    With one class only, or a constant score, the slope stays 1 and only the level is moved. A
    slope of zero or below would turn the ranking round and is refused.

    Raises:
        ModelDataError: no rows, or the score ranks the wrong way round.
    """
    truth = np.asarray(label, dtype=np.float64)
    if truth.size == 0:
        raise ModelDataError("there are no rows to calibrate on; give a longer history")
    raw = logit(clip_probability(probability))
    if truth.min() == truth.max() or raw.std() < 1e-9:
        smoothed = (truth.sum() + 0.5) / (truth.size + 1.0)
        return LogitCalibration(1.0, float(logit(smoothed) - raw.mean()))
    slope, intercept = fit_logit_line(raw, truth)
    if slope <= 0.0:
        raise ModelDataError(
            "on later rows the model ranks the wrong way round; it must not be used"
        )
    return LogitCalibration(slope, intercept)
