"""How far a measured number, as it is shown, may be from the exact one: for quotes and for releases alike."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from cleanroom.privacy.bins import rank_deviation
from cleanroom.privacy.error_bars import CONFIDENCE, half_width

if TYPE_CHECKING:
    from cleanroom.templates.plan import MeasuredColumn


def half_width_of(column: MeasuredColumn, *, other_row: bool = False) -> float:
    """Return half the width of a measured column's 95 % interval; rounded up by less than one step of its grid.

    Of bins it is that of the *rank* of a quantile: how many rows too many or too few may lie below it; the sum of a few
    dozen independent draws is taken as normal.

    Of the other row, if `other_row`: then the column has noise there.

    A count is shown as a whole number, which moves it by up to one half: that is added to the quantile of the noise.
    """
    noise = column.other_noise if other_row else column.noise
    if noise is None:
        raise ValueError("there is no such noise")
    if column.bins is not None:
        deviation = rank_deviation(column.bins, deviation=noise.standard_deviation)
        return 1.96 * deviation * float(column.unit)
    rounding = Fraction(1, 2) if column.is_count else Fraction(0)
    return float(half_width(noise, confidence=CONFIDENCE) * column.unit + rounding)
