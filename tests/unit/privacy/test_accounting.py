"""Prices and limits are integers, rounded against the one who spends."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanroom.privacy.accounting import ZERO_PRICE, Price, exact_fraction, limit_micro_epsilon, price_of


def test_a_float_is_read_as_the_decimal_that_a_person_wrote():
    """B-11: epsilon 0.1 is one tenth, and not 0.1000000000000000055."""
    assert exact_fraction(0.1) == Fraction(1, 10)
    assert exact_fraction(1e-06) == Fraction(1, 10**6)
    assert exact_fraction("2.5e3") == 2500
    assert exact_fraction(7) == 7


@pytest.mark.parametrize(
    "number",
    [float("nan"), float("inf"), float("-inf"), "nan", "", " 1", "1/3", "1_0", "0x1", "1e9999999", "٣", True, None],
)
def test_what_is_no_finite_decimal_number_is_refused(number):
    """B-11: NaN and infinity, and texts that Python would read but a person would not write."""
    with pytest.raises(ValueError):
        exact_fraction(number)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_float_can_be_read_and_stays_the_same_float(number):
    assert float(exact_fraction(number)) == number


@given(st.fractions(min_value=0, max_value=10**6), st.fractions(min_value=0, max_value=1))
def test_a_price_is_never_below_what_is_spent_and_at_most_one_step_above(epsilon, delta):
    """Prices round up, both parts (privacy.md, section 6)."""
    price = price_of(epsilon=epsilon, delta=delta)
    assert 0 <= price.micro_epsilon - epsilon * 10**6 < 1
    assert 0 <= price.delta_steps - delta * 10**12 < 1


def test_a_tiny_price_is_not_free():
    assert price_of(epsilon=Fraction(1, 10**30)) == Price(micro_epsilon=1, delta_steps=0)


def test_a_limit_is_rounded_down():
    """B-13."""
    assert limit_micro_epsilon("0.0000019") == 1
    assert limit_micro_epsilon(10) == 10_000_000
    assert limit_micro_epsilon(0.1) == 100_000


def test_prices_add_up_part_by_part():
    one = price_of(epsilon=Fraction(1, 10), delta=Fraction(1, 10**6))
    assert sum([one] * 10, ZERO_PRICE) == Price(micro_epsilon=10**6, delta_steps=10**7)
    assert one.as_json() == {"micro_epsilon": 100_000, "delta_steps": 10**6}


@pytest.mark.parametrize("parts", [(-1, 0), (0, -1), (0.5, 0), (0, float("nan")), (True, 0)])
def test_a_price_that_is_negative_or_no_integer_cannot_be_made(parts):
    with pytest.raises(ValueError):
        Price(micro_epsilon=parts[0], delta_steps=parts[1])


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(Fraction(-1), Fraction(0)), (Fraction(1), Fraction(2)), (float("nan"), Fraction(0))]
)
def test_what_is_out_of_range_has_no_price(epsilon, delta):
    with pytest.raises(ValueError):
        price_of(epsilon=epsilon, delta=delta)


def test_a_negative_budget_is_refused():
    with pytest.raises(ValueError):
        limit_micro_epsilon(-1)
