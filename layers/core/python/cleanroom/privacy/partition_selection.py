"""Which groups may appear: the smallest noisy entity count that is safe to show. In `privacy/`, pure."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from functools import lru_cache

from cleanroom.privacy.noise import DiscreteLaplace, Noise
from cleanroom.privacy.tails import tail_distance

_MOST_STEPS = 64
"""Numbers of groups that are looked at one by one; further ones are taken together, rounded up."""


def threshold(*, noise: Noise, unit: int, delta: Fraction, max_groups: int, hard_limit: int, at_least: int = 0) -> int:
    """Return tau: a group with a private key appears only where its noisy entity count is at least tau.

    An entity that is alone in t of its groups has there the weight own(t), min(1, max_groups / t) under Laplace
    noise and min(1, sqrt(max_groups / t)) under Gaussian noise, for its whole contribution is scaled to the norm of
    max_groups groups. Whether it is alone in all t or in fewer, by the union bound the chance that any of them
    appears is at most t * P(noise >= tau - own(t)). tau is the smallest integer for which that is at most delta for
    every t up to the hard limit; it grows with t as long as own(t) falls slower than the tail distance grows, so
    all t are looked at (beyond 64, in steps, each with the weight of its first t and the tail of its last).

    What that proves. Let D' be D and one more entity, E the event that a group of that entity alone appears, P(E) <=
    delta, and let the counts of all other groups, with everything else that is released about them, be (epsilon,
    delta_noise)-DP. E depends on noise of its own. For a set S of outputs without such groups, p = P(others of D' in
    S) and q = P(D in S) satisfy q <= min(1, e^epsilon p + delta_noise), while P(D' in S) = (1 - P(E)) p. If
    e^epsilon p <= 1, then q - e^epsilon (1 - P(E)) p <= delta_noise + P(E) e^epsilon p <= delta_noise + delta;
    otherwise 1 - e^epsilon (1 - P(E)) p <= P(E) <= delta. In the other direction E costs at most P(E). So the whole
    is (epsilon, delta_noise + delta)-DP in both directions: this delta is *added* to that of the noise, without a
    factor e^epsilon, and the epsilon is that of the noise alone.

    Args:
        noise: of one noisy entity count, in grid units.
        unit: grid units in one entity; >= 1.
        delta: what the selection of one measurement may spend; 0 < delta < 1/2.
        max_groups: how many whole groups an entity may weigh; >= 1.
        hard_limit: how many groups an entity may be in at all, enforced by the exact query; >= 1. Without one there
            is no safe tau, for the chance to appear somewhere grows with the number of groups.
        at_least: entities; the aggregation policy or `threshold_value`, which raise tau and never lower it; >= 0.

    Returns:
        tau in grid units, rounded up: a higher tau only shows less.

    Raises:
        ValueError: out of range. That is our bug: settings are checked where they come in.

    Source:
        Google, "Delta Calculation for Thresholding", Lemma 1, with exact discrete tails and scaled
        weights; Wilson, Zhang, Lam, Desfontaines, Simmons-Marengo, Gipson,
        "Differentially Private SQL with Bounded User Contribution", 2020, section 3 (tau-thresholding).
    """
    for name, value, least in (
        ("unit", unit, 1),
        ("max_groups", max_groups, 1),
        ("hard_limit", hard_limit, 1),
        ("at_least", at_least, 0),
    ):
        if isinstance(value, bool) or not (isinstance(value, int) and value >= least):
            raise ValueError(f"{name} must be an integer, at least {least}")
    if not 0 < delta < Fraction(1, 2):
        raise ValueError("delta must be between 0 and 1/2")
    return max(_lowest(noise, unit, Fraction(delta), max_groups, hard_limit), at_least * unit)


@lru_cache(maxsize=256)
def _lowest(noise: Noise, unit: int, delta: Fraction, max_groups: int, hard_limit: int) -> int:
    """Return tau before it is raised. Rooms ask for the same one again and again, and it takes 30 ms to work out."""
    return max(
        own_weight(noise=noise, unit=unit, max_groups=max_groups, groups=first)
        + tail_distance(noise, chance=delta / last)
        for first, last in _steps(max_groups=max_groups, hard_limit=hard_limit)
    )


def own_weight(*, noise: Noise, unit: int, max_groups: int, groups: int) -> int:
    """Return the weight that an entity in that many groups has in each, in grid units, rounded up.

    The exact query rounds the same weight toward zero.
    """
    if groups <= max_groups:
        return unit
    if isinstance(noise, DiscreteLaplace):
        return -(-unit * max_groups // groups)
    # The smallest w with w^2 >= unit^2 * max_groups / groups; the right side rounded up first changes nothing.
    return math.isqrt(-(-unit * unit * max_groups // groups) - 1) + 1


def _steps(*, max_groups: int, hard_limit: int) -> list[tuple[int, int]]:
    """Return runs (first, last) of numbers of groups that cover 1 .. hard_limit.

    Up to max_groups the weight is one entity and the tail is worst at the end, so that is one run.
    """
    whole = min(max_groups, hard_limit)
    runs = [(1, whole)]
    rest = hard_limit - whole
    count = min(rest, _MOST_STEPS)
    ends = [whole + rest * step // count for step in range(count + 1)] if count else []
    return runs + [(before + 1, end) for before, end in itertools.pairwise(ends)]
