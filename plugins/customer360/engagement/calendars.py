"""Days of the Chinese calendar: festivals of a year, and birthdays kept by the moon.

What belongs here: from a lunar day to a day of a year. What does not: what is done then (``care``).
The conversion is ``lunardate``'s, good for 1900 to 2099.
"""

import datetime as dt
import functools

from lunardate import LunarDate

# Lunar month and day, or (month, day) of the solar calendar, or a rule of its own.
_LUNAR = {
    "spring_festival": (1, 1),
    "lantern_festival": (1, 15),
    "dragon_boat": (5, 5),
    "qixi": (7, 7),
    "mid_autumn": (8, 15),
    "double_ninth": (9, 9),
    "laba": (12, 8),
}
_SOLAR = {
    "new_year": (1, 1),
    "womens_day": (3, 8),
    "labour_day": (5, 1),
    "childrens_day": (6, 1),
    "teachers_day": (9, 10),
    "national_day": (10, 1),
}
FESTIVALS = (*_LUNAR, *_SOLAR, "qingming", "new_years_eve")


def lunar_day(year: int, month: int, day: int) -> dt.date:
    """The day on which a lunar month and day falls in the lunar year that begins in ``year``.

    A month has 29 or 30 days: the 30th of a short one is kept on its 29th. Leap months are not
    kept: who was born in one keeps the month before, as is the custom.
    """
    for shown in (day, day - 1):
        try:
            return LunarDate(year, month, shown).to_solar_date()
        except ValueError:
            continue
    raise ValueError(f"the lunar calendar has no day {day} of month {month}")


def occasions(month: int, day: int, calendar: str, first: dt.date, last: dt.date) -> list[dt.date]:
    """The days from ``first`` to ``last`` on which a birthday is kept.

    Args:
        month: of the birthday, in its own calendar.
        day: of the month.
        calendar: ``lunar``, or anything else for the solar one.
        first: of the window.
        last: of the window.
    """
    found = []
    for year in range(first.year - 1, last.year + 1):
        try:
            kept = (
                lunar_day(year, month, day) if calendar == "lunar" else _solar_day(year, month, day)
            )
        except ValueError:
            continue
        if first <= kept <= last:
            found.append(kept)
    return found


def _solar_day(year: int, month: int, day: int) -> dt.date:
    """29 February is kept on the 28th in a year without it."""
    if (month, day) == (2, 29):
        try:
            return dt.date(year, 2, 29)
        except ValueError:
            return dt.date(year, 2, 28)
    return dt.date(year, month, day)


@functools.lru_cache(maxsize=256)
def festival_days(first: dt.date, last: dt.date) -> dict[dt.date, str]:
    """Day -> festival, from ``first`` to ``last``; the eve belongs to the year that ends."""
    found: dict[dt.date, str] = {}
    for year in range(first.year - 1, last.year + 2):
        days = {lunar_day(year, *when): name for name, when in _LUNAR.items()}
        days[lunar_day(year, 1, 1) - dt.timedelta(days=1)] = "new_years_eve"
        days |= {dt.date(year, *when): name for name, when in _SOLAR.items()}
        days[_qingming(year)] = "qingming"
        found |= days
    return {day: name for day, name in sorted(found.items()) if first <= day <= last}


def _qingming(year: int) -> dt.date:
    """The fifth solar term, by the rule of the century's constant (right from 1900 to 2099)."""
    since = year % 100
    constant = 5.59 if year < 2000 else 4.81
    return dt.date(year, 4, int(since * 0.2422 + constant) - since // 4)
