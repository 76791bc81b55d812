"""How far a number released as measured may be from the exact one: from public noise only. In `privacy/`, pure.

It is free of privacy cost, and known before the run. For derived numbers see `simulation`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from cleanroom.privacy.tails import tail_distance

if TYPE_CHECKING:
    from cleanroom.privacy.noise import Noise

CONFIDENCE = Fraction(95, 100)
"""Of all intervals that a release shows."""


def half_width(noise: Noise, *, confidence: Fraction) -> int:
    """Return the smallest w, in grid units, with P(|noise| <= w) >= confidence, rounded up as `tail_distance` is.

    Args:
        noise: of one cell.
        confidence: 0 < confidence < 1, such as 95/100.

    Raises:
        ValueError: confidence is out of range. That is our bug.

    Source:
        Both distributions are symmetric: P(|X| <= w) = 1 - 2 P(X >= w + 1).
    """
    if not 0 < confidence < 1:
        raise ValueError("confidence must be between 0 and 1")
    return tail_distance(noise, chance=(1 - confidence) / 2) - 1
