"""What the same weeks brought a year before: known only where the history is long enough."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import pandas as pd

_YEAR = 364  # 52 weeks: the same weekdays
_LEAST, _MOST = 0.5, 2.0


def season_factors(
    daily_orders: pd.Series, origins: Sequence[date], horizon_days: int
) -> Mapping[date, float]:
    """Factor of each origin: orders of the horizon after it, a year before, over the one before.

    All are 1 unless the history knows the season of **every** origin: a model that learned with
    the season of half of its windows would have it twice in the others.

    Args:
        daily_orders: number of orders of the company by day (index of dates).
        origins: all origins of the fit and the as-of date itself.
        horizon_days: length of the horizon.
    """
    factors = {origin: _factor(daily_orders, origin, horizon_days) for origin in origins}
    if any(factor is None for factor in factors.values()):
        return dict.fromkeys(origins, 1.0)
    return {origin: factor for origin, factor in factors.items() if factor is not None}


def _factor(daily_orders: pd.Series, origin: date, horizon_days: int) -> float | None:
    """Factor of one origin; None where the history does not reach back that far."""
    days = pd.to_datetime(pd.Series(daily_orders.index)).dt.date
    orders = pd.Series(daily_orders.to_numpy(dtype=float), index=days).sort_index()
    then = origin - timedelta(days=_YEAR)
    horizon = timedelta(days=horizon_days)
    if orders.empty or then - horizon < orders.index[0]:
        return None
    after = orders[(orders.index > then) & (orders.index <= then + horizon)].sum()
    before = orders[(orders.index > then - horizon) & (orders.index <= then)].sum()
    return float(min(_MOST, max(_LEAST, after / before))) if before > 0 else 1.0
