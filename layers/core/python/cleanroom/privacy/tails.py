"""How far noise reaches, with proof: tails of all distributions, rounded up, and their inverse. In `privacy/`, pure.

Thresholds and error bars both come from `tail_distance`. Distances are in grid units. "Safe" is always the larger
distance: a threshold then shows less, an interval is wider.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from cleanroom.privacy.cube_tails import cube_guess, cube_tail
from cleanroom.privacy.directed import decimal_bounds, exp_bounds, log_bounds, rounding_down, rounding_up
from cleanroom.privacy.noise import DiscreteCube, DiscreteGaussian, DiscreteLaplace, Noise

if TYPE_CHECKING:
    from collections.abc import Callable

# Up to here the discrete Gaussian is summed term by term; above, an integral bounds the sum from above.
_SUMMED_SIGMA_SQUARED = 100
_PI_LOW = Fraction(314159265358979323846264338327950288419716939937510, 10**50)  # pi to 50 decimals, cut off
_ROOT_TWO_PI_LOW = Fraction(rounding_down().next_minus(rounding_down().sqrt(decimal_bounds(2 * _PI_LOW)[0])))
_HALF = Fraction(1, 2)


def tail_distance(noise: Noise, *, chance: Fraction) -> int:
    """Return the smallest distance d >= 1, in grid units, with P(noise >= d) <= chance, rounded up.

    For Laplace noise, one column of vectors, and Gaussian noise with sigma^2 <= 100, the result is the true smallest d
    (unless the true chance at some d agrees with `chance` in forty digits). For wider Gaussian noise it is at most
    about one grid unit larger. P(noise >= d) <= chance holds in every case.

    Args:
        noise: of one cell.
        chance: 0 < chance < 1/2, one-sided.

    Raises:
        ValueError: chance is out of range. That is our bug.

    Source:
        Laplace: P(X >= d) = r^d / (1 + r), r = exp(-1 / scale), for d >= 1, by summing the geometric series.
        Gaussian: `gaussian_tail`. Vectors: `cube_tail`.
    """
    if not 0 < chance < _HALF:
        raise ValueError("chance must be between 0 and 1/2")
    if isinstance(noise, DiscreteLaplace):
        ratio_low = exp_bounds(1 / noise.scale)[0]
        return max(1, math.ceil(noise.scale * (log_bounds(1 / chance)[1] - log_bounds(1 + ratio_low)[0])))
    if isinstance(noise, DiscreteCube):
        return _first_distance(
            lambda distance: cube_tail(noise, distance=distance) <= chance, guess=cube_guess(noise, chance=chance)
        )
    return _first_distance(
        lambda distance: gaussian_tail(noise, distance=distance) <= chance, guess=_gaussian_guess(noise, chance=chance)
    )


def gaussian_tail(noise: DiscreteGaussian, *, distance: int) -> Fraction:
    """Return an upper bound on P(noise >= distance); distance >= 1.

    Source:
        sigma^2 <= 100: the sum itself, terms rounded up, the rest as a geometric series (the ratio of neighbours
        falls), over a partial sum of the normaliser rounded down.
        Above: with f(x) = exp(-x^2 / (2 sigma^2)), the normaliser is at least sigma sqrt(2 pi): by Poisson
        summation it is that times a sum of exp(-2 pi^2 sigma^2 y^2), whose term at y = 0 is 1 (Canonne, Kamath, Steinke
        2020, section 2). f is convex from sigma on, so that f(x) <= the integral of f
        over [x - 1/2, x + 1/2] (Hermite-Hadamard), and the tail from d >= sigma + 1/2 is at most that of the
        continuous Gaussian from d - 1/2. Nearer to zero f falls, and f(d) plus the integral from d is used instead.
    """
    if not distance >= 1:
        raise ValueError("distance must be at least 1")
    sigma_squared = noise.sigma_squared
    if sigma_squared <= _SUMMED_SIGMA_SQUARED:
        return _sum_from(sigma_squared, distance) / _normaliser_low(sigma_squared)
    start = distance - _HALF
    if start * start >= sigma_squared:
        return _normal_tail(start * start / sigma_squared)
    first = exp_bounds(distance**2 / (2 * sigma_squared))[1] / (_ROOT_TWO_PI_LOW * _root_low(sigma_squared))
    return first + _normal_tail(distance**2 / sigma_squared)


def _sum_from(sigma_squared: Fraction, distance: int) -> Fraction:
    """Return an upper bound on the sum of exp(-x^2 / (2 sigma^2)) over x >= distance >= 0."""
    up = rounding_up()
    term = _decimal_up(exp_bounds(distance**2 / (2 * sigma_squared))[1])
    ratio = _decimal_up(exp_bounds((2 * distance + 1) / (2 * sigma_squared))[1])
    factor = _decimal_up(exp_bounds(1 / sigma_squared)[1])
    total = Decimal(0)
    for _ in range(_terms(sigma_squared)):
        total = up.add(total, term)
        term, ratio = up.multiply(term, ratio), up.multiply(ratio, factor)
    # What is left: term, term * ratio, and so on with smaller ratios; after these many terms ratio < 1/2.
    return Fraction(total) + Fraction(term) / (1 - Fraction(ratio))


@lru_cache(maxsize=256)
def _normaliser_low(sigma_squared: Fraction) -> Fraction:
    """Return a lower bound on the sum of exp(-x^2 / (2 sigma^2)) over all integers x."""
    down = rounding_down()
    ratio = _decimal_down(exp_bounds(1 / (2 * sigma_squared))[0])
    factor = _decimal_down(exp_bounds(1 / sigma_squared)[0])
    term = total = Decimal(1)
    for _ in range(_terms(sigma_squared)):
        term, ratio = down.multiply(term, ratio), down.multiply(ratio, factor)
        total = down.add(total, down.multiply(Decimal(2), term))
    return Fraction(total)


def _terms(sigma_squared: Fraction) -> int:
    """Return how many terms are summed: 16 sigma and 4, so that the rest is below e^-128 of the first."""
    return 16 * (math.isqrt(math.ceil(sigma_squared)) + 1) + 4


def _normal_tail(z_squared: Fraction) -> Fraction:
    """Return an upper bound on P(Z >= z) of the standard normal, from the square of z >= 0.

    Source:
        z >= 2: density times Mills' ratio by Laplace's continued fraction, whose convergents enclose it
        (Abramowitz, Stegun 26.2.14). Below: 26.2.11, a series of positive terms, cut off.
    """
    z = _decimal_down(_root_low(z_squared))
    if z_squared >= 4:
        # From the inside out, so that the outermost denominator is rounded down: even depths down, odd ones up.
        value = z
        for depth in range(200, 0, -1):
            context = rounding_up() if depth % 2 == 0 else rounding_down()
            value = context.add(z, context.divide(Decimal(depth), value))
        return exp_bounds(z_squared / 2)[1] / _ROOT_TWO_PI_LOW / Fraction(value)
    down = rounding_down()
    term = total = z
    for odd in range(3, 160, 2):
        term = down.divide(down.multiply(down.multiply(term, z), z), Decimal(odd))
        total = down.add(total, term)
    root_two_pi_high = _ROOT_TWO_PI_LOW * (1 + Fraction(1, 10**40))
    return _HALF - exp_bounds(z_squared / 2)[0] / root_two_pi_high * Fraction(total)


def _root_low(square: Fraction) -> Fraction:
    down = rounding_down()
    root = down.sqrt(decimal_bounds(square)[0])
    return Fraction(down.next_minus(root)) if root else Fraction(0)


def _decimal_down(value: Fraction) -> Decimal:
    return decimal_bounds(value)[0]


def _decimal_up(value: Fraction) -> Decimal:
    return decimal_bounds(value)[1]


def _gaussian_guess(noise: DiscreteGaussian, *, chance: Fraction) -> int:
    """Return about the distance wanted, in floats: it only saves steps of the proved search."""
    far = math.sqrt(2 * float(log_bounds(1 / chance)[1]))
    low, high = 0.0, far
    if far < 35:  # beyond, erfc is no normal float, and `far` is near enough
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if math.erfc(middle / math.sqrt(2)) / 2 > float(chance) else (low, middle)
    return max(1, math.ceil(Fraction(high) * _root_low(noise.sigma_squared) + _HALF))


def _first_distance(holds: Callable[[int], bool], *, guess: int) -> int:
    """Return the smallest distance >= 1 at which `holds` begins to be true, looking outward from the guess."""
    failing, holding, step = 0, guess, 1
    while not holds(holding):
        failing, holding, step = holding, holding + step, step * 2
    if failing == 0:
        step = 1
        while holding - step > 0 and holds(holding - step):
            holding, step = holding - step, step * 2
        failing = max(0, holding - step)
    while holding - failing > 1:
        middle = (failing + holding) // 2
        failing, holding = (failing, middle) if holds(middle) else (middle, holding)
    return holding
