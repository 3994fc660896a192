"""Learners of uplift.

- *shared model*, the one to use: one model of the outcome with the arm, the features, and their
  products with the arm, which are shrunk hardest. Where the data cannot tell whom a campaign
  moves more, it falls back to one effect (on the odds, for a response) for all, instead of to
  noise as the other two do; so it is never far behind the rule "send to likely buyers".

- *two-model*: the outcome with treatment minus the outcome without, from two models.
- *class transformation* (Jaskowski and Jaroszewicz 2012): one model of "treated and responded,
  or not treated and not responded", rows weighed by the inverse share of their arm; for numbers,
  the transformed outcome (Athey and Imbens 2016).

All are linear in bent lines and flags, strongly regularised: differences of responses are small
against their noise, and flexible learners fit the noise.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from models.common.errors import ModelDataError
from models.common.tabular import TableEncoder

Floats = NDArray[np.float64]
Learner: TypeAlias = LogisticRegression | Ridge

MIN_ARM = 50
MIN_RESPONSES = 10
_C, _ALPHA = 0.003, 1000.0
_ARM_SCALE, _PRODUCT_SCALE = 10.0, 0.3


def check_campaign(treatment: Floats, outcome: Floats) -> None:
    """Refuse campaigns from which no effect can be learned.

    Raises:
        ModelDataError: one arm only, arms that are too small, or an outcome without variation.
    """
    treated = int(treatment.sum())
    arms = {"treated": treated, "not treated": len(treatment) - treated}
    for name, rows in arms.items():
        if rows == 0:
            raise ModelDataError(
                f"nobody is {name}: without two arms there is no uplift; check `treatment_value`"
            )
        if rows < MIN_ARM:
            raise ModelDataError(
                f"only {rows} customers are {name}, at least {MIN_ARM} are needed; give more rows"
            )
    if outcome.min() == outcome.max():
        raise ModelDataError(
            "every customer has the same outcome: nothing to learn; check the outcome's column"
        )
    if is_flag(outcome) and min(outcome.sum(), (1 - outcome).sum()) < MIN_RESPONSES:
        raise ModelDataError(
            f"fewer than {MIN_RESPONSES} customers responded (or did not); give more rows"
        )


def is_flag(outcome: Floats) -> bool:
    """Whether the outcome is 0/1 and not an amount."""
    return bool(np.isin(outcome, (0.0, 1.0)).all())


@dataclass(frozen=True)
class UpliftModel:
    """Fitted learners; all read the same encoding.

    Attributes:
        encoder: how a frame is read.
        scaler: brings the encoded columns to one scale, so that one penalty suits all.
        shared: model of the outcome with features, arm, and their products.
        with_treatment, without_treatment: the two models.
        transformed: the class transformation's model.
        response: model of the outcome over both arms; the naive rule "send to likely buyers".
    """

    encoder: TableEncoder
    scaler: StandardScaler
    shared: Learner
    with_treatment: Learner
    without_treatment: Learner
    transformed: Learner
    response: Learner

    def predict_all(self, frame: pd.DataFrame) -> dict[str, Floats]:
        """Uplift by learner, and the naive response score, for each row of ``frame``."""
        matrix = self.scaler.transform(self.encoder.for_linear(self.encoder.readable(frame)))
        two = _expected(self.with_treatment, matrix) - _expected(self.without_treatment, matrix)
        one = _expected(self.transformed, matrix)
        if isinstance(self.transformed, LogisticRegression):
            one = 2.0 * one - 1.0
        arm = np.ones(len(matrix))
        shared = _expected(self.shared, _with_arm(matrix, arm))
        shared -= _expected(self.shared, _with_arm(matrix, 0.0 * arm))
        return {
            "uplift": shared,
            "two models": two,
            "class transformation": one,
            "response model": _expected(self.response, matrix),
        }

    def predict(self, frame: pd.DataFrame) -> Floats:
        """Uplift of each row: the outcome that treatment adds, in units of the outcome."""
        return self.predict_all(frame)["uplift"]


def train(frame: pd.DataFrame, treatment: Floats, outcome: Floats) -> UpliftModel:
    """Fit on features, arm (1 = treated) and outcome of a randomised campaign.

    Raises:
        ModelDataError: see ``check_campaign``; or no usable column.
    """
    check_campaign(treatment, outcome)
    encoder = TableEncoder.fit(frame)
    scaler = StandardScaler()
    matrix = scaler.fit_transform(encoder.for_linear(encoder.readable(frame)))
    treated = treatment == 1
    share = float(treated.mean())
    if is_flag(outcome):
        agrees = np.where(treated, outcome, 1.0 - outcome)
        weights = np.where(treated, 0.5 / share, 0.5 / (1.0 - share))
        transformed = _learner(True).fit(matrix, agrees, sample_weight=weights)
    else:
        changed = outcome * (treatment - share) / (share * (1.0 - share))
        transformed = _learner(False).fit(matrix, changed)
    flag = is_flag(outcome)
    return UpliftModel(
        encoder,
        scaler,
        _fit(_with_arm(matrix, treatment), outcome, flag),
        _fit(matrix[treated], outcome[treated], flag),
        _fit(matrix[~treated], outcome[~treated], flag),
        transformed,
        _fit(matrix, outcome, flag),
    )


def _with_arm(matrix: Floats, treatment: Floats) -> Floats:
    """Features, arm, and products; the scales set how hard the common penalty shrinks each."""
    arm = treatment[:, None] - 0.5
    return np.hstack([matrix, _ARM_SCALE * arm, _PRODUCT_SCALE * arm * matrix])


def _learner(flag: bool) -> Learner:
    return LogisticRegression(C=_C, solver="newton-cholesky") if flag else Ridge(alpha=_ALPHA)


def _fit(matrix: Floats, outcome: Floats, flag: bool) -> Learner:
    # An arm in which nobody (or everybody) responded has a constant expectation.
    one_class = outcome.min() == outcome.max()
    return _learner(flag and not one_class).fit(matrix, outcome)


def _expected(learner: Learner, matrix: Floats) -> Floats:
    if isinstance(learner, LogisticRegression):
        chance: Floats = learner.predict_proba(matrix)[:, 1]
        return chance
    expected: Floats = learner.predict(matrix)
    return expected
