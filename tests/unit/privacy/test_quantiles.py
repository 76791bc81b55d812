"""Quantiles from noisy counts per bin: the closed form of their error, and how often their intervals hold the truth."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from cleanroom.privacy.bins import Bins, End, rank_deviation, tree_shape
from cleanroom.privacy.mechanisms import add_noise
from cleanroom.privacy.noise import DiscreteGaussian, DiscreteLaplace, Noise
from cleanroom.privacy.quantiles import LEVELS, MIDDLE, _variance, cumulative, curves, drawn, nodes_of
from tests.seeded_entropy import SeededEntropy


def bins(number: int, *, step: int = 0) -> Bins:
    upper, below = tree_shape(number)
    return Bins(lo=Fraction(0), width=Fraction(1), number=number, step=step, upper=upper, below=below)


def test_a_tree_covers_its_bins_with_about_its_square_root_of_nodes():
    for number in range(1, 1100):
        upper, below = tree_shape(number)
        assert max(upper, 1) * below >= number
        assert upper + max(upper, 1) * below <= number + 2 * number**0.5 + 2
    assert tree_shape(1024) == (32, 32)
    assert tree_shape(48) == (0, 48)


def test_nodes_add_up_their_bins():
    cells = np.arange(2 * 60, dtype=np.int64).reshape(2, 60)
    tree = bins(60)
    nodes = nodes_of(cells, tree)
    assert nodes.shape == (2, tree.nodes)
    assert nodes[:, : tree.upper].sum(axis=1).tolist() == cells.sum(axis=1).tolist()
    assert nodes[1, 0] == cells[1, : tree.below].sum()


@pytest.mark.parametrize("number", [5, 30, 60, 130])
def test_estimates_and_their_variance_are_those_of_least_squares(number: int):
    """The same by solving the normal equations of all nodes."""
    tree = bins(number)
    leaves = max(tree.upper, 1) * tree.below
    design = np.eye(leaves)
    if tree.upper:
        design = np.vstack([np.kron(np.eye(tree.upper), np.ones(tree.below)), design])
    noisy = np.random.default_rng(3).integers(-50, 200, size=(1, len(design)))
    solved = np.linalg.lstsq(design, noisy[0].astype(float), rcond=None)[0]
    below, total = cumulative(noisy, tree)
    assert below[0] == pytest.approx(np.concatenate([[0], np.cumsum(solved)[:-1]]), abs=1e-6)
    assert total[0] == pytest.approx(solved.sum())
    covariance = np.linalg.inv(design.T @ design)
    edges = np.arange(1, number)
    for fraction in (0.0, 0.3, 0.5, 1.0):
        weights = np.tril(np.ones((leaves, leaves)), -1)[edges] - fraction
        expected = np.einsum("ij,jk,ik->i", weights, covariance, weights)
        assert _variance(tree, edges, fraction) == pytest.approx(expected)
    assert rank_deviation(tree, deviation=2.0) >= 2 * _variance(tree, edges, 0.5).max() ** 0.5 - 1e-9


def test_a_curve_rises_and_stays_in_the_range():
    tree = bins(200)
    noisy = np.random.default_rng(5).integers(-300, 400, size=(50, tree.nodes))
    curve = curves(noisy, bins=tree, deviation=200.0, fraction=0.4, end="inside")
    known = curve[~np.isnan(curve[:, 0])]
    assert 0 < len(known) < 50
    assert (np.diff(known, axis=1) >= 0).all()
    assert known.min() >= 0
    assert known.max() <= 200


def test_draws_from_a_curve_follow_it():
    curve = np.linspace(0, 32, 33)[None, :]
    assert drawn(curve, np.array([[LEVELS[3]], [0.0], [9.0], [-9.0]]))[:, 0] == pytest.approx([3, 16, 32, 0])


WORLDS = 200
NOISES = {
    "Laplace": DiscreteLaplace(scale=Fraction(14 * 1024)),
    "Gaussian": DiscreteGaussian(sigma_squared=Fraction((20 * 1024) ** 2)),
}
"""Of one node; 4,000 rows in 1,024 bins. Intervals are then 10 to 100 bins wide."""


def covered(noise: Noise, *, fraction: float, end: End, shape: str, of_noise: float = 1.0) -> float:
    """Return how often an interval holds the true quantile: four sets of rows, noise of its own in each world.

    Args:
        of_noise: share of the true deviation that the intervals are made for.
    """
    tree, held = bins(1024), []
    for seed in range(4):
        rows = np.random.default_rng(seed)
        values = {
            "even": rows.uniform(0, 1024, 4000),
            "bell": rows.normal(512, 114, 4000),
            "skew": rows.exponential(128, 4000),
        }[shape]
        values = np.clip(values, 0, 1023)
        if end != "inside":
            values = values * 0.6 + 200
        exact = np.bincount(values.astype(np.int64), minlength=1024)[None, :] * 1024
        nodes = np.repeat(nodes_of(exact, tree), WORLDS, axis=0)
        noisy = add_noise(nodes, noise=noise, entropy=SeededEntropy(f"{seed} {fraction} {end} {shape}"))
        deviation = noise.standard_deviation * of_noise
        curve = curves(noisy, bins=tree, deviation=deviation, fraction=fraction, end=end)
        low, high = curve[:, MIDDLE - 8], curve[:, MIDDLE + 8]
        truth = {"inside": np.quantile(values, fraction), "smallest": values.min(), "largest": values.max()}[end]
        held.append(((low <= truth) & (truth <= high)).mean())
    return float(np.mean(held))


def test_intervals_hold_the_true_quantile_in_93_to_98_of_100_worlds_and_in_95_to_97_on_average():
    """800 worlds each: the standard error of a share is 0.8 points. Near the ends of a range they are too wide."""
    shares = [
        covered(NOISES[mechanism], fraction=fraction, end="inside", shape=shape)
        for mechanism, fractions in (("Laplace", (0.5,)), ("Gaussian", (0.1, 0.5, 0.9)))
        for shape in ("even", "bell", "skew")
        for fraction in fractions
    ]
    assert min(shares) >= 0.93
    assert max(shares) <= 0.99
    assert 0.945 <= np.mean(shares) <= 0.97


@pytest.mark.parametrize("mechanism", NOISES)
@pytest.mark.parametrize("end", ["smallest", "largest"])
def test_the_true_end_is_outside_the_released_one_in_93_of_100_worlds(mechanism: str, end: End):
    assert 0.93 <= covered(NOISES[mechanism], fraction=0.0, end=end, shape="even") <= 0.99


def test_intervals_for_0_7_of_the_noise_are_noticed():
    assert covered(NOISES["Gaussian"], fraction=0.5, end="inside", shape="skew", of_noise=0.7) < 0.9
