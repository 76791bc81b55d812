"""Conditions over rows that are not grouped yet: WHERE, and the parts of a condition that all hold. Pure."""

from __future__ import annotations

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.addnoise import is_addnoise
from cleanroom.templates.aggregates import is_aggregate
from cleanroom.templates.expressions import translate
from cleanroom.templates.refusals import refuse
from cleanroom.templates.relations import RowScope
from cleanroom.templates.scalars import require
from cleanroom.templates.trees import bracketed


def conjuncts(node: exp.Expr) -> list[exp.Expr]:
    """Return the parts of a condition that all hold where it does."""
    node = node.unnest()
    if isinstance(node, exp.And):
        return [*conjuncts(node.this), *conjuncts(node.expression)]
    return [node]


def no_aggregate(node: exp.Expr, where: str) -> None:
    """Refuse aggregates where rows are not grouped yet."""
    for part in node.walk(prune=lambda n: isinstance(n, exp.Query)):
        if is_aggregate(part) or is_addnoise(part):
            refuse(f"an aggregate cannot stand in {where}", rule="aggregate_not_allowed", cure="use HAVING", at=part)


def where_condition(where: exp.Expr, scope: RowScope) -> exp.Expr:
    """Return the condition of a WHERE clause over the joined rows; in a subquery it may name those around."""
    no_aggregate(where.this, "WHERE")
    condition = require(translate(where.this, scope), frozenset({ColumnType.BOOLEAN}), what="WHERE", at=where)
    return bracketed(condition.sql)
