"""Expected orders and spend of customers, with interval and tier."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import nbinom

from models.common.btyd import purchases
from models.value.train import HIGH, LOW, ValueModel, forecasts

Floats = NDArray[np.float64]
# Share of customers from the top that a tier begins at.
TIERS = {"top": 0.0, "high": 0.1, "middle": 0.3, "low": 0.7}


def predict(
    model: ValueModel, frame: pd.DataFrame, season: float = 1.0, threads: int = 1
) -> pd.DataFrame:
    """Forecasts with the index of ``frame``.

    Returns:
        ``expected_orders``, ``expected_spend`` (in the unit of the amounts, not in cents), each
        with ``_low`` and ``_high`` (80 % interval), and ``tier`` by expected spend.
    """
    made = forecasts(model, frame, threads, only_used=True)
    orders = made["orders"][model.chosen["orders"]]
    cents = made["spend"][model.chosen["spend"]]
    if model.intervals:
        orders_low, orders_high = model.intervals["orders"].read(orders)
        cents_low, cents_high = model.intervals["spend"].read(cents)
    else:
        orders_low, orders_high = _own_interval(model, frame, orders)
        basket = cents / np.maximum(orders, 1e-9)
        cents_low, cents_high = orders_low * basket, np.maximum(orders_high * basket, cents)
    columns = {
        "expected_orders": orders,
        "expected_orders_low": orders_low,
        "expected_orders_high": orders_high,
        "expected_spend": cents / 100,
        "expected_spend_low": cents_low / 100,
        "expected_spend_high": cents_high / 100,
    }
    scores = pd.DataFrame({name: values * season for name, values in columns.items()})
    scores.index = frame.index
    scores["tier"] = tiers(scores["expected_spend"].to_numpy())
    return scores


def tiers(spend: Floats) -> list[str]:
    """Tier of each customer by rank: the top tenth, the next fifth, the next two, the rest."""
    rank = pd.Series(-spend).rank(method="first").to_numpy() - 1
    share = rank / max(1, len(spend))
    names = np.array(list(TIERS))
    places = np.searchsorted(np.array(list(TIERS.values())), share, side="right") - 1
    return [str(name) for name in names[places]]


def _own_interval(
    model: ValueModel, frame: pd.DataFrame, expected: Floats
) -> tuple[Floats, Floats]:
    """Quantiles of the process itself: stopped, or a negative binomial number of purchases."""
    given = purchases(frame)
    alive = np.clip(model.btyd.alive(given), 1e-6, 1.0)
    shape = model.btyd.r + given.repeats
    mean = np.maximum(expected / alive, 1e-9)
    bounds = []
    for quantile in (LOW, HIGH):
        of_living = (quantile - (1.0 - alive)) / alive
        bound = nbinom.ppf(np.clip(of_living, 0.0, 1.0 - 1e-9), shape, shape / (shape + mean))
        bounds.append(np.where(of_living <= 0, 0.0, np.maximum(bound, 0.0)))
    return np.minimum(bounds[0], expected), np.maximum(bounds[1], expected)
