"""The way from a table that is owned through a key to the table that has the entity column. Pure.

Used when a table is linked and again when a query is compiled: in between, the parent may have been linked anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cleanroom.errors import InvalidRequestError
from cleanroom.rooms.tables import Column, ColumnType, LinkedTable

MOST_STEPS = 8

_UNCONVERTED = frozenset(
    {"VARCHAR", "DATE", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
)
"""Native types that queries see as they are stored, and in which equal means the same value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One declared key: from a table to its parent.

    Attributes:
        child, parent: the tables.
        columns: pairs of the child's and the parent's column.
        unique: as the owner declared.
    """

    child: LinkedTable
    parent: LinkedTable
    columns: tuple[tuple[Column, Column], ...]
    unique: bool


def path_of(table: LinkedTable, tables: Mapping[str, LinkedTable]) -> tuple[Step, ...]:
    """Return the declared keys from a table to the one that has an entity column; none for a table that has its own.

    Args:
        table: any.
        tables: lower-case full name -> table: all of the room.

    Raises:
        InvalidRequestError: a parent that is not linked, lacks a column, has another type in it, or leads back or
            nowhere; or a table that is owned in two ways. The sentence names tables and columns, never a value.
    """
    steps: list[Step] = []
    seen = {table.full_name.lower()}
    while table.policy.owned_through is not None:
        through = table.policy.owned_through
        if table.entity_columns:
            raise InvalidRequestError(
                f"{table.full_name} has an entity column and is owned through {through.parent}: unpin the column, or "
                "take owned_through away",
                key="owned_through",
            )
        parent = tables.get(f"{table.owner}.{through.parent}".lower())
        if parent is None:
            raise InvalidRequestError(
                f"{table.full_name} is owned through {table.owner}.{through.parent}, which is not linked to the clean "
                "room: link it before, or in the same call",
                key="owned_through",
            )
        if parent.full_name.lower() in seen or len(steps) == MOST_STEPS:
            raise InvalidRequestError(
                f"{table.full_name} is owned through itself, or by more than {MOST_STEPS} steps", key="owned_through"
            )
        seen.add(parent.full_name.lower())
        pairs = tuple(_pair(table, parent, names) for names in through.columns)
        steps.append(Step(child=table, parent=parent, columns=pairs, unique=through.unique))
        table = parent
    if steps and not table.entity_columns:
        raise InvalidRequestError(
            f"{steps[0].child.full_name} is owned through {table.full_name}, which has no entity column: pin one, or "
            "declare through what it is owned",
            key="owned_through",
        )
    return tuple(steps)


def _pair(child: LinkedTable, parent: LinkedTable, names: tuple[str, str]) -> tuple[Column, Column]:
    one, other = child.column(names[0]), parent.column(names[1])
    if one is None or other is None:
        missing = child if one is None else parent
        raise InvalidRequestError(
            f"owned_through of {child.full_name} names a column that {missing.full_name} does not have",
            key="owned_through",
        )
    same_native = one.native_type.upper() == other.native_type.upper()
    exact = {one.native_type.upper(), other.native_type.upper()} <= _UNCONVERTED
    decimals = one.type is ColumnType.DECIMAL and same_native
    if one.type is not other.type or not (exact or decimals):
        raise InvalidRequestError(
            f"owned_through of {child.full_name}: {one.name} is {one.native_type} and {other.name} of "
            f"{parent.full_name} is {other.native_type}; a key needs equal types: text, whole numbers of 64 bits, "
            "dates, booleans, or decimals of one scale",
            key="owned_through",
        )
    return one, other
