"""Window functions: numbers and neighbours of a row among the rows of its partition. Pure.

Over protected rows the partition must say whose its rows are; the entity is added to it, so a window sees rows of one
entity alone. Over public and noisy rows any partition will do. Nothing depends on the order in which the engine finds
rows: where ties could matter, they are broken by every column that the SELECT names, and rows that agree in all of
those can be exchanged without a trace in the answer, if one order alone breaks ties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.keys import holds_entity
from cleanroom.templates.refusals import only, refuse, spelled
from cleanroom.templates.relations import World
from cleanroom.templates.scalars import Scalar, combine, require
from cleanroom.templates.subqueries import is_subquery
from cleanroom.templates.trees import integer, is_written_out, to_sql
from cleanroom.templates.window_functions import LARGEST_PLACE, ROW_OF_FRAME, window_value

_RANKS = (exp.Rank, exp.DenseRank, exp.PercentRank, exp.CumeDist)
_AGGREGATES = (exp.Count, exp.CountIf, exp.Sum, exp.Avg, exp.Min, exp.Max)

_Order = tuple[tuple[str, ...], tuple[str, ...]]
"""The texts of a partition and of its order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """The rows over which the windows of one SELECT are.

    Attributes:
        world: of the rows.
        entity: of a row, where Owned.
        ties: what tells two rows apart, as far as the answer can show.
        alike: whether rows may be alike, so that one order alone may break ties.
    """

    world: World
    entity: exp.Expr | None
    ties: tuple[exp.Expr, ...]
    alike: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sorting:
    """Which rows a window is over, and in which order.

    Attributes:
        by: its partition, with the entity where Owned.
        ordered: its ORDER BY, with what breaks ties.
        frame: or None.
        alone: the partition is the entity, and nothing else.
        breaks_ties: rows that its ORDER BY does not tell apart are put in an order, too.
        size: as that of a `Scalar`: of the partition.
    """

    by: tuple[exp.Expr, ...]
    ordered: tuple[exp.Ordered, ...]
    frame: exp.WindowSpec | None
    alone: bool
    breaks_ties: bool
    size: int

    @property
    def order(self) -> _Order:
        """Equal for two windows that put all rows in one order."""
        return tuple(to_sql(b) for b in self.by), tuple(to_sql(o) for o in self.ordered)


class WindowScope:
    """Names where windows may stand: the SELECT list, QUALIFY and ORDER BY; inside a window they may not.

    One is made for each SELECT, and sees its windows one after the other.
    """

    def __init__(self, inner: Scope, windows: Windows) -> None:
        """Take the names without windows, and the rows."""
        self._inner = inner
        self._windows = windows
        self._order: _Order | None = None

    def whole(self, node: exp.Expr) -> Scalar | None:
        """Return the value of a window function."""
        if not isinstance(node, exp.Window):
            return self._inner.whole(node)
        sorting = _sorting(node, self._inner, self._windows)
        if sorting.breaks_ties and self._windows.alike:
            self._hold_to_one_order(sorting.order, at=node)
        return _window(node, self._inner, self._windows, sorting)

    def _hold_to_one_order(self, order: _Order, *, at: exp.Expr) -> None:
        """Refuse a second order that breaks ties.

        Rows that are alike may be numbered otherwise by each, and which numbers meet would hang on the engine's order
        of all rows, so on those of other entities.
        """
        if self._order is not None and order != self._order:
            refuse(
                "two windows of one SELECT sort its rows differently: rows that are alike would be numbered by chance",
                rule="window_ties",
                cure="put one of the two into a subquery or CTE, and select it beside the other",
                at=at,
            )
        self._order = order

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
                    found.setdefault(to_sql(scalar.sql), scalar.sql)
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


def _sorting(node: exp.Window, scope: Scope, windows: Windows) -> _Sorting:
    """Return over which rows, and in which order, a window function is."""
    only(node, {"this", "partition_by", "order", "spec", "over"})
    partition = [translate(p, scope) for p in node.args.get("partition_by") or ()]
    order = node.args.get("order")
    ordered = [_ordered(entry, scope) for entry in (order.expressions if order is not None else ())]
    by = [p.sql.copy() for p in partition if not is_written_out(p.sql)]
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
    if spec is not None and not isinstance(function, (*ROW_OF_FRAME, *_AGGREGATES)):
        refuse(f"{spelled(function)} has no frame", rule="window", cure="leave ROWS or RANGE out", at=node)
    frame = _frame(spec, at=node) if spec is not None else None
    if isinstance(function, ROW_OF_FRAME) and (frame is None or frame.args["kind"] != "ROWS"):
        refuse(
            f"{spelled(function)} needs a frame of rows, since the row that it takes could be one of several",
            rule="window",
            cure="add ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
            at=node,
        )
    rows = frame is not None and frame.args["kind"] == "ROWS"
    breaks_ties = not isinstance(function, _RANKS) and (rows or not isinstance(function, _AGGREGATES))
    if breaks_ties:
        listed = {to_sql(entry.this) for entry in ordered}
        ordered += [exp.Ordered(this=t.copy(), nulls_first=False) for t in windows.ties if to_sql(t) not in listed]
    return _Sorting(
        by=tuple(by),
        ordered=tuple(ordered),
        frame=frame,
        alone=all(p.entity for p in partition),
        breaks_ties=breaks_ties,
        size=sum(p.size for p in partition),
    )


def _window(node: exp.Window, scope: Scope, windows: Windows, sorting: _Sorting) -> Scalar:
    """Return the value of a window function over the rows that `sorting` says."""
    by, ordered, frame = sorting.by, sorting.ordered, sorting.frame

    def over(call: exp.Expr) -> exp.Expr:
        return exp.Window(
            this=call,
            partition_by=[b.copy() for b in by],
            order=exp.Order(expressions=[o.copy() for o in ordered]) if ordered else None,
            spec=frame.copy() if frame is not None else None,
        )

    value = window_value(node.this, scope, over, exact_sums=windows.world is not World.RELEASED)
    numbered = isinstance(node.this, exp.RowNumber) and sorting.alone and windows.world is World.OWNED
    size = 1 + value.size + sorting.size
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
    if kind not in ("ROWS", "RANGE") or start == LARGEST_PLACE + 1 or end == -LARGEST_PLACE - 1 or start > end:
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
        distance = LARGEST_PLACE + 1
        return (distance if following else -distance), lambda name: {name: "UNBOUNDED", f"{name}_side": word}
    text = str(edge.this) if isinstance(edge, exp.Literal) and not edge.is_string else ""
    if kind != "ROWS" or not text.isdigit() or int(text) > LARGEST_PLACE:
        refuse(
            "a frame has other ends than whole numbers of rows",
            rule="window",
            cure="write ROWS BETWEEN n PRECEDING AND CURRENT ROW, with whole numbers",
            at=at,
        )
    rows = int(text)
    return (rows if following else -rows), lambda name: {name: integer(rows), f"{name}_side": word}


def qualified(node: exp.Expr, scope: Scope) -> exp.Expr:
    """Return the condition of QUALIFY."""
    held = require(translate(node, scope), frozenset({ColumnType.BOOLEAN}), what="QUALIFY", at=node)
    return combine(":a", kind=ColumnType.BOOLEAN, a=held).sql
