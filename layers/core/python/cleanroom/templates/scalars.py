"""What is known about one expression: its DuckDB tree, type, range, possible values and where it comes from. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

from sqlglot import exp

from cleanroom.rooms.moments import MICROSECONDS_PER_DAY, moment_number
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.refusals import refuse
from cleanroom.templates.trees import fragment, shared

NUMERIC = frozenset({ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.DOUBLE})
TEMPORAL = frozenset({ColumnType.DATE, ColumnType.TIMESTAMP})

_NATIVE = {
    ColumnType.INTEGER: "BIGINT",
    ColumnType.DOUBLE: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DATE: "DATE",
    ColumnType.TIMESTAMP: "TIMESTAMP",
    ColumnType.TEXT: "VARCHAR",
}


MOST_PARTS = 20_000

LARGEST_COPIED = 24
"""Parts of an operand that is written several times where it is needed so; larger ones are written once."""

MOST_ELEMENTS = 1_000
"""Of an array, its first so many count: what one row can become in FROM, or hold in a function, has a limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """The range of a number as far as it is declared; None where it is open. Values outside get clamped to it.

    Of a date it is in days since 1970-01-01, of a timestamp in microseconds since then (`rooms/moments.py`).
    """

    lo: Fraction | None = None
    hi: Fraction | None = None


OPEN = Span()

