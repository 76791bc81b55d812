"""What stands in FROM, as the grammar sees it: a text, the rows that it gives, and with whose each row is.

Owned rows are pairs of a row and an entity: where a row belongs to several, it is there once for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tests.soundness.expressions import Expression, Row
from tests.soundness.schemas import Rows

if TYPE_CHECKING:
    from cleanroom.rooms.tables import LinkedTable

Owned = list[tuple[Any, Row]]
"""Rows with their entity; NULL (None) also stands for the reader's own rows."""

MOST_PAIRS = 60_000
"""Of rows that a join of the reference looks at, each with each; rows that are alike come to millions in a few."""


class TooManyRowsError(Exception):
    """A database has more rows in a join or a window than the reference has time for: it is left out, and counted."""


def pairs_of(ones: Owned, others: Owned) -> tuple[Owned, Owned]:
    """Return both.

    Raises:
        TooManyRowsError: they are too many pairs.
    """
    if len(ones) * len(others) > MOST_PAIRS:
        raise TooManyRowsError
    return ones, others


@dataclass(frozen=True, kw_only=True)
class Asks:
    """A subquery in an expression.

    Attributes:
        expression: its text, and its value in a row for which `prepared` has put it in.
        protected: the protected tables that it reads.
        prepared: database -> what it gives for a row of an entity.
    """

    expression: Expression
    protected: tuple[LinkedTable, ...]
    prepared: Callable[[Rows], Callable[[Any, Row], Any]]


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something in FROM.

    Attributes:
        sql: with its alias.
        alias: unique in the query.
        columns: as expressions over a row.
        rows: what it gives.
        protected: the protected tables in it; none: it is public.
        kind: of the entities, where there are any.
        entity: the column that shows the entity; None where it is hidden, or there is none.
    """

    sql: str
    alias: str
    columns: tuple[Expression, ...]
    rows: Callable[[Rows], Owned]
    protected: tuple[LinkedTable, ...] = ()
    kind: str | None = None
    entity: Expression | None = None


@dataclass(frozen=True, kw_only=True)
class Read:
    """FROM and WHERE of one SELECT; further attributes as of `Item`.

    Attributes:
        entities: columns that show the entity.
        where: what WHERE must say beside what it says: what FROM has left to it.
        asks: subqueries that may stand in expressions over the rows.
    """

    sql: str
    scope: tuple[Expression, ...]
    rows: Callable[[Rows], Owned]
    protected: tuple[LinkedTable, ...]
    kind: str | None
    entities: tuple[Expression, ...]
    where: tuple[Expression, ...] = ()
    asks: tuple[Asks, ...] = ()

    def protected_in(self, text: str) -> tuple[LinkedTable, ...]:
        """Return the protected tables of a SELECT over these rows: also those of the subqueries that it asks."""
        asked = (t for a in self.asks if a.expression.sql in text for t in a.protected)
        return tuple({t.name: t for t in (*self.protected, *asked)}.values())


class Nullable(dict[str, Any]):
    """A row of a join: the columns of a side without a match are NULL."""

    def __missing__(self, key: str) -> None:
        return None


def optional(column: Expression) -> Expression:
    """Return a column that an outer join may replace by NULL."""
    values = column.values
    if values is not None and None not in values:
        values = (*values, None)
    public = None if column.public is None else replace(column.public, nobody=Nullable())
    return replace(column, values=values, public=public, entity=False, keys=frozenset())


def says_whose(columns: list[Expression] | tuple[Expression, ...]) -> bool:
    """Return whether the values of these columns say whose a row is: the entity, or all columns of a declared key."""
    parts = {part for c in columns for part in c.keys}
    return any(c.entity for c in columns) or any(part.whole <= parts for part in parts)
