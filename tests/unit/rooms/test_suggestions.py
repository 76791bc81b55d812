"""Suggested bounds are round, contain what they were made for, and can be declared as they are."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanroom.rooms.moments import LAST_DAY
from cleanroom.rooms.policies import policy_from_json
from cleanroom.rooms.suggestions import (
    ExactContribution,
    ExactRange,
    ExactSuggestions,
    candidate_contributions,
    candidate_ranges,
    proposal,
    range_as_declared,
    rounded_range,
    rounded_up,
)
from cleanroom.rooms.tables import Column, ColumnType

DELAY = Column(name="delay", type=ColumnType.INTEGER, native_type="INTEGER")
DAY = Column(name="day", type=ColumnType.DATE, native_type="DATE")


@given(st.integers(0, 10**12))
def test_a_number_of_rows_is_rounded_up_by_less_than_a_half(number):
    rounded = rounded_up(number)
    assert max(number, 1) <= rounded
    assert rounded <= max(number, 1) * 3 // 2
    assert len(str(rounded).rstrip("0")) <= 2


@given(st.fractions(-(10**9), 10**9), st.fractions(0, 10**9), st.booleans())
def test_a_range_contains_what_it_was_made_for_and_little_more(lo, width, whole):
    low, high = rounded_range(lo, lo + width, whole=whole)
    assert low <= lo <= lo + width <= high
    assert low < high
    step = width / 20 if width else max(abs(lo), Fraction(1)) / 20
    assert high - low <= width + 2 * max(step, Fraction(1) if whole else Fraction(0))
    if whole:
        assert low.denominator == high.denominator == 1


def test_ranges_read_as_people_write_them():
    assert rounded_range(Fraction(3), Fraction(980), whole=True) == (0, 980)
    assert rounded_range(Fraction(-17), Fraction(133), whole=True) == (-20, 135)
    assert rounded_range(Fraction("0.0123"), Fraction("0.0345"), whole=False) == (Fraction("0.012"), Fraction("0.035"))
    assert candidate_contributions([2, 7, 7, 900], [1, 3, 3, 9]) == ((1, 2), (3, 8), (10, 1000))
    (days,) = candidate_ranges(DAY, [(20454.3, 20500.9)])
    assert range_as_declared(DAY, days) == ("2026-01-01", "2026-02-18")
    assert candidate_ranges(DAY, [(0.0, float(LAST_DAY))])[0][1] == LAST_DAY


def made(*lost):
    """Return suggestions whose candidates lose these shares."""
    contributions = tuple(
        ExactContribution(
            max_groups=1,
            max_rows=i + 1,
            exact_entities_scaled=share,
            exact_rows_lost=share,
            exact_rows_lost_gaussian=share,
            exact_groups_lost=share,
        )
        for i, share in enumerate(lost)
    )
    delays = tuple(
        ExactRange(bounds=(0, 10 * (i + 1)), exact_values_clamped=share, exact_mass_clamped=0.0)
        for i, share in enumerate(lost)
    )
    days = (ExactRange(bounds=("2026-01-01", "2026-02-18"), exact_values_clamped=0.5, exact_mass_clamped=None),)
    return ExactSuggestions(version="v", contributions=contributions, ranges={"delay": delays, "day": days})


@pytest.mark.parametrize(("lost", "chosen"), [((0.5, 0.01, 0.0), 2), ((0.5, 0.2), 2), ((0.0,), 1)])
def test_the_first_candidate_that_loses_at_most_one_percent_is_proposed_and_can_be_declared(lost, chosen):
    proposed = proposal(made(*lost))
    assert (proposed["max_groups"], proposed["max_rows"]) == (1, chosen)
    assert proposed["bounds"]["delay"] == [0, 10 * chosen]
    policy = policy_from_json(proposed, [DELAY, DAY])
    assert (policy.max_rows, policy.bounds["delay"].hi) == (chosen, 10 * chosen)
    assert "exact" not in str(proposed)
