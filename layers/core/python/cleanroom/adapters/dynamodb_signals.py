"""Counts behind signals, in the ledger's table: one write for a charge, one or two for a refusal. Adapter of `Signals`.

`SIGNALS#<room>#<party>#<template>` / `WINDOW#<w>`: `charges` that were counted, `spent_<hour>` in micro-epsilon, and
for each likeness `kin_<digest>` the set of digests of the queries that share it. Apart from what a charge writes, so
that nothing here can make one fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.adapters.dynamodb_activity import ACTIVITY_KEPT, ActivityItems
from cleanroom.adapters.dynamodb_expressions import COUNT_CHARGE, STILL_COUNTED
from cleanroom.adapters.dynamodb_items import Fields, placeholders
from cleanroom.adapters.dynamodb_keys import Key, joined
from cleanroom.rooms.activity import Activity, hour_of
from cleanroom.rooms.anomalies import ChargeCounts

if TYPE_CHECKING:
    from datetime import datetime

    from cleanroom.adapters.dynamodb import Table
    from cleanroom.rooms.ledger import BudgetKey
    from cleanroom.templates.kinship import Kinship

SIGNALS = "signals/1"
MOST_COUNTED = 500
"""Charges of one budget and window that are counted: the item stays far below 400 KB. Later ones are told as lost."""


class DynamoDbSignals:
    """`Signals` in the ledger's table. Every method may raise BusyError and LedgerUnreadableError."""

    def __init__(self, table: Table) -> None:
        self._table, self._activity = table, ActivityItems(table=table)

    def refused(self, budget: BudgetKey, *, window: int, at: datetime) -> Activity:
        """Count one refused request to run, and return the counts as they now stand."""
        return self._activity.count_refusal(budget, window=window, at=at)

    def charged(
        self, budget: BudgetKey, *, window: int, at: datetime, micro_epsilon: int, kinship: Kinship | None
    ) -> ChargeCounts | None:
        """Count one charged run, and return what its counts are now; None where too many were counted already.

        A write whose reply was lost may count its spending twice: these counts limit nothing. Queries are sets.
        """
        kin = () if kinship is None else kinship.kin
        spent = f"spent_{hour_of(at)}"
        slots = {f"#kin_{letter}": f"kin_{digest}" for letter, digest in zip("abcdefghij", kin, strict=False)}
        values = placeholders(
            kind=SIGNALS,
            expires_at=int((at + ACTIVITY_KEPT).timestamp()),
            micro_epsilon=micro_epsilon,
            one=1,
            most=MOST_COUNTED,
        )
        if kinship is not None and kin:
            values[":query"] = {"SS": [kinship.query]}
        stored = self._table.update_if(
            Key(pk=joined("SIGNALS", budget.room, budget.party, budget.template), sk=joined("WINDOW", str(window))),
            update=COUNT_CHARGE[len(kin)],
            condition=STILL_COUNTED,
            values=values,
            names={"#spent": spent, **slots},
        )
        if stored is None:
            return None
        sets = [stored.get(name, {}).get("SS", []) for name in slots.values()]
        return ChargeCounts(
            spent_in_hour=Fields.of(stored, kind=SIGNALS).number(spent), alike=max(map(len, sets), default=0)
        )
