"""What budgets and rooms have spent, in DynamoDB: reading it at once, and adding up rooms that have a budget.

A room's sums are one item for all its charges, which then wait for each other. So they are kept only once the room was
given a budget. From then on every budget of the room is *in* its total: each joins it once, with what it has spent so
far, in one transaction that is cancelled by any charge in between. A charge that finds its budget outside joins it
first. So the room's total is at all times the sum over the budgets that are in it, and a budget that is not in it
cannot be charged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cleanroom.adapters.codec import decode, encode
from cleanroom.adapters.dynamodb import CancelledError
from cleanroom.adapters.dynamodb_expressions import (
    ABSENT,
    AS_READ,
    AT_VERSION,
    FITS_ROOM_WINDOW,
    GIVE_CHAIN,
    IS_KIND,
    JOIN_ROOM_TOTAL,
    SET_ROOM_BUDGET,
    SPEND_IN_ROOM,
    SPEND_IN_ROOM_WINDOW,
)
from cleanroom.adapters.dynamodb_items import Fields, item, placeholders
from cleanroom.adapters.dynamodb_keys import (
    History,
    lifetime_key,
    room_total_key,
    room_window_key,
    settings_key,
    task_key,
    window_key,
)
from cleanroom.adapters.dynamodb_kinds import (
    LIFETIME_SPENDING,
    LIFETIME_SPENDING_1,
    ROOM_TOTAL,
    ROOM_WINDOW,
    WINDOW_SPENDING,
    WINDOW_SPENDING_1,
    WINDOW_SPENDING_OLDER,
)
from cleanroom.adapters.dynamodb_settings import record_in
from cleanroom.adapters.dynamodb_task import task_in
from cleanroom.errors import LedgerUnreadableError
from cleanroom.privacy.accounting import ZERO_PRICE, Price
from cleanroom.privacy.rho import UNKNOWN_RHO, ZERO_RHO, RhoPrice
from cleanroom.rooms.ledger import (
    NOTHING_SPENT,
    BudgetKey,
    RoomBudget,
    RoomBudgetRecord,
    RoomStanding,
    Spending,
    Standing,
    Terms,
)
from cleanroom.rooms.ledger_chain import (
    GENESIS_HASH,
    ChainHead,
    key_of_chain,
    next_line,
    opened_chain,
)
from cleanroom.rooms.ledger_rules import room_budget_body

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cleanroom.adapters.dynamodb import Attributes, Backoff, Table
    from cleanroom.adapters.dynamodb_history import Histories
    from cleanroom.adapters.dynamodb_keys import Key
    from cleanroom.adapters.dynamodb_settings import SettingsItems

NEW_CHAIN = ChainHead()
LARGEST_LIMIT = 10**30
"""No sum of prices comes near it, so a larger limit is no limit either, and the number stays within 38 digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifetime:
    """What a budget has ever spent, and the end of the chain of its charges, which stands in the same item.

    Attributes:
        head: None where the item is of the older kind, whose charges stand in the room's own chain.
        in_room_total: whether the room's total has all of it.
    """

    spent: Price = ZERO_PRICE
    head: ChainHead | None = NEW_CHAIN
    in_room_total: bool = False
    exists: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetItems:
    """The spending of all budgets, and the budgets of rooms."""

    table: Table
    histories: Histories
    settings: SettingsItems

    def spending(self, key: BudgetKey, *, window: int) -> Spending:
        """Return what was spent in that window and ever; zero where nothing was."""
        return spending_in(self.table.get_each([window_key(key, window), lifetime_key(key)]), key, window=window)

    def room_budget(self, room: str) -> RoomBudgetRecord:
        """Return the budget of a room, or none at version 0; its total may be there before its budget is."""
        stored = self.table.get(room_total_key(room))
        return RoomBudgetRecord() if stored is None else _room_in(stored)[0]

    def terms(self, room: str, keys: Sequence[BudgetKey]) -> Terms:
        """Return what a run that these budgets pay is priced under, in one operation."""
        found = self.table.get_each([task_key(), room_total_key(room), *(settings_key(key) for key in keys)])
        standing = room_standing_in(found, room, window=0)
        return Terms(
            task=task_in(found.get(task_key()))[0],
            records={key: record_in(found.get(settings_key(key)), key) for key in keys},
            room=RoomBudgetRecord() if standing is None else standing.record,
        )

    def standing(self, room: str, keys: Sequence[BudgetKey], *, window: int | None) -> Standing:
        """Return how budgets stand in a window, in one operation; in the present one, where it is None, in two."""
        wanted = [task_key(), room_total_key(room)]
        for key in keys:
            wanted += [settings_key(key), lifetime_key(key)]
        found = self.table.get_each(wanted + ([] if window is None else _window_keys(room, keys, window)))
        task, _ = task_in(found.get(task_key()))
        if window is None:
            window = task.window
            found |= self.table.get_each(_window_keys(room, keys, window))
        in_room = room_standing_in(found, room, window=window)
        return Standing(
            task=task,
            window=window,
            records={key: record_in(found.get(settings_key(key)), key) for key in keys},
            spending={key: spending_in(found, key, window=window) for key in keys},
            room=None if in_room is None or in_room.record.version == 0 else in_room,
        )

    def put_room_budget(self, room: str, budget: RoomBudget, *, by: str, at: datetime) -> RoomBudgetRecord:
        """Overwrite a room's budget; whatever interrupts this, no limit is in force before the total is complete.

        First the room has a total, at version 0 and without a limit: from then on a budget that begins is in it, for
        a charge that opens a chain and read no total checks that there is none. Then all other budgets, which have
        settings or are named in the room's own chain, join. Only then the limit is written, with its line.
        """
        self.table.put_if(
            item(
                room_total_key(room),
                kind=ROOM_TOTAL,
                version=0,
                body=encode(RoomBudget()),
                micro_epsilon=0,
                delta_steps=0,
            ),
            condition=ABSENT,
        )
        for key in self.keys_of_room(room):
            self.join(key, self.table.backoff())
        backoff = self.table.backoff()
        history = History(room=room)
        while True:
            version = self.room_budget(room).version
            record = RoomBudgetRecord(budget=budget, version=version + 1)
            write = self.table.update(
                room_total_key(room),
                update=SET_ROOM_BUDGET,
                condition=AT_VERSION,
                values=placeholders(family=ROOM_TOTAL, version=version, next_version=version + 1, body=encode(budget)),
            )
            head = self.histories.head(history)
            line = next_line(head, room=room, at=at, kind="room_budget", party=by, body=room_budget_body(record))
            try:
                self.table.transact([write, *self.histories.append(history, head=head, line=line)], backoff)
            except CancelledError:
                backoff.pause()
            else:
                return record

    def keys_of_room(self, room: str) -> tuple[BudgetKey, ...]:
        """Return every budget of a room that was ever charged or has settings."""
        keys = dict.fromkeys(self.settings.of_room(room))
        for line in self.histories.lines(History(room=room)):
            try:
                chain = opened_chain(line)
                if chain is not None:
                    keys[key_of_chain(room, chain)] = None
            except ValueError as error:
                raise LedgerUnreadableError("a line of a history does not say which chain it opens") from error
        return tuple(keys)

    def give_chain(self, key: BudgetKey) -> None:
        """Give a lifetime item of the older kind the end of an empty chain; nothing happens to any other."""
        self.table.update_if(
            lifetime_key(key),
            update=GIVE_CHAIN,
            condition=IS_KIND,
            values=placeholders(kind=LIFETIME_SPENDING_1, new_kind=LIFETIME_SPENDING, zero=0, hash=GENESIS_HASH),
        )

    def join(self, key: BudgetKey, backoff: Backoff) -> None:
        """Add what a budget has spent to its room's total, once; nothing happens to one that is in it or is new."""
        while True:
            found = self.table.get_each([task_key(), lifetime_key(key)])
            task, _ = task_in(found.get(task_key()))
            in_window = window_key(key, task.window)
            # Read after the end of the chain: a charge in between moves that end, and cancels the transaction.
            found |= self.table.get_each([in_window])
            spent = spending_in(found, key, window=task.window)
            lifetime = lifetime_in(found.get(lifetime_key(key)))
            if not lifetime.exists or lifetime.in_room_total:
                return
            if lifetime.head is None:
                self.give_chain(key)
                continue
            actions = [
                self.table.update(
                    lifetime_key(key),
                    update=JOIN_ROOM_TOTAL,
                    condition=AS_READ,
                    values=placeholders(**as_read(lifetime), joined=1),
                ),
                self.table.update(
                    room_total_key(key.room),
                    update=SPEND_IN_ROOM,
                    condition=IS_KIND,
                    values=placeholders(kind=ROOM_TOTAL, **lifetime.spent.as_json()),
                ),
            ]
            if spent.window != ZERO_PRICE:
                stored = Fields.of(found[in_window], kind=WINDOW_SPENDING, older=tuple(WINDOW_SPENDING_OLDER))
                expires_at = stored.number("expires_at")
                actions.append(
                    self.table.update(
                        room_window_key(key.room, task.window),
                        update=SPEND_IN_ROOM_WINDOW,
                        condition=FITS_ROOM_WINDOW,
                        values=placeholders(
                            kind=ROOM_WINDOW, expires_at=expires_at, at_most=LARGEST_LIMIT, **spent.window.as_json()
                        ),
                    )
                )
            try:
                self.table.transact(actions, backoff)
            except CancelledError:
                backoff.pause()
            else:
                return


