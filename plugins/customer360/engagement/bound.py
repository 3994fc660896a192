"""The linear-programming bound of a plan: how good it could be at best.

What belongs here: the relaxation of ``optimise.Problem``, solved by HiGHS. It is for measuring, not
for planning: 20,000 customers take it longer than the plan of a million.
"""

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from customer360.engagement.optimise import Problem
from customer360.exceptions import Customer360Error


def upper_bound(problem: Problem) -> float:
    """The best value of any plan with fractions of touches allowed.

    Raises:
        Customer360Error: HiGHS did not solve it.
    """
    candidate, channel = np.nonzero(problem.gain > 0)
    if not len(candidate):
        return 0.0
    who = problem.customer[candidate]
    ways = problem.gain.shape[1]
    customers = len(problem.cap)
    columns = np.arange(len(candidate))
    blocks, limits = [], []

    def at_most(row: np.ndarray, limit: np.ndarray, weight: np.ndarray | None = None) -> None:
        values = np.ones(len(row)) if weight is None else weight
        used = np.flatnonzero(row >= 0)
        blocks.append(
            sparse.csr_matrix((values[used], (row[used], columns[used])), (len(limit), len(row)))
        )
        limits.append(limit.astype(float))

    at_most(candidate, np.ones(problem.size))
    at_most(who, problem.cap)
    at_most(who * ways + channel, problem.channel_cap.ravel())
    for number, group in enumerate(problem.groups):
        free = np.ones(customers) if problem.group_free is None else problem.group_free[:, number]
        at_most(np.where(np.isin(channel, group), who, -1), free)
    for resource in problem.resources:
        weight = resource.use(candidate.astype(np.int32), channel.astype(np.int32))
        at_most(np.zeros(len(candidate), int), np.array([resource.limit]), weight)
    solved = linprog(
        -problem.gain[candidate, channel].astype(float),
        A_ub=sparse.vstack(blocks),
        b_ub=np.concatenate(limits),
        bounds=(0, 1),
        method="highs",
    )
    if not solved.success:
        raise Customer360Error(f"HiGHS found no bound: {solved.message}")
    return float(-solved.fun)
