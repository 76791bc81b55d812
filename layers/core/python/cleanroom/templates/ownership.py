"""The ownership rules: which tables are protected, and which joins keep every row with one entity. Pure.

Design: a row of a result may belong to one entity only, and depend on its rows and on public data only. A join of two
protected relations is such a row only if both sides are of the same entity; an unmatched row of a public table tells
that nobody matched, and belongs to no entity.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType, LinkedTable
from cleanroom.templates.refusals import refuse
from cleanroom.templates.relations import Entity, Item, World, is_converted
from cleanroom.templates.scalars import Scalar

_EXACT = frozenset({ColumnType.TEXT, ColumnType.INTEGER, ColumnType.DATE, ColumnType.BOOLEAN})
_ENTITY_TYPES = frozenset(
    {ColumnType.TEXT, ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.DATE, ColumnType.BOOLEAN}
)
"""Types whose different values stay different wherever entities are grouped, hashed and compared."""


def world_of_table(
    table: LinkedTable, *, through: tuple[LinkedTable, ...] = (), reader: str, differential: bool, at: exp.Expr
) -> World:
    """Return whether the table's rows are protected from this reader (B-06).

    With DP off, a table whose owner set a smallest group is protected all the same: its rows do not come out, and
    groups are counted in entities (B-80).

    Args:
        table: from FROM.
        through: the tables that its declared key leads to, the one with the entity column last; empty where it has
            none.
        reader: the party that will see the release.
        differential: whether DP is on for it.
        at: for the refusal.

    Raises:
        TemplateRefusedError: rules `no_entity_column`, `entity_type`.
    """
    least = max(t.policy.min_entities for t in (table, *through))
    if table.owner == reader or not (differential or least > 0):
        return World.PUBLIC
    table = through[-1] if through else table
    if not table.entity_columns:
        refuse(
            f"the table {table.full_name} has no entity column, and "
            + ("differential privacy is on for this party" if differential else "its owner set a smallest group"),
            rule="no_entity_column",
            cure=f"{table.owner} can pin one, or declare owned_through in the policy: link_datasets with "
            f"entity_columns or policies for {table.name}",
            at=at,
        )
    for entity in table.entity_columns:
        declared = table.column(entity.column)
        if declared is not None and (declared.type not in _ENTITY_TYPES or is_converted(declared)):
            refuse(
                f"the entity column {declared.name} of {table.full_name} has a type in which two different values "
                "could be taken for one entity",
                rule="entity_type",
                cure=f"{table.owner} can pin a text or whole-number column instead: link_datasets with "
                f"entity_columns for {table.name}",
                at=at,
            )
    return World.OWNED


def joined_entity(
    left: Entity | None,
    right: Entity | None,
    *,
    worlds: tuple[World, World],
    side: str,
    on_entity: bool,
    at: exp.Expr,
) -> Entity | None:
    """Return what protects the rows of a join.

    Args:
        left: of the relation on the left, where it is Owned.
        right: likewise.
        worlds: of both.
        side: `INNER`, `LEFT`, `RIGHT`, `FULL`, or `SEMI` for SEMI and ANTI JOIN.
        on_entity: whether the entities of both sides are equal in every joined row.
        at: for the refusal.

    Raises:
        TemplateRefusedError: rules `join_noisy_with_table`, `outer_join`, `semi_join`, `join_without_entity`,
            `joined_entities`, `different_entities`.
    """
    if World.RELEASED in worlds and worlds != (World.RELEASED, World.RELEASED):
        refuse(
            "noisy numbers cannot be joined with a table: what is released is computed apart from all tables",
            rule="join_noisy_with_table",
            cure="join the table before the aggregation, and group by its columns; rows of your own may stand in the "
            "text: (VALUES (…), (…)) AS v(a, b)",
            at=at,
        )
    if side == "FULL" and worlds == (World.OWNED, World.OWNED):
        refuse(
            "FULL JOIN of two protected tables: the entity of a row would be now in one, now in the other",
            rule="outer_join",
            cure="write a LEFT JOIN b, UNION ALL the rows of b ANTI JOIN a",
            at=at,
        )
    if side == "FULL" and World.OWNED in worlds:
        _refuse_outer("FULL JOIN", at)
    if side == "LEFT" and worlds == (World.PUBLIC, World.OWNED):
        _refuse_outer("LEFT JOIN with the protected table on the right", at)
    if side == "SEMI" and worlds == (World.PUBLIC, World.OWNED):
        refuse(
            "a SEMI or ANTI JOIN of public rows with protected ones: which remain depends on all entities",
            rule="semi_join",
            cure="put the protected table first, and join the public one",
            at=at,
        )
    if side == "RIGHT" and worlds == (World.OWNED, World.PUBLIC):
        _refuse_outer("RIGHT JOIN with the protected table on the left", at)
    if left is None or right is None:
        return left or right
    joined = next((t for e in (left, right) for t in e.tables if t.entity_label is not None), None)
    if joined is not None and not (on_entity and left.kind == right.kind):
        refuse(
            f"the rows of {joined.full_name} belong to entities that are joined from several columns, and no condition "
            "says that two rows have the same one",
            rule="joined_entities",
            cure=f"join it with tables that are not protected; or {joined.owner} can pin one entity column and unpin "
            f"the others: link_datasets with entity_columns for {joined.name}",
            at=at,
        )
    if left.kind != right.kind:
        refuse(
            f"the entities differ: {left.label} is {left.kind}, {right.label} is {right.kind}",
            rule="different_entities",
            cure="join protected tables only on entity columns of one kind",
            at=at,
        )
    if not on_entity:
        refuse(
            f"a join of {_whose(left)} with {_whose(right)} must have their entity columns equal, "
            "or a row would belong to two entities",
            rule="join_without_entity",
            cure="add AND <left entity> = <right entity> to the join's ON, or join on all columns of a declared key",
            at=at,
        )
    return merged_entity(right, left) if side == "RIGHT" else merged_entity(left, right)


def _whose(entity: Entity) -> str:
    """Return the entity's label, with the table in front whose rows are its only through a key of another table."""
    first = entity.tables[0].full_name
    return entity.label if entity.label.endswith(f" of {first}") else f"{first} (owned by {entity.label})"


