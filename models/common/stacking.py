"""Blending members by weights of zero or more, fitted on out-of-fold log-odds.

One step chooses between the members, blends them and calibrates the blend (Wolpert 1992;
Breiman 1996 on weights of zero or more).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from models.common.metrics import log_losses

Floats = NDArray[np.float64]


def stack(inner: Floats, label: Floats) -> tuple[Floats, float]:
    """Weights and intercept of members' log-odds (rows, members), by log loss.

    A member that adds less than .01 gets 0. If none predicts, the first keeps a weight of
    nearly nothing and the intercept is the base rate.
    """

    def loss(parameters: Floats) -> tuple[float, Floats]:
        chance = expit(inner @ parameters[:-1] + parameters[-1])
        error = (chance - label) / len(label)
        # A whiff of ridge towards equal weights: members agree so much that the split between
        # them would otherwise be decided by noise.
        pull = parameters[:-1] - 1.0 / inner.shape[1]
        value = float(log_losses(label, chance).mean() + 1e-3 * (pull @ pull))
        return value, np.append(inner.T @ error + 2e-3 * pull, error.sum())

    start = np.append(np.full(inner.shape[1], 1.0 / inner.shape[1]), 0.0)
    bounds = [(0.0, None)] * inner.shape[1] + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    weights: Floats = np.where(found.x[:-1] < 0.01, 0.0, found.x[:-1])
    if not weights.any():
        weights[0] = 1e-9
    return weights, float(found.x[-1])
