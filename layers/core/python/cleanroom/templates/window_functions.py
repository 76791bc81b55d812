"""What a window function gives for a row, once it is known over which rows it is. Pure.

No value can fail, whatever the rows hold. Partition, order and frame are `windows.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.function_rules import literal_integer
from cleanroom.templates.public_values import with_null
from cleanroom.templates.refusals import only, refuse, spelled, words
from cleanroom.templates.scalars import NUMERIC, OPEN, Scalar, cast, require, unified
from cleanroom.templates.trees import fragment, integer

LARGEST_PLACE = 10**6
"""Of offsets, frames and numbers of tiles."""

ROW_OF_FRAME = (exp.FirstValue, exp.LastValue, exp.NthValue)
"""What takes its value from one row of the frame."""

_NUMBERS: dict[type[exp.Expr], str] = {
    exp.RowNumber: "ROW_NUMBER()",
    exp.Rank: "RANK()",
    exp.DenseRank: "DENSE_RANK()",
    exp.PercentRank: "PERCENT_RANK()",
    exp.CumeDist: "CUME_DIST()",
}
_SHARES = (exp.PercentRank, exp.CumeDist)

WINDOW_FUNCTIONS = (
    *("ROW_NUMBER", "RANK", "DENSE_RANK", "PERCENT_RANK", "CUME_DIST", "NTILE", "LAG", "LEAD"),
    *("FIRST_VALUE", "LAST_VALUE", "NTH_VALUE", "COUNT", "COUNT_IF", "SUM", "AVG", "MIN", "MAX"),
)
"""What may stand before OVER."""


def window_value(node: exp.Expr, scope: Scope, over: Callable[[exp.Expr], exp.Expr], *, exact_sums: bool) -> Scalar:
    """Return a window function's value; it cannot fail, whatever the rows hold."""
    if type(node) in _NUMBERS:
        only(node, ())
        kind = ColumnType.DOUBLE if isinstance(node, _SHARES) else ColumnType.INTEGER
        return Scalar(sql=over(fragment(_NUMBERS[type(node)])), type=kind, nullable=False)
    if isinstance(node, exp.Ntile):
        only(node, {"this"})
        tiles = literal_integer(node.this, lambda n: translate(n, scope), least=1, most=LARGEST_PLACE, what="NTILE")
        return Scalar(sql=over(fragment("NTILE(:n)", n=integer(tiles))), type=ColumnType.INTEGER, nullable=False)
    if isinstance(node, exp.Lag | exp.Lead):
        return _neighbour(node, scope, over)
    if isinstance(node, ROW_OF_FRAME):
        only(node, {"this", "offset"})
        value = translate(node.this, scope)
        word = spelled(node)
        if isinstance(node, exp.NthValue):
            place = literal_integer(
                node.args.get("offset"), lambda n: translate(n, scope), least=1, most=LARGEST_PLACE, what=word
            )
            return _kept(over(fragment("NTH_VALUE(:a, :n)", a=value.sql, n=integer(place))), value)
        return _kept(over(fragment(f"{word}(:a)", a=value.sql)), value)
    if isinstance(node, exp.Count):
        only(node, {"this", "big_int"})
        if isinstance(node.this, exp.Star):
            only(node.this, ())
            return Scalar(sql=over(fragment("COUNT(*)")), type=ColumnType.INTEGER, nullable=False)
        if not isinstance(node.this, exp.Distinct):
            counted = translate(node.this, scope)
            return Scalar(sql=over(fragment("COUNT(:a)", a=counted.sql)), type=ColumnType.INTEGER, nullable=False)
    if isinstance(node, exp.CountIf):
        only(node, {"this", "zero_on_all_null"})
        held = require(translate(node.this, scope), frozenset({ColumnType.BOOLEAN}), what="COUNT_IF", at=node)
        tree = over(fragment("COUNT(CASE WHEN :a THEN 1 END)", a=held.sql))
        return Scalar(sql=tree, type=ColumnType.INTEGER, nullable=False)
    if isinstance(node, exp.Min | exp.Max):
        only(node, {"this"})
        value = translate(node.this, scope)
        return _kept(over(fragment(f"{words(type(node))}(:a)", a=value.sql)), value)
    if isinstance(node, exp.Sum | exp.Avg):
        only(node, {"this"})
        return _sum(node, scope, over, exact_sums=exact_sums)
    refuse(
        f"{spelled(node)} is not supported as a window function",
        rule="window",
        cure=f"use {', '.join(WINDOW_FUNCTIONS)}",
        at=node,
    )


def _neighbour(node: exp.Expr, scope: Scope, over: Callable[[exp.Expr], exp.Expr]) -> Scalar:
    """Return LAG or LEAD; without a row so far away, the literal default, or NULL."""
    only(node, {"this", "offset", "default"})
    value = translate(node.this, scope)
    word = words(type(node))
    rows = 1
    if node.args.get("offset") is not None:
        rows = literal_integer(
            node.args["offset"],
            lambda n: translate(n, scope),
            least=0,
            most=LARGEST_PLACE,
            what=f"the offset of {word}",
        )
    if node.args.get("default") is None:
        return _kept(over(fragment(f"{word}(:a, :n)", a=value.sql, n=integer(rows))), value)
    default = translate(node.args["default"], scope)
    if not default.constant:
        refuse(
            f"the default of {word} must be a literal", rule="literal_needed", cure="use COALESCE around it", at=node
        )
    kind, (a, d) = unified([value, default], at=node)
    tree = over(fragment(f"{word}(:a, :n, :d)", a=a.sql, n=integer(rows), d=d.sql))
    return replace(_kept(tree, a), type=kind, span=OPEN, values=None)


def _sum(node: exp.Expr, scope: Scope, over: Callable[[exp.Expr], exp.Expr], *, exact_sums: bool) -> Scalar:
    """Return SUM or AVG: of integers in 128 bits, of others as decimals with ten digits, as GROUP BY does."""
    word = words(type(node))
    value = require(translate(node.this, scope), NUMERIC, what=word, at=node)
    if isinstance(node, exp.Sum) and value.type is ColumnType.INTEGER:
        total = over(fragment("SUM(CAST(:a AS BIGINT))", a=value.sql))
        return Scalar(sql=fragment("TRY_CAST(:t AS BIGINT)", t=total), type=ColumnType.INTEGER)
    span = value.span if isinstance(node, exp.Avg) else OPEN
    if not exact_sums:
        tree = over(fragment(f"{word}(CAST(:a AS DOUBLE))", a=value.sql))
        return Scalar(sql=tree, type=ColumnType.DOUBLE, span=span)
    digits = fragment("TRY_CAST(:a AS DECIMAL(28, 10))", a=value.sql)
    total = fragment("CAST(:t AS DOUBLE)", t=over(fragment("SUM(CAST(:d AS DECIMAL(38, 10)))", d=digits)))
    if isinstance(node, exp.Avg):
        counted = over(fragment("COUNT(:d)", d=digits))
        total = fragment(":t / NULLIF(:n, 0)", t=total, n=counted)
    return Scalar(sql=total, type=ColumnType.DOUBLE, span=span)


def _kept(tree: exp.Expr, value: Scalar) -> Scalar:
    """Return a value of another row of the partition: as the column is, but for NULL, and no entity's name."""
    kind = ColumnType.DOUBLE if value.type is ColumnType.DECIMAL else value.type
    whole = Scalar(sql=tree, type=value.type)
    result = cast(whole, kind) if kind is not None and kind is not value.type else whole
    return replace(result, size=value.size, span=value.span, values=with_null(value.values))
