"""Interval arithmetic on declared ranges: which range an expression over bounded columns has. Pure.

A range that cannot be derived simply is open; then the template has to declare one with LEAST(GREATEST(x, lo), hi).
Wrong ranges would cost accuracy, never privacy: every value is clamped to the range that is used.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from cleanroom.templates.scalars import OPEN, Span


def _each(a: Fraction | None, b: Fraction | None, do: Callable[[Fraction, Fraction], Fraction]) -> Fraction | None:
    return None if a is None or b is None else do(a, b)


def plus(a: Span, b: Span) -> Span:
    """Return the range of x + y."""
    return Span(lo=_each(a.lo, b.lo, lambda x, y: x + y), hi=_each(a.hi, b.hi, lambda x, y: x + y))


def negative(a: Span) -> Span:
    """Return the range of -x."""
    return Span(lo=None if a.hi is None else -a.hi, hi=None if a.lo is None else -a.lo)


def minus(a: Span, b: Span) -> Span:
    """Return the range of x - y."""
    return plus(a, negative(b))


def times(a: Span, b: Span) -> Span:
    """Return the range of x * y, where both are closed."""
    if a.lo is None or a.hi is None or b.lo is None or b.hi is None:
        return OPEN
    corners = [x * y for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    return Span(lo=min(corners), hi=max(corners))


def over(a: Span, b: Span) -> Span:
    """Return the range of x / y, where y's range is closed and keeps clear of 0."""
    if b.lo is None or b.hi is None or b.lo <= 0 <= b.hi:
        return OPEN
    return times(a, Span(lo=1 / b.hi, hi=1 / b.lo))


def absolute(a: Span) -> Span:
    """Return the range of ABS(x)."""
    if a.lo is None or a.hi is None:
        return Span(lo=Fraction(0))
    return Span(lo=Fraction(0) if a.lo <= 0 <= a.hi else min(abs(a.lo), abs(a.hi)), hi=max(abs(a.lo), abs(a.hi)))


def either(spans: list[Span]) -> Span:
    """Return the range of a value that is one of several."""
    lows, highs = [s.lo for s in spans], [s.hi for s in spans]
    return Span(
        lo=None if None in lows else min(x for x in lows if x is not None),
        hi=None if None in highs else max(x for x in highs if x is not None),
    )


def least(spans: list[Span]) -> Span:
    """Return the range of LEAST(…): one closed upper end closes it."""
    highs = [s.hi for s in spans if s.hi is not None]
    return Span(lo=either(spans).lo, hi=min(highs) if highs else None)


def greatest(spans: list[Span]) -> Span:
    """Return the range of GREATEST(…): one closed lower end closes it."""
    lows = [s.lo for s in spans if s.lo is not None]
    return Span(lo=max(lows) if lows else None, hi=either(spans).hi)


def monotone(a: Span, do: Callable[[Fraction], Fraction]) -> Span:
    """Return the range of a function that never decreases."""
    return Span(lo=None if a.lo is None else do(a.lo), hi=None if a.hi is None else do(a.hi))
