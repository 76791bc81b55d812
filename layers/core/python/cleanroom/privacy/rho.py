"""The other way to count what is spent: rho of zero-concentrated privacy (zCDP), in integers. In `privacy/`, pure.

Epsilons add up, so 100 runs cost 100 times as much as one; rho adds up too, but the epsilon of a sum of rho grows only
about with its square root. A budget that counts rho turns its (epsilon, delta) into one rho, once, and compares sums
of rho with that.

What that proves. The runs of a window are chosen one after the other, each depending on the answers before it. Let D'
be a database and one entity more than D. A run is mechanism i; its answer on D' is the mixture of two: with chance
d_i at most a group of that entity alone appears (`partition_selection`), and else the answer is that of noise on
integers which the entity moves by no more than their sensitivity. That event depends on noise of its own, so the rest
is distributed as if it could not happen. Call the process without such groups P on D, where there are none, and P' on
D'. Each of their steps is rho_i-zCDP: noise by noise below, thresholds and all that is computed from the answers being
post-processing. If on every path the rho_i add up to rho at most, P and P' are as close as one rho-zCDP mechanism
keeps them, and so (epsilon, delta)-close, both ways, by the conversion of `calibration.gaussian_rho`. If on every path
the d_i add up to d at most, the chance of each path on D' is at least the product of the (1 - d_i) times that under P',
so at least (1 - d) times: the process on D' is (1 - d) P' + d Q, for some Q. For a set S of answers:

- P'S <= e^epsilon PS + delta, so (1 - d) P'S + d QS <= e^epsilon PS + delta + d.
- PS <= min(1, e^epsilon P'S + delta). If e^epsilon P'S <= 1, then PS - e^epsilon (1 - d) P'S <= delta + d; otherwise
  it is at most 1 - (1 - d) = d.

So all runs of a window together are (epsilon, delta + d)-DP: the delta of the conversion is spent once, and beside it
only the chances that a group of one entity alone appears.

Source:
    Bun, Steinke, "Concentrated Differential Privacy", 2016 (arXiv 1605.02065): zCDP, and that it composes; epsilon-DP
    is (epsilon^2 / 2)-zCDP by Proposition 3.3, for which Steinke, "Sharp RDP & zCDP from Pure DP", Corollary 8
    (differentialprivacy.org, 2024) has a short proof. That rho_i may depend on the answers before it, as long as the
    sums are limited: Feldman, Zrnic, "Individual Privacy Accounting via a Rényi Filter", 2021; with chances d_i:
    Whitehouse, Ramdas, Rogers, Wu, "Fully-Adaptive Composition in Differential Privacy", 2023, which has a filter for
    approximate zCDP.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from cleanroom.privacy.accounting import DELTA_STEPS, WINDOW_DELTA_STEPS
from cleanroom.privacy.calibration import gaussian_rho
from cleanroom.privacy.noise import DiscreteGaussian

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cleanroom.privacy.noise import Noise

RHO_STEPS = 10**12
"""Steps of rho in a rho of one."""

MOST_RHO_STEPS = 10**15
"""What a run costs whose rho is larger or is not known: more than any budget holds. A rho of 1000 protects nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RhoPrice:
    """What runs cost where rho is counted; adding is composition, as the file says.

    Attributes:
        rho_steps: rho in steps of 1e-12; >= 0.
        delta_steps: delta that rho does not cover, in steps of 1e-12; >= 0: what selections of private groups cost.

    Raises:
        ValueError: a part is negative or not an integer. That is our bug.
    """

    rho_steps: int
    delta_steps: int

    def __post_init__(self) -> None:
        for part in (self.rho_steps, self.delta_steps):
            if type(part) is not int or not part >= 0:
                raise ValueError("both parts of a price in rho are integers, not negative")

    def __add__(self, other: RhoPrice) -> RhoPrice:
        return RhoPrice(rho_steps=self.rho_steps + other.rho_steps, delta_steps=self.delta_steps + other.delta_steps)

    def as_json(self) -> dict[str, int]:
        """Return both integers by their names."""
        return {"rho_steps": self.rho_steps, "delta_steps": self.delta_steps}


