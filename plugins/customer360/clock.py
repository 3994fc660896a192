"""Which days a company has: from its first to the newest that has ended.

What belongs here: reading the company's clock. What does not: time zones (``config``), schedules
(Airflow's face of this library).
"""

import datetime as dt

from customer360.config import CompanySources
from customer360.exceptions import ConfigError
from customer360.settings import Settings


def last_day(settings: Settings, company: CompanySources) -> dt.date | None:
    """The last day of data that have ended or live by a clock of their own; None for a living one.

    Raises:
        ConfigError: the clock's file holds no day.
    """
    if company.clock is None:
        return company.last_day
    path = settings.data_dir / company.clock
    try:
        return dt.date.fromisoformat(path.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return company.first_day
    except ValueError:
        raise ConfigError(f"{path} must hold a day such as 2026-06-30") from None


def newest_day(settings: Settings, company: CompanySources) -> dt.date:
    """The newest as-of day that may be asked for."""
    return last_day(settings, company) or dt.datetime.now(company.zone).date()
