"""When the schedule next opens a budget window (B-53): every day, in any time zone, across changes of the clocks."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from cleanroom.rooms.windows import next_renewal

DAILY = "cron(0 0 * * ? *)"
BERLIN = ZoneInfo("Europe/Berlin")


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "renewal"),
    [
        (utc(2026, 11, 20, 12), utc(2026, 11, 21)),
        (utc(2026, 11, 20, 23, 59, 59, 999_999), utc(2026, 11, 21)),
        (utc(2026, 11, 21), utc(2026, 11, 22)),
        (utc(2026, 12, 31, 0, 0, 0, 1), utc(2027, 1, 1)),
        (utc(2028, 2, 28, 1), utc(2028, 2, 29)),
    ],
)
def test_the_default_renews_at_midnight_utc(now, renewal):
    """B-53."""
    assert next_renewal(DAILY, zone=UTC, now=now) == renewal
    assert next_renewal("cron(0 0 ? * * *)", zone=UTC, now=now) == renewal


@pytest.mark.parametrize(
    ("zone", "now", "renewal"),
    [
        ("Europe/Berlin", utc(2026, 11, 20, 22, 59), utc(2026, 11, 20, 23)),
        ("Europe/Berlin", utc(2026, 7, 1, 12), utc(2026, 7, 1, 22)),
        ("America/Los_Angeles", utc(2026, 11, 20, 7, 59), utc(2026, 11, 20, 8)),
        ("Pacific/Kiritimati", utc(2026, 11, 20, 9, 59), utc(2026, 11, 20, 10)),
        ("Asia/Kathmandu", utc(2026, 11, 20, 18, 15), utc(2026, 11, 21, 18, 15)),
    ],
)
def test_midnight_is_that_of_the_zone(zone, now, renewal):
    found = next_renewal(DAILY, zone=ZoneInfo(zone), now=now)
    assert found == renewal
    assert found.utcoffset() == timedelta(0)


def test_a_time_that_the_clocks_skip_is_left_out_that_day():
    """On 2026-03-29 Berlin has no 02:30."""
    assert next_renewal("cron(30 2 * * ? *)", zone=BERLIN, now=utc(2026, 3, 28, 12)) == utc(2026, 3, 30, 0, 30)


def test_a_time_that_the_clocks_repeat_counts_once():
    """On 2026-10-25 Berlin has 02:30 twice: at 00:30 and 01:30 UTC."""
    first = next_renewal("cron(30 2 * * ? *)", zone=BERLIN, now=utc(2026, 10, 24, 12))
    assert first == utc(2026, 10, 25, 0, 30)
    assert next_renewal("cron(30 2 * * ? *)", zone=BERLIN, now=first) == utc(2026, 10, 26, 1, 30)


def test_a_year_has_one_renewal_a_day_across_both_changes_of_the_clocks():
    renewals, now = [], utc(2026, 1, 1, 12)
    for _ in range(365):
        now = next_renewal(DAILY, zone=BERLIN, now=now)
        renewals.append(now)
    days = [renewal.astimezone(BERLIN) for renewal in renewals]
    assert all((day.hour, day.minute) == (0, 0) for day in days)
    assert len({day.date() for day in days}) == 365
    lengths = {later - earlier for earlier, later in pairwise(renewals)}
    assert lengths == {timedelta(hours=23), timedelta(hours=24), timedelta(hours=25)}


@pytest.mark.parametrize(
    ("expression", "hours"),
    [
        ("cron(0 6,18 * * ? *)", [6, 18]),
        ("cron(0 0/12 * * ? *)", [0, 12]),
        ("cron(0 */8 * * ? *)", [0, 8, 16]),
        ("cron(0 9-11 * * ? *)", [9, 10, 11]),
        ("cron(0 8-20/6 * * ? *)", [8, 14, 20]),
    ],
)
def test_several_renewals_a_day_come_in_order(expression, hours):
    now = utc(2026, 11, 20, 23, 30)
    for day in (21, 22):
        for hour in hours:
            now = next_renewal(expression, zone=UTC, now=now)
            assert now == utc(2026, 11, day, hour)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "rate(1 day)",
        "cron(0 0 * * ?)",
        "cron(0 0 1 * ? *)",
        "cron(0 0 ? * MON *)",
        "cron(0 0 * * ? 2026)",
        "cron(60 0 * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 5-3 * * ? *)",
        "cron(0 */0 * * ? *)",
        "cron(x 0 * * ? *)",
        "cron(-1 0 * * ? *)",
        "cron(0  0 * * ? *)",
        "cron(0 0 * * * *)",
    ],
)
def test_what_is_no_daily_schedule_is_refused(expression):
    """Better no answer than a wrong end of the window in an error that callers plan by."""
    with pytest.raises(ValueError):
        next_renewal(expression, zone=UTC, now=utc(2026, 11, 20))


def test_a_naive_time_is_refused():
    with pytest.raises(ValueError):
        next_renewal(DAILY, zone=UTC, now=datetime(2026, 11, 20))  # noqa: DTZ001
