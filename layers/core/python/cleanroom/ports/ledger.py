"""The port to the ledger: settings, budgets, charges, runs and what they answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cleanroom.rooms.ledger import (
        BudgetKey,
        Charge,
        LedgerEntry,
        RoomBudget,
        RoomBudgetRecord,
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
    from cleanroom.rooms.ledger_chain import RoomHistory
    from cleanroom.rooms.replays import Answer, Replay
    from cleanroom.rooms.settings import PrivacySettings


class Ledger(Protocol):
    """Budgets: exact, atomic, append-only history. `ledger.md` of the design has the rules."""

    def settings(self, key: BudgetKey) -> SettingsRecord:
        """Return the stored settings, or the defaults at version 0."""

    def put_settings(self, key: BudgetKey, settings: PrivacySettings, *, by: str, at: datetime) -> SettingsRecord:
        """Overwrite the record, raise its version, and add an entry to the room's history."""

    def settings_of_room(self, room: str) -> Mapping[BudgetKey, SettingsRecord]:
        """Return all stored settings of a room."""

    def keys_with_dp_on(self) -> tuple[BudgetKey, ...]:
        """Return every budget key of the account whose settings have DP on (B-64)."""

    def task(self) -> TaskState:
        """Return the state of the DP task; a new account is running, in window 0."""

    def set_task(self, status: TaskStatus, *, by: str, at: datetime) -> TaskState:
        """Suspend or resume; setting what is already set changes nothing."""

    def open_window(self, *, scheduled_for: datetime, at: datetime) -> TaskState:
        """Open the next window unless one was already opened for this or a later scheduled time (idempotent)."""

    def spending(self, key: BudgetKey, *, window: int) -> Spending:
        """Return what was spent in that window and ever; zero where nothing was."""

    def room_budget(self, room: str) -> RoomBudgetRecord:
        """Return the budget of a room, or none at version 0."""

    def put_room_budget(self, room: str, budget: RoomBudget, *, by: str, at: datetime) -> RoomBudgetRecord:
        """Overwrite the budget of a room, raise its version, and add an entry to the room's history.

        What was spent before counts: interrupted, it is not in force, and the same call sets it. A room that was ever
        given one keeps adding up, also without a limit.
        """

    def terms(self, room: str, keys: Sequence[BudgetKey]) -> Terms:
        """Return what a run that these budgets pay is priced under, read at once."""

    def standing(self, room: str, keys: Sequence[BudgetKey], *, window: int | None = None) -> Standing:
        """Return how these budgets of a room stand in a window, or in the present one, which is one read more."""

    def charge(self, charge: Charge) -> RunRecord:
        """Charge a run, once, all or nothing (rule 1).

        Returns the run as it now stands; where the same request was charged before under this run id, the earlier
        run, and nothing is charged.

        Raises:
            BudgetExhaustedError: a limit does not hold the price; nothing was charged.
            TooManyUnfinishedRunsError: too many runs of a budget's window have no release; nothing was charged.
            RunConflictError: the run id belongs to another request.
            StaleChargeError: window, settings, room budget or task changed since pricing; price again.
            BusyError: the store would not answer; the same charge may be tried again.
        """

    def run(self, run_id: str) -> RunRecord | None:
        """Return the run, or None."""

    def advance(
        self,
        run_id: str,
        *,
        to: RunState,
        at: datetime,
        known: RunRecord | None = None,
        answer: Answer | None = None,
    ) -> RunRecord:
        """Move a run forward; moving it to where it is already changes nothing. Raises ConflictError otherwise.

        Args:
            run_id: which.
            to: where.
            at: UTC.
            known: the run as the caller has just read it, which saves reading it again.
            answer: what the release answers, to be kept together with it, unless a later answer to that is kept.
        """

    def stuck_runs(self, *, at: datetime) -> tuple[StuckRun, ...]:
        """Return the runs that nobody works on any more and that have no end, oldest first; reads no other run."""

    def put_request(self, request: RunRequest) -> RunRequest:
        """Store an asynchronous request, or return the stored one of that id; refused overwrites queued only."""

    def request(self, run_id: str) -> RunRequest | None:
        """Return the asynchronous request, or None."""

    def answer(self, question: str) -> Answer | None:
        """Return the last answer of a question, or None."""

    def replay(self, replay: Replay, *, run: RunRecord) -> RunRecord:
        """Add a run that gives a stored release again, with a line in the room's history; nothing is charged.

        Returns the run as it now stands; where the same request was stored before under this run id, that one: it may
        have been charged, and be no replay.

        Raises:
            RunConflictError: the run id belongs to another request.
        """

    def replay_of(self, run_id: str) -> Replay | None:
        """Return what a run replays, or None."""

    def note(self, room: str, *, kind: str, party: str, body: str, at: datetime) -> None:
        """Add a line to the room's history (an audited change that costs nothing)."""

    def entries(self, room: str) -> tuple[LedgerEntry, ...]:
        """Return the room's history, by time."""

    def history(self, room: str) -> RoomHistory:
        """Return the room's history with the end of each of its chains: what `first_broken_line` verifies."""

    def account_entries(self) -> tuple[LedgerEntry, ...]:
        """Return the account's own history, the DP task's, oldest first."""
