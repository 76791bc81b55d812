"""Rows that stand in the text of a query: they depend on no table, so they may meet noisy numbers. Pure.

`VALUES`, arrays written out and SELECT without FROM are such rows. The function that holds noisy numbers opens no
table; these it has in its SQL.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlglot import exp

from cleanroom.templates.relations import Relation, World
from cleanroom.templates.trees import aliased, column, named

_NUMBER = "i0"


def is_written(relation: Relation) -> bool:
    """Return whether a relation reads no table at all, neither a linked one nor a noisy one."""
    return relation.world is World.PUBLIC and relation.tree.find(exp.Table) is None


def one_query(rows: Iterable[Iterable[tuple[str, exp.Expr]]]) -> exp.Query:
    """Return rows as a UNION ALL of SELECTs without FROM, halved again and again so that it is not deep.

    Args:
        rows: of each the columns' names and values; at least one row, all with the same names.
    """
    parts: list[exp.Query] = [
        exp.Select(expressions=[exp.alias_(value.copy(), name, quoted=True) for name, value in row]) for row in rows
    ]
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        odd = parts[-1:] if len(parts) % 2 else []
        parts = [*(exp.Union(this=a, expression=b, distinct=False) for a, b in pairs), *odd]
    return parts[0]


def numbered(relation: Relation, *, alias: str, world: World) -> Relation:
    """Return written rows with a hidden column that tells them apart, as noisy rows have.

    Rows that are equal in every column can be exchanged, so that the numbers do not depend on the engine.

    Args:
        relation: for which `is_written` holds.
        alias: a fresh one.
        world: of the result: RELEASED where they meet noisy numbers.
    """
    visible = [o.inner for o in relation.outputs]
    order = [exp.Ordered(this=column(name, alias), nulls_first=True) for name in visible]
    number = exp.Window(this=exp.RowNumber(), order=exp.Order(expressions=order) if order else None, over="OVER")
    listed = [named(column(n, alias), n) for n in visible]
    tree = exp.select(*listed, named(number, _NUMBER)).from_(aliased(relation.tree, alias), copy=False)
    outputs = tuple(replace(o, scalar=replace(o.scalar, sql=column(o.inner, alias))) for o in relation.outputs)
    return replace(relation, world=world, tree=tree, outputs=outputs, identity=(_NUMBER,), bare=None)
