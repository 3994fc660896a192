"""Buy till you die: purchases at each customer's own pace, until the customer silently stops.

MBG/NBD (Batislam, Denizel & Filiztekin 2007) for the purchases: pace ~ gamma(r, alpha), and after
each purchase, **the first one included**, the customer stops with a chance ~ beta(a, b). In
BG/NBD (Fader, Hardie & Lee 2005) a one-time buyer can never have stopped, which makes one-time
buyers the safest of all; that is the one thing changed here. Pareto/NBD (Schmittlein, Morrison &
Colombo 1987) has the same pace, but a customer stops at a moment, not at a purchase, with a rate ~
gamma(s, beta). Gamma-gamma (Fader & Hardie 2013) for the spend a purchase.

No labels are needed: both are fitted on what is known at the as-of date. Time is in weeks.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, gammaln, roots_legendre

from models.common.errors import ModelDataError

Floats = NDArray[np.float64]
MAX_FIT_ROWS = 20_000
MAX_PARETO_ROWS = 6_000
_NODES, _WEIGHTS = roots_legendre(48)
_FEW_NODES, _FEW_WEIGHTS = roots_legendre(16)


@dataclass(frozen=True)
class Purchases:
    """Repeat purchases of each customer, in weeks since the first.

    Attributes:
        repeats: purchase days after the first.
        last: weeks from the first to the last purchase.
        age: weeks from the first purchase to the as-of date.
    """

    repeats: Floats
    last: Floats
    age: Floats


def purchases(frame: pd.DataFrame) -> Purchases:
    """Of ``customer_features``: ``visits``, ``tenure_days``, ``recency_days``."""
    tenure = frame["tenure_days"].to_numpy(dtype=np.float64)
    recency = frame["recency_days"].to_numpy(dtype=np.float64)
    visits = frame["visits"].to_numpy(dtype=np.float64)
    # Bought today counts as half a day: a customer of age zero has no likelihood.
    age = np.maximum(tenure, 0.5)
    return Purchases(visits - 1.0, np.minimum(tenure - recency, age) / 7.0, age / 7.0)


@dataclass(frozen=True)
class BuyTillYouDie:
    """A fitted MBG/NBD."""

    r: float
    alpha: float
    a: float
    b: float

    @property
    def parameters(self) -> list[float]:
        """The four numbers that a model file keeps."""
        return [self.r, self.alpha, self.a, self.b]

    def alive(self, given: Purchases) -> Floats:
        """Probability that the customer has not stopped yet."""
        odds = np.log(self.a) - np.log(self.b + given.repeats)
        odds = odds + (self.r + given.repeats) * (
            np.log(self.alpha + given.age) - np.log(self.alpha + given.last)
        )
        chance: Floats = expit(-odds)
        return chance

    def stays_away(self, given: Purchases, weeks: float) -> Floats:
        """Probability of no purchase in the next ``weeks``, stopped or only slow."""
        rate = self.alpha + given.age
        silent = (rate / (rate + weeks)) ** (self.r + given.repeats)
        chance: Floats = 1.0 - self.alive(given) * (1.0 - silent)
        return chance

    def expected(self, given: Purchases, weeks: float) -> Floats:
        """Expected purchase days in the next ``weeks``.

        A living customer with pace l and stopping chance p makes (1 - exp(-l p weeks)) / p
        purchases; the mean over the posterior of l is closed, that over p is a quadrature in
        u = p ** a, which takes the pole at zero away.
        """
        rate, shape = self.alpha + given.age, self.r + given.repeats
        nodes, weights = (_NODES + 1.0) / 2.0, _WEIGHTS / 2.0
        total = np.zeros_like(rate)
        mass = np.zeros_like(rate)
        for node, weight in zip(nodes, weights, strict=True):
            stop = max(node ** (1.0 / self.a), 1e-12)
            density = weight * np.exp((self.b + given.repeats) * np.log1p(-min(stop, 1 - 1e-12)))
            made = -np.expm1(-shape * np.log1p(stop * weeks / rate)) / stop
            total += density * made
            mass += density
        mean: Floats = self.alive(given) * total / np.maximum(mass, 1e-300)
        return mean


# Of a company about which nothing is known: a purchase every eight weeks, one in seven stops
# after each.
ASSUMED = BuyTillYouDie(r=1.0, alpha=8.0, a=0.5, b=3.0)


def fit_purchases(frame: pd.DataFrame, seed: int = 42) -> BuyTillYouDie:
    """Maximum likelihood on a sample of at most 20,000 customers.

    Raises:
        ModelDataError: fewer than 20 customers, or nobody ever bought twice.
    """
    given = _given(frame, seed, MAX_FIT_ROWS)
    counts, last, age = given.repeats, given.last, given.age

    def loss(logs: Floats) -> float:
        r, alpha, a, b = np.exp(logs)
        stopped = np.log(a) - np.log(b + counts) - (r + counts) * np.log(alpha + last)
        going = -(r + counts) * np.log(alpha + age)
        log_likelihood = (
            gammaln(r + counts) - gammaln(r) + r * np.log(alpha)
            + gammaln(a + b) - gammaln(b)
            + gammaln(b + counts + 1.0) - gammaln(a + b + counts + 1.0)
            + np.logaddexp(stopped, going)
        )  # fmt: skip
        # A weak pull to one, or the four numbers run away together where nobody ever stops.
        return float(-log_likelihood.mean() + 1e-4 * (logs**2).sum())

    pace = counts.sum() / age.sum()
    start = np.log([1.0, max(1.0 / pace, 1e-2), 0.5, 3.0])
    found = minimize(loss, start, method="L-BFGS-B", bounds=[(-7.0, 9.0)] * 4)
    return BuyTillYouDie(*map(float, np.exp(found.x)))


@dataclass(frozen=True)
class ParetoNBD:
    """A fitted Pareto/NBD: the customer stops at some moment, whether or not it bought then."""

    r: float
    alpha: float
    s: float
    beta: float

    @property
    def parameters(self) -> list[float]:
        """The four numbers that a model file keeps."""
        return [self.r, self.alpha, self.s, self.beta]

    def log_parts(self, given: Purchases) -> tuple[Floats, Floats]:
        """Logarithms of the likelihoods of still being a customer, and of having stopped.

        Both without what they have in common. The second is an integral over the moment of
        stopping, from the last purchase to now: the density of the purchases, which is steep, is
        integrated in closed form, and the rest, which is smooth, by Gauss-Legendre over its
        quantiles. So nothing overflows where customers bought hundreds of times, as the usual
        hypergeometric functions do.
        """
        shape = self.r + given.repeats
        going = -shape * np.log(self.alpha + given.age) - self.s * np.log(self.beta + given.age)
        power = shape - 1.0
        power = np.where(np.abs(power) < 1e-6, 1e-6, power)
        start = self.alpha + given.last
        left = np.exp(power * (np.log(start) - np.log(self.alpha + given.age)))
        smooth = np.zeros_like(start)
        for node, weight in zip((_FEW_NODES + 1.0) / 2.0, _FEW_WEIGHTS / 2.0, strict=True):
            moment = start * (1.0 - node * (1.0 - left)) ** (-1.0 / power) - self.alpha
            smooth += weight * (self.beta + moment) ** (-self.s - 1.0)
        with np.errstate(divide="ignore"):
            mass = np.log(np.maximum((1.0 - left) / power, 0.0))
        stopped = np.log(self.s) - power * np.log(start) + mass + np.log(smooth)
        return going, stopped

    def alive(self, given: Purchases) -> Floats:
        """Probability that the customer has not stopped yet."""
        going, stopped = self.log_parts(given)
        chance: Floats = np.exp(going - np.logaddexp(going, stopped))
        return chance

    def expected(self, given: Purchases, weeks: float) -> Floats:
        """Expected purchase days in the next ``weeks``."""
        power = self.s - 1.0 if abs(self.s - 1.0) > 1e-6 else 1e-6
        rest = self.beta + given.age
        stays = -np.expm1(power * (np.log(rest) - np.log(rest + weeks))) / power
        pace = (self.r + given.repeats) / (self.alpha + given.age)
        mean: Floats = self.alive(given) * pace * rest * stays
        return mean


# Of a company about which nothing is known: a purchase every eight weeks, a customer for a year.
ASSUMED_PARETO = ParetoNBD(r=1.0, alpha=8.0, s=2.0, beta=52.0)


def fit_pareto(frame: pd.DataFrame, seed: int = 42) -> ParetoNBD:
    """Maximum likelihood on a sample of at most 6,000 customers.

    Raises:
        ModelDataError: fewer than 20 customers, or nobody ever bought twice.
    """
    given = _given(frame, seed, MAX_PARETO_ROWS)
    counts = given.repeats

    def loss(logs: Floats) -> float:
        fitted = ParetoNBD(*np.exp(logs))
        going, stopped = fitted.log_parts(given)
        log_likelihood = (
            gammaln(fitted.r + counts) - gammaln(fitted.r) + fitted.r * logs[1]
            + fitted.s * logs[3] + np.logaddexp(going, stopped)
        )  # fmt: skip
        return float(-log_likelihood.mean() + 1e-4 * (logs**2).sum())

    pace = counts.sum() / given.age.sum()
    start = np.log([1.0, max(1.0 / pace, 1e-2), 0.6, 12.0])
    found = minimize(loss, start, method="L-BFGS-B", bounds=[(-6.0, 7.0)] * 4)
    return ParetoNBD(*map(float, np.exp(found.x)))


def _given(frame: pd.DataFrame, seed: int, rows: int) -> Purchases:
    if len(frame) < 20:
        raise ModelDataError(f"only {len(frame)} customers; 20 are needed")
    given = purchases(frame if len(frame) <= rows else frame.sample(rows, random_state=seed))
    if given.repeats.max() <= 0:
        raise ModelDataError(
            "nobody bought on a second day; nothing can be said about buying again"
        )
    return given


@dataclass(frozen=True)
class Basket:
    """A fitted gamma-gamma: the mean spend a purchase of each customer, shrunk to all."""

    p: float
    q: float
    v: float

    @property
    def parameters(self) -> list[float]:
        """The three numbers that a model file keeps."""
        return [self.p, self.q, self.v]

    def expected(self, mean: Floats, count: Floats) -> Floats:
        """Expected spend a purchase of customers with this mean over ``count`` purchases."""
        mean = np.maximum(mean, 0.0)
        spend: Floats = self.p * (self.v + count * mean) / (self.p * count + self.q - 1.0)
        return spend


def fit_basket(mean: Floats, count: Floats, seed: int = 42) -> Basket:
    """Maximum likelihood on customers whose mean spend is above zero."""
    known = np.isfinite(mean) & (mean > 0) & (count > 0)
    if known.sum() < 20:
        raise ModelDataError("fewer than 20 customers have spent anything")
    places = np.flatnonzero(known)
    if len(places) > MAX_FIT_ROWS:
        places = np.random.default_rng(seed).choice(places, MAX_FIT_ROWS, replace=False)
    spent, times = mean[places], count[places]
    scale = float(np.median(spent))
    spent = spent / scale

    def loss(logs: Floats) -> float:
        p, v = np.exp(logs[[0, 2]])
        q = 1.0 + np.exp(logs[1])  # below one the mean spend of all would be infinite
        log_likelihood = (
            gammaln(p * times + q) - gammaln(p * times) - gammaln(q)
            + q * np.log(v) + (p * times - 1) * np.log(spent) + p * times * np.log(times)
            - (p * times + q) * np.log(v + times * spent)
        )  # fmt: skip
        return float(-log_likelihood.mean() + 1e-4 * (logs**2).sum())

    found = minimize(loss, np.log([2.0, 2.0, 2.0]), method="L-BFGS-B", bounds=[(-5.0, 7.0)] * 3)
    p, excess, v = np.exp(found.x)
    return Basket(float(p), float(1.0 + excess), float(v * scale))
