"""The assets that link the DAGs: raw data of a source, and the published snapshot.

What belongs here: names of assets and how they combine. What does not: who makes them (``dags/``).
"""

import functools
import operator
from collections.abc import Iterable

from airflow.sdk import Asset
from airflow.sdk.definitions.asset import BaseAsset

SNAPSHOT = Asset(
    "customer360_snapshot", uri="customer360://snapshot", group="customer360", extra={}
)
"""The published warehouse; its events carry the run id that published."""


def raw(source: str) -> Asset:
    """What came in from ``source`` for one as-of day."""
    return Asset(f"raw_{source}", uri=f"customer360://raw/{source}", group="customer360")


def all_of(assets: Iterable[Asset]) -> BaseAsset:
    """A condition that holds when every one of ``assets`` is there."""
    return functools.reduce(operator.and_, assets)
