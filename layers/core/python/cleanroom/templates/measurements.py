"""From the aggregates of one SELECT to what is measured: parts, shares of epsilon, and the way back. Pure.

Aggregates that share a part (AVG(x) and COUNT(x) share the count of x) pay into one pool, and the pool is shared by the
parts that are really measured (`shares.py`); equal aggregates are measured once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction

from sqlglot import exp

from cleanroom.privacy.bins import Bins, End
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates import spans
from cleanroom.templates.aggregates import Aggregate, AggregateFunction, counts_every_row
from cleanroom.templates.bins import bins_of
from cleanroom.templates.grid import Grid, grid_of
from cleanroom.templates.moments import from_integer
from cleanroom.templates.plan import Quantile
from cleanroom.templates.scalars import TEMPORAL, Scalar, Span, cast, combine
from cleanroom.templates.shares import STEPS, coefficients, of_vector, shares, together, vector_coefficient
from cleanroom.templates.trees import column, double, fragment, integer, to_sql


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
        bins: for counts per bin.
        quantiles: what is computed from those.
        asked: labels of the aggregates that need it.
        whole: a count is shown as a whole number; False where it is made to agree with others, which that would undo.
        vector: columns with the same name here get noise together; None for a column by itself.
        finer: in a vector: what its integers are multiplied by, the number of values or their sum on the grid.
        row_weight: in a vector: the most that a row weighs in any of its columns, in steps, after that.
    """

    name: str
    part: Part
    grid: Grid | None
    epsilon: Fraction
    gaussian: bool
    delta: Fraction
    bins: Bins | None = None
    quantiles: tuple[Quantile, ...] = ()
    asked: tuple[str, ...] = ()
    whole: bool = True
    vector: str | None = None
    finer: int = 1
    row_weight: int = 1

    def alone(self) -> DraftColumn:
        """Return the column as one that gets noise by itself."""
        return replace(self, vector=None, finer=1, row_weight=1)


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


def draft_columns(requests: list[Request], *, first: int = 0) -> list[DraftColumn]:
    """Return the columns to measure for the requests of one pool and one mechanism.

    Args:
        requests: no two with equal aggregates.
        first: number of the first column.

    Raises:
        MissingBoundsError: a sum without a declared range.
    """
    columns: list[DraftColumn] = []
    measured = {part.key for request in requests for part in parts_of(request.aggregate)}
    for family in _families(requests, measured):
        parts: dict[tuple[PartKind, str], Part] = {}
        for request in family:
            for part in parts_of(request.aggregate):
                parts.setdefault(part.key, part)
        grids = {part.key: _grid(part, family, measured) for part in parts.values()}
        gaussian = family[0].gaussian
        asked = _coefficients(family, grids)
        counts = {} if gaussian else {p.key: k for p in parts.values() if (k := _counted_by(p)) is not None}
        vectors = together(asked, counts=counts)
        split = shares({v: vector_coefficient(asked, v) for v in vectors}, gaussian=gaussian)
        vector_of = {key: v for v in vectors for key in v}
        number_of = {part.key: first + len(columns) + place for place, part in enumerate(parts.values())}
        epsilon = sum((r.epsilon for r in family), Fraction(0))
        delta = sum((r.delta for r in family), Fraction(0))
        for part in parts.values():
            bins: Bins | None = None
            quantiles: tuple[Quantile, ...] = ()
            name = f"c{number_of[part.key]}"
            vector = vector_of[part.key]
            share = split[vector] / len(vector)
            if part.kind is PartKind.BINS and part.argument is not None:
                bins = bins_of(part.argument, at=_place(part, family))
                quantiles = _quantiles([r.aggregate for r in family], of=name)
            column_of_part = DraftColumn(
                name=name,
                part=part,
                grid=grids[part.key],
                epsilon=epsilon * share,
                gaussian=gaussian,
                delta=delta * share,
                bins=bins,
                quantiles=quantiles,
                asked=tuple(
                    dict.fromkeys(
                        r.aggregate.label for r in family if part.key in {p.key for p in parts_of(r.aggregate)}
                    )
                ),
            )
            if len(vector) > 1:
                weight = _row_weight([grids[key] for key in vector])
                column_of_part = replace(
                    column_of_part,
                    vector=f"v{number_of[vector[0]]}",
                    finer=weight if grids[part.key] is None else weight // _heaviest(grids[part.key]),
                    row_weight=weight,
                )
            columns.append(column_of_part)
    return columns


_VECTOR_STEPS = 2**28
"""Steps of a row in a vector with several sums: they are multiplied by whole numbers to weigh nearly as much each."""


