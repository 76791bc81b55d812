"""Expressions of the grammar: each production is a text and what it means. One place to add a construct.

An expression of the grammar is its SQL text with a Python function of one row; nothing here is parsed, and nothing of
the compiler is used but the names of types.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from cleanroom.rooms.tables import ColumnType
from tests.soundness import meaning as mean

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from tests.soundness.schemas import Rows

T = ColumnType
NUMBERS = (T.INTEGER, T.DOUBLE, T.DECIMAL)
Row = dict[str, Any]
"""`alias.column` -> value, for all relations in FROM."""

Range = tuple[Fraction | None, Fraction | None]
OPEN: Range = (None, None)


@dataclass(frozen=True, kw_only=True)
class Public:
    """A relation of the reader, one row of which decides a value: what values there can be is public.

    Attributes:
        tag: which relation, under which aliases.
        rows: all of its rows, under those aliases.
        nobody: the row of NULLs that an outer join may put in place of one; None where it cannot.
    """

    tag: tuple[str, ...]
    rows: Callable[[Rows], list[Row]]
    nobody: Row | None = None


@dataclass(frozen=True, kw_only=True, order=True)
class KeyPart:
    """A column's place in a key that says whose a row is.

    Attributes:
        parent: the table to which the key leads.
        columns: of that table.
        position: of the column among them.
        origin: the item of FROM, or of a subquery, whose column it is: parts of different rows are no key.
    """

    parent: str
    columns: tuple[str, ...]
    position: int
    origin: str

    @property
    def whole(self) -> set[KeyPart]:
        """All parts of the same key in the same row."""
        return {replace(self, position=i) for i in range(len(self.columns))}


@dataclass(frozen=True, kw_only=True)
class Expression:
    """One expression.

    Attributes:
        sql: text.
        type: of the value.
        of: the value in a row.
        range: the declared range, or the one that follows.
        values: what it can be, where that is declared.
        public: the one public relation that decides it.
        of_public: the value in a row of that relation.
        constant: whether it depends on no row.
        entity: whether it is the entity of the row.
        column: whether it is a column of a table as it is.
        keys: the declared keys that it is part of, where it is such a column.
        spelled: whether it was made so that one value comes in several texts.
    """

    sql: str
    type: ColumnType
    of: Callable[[Row], Any]
    range: Range = OPEN
    values: tuple[Any, ...] | None = None
    public: Public | None = None
    of_public: Callable[[Row], Any] | None = None
    constant: bool = False
    entity: bool = False
    column: bool = False
    keys: frozenset[KeyPart] = frozenset()
    spelled: bool = False


def key_parts(columns: Iterable[Expression]) -> dict[KeyPart, Expression]:
    """Return the column of each part of a key, in an order that does not change from process to process."""
    return {part: column for column in columns for part in sorted(column.keys)}


def combined(sql: str, kind: ColumnType, do: Callable[..., Any], *parts: Expression, span: Range = OPEN) -> Expression:
    """Return the expression whose value is `do` of the parts' values."""
    sources = [p.public for p in parts if not p.constant]
    tags = {None if s is None else s.tag for s in sources}
    public = sources[0] if len(tags) == 1 else None
    values = (False, True, None) if kind is T.BOOLEAN else None
    return Expression(
        sql=sql,
        type=kind,
        of=lambda row: do(*(p.of(row) for p in parts)),
        range=span,
        values=values,
        public=public,
        of_public=lambda row: do(*((p.of if p.constant or p.of_public is None else p.of_public)(row) for p in parts)),
        constant=all(p.constant for p in parts),
    )


# --- ranges -----------------------------------------------------------------------------------------------------------


def _both(a: Fraction | None, b: Fraction | None, do: Callable[[Any, Any], Any]) -> Any:
    return None if a is None or b is None else do(a, b)


def plus(a: Range, b: Range) -> Range:
    return _both(a[0], b[0], lambda x, y: x + y), _both(a[1], b[1], lambda x, y: x + y)