ZERO_RHO = RhoPrice(rho_steps=0, delta_steps=0)
"""The price of what reads no protected table, and where sums start."""

UNKNOWN_RHO = RhoPrice(rho_steps=MOST_RHO_STEPS, delta_steps=0)
"""What was charged before rho was counted: it fits in no budget that counts rho."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RhoLimit:
    """What the runs of one window may cost together where rho is counted; each part is compared by itself.

    Attributes:
        rho_steps: largest sum of rho, in steps of 1e-12, rounded down; below `MOST_RHO_STEPS`.
        delta_steps: largest sum of the delta beside it, in steps of 1e-12.
    """

    rho_steps: int
    delta_steps: int

    def holds(self, spent: RhoPrice) -> bool:
        """Return whether a sum is within both parts."""
        return spent.rho_steps <= self.rho_steps and spent.delta_steps <= self.delta_steps


def rho_price(noises: Iterable[tuple[Noise, int]], *, selection_deltas: Iterable[Fraction] = ()) -> RhoPrice:
    """Return what a run costs, from the noise that it will get.

    Args:
        noises: of each measured column, with its sensitivity in the same steps: the L1 norm of what one entity can
            move under Laplace noise, the square of the L2 norm under Gaussian noise; rounded up, >= 1. Of columns that
            are drawn together one for all, with the sensitivity of `calibration.cube_noise`.
        selection_deltas: of each selection of private groups.

    Returns:
        The price, rounded up; from `MOST_RHO_STEPS` on, that.

    Source:
        Discrete Laplace noise of scale s is (L1 / s)-DP (`calibration.laplace_noise`), and so (L1 / s)^2 / 2-zCDP, and
        so is the noise of vectors with its own norm (`calibration.cube_noise`);
        discrete Gaussian noise is L2^2 / (2 sigma^2)-zCDP (`calibration.gaussian_noise`). Columns compose.
    """
    rho = sum((_rho_of(noise, sensitivity) for noise, sensitivity in noises), Fraction(0))
    delta = sum(selection_deltas, Fraction(0))
    return RhoPrice(
        rho_steps=min(math.ceil(rho * RHO_STEPS), MOST_RHO_STEPS), delta_steps=math.ceil(delta * DELTA_STEPS)
    )


def _rho_of(noise: Noise, sensitivity: int) -> Fraction:
    if isinstance(noise, DiscreteGaussian):
        return Fraction(sensitivity) / (2 * noise.sigma_squared)
    return (Fraction(sensitivity) / noise.scale) ** 2 / 2


@functools.lru_cache(maxsize=256)
def rho_limit(*, epsilon: int, delta: Fraction) -> RhoLimit:
    """Return what a window may spend so that all its runs together are (epsilon, delta + d)-DP.

    d is what selections of private groups have spent, at most the rest of the delta of a window.

    Args:
        epsilon: of the window; a whole number >= 0. 0 holds no run.
        delta: for the conversion, spent once; 0 < delta <= 1e-3, the delta of a window.

    Raises:
        ValueError: out of range. That is our bug: settings are checked where they come in.
    """
    rest = WINDOW_DELTA_STEPS - math.ceil(delta * DELTA_STEPS)
    if not (epsilon >= 0 and delta > 0 and rest >= 0):
        raise ValueError("epsilon is a whole number from 0, and delta is in (0, 0.001]")
    if epsilon == 0:
        return RhoLimit(rho_steps=0, delta_steps=0)
    rho = gaussian_rho(epsilon=Fraction(epsilon), delta=delta)
    return RhoLimit(rho_steps=min(math.floor(rho * RHO_STEPS), MOST_RHO_STEPS - 1), delta_steps=rest)
