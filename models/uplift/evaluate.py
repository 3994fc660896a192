"""Qini with a bootstrap interval, out-of-fold scores, and what they mean in a sentence.

The Qini curve is the additional outcome per treated customer when the top share of the ranking
is treated (Radcliffe 2007); the Qini coefficient is the area between it and the straight line of
treating at random. Zero means that the ranking is worth nothing.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from models.common.errors import ModelDataError
from models.common.tabular import TableEncoder, linear_block, suspect_leaks
from models.uplift.train import check_campaign, is_flag, train

Floats = NDArray[np.float64]
REPLICATES = 300
SUSPICIOUS_Z = 5.0
WORTH_HALF = 0.60


class _Ranking:
    """Arms and outcomes in the order of a score, so that resampling need not sort again.

    Customers with equal scores stand together: within such a group the curve is straight, so the
    order of the rows cannot help or harm.
    """

    def __init__(self, score: Floats, treatment: Floats, outcome: Floats) -> None:
        self.order = np.argsort(-score, kind="stable")
        self.ends = np.append(np.flatnonzero(np.diff(score[self.order])), len(score) - 1)
        self.treated = treatment[self.order]
        self.outcome = outcome[self.order]

    def curve(self, weight: Floats) -> tuple[Floats, Floats]:
        rows = weight[self.order]
        treated, control = rows * self.treated, rows * (1.0 - self.treated)
        n_treated, n_control, r_treated, r_control = (
            np.cumsum(values)[self.ends]
            for values in (treated, control, treated * self.outcome, control * self.outcome)
        )
        scale = np.divide(n_treated, n_control, out=np.zeros_like(n_treated), where=n_control > 0)
        gain = (r_treated - r_control * scale) / max(n_treated[-1], 1e-12)
        share = (n_treated + n_control) / max(n_treated[-1] + n_control[-1], 1e-12)
        return np.insert(share, 0, 0.0), np.insert(gain, 0, 0.0)

    def qini(self, weight: Floats) -> float:
        share, gain = self.curve(weight)
        return float(np.trapezoid(gain - share * gain[-1], share))


def qini_curve(score: Floats, treatment: Floats, outcome: Floats) -> tuple[Floats, Floats]:
    """Share of customers treated, and additional outcome per treated customer of the whole."""
    return _Ranking(score, treatment, outcome).curve(np.ones(len(score)))


def qini(score: Floats, treatment: Floats, outcome: Floats) -> float:
    """Area between the Qini curve and the line of treating at random."""
    return _Ranking(score, treatment, outcome).qini(np.ones(len(score)))


def bootstrap(
    scores: dict[str, Floats], treatment: Floats, outcome: Floats, seed: int
) -> pd.DataFrame:
    """Qini of each ranking with its 95 % interval over resampled customers.

    Columns ``who``, ``qini``, ``qini_low``, ``qini_high``; all rankings are resampled together.
    """
    random = np.random.default_rng(seed)
    rankings = {name: _Ranking(score, treatment, outcome) for name, score in scores.items()}
    draws: dict[str, list[float]] = {name: [] for name in scores}
    for _ in range(REPLICATES):
        weight = random.poisson(1.0, len(outcome)).astype(np.float64)
        for name, ranking in rankings.items():
            draws[name].append(ranking.qini(weight))
    rows = []
    for name, ranking in rankings.items():
        low, high = np.quantile(draws[name], [0.025, 0.975])
        rows.append(
            {
                "who": name,
                "qini": ranking.qini(np.ones(len(outcome))),
                "qini_low": float(low),
                "qini_high": float(high),
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Evaluation:
    """What a campaign teaches.

    Attributes:
        scores: learner or rule -> out-of-fold score; ``uplift`` is the one to use.
        figures: ``bootstrap`` of them.
        effect, effect_low, effect_high: average effect of treatment, 95 % interval.
        top_half: share of the whole effect that the half with the highest uplift brings; NaN where
            the effect may be nothing, of which there is no share.
        verdict: a plain sentence.
        dropped: column -> why it was not used.
        notes: on columns that were left out by their nature.
    """

    scores: dict[str, Floats]
    figures: pd.DataFrame
    effect: float
    effect_low: float
    effect_high: float
    top_half: float
    verdict: str
    dropped: dict[str, str]
    notes: list[str]

    def figure(self, name: str) -> float:
        """A figure of the ranking to use: ``qini``, ``qini_low`` or ``qini_high``."""
        return float(self.figures.loc[self.figures["who"] == "uplift", name].iloc[0])


def cross_validate(
    frame: pd.DataFrame, treatment: Floats, outcome: Floats, folds: int, seed: int
) -> Evaluation:
    """Out-of-fold uplift with its Qini, its naive rule beside it, and a verdict.

    Columns that were evidently measured after the campaign are left out: they would hand the
    answer to the learners.

    Raises:
        ModelDataError: see ``models.uplift.train.check_campaign``; or no usable column.
    """
    if folds < 2:
        raise ModelDataError(f"{folds} folds cannot be held out; use 2 or more")
    check_campaign(treatment, outcome)
    encoder = TableEncoder.fit(frame)
    dropped, randomised = _after_the_campaign(encoder, frame, treatment, outcome)
    usable = frame[[one.name for one in encoder.columns if one.name not in dropped]]
    if usable.empty:
        raise ModelDataError(
            "no column from before the campaign is left; give features measured before it"
        )
    scores: dict[str, Floats] = {}
    strata = 2 * treatment + (outcome > outcome.mean())
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for fit, held in splits.split(usable, strata):
        model = train(usable.iloc[fit], treatment[fit], outcome[fit])
        for name, score in model.predict_all(usable.iloc[held]).items():
            scores.setdefault(name, np.zeros(len(outcome)))[held] = score
    figures = bootstrap(scores, treatment, outcome, seed)
    effect, error = _average_effect(treatment, outcome)
    share, gain = qini_curve(scores["uplift"], treatment, outcome)
    half = float(np.interp(0.5, share, gain))
    low, high = effect - 1.96 * error, effect + 1.96 * error
    top_half = float("nan") if low <= 0 <= high else half / gain[-1]
    first = figures[figures["who"] == "uplift"].iloc[0]
    verdict = _verdict(
        randomised, (effect, low, high), is_flag(outcome), float(first["qini_low"]), top_half
    )
    return Evaluation(scores, figures, effect, low, high, top_half, verdict, dropped, encoder.notes)


def _average_effect(treatment: Floats, outcome: Floats) -> tuple[float, float]:
    """Difference of means between the arms and its standard error."""
    yes, no = outcome[treatment == 1], outcome[treatment == 0]
    error = np.sqrt(yes.var(ddof=1) / len(yes) + no.var(ddof=1) / len(no))
    return float(yes.mean() - no.mean()), float(error)


def _after_the_campaign(
    encoder: TableEncoder, frame: pd.DataFrame, treatment: Floats, outcome: Floats
) -> tuple[dict[str, str], bool]:
    """Columns that cannot be from before the campaign, and whether the arms look randomised.

    In a randomised campaign nothing known before it differs between the arms by more than
    chance; a column that does (five standard errors) was measured after it. Where half of the
    columns differ, it is the randomisation that is broken.
    """
    readable = encoder.readable(frame)
    responded = (outcome > (0.0 if outcome.min() >= 0 else outcome.mean())).astype(np.float64)
    knowing = suspect_leaks(encoder, readable, responded)
    dropped = {name: f"looks like the outcome itself: {why}" for name, why in knowing.items()}
    differing = {}
    for column in encoder.columns:
        block = linear_block(column, readable[column.name])
        yes, no = block[treatment == 1], block[treatment == 0]
        error = np.sqrt(yes.var(axis=0) / len(yes) + no.var(axis=0) / len(no))
        distance = np.abs(yes.mean(axis=0) - no.mean(axis=0))
        score = np.divide(distance, error, out=np.zeros_like(distance), where=error > 1e-12)
        if score.max() > SUSPICIOUS_Z:
            differing[column.name] = (
                f"differs between the arms by {score.max():.0f} standard errors: "
                "measured after the campaign"
            )
    before = [one.name for one in encoder.columns if one.name not in dropped]
    broken = [name for name in before if name in differing]
    if len(broken) > max(1, len(before) // 2):
        return dropped, False
    return {**differing, **dropped}, True


def _verdict(
    randomised: bool,
    effect: tuple[float, float, float],
    flag: bool,
    qini_low: float,
    top_half: float,
) -> str:
    mean, low, high = effect

    def size(value: float) -> str:
        return f"{100 * value:.2f} points" if flag else f"{value:.3g}"

    about = f"the campaign adds {size(mean)} per customer ({size(low)} to {size(high)})"
    if not randomised:
        return (
            "No uplift can be claimed: the arms differ before the campaign, so it was not "
            "randomised; keep a random hold-out next time."
        )
    if low <= 0 <= high:
        return f"No proven effect and no proven targeting gain: {about}, which may be nothing."
    if qini_low <= 0:
        return (
            f"No proven targeting gain: {about}, but whom it moves more cannot be told from "
            "chance; treat everyone or no one."
        )
    half = f"the half with the highest uplift brings {top_half:.0%} of the effect (chance: 50%)"
    if top_half < WORTH_HALF:
        return f"Targeting hardly pays: {about}, and {half}; treating everyone is about as good."
    return f"Targeting pays: {about}, and {half}."