def negative(a: Range) -> Range:
    return (None if a[1] is None else -a[1]), (None if a[0] is None else -a[0])


def minus(a: Range, b: Range) -> Range:
    return plus(a, negative(b))


def times(a: Range, b: Range) -> Range:
    if None in (*a, *b):
        return OPEN
    corners = [x * y for x in a for y in b]  # type: ignore[operator]
    return min(corners), max(corners)


def over(a: Range, b: Range) -> Range:
    if b[0] is None or b[1] is None or b[0] <= 0 <= b[1]:
        return OPEN
    return times(a, (1 / b[1], 1 / b[0]))


def distance(a: Range) -> Range:
    if a[0] is None or a[1] is None:
        return Fraction(0), None
    ends = abs(a[0]), abs(a[1])
    return (Fraction(0) if a[0] <= 0 <= a[1] else min(ends)), max(ends)


def hull(*ranges: Range) -> Range:
    lows, highs = [r[0] for r in ranges], [r[1] for r in ranges]
    return (None if None in lows else min(lows)), (None if None in highs else max(highs))  # type: ignore[type-var]


def lowest(*ranges: Range) -> Range:
    highs = [r[1] for r in ranges if r[1] is not None]
    return hull(*ranges)[0], min(highs, default=None)


def highest(*ranges: Range) -> Range:
    lows = [r[0] for r in ranges if r[0] is not None]
    return max(lows, default=None), hull(*ranges)[1]


def to_whole(do: Callable[[Fraction], int]) -> Callable[[Range], Range]:
    return lambda a: (None if a[0] is None else Fraction(do(a[0])), None if a[1] is None else Fraction(do(a[1])))


def to_step(digits: int) -> Callable[[Range], Range]:
    step = Fraction(10) ** -digits
    return lambda a: (
        None if a[0] is None else floor(a[0] / step) * step,
        None if a[1] is None else ceil(a[1] / step) * step,
    )


def within(lo: int, hi: int | None) -> Callable[..., Range]:
    return lambda *_: (Fraction(lo), None if hi is None else Fraction(hi))


def first_range(a: Range, *_: Range) -> Range:
    return a


# --- productions ------------------------------------------------------------------------------------------------------

NUMBER = "number"
"""An argument of any numeric type; it is seen as a double."""


@dataclass(frozen=True)
class Production:
    """`text` with arguments of these types put in; NULL as soon as one is, unless `lazy`.

    `listed`: what it can be is known beforehand, where its range is closed.
    """

    type: ColumnType
    text: str
    arguments: tuple[ColumnType | str, ...]
    do: Callable[..., Any]
    span: Callable[..., Range] = field(default=lambda *_: OPEN)
    lazy: bool = False
    listed: bool = False


def _integer(text: str, do: Callable[..., Any], span: Callable[..., Range]) -> Production:
    return Production(T.INTEGER, text, (T.INTEGER, T.INTEGER), lambda a, b: mean.whole(do(a, b)), span)


def _double(text: str, do: Callable[..., Any], span: Callable[..., Range] = lambda *_: OPEN) -> Production:
    return Production(T.DOUBLE, text, (NUMBER, NUMBER), do, span)


def _times(a: float, b: float) -> float:
    return a * b


