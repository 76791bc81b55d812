"""Window functions: numbers and neighbours of a row among the rows of its partition. Pure.

Over protected rows the partition must say whose its rows are; the entity is added to it, so a window sees rows of one
entity alone. Over public and noisy rows any partition will do. Nothing depends on the order in which the engine finds
rows: where ties could matter, they are broken by every column that the SELECT names, and rows that agree in all of
those can be exchanged without a trace in the answer, if one order alone breaks ties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.function_rules import literal_integer
from cleanroom.templates.keys import holds_entity
from cleanroom.templates.public_values import with_null
from cleanroom.templates.refusals import only, refuse, spelled, words
from cleanroom.templates.relations import World
from cleanroom.templates.scalars import NUMERIC, OPEN, Scalar, cast, combine, require, unified
from cleanroom.templates.subqueries import is_subquery
from cleanroom.templates.trees import fragment, integer, is_written_out

_LARGEST = 10**6  # of offsets, frames and numbers of tiles
_NUMBERS: dict[type[exp.Expr], str] = {
    exp.RowNumber: "ROW_NUMBER()",
    exp.Rank: "RANK()",
    exp.DenseRank: "DENSE_RANK()",
    exp.PercentRank: "PERCENT_RANK()",
    exp.CumeDist: "CUME_DIST()",
}
_SHARES = (exp.PercentRank, exp.CumeDist)
_RANKS = (exp.Rank, exp.DenseRank, exp.PercentRank, exp.CumeDist)
_VALUES = (exp.FirstValue, exp.LastValue, exp.NthValue)
_AGGREGATES = (exp.Count, exp.CountIf, exp.Sum, exp.Avg, exp.Min, exp.Max)

WINDOW_FUNCTIONS = (
    *("ROW_NUMBER", "RANK", "DENSE_RANK", "PERCENT_RANK", "CUME_DIST", "NTILE", "LAG", "LEAD"),
    *("FIRST_VALUE", "LAST_VALUE", "NTH_VALUE", "COUNT", "COUNT_IF", "SUM", "AVG", "MIN", "MAX"),
)
"""What may stand before OVER."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """The rows over which the windows of one SELECT are.

    Attributes:
        world: of the rows.
        entity: of a row, where Owned.
        ties: what tells two rows apart, as far as the answer can show.
        alike: whether rows may be alike, so that one order alone may break ties.
        orders: partitions and orders in which ties were broken so far.
    """

    world: World
    entity: exp.Expr | None
    ties: tuple[exp.Expr, ...]
    alike: bool = False
    orders: set[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=set)


class WindowScope:
    """Names where windows may stand: the SELECT list, QUALIFY and ORDER BY; inside a window they may not."""

    def __init__(self, inner: Scope, windows: Windows) -> None:
        """Take the names without windows, and the rows."""
        self._inner = inner
        self._windows = windows

    def whole(self, node: exp.Expr) -> Scalar | None:
        """Return the value of a window function."""
        if isinstance(node, exp.Window):
            return _window(node, self._inner, self._windows)
        return self._inner.whole(node)

    def column(self, node: exp.Column) -> Scalar:
        """Return the column that the node names."""
        return self._inner.column(node)


def has_window(node: exp.Expr) -> bool:
    """Return whether a window function stands in an expression, outside of subqueries."""
    return any(isinstance(part, exp.Window) for part in node.walk(prune=is_subquery))


def inside_window(node: exp.Window) -> Iterator[exp.Expr]:
    """Give the operands of a window function, its partition and its order: all but the function itself."""
    function = node.this
    while isinstance(function, exp.IgnoreNulls | exp.RespectNulls | exp.Filter):
        function = function.this
    yield from function.iter_expressions()
    yield from node.args.get("partition_by") or ()
    order = node.args.get("order")
    yield from (entry.this for entry in (order.expressions if order is not None else ()))


def tie_breakers(parts: list[exp.Expr], columns: Callable[[exp.Column], list[Scalar]]) -> tuple[exp.Expr, ...]:
    """Return every column that the parts of a SELECT name, each once: rows that agree in them all are alike.

    Those that a subquery names count, too: what it gives for a row may hang on them.

    Args:
        parts: of the SELECT.
        columns: those of its rows that a name can mean.
    """
    found: dict[str, exp.Expr] = {}
    for part in parts:
        for node in part.find_all(exp.Column, bfs=False):
            for scalar in columns(node):
                if not scalar.constant:
                    found.setdefault(scalar.sql.sql(), scalar.sql)
    return tuple(found.values())


def most_rows(condition: exp.Expr, scope: Scope) -> int | None:
    """Return n where a condition says that a row's number among its entity's rows is 1, at most n, or below n + 1."""
    if not isinstance(condition, exp.EQ | exp.LTE | exp.LT):
        return None
    plain = isinstance(condition.this.unnest(), exp.Column | exp.Window)
    if not plain or not isinstance(condition.expression.unnest(), exp.Literal):
        return None
    number, bound = translate(condition.this, scope), translate(condition.expression, scope).literal
    if not number.numbered or not isinstance(bound, int):
        return None
    if isinstance(condition, exp.EQ):
        return 1
    return max(bound if isinstance(condition, exp.LTE) else bound - 1, 1)


def _window(node: exp.Window, scope: Scope, windows: Windows) -> Scalar:
    only(node, {"this", "partition_by", "order", "spec", "over"})
    partition = [translate(p, scope) for p in node.args.get("partition_by") or ()]
    order = node.args.get("order")
    ordered = [_ordered(entry, scope) for entry in (order.expressions if order is not None else ())]
    by = [p.sql.copy() for p in partition if not is_written_out(p.sql)]
    alone = all(p.entity for p in partition)
    if windows.world is World.OWNED:
        if windows.entity is None or not holds_entity(partition):
            refuse(
                "a window over protected rows must be partitioned by the entity, or a row would depend on others'",
                rule="window_over_entities",
                cure="add PARTITION BY <entity column>, or put the window above the aggregation",
                at=node,
            )
        by.append(windows.entity.copy())
    function = node.this
    spec = node.args.get("spec")
    if isinstance(function, exp.Rank | exp.DenseRank | exp.PercentRank | exp.CumeDist) and not ordered:
        refuse(f"{spelled(function)} needs ORDER BY", rule="window", cure="add ORDER BY to the window", at=node)
    if spec is not None and not isinstance(function, (*_VALUES, *_AGGREGATES)):
        refuse(f"{spelled(function)} has no frame", rule="window", cure="leave ROWS or RANGE out", at=node)
    frame = _frame(spec, at=node) if spec is not None else None
    if isinstance(function, _VALUES) and (frame is None or frame.args["kind"] != "ROWS"):
        refuse(
            f"{spelled(function)} needs a frame of rows, since the row that it takes could be one of several",
            rule="window",
            cure="add ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
            at=node,
        )
    rows = frame is not None and frame.args["kind"] == "ROWS"
    if not isinstance(function, _RANKS) and (rows or not isinstance(function, _AGGREGATES)):
        listed = {entry.this.sql() for entry in ordered}
        ordered += [exp.Ordered(this=t.copy(), nulls_first=False) for t in windows.ties if t.sql() not in listed]
        windows.orders.add((tuple(b.sql() for b in by), tuple(o.sql() for o in ordered)))
        if windows.alike and len(windows.orders) > 1:
            # Rows that are alike may be numbered otherwise by each, and which numbers meet would hang on the engine's
            # order of all rows, so on those of other entities.
            refuse(
                "two windows of one SELECT sort its rows differently: rows that are alike would be numbered by chance",
                rule="window_ties",
                cure="put one of the two into a subquery or CTE, and select it beside the other",
                at=node,
            )

    def over(call: exp.Expr) -> exp.Expr:
        return exp.Window(
            this=call,
            partition_by=[b.copy() for b in by],
            order=exp.Order(expressions=[o.copy() for o in ordered]) if ordered else None,
            spec=frame.copy() if frame is not None else None,
        )

    value = _value(function, scope, over, exact_sums=windows.world is not World.RELEASED)
    numbered = isinstance(function, exp.RowNumber) and alone and windows.world is World.OWNED
    size = 1 + value.size + sum(p.size for p in partition)
    noisy = windows.world is World.RELEASED
    return replace(
        value, drawn=None, constant=False, literal=None, numbered=numbered, size=size, noisy=noisy, whole=True
    )


def _ordered(entry: exp.Ordered, scope: Scope) -> exp.Ordered:
    only(entry, {"this", "desc", "nulls_first"})
    return exp.Ordered(
        this=translate(entry.this, scope).sql.copy(),
        desc=bool(entry.args.get("desc")),
        nulls_first=bool(entry.args.get("nulls_first")),
    )


def _frame(spec: exp.Expr, *, at: exp.Expr) -> exp.WindowSpec:
    """Return ROWS between two literal distances, or RANGE between ends and the row: what cannot fail on any value."""
    only(spec, {"kind", "start", "start_side", "end", "end_side"})
    kind = str(spec.args.get("kind") or "").upper()
    start, before = _edge(spec.args.get("start"), spec.args.get("start_side"), kind=kind, at=at)
    end, after = _edge(spec.args.get("end") or "CURRENT ROW", spec.args.get("end_side"), kind=kind, at=at)
    if kind not in ("ROWS", "RANGE") or start == _LARGEST + 1 or end == -_LARGEST - 1 or start > end:
        refuse(
            "this frame is not supported",
            rule="window",
            cure="write ROWS BETWEEN n PRECEDING AND CURRENT ROW, with whole numbers",
            at=at,
        )
    return exp.WindowSpec(kind=kind, **before("start"), **after("end"))


def _edge(edge: object, side: object, *, kind: str, at: exp.Expr) -> tuple[int, Callable[[str], dict[str, object]]]:
    """Return where a frame ends, in rows after the present one, and how it is written."""
    following = str(side or "").upper() == "FOLLOWING"
    if edge == "CURRENT ROW":
        return 0, lambda name: {name: "CURRENT ROW", f"{name}_side": None}
    word = "FOLLOWING" if following else "PRECEDING"
    if edge == "UNBOUNDED":
        distance = _LARGEST + 1
        return (distance if following else -distance), lambda name: {name: "UNBOUNDED", f"{name}_side": word}
    text = str(edge.this) if isinstance(edge, exp.Literal) and not edge.is_string else ""
    if kind != "ROWS" or not text.isdigit() or int(text) > _LARGEST:
        refuse(
            "a frame has other ends than whole numbers of rows",
            rule="window",
            cure="write ROWS BETWEEN n PRECEDING AND CURRENT ROW, with whole numbers",
            at=at,
        )
    rows = int(text)
    return (rows if following else -rows), lambda name: {name: integer(rows), f"{name}_side": word}


def _value(node: exp.Expr, scope: Scope, over: Callable[[exp.Expr], exp.Expr], *, exact_sums: bool) -> Scalar:
    """Return a window function's value; it cannot fail, whatever the rows hold."""
    if type(node) in _NUMBERS:
        only(node, ())
        kind = ColumnType.DOUBLE if isinstance(node, _SHARES) else ColumnType.INTEGER
        return Scalar(sql=over(fragment(_NUMBERS[type(node)])), type=kind, nullable=False)
    if isinstance(node, exp.Ntile):
        only(node, {"this"})
        tiles = literal_integer(node.this, lambda n: translate(n, scope), least=1, most=_LARGEST, what="NTILE")
        return Scalar(sql=over(fragment("NTILE(:n)", n=integer(tiles))), type=ColumnType.INTEGER, nullable=False)
    if isinstance(node, exp.Lag | exp.Lead):
        return _neighbour(node, scope, over)
    if isinstance(node, _VALUES):
        only(node, {"this", "offset"})
        value = translate(node.this, scope)
        word = spelled(node)
        if isinstance(node, exp.NthValue):
            place = literal_integer(
                node.args.get("offset"), lambda n: translate(n, scope), least=1, most=_LARGEST, what=word
            )
            return _kept(over(fragment("NTH_VALUE(:a, :n)", a=value.sql, n=integer(place))), value)
        return _kept(over(fragment(f"{word}(:a)", a=value.sql)), value)
    if isinstance(node, exp.Count):
        only(node, {"this", "big_int"})
        if isinstance(node.this, exp.Star):
            only(node.this, ())
            return Scalar(sql=over(fragment("COUNT(*)")), type=ColumnType.INTEGER, nullable=False)
        if not isinstance(node.this, exp.Distinct):
            counted = translate(node.this, scope)
            return Scalar(sql=over(fragment("COUNT(:a)", a=counted.sql)), type=ColumnType.INTEGER, nullable=False)
    if isinstance(node, exp.CountIf):
        only(node, {"this", "zero_on_all_null"})
        held = require(translate(node.this, scope), frozenset({ColumnType.BOOLEAN}), what="COUNT_IF", at=node)
        tree = over(fragment("COUNT(CASE WHEN :a THEN 1 END)", a=held.sql))
        return Scalar(sql=tree, type=ColumnType.INTEGER, nullable=False)
    if isinstance(node, exp.Min | exp.Max):
        only(node, {"this"})
        value = translate(node.this, scope)
        return _kept(over(fragment(f"{words(type(node))}(:a)", a=value.sql)), value)
    if isinstance(node, exp.Sum | exp.Avg):
        only(node, {"this"})
        return _sum(node, scope, over, exact_sums=exact_sums)
    refuse(
        f"{spelled(node)} is not supported as a window function",
        rule="window",
        cure=f"use {', '.join(WINDOW_FUNCTIONS)}",
        at=node,
    )


