"""A customer's sentiment over time: an index that forgets, and an alarm when it drops.

Pure functions over a frame with ``customer_id``, ``at`` (UTC) and ``sentiment`` in [-1, 1], one
row a text. Texts after ``as_of`` are not known yet and are not looked at.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.common.errors import ModelDataError

HALF_LIFE_DAYS = 60.0
PRIOR_TEXTS = 1.0
# Standard errors from which on a change is more than chance (one-sided, 95 %).
CLEAR = 1.64


def _known(frame: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    missing = {"customer_id", "at", "sentiment"} - set(frame.columns)
    if missing:
        raise ModelDataError(f"columns are missing: {', '.join(sorted(missing))}")
    known = frame[(frame["at"] <= as_of) & np.isfinite(frame["sentiment"])]
    if (known["sentiment"].abs() > 1).any():
        raise ModelDataError("sentiment must lie between -1 and 1")
    return known


def sentiment_index(
    frame: pd.DataFrame, as_of: pd.Timestamp, half_life_days: float = HALF_LIFE_DAYS
) -> pd.DataFrame:
    """Index of each customer as of a moment.

    A text weighs half after ``half_life_days``; a prior of one neutral text keeps a single
    outburst from looking like a conviction. Returns ``customer_id``, ``sentiment_index`` in
    (-1, 1), ``texts``, ``last_at`` and ``weight`` (how much recent text it stands on).
    """
    known = _known(frame, as_of)
    age = (as_of - known["at"]).dt.total_seconds() / 86_400
    weight = np.exp2(-age / half_life_days)
    table = known.assign(weight=weight, weighted=weight * known["sentiment"])
    grouped = table.groupby("customer_id", sort=True)
    sums = grouped[["weight", "weighted"]].sum()
    return pd.DataFrame(
        {
            "sentiment_index": sums["weighted"] / (sums["weight"] + PRIOR_TEXTS),
            "texts": grouped.size(),
            "last_at": grouped["at"].max(),
            "weight": sums["weight"],
        }
    ).reset_index()


@dataclass(frozen=True)
class Sides:
    """Each customer's texts of the last days beside those before, as ``compare_sides`` finds them.

    Attributes:
        means, counts: columns ``before`` and ``recent``; NaN and 0 where there is no text.
        drop: how much lower the recent mean is.
        z_value: the drop in standard errors, with the texts' spread pooled over all customers,
            because two texts do not show their own.
    """

    means: pd.DataFrame
    counts: pd.DataFrame
    drop: pd.Series
    z_value: pd.Series


def compare_sides(frame: pd.DataFrame, as_of: pd.Timestamp, window_days: int) -> Sides:
    """Split what each customer wrote at ``window_days`` before ``as_of``."""
    known = _known(frame, as_of)
    recent = known["at"] > as_of - pd.Timedelta(days=window_days)
    table = known.assign(side=np.where(recent, "recent", "before"))
    stats = table.groupby(["customer_id", "side"])["sentiment"].agg(["mean", "size", "var"])
    freedom = (stats["size"] - 1).clip(lower=0)
    pooled = float((stats["var"].fillna(0.0) * freedom).sum() / max(1, int(freedom.sum())))
    sides = ["before", "recent"]
    means = stats["mean"].unstack("side").reindex(columns=sides)
    counts = stats["size"].unstack("side").reindex(columns=sides).fillna(0).astype(int)
    drop = means["before"] - means["recent"]
    error = np.sqrt(max(pooled, 0.05) * (1 / counts["before"] + 1 / counts["recent"]))
    return Sides(means, counts, drop, drop / error)


def trend(sides: Sides) -> pd.Series:
    """``better``, ``worse`` or ``steady`` by customer; missing without texts on both sides.

    Steady is what lies within 1.64 standard errors.
    """
    words = pd.Series("steady", index=sides.drop.index, dtype=object)
    words[sides.z_value > CLEAR] = "worse"
    words[sides.z_value < -CLEAR] = "better"
    words[sides.z_value.isna()] = None
    return words


def drop_alarms(
    frame: pd.DataFrame,
    as_of: pd.Timestamp,
    window_days: int = 30,
    min_drop: float = 0.4,
    min_texts: int = 2,
) -> pd.DataFrame:
    """Customers whose last ``window_days`` are clearly worse than what they wrote before.

    Three things must hold: ``min_texts`` on both sides, a drop of the mean by ``min_drop`` to
    below zero, and a drop of more than 1.64 standard errors. Returns ``customer_id``, ``before``,
    ``recent``, ``drop``, ``z_value`` and ``texts``, the worst first.
    """
    return alarms_of(compare_sides(frame, as_of, window_days), min_drop, min_texts)


def alarms_of(sides: Sides, min_drop: float, min_texts: int) -> pd.DataFrame:
    """See ``drop_alarms``."""
    alarms = sides.means.assign(
        drop=sides.drop, z_value=sides.z_value, texts=sides.counts.sum(axis=1)
    )
    enough = (sides.counts >= min_texts).all(axis=1)
    clear = (alarms["drop"] >= min_drop) & (alarms["recent"] < 0) & (alarms["z_value"] > CLEAR)
    return alarms[enough & clear].sort_values("drop", ascending=False).reset_index()
