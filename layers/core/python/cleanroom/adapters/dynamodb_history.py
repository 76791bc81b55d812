"""Append-only chains in DynamoDB: the lines, and the head that the next one must follow. Used by the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cleanroom.adapters.codec import encode
from cleanroom.adapters.dynamodb_expressions import ABSENT, HEAD_UNCHANGED
from cleanroom.adapters.dynamodb_items import Fields, item, placeholders
from cleanroom.adapters.dynamodb_keys import head_key, history_partition, line_key
from cleanroom.adapters.dynamodb_kinds import HEAD, LINE, LINE_1, line_in
from cleanroom.rooms.ledger_chain import ChainHead, head_after, utc_text

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from cleanroom.adapters.dynamodb import Attributes, Table
    from cleanroom.adapters.dynamodb_keys import History
    from cleanroom.rooms.ledger import LedgerEntry

_CLOCKS_DIFFER = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Histories:
    """The chains of all rooms and of the account."""

    table: Table

    def head(self, history: History) -> ChainHead:
        """Return the present end of a history. Raises LedgerUnreadableError, BusyError."""
        return head_in(self.table.get(head_key(history)))

    def append(self, history: History, *, head: ChainHead, line: LedgerEntry) -> list[TransactWriteItemTypeDef]:
        """Return the two actions that write `line` after `head`: cancelled where another line came first."""
        return [self.line(history, head=head, line=line), self.move(history, head=head, after=head_after(head, line))]

    def line(self, history: History, *, head: ChainHead, line: LedgerEntry) -> TransactWriteItemTypeDef:
        """Return the action that writes a line behind `head`; the head itself is moved by another."""
        key = line_key(history, at=line.at, number=head.count)
        return self.table.put(item(key, kind=LINE, number=head.count, body=encode(line)), condition=ABSENT)

    def move(self, history: History, *, head: ChainHead, after: ChainHead) -> TransactWriteItemTypeDef:
        """Return the action that moves the end of a room's own chain, or the account's."""
        new_head = item(head_key(history), kind=HEAD, count=after.count, hash=after.hash)
        if head.count == 0:
            return self.table.put(new_head, condition=ABSENT)
        values = placeholders(kind=HEAD, count=head.count, hash=head.hash)
        return self.table.put(new_head, condition=HEAD_UNCHANGED, values=values)

    def lines_until(
        self, history: History, *, first: int, head: ChainHead, since: datetime | None
    ) -> tuple[LedgerEntry, ...]:
        """Return the lines from number `first` to the end that `head` says, in the order of the chain.

        Args:
            history: whose.
            first: number of the first line wanted.
            head: the end.
            since: time of the line before `first`. Lines are found by time, and clocks of two machines may differ: what
                lies up to ten minutes before is read again. None reads all.
        """
        after = "" if since is None else utc_text(since - _CLOCKS_DIFFER)
        stored = [_fields_of(line) for line in self.table.query_after(history_partition(history), after=after)]
        wanted = [fields for fields in stored if first <= fields.number("number") < head.count]
        wanted.sort(key=lambda fields: fields.number("number"))
        return tuple(line_in(fields) for fields in wanted)

    def page(self, history: History, *, after: str, limit: int) -> tuple[tuple[tuple[str, LedgerEntry], ...], bool]:
        """Return up to `limit` lines with sort keys beyond `after`, each with its own; and whether more follow."""
        stored = self.table.query_after(history_partition(history), after=after, limit=limit + 1)
        lines = [_fields_of(line) for line in stored[:limit]]
        return tuple((fields.text("sk"), line_in(fields)) for fields in lines), len(stored) > limit

    def lines(self, history: History) -> tuple[LedgerEntry, ...]:
        """Return all lines in the order of the chain. Raises LedgerUnreadableError, BusyError.

        Sort keys are times, so that a span of time can be read; clocks of two machines may differ, and so the
        order is that of the numbers.
        """
        stored = [_fields_of(line) for line in self.table.query(history_partition(history))]
        stored.sort(key=lambda fields: fields.number("number"))
        return tuple(line_in(fields) for fields in stored)


def _fields_of(stored: Attributes) -> Fields:
    return Fields.of(stored, kind=LINE, older=(LINE_1,))


def head_in(stored: Attributes | None) -> ChainHead:
    """Return the end of a room's own chain, or the account's. Raises LedgerUnreadableError."""
    if stored is None:
        return ChainHead()
    fields = Fields.of(stored, kind=HEAD)
    return ChainHead(count=fields.number("count"), hash=fields.text("hash"))
