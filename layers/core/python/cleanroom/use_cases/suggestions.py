"""Bounds that would fit a table, from its own rows: for the owner of the table, and for nobody else."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from cleanroom.errors import ForbiddenError, InvalidRequestError, TableNotLinkedError
from cleanroom.rooms.suggestions import RANGED, proposal
from cleanroom.rooms.tables import ColumnType
from cleanroom.use_cases.access import room_of_consumer, room_of_provider

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cleanroom.ports import RoomServices
    from cleanroom.rooms.rooms import Snapshot
    from cleanroom.rooms.tables import Column, LinkedTable
    from cleanroom.use_cases.arguments import SuggestBounds

_MOST_RANGES = 30
_EXACT = (
    "the figures called exact are of rows, without noise: they are for the owner of the table alone, are stored "
    "nowhere and must not be passed on"
)
_PUBLISHED = (
    "bounds are shown to the other parties of the room when they are declared, and no promise covers what they tell "
    "of the rows that they were made from: prefer round numbers from what is known of the subject, such as a legal "
    "limit or opening hours, and look here only for how much they would cost"
)


def suggest_provider_bounds(arguments: SuggestBounds, party: str, services: RoomServices) -> object:
    """Propose max_rows, max_groups and ranges for the provider's own table, with exact figures for its eyes only."""
    snapshot = room_of_provider(services.catalogue, arguments.cleanroom_name, party)
    return _suggest(arguments, snapshot, party, services)


def suggest_consumer_bounds(arguments: SuggestBounds, party: str, services: RoomServices) -> object:
    """Propose max_rows, max_groups and ranges for the consumer's own table, with exact figures for its eyes only."""
    snapshot, _ = room_of_consumer(services.catalogue, arguments.cleanroom_name, party)
    return _suggest(arguments, snapshot, party, services)


def _suggest(arguments: SuggestBounds, snapshot: Snapshot, party: str, services: RoomServices) -> object:
    table = _own(snapshot, party, arguments.table)
    groups = tuple(_named(table, arguments.group_columns))
    columns = tuple(_named(table, arguments.columns)) or _all_ranged(table)
    for column in groups:
        if column.type in (ColumnType.ARRAY, ColumnType.OTHER):
            raise InvalidRequestError(f"the column {column.name} has a type that queries cannot group by")
    for column in columns:
        if column.type not in RANGED:
            raise InvalidRequestError(f"only number, date and timestamp columns have a range: {column.name} has none")
    # That it was asked is in the history, and what was found is not.
    services.ledger.note(
        snapshot.room.name,
        kind="suggest_bounds",
        party=party,
        body=json.dumps({"table": table.full_name}),
        at=services.clock.now(),
    )
    found = services.tables.suggest_bounds(table, groups=groups, columns=columns)
    warnings = [_EXACT, _PUBLISHED]
    if found.exact_entities is None:
        warnings.append("the table has no entity column of its own: max_rows and max_groups are not measured")
    return {
        "cleanroom_name": snapshot.room.name,
        "table": table.full_name,
        "for": party,
        "warnings": warnings,
        "proposal": proposal(found),
        "measured": asdict(found),
    }


def _own(snapshot: Snapshot, party: str, name: str) -> LinkedTable:
    """Return the caller's own linked table. Whether another party has one of that name is not told apart."""
    owner, separator, short = name.rpartition(".")
    if separator and owner != party:
        raise ForbiddenError("bounds are suggested to the owner of a table only")
    for table in snapshot.tables_of(party):
        if table.name == short:
            return table
    raise TableNotLinkedError(f"this party has linked no table {name!r} to the clean room")


def _named(table: LinkedTable, names: Iterable[str]) -> Iterable[Column]:
    for name in dict.fromkeys(name.lower() for name in names):
        column = table.column(name)
        if column is None:
            raise InvalidRequestError(f"the table has no column {name!r}")
        yield column


def _all_ranged(table: LinkedTable) -> tuple[Column, ...]:
    entities = {e.column.lower() for e in table.entity_columns}
    return tuple(c for c in table.columns if c.type in RANGED and c.name.lower() not in entities)[:_MOST_RANGES]
