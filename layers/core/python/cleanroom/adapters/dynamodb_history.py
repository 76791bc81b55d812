"""Append-only histories in DynamoDB: the lines, and the head that the next one must follow. Used by the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cleanroom.adapters.codec import encode
from cleanroom.adapters.dynamodb_expressions import ABSENT, HEAD_UNCHANGED
from cleanroom.adapters.dynamodb_items import Fields, item, placeholders
from cleanroom.adapters.dynamodb_keys import head_key, history_partition, line_key
from cleanroom.rooms.ledger import LedgerEntry
from cleanroom.rooms.ledger_chain import ChainHead, head_after, utc_text

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from cleanroom.adapters.dynamodb import Table
    from cleanroom.adapters.dynamodb_keys import History

LINE = "line/1"
HEAD = "head/1"

_CLOCKS_DIFFER = timedelta(minutes=10)


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
        stored = [
            Fields.of(line, kind=LINE) for line in self.table.query_after(history_partition(history), after=after)
        ]
        wanted = [fields for fields in stored if first <= fields.number("number") < head.count]
        wanted.sort(key=lambda fields: fields.number("number"))
        return tuple(fields.body(LedgerEntry) for fields in wanted)

    def page(self, history: History, *, after: str, limit: int) -> tuple[tuple[tuple[str, LedgerEntry], ...], bool]:
        """Return up to `limit` lines with sort keys beyond `after`, each with its own; and whether more follow."""
        stored = self.table.query_after(history_partition(history), after=after, limit=limit + 1)
        lines = [Fields.of(line, kind=LINE) for line in stored[:limit]]
        return tuple((fields.text("sk"), fields.body(LedgerEntry)) for fields in lines), len(stored) > limit

    def lines(self, history: History) -> tuple[LedgerEntry, ...]:
        """Return all lines in the order of the chain. Raises LedgerUnreadableError, BusyError.

        Sort keys are times, so that a span of time can be read; clocks of two machines may differ, and so the
        order is that of the numbers.
        """
        stored = [Fields.of(line, kind=LINE) for line in self.table.query(history_partition(history))]
        stored.sort(key=lambda fields: fields.number("number"))
        return tuple(fields.body(LedgerEntry) for fields in stored)
