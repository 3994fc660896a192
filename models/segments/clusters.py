"""K-means on ranks, with a number of groups that is chosen and sizes that are bounded.

Features are turned into normal scores first: spend and counts are so skewed that distances on
raw values would find the richest customers and one crowd.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import ndtri
from sklearn.cluster import KMeans
from sklearn.metrics import calinski_harabasz_score

from models.common.errors import ModelDataError

Floats = NDArray[np.float64]

MIN_SHARE, MAX_SHARE = 0.02, 0.50
MIN_ROWS = 100
SAMPLE = 20_000
NEW_GROUP_DISTANCE = 1.0
STAY = 0.8
"""Who was in a group stays until another centre's squared distance is under so much of its own."""


@dataclass(frozen=True)
class Clusters:
    """Fitted groups.

    Attributes:
        features: columns, in order.
        quantiles: of each feature (101 rows), so that later values get the scores of today.
        centroids: groups x features, in normal scores.
        labels: stable number of each group, kept from run to run.
        names: name of each group, in the order of ``labels``.
    """

    features: list[str]
    quantiles: Floats
    centroids: Floats
    labels: list[int]
    names: list[str]

    def predict(self, frame: pd.DataFrame, held: pd.Series | None = None) -> NDArray[np.int64]:
        """Stable number of the nearest group, one a row.

        Args:
            frame: one row a customer.
            held: the number that each row had before, missing where it had none. Who lives near a
                border keeps it, and does not come and go from week to week.
        """
        scores = normal_scores(_matrix(frame, self.features), self.quantiles)
        distance = ((scores[:, None, :] - self.centroids[None, :, :]) ** 2).sum(axis=2)
        place = distance.argmin(axis=1)
        if held is not None:
            before = pd.Index(self.labels).get_indexer(pd.Index(held))
            rows = np.arange(len(frame))
            stays = (before >= 0) & (distance[rows, place] >= STAY * distance[rows, before])
            place = np.where(stays, before, place)
        return np.asarray(self.labels)[place]


def normal_scores(values: Floats, quantiles: Floats) -> Floats:
    """Each column's values as normal scores of their rank among the training quantiles.

    Equal values share the middle of their ranks; missing values are put at 0, the middle.
    """
    ranks = np.linspace(0.0, 1.0, len(quantiles))
    result = np.zeros_like(values)
    for column in range(values.shape[1]):
        edges = quantiles[:, column]
        below = np.searchsorted(edges, values[:, column], side="left")
        above = np.searchsorted(edges, values[:, column], side="right")
        inside = np.interp(values[:, column], *_strictly(edges, ranks))
        tied = (ranks[np.clip(below, 0, 100)] + ranks[np.clip(above - 1, 0, 100)]) / 2.0
        share = np.where(above > below, tied, inside)
        result[:, column] = ndtri(np.clip(share, 0.01, 0.99))
    result[~np.isfinite(values)] = 0.0
    return result


def _strictly(edges: Floats, ranks: Floats) -> tuple[Floats, Floats]:
    first = np.append(True, np.diff(edges) > 0)
    return edges[first], ranks[first]


def _matrix(frame: pd.DataFrame, features: list[str]) -> Floats:
    missing = [name for name in features if name not in frame]
    if missing:
        raise ModelDataError(f"columns are missing: {', '.join(missing)}")
    values = frame[features].to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    values[~np.isfinite(values)] = np.nan
    return values


def fit_clusters(
    frame: pd.DataFrame,
    features: list[str],
    groups: int | None = None,
    seed: int = 42,
    last: Clusters | None = None,
    words: Mapping[str, tuple[str, str]] | None = None,
) -> Clusters:
    """Find groups; with ``last``, groups that are still there keep their number and name.

    Args:
        frame: one row a customer.
        features: numeric columns; constant ones are left out.
        groups: how many; chosen between 3 and 8 by the Calinski-Harabasz index without it, among
            those numbers that leave no group under 2 % or over 50 %.
        seed: of the starting points.
        last: the last run's result. Its centroids are a start as well, so that small changes of
            the data do not lead to another local optimum.
        words: feature -> what a customer is called who is high, or low, in it; for the names.

    Raises:
        ModelDataError: too few rows, no feature that varies, or no division within the bounds.
    """
    if len(frame) < MIN_ROWS:
        raise ModelDataError(
            f"{len(frame)} customers are too few for groups; {MIN_ROWS} are needed"
        )
    values = _matrix(frame, features)
    kept = [
        column
        for column in range(len(features))
        if np.unique(values[np.isfinite(values[:, column]), column]).size > 1
    ]
    if not kept:
        raise ModelDataError("every feature is constant or empty; there is nothing to group by")
    names = [features[column] for column in kept]
    quantiles = np.nanquantile(values[:, kept], np.linspace(0.0, 1.0, 101), axis=0)
    scores = normal_scores(values[:, kept], quantiles)
    comparable = last is not None and last.features == names
    # The last run's number is kept as long as it still fits, so that groups do not come and go.
    plans = [[groups]] if groups else [list(range(3, 9))]
    if comparable and last and not groups:
        plans.insert(0, [len(last.labels)])
    random = np.random.default_rng(seed)
    few = random.choice(len(scores), min(SAMPLE, len(scores)), replace=False)
    found: list[tuple[float, Floats]] = []
    for plan in plans:
        for number in plan if not found else []:
            start = last.centroids if comparable and last and len(last.labels) == number else None
            for centroids in _candidates(scores[few], number, seed, start):
                nearest = _nearest(scores, centroids)
                shares = np.bincount(nearest, minlength=number) / len(scores)
                if shares.min() >= MIN_SHARE and shares.max() <= MAX_SHARE:
                    index = float(calinski_harabasz_score(scores[few], nearest[few]))
                    found.append((index, centroids))
                    break
    if not found:
        raise ModelDataError(
            "no division leaves all groups between 2 % and 50 % of the customers; "
            "choose another number of groups or other features"
        )
    centroids = max(found, key=lambda pair: pair[0])[1]
    fresh = Clusters(names, quantiles, centroids, list(range(len(centroids))), [])
    labels, kept_names = match(fresh, last if comparable else None)
    given = describe_groups(names, centroids, words)
    taken = set(kept_names.values())
    final = []
    for place, label in enumerate(labels):
        name = kept_names.get(label, given[place])
        while label not in kept_names and name in taken:
            name = f"{name} ({label})"
        taken.add(name)
        final.append(name)
    return Clusters(names, quantiles, centroids, labels, final)


