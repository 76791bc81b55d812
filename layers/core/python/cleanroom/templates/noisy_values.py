"""The way back: the value of an aggregate, as an expression over what was measured for it, with its noise. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.aggregates import Aggregate, AggregateFunction
from cleanroom.templates.measurements import DraftColumn
from cleanroom.templates.moments import from_integer
from cleanroom.templates.parts import QUANTILE_ENDS, PartKind, count_part, parts_of
from cleanroom.templates.scalars import TEMPORAL, Scalar, Span
from cleanroom.templates.trees import column, double, fragment, integer


def released(aggregate: Aggregate, columns: list[DraftColumn], *, measurement: str, alias: str) -> Scalar:
    """Return the aggregate's value over the noisy table.

    Args:
        aggregate: which.
        columns: those of its pool.
        measurement: name of the noisy table.
        alias: what the release query calls it.
    """
    by_key = {c.part.key: c for c in columns}
    own = [by_key[p.key] for p in parts_of(aggregate)]
    main = own[0]
    if main.part.kind is PartKind.BINS:
        return _quantile(aggregate, main, alias=alias)
    reference = column(main.name, alias)
    if main.grid is None:
        return Scalar(
            sql=reference,
            type=ColumnType.INTEGER if main.whole else ColumnType.DOUBLE,
            nullable=False,
            noisy=True,
            measured=(measurement, main.name),
            count=True,
        )
    if aggregate.function is AggregateFunction.SUM and not main.grid.centred:
        return Scalar(
            sql=reference, type=ColumnType.DOUBLE, nullable=False, noisy=True, measured=(measurement, main.name)
        )
    noisy = _Noisy(alias=alias, count=column(by_key[count_part(main.part).key].name, alias))
    if aggregate.function is AggregateFunction.SUM:
        return noisy.number(
            fragment(":s + :m * :n", s=reference, m=_middle(main), n=noisy.count), nullable=False, span=Span()
        )
    if aggregate.function is AggregateFunction.AVG:
        return noisy.number(
            fragment("CASE WHEN :n > 0 THEN LEAST(GREATEST(:mean, :lo), :hi) END", n=noisy.count, mean=noisy.mean(main),
                     lo=double(main.grid.lo), hi=double(main.grid.hi)),
            span=Span(lo=main.grid.lo, hi=main.grid.hi),
        )  # fmt: skip
    if aggregate.second is None:
        return noisy.spread(aggregate.function, total=main, squares=own[1])
    return noisy.covariance(aggregate.function, own[:-1])


def _quantile(aggregate: Aggregate, c: DraftColumn, *, alias: str) -> Scalar:
    """Return a quantile in the type that the call gives: the argument's, or DOUBLE where values are averaged."""
    if aggregate.argument is None or c.bins is None:
        raise AssertionError("a quantile has bins")
    wanted = (QUANTILE_ENDS.get(aggregate.function, "inside"), aggregate.fraction)
    name = next(q.name for q in c.quantiles if (q.end, q.fraction) == wanted)
    reference, kind = column(name, alias), aggregate.argument.type
    span = aggregate.argument.span
    if kind in TEMPORAL and kind is not None:
        return Scalar(sql=from_integer(reference, kind), type=kind, noisy=True, span=span)
    if kind is ColumnType.INTEGER and aggregate.whole:
        sql = fragment("CAST(ROUND(:q) AS BIGINT)", q=reference)
        return Scalar(sql=sql, type=ColumnType.INTEGER, noisy=True, span=span)
    return Scalar(sql=reference, type=ColumnType.DOUBLE, noisy=True, span=span)


