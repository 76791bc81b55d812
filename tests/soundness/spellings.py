"""One value in several texts: 0 and -0, a date as a literal and as a cast, a text and its CAST; and rows of VALUES.

A group key whose possible values are known from the text of a query must have each of them once, as the engine compares
them, however often and in whatever way it is written. One place to add a spelling: an entry in `ALIKE`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

from cleanroom.rooms.tables import ColumnType
from tests.soundness import meaning as mean
from tests.soundness.expressions import Expression, Expressions, Public, Row, combined
from tests.soundness.items import Item

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.soundness.relations import Relations

T = ColumnType
Written = tuple[str, Any]
"""A text and its value."""

LEAP = date(2020, 2, 29)
ALIKE: dict[ColumnType, list[list[Written]]] = {
    T.INTEGER: [[("0", 0), ("-0", 0), ("(-(-0))", 0)], [("1", 1), ("(-(-1))", 1)], [("7", 7)]],
    T.DOUBLE: [
        [("0.0", 0.0), ("-0.0", -0.0), ("0.00", 0.0), ("0e0", 0.0)],
        [("1.0", 1.0), ("1e0", 1.0), ("1.00", 1.0)],
        [("0.5", 0.5)],
    ],
    T.TEXT: [
        [("'a'", "a"), ("'a'::VARCHAR", "a"), ("CAST('a' AS TEXT)", "a")],
        [("''", ""), ("''::VARCHAR", "")],
        [("'gold'", "gold"), ("('gold')", "gold")],
        [("'A'", "A")],
    ],
    T.DATE: [
        [("'2020-02-29'::DATE", LEAP), ("TO_DATE('2020-02-29')", LEAP), ("DATE '2020-02-29'", LEAP)],
        [("'1969-12-31'::DATE", date(1969, 12, 31)), ("DATE '1969-12-31'", date(1969, 12, 31))],
    ],
    T.BOOLEAN: [[("TRUE", True), ("(NOT FALSE)", True), ("(1 = 1)", True)], [("FALSE", False), ("(1 = 2)", False)]],
}
"""Type -> values, each in several texts."""
LISTED = (T.INTEGER, T.TEXT)
"""Types of which the values of a CASE are known beforehand."""


def _drawn(rng: random.Random, kind: ColumnType, number: int) -> list[Written]:
    """Return so many values in a text each: few values, so that one comes in several."""
    often, other = rng.choice(ALIKE[kind]), rng.choice(ALIKE[kind])
    return [rng.choice(often if rng.random() < 0.7 else other) for _ in range(number)]


def spelled(rng: random.Random, expressions: Expressions, scope: list[Expression]) -> Expression:
    """Return an expression that chooses among values, one of them in several texts."""
    kind = rng.choice([T.INTEGER, T.INTEGER, T.TEXT, T.TEXT, T.DOUBLE, T.DATE, T.BOOLEAN])
    make = rng.choice([_chosen, _chosen, _decoded, _filled])
    return replace(make(rng, expressions, scope, kind), spelled=True)


def _chosen(rng: random.Random, expressions: Expressions, scope: list[Expression], kind: ColumnType) -> Expression:
    """CASE WHEN … THEN 0 WHEN … THEN -0 …, with or without ELSE; or IFF."""
    conditions = [expressions.expression(T.BOOLEAN, scope, 1) for _ in range(rng.randint(1, 3))]
    results = _drawn(rng, kind, len(conditions) + 1)
    without_else = rng.random() < 0.3
    if len(conditions) == 1 and not without_else:
        text = f"IFF({conditions[0].sql}, {results[0][0]}, {results[1][0]})"
    else:
        whens = zip(conditions, results, strict=False)
        text = f"(CASE {' '.join(f'WHEN {c.sql} THEN {r[0]}' for c, r in whens)}"
        text += " END)" if without_else else f" ELSE {results[-1][0]} END)"
    last = None if without_else else results[-1][1]

    def do(*held: Any) -> Any:
        return next((r[1] for h, r in zip(held, results, strict=False) if h is True), last)

    values = [*(r[1] for r in results[:-1]), last]
    return _known(combined(text, kind, do, *conditions), values)


def _decoded(rng: random.Random, expressions: Expressions, scope: list[Expression], kind: ColumnType) -> Expression:
    """DECODE(x, 1, 0, 2, -0, …)."""
    of = rng.choice([T.INTEGER, T.TEXT])
    x = expressions.expression(of, scope, 1)
    asked, results = _drawn(rng, of, 2), _drawn(rng, kind, 3)
    pairs = ", ".join(f"{a[0]}, {r[0]}" for a, r in zip(asked, results, strict=False))

    def do(value: Any) -> Any:
        return next((r[1] for a, r in zip(asked, results, strict=False) if value == a[1]), results[-1][1])

    return _known(combined(f"DECODE({x.sql}, {pairs}, {results[-1][0]})", kind, do, x), [r[1] for r in results])


def _filled(rng: random.Random, expressions: Expressions, scope: list[Expression], kind: ColumnType) -> Expression:
    """COALESCE(x, 0), where x may be a column of declared values that has 0 among them."""
    columns = [c for c in scope if c.type is kind and not c.entity]
    listed = [c for c in columns if c.values is not None]
    if not columns:
        return _chosen(rng, expressions, scope, kind)
    x = rng.choice(listed if listed and rng.random() < 0.7 else columns)
    ((text, value),) = _drawn(rng, kind, 1)
    made = combined(f"COALESCE({x.sql}, {text})", kind, lambda a: value if a is None else a, x)
    if x.values is None:
        return replace(made, values=None)
    return _known(made, [value if v is None else v for v in (*x.values, None)])


def constant(rng: random.Random, kind: ColumnType) -> Expression:
    """Return a constant in any of its texts."""
    ((text, value),) = _drawn(rng, kind, 1)
    return combined(text, kind, lambda: value)


def _known(made: Expression, values: list[Any]) -> Expression:
    """Return the expression with what it can be, each value once."""
    if made.constant:
        return made
    if made.type not in LISTED:  # of booleans the compiler may know which of them
        return replace(made, values=None)
    return replace(made, values=tuple({mean.standard(v): v for v in values}.values()))


def rows_in_the_text(r: Relations, *, protected: bool, depth: int) -> Item:
    """Return (VALUES (0, 'a'), (-0, 'a'), …): public rows, many of them alike."""
    if protected:
        return r.projection(protected=protected, depth=depth)
    alias, number = r.alias(), r.rng.randint(1, 5)
    kinds = [r.rng.choice(list(ALIKE)) for _ in range(r.rng.randint(1, 3))]
    cells = [_drawn(r.rng, kind, number) for kind in kinds]
    for column in cells:
        for place in range(1, number):  # a column without any value has no type
            if r.rng.random() < 0.15:
                column[place] = ("NULL", None)
    rows = [{f"{alias}.v{i}": column[place][1] for i, column in enumerate(cells)} for place in range(number)]
    texts = [f"({', '.join(column[place][0] for column in cells)})" for place in range(number)]
    names = [f"v{i}" for i in range(len(kinds))]
    public = Public(tag=(alias,), rows=lambda _: rows)

    def of(key: str) -> Callable[[Row], Any]:
        return lambda row: row[key]

    columns = [
        Expression(
            sql=f"{alias}.{name}",
            type=kind,
            of=of(f"{alias}.{name}"),
            of_public=of(f"{alias}.{name}"),
            public=public,
            spelled=True,  # also a boolean can be what is written and nothing else
        )
        for name, kind in zip(names, kinds, strict=True)
    ]
    return Item(
        sql=f"(VALUES {', '.join(texts)}) AS {alias}({', '.join(names)})",
        alias=alias,
        columns=tuple(columns),
        rows=lambda _: [(None, dict(row)) for row in rows],
    )
