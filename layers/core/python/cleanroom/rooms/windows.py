"""When the schedule of the DP task next opens a budget window: a daily `cron(...)` in a time zone (B-53). Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo

_EVERY_DAY = {("*", "*", "?", "*"), ("?", "*", "*", "*")}
_CRON = re.compile(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)", re.ASCII)
_PART = re.compile(r"(?:(\d{1,2})(?:-(\d{1,2}))?|\*)(?:/(\d{1,2}))?", re.ASCII)


def next_renewal(expression: str, *, zone: tzinfo, now: datetime) -> datetime:
    """Return the first time after `now` at which the schedule opens a window.

    A local time that the clocks skip in spring is left out that day, and one that they repeat in autumn counts once,
    at its first occurrence.

    Args:
        expression: `cron(minutes hours day-of-month month day-of-week year)`, on every day of every year, as in
            `cron(0 0 * * ? *)`. Minutes and hours may be numbers, lists, ranges, `*` and steps.
        zone: of the schedule.
        now: aware.

    Returns:
        The time, in UTC.

    Raises:
        ValueError: the expression is not of this form, or `now` is naive.

    Source:
        Amazon EventBridge Scheduler user guide, "Schedule types": cron-based schedules, and daylight saving time.
    """
    if now.tzinfo is None:
        raise ValueError("the time must be aware")
    times = _daily_times(expression)
    today = now.astimezone(zone).date()
    # A day back, for a zone whose date is ahead; more than two days ahead, for a renewal that the clocks skip.
    for offset in range(-1, 4):
        for at in times:
            local = datetime.combine(today + timedelta(days=offset), at, tzinfo=zone)
            renewal = local.astimezone(UTC)
            skipped = renewal.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None)
            if renewal > now and not skipped:
                return renewal
    raise ValueError("the schedule has no renewal within three days")


def _daily_times(expression: str) -> tuple[time, ...]:
    match = _CRON.fullmatch(expression.strip())
    if match is None or match.groups()[2:] not in _EVERY_DAY:
        raise ValueError("budget windows need a daily schedule: cron(<minutes> <hours> * * ? *)")
    minutes = _numbers(match.group(1), below=60)
    hours = _numbers(match.group(2), below=24)
    return tuple(time(hour, minute) for hour in hours for minute in minutes)


def _numbers(text: str, *, below: int) -> tuple[int, ...]:
    numbers: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError("a field of the schedule is not a number, list, range or step")
        first, last, step = match.groups()
        start = int(first or 0)
        # `5` is one number; `5/15`, `*` and `*/15` go up to the end of the field.
        end = int(last) if last else (start if first and not step else below - 1)
        if not (start <= end < below and int(step or 1) > 0):
            raise ValueError("a field of the schedule is out of range")
        numbers.update(range(start, end + 1, int(step or 1)))
    return tuple(sorted(numbers))
