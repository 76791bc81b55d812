"""What a charge must satisfy and what it becomes, and how runs and the DP task may change. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from cleanroom.errors import (
    BudgetExhaustedError,
    ConflictError,
    RhoRefusal,
    RunConflictError,
    StaleChargeError,
    TooManyUnfinishedRunsError,
)
from cleanroom.privacy.accounting import WINDOW_DELTA_STEPS, ZERO_PRICE, Price, limit_micro_epsilon, total
from cleanroom.privacy.rho import ZERO_RHO, RhoLimit, RhoPrice
from cleanroom.rooms.ledger import (
    BudgetKey,
    Charge,
    RequestState,
    RoomBudgetRecord,
    RoomStanding,
    RunRecord,
    RunRequest,
    RunState,
    SettingsRecord,
    Spending,
    TaskState,
    TaskStatus,
)
from cleanroom.rooms.ledger_chain import OPENING
from cleanroom.rooms.replays import REPLAY_KIND

MAX_AMOUNT = 10**15
"""Largest price of one run, in micro-epsilon and in delta steps. 10^22 such runs still add up within 38 digits."""

MOST_UNFINISHED = 20
"""Priced runs of one budget and window that may be without a release, being worked on or failed.

Whether the engine runs out of time or memory can depend on rows: that a run fails tells something for which no noise
was paid. So failures are counted like a price: once this many runs have no release, no further one is charged until
the next window. A run that is finished under its own id no longer counts.
"""

MOST_BUDGETS = 8
"""Budgets that one charge may be paid from: their actions stay far below the 100 of one transaction."""

STUCK_AFTER = timedelta(minutes=20)
"""A function lives for at most 15 minutes; the margin is for clocks that differ and answers on their way."""

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
    for price, rho in zip(charge.prices, charge.rho_prices, strict=False):
        for amount in (price.micro_epsilon, price.delta_steps, rho.rho_steps, rho.delta_steps):
            if type(amount) is not int or not 0 <= amount <= MAX_AMOUNT:
                raise ValueError("a price is a whole number from 0 to 10^15")
    count = len(charge.budgets)
    of_each = (
        charge.prices,
        charge.limit_micro_epsilon,
        charge.lifetime_limit_micro_epsilon,
        charge.settings_versions,
        charge.rho_prices,
        charge.rho_limits,
    )
    if count == 0 or any(len(part) != count for part in of_each):
        raise ValueError("a charge needs one price, limit, lifetime limit and settings version for each of its budgets")
    if len(set(charge.budgets)) != count or count > MOST_BUDGETS:
        raise ValueError("a charge names each budget once, and eight at most")
    if any(key.room != charge.room for key in charge.budgets):
        raise ValueError("all budgets of a charge are of the room that it runs in")
    numbers = (
        *charge.limit_micro_epsilon,
        *(limit for limit in charge.lifetime_limit_micro_epsilon if limit is not None),
        *charge.settings_versions,
        *(part for limit in charge.rho_limits if limit is not None for part in (limit.rho_steps, limit.delta_steps)),
        charge.room_budget.version,
        charge.window,
    )
    for number in numbers:
        if type(number) is not int or not number >= 0:
            raise ValueError("limits, versions and windows are whole numbers from 0")
    if charge.at.tzinfo is None or not charge.run_id or not charge.request_digest:
        raise ValueError("a charge needs an aware time, a run id and a request digest")


def check_still_true(
    charge: Charge, *, task: TaskState, versions: Sequence[int], room: RoomBudgetRecord | None
) -> None:
    """Refuse a charge whose price or limits were computed from what has changed since: it is to be priced again.

    Args:
        charge: to be made.
        task: of the account, now.
        versions: of the settings of each budget, now.
        room: the room's budget, now; None where none was ever set.

    Raises:
        StaleChargeError: one of them is another.
    """
    status = TaskStatus.SUSPENDED if charge.unmetered else TaskStatus.RUNNING
    if (task.status, task.window) != (status, charge.window):
        raise StaleChargeError("the DP task has changed since the run was priced")
    if tuple(versions) != charge.settings_versions:
        raise StaleChargeError("the privacy settings have changed since the run was priced")
    if (room or RoomBudgetRecord()).version != charge.room_budget.version:
        raise StaleChargeError("the budget of the room has changed since the run was priced")


def check_limits(charge: Charge, *, spent: Sequence[Spending], room: RoomStanding | None) -> None:
    """Refuse a charge that some limit does not hold, given what was spent before.

    Args:
        charge: to be made.
        spent: by each of its budgets.
        room: what all budgets of its room have spent together; None where no room budget was ever set.

    Raises:
        BudgetExhaustedError: it names the first limit that does not hold the price: of the window, of the lifetime,
            of the room.
        TooManyUnfinishedRunsError: too many runs of the window have no release.
    """
    if not is_limited(charge):
        return
    for number, (key, price, spending) in enumerate(zip(charge.budgets, charge.prices, spent, strict=True)):
        limit, rho_limit = charge.limit_micro_epsilon[number], charge.rho_limits[number]
        if rho_limit is not None:
            rho = charge.rho_prices[number]
            if not rho_limit.holds(spending.window_rho + rho):
                raise _rho_exhausted(rho, spending.window_rho, rho_limit, party=key.party)
        else:
            after = spending.window + price
            if not (after.micro_epsilon <= limit and after.delta_steps <= WINDOW_DELTA_STEPS):
                raise _exhausted("privacy_budget", price, spending.window, limit, party=key.party)
        lifetime_limit = charge.lifetime_limit_micro_epsilon[number]
        if lifetime_limit is not None and not spending.lifetime.micro_epsilon + price.micro_epsilon <= lifetime_limit:
            raise _exhausted("lifetime_budget", price, spending.lifetime, lifetime_limit, party=key.party)
        if counts_as_unfinished(charge) and not spending.unfinished < MOST_UNFINISHED:
            raise TooManyUnfinishedRunsError(unfinished=spending.unfinished, limit=MOST_UNFINISHED)
    if room is not None:
        budget, price = charge.room_budget.budget, total(charge.prices)
        for name, whole, before in (
            ("room_budget", budget.per_window, room.window),
            ("lifetime_room_budget", budget.lifetime, room.lifetime),
        ):
            if whole is None:
                continue
            limit = limit_micro_epsilon(whole)
            if not before.micro_epsilon + price.micro_epsilon <= limit:
                raise _exhausted(name, price, before, limit, party=None)


def _exhausted(name: str, price: Price, spent: Price, limit: int, *, party: str | None) -> BudgetExhaustedError:
    """Return the refusal; delta is told where a window's delta is what counts, and is of no limit elsewhere."""
    with_delta = name == "privacy_budget"
    return BudgetExhaustedError(
        price_micro_epsilon=price.micro_epsilon,
        spent_micro_epsilon=spent.micro_epsilon,
        limit_micro_epsilon=limit,
        price_delta_steps=price.delta_steps if with_delta else 0,
        spent_delta_steps=spent.delta_steps if with_delta else 0,
        window_ends=None if name.startswith("lifetime") else "the next renewal",
        limit_name=name,
        party_name=party,
    )


