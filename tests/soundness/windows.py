"""Window functions and QUALIFY, in plain Python: partitions of the rows of one entity, sorted by pairwise comparison.

A new function is one more entry in `FUNCTIONS`. Where rows are equal in ORDER BY, and which is first can show, the
columns that the SELECT names decide, in their order (docs/ownership.md, "Windows"): so all columns come first here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any

from cleanroom.rooms.tables import ColumnType
from tests.soundness import meaning as mean
from tests.soundness.calls import WINDOWED
from tests.soundness.expressions import OPEN, Expression, Range, Row, combined
from tests.soundness.items import Item, Nullable, Owned, Read, TooManyRowsError

if TYPE_CHECKING:
    from tests.soundness.relations import Relations
    from tests.soundness.schemas import Rows

T = ColumnType


@dataclass(frozen=True, kw_only=True)
class By:
    """One entry of ORDER BY."""

    of: Callable[[Row], Any]
    falling: bool = False
    nulls_first: bool = False

    def compare(self, a: Row, b: Row) -> int:
        x, y = self.of(a), self.of(b)
        if x is None or y is None:
            return 0 if x is y else (1 if (x is None) != self.nulls_first else -1)
        lower = -1 if mean.less(x, y) else int(mean.less(y, x))
        return -lower if self.falling else lower


@dataclass(frozen=True, kw_only=True)
class Place:
    """A row among those of its partition.

    Attributes:
        rows: of the partition, in order.
        at: the row's place among them.
        first, last: places of the first and the last row that ORDER BY says are equal to it.
        ordered: whether there is an ORDER BY.
    """

    rows: list[Row]
    at: int
    first: int
    last: int
    ordered: bool

    def frame(self, start: int | None, end: int | None) -> list[Row]:
        """Return the rows from so many after this one to so many; None: without an end."""
        begin = 0 if start is None else max(self.at + start, 0)
        stop = len(self.rows) if end is None else max(self.at + end + 1, 0)
        return self.rows[begin:stop]


@dataclass(frozen=True, kw_only=True)
class Function:
    """A window function: text before OVER, and its value. `ordered`: it needs ORDER BY. `ties`: which of equal rows
    is first can show."""

    sql: str
    type: ColumnType
    of: Callable[[Place], Any]
    ordered: bool = False
    ties: bool = True
    frame: str = ""
    range: Range = OPEN
    values: tuple[Any, ...] | None = None


FRAMES: list[tuple[str, int | None, int | None]] = [
    ("ROWS 1 PRECEDING", -1, 0),
    ("ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW", None, 0),
    ("ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING", -1, 1),
    ("ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING", 1, None),
    ("ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING", None, None),
    ("ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING", -2, -1),
]
Make = Callable[["Relations", list[Expression]], Function]


def _row_number(r: Relations, scope: list[Expression]) -> Function:
    return Function(sql="ROW_NUMBER()", type=T.INTEGER, of=lambda p: p.at + 1)


def _rank(r: Relations, scope: list[Expression]) -> Function:
    return Function(sql="RANK()", type=T.INTEGER, of=lambda p: p.first + 1, ordered=True, ties=False)


def _dense_rank(r: Relations, scope: list[Expression]) -> Function:
    return Function(sql="DENSE_RANK()", type=T.INTEGER, of=_steps_below, ordered=True, ties=False)


def _steps_below(p: Place) -> int:
    """Return the dense rank: it is worked out by `windowed`, which knows what is equal."""
    return p.rows[p.at]["dense rank"]  # type: ignore[no-any-return]


def _share(r: Relations, scope: list[Expression]) -> Function:
    if r.rng.random() < 0.5:
        return Function(
            sql="PERCENT_RANK()",
            type=T.DOUBLE,
            of=lambda p: p.first / (len(p.rows) - 1) if len(p.rows) > 1 else 0.0,
            ordered=True,
            ties=False,
        )
    return Function(sql="CUME_DIST()", type=T.DOUBLE, of=lambda p: (p.last + 1) / len(p.rows), ordered=True, ties=False)


def _tile(r: Relations, scope: list[Expression]) -> Function:
    tiles = r.rng.choice([1, 2, 3])

    def of(p: Place) -> int:
        sizes = [len(p.rows) // tiles + (i < len(p.rows) % tiles) for i in range(tiles)]
        return next(i + 1 for i in range(tiles) if p.at < sum(sizes[: i + 1]))

    return Function(sql=f"NTILE({tiles})", type=T.INTEGER, of=of)


def _neighbour(r: Relations, scope: list[Expression]) -> Function:
    kind = r.rng.choice([T.TEXT, T.INTEGER, T.DOUBLE, T.DATE, T.BOOLEAN])
    e = r.expressions.expression(kind, scope, 1)
    word, sign = r.rng.choice([("LAG", -1), ("LEAD", 1)])
    rows = r.rng.choice([0, 1, 1, 2])
    default = {T.TEXT: ("'a'", "a"), T.INTEGER: ("7", 7)}.get(kind) if r.rng.random() < 0.4 else None

    def of(p: Place) -> Any:
        there = p.at + sign * rows
        if 0 <= there < len(p.rows):
            return e.of(p.rows[there])
        return None if default is None else default[1]

    text = f"{word}({e.sql}, {rows}{'' if default is None else f', {default[0]}'})"
    span = e.range if default is None else OPEN
    return Function(sql=text, type=kind, of=of, range=span, values=_or_none(e) if default is None else None)


def _or_none(e: Expression) -> tuple[Any, ...] | None:
    """Return what a value of another row can be, where it is known of a boolean; without such a row it is NULL."""
    return None if e.type is not T.BOOLEAN or e.values is None else tuple(dict.fromkeys([*e.values, None]))


def _of_frame(r: Relations, scope: list[Expression]) -> Function:
    kind = r.rng.choice([T.TEXT, T.INTEGER, T.DOUBLE, T.DATE, T.BOOLEAN])
    e = r.expressions.expression(kind, scope, 1)
    text, start, end = r.rng.choice(FRAMES)
    word, place = r.rng.choice([("FIRST_VALUE({})", 0), ("LAST_VALUE({})", -1), ("NTH_VALUE({}, 2)", 1)])

    def of(p: Place) -> Any:
        rows = p.frame(start, end)
        return e.of(rows[place]) if len(rows) > max(place, 0) else None

    return Function(sql=word.format(e.sql), type=kind, of=of, frame=text, range=e.range, values=_or_none(e))


def _aggregate(r: Relations, scope: list[Expression]) -> Function:
    call = r.rng.choice(WINDOWED)("x", lambda kind: r.expressions.expression(kind, scope, 1))
    if r.rng.random() < 0.5:  # without a frame: all rows; with ORDER BY those up to this one and its equals
        return Function(
            sql=call.sql,
            type=call.type,
            of=lambda p: call.of(p.rows[: p.last + 1] if p.ordered else p.rows),
            ties=False,
            range=call.range,
        )
    text, start, end = r.rng.choice(FRAMES)
    return Function(
        sql=call.sql, type=call.type, of=lambda p: call.of(p.frame(start, end)), frame=text, range=call.range
    )


FUNCTIONS: list[Make] = [
    _row_number,
    _row_number,
    _rank,
    _dense_rank,
    _share,
    _tile,
    _neighbour,
    _neighbour,
    _of_frame,
    _aggregate,
    _aggregate,
]
"""Window functions. A new one is one more entry."""


MOST_ROWS = 1_000
"""Of a partition: a frame of the reference is a list of rows for each row."""


def windowed(r: Relations, *, protected: bool, depth: int) -> Item:
    """Return a SELECT with window functions, and maybe QUALIFY: over the rows of one entity, or any public ones."""
    since = len(r.ctes)
    read = r.read(protected=protected, depth=depth - 1)
    whose = r.whose(read) if protected else []
    if whose is None:
        return r.projection(protected=protected, depth=depth)
    plain = [c for c in read.scope if c.type not in (T.DECIMAL, T.TIMESTAMP) and not c.entity and c.sql[0] != "("]
    chosen = r.rng.sample(plain, min(len(plain), r.rng.randint(1, 4)))
    asked = [a.expression for a in read.asks if r.rng.random() < 0.5]
    columns = [*whose]
    columns += [(f"v{i}", c) for i, c in enumerate([*chosen, *asked]) if c.sql not in {e.sql for _, e in whose}]
    if not columns:
        return r.projection(protected=protected, depth=depth)
    scope = [e for _, e in columns if e.sql[0] != "("]
    made = [_over(r, read, whose, scope, protected=protected)]
    if r.rng.random() < (0.8 if "windowed" in r.focus else 0.5):
        made.append(_over(r, read, whose, scope, protected=protected, like=made[0] if r.rng.random() < 0.6 else None))
    shown = [*columns, *((w.name, w.column) for w in made)]
    body = f"SELECT {', '.join(f'{e.sql} AS {n}' for n, e in shown)} FROM {read.sql}"
    known = [replace(w.column, sql=w.name) for w in made]
    kept = _kept(r, known) if r.rng.random() < (0.8 if r.focus else 0.45) else None
    if kept is not None:
        body += f" QUALIFY {kept.sql}"

    def rows(database: Rows) -> Owned:
        given = [(entity, row) for entity, row in read.rows(database) if entity is not None or not protected]
        for window in made:
            given = window.put(given)
        return [(entity, row) for entity, row in given if kept is None or kept.of(row) is True]

    return r.named(body, shown, rows, read, public_rows=not protected, since=since)


_MEETING: list[tuple[str, Callable[..., Any]]] = [
    ("({} = {})", mean.strict(lambda a, b: a == b)),
    ("({} < {})", mean.strict(lambda a, b: a < b)),
    ("({} <= 2 AND {} > 1)", lambda a, b: mean.both(None if a is None else a <= 2, None if b is None else b > 1)),
]
"""Conditions of two windows."""


def _kept(r: Relations, known: list[Expression]) -> Expression:
    """Return the condition of QUALIFY."""
    numbers = [e for e in known if e.type is T.INTEGER]
    number = next(iter(numbers), None)
    # Which numbers meet in a row shows how rows that are alike are sorted.
    if len(numbers) > 1 and r.rng.random() < 0.6:
        text, do = r.rng.choice(_MEETING)
        return combined(text.format(*(n.sql for n in numbers)), T.BOOLEAN, do, *numbers)
    if number is None:
        return combined(f"({known[0].sql} IS NOT NULL)", T.BOOLEAN, lambda a: a is not None, known[0])
    word, do = r.rng.choice(
        [
            ("= 1", lambda n: n == 1),
            ("<= 2", lambda n: n <= 2),
            ("< 3", lambda n: n < 3),
            ("> 1", lambda n: n > 1),
        ]
    )
    return combined(f"{number.sql} {word}", T.BOOLEAN, mean.strict(do), number)


Put = Callable[[Owned], Owned]
Order = list[tuple[Expression, By, str]]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A window in a SELECT: its name, the column, what puts it into rows; and its partition and order as written."""

    name: str
    column: Expression
    put: Put
    by: list[Expression]
    order: Order


