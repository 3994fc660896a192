"""Buy till you die: simulated customers, whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from models.common.btyd import (
    BuyTillYouDie,
    ParetoNBD,
    Purchases,
    fit_basket,
    fit_pareto,
    fit_purchases,
    purchases,
)
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


def test_pareto_nbd_equals_the_integral_over_the_moment_of_stopping() -> None:
    from scipy.integrate import quad

    fitted = ParetoNBD(r=0.55, alpha=10.6, s=0.6, beta=11.7)
    given = Purchases(
        np.array([0.0, 2.0, 40.0, 300.0]),
        np.array([0.0, 12.0, 30.0, 38.5]),
        np.array([39.0, 30.0, 39.0, 39.0]),
    )
    _, stopped = fitted.log_parts(given)
    for row in range(4):
        shape = fitted.r + given.repeats[row]
        top = fitted.alpha + given.last[row]

        def density(moment: float, shape: float = shape, top: float = top) -> float:
            return (
                fitted.s
                * (fitted.beta + moment) ** (-fitted.s - 1)
                * ((fitted.alpha + moment) / top) ** -shape
            )

        expected = np.log(quad(density, given.last[row], given.age[row])[0]) - shape * np.log(top)
        assert stopped[row] == pytest.approx(expected, abs=1e-4)
    alive = fitted.alive(given)
    assert np.isfinite(alive).all()
    assert alive[3] > 0.5 > alive[2]  # silent for nine weeks after forty purchases in thirty
    today = Purchases(np.array([0.0]), np.array([5.0]), np.array([5.0]))
    assert fitted.alive(today) == pytest.approx([1.0])


def test_pareto_nbd_finds_who_made_the_purchases() -> None:
    random = np.random.default_rng(8)
    people, age, ahead = 3000, 60.0, 30.0
    pace = random.gamma(0.8, 1 / 6.0, people)
    stops = random.exponential(1 / random.gamma(1.2, 1 / 40.0, people))
    rows, came = [], 0
    for rate, stop in zip(pace, stops, strict=True):
        moments = np.cumsum(random.exponential(1 / rate, 400))
        moments = moments[moments < min(stop, age + ahead)]
        past = moments[moments <= age]
        came += int((moments > age).sum())
        last = past[-1] if len(past) else 0.0
        rows.append((7 * age, 7 * (age - last), len(past) + 1))
    frame = pd.DataFrame(rows, columns=["tenure_days", "recency_days", "visits"])
    fitted = fit_pareto(frame)
    assert fitted.expected(purchases(frame), ahead).sum() == pytest.approx(came, rel=0.08)