def as_read(lifetime: Lifetime) -> dict[str, str | int]:
    """Return the values of `AS_READ`."""
    head = lifetime.head or ChainHead()
    return {
        "kind": LIFETIME_SPENDING,
        "lines": head.count,
        "hash": head.hash,
        "in_room_total": int(lifetime.in_room_total),
    }


def lifetime_in(stored: Attributes | None) -> Lifetime:
    """Return what a lifetime item holds. Raises LedgerUnreadableError."""
    if stored is None:
        return Lifetime()
    fields = Fields.of(stored, kind=LIFETIME_SPENDING, older=(LIFETIME_SPENDING_1,))
    spent = _spent_in(fields)
    if fields.text("kind") == LIFETIME_SPENDING_1:
        return Lifetime(spent=spent, head=None, exists=True)
    in_room_total = fields.number("in_room_total")
    if in_room_total not in {0, 1}:
        raise LedgerUnreadableError("a stored total is neither in its room's nor outside")
    head = ChainHead(count=fields.number("lines"), hash=fields.text("hash"))
    return Lifetime(spent=spent, head=head, in_room_total=bool(in_room_total), exists=True)


def spending_in(found: Mapping[Key, Attributes], key: BudgetKey, *, window: int) -> Spending:
    """Return what a budget has spent, from its two items. Raises LedgerUnreadableError."""
    lifetime = lifetime_in(found.get(lifetime_key(key))).spent
    stored = found.get(window_key(key, window))
    if stored is None:
        return Spending(window=NOTHING_SPENT.window, lifetime=lifetime)
    fields = Fields.of(stored, kind=WINDOW_SPENDING, older=tuple(WINDOW_SPENDING_OLDER))
    counted = fields.text("kind") != WINDOW_SPENDING_1 or "unfinished" in stored
    spent = _spent_in(fields)
    return Spending(
        window=spent,
        lifetime=lifetime,
        unfinished=fields.number("unfinished") if counted else 0,
        window_rho=_rho_in(fields, spent),
    )


