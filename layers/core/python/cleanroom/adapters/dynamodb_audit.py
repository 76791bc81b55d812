"""The ledger's table as its auditor reads it. Adapter of the port `AuditTrail`; the twin is in `memory_audit.py`.

Beside what the ledger writes: `CHECKED#<room>` / `CHAIN#<chain>`: how far a chain was verified and what its lines add
up to, as `body`; `ACCOUNT` / `WINDOWS_CLOSED`: the last window whose statements are written.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from cleanroom.adapters.codec import encode
from cleanroom.adapters.dynamodb_activity import ActivityItems
from cleanroom.adapters.dynamodb_budgets import lifetime_in
from cleanroom.adapters.dynamodb_expressions import CHECKPOINT_AT_COUNT, CLOSED_BEFORE
from cleanroom.adapters.dynamodb_history import Histories
from cleanroom.adapters.dynamodb_items import Fields, item, placeholders
from cleanroom.adapters.dynamodb_keys import History, Key, joined, lifetime_key
from cleanroom.rooms.ledger_audit import Checkpoint
from cleanroom.rooms.ledger_chain import ROOM_CHAIN, ChainHead, chain_of, key_of_chain

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cleanroom.adapters.dynamodb import Table
    from cleanroom.rooms.activity import Activity
    from cleanroom.rooms.ledger import BudgetKey, LedgerEntry

CHECKPOINT = "checkpoint/1"
CLOSED = "windows_closed/1"

_CLOSED_KEY = Key(pk="ACCOUNT", sk="WINDOWS_CLOSED")


class DynamoDbAuditTrail:
    """An `AuditTrail` over the ledger's table. Every read is consistent; every method may raise BusyError.

    Every method may also raise LedgerUnreadableError.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._histories, self._activity = Histories(table=table), ActivityItems(table=table)

    def active(self, window: int) -> tuple[Activity, ...]:
        """Return every budget that was charged or refused in a window, by room, party and template."""
        return self._activity.of_window(window)

    def chains(self, room: str | None, budgets: Collection[BudgetKey]) -> tuple[str, ...]:
        """Return the chains that hold a room's own changes and the charges of these budgets of it."""
        own = () if room is None else sorted(chain_of(budget) for budget in budgets)
        return (ROOM_CHAIN, *own)

    def head(self, room: str | None, chain: str) -> ChainHead:
        """Return the end of a chain, as it was written beside its last line."""
        if room is None or chain == ROOM_CHAIN:
            return self._histories.head(_history(room, chain))
        stored = self._table.get(lifetime_key(key_of_chain(room, chain)))
        return lifetime_in(stored).head or ChainHead()

    def lines(self, room: str | None, chain: str, *, checkpoint: Checkpoint, head: ChainHead) -> Sequence[LedgerEntry]:
        """Return the lines after `checkpoint` that `head` ends with, oldest first."""
        if checkpoint.count >= head.count:
            return ()
        since = datetime.fromisoformat(checkpoint.last_at) if checkpoint.last_at else None
        return self._histories.lines_until(_history(room, chain), first=checkpoint.count, head=head, since=since)

    def page(
        self, room: str | None, chain: str, *, after: str, limit: int
    ) -> tuple[Sequence[tuple[str, LedgerEntry]], bool]:
        """Return up to `limit` lines after a place, each with its own place; and whether there are more."""
        return self._histories.page(_history(room, chain), after=after, limit=limit)

    def checkpoint(self, room: str | None, chain: str) -> Checkpoint:
        """Return how far a chain was verified; the beginning where it never was."""
        stored = self._table.get(_checkpoint_key(room, chain))
        return Checkpoint() if stored is None else Fields.of(stored, kind=CHECKPOINT).body(Checkpoint)

    def put_checkpoint(self, room: str | None, chain: str, checkpoint: Checkpoint, *, replaces: Checkpoint) -> None:
        """Store a checkpoint; nothing happens where another check has replaced `replaces` in the meantime."""
        if checkpoint != replaces:
            new = item(_checkpoint_key(room, chain), kind=CHECKPOINT, count=checkpoint.count, body=encode(checkpoint))
            values = placeholders(kind=CHECKPOINT, count=replaces.count)
            self._table.put_if(new, condition=CHECKPOINT_AT_COUNT, values=values)

    def closed_through(self) -> int:
        """Return the last window whose statements are all written; -1 where there is none."""
        stored = self._table.get(_CLOSED_KEY)
        return -1 if stored is None else Fields.of(stored, kind=CLOSED).number("window")

    def set_closed_through(self, window: int) -> None:
        """Say that all statements up to `window` are written; it never goes back."""
        new = item(_CLOSED_KEY, kind=CLOSED, window=window)
        self._table.put_if(new, condition=CLOSED_BEFORE, values=placeholders(kind=CLOSED, window=window))


def rooms_with_history(table: Table) -> tuple[str, ...]:
    """Return every room of the deployment that has a history, also dropped ones, by name.

    It scans the whole table, so it is for a person who verifies everything; no function has the right to.
    """
    prefix = joined("HEAD", "")
    pages = table.client.get_paginator("scan").paginate(
        TableName=table.name, ProjectionExpression="#pk", ExpressionAttributeNames={"#pk": "pk"}, ConsistentRead=True
    )
    heads = {Fields(stored=stored).text("pk") for page in pages for stored in page["Items"]}
    names = (pk.removeprefix(prefix) for pk in heads if pk.startswith(prefix) and not pk.startswith(f"{prefix}#"))
    return tuple(sorted(name.replace("%23", "#").replace("%25", "%") for name in names))


def _history(room: str | None, chain: str) -> History:
    return History(room=room, chain=chain)


def _checkpoint_key(room: str | None, chain: str) -> Key:
    return Key(pk="CHECKED##account" if room is None else joined("CHECKED", room), sk=joined("CHAIN", chain))
