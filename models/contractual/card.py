"""The card of a churn model with a given label."""

import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from models.common.card import (
    CardTable,
    ModelCard,
    bars_picture,
    calibration_picture,
    gain_picture,
)
from models.common.metrics import calibration_bins
from models.contractual.evaluate import Evaluation, metrics_table


def make_card(label: NDArray, evaluation: Evaluation, folds: int, seed: int) -> ModelCard:
    """Everything a reader needs to trust or to refuse these probabilities."""
    table = metrics_table(label, evaluation)
    model = table.iloc[0]
    rival = max(list(evaluation.rules)[:2], key=lambda r: roc_auc_score(label, evaluation.rules[r]))
    beside = table[table["who"] == rival].iloc[0]
    gain = model["auc"] - beside["auc"]
    verdict = "better than" if gain > 0.002 else "no better than"
    summary = (
        f"Out of fold the model ranks churners with AUC {model['auc']:.3f} (Brier "
        f"{model['brier']:.4f}); it is {verdict} the best naive rule ({rival}: "
        f"{beside['auc']:.3f}). The tenth of customers with the highest scores churns "
        f"{model['lift_top_tenth']:.1f} times as often as all."
    )
    if evaluation.leaks:
        names = ", ".join(evaluation.leaks)
        summary += f" WARNING: {names} may know the answer; these figures may be too good."
    leaks = CardTable(
        "Suspected leaks",
        pd.DataFrame(list(evaluation.leaks.items()), columns=["column", "why"]),
        "Columns that know the answer too well. Where one is written after the customer left, "
        "list it under `ignore:` in the mapping.",
    )
    blend = ", ".join(f"{name} {weight:.2f}" for name, weight in evaluation.weights.items())
    strongest = list(evaluation.importance)[:12]
    return ModelCard(
        title="Churn with a given label",
        summary=summary,
        facts={
            "customers": len(label),
            "churned": f"{label.mean():.1%}",
            "evaluation": f"{folds} folds, seed {seed}, each row scored by the other folds' model",
            "blend (weights of log-odds)": blend,
            "columns used": len(evaluation.importance),
        },
        tables=[
            CardTable("Figures beside the naive rules", table),
            CardTable(
                "Calibration",
                calibration_bins(label, evaluation.probability),
                "Ten groups of equal size; the observed rate with its 95 % interval.",
            ),
            *([leaks] if evaluation.leaks else []),
        ],
        pictures=[
            calibration_picture(label, evaluation.probability),
            gain_picture(label, {"model": evaluation.probability, **evaluation.rules}),
            bars_picture(
                strongest,
                [evaluation.importance[name] for name in strongest],
                "What moves the score",
                "importance",
                "mean absolute change of log-odds",
            ),
        ],
        limits=[
            "The probability holds for customers like these, over the period that the label "
            "covers; another period needs new labels.",
            "Reasons say what the model uses; they are not causes.",
            *([] if evaluation.leaks else ["No single column almost determines the label."]),
            *evaluation.notes,
        ],
    )
