"""Ports to other functions, queues and schedules, and to what a running function has around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cleanroom.rooms.replays import NewRun, Question


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """Return the time now, aware, in UTC."""


class NoiseFunction(Protocol):
    """The door out, called by run_template."""

    def release(self, run_id: str) -> bytes:
        """Release one executed run and return its `release.json`; raises the refusal that it answers with."""

    def find_answer(self, question: Question) -> bytes | None:
        """Return, as JSON, which stored release answers a question that was paid for before; None where none does."""

    def replay(self, question: Question, *, run: NewRun) -> bytes | None:
        """Have the stored release of a question given again under a new run id; None where none is there (any more)."""

    def publish_refusal(self, *, party: str, run_id: str, error: bytes) -> None:
        """Have the refusal of an inbox request written where its release would have been."""


class RunQueue(Protocol):
    """Asynchronous runs."""

    def send(self, body: str) -> None:
        """Enqueue one JSON message."""


class Inbox(Protocol):
    """Run requests dropped into S3."""

    def read(self, *, key: str, version_id: str) -> bytes:
        """Return the object's bytes, at most 1 MiB. Raises InvalidRequestError."""


class Renewal(Protocol):
    """When budgets are renewed."""

    def next_renewal(self, now: datetime) -> datetime:
        """Return when the schedule next opens a window; UTC."""


class Schedule(Renewal, Protocol):
    """The schedule of the DP task in EventBridge Scheduler."""

    def set_enabled(self, enabled: bool) -> None:
        """Enable or disable it, keeping everything else of it (B-66)."""

    def is_enabled(self) -> bool:
        """Return whether it is enabled."""


class Ids(Protocol):
    """Fresh identifiers and secrets."""

    def run_id(self) -> str:
        """Return a fresh run id."""

    def run_key(self) -> int:
        """Return a fresh secret 63-bit key for one run's keyed hashes."""


class Telemetry(Protocol):
    """One log line for each step of a run, and metrics. Never a row, value, exact count or SQL literal."""

    def step(self, step: str, **facts: str | int | float | bool | None) -> None:
        """Log one step of a run: which, and public facts about it."""

    def count(self, metric: str) -> None:
        """Count one event; the metric's name is one that an alarm may watch."""

    def measure(self, metrics: Mapping[str, float], **dimensions: str) -> None:
        """Give metrics their values, under these dimensions."""


class Pace(Protocol):
    """Keeps running times from telling more than a public step."""

    def hold(self, began: datetime) -> None:
        """Wait until a whole number of steps has passed since `began`."""
