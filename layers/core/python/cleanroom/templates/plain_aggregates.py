"""Aggregates that need no noise: over public rows, over the rows of one entity, or over noisy rows. Pure.

They are total and do not depend on the order of rows: doubles are summed as decimals, and what the engine would add up
in the order it finds (variances) is sorted before. Over protected rows see `aggregates.py`.
"""

from __future__ import annotations

from fractions import Fraction

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.aggregate_calls import CallOf, combination, summable
from cleanroom.templates.aggregates import PAIRED, SPREADS, refuse_aggregate
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.handlers import BOOLEAN
from cleanroom.templates.quantile_calls import QUANTILES, RANKED, quantile_call
from cleanroom.templates.refusals import only, refuse, spelled, words
from cleanroom.templates.scalars import TEMPORAL, Scalar, Span, cast, combine, gathered, require
from cleanroom.templates.trees import fragment

_FINITE = "TRY_CAST(TRY_CAST(:a AS DECIMAL(28, 10)) AS DOUBLE)"


def plain_aggregate(node: exp.Expr, rows: Scope, *, exact_sums: bool) -> Scalar:
    """Return an aggregate as it is.

    Args:
        node: the call.
        rows: what names mean in its argument.
        exact_sums: sum doubles as decimals with ten digits, so that the order of rows cannot show in the result;
            values of 1e18 and above count as NULL. False for noisy rows, where nothing depends on it.

    Raises:
        TemplateRefusedError: rule `aggregate_not_allowed`, or the argument's own.
    """
    call = CallOf(node, rows)
    inner = call.node
    if isinstance(inner, exp.Count):
        return _count(call)
    if isinstance(inner, exp.CountIf):
        only(inner, {"this", "zero_on_all_null"})
        condition = require(translate(inner.this, rows), BOOLEAN, what="COUNT_IF", at=node)
        return _counted("COUNT(CASE WHEN :a THEN 1 END)", call.kept(condition))
    if isinstance(inner, exp.LogicalOr | exp.LogicalAnd):
        only(inner, {"this"})
        condition = call.kept(require(translate(inner.this, rows), BOOLEAN, what=spelled(inner), at=node))
        word = "BOOL_OR" if isinstance(inner, exp.LogicalOr) else "BOOL_AND"
        return gathered(f"{word}(:a)", kind=ColumnType.BOOLEAN, a=condition)
    if isinstance(inner, exp.Min | exp.Max):
        only(inner, {"this"})
        a = call.kept(translate(inner.this, rows))
        kind = ColumnType.DOUBLE if a.type is ColumnType.DECIMAL else a.type
        return gathered(f"{words(type(inner))}(:a)", kind=kind, span=a.span, a=cast(a, kind) if kind else a)
    if isinstance(inner, QUANTILES):
        return _quantile(call)
    if isinstance(inner, exp.ApproxDistinct | exp.Hll):
        only(inner, {"this"})
        return _counted("COUNT(DISTINCT :a)", call.kept(translate(inner.this, rows)))
    if type(inner) in SPREADS:
        only(inner, {"this"})
        a = call.kept(summable(translate(inner.this, rows), what=spelled(inner), at=node))
        return _spread(SPREADS[type(inner)].value, a, exact_sums=exact_sums)
    if type(inner) in PAIRED:
        only(inner, {"this", "expression", "null_on_zero_variance"})
        operands = (inner.this, inner.expression)
        x, y = (summable(translate(n, rows), what=spelled(inner), at=node) for n in operands)
        return _paired(PAIRED[type(inner)].value, call.kept(x), call.kept(y))
    if not isinstance(inner, exp.Sum | exp.Avg):
        refuse_aggregate(inner, at=node)
    only(inner, {"this"})
    word = words(type(inner))
    argument = call.kept(summable(translate(inner.this, rows), what=word, at=node))
    if word == "SUM" and argument.type is ColumnType.INTEGER:
        return gathered("TRY_CAST(SUM(CAST(:a AS BIGINT)) AS BIGINT)", kind=ColumnType.INTEGER, a=argument)
    span = argument.span if word == "AVG" else Span()
    if not exact_sums:
        return gathered(f"{word}(CAST(:a AS DOUBLE))", kind=ColumnType.DOUBLE, span=span, a=argument)
    total = "CAST(SUM(CAST(TRY_CAST(:a AS DECIMAL(28, 10)) AS DECIMAL(38, 10))) AS DOUBLE)"
    text = total if word == "SUM" else f"{total} / NULLIF(COUNT(TRY_CAST(:a AS DECIMAL(28, 10))), 0)"
    return gathered(text, kind=ColumnType.DOUBLE, span=span, a=argument)