def _middle(c: DraftColumn) -> exp.Expr:
    """Return what was taken off each value."""
    if c.grid is None:
        raise AssertionError("a sum has a grid")
    return double(c.grid.middle * c.grid.unit)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Noisy:
    """Formulas over the noisy sums and the noisy count of one argument.

    Attributes:
        alias: of the noisy table.
        count: of the values.
    """

    alias: str
    count: exp.Expr

    def number(self, sql: exp.Expr, *, span: Span, nullable: bool = True) -> Scalar:
        return Scalar(sql=sql, type=ColumnType.DOUBLE, nullable=nullable, noisy=True, span=span)

    def mean(self, c: DraftColumn) -> exp.Expr:
        """Return the mean of a sum's values, as far as its noise goes; of no sense where the count is not above 0."""
        return fragment(":m + :x", m=_middle(c), x=self._off(c))

    def _off(self, c: DraftColumn) -> exp.Expr:
        """Return the mean of what was left of each value when the middle was taken off."""
        return fragment(":s / :n", s=column(c.name, self.alias), n=self.count)

    def spread(self, function: AggregateFunction, *, total: DraftColumn, squares: DraftColumn) -> Scalar:
        """Return a variance or deviation: E[(x - a)^2] - E[x - a]^2, between 0 and a quarter of the squared range.

        No values in a range have a larger population variance (Popoviciu). A sample's is n / (n - 1) times that.
        """
        if total.grid is None:
            raise AssertionError("a sum has a grid")
        most = ((total.grid.hi - total.grid.lo) / 2) ** 2
        variance = fragment(
            "LEAST(GREATEST(:squares - (:mean) * (:mean), 0e0), :most)",
            squares=self.mean(squares),
            mean=self._off(total),
            most=double(most),
        )
        sample = function in (AggregateFunction.VAR_SAMP, AggregateFunction.STDDEV_SAMP)
        if sample:
            variance = fragment(":v * :n / (:n - 1)", v=variance, n=self.count)
        if function in (AggregateFunction.STDDEV_POP, AggregateFunction.STDDEV_SAMP):
            variance = fragment("SQRT(:v)", v=variance)
        sql = fragment("CASE WHEN :n > :least THEN :v END", n=self.count, least=integer(1 if sample else 0), v=variance)
        return self.number(sql, span=Span(lo=Fraction(0)))

    def covariance(self, function: AggregateFunction, sums: list[DraftColumn]) -> Scalar:
        """Return COVAR or CORR from sums of x, y, xy and, for CORR, xx and yy.

        A covariance is within half the ranges' product (Cauchy-Schwarz and Popoviciu), a correlation within -1 and 1;
        that is NULL where one of the noisy variances is not above 0.
        """
        x, y, products = sums[:3]
        if x.grid is None or y.grid is None:
            raise AssertionError("a sum has a grid")
        covariance = fragment(":xy - (:x) * (:y)", xy=self.mean(products), x=self._off(x), y=self._off(y))
        if function is AggregateFunction.CORR:
            variances = [
                fragment(":s - (:m) * (:m)", s=self.mean(s), m=self._off(c))
                for s, c in zip(sums[3:], (x, y), strict=True)
            ]
            sql = fragment(
                "CASE WHEN :n > 0 AND (:v) > 0e0 AND (:w) > 0e0 "
                "THEN LEAST(GREATEST((:c) / (SQRT(:v) * SQRT(:w)), -1e0), 1e0) END",
                n=self.count, c=covariance, v=variances[0], w=variances[1],
            )  # fmt: skip
            return self.number(sql, span=Span(lo=Fraction(-1), hi=Fraction(1)))
        most = double((x.grid.hi - x.grid.lo) * (y.grid.hi - y.grid.lo) / 4)
        within = fragment("LEAST(GREATEST(:c, -(:most)), :most)", c=covariance, most=most)
        sample = function is AggregateFunction.COVAR_SAMP
        if sample:
            within = fragment(":v * :n / (:n - 1)", v=within, n=self.count)
        sql = fragment("CASE WHEN :n > :least THEN :v END", n=self.count, least=integer(1 if sample else 0), v=within)
        return self.number(sql, span=Span())
