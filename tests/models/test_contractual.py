"""Churn with a given label: honest probabilities, reasons that hold, clear refusals."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from models.common.card import render
from models.common.errors import ModelDataError
from models.common.metrics import binary_metrics
from models.contractual.card import make_card
from models.contractual.evaluate import Evaluation, cross_validate
from models.contractual.reasons import contributions, reasons_in_words
from models.contractual.train import ContractualModel, train


def company(rows: int = 800, seed: int = 5) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Customers whose hazard is known: month-to-month and short tenure leave."""
    random = np.random.default_rng(seed)
    tenure = random.integers(1, 72, rows).astype(float)
    contract = random.choice(["monthly", "yearly"], rows)
    odds = 0.4 - 0.05 * tenure + 1.6 * (contract == "monthly") - 0.5
    truth = expit(odds)
    label = (random.random(rows) < truth).astype(float)
    frame = pd.DataFrame(
        {"tenure": tenure, "contract": contract, "noise": random.normal(size=rows), "one": 1}
    )
    return frame, label, truth


@pytest.fixture(scope="module")
def scored() -> tuple[np.ndarray, np.ndarray, Evaluation]:
    frame, label, truth = company()
    return label, truth, cross_validate(frame, label, folds=2, seed=1)


@pytest.fixture(scope="module")
def model() -> ContractualModel:
    frame, label, _ = company()
    return train(frame, label, seed=1)


def test_out_of_fold_scores_come_near_the_true_hazard(
    scored: tuple[np.ndarray, np.ndarray, Evaluation],
) -> None:
    label, truth, evaluation = scored
    assert roc_auc_score(label, truth) - roc_auc_score(label, evaluation.probability) < 0.03
    figures = binary_metrics(label, evaluation.probability)
    assert 0.85 < figures["calibration_slope"] < 1.15
    assert figures["brier"] < binary_metrics(label, evaluation.rules["base rate for all"])["brier"]


def test_out_of_fold_scores_of_noise_are_no_better_than_chance() -> None:
    random = np.random.default_rng(8)
    frame = pd.DataFrame(random.normal(size=(400, 6)), columns=list("abcdef"))
    label = (random.random(400) < 0.3).astype(float)
    evaluation = cross_validate(frame, label, folds=3, seed=1)
    assert abs(roc_auc_score(label, evaluation.probability) - 0.5) < 0.1
    # The stack shrinks to the base rate instead of spreading noise.
    assert evaluation.probability.std() < 0.08


def test_the_card_shows_rules_beside_the_model_and_names_what_was_left_out(
    scored: tuple[np.ndarray, np.ndarray, Evaluation],
) -> None:
    label, _, evaluation = scored
    card = render(make_card(label, evaluation, 2, 1))
    assert "plain logistic" in card.markdown
    assert "base rate for all" in card.markdown
    assert "one: left out, it is constant" in card.markdown
    assert set(card.pictures) == {"calibration.png", "gain.png", "importance.png"}


def test_the_card_warns_of_a_leak() -> None:
    frame, label, _ = company(600)
    frame["closed_on_day"] = np.where(label == 1, 17.0, np.nan)
    frame.loc[0, "closed_on_day"] = 3.0
    evaluation = cross_validate(frame, label, folds=2, seed=1)
    assert "closed_on_day" in evaluation.leaks
    assert "WARNING: closed_on_day" in make_card(label, evaluation, 2, 1).summary


def test_contributions_are_those_of_the_model_and_point_the_right_way(
    model: ContractualModel,
) -> None:
    customers = pd.DataFrame(
        {"tenure": [2.0, 70.0], "contract": ["monthly", "yearly"], "noise": [0.0, 0.0], "one": 1}
    )
    readable = model.encoder.readable(customers)
    added = contributions(model, readable)
    assert added.loc[0, "tenure"] > 0.5 > -0.5 > added.loc[1, "tenure"]
    assert added.loc[0, "contract"] > 0 > added.loc[1, "contract"]
    by_hand = model.log_odds(readable)
    for value, share in model.typical["tenure"]:
        by_hand = by_hand - share * model.log_odds(readable.assign(tenure=value))
    np.testing.assert_allclose(added["tenure"], by_hand, atol=1e-9)


def test_reasons_speak_of_the_customers_own_values(model: ContractualModel) -> None:
    customers = pd.DataFrame(
        {"tenure": [2.0, 70.0], "contract": ["monthly", "yearly"], "noise": [0.0, 0.0], "one": 1}
    )
    added = contributions(model, model.encoder.readable(customers))
    reasons = reasons_in_words(model, customers, added)
    assert reasons.loc[0, "reason_1"].startswith("tenure is 2 (typical: ")
    assert "contract is monthly" in reasons.loc[0, "reason_2"]
    # A loyal customer gets no invented reason to leave.
    assert "tenure" not in " ".join(reasons.loc[1])


def test_unseen_categories_and_missing_values_are_scored(model: ContractualModel) -> None:
    odd = pd.DataFrame(
        {
            "tenure": [np.nan, np.inf, 5.0],
            "contract": ["lifetime", None, "monthly"],
            "noise": ["", "x", "0.1"],
        }
    )
    chance = model.predict(odd)
    assert ((chance > 0) & (chance < 1)).all()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.ones(60), "one class only"),
        (np.zeros(60), "one class only"),
        (np.r_[np.ones(4), np.zeros(56)], "only 4 of 60"),
    ],
)
def test_labels_that_teach_nothing_are_refused(label: np.ndarray, message: str) -> None:
    frame, _, _ = company(60)
    with pytest.raises(ModelDataError, match=message):
        train(frame, label, seed=1)


def test_too_few_rows_for_the_folds_are_refused() -> None:
    frame, _, _ = company(60)
    with pytest.raises(ModelDataError, match="too few for 5 folds"):
        cross_validate(frame, np.r_[np.ones(11), np.zeros(49)], folds=5, seed=1)


def test_the_same_seed_gives_the_same_scores() -> None:
    frame, label, _ = company(150)
    first, second = train(frame, label, 7), train(frame, label, 7)
    np.testing.assert_array_equal(first.predict(frame), second.predict(frame))
