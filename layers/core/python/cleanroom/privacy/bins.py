"""The public bins that a column's values are counted in for its quantiles, and how noise adds up over them. Pure.

`quantiles.py` reads the noisy counts, and says why the variance here has this form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

FEW_BINS = 48
"""Up to so many bins one level has less error than two, for each level would get half of the price."""

CELL_LIMIT = 2**50
"""Totals of a bin are clamped to this, in steps, so that all bins of a group together stay within 62 bits."""

End = Literal["inside", "smallest", "largest"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bins:
    """The public bins of one column.

    Attributes:
        lo: lower end of the first bin: a number, or days or microseconds since 1970-01-01.
        width: of each bin; > 0.
        number: of bins; >= 1.
        step: distance between values that can occur: 1 for whole numbers and dates, 0 for others.
        upper: upper nodes; 0 where the bins are the only level.
        below: bins below each upper node; `upper * below >= number`, and the bins beyond `number` are empty.
    """

    lo: Fraction
    width: Fraction
    number: int
    step: int
    upper: int
    below: int

    def __post_init__(self) -> None:
        if not (self.number >= 1 and self.width > 0 and self.upper >= 0 and self.below >= 1):
            raise ValueError("bins need a number and a width")
        if not max(self.upper, 1) * self.below >= self.number:
            raise ValueError("the tree has fewer leaves than there are bins")

    @property
    def levels(self) -> int:
        """How often each row is counted."""
        return 2 if self.upper else 1

    @property
    def nodes(self) -> int:
        """Counts per group."""
        return self.upper + max(self.upper, 1) * self.below


def tree_shape(number: int) -> tuple[int, int]:
    """Return (upper nodes, bins below each) for a number of bins: about its square root of each, or one level."""
    if number <= FEW_BINS:
        return 0, number
    below = math.isqrt(number - 1) + 1
    return -(-number // below), below


def edge_variance(bins: Bins, edge: int, fraction: float) -> float:
    """Return the variance of (rows below an edge - fraction * all rows), for noise of variance 1 on each node.

    Args:
        bins: of the column.
        edge: bins below it; from 1 to one less than there are.
        fraction: of the quantile; in [0, 1].
    """
    if not bins.upper:
        return (1 - fraction) ** 2 * edge + fraction**2 * (bins.below - edge)
    whole, part = divmod(edge, bins.below)
    of_upper = bins.below / (bins.below + 1)
    inside = part / bins.below
    upper = (1 - fraction) ** 2 * whole + (inside - fraction) ** 2 + fraction**2 * (bins.upper - whole - 1)
    return of_upper * upper + part * (1 - inside)


def rank_deviation(bins: Bins, *, deviation: float) -> float:
    """Return the largest standard deviation that the rank of a median can have, in the unit of `deviation`."""
    return deviation * math.sqrt(max((edge_variance(bins, edge, 0.5) for edge in range(1, bins.number)), default=0.0))
