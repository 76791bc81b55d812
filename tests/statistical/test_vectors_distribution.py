"""The law of noise for several columns together: against the definition at small scales, and the continuous one.

Chi-square tests on fixed bits; each rejects below p = 1e-6. 0.7 and 1.3 times the scale must be rejected, and so must
coordinates that are drawn by themselves.
"""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from cleanroom.privacy.cube_sampler import discrete_cube
from cleanroom.privacy.noise import DiscreteCube
from cleanroom.privacy.samplers import discrete_laplace
from tests.seeded_entropy import SeededEntropy

REJECT_BELOW = 1e-6
DRAWS = 40_000


def drawn(scale, dimension, *, seed="1"):
    noise = DiscreteCube(scale=Fraction(scale), dimension=dimension)
    return discrete_cube(noise, size=DRAWS, entropy=SeededEntropy(f"{scale} {dimension} {seed}"))


def chi_square(observed, chances):
    """p of counts in cells, those with few expected draws taken together."""
    observed, expected = np.asarray(observed, dtype=float).ravel(), np.asarray(chances).ravel() * DRAWS
    small = expected < 20
    observed, expected = (np.append(x[~small], DRAWS - x[~small].sum()) for x in (observed, expected))
    there = expected > 1e-6
    return stats.chisquare(observed[there], expected[there]).pvalue


@pytest.mark.parametrize(("scale", "dimension"), [("1/2", 2), ("3/2", 2), ("3", 2), ("1", 3), ("2", 3)])
def test_each_vector_comes_as_often_as_the_definition_says(scale, dimension):
    """Every vector of a box is a cell of its own, so that this is the joint law and not only that of a coordinate."""
    reach = 12 if dimension == 2 else 5
    line = np.abs(np.arange(-300 // dimension**2, 300 // dimension**2 + 1))
    largest = line
    for _ in range(dimension - 1):
        largest = np.maximum(largest[..., None], line)
    mass = np.exp(-largest / float(Fraction(scale)))
    middle = slice(len(line) // 2 - reach, len(line) // 2 + reach + 1)
    chances = (mass / mass.sum())[(middle,) * dimension]

    def p_of(z):
        inside = z[:, np.abs(z).max(axis=0) <= reach] + reach
        return chi_square(np.histogramdd(inside.T, bins=[np.arange(2 * reach + 2) - 0.5] * dimension)[0], chances)

    assert p_of(drawn(scale, dimension)) > REJECT_BELOW
    for factor in ("7/10", "13/10"):
        assert p_of(drawn(Fraction(scale) * Fraction(factor), dimension)) < REJECT_BELOW


@pytest.mark.parametrize(("scale", "dimension"), [(2**12, 2), (Fraction(10**13, 3), 3), (2**12, 7), (2**49, 16)])
def test_wide_vectors_have_a_gamma_radius_and_even_directions(scale, dimension):
    """The largest size has a gamma law of shape d; which coordinate has it, its sign, and all others are even."""
    edges = stats.gamma.ppf(np.linspace(0, 1, 41), dimension)

    def p_of_radius(z):
        return chi_square(np.histogram(np.abs(z).max(axis=0) / float(scale), bins=edges)[0], np.full(40, 1 / 40))

    z = drawn(scale, dimension)
    assert p_of_radius(z) > REJECT_BELOW
    for factor in (Fraction(7, 10), Fraction(13, 10)):
        if scale * factor < 2**50:
            assert p_of_radius(drawn(scale * factor, dimension)) < REJECT_BELOW
    alone = np.array(
        [discrete_laplace(scale=Fraction(scale), size=DRAWS, entropy=SeededEntropy(i)) for i in range(dimension)]
    )
    assert p_of_radius(alone) < REJECT_BELOW
    size = np.abs(z)
    where = size.argmax(axis=0)
    signs = z[where, np.arange(DRAWS)] > 0
    assert (
        chi_square(np.bincount(2 * where + signs, minlength=2 * dimension), np.full(2 * dimension, 1 / 2 / dimension))
        > REJECT_BELOW
    )
    other = z[(where + 1) % dimension, np.arange(DRAWS)] / size.max(axis=0)
    assert chi_square(np.histogram(other, bins=np.linspace(-1, 1, 31))[0], np.full(30, 1 / 30)) > REJECT_BELOW


def test_the_low_bits_of_wide_vectors_are_even_and_independent_of_sign_and_size():
    z = drawn(Fraction(10**13, 3), 3, seed="2")
    for coordinate in z:
        assert stats.chisquare(np.bincount(coordinate % 64)).pvalue > REJECT_BELOW
        large = np.abs(coordinate) > np.median(np.abs(coordinate))
        table = np.array([np.bincount(coordinate[large] % 16), np.bincount(coordinate[~large] % 16)])
        assert stats.chi2_contingency(table).pvalue > REJECT_BELOW
    table = np.bincount((z[0] % 8) * 8 + z[1] % 8, minlength=64).reshape(8, 8)
    assert stats.chi2_contingency(table).pvalue > REJECT_BELOW
