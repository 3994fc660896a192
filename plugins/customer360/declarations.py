"""What a scheduler needs to know before anything runs: the sources, and which days have data.

What belongs here: answers from ``config/sources.yml`` alone. The DAG files ask them whenever they
are parsed, so this imports nothing that reads or writes data. What does not: the steps
(``pipeline``).
"""

import datetime as dt
from dataclasses import dataclass

from customer360 import clock
from customer360.config import load_sources
from customer360.exceptions import ConfigError
from customer360.settings import Settings


@dataclass(frozen=True)
class SourceDeclaration:
    """What a scheduler needs to know of a source."""

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
    """The company's sources, from configuration alone."""
    company = load_sources(settings)
    end = clock.last_day(settings, company)
    return [
        SourceDeclaration(
            name=name,
            owner=source.owner,
            schedule=source.schedule,
            timezone=company.time_zone,
            start=company.first_day,
            end=end,
            tags=(source.stage,),
            at_once=source.at_once,
            is_hourly=source.is_hourly,
        )
        for name, source in company.sources.items()
    ]


def declared_destinations(settings: Settings, *, hourly: bool = False) -> list[str]:
    """Names of the company's destinations (or the hourly ones), from configuration alone."""
    from customer360.activation.destinations import declared_names

    return declared_names(settings, hourly=hourly)


def check_day(settings: Settings, as_of: dt.date) -> None:
    """See that the company has data of that day.

    Raises:
        ConfigError: the day lies before the first or after the last.
    """
    company = load_sources(settings)
    last = clock.newest_day(settings, company)
    if not company.first_day <= as_of <= last:
        raise ConfigError(
            f"as-of day {as_of}: the data of {settings.company} go from {company.first_day} to "
            f"{last} (first_day, last_day in sources.yml)"
        )
