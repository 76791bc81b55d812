"""Keys of stored items: no two different things ever share one."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cleanroom.adapters.dynamodb_items import attribute
from cleanroom.adapters.dynamodb_keys import (
    History,
    consumer_key,
    head_key,
    history_partition,
    joined,
    line_key,
    maker_key,
    member_key,
    room_key,
    table_key,
    template_key,
)

NAMES = st.lists(st.text(alphabet="#%23a5*", max_size=5), min_size=1, max_size=4)


@settings(deadline=None)
@given(NAMES, NAMES)
@example(["a#b", "c"], ["a", "b#c"])
@example(["a%23b"], ["a#b"])
@example(["", ""], ["#"])
@example(["%"], ["%25"])
def test_different_parts_never_give_the_same_text(left, right):
    assert (joined(*left) == joined(*right)) == (left == right)


@settings(deadline=None)
@given(st.text(max_size=8))
@example("account")
@example("#account")
@example("")
def test_no_room_shares_the_accounts_history(room):
    account, own = History(room=None), History(room=room)
    assert history_partition(own) != history_partition(account)
    assert head_key(own) != head_key(account)


@settings(deadline=None)
@given(st.text(alphabet="#%a", max_size=4), st.text(alphabet="#%a", max_size=4))
def test_parts_of_a_room_lie_in_its_partition_behind_the_room_itself(room, name):
    """The room's own item must be read first: its revision tells whether the rest is of one moment."""
    parts = [
        consumer_key(room, name),
        table_key(room, owner=name, name=name),
        template_key(room, name),
    ]
    assert {key.pk for key in parts} == {room_key(room).pk}
    assert len({key.sk for key in parts}) == 3
    assert all(key.sk > room_key(room).sk for key in parts)
    assert maker_key(room, name) != member_key(room, name)


def test_lines_sort_by_time_and_then_by_number():
    history = History(room="r")
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    keys = [line_key(history, at=at, number=number).sk for number in (2, 10, 100)]
    later = line_key(history, at=at.replace(microsecond=1), number=0).sk
    assert sorted([later, *keys]) == [*keys, later]


@pytest.mark.parametrize("value", [10**38, -(10**38), 0.5, float("nan"), None])
def test_only_integers_within_38_digits_are_numbers(value):
    """What is compared with a limit is an integer; beyond 38 digits DynamoDB would round."""
    with pytest.raises(ValueError):
        attribute(value)


def test_numbers_are_written_in_full():
    assert attribute(10**38 - 1) == {"N": "9" * 38}
    assert attribute(True) == {"BOOL": True}
    assert attribute(0) == {"N": "0"}
