"""The account's DP task in DynamoDB: status and window, every change of it audited. Part of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cleanroom.adapters.dynamodb import CancelledError
from cleanroom.adapters.dynamodb_expressions import ABSENT, AT_REVISION, TASK_COPY_BEHIND
from cleanroom.adapters.dynamodb_items import Fields, item, placeholders
from cleanroom.adapters.dynamodb_keys import TASK_COPIES, History, task_copy_key, task_key
from cleanroom.adapters.dynamodb_kinds import TASK, TASK_COPY
from cleanroom.errors import LedgerUnreadableError
from cleanroom.rooms.ledger import TaskState, TaskStatus
from cleanroom.rooms.ledger_chain import next_line, utc_text
from cleanroom.rooms.ledger_rules import task_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from cleanroom.adapters.dynamodb import Attributes, Table
    from cleanroom.adapters.dynamodb_history import Histories


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskItems:
    """The task, and copies of its revision: a charge checks a copy in its transaction, and so none waits for another.

    The task itself is written first, together with its line in the history; then every copy is brought to its
    revision; a change returns when all are. A charge reads task and copy at once, brings its copy forward where it
    is behind, and is applied only if the copy still has the revision that it has read. See docs/adr/0016.
    """

    table: Table
    histories: Histories

    def state(self) -> TaskState:
        """Return the state; a new account is running, in window 0."""
        return task_in(self.table.get(task_key()))[0]

    def change(self, change: Callable[[TaskState], TaskState], *, kind: str, by: str, at: datetime) -> TaskState:
        """Write the changed task, the change into the account's history, and all copies.

        A repeated change that finds the task as it should be finishes the copies that an interrupted one left behind.
        """
        backoff = self.table.backoff()
        history = History(room=None)
        while True:
            present, revision = task_in(self.table.get(task_key()))
            task = change(present)
            if task == present:
                break
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
                    condition=AT_REVISION,
                    values=placeholders(kind=TASK, revision=revision),
                )
            )
            try:
                self.table.transact([write, *self.histories.append(history, head=head, line=line)], backoff)
            except CancelledError:
                backoff.pause()
            else:
                revision += 1
                break
        if revision:
            self._bring_all(revision)
        return task

    def bring(self, number: int, *, revision: int) -> None:
        """Bring one copy forward to a revision that the task has; a copy that is there or further stays as it is."""
        copy = item(task_copy_key(number), kind=TASK_COPY, revision=revision)
        self.table.put_if(copy, condition=TASK_COPY_BEHIND, values=placeholders(kind=TASK_COPY, revision=revision))

    def _bring_all(self, revision: int) -> None:
        """Bring every copy to the revision; where one is damaged, charges that check it are refused, and so is this."""
        found = self.table.get_each([task_copy_key(number) for number in range(TASK_COPIES)])
        for number in range(TASK_COPIES):
            if copy_revision_in(found.get(task_copy_key(number))) < revision:
                self.bring(number, revision=revision)


def task_in(stored: Attributes | None) -> tuple[TaskState, int]:
    """Return the task and its revision; revision 0 is that of a new account. Raises LedgerUnreadableError."""
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


def copy_revision_in(stored: Attributes | None) -> int:
    """Return the revision of a copy; 0 where there is none yet. Raises LedgerUnreadableError."""
    return 0 if stored is None else Fields.of(stored, kind=TASK_COPY).number("revision")


def _text(at: datetime | None) -> str | None:
    return None if at is None else utc_text(at)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
