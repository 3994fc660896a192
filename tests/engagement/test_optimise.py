"""Choosing touches: caps and limits are never broken, and little is lost against the bound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customer360.engagement.bound import upper_bound
from customer360.engagement.optimise import NEVER, Problem, Resource, choose


def make_problem(seed, customers=40, per_customer=4, channels=3, scarce=0.3, groups=((1, 2),)):
    random = np.random.default_rng(seed)
    counts = random.integers(0, per_customer + 1, customers)
    customer = np.repeat(np.arange(customers), counts).astype(np.int32)
    gain = random.gamma(1.0, 10.0, (len(customer), channels)).astype(np.float32) - 2
    gain[random.random(gain.shape) < 0.3] = NEVER
    cost = np.array([0.1, 1.0, 5.0][:channels], np.float32)
    coupon = (random.random(len(customer)) < 0.5).astype(np.float32) * 10
    return Problem(
        customer,
        gain,
        random.integers(0, 4, customers).astype(np.int32),
        random.integers(0, 3, (customers, channels)).astype(np.int32),
        groups,
        random.random((customers, len(groups))) < 0.9,
        (
            Resource("budget", scarce * len(customer), of_channel=cost),
            Resource("capacity", scarce * 20, of_channel=np.eye(channels, dtype=np.float32)[1]),
            Resource("coupons", scarce * float(coupon.sum()), of_candidate=coupon),
        ),
    )


def keeps_every_limit(problem, channel):
    taken = np.flatnonzero(channel >= 0)
    who, how = problem.customer[taken], channel[taken]
    customers, channels = problem.channel_cap.shape
    counts = np.zeros((customers, channels), int)
    np.add.at(counts, (who, how), 1)
    assert (counts <= problem.channel_cap).all()
    assert (counts.sum(axis=1) <= problem.cap).all()
    for number, group in enumerate(problem.groups):
        assert (counts[:, group].sum(axis=1) <= problem.group_free[:, number]).all()
    for resource in problem.resources:
        used = resource.use(taken.astype(np.int32), how).sum(dtype=float)
        assert used <= resource.limit + 1e-3
    assert (problem.gain[taken, how] > 0).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 6), st.sampled_from([0, 0.1, 0.5, 9])
)
def test_no_cap_limit_or_voice_is_ever_broken(seed, customers, per_customer, scarce):
    problem = make_problem(seed, customers, per_customer, scarce=scarce)
    keeps_every_limit(problem, choose(problem).channel)


@pytest.mark.parametrize("scarce", [0.05, 0.3, 9])
def test_the_value_is_close_to_the_bound_of_the_linear_programme(scarce):
    problem = make_problem(5, customers=3000, scarce=scarce)
    chosen = choose(problem)
    keeps_every_limit(problem, chosen.channel)
    bound = upper_bound(problem)
    assert 0.98 * bound <= chosen.value <= bound * (1 + 1e-6)


def test_the_best_touch_wins_and_what_the_budget_holds_is_said():
    gain = np.array([[5, 3], [9, NEVER], [4, 4]], np.float32)
    problem = Problem(
        np.array([0, 0, 1], np.int32),
        gain,
        np.array([1, 1], np.int32),
        np.ones((2, 2), np.int32),
        resources=(Resource("budget", 1.0, of_channel=np.array([1, 1], np.float32)),),
    )
    chosen = choose(problem)
    assert chosen.channel.tolist() == [-1, 0, -1]
    assert chosen.held_by[2] == 0


def test_nobody_to_touch_is_no_plan():
    empty = np.zeros((0, 2), np.float32)
    problem = Problem(
        np.zeros(0, np.int32), empty, np.ones(3, np.int32), np.ones((3, 2), np.int32),
        resources=(Resource("budget", 1.0, of_channel=np.ones(2, np.float32)),),
    )  # fmt: skip
    assert len(choose(problem).channel) == 0
    assert upper_bound(problem) == 0
