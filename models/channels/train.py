"""A model of answers: by which channel, at which hour; fitted on the past, judged on what followed.

Frames of touches go in: ``customer_id``, ``channel``, ``responded`` (0/1), ``sent_on``, and
``hour`` (0-23 of the customer's clock; missing where nobody answered).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.channels.preference import (
    MAX_STRENGTH,
    MIN_STRENGTH,
    SLOT_HOURS,
    Priors,
    Rates,
    fit_priors,
    posterior,
)
from models.common.calibration import clip_probability
from models.common.errors import ModelDataError

Floats = NDArray[np.float64]
SLOTS = 24 // SLOT_HOURS
MIN_TOUCHES, MIN_ANSWERS = 200, 20
LATER_SHARE = 0.25


@dataclass(frozen=True)
class ChannelModel:
    """What all customers together say of channels and hours; a person's own counts come to it.

    Attributes:
        channels: in order.
        priors: rate and strength of each, and of persons.
        hour_shares: share of all answers in each slot of the day.
        hour_strength: answers of one's own that weigh as much as everyone's.
        learned_until: the last day of a touch that it has seen.
    """

    channels: list[str]
    priors: Priors
    hour_shares: Floats
    hour_strength: float
    learned_until: str

    def to_artefact(self) -> dict[str, Any]:
        """Plain values, as the registry keeps them."""
        return {
            "channels": self.channels,
            "priors": [[one.mean, one.strength] for one in self.priors.channels],
            "person": [self.priors.person.mean, self.priors.person.strength],
            "hour_shares": self.hour_shares,
            "hour_strength": self.hour_strength,
            "learned_until": self.learned_until,
        }

    @staticmethod
    def from_artefact(values: dict[str, Any]) -> "ChannelModel":
        """The model that ``to_artefact`` took apart."""
        priors = Priors(tuple(Rates(*one) for one in values["priors"]), Rates(*values["person"]))
        return ChannelModel(
            list(values["channels"]),
            priors,
            np.asarray(values["hour_shares"], dtype=np.float64),
            float(values["hour_strength"]),
            str(values["learned_until"]),
        )


@dataclass(frozen=True)
class Counts:
    """Touches and answers, customers x channels, and answers by slot, customers x slots."""

    customers: pd.Index
    tried: Floats
    responses: Floats
    hours: Floats


def count(touches: pd.DataFrame, channels: list[str], customers: pd.Index | None = None) -> Counts:
    """Counts of each customer; touches in other channels are left out.

    Args:
        touches: see the module.
        channels: columns of the counts.
        customers: rows of the counts; everyone with a touch without it.
    """
    known = touches[touches["channel"].isin(channels)]
    index = pd.Index(sorted(known["customer_id"].unique())) if customers is None else customers
    row = index.get_indexer(pd.Index(known["customer_id"]))
    column = pd.Index(channels).get_indexer(pd.Index(known["channel"]))
    inside = row >= 0
    row, column = row[inside], column[inside]
    answered = known["responded"].to_numpy(dtype=np.float64)[inside]
    hour = known["hour"].to_numpy(dtype=np.float64, na_value=np.nan)[inside]

    def table(rows: Any, columns: Any, weights: Any, width: int) -> Floats:
        flat = np.bincount(rows * width + columns, weights, minlength=len(index) * width)
        # Of nothing, bincount makes whole numbers whatever the weights.
        return flat.astype(np.float64).reshape(len(index), width)

    said = np.isfinite(hour) & (answered > 0)
    return Counts(
        index,
        table(row, column, np.ones(len(row)), len(channels)),
        table(row, column, answered, len(channels)),
        table(row[said], (hour[said] // SLOT_HOURS).astype(np.int64), None, SLOTS),
    )


def fit(touches: pd.DataFrame, learned_until: str) -> ChannelModel:
    """Learn from touches.

    Raises:
        ModelDataError: too few touches or answers, or one kind of answer only.
    """
    answers = int(touches["responded"].sum())
    if len(touches) < MIN_TOUCHES or min(answers, len(touches) - answers) < MIN_ANSWERS:
        raise ModelDataError(
            f"{len(touches)} touches with {answers} answers are too little to learn channels "
            f"from; {MIN_TOUCHES} touches with {MIN_ANSWERS} answers are needed"
        )
    channels = sorted(touches["channel"].unique())
    counts = count(touches, channels)
    shares = counts.hours.sum(axis=0) + 0.5
    shares = shares / shares.sum()
    return ChannelModel(
        channels,
        fit_priors(counts.responses, counts.tried),
        shares,
        _hour_strength(counts.hours, shares),
        learned_until,
    )


def _hour_strength(hours: Floats, shares: Floats) -> float:
    """Strength of a Dirichlet prior by moments: how much persons' hours differ beyond chance.

    Two answers of one person fall into one slot with the chance (1 + strength * same) / (1 +
    strength), where ``same`` is that chance for two answers of anybody.
    """
    total = hours.sum(axis=1)
    pairs = float((total * (total - 1)).sum())
    same = float((shares**2).sum())
    if pairs == 0:
        return MAX_STRENGTH
    agree = float((hours * (hours - 1)).sum()) / pairs
    if agree <= same:
        return MAX_STRENGTH
    return float(np.clip((1.0 - agree) / (agree - same), MIN_STRENGTH, MAX_STRENGTH))


def response_probability(model: ChannelModel, counts: Counts) -> Floats:
    """Probability to respond, customers x channels."""
    return posterior(model.priors, counts.responses, counts.tried)


def hour_shares(model: ChannelModel, counts: Counts) -> Floats:
    """Share of a customer's answers in each slot, customers x slots."""
    prior = model.hour_strength * model.hour_shares
    shares: Floats = (counts.hours + prior) / (
        counts.hours.sum(axis=1, keepdims=True) + model.hour_strength
    )
    return shares


def touch_probability(model: ChannelModel, before: pd.DataFrame, touches: pd.DataFrame) -> Floats:
    """Probability that each of ``touches`` is answered, from what was known ``before``.

    A channel that the model does not know has the rate of persons over all.
    """
    customers = pd.Index(touches["customer_id"].unique())
    made = response_probability(model, count(before, model.channels, customers))
    row = customers.get_indexer(pd.Index(touches["customer_id"]))
    column = pd.Index(model.channels).get_indexer(pd.Index(touches["channel"]))
    found = np.where(column >= 0, made[row, np.maximum(column, 0)], model.priors.person.mean)
    probability: Floats = clip_probability(found)
    return probability


def split(
    touches: pd.DataFrame, later_share: float = LATER_SHARE
) -> tuple[Any, pd.DataFrame, pd.DataFrame]:
    """The day that parts the touches, those until it, and those after it.

    Raises:
        ModelDataError: there is no such day.
    """
    days = touches["sent_on"].sort_values()
    if days.empty:
        raise ModelDataError("there are no touches; nothing to learn channels from")
    cut = days.iloc[max(0, int(len(days) * (1 - later_share)) - 1)]
    before, after = touches[touches["sent_on"] <= cut], touches[touches["sent_on"] > cut]
    if after.empty:
        raise ModelDataError("all touches are of one day; a later day is needed to check them")
    return cut, before, after