def _candidates(scores: Floats, groups: int, seed: int, start: Floats | None) -> list[Floats]:
    """Centroids to try, the preferred first: from the last run's, then from scratch."""
    tries = []
    if start is not None:
        tries.append(KMeans(groups, init=start, n_init=1).fit(scores).cluster_centers_)
    fresh = KMeans(groups, n_init=8, random_state=seed).fit(scores)
    return [*tries, fresh.cluster_centers_]


def _nearest(scores: Floats, centroids: Floats) -> NDArray[np.int64]:
    distance = ((scores[:, None, :] - centroids[None, :, :]) ** 2).sum(axis=2)
    return distance.argmin(axis=1)


def match(fresh: Clusters, last: Clusters | None) -> tuple[list[int], dict[int, str]]:
    """Numbers for fresh groups: of the last run's nearest group (Hungarian), else new ones.

    A group further than ``NEW_GROUP_DISTANCE`` (root mean square, in standard deviations) from
    its partner is another group, and gets a number that was never used.
    """
    if last is None:
        return list(range(len(fresh.centroids))), {}
    gap = fresh.centroids[:, None, :] - last.centroids[None, :, :]
    distance = np.sqrt((gap**2).mean(axis=2))
    rows, columns = linear_sum_assignment(distance)
    old = {
        int(row): int(column)
        for row, column in zip(rows, columns, strict=True)
        if distance[row, column] <= NEW_GROUP_DISTANCE
    }
    unused = max(last.labels) + 1
    labels, names = [], {}
    for place in range(len(fresh.centroids)):
        if place in old:
            label = last.labels[old[place]]
            names[label] = last.names[old[place]]
        else:
            label, unused = unused, unused + 1
        labels.append(label)
    return labels, names


def describe_groups(
    features: list[str],
    centroids: Floats,
    words: Mapping[str, tuple[str, str]] | None = None,
) -> list[str]:
    """A short name for each group: the two features that set it apart most from all others."""

    def said(place: int, score: float) -> str:
        feature = features[place]
        if words is None or feature not in words:
            return f"{_degree(score)} {feature.replace('_', ' ')}"
        high, low = words[feature]
        return f"{'very ' if abs(score) >= 1.0 else ''}{high if score > 0 else low}"

    names: list[str] = []
    for centroid in centroids:
        order = np.argsort(-np.abs(centroid), kind="stable")
        parts = [
            said(int(place), float(centroid[place]))
            for place in order[:2]
            if abs(centroid[place]) >= 0.25
        ]
        name = ", ".join(parts) or "middle of the road"
        extra = iter(order[2:])
        while name in names:
            place = next(extra, None)
            if place is None:
                name = f"{name} ({len(names)})"
                break
            name = f"{name}, {said(int(place), float(centroid[place]))}"
        names.append(name)
    return names


def _degree(score: float) -> str:
    word = "high" if score > 0 else "low"
    return f"very {word}" if abs(score) >= 1.0 else word


def profile(
    frame: pd.DataFrame, clusters: Clusters, numbers: NDArray[np.int64], texts: int = 3
) -> pd.DataFrame:
    """What each group is, in its own numbers beside everyone's.

    Args:
        numbers: the group of each row.

    Returns ``segment`` (stable number), ``name``, ``customers``, ``share`` and ``description``.
    """
    medians = frame[clusters.features].median()
    rows = []
    for place, (label, name) in enumerate(zip(clusters.labels, clusters.names, strict=True)):
        members = frame[numbers == label]
        centroid = clusters.centroids[place]
        strongest = np.argsort(-np.abs(centroid), kind="stable")[:texts]
        said = [
            f"{clusters.features[one].replace('_', ' ')} "
            f"{_amount(members[clusters.features[one]].median())} "
            f"(all: {_amount(medians[clusters.features[one]])})"
            for one in strongest
        ]
        rows.append(
            {
                "segment": label,
                "name": name,
                "customers": len(members),
                "share": len(members) / len(frame),
                "description": "; ".join(said),
            }
        )
    return pd.DataFrame(rows).sort_values("segment", ignore_index=True)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def movement(before: pd.Series, after: pd.Series) -> pd.DataFrame:
    """Customers by last and present segment (both indexed by customer_id).

    Returns ``from_segment``, ``to_segment`` (missing where the customer is new or gone) and
    ``customers``.
    """
    joined = pd.DataFrame({"from_segment": before, "to_segment": after}).astype("Int64")
    counted = joined.value_counts(dropna=False, sort=False).rename("customers")
    return counted.reset_index().sort_values(["from_segment", "to_segment"], ignore_index=True)
