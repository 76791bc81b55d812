"""Totals and parts by weighted least squares, against the textbook solution with matrices."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from cleanroom.privacy.consistency import components, precisions, variances_left

CASES = {
    "rollup": ([(0, 1), (0,), ()], (3, 4)),
    "cube": ([(0, 1), (0,), (1,), ()], (2, 5)),
    "without the finest set": ([(0,), (1,), ()], (3, 2)),
    "three keys": ([(0, 1, 2), (2, 0), (1,), ()], (2, 3, 2)),
    "one set twice": ([(0,), (0,), ()], (4,)),
    "one value": ([(0, 1), (1,)], (1, 3)),
}


def design(sets, sizes):
    """Return the matrix of each set's marginal over the table of all keys."""
    cells = list(product(*(range(n) for n in sizes)))
    rows = [(axes, own) for axes in sets for own in product(*(range(sizes[a]) for a in axes))]
    return np.array(
        [[float(all(c[a] == o for a, o in zip(axes, own, strict=True))) for c in cells] for axes, own in rows]
    )


@pytest.mark.parametrize("name", CASES)
def test_variances_are_those_of_least_squares_with_matrices(name):
    sets, sizes = CASES[name]
    variances = [1.0 + 2 * i for i in range(len(sets))]
    a = design(sets, sizes)
    of_row = [v for axes, v in zip(sets, variances, strict=True) for _ in range(int(np.prod([sizes[x] for x in axes])))]
    covariance = a @ np.linalg.pinv(a.T @ np.diag(1 / np.array(of_row)) @ a) @ a.T
    expected, row = [], 0
    for axes in sets:
        cells = int(np.prod([sizes[x] for x in axes]))
        expected.append(covariance[row, row])
        assert np.allclose(np.diag(covariance)[row : row + cells], covariance[row, row])
        row += cells
    left = variances_left(sets=[frozenset(s) for s in sets], variances=variances, sizes=sizes)
    assert left == pytest.approx(expected, rel=1e-9)
    assert all(after <= before * (1 + 1e-12) for after, before in zip(left, variances, strict=True))


def test_a_total_of_n_parts_of_equal_noise_keeps_n_parts_of_n_plus_one_of_its_variance():
    """Worked out by hand: the sum of the parts has n times the variance, so the total weighs n and the sum 1."""
    left = variances_left(sets=[frozenset({0}), frozenset()], variances=[2.0, 2.0], sizes=[5])
    assert left == pytest.approx([2.0 * 5 / 6, 2.0 * 5 / 6])


def test_components_are_all_parts_of_the_sets_and_a_set_tells_only_its_own():
    sets = [frozenset({0, 1}), frozenset({2})]
    assert components(sets) == [frozenset(), frozenset({0}), frozenset({1}), frozenset({2}), frozenset({0, 1})]
    told = precisions(frozenset({1}), sets=sets, variances=[1.0, 1.0], sizes=[2, 3, 4])
    assert told == [2.0 * 16, 0.0]
