"""The noise of one column, or of several together, as an exact value: what is sampled and what a receipt says.

All distributions live on the integers, in grid units of the columns. Their parameters are exact rationals: the samplers
draw with exactly these, and thresholds and error bars are worked out from exactly these. In `privacy/`.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscreteCube:
    """P(z) proportional to exp(-max(|z_1|, ..., |z_d|) / scale) on all vectors z of d integers: a draw for d columns.

    Coordinates are not independent, but have no correlation, and each is symmetric around 0. For d = 1 it would be
    discrete Laplace noise.

    Attributes:
        scale: in grid units, the same for all coordinates; > 0.
        dimension: d, columns that are drawn together; from 2 to `MOST_DIMENSIONS`.

    Raises:
        ValueError: out of range. That is our bug.

    Source:
        The K-norm mechanism (Hardt, Talwar, "On the Geometry of Differential Privacy", 2010) for the largest
        coordinate as norm (Steinke, Ullman, "Between Pure and Approximate Differential Privacy", 2016), on
        the integers.
    """

    scale: Fraction
    dimension: int

    def __post_init__(self) -> None:
        _check_positive("scale", self.scale)
        if isinstance(self.dimension, bool) or not 2 <= self.dimension <= MOST_DIMENSIONS:
            raise ValueError(f"a vector has from 2 to {MOST_DIMENSIONS} columns")

    @property
    def standard_deviation(self) -> float:
        """Of one coordinate, in grid units, rounded to a float: for people, never for a guarantee.

        With R as in `cube_sampler`, a coordinate is even over -R .. R, and so has the variance E[R (R + 1)] / 3; from a
        scale of 16 on, sums over R are integrals within one part in a thousand.
        """
        scale, d = float(self.scale), self.dimension
        if scale >= 16:
            return scale * math.sqrt((d + 1) * (d + 2) / 3)
        masses = [(2 * r + 1) ** d * math.exp(-r / scale) for r in range(int(scale * (8 * d + 60)) + 2)]
        return math.sqrt(sum(r * (r + 1) * mass for r, mass in enumerate(masses)) / sum(masses) / 3)

    def as_json(self) -> dict[str, str]:
        """Return the exact parameters; `noise_from_json` is the inverse."""
        return {"distribution": "discrete_cube", "scale": str(self.scale), "dimension": str(self.dimension)}


MOST_DIMENSIONS = 16
"""Columns that one draw may be for."""

ColumnNoise = DiscreteLaplace | DiscreteGaussian
"""Drawn for each column by itself."""

Noise = ColumnNoise | DiscreteCube

LARGEST_SCALE = 1 << 54
"""In grid units: samplers draw below this scale, or half of it as sigma; above, a draw would often leave 64 bits."""

LARGEST_CUBE_SCALE = 1 << 50
"""The same for vectors, whose radius is the sum of up to 17 draws."""

LEAST_CUBE_SCALE = 1 << 10
"""Vectors of a smaller scale would have most candidates rejected; their columns are drawn by themselves instead."""


def can_be_drawn(noise: Noise) -> bool:
    """Return whether the samplers take the noise; more would tell nothing any more, at any price."""
    if isinstance(noise, DiscreteLaplace):
        return noise.scale < LARGEST_SCALE
    if isinstance(noise, DiscreteCube):
        return LEAST_CUBE_SCALE <= noise.scale < LARGEST_CUBE_SCALE
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
        case {"distribution": "discrete_cube", "scale": str(text), "dimension": str(number), **rest} if not rest:
            return DiscreteCube(scale=_rational(text), dimension=_dimension(number))
    raise ValueError("not a noise distribution")


def _rational(text: str) -> Fraction:
    if not _RATIONAL.fullmatch(text):
        raise ValueError("a parameter of noise is written as digits, or digits/digits")
    try:
        return Fraction(text)
    except ZeroDivisionError as exc:
        raise ValueError("the denominator is zero") from exc


def _dimension(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII):
        raise ValueError("a dimension is written in digits")
    return int(text)


def _check_positive(name: str, value: Fraction) -> None:
    if not (isinstance(value, Fraction) and value > 0):  # a float here would hide a rounding: refuse it
        raise ValueError(f"{name} must be a positive Fraction")
