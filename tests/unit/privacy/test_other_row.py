"""Sums of hidden groups are exact and clamped, and their noise is that of the proof."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanroom.privacy.calibration import other_noise
from cleanroom.privacy.noise import DiscreteGaussian, DiscreteLaplace
from cleanroom.privacy.other_row import exact_rest

LIMIT = 2**62
INTEGERS = st.integers(-LIMIT, LIMIT)


@given(st.lists(st.tuples(INTEGERS, INTEGERS), max_size=40), st.sampled_from([LIMIT, 2**50, 3]))
def test_sums_are_those_of_unlimited_integers_clamped(rows, limit):
    exact = np.array(rows, dtype=np.int64).reshape(-1, 2)
    expected = [min(max(sum(column), -limit), limit) for column in zip(*rows, strict=True)] or [0, 0]
    found = exact_rest(exact, limit=limit)
    assert found.dtype == np.int64
    assert found.tolist() == expected


@given(st.lists(INTEGERS, min_size=1, max_size=20), st.data())
def test_one_entity_moves_a_sum_by_no_more_than_it_moves_its_groups(values, data):
    """Also where sums are clamped, which is what a clamp of each group, added up, would not do."""
    moves = data.draw(st.lists(st.integers(-100, 100), min_size=len(values), max_size=len(values)))
    exact = np.array(values, dtype=np.int64)
    neighbour = np.clip(exact + np.array(moves), -LIMIT, LIMIT)
    one, other = (int(exact_rest(v[:, None], limit=LIMIT)[0]) for v in (exact, neighbour))
    assert abs(one - other) <= sum(map(abs, moves))


def test_nothing_but_64_bit_integers_is_added_up():
    with pytest.raises(ValueError, match="64-bit integers"):
        exact_rest(np.array([[1.5]]), limit=LIMIT)


def test_laplace_noise_is_that_of_the_groups_and_gaussian_noise_has_as_many_times_the_variance_as_there_are_groups():
    laplace, gaussian = DiscreteLaplace(scale=Fraction(7, 3)), DiscreteGaussian(sigma_squared=Fraction(5, 2))
    assert other_noise(laplace, most_groups=12) == laplace
    assert other_noise(gaussian, most_groups=12) == DiscreteGaussian(sigma_squared=Fraction(30))
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(ValueError, match="at least 1"):
            other_noise(gaussian, most_groups=wrong)
