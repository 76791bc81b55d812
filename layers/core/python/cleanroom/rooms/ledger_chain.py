"""The hash chain of a room's history: how a line is made from the line before, and how a chain is verified. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cleanroom.rooms.ledger import LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

GENESIS_HASH = "0" * 64
"""What the first line of a history names as the line before it."""

ROOM_CHAIN = ""
"""Name of a room's own chain, and of the account's only one."""

ACCOUNT_HISTORY = "#account"
"""The `room` that lines of the account's own history carry: the DP task belongs to no room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainHead:
    """The end of a history: what the next line must follow.

    Attributes:
        count: lines so far; the next line has this number, counted from 0.
        hash: of the last line, or `GENESIS_HASH`.
    """

    count: int = 0
    hash: str = GENESIS_HASH


def utc_text(at: datetime) -> str:
    """Return an aware time as UTC text of fixed width to the microsecond, so that text order is time order.

    Raises:
        ValueError: `at` is naive. That is our bug: the clock port gives aware times.
    """
    if at.tzinfo is None:
        raise ValueError("a time in the ledger must be aware")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def line_hash(
    *, previous_hash: str, room: str, at: datetime, kind: str, run_id: str | None, party: str, body: str
) -> str:
    """Return the SHA-256, in hex, of one line with the hash of the line before.

    The hashed text is a JSON array in ASCII, so no two different lines give the same text.
    """
    text = json.dumps([previous_hash, room, utc_text(at), kind, run_id, party, body], ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def next_line(
    head: ChainHead, *, room: str, at: datetime, kind: str, party: str, body: str, run_id: str | None = None
) -> LedgerEntry:
    """Return the line that follows `head`."""
    return LedgerEntry(
        room=room,
        at=at,
        kind=kind,
        run_id=run_id,
        party=party,
        body=body,
        previous_hash=head.hash,
        hash=line_hash(previous_hash=head.hash, room=room, at=at, kind=kind, run_id=run_id, party=party, body=body),
    )


def head_after(head: ChainHead, line: LedgerEntry) -> ChainHead:
    """Return the head once `line` is written."""
    return ChainHead(count=head.count + 1, hash=line.hash)


def first_broken_line(
    entries: Sequence[LedgerEntry], *, head: ChainHead | None = None, start: ChainHead | None = None
) -> int | None:
    """Return the number of the first line that is changed, missing, added or out of place; None for an intact chain.

    Args:
        entries: a whole history, oldest first, or all of it that follows `start`.
        head: the stored end of the history. Without it, lines missing from the end cannot be noticed.
        start: an end that was verified before; left out, the beginning.
    """
    end = start or ChainHead()
    for number, entry in enumerate(entries, start=end.count):
        expected = next_line(
            end,
            room=entry.room,
            at=entry.at,
            kind=entry.kind,
            run_id=entry.run_id,
            party=entry.party,
            body=entry.body,
        )
        if entry != expected:
            return number
        end = head_after(end, entry)
    if head is not None and head != end:
        return end.count
    return None
