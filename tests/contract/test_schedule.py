"""The DP task's schedule: the same assertions on the twin and on the emulated EventBridge Scheduler."""

import uuid
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from cleanroom.adapters.memory import MemorySchedule
from cleanroom.adapters.schedule import EventBridgeSchedule

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TARGET = {
    "Arn": "arn:aws:lambda:us-east-1:000000000000:function:dp_task",
    "RoleArn": "arn:aws:iam::000000000000:role/schedule",
    "Input": '{"scheduled_for": "<aws.scheduler.scheduled-time>"}',
    "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 5},
}


def created(aws, *, expression="cron(0 0 * * ? *)", zone=None):
    scheduler = aws.client("scheduler")
    group, name = f"g-{uuid.uuid4().hex[:8]}", "dp-task"
    scheduler.create_schedule_group(Name=group)
    scheduler.create_schedule(
        Name=name,
        GroupName=group,
        Description="renews privacy budgets",
        ScheduleExpression=expression,
        **({"ScheduleExpressionTimezone": zone} if zone else {}),
        FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5},
        Target=TARGET,
        State="ENABLED",
    )
    return scheduler, EventBridgeSchedule(scheduler, name=name, group=group), {"Name": name, "GroupName": group}


@pytest.fixture(params=["memory", "aws"])
def schedule(request):
    if request.param == "memory":
        return MemorySchedule()
    return created(request.getfixturevalue("emulated_aws"))[1]


def test_it_is_disabled_and_enabled(schedule):
    """B-66."""
    assert schedule.is_enabled()
    for enabled in (False, False, True, True):
        schedule.set_enabled(enabled)
        assert schedule.is_enabled() is enabled


def test_windows_open_at_midnight_utc_by_default(schedule):
    """B-53; also while it is disabled: then it says when it would."""
    assert schedule.next_renewal(NOON) == datetime(2026, 11, 22, tzinfo=UTC)
    schedule.set_enabled(False)
    assert schedule.next_renewal(NOON) == datetime(2026, 11, 22, tzinfo=UTC)


def test_disabling_keeps_everything_else(emulated_aws):
    """B-66: UpdateSchedule resets what it is not given."""
    scheduler, schedule, names = created(emulated_aws, expression="cron(30 6 * * ? *)", zone="Europe/Berlin")
    before = scheduler.get_schedule(**names)
    schedule.set_enabled(False)
    after = scheduler.get_schedule(**names)
    changed = {"State", "LastModificationDate", "ResponseMetadata"}
    assert {k: v for k, v in after.items() if k not in changed} == {k: v for k, v in before.items() if k not in changed}
    assert (before["State"], after["State"]) == ("ENABLED", "DISABLED")
    assert after["Target"] == TARGET


def test_the_expression_is_in_the_schedules_own_zone(emulated_aws):
    _, schedule, _ = created(emulated_aws, expression="cron(30 6 * * ? *)", zone="Europe/Berlin")
    twin = MemorySchedule(expression="cron(30 6 * * ? *)", zone=ZoneInfo("Europe/Berlin"))
    assert schedule.next_renewal(NOON) == twin.next_renewal(NOON) == datetime(2026, 11, 22, 5, 30, tzinfo=UTC)