def _count(call: CallOf) -> Scalar:
    node = call.node
    only(node, {"this", "big_int"})
    if isinstance(node.this, exp.Star):
        only(node.this, ())
        if call.condition is not None:
            return _counted("COUNT(CASE WHEN :a THEN 1 END)", call.condition)
        return Scalar(sql=fragment("COUNT(*)"), type=ColumnType.INTEGER, nullable=False, span=Span(lo=Fraction(0)))
    if isinstance(node.this, exp.Distinct):
        if node.this.args.get("on"):
            refuse("DISTINCT ON is not supported here", rule="aggregate_not_allowed", cure="write DISTINCT", at=node)
        parts = [translate(part, call.rows) for part in node.this.expressions]
        return _counted("COUNT(DISTINCT :a)", call.kept(parts[0] if len(parts) == 1 else combination(parts)))
    return _counted("COUNT(:a)", call.kept(translate(node.this, call.rows)))


def _counted(text: str, argument: Scalar) -> Scalar:
    return gathered(text, kind=ColumnType.INTEGER, nullable=False, span=Span(lo=Fraction(0)), a=argument)


def _quantile(call: CallOf) -> Scalar:
    """Return a quantile; of dates and timestamps, and where it is asked for, one of the values; else between two."""
    asked = quantile_call(call.node, call.rows, at=call.outer)
    a = call.kept(require(translate(asked.value, call.rows), RANKED, what=spelled(call.node), at=call.outer))
    whole = asked.whole or a.type in TEMPORAL
    kind = a.type if a.type in TEMPORAL or (whole and a.type is ColumnType.INTEGER) else ColumnType.DOUBLE
    word = "QUANTILE_DISC" if whole else "QUANTILE_CONT"
    value = cast(a, kind) if kind else a
    if kind is ColumnType.DOUBLE:  # between infinities there would be no number
        value = combine("CASE WHEN ISFINITE(:a) THEN :a END", kind=kind, span=a.span, nullable=True, a=value)
    return gathered(f"{word}(:a, {float(asked.fraction)!r})", kind=kind, span=a.span, a=value)


def _spread(word: str, argument: Scalar, *, exact_sums: bool) -> Scalar:
    """Return a variance or a standard deviation; values of 1e18 and above count as NULL, for their squares overflow."""
    text = f"{word}({_FINITE})"
    if exact_sums:
        text = f"LIST_AGGREGATE(LIST({_FINITE} ORDER BY {_FINITE}), '{word.lower()}')"
    return gathered(text, kind=ColumnType.DOUBLE, span=Span(lo=Fraction(0)), a=argument)


def _paired(word: str, x: Scalar, y: Scalar) -> Scalar:
    """Return COVAR or CORR of the rows in which both are there, in one order; NULL where it is not defined."""
    x, y = (combine(_FINITE, kind=ColumnType.DOUBLE, nullable=True, a=one) for one in (x, y))
    each = "CASE WHEN :b IS NOT NULL THEN :a END"
    first, second = (combine(each, kind=ColumnType.DOUBLE, nullable=True, a=a, b=b) for a, b in ((x, y), (y, x)))
    text = f"{word}(:a, :b ORDER BY :a, :b)"
    sql = f"CASE WHEN ISFINITE({text}) THEN {text} END"
    return gathered(sql, kind=ColumnType.DOUBLE, a=first, b=second)
