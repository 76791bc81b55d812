"""exp and log as proved intervals: lower and upper rationals around the true value. Foundation of `privacy/`, pure.

`decimal` gives exp, ln and sqrt correctly rounded (half even) in any precision: the neighbours of the result on
both sides enclose the true value. All bounds here rest on that and on directed division, never on a float.
"""

from __future__ import annotations

from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import lru_cache

DIGITS = 60
# e^-10000 is below any chance that a release depends on; past it the bounds are [0, e^-10000].
_LARGEST_EXPONENT = 10_000


@lru_cache(maxsize=64)
def rounding_down(digits: int = DIGITS) -> Context:
    """Return a context whose operations round toward minus infinity."""
    return Context(prec=digits, rounding=ROUND_FLOOR, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])


@lru_cache(maxsize=64)
def rounding_up(digits: int = DIGITS) -> Context:
    """Return a context whose operations round toward plus infinity."""
    return Context(prec=digits, rounding=ROUND_CEILING, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])


def decimal_bounds(value: Fraction, *, digits: int = DIGITS) -> tuple[Decimal, Decimal]:
    """Return decimals at most and at least `value`, relative width at most 10^(1 - digits)."""
    numerator, denominator = Decimal(value.numerator), Decimal(value.denominator)
    return rounding_down(digits).divide(numerator, denominator), rounding_up(digits).divide(numerator, denominator)


def exp_bounds(gamma: Fraction, *, digits: int = DIGITS) -> tuple[Fraction, Fraction]:
    """Return rationals (low, high) with low <= exp(-gamma) <= high.

    Args:
        gamma: >= 0; beyond 10,000 the bounds are (0, a bound on exp(-10000)).
        digits: significant decimal digits of both bounds; >= 10.

    Raises:
        ValueError: gamma is negative.
    """
    if not gamma >= 0:
        raise ValueError("gamma must not be negative")
    if gamma > _LARGEST_EXPONENT:
        return Fraction(0), exp_bounds(Fraction(_LARGEST_EXPONENT), digits=digits)[1]
    low, high = decimal_bounds(gamma, digits=digits)
    down, up = rounding_down(digits), rounding_up(digits)
    # copy_negate, because an arithmetic minus would round to the context; exp is rounded half even, so step out.
    return (
        Fraction(down.next_minus(down.exp(high.copy_negate()))),
        Fraction(up.next_plus(up.exp(low.copy_negate()))),
    )


def log_bounds(value: Fraction, *, digits: int = DIGITS) -> tuple[Fraction, Fraction]:
    """Return rationals (low, high) with low <= ln(value) <= high.

    Raises:
        ValueError: value is not positive.
    """
    if not value > 0:
        raise ValueError("the logarithm of what is not positive")
    low, high = decimal_bounds(value, digits=digits)
    down, up = rounding_down(digits), rounding_up(digits)
    # ln 1 is 0 exactly; the neighbours of 0 have exponents that no rational can be made of.
    return (
        Fraction(0) if low == 1 else Fraction(down.next_minus(down.ln(low))),
        Fraction(0) if high == 1 else Fraction(up.next_plus(up.ln(high))),
    )


def floor_exp(gamma: Fraction, *, bits: int) -> int:
    """Return floor(2^bits * exp(-gamma)), exactly; gamma >= 0.

    exp of a non-zero rational is irrational (Lindemann), so that some precision always separates it from an integer.
    """
    if gamma == 0:
        return 1 << bits
    digits = DIGITS
    while True:
        low, high = (int(bound * (1 << bits)) for bound in exp_bounds(gamma, digits=digits))
        if low == high:
            return low
        digits *= 2


def floor_exps(step: Fraction, *, bits: int) -> list[int]:
    """Return floor(2^bits * exp(-step * k)), exactly, for k = 1, 2, … up to the first that is 0; step > 0.

    One exponential with 64 more bits, and its powers: each product loses less than two units of the last bit, so the
    k-th is between `low` and `low + 2 k`. Where that leaves the floor open (a chance of about k / 2^63), it is worked
    out by itself.
    """
    if not step > 0:
        raise ValueError("the step must be positive")
    wide = bits + 64
    ratio = floor_exp(step, bits=wide)
    low, floors = 1 << wide, [1 << bits]
    while floors[-1]:
        k = len(floors)
        low = (low * ratio) >> wide
        floor = low >> 64
        floors.append(floor if (low + 2 * k) >> 64 == floor else floor_exp(step * k, bits=bits))
    return floors[1:]
