"""Reads aggregate calls over protected rows: what is counted, summed or ranked, with FILTER and CASE put in. Pure."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from sqlglot import exp

from cleanroom.errors import TemplateRefusedError
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.aggregates import (
    PAIRED,
    SPREADS,
    Aggregate,
    AggregateFunction,
    counts_every_row,
    label_of,
    no_window,
    refuse_aggregate,
)
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.grid import require_range
from cleanroom.templates.handlers import BOOLEAN
from cleanroom.templates.quantile_calls import QUANTILES, RANKED, quantile_call
from cleanroom.templates.refusals import only, refuse, spelled, words
from cleanroom.templates.scalars import NUMERIC, TEMPORAL, Scalar, Span, build, cast, combine, require
from cleanroom.templates.trees import fragment, integer, to_sql

SUMMABLE = NUMERIC | BOOLEAN


def read_aggregate(node: exp.Expr, rows: Scope) -> Aggregate:
    """Return the aggregate to measure.

    Args:
        node: an aggregate call over protected rows.
        rows: what names mean in its argument.

    Raises:
        TemplateRefusedError: rules `aggregate_not_allowed`, `distinct_values`, or the argument's own.
        MissingBoundsError: a variance of what has no declared range.
    """
    call = CallOf(node, rows)
    label = label_of(node)
    inner = call.node
    if isinstance(inner, exp.Count):
        return _count(call, label)
    if isinstance(inner.this, exp.Distinct):
        refuse(
            f"{spelled(inner)}(DISTINCT …) of protected rows is not supported",
            rule="distinct_values",
            cure="group by the value in a subquery, and aggregate above: SELECT SUM(x) FROM (SELECT x, COUNT(DISTINCT "
            "<entity>) AS n FROM … GROUP BY x) q WHERE n > 5; that takes the values that enough entities share to be "
            "released, without the rarer ones, and its interval has no width since it does not count what is missing",
            at=node,
        )
    if isinstance(inner.this, exp.Star):
        refuse(f"{spelled(inner)}(*) is no SQL", rule="function_form", cure=f"write {spelled(inner)}(x)", at=node)
    if isinstance(inner, exp.CountIf):
        only(inner, {"this", "zero_on_all_null"})
        condition = require(translate(inner.this, rows), BOOLEAN, what="COUNT_IF", at=node)
        return _counted(call.kept(_ones(condition)), label)
    if isinstance(inner, exp.Sum | exp.Avg):
        only(inner, {"this"})
        number = summable(translate(inner.this, rows), what=words(type(inner)), at=node)
        if isinstance(inner, exp.Sum) and _is_zero_or_one(number):  # the sum is how often it is one
            return _counted(call.kept(_ones(combine(":a = 1", kind=ColumnType.BOOLEAN, a=number))), label)
        function = AggregateFunction.SUM if isinstance(inner, exp.Sum) else AggregateFunction.AVG
        return Aggregate(function=function, argument=call.kept(number), label=label)
    if type(inner) in SPREADS:
        only(inner, {"this"})
        argument = call.kept(summable(translate(inner.this, rows), what=spelled(inner), at=node))
        require_range(argument, at=node, lacking=without_bounds(inner, rows))
        return Aggregate(function=SPREADS[type(inner)], argument=argument, label=label)
    if type(inner) in PAIRED:
        return _paired(call, label)
    if isinstance(inner, exp.ApproxDistinct | exp.Hll):
        only(inner, {"this"})
        return _count_distinct(call, inner.this, label)
    if isinstance(inner, QUANTILES):
        return _quantile(call, label)
    refuse_aggregate(inner, at=node)


def without_bounds(node: exp.Expr, rows: Scope) -> tuple[str, ...]:
    """Return the columns in an aggregate's values, as it names them, that could have bounds and have none.

    What only decides which rows count (a condition, a FILTER) is no value; a text has no bounds.
    """
    found: dict[str, None] = {}
    for part in node.walk(prune=lambda n: isinstance(n, exp.Predicate | exp.Connector | exp.Where | exp.Query)):
        if not isinstance(part, exp.Column) or isinstance(part.this, exp.Star):
            continue
        try:
            scalar = rows.column(part)
        except TemplateRefusedError:  # a word that a function takes for something else, such as a unit
            continue
        if scalar.type in RANKED and (scalar.span.lo is None or scalar.span.hi is None):
            found[part.name] = None
    return tuple(found)


class CallOf:
    """An aggregate call without its FILTER, and what that leaves of an argument."""

    def __init__(self, node: exp.Expr, rows: Scope) -> None:
        """Take the call; refuse it as a window function."""
        no_window(node)
        self.outer = node
        self.rows = rows
        self.condition: Scalar | None = None
        self.node = node
        if isinstance(node, exp.Filter):
            only(node, {"this", "expression"})
            where = node.expression
            if not isinstance(where, exp.Where):
                refuse("FILTER needs WHERE", rule="unsupported_clause", cure="write FILTER (WHERE …)", at=node)
            self.condition = require(translate(where.this, rows), BOOLEAN, what="FILTER", at=node)
            self.node = node.this
            no_window(self.node)

    def kept(self, argument: Scalar) -> Scalar:
        """Return the argument where FILTER keeps the row, and NULL elsewhere."""
        if self.condition is None:
            return argument
        return filtered(argument, self.condition)


def filtered(argument: Scalar, condition: Scalar) -> Scalar:
    """Return the argument in rows that meet the condition, and NULL in others; its range stays."""
    return combine(
        "CASE WHEN :c THEN :a END", kind=argument.type, span=argument.span, nullable=True, a=argument, c=condition
    )


def summable(argument: Scalar, *, what: str, at: exp.Expr) -> Scalar:
    """Return a number; TRUE is 1 and FALSE is 0.

    Raises:
        TemplateRefusedError: rule `type_mismatch`.
    """
    if argument.type in TEMPORAL:
        refuse(
            f"{what} needs a number, not {argument.type}",
            rule="type_mismatch",
            cure="average the days since a date, and add them to it: "
            "DATEADD('day', AVG(DATEDIFF('day', <date>, x))::INT, <date>); MEDIAN, MIN and MAX take dates",
            at=at,
        )
    if argument.type is ColumnType.TEXT:
        refuse(
            f"{what} needs a number, not text",
            rule="type_mismatch",
            cure="cast the text, and clamp what comes of it, since a text has no bounds: "
            "LEAST(GREATEST(x::INT, low), high)",
            at=at,
        )
    require(argument, SUMMABLE, what=what, at=at)
    if argument.type is not ColumnType.BOOLEAN:
        return argument
    number = combine(
        "CAST(CASE WHEN :a THEN 1 WHEN NOT :a THEN 0 END AS BIGINT)",
        kind=ColumnType.INTEGER,
        span=Span(lo=Fraction(0), hi=Fraction(1)),
        a=argument,
    )
    return replace(number, values=(integer(0), integer(1), exp.null()))


def _is_zero_or_one(number: Scalar) -> bool:
    """Return whether a whole number is made to be 0, 1 or NULL; a column that is declared so may hold others."""
    if number.type is not ColumnType.INTEGER or number.values is None or number.declared:
        return False
    if isinstance(number.sql, exp.Column | exp.TryCast):
        return False
    return all(isinstance(v, exp.Null) or to_sql(v) in ("0", "1") for v in number.values)


def _ones(condition: Scalar) -> Scalar:
    return combine("CASE WHEN :a THEN 1 END", kind=ColumnType.INTEGER, nullable=True, a=condition)


def _counted(argument: Scalar, label: str) -> Aggregate:
    if counts_every_row(argument):
        return Aggregate(function=AggregateFunction.ROWS, label=label)
    return Aggregate(function=AggregateFunction.VALUES, argument=argument, label=label)


def _count(call: CallOf, label: str) -> Aggregate:
    node = call.node
    only(node, {"this", "big_int"})
    inner = node.this
    if isinstance(inner, exp.Star):
        only(inner, ())
        if call.condition is not None:
            return _counted(_ones(call.condition), label)
        return Aggregate(function=AggregateFunction.ROWS, label="COUNT(*)")
    if isinstance(inner, exp.Distinct):
        if inner.args.get("on"):
            refuse("DISTINCT ON is not supported here", rule="distinct_values", cure="write DISTINCT", at=call.outer)
        if len(inner.expressions) == 1:
            return _count_distinct(call, inner.expressions[0], label)
        argument = call.kept(combination([translate(n, call.rows) for n in inner.expressions]))
        return Aggregate(function=AggregateFunction.DISTINCT, argument=argument, label=label)
    return _counted(call.kept(translate(inner, call.rows)), label)


def _count_distinct(call: CallOf, node: exp.Expr, label: str) -> Aggregate:
    """Return COUNT(DISTINCT x): of all entities, of those with a row that meets a condition, or of other values."""
    condition, value = call.condition, node.unnest()
    if isinstance(value, exp.Case | exp.If):
        narrowed = _entity_if(value, call.rows)
        if narrowed is not None:
            condition = (
                narrowed
                if condition is None
                else combine(":a AND :b", kind=ColumnType.BOOLEAN, a=narrowed, b=condition)
            )
            return Aggregate(function=AggregateFunction.ENTITIES, argument=_ones(condition), label=label)
    if translate(value, call.rows).entity:
        argument = None if condition is None else _ones(condition)
        return Aggregate(function=AggregateFunction.ENTITIES, argument=argument, label=label)
    argument = call.kept(translate(value, call.rows))
    return Aggregate(function=AggregateFunction.DISTINCT, argument=argument, label=label)


def combination(parts: list[Scalar]) -> Scalar:
    """Return a text that is equal for rows that are equal in all parts, and for no others; NULL where one part is.

    Each part stands behind its length; adding 0 gives zeros one sign.
    """
    named = {}
    for place, part in enumerate(parts):
        number = cast(part, ColumnType.DOUBLE) if part.type is ColumnType.DECIMAL else part
        if number.type is ColumnType.DOUBLE:
            number = combine(":a + 0e0", kind=ColumnType.DOUBLE, a=number)
        named[f"a{place}"] = cast(number, ColumnType.TEXT)
    joined = " || ".join(f"LENGTH(:{n}) || ':' || :{n}" for n in named)
    return build(lambda trees: fragment(joined, **trees), named, kind=ColumnType.TEXT, nullable=True, copies=2)


def _entity_if(node: exp.Expr, rows: Scope) -> Scalar | None:
    """Return the condition of CASE WHEN condition THEN <the entity> END; None for any other CASE."""
    if isinstance(node, exp.Case):
        branches = node.args["ifs"]
        if node.this is not None or node.args.get("default") is not None or len(branches) != 1:
            return None
        node = branches[0]
    elif not isinstance(node.args.get("false") or exp.null(), exp.Null):
        return None
    result = node.args.get("true")
    if not isinstance(result, exp.Expr) or not isinstance(result.unnest(), exp.Column):
        return None
    if not translate(result.unnest(), rows).entity:
        return None
    return require(translate(node.this, rows), BOOLEAN, what="WHEN", at=node)


def _paired(call: CallOf, label: str) -> Aggregate:
    """Return COVAR or CORR: both columns are NULL where one of them is."""
    node, at = call.node, call.outer
    only(node, {"this", "expression", "null_on_zero_variance"})
    x, y = (summable(translate(n, call.rows), what=spelled(node), at=at) for n in (node.this, node.expression))
    for argument in (x, y):
        require_range(argument, at=at, lacking=without_bounds(node, call.rows))
    first, second = (call.kept(filtered(one, _present(other))) for one, other in ((x, y), (y, x)))
    return Aggregate(function=PAIRED[type(node)], argument=first, second=second, label=label)


def _present(argument: Scalar) -> Scalar:
    """Return whether a value counts: neither NULL nor NaN nor infinite; possibly NULL instead of FALSE."""
    text = "ISFINITE(:a)" if argument.type is ColumnType.DOUBLE else ":a IS NOT NULL"
    return combine(text, kind=ColumnType.BOOLEAN, a=argument)


def _quantile(call: CallOf, label: str) -> Aggregate:
    at = call.outer
    asked = quantile_call(call.node, call.rows, at=at)
    argument = translate(asked.value, call.rows)
    if argument.type is ColumnType.TEXT:
        refuse(
            f"{spelled(call.node)} needs a number, a date or a timestamp, not text",
            rule="type_mismatch",
            cure="cast the text, and clamp what comes of it, since a text has no bounds: "
            "LEAST(GREATEST(x::INT, low), high), or LEAST(GREATEST(x::DATE, low), high) for dates",
            at=at,
        )
    require(argument, RANKED, what=spelled(call.node), at=at)
    if argument.type is None:
        refuse("a quantile of NULL is nothing", rule="type_mismatch", cure="name a column", at=at)
    require_range(argument, at=at, lacking=without_bounds(call.node, call.rows))
    end = asked.end or {0: AggregateFunction.MIN, 1: AggregateFunction.MAX}.get(int(asked.fraction))
    if asked.fraction not in (0, 1) or end is None:
        end = AggregateFunction.QUANTILE
    return Aggregate(
        function=end, argument=call.kept(argument), fraction=asked.fraction, whole=asked.whole, label=label
    )
