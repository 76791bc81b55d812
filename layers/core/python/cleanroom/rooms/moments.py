"""Dates and timestamps as whole numbers, so that ranges, grids and noise need to know numbers only. Pure.

A date is the number of days since 1970-01-01, a timestamp the number of microseconds since then, both without a zone,
in the proleptic Gregorian calendar and within the years 1 to 9999.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from math import floor

from cleanroom.rooms.tables import ColumnType

MICROSECONDS_PER_DAY = 86_400_000_000
FIRST_DAY, LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # these have no zone: UTC stands for that
_MICROSECOND = timedelta(microseconds=1)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?", re.ASCII)


def moment_number(text: str, kind: ColumnType) -> int | None:
    """Return the number of a date (`2024-12-31`) or timestamp (`2024-12-31 23:59:59.5`, or a date); None if it is none.

    Args:
        text: as written.
        kind: DATE: days; TIMESTAMP: microseconds; since 1970-01-01.
    """
    if not (_DATE.fullmatch(text) or (kind is ColumnType.TIMESTAMP and _TIMESTAMP.fullmatch(text))):
        return None
    try:
        moment = datetime.fromisoformat(_six_digits(text)).replace(tzinfo=UTC)
    except ValueError:
        return None
    if kind is ColumnType.DATE:
        return (moment - _EPOCH).days
    return (moment - _EPOCH) // _MICROSECOND


def _six_digits(text: str) -> str:
    """Return the text with its fraction of a second in six digits."""
    whole, point, fraction = text.partition(".")
    return f"{whole}.{fraction:0<6}" if point else whole


def moment_text(number: Fraction | int, kind: ColumnType) -> str:
    """Return a date as `YYYY-MM-DD`, a timestamp as `YYYY-MM-DD HH:MM:SS[.ffffff]`.

    Args:
        number: of days or microseconds, within the years 1 to 9999; a part of one is cut off.
        kind: DATE or TIMESTAMP.
    """
    whole = floor(number)
    if kind is ColumnType.DATE:
        return day(whole).isoformat()
    return (_EPOCH + whole * _MICROSECOND).replace(tzinfo=None).isoformat(sep=" ")


def day(number: int) -> date:
    """Return the date of a number of days since 1970-01-01; FIRST_DAY <= number <= LAST_DAY."""
    return date.fromordinal(number - FIRST_DAY + 1)


def in_years(number: Fraction, kind: ColumnType) -> bool:
    """Return whether a number of days or microseconds is a moment of the years 1 to 9999."""
    unit = 1 if kind is ColumnType.DATE else MICROSECONDS_PER_DAY
    return FIRST_DAY * unit <= number < (LAST_DAY + 1) * unit
