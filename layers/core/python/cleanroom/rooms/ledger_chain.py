"""The hash chains of a room's history: how a line is made from the line before, and how they are verified. Pure.

A room has its own chain, of everything that is done to it, and one chain of charges for each budget: charges of
different budgets do not wait for each other. The room's own chain opens each of the others.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cleanroom.rooms.ledger import BudgetKey, LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GENESIS_HASH = "0" * 64
"""What the first line of a history names as the line before it."""

ROOM_CHAIN = ""
"""Name of a room's own chain, and of the account's only one."""

OPENING = "chain"
"""Kind of the lines that open the chain of a budget; no other line has it."""

ACCOUNT_HISTORY = "#account"
"""The `room` that lines of the account's own history carry: the DP task belongs to no room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainHead:
    """The end of a chain: what the next line must follow.

    Attributes:
        count: lines so far; the next line has this number, counted from 0.
        hash: of the last line, or `GENESIS_HASH`.
    """

    count: int = 0
    hash: str = GENESIS_HASH


@dataclass(frozen=True, kw_only=True, slots=True)
class RoomHistory:
    """The whole history of a room at one moment: its lines, and the end of each of its chains."""

    entries: tuple[LedgerEntry, ...]
    heads: Mapping[str, ChainHead]


def utc_text(at: datetime) -> str:
    """Return an aware time as UTC text of fixed width to the microsecond, so that text order is time order.

    Raises:
        ValueError: `at` is naive. That is our bug: the clock port gives aware times.
    """
    if at.tzinfo is None:
        raise ValueError("a time in the ledger must be aware")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def chain_of(key: BudgetKey) -> str:
    """Return the name of the chain that a budget's charges are in: no two budgets of a room have the same."""
    return json.dumps([key.party, key.template], ensure_ascii=True, separators=(",", ":"))


def key_of_chain(room: str, chain: str) -> BudgetKey:
    """Return whose charges are in a chain, from the name that `chain_of` gave it.

    Raises:
        ValueError: it is no such name.
    """
    parts = json.loads(chain)
    if not (isinstance(parts, list) and len(parts) == 2 and all(isinstance(part, str) for part in parts)):
        raise ValueError("not the name of a budget's chain")
    return BudgetKey(room=room, party=parts[0], template=parts[1])


def line_hash(
    *,
    previous_hash: str,
    room: str,
    at: datetime,
    kind: str,
    run_id: str | None,
    party: str,
    body: str,
    chain: str = ROOM_CHAIN,
) -> str:
    """Return the SHA-256, in hex, of one line with the hash of the line before.

    The hashed text is a JSON array in ASCII, so no two different lines give the same text. In a budget's chain the
    chain's name stands at its end: a line can be moved into no other chain.
    """
    parts = [previous_hash, room, utc_text(at), kind, run_id, party, body]
    text = json.dumps(parts if chain == ROOM_CHAIN else [*parts, chain], ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def next_line(
    head: ChainHead,
    *,
    room: str,
    at: datetime,
    kind: str,
    party: str,
    body: str,
    run_id: str | None = None,
    chain: str = ROOM_CHAIN,
) -> LedgerEntry:
    """Return the line that follows `head`."""
    hashed = line_hash(
        previous_hash=head.hash, room=room, at=at, kind=kind, run_id=run_id, party=party, body=body, chain=chain
    )
    return LedgerEntry(
        room=room,
        at=at,
        kind=kind,
        run_id=run_id,
        party=party,
        body=body,
        previous_hash=head.hash,
        hash=hashed,
        chain=chain,
    )


def head_after(head: ChainHead, line: LedgerEntry) -> ChainHead:
    """Return the head once `line` is written."""
    return ChainHead(count=head.count + 1, hash=line.hash)


def opening_line(head: ChainHead, *, key: BudgetKey, at: datetime, party: str) -> LedgerEntry:
    """Return the line of a room's own chain that opens the chain of a budget, at its first charge.

    So the room's own chain names all others, and none can be left out of a history unnoticed.
    """
    body = json.dumps({"chain": chain_of(key)}, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return next_line(head, room=key.room, at=at, kind=OPENING, party=party, body=body)


def opened_chain(line: LedgerEntry) -> str | None:
    """Return the name of the chain that a line opens, or None.

    Raises:
        ValueError: it opens a chain, and its body does not say which: the line is damaged.
    """
    if line.kind != OPENING or line.chain != ROOM_CHAIN:
        return None
    body = json.loads(line.body)
    if not isinstance(body, dict) or not isinstance(body.get("chain"), str) or body["chain"] == ROOM_CHAIN:
        raise ValueError("a line opens a chain without a name")
    chain: str = body["chain"]
    return chain


def merged(chains: Mapping[str, Sequence[LedgerEntry]]) -> tuple[LedgerEntry, ...]:
    """Return the lines of all chains of a room as one list by time, each chain in its own order.

    Clocks of two machines may differ: a line never comes before another that its chain has before it.
    """
    queues = [deque(chains[name]) for name in sorted(chains)]
    lines: list[LedgerEntry] = []
    while queue := min((q for q in queues if q), key=lambda q: q[0].at, default=None):
        lines.append(queue.popleft())
    return tuple(lines)


def first_broken_line(
    entries: Sequence[LedgerEntry], *, head: ChainHead | None = None, start: ChainHead | None = None
) -> int | None:
    """Return the number of the first line that is changed, missing, added or out of place; None for an intact chain.

    Args:
        entries: a whole chain, oldest first, or all of it that follows `start`.
        head: the stored end of the chain. Without it, lines missing from the end cannot be noticed.
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
            chain=entry.chain,
        )
        if entry != expected or (entry.room, entry.chain) != (entries[0].room, entries[0].chain):
            return number
        end = head_after(end, entry)
    if head is not None and head != end:
        return end.count
    return None


def first_broken_chain(history: RoomHistory) -> tuple[str, int] | None:
    """Return the first chain of a room's history that is not what was written, and its first such line; None if none.

    The chains must be those that the room's own opens, all of them and no others: then each is verified to its end.
    """
    lines: dict[str, list[LedgerEntry]] = {chain: [] for chain in (ROOM_CHAIN, *history.heads)}
    for entry in history.entries:
        if entry.chain not in history.heads:
            return entry.chain, len(lines.get(entry.chain, ()))
        lines[entry.chain].append(entry)
    for chain, entries in lines.items():
        broken = first_broken_line(entries, head=history.heads.get(chain))
        if broken is not None:
            return chain, broken
    opened = [ROOM_CHAIN]
    for number, entry in enumerate(lines[ROOM_CHAIN]):
        try:
            opens = opened_chain(entry)
        except ValueError:
            return ROOM_CHAIN, number
        if opens is not None:
            if opens in opened or not lines.get(opens):
                return opens, 0
            opened.append(opens)
    for chain in lines:
        if chain not in opened:
            return chain, 0
    return None
