"""The hash chain of a history: each line depends on all before it, and any change is found."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from cleanroom.rooms.ledger_chain import (
    GENESIS_HASH,
    ChainHead,
    first_broken_line,
    head_after,
    line_hash,
    next_line,
    utc_text,
)

NOON = datetime(2026, 11, 20, 12, 0, 0, 5, tzinfo=UTC)
LINE = {"room": "r", "at": NOON, "kind": "charge", "run_id": "run-1", "party": "c", "body": '{"ü":1}'}


def chain(length):
    head, lines = ChainHead(), []
    for number in range(length):
        line = next_line(head, **{**LINE, "run_id": None if number % 2 else f"run-{number}"})
        lines.append(line)
        head = head_after(head, line)
    return lines, head


def test_the_hash_of_a_line_is_sha256_of_a_json_array():
    """Written out, so that anybody can verify a history without our code."""
    text = json.dumps([GENESIS_HASH, "r", "2026-11-20T12:00:00.000005+00:00", "charge", "run-1", "c", '{"ü":1}'])
    assert line_hash(previous_hash=GENESIS_HASH, **LINE) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"room": "s"},
        {"at": NOON + timedelta(microseconds=1)},
        {"kind": "settings"},
        {"run_id": "run-2"},
        {"run_id": None},
        {"party": "d"},
        {"body": '{"ü":2}'},
        {"party": "", "body": 'c","{"ü":1}'},
    ],
)
def test_every_field_is_in_the_hash(change):
    assert line_hash(previous_hash=GENESIS_HASH, **LINE) != line_hash(previous_hash=GENESIS_HASH, **(LINE | change))
    assert line_hash(previous_hash=GENESIS_HASH, **LINE) != line_hash(previous_hash="1" * 64, **LINE)


def test_the_same_instant_in_another_zone_has_the_same_hash():
    elsewhere = NOON.astimezone(timezone(timedelta(hours=-5)))
    assert line_hash(previous_hash=GENESIS_HASH, **LINE) == line_hash(
        previous_hash=GENESIS_HASH, **(LINE | {"at": elsewhere})
    )


def test_an_intact_chain_has_no_broken_line():
    lines, head = chain(5)
    assert first_broken_line(lines) is None
    assert first_broken_line(lines, head=head) is None
    assert first_broken_line([], head=ChainHead()) is None
    assert head.count == 5


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize(
    "change", [{"body": "{}"}, {"party": "d"}, {"at": NOON + timedelta(days=1)}, {"hash": "0" * 64}, {"run_id": "x"}]
)
def test_a_changed_line_is_found_where_it_is(number, change):
    lines, head = chain(5)
    lines[number] = replace(lines[number], **change)
    assert first_broken_line(lines, head=head) == number


def test_a_line_that_is_changed_and_hashed_again_breaks_the_next():
    lines, head = chain(5)
    lines[2] = next_line(ChainHead(hash=lines[1].hash), **(LINE | {"body": "{}"}))
    assert first_broken_line(lines, head=head) == 3
    assert first_broken_line(lines[:3], head=head) == 3


@pytest.mark.parametrize("number", range(4))
def test_a_missing_doubled_or_swapped_line_is_found(number):
    lines, head = chain(5)
    assert first_broken_line(lines[:number] + lines[number + 1 :], head=head) == number
    assert first_broken_line([*lines[: number + 1], *lines[number:]], head=head) == number + 1
    swapped = list(lines)
    swapped[number], swapped[number + 1] = swapped[number + 1], swapped[number]
    assert first_broken_line(swapped, head=head) == number


def test_lines_missing_from_the_end_are_found_by_the_head_only():
    lines, head = chain(5)
    assert first_broken_line(lines[:3]) is None
    assert first_broken_line(lines[:3], head=head) == 3
    assert first_broken_line([], head=head) == 0


def test_a_naive_time_has_no_place_in_a_history():
    with pytest.raises(ValueError):
        next_line(ChainHead(), **(LINE | {"at": datetime(2026, 11, 20)}))  # noqa: DTZ001


def test_text_order_of_times_is_time_order():
    """Sort keys of the history: also for whole seconds, which Python would write without a fraction."""
    times = [NOON.replace(microsecond=m) + timedelta(seconds=s) for s in (0, 1, 60, 86_400) for m in (0, 5, 10**5)]
    assert sorted(map(utc_text, times)) == [utc_text(at) for at in sorted(times)]
