"""Whole random queries: one or two measured SELECTs, and what may stand above them.

A query is its text with its meaning: the measurements as `Asked`, for `reference.py` to compute, and the release as a
function of what they give without noise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import sqlglot

from cleanroom.rooms.settings import NoiseMechanism, PrivacySettings
from cleanroom.rooms.tables import ColumnType
from tests.soundness import meaning as mean
from tests.soundness.aggregates import AGGREGATES, ALONE
from tests.soundness.expressions import Expression, Expressions
from tests.soundness.grouping_sets import random_sets
from tests.soundness.items import Read, says_whose
from tests.soundness.relations import Relations
from tests.soundness.schemas import Schema, random_schema
from tests.soundness.spellings import spelled

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.soundness.parts import Aggregate

T = ColumnType


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One measured SELECT.

    Attributes:
        sql: text.
        read: FROM and WHERE.
        keys: of GROUP BY.
        aggregates: outputs after the keys.
        keep: HAVING, of the outputs.
        at_least: entities that a group must have.
        other: the groups that are not shown are asked for as one row; without noise there are none.
    """

    sql: str
    read: Read
    keys: tuple[Expression, ...]
    aggregates: tuple[Aggregate, ...]
    keep: Callable[[list[Any]], bool]
    at_least: int
    other: bool = False


Released = list[list[Any]]


@dataclass(frozen=True, kw_only=True)
class Query:
    """A whole query with its room.

    Attributes:
        sql: text.
        schema: the room's tables.
        settings: of the reader.
        asked: measured SELECTs, in the order of the text.
        above: the release, from what each of `asked` gives.
        unsound: why it must be refused; empty where it need not be.
    """

    sql: str
    schema: Schema
    settings: PrivacySettings
    asked: tuple[Asked, ...]
    above: Callable[[list[Released]], Released] = field(default=lambda given: given[0])
    unsound: tuple[str, ...] = ()


