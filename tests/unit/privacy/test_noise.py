"""Noise is exact, cannot be zero, and survives being written down."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanroom.privacy.noise import DiscreteGaussian, DiscreteLaplace, noise_from_json

positive = st.fractions(min_value=Fraction(1, 10**30), max_value=10**30)


@given(positive)
def test_json_gives_the_very_same_noise_back(parameter):
    for noise in (DiscreteLaplace(scale=parameter), DiscreteGaussian(sigma_squared=parameter)):
        assert noise_from_json(noise.as_json()) == noise


@pytest.mark.parametrize("value", [Fraction(0), Fraction(-1), 1.0, float("nan"), 3])
def test_there_is_no_value_that_means_no_noise(value):
    with pytest.raises(ValueError):
        DiscreteLaplace(scale=value)
    with pytest.raises(ValueError):
        DiscreteGaussian(sigma_squared=value)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"distribution": "laplace", "scale": "1"},
        {"distribution": "discrete_laplace", "scale": "0"},
        {"distribution": "discrete_laplace", "scale": "1/0"},
        {"distribution": "discrete_laplace", "scale": "-1"},
        {"distribution": "discrete_laplace", "scale": "1e5"},
        {"distribution": "discrete_laplace", "scale": 1},
        {"distribution": "discrete_laplace", "sigma_squared": "1"},
        {"distribution": "discrete_gaussian", "sigma_squared": "1", "scale": "1"},
    ],
)
def test_noise_that_nobody_wrote_is_refused(fields):
    with pytest.raises(ValueError):
        noise_from_json(fields)


@pytest.mark.parametrize("parameter", ["1/100", "1/3", "1", "3/2", "3", "25"])
def test_the_standard_deviation_is_that_of_the_summed_distribution(parameter):
    value = float(Fraction(parameter))
    for noise, mass in (
        (DiscreteLaplace(scale=Fraction(parameter)), lambda x: math.exp(-abs(x) / value)),
        (DiscreteGaussian(sigma_squared=Fraction(parameter)), lambda x: math.exp(-x * x / 2 / value)),
    ):
        total = math.fsum(mass(x) for x in range(-1500, 1501))
        variance = math.fsum(x * x * mass(x) for x in range(-1500, 1501)) / total
        assert noise.standard_deviation == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_the_deviation_of_very_narrow_noise_is_shown_as_zero_and_does_not_fail():
    assert DiscreteLaplace(scale=Fraction(1, 10**6)).standard_deviation == 0
    assert DiscreteGaussian(sigma_squared=Fraction(1, 10**6)).standard_deviation == 0
