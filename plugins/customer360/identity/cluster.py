"""Customers from links, without chains.

What belongs here: which records are joined, given the weights of their pairs. What does not:
where the weights come from (``links``). Pure: arrays in, labels out.

Plain connected components join two people over one weak link. Here groups are joined pair by
pair, best first, only while the mean weight between the two *groups* speaks for one person
(average linkage on log-odds), so that a link is overruled by what the other members say.
"""

import heapq
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

MAX_RECORDS = 200
"""Cap on the records of one customer; what would grow over it is left apart."""

MOST_FOR = 16.0
MOST_AGAINST = -4.0
"""Bounds of one pair's say, in bits. A pair that merely lacks agreement counts little against
one that agrees in full; a contradiction or a reviewer's word is not bounded."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


def components(records: int, left: Integers, right: Integers) -> Integers:
    """Label of each record's connected component, from 0."""
    graph = coo_matrix((np.ones(len(left), np.int8), (left, right)), shape=(records, records))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def say(weights: Floats, contradicted: NDArray[np.bool_]) -> Floats:
    """What each pair says in the mean of two groups."""
    return np.where(
        contradicted | (np.abs(weights) > 500), weights, np.clip(weights, MOST_AGAINST, MOST_FOR)
    )


def join(
    left: Integers,
    right: Integers,
    says: Floats,
    *,
    max_records: int = MAX_RECORDS,
    absent: float = MOST_AGAINST,
    sizes: dict[int, int] | None = None,
) -> dict[int, int]:
    """Join the records of one component: record -> smallest record of its group.

    Args:
        left, right: indices of the records of each known pair.
        says: from ``say``; a pair that is not given counts ``absent``.
        max_records: cap on a group.
        absent: what a pair says that was never compared.
        sizes: how many records stand behind a number, where it is more than one.
    """
    # sums between groups are kept relative to ``absent``, so that absent pairs add nothing
    between: dict[int, dict[int, float]] = defaultdict(dict)
    for one, other, value in zip(left.tolist(), right.tolist(), says.tolist(), strict=True):
        between[one][other] = between[other][one] = value - absent
    members = {record: [record] for record in sorted(between)}
    behind = {record: (sizes or {}).get(record, 1) for record in members}

    def mean(one: int, other: int) -> float:
        size = len(members[one]) * len(members[other])
        return round(between[one][other] / size + absent, 6)

    queue: list[tuple[float, int, int, int, int]] = []

    def offer(one: int, other: int) -> None:
        value = mean(one, other)
        if value > 0:
            low, high = min(one, other), max(one, other)
            sizes = len(members[low]), len(members[high])
            heapq.heappush(queue, (-value, low, high, *sizes))

    for one in members:
        for other in between[one]:
            if one < other:
                offer(one, other)
    while queue:
        _, one, other, size, other_size = heapq.heappop(queue)
        stale = (
            one not in members
            or other not in members
            or (len(members[one]), len(members[other])) != (size, other_size)
        )
        if stale or behind[one] + behind[other] > max_records:
            continue
        members[one] += members.pop(other)
        behind[one] += behind.pop(other)
        for third, value in between.pop(other).items():
            if third == one:
                continue
            del between[third][other]
            total = between[one].get(third, 0.0) + value
            between[one][third] = between[third][one] = total
        between[one].pop(other, None)
        for third in between[one]:
            offer(one, third)
    return {record: min(group) for group in members.values() for record in group}
