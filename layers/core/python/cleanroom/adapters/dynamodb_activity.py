"""What was active in a window, found by the window: items of the ledger's table. Used by charge, signals and audit.

`ACTIVITY#<window>#<part>` / `<room>#<party>#<template>`: one item for each budget that was charged or refused in a
window, written in the transaction of its first charge. A window's items lie in 16 partitions, so that no key is hot,
and reading a window costs what was active in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cleanroom.adapters.dynamodb_expressions import (
    ABSENT_OR_KIND,
    COUNT_FIRST_REFUSAL_OF_HOUR,
    COUNT_REFUSAL,
    REFUSED_IN_HOUR,
    REFUSED_IN_OTHER_HOUR,
    TOUCH_ACTIVITY,
)
from cleanroom.adapters.dynamodb_items import Fields, placeholders
from cleanroom.adapters.dynamodb_keys import Key, joined
from cleanroom.errors import BusyError
from cleanroom.rooms.activity import Activity, hour_of
from cleanroom.rooms.ledger import BudgetKey
from cleanroom.rooms.ledger_audit import budget_order

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from cleanroom.adapters.dynamodb import Attributes, Table

ACTIVITY = "activity/1"
PARTS = 16
"""Partitions of one window's items. Each takes 1,000 writes a second; a budget's first charge writes there."""


ACTIVITY_KEPT = timedelta(days=400)
"""How long after its last change; the statement that is made of it is kept for good."""


def activity_partition(window: int, part: int) -> str:
    """Return one of the partitions that hold a window's items."""
    return joined("ACTIVITY", str(window), str(part))


def activity_key(budget: BudgetKey, *, window: int) -> Key:
    """Return the key of a budget's item of a window."""
    name = joined(budget.room, budget.party, budget.template)
    part = hashlib.sha256(name.encode()).digest()[0] % PARTS
    return Key(pk=activity_partition(window, part), sk=name)


@dataclass(frozen=True, kw_only=True, slots=True)
class ActivityItems:
    """The activity of all rooms."""

    table: Table

    def touch(self, budget: BudgetKey, *, window: int, at: datetime) -> TransactWriteItemTypeDef:
        """Return the action of a transaction that makes the budget one of the window's; it changes no count."""
        return self.table.update(
            activity_key(budget, window=window),
            update=TOUCH_ACTIVITY,
            condition=ABSENT_OR_KIND,
            values=placeholders(**_names(budget, at=at)),
        )

    def count_refusal(self, budget: BudgetKey, *, window: int, at: datetime) -> Activity:
        """Count one refusal, in the window and in the hour, and return the counts. Raises BusyError.

        A write whose reply was lost is counted twice: these counts are for people, and limit nothing.
        """
        key = activity_key(budget, window=window)
        values = {**_names(budget, at=at), "hour": hour_of(at), "one": 1}
        # Twice: another refusal may come between the two and begin the hour.
        for update, condition in 2 * (
            (COUNT_REFUSAL, REFUSED_IN_HOUR),
            (COUNT_FIRST_REFUSAL_OF_HOUR, REFUSED_IN_OTHER_HOUR),
        ):
            stored = self.table.update_if(key, update=update, condition=condition, values=placeholders(**values))
            if stored is not None:
                return _activity_of(stored)
        raise BusyError("the refusal could not be counted")

    def of_window(self, window: int) -> tuple[Activity, ...]:
        """Return all budgets that were charged or refused in a window, by room, party and template."""
        stored = (item for part in range(PARTS) for item in self.table.query(activity_partition(window, part)))
        return tuple(sorted((_activity_of(item) for item in stored), key=lambda one: budget_order(one.budget)))


def _names(budget: BudgetKey, *, at: datetime) -> dict[str, str | int]:
    return {
        "kind": ACTIVITY,
        "room": budget.room,
        "party": budget.party,
        "template": budget.template,
        "expires_at": int((at + ACTIVITY_KEPT).timestamp()),
    }


def _activity_of(stored: Attributes) -> Activity:
    fields = Fields.of(stored, kind=ACTIVITY)
    counts = {name: fields.number(name) if name in stored else 0 for name in ("refusals", "refusals_in_hour", "hour")}
    budget = BudgetKey(room=fields.text("room"), party=fields.text("party"), template=fields.text("template"))
    return Activity(budget=budget, **counts)
