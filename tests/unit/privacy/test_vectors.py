"""Noise for several columns together: its tail, its noise, its price, and what the mechanism refuses."""

import math
from fractions import Fraction

import numpy as np
import pytest

from cleanroom.privacy.calibration import cube_noise
from cleanroom.privacy.cube_sampler import discrete_cube, uniform_below
from cleanroom.privacy.cube_tails import cube_tail
from cleanroom.privacy.error_bars import half_width
from cleanroom.privacy.mechanisms import LARGEST_NOISY, add_noise, add_vector_noise
from cleanroom.privacy.noise import DiscreteCube, DiscreteLaplace, can_be_drawn, noise_from_json
from cleanroom.privacy.rho import rho_price
from cleanroom.privacy.simulation import simulate_vectors
from cleanroom.privacy.tails import tail_distance
from tests.seeded_entropy import SeededEntropy


def cube(scale, dimension):
    return DiscreteCube(scale=Fraction(scale), dimension=dimension)


def masses(noise, *, most):
    """P(z) of every vector within -most .. most, from the definition: an array with a side for each coordinate."""
    line = np.abs(np.arange(-most, most + 1))
    largest = line
    for _ in range(noise.dimension - 1):
        largest = np.maximum(largest[..., None], line)
    mass = np.exp(-largest / float(noise.scale))
    return mass / mass.sum()


CUBES = [cube("1/2", 2), cube("1", 3), cube("10/3", 2), cube("1", 4)]


@pytest.mark.parametrize("noise", CUBES, ids=str)
def test_tail_width_and_deviation_are_those_of_the_sum_over_all_vectors(noise):
    most = 120 if noise.dimension == 2 else 40 if noise.dimension == 3 else 22
    line = masses(noise, most=most).reshape(2 * most + 1, -1).sum(axis=1)
    for distance in (1, 2, 5, 9):
        assert float(cube_tail(noise, distance=distance)) == pytest.approx(line[most + distance :].sum(), rel=2e-3)
    for chance in (Fraction(2, 5), Fraction(1, 40), Fraction(1, 1000)):
        found = tail_distance(noise, chance=chance)
        assert line[most + found :].sum() <= chance
        assert found == 1 or line[most + found - 1 :].sum() > chance
    assert noise.standard_deviation == pytest.approx(
        math.sqrt((line * np.arange(-most, most + 1) ** 2).sum()), rel=5e-3
    )


def test_two_columns_have_the_noise_of_the_sum_and_difference_of_two_laplace_draws():
    """(A + B) / 2 and (A - B) / 2 of two of twice the scale, which is the same law: P(|A + B| > w) = (1 + w/2) e^-w."""
    scale = 10**9
    width = half_width(cube(scale, 2), confidence=Fraction(95, 100)) / scale
    assert (1 + width / 2) * math.exp(-width) == pytest.approx(0.05, rel=1e-6)
    assert cube(scale, 2).standard_deviation == pytest.approx(2 * scale)


@pytest.mark.parametrize("dimension", range(2, 17))
def test_a_vector_of_d_columns_has_a_variance_of_d_plus_1_times_d_plus_2_by_3(dimension):
    """Beside d columns by themselves, each at a d-th of epsilon, which have 2 d^2."""
    deviation = cube(1 << 30, dimension).standard_deviation / (1 << 30)
    assert deviation**2 == pytest.approx((dimension + 1) * (dimension + 2) / 3)
    assert deviation**2 <= dimension**2
    assert cube(15, dimension).standard_deviation / 15 == pytest.approx(deviation, rel=0.01)


def test_the_scale_is_sensitivity_over_the_whole_epsilon_and_rho_is_spent_once():
    noise = cube_noise(sensitivity=12, epsilon=Fraction(3, 2), dimension=3)
    assert noise == cube(8, 3)
    assert rho_price([(noise, 12)]) == rho_price([(DiscreteLaplace(scale=Fraction(8)), 12)])
    for wrong in ({"sensitivity": 0}, {"epsilon": Fraction(0)}, {"dimension": 1}, {"dimension": 17}):
        with pytest.raises(ValueError, match=r"must|integer|columns"):
            cube_noise(**{"sensitivity": 12, "epsilon": Fraction(1), "dimension": 2, **wrong})


