"""Out-of-fold evaluation of the company's own model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from models.common.errors import ModelDataError
from models.common.metrics import binary_metrics
from models.sentiment.predict import aspect_sentiment, predict
from models.sentiment.train import GeneralModel, check_labels, train

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """Out-of-fold sentiment of each text, and by aspect; the general model's beside it."""

    sentiment: Floats
    aspects: pd.DataFrame
    without_labels: Floats | None


def cross_validate(
    texts: Sequence[str], label: Floats, folds: int, seed: int, general: GeneralModel | None
) -> Evaluation:
    """Score every text by a model of the other folds.

    Args:
        texts: rated texts.
        label: 1 positive, 0 negative.
        folds: two or more.
        seed: of the folds.
        general: model without labels, learned from texts that do not overlap with these.

    Raises:
        ModelDataError: fewer than two folds, or labels that nothing can be learned from.
    """
    if folds < 2:
        raise ModelDataError(f"{folds} folds cannot be held out; use 2 or more")
    check_labels(label)
    if min(label.sum(), len(label) - label.sum()) < 2 * folds:
        raise ModelDataError(f"too few rated texts for {folds} folds; use fewer folds")
    sentiment = np.zeros(len(label))
    aspects = []
    for fit, held in StratifiedKFold(folds, shuffle=True, random_state=seed).split(label, label):
        model = train([texts[int(row)] for row in fit], label[fit], seed, general)
        rest = [texts[int(row)] for row in held]
        sentiment[held] = predict(model, rest)
        aspects.append(aspect_sentiment(model, rest).set_index(held))
    beside = None if general is None else predict(general, texts)
    return Evaluation(sentiment, pd.concat(aspects).sort_index(), beside)


def sentiment_metrics(label: Floats, sentiment: Floats) -> dict[str, float]:
    """Figures of ``binary_metrics``, and the accuracy of the sign."""
    return {
        "accuracy": float(((sentiment > 0) == (label == 1)).mean()),
        **binary_metrics(label, (np.clip(sentiment, -1.0, 1.0) + 1.0) / 2.0),
    }
