"""The benchmark's own arithmetic: a wrong ratio or error would make every figure of the table wrong."""

import math

import pytest

from benchmarks.measure import Spread, Timed, accuracy, interleaved, paired_ratio, relative_error, timed


def test_a_ratio_is_taken_round_by_round_and_not_of_the_medians():
    """Drift that slows both sides of a round leaves its ratio as it was."""
    assert paired_ratio([2.0, 40.0, 6.0], [1.0, 10.0, 2.0]) == Spread(median=3.0, low=2.0, high=4.0)


@pytest.mark.parametrize(("ours", "beside"), [([1.0], [1.0, 2.0]), ([1.0], [0.0]), ([1.0], [math.nan]), ([], [])])
def test_a_ratio_without_a_number_beside_each_of_ours_is_refused(ours, beside):
    with pytest.raises(ValueError, match="needs"):
        paired_ratio(ours, beside)


def test_a_spread_refuses_what_is_not_finite():
    with pytest.raises(ValueError, match="finite"):
        Spread.of([1.0, math.inf])


@pytest.mark.parametrize(
    ("released", "truth", "error"),
    [
        (90.0, 100.0, 0.1),
        (-90.0, -100.0, 0.1),
        (300.0, 100.0, 1.0),
        (None, 5.0, 1.0),
        (math.nan, 5.0, 1.0),
        (0.0, 0.0, 0.0),
    ],
)
def test_a_relative_error_is_a_share_of_the_truth_and_at_most_one(released, truth, error):
    assert relative_error(released, truth) == pytest.approx(error)


def test_missing_groups_count_in_full_and_only_where_that_is_said():
    """Two answers: one has both groups (errors 0.1 and 0.3), the other lacks b and invents c."""
    truth = {("a",): [100.0], ("b",): [10.0]}
    found = accuracy([{("a",): [110.0], ("b",): [13.0]}, {("a",): [100.0], ("c",): [1.0]}], truth)
    assert found.released == pytest.approx((0.1 + 0.3 + 0.0) / 3)
    assert found.all_groups == pytest.approx((0.1 + 0.3 + 0.0 + 1.0) / 4)
    assert found.groups == pytest.approx(1.5)
    assert found.of == 2


def test_an_answer_without_any_true_group_is_all_wrong():
    found = accuracy([{}], {("a",): [1.0, 2.0]})
    assert math.isnan(found.released)
    assert found.all_groups == 1.0


def test_a_row_of_another_length_is_not_compared():
    with pytest.raises(ValueError, match="zip"):
        accuracy([{("a",): [1.0]}], {("a",): [1.0, 2.0]})


def test_rounds_are_interleaved_in_turned_order_and_the_first_is_dropped():
    called = []

    def subject(name):
        def call():
            called.append(name)
            return Timed(wall_seconds=float(len(called)), cpu_seconds=0.0)

        return call

    taken = interleaved({"a": subject("a"), "b": subject("b")}, rounds=2)
    assert called == ["b", "a", "a", "b", "b", "a"]
    assert {name: [t.wall_seconds for t in times] for name, times in taken.items()} == {
        "a": [3.0, 6.0],
        "b": [4.0, 5.0],
    }


def test_a_call_is_timed_by_both_clocks():
    walls, cpus = iter([10.0, 12.5]), iter([1.0, 4.0])
    assert timed(lambda: None, wall=lambda: next(walls), cpu=lambda: next(cpus)) == Timed(
        wall_seconds=2.5, cpu_seconds=3.0
    )
