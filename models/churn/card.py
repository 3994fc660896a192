"""The card of a churn model."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from models.churn.evaluate import Evaluation
from models.churn.train import BOOSTING, ChurnModel
from models.common.card import (
    CardTable,
    ModelCard,
    bars_picture,
    calibration_picture,
    gain_picture,
)
from models.common.features import FEATURES, GROUP_OF, GROUPS
from models.common.metrics import calibration_bins
from models.common.windows import Windows


def churn_card(
    model: ChurnModel,
    evaluation: Evaluation,
    windows: Windows,
    facts: Mapping[str, object] | None = None,
) -> ModelCard:
    """Card with figures of the report window, the simple rules beside them."""
    figures = evaluation.metrics
    best = evaluation.best_rule
    best_auc = evaluation.auc_of[best]
    if model.chosen == BOOSTING:
        verdict = (
            f"Gradient boosting is used: it beat every simple rule on the choice window. On the "
            f"report window its AUC is {figures['auc']:.3f}; the best rule there, {best}, has "
            f"{best_auc:.3f}."
        )
        if figures["auc"] <= best_auc:
            verdict += " **On the report window it does not beat the best rule.**"
    else:
        verdict = (
            f"**The rule `{model.chosen}` is used:** gradient boosting did not beat it on the "
            f"choice window. On the report window the rule's AUC is {figures['auc']:.3f}."
        )
    top_rate = figures["lift_top_tenth"] * figures["base_rate"]
    verdict += (
        f" Of the tenth with the highest risk, {top_rate:.0%}"
        f" stayed away, {figures['lift_top_tenth']:.1f} times the average of"
        f" {figures['base_rate']:.0%}."
    )
    horizon = windows.horizon_days
    return ModelCard(
        title=f"Churn risk: no purchase in the next {horizon} days",
        summary=verdict,
        facts={
            **(facts or {}),
            "horizon (days)": horizon,
            "training origins": f"{windows.training[0]} to {windows.training[-1]}"
            f" ({len(windows.training)})",
            "calibration origin": windows.calibration,
            "choice origin": windows.choice,
            "report origin (used for no choice)": windows.report,
            "customers in the report window": int(figures["rows"]),
            "new customers get": _prior(model.new_rate, model.new_rows),
            f"no purchase for {model.lapsed_days} days gets": _prior(
                model.lapsed_rate, model.lapsed_rows
            ),
            "seed": model.seed,
        },
        tables=[
            CardTable(
                "On the report window",
                evaluation.table,
                "Each score was fitted on the training origins and calibrated on the calibration "
                "origin. Slope 1 and intercept 0 are perfect calibration.",
            ),
            CardTable(
                "On the choice window",
                pd.DataFrame([{"score": name, **one} for name, one in model.choice.items()]),
            ),
            CardTable(
                "Calibration on the report window",
                calibration_bins(evaluation.label, evaluation.probabilities["used"]),
            ),
        ],
        pictures=[
            calibration_picture(evaluation.label, evaluation.probabilities["used"]),
            gain_picture(
                evaluation.label,
                {
                    model.chosen: evaluation.probabilities["used"],
                    **{
                        name: chance
                        for name, chance in evaluation.probabilities.items()
                        if name not in {"used", model.chosen}
                    },
                },
            ),
            bars_picture(
                list(GROUPS),
                _importance(model),
                "What the boosting looks at (share of gain)",
                "importance",
            ),
        ],
        limits=[
            "It says who is likely to stay away, not who would come back if asked: that is uplift.",
            "It has seen purchases only; a move of house or a complaint is unknown to it.",
            f"A season that the history before {windows.training[0]} does not hold is unknown "
            "to it; watch the calibration after a holiday.",
            "A probability marked as prior is the past rate of the customer's group.",
        ],
    )


def _prior(rate: float, rows: int) -> str:
    return f"{rate:.3f} ({f'rate of {rows:,} in the past' if rows else 'none were seen yet'})"


def unchecked_card(
    model: ChurnModel, why: str, facts: Mapping[str, object] | None = None
) -> ModelCard:
    """The card of a model that no past window could check."""
    horizon = model.horizon_days
    return ModelCard(
        title=f"Churn risk: no purchase in the next {horizon} days",
        summary=(
            f"**Nothing has checked these probabilities:** {why}. They come from each customer's "
            "own pace by a buy-till-you-die model (MBG/NBD); use them to rank, and read the level "
            f"({model.base_rate:.0%} on average) with care."
        ),
        facts={**(facts or {}), "horizon (days)": horizon, "parameters": model.btyd},
        limits=["There are no figures, because no window of the past was long enough."],
    )


def _importance(model: ChurnModel) -> list[float]:
    assert model.estimator is not None
    gains = np.zeros(len(FEATURES))
    for (tree,) in model.estimator._predictors:
        inner = ~tree.nodes["is_leaf"].astype(bool)
        places = np.asarray(model.columns)[tree.nodes["feature_idx"][inner].astype(int)]
        np.add.at(gains, places, tree.nodes["gain"][inner])
    total = gains.sum() or 1.0
    return [float(gains[[one == group for one in GROUP_OF]].sum() / total) for group in GROUPS]