def merged_entity(main: Entity | None, other: Entity | None) -> Entity:
    """Return what protects rows that depend on the protected tables of both."""
    if main is None or other is None:
        raise AssertionError("both are protected")
    known = {t.full_name for t in main.tables}
    return replace(main, tables=(*main.tables, *(t for t in other.tables if t.full_name not in known)))


def _refuse_outer(what: str, at: exp.Expr) -> NoReturn:
    refuse(
        f"{what}: rows of the public table without a match belong to no entity",
        rule="outer_join",
        cure="use JOIN, or put the protected table on the side that is kept whole",
        at=at,
    )


def equates_entities(conditions: list[exp.Expr], left: list[Item], right: Item) -> bool:
    """Return whether one of the conditions (all of which hold) says that both sides have the same entity.

    Args:
        conditions: top-level conjuncts of ON, and of WHERE for inner joins.
        left: the items joined so far.
        right: the new one.
    """
    pairs = equal_pairs(conditions, left, right, beside=left)
    return any(one.entity and other.entity for one, other, _, _ in pairs)


def equal_pairs(
    conditions: list[exp.Expr],
    left: list[Item],
    right: Item,
    *,
    beside: list[Item],
    nearer: list[Item] | None = None,
) -> list[tuple[Scalar, Scalar, Item, exp.Expr]]:
    """Return the plain columns of both sides that a condition says have one and the same value.

    Args:
        conditions: top-level conjuncts that all hold.
        left: the items whose columns count on the left.
        right: the item on the right.
        beside: all items on the left: a name that could mean one of theirs and the right's counts for neither.
        nearer: items whose names hide those of the left: all of the subquery, where the left is the query around it.

    Returns:
        Column of the left, column of the right, the left's item, and the condition.
    """
    found: list[tuple[Scalar, Scalar, Item, exp.Expr]] = []
    for condition in conditions:
        if not isinstance(condition, exp.EQ):
            continue
        a, b = condition.this.unnest(), condition.expression.unnest()
        if not (isinstance(a, exp.Column) and isinstance(b, exp.Column)):
            continue
        for x, y in ((a, b), (b, a)):
            one, other = _column_of(x, beside, beside=nearer or [right]), _column_of(y, [right], beside=beside)
            of = next((i for i in left if _holds(i, x)), None)
            if one is not None and other is not None and of is not None and same_exact_type(one, other):
                found.append((one, other, of, condition))
    return found


def equal_to_entity(conditions: list[exp.Expr], items: list[Item]) -> list[Item]:
    """Return the items with every column marked as the entity that an inner join says is equal to it.

    Args:
        conditions: top-level conjuncts of ON of an inner join: they hold in every row.
        items: all that are joined.
    """
    result = list(items)
    for condition in conditions:
        if not isinstance(condition, exp.EQ):
            continue
        a, b = condition.this.unnest(), condition.expression.unnest()
        if not (isinstance(a, exp.Column) and isinstance(b, exp.Column)):
            continue
        for x, y in ((a, b), (b, a)):
            one, other = _column_of(x, result), _column_of(y, result)
            if (
                one is not None
                and other is not None
                and one.entity
                and not other.entity
                and same_exact_type(one, other)
            ):
                result = [_marked(i, y.name.lower()) if _holds(i, y) else i for i in result]
    return result


def _marked(item: Item, name: str) -> Item:
    scalar = item.columns[name]
    if scalar is None:
        return item
    return replace(item, columns={**item.columns, name: replace(scalar, entity=True)})


def same_exact_type(one: Scalar, other: Scalar) -> bool:
    """Return whether = between the two is true for equal values only: no conversion that could join two values."""
    return one.type is other.type and one.type in _EXACT


def _holds(item: Item, node: exp.Column) -> bool:
    return node.name.lower() in item.columns and node.table.lower() in ("", item.name)


def _column_of(node: exp.Column, items: list[Item], *, beside: list[Item] | None = None) -> Scalar | None:
    """Return the column among the items, if the name can mean no other, here or beside."""
    found = [i for i in items if _holds(i, node)]
    if len(found) != 1 or any(_holds(i, node) for i in beside or []):
        return None
    return found[0].columns[node.name.lower()]
