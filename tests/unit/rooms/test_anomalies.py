"""When counts become signals: at the threshold, and not one below."""

from fractions import Fraction

import pytest

from cleanroom.rooms.anomalies import (
    ChargeCounts,
    Thresholds,
    failure_metric,
    is_burst_of_refusals,
    is_differencing,
    is_fast_spending,
)

LIMITS = Thresholds(refusals_per_hour=3, alike_queries=4, hourly_share=Fraction(1, 2))


def counts(spent=0, alike=0):
    return ChargeCounts(spent_in_hour=spent, alike=alike)


def test_thresholds_are_reached_from_below():
    assert [is_burst_of_refusals(number, LIMITS) for number in (2, 3, 4)] == [False, True, True]
    assert [is_differencing(counts(alike=number), LIMITS) for number in (3, 4, 5)] == [False, True, True]
    spent = [is_fast_spending(counts(spent), limit_micro_epsilon=10, thresholds=LIMITS) for spent in (5, 6)]
    assert spent == [False, True]


def test_a_budget_of_zero_is_never_spent_fast():
    assert not is_fast_spending(counts(spent=1), limit_micro_epsilon=0, thresholds=LIMITS)


@pytest.mark.parametrize(
    "wrong",
    [{"refusals_per_hour": 0}, {"alike_queries": 1}, {"hourly_share": Fraction(0)}, {"hourly_share": Fraction(3, 2)}],
)
def test_a_threshold_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="out of range"):
        Thresholds(**wrong)


def test_each_failure_of_the_engine_is_counted_by_its_kind():
    assert failure_metric("out_of_time") == "EngineTimeouts"
    assert failure_metric("OutOfMemoryException") == "EngineOutOfMemory"
    assert failure_metric("ConversionException") == failure_metric("") == "EngineErrors"
