"""From the aggregates of one SELECT to the columns that are measured: which parts, and shares of epsilon. Pure.

Aggregates that share a part (AVG(x) and COUNT(x) share the count of x) pay into one pool, and the pool is shared by the
parts that are really measured (`shares.py`); equal aggregates are measured once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from sqlglot import exp

from cleanroom.privacy.bins import Bins
from cleanroom.templates.aggregates import Aggregate, AggregateFunction
from cleanroom.templates.bins import bins_of
from cleanroom.templates.grid import Grid, grid_of
from cleanroom.templates.parts import QUANTILE_ENDS, Part, PartKey, PartKind, count_part, parts_of
from cleanroom.templates.plan import Quantile
from cleanroom.templates.shares import STEPS, coefficients, of_vector, shares, together, vector_coefficient


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
        lacking: the columns in it without bounds, for a refusal.
    """

    aggregate: Aggregate
    epsilon: Fraction
    gaussian: bool
    delta: Fraction
    pool: str
    at: exp.Expr
    lacking: tuple[str, ...] = ()


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


def _place(part: Part, family: list[Request]) -> exp.Expr:
    """Return where in the template a part is asked for."""
    return _asking(part, family).at


def _asking(part: Part, family: list[Request]) -> Request:
    return next(r for r in family if part.key in {p.key for p in parts_of(r.aggregate)})


def _grid(part: Part, family: list[Request], measured: set[PartKey]) -> Grid | None:
    if part.kind is not PartKind.SUM or part.argument is None:
        return None
    asking = _asking(part, family)
    centred = count_part(part).key in measured
    return grid_of(part.argument, centred=centred, at=asking.at, lacking=asking.lacking)


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


def _quantiles(aggregates: list[Aggregate], *, of: str) -> tuple[Quantile, ...]:
    """Return what is computed from the counts per bin in column `of`, each once."""
    wanted = dict.fromkeys((QUANTILE_ENDS.get(a.function, "inside"), a.fraction) for a in aggregates)
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
