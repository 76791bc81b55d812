"""Keys of the ledger's and the catalogue's items: built in one place, and never equal for two different things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cleanroom.rooms.ledger_chain import ACCOUNT_HISTORY, utc_text

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
    """One append-only history: a room's, or the account's own where `room` is None."""

    room: str | None

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


def run_key(run_id: str) -> Key:
    """Return the key of a run."""
    return Key(pk=joined("RUN", run_id), sk="RUN")


def request_key(run_id: str) -> Key:
    """Return the key of an asynchronous request."""
    return Key(pk=joined("RUN", run_id), sk="REQUEST")


def history_partition(history: History) -> str:
    """Return the partition of a history's lines; no room's has an empty part, so the account's is its own."""
    return "LEDGER##account" if history.room is None else joined("LEDGER", history.room)


def line_key(history: History, *, at: datetime, number: int) -> Key:
    """Return the key of one line of a history: by time, and unique by its number in the chain."""
    return Key(pk=history_partition(history), sk=f"{utc_text(at)}#{number:020d}")


def head_key(history: History) -> Key:
    """Return the key of a history's end. One per room, so that rooms do not wait for each other."""
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
