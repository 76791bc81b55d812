"""What has to be measured for an aggregate: sums, counts and bins of one expression each, and what they cost to
compile. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from sqlglot import exp

from cleanroom.privacy.bins import End
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates import spans
from cleanroom.templates.aggregates import Aggregate, AggregateFunction, counts_every_row
from cleanroom.templates.grid import Grid, grid_of
from cleanroom.templates.scalars import Scalar, Span, cast, combine
from cleanroom.templates.trees import double, to_sql


class PartKind(StrEnum):
    """What one measured column counts or sums."""

    ROWS = "rows"
    VALUES = "values"
    ENTITIES = "entities"
    SUM = "sum"
    DISTINCT = "distinct"
    BINS = "bins"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One integer to be measured per group.

    Attributes:
        kind: what.
        argument_key: equal for equal arguments.
        argument: for values and sums; for entities where not all of them count.
        counted: for sums: whose values the count that belongs to them counts; None: the argument's.
        never_nan: an argument of doubles that is NULL or a number or an infinity, which is clamped like a number.
    """

    kind: PartKind
    argument_key: str = ""
    argument: Scalar | None = None
    counted: Scalar | None = None
    never_nan: bool = False
    known: list[Part] = field(init=False, compare=False, repr=False, default_factory=list)
    """The count that belongs to it, once it was asked for."""

    @property
    def key(self) -> tuple[PartKind, str]:
        """Equal for equal parts."""
        return self.kind, self.argument_key


QUANTILE_ENDS: dict[AggregateFunction, End] = {AggregateFunction.MIN: "smallest", AggregateFunction.MAX: "largest"}
"""Which value a quantile is where it is no inner one."""

_TWO = frozenset({AggregateFunction.COVAR_POP, AggregateFunction.COVAR_SAMP, AggregateFunction.CORR})


_PLAIN = frozenset(
    {
        AggregateFunction.ROWS,
        AggregateFunction.ENTITIES,
        AggregateFunction.VALUES,
        AggregateFunction.SUM,
        AggregateFunction.AVG,
    }
)


def work_of(aggregate: Aggregate) -> int:
    """Return about how many parts of trees an aggregate takes to compile, before any of that is done.

    What is measured for it is written out from its arguments: a product of two has each several times, and every
    column has a share in each of the query's levels.
    """
    size = sum(x.size for x in (aggregate.argument, aggregate.second) if x is not None)
    if aggregate.function in _TWO:
        return 180 + 7 * size
    if aggregate.function in _PLAIN:
        return 30 + size // 4
    return 90 + 4 * size


def parts_of(aggregate: Aggregate) -> tuple[Part, ...]:
    """Return what must be measured for an aggregate: sums first, then the count."""
    if "parts" not in aggregate.known:
        aggregate.known["parts"] = _parts_of(aggregate)
    parts: tuple[Part, ...] = aggregate.known["parts"]
    return parts


def _parts_of(aggregate: Aggregate) -> tuple[Part, ...]:
    x, y = aggregate.argument, aggregate.second
    match aggregate.function:
        case AggregateFunction.ROWS:
            return (Part(kind=PartKind.ROWS),)
        case AggregateFunction.ENTITIES:
            return (Part(kind=PartKind.ENTITIES, argument_key=aggregate.argument_key, argument=x),)
        case AggregateFunction.VALUES:
            return (Part(kind=PartKind.VALUES, argument_key=aggregate.argument_key, argument=x),)
        case AggregateFunction.DISTINCT:
            return (Part(kind=PartKind.DISTINCT, argument_key=aggregate.argument_key, argument=x),)
        case AggregateFunction.QUANTILE | AggregateFunction.MIN | AggregateFunction.MAX:
            return (Part(kind=PartKind.BINS, argument_key=aggregate.argument_key, argument=x),)
    if x is None:
        raise AssertionError("a sum has an argument")
    total = sum_part(x)
    if aggregate.function is AggregateFunction.SUM:
        return (total,)
    if aggregate.function is AggregateFunction.AVG:
        return (total, count_part(total))
    if y is None:
        return (total, moment_part(x, x, counted=x), count_part(total))
    parts: tuple[Part, ...] = (total, sum_part(y, counted=x), moment_part(x, y, counted=x))
    if aggregate.function is AggregateFunction.CORR:
        parts += (moment_part(x, x, counted=x), moment_part(y, y, counted=x))
    return (*parts, count_part(total))


