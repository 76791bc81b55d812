"""How far a measured number, as it is shown, may be from the exact one: for quotes and for releases alike."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from cleanroom.privacy.error_bars import CONFIDENCE, half_width

if TYPE_CHECKING:
    from cleanroom.templates.plan import MeasuredColumn


def half_width_of(column: MeasuredColumn) -> float:
    """Return half the width of a measured column's 95 % interval; rounded up by less than one step of its grid.

    A count is shown as a whole number, which moves it by up to one half: that is added to the quantile of the noise.
    """
    rounding = Fraction(1, 2) if column.is_count else Fraction(0)
    return float(half_width(column.noise, confidence=CONFIDENCE) * column.unit + rounding)
