"""What a release costs, in integers that a ledger can compare: prices round up, budgets down. In `privacy/`, pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MICRO = 1_000_000
"""Micro-epsilon in one epsilon."""

DELTA_STEPS = 10**12
"""Steps of delta in a delta of one."""

WINDOW_DELTA_STEPS = DELTA_STEPS // 1000
"""Delta that one budget may spend in one window, whatever its settings: 1e-3. Epsilon alone bounds nothing: many
releases of hardly any epsilon and a delta of 1e-3 each would add up to no noise at all."""

_DECIMAL = re.compile(r"[+-]?([0-9]{1,50}(\.[0-9]{0,50})?|\.[0-9]{1,50})([eE][+-]?[0-9]{1,3})?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What one run costs; adding prices is basic composition.

    Attributes:
        micro_epsilon: epsilon in millionths; >= 0.
        delta_steps: delta in steps of 1e-12; >= 0.

    Raises:
        ValueError: a part is negative or not an integer. That is our bug.

    Source:
        Dwork, Roth, "The Algorithmic Foundations of Differential Privacy", 2014, Theorem 3.16: epsilons and deltas
        of mechanisms on the same data add up. The ledger relies on its adaptive form (Dwork, Kenthapadi, McSherry,
        Mironov, Naor, "Our Data, Ourselves", 2006, Theorem 1), for which the sums are the same.
    """

    micro_epsilon: int
    delta_steps: int

    def __post_init__(self) -> None:
        for part in (self.micro_epsilon, self.delta_steps):
            if isinstance(part, bool) or not (isinstance(part, int) and part >= 0):
                raise ValueError("both parts of a price are integers, not negative")

    def __add__(self, other: Price) -> Price:
        return Price(
            micro_epsilon=self.micro_epsilon + other.micro_epsilon, delta_steps=self.delta_steps + other.delta_steps
        )

    def as_json(self) -> dict[str, int]:
        """Return both integers by their names."""
        return {"micro_epsilon": self.micro_epsilon, "delta_steps": self.delta_steps}


ZERO_PRICE = Price(micro_epsilon=0, delta_steps=0)
"""The price of what reads no protected table, and where sums start."""


def total(prices: Iterable[Price]) -> Price:
    """Return the sum of prices; zero of none."""
    return sum(prices, start=ZERO_PRICE)


def largest(prices: Iterable[Price]) -> Price:
    """Return the largest of each part: what one run, which several budgets pay, costs at most. Zero of none."""
    parts = [(price.micro_epsilon, price.delta_steps) for price in prices] or [(0, 0)]
    return Price(micro_epsilon=max(e for e, _ in parts), delta_steps=max(d for _, d in parts))


def price_of(*, epsilon: Fraction, delta: Fraction = Fraction(0)) -> Price:
    """Return the price of an (epsilon, delta) release, each part rounded up: a run never costs less than it spends.

    Args:
        epsilon: >= 0.
        delta: in [0, 1].

    Raises:
        ValueError: out of range. That is our bug: settings and arguments are checked where they come in.
    """
    if not (epsilon >= 0 and 0 <= delta <= 1):
        raise ValueError("epsilon must not be negative, and delta must be in [0, 1]")
    return Price(micro_epsilon=math.ceil(epsilon * MICRO), delta_steps=math.ceil(delta * DELTA_STEPS))


def limit_micro_epsilon(budget: int | float | str | Fraction) -> int:
    """Return a budget in micro-epsilon, rounded down: never more than was given.

    Raises:
        ValueError: negative, NaN, infinite, or no number.
    """
    exact_budget = exact_fraction(budget)
    if not exact_budget >= 0:
        raise ValueError("a budget is not negative")
    return math.floor(exact_budget * MICRO)


def exact_fraction(number: int | float | str | Fraction) -> Fraction:
    """Return the rational that a person meant: a float by its shortest decimal text, so that 0.1 is 1/10.

    Args:
        number: a text is decimal, with an optional exponent of at most three digits (0.25, 1e-6); spaces, names
            and fractions are refused, and so is anything so long that reading it would be an attack.

    Raises:
        ValueError: NaN, infinite, a truth value, or no such number.
    """
    if isinstance(number, Fraction):
        return number
    if isinstance(number, bool) or not isinstance(number, int | float | str):
        raise ValueError("not a number")
    if isinstance(number, int):
        return Fraction(number)
    if isinstance(number, float):
        number = float.__repr__(number)  # a subclass may print itself otherwise
    if not _DECIMAL.fullmatch(number):
        raise ValueError("not a finite decimal number")
    return Fraction(number)
