"""Audit trail, signals, statements and exports in memory, for tests: twins of what keeps them in DynamoDB and S3."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from cleanroom.adapters.dynamodb_signals import MOST_COUNTED
from cleanroom.rooms.activity import Activity, hour_of
from cleanroom.rooms.anomalies import ChargeCounts
from cleanroom.rooms.ledger_audit import Checkpoint, budget_order
from cleanroom.rooms.ledger_chain import ROOM_CHAIN, ChainHead, chain_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from cleanroom.adapters.memory_ledger import MemoryLedger
    from cleanroom.rooms.ledger import BudgetKey, LedgerEntry
    from cleanroom.templates.kinship import Kinship


class MemorySignals:
    """The twin of `DynamoDbSignals`."""

    def __init__(self) -> None:
        self._refused: dict[tuple[int, BudgetKey], Activity] = {}
        self._spent: defaultdict[tuple[int, BudgetKey, int], int] = defaultdict(int)
        self._alike: defaultdict[tuple[int, BudgetKey, str], set[str]] = defaultdict(set)
        self._charges: defaultdict[tuple[int, BudgetKey], int] = defaultdict(int)

    def refused(self, budget: BudgetKey, *, window: int, at: datetime) -> Activity:
        """Count one refused request to run."""
        before, hour = self._refused.get((window, budget), Activity(budget=budget)), hour_of(at)
        in_hour = before.refusals_in_hour + 1 if before.hour == hour else 1
        counted = replace(before, refusals=before.refusals + 1, refusals_in_hour=in_hour, hour=hour)
        self._refused[window, budget] = counted
        return counted

    def charged(
        self, budget: BudgetKey, *, window: int, at: datetime, micro_epsilon: int, kinship: Kinship | None
    ) -> ChargeCounts | None:
        """Count one charged run; None where too many were counted already."""
        if self._charges[window, budget] >= MOST_COUNTED:
            return None
        self._charges[window, budget] += 1
        self._spent[window, budget, hour_of(at)] += micro_epsilon
        kin = () if kinship is None else kinship.kin
        for one in kin:
            self._alike[window, budget, one].add(kinship.query if kinship else "")
        return ChargeCounts(
            spent_in_hour=self._spent[window, budget, hour_of(at)],
            alike=max((len(self._alike[window, budget, one]) for one in kin), default=0),
        )

    def refused_in(self, window: int) -> tuple[Activity, ...]:
        """Return the counts of every budget of which something was refused in a window."""
        return tuple(one for (refused_in, _), one in self._refused.items() if refused_in == window)


class MemoryAuditTrail:
    """An `AuditTrail` over a `MemoryLedger`."""

    def __init__(self, ledger: MemoryLedger, signals: MemorySignals) -> None:
        self._ledger, self._signals = ledger, signals
        self._checkpoints: defaultdict[tuple[str | None, str], Checkpoint] = defaultdict(Checkpoint)
        self._closed_through = -1

    def active(self, window: int) -> tuple[Activity, ...]:
        """Return every budget that was charged or refused in a window."""
        found = {budget: Activity(budget=budget) for budget in self._ledger.charged_in(window)}
        found |= {one.budget: one for one in self._signals.refused_in(window)}
        return tuple(found[budget] for budget in sorted(found, key=budget_order))

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