PRODUCTIONS: list[Production] = [
    _integer("({} + {})", lambda a, b: a + b, plus),
    _integer("({} - {})", lambda a, b: a - b, minus),
    _integer("({} * {})", lambda a, b: a * b, times),
    Production(T.INTEGER, "({} % ({} + 1))", (T.INTEGER, T.INTEGER), lambda a, b: mean.remainder(a, mean.whole(b + 1))),
    Production(
        T.INTEGER,
        "({} % 7)",
        (T.INTEGER,),
        lambda a: mean.remainder(a, 7),
        lambda a: (Fraction(0 if a[0] is not None and a[0] >= 0 else -6), Fraction(6)),
        listed=True,
    ),
    Production(T.INTEGER, "ABS({})", (T.INTEGER,), lambda a: mean.whole(abs(a)), distance),
    Production(T.INTEGER, "(-{})", (T.INTEGER,), lambda a: mean.whole(-a), negative),
    Production(T.INTEGER, "SIGN({})", (NUMBER,), mean.sign, within(-1, 1), listed=True),
    Production(T.INTEGER, "LENGTH({})", (T.TEXT,), len, within(0, None)),
    Production(T.INTEGER, "{}::INTEGER", (T.TEXT,), mean.to_integer),
    Production(T.INTEGER, "TRY_CAST({} AS BIGINT)", (T.DOUBLE,), mean.to_integer, first_range),
    Production(T.INTEGER, "{}::INT", (T.BOOLEAN,), int),
    *(
        Production(
            T.INTEGER, f"EXTRACT({name} FROM {{}})", (T.DATE,), lambda d, n=name: mean.field(n, d), span, listed=True
        )
        for name, span in {
            "year": lambda *_: OPEN,
            "quarter": within(1, 4),
            "month": within(1, 12),
            "week": within(1, 53),
            "day": within(1, 31),
            "dow": within(0, 6),
            "doy": within(1, 366),
        }.items()
    ),
    Production(T.INTEGER, "HOUR({})", (T.TIMESTAMP,), lambda t: t.hour, within(0, 23), listed=True),
    _double("({} / {})", mean.ratio, over),
    _double("(1.0 * {} * {})", _times, times),
    _double("(0.0 + {} + {})", lambda a, b: a + b, plus),
    Production(T.DOUBLE, "({} - {})", (T.DOUBLE, NUMBER), lambda a, b: a - b, minus),
    Production(T.DOUBLE, "({} * {})", (T.DOUBLE, NUMBER), _times, times),
    Production(T.DOUBLE, "(-{})", (T.DOUBLE,), lambda a: -a, negative),
    Production(T.DOUBLE, "ABS({})", (T.DOUBLE,), abs, distance),
    Production(T.DOUBLE, "SQRT({})", (NUMBER,), mean.root),
    Production(T.DOUBLE, "ROUND({}, 1)", (NUMBER,), lambda a: mean.rounded(a, 1), to_step(1)),
    Production(T.DOUBLE, "ROUND({}, -1)", (NUMBER,), lambda a: mean.rounded(a, -1), to_step(-1)),
    Production(T.DOUBLE, "ROUND({})", (NUMBER,), lambda a: mean.rounded(a, 0), to_step(0)),
    Production(T.DOUBLE, "FLOOR({})", (NUMBER,), mean.down, to_whole(floor)),
    Production(T.DOUBLE, "CEIL({})", (NUMBER,), mean.up, to_whole(ceil)),
    Production(T.DOUBLE, "{}::FLOAT", (T.TEXT,), mean.to_double),
    Production(
        T.DOUBLE,
        "LEAST({}, 1.0 * {})",
        (NUMBER, T.DOUBLE),
        mean.least,
        lambda a, b: lowest(a, times((Fraction(1), Fraction(1)), b)),
    ),
    Production(
        T.DOUBLE,
        "GREATEST({}, {}, 0.5)",
        (NUMBER, NUMBER),
        lambda a, b: mean.greatest(a, b, 0.5),
        lambda a, b: highest(a, b, (Fraction(1, 2), Fraction(1, 2))),
    ),
    Production(T.TEXT, "UPPER({})", (T.TEXT,), str.upper),
    Production(T.TEXT, "LOWER({})", (T.TEXT,), str.lower),
    Production(T.TEXT, "TRIM({})", (T.TEXT,), lambda s: s.strip(" ")),
    Production(T.TEXT, "LTRIM({})", (T.TEXT,), lambda s: s.lstrip(" ")),
    Production(T.TEXT, "({} || {})", (T.TEXT, T.TEXT), mean.joined),
    Production(T.TEXT, "CONCAT({}, '-', {})", (T.TEXT, T.TEXT), lambda a, b: mean.joined(a, "-", b)),
    Production(T.TEXT, "SUBSTR({}, 1, 2)", (T.TEXT,), lambda s: mean.part_of_text(s, 1, 2)),
    Production(T.TEXT, "SUBSTR({}, -2, 2)", (T.TEXT,), lambda s: mean.part_of_text(s, -2, 2)),
    Production(T.TEXT, "SUBSTRING({}, 2)", (T.TEXT,), lambda s: mean.part_of_text(s, 2, 10**6)),
    Production(T.TEXT, "LEFT({}, 1)", (T.TEXT,), lambda s: s[:1]),
    Production(T.TEXT, "RIGHT({}, 2)", (T.TEXT,), lambda s: s[-2:]),
    Production(T.TEXT, "{}::VARCHAR", (T.INTEGER,), mean.to_text),
    Production(T.TEXT, "TO_VARCHAR({})", (T.BOOLEAN,), mean.to_text),
    Production(T.TEXT, "{}::VARCHAR(3)", (T.DATE,), lambda d: mean.to_text(d)[:3]),
    Production(T.BOOLEAN, "(NOT {})", (T.BOOLEAN,), lambda a: not a),
    Production(T.BOOLEAN, "({} AND {})", (T.BOOLEAN, T.BOOLEAN), mean.both, lazy=True),
    Production(T.BOOLEAN, "({} OR {})", (T.BOOLEAN, T.BOOLEAN), mean.either, lazy=True),
    Production(T.BOOLEAN, "({} IS TRUE)", (T.BOOLEAN,), lambda a: a is True, lazy=True),
    Production(T.BOOLEAN, "({} IN (0, 1, 7))", (T.INTEGER,), lambda a: mean.among(a, 0, 1, 7), lazy=True),
    Production(T.BOOLEAN, "({} IN (-0.0, 0.0, 1.5))", (T.DOUBLE,), lambda a: mean.among(a, 0.0, 1.5), lazy=True),
    Production(T.BOOLEAN, "({} NOT IN ('a', 'X'))", (T.TEXT,), lambda a: not mean.among(a, "a", "X")),
    Production(T.BOOLEAN, "({} IN ('a', NULL))", (T.TEXT,), lambda a: mean.among(a, "a", None), lazy=True),
    *(
        Production(T.BOOLEAN, f"({{}} LIKE '{p}')", (T.TEXT,), lambda s, p=p: mean.like(s, p))
        for p in ("%a%", "_", "a%", "")
    ),
    Production(T.BOOLEAN, "({} ILIKE 'A%')", (T.TEXT,), lambda s: s[:1] in ("a", "A")),
    Production(T.BOOLEAN, "STARTSWITH({}, {})", (T.TEXT, T.TEXT), str.startswith),
    *(
        Production(T.DATE, f"DATE_TRUNC('{unit}', {{}})", (T.DATE,), lambda d, u=unit: mean.cut(u, d))
        for unit in ("year", "quarter", "month", "week")
    ),
    Production(T.DATE, "{}::DATE", (T.TEXT,), mean.to_day),
    Production(T.DATE, "TO_DATE({})", (T.TEXT,), mean.to_day),
    Production(T.DATE, "{}::DATE", (T.TIMESTAMP,), mean.to_day),
    *(
        Production(T.BOOLEAN, f"({{}} {sign} {{}})", (kind, kind), do)
        for kind in (T.TEXT, T.INTEGER, T.DOUBLE, T.DATE)
        for sign, do in (
            ("=", mean.equal),
            ("<>", lambda a, b: not mean.equal(a, b)),
            ("<", mean.less),
            (">=", mean.not_less),
        )
    ),
    *(
        Production(
            T.BOOLEAN,
            "({} BETWEEN {} AND {})",
            (kind, kind, kind),
            lambda a, lo, hi: mean.both(mean.strict(mean.not_less)(a, lo), mean.strict(mean.not_less)(hi, a)),
            lazy=True,
        )
        for kind in (T.INTEGER, T.TEXT, T.DATE)
    ),
    *(
        Production(T.BOOLEAN, "({} IS NULL)", (kind,), lambda a: a is None, lazy=True)
        for kind in (T.TEXT, T.INTEGER, T.DOUBLE, T.DATE, T.BOOLEAN)
    ),
    *(
        production
        for kind in (T.TEXT, T.INTEGER, T.DOUBLE, T.DATE)
        for production in (
            Production(kind, "COALESCE({}, {})", (kind, kind), lambda a, b: b if a is None else a, hull, lazy=True),
            Production(
                kind,
                "NULLIF({}, {})",
                (kind, kind),
                lambda a, b: None if a is not None and b is not None and mean.equal(a, b) else a,
                first_range,
                lazy=True,
            ),
            Production(
                kind,
                "(CASE WHEN {} THEN {} ELSE {} END)",
                (T.BOOLEAN, kind, kind),
                lambda c, a, b: a if c is True else b,
                lambda c, a, b: hull(a, b),
                lazy=True,
            ),
            Production(
                kind,
                "(CASE WHEN {} THEN {} END)",
                (T.BOOLEAN, kind),
                lambda c, a: a if c is True else None,
                lambda c, a: a,
                lazy=True,
            ),
            Production(
                kind,
                "IFF({}, {}, {})",
                (T.BOOLEAN, kind, kind),
                lambda c, a, b: a if c is True else b,
                lambda c, a, b: hull(a, b),
                lazy=True,
            ),
        )
    ),
]
"""All productions but columns and literals. A new function of the compiler is one more entry."""

