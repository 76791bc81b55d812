"""Noise of floating-point numbers gives the exact value away by its gaps; the noise that is drawn here does not.

The planted fault is Laplace noise as it is drawn from a 10-bit uniform number by -log(u), added in doubles: a small
model of what any floating-point sampler does (Mironov 2012). The audit looks only at which outputs occur. Bits are
seeded; with fresh bits a bound is above the true epsilon with a chance of 1e-6.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from cleanroom.privacy.mechanisms import add_noise
from cleanroom.privacy.noise import DiscreteGaussian, DiscreteLaplace
from tests.seeded_entropy import SeededEntropy
from tests.statistical.audit import support_epsilon_lower_bound

SAMPLES, EPSILON, SCALE = 50_000, 1.0, 64
NOISES = [DiscreteLaplace(scale=Fraction(SCALE)), DiscreteGaussian(sigma_squared=Fraction(SCALE**2))]


def floating(exact, *, seed):
    dice = np.random.default_rng(seed)
    uniform = (dice.integers(0, 2**10, SAMPLES) + 1) / 2.0**10
    return exact + dice.choice([-1.0, 1.0], SAMPLES) * (-np.log(uniform) * SCALE)


def drawn(noise, exact, *, seed):
    values = np.full(SAMPLES, exact, dtype=np.int64)
    return add_noise(values, noise=noise, entropy=SeededEntropy(f"gaps {seed}")).astype(float)


def test_floating_noise_is_caught_by_its_gaps():
    """Exact 0 and 64 are one scale apart, so epsilon would be 1."""
    assert support_epsilon_lower_bound(floating(0.0, seed=1), floating(64.0, seed=2)) > 3 * EPSILON


@pytest.mark.parametrize(("noise", "moved"), [(NOISES[0], 64), (NOISES[1], 16)])
def test_noise_on_the_grid_has_no_gaps(noise, moved):
    """A Gaussian's epsilon has no end, so it is moved by a quarter of its deviation only."""
    absent, present = drawn(noise, 0, seed=1), drawn(noise, moved, seed=2)
    assert support_epsilon_lower_bound(absent, present) <= EPSILON
