"""From a privacy parameter to the noise that gives it: rationals, rounded toward more noise. In `privacy/`, pure."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from cleanroom.privacy.directed import log_bounds
from cleanroom.privacy.noise import DiscreteCube, DiscreteGaussian, DiscreteLaplace, Noise

if TYPE_CHECKING:
    from collections.abc import Callable

RHO_BITS = 32
"""rho is rounded down to this many significant bits: at most 2^-31 of it is given away."""


def laplace_noise(*, l1_sensitivity: int, epsilon: Fraction) -> DiscreteLaplace:
    """Return the discrete Laplace noise that makes an integer vector epsilon-differentially private; exact.

    Args:
        l1_sensitivity: how far one entity can move the vector, L1 norm over all its groups and columns, in grid
            units, already rounded up; >= 1.
        epsilon: > 0.

    Raises:
        ValueError: out of range. That is our bug.

    Source:
        With scale s the ratio of the chances of any output is at most exp(L1 / s) by the triangle inequality:
        Ghosh, Roughgarden, Sundararajan 2012; Dwork, Roth 2014, Theorem 3.6, holds word for word on the integers.
    """
    _check_sensitivity(l1_sensitivity)
    _check_rational("epsilon", epsilon)
    return DiscreteLaplace(scale=Fraction(l1_sensitivity) / epsilon)


def cube_noise(*, sensitivity: int, epsilon: Fraction, dimension: int) -> DiscreteCube:
    """Return the noise that makes several integer columns together epsilon-differentially private; exact.

    Every group has a draw of its own, for all columns at once. If one entity moves the columns of group g by the vector
    v_g, the ratio of the chances of any output is at most exp(sum over g of max|v_g| / scale), by the triangle
    inequality for the largest coordinate, group by group; the normaliser does not depend on v. The whole epsilon is
    therefore spent once, on all columns, if what the sum is limited to is `sensitivity`.

    Args:
        sensitivity: the sum over all groups of the most that one entity can move any of the columns in the group, in
            grid units, already rounded up; >= 1.
        epsilon: of all columns together; > 0.
        dimension: how many columns.

    Raises:
        ValueError: out of range. That is our bug.

    Source:
        Hardt, Talwar, "On the Geometry of Differential Privacy", 2010 (the K-norm mechanism); the sum over
        groups is the norm of a product of such spaces. Both hold word for word on the integers.
    """
    _check_sensitivity(sensitivity)
    _check_rational("epsilon", epsilon)
    return DiscreteCube(scale=Fraction(sensitivity) / epsilon, dimension=dimension)


def gaussian_noise(*, l2_squared: int, rho: Fraction) -> DiscreteGaussian:
    """Return the discrete Gaussian noise that makes an integer vector rho-zCDP: sigma^2 = l2^2 / (2 rho), exact.

    Args:
        l2_squared: the square of how far one entity can move the vector, L2 norm over all its groups and columns,
            in squared grid units, already rounded up; >= 1.
        rho: this vector's share of the run's zero-concentrated privacy; > 0. Shares add up.

    Raises:
        ValueError: out of range. That is our bug.

    Source:
        Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy", 2020, Theorem 4: a
        coordinate moved by d is d^2 / (2 sigma^2)-zCDP; Renyi divergences of independent coordinates add up (Bun,
        Steinke, "Concentrated Differential Privacy", 2016, Lemma 2.2), and the squares sum to at most l2^2.
    """
    _check_sensitivity(l2_squared)
    _check_rational("rho", rho)
    return DiscreteGaussian(sigma_squared=Fraction(l2_squared) / (2 * rho))


def other_noise(noise: Noise, *, most_groups: int) -> Noise:
    """Return the noise of a column's other row: the sum of the groups that are not shown, which then costs nothing.

    Args:
        noise: of the column's groups.
        most_groups: that one entity may be in at all, as the exact query enforces it; >= 1.

    Raises:
        ValueError: out of range. That is our bug.

    Source:
        `other_row.py`: sums do not grow in the L1 norm, nor in that of vectors, and by Cauchy and Schwarz at most as
        the root of most_groups in the L2 norm.
    """
    _check_sensitivity(most_groups)
    if isinstance(noise, DiscreteLaplace | DiscreteCube):
        return noise
    return DiscreteGaussian(sigma_squared=noise.sigma_squared * most_groups)


def gaussian_rho(*, epsilon: Fraction, delta: Fraction) -> Fraction:
    """Return the largest rho, rounded down, such that every rho-zCDP mechanism is (epsilon, delta)-DP.

    For each alpha > 1, rho-zCDP gives (epsilon, delta)-DP as soon as
        (alpha - 1)(alpha rho - epsilon) + (alpha - 1) ln(1 - 1/alpha) - ln(alpha) <= ln(delta).
    Solved for rho that is a lower bound for every alpha. A search in floats proposes the alpha; the bound at that
    alpha, an exact rational, is then worked out with logarithms rounded toward the smaller rho. A poor alpha can
    therefore cost noise, never privacy.

    Args:
        epsilon: > 0; tight between 1e-9 and 1e6, safe anywhere.
        delta: 0 < delta < 1.

    Returns:
        rho > 0, rounded down to `RHO_BITS` significant bits (a denominator that is a power of two).

    Raises:
        ValueError: out of range, or an epsilon too far out for the search. That is our bug.

    Source:
        Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy", 2020, Proposition 12 (v4) and
        Corollary 13.
    """
    _check_rational("epsilon", epsilon)
    _check_rational("delta", delta)
    if not delta < 1:
        raise ValueError("delta must be below 1")
    log_delta = log_bounds(delta)[0]
    approximate_epsilon, approximate_log_delta = float(epsilon), float(log_delta)

    def approximate_rho(log_excess: float) -> float:
        excess = math.exp(log_excess)
        shape = -excess * math.log1p(1 / excess) - math.log1p(excess)
        return (approximate_epsilon + (approximate_log_delta - shape) / excess) / (1 + excess)

    excess = Fraction(math.exp(_argmax(approximate_rho, low=-30.0, high=60.0)))
    alpha = 1 + excess
    # ln(1 - 1/alpha) = -ln(alpha / excess). Lower logarithms make `shape` larger and so rho smaller.
    shape = -excess * log_bounds(alpha / excess)[0] - log_bounds(alpha)[0]
    rho = (epsilon + (log_delta - shape) / excess) / alpha
    if not rho > 0:
        raise ValueError("epsilon is too small for this conversion")
    return _round_down(rho, bits=RHO_BITS)


def _argmax(function: Callable[[float], float], *, low: float, high: float) -> float:
    """Return about where a function with one peak is largest: a scan, then golden sections."""
    steps = round((high - low) * 4)
    best = max(range(steps + 1), key=lambda step: function(low + (high - low) * step / steps))
    left, right = low + (high - low) * (best - 1) / steps, low + (high - low) * (best + 1) / steps
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(50):
        a, b = right - golden * (right - left), left + golden * (right - left)
        if function(a) < function(b):
            left = a
        else:
            right = b
    return (left + right) / 2


def _round_down(value: Fraction, *, bits: int) -> Fraction:
    """Return the largest m * 2^j <= value with m below 2^bits and at least 2^(bits - 2)."""
    shift = bits - 1 - (value.numerator.bit_length() - value.denominator.bit_length())
    step = Fraction(1, 1 << shift) if shift >= 0 else Fraction(1 << -shift)
    return value // step * step


def _check_sensitivity(value: int) -> None:
    if isinstance(value, bool) or not (isinstance(value, int) and value >= 1):
        raise ValueError("a sensitivity is an integer in grid units, at least 1")


def _check_rational(name: str, value: Fraction) -> None:
    if isinstance(value, bool) or not (isinstance(value, Fraction | int) and value > 0):
        raise ValueError(f"{name} must be a positive rational")
