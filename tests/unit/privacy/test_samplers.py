"""The samplers' integer shortcuts agree with exact arithmetic; their distribution is tested in tests/statistical."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanroom.privacy import samplers
from cleanroom.privacy.directed import exp_bounds, floor_exp, floor_exps
from cleanroom.privacy.samplers import discrete_gaussian, discrete_laplace
from tests.seeded_entropy import ScriptedEntropy, SeededEntropy


def true_exp(gamma):
    """exp(-gamma) in units of 2^-32."""
    return float(exp_bounds(gamma)[0] * 2**32)


@settings(deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=70 << 32), min_size=1, max_size=20))
def test_the_integer_exponential_is_within_the_error_that_is_claimed(gammas):
    found = samplers._exp(np.array(gammas, dtype=np.uint64))
    for gamma, value in zip(gammas, found.tolist(), strict=True):
        assert -1 <= true_exp(Fraction(gamma, 2**32)) - value <= 10


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=2**53), st.fractions(min_value=0, max_value=30))
def test_gamma_of_the_gaussian_is_within_the_error_that_is_claimed(sigma, ratio):
    sampler = samplers._Gaussian(Fraction(sigma) ** 2 * Fraction(99, 100) + Fraction(1, 7))
    magnitude = int(ratio * sampler.scale)
    found = samplers._exp(sampler.gamma(np.array([magnitude], dtype=np.uint64)))[0]
    assert abs(true_exp(sampler.exact_gamma(magnitude)) - int(found)) < 1400 < samplers._SLACK_GAUSSIAN


@settings(deadline=None)
@given(st.fractions(min_value=2, max_value=2**53), st.data())
def test_accepting_the_low_part_of_laplace_agrees_with_exact_arithmetic_at_the_edge(scale, data):
    """Words just inside and outside the undecided band: one unit off the true value settles every one of them."""
    sampler = samplers._Laplace(scale)
    low = data.draw(st.integers(min_value=0, max_value=2**sampler.low_bits - 1))
    edge = int(true_exp(low / scale))
    words = [edge + step for step in (-60, -43, -31, -7, -3, -1, 1, 3, 7, 31, 43, 60) if 0 <= edge + step < 2**32]
    lows = np.full(len(words), low, dtype=np.uint64)
    kept = sampler._accept(lows, np.array(words, dtype=np.uint64), SeededEntropy(0))
    assert kept.tolist() == [word < edge for word in words]


@settings(deadline=None, max_examples=30)
@given(st.fractions(min_value=Fraction(1, 2), max_value=200), st.sampled_from([8, 64]))
def test_the_floors_of_all_powers_are_those_of_each_exponential_by_itself(step, bits):
    floors = floor_exps(step, bits=bits)
    assert floors == [floor_exp(step * k, bits=bits) for k in range(1, len(floors) + 1)]
    assert floors[-1] == 0 < min(floors[:-1], default=1)


@pytest.mark.parametrize("step", [Fraction(0), Fraction(-1), Fraction(20_000)])
def test_floors_of_powers_at_the_ends(step):
    if step > 0:
        assert floor_exps(step, bits=64) == [0]
    else:
        with pytest.raises(ValueError, match="positive"):
            floor_exps(step, bits=64)


@pytest.mark.parametrize(("further", "expected"), [(b"\x00" * 8, 1), (b"\xff" * 8, 0)])
def test_a_word_on_the_boundary_is_decided_by_further_bits(further, expected):
    """u has the same first 64 bits as exp(-step): more bits below it give one step more, above it none."""
    step = samplers._Laplace(Fraction(10)).step
    low = (0b101).to_bytes(8, "little")  # low part 5, sign plus, accepted for sure
    word = floor_exp(step, bits=64).to_bytes(8, "little")
    # The low words of a whole batch are drawn first, then the geometric ones of those accepted.
    batch = samplers._Laplace(Fraction(10)).draw(1, ScriptedEntropy(low + word + further, SeededEntropy(1)))
    assert batch.tolist() == [5 + 8 * expected]


def test_a_draw_beyond_64_bits_saturates():
    scale = samplers.LARGEST_SCALE - 1
    low = (1).to_bytes(8, "little")
    chooser = (0).to_bytes(4, "little")
    zero_word = (0).to_bytes(8 * 200, "little")  # u so small that exp(-k step) stays above it past 2^63
    draws = samplers._Laplace(Fraction(scale)).draw(1, ScriptedEntropy(low + chooser + zero_word, SeededEntropy(1)))
    assert draws.tolist() == [2**63 - 1]


@pytest.mark.parametrize("size", [0, 1, 5, 70_000])
def test_as_many_draws_come_as_were_asked_for(size):
    assert discrete_laplace(scale=Fraction(1, 3), size=size, entropy=SeededEntropy(1)).shape == (size,)
    assert discrete_gaussian(sigma_squared=Fraction(1, 3), size=size, entropy=SeededEntropy(1)).shape == (size,)


def test_the_same_bits_give_the_same_draws_and_other_bits_others():
    first, again, other = (
        discrete_gaussian(sigma_squared=Fraction(10**12), size=100, entropy=SeededEntropy(seed)) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).all()


@pytest.mark.parametrize("scale", [Fraction(0), Fraction(-1), Fraction(2**54), float("nan"), float("inf")])
def test_a_scale_out_of_range_is_refused(scale):
    with pytest.raises(ValueError):
        discrete_laplace(scale=scale, size=1, entropy=SeededEntropy(1))
    with pytest.raises(ValueError):
        discrete_gaussian(sigma_squared=scale if scale != 2**54 else scale**2, size=1, entropy=SeededEntropy(1))


@pytest.mark.parametrize("size", [-1, 1.0, True])
def test_a_size_that_is_no_count_is_refused(size):
    with pytest.raises(ValueError):
        discrete_laplace(scale=Fraction(1), size=size, entropy=SeededEntropy(1))
