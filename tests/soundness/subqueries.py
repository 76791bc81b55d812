"""Subqueries in expressions: IN, EXISTS and those of one value, over public rows and over rows of the same entity.

One place to add one: a function in `EXPRESSIONS`. Protected rows are seen by rows of their own entity only; what has
no such tie is noted as unsound: the query must be refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cleanroom.rooms.tables import ColumnType
from tests.soundness import meaning as mean
from tests.soundness.expressions import Expression, Row
from tests.soundness.items import Asks, Item, Nullable, Read

if TYPE_CHECKING:
    from tests.soundness.relations import Relations
    from tests.soundness.schemas import Rows

T = ColumnType
Seen = Callable[[Any, Row], list[Row]]
"""Entity and row -> the rows that the subquery has for it, with the columns of the row beside theirs."""


def _source(r: Relations, read: Read, *, depth: int) -> Item:
    """Return what the subquery reads: public, or protected rows that can be tied to those around."""
    if not read.protected or r.rng.random() < (0.05 if r.focus else 0.4):
        return r.source(protected=False, depth=depth)
    made = r.tried(lambda: r.source(protected=True, depth=depth), lambda item: bool(r.tied(read, item)), times=3)
    return made or r.source(protected=False, depth=depth)


def _where(r: Relations, read: Read, item: Item) -> tuple[str, Callable[[Rows], Seen]]:
    """Return WHERE of a correlated subquery, and what it leaves."""
    scope = [*read.scope, *item.columns]
    conditions = []
    if item.protected:
        conditions.append(r.rng.choice(r.tied(read, item)))
    if not item.protected or r.rng.random() < (0.1 if r.focus else 0.4):
        conditions.append(_about(r, read, item) or r.expressions.expression(T.BOOLEAN, scope, 1))
    r.rng.shuffle(conditions)
    return " AND ".join(c.sql for c in conditions), lambda database: _seen(item, conditions, database)


def _about(r: Relations, read: Read, item: Item) -> Expression | None:
    """Return an equality of a column inside and one around."""
    inside = r.rng.choice(item.columns)
    around = r.expressions.column(inside.type, list(read.scope))
    return None if around is None or inside.type is T.DECIMAL else r.equal(inside, around)


def _seen(item: Item, conditions: list[Expression], database: Rows) -> Seen:
    """Return the rows for which all conditions hold; of protected ones those of the entity alone."""
    rows = item.rows(database)

    def of(entity: Any, row: Row) -> list[Row]:
        beside = [
            Nullable({**row, **other})
            for whose, other in rows
            if not item.protected or (entity is not None and whose == entity)
        ]
        return [both for both in beside if all(c.of(both) is True for c in conditions)]

    return of


def _asks(text: str, kind: ColumnType, item: Item, prepared: Callable[[Rows], Callable[[Any, Row], Any]]) -> Asks:
    values = (False, True, None) if kind is T.BOOLEAN else None
    expression = Expression(sql=text, type=kind, of=lambda row: row[text], values=values)
    return Asks(expression=expression, protected=item.protected, prepared=prepared)


def exists(r: Relations, read: Read, *, depth: int) -> Asks | None:
    """Return [NOT] EXISTS (SELECT … WHERE …): whether a row of the same entity, or a public one, is such."""
    item = _source(r, read, depth=depth)
    where, seen = _where(r, read, item)
    no = r.rng.random() < 0.4
    text = f"({'NOT ' if no else ''}EXISTS (SELECT 1 FROM {item.sql} WHERE {where}))"
    if item.protected and r.rng.random() < 0.03:
        text = f"EXISTS (SELECT 1 FROM {item.sql})"
        r.unsound.append(("EXISTS over protected rows of anybody", text))

    def prepared(database: Rows) -> Callable[[Any, Row], Any]:
        of = seen(database)
        return lambda entity, row: bool(of(entity, row)) != no

    return _asks(text, T.BOOLEAN, item, prepared)


def _membership(text: str, value: Expression, listed: Expression, item: Item, seen: Any, *, no: bool) -> Asks:
    """Return x [NOT] IN (SELECT y …): NULL where nothing is equal and x or some y is NULL."""

    def prepared(database: Rows) -> Callable[[Any, Row], Any]:
        of = seen(database)

        def held(entity: Any, row: Row) -> Any:
            values = [listed.of(other) for other in of(entity, row)]
            found = mean.among(value.of(row), *values) if values else False
            return mean.strict(lambda a: not a)(found) if no else found

        return held

    return _asks(text, T.BOOLEAN, item, prepared)


def _is_in(r: Relations, no: bool) -> tuple[str, str]:
    """Return how membership is written before and after the subquery."""
    word = r.rng.choice(["NOT IN", "NOT IN", "<> ALL"] if no else ["IN", "IN", "= ANY"])
    return f" {word} (", "))"


def in_public(r: Relations, read: Read, *, depth: int) -> Asks | None:
    """Return x [NOT] IN (SELECT y …) over public rows, correlated or not."""
    item = r.source(protected=False, depth=depth)
    listed = r.rng.choice([c for c in item.columns if c.type not in (T.DECIMAL, T.TIMESTAMP)] or [None])
    if listed is None:
        return None
    value = r.expressions.expression(listed.type, list(read.scope), 1)
    no = r.rng.random() < 0.5
    before, after = _is_in(r, no)
    where, seen = "", lambda database: _seen(item, [], database)
    if r.rng.random() < 0.5:
        condition = r.expressions.expression(T.BOOLEAN, list(item.columns), 1)
        if r.rng.random() < 0.5:
            condition = _about(r, read, item) or condition
        where, seen = f" WHERE {condition.sql}", lambda database: _seen(item, [condition], database)
    text = f"({value.sql}{before}SELECT {listed.sql} FROM {item.sql}{where}{after}"
    return _membership(text, value, listed, item, seen, no=no)


def in_owned(r: Relations, read: Read, *, depth: int) -> Asks | None:
    """Return entity [NOT] IN (SELECT entity …): whether an entity has such rows. Rows of nobody are not in the list."""
    if not read.entities:
        return in_public(r, read, depth=depth)
    shown = r.tried(
        lambda: r.source(protected=True, depth=depth),
        lambda item: item.entity is not None and item.kind == read.kind,
    )
    if shown is None or shown.entity is None:
        return None
    item, listed = shown, shown.entity
    value = r.rng.choice(read.entities)
    no = r.rng.random() < 0.5
    before, after = _is_in(r, no)
    conditions, where = [], ""
    if r.rng.random() < 0.5:
        conditions = [r.expressions.expression(T.BOOLEAN, list(item.columns), 1)]
        where = f" WHERE {conditions[0].sql}"
    others = [c for c in item.columns if c.type is value.type and not c.entity]
    a_table = "." in item.sql.split(" ")[0]  # in a subquery, another column could be the entity all the same
    another = bool(others) and a_table and r.rng.random() < 0.1
    listed = r.rng.choice(others) if another else listed
    text = f"({value.sql}{before}SELECT {listed.sql} FROM {item.sql}{where}{after}"
    if another:
        r.unsound.append(("IN asks for another column than the entity", text))

    def seen(database: Rows) -> Seen:
        rows = [(whose, other) for whose, other in item.rows(database) if whose is not None]
        kept = [other for _, other in rows if all(c.of(other) is True for c in conditions)]
        return lambda entity, row: kept

    return _membership(text, value, listed, item, seen, no=no)


def in_of_same(r: Relations, read: Read, *, depth: int) -> Asks | None:
    """Return x [NOT] IN (SELECT y …) over rows of the same entity, or public ones that have to do with the row."""
    item = _source(r, read, depth=depth)
    listed = r.rng.choice([c for c in item.columns if c.type not in (T.DECIMAL, T.TIMESTAMP)] or [None])
    if listed is None:
        return None
    value = r.expressions.expression(listed.type, list(read.scope), 1)
    where, seen = _where(r, read, item)
    no = r.rng.random() < 0.4
    before, after = _is_in(r, no)
    text = f"({value.sql}{before}SELECT {listed.sql} FROM {item.sql} WHERE {where}{after}"
    return _membership(text, value, listed, item, seen, no=no)


def one_value(r: Relations, read: Read, *, depth: int) -> Asks | None:
    """Return (SELECT aggregate …): over rows of the same entity, or public ones, correlated or not."""
    item = _source(r, read, depth=depth)
    call = r.per_group("x", list(item.columns))
    where, seen = _where(r, read, item)
    if not item.protected and r.rng.random() < 0.4:
        where, seen = "", lambda database: _seen(item, [], database)
    anybody = item.protected and r.rng.random() < 0.03
    where = "" if anybody else where
    text = f"(SELECT {call.sql} FROM {item.sql}{f' WHERE {where}' if where else ''})"
    if anybody:
        r.unsound.append(("an aggregate of protected rows of anybody, for each row", text))

    def prepared(database: Rows) -> Callable[[Any, Row], Any]:
        of = seen(database)
        return lambda entity, row: call.of(of(entity, row))

    made = _asks(text, call.type, item, prepared)
    return replace(made, expression=replace(made.expression, range=call.range))


EXPRESSIONS: list[Callable[..., Asks | None]] = [exists, exists, in_public, in_owned, in_of_same, one_value]
"""Subqueries in expressions. A new one is one more entry."""