def sum_part(argument: Scalar, *, counted: Scalar | None = None) -> Part:
    """Return the sum of an expression; `counted`: another whose NULLs are in the same rows, and which is counted."""
    return Part(kind=PartKind.SUM, argument_key=to_sql(argument.sql), argument=argument, counted=counted)


def moment_part(x: Scalar, y: Scalar, *, counted: Scalar) -> Part:
    """Return the sum of (x - a)(y - b), a and b being the middles of their grids: what a variance is made of.

    It is NULL in the same rows as they are, and else a number or an infinity. Values outside their ranges count as the
    nearest end: of a square the clamp of the product sees to that, of a product of two each is clamped before. Operands
    are written as few times as can be, for they may be long.

    Args:
        x, y: NULL in the same rows; the same for a square.
        counted: whose values are counted for it.
    """
    first, second = (grid_of(v, centred=True, at=exp.Null()) for v in (x, y))
    squared = to_sql(x.sql) == to_sql(y.sql)
    span = spans.times(_centred(first), _centred(second))
    if squared and span.hi is not None:
        span = Span(lo=Fraction(0), hi=span.hi if span.lo is None else max(span.hi, -span.lo))
    text = "(:a - :m) * (:a - :m)" if squared else "(:x) * (:y)"
    parts = {"a": cast(x, ColumnType.DOUBLE), "m": _constant(first.middle * first.unit)}
    if not squared:
        parts = {"x": _clamped(x, first), "y": _clamped(y, second)}
    if x.type is ColumnType.DOUBLE or y.type is ColumnType.DOUBLE:
        finite = {f"f{i}": v for i, v in enumerate((x,) if squared else (x, y)) if v.type is ColumnType.DOUBLE}
        text = f"CASE WHEN {' AND '.join(f'ISFINITE(:{name})' for name in finite)} THEN {text} END"
        parts |= finite
    product = combine(text, kind=ColumnType.DOUBLE, span=span, nullable=True, **parts)
    return Part(kind=PartKind.SUM, argument_key=to_sql(product.sql), argument=product, counted=counted, never_nan=True)


def _centred(grid: Grid) -> Span:
    middle = grid.middle * grid.unit
    return Span(lo=grid.lo - middle, hi=grid.hi - middle)


def _clamped(x: Scalar, grid: Grid) -> Scalar:
    """Return a value within its range, less the middle of its grid; NULL stays NULL, for each clamp compares."""
    return combine(
        "CASE WHEN :a > :hi THEN :high WHEN :a < :lo THEN :low ELSE :a - :m END",
        kind=ColumnType.DOUBLE,
        a=cast(x, ColumnType.DOUBLE),
        hi=_constant(grid.hi),
        lo=_constant(grid.lo),
        m=_constant(grid.middle * grid.unit),
        high=_constant(grid.hi - grid.middle * grid.unit),
        low=_constant(grid.lo - grid.middle * grid.unit),
    )


def _constant(value: Fraction) -> Scalar:
    return Scalar(sql=double(value), type=ColumnType.DOUBLE, nullable=False, constant=True)


def count_part(total: Part) -> Part:
    """Return the count that belongs to a sum: of its values, or of rows where no value can be missing."""
    if not total.known:
        total.known.append(_count_part(total))
    return total.known[0]


def _count_part(total: Part) -> Part:
    counted = total.argument if total.counted is None else total.counted
    if counted is None:
        raise AssertionError("a sum has an argument")
    if counts_every_row(counted):
        return Part(kind=PartKind.ROWS)
    return Part(kind=PartKind.VALUES, argument_key=to_sql(counted.sql), argument=counted)


PartKey = tuple[PartKind, str]
