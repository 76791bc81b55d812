"""What `suggest_bounds` proposes to the owner of a table: which candidates, rounded how, and which of them. Pure.

All numbers called `exact_` are of rows, without noise: they go to the owner of the table and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

from cleanroom.rooms.moments import FIRST_DAY, LAST_DAY, moment_text
from cleanroom.rooms.tables import Column, ColumnType

QUANTILES = (Fraction(95, 100), Fraction(99, 100), Fraction(999, 1000))
"""What share of entities, groups and values a candidate is to leave alone, before it is rounded."""
LOST_AT_MOST = 0.01
"""Of rows, or of values: the first candidate below it is proposed."""
RANGED = (ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.DOUBLE, ColumnType.DATE, ColumnType.TIMESTAMP)
MOMENTS = (ColumnType.DATE, ColumnType.TIMESTAMP)

_ROUND = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)
_STEPS_OF_A_WIDTH = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ExactContribution:
    """One candidate for `max_groups` and `max_rows`, and what it would cost in accuracy.

    Attributes:
        max_groups, max_rows: rounded up.
        exact_entities_scaled: share of entities that are above max_groups * max_rows rows in all.
        exact_rows_lost: share of all rows' weight that is scaled away, under Laplace noise (clipped in L1).
        exact_rows_lost_gaussian: the same under Gaussian noise (clipped in L2).
        exact_groups_lost: share of (entity, group) pairs' weight that counts of entities lose under Laplace noise.
    """

    max_groups: int
    max_rows: int
    exact_entities_scaled: float
    exact_rows_lost: float
    exact_rows_lost_gaussian: float
    exact_groups_lost: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ExactRange:
    """One candidate for the range of a column.

    Attributes:
        bounds: as a policy takes them: two numbers, or two dates as text.
        exact_values_clamped: share of the column's values that lie outside.
        exact_mass_clamped: sum of how far they are moved, over the sum of all absolute values; None for dates.
    """

    bounds: tuple[int | float | str, int | float | str]
    exact_values_clamped: float
    exact_mass_clamped: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExactSuggestions:
    """What was measured in one version of a table.

    Attributes:
        version: digest of the table version.
        exact_entities, exact_rows, exact_rows_without_entity: numbers; None where the table has no entity column.
        contributions: from the smallest to the largest; empty where there are no entities.
        ranges: column -> candidates, from the narrowest to the widest; columns without a value are left out.
    """

    version: str
    exact_entities: int | None = None
    exact_rows: int | None = None
    exact_rows_without_entity: int | None = None
    contributions: tuple[ExactContribution, ...] = ()
    ranges: Mapping[str, tuple[ExactRange, ...]] = field(default_factory=dict)


def rounded_up(number: int) -> int:
    """Return the smallest number >= `number` of 1 … 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80 and their tenfolds."""
    if number <= 6:
        return max(number, 1)
    scale = 1
    while True:
        for digits in _ROUND:
            if digits * scale >= 10 * number and digits * scale % 10 == 0:
                return digits * scale // 10
        scale *= 10


def rounded_range(lo: Fraction, hi: Fraction, *, whole: bool) -> tuple[Fraction, Fraction]:
    """Return a range that contains [lo, hi], with ends that are multiples of 1, 2 or 5 times a power of ten.

    Args:
        lo, hi: lo <= hi.
        whole: whether the ends must be whole numbers.

    Returns:
        Ends rounded outward to the largest such step that is at most a twentieth of the width; lo < hi.
    """
    width = hi - lo or max(abs(hi), Fraction(1))
    step = Fraction(1)
    while step > width / _STEPS_OF_A_WIDTH:
        step /= 10
    while step * 10 <= width / _STEPS_OF_A_WIDTH:
        step *= 10
    step *= next(factor for factor in (5, 2, 1) if step * factor <= width / _STEPS_OF_A_WIDTH)
    if whole:
        step = max(step, Fraction(1))
    low, high = floor(lo / step) * step, ceil(hi / step) * step
    return (low, high) if low < high else (low, low + step)


def candidate_contributions(rows: Sequence[int], groups: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return (max_groups, max_rows) to try, each once.

    Args:
        rows: rows of one entity in one group, at each of `QUANTILES` and at most.
        groups: groups of one entity, likewise.
    """
    return tuple(dict.fromkeys((rounded_up(k), rounded_up(m)) for m, k in zip(rows, groups, strict=True)))


def candidate_ranges(column: Column, ends: Sequence[tuple[float, float]]) -> tuple[tuple[Fraction, Fraction], ...]:
    """Return the ranges to try, each once, in the column's numbers; of dates and timestamps in whole days.

    Args:
        column: of a type in `RANGED`.
        ends: of the middle share of values, for each of `QUANTILES` and for all values.
    """
    whole = column.type not in (ColumnType.DECIMAL, ColumnType.DOUBLE)
    ranges = (rounded_range(Fraction(lo), Fraction(hi), whole=whole) for lo, hi in ends)
    if column.type in MOMENTS:
        ranges = ((max(lo, Fraction(FIRST_DAY)), min(hi, Fraction(LAST_DAY))) for lo, hi in ranges)
    return tuple(dict.fromkeys(ranges))


def range_as_declared(column: Column, ends: tuple[Fraction, Fraction]) -> tuple[int | float | str, int | float | str]:
    """Return the two ends as a policy takes them; days since 1970-01-01 become dates."""
    lo, hi = ends
    if column.type in MOMENTS:
        return moment_text(lo, ColumnType.DATE), moment_text(hi, ColumnType.DATE)
    return _number(lo), _number(hi)


def proposal(suggestions: ExactSuggestions) -> dict[str, object]:
    """Return a policy as `link_datasets` takes it: for each bound the first candidate that loses at most 1 %.

    The exact figures are not in it; that the candidates were chosen by them is.
    """
    proposed: dict[str, object] = {}
    if suggestions.contributions:
        enough = (c for c in suggestions.contributions if c.exact_rows_lost <= LOST_AT_MOST)
        chosen = next(enough, suggestions.contributions[-1])
        proposed |= {"max_groups": chosen.max_groups, "max_rows": chosen.max_rows}
    bounds = {}
    for name, ranges in suggestions.ranges.items():
        kept = (r for r in ranges if max(r.exact_values_clamped, r.exact_mass_clamped or 0) <= LOST_AT_MOST)
        bounds[name] = list(next(kept, ranges[-1]).bounds)
    return proposed | ({"bounds": bounds} if bounds else {})


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)
