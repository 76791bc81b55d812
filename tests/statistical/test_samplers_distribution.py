"""The samplers' distribution: against the exact one and against OpenDP's draws, at scales narrow, fractional and huge.

Chi-square tests on fixed bits, so that our side never flakes. Each rejects below p = 1e-6: with fresh bits a right
sampler would fail any of these few dozen tests once in some 20,000 runs. 0.7 and 1.3 times the scale must be rejected.
"""

from fractions import Fraction

import numpy as np
import opendp.prelude as dp
import pytest
from scipy import stats

from cleanroom.privacy.noise import DiscreteGaussian, DiscreteLaplace
from cleanroom.privacy.samplers import discrete_gaussian, discrete_laplace
from tests.seeded_entropy import SeededEntropy

dp.enable_features("contrib")

REJECT_BELOW = 1e-6
DRAWS = 100_000
SCALES = ["2/5", "3/4", "1", "7/3", "10", "1234567/1000", "1000000", "10000000000001/3", "10000000000000"]


def draw(family, scale, *, size=DRAWS, seed=1):
    """Draws with that scale, or that sigma."""
    entropy = SeededEntropy(f"{family} {scale} {seed}")
    if family == "laplace":
        return discrete_laplace(scale=Fraction(scale), size=size, entropy=entropy)
    return discrete_gaussian(sigma_squared=Fraction(scale) ** 2, size=size, entropy=entropy)


def below(family, scale, edges):
    """P(X < edge) for each integer edge: closed forms and sums that share nothing with the sampler."""
    scale = float(Fraction(scale))
    edges = np.asarray(edges, dtype=float)
    if family == "laplace":
        ratio = np.exp(-1 / scale)
        upper = 1 - np.exp(-np.maximum(edges, 1) / scale) / (1 + ratio)
        lower = np.exp(-(1 - np.minimum(edges, 0)) / scale) / (1 + ratio)
        return np.where(edges >= 1, upper, lower)
    if scale > 50:  # the sum is that of the midpoint rule, right to many digits
        return stats.norm.cdf((edges - 0.5) / scale)
    values = np.arange(-1000, 1001)
    mass = np.exp(-(values.astype(float) ** 2) / 2 / scale**2)
    return np.array([mass[values < edge].sum() for edge in edges]) / mass.sum()


def cells(family, scale, *, count=60, least=20 / DRAWS):
    """Integer edges that split the line into about `count` cells, none with fewer than 20 expected draws."""
    scale = float(Fraction(scale))
    reach = 12 * max(scale, 1)
    edges = np.unique(np.round(np.linspace(-reach, reach, 4001) if reach < 2000 else _tail_edges(family, scale, count)))
    kept, last = [], 0.0
    for edge, chance in zip(edges, below(family, str(Fraction(scale)), edges), strict=True):
        if chance - last >= least and 1 - chance >= least:
            kept.append(edge)
            last = chance
    return np.array(kept)


def _tail_edges(family, scale, count):
    law = stats.laplace if family == "laplace" else stats.norm
    return law.ppf(np.linspace(0, 1, count + 1)[1:-1], scale=scale)


def p_value(draws, family, scale):
    edges = cells(family, scale)
    chances = np.diff(np.concatenate([[0], below(family, scale, edges), [1]]))
    counts = np.bincount(np.searchsorted(edges, draws, side="right"), minlength=len(chances))
    return stats.chisquare(counts, chances * len(draws)).pvalue


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("family", ["laplace", "gaussian"])
def test_draws_follow_the_exact_distribution_and_not_one_that_is_narrower_or_wider(family, scale):
    draws = draw(family, scale)
    assert p_value(draws, family, scale) > REJECT_BELOW
    for factor in ("7/10", "13/10"):
        assert p_value(draw(family, Fraction(scale) * Fraction(factor)), family, scale) < REJECT_BELOW


@pytest.mark.parametrize("scale", ["3/4", "7/3", "10", "1000000"])
@pytest.mark.parametrize("family", ["laplace", "gaussian"])
def test_draws_cannot_be_told_from_those_of_another_library(family, scale):
    """OpenDP draws from the operating system, so this one's p-value differs each time: a false alarm in 10^6 tests."""
    size = 20_000
    if family == "laplace":
        space = dp.vector_domain(dp.atom_domain(T=int)), dp.l1_distance(T=int)
        theirs = dp.m.make_laplace(*space, scale=float(Fraction(scale)))([0] * size)
    else:
        space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
        theirs = dp.m.make_gaussian(*space, scale=float(Fraction(scale)))([0] * size)
    edges = cells(family, scale, least=40 / size)

    def two_sample_p(ours):
        tables = [
            np.bincount(np.searchsorted(edges, x, side="right"), minlength=len(edges) + 1) for x in (ours, theirs)
        ]
        table = np.array([row for row in zip(*tables, strict=True) if sum(row)])
        return stats.chi2_contingency(table.T).pvalue

    assert two_sample_p(draw(family, scale, size=size)) > REJECT_BELOW
    for factor in ("7/10", "13/10"):
        assert two_sample_p(draw(family, Fraction(scale) * Fraction(factor), size=size)) < REJECT_BELOW


@pytest.mark.parametrize("scale", ["1000000", "10000000000001/3"])
@pytest.mark.parametrize("family", ["laplace", "gaussian"])
def test_the_low_bits_of_wide_noise_are_uniform_and_independent_of_sign_and_size(family, scale):
    """Mironov 2012: what gives secrets away is the pattern in the lowest bits."""
    draws = draw(family, scale, seed=2)
    assert stats.chisquare(np.bincount(draws % 64)).pvalue > REJECT_BELOW
    large = np.abs(draws) > np.median(np.abs(draws))
    for other in (draws > 0, large):
        table = np.array([np.bincount(draws[other] % 16), np.bincount(draws[~other] % 16)])
        assert stats.chi2_contingency(table).pvalue > REJECT_BELOW


@pytest.mark.parametrize("family", ["laplace", "gaussian"])
def test_neighbouring_draws_are_independent(family):
    draws = draw(family, "1000", seed=3)
    quarter = np.searchsorted(np.quantile(draws, [0.25, 0.5, 0.75]), draws)
    table = np.bincount(quarter[:-1] * 4 + quarter[1:], minlength=16).reshape(4, 4)
    assert stats.chi2_contingency(table).pvalue > REJECT_BELOW


@pytest.mark.parametrize("scale", ["1/100", "1/30"])
def test_very_narrow_noise_is_almost_always_zero(scale):
    """P(X != 0) of the Laplace is below 1e-12 here; of the Gaussian below 1e-190."""
    assert not draw("laplace", scale).any()
    assert not draw("gaussian", scale).any()


@pytest.mark.parametrize(
    "noise", [DiscreteLaplace(scale=Fraction(37, 3)), DiscreteGaussian(sigma_squared=Fraction(9, 2))]
)
def test_the_variance_is_the_one_that_receipts_show(noise):
    if isinstance(noise, DiscreteLaplace):
        draws = draw("laplace", noise.scale, size=400_000, seed=4)
    else:
        draws = discrete_gaussian(sigma_squared=noise.sigma_squared, size=400_000, entropy=SeededEntropy(4))
    # Five standard errors of a standard deviation: kurtosis at most 6.
    assert draws.std() == pytest.approx(noise.standard_deviation, rel=5 * (5 / 4 / 400_000) ** 0.5)
