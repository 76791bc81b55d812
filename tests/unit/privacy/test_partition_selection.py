"""tau holds for every number of groups of one lone entity, and is not higher than need be."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanroom.privacy.noise import DiscreteGaussian, DiscreteLaplace
from cleanroom.privacy.partition_selection import own_weight, threshold

DELTA = Fraction(1, 10**6)


def chance_to_appear(noise, *, tau, unit, max_groups, groups):
    """Chance that any of a lone entity's groups appears, in floats and by plain sums: 1 - (1 - p)^groups."""
    root = 1 if isinstance(noise, DiscreteLaplace) else 2
    weight = unit * min(1, (max_groups / groups) ** (1 / root))
    distance = tau - math.floor(weight)  # the exact query rounds toward zero
    x = np.arange(distance + 50 * math.ceil(noise.standard_deviation + 1), dtype=float)
    if isinstance(noise, DiscreteLaplace):
        mass = np.exp(-x / float(noise.scale))
    else:
        mass = np.exp(-x * x / 2 / float(noise.sigma_squared))
    alone = mass[distance:].sum() / (2 * mass.sum() - mass[0])
    return -math.expm1(groups * math.log1p(-alone))


@pytest.mark.parametrize("unit", [1, 16])
@pytest.mark.parametrize(("max_groups", "hard_limit"), [(1, 4), (3, 12), (10, 40), (10, 10), (40, 160)])
@pytest.mark.parametrize("family", ["laplace", "gaussian"])
def test_delta_holds_for_every_number_of_groups_and_one_unit_less_would_break_it(unit, max_groups, hard_limit, family):
    """A private key appears because of one entity with a chance of at most delta (privacy.md, section 5)."""
    if family == "laplace":
        noise = DiscreteLaplace(scale=Fraction(unit * max_groups * 2))
    else:
        noise = DiscreteGaussian(sigma_squared=Fraction(unit**2 * max_groups * 9, 2))
    limits = {"unit": unit, "max_groups": max_groups}
    tau = threshold(noise=noise, delta=DELTA, hard_limit=hard_limit, **limits)
    every = range(1, hard_limit + 1)
    assert max(chance_to_appear(noise, tau=tau, groups=t, **limits) for t in every) <= DELTA
    # Rounding of the weight may cost one unit, the bound on a wide Gaussian's tail another.
    assert max(chance_to_appear(noise, tau=tau - 3, groups=t, **limits) for t in every) > DELTA


def test_one_entity_and_one_group_is_the_published_laplace_formula():
    """1 + ln(1 / (2 delta)) / epsilon in the limit of a fine grid: Google's Lemma for one partition."""
    unit = 2**30
    tau = threshold(
        noise=DiscreteLaplace(scale=Fraction(unit) / Fraction(1, 2)), unit=unit, delta=DELTA, max_groups=1, hard_limit=1
    )
    assert tau / unit == pytest.approx(1 + math.log(1 / (2 * float(DELTA))) / 0.5, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(min_value=1, max_value=2**20),
    st.integers(min_value=1, max_value=300),
    st.booleans(),
    st.fractions(min_value=Fraction(1, 10**9), max_value=Fraction(1, 10)),
)
def test_less_delta_more_groups_or_a_policy_only_raise_tau(unit, max_groups, laplace, delta):
    noise = (
        DiscreteLaplace(scale=Fraction(3 * unit * max_groups))
        if laplace
        else DiscreteGaussian(sigma_squared=Fraction(3 * unit * unit * max_groups))
    )
    asked = {"noise": noise, "unit": unit, "max_groups": max_groups}
    tau = threshold(delta=delta, hard_limit=4 * max_groups, **asked)
    assert tau > unit
    assert threshold(delta=delta / 2, hard_limit=4 * max_groups, **asked) >= tau
    assert threshold(delta=delta, hard_limit=max_groups, **asked) <= tau
    assert threshold(delta=delta, hard_limit=4 * max_groups, at_least=10**9, **asked) == 10**9 * unit
    assert threshold(delta=delta, hard_limit=4 * max_groups, at_least=1, **asked) == tau


@settings(deadline=None)
@given(
    st.integers(min_value=1, max_value=2**40),
    st.integers(min_value=1, max_value=50),
    st.integers(min_value=1, max_value=200),
)
def test_the_weight_is_the_smallest_integer_that_is_not_below_the_formula(unit, max_groups, groups):
    laplace, gaussian = DiscreteLaplace(scale=Fraction(1)), DiscreteGaussian(sigma_squared=Fraction(1))
    weight = own_weight(noise=laplace, unit=unit, max_groups=max_groups, groups=groups)
    share = min(Fraction(1), Fraction(max_groups, groups))
    assert weight - 1 < unit * share <= weight
    weight = own_weight(noise=gaussian, unit=unit, max_groups=max_groups, groups=groups)
    assert (weight - 1) ** 2 < unit**2 * share <= weight**2


@pytest.mark.parametrize(
    "wrong",
    [
        {"unit": 0},
        {"max_groups": 0},
        {"hard_limit": 0},
        {"at_least": -1},
        {"delta": Fraction(0)},
        {"delta": Fraction(1, 2)},
        {"delta": float("nan")},
        {"unit": 1.0},
    ],
)
def test_what_is_out_of_range_is_refused(wrong):
    right = {"unit": 1, "delta": DELTA, "max_groups": 1, "hard_limit": 4, "at_least": 0}
    with pytest.raises(ValueError):
        threshold(noise=DiscreteLaplace(scale=Fraction(1)), **(right | wrong))
