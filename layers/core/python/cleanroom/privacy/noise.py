"""The noise of one column, as an exact value: what is sampled and what a receipt says. In `privacy/`.

Both distributions live on the integers, in grid units of the column. Their parameters are exact rationals: the
sampler draws with exactly these, and thresholds and error bars are worked out from exactly these.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_RATIONAL = re.compile(r"[0-9]{1,400}(/[0-9]{1,400})?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscreteLaplace:
    """P(x) proportional to exp(-|x| / scale) on all integers x.

    Attributes:
        scale: in grid units; > 0. There is no value that means "no noise".

    Raises:
        ValueError: the scale is not a positive rational. That is our bug.

    Source:
        Ghosh, Roughgarden, Sundararajan, "Universally Utility-Maximizing Privacy Mechanisms", 2012 (the
        two-sided geometric mechanism); Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential
        Privacy", 2020, section 5.2.
    """

    scale: Fraction

    def __post_init__(self) -> None:
        _check_positive("scale", self.scale)

    @property
    def standard_deviation(self) -> float:
        """In grid units, rounded to a float: for people, never for a guarantee."""
        half = 1 / (2 * self.scale)
        if half > 700:  # sinh would overflow, and the deviation is below 1e-303
            return 0.0
        return 1 / (math.sqrt(2) * math.sinh(float(half)))

    def as_json(self) -> dict[str, str]:
        """Return the exact parameters; `noise_from_json` is the inverse."""
        return {"distribution": "discrete_laplace", "scale": str(self.scale)}


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscreteGaussian:
    """P(x) proportional to exp(-x^2 / (2 sigma^2)) on all integers x.

    Attributes:
        sigma_squared: in squared grid units; > 0. The variance is at most this, and for sigma >= 2 equal to it
            within 1e-30.

    Raises:
        ValueError: sigma_squared is not a positive rational. That is our bug.

    Source:
        Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy", 2020, Definition 1; the
        variance by Poisson summation, section 2.
    """

    sigma_squared: Fraction

    def __post_init__(self) -> None:
        _check_positive("sigma_squared", self.sigma_squared)

    @property
    def standard_deviation(self) -> float:
        """In grid units, rounded to a float: for people, never for a guarantee."""
        if self.sigma_squared >= 4:
            return math.sqrt(self.sigma_squared)
        masses = [math.exp(-x * x / (2 * float(self.sigma_squared))) for x in range(1, 60)] if self._visible else [0.0]
        return math.sqrt(2 * sum(x * x * mass for x, mass in enumerate(masses, 1)) / (1 + 2 * sum(masses)))

    @property
    def _visible(self) -> bool:
        return self.sigma_squared > Fraction(1, 1400)  # below, exp(-1 / (2 sigma^2)) is no normal float

    def as_json(self) -> dict[str, str]:
        """Return the exact parameters; `noise_from_json` is the inverse."""
        return {"distribution": "discrete_gaussian", "sigma_squared": str(self.sigma_squared)}


Noise = DiscreteLaplace | DiscreteGaussian

LARGEST_SCALE = 1 << 54
"""In grid units: samplers draw below this scale, or half of it as sigma; above, a draw would often leave 64 bits."""


def can_be_drawn(noise: Noise) -> bool:
    """Return whether the samplers take the noise; more would tell nothing any more, at any price."""
    if isinstance(noise, DiscreteLaplace):
        return noise.scale < LARGEST_SCALE
    return noise.sigma_squared < LARGEST_SCALE**2 // 4


def noise_from_json(fields: Mapping[str, object]) -> Noise:
    """Read what `as_json` wrote, exactly.

    Raises:
        ValueError: an unknown distribution, a missing or further field, or a parameter that is not a positive
            rational written in digits.
    """
    match dict(fields):
        case {"distribution": "discrete_laplace", "scale": str(text), **rest} if not rest:
            return DiscreteLaplace(scale=_rational(text))
        case {"distribution": "discrete_gaussian", "sigma_squared": str(text), **rest} if not rest:
            return DiscreteGaussian(sigma_squared=_rational(text))
    raise ValueError("not a noise distribution")


def _rational(text: str) -> Fraction:
    if not _RATIONAL.fullmatch(text):
        raise ValueError("a parameter of noise is written as digits, or digits/digits")
    try:
        return Fraction(text)
    except ZeroDivisionError as exc:
        raise ValueError("the denominator is zero") from exc


def _check_positive(name: str, value: Fraction) -> None:
    if not (isinstance(value, Fraction) and value > 0):  # a float here would hide a rounding: refuse it
        raise ValueError(f"{name} must be a positive Fraction")
