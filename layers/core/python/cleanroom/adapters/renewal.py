"""When budgets are renewed, as the deployment says it: for functions that may not ask EventBridge Scheduler."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from cleanroom.rooms.windows import next_renewal


class DeployedRenewal:
    """The schedule's expression and time zone, given to the function when it was deployed.

    Args:
        expression: of EventBridge Scheduler, daily.
        time_zone: IANA name.
    """

    def __init__(self, *, expression: str, time_zone: str) -> None:
        self._expression = expression
        self._zone: tzinfo = UTC if time_zone == "UTC" else ZoneInfo(time_zone)

    def next_renewal(self, now: datetime) -> datetime:
        """Return when the schedule next opens a window; UTC."""
        return next_renewal(self._expression, zone=self._zone, now=now)