BY_TYPE: dict[ColumnType, list[Production]] = {kind: [p for p in PRODUCTIONS if p.type is kind] for kind in T}

LITERALS: dict[ColumnType, list[tuple[str, Any]]] = {
    T.TEXT: [("'a'", "a"), ("'gold'", "gold"), ("''", ""), ("'X'", "X"), ("'12'", "12")],
    T.INTEGER: [("0", 0), ("(-0)", 0), ("1", 1), ("7", 7), ("9223372036854775807", 2**63 - 1), ("1000000", 10**6)],
    T.DOUBLE: [
        ("0.5", 0.5),
        ("0.0", 0.0),
        ("(-0.0)", -0.0),
        ("1e308", 1e308),
        ("3.0", 3.0),
        ("0.1", 0.1),
        ("2.5e-300", 2.5e-300),
    ],
    T.BOOLEAN: [("TRUE", True), ("FALSE", False)],
}


def literal(text: str, kind: ColumnType, value: Any) -> Expression:
    """Return a constant as an expression."""
    exact = None if kind not in NUMBERS else Fraction(text.strip("()"))
    return Expression(
        sql=text,
        type=kind,
        of=lambda _: value,
        of_public=lambda _: value,
        constant=True,
        range=(exact, exact),
        values=(value,) if kind in (T.TEXT, T.INTEGER, T.BOOLEAN) else None,
    )


