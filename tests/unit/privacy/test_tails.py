"""Proved tails and intervals, against sums in ordinary floats and the continuous normal."""

import math
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import cleanroom
from cleanroom.privacy.directed import exp_bounds, floor_exp, log_bounds
from cleanroom.privacy.error_bars import half_width
from cleanroom.privacy.noise import DiscreteGaussian, DiscreteLaplace
from cleanroom.privacy.tails import gaussian_tail, tail_distance

CHANCES = [Fraction(2, 5), Fraction(1, 40), Fraction(1, 10**6)]


def summed_tail(noise, distance):
    """P(noise >= distance) by adding up in floats, 40 deviations out."""
    if isinstance(noise, DiscreteLaplace):
        value, mass = float(noise.scale), lambda x: math.exp(-abs(x) / value)
    else:
        value, mass = float(noise.sigma_squared), lambda x: math.exp(-x * x / 2 / value)
    far = distance + 50 * math.ceil(noise.standard_deviation + 1)
    return math.fsum(mass(x) for x in range(distance, far)) / math.fsum(mass(x) for x in range(-far, far + 1))


NOISES = [DiscreteLaplace(scale=Fraction(s)) for s in ("1/100", "1/2", "1", "10/3", "300")]
NOISES += [DiscreteGaussian(sigma_squared=Fraction(s)) for s in ("1/100", "1/2", "1", "10/3", "100")]


@pytest.mark.parametrize("noise", NOISES, ids=str)
@pytest.mark.parametrize("chance", CHANCES)
def test_the_tail_distance_is_the_smallest_by_plain_summation(noise, chance):
    distance = tail_distance(noise, chance=chance)
    assert summed_tail(noise, distance) <= chance * (1 + 1e-9)
    assert distance == 1 or summed_tail(noise, distance - 1) > chance * (1 - 1e-9)


@pytest.mark.parametrize("sigma_squared", ["101", "1000/3", "12345"])
@pytest.mark.parametrize("chance", CHANCES)
def test_above_the_summed_range_the_distance_is_safe_and_at_most_one_too_far(sigma_squared, chance):
    noise = DiscreteGaussian(sigma_squared=Fraction(sigma_squared))
    distance = tail_distance(noise, chance=chance)
    assert summed_tail(noise, distance) <= chance * (1 + 1e-9)
    assert summed_tail(noise, distance - 2) > chance


@pytest.mark.parametrize("sigma", [10**3, 10**7, 10**13])
@pytest.mark.parametrize("chance", [*CHANCES, Fraction(1, 10**12)])
def test_a_very_wide_gaussian_reaches_as_far_as_the_continuous_one(sigma, chance):
    distance = tail_distance(DiscreteGaussian(sigma_squared=Fraction(sigma**2)), chance=chance)
    assert distance == pytest.approx(sigma * stats.norm.isf(float(chance)), rel=1e-9, abs=2)


@pytest.mark.parametrize("z", ["1/2", "1", "19/10", "2", "3", "8"])
def test_the_normal_tail_bound_is_above_the_truth_by_next_to_nothing(z):
    noise = DiscreteGaussian(sigma_squared=Fraction(10**30))
    bound = float(gaussian_tail(noise, distance=int(Fraction(z) * 10**15)))
    assert bound == pytest.approx(stats.norm.sf(float(Fraction(z))), rel=1e-9)


@pytest.mark.parametrize("confidence", [Fraction(1, 2), Fraction(95, 100), Fraction(999, 1000)])
@pytest.mark.parametrize("noise", NOISES, ids=str)
def test_the_half_width_covers_the_confidence_and_one_less_does_not(noise, confidence):
    width = half_width(noise, confidence=confidence)
    assert 1 - 2 * summed_tail(noise, width + 1) >= confidence * (1 - 1e-9)
    assert width == 0 or 1 - 2 * summed_tail(noise, width) < confidence * (1 + 1e-9)


def test_the_logarithm_of_what_rounds_to_one_is_enclosed_by_zero():
    """Once the neighbour of 0 was taken, whose exponent is so small that no rational of it could be made."""
    low, high = log_bounds(1 + Fraction(1, 10**5000))
    assert low == 0 < high < Fraction(1, 10**20)
    assert log_bounds(Fraction(1)) == (0, 0)


def test_a_huge_epsilon_has_a_threshold_at_once():
    """A scale far below one step: the exponential is tiny, and 1 plus it rounds to 1."""
    assert tail_distance(DiscreteLaplace(scale=Fraction(1, 1000)), chance=Fraction(1, 10**6)) == 1


@settings(deadline=None)
@given(st.fractions(min_value=Fraction(1, 10**6), max_value=700))
def test_exp_and_log_bounds_enclose_the_truth_and_are_narrow(value):
    low, high = exp_bounds(value)
    assert low < high
    assert high - low <= low * Fraction(1, 10**54)
    assert float(low) == pytest.approx(math.exp(-float(value)), rel=1e-12)
    # The logarithm of the bounds must enclose the exponent again: a round trip in the other direction.
    assert log_bounds(low)[0] <= -value <= log_bounds(high)[1]


def test_the_integer_part_of_an_exponential_is_right_to_the_last_bit():
    digits = "36787944117144232159552377016146086744581113103176783450783680"  # 1/e, its decimals
    assert floor_exp(Fraction(1), bits=128) == int(digits) * 2**128 // 10 ** len(digits)
    assert floor_exp(Fraction(0), bits=8) == 256
    assert floor_exp(Fraction(10**9), bits=64) == 0


@pytest.mark.parametrize("chance", [Fraction(0), Fraction(1, 2), Fraction(-1), float("nan")])
def test_a_chance_out_of_range_is_refused(chance):
    with pytest.raises(ValueError):
        tail_distance(DiscreteLaplace(scale=Fraction(1)), chance=chance)


def test_what_the_compiler_imports_does_not_load_numpy():
    """The compiler's function has no noise layer's cost: cold starts."""
    modules = "noise, calibration, partition_selection, accounting, error_bars, entropy"
    root = cleanroom.__path__[0].rsplit("/", 1)[0]
    code = f"import sys; sys.path.insert(0, {root!r}); from cleanroom.privacy import {modules}"
    code += "; print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
