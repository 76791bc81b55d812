"""Audit trail, statements, exports in memory, for tests: the twins of `dynamodb_audit.py` and `statement_store.py`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from cleanroom.rooms.activity import Activity, hour_of
from cleanroom.rooms.ledger_audit import Checkpoint, budget_order
from cleanroom.rooms.ledger_chain import ROOM_CHAIN, ChainHead, chain_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from cleanroom.adapters.memory_ledger import MemoryLedger
    from cleanroom.rooms.ledger import BudgetKey, LedgerEntry


class MemoryAuditTrail:
    """An `AuditTrail` over a `MemoryLedger`."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self._refused: dict[tuple[int, BudgetKey], Activity] = {}
        self._checkpoints: defaultdict[tuple[str | None, str], Checkpoint] = defaultdict(Checkpoint)
        self._closed_through = -1

    def active(self, window: int) -> tuple[Activity, ...]:
        """Return every budget that was charged or refused in a window."""
        found = {budget: Activity(budget=budget) for budget in self._ledger.charged_in(window)}
        found |= {budget: one for (refused_in, budget), one in self._refused.items() if refused_in == window}
        return tuple(found[budget] for budget in sorted(found, key=budget_order))

    def count_refusal(self, budget: BudgetKey, *, window: int, at: datetime) -> Activity:
        """Count one refused request to run."""
        before, hour = self._refused.get((window, budget), Activity(budget=budget)), hour_of(at)
        in_hour = before.refusals_in_hour + 1 if before.hour == hour else 1
        counted = replace(before, refusals=before.refusals + 1, refusals_in_hour=in_hour, hour=hour)
        self._refused[window, budget] = counted
        return counted

    def chains(self, room: str | None, budgets: Collection[BudgetKey]) -> tuple[str, ...]:
        """Return the chains that hold a room's own changes and the charges of these budgets of it."""
        own = () if room is None else sorted(chain_of(budget) for budget in budgets)
        return (ROOM_CHAIN, *own)

    def head(self, room: str | None, chain: str) -> ChainHead:
        """Return the end of a chain."""
        return self._ledger.head(room, chain)

    def lines(self, room: str | None, chain: str, *, checkpoint: Checkpoint, head: ChainHead) -> Sequence[LedgerEntry]:
        """Return the lines after `checkpoint` that `head` ends with."""
        return self._lines(room, chain)[checkpoint.count : head.count]

    def page(
        self, room: str | None, chain: str, *, after: str, limit: int
    ) -> tuple[Sequence[tuple[str, LedgerEntry]], bool]:
        """Return up to `limit` lines after a place."""
        first = int(after) + 1 if after else 0
        lines = self._lines(room, chain)
        shown = [(f"{first + number:020d}", line) for number, line in enumerate(lines[first : first + limit])]
        return shown, len(lines) > first + limit

    def checkpoint(self, room: str | None, chain: str) -> Checkpoint:
        """Return how far a chain was verified."""
        return self._checkpoints[room, chain]

    def put_checkpoint(self, room: str | None, chain: str, checkpoint: Checkpoint, *, replaces: Checkpoint) -> None:
        """Store a checkpoint, unless another was stored in the meantime."""
        if self._checkpoints[room, chain].count == replaces.count:
            self._checkpoints[room, chain] = checkpoint

    def closed_through(self) -> int:
        """Return the last window whose statements are all written; -1 where there is none."""
        return self._closed_through

    def set_closed_through(self, window: int) -> None:
        """Say that all statements up to `window` are written."""
        self._closed_through = max(self._closed_through, window)

    def _lines(self, room: str | None, chain: str) -> Sequence[LedgerEntry]:
        return self._ledger.chain(room, chain)


class MemoryStatementStore:
    """The twin of `S3StatementStore`.

    Attributes:
        statements: (room, window) -> statement.
    """

    def __init__(self) -> None:
        self.statements: dict[tuple[str, int], bytes] = {}

    def put_if_absent(self, *, room: str, window: int, statement: bytes) -> bool:
        """Store a statement, unless there is one."""
        return self.statements.setdefault((room, window), statement) is statement

    def get(self, *, room: str, window: int) -> bytes | None:
        """Return a statement, or None."""
        return self.statements.get((room, window))

    def windows(self, room: str, *, after: int, limit: int) -> Sequence[int]:
        """Return the numbers of up to `limit` windows after `after` that have a statement, in order."""
        return sorted(window for name, window in self.statements if name == room and window > after)[:limit]


class MemoryAuditExport:
    """The twin of `S3AuditExport`.

    Attributes:
        objects: (room or None, chain, first line, lines of the chain) -> content.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str | None, str, int, int], bytes] = {}

    def put_if_absent(self, *, room: str | None, chain: str, first: int, count: int, content: bytes) -> None:
        """Store lines, unless that was done before."""
        self.objects.setdefault((room, chain, first, count), content)
