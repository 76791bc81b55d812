"""Dates and timestamps in expressions: as integers and back, shifted and subtracted, with ranges kept. Pure.

All arithmetic is on integers (days since 1970-01-01, microseconds since then) within the years 1 to 9999, where it
cannot overflow; what lies or would lie outside is NULL. The engine's own date arithmetic fails near the ends of its
types, and counts weeks in another way than Snowflake's DATEDIFF.
"""

from __future__ import annotations

from sqlglot import exp

from cleanroom.rooms.moments import FIRST_DAY, LAST_DAY, MICROSECONDS_PER_DAY
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.scalars import Scalar, combine, within_years
from cleanroom.templates.trees import fragment


def as_integer(scalar: Scalar) -> Scalar:
    """Return a DATE as days since 1970-01-01, a TIMESTAMP as microseconds since then: INTEGER with the same range.

    Args:
        scalar: DATE or TIMESTAMP; NULL, infinite or outside the years 1 to 9999 gives NULL.
    """
    if scalar.type is ColumnType.DATE:
        text = f"DATE_DIFF('day', CAST('1970-01-01' AS DATE), {within_years('DATE')})"
    else:
        text = f"EPOCH_US({within_years('TIMESTAMP')})"
    return combine(text, kind=ColumnType.INTEGER, span=scalar.span, nullable=True, a=scalar)


def from_integer(number: exp.Expr, kind: ColumnType) -> exp.Expr:
    """Return SQL for the DATE or TIMESTAMP of a number of days or microseconds since 1970-01-01.

    Args:
        number: SQL of any numeric type; a part of a unit is rounded; NULL, NaN or outside the years 1 to 9999 gives
            NULL.
        kind: DATE or TIMESTAMP.
    """
    if kind is ColumnType.DATE:
        return fragment(
            f"TRY(CAST('1970-01-01' AS DATE) + "
            f"CASE WHEN TRY_CAST(:a AS INTEGER) BETWEEN {FIRST_DAY} AND {LAST_DAY} THEN TRY_CAST(:a AS INTEGER) END)",
            a=number,
        )
    first, last = FIRST_DAY * MICROSECONDS_PER_DAY, (LAST_DAY + 1) * MICROSECONDS_PER_DAY - 1
    # Compared after the cast: as doubles, the last microsecond and the one after it are equal.
    return fragment(
        "TRY(MAKE_TIMESTAMP("
        f"CASE WHEN TRY_CAST(:a AS BIGINT) BETWEEN {first} AND {last} THEN TRY_CAST(:a AS BIGINT) END))",
        a=number,
    )
