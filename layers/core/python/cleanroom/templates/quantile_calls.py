"""What a call of MEDIAN, PERCENTILE_CONT, QUANTILE, MIN and their like asks for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from sqlglot import exp

from cleanroom.templates.aggregates import AggregateFunction, refuse_aggregate
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.refusals import only, refuse, spelled
from cleanroom.templates.scalars import NUMERIC, TEMPORAL

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
