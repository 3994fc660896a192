"""Channel preference beats the last-channel rule, and does not trust a handful of touches."""

import numpy as np
import pandas as pd
import pytest

from models.channels.preference import (
    channel_preference,
    fit_prior,
    hour_preference,
    last_channel,
)
from models.common.errors import ModelDataError

CHANNELS = ["email", "sms", "wechat"]


def company(customers: int = 1500, seed: int = 4) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Touches, and each customer's true probability to respond by channel."""
    random = np.random.default_rng(seed)
    base = np.array([0.08, 0.12, 0.2])
    truth = np.stack([random.beta(3 * mean, 3 * (1 - mean), customers) for mean in base], axis=1)
    count = random.integers(1, 15, customers)
    people = np.repeat(np.arange(customers), count)
    channel = random.integers(0, 3, len(people))
    touches = pd.DataFrame(
        {
            "customer_id": [f"c{person:05d}" for person in people],
            "channel": np.array(CHANNELS)[channel],
            "responded": random.random(len(people)) < truth[people, channel],
            "at": pd.Timestamp("2026-01-01")
            + pd.to_timedelta(random.integers(0, 3000, len(people)), unit="h"),
        }
    )
    index = [f"c{person:05d}" for person in range(customers)]
    return touches, pd.DataFrame(truth, index=index, columns=CHANNELS)


def test_the_chosen_channel_is_better_than_the_last_one_and_than_one_for_all() -> None:
    touches, truth = company()
    scored = channel_preference(touches)
    best = scored[scored["is_best"]].set_index("customer_id")["channel"]

    def worth(choice: pd.Series) -> float:
        places = truth.columns.get_indexer(choice.reindex(truth.index))
        return float(truth.to_numpy()[np.arange(len(truth)), places].mean())

    ours, last = worth(best), worth(last_channel(touches))
    one_for_all = float(truth["wechat"].mean())
    assert ours > last * 1.1
    assert ours > one_for_all


def test_probabilities_are_closer_to_the_truth_than_raw_rates_and_group_rates() -> None:
    touches, truth = company()
    scored = channel_preference(touches)
    wide = scored.pivot(index="customer_id", columns="channel", values="response_probability")
    tried = scored.pivot(index="customer_id", columns="channel", values="touches")
    answered = scored.pivot(index="customer_id", columns="channel", values="responses")
    raw = (answered / tried).fillna(answered.sum() / tried.sum())
    group = answered.sum() / tried.sum()

    def error(guess: pd.DataFrame) -> float:
        return float(((guess - truth.loc[wide.index]) ** 2).to_numpy().mean())

    assert error(wide) < error(raw)
    assert error(wide) < error(wide * 0 + group)
    assert wide.mean().to_numpy() == pytest.approx(truth.mean().to_numpy(), abs=0.03)


def test_a_single_touch_moves_little_and_many_decide() -> None:
    touches, _ = company()
    extra = pd.DataFrame(
        {
            "customer_id": ["once"] + ["often"] * 40,
            "channel": "email",
            "responded": [True] * 41,
            "at": pd.Timestamp("2026-03-01"),
        }
    )
    scored = channel_preference(pd.concat([touches, extra])).set_index(["customer_id", "channel"])
    probability = scored["response_probability"]
    assert probability["once", "email"] < 0.6
    assert probability["often", "email"] > 0.9


def test_who_never_answers_is_not_promised_to_answer_elsewhere() -> None:
    touches, _ = company()
    silent = pd.DataFrame({"customer_id": "silent", "channel": "email", "responded": [False] * 60})
    scored = channel_preference(pd.concat([touches, silent])).set_index(["customer_id", "channel"])
    average = scored["response_probability"].xs("wechat", level="channel").median()
    assert scored.loc[("silent", "wechat"), "response_probability"] < average
    assert scored.loc[("silent", "wechat"), "touches"] == 0


def test_shrinkage_goes_to_the_customers_own_group() -> None:
    random = np.random.default_rng(1)
    rows = 4000
    young = random.random(rows) < 0.5
    touches = pd.DataFrame(
        {
            "customer_id": [f"{'y' if one else 'o'}{row // 4}" for row, one in enumerate(young)],
            "channel": "wechat",
            "responded": random.random(rows) < np.where(young, 0.4, 0.05),
        }
    )
    groups = pd.Series({name: name[0] for name in touches["customer_id"].unique()})
    scored = channel_preference(touches, groups).set_index("customer_id")
    by_group = scored["response_probability"].groupby(scored.index.str[0]).mean()
    assert by_group["y"] == pytest.approx(0.4, abs=0.05)
    assert by_group["o"] == pytest.approx(0.05, abs=0.03)


def test_customers_who_do_not_differ_all_get_the_same() -> None:
    random = np.random.default_rng(2)
    touches = np.full(800, 6.0)
    same = fit_prior(random.binomial(6, 0.2, 800).astype(float), touches)
    differ = fit_prior(random.binomial(6, random.beta(0.4, 1.6, 800)).astype(float), touches)
    assert same.strength > 50
    assert differ.strength == pytest.approx(2.0, abs=1.0)


def test_hours_are_learned_by_slot() -> None:
    random = np.random.default_rng(3)
    hour = random.integers(0, 24, 6000)
    touches = pd.DataFrame(
        {
            "customer_id": [f"c{number}" for number in random.integers(0, 150, 6000)],
            "hour": hour,
            "responded": random.random(6000) < np.where((hour >= 18) & (hour < 21), 0.5, 0.1),
        }
    )
    scored = hour_preference(touches)
    assert (scored.loc[scored["is_best"], "from_hour"] == 18).mean() > 0.95
    assert set(scored["from_hour"]) == set(range(0, 24, 3))


def test_odd_touches_are_refused_with_what_is_wrong() -> None:
    touches, _ = company(20)
    with pytest.raises(ModelDataError, match="channel"):
        channel_preference(touches.drop(columns="channel"))
    with pytest.raises(ModelDataError, match="0 or 1"):
        channel_preference(touches.assign(responded=np.nan))
    with pytest.raises(ModelDataError, match="between 0 and 23"):
        hour_preference(touches.assign(hour=24))


def test_no_touches_give_no_rows() -> None:
    touches, _ = company(20)
    assert channel_preference(touches.iloc[:0]).empty
