"""Least squares for totals and parts that were measured each with noise of its own: weights, and what noise remains.

Over a full product of public keys the problem falls apart. Let z be the table of all keys, and m_S the *average* over
the keys that set S has not: the marginal of S divided by the number of cells that each of its cells stands for. Every
table is a sum of components f_T, one for each set of keys T, which depend on the keys in T alone and sum to zero along
each of them; m_S is the sum of f_T over T within S. The components are orthogonal. So what S says of f_T is its
average over the keys that T has not, made to sum to zero along each key of T, with a variance per cell of
    v_S / (number of cells of S for one of T),    v_S being the variance of a cell of m_S,
and what different sets say of f_T is independent. The best linear unbiased estimate (Gauss-Markov) therefore weighs
them by the inverse of that variance, component by component, and no linear system is solved. For a tree of totals this
is the estimate of Hay, Rastogi, Miklau, Suciu, "Boosting the Accuracy of Differentially Private Histograms Through
Consistency", 2010, section 4, with unequal variances.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations
from math import prod

Keys = frozenset[int]


def components(sets: Sequence[Keys]) -> list[Keys]:
    """Return all sets of keys that are within one of the sets, smaller ones first."""
    found = {part for keys in sets for part in _subsets(keys)}
    return sorted(found, key=lambda keys: (len(keys), sorted(keys)))


def _subsets(keys: Keys) -> Iterator[Keys]:
    return map(frozenset, chain.from_iterable(combinations(sorted(keys), n) for n in range(len(keys) + 1)))


def precisions(
    component: Keys, *, sets: Sequence[Keys], variances: Sequence[float], sizes: Sequence[int]
) -> list[float]:
    """Return for each set the inverse of the variance with which it tells the component; 0 where it does not.

    Args:
        component: T.
        sets: S, one for each measurement.
        variances: of a cell of each measurement, as measured; > 0.
        sizes: number of values of each key.
    """
    found = []
    for keys, variance in zip(sets, variances, strict=True):
        stands_for = prod(float(size) for key, size in enumerate(sizes) if key not in keys)
        told = prod(float(sizes[key]) for key in keys - component)
        found.append(told * stands_for * stands_for / variance if component <= keys else 0.0)
    return found


def variances_left(*, sets: Sequence[Keys], variances: Sequence[float], sizes: Sequence[int]) -> list[float]:
    """Return the variance of a cell of each set after it was made to agree with all others; never more than before.

    Args:
        sets, variances, sizes: as in `precisions`.
    """
    told = {t: sum(precisions(t, sets=sets, variances=variances, sizes=sizes)) for t in components(sets)}
    left = []
    for keys in sets:
        stands_for = prod(float(size) for key, size in enumerate(sizes) if key not in keys)
        parts = (prod(1 - 1 / sizes[key] for key in t) / told[t] for t in _subsets(keys))
        left.append(stands_for * stands_for * sum(parts))
    return left