Make = Callable[[dict[str, exp.Expr]], exp.Expr]
"""Makes a tree of operands by their names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """An expression over one public relation: its possible values are public, and can be listed by a query.

    Attributes:
        tag: which relation, and through which aliases it is seen; equal tags mean the same row of it.
        item: the relation as an item of FROM.
        expression: over that item.
        outer: whether an outer join may have put NULLs in place of its row.
    """

    tag: tuple[str, ...]
    item: exp.Expr
    expression: exp.Expr
    outer: bool = False


@dataclass(frozen=True, kw_only=True, order=True, slots=True)
class KeyPart:
    """That a column is part of a declared key: the key's values say whose a row is.

    Attributes:
        parent: full name of the table that the key belongs to.
        columns: of the parent, in order.
        position: which of them this is.
        origin: the item of FROM that the value comes from; parts of one origin are of one row.
    """

    parent: str
    columns: tuple[str, ...]
    position: int
    origin: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scalar:
    """One expression, translated and checked.

    Attributes:
        sql: DuckDB tree; it cannot fail on any row.
        type: None for a bare NULL.
        element: of an array, the type of its elements; `span` and `values` are then about these.
        nullable: False only where NULL is ruled out.
        size: about how many parts the tree has, once the columns of CTEs and subqueries are replaced by what they
            stand for; some operands are written several times, so it can grow fast.
        span: declared range, for numbers, dates and timestamps.
        values: all possible values as literals, NULL among them where possible; None where not a short public list.
        declared: a row may hold others than `values`, against what the owner declared; rows that do are left out of a
            grouping by them. So it is with a column, too.
        within_years: a date or timestamp that is known to be NULL outside the years 1 to 9999.
        drawn: set where all that it depends on is one row of one public relation.
        constant: depends on no row at all.
        literal: the value, where it is written in the query.
        entity: it is the entity column itself.
        keys: the declared keys that it is part of, as it is.
        numbered: no two rows of an entity have the same value of it, which is a number from 1 on.
        whole: it holds a window function or a subquery; the engine allows none inside TRY, nor in a lambda.
        noisy: computed from noisy numbers.
        measured: (measurement, column) where it is one measured column as it is.
        count: it is a noisy count as it was measured, or NULL, also where rows of several measurements are united.
    """

    sql: exp.Expr
    type: ColumnType | None
    element: ColumnType | None = None
    nullable: bool = True
    size: int = 1
    span: Span = OPEN
    values: tuple[exp.Expr, ...] | None = None
    declared: bool = False
    within_years: bool = False
    drawn: Drawn | None = None
    constant: bool = False
    literal: str | int | Fraction | bool | None = None
    entity: bool = False
    keys: frozenset[KeyPart] = frozenset()
    numbered: bool = False
    whole: bool = False
    noisy: bool = False
    measured: tuple[str, str] | None = None
    count: bool = False


def combine(
    text: str,
    *,
    kind: ColumnType | None,
    span: Span = Span(),
    nullable: bool | None = None,
    **parts: Scalar,
) -> Scalar:
    """Return the scalar `text` with the parts put in, and what follows from the parts about its origin.

    Args:
        text: a fragment of ours that gives NULL instead of failing, without an aggregate.
        kind: type of the result.
        span: of the result.
        nullable: None: as soon as one part is.
        parts: operands by their placeholder's name.

    Raises:
        TemplateRefusedError: rule `too_large`.
    """
    copies = max((text.count(f":{name}") for name in parts), default=1)
    return build(lambda trees: fragment(text, **trees), parts, kind=kind, span=span, nullable=nullable, copies=copies)


def build(
    make: Make,
    parts: dict[str, Scalar],
    *,
    kind: ColumnType | None,
    span: Span = Span(),
    nullable: bool | None = None,
    copies: int = 1,
) -> Scalar:
    """As `combine`, for trees that one fragment cannot say; `copies`: how often an operand is written at most.

    Raises:
        TemplateRefusedError: rule `too_large`.
    """
    size = sum(p.size for p in parts.values())
    if _written_once(make, parts, copies=copies):
        make, size = _sharing(make, parts), size + copies * len(parts)
    else:
        size *= copies
    return _made(make, parts, kind=kind, span=span, nullable=nullable, size=1 + size)


def gathered(
    text: str, *, kind: ColumnType | None, span: Span = OPEN, nullable: bool = True, **parts: Scalar
) -> Scalar:
    """As `combine`, for a text that holds an aggregate: the operands stay inside of it, and it is no constant.

    Raises:
        TemplateRefusedError: rule `too_large`.
    """
    size = 1 + sum(text.count(f":{name}") * p.size for name, p in parts.items())
    result = _made(lambda trees: fragment(text, **trees), parts, kind=kind, span=span, nullable=nullable, size=size)
    return replace(result, drawn=None, constant=False, values=None)


def _written_once(make: Make, parts: dict[str, Scalar], *, copies: int) -> bool:
    """Return whether the operands must not be put in as they are.

    A large one that is written several times would double at each level; and the engine allows no window function or
    subquery inside TRY.
    """
    if copies > 1 and any(p.size > LARGEST_COPIED for p in parts.values()):
        return True
    return any(p.whole for p in parts.values()) and make({name: exp.null() for name in parts}).find(exp.Try) is not None


def _sharing(make: Make, parts: dict[str, Scalar]) -> Make:
    """Return `make` with each operand written once; short constants stay where the engine wants literals."""
    literals = {name for name, p in parts.items() if p.constant and p.size <= LARGEST_COPIED}

    def once(trees: dict[str, exp.Expr]) -> exp.Expr:
        constants = {name: tree for name, tree in trees.items() if name in literals}
        others = {name: tree for name, tree in trees.items() if name not in literals}
        return shared(lambda fields: make({**constants, **fields}), others)

    return once


def _made(
    make: Make, parts: dict[str, Scalar], *, kind: ColumnType | None, size: int, span: Span, nullable: bool | None
) -> Scalar:
    if size > MOST_PARTS:
        refuse(
            "an expression is too large", rule="too_large", cure="use each column of a CTE fewer times, and nest less"
        )
    drawn = None
    sources = [p.drawn for p in parts.values() if not p.constant]
    first = sources[0] if sources else None
    if first is not None and all(s is not None and s.tag == first.tag for s in sources):
        trees = {name: p.drawn.expression if p.drawn else p.sql for name, p in parts.items()}
        drawn = replace(first, expression=make(trees))
    can_be_null = any(p.nullable for p in parts.values()) if nullable is None else nullable
    values: tuple[exp.Expr, ...] | None = None
    if kind is ColumnType.BOOLEAN:
        values = (exp.false(), exp.true(), *([exp.null()] if can_be_null else []))
    return Scalar(
        sql=make({name: p.sql for name, p in parts.items()}),
        type=kind,
        nullable=can_be_null,
        size=size,
        span=span,
        values=values,
        drawn=drawn,
        constant=all(p.constant for p in parts.values()),
        whole=any(p.whole for p in parts.values()),
        noisy=any(p.noisy for p in parts.values()),
    )


def within_years(native: str) -> str:
    """Return the fragment for `:a`, a DATE or TIMESTAMP, where it lies in the years 1 to 9999, and NULL elsewhere.

    Near the ends of these types some functions fail in spite of TRY: the engine tries them on a column's extremes
    while it plans, and so an error could tell of one row.
    """
    return f"CASE WHEN :a >= CAST('0001-01-01' AS {native}) AND :a < CAST('10000-01-01' AS {native}) THEN :a END"


def guarded(scalar: Scalar) -> str:
    """Return the fragment for `:a`, a DATE or TIMESTAMP, that is NULL outside the years 1 to 9999."""
    return ":a" if scalar.within_years else within_years(_NATIVE[scalar.type or ColumnType.DATE])


def cast(scalar: Scalar, to: ColumnType) -> Scalar:
    """Return the scalar in the engine's standard type of `to`; a value that does not fit becomes NULL.

    Args:
        scalar: of any type.
        to: any type but DECIMAL and OTHER.
    """
    if scalar.type is to and not isinstance(scalar.sql, exp.Column):
        return scalar
    lossless = scalar.type is to or (to is ColumnType.DOUBLE and scalar.type in NUMERIC)
    # Between equal types both casts are nothing; should the engine have made another of an integer, none may fail.
    sure = lossless and to is not ColumnType.INTEGER
    text = f"CAST(:a AS {_NATIVE[to]})" if sure else f"TRY_CAST(:a AS {_NATIVE[to]})"
    if to is ColumnType.TEXT and scalar.type in TEMPORAL:
        text = f"TRY_CAST({guarded(scalar)} AS VARCHAR)"
    if to is ColumnType.TEXT and scalar.type is ColumnType.DOUBLE:
        # Which of 0 and -0, or of two NaN, stands for a group depends on the order of its rows: one text for both.
        text = "TRY_CAST(CASE WHEN :a = 0e0 THEN 0e0 WHEN ISNAN(:a) THEN CAST('nan' AS DOUBLE) ELSE :a END AS VARCHAR)"
    if to is ColumnType.INTEGER and scalar.type is ColumnType.DOUBLE:  # the engine would round halves to even
        text = "TRY_CAST(ROUND(:a) AS BIGINT)"
    span = _cast_span(scalar, to)
    result = combine(text, kind=to, span=span, nullable=scalar.nullable or not lossless, a=scalar)
    held = to in TEMPORAL and (scalar.within_years or (result.span.lo is not None and isinstance(scalar.literal, str)))
    same = scalar.type is to or (to is ColumnType.DOUBLE and scalar.type in NUMERIC)
    moment = to in TEMPORAL and scalar.type is ColumnType.TEXT
    return replace(result, literal=scalar.literal if same or moment else None, within_years=held)


def _cast_span(scalar: Scalar, to: ColumnType) -> Span:
    """Return the range after a cast: the same number, rounded, or the same moment in another unit."""
    if isinstance(scalar.literal, str) and to in TEMPORAL and scalar.type is ColumnType.TEXT:
        number = moment_number(scalar.literal, to)
        return Span() if number is None else Span(lo=Fraction(number), hi=Fraction(number))
    ends = scalar.span.lo, scalar.span.hi
    if scalar.type is to or (scalar.type in NUMERIC and to in NUMERIC):
        if to is ColumnType.INTEGER and scalar.type is not to:  # halves go away from zero
            lo, hi = (
                None if e is None else Fraction(floor(abs(e) + Fraction(1, 2)) * (1 if e > 0 else -1)) for e in ends
            )
            return Span(lo=lo, hi=hi)
        return scalar.span
    if scalar.type is ColumnType.DATE and to is ColumnType.TIMESTAMP:
        lo, hi = (None if e is None else e * MICROSECONDS_PER_DAY for e in ends)
        return Span(lo=lo, hi=hi)
    if scalar.type is ColumnType.TIMESTAMP and to is ColumnType.DATE:
        lo, hi = (None if e is None else Fraction(floor(e / MICROSECONDS_PER_DAY)) for e in ends)
        return Span(lo=lo, hi=hi)
    return Span()


def common_type(parts: list[Scalar], *, at: exp.Expr) -> ColumnType | None:
    """Return the type in which the parts can be compared or stand for one another.

    Raises:
        TemplateRefusedError: rule `type_mismatch`.
    """
    types = {p.type for p in parts if p.type is not None}
    if not types:
        return None
    if len(types) == 1 and ColumnType.ARRAY not in types:
        only = types.pop()
        return ColumnType.DOUBLE if only is ColumnType.DECIMAL else only
    if types <= NUMERIC:
        return ColumnType.DOUBLE
    if types <= TEMPORAL:
        return ColumnType.TIMESTAMP
    if ColumnType.TEXT in types and len(types) == 2:  # a literal may say a date
        other = next(t for t in types if t is not ColumnType.TEXT)
        if other in TEMPORAL and all(p.literal is not None for p in parts if p.type is ColumnType.TEXT):
            return other
    names = " and ".join(sorted(t.value for t in types))
    refuse(f"{names} cannot be combined here", rule="type_mismatch", cure="cast one side to the other's type", at=at)


def unified(parts: list[Scalar], *, at: exp.Expr) -> tuple[ColumnType | None, list[Scalar]]:
    """Return the common type and all parts in it; bare NULLs stay as they are."""
    to = common_type(parts, at=at)
    if to is None:
        return None, parts
    return to, [p if p.type is None else cast(p, to) for p in parts]


def require(scalar: Scalar, types: frozenset[ColumnType], *, what: str, at: exp.Expr) -> Scalar:
    """Return the scalar if its type is one of `types` (or it is NULL).

    Raises:
        TemplateRefusedError: rule `type_mismatch`.
    """
    if scalar.type is not None and scalar.type not in types:
        wanted = " or ".join(sorted(t.value for t in types))
        refuse(
            f"{what} needs {wanted}, not {scalar.type.value}", rule="type_mismatch", cure=f"cast it to {wanted}", at=at
        )
    return scalar


def native_name(kind: ColumnType) -> str:
    """Return the engine's standard type for a simple type of ours."""
    return _NATIVE.get(kind, "DOUBLE")


def native_type(scalar: Scalar) -> str:
    """Return the engine's standard type for a scalar of standard type."""
    return _NATIVE.get(scalar.type or ColumnType.INTEGER, "DOUBLE")
