"""How many equal Gaussian runs a window holds by each way of counting: for docs/privacy.md and its tests."""

import functools
import math
from dataclasses import dataclass
from fractions import Fraction

from dp_accounting.pld import privacy_loss_distribution

from cleanroom.privacy.accounting import MICRO, WINDOW_DELTA_STEPS, price_of
from cleanroom.privacy.calibration import gaussian_noise, gaussian_rho
from cleanroom.privacy.rho import rho_limit, rho_price

DELTA = Fraction(1, 10**6)
"""The default `delta` of a settings record: of each run where epsilon counts, of the whole window where rho does."""

CASES = ((10, Fraction(1, 10)), (10, Fraction(1)), (3, Fraction(1, 10)), (1, Fraction(1, 100)))
"""(privacy_budget, epsilon of a run)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """How many runs a window holds: adding epsilon and delta, adding rho, and by the exact privacy loss of all.

    Attributes:
        epsilon_of_1000: epsilon that 1,000 such runs together need at `DELTA`, by the exact privacy loss.
        budget_of_1000: least whole `privacy_budget` that holds 1,000 of them where rho counts.
    """

    by_epsilon: int
    by_rho: int
    by_oracle: int
    epsilon_of_1000: float
    budget_of_1000: int


@functools.cache
def runs_of(budget: int, epsilon: Fraction) -> Runs:
    """Count the runs of one Gaussian column each that a window holds."""
    rho = gaussian_rho(epsilon=epsilon, delta=DELTA)
    price = price_of(epsilon=epsilon, delta=DELTA)
    steps = rho_price([(gaussian_noise(l2_squared=1, rho=rho), 1)]).rho_steps
    by_rho = rho_limit(epsilon=budget, delta=DELTA).rho_steps // steps
    low, high = by_rho, 2 * by_rho + 5
    while high - low > 1:
        middle = (low + high) // 2
        if loss_of_runs(rho, middle).get_delta_for_epsilon(float(budget)) <= DELTA:
            low = middle
        else:
            high = middle
    return Runs(
        by_epsilon=min(budget * MICRO // price.micro_epsilon, WINDOW_DELTA_STEPS // price.delta_steps),
        by_rho=by_rho,
        by_oracle=low,
        epsilon_of_1000=loss_of_runs(rho, 1000).get_epsilon_for_delta(float(DELTA)),
        budget_of_1000=next(b for b in range(1, 10**4) if rho_limit(epsilon=b, delta=DELTA).rho_steps >= 1000 * steps),
    )


def loss_of_runs(rho: Fraction, count: int) -> privacy_loss_distribution.PrivacyLossDistribution:
    """Return the privacy loss of `count` Gaussian runs of that rho together, which is that of one of count times it."""
    sigma = 1 / math.sqrt(2 * float(rho) * count)
    return privacy_loss_distribution.from_gaussian_mechanism(
        standard_deviation=sigma, value_discretization_interval=1e-3
    )
