"""How good forecasts of orders and spend are: ranking, money at the top, error, total."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

Floats = NDArray[np.float64]
# What is forecast -> the column that holds what came.
TARGETS = {"orders": "future_orders", "spend": "future_spend_cents"}
MOST_OFF = 2.0


def figures(label_orders: Floats, label: Floats, forecast: Floats) -> dict[str, float]:
    """Figures of one forecast of orders or spend.

    ``auc``: does it rank who buys at all; ``top_tenth``: share of the sum that the tenth with the
    highest forecasts brings; ``error``: mean absolute error a customer, in orders where customers
    make less than one on average, else as a share of the mean (of spend: as many mean orders);
    ``total``: forecast sum over the sum that came.
    """
    bought = label_orders > 0
    one_class = bought.all() or not bought.any()
    top = np.argsort(-forecast, kind="stable")[: max(1, round(len(forecast) * 0.1))]
    total = max(float(label.sum()), 1e-9)
    return {
        "auc": float("nan") if one_class else float(roc_auc_score(bought, forecast)),
        "top_tenth": float(label[top].sum() / total),
        "error": float(np.abs(forecast - label).mean() / max(label.mean(), 1e-9))
        * min(1.0, float(label_orders.mean())),
        "total": float(forecast.sum() / total),
    }


def compare(
    frame: pd.DataFrame, forecasts: Mapping[str, Mapping[str, Floats]], season: float = 1.0
) -> pd.DataFrame:
    """A row a target and candidate on the rows of one window; ``season`` multiplies forecasts."""
    orders = frame["future_orders"].to_numpy(dtype=np.float64)
    rows = []
    for target, column in TARGETS.items():
        label = np.maximum(frame[column].to_numpy(dtype=np.float64), 0.0)
        rows += [
            {"target": target, "forecast": name, **figures(orders, label, values * season)}
            for name, values in forecasts[target].items()
        ]
    return pd.DataFrame(rows)


def shortfall(table: pd.DataFrame, target: str) -> pd.Series:
    """How far each candidate stays behind the best, summed over AUC, top tenth and error.

    Where most customers buy nothing, forecasting nothing has a small error: a candidate whose total
    is off by more than ``MOST_OFF`` comes behind all others.
    """
    rows = table[table["target"] == target].set_index("forecast")
    return (
        (rows["auc"].max() - rows["auc"]).fillna(0.0)
        + (rows["top_tenth"].max() - rows["top_tenth"])
        + (rows["error"] - rows["error"].min())
        + 10.0 * ((rows["total"] > MOST_OFF) | (rows["total"] < 1.0 / MOST_OFF))
    )
