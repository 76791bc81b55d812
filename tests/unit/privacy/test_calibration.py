"""The noise for a privacy parameter, against two other libraries' arithmetic."""

import math
from fractions import Fraction

import dp_accounting
import opendp.prelude as dp
import pytest
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanroom.privacy.calibration import gaussian_noise, gaussian_rho, laplace_noise

dp.enable_features("contrib")

EPSILONS_AND_DELTAS = [("0.01", "1e-6"), ("0.1", "1e-6"), ("1", "1e-6"), ("1", "1e-3"), ("5", "1e-12"), ("20", "1e-5")]


@pytest.mark.parametrize(("l1", "epsilon"), [(1, "0.1"), (7, "3"), (2**40, "1/3")])
def test_laplace_scale_is_sensitivity_over_epsilon_and_another_library_maps_it_to_that_epsilon(l1, epsilon):
    noise = laplace_noise(l1_sensitivity=l1, epsilon=Fraction(epsilon))
    assert noise.scale * Fraction(epsilon) == l1
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l1_distance(T="i64")
    mapped = dp.m.make_laplace(*space, scale=float(noise.scale)).map(l1)
    assert mapped == pytest.approx(float(Fraction(epsilon)), rel=1e-12)


@pytest.mark.parametrize(("epsilon", "delta"), EPSILONS_AND_DELTAS)
def test_rho_gives_the_delta_asked_for_by_another_librarys_conversion_and_is_not_wasteful(epsilon, delta):
    """B-16: the same tight conversion, written by others."""
    noise = gaussian_noise(l2_squared=1, rho=gaussian_rho(epsilon=Fraction(epsilon), delta=Fraction(delta)))
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    gaussian = dp.m.make_gaussian(*space, scale=math.sqrt(noise.sigma_squared))
    found = dp.c.make_zCDP_to_approxDP(gaussian).map(1.0).delta(float(Fraction(epsilon)))
    # The other side rounds each step up in floats, a few parts in 1e9.
    assert found == pytest.approx(float(Fraction(delta)), rel=1e-5)


@pytest.mark.parametrize(("epsilon", "delta"), EPSILONS_AND_DELTAS)
def test_a_renyi_accountant_needs_no_more_epsilon_than_we_promise(epsilon, delta):
    rho = gaussian_rho(epsilon=Fraction(epsilon), delta=Fraction(delta))
    # All orders about the best one, sqrt(ln(1/delta) / rho) + 1, finely.
    best = math.sqrt(math.log(1 / float(Fraction(delta))) / float(rho))
    accountant = RdpAccountant(orders=[1 + best * 1.002**step for step in range(-600, 600)])
    accountant.compose(dp_accounting.GaussianDpEvent(1 / math.sqrt(2 * rho)))
    needed = accountant.get_epsilon(float(Fraction(delta)))
    assert needed == pytest.approx(float(Fraction(epsilon)), rel=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    st.fractions(min_value=Fraction(1, 1000), max_value=20),
    st.fractions(min_value=Fraction(1, 10**12), max_value=Fraction(1, 1000)),
)
def test_rho_is_between_the_simple_bound_and_one_that_no_conversion_can_pass(epsilon, delta):
    """The simple one: epsilon = rho + 2 sqrt(rho ln(1/delta)). The other: the exact Gaussian curve must allow it."""
    rho = float(gaussian_rho(epsilon=epsilon, delta=delta))
    log = math.log(1 / float(delta))
    assert rho >= (math.sqrt(log + float(epsilon)) - math.sqrt(log)) ** 2 * (1 - 1e-6)
    sigma, e = 1 / math.sqrt(2 * rho), float(epsilon)

    def normal(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    # Balle, Wang, "Improving the Gaussian Mechanism", 2018, Theorem 8.
    exact_delta = normal(1 / (2 * sigma) - e * sigma) - math.exp(e) * normal(-1 / (2 * sigma) - e * sigma)
    assert exact_delta <= float(delta)


@settings(max_examples=30, deadline=None)
@given(st.fractions(min_value=Fraction(1, 10**9), max_value=10**6))
def test_a_larger_epsilon_never_means_more_noise_and_rho_has_few_bits(epsilon):
    rho = gaussian_rho(epsilon=epsilon, delta=Fraction(1, 10**6))
    assert 0 < rho <= gaussian_rho(epsilon=epsilon * Fraction(101, 100), delta=Fraction(1, 10**6))
    assert rho.numerator.bit_length() <= 32
    assert rho.denominator & (rho.denominator - 1) == 0


def test_gaussian_variance_is_exact():
    assert gaussian_noise(l2_squared=3, rho=Fraction(1, 8)).sigma_squared == 12


@pytest.mark.parametrize("epsilon", [Fraction(0), Fraction(-1), float("nan"), float("inf")])
def test_an_epsilon_out_of_range_is_refused(epsilon):
    with pytest.raises(ValueError):
        laplace_noise(l1_sensitivity=1, epsilon=epsilon)
    with pytest.raises(ValueError):
        gaussian_rho(epsilon=epsilon, delta=Fraction(1, 10))


@pytest.mark.parametrize("sensitivity", [0, -1, 1.5, True])
def test_a_sensitivity_that_is_no_positive_integer_is_refused(sensitivity):
    with pytest.raises(ValueError):
        laplace_noise(l1_sensitivity=sensitivity, epsilon=Fraction(1))
    with pytest.raises(ValueError):
        gaussian_noise(l2_squared=sensitivity, rho=Fraction(1))


@pytest.mark.parametrize("delta", [Fraction(0), Fraction(1), Fraction(2), float("nan")])
def test_a_delta_out_of_range_is_refused(delta):
    with pytest.raises(ValueError):
        gaussian_rho(epsilon=Fraction(1), delta=delta)
