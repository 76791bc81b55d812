"""Aggregates that need no noise: over the rows of one entity, or public ones. One place to add such an aggregate."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from cleanroom.rooms.tables import ColumnType
from tests.soundness import meaning as mean
from tests.soundness.expressions import OPEN, Range, Row

if TYPE_CHECKING:
    from collections.abc import Callable

T = ColumnType


@dataclass(frozen=True, kw_only=True)
class Call:
    """An aggregate that needs no noise: text, and its value over the rows of one group."""

    name: str
    sql: str
    type: ColumnType
    of: Callable[[list[Row]], Any]
    range: Range = OPEN


def _rows(name: str, _: Any) -> Call:
    return Call(name=name, sql="COUNT(*)", type=T.INTEGER, of=len, range=(Fraction(0), None))


def _values(name: str, make: Any) -> Call:
    e = make(T.TEXT)
    return Call(
        name=name,
        sql=f"COUNT({e.sql})",
        type=T.INTEGER,
        range=(Fraction(0), None),
        of=lambda rows: sum(e.of(r) is not None for r in rows),
    )


def _distinct(name: str, make: Any) -> Call:
    e = make(T.DOUBLE)
    return Call(
        name=name,
        sql=f"COUNT(DISTINCT {e.sql})",
        type=T.INTEGER,
        range=(Fraction(0), None),
        of=lambda rows: len({mean.standard(e.of(r)) for r in rows} - {None}),
    )


def _whole_sum(name: str, make: Any) -> Call:
    e = make(T.INTEGER)

    def of(rows: list[Row]) -> int | None:
        values = [v for v in (e.of(r) for r in rows) if v is not None]
        return mean.whole(sum(values)) if values else None

    return Call(name=name, sql=f"SUM({e.sql})", type=T.INTEGER, of=of)


def _sum(name: str, make: Any) -> Call:
    e = make(T.DOUBLE)
    return Call(name=name, sql=f"SUM({e.sql})", type=T.DOUBLE, of=lambda rows: mean.exact_sum([e.of(r) for r in rows]))


def _average(name: str, make: Any) -> Call:
    e = make(T.DOUBLE)

    def of(rows: list[Row]) -> float | None:
        values = [e.of(r) for r in rows]
        total = mean.exact_sum(values)
        return None if total is None else total / mean.exact_count(values)

    return Call(name=name, sql=f"AVG({e.sql})", type=T.DOUBLE, of=of, range=e.range)


def _extreme(word: str, choose: Any, kind: ColumnType) -> Any:
    def make_call(name: str, make: Any) -> Call:
        e = make(kind)

        def of(rows: list[Row]) -> Any:
            values = [v for v in (e.of(r) for r in rows) if v is not None]
            return choose(*values) if values else None

        return Call(name=name, sql=f"{word}({e.sql})", type=kind, of=of, range=e.range)

    return make_call


PER_GROUP = [
    _rows,
    _values,
    _distinct,
    _whole_sum,
    _sum,
    _average,
    *(_extreme("MIN", mean.least, kind) for kind in (T.TEXT, T.DOUBLE, T.DATE)),
    *(_extreme("MAX", mean.greatest, kind) for kind in (T.INTEGER, T.DOUBLE, T.BOOLEAN)),
]
"""Aggregates over the rows of one entity, or public rows. A new one is one more entry."""

WINDOWED = [make for make in PER_GROUP if make is not _distinct]
"""Those that may stand before OVER."""
