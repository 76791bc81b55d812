"""The account's DP task in DynamoDB: status and window, every change of it audited. Part of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cleanroom.adapters.dynamodb import CancelledError
from cleanroom.adapters.dynamodb_charge import TASK
from cleanroom.adapters.dynamodb_expressions import ABSENT, TASK_AT_REVISION
from cleanroom.adapters.dynamodb_items import Fields, item, placeholders
from cleanroom.adapters.dynamodb_keys import History, task_key
from cleanroom.errors import LedgerUnreadableError
from cleanroom.rooms.ledger import TaskState, TaskStatus
from cleanroom.rooms.ledger_chain import next_line, utc_text
from cleanroom.rooms.ledger_rules import task_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from cleanroom.adapters.dynamodb import Table
    from cleanroom.adapters.dynamodb_history import Histories


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskItem:
    """The one item that every charge of the account checks."""

    table: Table
    histories: Histories

    def state(self) -> TaskState:
        """Return the state; a new account is running, in window 0."""
        return self._read()[0]

    def _read(self) -> tuple[TaskState, int]:
        stored = self.table.get(task_key())
        if stored is None:
            return TaskState(), 0
        fields = Fields.of(stored, kind=TASK)
        try:
            task = TaskState(
                status=TaskStatus(fields.text("status")),
                window=fields.number("window"),
                window_opened_for=_time(fields.text_or_none("window_opened_for")),
                since=_time(fields.text_or_none("since")),
                by=fields.text_or_none("by"),
            )
        except ValueError as error:
            raise LedgerUnreadableError("the stored state of the DP task cannot be read") from error
        return task, fields.number("revision")

    def change(self, change: Callable[[TaskState], TaskState], *, kind: str, by: str, at: datetime) -> TaskState:
        """Write the changed task, and the change into the account's history, in one transaction."""
        backoff = self.table.backoff()
        history = History(room=None)
        while True:
            present, revision = self._read()
            task = change(present)
            if task == present:
                return present
            head = self.histories.head(history)
            line = next_line(head, room=history.label, at=at, kind=kind, party=by, body=task_body(task))
            new = item(
                task_key(),
                kind=TASK,
                status=task.status.value,
                window=task.window,
                window_opened_for=_text(task.window_opened_for),
                since=_text(task.since),
                by=task.by,
                revision=revision + 1,
            )
            write = (
                self.table.put(new, condition=ABSENT)
                if revision == 0
                else self.table.put(
                    new,
                    condition=TASK_AT_REVISION,
                    values=placeholders(kind=TASK, revision=revision),
                )
            )
            try:
                self.table.transact([write, *self.histories.append(history, head=head, line=line)], backoff)
            except CancelledError:
                backoff.pause()
            else:
                return task


def _text(at: datetime | None) -> str | None:
    return None if at is None else utc_text(at)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