class Expressions:
    """Random expressions over what is in scope."""

    def __init__(self, rng: random.Random, *, deepest: int = 2) -> None:
        self.rng = rng
        self.deepest = deepest

    def column(self, wanted: ColumnType, scope: list[Expression]) -> Expression | None:
        """Return a column of that type, as it is."""
        found = [c for c in scope if c.type is wanted]
        return self.rng.choice(found) if found else None

    def expression(self, wanted: ColumnType | str, scope: list[Expression], depth: int = 2) -> Expression:
        """Return an expression of that type."""
        depth = min(depth, self.deepest)
        if wanted == NUMBER:
            wanted = self.rng.choice(NUMBERS)
        if wanted is T.DECIMAL:
            return self.column(T.DECIMAL, scope) or self.expression(T.DOUBLE, scope, depth)
        if wanted is T.TIMESTAMP:
            found = self.column(T.TIMESTAMP, scope)
            return found or combined("NULL::TIMESTAMP", T.TIMESTAMP, lambda: None)
        kind = ColumnType(wanted)
        if depth <= 0 or self.rng.random() < 0.35:
            found = self.column(kind, scope) if self.rng.random() < 0.93 else None
            return found or self._literal(kind)
        return self.made(self.rng.choice(BY_TYPE[kind]), scope, depth)

    def made(self, production: Production, scope: list[Expression], depth: int) -> Expression:
        """Return the production with random arguments."""
        parts = [self.expression(a, scope, depth - 1) for a in production.arguments]
        texts = [p.sql for p in parts]
        views = [mean.number if a == NUMBER else None for a in production.arguments]

        def do(*values: Any) -> Any:
            seen = [v if view is None else view(v) for v, view in zip(values, views, strict=True)]
            seen = [float(v) if type(v).__name__ == "Decimal" else v for v in seen]
            return production.do(*seen) if production.lazy else mean.strict(production.do)(*seen)

        span = production.span(*(p.range for p in parts))
        result = combined(production.text.format(*texts), production.type, do, *parts, span=span)
        lo, hi = span
        if production.listed and lo is not None and hi is not None and not result.constant:
            return replace(result, values=(*range(ceil(lo), floor(hi) + 1), None))
        return result

    def _literal(self, kind: ColumnType) -> Expression:
        if kind is T.DATE:
            text = self.rng.choice(["'2020-02-29'::DATE", "TO_DATE('2020-02-29')", "DATE '2020-02-29'"])
            return combined(text, T.DATE, lambda: mean.to_day("2020-02-29"))
        text, value = self.rng.choice(LITERALS[kind])
        return literal(text, kind, value)

    def summed(self, scope: list[Expression]) -> Expression:
        """Return a number with a closed range."""
        kind = self.rng.choice(NUMBERS)
        bounded = [c for c in scope if c.type in NUMBERS and None not in c.range]
        if bounded and self.rng.random() < 0.5:
            column = self.rng.choice(bounded)
            if self.rng.random() < 0.6:
                return column
            other = self.rng.choice(bounded)
            condition = self.expression(T.BOOLEAN, scope, 1)
            if self.rng.random() < 0.5:
                return combined(
                    f"(CASE WHEN {condition.sql} THEN {column.sql} ELSE 2.5 END)",
                    T.DOUBLE,
                    lambda c, a: mean.number(a) if c is True else 2.5,
                    condition,
                    column,
                    span=hull(column.range, (Fraction(5, 2), Fraction(5, 2))),
                )
            return combined(
                f"({column.sql} - {other.sql} * 1.0)",
                T.DOUBLE,
                mean.strict(lambda a, b: float(a) - float(b)),
                column,
                other,
                span=minus(column.range, times(other.range, (Fraction(1), Fraction(1)))),
            )
        inner = self.expression(kind, scope)
        low, high = self.rng.choice(["-3", "0", "0.25"]), self.rng.choice(["2", "10", "1000.5"])
        ends = Fraction(low), Fraction(high)
        span = lowest(highest(inner.range, (ends[0],) * 2), (ends[1],) * 2)
        # All of them integers, or all of them doubles: both are compared as such.
        sure = inner.type is T.INTEGER and "." not in low
        start = int(low) if sure else float(low)
        above = mean.strict(lambda x: mean.greatest(x if sure else float(x), start))
        stop = float(high) if "." in high or not sure else int(high)
        below = mean.strict(lambda x: mean.least(float(x) if isinstance(stop, float) else x, stop))
        return combined(
            f"LEAST(GREATEST({inner.sql}, {low}), {high})",
            T.INTEGER if isinstance(stop, int) else T.DOUBLE,
            lambda x: below(above(x)),
            inner,
            span=span,
        )