def _over(
    r: Relations,
    read: Read,
    whose: list[tuple[str, Expression]],
    scope: list[Expression],
    *,
    protected: bool,
    like: Column | None = None,
) -> Column:
    """Return a window; `like`: with the partition and the order of another: two orders that break ties are refused."""
    function = (_row_number if r.focus and r.rng.random() < 0.5 else r.rng.choice(FUNCTIONS))(r, scope)
    by = [e for _, e in whose]
    if r.rng.random() < (0.05 if r.focus else 0.35) or (not by and r.rng.random() < 0.5):
        by.append(r.expressions.expression(r.rng.choice([T.TEXT, T.BOOLEAN]), scope, 1))
    by = [e for e in by if not e.constant] if like is None else like.by
    order: Order = [] if like is None else like.order
    if like is None and (function.ordered or r.rng.random() < 0.7):
        for _ in range(r.rng.choice([1, 1, 2])):
            e = r.expressions.expression(r.rng.choice([T.TEXT, T.INTEGER, T.DOUBLE, T.DATE]), scope, 1)
            falling = r.rng.random() < 0.4
            nulls = r.rng.choice(["", "", " NULLS FIRST", " NULLS LAST"])
            first = nulls == " NULLS FIRST" or (falling and not nulls)
            order.append((e, By(of=e.of, falling=falling, nulls_first=first), f"{' DESC' if falling else ''}{nulls}"))
        order = [entry for entry in order if not entry[0].constant]
    if function.ordered and not order:
        order = [(scope[0], By(of=scope[0].of), "")]
    name = r.alias("w")
    over = [f"PARTITION BY {', '.join(e.sql for e in by)}"] if by else []
    anybody = protected and r.rng.random() < 0.02
    over = [] if anybody else over
    if order:
        over.append(f"ORDER BY {', '.join(f'{e.sql}{how}' for e, _, how in order)}")
    over += [function.frame] if function.frame else []
    text = f"{function.sql} OVER ({' '.join(over)})"
    if anybody:
        r.unsound.append(("a window over rows of different entities", text))
    given = [entry for _, entry, _ in order]
    ties = [By(of=e.of) for e in scope]
    sorting = [*given, *(ties if function.ties else [])]

    def put(rows: Owned) -> Owned:
        partitions: dict[Any, list[tuple[int, Row]]] = defaultdict(list)
        for place, (entity, row) in enumerate(rows):
            key = tuple(mean.standard(e.of(row)) for e in by)
            partitions[mean.standard(entity) if protected else None, key].append((place, row))
        values: dict[int, Any] = {}
        for members in partitions.values():
            if len(members) > MOST_ROWS:
                raise TooManyRowsError
            ordered = sorted(members, key=cmp_to_key(lambda a, b: _compare(sorting, a[1], b[1])))
            listed = [row for _, row in ordered]
            begins = [i for i, row in enumerate(listed) if not i or _compare(given, listed[i - 1], row)]
            ends = [*(i - 1 for i in begins[1:]), len(listed) - 1]
            alike = [
                (first, last, number)
                for number, (first, last) in enumerate(zip(begins, ends, strict=True), 1)
                for _ in range(first, last + 1)
            ]
            numbered = [Nullable({**row, "dense rank": alike[i][2]}) for i, row in enumerate(listed)]
            for at, (place, _) in enumerate(ordered):
                p = Place(rows=numbered, at=at, first=alike[at][0], last=alike[at][1], ordered=bool(given))
                values[place] = function.of(p)
        return [(entity, Nullable({**row, name: values[place]})) for place, (entity, row) in enumerate(rows)]

    column = Expression(
        sql=text,
        type=function.type,
        of=lambda row: row[name],
        range=function.range,
        values=function.values,
    )
    return Column(name=name, column=column, put=put, by=by, order=order)


def _compare(sorting: list[By], a: Row, b: Row) -> int:
    return next((found for by in sorting if (found := by.compare(a, b))), 0)
