"""At the default delta, a group of one entity alone appears at most 8 times in a million runs.

Through the real samplers and thresholds, with fixed bits. With fresh bits the number of runs in which it appears has at
most the distribution of 10^6 chances of 10^-6: above 8 with a chance of 1.1e-6 (Poisson), for each of the four cases.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import poisson

from cleanroom.privacy.calibration import gaussian_noise, gaussian_rho, laplace_noise
from cleanroom.privacy.mechanisms import add_noise, select_groups
from cleanroom.privacy.partition_selection import own_weight, threshold
from tests.seeded_entropy import SeededEntropy

DELTA = Fraction(1, 10**6)
RUNS, MOST, UNIT = 10**6, 8, 1024


def noise_of(family, *, k):
    if family == "Laplace":
        return laplace_noise(l1_sensitivity=k * UNIT, epsilon=Fraction(1))
    return gaussian_noise(l2_squared=k * UNIT**2, rho=gaussian_rho(epsilon=Fraction(1), delta=DELTA))


def runs_that_show(family, *, k, delta=DELTA):
    """Count the runs in which any of an entity's k groups, in which it is alone, appears."""
    noise = noise_of(family, k=k)
    tau = threshold(noise=noise, unit=UNIT, delta=delta, max_groups=k, hard_limit=4 * k)
    exact = np.full((RUNS, k), own_weight(noise=noise, unit=UNIT, max_groups=k, groups=k), dtype=np.int64)
    noisy = add_noise(exact, noise=noise, entropy=SeededEntropy(f"a million of {family} {k}"))
    return int(select_groups(noisy, tau=tau).any(axis=1).sum())


@pytest.mark.parametrize(("family", "k"), [("Laplace", 1), ("Laplace", 3), ("Gaussian", 1), ("Gaussian", 2)])
def test_a_lone_group_appears_at_most_eight_times_in_a_million_runs(family, k):
    assert runs_that_show(family, k=k) <= MOST


def test_a_threshold_for_a_hundred_times_the_delta_would_be_noticed():
    assert runs_that_show("Laplace", k=1, delta=100 * DELTA) > MOST


def test_the_false_alarm_rate_is_what_is_stated():
    assert poisson.sf(MOST, RUNS * float(DELTA)) == pytest.approx(1.1e-6, rel=0.05)
