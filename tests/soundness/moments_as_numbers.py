"""Dates and timestamps as numbers with a range: their distance from another one, and their year."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from cleanroom.rooms.tables import ColumnType
from tests.soundness import meaning as mean
from tests.soundness.expressions import combined
from tests.soundness.reference_bins import EPOCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.soundness.expressions import Expression, Range
    from tests.soundness.parts import Asking

T = ColumnType
LEAP = date(2020, 2, 29)
UNITS: dict[str, Callable[[date], int]] = {
    "day": date.toordinal,
    "month": lambda d: d.year * 12 + d.month,
    "year": lambda d: d.year,
}


def number_of_a_moment(q: Asking, scope: list[Expression]) -> Expression | None:
    """Return a whole number with a closed range that is made from a date or timestamp; None where there is none."""
    ranged = [c for c in scope if c.type in (T.DATE, T.TIMESTAMP) and None not in c.range]
    if not ranged:
        return None
    one, other = q.rng.choice(ranged), q.rng.choice(ranged)
    unit = q.rng.choice([*UNITS])
    lo, hi = _numbers(one, unit)
    start, end = _numbers(other, unit)
    of = _of(unit)
    made = [
        combined(
            f"DATEDIFF('{unit}', '2020-02-29'::DATE, {one.sql})",
            T.INTEGER,
            mean.strict(lambda v: of(v) - of(LEAP)),
            one,
            span=(Fraction(lo - of(LEAP)), Fraction(hi - of(LEAP))),
        ),
        combined(
            f"DATEDIFF('{unit}', {one.sql}, {other.sql})",
            T.INTEGER,
            mean.strict(lambda v, w: of(w) - of(v)),
            one,
            other,
            span=(Fraction(start - hi), Fraction(end - lo)),
        ),
        combined(
            f"EXTRACT(year FROM {one.sql})",
            T.INTEGER,
            mean.strict(lambda v: v.year),
            one,
            span=_years(one),
        ),
    ]
    return q.rng.choice(made)


def _years(moment: Expression) -> Range:
    lo, hi = _numbers(moment, "year")
    return Fraction(lo), Fraction(hi)


def _of(unit: str) -> Callable[[Any], int]:
    return lambda v: UNITS[unit](v.date() if isinstance(v, datetime) else v)


def _numbers(moment: Expression, unit: str) -> tuple[int, int]:
    """Return the number of the unit in which a range begins, and of that in which it ends."""
    per_day = 1 if moment.type is T.DATE else 86_400_000_000
    lo, hi = moment.range
    assert lo is not None
    assert hi is not None
    ends = (EPOCH + timedelta(days=math.floor(end / per_day)) for end in (lo, hi))
    first, last = (_of(unit)(end) for end in ends)
    return first, last
