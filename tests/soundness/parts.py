"""What is measured per group, and an aggregate as its text, its parts, and its value from those."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.soundness.expressions import Expression, Expressions, Range
    from tests.soundness.schemas import Schema


@dataclass(frozen=True, kw_only=True)
class Part:
    """One number to be measured per group; of `bins` one for each bin.

    Attributes:
        kind: `rows`; `values` of x; `entities`, with x those that have a row where it is not NULL; `sum` of x, or
            `centred sum` around the middle of its range; `squares` of x around the middle; `product` of x and y around
            their middles; `distinct` values of x; `bins`: values of x in each bin of its range.
        x, y: see there; a product is NULL where one of them is.
        finer: where noise is drawn for several columns together: whole steps in one of the grid, or in one counted row.
    """

    kind: str
    x: Expression | None = None
    y: Expression | None = None
    finer: int | None = None

    @property
    def name(self) -> str:
        return " ".join([self.kind, *(e.sql for e in (self.x, self.y) if e is not None)])

    @property
    def ranges(self) -> tuple[Range | None, Range | None]:
        """The ranges of x and y."""
        return self.x and self.x.range, self.y and self.y.range


SUMS = ("sum", "centred sum", "squares", "product")
"""Kinds that are sums of steps on a grid."""

Numbers = dict[str, Any]
"""Part's name -> its number in one group, as released without noise; of bins the `Histogram`."""


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """One output over groups.

    Attributes:
        sql: text.
        parts: what is measured for it.
        of: its value from the numbers of these.
        pool: aggregates of one pool share their parts; each call of addnoise is a pool.
        gaussian: which noise; None: as the settings say.
        constructs: what it shows of the grammar, for counting.
        number: whether it can be computed with; a date cannot.
    """

    sql: str
    parts: tuple[Part, ...]
    of: Callable[[Numbers], Any]
    pool: str = ""
    gaussian: bool | None = None
    constructs: tuple[str, ...] = ()
    number: bool = True


class Asking(Protocol):
    """Whoever asks: its random choices, its tables, and its expressions."""

    rng: random.Random
    schema: Schema
    expressions: Expressions

    def aggregate(self, scope: list[Expression]) -> Aggregate:
        """Return something to measure, a number without noise of its own."""
        ...


def kept(x: Expression, where: Expression | None) -> Expression:
    """Return what FILTER leaves of an argument: NULL in all other rows."""
    if where is None:
        return x
    return replace(
        x,
        sql=f"{x.sql} if {where.sql}",
        of=lambda row: x.of(row) if where.of(row) is True else None,
        column=False,
        entity=False,
    )


def filtered(where: Expression | None) -> str:
    """Return the clause behind an aggregate."""
    return "" if where is None else f" FILTER (WHERE {where.sql})"
