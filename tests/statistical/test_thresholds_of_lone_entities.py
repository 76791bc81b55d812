"""A lone entity's groups appear as rarely as promised, hardly more rarely, and a mistake is noticed.

Fixed bits, so that nothing flakes; the margins are five standard errors, a false alarm of 3e-7 each with fresh bits.
"""

import math
from fractions import Fraction

import numpy as np
import pytest

from cleanroom.privacy.mechanisms import add_noise, select_groups
from cleanroom.privacy.noise import DiscreteGaussian, DiscreteLaplace
from cleanroom.privacy.partition_selection import threshold
from tests.seeded_entropy import SeededEntropy

DELTA = Fraction(1, 100)
MAX_GROUPS, UNIT, RUNS = 3, 64, 30_000
NOISES = {
    "laplace": DiscreteLaplace(scale=Fraction(MAX_GROUPS * UNIT)),  # epsilon 1
    "gaussian": DiscreteGaussian(sigma_squared=Fraction(MAX_GROUPS * UNIT**2)),  # rho 1/2
}
MARGIN = 5 * math.sqrt(float(DELTA) / RUNS)


def tau_of(noise, *, delta=DELTA, hard_limit=4 * MAX_GROUPS):
    return threshold(noise=noise, unit=UNIT, delta=delta, max_groups=MAX_GROUPS, hard_limit=hard_limit)


def share_of_runs_that_show(noise, *, tau, groups):
    """How often any group of an entity that is alone in all its groups appears, through the real mechanism."""
    root = 1 if isinstance(noise, DiscreteLaplace) else 2
    weight = int(UNIT * min(1, (MAX_GROUPS / groups) ** (1 / root)))
    exact = np.full((RUNS, groups), weight)
    noisy = add_noise(exact, noise=noise, entropy=SeededEntropy(f"{noise} {groups}"))
    return select_groups(noisy, tau=tau).any(axis=1).mean()


@pytest.mark.parametrize("family", NOISES)
def test_a_lone_entity_shows_in_at_most_delta_of_the_runs_and_in_nearly_as_many_at_worst(family):
    noise = NOISES[family]
    shares = [share_of_runs_that_show(noise, tau=tau_of(noise), groups=t) for t in (1, 2, 3, 4, 6, 9, 12)]
    assert max(shares) <= DELTA + MARGIN
    assert max(shares) >= 0.8 * DELTA


@pytest.mark.parametrize("family", NOISES)
def test_a_threshold_for_twice_the_delta_would_be_noticed(family):
    noise = NOISES[family]
    tau = tau_of(noise, delta=2 * DELTA)
    assert max(share_of_runs_that_show(noise, tau=tau, groups=t) for t in (3, 12)) > DELTA + MARGIN


@pytest.mark.parametrize("family", NOISES)
def test_a_missing_hard_limit_would_be_noticed(family):
    """An entity in ten times as many groups as the limit: its weight shrinks, but not fast enough."""
    noise = NOISES[family]
    assert share_of_runs_that_show(noise, tau=tau_of(noise), groups=120) > DELTA + MARGIN


@pytest.mark.parametrize("family", NOISES)
def test_a_threshold_that_forgets_the_number_of_groups_would_be_noticed(family):
    noise = NOISES[family]
    tau = threshold(noise=noise, unit=UNIT, delta=DELTA, max_groups=1, hard_limit=1)
    assert share_of_runs_that_show(noise, tau=tau, groups=MAX_GROUPS) > DELTA + MARGIN


@pytest.mark.parametrize(
    "noise", [DiscreteLaplace(scale=Fraction(UNIT)), DiscreteGaussian(sigma_squared=Fraction(UNIT**2))]
)
def test_a_threshold_that_forgets_the_entity_itself_would_be_noticed(noise):
    """One group at most: the right tau shows a lone entity in delta of the runs, one entity less in far more."""
    tau = threshold(noise=noise, unit=UNIT, delta=DELTA, max_groups=1, hard_limit=1)
    assert share_of_runs_that_show(noise, tau=tau, groups=1) <= DELTA + MARGIN
    assert share_of_runs_that_show(noise, tau=tau - UNIT, groups=1) > DELTA + MARGIN
