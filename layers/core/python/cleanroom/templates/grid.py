"""The public integer grid of one summed expression: granularity, middle and clamp, and the SQL that puts a value on it.

Every row becomes one small integer, clamped after it was made, so that whatever the row holds, its weight is at most
`heaviest` steps; all later arithmetic is on integers. Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.refusals import refuse, refuse_missing_bounds
from cleanroom.templates.scalars import Scalar
from cleanroom.templates.trees import double, fragment, integer

STEPS = 2**20
"""A grid has at least this many steps over the range, and at most twice as many."""

MOST_STEPS = 2**22
"""A value that is added up is at most this many steps from zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """How values of one expression become integers.

    Attributes:
        lo, hi: the declared range.
        centred: whether the middle is taken off each value; it is put back with the count.
        unit: value of one step, a power of two.
        middle: in steps; 0 where not centred.
        lowest, highest: in steps, after the middle is taken off.
    """

    lo: Fraction
    hi: Fraction
    centred: bool
    unit: Fraction
    middle: int
    lowest: int
    highest: int

    @property
    def heaviest(self) -> int:
        """The most that one row can weigh, in steps; >= 1."""
        return max(abs(self.lowest), abs(self.highest), 1)


def grid_of(argument: Scalar, *, centred: bool, at: exp.Expr, lacking: Collection[str] = ()) -> Grid:
    """Return the grid for an expression's declared range.

    The granularity is the largest power of two <= width / 2^20, the width being hi - lo, or max(|lo|, |hi|) where the
    middle is not taken off. Clamps are rounded outward to whole steps.

    Raises:
        MissingBoundsError: no range is declared, nor follows from declared ones.
        TemplateRefusedError: rule `range_too_large`.
    """
    lo, hi = require_range(argument, at=at, lacking=lacking)
    if lo > hi:
        lo, hi = hi, lo
    if lo == hi:
        lo, hi = min(lo, Fraction(0)), max(hi, Fraction(0))
    if lo == hi:
        hi = Fraction(1)
    width = hi - lo if centred else max(abs(lo), abs(hi))
    if not Fraction(1, 2**200) < width < 2**200 or not max(abs(lo), abs(hi)) < 2**200:
        refuse(
            "a declared range is too small or too large",
            rule="range_too_large",
            cure="declare one between 1e-60 and 1e60, or clamp with LEAST(GREATEST(x, low), high)",
            at=at,
        )
    unit = _power_of_two_at_most(width / STEPS)
    lowest, highest = floor(lo / unit), ceil(hi / unit)
    middle = (lowest + highest) // 2 if centred else 0
    return Grid(
        lo=lo, hi=hi, centred=centred, unit=unit, middle=middle, lowest=lowest - middle, highest=highest - middle
    )


def require_range(argument: Scalar, *, at: exp.Expr, lacking: Collection[str] = ()) -> tuple[Fraction, Fraction]:
    """Return the declared range of an expression.

    Args:
        argument: the expression.
        at: where it is asked for.
        lacking: names of the columns in it that could have bounds and have none, which the refusal names.

    Raises:
        MissingBoundsError: no range is declared, nor follows from declared ones.
    """
    lo, hi = argument.span.lo, argument.span.hi
    if lo is not None and hi is not None:
        return lo, hi
    if not lacking:
        refuse_missing_bounds(
            "a sum, an average or a quantile needs a range of its values, and the bounds of its columns give it none",
            rule="missing_range",
            cure="write LEAST(GREATEST(x, low), high) with the whole for x: no bounds that an owner declares with "
            "link_datasets would be enough",
            at=at,
        )
    first, *others = lacking
    refuse_missing_bounds(
        "a sum, an average or a quantile needs a declared range of its values",
        rule="missing_range",
        cure=f"the owner declares bounds for {' and '.join([first, *others])} with link_datasets, "
        f"or the template writes LEAST(GREATEST({first}, low), high)"
        + (", and the same for each of them" if others else ""),
        at=at,
    )


def _power_of_two_at_most(value: Fraction) -> Fraction:
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    power = Fraction(2) ** exponent
    return power if power <= value else power / 2


def scaled(argument: Scalar, grid: Grid, *, never_nan: bool = False) -> exp.Expr:
    """Return SQL for the value in steps from the middle, as DOUBLE: NULL for NULL, NaN and infinities.

    The product with a power of two is exact in doubles; taking off the middle may round, by a function of the row
    alone, and the clamp comes after it.

    Args:
        argument: the expression.
        grid: of its range.
        never_nan: it is never NaN, and an infinity counts as a number, which the clamp sees to.
    """
    value = fragment("CAST(:x AS DOUBLE) * :s", x=argument.sql, s=double(1 / grid.unit))
    if grid.middle:
        value = fragment(":v - :m", v=value, m=double(Fraction(grid.middle)))
    if argument.type is not ColumnType.DOUBLE or never_nan:
        return value
    return fragment("CASE WHEN ISFINITE(:x) THEN :v END", x=argument.sql, v=value)


def clamped(value: exp.Expr, grid: Grid) -> exp.Expr:
    """Return SQL for the scaled value as INTEGER within the clamps; values between steps go to the nearest one.

    The clamps are whole steps, so rounding a clamped value cannot leave them: a row weighs at most `heaviest` whichever
    way it is rounded. The nearest step has no drift toward the middle, and costs less time than cutting off.
    """
    return fragment(
        "CAST(CASE WHEN :z > :high THEN :high WHEN :z < :low THEN :low ELSE :z END AS INTEGER)",
        z=value,
        high=integer(grid.highest),
        low=integer(grid.lowest),
    )


def whole_steps(argument: Scalar, grid: Grid) -> int | None:
    """Return how many steps there are from one whole number to the next, where whole numbers can be added up as such.

    That is where every whole number within the range lies on a step, and the range's ends do: then a clamped number's
    step is the number times this, less the middle, without any rounding, and so is a sum's. None where steps are wider
    than 1, where an end lies between two whole numbers, and where numbers are so large beside their range that 64 bits
    would hold sums of fewer than 2^40 rows.
    """
    per_one = 1 / grid.unit
    if argument.type is not ColumnType.INTEGER or any(x.denominator != 1 for x in (per_one, grid.lo, grid.hi)):
        return None
    return int(per_one) if max(abs(grid.lo), abs(grid.hi)) * per_one <= MOST_STEPS else None


def clamped_whole(value: exp.Expr, grid: Grid, *, nullable: bool) -> exp.Expr:
    """Return SQL for a whole number within the range, as INTEGER; NULL for NULL. For where `whole_steps` is a number.

    LEAST and GREATEST leave NULL out, so that it is seen to by itself where it may be.
    """
    within = fragment(
        "CAST(LEAST(GREATEST(:x, :low), :high) AS INTEGER)",
        x=value,
        low=integer(int(grid.lo)),
        high=integer(int(grid.hi)),
    )
    return fragment("CASE WHEN :x IS NOT NULL THEN :w END", x=value, w=within) if nullable else within
