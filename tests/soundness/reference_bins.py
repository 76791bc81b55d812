"""The public bins of a range, which bin a value is in, and what is read off exact counts, for the reference.

Written from decision 17 in docs/adr and docs/sql.md: at most 1,024 bins of one width over the declared range, whole
numbers and dates having whole numbers of values in each; values outside are in the first or last one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from cleanroom.rooms.tables import ColumnType
from tests.soundness.reference_grids import present

if TYPE_CHECKING:
    from tests.soundness.expressions import Expression

MOST_BINS = 1024
ONE_LEVEL = 48
"""Up to so many bins there are no nodes above them."""

WHOLE = (ColumnType.INTEGER, ColumnType.DATE)
EPOCH = datetime.fromisoformat("1970-01-01")


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Bins of one width from `lo` on; `step`: 1 between whole numbers, 0 where values may lie anywhere."""

    lo: Fraction
    width: Fraction
    number: int
    step: int

    @property
    def levels(self) -> int:
        """How often each row is counted: in its bin, and in the node above."""
        return 1 if self.number <= ONE_LEVEL else 2

    def bin_of(self, value: Any) -> int | None:
        """Return the bin of a value; None for NULL, NaN and infinities."""
        if not present(value):
            return None
        number = float(numbered(value))
        place = (number - float(self.lo)) / float(self.width)
        last = self.number - 1
        found = last if place >= last else 0 if place <= 0 else math.floor(place)
        # The quotient is one of doubles: near an edge it may be beyond it by as much as they err.
        slack = self.width / 10**6 + abs(Fraction(number)) / 2**50
        assert found == 0 or self.lo + found * self.width <= Fraction(number) + slack
        assert found == last or self.lo + (found + 1) * self.width >= Fraction(number) - slack
        return found


def bins_of(x: Expression) -> Bins:
    """Return the bins of the range of an expression."""
    assert x.range[0] is not None
    assert x.range[1] is not None
    lo, hi = sorted((x.range[0], x.range[1]))
    if x.type in WHOLE:
        values = max(math.floor(hi) - math.ceil(lo) + 1, 1)
        wide = math.ceil(Fraction(values, MOST_BINS))
        return Bins(lo=Fraction(math.ceil(lo)), width=Fraction(wide), number=math.ceil(Fraction(values, wide)), step=1)
    if lo == hi:
        return Bins(lo=lo, width=Fraction(1), number=1, step=0)
    return Bins(lo=lo, width=(hi - lo) / MOST_BINS, number=MOST_BINS, step=0)


def numbered(value: Any) -> Any:
    """Return a date as days, a timestamp as microseconds since 1970-01-01; a number as it is."""
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(microseconds=1)
    return (value - EPOCH.date()).days if isinstance(value, date) else value


def moment(number: float, kind: ColumnType) -> Any:
    """Return the date or timestamp of a number; a part of a unit is rounded; NULL outside the years 1 to 9999."""
    try:
        if kind is ColumnType.DATE:
            return EPOCH.date() + timedelta(days=round(number))
        return EPOCH + timedelta(microseconds=round(number))
    except OverflowError:
        return None


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Exact counts per bin of one group, in steps; bins that are not in it hold nothing."""

    bins: Bins
    cells: dict[int, int]

    def quantile(self, fraction: Fraction) -> float | None:
        """Return the middle of the bin in which the rows so far reach the fraction of all; NULL of no rows."""
        total = sum(self.cells.values())
        if not total:
            return None
        so_far = 0
        for place in range(self.bins.number):
            so_far += self.cells.get(place, 0)
            if so_far >= float(fraction) * total or place == self.bins.number - 1:
                return self._at(place, 0.5)
        raise AssertionError("there are bins")

    def smallest(self) -> float | None:
        """Return the upper end of the first bin that holds rows: the smallest value is at or below it."""
        held = [place for place, n in self.cells.items() if n]
        return self._at(min(held), 1.0) if held else None

    def largest(self) -> float | None:
        """Return the lower end of the last bin that holds rows."""
        held = [place for place, n in self.cells.items() if n]
        return self._at(max(held), 0.0) if held else None

    def _at(self, place: int, share: float) -> float:
        """Return a value in a bin; of whole numbers, its first is share 0 and its last share 1."""
        return float(self.bins.lo) + float(self.bins.width) * place + share * float(self.bins.width - self.bins.step)