def window_kind_in(found: Mapping[Key, Attributes], key: BudgetKey, *, window: int) -> str:
    """Return the kind of what a budget has spent in a window; the newest where nothing is stored yet."""
    stored = found.get(window_key(key, window))
    return WINDOW_SPENDING if stored is None else Fields(stored=stored).text("kind")


def room_standing_in(found: Mapping[Key, Attributes], room: str, *, window: int) -> RoomStanding | None:
    """Return a room's budget and sums; None where it has no total. Raises LedgerUnreadableError."""
    stored = found.get(room_total_key(room))
    if stored is None:
        return None
    record, lifetime = _room_in(stored)
    in_window = found.get(room_window_key(room, window))
    fields = None if in_window is None else Fields.of(in_window, kind=ROOM_WINDOW)
    return RoomStanding(record=record, window=ZERO_PRICE if fields is None else _price_in(fields), lifetime=lifetime)


def _window_keys(room: str, keys: Sequence[BudgetKey], window: int) -> list[Key]:
    return [room_window_key(room, window), *(window_key(key, window) for key in keys)]


def _room_in(stored: Attributes) -> tuple[RoomBudgetRecord, Price]:
    fields = Fields.of(stored, kind=ROOM_TOTAL)
    record = RoomBudgetRecord(budget=decode(fields.text("body"), RoomBudget), version=fields.number("version"))
    return record, _price_in(fields)


def _spent_in(fields: Fields) -> Price:
    for name in ("unmetered_micro_epsilon", "unmetered_delta_steps"):
        fields.number(name)
    return _price_in(fields)


def _rho_in(fields: Fields, spent: Price) -> RhoPrice:
    """Return a window's sums of rho; what was spent before they were kept fits in no limit of rho."""
    if fields.text("kind") != WINDOW_SPENDING:
        return ZERO_RHO if spent == ZERO_PRICE else UNKNOWN_RHO
    return RhoPrice(rho_steps=fields.number("rho_steps"), delta_steps=fields.number("rho_delta_steps"))


def _price_in(fields: Fields) -> Price:
    return Price(micro_epsilon=fields.number("micro_epsilon"), delta_steps=fields.number("delta_steps"))
