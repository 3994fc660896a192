"""Fitting, calibrating and choosing: gradient boosting, or the best simple rule."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from models.churn.rules import BTYD, LAST_PERIOD, btyd_score, fit_logistic, rule_scores
from models.common.btyd import ASSUMED, fit_purchases, purchases
from models.common.calibration import LogitCalibration, fit_calibration, fit_logit_line
from models.common.errors import ModelDataError
from models.common.features import FEATURES, GROUPS, informative, matrix
from models.common.metrics import distribution, log_losses, paired_gain, ranking_metrics
from models.common.windows import Windows, rows_of

Floats = NDArray[np.float64]
BOOSTING = "gradient boosting"
# Rates of groups that the model does not score are pulled to the overall rate by so many
# customers.
PRIOR_ROWS = 20.0
NEW_DAYS = 28
LAPSED_DAYS = 728
# Inputs whose drift is watched; tenure is not: it grows with the company's history.
WATCHED = (
    "recency_days",
    "gap_median_days",
    "orders_4w",
    "orders_13w",
    "active_weeks_13w",
    "orders_change_13w",
    "spend_cents_13w",
    "basket_cents",
)
SCORE = "churn_probability"
_RISES_WITH = {"recency_days", "recency_in_gaps"}
_FALLS_WITH = set(GROUPS["frequency"])


@dataclass(frozen=True)
class ChurnModel:
    """Everything that scoring needs; plain values and one scikit-learn estimator.

    Attributes:
        horizon_days: a churner does not buy in so many days.
        chosen: ``gradient boosting``, or the name of the simple rule that was not beaten.
        estimator: the fitted boosting (also kept where a rule is used, to compare); None where
            there was no past window to learn from.
        columns: places in ``FEATURES`` that the estimator uses (a constant one is dropped).
        calibration: of the estimator.
        logistic: weights of the three-variable logistic.
        btyd: parameters of buy till you die.
        rule_lines: rule -> slope and intercept from its score to the logit of the probability.
        medians: of the training rows; reasons compare a customer with them.
        new_rate, new_rows: churn rate of new customers (see ``predict.is_new``) in the past.
        lapsed_rate, lapsed_rows: the same of customers without a purchase for ``lapsed_days``.
        choice: figures on the choice window, by model and rule.
        reference: distributions of inputs and score on the choice window, of the customers that
            the model itself scores; drift is measured from it. The newest window, because the
            share of sleeping customers grows with a company's age without anything having changed.
    """

    horizon_days: int
    chosen: str
    estimator: HistGradientBoostingClassifier | None
    columns: list[int]
    calibration: LogitCalibration
    logistic: list[float]
    btyd: list[float]
    rule_lines: dict[str, list[float]]
    medians: dict[str, float]
    base_rate: float
    new_rate: float
    new_rows: int
    lapsed_days: int
    lapsed_rate: float
    lapsed_rows: int
    learned_until: str
    seed: int
    choice: dict[str, dict[str, float]] = field(default_factory=dict)
    reference: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def to_artefact(self) -> dict[str, Any]:
        """Plain values and the estimator, as the registry keeps them."""
        values = dict(self.__dict__)
        values["calibration"] = [self.calibration.slope, self.calibration.intercept]
        return values

    @staticmethod
    def from_artefact(values: dict[str, Any]) -> "ChurnModel":
        """The model that ``to_artefact`` took apart."""
        slope, intercept = values["calibration"]
        return ChurnModel(**{**values, "calibration": LogitCalibration(slope, intercept)})


def is_new(frame: pd.DataFrame, horizon_days: int) -> NDArray[np.bool_]:
    """One purchase, less than a horizon and four weeks ago: nothing of their own to go by yet."""
    once = frame["visits"].to_numpy(dtype=np.int64) <= 1
    young = frame["tenure_days"].to_numpy(dtype=np.int64) < min(horizon_days, NEW_DAYS)
    fresh: NDArray[np.bool_] = once & young
    return fresh


def is_lapsed(frame: pd.DataFrame, lapsed_days: int) -> NDArray[np.bool_]:
    """No purchase for so long that all are alike."""
    lapsed: NDArray[np.bool_] = frame["recency_days"].to_numpy(dtype=np.int64) >= lapsed_days
    return lapsed


def churned(frame: pd.DataFrame) -> Floats:
    """1 where nothing was bought in the horizon."""
    label: Floats = (frame["future_orders"].to_numpy(dtype=np.int64) == 0).astype(np.float64)
    return label


def train(frame: pd.DataFrame, windows: Windows, seed: int = 42, threads: int = 1) -> ChurnModel:
    """Fit on the training origins, calibrate on the next window, choose on the one after it.

    Args:
        frame: ``customer_features`` with ``future_orders`` at every origin of ``windows``; rows
            of the report window, if there are any, are not looked at.
        windows: see ``models.common.windows``.
        seed: of the boosting.
        threads: cap on OpenMP threads. One by default: beside other work on two cores, two
            threads wait for each other and take 39 s where one takes 5.

    Raises:
        ModelDataError: too few rows, or one class only.
    """
    lapsed_days = LAPSED_DAYS
    fit_rows = rows_of(frame, *windows.training)
    new_rate, new_rows, lapsed_rate, lapsed_rows = _group_rates(
        rows_of(frame, *windows.training, windows.calibration), windows, lapsed_days
    )
    fit_rows = _scored(fit_rows, windows, lapsed_days)
    calibration_rows = _scored(rows_of(frame, windows.calibration), windows, lapsed_days)
    choice_rows = _scored(rows_of(frame, windows.choice), windows, lapsed_days)
    label = churned(fit_rows)
    _check(label, churned(calibration_rows), churned(choice_rows), windows.horizon_days)

    values = matrix(fit_rows)
    columns = informative(values)
    with threadpool_limits(limits=threads):
        estimator = _boosting(columns, len(fit_rows), seed).fit(values[:, columns], label)
        raw = estimator.predict_proba(matrix(calibration_rows)[:, columns])[:, 1]
        raw_choice = estimator.predict_proba(matrix(choice_rows)[:, columns])[:, 1]
        logistic = fit_logistic(fit_rows, label)
    btyd = _buy_till_you_die(rows_of(frame, windows.training[-1]), seed)
    calibration_label = churned(calibration_rows)
    lines: dict[str, list[float]] = {}
    for rule, score in rule_scores(calibration_rows, windows.horizon_days, logistic, btyd).items():
        slope, intercept = fit_logit_line(score, calibration_label, ridge=1e-3)
        lines[rule] = [slope, intercept]
    candidates = {
        rule: _line(score, lines[rule])
        for rule, score in rule_scores(choice_rows, windows.horizon_days, logistic, btyd).items()
    }
    # A score that ranks the wrong way round on later rows cannot be calibrated, so a rule is used.
    calibration = LogitCalibration()
    try:
        calibration = fit_calibration(calibration_label, raw)
        candidates = {BOOSTING: calibration.apply(raw_choice), **candidates}
    except ModelDataError:
        pass
    choice_label = churned(choice_rows)
    chosen, figures = _choose(choice_label, candidates)
    return ChurnModel(
        horizon_days=windows.horizon_days,
        chosen=chosen,
        estimator=estimator,
        columns=columns,
        calibration=calibration,
        logistic=logistic,
        btyd=btyd,
        rule_lines=lines,
        medians={name: float(np.nanmedian(values[:, place])) for place, name in _known(values)},
        base_rate=float(calibration_label.mean()),
        new_rate=new_rate,
        new_rows=new_rows,
        lapsed_days=lapsed_days,
        lapsed_rate=lapsed_rate,
        lapsed_rows=lapsed_rows,
        learned_until=windows.learned_until.isoformat(),
        seed=seed,
        choice=figures,
        reference={
            **{
                name: distribution(matrix(choice_rows)[:, FEATURES.index(name)]) for name in WATCHED
            },
            SCORE: distribution(candidates[chosen]),
        },
    )


def without_history(
    frame: pd.DataFrame, horizon_days: int, as_of: str, seed: int = 42
) -> ChurnModel:
    """Buy till you die alone, for a history too short to learn from: nothing checks it.

    Where it cannot be fitted either (few customers, nobody bought twice), its parameters are
    assumed: see ``ASSUMED``.

    Args:
        frame: ``customer_features`` at the as-of date; labels are not needed.
        horizon_days: length of the time ahead.
        as_of: the date, in ISO form.
        seed: of the sample that it is fitted on.
    """
    values = matrix(frame)
    try:
        fitted = fit_purchases(frame, seed)
    except ModelDataError:
        fitted = ASSUMED
    # The level is the model's own probability, the order that of the expected purchases.
    level = fitted.stays_away(purchases(frame), horizon_days / 7.0)
    score = btyd_score(fitted, frame, horizon_days)
    shift = _shift_to(score, float(level.mean())) if len(frame) else 0.0
    chance = _line(score, [1.0, shift])
    new = is_new(frame, horizon_days)
    return ChurnModel(
        horizon_days=horizon_days,
        chosen=BTYD,
        estimator=None,
        columns=[],
        calibration=LogitCalibration(),
        logistic=[],
        btyd=fitted.parameters,
        rule_lines={BTYD: [1.0, shift]},
        medians={name: float(np.nanmedian(values[:, place])) for place, name in _known(values)},
        base_rate=float(chance.mean()) if len(chance) else 0.5,
        new_rate=float(chance[new].mean()) if new.any() else 0.5,
        new_rows=0,
        lapsed_days=LAPSED_DAYS,
        lapsed_rate=float(chance.max(initial=0.5)),
        lapsed_rows=0,
        learned_until=as_of,
        seed=seed,
        reference={
            **{name: distribution(values[:, FEATURES.index(name)]) for name in WATCHED},
            SCORE: distribution(chance),
        },
    )


def _shift_to(score: Floats, mean: float) -> float:
    """The constant that makes the mean probability of these logits ``mean``."""
    mean = min(max(mean, 1e-4), 1 - 1e-4)
    found = brentq(lambda shift: float(expit(score + shift).mean()) - mean, -40.0, 40.0)
    return float(found)


def _buy_till_you_die(frame: pd.DataFrame, seed: int) -> list[float]:
    try:
        return fit_purchases(frame, seed).parameters
    except ModelDataError:
        return []  # nobody bought twice: the other rules remain


def _line(score: Floats, line: list[float]) -> Floats:
    probability: Floats = expit(line[0] * score + line[1])
    return probability


def _known(values: Floats) -> list[tuple[int, str]]:
    return [
        (place, name) for place, name in enumerate(FEATURES) if np.isfinite(values[:, place]).any()
    ]


def _boosting(columns: list[int], rows: int, seed: int) -> HistGradientBoostingClassifier:
    # Small trees and large leaves: the rows of one customer at neighbouring origins are almost
    # the same row. Monotone in recency and frequency: a reason never contradicts its number.
    names = [FEATURES[place] for place in columns]
    return HistGradientBoostingClassifier(
        max_iter=120,
        learning_rate=0.05,
        max_leaf_nodes=8,
        min_samples_leaf=min(300, max(20, rows // 100)),
        l2_regularization=10.0,
        early_stopping=False,
        monotonic_cst=[(name in _RISES_WITH) - (name in _FALLS_WITH) for name in names],
        random_state=seed,
    )


def _scored(frame: pd.DataFrame, windows: Windows, lapsed_days: int) -> pd.DataFrame:
    own = ~is_new(frame, windows.horizon_days) & ~is_lapsed(frame, lapsed_days)
    return frame[own]


def _group_rates(
    frame: pd.DataFrame, windows: Windows, lapsed_days: int
) -> tuple[float, int, float, int]:
    """Past churn rates of new and of lapsed customers, pulled to what is known of their like.

    Few new customers are taken for average; few lapsed ones for what the tenth that has been away
    longest did, because nobody has been away as long as they.
    """
    label = churned(frame)
    if not len(label):
        return 0.5, 0, 0.5, 0
    recency = frame["recency_days"].to_numpy(dtype=np.int64)
    longest = label[recency >= np.quantile(recency, 0.9)].mean()
    rates: list[tuple[float, int]] = []
    for members, like in (
        (is_new(frame, windows.horizon_days), float(label.mean())),
        (is_lapsed(frame, lapsed_days), float(longest)),
    ):
        rows = int(members.sum())
        rates.append(((label[members].sum() + PRIOR_ROWS * like) / (rows + PRIOR_ROWS), rows))
    (new_rate, new_rows), (lapsed_rate, lapsed_rows) = rates
    return float(new_rate), new_rows, float(lapsed_rate), lapsed_rows


def _check(fit: Floats, calibration: Floats, choice: Floats, horizon_days: int) -> None:
    for name, label in (("training", fit), ("calibration", calibration), ("choice", choice)):
        if len(label) < 50:
            raise ModelDataError(
                f"only {len(label)} customers in the {name} window; 50 are needed: "
                "give more customers or a longer history"
            )
        if label.min() == label.max():
            what = "stayed away" if label.min() == 1.0 else "bought again"
            raise ModelDataError(
                f"in the {name} window every customer {what} within {horizon_days} days: "
                "with one class only there is nothing to learn; choose another horizon"
            )


def _choose(
    label: Floats, candidates: dict[str, Floats]
) -> tuple[str, dict[str, dict[str, float]]]:
    """The boosting if it beats the best rule by log loss and does not rank worse; else the rule."""
    losses = {name: log_losses(label, chance) for name, chance in candidates.items()}
    figures = {
        name: {**ranking_metrics(label, chance), "log_loss": float(losses[name].mean())}
        for name, chance in candidates.items()
    }
    # A rule of two values is reported, but it does not tell customers apart enough to be used.
    rules = [name for name in losses if name not in {BOOSTING, LAST_PERIOD}]
    best_rule = min(rules, key=lambda name: float(losses[name].mean()))
    if BOOSTING not in losses:
        return best_rule, figures
    gain = paired_gain(losses[best_rule], losses[BOOSTING])["gain"]
    better = gain > 0 and figures[BOOSTING]["auc"] >= figures[best_rule]["auc"]
    return (BOOSTING if better else best_rule), figures