def _counted_by(part: Part) -> PartKey | None:
    """Return the count of the rows that a part adds up, if it may stand in a vector: it is at most one, or one row."""
    if part.kind is PartKind.SUM:
        return count_part(part).key
    return part.key if part.kind in (PartKind.ROWS, PartKind.VALUES) else None


def _row_weight(grids: list[Grid | None]) -> int:
    """Return how much a row weighs at most in each column of a vector, in steps."""
    sums = [grid.heaviest for grid in grids if grid is not None]
    return sums[0] if len(sums) == 1 else _VECTOR_STEPS


def _heaviest(grid: Grid | None) -> int:
    return 1 if grid is None else grid.heaviest


PartKey = tuple[PartKind, str]


def _place(part: Part, family: list[Request]) -> exp.Expr:
    """Return where in the template a part is asked for."""
    return next(r.at for r in family if part.key in {p.key for p in parts_of(r.aggregate)})


def _grid(part: Part, family: list[Request], measured: set[PartKey]) -> Grid | None:
    if part.kind is not PartKind.SUM or part.argument is None:
        return None
    return grid_of(part.argument, centred=count_part(part).key in measured, at=_place(part, family))


def _coefficients(family: list[Request], grids: dict[PartKey, Grid | None]) -> dict[PartKey, float]:
    """Return how much each part's error counts in all that is released of a family."""
    asked = dict.fromkeys(grids, 0.0)
    for request in family:
        parts = parts_of(request.aggregate)
        keys = [p.key for p in parts]
        grid = grids[keys[0]]
        if request.aggregate.function is AggregateFunction.SUM and grid is not None and grid.centred:
            count = count_part(parts[0]).key
            keys += [count] if count in grids else []  # another family may pay for it
        for key, coefficient in zip(keys, coefficients(request.aggregate, [grids[k] for k in keys]), strict=True):
            asked[key] += coefficient
    return asked


def beside_selection(columns: list[DraftColumn], selection: DraftColumn) -> list[DraftColumn]:
    """Return the columns, and the entity count that groups are chosen by, with what is paid for all shared anew.

    All that is paid goes in equal shares to what is measured, a sum that is not centred counting twice: it stands for
    its middle and for what is left of it, and weighs twice as much. A vector counts as its columns' cubes do (which is
    `shares.py` with these shares). Among themselves the columns keep their proportions. Nothing is asked of the data
    for it, and the sum of all shares stays what it was.

    Args:
        columns: of one pool and mechanism, that of the selection.
        selection: the count of entities, which is not released for itself.

    Returns:
        The columns, then the selection.
    """
    paid = sum((c.epsilon for c in columns), Fraction(0))
    by_draw: dict[str, list[int]] = {}
    for c in columns:
        by_draw.setdefault(c.vector or c.name, []).append(2 if c.grid is not None and not c.grid.centred else 1)
    parts = sum((_shares_of(weights) for weights in by_draw.values()), Fraction(1))
    chosen = (paid + selection.epsilon) / parts
    rest = (paid + selection.epsilon - chosen) / paid
    return [*(replace(c, epsilon=c.epsilon * rest) for c in columns), replace(selection, epsilon=chosen)]


def _shares_of(weights: list[int]) -> Fraction:
    """Return how many shares a column gets by its weight, or a vector by its columns' weights."""
    if len(weights) == 1:
        return Fraction(weights[0])
    return Fraction(round(STEPS * (of_vector(len(weights)) * sum(w**3 for w in weights)) ** (1 / 3)), STEPS)


_ENDS: dict[AggregateFunction, End] = {AggregateFunction.MIN: "smallest", AggregateFunction.MAX: "largest"}


def _quantiles(aggregates: list[Aggregate], *, of: str) -> tuple[Quantile, ...]:
    """Return what is computed from the counts per bin in column `of`, each once."""
    wanted = dict.fromkeys((_ENDS.get(a.function, "inside"), a.fraction) for a in aggregates)
    return tuple(
        Quantile(name=f"{of}q{number}", column=of, fraction=fraction, end=end)
        for number, (end, fraction) in enumerate(wanted)
    )


def _families(requests: list[Request], measured: set[PartKey]) -> list[list[Request]]:
    """Return the requests in groups that share parts, in the order of the query.

    Under Laplace noise a sum is with the count that its middle is put back with, so that they may be one vector.
    """
    families: list[tuple[set[PartKey], list[Request]]] = []
    for request in requests:
        keys = {p.key for p in parts_of(request.aggregate)}
        if request.aggregate.function is AggregateFunction.SUM and not request.gaussian:
            keys |= {count_part(p).key for p in parts_of(request.aggregate)} & measured
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
    wanted = (_ENDS.get(aggregate.function, "inside"), aggregate.fraction)
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