def test_no_output_is_more_than_e_to_epsilon_times_as_likely_for_a_neighbour():
    """By the definition, over all outputs in reach, for every move of largest coordinate 2 or less in each group."""
    noise = cube_noise(sensitivity=2, epsilon=Fraction(1, 2), dimension=2)
    mass = masses(noise, most=30)
    for move in [(2, 2), (2, -2), (0, 2), (-1, 2), (2, 0)]:
        moved = np.roll(mass, move, axis=(0, 1))[3:-3, 3:-3]
        ratio = np.abs(np.log(moved / mass[3:-3, 3:-3]))
        assert ratio.max() == pytest.approx(0.5)
    beyond = np.roll(mass, (3, 0), axis=(0, 1))[4:-4, 4:-4] / mass[4:-4, 4:-4]
    assert np.log(beyond).max() > 0.7


def test_exact_parameters_survive_json_and_nothing_else_is_read():
    noise = cube("12345678901234567890/7", 5)
    assert noise_from_json(noise.as_json()) == noise
    for wrong in ({"dimension": "1"}, {"dimension": "2.0"}, {"dimension": 2}, {"scale": "0"}, {"more": "1"}):
        with pytest.raises(ValueError, match=r"noise|dimension|columns|positive"):
            noise_from_json({**noise.as_json(), **wrong})


def test_what_would_be_rejected_for_long_or_leave_64_bits_is_not_drawn_together():
    assert [can_be_drawn(cube(scale, 4)) for scale in (1000, 1 << 10, 1 << 49, 1 << 50)] == [False, True, True, False]
    with pytest.raises(ValueError, match="below 2\\^50"):
        discrete_cube(cube(1 << 50, 2), size=1, entropy=SeededEntropy("wide"))


def test_one_column_of_a_vector_gets_no_noise_without_the_others():
    entropy = SeededEntropy("alone")
    with pytest.raises(ValueError, match="without the others"):
        add_noise(np.zeros(3, dtype=np.int64), noise=cube(100, 2), entropy=entropy)
    for shape in ((3, 5), (1, 5), (2,)):
        with pytest.raises(ValueError, match="another number of columns"):
            add_vector_noise(np.zeros(shape, dtype=np.int64), noise=cube(100, 2), entropy=entropy)
    with pytest.raises(ValueError, match="outside the grid"):
        add_vector_noise(np.full((2, 1), (1 << 62) + 1), noise=cube(100, 2), entropy=entropy)


def test_noisy_vectors_are_clamped_sums_and_replicates_have_the_same_joint_law():
    exact = np.array([[0] * 20_000, [1 << 62] * 20_000], dtype=np.int64)
    noise = cube(1 << 20, 2)
    noisy = add_vector_noise(exact, noise=noise, entropy=SeededEntropy("sum"))
    assert noisy[1].max() == LARGEST_NOISY
    assert noisy[1].min() < LARGEST_NOISY
    assert noisy[0].std() == pytest.approx(noise.standard_deviation, rel=0.03)
    replicates = simulate_vectors(
        np.zeros((2, 3), dtype=np.int64), noise=noise, replicates=20_000, entropy=SeededEntropy("r")
    )
    assert replicates.shape == (2, 20_000, 3)
    largest = np.abs(replicates).max(axis=0) / float(noise.scale)
    assert largest.mean() == pytest.approx(2, rel=0.02)  # of a gamma law of shape 2; by themselves it would be 2.6
    assert abs(np.corrcoef(replicates[0, :, 0], replicates[0, :, 1])[0, 1]) < 0.03  # groups have draws of their own


@pytest.mark.parametrize("limit", [1, 3, 6, (1 << 40) + 1, (1 << 63) + 5])
def test_integers_below_a_limit_are_even(limit):
    drawn = uniform_below(np.full(60_000, limit, dtype=np.uint64), SeededEntropy(f"below {limit}"))
    assert int(drawn.max()) < limit
    cells = [int(d) * 6 // limit for d in drawn]
    counts = np.bincount(cells, minlength=6)[: min(limit, 6)] if limit != 3 else np.bincount(cells)[[0, 2, 4]]
    assert (np.abs(counts - 60_000 / len(counts)) < 6 * math.sqrt(60_000 / len(counts))).all()
