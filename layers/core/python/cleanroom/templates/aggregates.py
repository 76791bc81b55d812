"""Reads aggregate calls: COUNT, SUM, AVG where noise is due; also MIN, MAX and COUNT DISTINCT where none is. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.refusals import only, refuse, spelled, words
from cleanroom.templates.scalars import NUMERIC, OPEN, Scalar, Span, cast, combine, require
from cleanroom.templates.trees import fragment, to_sql


class AggregateFunction(StrEnum):
    """The aggregates that can be measured."""

    ROWS = "COUNT(*)"
    VALUES = "COUNT"
    ENTITIES = "COUNT(DISTINCT entity)"
    SUM = "SUM"
    AVG = "AVG"


@dataclass(frozen=True, kw_only=True, slots=True)
class Aggregate:
    """One aggregate to measure.

    Attributes:
        function: which.
        argument: what is counted or summed; None for rows and entities.
        label: for people.
    """

    function: AggregateFunction
    argument: Scalar | None = None
    label: str = ""

    @property
    def argument_key(self) -> str:
        """Equal for equal arguments."""
        return "" if self.argument is None else to_sql(self.argument.sql)

    @property
    def key(self) -> str:
        """Equal for equal aggregates."""
        return f"{self.function.value} {self.argument_key}"


AGGREGATES = (exp.AggFunc, exp.Filter, exp.WithinGroup, exp.Window)


def is_aggregate(node: exp.Expr) -> bool:
    """Return whether the node is an aggregate call, allowed or not."""
    return isinstance(node, AGGREGATES)


def counts_every_row(argument: Scalar) -> bool:
    """Return whether COUNT(argument) is COUNT(*): no NULL, and no NaN that would count as one."""
    return not argument.nullable and argument.type is not ColumnType.DOUBLE


def read_aggregate(node: exp.Expr, rows: Scope) -> Aggregate:
    """Return the aggregate to measure.

    Args:
        node: an aggregate call over protected rows.
        rows: what names mean in its argument.

    Raises:
        TemplateRefusedError: rules `aggregate_not_allowed`, `distinct_values`, or the argument's own.
    """
    label = _label(node)
    _no_window(node)
    if isinstance(node, exp.Count):
        only(node, {"this", "big_int"})
        inner = node.this
        if isinstance(inner, exp.Star):
            only(inner, ())
            return Aggregate(function=AggregateFunction.ROWS, label="COUNT(*)")
        if isinstance(inner, exp.Distinct):
            if len(inner.expressions) == 1 and not inner.args.get("on"):
                argument = translate(inner.expressions[0], rows)
                if argument.entity:
                    return Aggregate(function=AggregateFunction.ENTITIES, label=label)
            refuse(
                "COUNT(DISTINCT …) of anything but the entity column is not supported yet",
                rule="distinct_values",
                cure="count the entities, or count rows grouped by that column",
                at=node,
            )
        argument = translate(inner, rows)
    elif isinstance(node, exp.CountIf):
        only(node, {"this", "zero_on_all_null"})
        condition = require(translate(node.this, rows), frozenset({ColumnType.BOOLEAN}), what="COUNT_IF", at=node)
        argument = combine("CASE WHEN :a THEN 1 END", kind=ColumnType.INTEGER, nullable=True, a=condition)
        return Aggregate(function=AggregateFunction.VALUES, argument=argument, label=label)
    elif isinstance(node, exp.Sum | exp.Avg):
        only(node, {"this"})
        argument = require(translate(node.this, rows), NUMERIC, what=words(type(node)), at=node)
        function = AggregateFunction.SUM if isinstance(node, exp.Sum) else AggregateFunction.AVG
        return Aggregate(function=function, argument=argument, label=label)
    else:
        refuse(
            f"{spelled(node)} has no private form yet",
            rule="aggregate_not_allowed",
            cure="use COUNT, SUM or AVG",
            at=node,
        )
    if counts_every_row(argument):
        return Aggregate(function=AggregateFunction.ROWS, label=label)
    return Aggregate(function=AggregateFunction.VALUES, argument=argument, label=label)


def _no_window(node: exp.Expr) -> None:
    if isinstance(node, exp.Window):
        refuse("window functions are not supported yet", rule="window", cure="use GROUP BY", at=node)


def _label(node: exp.Expr) -> str:
    """Return the call for people, with literals left out."""
    shown = node.copy().transform(lambda n: exp.Placeholder() if isinstance(n, exp.Literal) else n)
    text = shown.sql(dialect="snowflake", comments=False)
    return text if len(text) <= 80 else text[:77] + "..."


def plain_aggregate(node: exp.Expr, rows: Scope, *, exact_sums: bool) -> Scalar:
    """Return an aggregate as it is: over public rows, over the rows of one entity, or over noisy rows.

    Args:
        node: the call.
        rows: what names mean in its argument.
        exact_sums: sum doubles as decimals with ten digits, so that the order of rows cannot show in the result;
            values of 1e18 and above count as NULL. False for noisy rows, where nothing depends on it.

    Raises:
        TemplateRefusedError: rule `aggregate_not_allowed`, or the argument's own.
    """

    def counted(text: str, argument: Scalar) -> Scalar:
        return _collected(text, argument, kind=ColumnType.INTEGER, nullable=False, span=Span(lo=Fraction(0)))

    _no_window(node)
    if isinstance(node, exp.Count):
        only(node, {"this", "big_int"})
        if isinstance(node.this, exp.Star):
            only(node.this, ())
            return Scalar(sql=fragment("COUNT(*)"), type=ColumnType.INTEGER, nullable=False, span=Span(lo=Fraction(0)))
        if isinstance(node.this, exp.Distinct):
            if len(node.this.expressions) != 1 or node.this.args.get("on"):
                refuse("COUNT(DISTINCT) takes one column", rule="aggregate_not_allowed", cure="name one", at=node)
            argument = translate(node.this.expressions[0], rows)
            return counted("COUNT(DISTINCT :a)", argument)
        return counted("COUNT(:a)", translate(node.this, rows))
    if isinstance(node, exp.CountIf):
        only(node, {"this", "zero_on_all_null"})
        condition = require(translate(node.this, rows), frozenset({ColumnType.BOOLEAN}), what="COUNT_IF", at=node)
        return counted("COUNT(CASE WHEN :a THEN 1 END)", condition)
    if isinstance(node, exp.Min | exp.Max):
        only(node, {"this"})
        a = translate(node.this, rows)
        kind = ColumnType.DOUBLE if a.type is ColumnType.DECIMAL else a.type
        return _collected(f"{words(type(node))}(:a)", cast(a, kind) if kind else a, kind=kind, span=a.span)
    if not isinstance(node, exp.Sum | exp.Avg):
        refuse(
            f"{spelled(node)} is not supported",
            rule="aggregate_not_allowed",
            cure="use COUNT, SUM, AVG, MIN, MAX",
            at=node,
        )
    only(node, {"this"})
    word = words(type(node))
    argument = require(translate(node.this, rows), NUMERIC, what=word, at=node)
    if word == "SUM" and argument.type is ColumnType.INTEGER:
        return _collected("TRY_CAST(SUM(CAST(:a AS BIGINT)) AS BIGINT)", argument, kind=ColumnType.INTEGER)
    span = argument.span if word == "AVG" else Span()
    if not exact_sums:
        return _collected(f"{word}(CAST(:a AS DOUBLE))", argument, kind=ColumnType.DOUBLE, span=span)
    total = "CAST(SUM(CAST(TRY_CAST(:a AS DECIMAL(28, 10)) AS DECIMAL(38, 10))) AS DOUBLE)"
    text = total if word == "SUM" else f"{total} / NULLIF(COUNT(TRY_CAST(:a AS DECIMAL(28, 10))), 0)"
    return _collected(text, argument, kind=ColumnType.DOUBLE, span=span)


def _collected(
    text: str,
    argument: Scalar,
    *,
    kind: ColumnType | None,
    nullable: bool = True,
    span: Span = OPEN,
) -> Scalar:
    result = combine(text, kind=kind, nullable=nullable, span=span, a=argument)
    return replace(result, drawn=None, constant=False, values=None)
