"""From texts to sentiment in [-1, 1], for the whole text and for what it speaks of."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from models.sentiment.features import tidy
from models.sentiment.lexicon import ASPECT_PATTERNS, CLAUSE

Floats = NDArray[np.float64]


class Scorer(Protocol):
    """Anything that gives log-odds of positive for texts."""

    def log_odds(self, texts: Sequence[str]) -> Floats:
        """Log-odds that each text is positive."""


def to_sentiment(log_odds: Floats) -> Floats:
    """Twice the probability of positive, minus one: -1 is surely negative, 0 is open."""
    sentiment: Floats = 2.0 * expit(log_odds) - 1.0
    return sentiment


def predict(model: Scorer, texts: Sequence[str]) -> Floats:
    """Sentiment of each text in [-1, 1]; an empty text says nothing: 0."""
    sentiment = to_sentiment(model.log_odds(texts))
    sentiment[np.array([not text.strip() for text in texts], dtype=bool)] = 0.0
    return sentiment


def aspect_sentiment(model: Scorer, texts: Sequence[str]) -> pd.DataFrame:
    """Sentiment by aspect (delivery, quality, price, service); NaN where it is not mentioned.

    Scored from the clauses that name the aspect, so that "fast delivery, but it broke" is good
    on the one and bad on the other.
    """
    found: dict[str, list[tuple[int, str]]] = {aspect: [] for aspect in ASPECT_PATTERNS}
    for row, text in enumerate(texts):
        # Most texts name no aspect at all: look at the whole before cutting it up.
        whole = tidy(text)
        named = [name for name, pattern in ASPECT_PATTERNS.items() if pattern.search(whole)]
        if named:
            clauses = [part for part in CLAUSE.split(whole) if part and part.strip()]
            for name in named:
                said = "，".join(part for part in clauses if ASPECT_PATTERNS[name].search(part))
                found[name].append((row, said or whole))
    frame = pd.DataFrame(index=range(len(texts)))
    for aspect, mentions in found.items():
        values = np.full(len(texts), np.nan)
        if mentions:
            # Many say the same few words of an aspect.
            which, distinct = pd.factorize(np.array([said for _, said in mentions], dtype=object))
            values[[row for row, _ in mentions]] = predict(model, distinct.tolist())[which]
        frame[aspect] = values
    return frame