def _neighbour(node: exp.Expr, scope: Scope, over: Callable[[exp.Expr], exp.Expr]) -> Scalar:
    """Return LAG or LEAD; without a row so far away, the literal default, or NULL."""
    only(node, {"this", "offset", "default"})
    value = translate(node.this, scope)
    word = words(type(node))
    rows = 1
    if node.args.get("offset") is not None:
        rows = literal_integer(
            node.args["offset"], lambda n: translate(n, scope), least=0, most=_LARGEST, what=f"the offset of {word}"
        )
    if node.args.get("default") is None:
        return _kept(over(fragment(f"{word}(:a, :n)", a=value.sql, n=integer(rows))), value)
    default = translate(node.args["default"], scope)
    if not default.constant:
        refuse(
            f"the default of {word} must be a literal", rule="literal_needed", cure="use COALESCE around it", at=node
        )
    kind, (a, d) = unified([value, default], at=node)
    tree = over(fragment(f"{word}(:a, :n, :d)", a=a.sql, n=integer(rows), d=d.sql))
    return replace(_kept(tree, a), type=kind, span=OPEN, values=None)


def _sum(node: exp.Expr, scope: Scope, over: Callable[[exp.Expr], exp.Expr], *, exact_sums: bool) -> Scalar:
    """Return SUM or AVG: of integers in 128 bits, of others as decimals with ten digits, as GROUP BY does."""
    word = words(type(node))
    value = require(translate(node.this, scope), NUMERIC, what=word, at=node)
    if isinstance(node, exp.Sum) and value.type is ColumnType.INTEGER:
        total = over(fragment("SUM(CAST(:a AS BIGINT))", a=value.sql))
        return Scalar(sql=fragment("TRY_CAST(:t AS BIGINT)", t=total), type=ColumnType.INTEGER)
    span = value.span if isinstance(node, exp.Avg) else OPEN
    if not exact_sums:
        tree = over(fragment(f"{word}(CAST(:a AS DOUBLE))", a=value.sql))
        return Scalar(sql=tree, type=ColumnType.DOUBLE, span=span)
    digits = fragment("TRY_CAST(:a AS DECIMAL(28, 10))", a=value.sql)
    total = fragment("CAST(:t AS DOUBLE)", t=over(fragment("SUM(CAST(:d AS DECIMAL(38, 10)))", d=digits)))
    if isinstance(node, exp.Avg):
        counted = over(fragment("COUNT(:d)", d=digits))
        total = fragment(":t / NULLIF(:n, 0)", t=total, n=counted)
    return Scalar(sql=total, type=ColumnType.DOUBLE, span=span)


def _kept(tree: exp.Expr, value: Scalar) -> Scalar:
    """Return a value of another row of the partition: as the column is, but for NULL, and no entity's name."""
    kind = ColumnType.DOUBLE if value.type is ColumnType.DECIMAL else value.type
    whole = Scalar(sql=tree, type=value.type)
    result = cast(whole, kind) if kind is not None and kind is not value.type else whole
    return replace(result, size=value.size, span=value.span, values=with_null(value.values))


def qualified(node: exp.Expr, scope: Scope) -> exp.Expr:
    """Return the condition of QUALIFY."""
    held = require(translate(node, scope), frozenset({ColumnType.BOOLEAN}), what="QUALIFY", at=node)
    return combine(":a", kind=ColumnType.BOOLEAN, a=held).sql
