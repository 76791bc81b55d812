"""How far one coordinate of `DiscreteCube` reaches, with proof: a tail, rounded up. In `privacy/`, for `tails`. Pure.

With R and q as in `cube_sampler` one coordinate is even over -R .. R, so that for j >= 1

    P(Z >= j) = sum over R >= j of (R - j + 1) (2 R + 1)^(d - 1) q^R / sum over R >= 0 of (2 R + 1)^d q^R.

With i = R - j both sums are polynomials of i times q^i, with positive coefficients, and so are

    S_p = sum of i^p q^i = sum over k of S(p, k) k! q^k / (1 - q)^(k + 1)      (S(p, k): Stirling numbers, second kind),

which grow with q. So q rounded up bounds the numerator from above, and q rounded down the denominator from below.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from cleanroom.privacy.directed import decimal_bounds, exp_bounds

if TYPE_CHECKING:
    from cleanroom.privacy.noise import DiscreteCube

_DIGITS = 80  # of q: 1 - q loses as many digits as the scale has


def cube_tail(noise: DiscreteCube, *, distance: int) -> Fraction:
    """Return an upper bound on P(one coordinate >= distance), at most 10^-40 of it too large; distance >= 1.

    Beyond 10,000 scales the bound is that of 10,000 scales times a polynomial: it may be above 1.
    """
    if not distance >= 1:
        raise ValueError("distance must be at least 1")
    most, least = _sums(noise.scale, noise.dimension)
    odd, rest = 2 * distance + 1, noise.dimension - 1
    above = sum(
        (math.comb(rest, p) * 2**p * odd ** (rest - p) * (most[p] + most[p + 1]) for p in range(rest + 1)), Fraction(0)
    )
    return exp_bounds(distance / noise.scale)[1] * above / least


def cube_guess(noise: DiscreteCube, *, chance: Fraction) -> int:
    """Return about where the tail falls to a chance, in floats, as if the noise were continuous: it only saves steps.

    There P(Z > w scale) = e^-w / 2 (sum of w^k / k! over k <= d, less w / d of the same over k < d).
    """
    d = noise.dimension
    low, high = 0.0, 64.0
    while _continuous(high, d) > chance and high < 8192:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _continuous(middle, d) > chance else (low, middle)
    return max(1, math.ceil(Fraction(high) * noise.scale))


def _continuous(w: float, d: int) -> float:
    terms = [w**k / math.factorial(k) for k in range(d + 1)]
    return math.exp(-w) / 2 * (sum(terms) - w / d * sum(terms[:-1])) if w < 700 else 0.0


@lru_cache(maxsize=256)
def _sums(scale: Fraction, dimension: int) -> tuple[tuple[Fraction, ...], Fraction]:
    """Return S_0 .. S_d, rounded up, and the sum of (2 R + 1)^d q^R, rounded down."""
    low, high = exp_bounds(1 / scale, digits=_DIGITS)
    largest = tuple(decimal_bounds(s, digits=_DIGITS)[1] for s in _powers(high, dimension))
    smallest = [decimal_bounds(s, digits=_DIGITS)[0] for s in _powers(low, dimension)]
    whole = sum((math.comb(dimension, p) * 2**p * Fraction(s) for p, s in enumerate(smallest)), Fraction(0))
    return tuple(map(Fraction, largest)), whole


def _powers(q: Fraction, most: int) -> list[Fraction]:
    """Return the sum of i^p q^i over i >= 0, for each p up to `most`, exactly."""
    terms = [math.factorial(k) * q**k / (1 - q) ** (k + 1) for k in range(most + 1)]
    stirling, sums = [1], [terms[0]]
    for p in range(1, most + 1):
        stirling = [0] + [stirling[k - 1] + (k * stirling[k] if k < p else 0) for k in range(1, p + 1)]
        sums.append(sum((count * term for count, term in zip(stirling, terms, strict=False)), Fraction(0)))
    return sums
