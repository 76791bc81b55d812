"""The DP task of the account: opening budget windows, suspending, resuming (B-53, B-60 to B-66)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from cleanroom.errors import InvalidRequestError
from cleanroom.rooms.ledger import TaskState, TaskStatus
from cleanroom.use_cases.access import require_provider_party
from cleanroom.use_cases.close_windows import close_windows
from cleanroom.use_cases.run_ids import public_run_id

if TYPE_CHECKING:
    from cleanroom.ports import Ledger, RoomServices, TaskServices
    from cleanroom.rooms.ledger import StuckRun
    from cleanroom.use_cases.arguments import NoArguments


def open_window(scheduled_for: datetime, services: TaskServices) -> TaskState:
    """Open the next budget window for a scheduled time; doubled and late schedules change nothing (rule 5)."""
    task = services.ledger.open_window(scheduled_for=scheduled_for, at=services.clock.now())
    services.telemetry.step("window", window=task.window)
    services.telemetry.count("WindowsOpened")
    report_stuck_runs(services)
    return task


class ScheduledTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What EventBridge Scheduler sends: the task, and the time that it was scheduled for."""

    task: Literal["open_window"]
    scheduled_time: datetime


def handle_schedule(event: dict[str, Any], services: TaskServices) -> bytes:
    """Open the window that the schedule asks for, and then state the ended ones; all of it may be done twice.

    Raises:
        InvalidRequestError: the event is not one of the schedule's.
        BusyError: a store would not answer; the same event may be handled again.
    """
    try:
        asked = msgspec.convert(event, ScheduledTask)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(
            "the event is none of the schedule's: it has a task, open_window, and a scheduled_time with its zone"
        ) from error
    if asked.scheduled_time.tzinfo is None:
        raise InvalidRequestError("the scheduled time names no time zone")
    task = open_window(asked.scheduled_time, services)
    # Also where no window was opened now: an earlier delivery may have opened it and not come further.
    close_windows(services)
    return msgspec.json.encode(task_view(task))


def suspend_account_dp_task(_arguments: NoArguments, party: str, services: TaskServices) -> object:
    """Stop enforcing budgets in every room of the account; noise is still added (B-60). Warns of rooms with DP on."""
    require_provider_party(party, services.provider_parties)
    task = services.ledger.set_task(TaskStatus.SUSPENDED, by=party, at=services.clock.now())
    services.schedule.set_enabled(False)
    rooms = rooms_with_dp_on(services.ledger)
    warning = (
        f"DP is still on in {', '.join(rooms)}: runs there are not limited until the task is resumed" if rooms else None
    )
    return {**task_view(task), "rooms_with_dp_on": rooms, "warning": warning}


def resume_account_dp_task(_arguments: NoArguments, party: str, services: TaskServices) -> object:
    """Enforce everything again, with all settings as they were (B-61)."""
    require_provider_party(party, services.provider_parties)
    services.schedule.set_enabled(True)
    task = services.ledger.set_task(TaskStatus.RUNNING, by=party, at=services.clock.now())
    return {**task_view(task), "rooms_with_dp_on": rooms_with_dp_on(services.ledger)}


def is_dp_enabled_on_account(_arguments: NoArguments, party: str, services: RoomServices) -> object:
    """Show the task's state and the rooms that have DP on: what to look at before suspending (B-64)."""
    require_provider_party(party, services.provider_parties)
    return {
        **task_view(services.ledger.task()),
        "schedule_enabled": services.schedule.is_enabled(),
        "rooms_with_dp_on": rooms_with_dp_on(services.ledger),
    }


def report_stuck_runs(services: TaskServices) -> tuple[StuckRun, ...]:
    """Log and count every run that nobody works on any more and that has no end; nothing is given back or changed."""
    stuck = services.ledger.stuck_runs(at=services.clock.now())
    for run in stuck:
        services.telemetry.step("stuck", run_id=run.run_id, room=run.room, template=run.template, state=run.state.value)
        services.telemetry.count("StuckRuns")
    return stuck


def view_stuck_runs(_arguments: NoArguments, party: str, services: RoomServices) -> object:
    """List the runs in the caller's rooms that nobody works on any more: charged, and without release or failure.

    Their parties can finish them: the same request with the same run id goes on, at no further price.
    """
    rooms = {room.name for room in services.catalogue.rooms_of(party) if room.provider == party}
    stuck = services.ledger.stuck_runs(at=services.clock.now())
    return {
        "runs": [
            {
                "cleanroom_name": run.room,
                "party_name": run.party,
                "template_name": run.template,
                "run_id": public_run_id(run.run_id),
                "state": run.state.value,
                "since": run.since.isoformat(),
            }
            for run in stuck
            if run.room in rooms
        ]
    }


def rooms_with_dp_on(ledger: Ledger) -> list[str]:
    """Return the names of rooms in which some party's settings have DP on."""
    return sorted({key.room for key in ledger.keys_with_dp_on()})


def task_view(task: TaskState) -> dict[str, object]:
    """Return the task's state as JSON."""
    return {
        "status": task.status.value,
        "window": task.window,
        "window_opened_for": task.window_opened_for.isoformat() if task.window_opened_for else None,
        "since": task.since.isoformat() if task.since else None,
        "by": task.by,
    }
