"""From the aggregates of one SELECT to what is measured: parts, shares of epsilon, and the way back. Pure.

Aggregates that share a part (AVG(x) and COUNT(x) share the count of x) pay into one pool, and the pool is shared
equally by the parts that are really measured; equal aggregates are measured once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.aggregates import Aggregate, AggregateFunction, counts_every_row
from cleanroom.templates.grid import Grid, grid_of
from cleanroom.templates.scalars import Scalar, Span
from cleanroom.templates.trees import column, double, fragment


class PartKind(StrEnum):
    """What one measured column counts or sums."""

    ROWS = "rows"
    VALUES = "values"
    ENTITIES = "entities"
    SUM = "sum"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One integer to be measured per group.

    Attributes:
        kind: what.
        argument_key: equal for equal arguments.
        argument: for values and sums.
    """

    kind: PartKind
    argument_key: str = ""
    argument: Scalar | None = None

    @property
    def key(self) -> tuple[PartKind, str]:
        """Equal for equal parts."""
        return self.kind, self.argument_key


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One aggregate of the query with what is paid for it.

    Attributes:
        aggregate: which.
        epsilon: paid for it, template sensitivity included.
        gaussian: which noise.
        delta: paid for it, if Gaussian.
        pool: aggregates of different pools share nothing (each call of addnoise is one).
        at: in the template.
    """

    aggregate: Aggregate
    epsilon: Fraction
    gaussian: bool
    delta: Fraction
    pool: str
    at: exp.Expr


@dataclass(frozen=True, kw_only=True, slots=True)
class DraftColumn:
    """A measured column before its noise is worked out.

    Attributes:
        name: in the exact and the noisy table.
        part: what is measured.
        grid: for sums.
        epsilon: its share.
        gaussian: which noise.
        delta: its share; 0 unless Gaussian.
    """

    name: str
    part: Part
    grid: Grid | None
    epsilon: Fraction
    gaussian: bool
    delta: Fraction


def parts_of(aggregate: Aggregate) -> tuple[Part, ...]:
    """Return what must be measured for an aggregate: the sum first, then the count."""
    x = aggregate.argument
    match aggregate.function:
        case AggregateFunction.ROWS:
            return (Part(kind=PartKind.ROWS),)
        case AggregateFunction.ENTITIES:
            return (Part(kind=PartKind.ENTITIES),)
        case AggregateFunction.VALUES:
            return (Part(kind=PartKind.VALUES, argument_key=aggregate.argument_key, argument=x),)
    total = Part(kind=PartKind.SUM, argument_key=aggregate.argument_key, argument=x)
    if aggregate.function is AggregateFunction.SUM:
        return (total,)
    return (total, count_part(total))


def count_part(total: Part) -> Part:
    """Return the count that belongs to a sum: of its values, or of rows where no value can be missing."""
    if total.argument is not None and counts_every_row(total.argument):
        return Part(kind=PartKind.ROWS)
    return Part(kind=PartKind.VALUES, argument_key=total.argument_key, argument=total.argument)


def draft_columns(requests: list[Request], *, first: int = 0) -> list[DraftColumn]:
    """Return the columns to measure for the requests of one pool and one mechanism.

    Args:
        requests: no two with equal aggregates.
        first: number of the first column.

    Raises:
        MissingBoundsError: a sum without a declared range.
    """
    columns: list[DraftColumn] = []
    for family in _families(requests):
        parts: dict[tuple[PartKind, str], Part] = {}
        for request in family:
            for part in parts_of(request.aggregate):
                parts.setdefault(part.key, part)
        epsilon = sum((r.epsilon for r in family), Fraction(0)) / len(parts)
        delta = sum((r.delta for r in family), Fraction(0)) / len(parts)
        for part in parts.values():
            grid = None
            if part.kind is PartKind.SUM and part.argument is not None:
                at = next(r.at for r in family if part.key in {p.key for p in parts_of(r.aggregate)})
                grid = grid_of(part.argument, centred=count_part(part).key in parts, at=at)
            columns.append(
                DraftColumn(
                    name=f"c{first + len(columns)}",
                    part=part,
                    grid=grid,
                    epsilon=epsilon,
                    gaussian=family[0].gaussian,
                    delta=delta,
                )
            )
    return columns


def _families(requests: list[Request]) -> list[list[Request]]:
    """Return the requests in groups that share parts, in the order of the query."""
    families: list[tuple[set[tuple[PartKind, str]], list[Request]]] = []
    for request in requests:
        keys = {p.key for p in parts_of(request.aggregate)}
        touching = [f for f in families if f[0] & keys]
        for family in touching:
            families.remove(family)
        merged = keys.union(*(f[0] for f in touching))
        families.append((merged, [r for f in touching for r in f[1]] + [request]))
    return [members for _, members in families]


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
    reference = column(main.name, alias)
    if main.grid is None:
        return Scalar(
            sql=reference, type=ColumnType.INTEGER, nullable=False, noisy=True, measured=(measurement, main.name)
        )
    grid = main.grid
    if aggregate.function is AggregateFunction.SUM and not grid.centred:
        return Scalar(
            sql=reference, type=ColumnType.DOUBLE, nullable=False, noisy=True, measured=(measurement, main.name)
        )
    middle = double(grid.middle * grid.unit)
    count = column(by_key[count_part(main.part).key].name, alias)
    if aggregate.function is AggregateFunction.SUM:
        return Scalar(
            sql=fragment(":s + :m * :n", s=reference, m=middle, n=count),
            type=ColumnType.DOUBLE,
            nullable=False,
            noisy=True,
        )
    sql = fragment(
        "CASE WHEN :n > 0 THEN LEAST(GREATEST(:m + :s / :n, :lo), :hi) END",
        n=count,
        m=middle,
        s=reference,
        lo=double(grid.lo),
        hi=double(grid.hi),
    )
    return Scalar(sql=sql, type=ColumnType.DOUBLE, noisy=True, span=Span(lo=grid.lo, hi=grid.hi))
