"""Ports to what was recorded: chains of the ledger's history, statements of windows, and signs of misuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from cleanroom.rooms.activity import Activity
    from cleanroom.rooms.anomalies import ChargeCounts
    from cleanroom.rooms.ledger import (
        BudgetKey,
        LedgerEntry,
    )
    from cleanroom.rooms.ledger_audit import Checkpoint
    from cleanroom.rooms.ledger_chain import ChainHead
    from cleanroom.templates.kinship import Kinship


class AuditTrail(Protocol):
    """The ledger as its auditor reads it: what was active in a window, histories by line, how far they were checked.

    A room's history may be several chains; `chain` names one of them, and `ROOM_CHAIN` is the room's own. `room` is
    None for the account's history.
    """

    def active(self, window: int) -> tuple[Activity, ...]:
        """Return every budget that was charged or refused in a window, by room, party and template."""

    def chains(self, room: str | None, budgets: Collection[BudgetKey]) -> tuple[str, ...]:
        """Return the chains that hold a room's own changes and the charges of these budgets of it."""

    def head(self, room: str | None, chain: str) -> ChainHead:
        """Return the end of a chain, as it was written beside its last line."""

    def lines(self, room: str | None, chain: str, *, checkpoint: Checkpoint, head: ChainHead) -> Sequence[LedgerEntry]:
        """Return the lines after `checkpoint` that `head` ends with, oldest first; lines that are missing are not."""

    def page(
        self, room: str | None, chain: str, *, after: str, limit: int
    ) -> tuple[Sequence[tuple[str, LedgerEntry]], bool]:
        """Return up to `limit` lines after a place, each with its own place, oldest first; and whether more follow."""

    def checkpoint(self, room: str | None, chain: str) -> Checkpoint:
        """Return how far a chain was verified; the beginning where it never was."""

    def put_checkpoint(self, room: str | None, chain: str, checkpoint: Checkpoint, *, replaces: Checkpoint) -> None:
        """Store a checkpoint; nothing happens where another check has replaced `replaces` in the meantime."""

    def closed_through(self) -> int:
        """Return the last window whose statements are all written; -1 where there is none."""

    def set_closed_through(self, window: int) -> None:
        """Say that all statements up to `window` are written; it never goes back."""


class Signals(Protocol):
    """Counts that let somebody notice what is worth a look. They limit nothing, and depend on no row."""

    def refused(self, budget: BudgetKey, *, window: int, at: datetime) -> Activity:
        """Count one refused request to run, and return the counts as they now stand."""

    def charged(
        self, budget: BudgetKey, *, window: int, at: datetime, micro_epsilon: int, kinship: Kinship | None
    ) -> ChargeCounts | None:
        """Count one charged run, and return what its counts are now; None where too many were counted already."""


class StatementStore(Protocol):
    """Statements of windows, one object for each room and window, written once."""

    def put_if_absent(self, *, room: str, window: int, statement: bytes) -> bool:
        """Store a statement, unless there is one; return whether it was written now."""

    def get(self, *, room: str, window: int) -> bytes | None:
        """Return a statement, or None."""

    def windows(self, room: str, *, after: int, limit: int) -> Sequence[int]:
        """Return the numbers of up to `limit` windows after `after` that have a statement, in order."""


class AuditExport(Protocol):
    """Where histories are copied to, out of reach of whoever can write the ledger."""

    def put_if_absent(self, *, room: str | None, chain: str, first: int, count: int, content: bytes) -> None:
        """Store the lines from number `first` up to the chain's `count`, unless that was done before."""
