"""The whole steps on which values are added up, for the reference: worked out from declared ranges, in fractions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.soundness.expressions import Expression, Range, Row
    from tests.soundness.parts import Part


def present(value: Any) -> bool:
    """Return whether a value counts: neither NULL nor NaN nor infinite."""
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The whole steps on which the values of one expression lie."""

    unit: Fraction
    lowest: int
    highest: int
    middle: int
    ends: tuple[Fraction, Fraction]

    @property
    def heaviest(self) -> int:
        return max(abs(self.lowest - self.middle), abs(self.highest - self.middle), 1)

    def steps(self, value: Any) -> int | None:
        """Return the nearest step, from the middle; None for NULL, NaN and infinities."""
        return self.nearest(float(value)) if present(value) else None

    def nearest(self, value: float) -> int:
        """Return the nearest step, from the middle, of a number or an infinity."""
        away = value * self.per_unit - self.middle
        if not math.isfinite(away):
            return (self.highest if away > 0 else self.lowest) - self.middle
        return max(self.lowest - self.middle, min(self.highest - self.middle, round(away)))

    @cached_property
    def per_unit(self) -> float:
        return float(1 / self.unit)


def grid(x: Expression, *, centred: bool) -> Grid:
    """Return the grid of an expression with a closed range."""
    return _grid_in(x.range, centred=centred)


@cache
def _grid(lo: Fraction, hi: Fraction, *, centred: bool) -> Grid:
    """Return the grid for a declared range: a power of two of at most 2^-20 of it."""
    if lo == hi:
        lo, hi = min(lo, Fraction(0)), max(hi, Fraction(0))
    if lo == hi:
        hi = Fraction(1)
    width = hi - lo if centred else max(abs(lo), abs(hi))
    unit = Fraction(1)
    while unit > width / 2**20:
        unit /= 2
    while unit * 2 <= width / 2**20:
        unit *= 2
    lowest, highest = math.floor(lo / unit), math.ceil(hi / unit)
    middle = (lowest + highest) // 2 if centred else 0
    return Grid(unit=unit, lowest=lowest, highest=highest, middle=middle, ends=(lo, hi))


def grid_of(part: Part) -> Grid:
    """Return the grid of a part that is a sum; that of squares and products follows from the ranges of its values."""
    return _grid_of(part.kind, *part.ranges)


@cache
def _grid_of(kind: str, x: Range | None, y: Range | None) -> Grid:
    assert x is not None
    if kind in ("sum", "centred sum"):
        return _grid_in(x, centred=kind == "centred sum")
    ones = _around_middle(x)
    if kind == "squares":
        return _grid(Fraction(0), max(end * end for end in ones), centred=True)
    assert y is not None
    corners = [a * b for a in ones for b in _around_middle(y)]
    return _grid(min(corners), max(corners), centred=True)


def _grid_in(span: Range, *, centred: bool) -> Grid:
    lo, hi = span
    assert lo is not None
    assert hi is not None
    return _grid(min(lo, hi), max(lo, hi), centred=centred)


def _middle(span: Range) -> Fraction:
    on = _grid_in(span, centred=True)
    return on.middle * on.unit


@cache
def _around_middle(span: Range) -> tuple[Fraction, Fraction]:
    """Return the ends of a range as seen from the middle of its grid."""
    lo, hi = _grid_in(span, centred=True).ends
    return lo - _middle(span), hi - _middle(span)


def steps_of(part: Part) -> Callable[[Row], int]:
    """Return what one row adds to a part that is a sum; 0 where its value does not count."""
    x, y, on = part.x, part.y, grid_of(part)
    assert x is not None
    if part.kind in ("sum", "centred sum"):
        return lambda row: on.steps(x.of(row)) or 0
    if part.kind == "squares":  # one of a value outside the range is larger than any within, and cut off as such
        middle = float(_middle(x.range))

        def square(row: Row) -> int:
            value = x.of(row)
            return on.nearest((float(value) - middle) * (float(value) - middle)) if present(value) else 0

        return square
    assert y is not None
    one, other = _off(x), _off(y)

    def product(row: Row) -> int:
        values = x.of(row), y.of(row)
        return on.nearest(one(values[0]) * other(values[1])) if all(map(present, values)) else 0

    return product


def _off(x: Expression) -> Callable[[Any], float]:
    """Return how far a value is from the middle; one outside the range counts as the nearest end."""
    lo, hi = map(float, grid(x, centred=True).ends)
    low, high = map(float, _around_middle(x.range))
    middle = float(_middle(x.range))

    def off(value: Any) -> float:
        number = float(value)
        if number > hi:
            return high
        return low if number < lo else number - middle

    return off
