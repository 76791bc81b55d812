"""Ledger in memory, for tests: the twin of `dynamodb_ledger.py`; both pass `tests/contract/test_ledger.py`."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from cleanroom.errors import ConflictError, RunNotFoundError
from cleanroom.privacy.accounting import ZERO_PRICE, Price, total
from cleanroom.privacy.rho import ZERO_RHO, RhoPrice
from cleanroom.rooms.ledger import (
    BudgetKey,
    Charge,
    LedgerEntry,
    RoomBudget,
    RoomBudgetRecord,
    RoomStanding,
    RunRecord,
    RunRequest,
    RunState,
    SettingsRecord,
    Spending,
    Standing,
    StuckRun,
    TaskState,
    TaskStatus,
    Terms,
)
from cleanroom.rooms.ledger_chain import (
    ACCOUNT_HISTORY,
    ROOM_CHAIN,
    ChainHead,
    RoomHistory,
    chain_of,
    head_after,
    merged,
    next_line,
    opening_line,
)
from cleanroom.rooms.ledger_rules import (
    ADVANCES_FROM,
    charge_body,
    check_charge,
    check_limits,
    check_note,
    check_still_true,
    counts_as_unfinished,
    is_stuck,
    may_replace,
    metered,
    metered_rho,
    room_budget_body,
    run_of,
    same_request,
    same_run,
    settings_body,
    task_body,
    with_next_window,
    with_status,
)
from cleanroom.rooms.replays import REPLAY_KIND, Answer, Replay, replay_body
from cleanroom.rooms.settings import PrivacySettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

NO_RECORD = SettingsRecord(settings=PrivacySettings(), version=0)

# The account's history is kept apart from that of a room which happens to have its name: (is the account's, label).
_HistoryKey = tuple[bool, str]


class MemoryLedger:
    """A `Ledger` that lives as long as its process. Thread-safe: one lock around every call."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._settings: dict[BudgetKey, SettingsRecord] = {}
        self._task = TaskState()
        self._window_spent: dict[tuple[BudgetKey, int], Price] = {}
        self._window_rho: dict[tuple[BudgetKey, int], RhoPrice] = {}
        self._unfinished: dict[tuple[BudgetKey, int], int] = defaultdict(int)
        self._lifetime_spent: dict[BudgetKey, Price] = {}
        self._runs: dict[str, RunRecord] = {}
        self._since: dict[str, datetime] = {}
        self._room_budgets: dict[str, RoomBudgetRecord] = {}
        self._requests: dict[str, RunRequest] = {}
        self._answers: dict[str, Answer] = {}
        self._replays: dict[str, Replay] = {}
        self._lines: defaultdict[_HistoryKey, dict[str, list[LedgerEntry]]] = defaultdict(lambda: {ROOM_CHAIN: []})
        self._heads: defaultdict[_HistoryKey, dict[str, ChainHead]] = defaultdict(lambda: {ROOM_CHAIN: ChainHead()})

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
                window_rho=self._window_rho.get((key, window), ZERO_RHO),
            )

    def room_budget(self, room: str) -> RoomBudgetRecord:
        """Return the budget of a room, or none at version 0."""
        with self._lock:
            return self._room_budgets.get(room, RoomBudgetRecord())

    def put_room_budget(self, room: str, budget: RoomBudget, *, by: str, at: datetime) -> RoomBudgetRecord:
        """Overwrite the budget of a room, raise its version, and add an entry to the room's history."""
        with self._lock:
            record = RoomBudgetRecord(budget=budget, version=self.room_budget(room).version + 1)
            self._append((False, room), at=at, kind="room_budget", party=by, body=room_budget_body(record))
            self._room_budgets[room] = record
            return record

    def terms(self, room: str, keys: Sequence[BudgetKey]) -> Terms:
        """Return what a run that these budgets pay is priced under."""
        with self._lock:
            records = {key: self.settings(key) for key in keys}
            return Terms(task=self._task, records=records, room=self.room_budget(room))

    def standing(self, room: str, keys: Sequence[BudgetKey], *, window: int | None = None) -> Standing:
        """Return how these budgets of a room stand in a window, or in the present one."""
        with self._lock:
            window = self._task.window if window is None else window
            return Standing(
                task=self._task,
                window=window,
                records={key: self.settings(key) for key in keys},
                spending={key: self.spending(key, window=window) for key in keys},
                room=self._room_standing(room, window),
            )

    def charge(self, charge: Charge) -> RunRecord:
        """Charge a run, once, all or nothing (rule 1); see the port for the errors."""
        check_charge(charge)
        with self._lock:
            stored = self._runs.get(charge.run_id)
            if stored is not None:
                return same_run(stored, charge)
            versions = [self.settings(key).version for key in charge.budgets]
            check_still_true(charge, task=self._task, versions=versions, room=self._room_budgets.get(charge.room))
            spent = [self.spending(key, window=charge.window) for key in charge.budgets]
            check_limits(charge, spent=spent, room=self._room_standing(charge.room, charge.window))
            for number, (key, price) in enumerate(zip(charge.budgets, charge.prices, strict=True)):
                self._window_spent[key, charge.window] = spent[number].window + metered(price, of=charge)
                rho = metered_rho(charge.rho_prices[number], of=charge)
                self._window_rho[key, charge.window] = spent[number].window_rho + rho
                self._unfinished[key, charge.window] += counts_as_unfinished(charge)
                self._lifetime_spent[key] = spent[number].lifetime + price
                self._append_charge(charge, number=number)
            self._runs[charge.run_id] = run_of(charge)
            self._since[charge.run_id] = charge.at
            return self._runs[charge.run_id]

    def run(self, run_id: str) -> RunRecord | None:
        """Return the run, or None."""
        with self._lock:
            return self._runs.get(run_id)

    def advance(
        self,
        run_id: str,
        *,
        to: RunState,
        at: datetime,
        known: RunRecord | None = None,
        answer: Answer | None = None,
    ) -> RunRecord:
        """Move a run forward; moving it to where it is already changes nothing. Raises ConflictError otherwise."""
        del known
        with self._lock:
            run = self._runs.get(run_id)
            if run is None:
                raise RunNotFoundError(f"there is no run {run_id!r}")
            if run.state is to:
                return run
            if run.state not in ADVANCES_FROM.get(to, ()):
                raise ConflictError(f"run {run_id!r} is {run.state.value} and cannot become {to.value}")
            self._since[run_id] = at
            self._runs[run_id] = replace(run, state=to)
            if answer is not None:
                kept = self._answers.get(answer.question)
                if kept is None or kept.released_at < answer.released_at:
                    self._answers[answer.question] = answer
            if to is RunState.RELEASED:
                for key in run.budgets:
                    self._unfinished[key, run.window] -= counts_as_unfinished(run)
            return self._runs[run_id]

    def stuck_runs(self, *, at: datetime) -> tuple[StuckRun, ...]:
        """Return the runs that nobody works on any more and that have no end, oldest first."""
        with self._lock:
            stuck = [
                StuckRun(
                    run_id=run.run_id,
                    room=run.room,
                    party=run.party,
                    template=run.template,
                    state=run.state,
                    since=self._since[run.run_id],
                )
                for run in self._runs.values()
                if is_stuck(run.state, since=self._since[run.run_id], at=at)
            ]
            return tuple(sorted(stuck, key=lambda run: (run.since, run.run_id)))

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

    def answer(self, question: str) -> Answer | None:
        """Return the last answer of a question, or None."""
        with self._lock:
            return self._answers.get(question)

    def replay(self, replay: Replay, *, run: RunRecord) -> RunRecord:
        """Add a run that gives a stored release again and charges nothing; see the port."""
        with self._lock:
            if run.run_id not in self._runs:
                history = (False, run.room)
                line = next_line(
                    self._heads[history][ROOM_CHAIN],
                    room=run.room,
                    at=run.charged_at,
                    kind=REPLAY_KIND,
                    party=run.party,
                    body=replay_body(replay, run),
                    run_id=run.run_id,
                )
                self._write(history, line)
                self._runs[run.run_id], self._replays[run.run_id] = run, replay
                self._since[run.run_id] = run.charged_at
            return same_request(self._runs[run.run_id], run.request_digest)

    def replay_of(self, run_id: str) -> Replay | None:
        """Return what a run replays, or None."""
        with self._lock:
            return self._replays.get(run_id)

    def note(self, room: str, *, kind: str, party: str, body: str, at: datetime) -> None:
        """Add a line to the room's history (an audited change that costs nothing)."""
        check_note(kind)
        with self._lock:
            self._append((False, room), at=at, kind=kind, party=party, body=body)

    def entries(self, room: str) -> tuple[LedgerEntry, ...]:
        """Return the room's history, by time."""
        return self.history(room).entries

    def history(self, room: str) -> RoomHistory:
        """Return the room's history with the end of each of its chains."""
        with self._lock:
            return RoomHistory(entries=merged(self._lines[False, room]), heads=dict(self._heads[False, room]))

    def account_entries(self) -> tuple[LedgerEntry, ...]:
        """Return the account's own history, the DP task's, oldest first."""
        with self._lock:
            return merged(self._lines[True, ACCOUNT_HISTORY])

    def chain(self, room: str | None, chain: str) -> tuple[LedgerEntry, ...]:
        """Return the lines of one chain of a room, or of the account's history, oldest first."""
        with self._lock:
            return tuple(self._lines[self._named(room)].get(chain, ()))

    def head(self, room: str | None, chain: str) -> ChainHead:
        """Return the end of one chain of a room, or of the account's history."""
        with self._lock:
            return self._heads[self._named(room)].get(chain, ChainHead())

    def charged_in(self, window: int) -> frozenset[BudgetKey]:
        """Return every budget that was charged in a window."""
        with self._lock:
            return frozenset(key for key, charged in self._window_spent if charged == window)

    def _named(self, room: str | None) -> _HistoryKey:
        return (True, ACCOUNT_HISTORY) if room is None else (False, room)

    def _room_standing(self, room: str, window: int) -> RoomStanding | None:
        record = self._room_budgets.get(room)
        if record is None:
            return None
        return RoomStanding(
            record=record,
            window=total(spent for (key, w), spent in self._window_spent.items() if (key.room, w) == (room, window)),
            lifetime=total(spent for key, spent in self._lifetime_spent.items() if key.room == room),
        )

    def _change_task(self, changed: TaskState, *, kind: str, by: str, at: datetime) -> TaskState:
        if changed != self._task:
            self._append((True, ACCOUNT_HISTORY), at=at, kind=kind, party=by, body=task_body(changed))
            self._task = changed
        return self._task

    def _append_charge(self, charge: Charge, *, number: int) -> None:
        key, history = charge.budgets[number], (False, charge.room)
        chain = chain_of(key)
        if chain not in self._heads[history]:
            self._write(
                history, opening_line(self._heads[history][ROOM_CHAIN], key=key, at=charge.at, party=charge.party)
            )
            self._heads[history][chain], self._lines[history][chain] = ChainHead(), []
        line = next_line(
            self._heads[history][chain],
            room=charge.room,
            at=charge.at,
            kind="charge",
            party=charge.party,
            body=charge_body(charge, number=number),
            run_id=charge.run_id,
            chain=chain,
        )
        self._write(history, line)

    def _append(self, history: _HistoryKey, *, at: datetime, kind: str, party: str, body: str) -> None:
        head = self._heads[history][ROOM_CHAIN]
        self._write(history, next_line(head, room=history[1], at=at, kind=kind, party=party, body=body))

    def _write(self, history: _HistoryKey, line: LedgerEntry) -> None:
        self._heads[history][line.chain] = head_after(self._heads[history][line.chain], line)
        self._lines[history][line.chain].append(line)
