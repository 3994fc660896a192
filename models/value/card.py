"""The card of a value model."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.common.card import (
    CardTable,
    ModelCard,
    Picture,
    forecast_picture,
    gain_picture,
)
from models.common.windows import Windows
from models.value.train import ValueModel

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """The report window to draw with: forecasts of orders by candidate, what came, spend beside."""

    orders: Mapping[str, Floats]
    came: Floats
    spend: Floats
    spend_came: Floats


def value_card(
    model: ValueModel,
    windows: Windows | None,
    season: Mapping[date, float],
    report: pd.DataFrame | None,
    coverage: Mapping[str, float] | None,
    why: str = "",
    facts: Mapping[str, object] | None = None,
    drawn: Drawn | None = None,
) -> ModelCard:
    """Card with figures of the report window, all candidates beside the chosen ones."""
    horizon = model.horizon_days
    title = f"Customer value: orders and spend in the next {horizon} days"
    if windows is None or report is None or coverage is None:
        return ModelCard(
            title=title,
            summary=(
                f"**Nothing has checked these forecasts:** {why}. They come from buy till you die "
                "(Pareto/NBD) and gamma-gamma, fitted on each customer's own purchases; the "
                "interval "
                "is that of the process."
            ),
            facts={
                **(facts or {}),
                "pace and stopping (r, alpha, s, beta)": model.btyd.parameters,
                "spend a purchase (p, q, v in cents)": model.basket.parameters,
            },
        )
    used = {
        target: report[(report["target"] == target) & (report["forecast"] == name)].iloc[0]
        for target, name in model.chosen.items()
    }
    known = any(factor != 1.0 for factor in season.values())
    summary = " ".join(
        f"Expected {target} comes from **{name}**: on the report window its total was "
        f"{float(used[target]['total']):.0%} of what came, its top tenth brought "
        f"{float(used[target]['top_tenth']):.0%} of all, AUC {float(used[target]['auc']):.3f}; "
        f"{coverage[target]:.0%} of customers were within the 80 % interval."
        for target, name in model.chosen.items()
    )
    limits = [
        "Candidates were fitted, brought to level and chosen on earlier windows; the report window "
        "was used for nothing else.",
        "A forecast of one customer is uncertain; sums over many are what it is good for.",
    ]
    if not known:
        limits.append(
            "The season is unknown: the history does not hold the same weeks a year before all "
            "windows. Across a holiday peak the total can be far off."
        )
    table = report.assign(used=report["target"].map(model.chosen) == report["forecast"])
    choice = [] if model.choice is None else [CardTable("On the choice window", model.choice)]
    return ModelCard(
        title=title,
        summary=summary,
        facts={
            **(facts or {}),
            "training origins": f"{windows.training[0]} to {windows.training[-1]}"
            f" ({len(windows.training)})",
            "calibration origin": windows.calibration,
            "choice origin": windows.choice,
            "report origin (used for no choice)": windows.report,
            "season": "the same weeks a year before" if known else "unknown",
        },
        tables=[
            CardTable(
                "On the report window",
                table,
                "AUC: who buys at all. Top tenth: share of the sum by the customers forecast "
                "highest. Error: mean absolute error a customer, in orders (spend: mean orders); "
                "where customers make more than one on average, as a share of the mean. Total: "
                "forecast over what came.",
            ),
            *choice,
        ],
        pictures=[] if drawn is None else _pictures(model, drawn),
        limits=limits,
    )


def _pictures(model: ValueModel, drawn: Drawn) -> list[Picture]:
    used = model.chosen["orders"]
    names = [used, *(name for name in drawn.orders if name != used)]
    return [
        forecast_picture(drawn.orders[used], drawn.came, "orders"),
        forecast_picture(drawn.spend / 100, drawn.spend_came / 100, "spend", "calibration-spend"),
        gain_picture(
            (drawn.came > 0).astype(float),
            {name: drawn.orders[name] for name in names},
            what="buyers",
        ),
    ]
