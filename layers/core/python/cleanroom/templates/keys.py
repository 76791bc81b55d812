"""Ownership through declared keys: which columns are part of one, which joins follow one, and the join of the path.

A table without an entity column may be owned through a key of another table of its owner: the rows under a key are of
the entities that have the key there. Where the query itself joins the two on that key, no other join is needed. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType, LinkedTable
from cleanroom.templates.relations import ENTITY, Item, Path
from cleanroom.templates.scalars import KeyPart, Scalar
from cleanroom.templates.trees import aliased, column, conjunction, fragment, named

Pair = tuple[Scalar, Scalar, Item, exp.Expr]
"""Two columns that a condition says are equal: of the left, of the right, the left's item, and the condition."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyLink:
    """That a join follows a declared key.

    Attributes:
        parent: full name of the table that the key belongs to.
        left: alias of the left's item.
        conditions: those that say so.
    """

    parent: str
    left: str
    conditions: tuple[exp.Expr, ...]


def key_parts(table: LinkedTable, tables: Iterable[LinkedTable]) -> dict[str, frozenset[KeyPart]]:
    """Return for each column of a protected table, in lower case, the declared keys that it is part of.

    Args:
        table: as a child, and as a parent.
        tables: all of the room.
    """
    found: dict[str, set[KeyPart]] = {}

    def add(names: list[str], parent: str, columns: tuple[str, ...]) -> None:
        for position, name in enumerate(names):
            part = KeyPart(parent=parent, columns=columns, position=position)
            found.setdefault(name.lower(), set()).add(part)

    for other in tables:
        through = other.policy.owned_through
        if through is None or other.owner != table.owner:
            continue
        pairs = sorted((of_parent.lower(), child) for child, of_parent in through.columns)
        columns = tuple(of_parent for of_parent, _ in pairs)
        if other.full_name == table.full_name:
            add([child for _, child in pairs], f"{table.owner}.{through.parent}".lower(), columns)
        if through.parent == table.name:
            add(list(columns), table.full_name.lower(), columns)
    return {name: frozenset(parts) for name, parts in found.items()}


def key_link(pairs: Iterable[Pair]) -> KeyLink | None:
    """Return how the equalities of a join follow a declared key with all its columns, or None.

    Args:
        pairs: equalities that hold in every joined row, between protected rows on both sides.
    """
    found: dict[tuple[str, str, str, str, tuple[str, ...]], dict[int, exp.Expr]] = {}
    for one, other, item, condition in pairs:
        # In one order in every process: where a join follows two keys, one question has one plan, and so one digest.
        for x in sorted(one.keys):
            for y in sorted(other.keys):
                if (x.parent, x.columns, x.position) == (y.parent, y.columns, y.position):
                    key = (item.alias, x.origin, y.origin, x.parent, x.columns)
                    found.setdefault(key, {})[x.position] = condition
    for (left, _, _, parent, columns), by_position in found.items():
        if len(by_position) == len(columns):
            return KeyLink(parent=parent, left=left, conditions=tuple(by_position.values()))
    return None


def holds_entity(keys: Iterable[Scalar]) -> bool:
    """Return whether the values of a group say whose its rows are: the entity is among them, or a whole declared key.

    The entity itself is grouped by all the same, so nothing of privacy hangs on a key being one entity's alone.
    """
    parts: dict[tuple[str, str, tuple[str, ...]], set[int]] = {}
    for key in keys:
        if key.entity:
            return True
        for part in key.keys:
            parts.setdefault((part.origin, part.parent, part.columns), set()).add(part.position)
    return any(len(positions) == len(columns) for (_, _, columns), positions in parts.items())


def path_join(select: exp.Select, item: Item, path: Path, *, alias: Callable[[], str]) -> tuple[exp.Select, exp.Expr]:
    """Return FROM with the item's path joined, and the entity of a row.

    Each row of the item is there once for each entity under its key: rows of the parent that repeat a key for one
    entity count once. A row without a parent, or whose parent has no entity, is left out: it counts for nobody.

    Args:
        select: has the item in FROM, on no optional side.
        item: without an entity column.
        path: the item's.
        alias: gives a fresh alias.
    """
    name = alias()
    parent, own = path.parent, [column(child, item.alias) for child, _ in path.columns]
    if path.unique and parent.entity_column is not None:
        entity: exp.Expr = column(parent.entity_column, name)
        theirs = [column(of_parent, name) for _, of_parent in path.columns]
        source = aliased(parent.tree, name)
    else:
        entity = column(ENTITY, name)
        theirs = [column(f"k{i}", name) for i in range(len(path.columns))]
        source = aliased(_owners(path, alias=alias), name)
    equal = [exp.EQ(this=a, expression=b) for a, b in zip(own, theirs, strict=True)]
    return select.join(source, on=conjunction(list(equal)), join_type="inner"), entity


def with_entity(item: Item, *, alias: Callable[[], str]) -> Item:
    """Return the item as a subquery that has its declared path joined, and so an entity in each row.

    Args:
        item: a table that is owned through a key.
        alias: gives a fresh alias.
    """
    relation = item.relation
    if relation.path is None:
        raise AssertionError("a table without an entity column has a path")
    inner = Item(name="", alias=alias(), relation=relation)
    select, entity = path_join(exp.Select().from_(inner.tree), inner, relation.path, alias=alias)
    seen = [o.inner for o in relation.outputs if o.scalar.type is not ColumnType.OTHER]
    hidden = ENTITY
    while hidden in {name.lower() for name in seen}:
        hidden += "_"
    tree = select.select(*(named(column(name, inner.alias), name) for name in seen), named(entity, hidden))
    return replace(item, relation=replace(relation, tree=tree, entity_column=hidden, path=None))


def _owners(path: Path, *, alias: Callable[[], str]) -> exp.Select:
    """Return the parent's (key, entity) pairs."""
    parent = Item(name="", alias=alias(), relation=path.parent)
    select = exp.Select().from_(parent.tree)
    entity = parent.entity
    if path.parent.path is not None:
        select, entity = path_join(select, parent, path.parent.path, alias=alias)
    if entity is None:
        raise AssertionError("a path leads to an entity")
    listed = [named(column(of_parent, parent.alias), f"k{i}") for i, (_, of_parent) in enumerate(path.columns)]
    select = select.select(*listed, named(entity, ENTITY)).where(fragment(":e IS NOT NULL", e=entity))
    return select if path.unique else select.distinct()
