"""The aggregates that can be measured, which calls ask for one, and which have no private form. Pure.

`aggregate_calls.py` reads a call, `parts.py` says what is measured for it. Aggregates that need no noise are in
`plain_aggregates.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any, NoReturn

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.refusals import refuse, spelled
from cleanroom.templates.scalars import Scalar
from cleanroom.templates.trees import to_sql


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
