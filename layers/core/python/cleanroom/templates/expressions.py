"""Translates one expression of the template within a scope; whatever has no handler is refused (B-37). Pure."""

from __future__ import annotations

from typing import NoReturn, Protocol

from sqlglot import exp

from cleanroom.errors import TemplateRefusedError
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.functions import allowed_function
from cleanroom.templates.operators import OPERATORS
from cleanroom.templates.other_rows import is_is_other, is_or_other, refuse_place
from cleanroom.templates.refusals import place_of, refuse, spelled
from cleanroom.templates.scalars import Scalar

_RANDOM = (exp.Rand, exp.Uniform, exp.Randn, exp.Uuid, exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime)


class Scope(Protocol):
    """What names mean where an expression stands."""

    def column(self, node: exp.Column) -> Scalar:
        """Return the column that the node names, or refuse."""
        ...

    def whole(self, node: exp.Expr) -> Scalar | None:
        """Return what the node as a whole means here (a group key, an aggregate), or None to look into it."""
        ...


def translate(node: exp.Expr, scope: Scope, *, arrays: bool = False) -> Scalar:
    """Return the checked DuckDB form of an expression.

    Args:
        node: from the parser.
        scope: what names mean.
        arrays: whether an array may stand here, as it may in functions of arrays, FLATTEN, and lists of subqueries.

    Raises:
        TemplateRefusedError: a construct without a rule, an unknown name, or types that do not fit.
    """
    found = _translated(node, scope)
    if found.type is ColumnType.ARRAY and not arrays:
        refuse(
            "an array has no value of its own here",
            rule="array_value",
            cure="take an element (x[0]), ask ARRAY_SIZE or ARRAY_CONTAINS, make a text with ARRAY_TO_STRING, or make "
            "rows of it in FROM: t, LATERAL FLATTEN(input => t.x) f",
            at=node,
        )
    return found


def _translated(node: exp.Expr, scope: Scope) -> Scalar:
    try:
        return _meaning(node, scope)
    except TemplateRefusedError as refusal:
        if refusal.line is not None:
            raise
        line, column = place_of(node)  # a handler made what it refuses: the expression is the place
        raise type(refusal)(str(refusal), rule=refusal.rule, cure=refusal.cure, line=line, column=column) from None


def _meaning(node: exp.Expr, scope: Scope) -> Scalar:
    whole = scope.whole(node)
    if whole is not None:
        return whole
    if isinstance(node, exp.Column):
        return scope.column(node)
    handler, arrays = OPERATORS.get(type(node)), isinstance(node, exp.Is)  # IS NULL takes anything
    if handler is None:
        allowed = allowed_function(node)
        if allowed is None:
            refuse_node(node)
        handler, arrays = allowed.handler, allowed.arrays
    return handler(node, lambda inner: translate(inner, scope, arrays=arrays))


def refuse_node(node: exp.Expr) -> NoReturn:
    """Refuse an expression that neither the scope nor a list has a meaning for; the linter asks it, too.

    Raises:
        TemplateRefusedError: always; which rule depends on the kind of node.
    """
    name = spelled(node)
    if is_or_other(node) or is_is_other(node):
        refuse_place(node)
    if isinstance(node, exp.Subquery | exp.Select | exp.Exists | exp.SetOperation):
        refuse(
            "a subquery cannot stand here",
            rule="subquery_expression",
            cure="write it in WHERE, HAVING or the SELECT list; in ON, join it in FROM instead",
            at=node,
        )
    if isinstance(node, exp.Window):
        refuse(
            "a window function cannot stand here",
            rule="window",
            cure="give it a name in a subquery or CTE, and use that above",
            at=node,
        )
    if isinstance(node, _RANDOM):
        refuse(
            "a non-deterministic function may stand only in the noiserand of addnoise",
            rule="not_deterministic",
            cure="pass what it would say as an argument, e.g. {{ today }}; noise needs no random numbers of the query",
            at=node,
        )
    if isinstance(node, exp.AggFunc):
        refuse(
            f"{name} cannot stand here, or has no private form yet",
            rule="aggregate_not_allowed",
            cure="use COUNT, SUM or AVG in the SELECT list or HAVING of a grouped query; an aggregate of aggregates "
            "stands above a subquery",
            at=node,
        )
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Anonymous):
        refuse(
            f"the function {node.expression.name.upper()} is not on the list",
            rule="function_not_allowed",
            cure="cleanroom has addnoise, or_other and is_other; all other functions have no schema in front",
            at=node,
        )
    if isinstance(node, exp.Anonymous):
        name = str(node.this).upper()
    if name == "IDENTIFIER":
        refuse(
            "IDENTIFIER makes the name of a table in FROM, and of nothing else",
            rule="function_not_allowed",
            cure="name a column with {{ x | column_policy | sqlsafe }}",
            at=node,
        )
    if isinstance(node, exp.Func):
        refuse(
            f"the function {name} is not on the list",
            rule="function_not_allowed",
            cure="use one of the list in docs/sql.md",
            at=node,
        )
    refuse(
        f"{name} is not supported in an expression",
        rule="unsupported_expression",
        cure=_INSTEAD.get(type(node), "write it with what docs/sql.md lists under Values"),
        at=node,
    )


_FIELD = "columns have simple types: ask the owner to link the field as a column"
_INSTEAD: dict[type[exp.Expr], str] = {
    exp.Placeholder: "write {{ x }}, and pass x as an argument of the template",
    exp.Parameter: "write {{ x }}, and pass x as an argument of the template",
    exp.Star: "name a column, or write COUNT(*)",
    exp.Distinct: "put SELECT DISTINCT into a subquery, and aggregate above it",
    exp.Dot: _FIELD,
    exp.JSONExtract: _FIELD,
    exp.Tuple: "for one of a list of values write x IN {{ values | inclause }}; compare columns one by one, with AND; "
    "after DISTINCT write them without brackets",
}