def _rho_exhausted(price: RhoPrice, spent: RhoPrice, limit: RhoLimit, *, party: str) -> BudgetExhaustedError:
    return BudgetExhaustedError(
        price_micro_epsilon=0,
        spent_micro_epsilon=0,
        limit_micro_epsilon=0,
        window_ends="the next renewal",
        party_name=party,
        rho=RhoRefusal(
            price_rho_steps=price.rho_steps,
            spent_rho_steps=spent.rho_steps,
            limit_rho_steps=limit.rho_steps,
            price_delta_steps=price.delta_steps,
            spent_delta_steps=spent.delta_steps,
            limit_delta_steps=limit.delta_steps,
        ),
    )


def is_limited(charge: Charge) -> bool:
    """Return whether limits are for this charge: not while the task is suspended, nor where it costs nothing at all.

    A limit may be below what was spent, since owners can lower it: a run without a price must not be held up by that.
    """
    return not charge.unmetered and total(charge.prices) != ZERO_PRICE


def counts_as_unfinished(run: Charge | RunRecord) -> bool:
    """Return whether the run is counted until it is released: where protected rows are read, and limits hold."""
    return total(run.prices).micro_epsilon > 0 and not run.unmetered


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
        prices=charge.prices,
        window=charge.window,
        unmetered=charge.unmetered,
        table_versions=charge.table_versions,
        settings_versions=charge.settings_versions,
        charged_at=charge.at,
        budgets=charge.budgets,
        limit_micro_epsilon=charge.limit_micro_epsilon,
        lifetime_limit_micro_epsilon=charge.lifetime_limit_micro_epsilon,
        rho_prices=charge.rho_prices,
        rho_limits=charge.rho_limits,
    )


