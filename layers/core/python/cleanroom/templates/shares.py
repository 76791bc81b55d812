"""Splits the epsilon of aggregates that share parts among the parts: for the least error of what is released. Pure.

With a share w of epsilon a part gets Laplace noise of variance proportional to 1 / w^2, or Gaussian noise of variance
proportional to 1 / w, in units of what one row weighs at most. If the square of a released number's error is the sum of
these with the coefficients L, then by Lagrange's rule the least sum for shares that add up to 1 is at
    w proportional to L^(1/3) (Laplace) or L^(1/2) (Gaussian).

The coefficients come from public numbers only: the formulas of the released numbers, and declared ranges. What they
need of the data is averaged as if nothing were known: a mean lies anywhere in its range, evenly, and a mean square
anywhere between the square of the mean and the largest. Errors count relative to the largest value that the released
number can have per row, so that numbers of different units can be added up. A poor choice costs accuracy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TypeVar

from cleanroom.templates.aggregates import Aggregate, AggregateFunction
from cleanroom.templates.grid import Grid

Key = TypeVar("Key")

STEPS = 1000
"""Shares are whole multiples of one over this: exact, short in a receipt, and the same on every machine."""

_MEAN_SQUARE = 1 / 3
"""Of a number that lies evenly in [-1, 1]."""

_OF_SQUARES, _OF_SUM, _OF_COUNT = 1 / 4, 4 / 3, 0.494
"""Of a variance A - B^2 with B = S/N evenly in [-1, 1] and A = T/N + 1/2 evenly in [B^2, 1], all in half ranges:
T counts half as much as its heaviest row, 1/4; S 2 B, whose mean square is 4/3; N 2 B^2 - A + 1/2, whose mean square is
(3/2)^2 / 5 + (1 - 2/3 + 1/5) / 12 = 0.494."""


def coefficients(aggregate: Aggregate, grids: list[Grid | None]) -> list[float]:
    """Return how much the squared relative error of each part counts: of the sums first, of the count last.

    Args:
        aggregate: which.
        grids: of its parts in that order; of the count None. A sum that is put back with the count has it behind it.
    """
    main = grids[0]
    if main is None or len(grids) == 1:
        return [1.0] * len(grids)
    if aggregate.function in (AggregateFunction.SUM, AggregateFunction.AVG):
        largest = max(abs(main.lo), abs(main.hi))
        half = float((main.hi - main.lo) / 2 / largest) if largest else 1.0
        middle = float((main.hi + main.lo) / 2 / largest) if largest else 0.0
        of_count = middle**2 if aggregate.function is AggregateFunction.SUM else half**2 * _MEAN_SQUARE
        return [half**2, of_count]
    if aggregate.second is None:
        return [_OF_SUM, _OF_SQUARES, _OF_COUNT]
    return [1.0] * len(grids)


def shares(asked: Mapping[Key, float], *, gaussian: bool) -> dict[Key, Fraction]:
    """Return each part's share; all are above 0, and they add up to 1.

    Args:
        asked: part -> coefficient, summed over all released numbers; >= 0.
        gaussian: which noise.
    """
    power = 1 / 2 if gaussian else 1 / 3
    weights = {part: max(coefficient, 1e-6) ** power for part, coefficient in asked.items()}
    whole = sum(weights.values())
    steps = {part: max(1, round(weight / whole * STEPS)) for part, weight in weights.items()}
    largest = max(steps, key=lambda part: steps[part])
    steps[largest] += STEPS - sum(steps.values())
    if steps[largest] < 1:  # hundreds of parts, most of them rounded up
        return dict.fromkeys(weights, Fraction(1, len(weights)))
    return {part: Fraction(step, STEPS) for part, step in steps.items()}
