"""UNION ALL and UNION: the rows of two or three SELECTs of one world, one below the other. INTERSECT and EXCEPT: those
of one that are, or are not, in another, which may be public.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cleanroom.rooms.tables import ColumnType
from tests.soundness import meaning as mean
from tests.soundness.expressions import Expression, hull
from tests.soundness.items import Item, Owned, Read
from tests.soundness.spellings import constant

if TYPE_CHECKING:
    from tests.soundness.relations import Relations
    from tests.soundness.schemas import Rows

T = ColumnType


def union(r: Relations, *, protected: bool, depth: int) -> Item:
    """Return UNION ALL; or UNION, which over protected rows needs the entity among its columns."""
    since = len(r.ctes)
    first = r.read(protected=protected, depth=depth - 1)
    reads = [first]
    for _ in range(r.rng.choice([1, 1, 2])):
        more = r.tried(
            lambda: r.read(protected=protected, depth=depth - 1, kind=first.kind), lambda read: read.kind == first.kind
        )
        if more is not None:
            reads.append(more)
    shown = all(read.entities for read in reads) and r.rng.random() < 0.8
    distinct = (shown or not protected) and r.rng.random() < 0.3
    kinds = [r.rng.choice([T.TEXT, T.INTEGER, T.BOOLEAN, T.DATE]) for _ in range(r.rng.randint(1, 3))]
    if not distinct and r.rng.random() < 0.5:
        kinds[0] = T.DOUBLE
    alike = r.rng.random() < 0.12
    parts = [_columns(r, read, kinds, shown=shown, alike=alike) for read in reads]
    word = " UNION " if distinct else " UNION ALL "
    why = ""
    if protected and r.rng.random() < 0.03:
        why, word = _unsound(r, reads, parts, kinds, shown=shown) or (why, word)
    texts = [
        f"SELECT {', '.join(f'{e.sql} AS {name}' for name, e in columns)} FROM {read.sql}"
        for read, columns in zip(reads, parts, strict=True)
    ]
    if why:
        r.unsound.append((why, word.join(texts)))
    names = [name for name, _ in parts[0]]

    def rows(database: Rows) -> Owned:
        found: Owned = []
        for read, columns in zip(reads, parts, strict=True):
            for entity, row in read.rows(database):
                if protected and entity is None and distinct:
                    continue
                found.append((entity, {f"part.{name}": e.of(row) for name, e in columns}))
        if not distinct:
            return found
        once: dict[Any, Any] = {}
        for entity, row in found:
            once.setdefault((mean.standard(entity), *(mean.standard(v) for v in row.values())), (entity, row))
        return list(once.values())

    columns = [(name, _united(name, [columns[i][1] for columns in parts])) for i, name in enumerate(names)]
    tables = {t.name: t for read, text in zip(reads, texts, strict=True) for t in read.protected_in(text)}
    whole = replace(first, protected=tuple(tables.values()), asks=())
    return r.named(word.join(texts), columns, rows, whole, public_rows=not protected, since=since)


def kept(r: Relations, *, protected: bool, depth: int) -> Item:
    """Return INTERSECT or EXCEPT, also ALL: of protected rows with the entity, which public rows may name as well."""
    since = len(r.ctes)
    first = r.read(protected=protected, depth=depth - 1)
    second = r.tried(
        lambda: _other(r, first, depth=depth - 1),
        lambda made: made[1] is not None or not protected,
    )
    if second is None or (protected and not first.entities):
        return r.projection(protected=protected, depth=depth)
    read, shown = second
    kinds = [r.rng.choice([T.TEXT, T.INTEGER, T.BOOLEAN, T.DATE]) for _ in range(r.rng.choice([1, 1, 2]))]
    parts = [_columns(r, first, kinds, shown=protected), _columns(r, read, kinds, shown=False)]
    if shown is not None:
        parts[1].insert(0, ("person", shown))
    word, all_of_them = r.rng.choice(["INTERSECT", "EXCEPT"]), r.rng.random() < 0.3
    texts = [
        f"SELECT {', '.join(f'{e.sql} AS {name}' for name, e in columns)} FROM {one.sql}"
        for one, columns in zip((first, read), parts, strict=True)
    ]

    def rows(database: Rows) -> Owned:
        there = Counter(_known(row, parts[1]) for _, row in read.rows(database))
        found: Owned = []
        met: Counter[Any] = Counter()
        for entity, row in first.rows(database):
            known = _known(row, parts[0])
            met[known] += 1
            among = met[known] <= there[known] if all_of_them else there[known] > 0
            once = all_of_them or met[known] == 1
            if once and among == (word == "INTERSECT"):
                found.append((entity, {f"part.{name}": e.of(row) for name, e in parts[0]}))
        return found

    columns = [(name, _united(name, [e, parts[1][i][1]])) for i, (name, e) in enumerate(parts[0])]
    if protected:
        columns[0] = (columns[0][0], replace(columns[0][1], entity=True))
    tables = {t.name: t for one, text in zip((first, read), texts, strict=True) for t in one.protected_in(text)}
    whole = replace(first, protected=tuple(tables.values()), asks=())
    between = f" {word}{' ALL' if all_of_them else ''} "
    return r.named(between.join(texts), columns, rows, whole, public_rows=not protected, since=since)


def _known(row: Any, columns: list[tuple[str, Expression]]) -> tuple[Any, ...]:
    """Return a row as it is compared: NULL is equal to NULL."""
    return tuple(mean.standard(e.of(row)) for _, e in columns)


def _other(r: Relations, first: Read, *, depth: int) -> tuple[Read, Expression | None]:
    """Return what protected rows are compared with, and its column for the entity; public rows with public ones."""
    if first.protected and r.rng.random() < 0.6:
        read = r.read(protected=True, depth=depth, kind=first.kind)
        return read, r.rng.choice(read.entities) if read.entities and read.kind == first.kind else None
    read = r.read(protected=False, depth=depth)
    column = r.expressions.column(first.entities[0].type, list(read.scope)) if first.entities else None
    return read, column


def _columns(
    r: Relations, read: Read, kinds: list[ColumnType], *, shown: bool, alike: bool = False
) -> list[tuple[str, Expression]]:
    """Return the columns of a part; `alike`: the first is a constant, in any of its texts."""
    columns = [("person", r.rng.choice(read.entities))] if shown else []
    for place, kind in enumerate(kinds):
        e = constant(r.rng, kind) if alike and not place else r.expressions.expression(kind, list(read.scope), 1)
        columns.append((f"v{place}", e))
    return columns


def _united(name: str, parts: list[Expression]) -> Expression:
    """Return what holds for a column of any part; domains that are declared for parts are none of the whole."""
    key = f"part.{name}"
    # Of constants the compiler knows which of them.
    either = parts[0].type is T.BOOLEAN and all(p.values is not None and not p.constant for p in parts)
    return Expression(
        sql=name,
        type=parts[0].type,
        of=lambda row: row[key],
        range=hull(*(p.range for p in parts)),
        values=(False, True, None) if either else None,
        entity=all(p.entity for p in parts),
    )


def _unsound(
    r: Relations, reads: list[Read], parts: list[list[tuple[str, Expression]]], kinds: list[ColumnType], *, shown: bool
) -> tuple[str, str] | None:
    """Make the union one that must be refused: with public rows, or with equal rows of different entities made one.

    Returns:
        The reason, and the word between the parts.
    """
    if r.schema.entity_type in kinds:
        return None
    if not shown:
        return "UNION of rows of different entities", " UNION "
    public = r.read(protected=False, depth=0)
    column = r.expressions.column(r.schema.entity_type, list(public.scope))
    if column is None:
        return None
    reads.append(public)
    parts.append([("person", column), *_columns(r, public, kinds, shown=False)])
    return "UNION ALL of protected and public rows", " UNION ALL "
