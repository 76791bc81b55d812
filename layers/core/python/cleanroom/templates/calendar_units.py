"""Units of the calendar as numbers: which week, month or hour a moment is in, and when that begins. Pure.

The compiler works out ranges and domains with these; the same arithmetic in SQL is in `moments.py`.
"""

from __future__ import annotations

from datetime import date
from math import floor
from typing import TYPE_CHECKING

from cleanroom.rooms.moments import FIRST_DAY, LAST_DAY, MICROSECONDS_PER_DAY, day
from cleanroom.rooms.tables import ColumnType

if TYPE_CHECKING:
    from fractions import Fraction

DAYS = {"DAY": 1, "WEEK": 7}
MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
MICROSECONDS = {
    "HOUR": 3_600_000_000,
    "MINUTE": 60_000_000,
    "SECOND": 1_000_000,
    "MILLISECOND": 1_000,
    "MICROSECOND": 1,
}
UNITS = (*reversed(MONTHS), *reversed(DAYS), *MICROSECONDS)

_SAME = {
    "YY": "YEAR",
    "YYY": "YEAR",
    "YYYY": "YEAR",
    "Y": "YEAR",
    "YR": "YEAR",
    "YEARS": "YEAR",
    "YRS": "YEAR",
    "QTR": "QUARTER",
    "QTRS": "QUARTER",
    "QUARTERS": "QUARTER",
    "MM": "MONTH",
    "MON": "MONTH",
    "MONS": "MONTH",
    "MONTHS": "MONTH",
    "WK": "WEEK",
    "W": "WEEK",
    "WEEKS": "WEEK",
    "D": "DAY",
    "DD": "DAY",
    "DAYS": "DAY",
    "H": "HOUR",
    "HH": "HOUR",
    "HR": "HOUR",
    "HOURS": "HOUR",
    "HRS": "HOUR",
    "M": "MINUTE",
    "MI": "MINUTE",
    "MIN": "MINUTE",
    "MINUTES": "MINUTE",
    "MINS": "MINUTE",
    "S": "SECOND",
    "SEC": "SECOND",
    "SECONDS": "SECOND",
    "SECS": "SECOND",
    "MS": "MILLISECOND",
    "MSEC": "MILLISECOND",
    "MILLISECONDS": "MILLISECOND",
    "US": "MICROSECOND",
    "USEC": "MICROSECOND",
    "MICROSECONDS": "MICROSECOND",
}


def unit_named(name: str) -> str | None:
    """Return the unit that Snowflake knows by this name or abbreviation, or None."""
    upper = name.upper()
    unit = _SAME.get(upper, upper)
    return unit if unit in UNITS else None


def index(number: Fraction | int, kind: ColumnType, unit: str) -> int:
    """Return the number of the unit that a moment is in: units since the beginning of the year 1 (of MONTH etc. 0).

    Args:
        number: of days or microseconds since 1970-01-01, within the years 1 to 9999; others count as the nearest one.
        kind: DATE or TIMESTAMP.
        unit: one of UNITS.
    """
    per_day = 1 if kind is ColumnType.DATE else MICROSECONDS_PER_DAY
    whole = min(max(floor(number), FIRST_DAY * per_day), (LAST_DAY + 1) * per_day - 1)
    if unit in MICROSECONDS:
        since = whole * (MICROSECONDS_PER_DAY // per_day) - FIRST_DAY * MICROSECONDS_PER_DAY
        return since // MICROSECONDS[unit]
    days = whole // per_day
    if unit in DAYS:
        return (days - FIRST_DAY) // DAYS[unit]
    at = day(days)
    return (at.year * 12 + at.month - 1) // MONTHS[unit]


def beginning(unit_index: int, kind: ColumnType, unit: str) -> int:
    """Return when a unit begins, in days (DATE) or microseconds (TIMESTAMP) since 1970-01-01.

    Args:
        unit_index: as `index` gives it.
        kind: of the result.
        unit: one of UNITS; for a DATE a day or longer.
    """
    per_day = 1 if kind is ColumnType.DATE else MICROSECONDS_PER_DAY
    if unit in MICROSECONDS:
        return unit_index * MICROSECONDS[unit] + FIRST_DAY * MICROSECONDS_PER_DAY
    if unit in DAYS:
        return (unit_index * DAYS[unit] + FIRST_DAY) * per_day
    return first_of_month(unit_index * MONTHS[unit]) * per_day


def first_of_month(month_index: int) -> int:
    """Return the first day of a month, in days since 1970-01-01; after the year 9999, the day after its last."""
    if month_index > 9999 * 12 + 11:
        return LAST_DAY + 1
    year, month = divmod(max(month_index, 12), 12)
    return date(year, month + 1, 1).toordinal() - 1 + FIRST_DAY


def months_later(number: Fraction, kind: ColumnType, months: int) -> int:
    """Return a moment moved by months: the same day, or the last of the month where there is none.

    Outside the years 1 to 9999 it is the nearest moment in them.
    """
    per_day = 1 if kind is ColumnType.DATE else MICROSECONDS_PER_DAY
    low, high = FIRST_DAY * per_day, (LAST_DAY + 1) * per_day - 1
    whole = min(max(floor(number), low), high)
    days, rest = divmod(whole, per_day)
    at = day(days)
    target = at.year * 12 + at.month - 1 + months
    if not 12 <= target <= 9999 * 12 + 11:
        return low if target < 12 else high
    first = first_of_month(target)
    last = first_of_month(target + 1) - 1
    return min(first + at.day - 1, last) * per_day + rest
