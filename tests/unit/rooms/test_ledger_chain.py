"""The hash chain of a history: each line depends on all before it, and any change is found."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from cleanroom.rooms.ledger import BudgetKey
from cleanroom.rooms.ledger_chain import (
    GENESIS_HASH,
    ROOM_CHAIN,
    ChainHead,
    RoomHistory,
    chain_of,
    first_broken_chain,
    first_broken_line,
    head_after,
    key_of_chain,
    line_hash,
    merged,
    next_line,
    opened_chain,
    opening_line,
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


# --- a room's chains --------------------------------------------------------------------------------------------------

KEYS = [BudgetKey(room="r", party=party, template=template) for party, template in (("c", "*"), ("d", "*"), ("c", "t"))]


def history(charges):
    """Return a room's history with so many charges of each of KEYS, one after the other; nothing of who has none."""
    lines, heads = {ROOM_CHAIN: []}, {ROOM_CHAIN: ChainHead()}

    def write(line):
        lines[line.chain].append(line)
        heads[line.chain] = head_after(heads[line.chain], line)

    write(next_line(heads[ROOM_CHAIN], **(LINE | {"kind": "settings"})))
    for number in range(max(charges, default=0)):
        for key, count in zip(KEYS, charges, strict=True):
            if number >= count:
                continue
            chain = chain_of(key)
            if chain not in heads:
                write(opening_line(heads[ROOM_CHAIN], key=key, at=NOON, party="c"))
                lines[chain], heads[chain] = [], ChainHead()
            at = NOON + timedelta(seconds=number)
            write(next_line(heads[chain], **(LINE | {"at": at, "run_id": f"{chain}-{number}"}), chain=chain))
    return RoomHistory(entries=merged(lines), heads=heads)


@pytest.mark.parametrize("charges", [(0, 0, 0), (1, 0, 0), (3, 2, 1)])
def test_an_intact_history_of_several_chains_has_no_broken_one(charges):
    assert first_broken_chain(history(charges)) is None


def test_names_of_chains_are_those_of_their_budgets_and_no_others():
    assert len({chain_of(key) for key in KEYS}) == len(KEYS)
    odd = [BudgetKey(room="r", party=party, template=t) for party, t in (('a","b', "c"), ("a", 'b","c'), ("", ""))]
    for key in (*KEYS, *odd):
        assert key_of_chain("r", chain_of(key)) == key
    assert len({chain_of(key) for key in odd}) == len(odd)
    for text in ("", "{}", '["a"]', '["a","b","c"]', '["a",1]', "null"):
        with pytest.raises(ValueError):
            key_of_chain("r", text)


def test_a_line_cannot_be_moved_into_another_chain():
    """The chain's name is in the hash of its lines, and the room's own lines have none in theirs."""
    hashes = {line_hash(previous_hash=GENESIS_HASH, **LINE, chain=chain) for chain in ("", *map(chain_of, KEYS))}
    assert len(hashes) == len(KEYS) + 1
    assert line_hash(previous_hash=GENESIS_HASH, **LINE, chain="") == line_hash(previous_hash=GENESIS_HASH, **LINE)


def test_whatever_is_changed_removed_or_added_in_one_of_several_chains_is_found():
    whole = history((3, 2, 1))
    for number, entry in enumerate(whole.entries):
        rest = (*whole.entries[:number], *whole.entries[number + 1 :])
        assert first_broken_chain(replace(whole, entries=rest)) is not None
        for change in ({"body": "{}"}, {"party": "x"}, {"chain": chain_of(KEYS[0])}, {"chain": ""}, {"room": "s"}):
            changed = replace(entry, **change)
            if changed != entry:
                entries = (*whole.entries[:number], changed, *whole.entries[number + 1 :])
                assert first_broken_chain(replace(whole, entries=entries)) is not None
        assert first_broken_chain(replace(whole, entries=(*whole.entries, entry))) is not None


def test_a_chain_that_is_gone_with_its_end_and_one_that_nobody_opened_are_found():
    whole, chain = history((3, 2, 1)), chain_of(KEYS[1])
    entries = tuple(entry for entry in whole.entries if entry.chain != chain)
    heads = {name: head for name, head in whole.heads.items() if name != chain}
    assert first_broken_chain(RoomHistory(entries=entries, heads=heads)) == (chain, 0)
    foreign = history((0, 0, 1))
    opened_elsewhere = [entry for entry in foreign.entries if entry.chain == chain_of(KEYS[2])]
    without = history((3, 2, 0))
    added = RoomHistory(
        entries=(*without.entries, *opened_elsewhere),
        heads={**without.heads, chain_of(KEYS[2]): foreign.heads[chain_of(KEYS[2])]},
    )
    assert first_broken_chain(added) == (chain_of(KEYS[2]), 0)


def test_merging_follows_time_and_never_turns_a_chain_around():
    """Clocks differ: a line with an earlier time still comes after the one before it in its chain."""
    whole = history((3, 2, 1))
    charges = [entry.at for entry in whole.entries if entry.kind == "charge"]
    assert charges == sorted(charges)
    late = [next_line(ChainHead(), **(LINE | {"at": NOON + timedelta(days=1)}))]
    late.append(next_line(head_after(ChainHead(), late[0]), **(LINE | {"at": NOON})))
    other = [next_line(ChainHead(), **(LINE | {"at": NOON + timedelta(hours=1)}), chain="x")]
    assert merged({"": late, "x": other}) == (other[0], *late)


@pytest.mark.parametrize("body", ["{}", "[]", '{"chain":1}', '{"chain":""}', "no json", "null"])
def test_a_line_that_opens_a_chain_without_a_name_is_damaged(body):
    line = next_line(ChainHead(), **(LINE | {"kind": "chain", "body": body}))
    with pytest.raises(ValueError):
        opened_chain(line)
    assert first_broken_chain(RoomHistory(entries=(line,), heads={"": head_after(ChainHead(), line)})) == ("", 0)
