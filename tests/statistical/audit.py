"""A black-box audit: how much privacy a release certainly lost, judged from its outputs on two neighbouring databases.

It knows nothing of mechanisms, plans or noise: two samples go in, a lower bound on epsilon comes out. The first half of
each sample proposes one event, the second half, untouched until then, counts it; so the bound holds whatever was
proposed (Jagielski, Ullman, Oprea, "Auditing Differentially Private Machine Learning", 2020, section 3).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import beta, norm

Floats = NDArray[np.float64]
Score = Callable[[Floats], Floats]

FALSE_ALARM = 1e-6
"""Chance that a bound is above the true epsilon, for each audit, with fresh bits."""

_CUTS = 200


def epsilon_lower_bound(absent: Floats, present: Floats, *, delta: float = 0.0) -> float:
    """Return an epsilon that the mechanism certainly exceeds or meets, but for a chance of `FALSE_ALARM`.

    An event E with P(E | one) > e^epsilon P(E | other) + delta disproves (epsilon, delta); both chances are bounded
    by Clopper and Pearson (1934), each with half of the false alarm.

    Args:
        absent: outputs without the entity; shape (samples, numbers), independent rows.
        present: outputs with it.
        delta: of the promise.

    Returns:
        The bound; 0 where nothing was disproved.
    """
    halves = [(sample[: len(sample) // 2], sample[len(sample) // 2 :]) for sample in (absent, present)]
    (absent_train, absent_test), (present_train, present_test) = halves
    best, chosen = -math.inf, None
    for event in _events(absent_train, present_train):
        for swapped in (False, True):
            more, fewer = (absent_train, present_train) if swapped else (present_train, absent_train)
            bounds = _bounds(event(more), event(fewer), delta=delta)
            place = int(np.argmax(bounds))
            if bounds[place] > best:
                best, chosen = bounds[place], (event, swapped, place)
    assert chosen is not None
    event, swapped, place = chosen
    more, fewer = (absent_test, present_test) if swapped else (present_test, absent_test)
    return max(0.0, float(_bounds(event(more), event(fewer), delta=delta)[place]))


def gaussian_epsilon_lower_bound(absent: Floats, present: Floats, *, delta: float) -> float:
    """Return the same for a mechanism that is Gaussian in all its numbers, with far more power.

    The event's two chances bound mu of Gaussian differential privacy, Phi^-1(p) - Phi^-1(q) <= mu, and mu gives the
    exact epsilon at delta (Dong, Roth, Su, "Gaussian Differential Privacy", 2022, Theorem 2.7 and Corollary 2.13; used
    for audits by Nasr and others, "Tight Auditing of Differentially Private Machine Learning", 2023).
    """
    half = len(absent) // 2
    direction = np.median(present[:half], axis=0) - np.median(absent[:half], axis=0)
    direction = direction / np.maximum(_spread(absent[:half]), 1e-12) ** 2
    middle = (np.median(present[:half] @ direction) + np.median(absent[:half] @ direction)) / 2
    rest = len(absent) - half
    p = _lower(np.array([np.sum(present[half:] @ direction > middle)]), rest)[0]
    q = _upper(np.array([np.sum(absent[half:] @ direction > middle)]), rest)[0]
    mu = float(norm.ppf(p) - norm.ppf(q))
    return 0.0 if mu <= 0 else epsilon_of_gaussian(mu, delta=delta)


def support_epsilon_lower_bound(absent: Floats, present: Floats, *, delta: float = 0.0) -> float:
    """Return the same from which values occur at all, as noise of floating-point numbers has gaps (Mironov 2012).

    The event is that an output is none of those that the first half of the other sample has; the first halves propose
    it, the second count it. Noise on a grid, whose values all recur, gives nothing away so.

    Args:
        absent: outputs without the entity; shape (samples,).
        present: outputs with it.
        delta: of the promise.
    """
    best = 0.0
    for one, other in ((absent, present), (present, absent)):
        half, rest = len(one) // 2, len(other) - len(other) // 2
        seen = np.unique(one[:half])
        p = np.array([np.sum(~np.isin(other[len(other) // 2 :], seen))])
        q = np.array([np.sum(~np.isin(one[half:], seen))])
        best = max(best, float(_bounds((p, rest), (q, len(one) - half), delta=delta)[0]))
    return best


def epsilon_of_gaussian(mu: float, *, delta: float) -> float:
    """Return the epsilon of mu-Gaussian differential privacy at delta (Balle, Wang, 2018, Theorem 8)."""

    def excess(epsilon: float) -> float:
        return float(
            norm.cdf(-epsilon / mu + mu / 2) - math.exp(epsilon) * norm.cdf(-epsilon / mu - mu / 2) - delta
        )  # fmt: skip

    return 0.0 if excess(0.0) <= 0 else float(brentq(excess, 0.0, 200.0))


def chance_at_least(events: int, of: int) -> float:
    """Return a lower bound on a chance, from `events` out of `of`, that fails in `FALSE_ALARM` / 2 of the cases."""
    return float(_lower(np.array([events]), of)[0])


def _events(absent: Floats, present: Floats) -> Iterator[_Event]:
    """Give scores worth trying: each number, each difference of two, and the sum of all log-likelihood ratios."""
    middles = np.median(absent, axis=0), np.median(present, axis=0)
    spread = np.maximum(_spread(absent), 1e-12)
    count = absent.shape[1]
    scores: list[Score] = [partial(_weighted, np.eye(count)[i]) for i in range(count)]
    scores += [
        partial(_weighted, np.eye(count)[i] - np.eye(count)[j]) for i, j in itertools.combinations(range(count), 2)
    ]
    scores.append(lambda x: ((np.abs(x - middles[0]) - np.abs(x - middles[1])) / spread).sum(axis=1))
    for score in scores:
        both = np.concatenate([score(absent), score(present)])
        yield _Event(score=score, cuts=np.unique(np.quantile(both, np.linspace(0.002, 0.998, _CUTS))))


def _weighted(weights: Floats, sample: Floats) -> Floats:
    scores: Floats = sample @ weights
    return scores


@dataclass(frozen=True, kw_only=True, slots=True)
class _Event:
    """A score, and the cuts through it that the first halves propose: twice as many events, below and above each."""

    score: Score
    cuts: Floats

    def __call__(self, sample: Floats) -> tuple[NDArray[np.int64], int]:
        """Return how often each event happened, and in how many samples."""
        scores = np.sort(self.score(sample))
        below = np.searchsorted(scores, self.cuts, side="right")
        return np.concatenate([below, len(scores) - below]), len(scores)


def _bounds(more: tuple[NDArray[np.int64], int], fewer: tuple[NDArray[np.int64], int], *, delta: float) -> Floats:
    p, q = _lower(*more), _upper(*fewer)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > delta, np.log(np.maximum(p - delta, 1e-300) / q), -math.inf)


def _lower(events: NDArray[np.int64], of: int) -> Floats:
    return np.where(events > 0, beta.ppf(FALSE_ALARM / 2, events, of - events + 1), 0.0)


def _upper(events: NDArray[np.int64], of: int) -> Floats:
    return np.where(events < of, beta.ppf(1 - FALSE_ALARM / 2, events + 1, of - events), 1.0)


def _spread(sample: Floats) -> Floats:
    """Return the mean absolute deviation from the median, by column: the scale of a Laplace distribution."""
    spread: Floats = np.mean(np.abs(sample - np.median(sample, axis=0)), axis=0)
    return spread
