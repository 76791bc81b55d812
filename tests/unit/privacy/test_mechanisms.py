"""Noise goes on every value, fresh, and 64 bits never wrap."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanroom.privacy.mechanisms import LARGEST_EXACT, LARGEST_NOISY, add_noise, draw, select_groups
from cleanroom.privacy.noise import DiscreteGaussian, DiscreteLaplace
from cleanroom.privacy.simulation import simulate
from tests.seeded_entropy import SeededEntropy

NOISES = [DiscreteLaplace(scale=Fraction(2**52)), DiscreteGaussian(sigma_squared=Fraction(2**100))]
NOISES += [DiscreteLaplace(scale=Fraction(7, 3))]
exact_values = st.lists(
    st.integers(min_value=-LARGEST_EXACT, max_value=LARGEST_EXACT) | st.sampled_from([LARGEST_EXACT, -LARGEST_EXACT]),
    max_size=20,
)


@settings(deadline=None, max_examples=30)
@given(exact_values, st.sampled_from(NOISES), st.integers(min_value=0, max_value=10**6))
def test_the_result_is_the_clamped_sum_as_in_unlimited_integers(values, noise, seed):
    exact = np.array(values, dtype=np.int64)
    noisy = add_noise(exact, noise=noise, entropy=SeededEntropy(seed))
    drawn = draw(noise, size=len(values), entropy=SeededEntropy(seed))
    wanted = [max(-LARGEST_NOISY, min(LARGEST_NOISY, x + int(n))) for x, n in zip(values, drawn, strict=True)]
    assert noisy.tolist() == wanted


@pytest.mark.parametrize("value", [LARGEST_EXACT + 1, -LARGEST_EXACT - 1, -(2**63)])
def test_a_value_outside_the_grid_is_refused_without_naming_it(value):
    with pytest.raises(ValueError) as refusal:
        add_noise(np.array([0, value]), noise=NOISES[0], entropy=SeededEntropy(1))
    assert str(abs(value)) not in str(refusal.value)


def test_only_integers_get_noise():
    with pytest.raises(ValueError):
        add_noise(np.array([1.0]), noise=NOISES[0], entropy=SeededEntropy(1))


def test_each_cell_and_each_call_has_noise_of_its_own():
    entropy = SeededEntropy(2)
    exact = np.zeros((50, 4), dtype=np.int64)
    first, second = (add_noise(exact, noise=NOISES[0], entropy=entropy) for _ in range(2))
    assert first.shape == exact.shape
    assert len(set(first.ravel().tolist()) | set(second.ravel().tolist())) == 400


def test_a_group_appears_from_tau_on():
    """B-15: compared with the noisy count."""
    assert select_groups(np.array([4, 5, 6, -5]), tau=5).tolist() == [False, True, True, False]


def test_simulated_exact_values_are_the_noisy_ones_less_the_noise_that_was_drawn():
    noise, noisy = DiscreteLaplace(scale=Fraction(5)), np.array([10, -20, LARGEST_NOISY])
    rows = simulate(noisy, noise=noise, replicates=4000, entropy=SeededEntropy(3))
    drawn = draw(noise, size=12000, entropy=SeededEntropy(3)).reshape(4000, 3)
    assert rows.shape == (4000, 3)
    assert (rows[:, :2] == noisy[:2] - drawn[:, :2]).all()
    assert rows.max() == LARGEST_NOISY
    assert (rows[:, 2] <= LARGEST_NOISY).all()


@pytest.mark.parametrize("replicates", [0, -1, 1.5])
def test_replicates_are_counted_from_one(replicates):
    with pytest.raises(ValueError):
        simulate(np.array([1]), noise=NOISES[0], replicates=replicates, entropy=SeededEntropy(1))
