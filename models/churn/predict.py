"""Scores and reasons of customers as of a date."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from threadpoolctl import threadpool_limits

from models.churn.rules import BTYD, LOGISTIC, rule_scores
from models.churn.train import BOOSTING, ChurnModel, is_lapsed, is_new
from models.common.contributions import PathContributions, path_contributions
from models.common.features import FEATURES, GROUP_OF, GROUPS, matrix

Floats = NDArray[np.float64]
Words = NDArray[np.object_]
REASONS = 3


def rule_probabilities(model: ChurnModel, frame: pd.DataFrame) -> dict[str, Floats]:
    """Calibrated probability by every simple rule."""
    scores = rule_scores(frame, model.horizon_days, model.logistic, model.btyd)
    return {
        rule: expit(model.rule_lines[rule][0] * score + model.rule_lines[rule][1])
        for rule, score in scores.items()
        if rule in model.rule_lines
    }


def predict(
    model: ChurnModel, frame: pd.DataFrame, threads: int = 1, use: str | None = None
) -> pd.DataFrame:
    """Churn probability of each row.

    Args:
        model: a trained model.
        frame: ``customer_features``; rows of one or more origins.
        threads: cap on OpenMP threads.
        use: boosting or a rule by name, in place of the chosen one (to compare them).

    Returns:
        A frame with the index of ``frame``: ``churn_probability`` and ``is_prior``, true where
        the probability is the past rate of the customer's group (new, or long lapsed) and not of
        the customer.
    """
    chosen = use or model.chosen
    if chosen == BOOSTING:
        assert model.estimator is not None
        with threadpool_limits(limits=threads):
            raw = model.estimator.predict_proba(matrix(frame)[:, model.columns])[:, 1]
        chance = model.calibration.apply(raw)
    else:
        chance = rule_probabilities(model, frame)[chosen].copy()
    new = is_new(frame, model.horizon_days)
    lapsed = is_lapsed(frame, model.lapsed_days)
    chance[new] = model.new_rate
    chance[lapsed] = model.lapsed_rate
    return pd.DataFrame({"churn_probability": chance, "is_prior": new | lapsed}, index=frame.index)


@dataclass(frozen=True)
class Explainer:
    """Reasons in words; made once a model, used on batch after batch."""

    model: ChurnModel
    paths: PathContributions | None

    def explain(
        self, frame: pd.DataFrame, scored: pd.DataFrame, threads: int = 1
    ) -> dict[str, Words]:
        """``reason_1`` .. ``reason_3`` of each row, the weightiest first; None where none is left.

        For a customer above the average risk, what raises it; for the others, what keeps it low.
        Only what the customer's own numbers bear out is said.
        """
        chance = scored["churn_probability"].to_numpy()
        risky = chance >= self.model.base_rate
        weights = self._weights(frame, threads)
        texts = _Texts(frame, self.model)
        spoken, weight = [], []
        for number, (group, tell) in enumerate(_TELLERS.items()):
            words, raises, lowers = tell(texts)
            fits = np.where(risky, raises, lowers)
            strength = np.where(risky, weights[:, number], -weights[:, number])
            spoken.append(words)
            # Rhythm can always be told, so that nobody is left without a reason.
            floor = 1e-9 if group == "rhythm" else 0.0
            weight.append(np.where(fits, np.maximum(strength, floor), 0.0))
        strengths, sayings = np.column_stack(weight), np.column_stack(spoken)
        order = np.argsort(-strengths, axis=1, kind="stable")[:, :REASONS]
        picked = np.take_along_axis(sayings, order, axis=1)
        picked[np.take_along_axis(strengths, order, axis=1) <= 0.0] = None
        self._say_prior(picked, frame, scored)
        # Someone for whom no number speaks in the direction of the score still gets the rhythm.
        silent = np.array([first is None for first in picked[:, 0]])
        picked[silent, 0] = sayings[silent, list(_TELLERS).index("rhythm")]
        return {f"reason_{place + 1}": picked[:, place] for place in range(REASONS)}

    def _weights(self, frame: pd.DataFrame, threads: int) -> Floats:
        """(rows, groups): how each group moves the log-odds; for a rule, its one group."""
        if self.paths is not None:
            values = matrix(frame)[:, self.model.columns]
            with threadpool_limits(limits=threads):
                return self.paths.explain(values, threads).astype(np.float64)
        weights = np.zeros((len(frame), len(GROUPS)))
        groups = {
            "13-week frequency": ["frequency"],
            LOGISTIC: ["rhythm", "frequency"],
            BTYD: ["rhythm", "frequency"],
        }
        chance = rule_probabilities(self.model, frame)[self.model.chosen]
        direction = np.where(chance >= self.model.base_rate, 1.0, -1.0)
        for place, group in enumerate(groups.get(self.model.chosen, ["rhythm"])):
            weights[:, list(GROUPS).index(group)] = direction / (1 + place)
        return weights

    def _say_prior(self, picked: Words, frame: pd.DataFrame, scored: pd.DataFrame) -> None:
        prior = scored["is_prior"].to_numpy(dtype=bool)
        if not prior.any():
            return
        model = self.model
        lapsed = is_lapsed(frame, model.lapsed_days)
        days = frame["recency_days"].to_numpy(dtype=np.int64)
        for row in np.flatnonzero(prior):
            rate, rows, who = (
                (model.lapsed_rate, model.lapsed_rows, f"no purchase for {days[row]} days")
                if lapsed[row]
                else (model.new_rate, model.new_rows, f"new: bought once, {_ago(days[row])}")
            )
            picked[row] = [
                f"{who}; of such customers {rate:.0%} did not buy within {model.horizon_days} days"
                + ("" if rows else " (assumed: none were seen yet)"),
                None,
                None,
            ]


def explainer(model: ChurnModel) -> Explainer:
    """Prepare the reasons of a model."""
    if model.chosen != BOOSTING or model.estimator is None:
        return Explainer(model, None)
    names = list(GROUPS)
    groups = [names.index(GROUP_OF[place]) for place in model.columns]
    return Explainer(model, path_contributions(model.estimator, groups, len(names)))


@lru_cache(maxsize=10_000)
def _ago(days: int) -> str:
    return "today" if days == 0 else "yesterday" if days == 1 else f"{days} days ago"


class _Texts:
    """Columns of the batch as arrays, and the typical customer beside them."""

    def __init__(self, frame: pd.DataFrame, model: ChurnModel) -> None:
        self.frame = frame
        self.model = model

    def number(self, name: str) -> Floats:
        values: Floats = self.frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        return values

    def typical(self, name: str) -> float:
        return self.model.medians.get(name, float("nan"))


Told = tuple[Words, NDArray[np.bool_], NDArray[np.bool_]]


def _words(texts: list[str]) -> Words:
    words = np.empty(len(texts), dtype=object)
    words[:] = texts
    return words


def _rhythm(texts: _Texts) -> Told:
    recency = texts.number("recency_days")
    gap = texts.number("gap_median_days")
    gap = np.where(np.isfinite(gap), gap, texts.number("gap_mean_days"))
    once = ~np.isfinite(gap)
    # Who buys rarely is not late, and all the same is not expected within the horizon.
    horizon = texts.model.horizon_days
    rare = ~once & (gap > horizon)
    words = [
        f"bought only once, {_ago(int(days))}"
        if single
        else f"last purchase {_ago(int(days))}; usually every {_days(usual)}"
        + (f", which is more than the {horizon} looked ahead" if seldom else "")
        for days, usual, single, seldom in zip(recency, gap, once, rare, strict=True)
    ]
    late = once | rare | (recency > gap)
    return _words(words), late, ~late


@lru_cache(maxsize=10_000)
def _days(days: float) -> str:
    return "day" if round(days) <= 1 else f"{round(days)} days"


@lru_cache(maxsize=10_000)
def _count(number: float, what: str) -> str:
    return f"{number:.0f} {what}" if round(number) != 1 else f"1 {what.removesuffix('s')}"


def _frequency(texts: _Texts) -> Told:
    orders, typical = texts.number("orders_13w"), texts.typical("orders_13w")
    told = {
        number: f"{_count(number, 'purchases')} in the last 13 weeks; "
        f"the middle customer has {typical:.0f}"
        for number in np.unique(orders)
    }
    return _words([told[number] for number in orders]), orders < typical, orders >= typical


def _trend(texts: _Texts) -> Told:
    now, quarter = texts.number("orders_4w"), texts.number("orders_13w")
    before = (quarter - now) * 4.0 / 9.0
    words = [
        f"{_count(recent, 'purchases')} in the last 4 weeks; {earlier:.1f} every 4 weeks before"
        for recent, earlier in zip(now, before, strict=True)
    ]
    return _words(words), now < before, now > before


def _spend(texts: _Texts) -> Told:
    spend, typical = texts.number("spend_cents_13w"), texts.typical("spend_cents_13w")
    words = [
        f"spent {cents / 100:,.0f} in the last 13 weeks; the middle customer {typical / 100:,.0f}"
        for cents in spend
    ]
    return _words(words), spend < typical, spend >= typical


def _loyalty(texts: _Texts) -> Told:
    tenure, visits = texts.number("tenure_days"), texts.number("visits")
    words = [
        f"customer for {_count(days, 'days')} with {_count(number, 'days')} of purchase"
        for days, number in zip(tenure, visits, strict=True)
    ]
    few = visits < texts.typical("visits")
    return _words(words), few, ~few


def _season(texts: _Texts) -> Told:
    known = texts.number("tenure_days") >= 364
    orders = texts.number("orders_year_ago")
    horizon = texts.model.horizon_days
    words = [
        f"{_count(number, 'purchases')} in the same {horizon} days a year ago" for number in orders
    ]
    return _words(words), known & (orders == 0), known & (orders > 0)


def _habit(texts: _Texts) -> Told:
    share = texts.number("weekend_share")
    typical = texts.typical("weekend_share")
    words = [
        f"{number:.0%} of purchases at weekends; the middle customer {typical:.0%}"
        if np.isfinite(number)
        else "no purchase in the last year"
        for number in share
    ]
    differs = np.isfinite(share) & (np.abs(share - typical) > 0.1)
    return _words(words), differs, differs


_TELLERS: dict[str, Callable[[_Texts], Told]] = {
    "rhythm": _rhythm,
    "frequency": _frequency,
    "trend": _trend,
    "spend": _spend,
    "loyalty": _loyalty,
    "season": _season,
    "habit": _habit,
}
assert tuple(_TELLERS) == tuple(GROUPS)
assert len(GROUP_OF) == len(FEATURES)
