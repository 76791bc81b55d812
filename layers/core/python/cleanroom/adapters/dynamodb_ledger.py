"""Ledger on DynamoDB: exact, atomic, append-only. The twin of `memory_ledger.py`.

What the items hold beside their keys and `kind` (a new meaning is a new kind):

- settings: `version`, and the record as `body`; beside each an index item `DP_ON`, with `on`
- DP task: `status`, `window`, `revision`, and `window_opened_for`, `since`, `by` where there are any
- spending of a window: `micro_epsilon`, `delta_steps`: what counts against the limit; `unmetered_…`: the rest
- spending ever: `micro_epsilon`, `delta_steps`: all; `unmetered_…`: how much of it while suspended
- run: `state`, `state_since`, `request_digest`, and the run as charged as `body`
- history line: `number` in the chain, and the line as `body`; history head: `count` of lines, `hash` of the last
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cleanroom.adapters.codec import encode
from cleanroom.adapters.dynamodb import CancelledError
from cleanroom.adapters.dynamodb_charge import (
    LIFETIME_SPENDING,
    RUN,
    WINDOW_SPENDING,
    charge_actions,
    charge_token,
    finish_actions,
)
from cleanroom.adapters.dynamodb_expressions import (
    ABSENT,
    MOVE_RUN,
    RUN_IN_EITHER_STATE,
    RUN_IN_STATE,
    SAME_REQUEST_QUEUED,
)
from cleanroom.adapters.dynamodb_history import Histories
from cleanroom.adapters.dynamodb_items import Fields, item, placeholders
from cleanroom.adapters.dynamodb_keys import (
    History,
    lifetime_key,
    request_key,
    run_key,
    window_key,
)
from cleanroom.adapters.dynamodb_settings import SettingsItems
from cleanroom.adapters.dynamodb_task import TaskItem
from cleanroom.errors import (
    BudgetExhaustedError,
    BusyError,
    ConflictError,
    LedgerUnreadableError,
    RunNotFoundError,
    StaleChargeError,
    TooManyUnfinishedRunsError,
)
from cleanroom.privacy.accounting import WINDOW_DELTA_STEPS, ZERO_PRICE, Price
from cleanroom.rooms.ledger import (
    BudgetKey,
    Charge,
    LedgerEntry,
    RequestState,
    RunRecord,
    RunRequest,
    RunState,
    SettingsRecord,
    Spending,
    TaskState,
    TaskStatus,
)
from cleanroom.rooms.ledger_chain import ChainHead, next_line, utc_text
from cleanroom.rooms.ledger_rules import (
    ADVANCES_FROM,
    MOST_UNFINISHED,
    check_charge,
    counts_as_unfinished,
    run_of,
    same_run,
    with_next_window,
    with_status,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cleanroom.adapters.dynamodb import Attributes, Table
    from cleanroom.rooms.settings import PrivacySettings

REQUEST = "request/1"


class DynamoDbLedger:
    """A `Ledger` in one DynamoDB table. Every read is consistent; every method may raise BusyError.

    Every method may also raise LedgerUnreadableError: a damaged record refuses, it never grants (rule 6).
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._histories = Histories(table=table)
        self._settings = SettingsItems(table=table, histories=self._histories)
        self._task = TaskItem(table=table, histories=self._histories)

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
        stored = self._table.get(window_key(key, window))
        return Spending(
            window=_price_of(stored, kind=WINDOW_SPENDING),
            lifetime=_price_of(self._table.get(lifetime_key(key)), kind=LIFETIME_SPENDING),
            unfinished=0 if stored is None else Fields.of(stored, kind=WINDOW_SPENDING).number("unfinished"),
        )

    def charge(self, charge: Charge) -> RunRecord:
        """Charge a run, once, all or nothing (rule 1); see the port for the errors.

        One transaction. Where it is not known to have been applied, the run is read back: what the ledger says
        is what happened.
        """
        check_charge(charge)
        backoff = self._table.backoff()
        while True:
            head = self._histories.head(History(room=charge.room))
            actions = charge_actions(self._table, self._histories, charge, head=head)
            try:
                token = charge_token(charge.run_id, actions)
                self._table.transact(list(actions.values()), backoff, token=token)
            except CancelledError as cancelled:
                failed = {name for name, is_failed in zip(actions, cancelled.failed, strict=True) if is_failed}
                stored = self._after_refusal(charge, failed)
                if stored is not None:
                    return stored
                backoff.pause()
            except BusyError:
                stored = self.run(charge.run_id)
                if stored is None:
                    raise
                return same_run(stored, charge)
            else:
                stored = self.run(charge.run_id) if backoff.tried else None
                return stored or run_of(charge)

    # --- runs and requests --------------------------------------------------------------------------------------------

    def run(self, run_id: str) -> RunRecord | None:
        """Return the run, or None."""
        stored = self._table.get(run_key(run_id))
        return None if stored is None else _run_of(stored)

    def advance(self, run_id: str, *, to: RunState, at: datetime) -> RunRecord:
        """Move a run forward; moving it to where it is already changes nothing. Raises ConflictError otherwise."""
        sources = [state.value for state in ADVANCES_FROM.get(to, ())]
        if to is RunState.RELEASED:
            self._finish(run_id, at=at)
        elif sources:
            values = {"kind": RUN, "source": sources[0], "to": to.value, "at": utc_text(at)}
            if len(sources) > 1:
                values["or_source"] = sources[1]
            moved = self._table.update_if(
                run_key(run_id),
                update=MOVE_RUN,
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

    def _finish(self, run_id: str, *, at: datetime) -> None:
        """Move an executed run to released and count it as unfinished no longer, in one transaction.

        Where it is not known to have been applied, or the run is elsewhere, the caller reads the run back.
        """
        run = self.run(run_id)
        if run is None or run.state is not RunState.EXECUTED:
            return
        actions = finish_actions(self._table, run, source=RunState.EXECUTED, at=at)
        # The window's item is gone long after its window, and then nothing counts by it any more.
        for attempted in (actions if counts_as_unfinished(run) else actions[:1], actions[:1]):
            try:
                self._table.transact(attempted, self._table.backoff())
            except CancelledError as cancelled:
                if cancelled.failed[0]:
                    return
            else:
                return

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

    # --- histories ----------------------------------------------------------------------------------------------------

    def note(self, room: str, *, kind: str, party: str, body: str, at: datetime) -> None:
        """Add a line to the room's history (an audited change that costs nothing)."""
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
        """Return the room's history, oldest first."""
        return self._histories.lines(History(room=room))

    def account_entries(self) -> tuple[LedgerEntry, ...]:
        """Return the account's own history, the DP task's, oldest first."""
        return self._histories.lines(History(room=None))

    def head(self, room: str) -> ChainHead:
        """Return the end of the room's history, as it was written beside the last line."""
        return self._histories.head(History(room=room))

    # --- how ----------------------------------------------------------------------------------------------------------

    def _after_refusal(self, charge: Charge, failed: set[str]) -> RunRecord | None:
        """Say why a charge was not applied: the earlier run, a refusal, or None where trying again can help.

        Each cause is read, so that a damaged record shows as one.
        """
        stored = self.run(charge.run_id)
        if stored is not None:
            return same_run(stored, charge)
        if "task" in failed:
            self.task()
            raise StaleChargeError("the DP task has changed since the run was priced")
        for number, key in enumerate(charge.budgets):
            if f"settings:{number}" in failed:
                self.settings(key)
                raise StaleChargeError("the privacy settings have changed since the run was priced")
        for number, key in enumerate(charge.budgets):
            if {f"window:{number}", f"lifetime:{number}"} & failed:
                spent = self.spending(key, window=charge.window)
                within = (
                    spent.window.micro_epsilon + charge.price.micro_epsilon <= charge.limit_micro_epsilon[number]
                    and spent.window.delta_steps + charge.price.delta_steps <= WINDOW_DELTA_STEPS
                )
                if within and counts_as_unfinished(charge) and spent.unfinished >= MOST_UNFINISHED:
                    raise TooManyUnfinishedRunsError(unfinished=spent.unfinished, limit=MOST_UNFINISHED)
                if f"window:{number}" in failed and not charge.unmetered:
                    raise BudgetExhaustedError(
                        price_micro_epsilon=charge.price.micro_epsilon,
                        spent_micro_epsilon=spent.window.micro_epsilon,
                        limit_micro_epsilon=charge.limit_micro_epsilon[number],
                        price_delta_steps=charge.price.delta_steps,
                        spent_delta_steps=spent.window.delta_steps,
                        window_ends="the next renewal",
                    )
        return None


def _run_of(stored: Attributes) -> RunRecord:
    fields = Fields.of(stored, kind=RUN)
    run = fields.body(RunRecord)
    if fields.text("request_digest") != run.request_digest:
        raise LedgerUnreadableError("a stored run contradicts itself")
    try:
        return replace(run, state=RunState(fields.text("state")))
    except ValueError as error:
        raise LedgerUnreadableError("a stored run is in no known state") from error


def _price_of(stored: Attributes | None, *, kind: str) -> Price:
    if stored is None:
        return ZERO_PRICE
    fields = Fields.of(stored, kind=kind)
    for name in ("unmetered_micro_epsilon", "unmetered_delta_steps"):
        fields.number(name)
    return Price(micro_epsilon=fields.number("micro_epsilon"), delta_steps=fields.number("delta_steps"))
