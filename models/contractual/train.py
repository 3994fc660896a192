"""Training and prediction: a stack of a regularised logistic and two sizes of boosted trees.

The members' weights are fitted on inner out-of-fold predictions (``models.common.stacking``), so
the choice between them is made without a look at the rows that are reported.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from models.common.calibration import clip_probability
from models.common.errors import ModelDataError
from models.common.stacking import stack
from models.common.tabular import TableEncoder
from models.common.threads import threads_for

Floats = NDArray[np.float64]

MIN_CLASS = 10
INNER_FOLDS = 4
MEMBERS = ("logistic regression", "small trees", "large trees")
LEAVES = {"small trees": 5, "large trees": 14}
Member: TypeAlias = LogisticRegression | HistGradientBoostingClassifier


def check_labels(label: Floats) -> None:
    """Refuse labels that nothing can be learned from.

    Raises:
        ModelDataError: one class only, or too few rows of one class.
    """
    positives, rows = int(label.sum()), len(label)
    fewest = min(positives, rows - positives)
    if fewest == 0:
        which = "churned" if positives else "stayed"
        raise ModelDataError(
            f"all {rows} labelled customers {which}: with one class only there is nothing to "
            "learn; add customers of the other kind, or check `label_value`"
        )
    if fewest < MIN_CLASS:
        raise ModelDataError(
            f"only {fewest} of {rows} labelled customers are of the rarer class, at least "
            f"{MIN_CLASS} are needed; give more rows"
        )


@dataclass(frozen=True)
class ContractualModel:
    """A trained model.

    Attributes:
        encoder: how a frame is read.
        members: fitted classifiers by name.
        weights: weight of each member's log-odds, zero or more, in the order of ``members``.
        intercept: of the blend.
        typical: column -> a few typical values with their shares, for reasons.
    """

    encoder: TableEncoder
    members: dict[str, Member]
    weights: Floats
    intercept: float
    typical: dict[str, list[tuple[object, float]]]

    def log_odds(self, readable: pd.DataFrame) -> Floats:
        """Calibrated log-odds of rows that ``encoder.readable`` has read."""
        trees, linear = self.encoder.for_trees(readable), self.encoder.for_linear(readable)
        return self.intercept + self.tree_log_odds(trees) + self.linear_log_odds(linear)

    def tree_log_odds(self, trees: Floats) -> Floats:
        """What the trees add to the blend, on a matrix of ``encoder.for_trees``."""
        total = np.zeros(len(trees))
        with threads_for(len(trees)):
            for weight, (name, member) in zip(self.weights, self.members.items(), strict=True):
                if name in LEAVES:
                    total += weight * _member_log_odds(member, trees)
        return total

    def linear_log_odds(self, linear: Floats) -> Floats:
        """What the logistic adds to the blend, on a matrix of ``encoder.for_linear``."""
        intercept, coefficients = self.linear_part()
        odds: Floats = intercept + linear @ coefficients
        return odds

    def linear_part(self) -> tuple[float, Floats]:
        """Intercept and coefficients of the logistic, times its weight in the blend."""
        for weight, (name, member) in zip(self.weights, self.members.items(), strict=True):
            if name not in LEAVES:
                return float(weight * member.intercept_[0]), weight * member.coef_[0]
        return 0.0, np.zeros(list(self.encoder.linear_slices.values())[-1].stop)

    def predict(self, frame: pd.DataFrame) -> Floats:
        """Churn probability of each row of ``frame``, in (0, 1)."""
        chance: Floats = expit(self.log_odds(self.encoder.readable(frame)))
        return chance


def train(frame: pd.DataFrame, label: Floats, seed: int) -> ContractualModel:
    """Fit on features and 0/1 labels; everything is learned from these rows only.

    Raises:
        ModelDataError: labels or columns that nothing can be learned from.
    """
    check_labels(label)
    encoder = TableEncoder.fit(frame)
    readable = encoder.readable(frame)
    trees, linear = encoder.for_trees(readable), encoder.for_linear(readable)

    def fit_member(name: str, rows: NDArray[np.intp]) -> Member:
        matrix = trees if name in LEAVES else linear
        return _untrained(encoder, name, len(rows), seed).fit(matrix[rows], label[rows])

    with threads_for(len(label)):
        inner = np.zeros((len(label), len(MEMBERS)))
        splits = StratifiedKFold(INNER_FOLDS, shuffle=True, random_state=seed)
        for fit, held in splits.split(trees, label):
            for place, name in enumerate(MEMBERS):
                matrix = trees if name in LEAVES else linear
                inner[held, place] = _member_log_odds(fit_member(name, fit), matrix[held])
        weights, intercept = stack(inner, label)
        everyone = np.arange(len(label))
        members = {
            name: fit_member(name, everyone)
            for name, weight in zip(MEMBERS, weights, strict=True)
            if weight > 0
        }
    return ContractualModel(
        encoder, members, weights[weights > 0], intercept, _typical_values(encoder, readable)
    )


def _untrained(encoder: TableEncoder, name: str, rows: int, seed: int) -> Member:
    if name not in LEAVES:
        # newton-cholesky needs a handful of steps where lbfgs needs hundreds on such columns.
        return LogisticRegression(C=1.0, solver="newton-cholesky", max_iter=100)
    return HistGradientBoostingClassifier(
        learning_rate=0.04,
        max_iter=240 if rows >= 1000 else 120,
        max_leaf_nodes=LEAVES[name],
        max_features=0.4,
        min_samples_leaf=max(5, min(40, rows // 50)),
        l2_regularization=5.0,
        categorical_features=encoder.is_category,
        early_stopping=False,
        random_state=seed,
    )


def _member_log_odds(member: Member, matrix: Floats) -> Floats:
    odds: Floats = logit(clip_probability(member.predict_proba(matrix)[:, 1]))
    return odds


def _typical_values(
    encoder: TableEncoder, readable: pd.DataFrame
) -> dict[str, list[tuple[object, float]]]:
    typical: dict[str, list[tuple[object, float]]] = {}
    for column in encoder.columns:
        values = readable[column.name]
        if column.kind == "category" or column.few:
            counts = values.value_counts(normalize=True).head(4)
            total = float(counts.sum())
            typical[column.name] = [(value, float(n) / total) for value, n in counts.items()]
        else:
            points = values.quantile([1 / 6, 1 / 2, 5 / 6]).tolist()
            typical[column.name] = [(float(point), 1 / 3) for point in points]
    return typical
