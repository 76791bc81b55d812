"""Splits the epsilon of aggregates that share parts among the parts; chooses which of them get noise together. Pure.

With a share w of epsilon a part gets Laplace noise of variance proportional to 1 / w^2, or Gaussian noise of variance
proportional to 1 / w, in units of what one row weighs at most. If the square of a released number's error is the sum of
these with the coefficients L, then by Lagrange's rule the least sum for shares that add up to 1 is at
    w proportional to L^(1/3) (Laplace) or L^(1/2) (Gaussian).

Under Laplace noise, d parts that count the same rows may instead be one vector with a draw of its own
(`privacy/noise.py::DiscreteCube`): each row moves each of them by at most what one row weighs, and the vector gets the
whole of what is paid for it, for a variance of (d + 1)(d + 2) / 3 in place of 2. So a vector counts like one part with
the coefficient (d + 1)(d + 2) / 6 sum(L), and parts are put together where that makes the least sum smaller: nearly
always, but for parts of which one counts much more than the others.

The coefficients come from public numbers only: the formulas of the released numbers, and declared ranges. What they
need of the data is averaged as if nothing were known: a mean lies anywhere in its range, evenly, and a mean square
anywhere between the square of the mean and the largest. Errors count relative to the largest value that the released
number can have per row, so that numbers of different units can be added up. A poor choice costs accuracy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TypeVar

from cleanroom.privacy.noise import MOST_DIMENSIONS
from cleanroom.templates.aggregates import Aggregate, AggregateFunction
from cleanroom.templates.grid import Grid

Key = TypeVar("Key")

STEPS = 1000
"""Shares are whole multiples of one over this: exact, short in a receipt, and the same on every machine."""

_LEAST = 1e-6
"""No part counts for less: each gets a share."""

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


def of_vector(parts: int) -> float:
    """Return the variance of each part of a vector, if all epsilon is spent on it, relative to that of one part alone.

    Source:
        `DiscreteCube.standard_deviation`; 2 scale^2 for discrete Laplace noise.
    """
    return (parts + 1) * (parts + 2) / 6


def together(asked: Mapping[Key, float], *, counts: Mapping[Key, object]) -> list[tuple[Key, ...]]:
    """Return which parts get noise together under Laplace noise, for the least predicted error.

    A vector holds parts whose coefficients are next to each other, for which all ways are compared. Others could be
    better by a trifle at most: what is large shares with what is small only if all between do.

    Args:
        asked: part -> coefficient, summed over all released numbers; >= 0.
        counts: part -> what it counts, for parts that may stand in a vector; those that count the same, together.

    Returns:
        Every part once, in the order of the first of each vector.
    """
    place = {part: number for number, part in enumerate(asked)}
    chosen: list[tuple[Key, ...]] = [(part,) for part in asked if part not in counts]
    for counted in dict.fromkeys(counts[part] for part in asked if part in counts):
        alike = sorted((p for p in asked if counts.get(p) == counted), key=lambda p: (-asked[p], place[p]))
        best: list[tuple[float, list[tuple[Key, ...]]]] = [(0.0, [])]
        for end in range(1, len(alike) + 1):
            options = []
            for start in range(max(0, end - MOST_DIMENSIONS), end):
                vector = tuple(sorted(alike[start:end], key=lambda p: place[p]))
                cost = vector_coefficient(asked, vector) ** (1 / 3)
                options.append((best[start][0] + cost, [*best[start][1], vector]))
            best.append(min(options, key=lambda option: (option[0], len(option[1]))))
        chosen += best[-1][1]
    return sorted(chosen, key=lambda vector: place[vector[0]])


def vector_coefficient(asked: Mapping[Key, float], vector: tuple[Key, ...]) -> float:
    """Return what a vector counts as, if it were one part; of one part its own coefficient, kept above 0."""
    return of_vector(len(vector)) * sum(max(asked[part], _LEAST) for part in vector)


def shares(asked: Mapping[Key, float], *, gaussian: bool) -> dict[Key, Fraction]:
    """Return each part's share; all are above 0, and they add up to 1.

    Args:
        asked: part -> coefficient, summed over all released numbers; >= 0.
        gaussian: which noise.
    """
    power = 1 / 2 if gaussian else 1 / 3
    weights = {part: max(coefficient, _LEAST) ** power for part, coefficient in asked.items()}
    whole = sum(weights.values())
    steps = {part: max(1, round(weight / whole * STEPS)) for part, weight in weights.items()}
    largest = max(steps, key=lambda part: steps[part])
    steps[largest] += STEPS - sum(steps.values())
    if steps[largest] < 1:  # hundreds of parts, most of them rounded up
        return dict.fromkeys(weights, Fraction(1, len(weights)))
    return {part: Fraction(step, STEPS) for part, step in steps.items()}
