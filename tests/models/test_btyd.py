"""Buy till you die: simulated customers, whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from models.common.btyd import BuyTillYouDie, fit_basket, fit_purchases, purchases
from models.common.errors import ModelDataError

TRUTH = BuyTillYouDie(r=0.8, alpha=6.0, a=0.7, b=3.0)
WEEKS = 26.0


@pytest.fixture(scope="module")
def simulated() -> pd.DataFrame:
    random = np.random.default_rng(11)
    rows = []
    for _ in range(6000):
        pace, stop = random.gamma(TRUTH.r, 1 / TRUTH.alpha), random.beta(TRUTH.a, TRUTH.b)
        age = random.uniform(20, 60)
        at, last, repeats, later = 0.0, 0.0, 0, 0
        while random.random() >= stop:
            at += random.exponential(1 / pace)
            if at > age + WEEKS:
                break
            if at <= age:
                last, repeats = at, repeats + 1
            else:
                later += 1
        rows.append((age * 7, (age - last) * 7, repeats + 1, later))
    return pd.DataFrame(rows, columns=["tenure_days", "recency_days", "visits", "later"])


def test_the_fit_foretells_what_the_truth_foretells(simulated):
    fitted = fit_purchases(simulated)
    given = purchases(simulated)
    found, true = fitted.expected(given, WEEKS), TRUTH.expected(given, WEEKS)
    assert found.sum() == pytest.approx(simulated["later"].sum(), rel=0.06)
    assert np.corrcoef(found, true)[0, 1] > 0.995
    away = fitted.stays_away(given, WEEKS)
    assert away.mean() == pytest.approx((simulated["later"] == 0).mean(), abs=0.02)


def test_expected_purchases_are_calibrated_in_groups(simulated):
    found = TRUTH.expected(purchases(simulated), WEEKS)
    for members in np.array_split(np.argsort(found), 4):
        truth = simulated["later"].to_numpy()[members]
        error = truth.std() / np.sqrt(len(members))
        assert abs(truth.mean() - found[members].mean()) < 4 * error + 0.01


def test_one_time_buyers_grow_riskier_with_time():
    frame = pd.DataFrame(
        {"tenure_days": [7, 70, 300], "recency_days": [7, 70, 300], "visits": [1, 1, 1]}
    )
    given = purchases(frame)
    assert (np.diff(TRUTH.stays_away(given, 4)) > 0).all()
    assert (np.diff(TRUTH.alive(given)) < 0).all()


def test_gamma_gamma_pulls_the_few_to_all_and_believes_the_many():
    random = np.random.default_rng(4)
    scale = 15.0 / random.gamma(4.0, 1.0, 5000)
    count = random.integers(1, 30, 5000).astype(float)
    mean = random.gamma(2.0 * count, scale / count)
    fitted = fit_basket(mean, count)
    overall = mean.mean()
    once = fitted.expected(np.array([10 * overall]), np.array([1.0]))[0]
    often = fitted.expected(np.array([10 * overall]), np.array([500.0]))[0]
    assert overall < once < often
    assert often == pytest.approx(10 * overall, rel=0.02)
    assert fitted.expected(mean, count).mean() == pytest.approx((2.0 * scale).mean(), rel=0.05)


def test_too_little_to_go_by_is_said():
    frame = pd.DataFrame({"tenure_days": [5] * 30, "recency_days": [5] * 30, "visits": [1] * 30})
    with pytest.raises(ModelDataError, match="second day"):
        fit_purchases(frame)
    with pytest.raises(ModelDataError, match="20 are needed"):
        fit_purchases(frame.head(3))
