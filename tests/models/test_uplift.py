"""Uplift: found where it is, and not claimed where it is not."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from models.common.card import render
from models.common.errors import ModelDataError
from models.uplift import evaluate
from models.uplift.card import make_card
from models.uplift.evaluate import Evaluation, cross_validate, qini, qini_curve
from models.uplift.train import train


def campaign(
    rows: int = 6000, seed: int = 3, moved: float = 2.0, effect: float = 0.0
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """A randomised campaign: ``moved`` for people under 40, ``effect`` for all (log-odds)."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 80, rows),
            "past_orders": random.poisson(3, rows),
            "city": random.choice(["north", "south"], rows),
        }
    )
    base = -2.0 + 0.15 * frame["past_orders"].to_numpy()
    lift = effect + moved * (frame["age"].to_numpy() < 40)
    treatment = (random.random(rows) < 0.4).astype(float)
    outcome = (random.random(rows) < expit(base + lift * treatment)).astype(float)
    return frame, treatment, outcome, expit(base + lift) - expit(base)


@pytest.fixture(autouse=True)
def fewer_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "REPLICATES", 100)


@pytest.fixture(scope="module")
def learned() -> tuple[np.ndarray, np.ndarray, np.ndarray, Evaluation]:
    frame, treatment, outcome, truth = campaign()
    return treatment, outcome, truth, cross_validate(frame, treatment, outcome, 3, 1)


def test_who_is_moved_is_found_by_every_learner_and_not_by_the_response_rule(
    learned: tuple[np.ndarray, np.ndarray, np.ndarray, Evaluation],
) -> None:
    treatment, outcome, truth, evaluation = learned
    for name in ("uplift", "two models", "class transformation"):
        assert np.corrcoef(evaluation.scores[name], truth)[0, 1] > 0.75, name
    assert evaluation.figure("qini_low") > 0
    assert evaluation.figure("qini") < 1.1 * qini(truth, treatment, outcome)
    figures = evaluation.figures.set_index("who")["qini"]
    assert figures["uplift"] > figures["response model"]
    assert evaluation.verdict.startswith("Targeting pays")


def test_uplift_is_in_units_of_the_outcome(
    learned: tuple[np.ndarray, np.ndarray, np.ndarray, Evaluation],
) -> None:
    _, _, truth, evaluation = learned
    assert evaluation.scores["uplift"].mean() == pytest.approx(truth.mean(), abs=0.02)
    assert evaluation.effect_low < truth.mean() < evaluation.effect_high


def test_an_effect_that_is_the_same_for_all_is_no_targeting_gain() -> None:
    random = np.random.default_rng(11)
    frame = pd.DataFrame({"age": random.integers(18, 80, 4000), "x": random.normal(size=4000)})
    treatment = (random.random(4000) < 0.5).astype(float)
    outcome = (random.random(4000) < 0.2 + 0.1 * treatment).astype(float)
    evaluation = cross_validate(frame, treatment, outcome, 3, 1)
    assert evaluation.effect_low > 0
    assert evaluation.figure("qini_low") <= 0
    assert evaluation.verdict.startswith("No proven targeting gain")


def test_a_campaign_without_effect_is_called_that() -> None:
    frame, treatment, outcome, _ = campaign(3000, seed=6, moved=0.0)
    evaluation = cross_validate(frame, treatment, outcome, 3, 1)
    assert evaluation.verdict.startswith("No proven effect")


def test_columns_from_after_the_campaign_are_left_out() -> None:
    frame, treatment, outcome, _ = campaign(3000)
    random = np.random.default_rng(1)
    frame["spend"] = outcome * (random.random(3000) < 0.3) * random.gamma(2, 20, 3000)
    frame["mails_opened"] = (treatment * (random.random(3000) < 0.4)).astype(int)
    evaluation = cross_validate(frame, treatment, outcome, 3, 1)
    assert set(evaluation.dropped) == {"spend", "mails_opened"}
    assert "mails_opened" in render(make_card(treatment, outcome, evaluation, 3, 1)).markdown


def test_arms_that_differ_beforehand_allow_no_claim() -> None:
    frame, _, outcome, _ = campaign(3000)
    chosen = (frame["age"] + 8 * frame["past_orders"] > 75).to_numpy(dtype=float)
    evaluation = cross_validate(frame[["age", "past_orders"]], chosen, outcome, 3, 1)
    assert evaluation.verdict.startswith("No uplift can be claimed")


def test_an_amount_may_be_the_outcome() -> None:
    frame, treatment, outcome, truth = campaign(4000)
    spend = outcome * 50.0
    evaluation = cross_validate(frame, treatment, spend, 3, 1)
    assert np.corrcoef(evaluation.scores["uplift"], truth)[0, 1] > 0.5
    assert evaluation.scores["uplift"].mean() == pytest.approx(50 * truth.mean(), rel=0.3)


def test_equal_scores_are_worth_nothing_whatever_the_order_of_rows() -> None:
    _, treatment, outcome, _ = campaign(1000)
    order = np.argsort(-outcome)
    assert qini(np.zeros(1000), treatment[order], outcome[order]) == pytest.approx(0.0, abs=1e-12)


def test_the_curve_ends_at_the_average_effect() -> None:
    _, treatment, outcome, truth = campaign(1000)
    share, gain = qini_curve(truth, treatment, outcome)
    effect = outcome[treatment == 1].mean() - outcome[treatment == 0].mean()
    assert share[-1] == pytest.approx(1.0)
    assert gain[-1] == pytest.approx(effect)


@pytest.mark.parametrize(
    ("treatment", "outcome", "message"),
    [
        (np.ones(200), np.tile([0.0, 1.0], 100), "nobody is not treated"),
        (np.r_[np.ones(20), np.zeros(180)], np.tile([0.0, 1.0], 100), "only 20 customers"),
        (np.tile([0.0, 1.0], 100), np.zeros(200), "the same outcome"),
        (np.tile([0.0, 1.0], 100), np.r_[np.ones(3), np.zeros(197)], "fewer than 10"),
    ],
)
def test_campaigns_that_teach_nothing_are_refused(
    treatment: np.ndarray, outcome: np.ndarray, message: str
) -> None:
    frame, *_ = campaign(200)
    with pytest.raises(ModelDataError, match=message):
        cross_validate(frame, treatment, outcome, 3, 1)


def test_an_arm_in_which_nobody_responded_is_no_accident() -> None:
    frame, treatment, outcome, _ = campaign(500)
    outcome = outcome * treatment
    assert (train(frame, treatment, outcome).predict(frame) > 0).all()


def test_unseen_values_are_scored() -> None:
    frame, treatment, outcome, _ = campaign(1000)
    odd = pd.DataFrame({"age": [np.nan, 1e9], "past_orders": ["", "4"], "city": ["moon", None]})
    assert np.isfinite(train(frame, treatment, outcome).predict(odd)).all()
