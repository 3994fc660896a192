"""The card of sentiment scores, with labels and without."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.common.card import (
    CardTable,
    ModelCard,
    calibration_picture,
    drift_picture,
    gain_picture,
)
from models.sentiment.evaluate import Evaluation, sentiment_metrics

Floats = NDArray[np.float64]

LIMITS = (
    "Irony is not understood. Languages other than Chinese and English are guessed from emoji "
    "and loan words.",
    "A sentence about a third party counts as one about the company.",
)


def labelled_card(
    label: Floats, evaluation: Evaluation, folds: int, seed: int, enough: int
) -> ModelCard:
    """Figures of the company's own model, the model without labels and the majority beside it."""
    majority = max(label.mean(), 1 - label.mean())
    rows = [{"who": "own texts learned", **sentiment_metrics(label, evaluation.sentiment)}]
    if evaluation.without_labels is not None:
        rows.append(
            {"who": "without labels", **sentiment_metrics(label, evaluation.without_labels)}
        )
    rows.append({"who": "majority", "accuracy": majority, "auc": 0.5, "pr_auc": label.mean()})
    table = pd.DataFrame(rows)[["who", "accuracy", "auc", "pr_auc", "brier", "calibration_slope"]]
    first = table.iloc[0]
    probability = (evaluation.sentiment + 1.0) / 2.0
    return ModelCard(
        title="Sentiment, learned from rated texts",
        summary=(
            f"Out of fold {first['accuracy']:.1%} of the texts get the right sign (saying "
            f"'positive' or 'negative' for all: {majority:.1%}), AUC {first['auc']:.3f}."
        ),
        facts={
            "rated texts": len(label),
            "positive": f"{label.mean():.1%}",
            "evaluation": f"{folds} folds, seed {seed}, out of fold",
            "general model helps": "yes" if len(label) < enough else f"no: from {enough} on",
        },
        tables=[CardTable("Figures", table), aspects_table(evaluation.aspects)],
        pictures=[
            calibration_picture(label, probability),
            gain_picture(1 - label, {"model": 1 - probability}, what="negative texts"),
        ],
        limits=list(LIMITS),
    )


def unlabelled_card(sentiment: Floats, aspects: pd.DataFrame, empty: int) -> ModelCard:
    """What can be said without ratings: how the scores lie, and that they are not checked."""
    return ModelCard(
        title="Sentiment, without labels",
        summary=(
            f"{np.mean(sentiment > 0.2):.0%} of {len(sentiment):,} texts are positive, "
            f"{np.mean(sentiment < -0.2):.0%} negative. Nothing here was checked against ratings: "
            "map `label` to have it learned and measured."
        ),
        facts={"texts": len(sentiment), "empty (scored 0)": empty},
        tables=[aspects_table(aspects)],
        pictures=[
            drift_picture(sentiment, sentiment, "How the scores lie", "distribution"),
        ],
        limits=list(LIMITS),
    )


def aspects_table(aspects: pd.DataFrame) -> CardTable:
    """How often each aspect is named, and how it is spoken of."""
    frame = pd.DataFrame(
        {
            "aspect": aspects.columns,
            "texts": aspects.notna().sum().to_numpy(),
            "mean_sentiment": aspects.mean().to_numpy(),
            "negative_share": [float((one.dropna() < 0).mean()) for _, one in aspects.items()],
        }
    )
    return CardTable("What is spoken of", frame)
