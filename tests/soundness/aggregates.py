"""What is measured per group: each aggregate is a text, the parts that are measured for it, and its value from those.

One place to add an aggregate: a function that returns an `Aggregate`, and an entry of `AGGREGATES`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from cleanroom.rooms.tables import ColumnType
from tests.soundness import meaning as mean

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.soundness.expressions import Expression, Expressions

T = ColumnType


class Asking(Protocol):
    """Whoever asks: its random choices, and its expressions."""

    rng: random.Random
    expressions: Expressions

    def aggregate(self, scope: list[Expression]) -> Aggregate:
        """Return something to measure, without noise of its own."""
        ...


@dataclass(frozen=True, kw_only=True)
class Part:
    """One number to be measured per group: rows, values of `x`, entities, or the sum of `x`."""

    kind: str
    x: Expression | None = None

    @property
    def name(self) -> str:
        return f"{self.kind} {self.x.sql}" if self.x is not None else self.kind


Numbers = dict[str, Any]
"""Part's name -> its number in one group, as released without noise."""


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """One output over groups.

    Attributes:
        sql: text.
        parts: what is measured for it.
        of: its value from the numbers of these.
        pool: aggregates of one pool share their parts; each call of addnoise is a pool.
        gaussian: which noise; None: as the settings say.
    """

    sql: str
    parts: tuple[Part, ...]
    of: Callable[[Numbers], Any]
    pool: str = ""
    gaussian: bool | None = None


def _rows(_: Asking, __: list[Expression]) -> Aggregate:
    part = Part(kind="rows")
    return Aggregate(sql="COUNT(*)", parts=(part,), of=lambda n: n[part.name])


def _values(q: Asking, scope: list[Expression]) -> Aggregate:
    x = q.expressions.expression(q.rng.choice([T.TEXT, T.DOUBLE, T.INTEGER, T.BOOLEAN, T.DATE]), scope)
    part = Part(kind="values", x=x)
    return Aggregate(sql=f"COUNT({x.sql})", parts=(part,), of=lambda n: n[part.name])


def _count_if(q: Asking, scope: list[Expression]) -> Aggregate:
    x = q.expressions.expression(T.BOOLEAN, scope)
    part = Part(kind="values", x=replace(x, sql=f"if {x.sql}", of=lambda row: True if x.of(row) is True else None))
    return Aggregate(sql=f"COUNT_IF({x.sql})", parts=(part,), of=lambda n: n[part.name])


def _entities(q: Asking, scope: list[Expression]) -> Aggregate:
    shown = [c for c in scope if c.entity]
    if not shown:
        return _rows(q, scope)
    part = Part(kind="entities")
    return Aggregate(sql=f"COUNT(DISTINCT {q.rng.choice(shown).sql})", parts=(part,), of=lambda n: n[part.name])


def _sum(q: Asking, scope: list[Expression]) -> Aggregate:
    part = Part(kind="sum", x=q.expressions.summed(scope))
    return Aggregate(sql=f"SUM({part.x.sql})", parts=(part,), of=lambda n: n[part.name])  # type: ignore[union-attr]


def _average(q: Asking, scope: list[Expression]) -> Aggregate:
    x = q.expressions.summed(scope)
    total, count = Part(kind="centred sum", x=x), Part(kind="values", x=x)

    def of(n: Numbers) -> float | None:
        if n[count.name] <= 0:
            return None
        lo, hi, middle = n[f"ends {x.sql}"]
        return min(max(middle + n[total.name] / n[count.name], lo), hi)

    return Aggregate(sql=f"AVG({x.sql})", parts=(total, count), of=of)


def _mean(q: Asking, scope: list[Expression]) -> Aggregate:
    """SUM(x) / COUNT(x): both measured, so that the sum is taken around the middle."""
    x = q.expressions.summed(scope)
    total, count = Part(kind="sum", x=x), Part(kind="values", x=x)
    return Aggregate(
        sql=f"SUM({x.sql}) / COUNT({x.sql})",
        parts=(total, count),
        of=lambda n: None if n[count.name] == 0 else n[total.name] / n[count.name],
    )


def _added(q: Asking, scope: list[Expression]) -> Aggregate:
    a, b = q.aggregate(scope), q.aggregate(scope)
    return Aggregate(
        sql=f"({a.sql} + 2 * {b.sql})",
        parts=(*a.parts, *b.parts),
        of=lambda n: mean.strict(lambda x, y: x + 2 * y)(a.of(n), b.of(n)),
    )


def _with_noise_of_its_own(q: Asking, scope: list[Expression]) -> Aggregate:
    a = q.rng.choice(AGGREGATES[:-1])(q, scope)
    gaussian = q.rng.choice([True, False])
    sql = f"cleanroom.addnoise({a.sql}, {q.rng.choice(['0.5', '2'])}, 0.5, {str(gaussian).upper()})"
    return replace(a, sql=sql, pool=sql, gaussian=gaussian)


AGGREGATES: list[Callable[[Asking, list[Expression]], Aggregate]] = [
    _rows,
    _values,
    _count_if,
    _entities,
    _sum,
    _sum,
    _average,
    _mean,
    _added,
    _with_noise_of_its_own,
]
"""What is measured. A new aggregate of the compiler is one more entry."""
