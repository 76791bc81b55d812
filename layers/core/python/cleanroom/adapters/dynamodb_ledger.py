"""Ledger on DynamoDB: exact, atomic, append-only. The twin of `memory_ledger.py`.

What the items hold beside their keys and `kind` (`dynamodb_kinds.py` has the kinds, docs/ledger.md all of it):

- settings: `version`, and the record as `body`; beside each an index item `DP_ON`, with `on`
- DP task: `status`, `window`, `revision`, and `window_opened_for`, `since`, `by` where there are any; its copies:
  `revision`
- spending of a window: `micro_epsilon`, `delta_steps`: what counts against the limit; `unmetered_…`: the rest;
  `rho_steps`, `rho_delta_steps`: the first again, where rho is counted
- spending ever: `micro_epsilon`, `delta_steps`: all; `unmetered_…`: how much of it while suspended; `lines`, `hash`:
  the end of the chain of the budget's charges; `in_room_total`: whether its room's total has it
- total of a room, only where it was given a budget: `version`, the budget as `body`, `micro_epsilon`, `delta_steps`
- run: `state`, `state_since`, `request_digest`, the run as charged as `body`; `open` and `charged_at` until it ends
- line of a chain: `number`, and the line as `body`; end of a room's own chain: `count` of lines, `hash` of the last
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from cleanroom.adapters.codec import encode
from cleanroom.adapters.dynamodb import CancelledError
from cleanroom.adapters.dynamodb_budgets import BudgetItems, lifetime_in
from cleanroom.adapters.dynamodb_charge import charge_actions, charge_token, finish_actions, read_for
from cleanroom.adapters.dynamodb_expressions import (
    ABSENT,
    END_RUN,
    MOVE_RUN,
    OPEN_SINCE_BEFORE,
    RUN_IN_EITHER_STATE,
    RUN_IN_STATE,
    SAME_REQUEST_QUEUED,
)
from cleanroom.adapters.dynamodb_history import Histories
from cleanroom.adapters.dynamodb_items import Fields, item, placeholders
from cleanroom.adapters.dynamodb_keys import (
    OPEN_RUNS_INDEX,
    History,
    lifetime_key,
    open_runs_parts,
    request_key,
    run_key,
)
from cleanroom.adapters.dynamodb_kinds import REQUEST, RUN, RUN_1, RUN_2, RUN_FAMILY, run_in
from cleanroom.adapters.dynamodb_replays import ReplayItems
from cleanroom.adapters.dynamodb_settings import SettingsItems
from cleanroom.adapters.dynamodb_task import TaskItems
from cleanroom.errors import BusyError, ConflictError, LedgerUnreadableError, RunNotFoundError
from cleanroom.rooms.ledger import (
    BudgetKey,
    Charge,
    LedgerEntry,
    RequestState,
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
from cleanroom.rooms.ledger_chain import (
    ROOM_CHAIN,
    ChainHead,
    RoomHistory,
    key_of_chain,
    merged,
    next_line,
    opened_chain,
    utc_text,
)
from cleanroom.rooms.ledger_rules import (
    ADVANCES_FROM,
    STUCK_AFTER,
    check_charge,
    check_limits,
    check_note,
    check_still_true,
    counts_as_unfinished,
    is_stuck,
    run_of,
    same_request,
    same_run,
    with_next_window,
    with_status,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cleanroom.adapters.dynamodb import Attributes, Backoff, Table
    from cleanroom.adapters.dynamodb_charge import Found
    from cleanroom.rooms.replays import Answer, Replay
    from cleanroom.rooms.settings import PrivacySettings


class DynamoDbLedger:
    """A `Ledger` in one DynamoDB table. Every read is consistent; every method may raise BusyError.

    Every method may also raise LedgerUnreadableError: a damaged record refuses, it never grants (rule 6).
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._histories = Histories(table=table)
        self._settings = SettingsItems(table=table, histories=self._histories)
        self._task = TaskItems(table=table, histories=self._histories)
        self._budgets = BudgetItems(table=table, histories=self._histories, settings=self._settings)
        self._replays = ReplayItems(table=table, histories=self._histories)

    # --- settings -----------------------------------------------------------------------------------------------------

    def settings(self, key: BudgetKey) -> SettingsRecord:
        """Return the stored settings, or the defaults at version 0."""
        return self._settings.get(key)

    def put_settings(self, key: BudgetKey, settings: PrivacySettings, *, by: str, at: datetime) -> SettingsRecord:
        """Overwrite the record, raise its version, and add an entry to the room's history."""
        return self._settings.put(key, settings, by=by, at=at)

    def settings_of_room(self, room: str) -> Mapping[BudgetKey, SettingsRecord]:
        """Return all stored settings of a room."""
        return self._settings.of_room(room)

    def keys_with_dp_on(self) -> tuple[BudgetKey, ...]:
        """Return every budget key of the account whose settings have DP on (B-64)."""
        return self._settings.with_dp_on()

    # --- the DP task --------------------------------------------------------------------------------------------------

    def task(self) -> TaskState:
        """Return the state of the DP task; a new account is running, in window 0."""
        return self._task.state()

    def set_task(self, status: TaskStatus, *, by: str, at: datetime) -> TaskState:
        """Suspend or resume; setting what is already set changes nothing."""
        return self._task.change(lambda task: with_status(task, status, by=by, at=at), kind=status.value, by=by, at=at)

    def open_window(self, *, scheduled_for: datetime, at: datetime) -> TaskState:
        """Open the next window unless one was already opened for this or a later scheduled time (idempotent)."""
        return self._task.change(
            lambda task: with_next_window(task, scheduled_for=scheduled_for, at=at), kind="window", by="", at=at
        )

    # --- charges ------------------------------------------------------------------------------------------------------

    def spending(self, key: BudgetKey, *, window: int) -> Spending:
        """Return what was spent in that window and ever; zero where nothing was."""
        return self._budgets.spending(key, window=window)

    def room_budget(self, room: str) -> RoomBudgetRecord:
        """Return the budget of a room, or none at version 0."""
        return self._budgets.room_budget(room)

    def put_room_budget(self, room: str, budget: RoomBudget, *, by: str, at: datetime) -> RoomBudgetRecord:
        """Overwrite the budget of a room, raise its version, and add an entry to the room's history."""
        return self._budgets.put_room_budget(room, budget, by=by, at=at)

    def terms(self, room: str, keys: Sequence[BudgetKey]) -> Terms:
        """Return what a run that these budgets pay is priced under."""
        return self._budgets.terms(room, keys)

    def standing(self, room: str, keys: Sequence[BudgetKey], *, window: int | None = None) -> Standing:
        """Return how these budgets of a room stand in a window, or in the present one, which is one read more."""
        return self._budgets.standing(room, keys, window=window)

    def charge(self, charge: Charge) -> RunRecord:
        """Charge a run, once, all or nothing (rule 1); see the port for the errors.

        One read of everything, the rules, and one transaction that checks that all of it is still so. Where it is
        not, or it is not known whether the transaction was applied, all is read again: what the ledger says is what
        happened.
        """
        check_charge(charge)
        backoff = self._table.backoff()
        while True:
            found = read_for(charge, self._table)
            if found.run is not None:
                return same_run(_run_of(found.run), charge)
            room = None if found.room is None else found.room.record
            check_still_true(charge, task=found.task, versions=found.versions, room=room)
            check_limits(charge, spent=found.spent, room=found.room)
            if self._made_ready(charge, found, backoff):
                continue
            actions = charge_actions(self._table, self._histories, charge, found=found)
            try:
                self._table.transact(actions, backoff, token=charge_token(charge.run_id, actions))
            except CancelledError:
                backoff.pause()
            except BusyError:
                stored = self.run(charge.run_id)
                if stored is None:
                    raise
                return same_run(stored, charge)
            else:
                stored = self.run(charge.run_id) if backoff.tried else None
                return stored or run_of(charge)

    def _made_ready(self, charge: Charge, found: Found, backoff: Backoff) -> bool:
        """Finish what others have left undone on the items of a charge; return whether all is to be read again.

        One read of many items is not of one moment: a budget that is in the total of a room that has none was read
        while the room was given its budget.
        """
        torn = found.room is None and any(life.in_room_total for life in found.lifetimes)
        behind = [number for number, revision in found.copies.items() if revision < found.revision]
        for number in behind:
            self._task.bring(number, revision=found.revision)
        chainless = [key for key, life in zip(charge.budgets, found.lifetimes, strict=True) if life.head is None]
        for key in chainless:
            self._budgets.give_chain(key)
        outside = [
            key
            for key, life in zip(charge.budgets, found.lifetimes, strict=True)
            if found.room is not None and life.exists and not life.in_room_total
        ]
        for key in outside:
            self._budgets.join(key, backoff)
        return bool(torn or behind or chainless or outside)

    # --- runs and requests --------------------------------------------------------------------------------------------

    def run(self, run_id: str) -> RunRecord | None:
        """Return the run, or None."""
        stored = self._table.get(run_key(run_id))
        return None if stored is None else _run_of(stored)

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
        sources = [state.value for state in ADVANCES_FROM.get(to, ())]
        if to is RunState.RELEASED:
            released = self._finish(run_id, at=at, known=known, answer=answer)
            if released is not None:
                return released
        elif sources:
            values = {"family": RUN_FAMILY, "source": sources[0], "to": to.value, "at": utc_text(at)}
            if len(sources) > 1:
                values["or_source"] = sources[1]
            moved = self._table.update_if(
                run_key(run_id),
                update=END_RUN if to is RunState.FAILED else MOVE_RUN,
                condition=RUN_IN_STATE if len(sources) == 1 else RUN_IN_EITHER_STATE,
                values=placeholders(**values),
            )
            if moved is not None:
                return _run_of(moved)
        run = self.run(run_id)
        if run is None:
            raise RunNotFoundError(f"there is no run {run_id!r}")
        if run.state is not to:
            raise ConflictError(f"run {run_id!r} is {run.state.value} and cannot become {to.value}")
        return run

    def _finish(self, run_id: str, *, at: datetime, known: RunRecord | None, answer: Answer | None) -> RunRecord | None:
        """Move an executed run to released and count it as unfinished no longer, in one transaction.

        Returns the released run; None where it is elsewhere, and the caller reads it.
        """
        run = known or self.run(run_id)
        if run is None or run.state is not RunState.EXECUTED:
            return None
        move, *uncount = finish_actions(self._table, run, source=RunState.EXECUTED, at=at)
        # Without any of the others the run is released all the same: a window's item is gone long after its window,
        # and then nothing counts by it any more; and a later answer to the same question stays.
        others = uncount if counts_as_unfinished(run) else []
        others = others if answer is None else [*others, self._replays.remembering(answer)]
        while True:
            try:
                self._table.transact([move, *others], self._table.backoff())
            except CancelledError as cancelled:
                if cancelled.failed[0]:
                    return None
                others = [one for one, failed in zip(others, cancelled.failed[1:], strict=True) if not failed]
            else:
                return replace(run, state=RunState.RELEASED)

    def stuck_runs(self, *, at: datetime) -> tuple[StuckRun, ...]:
        """Return the runs that nobody works on any more and that have no end, oldest first.

        They are found by an index that only holds runs without an end; the runs themselves are then read as they are.
        """
        before = utc_text(at - STUCK_AFTER)
        keys = [
            key
            for part in open_runs_parts()
            for key in self._table.query_index(
                OPEN_RUNS_INDEX, condition=OPEN_SINCE_BEFORE, values=placeholders(open=part, before=before)
            )
        ]
        stuck = []
        for stored in self._table.get_each(keys).values():
            run, since = _run_of(stored), datetime.fromisoformat(_fields_of(stored).text("state_since"))
            if is_stuck(run.state, since=since, at=at):
                stuck.append(
                    StuckRun(
                        run_id=run.run_id,
                        room=run.room,
                        party=run.party,
                        template=run.template,
                        state=run.state,
                        since=since,
                    )
                )
        return tuple(sorted(stuck, key=lambda run: (run.since, run.run_id)))

    def put_request(self, request: RunRequest) -> RunRequest:
        """Store an asynchronous request, or return the stored one of that id; refused overwrites queued only."""
        key = request_key(request.run_id)
        new = item(
            key,
            kind=REQUEST,
            state=request.state.value,
            party=request.party,
            request_digest=request.request_digest,
            body=encode(request),
        )
        values = {"kind": REQUEST, "party": request.party, "request_digest": request.request_digest}
        written = (
            self._table.put_if(
                new,
                condition=SAME_REQUEST_QUEUED,
                values=placeholders(**values, queued=RequestState.QUEUED.value),
            )
            if request.state is RequestState.REFUSED
            else self._table.put_if(new, condition=ABSENT)
        )
        stored = request if written else self.request(request.run_id)
        if stored is None:
            raise BusyError("the request could not be stored; the same call with the same run id may be repeated")
        return stored

    def request(self, run_id: str) -> RunRequest | None:
        """Return the asynchronous request, or None."""
        stored = self._table.get(request_key(run_id))
        return None if stored is None else Fields.of(stored, kind=REQUEST).body(RunRequest)

    # --- answers ------------------------------------------------------------------------------------------------------

    def answer(self, question: str) -> Answer | None:
        """Return the last answer of a question, or None."""
        return self._replays.answer(question)

    def replay(self, replay: Replay, *, run: RunRecord) -> RunRecord:
        """Add a run that gives a stored release again and charges nothing; see the port."""
        added = self._replays.add(replay, run)
        stored = run if added else self.run(run.run_id)
        if stored is None:
            raise BusyError("the run could not be stored; the same call with the same run id may be repeated")
        return same_request(stored, run.request_digest)

    def replay_of(self, run_id: str) -> Replay | None:
        """Return what a run replays, or None."""
        return self._replays.replay_of(run_id)

    # --- histories ----------------------------------------------------------------------------------------------------

    def note(self, room: str, *, kind: str, party: str, body: str, at: datetime) -> None:
        """Add a line to the room's history (an audited change that costs nothing)."""
        check_note(kind)
        backoff = self._table.backoff()
        history = History(room=room)
        while True:
            head = self._histories.head(history)
            line = next_line(head, room=room, at=at, kind=kind, party=party, body=body)
            try:
                self._table.transact(self._histories.append(history, head=head, line=line), backoff)
            except CancelledError:
                backoff.pause()
            else:
                return

    def entries(self, room: str) -> tuple[LedgerEntry, ...]:
        """Return the room's history, by time."""
        return self.history(room).entries

    def history(self, room: str) -> RoomHistory:
        """Return the room's history with the end of each of its chains.

        First the ends are read and then the lines, up to those ends: what is charged meanwhile is not in it.
        """
        own = History(room=room)
        heads = {ROOM_CHAIN: self._histories.head(own)}
        chains = {ROOM_CHAIN: self._histories.lines(own)[: heads[ROOM_CHAIN].count]}
        try:
            names = [name for line in chains[ROOM_CHAIN] if (name := opened_chain(line)) is not None]
            keys = {name: lifetime_key(key_of_chain(room, name)) for name in names}
        except ValueError as error:
            raise LedgerUnreadableError("a line of a history does not say which chain it opens") from error
        ends = self._table.get_each(list(keys.values()))
        for name, key in keys.items():
            heads[name] = lifetime_in(ends.get(key)).head or ChainHead()
            lines = self._histories.lines(History(room=room, chain=name))
            chains[name] = lines[: heads[name].count]
        return RoomHistory(entries=merged(chains), heads=heads)

    def account_entries(self) -> tuple[LedgerEntry, ...]:
        """Return the account's own history, the DP task's, oldest first."""
        return self._histories.lines(History(room=None))


def _fields_of(stored: Attributes) -> Fields:
    return Fields.of(stored, kind=RUN, older=(RUN_2, RUN_1))


def _run_of(stored: Attributes) -> RunRecord:
    fields = _fields_of(stored)
    run = run_in(fields)
    if fields.text("request_digest") != run.request_digest:
        raise LedgerUnreadableError("a stored run contradicts itself")
    try:
        return replace(run, state=RunState(fields.text("state")))
    except ValueError as error:
        raise LedgerUnreadableError("a stored run is in no known state") from error