def same_run(stored: RunRecord, charge: Charge) -> RunRecord:
    """Return the stored run if the charge is a retry of it (rule 2).

    Raises:
        RunConflictError: the run id belongs to another request.
    """
    return same_request(stored, charge.request_digest)


def same_request(stored: RunRecord, request_digest: str) -> RunRecord:
    """Return the stored run if it is of the same request (rule 2).

    Raises:
        RunConflictError: the run id belongs to another request.
    """
    if stored.request_digest != request_digest:
        raise RunConflictError(f"run id {stored.run_id!r} is already used by another request")
    return stored


def metered(price: Price, *, of: Charge) -> Price:
    """Return what of a price counts against the window's limits: nothing while the task is suspended (B-60)."""
    return ZERO_PRICE if of.unmetered else price


def metered_rho(price: RhoPrice, *, of: Charge) -> RhoPrice:
    """Return what of a price in rho counts against the window's limits: nothing while the task is suspended."""
    return ZERO_RHO if of.unmetered else price


def unmetered(price: Price, *, of: Charge) -> Price:
    """Return what of a price is spent without a limit; it counts in the lifetime total all the same (B-60)."""
    return price if of.unmetered else ZERO_PRICE


def charge_body(charge: Charge, *, number: int) -> str:
    """Return the body of the line that a charge writes into the chain of one of its budgets: canonical JSON, integers.

    Args:
        charge: the whole.
        number: of the budget; `price` is its own, and so the prices of a chain add up to what its budget has spent.
            All budgets of the charge are listed in each of the lines.
    """
    price = charge.prices[number]
    return _json(
        {
            "price": price.as_json(),
            "rho_price": charge.rho_prices[number].as_json(),
            "window": charge.window,
            "unmetered": charge.unmetered,
            "template": charge.template,
            "request_digest": charge.request_digest,
            "plan_digest": charge.plan_digest,
            "table_versions": charge.table_versions,
            "room_budget_version": charge.room_budget.version,
            "budgets": [
                {
                    "room": key.room,
                    "party": key.party,
                    "template": key.template,
                    "price": charge.prices[i].as_json(),
                    "limit_micro_epsilon": charge.limit_micro_epsilon[i],
                    "lifetime_limit_micro_epsilon": charge.lifetime_limit_micro_epsilon[i],
                    "rho_price": charge.rho_prices[i].as_json(),
                    "rho_limit": _rho_limit_json(charge.rho_limits[i]),
                    "settings_version": charge.settings_versions[i],
                }
                for i, key in enumerate(charge.budgets)
            ],
        }
    )


def _rho_limit_json(limit: RhoLimit | None) -> dict[str, int] | None:
    return None if limit is None else {"rho_steps": limit.rho_steps, "delta_steps": limit.delta_steps}


def room_budget_body(record: RoomBudgetRecord) -> str:
    """Return the body of the history line of a change of a room's budget."""
    return _json(
        {
            "version": record.version,
            "room_budget": record.budget.per_window,
            "lifetime_room_budget": record.budget.lifetime,
        }
    )


def is_stuck(state: RunState, *, since: datetime, at: datetime) -> bool:
    """Return whether a run has been in a state, in which somebody should be working on it, for too long.

    It is reported and nothing else: its price is not given back, and its party can still finish it under its run id.
    """
    return state in {RunState.CHARGED, RunState.EXECUTED} and at - since > STUCK_AFTER


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
            "lifetime_budget": settings.lifetime_budget,
            "accounting": settings.accounting.value,
        }
    )


def task_body(state: TaskState) -> str:
    """Return the body of the history line of a change of the DP task."""
    opened_for = None if state.window_opened_for is None else state.window_opened_for.isoformat()
    return _json({"status": state.status.value, "window": state.window, "window_opened_for": opened_for})


def check_note(kind: str) -> None:
    """Refuse a note of a kind that has a meaning in the chains.

    Raises:
        ValueError: it is one. That is our bug.
    """
    if kind in {OPENING, "charge", REPLAY_KIND}:
        raise ValueError(f"a line of kind {kind!r} is written by a charge or a replay alone")


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
