"""Append-only histories in DynamoDB: the lines, and the head that the next one must follow. Used by the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cleanroom.adapters.codec import encode
from cleanroom.adapters.dynamodb_expressions import ABSENT, HEAD_UNCHANGED
from cleanroom.adapters.dynamodb_items import Fields, item, placeholders
from cleanroom.adapters.dynamodb_keys import head_key, history_partition, line_key
from cleanroom.rooms.ledger import LedgerEntry
from cleanroom.rooms.ledger_chain import ChainHead, head_after

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from cleanroom.adapters.dynamodb import Table
    from cleanroom.adapters.dynamodb_keys import History

LINE = "line/1"
HEAD = "head/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Histories:
    """The histories of all rooms and of the account."""

    table: Table

    def head(self, history: History) -> ChainHead:
        """Return the present end of a history. Raises LedgerUnreadableError, BusyError."""
        stored = self.table.get(head_key(history))
        if stored is None:
            return ChainHead()
        fields = Fields.of(stored, kind=HEAD)
        return ChainHead(count=fields.number("count"), hash=fields.text("hash"))

    def append(self, history: History, *, head: ChainHead, line: LedgerEntry) -> list[TransactWriteItemTypeDef]:
        """Return the two actions that write `line` after `head`: cancelled where another line came first."""
        after = head_after(head, line)
        written = item(
            line_key(history, at=line.at, number=head.count), kind=LINE, number=head.count, body=encode(line)
        )
        new_head = item(head_key(history), kind=HEAD, count=after.count, hash=after.hash)
        if head.count == 0:
            move = self.table.put(new_head, condition=ABSENT)
        else:
            values = placeholders(kind=HEAD, count=head.count, hash=head.hash)
            move = self.table.put(new_head, condition=HEAD_UNCHANGED, values=values)
        return [self.table.put(written, condition=ABSENT), move]

    def lines(self, history: History) -> tuple[LedgerEntry, ...]:
        """Return all lines in the order of the chain. Raises LedgerUnreadableError, BusyError.

        Sort keys are times, so that a span of time can be read; clocks of two machines may differ, and so the
        order is that of the numbers.
        """
        stored = [Fields.of(line, kind=LINE) for line in self.table.query(history_partition(history))]
        stored.sort(key=lambda fields: fields.number("number"))
        return tuple(fields.body(LedgerEntry) for fields in stored)
