"""Why gradient boosting says what it says: exact contributions along the paths of its trees.

A prediction is the mean of a tree plus the steps of the expectation at each split on the way to
the leaf (Saabas 2014). The steps are added up by group of features; with the baseline they give
the raw score exactly. What a leaf contributes is the same for everyone in it, so it is computed
once a leaf, and a million customers cost one tree walk in scikit-learn's own code each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

Floats = NDArray[np.float64]
Boosting: TypeAlias = HistGradientBoostingClassifier | HistGradientBoostingRegressor


@dataclass(frozen=True)
class PathContributions:
    """The trees of one model, ready to explain rows.

    Attributes:
        baseline: raw score (log-odds for a classifier) before any feature has spoken.
        walkers: each tree, with the number of the leaf in the place of its value.
        leaves: for each tree, (leaf, group) -> contribution.
    """

    baseline: float
    walkers: tuple[TreePredictor, ...]
    leaves: tuple[NDArray[np.float32], ...]
    known_bitsets: NDArray[np.uint32]
    bitset_of: NDArray[np.uint32]

    def explain(self, values: Floats, threads: int = 1) -> NDArray[np.float32]:
        """(rows, groups): by how much each group moves the raw score away from the baseline."""
        rows = np.ascontiguousarray(values, dtype=np.float64)
        total = np.zeros((len(rows), self.leaves[0].shape[1] if self.leaves else 0), np.float32)
        for walker, table in zip(self.walkers, self.leaves, strict=True):
            leaf = walker.predict(rows, self.known_bitsets, self.bitset_of, threads)
            total += table[leaf.astype(np.intp)]
        return total


def path_contributions(
    estimator: Boosting, group_of: Sequence[int], groups: int
) -> PathContributions:
    """Prepare a fitted binary classifier or regressor.

    Args:
        estimator: fitted, one tree an iteration, without categorical features.
        group_of: for each of the estimator's features the number of its group, from 0.
        groups: how many groups there are.
    """
    baseline = float(np.ravel(estimator._baseline_prediction)[0])
    walkers, leaves = [], []
    for (tree,) in estimator._predictors:
        expected, contributions = _steps(tree.nodes, group_of, groups)
        baseline += expected
        numbered = tree.nodes.copy()
        is_leaf = numbered["is_leaf"].astype(bool)
        numbered["value"][is_leaf] = np.arange(int(is_leaf.sum()))
        walkers.append(
            TreePredictor(numbered, tree.binned_left_cat_bitsets, tree.raw_left_cat_bitsets)
        )
        leaves.append(contributions[is_leaf].astype(np.float32))
    known, bitset_of = estimator._bin_mapper.make_known_categories_bitsets()
    return PathContributions(baseline, tuple(walkers), tuple(leaves), known, bitset_of)


def _steps(nodes: NDArray[np.void], group_of: Sequence[int], groups: int) -> tuple[float, Floats]:
    """Expectation at the root, and what the way to each node adds, by group."""
    expected = nodes["value"].astype(np.float64)
    # Children stand behind their parents: backwards for expectations, forwards for the paths.
    for node in range(len(nodes) - 1, -1, -1):
        if not nodes["is_leaf"][node]:
            sides = [int(nodes["left"][node]), int(nodes["right"][node])]
            expected[node] = np.average(expected[sides], weights=nodes["count"][sides])
    contributions = np.zeros((len(nodes), groups))
    for node in range(len(nodes)):
        if not nodes["is_leaf"][node]:
            group = group_of[int(nodes["feature_idx"][node])]
            for side in (int(nodes["left"][node]), int(nodes["right"][node])):
                contributions[side] = contributions[node]
                contributions[side, group] += expected[side] - expected[node]
    return float(expected[0]), contributions
