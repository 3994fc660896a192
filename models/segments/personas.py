"""Personas: what clusters of buying behaviour are called, and whether they are worth having.

Features in, groups out; ``clusters`` finds them, here is what they look at, how a person would
name them, and the test that they must stand: that they tell next quarter's spend of customers
better than tiers of yearly spend do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models.common.card import CardTable, ModelCard, bars_picture
from models.common.errors import ModelDataError
from models.common.metrics import distribution
from models.segments.clusters import Clusters, fit_clusters, profile

Floats = NDArray[np.float64]
QUARTER_DAYS = 91
GROUPS = 5
"""On the demo five told more of next quarter's spend than tiers and moved few people from week to
week; six to eight told little more and moved more."""

# Feature -> what a customer is called who is high, or low, in it.
WORDS: dict[str, tuple[str, str]] = {
    "recency_days": ("long away", "recent buyer"),
    "orders_52w": ("frequent buyer", "rare buyer"),
    "spend_cents_52w": ("big spender", "small spender"),
    "basket_cents": ("large baskets", "small baskets"),
    "visits": ("many visits", "few visits"),
}
# Tenure is not among them: it grows for everyone each week, and would move people by itself.
FEATURES: tuple[str, ...] = tuple(WORDS)


@dataclass(frozen=True)
class Evaluation:
    """Figures on a later quarter.

    Attributes:
        table: a row for the personas and for each kind of tiers: share of the variance of next
            quarter's spend (and of its logarithm) that they explain.
        losses: squared error of log spend of each customer by the personas' means.
    """

    table: pd.DataFrame
    losses: Floats

    @property
    def metrics(self) -> dict[str, float]:
        """Of the personas, and of the best tiers."""
        own, others = self.table.iloc[0], self.table.iloc[1:]
        return {
            "explained": float(own["explained"]),
            "explained_of_log": float(own["explained_of_log"]),
            "tiers_explained": float(others["explained"].max()),
            "tiers_explained_of_log": float(others["explained_of_log"].max()),
            "customers": float(len(self.losses)),
        }


def fit_personas(
    frame: pd.DataFrame, seed: int = 42, last: Clusters | None = None, groups: int | None = None
) -> Clusters:
    """Groups of customers; as many as ``clusters.fit_clusters`` finds where five do not fit."""
    with threadpool_limits(1):
        try:
            return fit_clusters(frame, list(FEATURES), groups or GROUPS, seed, last, words=WORDS)
        except ModelDataError:
            return fit_clusters(frame, list(FEATURES), None, seed, last, words=WORDS)


def to_artefact(clusters: Clusters) -> dict[str, Any]:
    """Plain values, as the registry keeps them."""
    return dict(clusters.__dict__)


def from_artefact(values: Mapping[str, Any]) -> Clusters:
    """The groups that ``to_artefact`` took apart."""
    return Clusters(
        list(values["features"]),
        np.asarray(values["quantiles"], dtype=np.float64),
        np.asarray(values["centroids"], dtype=np.float64),
        [int(label) for label in values["labels"]],
        [str(name) for name in values["names"]],
    )


def evaluate(clusters: Clusters, before: pd.DataFrame, later: pd.DataFrame) -> Evaluation:
    """What groups of ``before`` did in the quarter after tells what those of ``later`` will do.

    Args:
        clusters: groups that have seen nothing after ``before``.
        before, later: features at two origins a quarter or more apart, each with
            ``future_spend_cents`` of the quarter after it.

    Raises:
        ModelDataError: nobody bought in one of the quarters.
    """
    spends = [
        np.maximum(frame["future_spend_cents"].to_numpy(dtype=np.float64), 0.0) / 100
        for frame in (before, later)
    ]
    if not all(spend.any() for spend in spends):
        raise ModelDataError("nobody bought in one of the quarters; personas cannot be checked")
    edges = np.unique(np.quantile(_spend(before), [0.2, 0.4, 0.6, 0.8]))
    kinds = {
        "personas": (clusters.predict(before), clusters.predict(later)),
        "fifths by yearly spend": tuple(
            np.searchsorted(edges, _spend(frame)) for frame in (before, later)
        ),
        "tiers by yearly spend": tuple(_tiers(frame, before) for frame in (before, later)),
    }
    rows, losses = [], np.zeros(len(later))
    for name, (then, now) in kinds.items():
        plain, _ = _explained(then, now, *spends)
        logs, squared = _explained(then, now, np.log1p(spends[0]), np.log1p(spends[1]))
        if name == "personas":
            losses = squared
        rows.append(
            {
                "groups": name,
                "number": len(np.unique(then)),
                "explained": plain,
                "explained_of_log": logs,
            }
        )
    return Evaluation(pd.DataFrame(rows), losses)


def _spend(frame: pd.DataFrame) -> Floats:
    return frame["spend_cents_52w"].to_numpy(dtype=np.float64)


def _tiers(frame: pd.DataFrame, learned: pd.DataFrame) -> NDArray[np.int64]:
    """High, medium, low: the tenth and the next fifth by yearly spend, and the rest."""
    return np.searchsorted(np.unique(np.quantile(_spend(learned), [0.7, 0.9])), _spend(frame))


def _explained(
    then: NDArray[np.int64], now: NDArray[np.int64], came: Floats, label: Floats
) -> tuple[float, Floats]:
    """Share of the variance that group means of a quarter before explain, and squared errors."""
    means = pd.Series(came).groupby(then).mean()
    guess = pd.Series(now).map(means).fillna(came.mean()).to_numpy()
    squared = (label - guess) ** 2
    around = (label - came.mean()) ** 2
    return float(1.0 - squared.sum() / max(around.sum(), 1e-9)), squared


def references(clusters: Clusters, frame: pd.DataFrame) -> dict[str, dict[str, list[float]]]:
    """Distributions of the inputs that drift is measured from."""
    return {name: distribution(frame[name].to_numpy(dtype=float)) for name in clusters.features}


def persona_card(
    clusters: Clusters,
    frame: pd.DataFrame,
    evaluation: Evaluation,
    facts: Mapping[str, object] | None = None,
) -> ModelCard:
    """Card: who the groups are, and what they are worth beside tiers."""
    metrics = evaluation.metrics
    groups = profile(frame, clusters, clusters.predict(frame))
    better = metrics["explained_of_log"] > metrics["tiers_explained_of_log"]
    return ModelCard(
        title="Personas: groups of customers by how they buy",
        summary=(
            f"{len(groups)} groups. Of the differences in next quarter's spend (in logarithms) "
            f"they explain {metrics['explained_of_log']:.0%}, tiers by yearly spend "
            f"{metrics['tiers_explained_of_log']:.0%}"
            + (": worth having." if better else ": **not worth more than tiers**.")
        ),
        facts={**(facts or {}), "features": ", ".join(clusters.features)},
        tables=[
            CardTable("The groups", groups),
            CardTable(
                "On a later quarter",
                evaluation.table,
                "Each group's mean of one quarter is the guess for its members of the next.",
            ),
        ],
        pictures=[
            bars_picture(
                [f"{label}: {name}" for label, name in zip(groups["segment"], groups["name"],
                                                           strict=True)],
                list(groups["share"]), "How many customers each group has", "sizes", "share",
            ),
            bars_picture(
                list(evaluation.table["groups"]),
                list(evaluation.table["explained_of_log"].clip(lower=0)),
                "How much of next quarter's spend the groups tell", "worth",
                "share of the variance of log spend",
            ),
        ],
        limits=[
            "A group says how people buy, not who they are or why.",
            "Customers near a border change groups with small changes; movements of many count.",
        ],
    )  # fmt: skip
