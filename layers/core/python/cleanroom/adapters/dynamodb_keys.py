"""Keys of the ledger's and the catalogue's items: built in one place, and never equal for two different things."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cleanroom.rooms.ledger_chain import ACCOUNT_HISTORY, ROOM_CHAIN, utc_text

if TYPE_CHECKING:
    from datetime import datetime

    from cleanroom.rooms.ledger import BudgetKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """Partition and sort key of one item."""

    pk: str
    sk: str


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """One chain of an append-only history: of a room, or the account's only one where `room` is None.

    Attributes:
        chain: "" for a room's own, or a budget's.
    """

    room: str | None
    chain: str = ROOM_CHAIN

    @property
    def label(self) -> str:
        """What its lines carry as `room`."""
        return ACCOUNT_HISTORY if self.room is None else self.room


def joined(*parts: str) -> str:
    """Return the parts with `#` between them, so that different parts never give the same text.

    `#` inside a part becomes `%23`, and `%` becomes `%25`: names may hold both.
    """
    return "#".join(part.replace("%", "%25").replace("#", "%23") for part in parts)


# --- ledger -----------------------------------------------------------------------------------------------------------


def task_key() -> Key:
    """Return the key of the account's DP task."""
    return Key(pk="ACCOUNT", sk="DP_TASK")


TASK_COPIES = 32
"""How many copies of the DP task's revision there are; each charge checks that of its budget."""


def task_copy_number(key: BudgetKey) -> int:
    """Return which copy the charges of a budget check: always the same one, from 0."""
    digest = hashlib.sha256(joined(key.room, key.party, key.template).encode()).digest()
    return int.from_bytes(digest[:8], "big") % TASK_COPIES


def task_copy_key(number: int) -> Key:
    """Return the key of one copy of the DP task's revision: each in a partition of its own."""
    return Key(pk=f"TASK_COPY#{number:02d}", sk="DP_TASK")


def settings_partition(room: str) -> str:
    """Return the partition of all settings of a room."""
    return joined("ROOM", room)


def settings_key(key: BudgetKey) -> Key:
    """Return the key of one settings record."""
    return Key(pk=settings_partition(key.room), sk=joined("SETTINGS", key.party, key.template))


def dp_on_key(key: BudgetKey) -> Key:
    """Return the key of the index item that says whether a settings record has DP on (B-64)."""
    return Key(pk="DP_ON", sk=joined(key.room, key.party, key.template))


def window_key(key: BudgetKey, window: int) -> Key:
    """Return the key of what a budget has spent in one window."""
    return Key(pk=joined("SPENT", key.room, key.party, key.template), sk=joined("WINDOW", str(window)))


def lifetime_key(key: BudgetKey) -> Key:
    """Return the key of what a budget has ever spent."""
    return Key(pk=joined("SPENT", key.room, key.party, key.template), sk="LIFETIME")


def room_total_key(room: str) -> Key:
    """Return the key of a room's budget, with what all budgets of the room have ever spent."""
    return Key(pk=joined("ROOM_SPENT", room), sk="LIFETIME")


def room_window_key(room: str, window: int) -> Key:
    """Return the key of what all budgets of a room have spent in one window."""
    return Key(pk=joined("ROOM_SPENT", room), sk=joined("WINDOW", str(window)))


OPEN_RUNS_INDEX = "open-runs"
"""The sparse index of runs without an end: a run has the attribute `open` until it is released or has failed."""

OPEN_RUNS_PARTS = 8
"""Partitions of that index: as many runs a second can be charged as eight partitions take writes."""


def open_runs_part(run_id: str) -> str:
    """Return the partition of the index that a run is in while it has no end."""
    return open_runs_parts()[hashlib.sha256(run_id.encode()).digest()[0] % OPEN_RUNS_PARTS]


def open_runs_parts() -> tuple[str, ...]:
    """Return all partitions of the index."""
    return tuple(f"OPEN#{number}" for number in range(OPEN_RUNS_PARTS))


def run_key(run_id: str) -> Key:
    """Return the key of a run."""
    return Key(pk=joined("RUN", run_id), sk="RUN")


def request_key(run_id: str) -> Key:
    """Return the key of an asynchronous request."""
    return Key(pk=joined("RUN", run_id), sk="REQUEST")


def answer_key(question: str) -> Key:
    """Return the key of the last answer of a question; the question is a digest, so answers spread over partitions."""
    return Key(pk=joined("ANSWER", question), sk="ANSWER")


def replay_key(run_id: str) -> Key:
    """Return the key of what says that a run replays another."""
    return Key(pk=joined("RUN", run_id), sk="REPLAY")


def history_partition(history: History) -> str:
    """Return the partition of a chain's lines; no room's begins with `LEDGER##`, so the account's is its own."""
    if history.room is None:
        return "LEDGER##account"
    own = history.chain == ROOM_CHAIN
    return joined("LEDGER", history.room) if own else joined("CHAIN", history.room, history.chain)


def line_key(history: History, *, at: datetime, number: int) -> Key:
    """Return the key of one line of a history: by time, and unique by its number in the chain."""
    return Key(pk=history_partition(history), sk=f"{utc_text(at)}#{number:020d}")


def head_key(history: History) -> Key:
    """Return the key of the end of a room's own chain, or the account's. A budget's stands in its lifetime item."""
    return Key(pk="HEAD##account" if history.room is None else joined("HEAD", history.room), sk="HEAD")


# --- catalogue --------------------------------------------------------------------------------------------------------

ROOM_ITEM = "#ROOM"
"""Sort key of the room itself: before all others of its partition, so that a query reads its revision first."""


def room_key(room: str) -> Key:
    """Return the key of a room."""
    return Key(pk=joined("ROOM", room), sk=ROOM_ITEM)


def consumer_key(room: str, party: str) -> Key:
    """Return the key of a consumer of a room."""
    return Key(pk=joined("ROOM", room), sk=joined("CONSUMER", party))


def table_key(room: str, *, owner: str, name: str) -> Key:
    """Return the key of a linked table of a room."""
    return Key(pk=joined("ROOM", room), sk=joined("TABLE", owner, name))


def template_key(room: str, name: str) -> Key:
    """Return the key of a template of a room."""
    return Key(pk=joined("ROOM", room), sk=joined("TEMPLATE", name))


def party_partition(party: str) -> str:
    """Return the partition of the rooms that a party is in."""
    return joined("PARTY", party)


def maker_key(room: str, party: str) -> Key:
    """Return the key that finds a room by the party that made it."""
    return Key(pk=party_partition(party), sk=joined("MAKES", room))


def member_key(room: str, party: str) -> Key:
    """Return the key that finds a room by a party that was added to it."""
    return Key(pk=party_partition(party), sk=joined("JOINS", room))
