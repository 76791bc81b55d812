"""Time, identifiers and random bits come from the machine at the call, and nothing is kept."""

import re
from datetime import UTC, datetime, timedelta

from cleanroom.adapters.memory import CountingIds, FixedClock
from cleanroom.adapters.system import SystemClock, SystemEntropy, SystemIds


def test_the_clock_is_utc_and_now():
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)


def test_run_ids_are_valid_and_do_not_repeat():
    ids = {SystemIds().run_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{8,64}", run_id) for run_id in ids)
    assert re.fullmatch(r"[A-Za-z0-9_-]{8,64}", CountingIds().run_id())


def test_run_keys_fill_63_bits():
    """The chance that one given bit of 500 keys is always the same is 2**-499."""
    keys = [SystemIds().run_key() for _ in range(500)]
    assert all(0 <= key < 2**63 for key in keys)
    for bit in range(63):
        assert len({key >> bit & 1 for key in keys}) == 2


def test_entropy_gives_as_many_bytes_as_asked_and_holds_no_state():
    entropy = SystemEntropy()
    assert [len(entropy.bytes(count)) for count in (0, 1, 7, 1000)] == [0, 1, 7, 1000]
    assert entropy.bytes(16) != entropy.bytes(16)
    assert vars(entropy) == {}


def test_the_fixed_clock_goes_on_only_when_told():
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    assert clock.now() == clock.now()
    clock.advance(seconds=90)
    assert clock.now() == datetime(2026, 1, 1, 0, 1, 30, tzinfo=UTC)