class Queries:
    """Makes random queries."""

    def __init__(self, rng: random.Random, *, depth: int = 2, focus: frozenset[str] = frozenset()) -> None:
        self.rng = rng
        self.depth, self.focus = depth, focus
        self.schema = random_schema(rng, focus=focus)
        self.expressions = Expressions(rng, deepest=1 if depth == 0 else 2)
        self.relations = Relations(rng, self.schema, self.expressions, focus=focus)

    def aggregate(self, scope: list[Expression]) -> Aggregate:
        """Return something to measure, a number without noise of its own."""
        found = self.rng.choice(ALONE)(self, scope)
        return found if found.number else self.aggregate(scope)

    def query(self) -> Query:
        """Return a whole query."""
        settings = self.settings()
        threshold = settings.threshold_value if settings.threshold else 0
        make = self.rng.choice(
            [*[self._alone] * 6, self._computed_above, self._summed_above, self._two, *[self._sets] * 2]
        )
        return make(settings, threshold)

    def settings(self) -> PrivacySettings:
        """Return the reader's settings."""
        settings = PrivacySettings(differential=True, epsilon=Fraction(self.rng.choice(["0.1", "1", "3"])))
        if self.rng.random() < 0.4:
            settings = replace(settings, noise_mechanism=NoiseMechanism.GAUSSIAN)
        if self.rng.random() < 0.1:
            settings = replace(settings, threshold=True, threshold_value=self.rng.choice([1, 2, 3]))
        return settings

    def asked(self, threshold: int) -> Asked:
        """Return one measured SELECT; its outputs are k0, …, a0, …."""
        read = self.relations.read(protected=True, depth=self.depth)
        scope = list(read.scope)
        keys = self.keys(scope, self.rng.choice([0, 0, 1, 1, 1, 2, 3]))
        aggregates = self.aggregates(scope)
        shown = [f"{k.sql} AS g{i}" for i, k in enumerate(keys)]
        shown += [f"{a.sql} AS a{i}" for i, a in enumerate(aggregates)]
        sql = f"SELECT {', '.join(shown)} FROM {read.sql}"
        other = any(k.values is None and not k.constant for k in keys) and self.rng.random() < 0.4
        if other:
            sql += " GROUP BY " + ", ".join(f"cleanroom.or_other({k.sql})" for k in keys)
        elif keys:
            sql += " GROUP BY " + ", ".join(
                k.sql if not k.constant and self.rng.random() < 0.5 else str(i + 1) for i, k in enumerate(keys)
            )
        having = self.rng.random() < 0.15
        sql += f" HAVING {aggregates[0].sql} > 1" if having else ""
        grouped = self._grouped(sql, read, keys, aggregates, having=having, threshold=threshold)
        return replace(grouped, other=other)

    def _grouped(
        self,
        sql: str,
        read: Read,
        keys: list[Expression],
        aggregates: list[Aggregate],
        *,
        having: bool,
        threshold: int,
    ) -> Asked:
        """Return a measured SELECT; `having`: its first aggregate is above 1."""
        place, read = len(keys), replace(read, protected=read.protected_in(sql))
        return Asked(
            sql=sql,
            read=read,
            keys=tuple(keys),
            aggregates=tuple(aggregates),
            keep=lambda row: not having or (row[place] is not None and row[place] > 1),
            at_least=max(threshold, *(t.policy.min_entities for t in read.protected)),
        )

    def keys(self, scope: list[Expression], count: int) -> list[Expression]:
        """Return at most so many group keys, none twice, that do not say whose a row is."""
        keys = [self.key(scope) for _ in range(count)]
        texts = [_plainly(k) for k in keys]
        keys = [k for i, k in enumerate(keys) if not k.entity and texts[i] not in texts[:i]]
        return [k for i, k in enumerate(keys) if not says_whose(keys[: i + 1])]

    def aggregates(self, scope: list[Expression]) -> list[Aggregate]:
        """Return one to four aggregates, numbers first: what is above computes with the first one."""
        aggregates = [self.rng.choice(AGGREGATES)(self, scope) for _ in range(self.rng.randint(1, 4))]
        if not any(a.number for a in aggregates):
            aggregates.append(self.aggregate(scope))
        return sorted(aggregates, key=lambda a: not a.number)

    def key(self, scope: list[Expression]) -> Expression:
        """Return a group key."""
        if self.rng.random() < (0.6 if "spelled" in self.focus else 0.12):
            return spelled(self.rng, self.expressions, scope)
        listed = [c for c in scope if c.values is not None and not c.entity]
        if listed and self.rng.random() < 0.4:
            return self.rng.choice(listed)
        if self.rng.random() < 0.12:
            a, b = (self.expressions.expression(T.BOOLEAN, scope, 1) for _ in "ab")
            constant = a.constant and b.constant
            return Expression(
                sql=f"(CASE WHEN {a.sql} THEN 'p' WHEN {b.sql} THEN 'q' END)",
                type=T.TEXT,
                constant=constant,
                values=None if constant else ("p", "q", None),
                of=lambda row: "p" if a.of(row) is True else "q" if b.of(row) is True else None,
            )
        kind = self.rng.choice([T.TEXT, T.TEXT, T.BOOLEAN, T.INTEGER, T.DATE, T.DOUBLE, T.DECIMAL, T.TIMESTAMP])
        found = self.expressions.column(kind, scope) if self.rng.random() < 0.6 else None
        return found or self.expressions.expression(kind, scope)

    def _text(self, body: str) -> str:
        """Return the text with the CTEs that it uses."""
        used: list[str] = []
        for cte in reversed(self.relations.ctes):
            name = cte.split(" ", 1)[0]
            if re.search(rf"\b{name}\b", " ".join([body, *used])):
                used.insert(0, cte)
        return f"WITH {', '.join(used)} {body}" if used else body

    def _query(self, body: str, settings: PrivacySettings, *asked: Asked, **above: Any) -> Query:
        sql = self._text(body)
        return Query(
            sql=sql,
            schema=self.schema,
            settings=settings,
            asked=asked,
            unsound=tuple(why for why, text in self.relations.unsound if text in sql),
            **above,
        )

    def _alone(self, settings: PrivacySettings, threshold: int) -> Query:
        asked = self.asked(threshold)
        order = f" ORDER BY {self.rng.randint(1, len(asked.keys) + 1)} DESC" if self.rng.random() < 0.3 else ""
        return self._query(asked.sql + order, settings, asked)

    def _computed_above(self, settings: PrivacySettings, threshold: int) -> Query:
        """A measurement in a subquery, arithmetic and a filter above it."""
        asked = self.asked(threshold)
        place = len(asked.keys)
        keys = "".join(f"m.g{i}, " for i in range(place))

        def above(given: list[Released]) -> Released:
            kept = [r for r in given[0] if r[place] is not None and r[place] >= 0]
            return [[*r[:place], float(r[place]) / 4] for r in kept]

        return self._query(
            f"SELECT {keys}m.a0 / 4 AS q FROM ({asked.sql}) m WHERE m.a0 >= 0", settings, asked, above=above
        )

    def _summed_above(self, settings: PrivacySettings, threshold: int) -> Query:
        """An aggregate of a measurement."""
        asked = self.asked(threshold)
        place = len(asked.keys)

        def above(given: list[Released]) -> Released:
            values = [r[place] for r in given[0] if r[place] is not None]
            return [[len(given[0]), sum(values) if values else None]]

        return self._query(f"SELECT COUNT(*) AS n, SUM(m.a0) AS s FROM ({asked.sql}) m", settings, asked, above=above)

    def _two(self, settings: PrivacySettings, threshold: int) -> Query:
        """Two measurements side by side."""
        one, other = self.asked(threshold), self.asked(threshold)
        places = len(one.keys), len(other.keys)

        def above(given: list[Released]) -> Released:
            return [[a[places[0]], b[places[1]]] for a in given[0] for b in given[1]]

        body = f"SELECT m.a0 AS x, n.a0 AS y FROM ({one.sql}) m CROSS JOIN ({other.sql}) n"
        return self._query(body, settings, one, other, above=above)

    def _sets(self, settings: PrivacySettings, threshold: int) -> Query:
        """Several grouping sets: a measurement each, one below the other; keys that a set leaves out are NULL."""
        read = self.relations.read(protected=True, depth=self.depth)
        scope = list(read.scope)
        keys = self.keys(scope, self.rng.randint(1, 3)) or [self.key([c for c in scope if not c.entity])]
        aggregates = self.aggregates(scope)[:2]
        texts = [k.sql if not k.constant and self.rng.random() < 0.7 else str(i + 1) for i, k in enumerate(keys)]
        word, by, sets = random_sets(self.rng, texts)
        having = self.rng.random() < 0.15
        shown = [f"{k.sql} AS g{i}" for i, k in enumerate(keys)]
        shown += [f"{a.sql} AS a{i}" for i, a in enumerate(aggregates)]
        shown += [f"GROUPING({texts[0]}) AS left_out"]
        body = f"SELECT {', '.join(shown)} FROM {read.sql} GROUP BY {by}"
        body += f" HAVING {aggregates[0].sql} > 1" if having else ""
        noted = [replace(a, constructs=(*a.constructs, word)) for a in aggregates]
        asked = [
            self._grouped(body, read, [keys[i] for i in chosen], noted, having=having, threshold=threshold)
            for chosen in sets
        ]

        def above(given: list[Released]) -> Released:
            found = []
            for chosen, rows in zip(sets, given, strict=True):
                for row in rows:
                    known = dict(zip(chosen, row, strict=False))
                    found.append([*(known.get(i) for i in range(len(keys))), *row[len(chosen) :], int(0 not in chosen)])
            return found

        return self._query(body, settings, *asked, above=above)


def _plainly(key: Expression) -> str:
    """Return what is the same of keys that are one key to the compiler: the value of a constant, texts of one tree."""
    if key.constant:
        return f"{key.type} {mean.standard(key.of({}))!r}"
    return sqlglot.parse_one(key.sql, dialect="snowflake").sql("duckdb")


def random_query(rng: random.Random, *, depth: int = 2, focus: frozenset[str] = frozenset()) -> Query:
    """Return a random query in a random room; nearly all have a private meaning.

    Args:
        rng: of all choices.
        depth: of subqueries in FROM; 0: no subqueries, and simpler expressions.
        focus: what is to be made more often (`Relations`, `random_schema`), for a search of one kind of mistake.
    """
    return Queries(rng, depth=depth, focus=focus).query()
