"""Reads aggregate calls over protected rows: what is counted, summed or ranked, with FILTER and CASE put in. Pure.

Every call becomes one `Aggregate`; `measurements.py` says which parts are measured for it. Aggregates that need no
noise are in `plain_aggregates.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any, NoReturn

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.grid import require_range
from cleanroom.templates.refusals import only, refuse, spelled, words
from cleanroom.templates.scalars import NUMERIC, TEMPORAL, Scalar, Span, build, cast, combine, require
from cleanroom.templates.trees import fragment, integer, to_sql

BOOLEAN = frozenset({ColumnType.BOOLEAN})
SUMMABLE = NUMERIC | BOOLEAN


class AggregateFunction(StrEnum):
    """The aggregates that can be measured."""

    ROWS = "COUNT(*)"
    VALUES = "COUNT"
    ENTITIES = "COUNT(DISTINCT entity)"
    SUM = "SUM"
    AVG = "AVG"
    VAR_POP = "VAR_POP"
    VAR_SAMP = "VAR_SAMP"
    STDDEV_POP = "STDDEV_POP"
    STDDEV_SAMP = "STDDEV_SAMP"
    COVAR_POP = "COVAR_POP"
    COVAR_SAMP = "COVAR_SAMP"
    CORR = "CORR"
    DISTINCT = "COUNT(DISTINCT)"
    QUANTILE = "QUANTILE"
    MIN = "MIN"
    MAX = "MAX"


@dataclass(frozen=True, kw_only=True, slots=True)
class Aggregate:
    """One aggregate to measure.

    Attributes:
        function: which.
        argument: what is counted or summed; None for rows and for all entities. Where entities are counted, those that
            have a row where it is not NULL.
        second: of COVAR and CORR; NULL in the same rows as `argument`.
        fraction: of a quantile: of the rows that lie below it.
        whole: a quantile of whole numbers is one of them.
        label: for people.
    """

    function: AggregateFunction
    argument: Scalar | None = None
    second: Scalar | None = None
    fraction: Fraction = Fraction(0)
    whole: bool = False
    label: str = ""
    known: dict[str, Any] = field(init=False, compare=False, repr=False, default_factory=dict)
    """What was worked out from the rest before: an argument may be long, and is asked for often."""

    @property
    def argument_key(self) -> str:
        """Equal for equal arguments."""
        if "argument_key" not in self.known:
            self.known["argument_key"] = "" if self.argument is None else to_sql(self.argument.sql)
        key: str = self.known["argument_key"]
        return key

    @property
    def key(self) -> str:
        """Equal for equal aggregates."""
        second = "" if self.second is None else f", {to_sql(self.second.sql)}"
        return f"{self.function.value} {self.fraction} {self.whole} {self.argument_key}{second}"


AGGREGATES = (exp.AggFunc, exp.Filter, exp.WithinGroup, exp.Window)

SPREADS: dict[type[exp.Expr], AggregateFunction] = {
    exp.Variance: AggregateFunction.VAR_SAMP,
    exp.VariancePop: AggregateFunction.VAR_POP,
    exp.Stddev: AggregateFunction.STDDEV_SAMP,
    exp.StddevSamp: AggregateFunction.STDDEV_SAMP,
    exp.StddevPop: AggregateFunction.STDDEV_POP,
}
"""VARIANCE and its relatives; VAR_SAMP is what plain VARIANCE and STDDEV mean."""

PAIRED: dict[type[exp.Expr], AggregateFunction] = {
    exp.CovarPop: AggregateFunction.COVAR_POP,
    exp.CovarSamp: AggregateFunction.COVAR_SAMP,
    exp.Corr: AggregateFunction.CORR,
}
"""Aggregates of two columns."""


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
            "<entity>) AS n FROM … GROUP BY x) q WHERE n > 5",
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
        require_range(argument, at=node)
        return Aggregate(function=SPREADS[type(inner)], argument=argument, label=label)
    if type(inner) in PAIRED:
        return _paired(call, label)
    if isinstance(inner, exp.ApproxDistinct | exp.Hll):
        only(inner, {"this"})
        return _count_distinct(call, inner.this, label)
    if isinstance(inner, QUANTILES):
        return _quantile(call, label)
    refuse_aggregate(inner, at=node)


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
        require_range(argument, at=at)
    first, second = (call.kept(filtered(one, _present(other))) for one, other in ((x, y), (y, x)))
    return Aggregate(function=PAIRED[type(node)], argument=first, second=second, label=label)


def _present(argument: Scalar) -> Scalar:
    """Return whether a value counts: neither NULL nor NaN nor infinite; possibly NULL instead of FALSE."""
    text = "ISFINITE(:a)" if argument.type is ColumnType.DOUBLE else ":a IS NOT NULL"
    return combine(text, kind=ColumnType.BOOLEAN, a=argument)


QUANTILES = (
    exp.Median,
    exp.Quantile,
    exp.ApproxQuantile,
    exp.PercentileCont,
    exp.PercentileDisc,
    exp.WithinGroup,
    exp.Min,
    exp.Max,
)
"""Calls that ask where a share of the rows lies below."""

RANKED = NUMERIC | TEMPORAL


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantileCall:
    """What a quantile call asks for.

    Attributes:
        value: whose quantile.
        fraction: of the rows below it.
        whole: a value of the column rather than one between two.
        end: which end, for MIN and MAX.
    """

    value: exp.Expr
    fraction: Fraction
    whole: bool
    end: AggregateFunction | None = None


def quantile_call(node: exp.Expr, rows: Scope, *, at: exp.Expr) -> QuantileCall:
    """Return what MEDIAN, PERCENTILE_CONT, PERCENTILE_DISC, APPROX_PERCENTILE, QUANTILE, MIN or MAX asks for.

    Raises:
        TemplateRefusedError: rules `unsupported_clause`, `literal_needed`.
    """
    if isinstance(node, exp.Min | exp.Max):
        only(node, {"this"})
        least = isinstance(node, exp.Min)
        end = AggregateFunction.MIN if least else AggregateFunction.MAX
        return QuantileCall(value=node.this, fraction=Fraction(0 if least else 1), whole=True, end=end)
    if isinstance(node, exp.Median):
        only(node, {"this"})
        return QuantileCall(value=node.this, fraction=Fraction(1, 2), whole=False)
    if isinstance(node, exp.WithinGroup):
        only(node, {"this", "expression"})
        inner, order = node.this, node.expression
        if isinstance(inner, exp.PercentileCont | exp.PercentileDisc) and isinstance(order, exp.Order):
            only(inner, {"this"})
            if len(order.expressions) == 1:
                (entry,) = order.expressions
                fraction = _fraction(inner.this, rows, at=at)
                if entry.args.get("desc"):
                    fraction = 1 - fraction
                return QuantileCall(value=entry.this, fraction=fraction, whole=isinstance(inner, exp.PercentileDisc))
        refuse_aggregate(inner, at=at)
    name = "quantile" if isinstance(node, exp.Quantile | exp.ApproxQuantile) else "expression"
    only(node, {"this", name})
    if not isinstance(node.args.get(name), exp.Expr):
        refuse(
            f"{spelled(node)} needs WITHIN GROUP (ORDER BY x)",
            rule="unsupported_clause",
            cure="write PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY x)",
            at=at,
        )
    whole = isinstance(node, exp.PercentileDisc)
    return QuantileCall(value=node.this, fraction=_fraction(node.args[name], rows, at=at), whole=whole)


def _fraction(node: exp.Expr, rows: Scope, *, at: exp.Expr) -> Fraction:
    value = translate(node, rows).literal
    if isinstance(value, bool) or not isinstance(value, int | Fraction) or not 0 <= value <= 1:
        refuse(
            "the share of a quantile must be a number written out, from 0 to 1",
            rule="literal_needed",
            cure="write a number such as 0.5",
            at=at,
        )
    return Fraction(value)


def _quantile(call: CallOf, label: str) -> Aggregate:
    at = call.outer
    asked = quantile_call(call.node, call.rows, at=at)
    argument = require(translate(asked.value, call.rows), RANKED, what=spelled(call.node), at=at)
    if argument.type is None:
        refuse("a quantile of NULL is nothing", rule="type_mismatch", cure="name a column", at=at)
    require_range(argument, at=at)
    end = asked.end or {0: AggregateFunction.MIN, 1: AggregateFunction.MAX}.get(int(asked.fraction))
    if asked.fraction not in (0, 1) or end is None:
        end = AggregateFunction.QUANTILE
    return Aggregate(
        function=end, argument=call.kept(argument), fraction=asked.fraction, whole=asked.whole, label=label
    )


NO_PRIVATE_FORM: dict[type[exp.Expr], tuple[str, str]] = {
    exp.Mode: ("is one value of the rows", "count rows by the value, and order by the count"),
    exp.AnyValue: ("is one value of the rows", "group by the column"),
    exp.First: ("is one value of the rows", "group by the column"),
    exp.Last: ("is one value of the rows", "group by the column"),
    exp.ArgMax: ("is one value of the rows", "group by the column"),
    exp.ArgMin: ("is one value of the rows", "group by the column"),
    exp.GroupConcat: ("lists values of the rows", "group by the column"),
    exp.ArrayAgg: ("lists values of the rows", "group by the column"),
    exp.ArrayUniqueAgg: ("lists values of the rows", "group by the column"),
    exp.ObjectAgg: ("lists values of the rows", "group by the column"),
    exp.JSONObjectAgg: ("lists values of the rows", "group by the column"),
    exp.LogicalOr: ("tells whether there is one such row, which one entity decides", "use COUNT_IF"),
    exp.LogicalAnd: ("tells whether there is one other row, which one entity decides", "use COUNT_IF"),
    exp.Kurtosis: ("depends on the fourth power of the rarest values", "use VARIANCE, or counts by WIDTH_BUCKET"),
    exp.Skewness: ("depends on the third power of the rarest values", "use VARIANCE, or counts by WIDTH_BUCKET"),
}
"""Aggregates that cannot get noise: what they do, and what to write instead."""


def refuse_aggregate(node: exp.Expr, *, at: exp.Expr) -> NoReturn:
    """Refuse an aggregate without a private form.

    Raises:
        TemplateRefusedError: rule `aggregate_not_allowed`, always.
    """
    reason, cure = NO_PRIVATE_FORM.get(type(node), ("has no private form", "use one of the aggregates in docs/sql.md"))
    refuse(f"{spelled(node)} {reason}", rule="aggregate_not_allowed", cure=cure, at=at)


def no_window(node: exp.Expr) -> None:
    """Refuse a window function.

    Raises:
        TemplateRefusedError: rule `window`.
    """
    if isinstance(node, exp.Window):
        refuse(
            "a window function cannot stand inside an aggregation that gets noise",
            rule="window",
            cure="give it a name in a subquery or CTE, and aggregate that above",
            at=node,
        )


def label_of(node: exp.Expr) -> str:
    """Return the call for people, with literals left out."""
    shown = node.copy().transform(lambda n: exp.Placeholder() if isinstance(n, exp.Literal) else n)
    text = shown.sql(dialect="snowflake", comments=False)
    return text if len(text) <= 80 else text[:77] + "..."
