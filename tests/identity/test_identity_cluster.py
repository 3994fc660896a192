import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from customer360.identity import cluster


def join(pairs: dict[tuple[int, int], float], contradicted=(), **options):
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    weights = np.array(list(pairs.values()))
    against = np.array([pair in contradicted for pair in pairs])
    return cluster.join(left, right, cluster.say(weights, against), **options)


def test_a_weak_edge_never_joins_two_groups_that_contradict():
    pairs = {(0, 1): 15, (2, 3): 15, (1, 2): 2, (0, 2): -9, (0, 3): -9, (1, 3): -9}
    found = join(pairs)
    assert found == {0: 0, 1: 0, 2: 2, 3: 2}


def test_pairs_that_were_never_compared_speak_against_a_chain():
    found = join({(number, number + 1): 3.0 for number in range(20)})
    assert max(np.bincount(list(found.values()))) <= 3


def test_one_contradiction_overrules_a_strong_link():
    assert join({(0, 1): 16, (0, 2): 9, (1, 2): -16}, contradicted={(1, 2)}) == {0: 0, 1: 0, 2: 2}


def test_records_that_all_agree_are_joined():
    assert set(join({(0, 1): 9, (0, 2): 9, (1, 2): 9}).values()) == {0}


def test_a_group_does_not_grow_over_the_cap():
    pairs = {(one, other): 9.0 for one in range(8) for other in range(one + 1, 8)}
    assert max(np.bincount(list(join(pairs, max_records=5).values()))) <= 5


@given(st.data())
def test_the_order_of_pairs_does_not_matter(data):
    size = data.draw(st.integers(3, 7))
    every = [(one, other) for one in range(size) for other in range(one + 1, size)]
    weights = st.floats(-12, 12).filter(lambda value: abs(value) > 0.01)
    pairs = {pair: data.draw(weights) for pair in every}
    shuffled = {pair: pairs[pair] for pair in data.draw(st.permutations(every))}
    assert join(pairs) == join(shuffled)


@pytest.mark.parametrize("records", [1, 4])
def test_components_of_nothing_are_single_records(records):
    nothing = np.array([], int)
    assert sorted(cluster.components(records, nothing, nothing)) == list(range(records))
