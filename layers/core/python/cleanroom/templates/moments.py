"""Dates and timestamps in expressions: as integers and back, shifted and subtracted, with ranges kept. Pure.

All arithmetic is on integers (days since 1970-01-01, microseconds since then) within the years 1 to 9999, where it
cannot overflow; what lies or would lie outside is NULL. The engine's own date arithmetic fails near the ends of its
types, and counts weeks in another way than Snowflake's DATEDIFF.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

from sqlglot import exp

from cleanroom.rooms.moments import FIRST_DAY, LAST_DAY, MICROSECONDS_PER_DAY, in_years, moment_text
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates import spans
from cleanroom.templates.calendar_units import DAYS, MICROSECONDS, MONTHS, beginning, index, months_later
from cleanroom.templates.public_values import with_null
from cleanroom.templates.scalars import OPEN, Scalar, Span, cast, combine, guarded
from cleanroom.templates.trees import fragment, integer

MOST_DERIVED = 10_000
"""Values of a key that a declared range makes public at most; with more, the key stays private."""

_MOST_MONTHS = 120_000


def as_integer(scalar: Scalar) -> Scalar:
    """Return a DATE as days since 1970-01-01, a TIMESTAMP as microseconds since then: INTEGER with the same range.

    Args:
        scalar: DATE or TIMESTAMP; NULL, infinite or outside the years 1 to 9999 gives NULL.
    """
    text = f"EPOCH_US({guarded(scalar)})"
    if scalar.type is ColumnType.DATE:
        text = f"DATE_DIFF('day', CAST('1970-01-01' AS DATE), {guarded(scalar)})"
    return combine(text, kind=ColumnType.INTEGER, span=scalar.span, nullable=True, a=scalar)


_MAKE_DATE = (
    "TRY(CAST('1970-01-01' AS DATE) + "
    f"CASE WHEN TRY_CAST(:a AS INTEGER) BETWEEN {FIRST_DAY} AND {LAST_DAY} THEN TRY_CAST(:a AS INTEGER) END)"
)
# Compared after the cast: as doubles, the last microsecond and the one after it are equal.
_MAKE_TIMESTAMP = (
    "TRY(MAKE_TIMESTAMP("
    f"CASE WHEN TRY_CAST(:a AS BIGINT) BETWEEN {FIRST_DAY * MICROSECONDS_PER_DAY} "
    f"AND {(LAST_DAY + 1) * MICROSECONDS_PER_DAY - 1} THEN TRY_CAST(:a AS BIGINT) END))"
)


def from_integer(number: exp.Expr, kind: ColumnType) -> exp.Expr:
    """Return SQL for the DATE or TIMESTAMP of a number of days or microseconds since 1970-01-01.

    Args:
        number: SQL of any numeric type; a part of a unit is rounded; NULL, NaN or outside the years 1 to 9999 gives
            NULL.
        kind: DATE or TIMESTAMP.
    """
    return fragment(_MAKE_DATE if kind is ColumnType.DATE else _MAKE_TIMESTAMP, a=number)


def moment_of(number: Scalar, kind: ColumnType) -> Scalar:
    """As `from_integer`, for a scalar: the range stays."""
    text = _MAKE_DATE if kind is ColumnType.DATE else _MAKE_TIMESTAMP
    return replace(combine(text, kind=kind, span=number.span, nullable=True, a=number), within_years=True)


def shifted(moment: Scalar, count: Scalar, unit: str) -> Scalar:
    """Return the moment moved by a number of units, as DATEADD does.

    A day that the month does not have becomes its last. A DATE moved by hours or less becomes a TIMESTAMP.

    Args:
        moment: DATE or TIMESTAMP.
        count: INTEGER.
        unit: one of `calendar_units.UNITS`.
    """
    if unit in MICROSECONDS:
        moment = cast(moment, ColumnType.TIMESTAMP)
    kind = moment.type or ColumnType.DATE
    if unit in MONTHS:
        return _months_later(moment, count, MONTHS[unit])
    step = DAYS[unit] if unit in DAYS else MICROSECONDS[unit]
    if unit in DAYS and kind is ColumnType.TIMESTAMP:
        step *= MICROSECONDS_PER_DAY
    width = Span(lo=Fraction(step), hi=Fraction(step))
    number = combine(
        f"TRY(CAST(:a AS BIGINT) + CAST(:n AS BIGINT) * {step})",
        kind=ColumnType.INTEGER,
        span=spans.plus(moment.span, spans.times(count.span, width)),
        nullable=True,
        a=as_integer(moment),
        n=count,
    )
    return moment_of(number, kind)


def _months_later(moment: Scalar, count: Scalar, step: int) -> Scalar:
    kind = moment.type or ColumnType.DATE
    native = kind.value.upper()
    months = f"CASE WHEN :n BETWEEN {-_MOST_MONTHS // step} AND {_MOST_MONTHS // step} THEN CAST(:n AS INTEGER) END"
    later = f"TRY(CAST({guarded(moment)} + TO_MONTHS({months} * {step}) AS {native}))"

    def end(at: Fraction | None, by: Fraction | None, whole: Callable[[Fraction], int]) -> Fraction | None:
        if at is None or by is None or not abs(by * step) <= _MOST_MONTHS:
            return None
        return Fraction(months_later(at, kind, whole(by) * step))

    span = Span(lo=end(moment.span.lo, count.span.lo, floor), hi=end(moment.span.hi, count.span.hi, ceil))
    result = combine(later, kind=kind, span=span, nullable=True, a=moment, n=count)
    return replace(combine(guarded(result), kind=kind, span=span, nullable=True, a=result), within_years=True)


def unit_index(moment: Scalar, unit: str) -> Scalar:
    """Return the number of the unit that a moment is in, counted from the beginning of the year 1; never negative.

    Args:
        moment: DATE or TIMESTAMP.
        unit: one of `calendar_units.UNITS`.
    """
    kind = moment.type or ColumnType.DATE
    span = spans.monotone(moment.span, lambda x: Fraction(index(x, kind, unit)))
    if unit in MICROSECONDS:
        first, step = -FIRST_DAY * MICROSECONDS_PER_DAY, MICROSECONDS[unit]
        part = as_integer(cast(moment, ColumnType.TIMESTAMP))
    elif unit in DAYS:
        first, step = -FIRST_DAY, DAYS[unit]
        part = as_integer(cast(moment, ColumnType.DATE))
    else:
        first, step = -1, MONTHS[unit]
        text = f"TRY(YEAR({guarded(moment)}) * 12 + MONTH({guarded(moment)}))"
        part = combine(text, kind=ColumnType.INTEGER, nullable=True, a=moment)
    text = f"(:a + {first}) // {step}"
    return combine(text, kind=ColumnType.INTEGER, span=span, nullable=True, a=part)


def difference(start: Scalar, end: Scalar, unit: str) -> Scalar:
    """Return how many boundaries of a unit lie between two moments, as DATEDIFF does; weeks begin on Monday.

    Args:
        start, end: DATE or TIMESTAMP.
        unit: one of `calendar_units.UNITS`.
    """
    a, b = unit_index(start, unit), unit_index(end, unit)
    return combine(":b - :a", kind=ColumnType.INTEGER, span=spans.minus(b.span, a.span), nullable=True, a=a, b=b)


def beginnings(moment: Scalar, unit: str) -> tuple[Span, tuple[exp.Expr, ...] | None]:
    """Return the range and the possible values of a moment cut to a unit, as far as its declared range says.

    Args:
        moment: DATE or TIMESTAMP.
        unit: one of `calendar_units.UNITS`; for a DATE a day or longer.
    """
    kind = moment.type or ColumnType.DATE
    span = spans.monotone(moment.span, lambda x: Fraction(beginning(index(x, kind, unit), kind, unit)))
    if moment.span.lo is None or moment.span.hi is None:
        return span, None
    first, last = index(moment.span.lo, kind, unit), index(moment.span.hi, kind, unit)
    if not 0 <= last - first < MOST_DERIVED:
        return span, None
    return span, moment_literals((beginning(i, kind, unit) for i in range(first, last + 1)), kind)


def moment_literals(numbers: Iterable[int], kind: ColumnType) -> tuple[exp.Expr, ...]:
    """Return DATEs or TIMESTAMPs written out, those that lie in the years 1 to 9999."""
    to = exp.DataType.build(kind.value.upper(), dialect="duckdb")
    texts = (exp.Literal.string(moment_text(n, kind)) for n in numbers if in_years(Fraction(n), kind))
    return tuple(exp.TryCast(this=text, to=to.copy()) for text in texts)


def with_values(scalar: Scalar, values: tuple[exp.Expr, ...] | None, *, sure: bool = False) -> Scalar:
    """Return the scalar with the values that it can have.

    Args:
        scalar: NULL is added where it is possible.
        values: without NULL; None where they are not known.
        sure: no row can hold others; False where they follow from declared ranges.
    """
    if values is None or scalar.constant:
        return scalar
    return replace(scalar, values=with_null(values) if scalar.nullable else values, declared=not sure)


def whole_values(scalar: Scalar, *, sure: bool = False) -> Scalar:
    """Return an INTEGER scalar with all whole numbers of its range as values, where they are not too many.

    Args:
        scalar: with its range.
        sure: no row can be outside of the range; False where it follows from declared ones.
    """
    lo, hi = scalar.span.lo, scalar.span.hi
    if scalar.span == OPEN or lo is None or hi is None or not hi - lo < MOST_DERIVED:
        return scalar
    return with_values(scalar, tuple(integer(i) for i in range(ceil(lo), floor(hi) + 1)), sure=sure)
