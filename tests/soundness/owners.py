"""Whose a row of a linked table is, and what a neighbouring database is: slowly, one row at a time.

Written from docs/ownership.md ("Tables that are owned through a key", "Several entity columns") and docs/privacy.md;
nothing of the compiler is used, and none of the labels that the product stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cleanroom.rooms.tables import LinkedTable
    from tests.soundness.schemas import Rows, Schema

Whose = tuple[str, Any]
"""Kind of an entity, and its value; equal values of different kinds are different entities."""


def labels(table: LinkedTable, rows: list[dict[str, Any]]) -> list[str | None]:
    """Return for each row the name of its connected component: rows that share a value, directly or through others.

    Values are the same if they are equal and their columns are of one kind and type. NULL is no value; a row without
    any is nobody's.
    """
    values = [
        {
            (e.kind, str(column.type), row[column.name])
            for e in table.entity_columns
            if (column := table.column(e.column)) is not None and row[column.name] is not None
        }
        for row in rows
    ]
    found: list[str | None] = []
    for own in values:
        component = set(own)
        while any(others & component and not others <= component for others in values):
            component = component.union(*(others for others in values if others & component))
        found.append(min(map(repr, component), default=None))
    return found


def pairs(schema: Schema, table: LinkedTable, database: Rows) -> list[tuple[Any, dict[str, Any]]]:
    """Return the rows of a protected table with their entities: a row with several is there once for each."""
    rows = database[table.name]
    through = table.policy.owned_through
    if through is not None:
        owners = _owners(schema, table, database)
        return [
            (entity, row)
            for row in rows
            for entity in dict.fromkeys(
                e
                for key, e in owners
                if all(a is not None and a == row[c] for a, (c, _) in zip(key, through.columns, strict=True))
            )
        ]
    if len(table.entity_columns) > 1:
        return list(zip(labels(table, rows), rows, strict=True))
    column = table.entity_columns[0].column
    return [(row[column], row) for row in rows]


def _owners(schema: Schema, table: LinkedTable, database: Rows) -> list[tuple[tuple[Any, ...], Any]]:
    """Return the keys of the parent's rows with the entities of these rows."""
    through = table.policy.owned_through
    assert through is not None
    parent = schema.named(through.parent)
    return [
        (tuple(row[of_parent] for _, of_parent in through.columns), entity)
        for entity, row in pairs(schema, parent, database)
        if entity is not None
    ]


def wrongly_unique(schema: Schema, table: LinkedTable, database: Rows) -> bool:
    """Return whether a key that its owner says is unique has two rows of one entity: then rows are repeated, and what
    they count as is not promised."""
    through = table.policy.owned_through
    if through is None:
        return False
    known = _owners(schema, table, database)
    return (through.unique and len(set(known)) < len(known)) or wrongly_unique(
        schema, schema.named(through.parent), database
    )


def entities(schema: Schema, database: Rows) -> list[Whose]:
    """Return all entities of the protected tables, in a fixed order."""
    found = {
        (schema.kind_of(t), entity)
        for t in schema.protected
        for entity, _ in pairs(schema, t, database)
        if entity is not None
    }
    return sorted(found, key=repr)


def without(schema: Schema, database: Rows, whose: Whose, *, orphans: bool = False) -> Rows:
    """Return the neighbouring database: no row of the entity in a protected table.

    Of tables that are owned through a key those rows leave that nobody else has.

    Args:
        schema: of the room.
        database: all rows.
        whose: the entity that leaves.
        orphans: its rows of tables that are owned through a key stay, as rows of nobody: that must not show either.
    """
    kind, entity = whose
    fewer = dict(database)
    for table in schema.protected:
        if schema.kind_of(table) != kind:
            continue
        rows = database[table.name]
        if table.policy.owned_through is None:
            owned = pairs(schema, table, database)
            fewer[table.name] = [row for of, row in owned if of != entity]
        elif not orphans:
            owners: dict[int, set[Any]] = {}
            for of, row in pairs(schema, table, database):
                owners.setdefault(id(row), set()).add(of)
            fewer[table.name] = [row for row in rows if owners.get(id(row)) != {entity}]
    return fewer
