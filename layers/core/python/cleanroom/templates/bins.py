"""The public bins in which a column is counted for quantiles, and the SQL that puts a value into one. Pure.

Whole numbers and dates have whole numbers of values in each bin; where there are at most `MOST_BINS` values, one each.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

from sqlglot import exp

from cleanroom.privacy.bins import Bins, tree_shape
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.grid import require_range
from cleanroom.templates.moments import as_integer
from cleanroom.templates.refusals import refuse
from cleanroom.templates.scalars import TEMPORAL, Scalar
from cleanroom.templates.trees import double, fragment, integer

MOST_BINS = 1024
"""Of one column: a bin is then a thousandth of the declared range."""

MOST_CELLS = 8_000_000
"""Counts that one set of quantiles may have over all declared groups: more would not fit in the noise function."""


def bins_of(argument: Scalar, *, at: exp.Expr) -> Bins:
    """Return the bins of an expression's declared range.

    Raises:
        MissingBoundsError: no range is declared, nor follows from declared ones.
        TemplateRefusedError: rule `range_too_large`.
    """
    lo, hi = sorted(require_range(argument, at=at))
    if not max(abs(lo), abs(hi)) < 2**200 or (lo < hi and not hi - lo > Fraction(1, 2**200)):
        refuse(
            "a declared range is too small or too large",
            rule="range_too_large",
            cure="declare one between 1e-60 and 1e60, or clamp with LEAST(GREATEST(x, low), high)",
            at=at,
        )
    if argument.type in (ColumnType.INTEGER, ColumnType.DATE):
        first, count = ceil(lo), max(floor(hi) - ceil(lo) + 1, 1)
        wide = -(-count // MOST_BINS)
        return _bins(Fraction(first), Fraction(wide), -(-count // wide), step=1)
    if lo == hi:
        return _bins(lo, Fraction(1), 1, step=0)
    return _bins(lo, (hi - lo) / MOST_BINS, MOST_BINS, step=0)


def _bins(lo: Fraction, width: Fraction, number: int, *, step: int) -> Bins:
    upper, below = tree_shape(number)
    return Bins(lo=lo, width=width, number=number, step=step, upper=upper, below=below)


def bin_of(argument: Scalar, bins: Bins) -> exp.Expr:
    """Return SQL for the number of a value's bin, INTEGER in [0, bins.number): NULL for NULL, NaN and infinities.

    Computed in doubles from the row alone; values outside the range are in the first or last bin.
    """
    number = as_integer(argument).sql if argument.type in TEMPORAL else argument.sql
    place = fragment("(CAST(:x AS DOUBLE) - :lo) / :w", x=number, lo=double(bins.lo), w=double(bins.width))
    text = "CAST(CASE WHEN :z >= :last THEN :last WHEN :z <= 0e0 THEN 0 ELSE FLOOR(:z) END AS INTEGER)"
    within = fragment(text, z=place, last=integer(bins.number - 1))
    if argument.type is ColumnType.DOUBLE:
        return fragment("CASE WHEN ISFINITE(:x) THEN :b END", x=argument.sql, b=within)
    return fragment("CASE WHEN :x IS NOT NULL THEN :b END", x=number, b=within)
