"""Ledger in memory, for tests: the twin of `dynamodb_ledger.py`; both pass `tests/contract/test_ledger.py`."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from cleanroom.errors import (
    BudgetExhaustedError,
    ConflictError,
    RunNotFoundError,
    StaleChargeError,
    TooManyUnfinishedRunsError,
)
from cleanroom.privacy.accounting import WINDOW_DELTA_STEPS, ZERO_PRICE, Price
from cleanroom.rooms.ledger import (
    BudgetKey,
    Charge,
    LedgerEntry,
    RunRecord,
    RunRequest,
    RunState,
    SettingsRecord,
    Spending,
    TaskState,
    TaskStatus,
)
from cleanroom.rooms.ledger_chain import ACCOUNT_HISTORY, ChainHead, head_after, next_line, utc_text
from cleanroom.rooms.ledger_rules import (
    ADVANCES_FROM,
    MOST_UNFINISHED,
    charge_body,
    check_charge,
    counts_as_unfinished,
    may_replace,
    metered,
    run_of,
    same_run,
    settings_body,
    task_body,
    with_next_window,
    with_status,
)
from cleanroom.rooms.settings import PrivacySettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

NO_RECORD = SettingsRecord(settings=PrivacySettings(), version=0)

# The account's history is kept apart from that of a room which happens to have its name.
_HistoryKey = tuple[bool, str]


class MemoryLedger:
    """A `Ledger` that lives as long as its process. Thread-safe: one lock around every call."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._settings: dict[BudgetKey, SettingsRecord] = {}
        self._task = TaskState()
        self._window_spent: dict[tuple[BudgetKey, int], Price] = {}
        self._unfinished: dict[tuple[BudgetKey, int], int] = defaultdict(int)
        self._lifetime_spent: dict[BudgetKey, Price] = {}
        self._runs: dict[str, RunRecord] = {}
        self._advanced_at: dict[tuple[str, RunState], str] = {}
        self._requests: dict[str, RunRequest] = {}
        self._lines: defaultdict[_HistoryKey, list[LedgerEntry]] = defaultdict(list)
        self._heads: defaultdict[_HistoryKey, ChainHead] = defaultdict(ChainHead)

    def settings(self, key: BudgetKey) -> SettingsRecord:
        """Return the stored settings, or the defaults at version 0."""
        with self._lock:
            return self._settings.get(key, NO_RECORD)

    def put_settings(self, key: BudgetKey, settings: PrivacySettings, *, by: str, at: datetime) -> SettingsRecord:
        """Overwrite the record, raise its version, and add an entry to the room's history."""
        with self._lock:
            record = SettingsRecord(settings=settings, version=self.settings(key).version + 1)
            self._append((False, key.room), at=at, kind="settings", party=by, body=settings_body(key, record))
            self._settings[key] = record
            return record

    def settings_of_room(self, room: str) -> Mapping[BudgetKey, SettingsRecord]:
        """Return all stored settings of a room."""
        with self._lock:
            return {key: record for key, record in self._settings.items() if key.room == room}

    def keys_with_dp_on(self) -> tuple[BudgetKey, ...]:
        """Return every budget key of the account whose settings have DP on (B-64)."""
        with self._lock:
            on = (key for key, record in self._settings.items() if record.settings.differential)
            return tuple(sorted(on, key=lambda key: (key.room, key.party, key.template)))

    def task(self) -> TaskState:
        """Return the state of the DP task; a new account is running, in window 0."""
        with self._lock:
            return self._task

    def set_task(self, status: TaskStatus, *, by: str, at: datetime) -> TaskState:
        """Suspend or resume; setting what is already set changes nothing."""
        with self._lock:
            return self._change_task(with_status(self._task, status, by=by, at=at), kind=status.value, by=by, at=at)

    def open_window(self, *, scheduled_for: datetime, at: datetime) -> TaskState:
        """Open the next window unless one was already opened for this or a later scheduled time (idempotent)."""
        with self._lock:
            changed = with_next_window(self._task, scheduled_for=scheduled_for, at=at)
            return self._change_task(changed, kind="window", by="", at=at)

    def spending(self, key: BudgetKey, *, window: int) -> Spending:
        """Return what was spent in that window and ever; zero where nothing was."""
        with self._lock:
            return Spending(
                window=self._window_spent.get((key, window), ZERO_PRICE),
                lifetime=self._lifetime_spent.get(key, ZERO_PRICE),
                unfinished=self._unfinished[key, window],
            )

    def charge(self, charge: Charge) -> RunRecord:
        """Charge a run, once, all or nothing (rule 1); see the port for the errors."""
        check_charge(charge)
        with self._lock:
            stored = self._runs.get(charge.run_id)
            if stored is not None:
                return same_run(stored, charge)
            self._check_still_true(charge)
            self._check_budgets(charge)
            for key in charge.budgets:
                spent = self._window_spent.get((key, charge.window), ZERO_PRICE)
                self._window_spent[key, charge.window] = spent + metered(charge)
                self._unfinished[key, charge.window] += counts_as_unfinished(charge)
                self._lifetime_spent[key] = self._lifetime_spent.get(key, ZERO_PRICE) + charge.price
            self._append(
                (False, charge.room),
                at=charge.at,
                kind="charge",
                party=charge.party,
                body=charge_body(charge),
                run_id=charge.run_id,
            )
            self._runs[charge.run_id] = run_of(charge)
            return self._runs[charge.run_id]

    def run(self, run_id: str) -> RunRecord | None:
        """Return the run, or None."""
        with self._lock:
            return self._runs.get(run_id)

    def advance(self, run_id: str, *, to: RunState, at: datetime) -> RunRecord:
        """Move a run forward; moving it to where it is already changes nothing. Raises ConflictError otherwise."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is None:
                raise RunNotFoundError(f"there is no run {run_id!r}")
            if run.state is to:
                return run
            if run.state not in ADVANCES_FROM.get(to, ()):
                raise ConflictError(f"run {run_id!r} is {run.state.value} and cannot become {to.value}")
            self._advanced_at[run_id, to] = utc_text(at)
            self._runs[run_id] = replace(run, state=to)
            if to is RunState.RELEASED:
                for key in run.budgets:
                    self._unfinished[key, run.window] -= counts_as_unfinished(run)
            return self._runs[run_id]

    def put_request(self, request: RunRequest) -> RunRequest:
        """Store an asynchronous request, or return the stored one of that id; refused overwrites queued only."""
        with self._lock:
            stored = self._requests.get(request.run_id)
            if stored is None or may_replace(stored, request):
                self._requests[request.run_id] = request
            return self._requests[request.run_id]

    def request(self, run_id: str) -> RunRequest | None:
        """Return the asynchronous request, or None."""
        with self._lock:
            return self._requests.get(run_id)

    def note(self, room: str, *, kind: str, party: str, body: str, at: datetime) -> None:
        """Add a line to the room's history (an audited change that costs nothing)."""
        with self._lock:
            self._append((False, room), at=at, kind=kind, party=party, body=body)

    def entries(self, room: str) -> tuple[LedgerEntry, ...]:
        """Return the room's history, oldest first."""
        with self._lock:
            return tuple(self._lines[False, room])

    def account_entries(self) -> tuple[LedgerEntry, ...]:
        """Return the account's own history, the DP task's, oldest first."""
        with self._lock:
            return tuple(self._lines[True, ACCOUNT_HISTORY])

    def head(self, room: str) -> ChainHead:
        """Return the end of the room's history, as it was written beside the last line."""
        with self._lock:
            return self._heads[False, room]

    def charged_in(self, window: int) -> frozenset[BudgetKey]:
        """Return every budget that was charged in a window."""
        with self._lock:
            return frozenset(key for key, charged in self._window_spent if charged == window)

    def _check_still_true(self, charge: Charge) -> None:
        status = TaskStatus.SUSPENDED if charge.unmetered else TaskStatus.RUNNING
        if (self._task.status, self._task.window) != (status, charge.window):
            raise StaleChargeError("the DP task has changed since the run was priced")
        for key, version in zip(charge.budgets, charge.settings_versions, strict=True):
            if self.settings(key).version != version:
                raise StaleChargeError("the privacy settings have changed since the run was priced")

    def _check_budgets(self, charge: Charge) -> None:
        if charge.unmetered:
            return
        for key, limit in zip(charge.budgets, charge.limit_micro_epsilon, strict=True):
            unfinished = self._unfinished[key, charge.window]
            if counts_as_unfinished(charge) and not unfinished < MOST_UNFINISHED:
                raise TooManyUnfinishedRunsError(unfinished=unfinished, limit=MOST_UNFINISHED)
            spent = self._window_spent.get((key, charge.window), ZERO_PRICE)
            after = spent + charge.price
            if not (after.micro_epsilon <= limit and after.delta_steps <= WINDOW_DELTA_STEPS):
                raise BudgetExhaustedError(
                    price_micro_epsilon=charge.price.micro_epsilon,
                    spent_micro_epsilon=spent.micro_epsilon,
                    limit_micro_epsilon=limit,
                    price_delta_steps=charge.price.delta_steps,
                    spent_delta_steps=spent.delta_steps,
                    window_ends="the next renewal",
                )

    def _change_task(self, changed: TaskState, *, kind: str, by: str, at: datetime) -> TaskState:
        if changed != self._task:
            self._append((True, ACCOUNT_HISTORY), at=at, kind=kind, party=by, body=task_body(changed))
            self._task = changed
        return self._task

    def _append(
        self, history: _HistoryKey, *, at: datetime, kind: str, party: str, body: str, run_id: str | None = None
    ) -> None:
        head = self._heads[history]
        line = next_line(head, room=history[1], at=at, kind=kind, party=party, body=body, run_id=run_id)
        self._lines[history].append(line)
        self._heads[history] = head_after(head, line)
