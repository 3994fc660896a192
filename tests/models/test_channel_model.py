"""The channel model: what it learns, how it is judged, and what it does with too little."""

import numpy as np
import pandas as pd
import pytest

from models.channels.card import channels_card
from models.channels.evaluate import evaluate
from models.channels.train import (
    SLOTS,
    ChannelModel,
    count,
    fit,
    hour_shares,
    response_probability,
    split,
)
from models.common.card import render
from models.common.errors import ModelDataError

CHANNELS = ["email", "sms", "wechat"]


@pytest.fixture(scope="module")
def company() -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """Touches; the channel and the hour at which each customer really answers."""
    random = np.random.default_rng(3)
    people = 600
    favourite = random.integers(0, 3, people)
    hour = random.choice([9, 13, 20], people)
    who = np.repeat(np.arange(people), random.integers(2, 25, people))
    channel = random.integers(0, 3, len(who))
    chance = np.where(channel == favourite[who], 0.6, 0.08)
    responded = random.random(len(who)) < chance
    touches = pd.DataFrame(
        {
            "customer_id": [f"c{one:04d}" for one in who],
            "channel": np.array(CHANNELS)[channel],
            "responded": responded.astype(int),
            "sent_on": pd.Timestamp("2026-01-01")
            + pd.to_timedelta(random.integers(0, 180, len(who)), unit="D"),
            "hour": np.where(responded, hour[who] + random.integers(0, 2, len(who)), np.nan),
        }
    )
    ids = [f"c{one:04d}" for one in range(people)]
    names = pd.Series(np.array(CHANNELS)[favourite], index=ids)
    return touches, names, pd.Series(hour, index=ids)


def test_it_beats_the_last_channel_and_says_so_with_a_card(company):
    touches, favourite, hour = company
    cut, before, later = split(touches)
    assert (before["sent_on"] <= cut).all()
    assert (later["sent_on"] > cut).all()
    model = fit(before, str(cut.date()))
    found = evaluate(model, before, later)
    figures = found.table.set_index("rule")
    assert figures.loc["customer360", "auc"] > figures.loc["last channel", "auc"] + 0.02
    assert figures.loc["customer360", "answered"] > figures.loc["best channel for all", "answered"]
    card = render(channels_card(model, found))
    assert set(card.pictures) == {"calibration.png", "gain.png", "hours.png"}
    counts = count(touches, model.channels)
    best = np.array(model.channels)[response_probability(model, counts).argmax(axis=1)]
    assert (best == favourite.reindex(counts.customers)).mean() > 0.8
    said = counts.hours.sum(axis=1) > 0
    slot = hour_shares(model, counts).argmax(axis=1) * (24 // SLOTS)
    truth = hour.reindex(counts.customers).to_numpy() // 3 * 3
    assert (slot == truth)[said].mean() > 0.8


def test_who_was_never_touched_gets_what_is_known_of_everyone(company):
    touches, _, _ = company
    model = fit(touches, "2026-06-30")
    stranger = count(touches, model.channels, pd.Index(["nobody"]))
    chance = response_probability(model, stranger)[0]
    means = [prior.mean for prior in model.priors.channels]
    assert chance == pytest.approx(means, rel=0.2)
    assert hour_shares(model, stranger)[0] == pytest.approx(model.hour_shares)


def test_it_comes_back_from_plain_values(company):
    touches, _, _ = company
    model = fit(touches, "2026-06-30")
    again = ChannelModel.from_artefact(model.to_artefact())
    counts = count(touches, model.channels)
    assert (response_probability(again, counts) == response_probability(model, counts)).all()
    assert again.hour_strength == model.hour_strength


@pytest.mark.parametrize("damage", ["few", "nobody answers", "everybody answers", "one day"])
def test_what_cannot_be_learned_says_why(company, damage):
    touches, _, _ = company
    if damage == "one day":
        with pytest.raises(ModelDataError, match="one day"):
            split(touches.assign(sent_on=pd.Timestamp("2026-01-01")))
        return
    given = {
        "few": touches.head(50),
        "nobody answers": touches.assign(responded=0),
        "everybody answers": touches.assign(responded=1),
    }[damage]
    with pytest.raises(ModelDataError, match="too little"):
        fit(given, "2026-06-30")
