"""What a charge must satisfy and what it becomes, and how runs and the DP task may change. Pure."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

from cleanroom.errors import ConflictError, RunConflictError
from cleanroom.privacy.accounting import ZERO_PRICE, Price
from cleanroom.rooms.ledger import (
    BudgetKey,
    Charge,
    RequestState,
    RunRecord,
    RunRequest,
    RunState,
    SettingsRecord,
    TaskState,
    TaskStatus,
)

MAX_AMOUNT = 10**15
"""Largest price of one run, in micro-epsilon and in delta steps. 10^22 such runs still add up within 38 digits."""

MOST_UNFINISHED = 20
"""Priced runs of one budget and window that may be without a release, being worked on or failed.

Whether the engine runs out of time or memory can depend on rows: that a run fails tells something for which no noise
was paid. So failures are counted like a price: once this many runs have no release, no further one is charged until
the next window. A run that is finished under its own id no longer counts.
"""

EARLIEST_BEFORE_SCHEDULE = timedelta(minutes=5)
"""How far a scheduled time may lie ahead of the clock: two machines' clocks differ, but not by more."""

ADVANCES_FROM: dict[RunState, tuple[RunState, ...]] = {
    RunState.EXECUTED: (RunState.CHARGED,),
    RunState.RELEASED: (RunState.EXECUTED,),
    RunState.FAILED: (RunState.CHARGED, RunState.EXECUTED),
}
"""State -> the states that a run may come from. `charged` is made by the charge alone."""


def check_charge(charge: Charge) -> None:
    """Refuse a charge that no ledger could keep exactly.

    Raises:
        ValueError: an amount is not an integer in range, a list has another length than `budgets`, a budget is named
            twice or none is, or the time is naive. That is our bug: the use case has built it from checked parts.
    """
    for amount in (charge.price.micro_epsilon, charge.price.delta_steps):
        if type(amount) is not int or not 0 <= amount <= MAX_AMOUNT:
            raise ValueError("a price is a whole number from 0 to 10^15")
    count = len(charge.budgets)
    if not count == len(charge.limit_micro_epsilon) == len(charge.settings_versions) or count == 0:
        raise ValueError("a charge needs one limit and one settings version for each of its budgets")
    if len(set(charge.budgets)) != count:
        raise ValueError("a charge names each budget once")
    for number in (*charge.limit_micro_epsilon, *charge.settings_versions, charge.window):
        if type(number) is not int or not number >= 0:
            raise ValueError("limits, versions and windows are whole numbers from 0")
    if charge.at.tzinfo is None or not charge.run_id or not charge.request_digest:
        raise ValueError("a charge needs an aware time, a run id and a request digest")


def counts_as_unfinished(run: Charge | RunRecord) -> bool:
    """Return whether the run is counted until it is released: where protected rows are read, and limits hold."""
    return run.price.micro_epsilon > 0 and not run.unmetered


def run_of(charge: Charge) -> RunRecord:
    """Return the run that a charge makes."""
    return RunRecord(
        run_id=charge.run_id,
        state=RunState.CHARGED,
        request_digest=charge.request_digest,
        plan_digest=charge.plan_digest,
        room=charge.room,
        party=charge.party,
        template=charge.template,
        price=charge.price,
        window=charge.window,
        unmetered=charge.unmetered,
        table_versions=charge.table_versions,
        settings_versions=charge.settings_versions,
        charged_at=charge.at,
        budgets=charge.budgets,
        limit_micro_epsilon=charge.limit_micro_epsilon,
    )


def same_run(stored: RunRecord, charge: Charge) -> RunRecord:
    """Return the stored run if the charge is a retry of it (rule 2).

    Raises:
        RunConflictError: the run id belongs to another request.
    """
    if stored.request_digest != charge.request_digest:
        raise RunConflictError(f"run id {charge.run_id!r} is already used by another request")
    return stored


def metered(charge: Charge) -> Price:
    """Return what counts against the window's limit: nothing while the task is suspended (B-60)."""
    return ZERO_PRICE if charge.unmetered else charge.price


def unmetered(charge: Charge) -> Price:
    """Return what is spent without a limit; it counts in the lifetime total all the same (B-60)."""
    return charge.price if charge.unmetered else ZERO_PRICE


def charge_body(charge: Charge) -> str:
    """Return the body of the history line of a charge: canonical JSON, integers only."""
    return _json(
        {
            "price": {"micro_epsilon": charge.price.micro_epsilon, "delta_steps": charge.price.delta_steps},
            "window": charge.window,
            "unmetered": charge.unmetered,
            "template": charge.template,
            "request_digest": charge.request_digest,
            "plan_digest": charge.plan_digest,
            "table_versions": charge.table_versions,
            "budgets": [
                {
                    "room": key.room,
                    "party": key.party,
                    "template": key.template,
                    "limit_micro_epsilon": limit,
                    "settings_version": version,
                }
                for key, limit, version in zip(
                    charge.budgets, charge.limit_micro_epsilon, charge.settings_versions, strict=True
                )
            ],
        }
    )


def settings_body(key: BudgetKey, record: SettingsRecord) -> str:
    """Return the body of the history line of a change of settings: whose, the version, all that now holds (B-17)."""
    settings = record.settings
    return _json(
        {
            "party": key.party,
            "template": key.template,
            "version": record.version,
            "differential": settings.differential,
            "epsilon": str(settings.epsilon),
            "noise_mechanism": settings.noise_mechanism.value,
            "privacy_budget": settings.privacy_budget,
            "threshold": settings.threshold,
            "threshold_value": settings.threshold_value,
            "delta": str(settings.delta),
        }
    )


def task_body(state: TaskState) -> str:
    """Return the body of the history line of a change of the DP task."""
    opened_for = None if state.window_opened_for is None else state.window_opened_for.isoformat()
    return _json({"status": state.status.value, "window": state.window, "window_opened_for": opened_for})


def with_status(state: TaskState, status: TaskStatus, *, by: str, at: datetime) -> TaskState:
    """Return the task suspended or resumed; the same state where it is so already (B-60, B-61)."""
    return state if state.status is status else replace(state, status=status, by=by, since=at)


def with_next_window(state: TaskState, *, scheduled_for: datetime, at: datetime) -> TaskState:
    """Return the task with the next window open; the same state for a time that is no later than the last one (rule 5).

    Doubled, late and out-of-order events of the schedule therefore change nothing, and after missed ones the next
    event opens one window.

    Raises:
        ConflictError: `scheduled_for` is more than five minutes ahead of `at`: nobody renews budgets in advance.
    """
    if scheduled_for.tzinfo is None or at.tzinfo is None:
        raise ValueError("a time in the ledger must be aware")
    if scheduled_for - at > EARLIEST_BEFORE_SCHEDULE:
        raise ConflictError("the next budget window cannot be opened before its time")
    if state.window_opened_for is not None and scheduled_for <= state.window_opened_for:
        return state
    return replace(state, window=state.window + 1, window_opened_for=scheduled_for)


def may_replace(stored: RunRequest, new: RunRequest) -> bool:
    """Return whether a request may take the place of the stored one: the refusal of the very same request, once."""
    return (
        stored.state is RequestState.QUEUED
        and new.state is RequestState.REFUSED
        and (stored.party, stored.request_digest) == (new.party, new.request_digest)
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
