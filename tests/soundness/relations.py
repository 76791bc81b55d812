"""FROM, WHERE and subqueries of the grammar: each is a text, and the rows that it gives, with whose each row is.

One place to add a kind of relation: a function in `SOURCES` that returns an `Item`.

Whose a row is follows one rule: a join of two protected relations has a row for each pair of rows of one entity that
meet ON; what else a query does is done to such rows one entity at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from cleanroom.rooms.tables import ColumnType
from tests.soundness import meaning as mean
from tests.soundness.calls import PER_GROUP, Call
from tests.soundness.expressions import OPEN, Expression, Expressions, KeyPart, Public, combined, key_parts
from tests.soundness.items import Item, Nullable, Owned, Read, optional, pairs_of, says_whose
from tests.soundness.owners import pairs
from tests.soundness.schemas import Rows, Schema
from tests.soundness.spellings import rows_in_the_text, spelled
from tests.soundness.subqueries import EXPRESSIONS
from tests.soundness.unions import kept, union
from tests.soundness.windows import windowed

if TYPE_CHECKING:
    import random

    from cleanroom.rooms.tables import LinkedTable

T = ColumnType
Made = TypeVar("Made")


@dataclass
class Relations:
    """Makes random relations.

    Attributes:
        unsound: texts that have no private meaning, with the reason: a query that has one must be refused.
        focus: names of productions, and first letters of tables, to be used more often than others.
        ctes: texts of WITH so far.
        again: CTEs that may be used once more, under another alias.
    """

    rng: random.Random
    schema: Schema
    expressions: Expressions
    focus: frozenset[str] = frozenset()
    ctes: list[str] = field(default_factory=list)
    again: list[Callable[[], Item]] = field(default_factory=list)
    unsound: list[tuple[str, str]] = field(default_factory=list)
    number: int = 0

    def alias(self, stem: str = "s") -> str:
        self.number += 1
        return f"{stem}{self.number}"

    def tried(self, make: Callable[[], Made], holds: Callable[[Made], bool], *, times: int = 4) -> Made | None:
        """Return the first of some that is as wanted; of the others nothing remains in the text."""
        for _ in range(times):
            before = len(self.ctes), len(self.again), len(self.unsound)
            made = make()
            if holds(made):
                return made
            for listed, length in zip((self.ctes, self.again, self.unsound), before, strict=True):
                del listed[length:]
        return None

    # --- sources ---

    def table(self, name: str) -> Item:
        """Return a linked table."""
        linked, alias = self.schema.named(name), self.alias()
        protected = self.schema.is_protected(linked)
        entity = self.schema.entity_of(name)

        def rows(database: Rows) -> Owned:
            owned = pairs(self.schema, linked, database) if protected else [(None, r) for r in database[name]]
            return [(whose, {f"{alias}.{c}": v for c, v in r.items()}) for whose, r in owned]

        public = None if protected else Public(tag=(alias,), rows=lambda database: [row for _, row in rows(database)])
        keys = self._keys(linked, alias) if protected else {}
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
                    keys=frozenset(keys.get(c.name, ())),
                )
            )
        shown = None if entity is None else next(c for c in columns if c.entity)
        return Item(
            sql=f"{linked.full_name} {alias}",
            alias=alias,
            columns=tuple(columns),
            rows=rows,
            protected=self.schema.way(linked) if protected else (),
            kind=self.schema.kind_of(linked) if protected else None,
            entity=shown,
        )

    def _keys(self, table: LinkedTable, alias: str) -> dict[str, list[KeyPart]]:
        """Return column -> the declared keys of which it is a part, as a child's and as a parent's."""
        found: dict[str, list[KeyPart]] = defaultdict(list)
        for child in self.schema.tables:
            through = child.policy.owned_through
            if through is None or table.name not in (child.name, through.parent):
                continue
            ordered = sorted(through.columns, key=lambda pair: pair[1])
            names = tuple(theirs for _, theirs in ordered)
            for position, (mine, theirs) in enumerate(ordered):
                part = KeyPart(parent=through.parent, columns=names, position=position, origin=alias)
                if table.name == child.name:
                    found[mine].append(part)
                if table.name == through.parent:
                    found[theirs].append(part)
        return found

    def source(self, *, protected: bool, depth: int) -> Item:
        """Return a table or a subquery."""
        names = [t.name for t in self.schema.tables if self.schema.is_protected(t) == protected]
        wanted = [make for make in SOURCES if make.__name__ in self.focus]
        if depth > 0 and wanted and self.rng.random() < 0.85:
            return self.rng.choice(wanted)(self, protected=protected, depth=depth)
        if not protected and self.rng.random() < 0.12:
            return rows_in_the_text(self, protected=False, depth=0)
        if depth <= 0 or self.rng.random() < 0.45:
            of_interest = [name for name in names if name[0] in self.focus]
            return self.table(self.rng.choice(of_interest if of_interest and self.rng.random() < 0.7 else names))
        if self.again and self.rng.random() < 0.15:
            item = self.rng.choice(self.again)()
            if bool(item.protected) == protected:
                return item
        return self.rng.choice(SOURCES)(self, protected=protected, depth=depth)

    def named(
        self,
        body: str,
        columns: list[tuple[str, Expression]],
        rows: Callable[[Rows], Owned],
        read: Read,
        *,
        public_rows: bool,
        since: int | None = None,
    ) -> Item:
        """Return a SELECT as an item: a subquery, or a CTE.

        Args:
            body: its text.
            columns: names and what they are over `rows`.
            rows: its rows.
            read: what it reads.
            public_rows: all of it is public.
            since: how many CTEs there were before it: those after may be written inside it.
        """
        if since is not None and len(self.ctes) > since and self.rng.random() < 0.3:
            body = f"WITH {', '.join(self.ctes[since:])} {body}"
            del self.ctes[since:]
            self.again.clear()
        protected = read.protected_in(body)
        if self.rng.random() < 0.5:
            cte = self.alias("q")
            self.ctes.append(f"{cte} AS ({body})")

            def used() -> Item:
                alias = self.alias()
                return self._item(f"{cte} {alias}", alias, columns, rows, read, protected, public_rows=public_rows)

            if not self.unsound:
                self.again.append(used)
            return used()
        alias = self.alias()
        return self._item(f"({body}) {alias}", alias, columns, rows, read, protected, public_rows=public_rows)

    @staticmethod
    def _item(
        sql: str,
        alias: str,
        columns: list[tuple[str, Expression]],
        rows: Callable[[Rows], Owned],
        read: Read,
        protected: tuple[LinkedTable, ...],
        *,
        public_rows: bool,
    ) -> Item:
        def given(database: Rows) -> Owned:
            return [(entity, {f"{alias}.{name}": e.of(row) for name, e in columns}) for entity, row in rows(database)]

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
                    keys=frozenset(replace(k, origin=f"{alias} {k.origin}") for k in e.keys),
                )
            )
        entity = next((c for c in shown if c.entity), None)
        return Item(
            sql=sql,
            alias=alias,
            columns=tuple(shown),
            rows=given,
            protected=protected,
            kind=read.kind,
            entity=entity,
        )

    def projection(self, *, protected: bool, depth: int) -> Item:
        """Return SELECT … FROM … WHERE …: the rows keep their entity, shown or not."""
        since = len(self.ctes)
        read = self.read(protected=protected, depth=depth - 1)
        columns = self.carried(read, chance=0.8)
        for place in range(self.rng.randint(1, 4)):
            kind = self.rng.choice([T.TEXT, T.INTEGER, T.DOUBLE, T.BOOLEAN, T.DATE])
            scope = list(read.scope)
            several = self.rng.random() < (0.5 if "spelled" in self.focus else 0.12)
            e = spelled(self.rng, self.expressions, scope) if several else self.expressions.expression(kind, scope)
            columns.append((f"v{place}", e))
        body = f"SELECT {', '.join(f'{e.sql} AS {n}' for n, e in columns)} FROM {read.sql}"
        return self.named(body, columns, read.rows, read, public_rows=not protected, since=since)

    def carried(self, read: Read, *, chance: float) -> list[tuple[str, Expression]]:
        """Return columns that say whose a row is, to be selected: the entity, and columns of declared keys."""
        columns: list[tuple[str, Expression]] = []
        if read.entities and self.rng.random() < chance:
            columns.append(("person", self.rng.choice(read.entities)))
        keyed = [c for c in read.scope if c.keys]
        if keyed and self.rng.random() < 0.6:
            columns += [(f"key{i}", c) for i, c in enumerate(keyed[: self.rng.choice([1, 2, 4])])]
        return columns

    def whose(self, read: Read) -> list[tuple[str, Expression]] | None:
        """Return columns to group by that say whose a row is: the entity, or a whole declared key; None without."""
        if read.entities and (self.rng.random() < 0.75 or not says_whose([c for c in read.scope if c.keys])):
            return [("person", self.rng.choice(read.entities))]
        parts = key_parts(read.scope)
        whole = [part.whole for part in parts if part.whole <= set(parts)]
        if not whole:
            return None
        chosen = sorted(self.rng.choice(whole), key=lambda part: part.position)
        listed = list(dict.fromkeys(parts[part].sql for part in chosen))
        by_text = {c.sql: c for c in parts.values()}
        return [(f"key{i}", by_text[text]) for i, text in enumerate(listed)]

    def aggregation(self, *, protected: bool, depth: int) -> Item:
        """Return a GROUP BY: over protected rows with the entity, or a whole key, among its keys."""
        since = len(self.ctes)
        read = self.read(protected=protected, depth=depth - 1)
        scope = list(read.scope)
        keys = (self.whose(read) if protected else []) or []
        if protected and not keys:
            return self.projection(protected=protected, depth=depth)
        if self.rng.random() < 0.4 or not keys:
            kind = self.rng.choice([T.TEXT, T.BOOLEAN, T.DATE])
            keys.append(("g1", self.expressions.expression(kind, scope, 1)))
        calls = [self.per_group(f"v{place}", scope) for place in range(self.rng.randint(1, 3))]
        least = self.rng.choice([0, 0, 0, 1])
        shown = [*(f"{e.sql} AS {n}" for n, e in keys), *(f"{c.sql} AS {c.name}" for c in calls)]
        body = f"SELECT {', '.join(shown)} FROM {read.sql} GROUP BY {', '.join(str(i + 1) for i in range(len(keys)))}"
        body += f" HAVING COUNT(*) > {least}" if least else ""
        return self._grouped(body, read, keys, calls, protected=protected, least=least, since=since)

    def distinct(self, *, protected: bool, depth: int) -> Item:
        """Return SELECT DISTINCT: over protected rows with the entity, or a whole key, among its columns."""
        since = len(self.ctes)
        read = self.read(protected=protected, depth=depth - 1)
        keys = (self.whose(read) if protected else []) or []
        if protected and not keys:
            return self.projection(protected=protected, depth=depth)
        for place in range(self.rng.randint(1, 3)):
            kind = self.rng.choice([T.TEXT, T.INTEGER, T.BOOLEAN, T.DATE])
            e = self.expressions.expression(kind, list(read.scope), 1)
            if not e.constant:
                keys.append((f"v{place}", e))
        if not keys:
            return self.projection(protected=protected, depth=depth)
        body = f"SELECT DISTINCT {', '.join(f'{e.sql} AS {n}' for n, e in keys)} FROM {read.sql}"
        return self._grouped(body, read, keys, [], protected=protected, least=0, since=since)

    def _grouped(
        self,
        body: str,
        read: Read,
        keys: list[tuple[str, Expression]],
        calls: list[Call],
        *,
        protected: bool,
        least: int,
        since: int,
    ) -> Item:
        """Return what a grouped SELECT gives: one row for each entity and combination of keys."""

        def rows(database: Rows) -> Owned:
            groups: dict[tuple[Any, ...], list[tuple[Any, Any]]] = defaultdict(list)
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
        return self.named(body, columns, rows, read, public_rows=not protected, since=since)

    def per_group(self, name: str, scope: list[Expression]) -> Call:
        """Return an aggregate over the rows of one entity, or over public rows."""
        e = self.expressions.expression
        make = self.rng.choice(PER_GROUP)
        return make(name, lambda kind: e(kind, scope, 1))

    # --- joins ---

    def read(self, *, protected: bool, depth: int, kind: str | None = None) -> Read:
        """Return FROM with up to three items, and WHERE.

        Args:
            protected: whether it has protected rows.
            depth: of subqueries.
            kind: of the entities, where only one will do.
        """
        begins_public = protected and not self.focus and self.rng.random() < 0.15
        first = self.source(protected=protected and not begins_public, depth=depth)
        read = Read(
            sql=first.sql,
            scope=first.columns,
            rows=first.rows,
            protected=first.protected,
            kind=first.kind,
            entities=() if first.entity is None else (first.entity,),
        )
        for place in range(2):
            if self.rng.random() < (0.1 if self.focus - {"c"} else 0.35) or (begins_public and not place):
                read = self.joined(read, protected=protected, depth=depth - 1)
        if depth > 0 and self.rng.random() < (0.9 if "filtered" in self.focus else 0.1):
            read = self.filtered(read, depth=depth - 1)
        if kind is not None and read.kind != kind:
            return read
        wanted = [make for make in EXPRESSIONS if make.__name__ in self.focus]
        if self.rng.random() < (0.8 if wanted else 0.25):
            made = self.rng.choice(wanted or EXPRESSIONS)(self, read, depth=depth - 1)
            read = read if made is None else _asking(read, made)
        return self._where(read)

    def _where(self, read: Read) -> Read:
        """Return the rows that WHERE leaves; a subquery is used in it more often than not."""
        conditions = list(read.where)
        asked = [a.expression for a in read.asks]
        if asked and self.rng.random() < 0.7:
            conditions.append(asked[0] if self.focus and asked[0].type is T.BOOLEAN else self._about(asked[0], read))
        elif self.rng.random() < (0.05 if self.focus else 0.4):
            conditions.append(self.expressions.expression(T.BOOLEAN, list(read.scope)))
        if not conditions:
            return read
        self.rng.shuffle(conditions)
        before = read.rows
        return replace(
            read,
            sql=f"{read.sql} WHERE {' AND '.join(c.sql for c in conditions)}",
            rows=lambda database: [r for r in before(database) if all(c.of(r[1]) is True for c in conditions)],
        )

    def _about(self, asked: Expression, read: Read) -> Expression:
        """Return a condition with a subquery in it."""
        if asked.type is not T.BOOLEAN:
            other = self.expressions.expression(asked.type, list(read.scope), 1)
            return combined(f"({asked.sql} >= {other.sql})", T.BOOLEAN, mean.strict(mean.not_less), asked, other)
        if self.rng.random() < 0.5:
            return asked
        other = self.expressions.expression(T.BOOLEAN, list(read.scope), 1)
        return self.rng.choice(
            [
                combined(f"(NOT {asked.sql})", T.BOOLEAN, mean.strict(lambda a: not a), asked),
                combined(f"({asked.sql} AND {other.sql})", T.BOOLEAN, mean.both, asked, other),
                combined(f"({asked.sql} OR {other.sql})", T.BOOLEAN, mean.either, asked, other),
            ]
        )

    def joined(self, left: Read, *, protected: bool, depth: int) -> Read:
        """Return a join that keeps each row with one entity."""
        missing = protected and not left.protected
        right = self.source(protected=missing or (protected and self.rng.random() < 0.5), depth=depth)
        if left.protected and right.protected and not self.tied(left, right):
            if self.rng.random() < 0.1:
                return self._mixed(left, right)
            right = self.source(protected=False, depth=0)
        words = ["JOIN", "JOIN", "LEFT JOIN"]
        if right.protected:
            words = ["JOIN", "RIGHT JOIN"] if missing else ["JOIN", "LEFT JOIN", "RIGHT JOIN"]
        elif not protected:
            words = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]
        word = self.rng.choice(words)
        return self._join(left, right, word, self.condition(left, right, inner=word == "JOIN"))

    def _join(self, left: Read, right: Item, word: str, condition: tuple[Expression, tuple[Expression, ...]]) -> Read:
        on, later = condition
        side = word.split(" ", maxsplit=1)[0]
        meets = _meets(left, right, on)

        def rows(database: Rows) -> Owned:
            ones, others = pairs_of(left.rows(database), right.rows(database))
            found: Owned = []
            met: set[int] = set()
            for one in ones:
                matched = False
                for place, other in enumerate(others):
                    if meets(one, other):
                        matched = True
                        met.add(place)
                        found.append((one[0] if left.protected else other[0], Nullable({**one[1], **other[1]})))
                if not matched and side in ("LEFT", "FULL"):
                    found.append((one[0], Nullable(one[1])))
            if side in ("RIGHT", "FULL"):
                found += [(entity, Nullable(row)) for i, (entity, row) in enumerate(others) if i not in met]
            return found

        lefts = left.scope if side in ("JOIN", "LEFT") else tuple(map(optional, left.scope))
        rights = right.columns if side in ("JOIN", "RIGHT") else tuple(map(optional, right.columns))
        shown = (*lefts, *rights)
        entities = tuple(
            c for c in shown if c.entity and any(c.sql == e.sql for e in (*left.entities, right.entity) if e)
        )
        tables = (*left.protected, *(t for t in right.protected if t not in left.protected))
        return Read(
            sql=f"{left.sql} {word} {right.sql} ON {on.sql}",
            scope=shown,
            rows=rows,
            protected=tables,
            kind=left.kind or right.kind,
            entities=entities,
            where=(*left.where, *later),
        )

    def filtered(self, left: Read, *, depth: int) -> Read:
        """Return a SEMI or ANTI JOIN: rows with a partner of the same entity, or a public one; or those without."""
        right = self.source(protected=bool(left.protected) and self.rng.random() < 0.6, depth=depth)
        if right.protected and not self.tied(left, right):
            right = self.source(protected=False, depth=0)
        word = self.rng.choice(["SEMI JOIN", "ANTI JOIN"])
        on, _ = self.condition(left, right, inner=False)
        meets = _meets(left, right, on)

        def rows(database: Rows) -> Owned:
            ones, others = pairs_of(left.rows(database), right.rows(database))
            return [one for one in ones if any(meets(one, other) for other in others) == (word == "SEMI JOIN")]

        tables = (*left.protected, *(t for t in right.protected if t not in left.protected))
        return replace(left, sql=f"{left.sql} {word} {right.sql} ON {on.sql}", rows=rows, protected=tables)

    def _mixed(self, left: Read, right: Item) -> Read:
        """Return a join of rows of different entities: to be refused."""
        always = combined("(1 = 1)", T.BOOLEAN, lambda: True)
        made = self._join(left, right, "LEFT JOIN", (always, ()))
        self.unsound.append(("a join of protected rows without their entity", made.sql))
        return made

    def tied(self, left: Read, right: Item) -> list[Expression]:
        """Return conditions each of which says that protected rows are of one entity."""
        if left.kind != right.kind:
            return []
        found = []
        if right.entity is not None:
            found += [self.equal(one, right.entity) for one in left.entities]
        lefts = key_parts(left.scope)
        rights = key_parts(right.columns)
        for one in lefts:
            for other in rights:
                here, there = one.whole, other.whole
                same = (one.parent, one.columns) == (other.parent, other.columns)
                if same and one.position == other.position == 0 and here <= set(lefts) and there <= set(rights):
                    ordered = [sorted(side, key=lambda part: part.position) for side in (here, there)]
                    equal = [self.equal(lefts[a], rights[b]) for a, b in zip(*ordered, strict=True)]
                    whole = equal[0]
                    for more in equal[1:]:
                        whole = combined(f"{whole.sql} AND {more.sql}", T.BOOLEAN, mean.both, whole, more)
                    found += [whole] * 2
        return found

    def equal(self, one: Expression, other: Expression) -> Expression:
        """Return the equality of two columns, either way round."""
        text = f"{one.sql} = {other.sql}" if self.rng.random() < 0.7 else f"{other.sql} = {one.sql}"
        return combined(text, T.BOOLEAN, mean.strict(mean.equal), one, other)

    def condition(self, left: Read, right: Item, *, inner: bool) -> tuple[Expression, tuple[Expression, ...]]:
        """Return ON, with equal entities or keys where both sides are protected, and what is left to WHERE."""
        scope = [*left.scope, *right.columns]
        if right.protected and left.protected:
            same = self.rng.choice(self.tied(left, right))
            if inner and self.rng.random() < 0.12:
                return self.expressions.expression(T.BOOLEAN, scope, 1), (same,)
            if self.rng.random() < 0.7:
                return same, ()
            more = self.expressions.expression(T.BOOLEAN, scope, 1)
            return combined(f"{same.sql} AND {more.sql}", T.BOOLEAN, mean.both, same, more), ()
        if self.rng.random() < 0.5:
            kind = left.scope[0].type
            one, others = self.expressions.column(kind, list(left.scope)), [c for c in right.columns if c.type is kind]
            if one is not None and others:
                return self.equal(one, self.rng.choice(others)), ()
        return self.expressions.expression(T.BOOLEAN, scope, 2), ()


def _meets(left: Read, right: Item, on: Expression) -> Callable[[tuple[Any, Any], tuple[Any, Any]], bool]:
    """Return whether two rows are joined: those of protected relations only with others of their entity."""

    def meets(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
        if left.protected and right.protected and (one[0] is None or one[0] != other[0]):
            return False
        return on.of(Nullable({**one[1], **other[1]})) is True

    return meets


def _asking(read: Read, asks: Any) -> Read:
    """Return the rows with the value of a subquery put in."""
    before, key = read.rows, asks.expression.sql

    def rows(database: Rows) -> Owned:
        value = asks.prepared(database)
        return [(entity, Nullable({**row, key: value(entity, row)})) for entity, row in before(database)]

    return replace(read, rows=rows, scope=(*read.scope, asks.expression), asks=(*read.asks, asks))


SOURCES: list[Callable[..., Item]] = [
    Relations.projection,
    Relations.projection,
    Relations.aggregation,
    Relations.distinct,
    windowed,
    union,
    kept,
    rows_in_the_text,
]
"""Kinds of subqueries and CTEs. A new one is one more entry."""
