"""FROM, WHERE and subqueries of the grammar: each is a text, and the rows that it gives, with whose each row is.

One place to add a kind of relation: a method of `Relations` that returns an `Item`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from cleanroom.rooms.tables import ColumnType
from tests.soundness import meaning as mean
from tests.soundness.expressions import OPEN, Expression, Expressions, Public, Range, Row, combined
from tests.soundness.schemas import READER, Rows, Schema

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from cleanroom.rooms.tables import LinkedTable

T = ColumnType
Owned = list[tuple[Any, Row]]
"""Rows with their entity; NULL (None) also stands for the reader's own rows."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something in FROM.

    Attributes:
        sql: with its alias.
        alias: unique in the query.
        columns: as expressions over a row.
        rows: what it gives.
        protected: the protected tables in it; none: it is public.
        entity: the column that shows the entity; None where it is hidden, or there is none.
    """

    sql: str
    alias: str
    columns: tuple[Expression, ...]
    rows: Callable[[Rows], Owned]
    protected: tuple[LinkedTable, ...] = ()
    entity: Expression | None = None


@dataclass(frozen=True, kw_only=True)
class Read:
    """FROM and WHERE of one SELECT; attributes as of `Item`."""

    sql: str
    scope: tuple[Expression, ...]
    rows: Callable[[Rows], Owned]
    protected: tuple[LinkedTable, ...]
    entities: tuple[Expression, ...]


@dataclass
class Relations:
    """Makes random relations."""

    rng: random.Random
    schema: Schema
    expressions: Expressions
    ctes: list[str] = field(default_factory=list)
    number: int = 0

    def alias(self, stem: str = "s") -> str:
        self.number += 1
        return f"{stem}{self.number}"

    # --- sources ---

    def table(self, name: str) -> Item:
        """Return a linked table."""
        linked, alias = self.schema.named(name), self.alias()
        own = linked.owner == READER
        entity = self.schema.entity_of(name)

        def rows(database: Rows) -> Owned:
            return [
                (None if entity is None else r[entity], {f"{alias}.{c}": v for c, v in r.items()})
                for r in database[name]
            ]

        public = Public(tag=(alias,), rows=lambda database: [row for _, row in rows(database)]) if own else None
        columns = []
        for c in linked.columns:
            bounds, domain = linked.policy.bounds.get(c.name.lower()), linked.policy.domains.get(c.name.lower())
            values: tuple[Any, ...] | None = (False, True, None) if c.type is T.BOOLEAN else None
            if domain is not None:
                values = tuple(mean.to_day(v) if c.type is T.DATE else v for v in domain.values)
            key = f"{alias}.{c.name}"
            columns.append(
                Expression(
                    sql=f"{alias}.{self.schema.written[c.name]}",
                    type=c.type,
                    of=lambda row, key=key: row[key],
                    of_public=lambda row, key=key: row[key],
                    public=public,
                    values=values,
                    range=OPEN if bounds is None else (bounds.lo, bounds.hi),
                    entity=c.name == entity,
                    column=True,
                )
            )
        shown = None if entity is None else next(c for c in columns if c.entity)
        return Item(
            sql=f"{linked.full_name} {alias}",
            alias=alias,
            columns=tuple(columns),
            rows=rows,
            protected=() if own else (linked,),
            entity=shown,
        )

    def source(self, *, protected: bool, depth: int) -> Item:
        """Return a table or a subquery."""
        names = [t.name for t in self.schema.tables if (t.owner != READER) == protected]
        if depth <= 0 or self.rng.random() < 0.5:
            return self.table(self.rng.choice(names))
        return self.rng.choice([self.projection, self.projection, self.aggregation])(protected=protected, depth=depth)

    def _named(
        self,
        body: str,
        columns: list[tuple[str, Expression]],
        rows: Callable[[Rows], Owned],
        read: Read,
        *,
        public_rows: bool,
    ) -> Item:
        """Return a SELECT as an item: a subquery, or a CTE."""
        alias = self.alias()
        if self.rng.random() < 0.5:
            cte = self.alias("c")
            self.ctes.append(f"{cte} AS ({body})")
            sql = f"{cte} {alias}"
        else:
            sql = f"({body}) {alias}"

        def given(database: Rows) -> Owned:
            found = []
            for entity, row in rows(database):
                seen = {f"{alias}.{name}": e.of(row) for name, e in columns}
                found.append((entity, seen))
            return found

        public = None
        if public_rows:
            public = Public(tag=(alias,), rows=lambda database: [row for _, row in given(database)])
        shown = []
        for name, e in columns:
            key = f"{alias}.{name}"
            source, of_public = public, lambda row, key=key: row[key]
            if public is None and e.public is not None:
                source, of_public = replace(e.public, tag=(alias, *e.public.tag)), e.of_public
            shown.append(
                replace(
                    e,
                    sql=f"{alias}.{name}",
                    of=lambda row, key=key: row[key],
                    constant=False,
                    public=source,
                    of_public=of_public,
                )
            )
        entity = next((c for c in shown if c.entity), None)
        return Item(sql=sql, alias=alias, columns=tuple(shown), rows=given, protected=read.protected, entity=entity)

    def projection(self, *, protected: bool, depth: int) -> Item:
        """Return SELECT … FROM … WHERE …: the rows keep their entity, shown or not."""
        read = self.read(protected=protected, depth=depth - 1)
        columns: list[tuple[str, Expression]] = []
        if read.entities and self.rng.random() < 0.8:
            columns.append(("person", self.rng.choice(read.entities)))
        for place in range(self.rng.randint(1, 4)):
            kind = self.rng.choice([T.TEXT, T.INTEGER, T.DOUBLE, T.BOOLEAN, T.DATE])
            columns.append((f"v{place}", replace(self.expressions.expression(kind, list(read.scope)), entity=False)))
        body = f"SELECT {', '.join(f'{e.sql} AS {n}' for n, e in columns)} FROM {read.sql}"
        return self._named(body, columns, read.rows, read, public_rows=not protected)

    def aggregation(self, *, protected: bool, depth: int) -> Item:
        """Return a GROUP BY: with the entity among the keys over protected rows, any over public ones."""
        read = self.read(protected=protected, depth=depth - 1)
        scope = list(read.scope)
        if protected and not read.entities:
            return self.projection(protected=protected, depth=depth)
        keys: list[tuple[str, Expression]] = []
        if protected:
            keys.append(("person", self.rng.choice(read.entities)))
        if self.rng.random() < 0.4 or not keys:
            kind = self.rng.choice([T.TEXT, T.BOOLEAN, T.DATE])
            keys.append(("g1", self.expressions.expression(kind, scope, 1)))
        calls = [self.per_group(f"v{place}", scope) for place in range(self.rng.randint(1, 3))]
        least = self.rng.choice([0, 0, 0, 1])
        shown = [*(f"{e.sql} AS {n}" for n, e in keys), *(f"{c.sql} AS {c.name}" for c in calls)]
        body = f"SELECT {', '.join(shown)} FROM {read.sql} GROUP BY {', '.join(str(i + 1) for i in range(len(keys)))}"
        body += f" HAVING COUNT(*) > {least}" if least else ""

        def rows(database: Rows) -> Owned:
            groups: dict[tuple[Any, ...], list[tuple[Any, Row]]] = defaultdict(list)
            for entity, row in read.rows(database):
                if protected and entity is None:
                    continue
                known = tuple(mean.standard(e.of(row)) for _, e in keys)
                groups[(mean.standard(entity), *known)].append((entity, row))
            found = []
            for members in groups.values():
                if len(members) > least:
                    entity, first = members[0]
                    made = {f"key.{n}": e.of(first) for n, e in keys}
                    made |= {f"call.{c.name}": c.of([row for _, row in members]) for c in calls}
                    found.append((entity, made))
            return found

        columns = [(n, replace(e, of=lambda row, n=n: row[f"key.{n}"], public=None)) for n, e in keys]
        columns += [
            (c.name, Expression(sql=c.sql, type=c.type, of=lambda row, n=c.name: row[f"call.{n}"], range=c.range))
            for c in calls
        ]
        return self._named(body, columns, rows, read, public_rows=not protected)

    def per_group(self, name: str, scope: list[Expression]) -> Call:
        """Return an aggregate over the rows of one entity, or over public rows."""
        e = self.expressions.expression
        make = self.rng.choice(PER_GROUP)
        return make(name, lambda kind: e(kind, scope, 1))

    # --- joins ---

    def read(self, *, protected: bool, depth: int) -> Read:
        """Return FROM with up to three items, and WHERE."""
        begins_public = protected and self.rng.random() < 0.15
        first = self.source(protected=protected and not begins_public, depth=depth)
        read = Read(
            sql=first.sql,
            scope=first.columns,
            rows=first.rows,
            protected=first.protected,
            entities=() if first.entity is None else (first.entity,),
        )
        for place in range(2):
            if self.rng.random() < 0.35 or (begins_public and not place):
                read = self.joined(read, protected=protected, depth=depth - 1)
        if self.rng.random() < 0.4:
            condition = self.expressions.expression(T.BOOLEAN, list(read.scope))
            before = read.rows
            read = replace(
                read,
                sql=f"{read.sql} WHERE {condition.sql}",
                rows=lambda database: [r for r in before(database) if condition.of(r[1]) is True],
            )
        return read

    def joined(self, left: Read, *, protected: bool, depth: int) -> Read:
        """Return a join that keeps each row with one entity."""
        missing = protected and not left.protected
        right = self.source(protected=missing or (protected and self.rng.random() < 0.45), depth=depth)
        if left.protected and right.protected and (not left.entities or right.entity is None):
            right = self.source(protected=False, depth=0)
        words = ["JOIN", "JOIN", "LEFT JOIN"]
        if right.protected:
            words = ["JOIN", "RIGHT JOIN"] if missing else ["JOIN", "LEFT JOIN", "RIGHT JOIN"]
        elif not protected:
            words = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]
        word = self.rng.choice(words)
        scope = [*left.scope, *right.columns]
        condition = self.condition(left, right, scope)
        side = word.split(" ")[0]

        def rows(database: Rows) -> Owned:
            ones, others = left.rows(database), right.rows(database)
            found: Owned = []
            met: set[int] = set()
            for entity, row in ones:
                matched = False
                for place, (other_entity, other) in enumerate(others):
                    both = Nullable({**row, **other})
                    if condition.of(both) is True:
                        matched = True
                        met.add(place)
                        found.append((entity if left.protected else other_entity, both))
                if not matched and side in ("LEFT", "FULL"):
                    found.append((entity, Nullable(row)))
            if side in ("RIGHT", "FULL"):
                for place, (other_entity, other) in enumerate(others):
                    if place not in met:
                        found.append((other_entity, Nullable(other)))
            return found

        lefts = left.scope if side in ("JOIN", "LEFT") else tuple(map(_optional, left.scope))
        rights = right.columns if side in ("JOIN", "RIGHT") else tuple(map(_optional, right.columns))
        shown = (*lefts, *rights)
        entities = tuple(
            c for c in shown if c.entity and any(c.sql == e.sql for e in (*left.entities, right.entity) if e)
        )
        tables = (*left.protected, *(t for t in right.protected if t not in left.protected))
        return Read(
            sql=f"{left.sql} {word} {right.sql} ON {condition.sql}",
            scope=shown,
            rows=rows,
            protected=tables,
            entities=entities,
        )

    def condition(self, left: Read, right: Item, scope: list[Expression]) -> Expression:
        """Return the ON of a join: with equal entities where both sides are protected."""
        if right.protected and left.protected:
            one, other = self.rng.choice(left.entities), right.entity
            assert other is not None
            same = combined(f"{one.sql} = {other.sql}", T.BOOLEAN, mean.strict(mean.equal), one, other)
            if self.rng.random() < 0.7:
                return same
            more = self.expressions.expression(T.BOOLEAN, scope, 1)
            return combined(f"{same.sql} AND {more.sql}", T.BOOLEAN, mean.both, same, more)
        if self.rng.random() < 0.5:
            kind = left.scope[0].type
            one, others = self.expressions.column(kind, list(left.scope)), [c for c in right.columns if c.type is kind]
            if one is not None and others:
                other = self.rng.choice(others)
                return combined(f"{one.sql} = {other.sql}", T.BOOLEAN, mean.strict(mean.equal), one, other)
        return self.expressions.expression(T.BOOLEAN, scope, 2)


class Nullable(dict[str, Any]):
    """A row of a join: the columns of a side without a match are NULL."""

    def __missing__(self, key: str) -> None:
        return None


def _optional(column: Expression) -> Expression:
    """Return a column that an outer join may replace by NULL."""
    values = column.values
    if values is not None and None not in values:
        values = (*values, None)
    public = None if column.public is None else replace(column.public, nobody=Nullable())
    return replace(column, values=values, public=public, entity=False)


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
