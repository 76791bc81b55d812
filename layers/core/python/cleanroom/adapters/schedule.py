"""The schedule of the DP task in EventBridge Scheduler. Adapter of the port `Schedule`."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from cleanroom.adapters.aws_failures import explained
from cleanroom.rooms.windows import next_renewal

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_scheduler import EventBridgeSchedulerClient

_KEPT = (
    "ActionAfterCompletion",
    "Description",
    "EndDate",
    "FlexibleTimeWindow",
    "GroupName",
    "KmsKeyArn",
    "Name",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "Target",
)
"""All that UpdateSchedule takes, but the state: what is left out of the call would be reset."""


class EventBridgeSchedule:
    """One schedule.

    Args:
        scheduler: a client that may get and update it.
        name: of the schedule.
        group: of the schedule.
    """

    def __init__(self, scheduler: EventBridgeSchedulerClient, *, name: str, group: str = "default") -> None:
        self._scheduler, self._name, self._group = scheduler, name, group

    def set_enabled(self, enabled: bool) -> None:
        """Enable or disable it, keeping everything else of it (B-66)."""
        present = self._get()
        state: Literal["ENABLED", "DISABLED"] = "ENABLED" if enabled else "DISABLED"
        if present.get("State", "ENABLED") == state:
            return
        kept = {name: present[name] for name in _KEPT if present.get(name) is not None}
        with explained("EventBridge Scheduler"):
            self._scheduler.update_schedule(**kept, State=state)

    def is_enabled(self) -> bool:
        """Return whether it is enabled."""
        return bool(self._get().get("State", "ENABLED") == "ENABLED")

    def next_renewal(self, now: datetime) -> datetime:
        """Return when the schedule next opens a window, were it enabled; UTC."""
        present = self._get()
        zone_name = present.get("ScheduleExpressionTimezone") or "UTC"
        zone = UTC if zone_name == "UTC" else ZoneInfo(zone_name)
        return next_renewal(present["ScheduleExpression"], zone=zone, now=now)

    def _get(self) -> dict[str, Any]:
        with explained("EventBridge Scheduler"):
            return dict(self._scheduler.get_schedule(Name=self._name, GroupName=self._group))
