"""A stand-in for ``customer360.declarations``: the sources of a company without configuration."""

import datetime as dt
from dataclasses import dataclass

from customer360.settings import Settings


@dataclass(frozen=True)
class SourceDeclaration:
    name: str
    owner: str
    schedule: str
    timezone: str
    start: dt.date
    end: dt.date | None
    tags: tuple[str, ...]
    at_once: int = 1
    is_hourly: bool = False


def declared_sources(settings: Settings) -> list[SourceDeclaration]:
    end = None if settings.company == "living" else dt.date(2017, 12, 31)
    return [
        SourceDeclaration(
            name=name,
            owner=f"{name}-systems",
            schedule="0 2 * * *",
            timezone="America/New_York",
            start=dt.date(2017, 1, 1),
            end=end,
            tags=("behavioural",),
            is_hourly=name == "till",
        )
        for name in ("till", "customer_file", "campaign_tool", "coupon_system")
    ]


def check_day(settings: Settings, as_of: dt.date) -> None:
    """Every day is there."""


def declared_destinations(settings: Settings, *, hourly: bool = False) -> list[str]:
    return ["crm"]
