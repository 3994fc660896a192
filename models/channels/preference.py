"""Probability to respond by channel and by hour, shrunk to the group for people with few touches.

A customer's rate in a channel is a beta-binomial: the prior is the rate of the channel in the
customer's group, and its strength is estimated from how much customers really differ (method of
moments; Kleinman 1973). Where customers hardly differ, everyone gets the group's rate; where
they differ, a handful of touches decides. What is learned of a customer over all channels moves
the prior of each channel, so that a person who never answers is not promised to answer in a
channel that was not tried yet.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.common.errors import ModelDataError

Floats = NDArray[np.float64]

MIN_STRENGTH, MAX_STRENGTH = 1.0, 500.0
SLOT_HOURS = 3


@dataclass(frozen=True)
class Rates:
    """A prior: rate, and strength in touches."""

    mean: float
    strength: float


@dataclass(frozen=True)
class Priors:
    """Of a group: each channel's rate, in the order of the channels, and a person's over all."""

    channels: tuple[Rates, ...]
    person: Rates


def fit_prior(responses: Floats, touches: Floats) -> Rates:
    """Mean and strength of a beta prior from counts of many customers.

    ``strength`` is the number of touches that weigh as much as the prior; it is large where the
    spread between customers is no more than binomial chance.
    """
    total = touches.sum()
    if total == 0:
        return Rates(0.0, MAX_STRENGTH)
    mean = float((responses.sum() + 0.5) / (total + 1.0))
    rate = np.divide(responses, touches, out=np.full_like(touches, mean), where=touches > 0)
    people = int((touches > 0).sum())
    if people < 2:
        return Rates(mean, MAX_STRENGTH)
    spread = float((touches * (rate - mean) ** 2).sum())
    chance = mean * (1.0 - mean)
    # E[spread] = chance * (people - 1) + between * (total - sum(touches^2) / total)
    surplus = spread - chance * (people - 1)
    room = float(total - (touches**2).sum() / total)
    between = surplus / room if room > 0 else 0.0
    if between <= 0:
        return Rates(mean, MAX_STRENGTH)
    return Rates(mean, float(np.clip(chance / between - 1.0, MIN_STRENGTH, MAX_STRENGTH)))


def channel_preference(
    touches: pd.DataFrame, groups: pd.Series | None = None, channels: list[str] | None = None
) -> pd.DataFrame:
    """Probability to respond of each customer in each channel.

    Args:
        touches: one row a touch: ``customer_id``, ``channel``, ``responded`` (0/1 or boolean).
        groups: customer_id -> group (such as a segment); one group for all without it.
        channels: channels to score; those of ``touches`` without it.

    Returns:
        ``customer_id``, ``channel``, ``response_probability``, ``touches``, ``responses``,
        ``is_best``: one row a customer and channel.

    Raises:
        ModelDataError: columns are missing or ``responded`` is not 0/1.
    """
    table = _checked(touches, {"channel"})
    names = sorted(set(table["channel"])) if channels is None else list(channels)
    group = _group_of(table["customer_id"], groups)
    counts = table.groupby(["customer_id", "channel"])["responded"].agg(["sum", "size"])
    responses = counts["sum"].unstack("channel").reindex(columns=names).fillna(0.0)
    tried = counts["size"].unstack("channel").reindex(columns=names).fillna(0.0)
    probability = pd.DataFrame(0.0, index=responses.index, columns=names)
    labels = responses.index.map(group)
    for label in sorted(set(labels)):
        members = np.asarray(labels == label)
        answered, touched = (table.to_numpy(np.float64)[members] for table in (responses, tried))
        probability.loc[members] = posterior(fit_priors(answered, touched), answered, touched)
    # Row by row: all channels of the first customer, then of the second.
    long = pd.DataFrame(
        {
            "customer_id": np.repeat(responses.index.to_numpy(), len(names)),
            "channel": np.tile(np.array(names, dtype=object), len(responses)),
            "response_probability": probability.to_numpy().ravel(),
            "touches": tried.to_numpy().ravel().astype(int),
            "responses": responses.to_numpy().ravel().astype(int),
        }
    )
    best = long.groupby("customer_id")["response_probability"].idxmax()
    long["is_best"] = long.index.isin(best)
    return long


def hour_preference(
    touches: pd.DataFrame, groups: pd.Series | None = None, slot_hours: int = SLOT_HOURS
) -> pd.DataFrame:
    """Probability to respond of each customer by slot of the day.

    Args:
        touches: one row a touch: ``customer_id``, ``hour`` (0-23, local time of the customer),
            ``responded``.
        groups: customer_id -> group.
        slot_hours: width of a slot; hours apart are too thin to learn from.

    Returns:
        ``customer_id``, ``from_hour``, ``response_probability``, ``touches``, ``is_best``.
    """
    if 24 % slot_hours:
        raise ModelDataError(f"slots of {slot_hours} hours do not divide a day")
    table = _checked(touches, {"hour"})
    if not table["hour"].between(0, 23).all():
        raise ModelDataError("hours must lie between 0 and 23")
    slots = (table["hour"].astype(int) // slot_hours * slot_hours).astype(str)
    scored = channel_preference(table.assign(channel=slots), groups)
    scored["from_hour"] = scored.pop("channel").astype(int)
    columns = ["customer_id", "from_hour", "response_probability", "touches", "is_best"]
    return scored[columns].sort_values(["customer_id", "from_hour"], ignore_index=True)


def last_channel(touches: pd.DataFrame) -> pd.Series:
    """The naive rule: customer_id -> the channel of the last response, else of the last touch."""
    ordered = _checked(touches, {"channel", "at"}).sort_values(["responded", "at"], kind="stable")
    return ordered.groupby("customer_id")["channel"].last()


def _checked(touches: pd.DataFrame, more: set[str]) -> pd.DataFrame:
    missing = {"customer_id", "responded", *more} - set(touches.columns)
    if missing:
        raise ModelDataError(f"columns are missing: {', '.join(sorted(missing))}")
    responded = touches["responded"].astype("float64")
    if not responded.isin([0.0, 1.0]).all():
        raise ModelDataError("`responded` must be 0 or 1 in every row")
    return touches.assign(responded=responded)


def _group_of(customers: pd.Series, groups: pd.Series | None) -> dict[object, str]:
    known = {} if groups is None else groups.astype(str).to_dict()
    return {customer: known.get(customer, "") for customer in customers.unique()}


def fit_priors(responses: Floats, tried: Floats) -> Priors:
    """What a group of customers says of each channel, and of persons over all channels."""
    channels = [fit_prior(responses[:, one], tried[:, one]) for one in range(tried.shape[1])]
    return Priors(tuple(channels), fit_prior(responses.sum(axis=1), tried.sum(axis=1)))


def posterior(priors: Priors, responses: Floats, tried: Floats) -> Floats:
    """Probability to respond, customers x channels: first the person, then each channel.

    Args:
        priors: of the group.
        responses, tried: counts, customers x channels; all zero for who was never touched.
    """
    means = np.array([prior.mean for prior in priors.channels])
    expected = (tried * means).sum(axis=1)
    # How much more (or less) than expected of these channels the person responds, shrunk.
    pseudo = priors.person.strength * max(priors.person.mean, 1e-6)
    factor = (responses.sum(axis=1) + pseudo) / (expected + pseudo)
    result = np.zeros_like(responses)
    for one, prior in enumerate(priors.channels):
        centre = np.clip(prior.mean * factor, 0.0, 1.0)
        result[:, one] = (responses[:, one] + prior.strength * centre) / (
            tried[:, one] + prior.strength
        )
    return np.clip(result, 0.0, 1.0)
