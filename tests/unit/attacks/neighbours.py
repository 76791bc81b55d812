"""The neighbour fuzzer: random queries on random neighbouring databases; does one entity move more than is declared?

A caller's text is made at random, sound and unsound constructs alike. What the compiler refuses is no case. What it
accepts is run on a database and on the same without all rows of one entity, and everything that noise is later added to
is compared in the declared norm, with types, keys and errors. Nothing here knows the ownership rules.

`PYTHONPATH=layers/core/python python -m tests.fuzz neighbours --cases 5000` looks for more than there is time for.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import duckdb

from cleanroom.errors import CleanRoomError
from cleanroom.privacy.noise import DiscreteCube, DiscreteGaussian, DiscreteLaplace
from cleanroom.privacy.partition_selection import own_weight
from cleanroom.rooms.approved import Template
from cleanroom.rooms.settings import NoiseMechanism, PrivacySettings
from cleanroom.rooms.tables import (
    Column,
    ColumnBounds,
    ColumnType,
    Domain,
    EntityColumn,
    LinkedTable,
    OwnedThrough,
    TablePolicy,
)
from cleanroom.templates.bounding import HARD_LIMIT
from cleanroom.templates.compile import compile_query
from cleanroom.templates.template import CompileContext, RenderedQuery

if TYPE_CHECKING:
    from collections.abc import Callable

    from cleanroom.templates.plan import MeasuredColumn, Measurement, Plan

T = ColumnType
NATIVE = {
    T.INTEGER: "BIGINT",
    T.DECIMAL: "DECIMAL(15,2)",
    T.DOUBLE: "DOUBLE",
    T.BOOLEAN: "BOOLEAN",
    T.DATE: "DATE",
    T.TIMESTAMP: "TIMESTAMP",
    T.TEXT: "VARCHAR",
    T.ARRAY: "VARCHAR[]",
}
SHAPES = {
    "visits": {
        "person": T.TEXT,
        "dest": T.TEXT,
        "status": T.TEXT,
        "age": T.INTEGER,
        "spend": T.DOUBLE,
        "price": T.DECIMAL,
        "day": T.DATE,
        "active": T.BOOLEAN,
        "tags": T.ARRAY,
    },
    "trips": {"who": T.TEXT, "code": T.TEXT, "miles": T.INTEGER, "fare": T.DOUBLE, "seen": T.TIMESTAMP},
    "lines": {"code": T.TEXT, "note": T.TEXT, "pieces": T.INTEGER, "amount": T.DOUBLE},
    "own": {
        "email": T.TEXT,
        "segment": T.TEXT,
        "weight": T.DOUBLE,
        "n": T.INTEGER,
        "flag": T.BOOLEAN,
        "labels": T.ARRAY,
    },
}
ENTITY = {"visits": "person", "trips": "who"}
OWNER = {"visits": "airline", "trips": "airline", "lines": "airline", "own": "shop"}
OWNED_THROUGH = {"lines": OwnedThrough(parent="trips", columns=(("code", "code"),))}
"""Lines belong to everybody who has their code in trips, where codes repeat and are shared."""
BOUNDS = {
    "visits": {"age": (0, 120), "spend": (-10, 30), "price": (0, 1000)},
    "trips": {"miles": (0, 5000), "fare": (1, 2)},
    "lines": {"pieces": (0, 9), "amount": (-1, 1)},
}
STATUSES = ("gold", "a", "")

NAMES = ["a", "A", "b", "", " ", "a ", "gold", None]
VALUES: dict[ColumnType, list[Any]] = {
    T.TEXT: [*NAMES, "X", "Y", "12", "-0", "2020-02-30", "2020-02-29", "infinity", "é"],
    T.INTEGER: [None, 0, 1, 2, 3, -1, 120, 7, 2**63 - 1, -(2**63), 2**62, 10**15],
    T.DOUBLE: [None, 0.0, -0.0, 1.5, -10.0, 30.0, 29.999999, 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf],
    T.DECIMAL: [
        None,
        Decimal("0"),
        Decimal("0.01"),
        Decimal("9999999999999.99"),
        Decimal("-9999999999999.99"),
        Decimal("7.5"),
    ],
    T.BOOLEAN: [None, True, False],
    T.DATE: [None, date(2020, 2, 29), date(1, 1, 1), date(9999, 12, 31), date(1969, 12, 31)],
    T.ARRAY: [None, [], [None], ["a"], ["a", "a", "X", None, "gold"], ["b"] * 40],
    T.TIMESTAMP: [None, *map(datetime.fromisoformat, ("2020-02-29T23:59:59.999999", "0001-01-01", "9999-12-31"))],
}
Rows = dict[str, list[tuple[Any, ...]]]


def linked(name: str, *, max_rows: int, max_groups: int, domains: bool) -> LinkedTable:
    """Return a table as it is linked."""
    columns = tuple(Column(name=n, type=t, native_type=NATIVE[t]) for n, t in SHAPES[name].items())
    if OWNER[name] == "shop":
        return LinkedTable(owner=OWNER[name], name=name, columns=columns)
    policy = TablePolicy(
        max_rows=max_rows,
        max_groups=max_groups,
        bounds={n: ColumnBounds(lo=Fraction(lo), hi=Fraction(hi)) for n, (lo, hi) in BOUNDS[name].items()},
        domains={"status": Domain(values=STATUSES)} if domains and name == "visits" else {},
        clipping_estimate=True,
        owned_through=OWNED_THROUGH.get(name),
    )
    entities = (EntityColumn(column=ENTITY[name], kind="email"),) if name in ENTITY else ()
    return LinkedTable(owner=OWNER[name], name=name, columns=columns, entity_columns=entities, policy=policy)


@dataclass
class Source:
    """Something in FROM as the generator sees it: its text, and its columns by type."""

    text: str
    alias: str
    columns: dict[str, ColumnType]
    entity: str | None


@dataclass
class Queries:
    """Makes the text of one random query."""

    rng: random.Random
    ctes: list[str] = field(default_factory=list)
    number: int = 0

    def name(self, stem: str = "s") -> str:
        self.number += 1
        # Now and then a name that is also a table's, a column's or an entity's: shadowing must fool nobody.
        if self.rng.random() < 0.1:
            return self.rng.choice(["visits", "trips", "own", "person", "who", "e", "pairs", "m0", "t0", "entity"])
        return f"{stem}{self.number}"

    def one(self, *choices: Any) -> Any:
        return self.rng.choice(choices)

    # --- expressions: text of a wanted type over columns in scope ---

    def column(self, wanted: ColumnType, scope: list[Source]) -> str | None:
        found = [f"{s.alias}.{n}" for s in scope for n, t in s.columns.items() if t is wanted]
        return self.rng.choice(found) if found else None

    def literal(self, wanted: ColumnType) -> str:
        match wanted:
            case T.TEXT:
                return self.one("'a'", "'gold'", "''", "'X'", "'12'", "NULL")
            case T.INTEGER:
                return self.one("0", "1", "7", "-1", "9223372036854775807", "1000000")
            case T.DOUBLE:
                return self.one("0.5", "1e308", "-1.5", "1e-300", "3.0")
            case T.BOOLEAN:
                return self.one("TRUE", "FALSE", "NULL")
            case T.DATE:
                return self.one("'2020-02-29'::DATE", "'0001-01-01'::DATE", "'nothing'::DATE")
            case T.ARRAY:
                return self.one("['a']", "['a', 'X', NULL, 'a']", "SPLIT('a-b-', '-')")
        return "'2020-02-29 10:00:00'::TIMESTAMP"

    def expression(self, wanted: ColumnType, scope: list[Source], depth: int = 2) -> str:
        if wanted is T.DECIMAL:
            return self.column(T.DECIMAL, scope) or self.expression(T.DOUBLE, scope, depth)
        if depth <= 0 or self.rng.random() < 0.35:
            return (self.column(wanted, scope) if self.rng.random() < 0.93 else None) or self.literal(wanted)

        def inner(kind: ColumnType) -> str:
            return self.expression(kind, scope, depth - 1)

        number = self.one(T.INTEGER, T.DOUBLE, T.DECIMAL)
        match wanted:
            case T.TEXT:
                return self.one(
                    f"UPPER({inner(T.TEXT)})",
                    f"({inner(T.TEXT)} || {inner(T.TEXT)})",
                    f"SUBSTR({inner(T.TEXT)}, {self.one(1, -2, 0)}, 2)",
                    f"CASE WHEN {inner(T.BOOLEAN)} THEN 'yes' ELSE 'no' END",
                    f"CASE WHEN {inner(T.BOOLEAN)} THEN {inner(T.TEXT)} END",
                    f"COALESCE({inner(T.TEXT)}, 'none')",
                    f"TRIM({inner(T.TEXT)})",
                    f"{inner(number)}::VARCHAR",
                    f"NULLIF({inner(T.TEXT)}, 'a')",
                    f"LEAST({inner(T.TEXT)}, {inner(T.TEXT)})",
                    f"{inner(T.TEXT)}::VARCHAR(1)",
                    f"{inner(T.ARRAY)}[{self.one('0', '1', inner(T.INTEGER))}]",
                    f"ARRAY_TO_STRING({inner(T.ARRAY)}, '-')",
                )
            case T.INTEGER:
                return self.one(
                    f"({inner(T.INTEGER)} {self.one('+', '-', '*')} {inner(T.INTEGER)})",
                    f"({inner(T.INTEGER)} % {self.one('0', '-1', '7', inner(T.INTEGER))})",
                    f"LENGTH({inner(T.TEXT)})",
                    f"{self.one('ARRAY_SIZE(', 'ARRAY_POSITION(' + inner(T.TEXT) + ', ')}{inner(T.ARRAY)})",
                    f"ABS({inner(T.INTEGER)})",
                    f"SIGN({inner(number)})",
                    f"{inner(self.one(T.TEXT, T.DOUBLE, T.DECIMAL, T.BOOLEAN))}::INTEGER",
                    f"EXTRACT({self.one('year', 'week', 'dow', 'month')} FROM {inner(T.DATE)})",
                    f"CASE WHEN {inner(T.BOOLEAN)} THEN 1 ELSE 0 END",
                    f"-{inner(T.INTEGER)}",
                )
            case T.DOUBLE:
                return self.one(
                    f"({inner(number)} {self.one('+', '-', '*', '/')} {inner(number)})",
                    f"SQRT({inner(number)})",
                    f"LN({inner(number)})",
                    f"EXP({inner(number)})",
                    f"POWER({inner(number)}, {inner(number)})",
                    f"ROUND({inner(number)}, {self.one(0, 2, -3)})",
                    f"FLOOR({inner(number)})",
                    f"{inner(T.TEXT)}::FLOAT",
                    f"LEAST(GREATEST({inner(number)}, {self.one(-5, 0, '1.5')}), {self.one(2, 10, '99.5')})",
                    f"IFF({inner(T.BOOLEAN)}, {inner(number)}, {inner(number)})",
                    f"({inner(T.DOUBLE)} % {inner(T.DOUBLE)})",
                )
            case T.BOOLEAN:
                kind = self.one(T.TEXT, T.INTEGER, T.DOUBLE, T.DECIMAL, T.DATE)
                return self.one(
                    f"{inner(kind)} {self.one('=', '<>', '<', '>=')} {inner(kind)}",
                    f"({inner(T.BOOLEAN)} {self.one('AND', 'OR')} {inner(T.BOOLEAN)})",
                    f"NOT {inner(T.BOOLEAN)}",
                    f"{inner(kind)} IS NULL",
                    f"{inner(kind)} BETWEEN {inner(kind)} AND {inner(kind)}",
                    f"{inner(T.TEXT)} LIKE '{self.one('%a%', '_', 'a%', '')}'",
                    f"{inner(T.INTEGER)} IN (0, 1, 7)",
                    f"ARRAY_CONTAINS({inner(T.TEXT)}, {inner(T.ARRAY)})",
                )
            case T.DATE:
                return self.one(
                    f"DATE_TRUNC('{self.one('month', 'week', 'year')}', {inner(T.DATE)})",
                    f"{inner(T.TEXT)}::DATE",
                    f"{self.column(T.TIMESTAMP, scope) or self.literal(T.TIMESTAMP)}::DATE",
                )
        return self.column(wanted, scope) or self.literal(wanted)

    def clamped(self, scope: list[Source]) -> str:
        """Return something that can be summed."""
        number = self.one(T.INTEGER, T.DOUBLE, T.DECIMAL)
        column = self.column(number, scope)
        if column and self.rng.random() < 0.5:
            return column
        return f"LEAST(GREATEST({self.expression(number, scope)}, {self.one(-3, 0, '0.25')}), {self.one(2, 10, 1000)})"

    # --- relations ---

    def table(self, *names: str) -> Source:
        table = self.one(*names)
        alias = self.name()
        return Source(f"{OWNER[table]}.{table} {alias}", alias, dict(SHAPES[table]), ENTITY.get(table))

    def where(self, scope: list[Source]) -> str:
        if self.rng.random() < 0.5:
            return ""
        condition = self.expression(T.BOOLEAN, scope)
        if self.rng.random() < 0.35:
            condition = self.one(self.subquery(scope), f"{self.subquery(scope)} {self.one('AND', 'OR')} {condition}")
        return f" WHERE {condition}"

    def subquery(self, scope: list[Source]) -> str:
        """Return a condition that holds a subquery, correlated or not, over anything."""
        other = self.table("visits", "trips", "lines", "own", "own")
        both = [*scope, other]
        outer = [f"{s.alias}.{s.entity}" for s in scope if s.entity] or [self.column(T.TEXT, scope) or "'a'"]
        entity = f"{other.alias}.{other.entity}" if other.entity else (self.column(T.TEXT, [other]) or "'a'")
        inside = f" WHERE {self.expression(T.BOOLEAN, [other], 1)}" if self.rng.random() < 0.5 else ""
        tie = self.one(
            f"{entity} = {self.rng.choice(outer)}",
            self.condition(scope, other),
            f"{self.column(T.TEXT, [other])} = {self.column(T.TEXT, scope) or entity}",
        )
        if self.rng.random() < 0.5:
            tie += f" AND {self.expression(T.BOOLEAN, both, 1)}"
        no = self.one("", "NOT ")
        number = self.column(T.INTEGER, [other]) or "1"
        text, listed = self.column(T.TEXT, scope) or entity, self.column(T.TEXT, [other])
        value = self.expression(T.INTEGER, scope, 1)
        return self.one(
            f"{self.rng.choice(outer)} {no}IN (SELECT {entity} FROM {other.text}{inside})",
            f"{self.expression(T.TEXT, scope, 1)} {no}IN (SELECT {listed} FROM {other.text}{inside})",
            f"{self.rng.choice(outer)} {no}IN (SELECT {entity} FROM {other.text}{inside} GROUP BY {entity} "
            f"HAVING COUNT(*) > 1)",
            f"{no}EXISTS (SELECT 1 FROM {other.text} WHERE {tie})",
            f"{no}EXISTS (SELECT 1 FROM {other.text}{inside})",
            f"{value} > (SELECT {self.one('SUM', 'MAX', 'COUNT')}({number}) FROM {other.text} WHERE {tie})",
            f"{value} > (SELECT {self.one('SUM', 'MIN', 'COUNT')}({number}) FROM {other.text}{inside})",
            f"{text} IN (SELECT {self.column(T.TEXT, [other])} FROM {other.text} WHERE {tie})",
        )

    def window(self, scope: list[Source]) -> tuple[str, ColumnType]:
        """Return a window function, over a partition by the entity more often than not."""
        entities = [f"{s.alias}.{s.entity}" for s in scope if s.entity]
        codes = [f"{s.alias}.code" for s in scope if "code" in s.columns]
        by = [self.rng.choice(entities)] if entities and self.rng.random() < 0.8 else [*codes[:1]]
        if self.rng.random() < 0.3:
            by.append(self.expression(self.one(T.TEXT, T.BOOLEAN), scope, 1))
        partition = f"PARTITION BY {', '.join(by)}" if by else ""
        number = self.one(T.INTEGER, T.DOUBLE)
        order = f" ORDER BY {self.expression(self.one(T.INTEGER, T.TEXT, T.DOUBLE), scope, 1)}{self.one('', ' DESC')}"
        frame = self.one("", "", " ROWS 1 PRECEDING", " ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING")
        call, kind = self.one(
            (f"ROW_NUMBER() OVER ({partition}{self.one(order, '')})", T.INTEGER),
            (f"{self.one('RANK', 'DENSE_RANK')}() OVER ({partition}{order})", T.INTEGER),
            (f"LAG({self.expression(number, scope, 1)}) OVER ({partition}{order})", number),
            (f"LEAD({self.expression(T.TEXT, scope, 1)}, 2, 'a') OVER ({partition}{order})", T.TEXT),
            (f"SUM({self.expression(number, scope, 1)}) OVER ({partition}{order}{frame})", number),
            (f"COUNT(*) OVER ({partition})", T.INTEGER),
            (f"FIRST_VALUE({self.expression(T.TEXT, scope, 1)}) OVER ({partition}{order})", T.TEXT),
            (f"NTILE(2) OVER ({partition}{order})", T.INTEGER),
        )
        return call, kind

    def union(self, depth: int) -> Source | None:
        """Return two subqueries of one shape, one below the other."""
        kinds = [self.one(T.TEXT, T.INTEGER, T.DOUBLE, T.BOOLEAN) for _ in range(self.rng.randint(1, 3))]
        parts = []
        for _ in "ab":
            text, scope = self.joined(depth)
            entities = [f"{s.alias}.{s.entity}" for s in scope if s.entity]
            listed = [f"{self.rng.choice(entities) if entities else self.one(chr(39) + 'a' + chr(39))} AS who"]
            listed += [f"{self.expression(kind, scope, 1)} AS v{i}" for i, kind in enumerate(kinds)]
            parts.append(f"SELECT {', '.join(listed)} FROM {text}{self.where(scope)}")
        body = f" {self.one('UNION ALL', 'UNION ALL', 'UNION', 'INTERSECT', 'EXCEPT')} ".join(parts)
        alias = self.name()
        columns = {"who": T.TEXT, **{f"v{i}": kind for i, kind in enumerate(kinds)}}
        return Source(f"({body}) {alias}", alias, columns, "who")

    def source(self, depth: int) -> Source:
        if depth <= 0 or self.rng.random() < 0.3:
            return self.table("visits", "visits", "trips", "trips", "lines", "lines", "own")
        if self.rng.random() < 0.15:
            united = self.union(depth - 1)
            if united is not None:
                return united
        body, columns, entity = self.select(depth - 1)
        alias = self.name()
        if self.rng.random() < 0.5:
            cte = self.name("c")
            self.ctes.append(f"{cte} AS ({body})")
            return Source(f"{cte} {alias}", alias, columns, entity)
        return Source(f"({body}) {alias}", alias, columns, entity)

    def flattened(self, scope: list[Source]) -> Source:
        """Return the elements of an array of the rows, or of one written out."""
        array, alias = self.expression(T.ARRAY, scope, 1), self.name()
        outer = self.one("", "", ", outer => TRUE")
        columns = {"value": T.TEXT, "index": T.INTEGER}
        return Source(f", LATERAL FLATTEN(input => {array}{outer}) {alias}", alias, columns, None)

    def joined(self, depth: int) -> tuple[str, list[Source]]:
        first = self.source(depth)
        text, scope = first.text, [first]
        if self.rng.random() < 0.15:
            scope.append(self.flattened(scope))
            text += scope[-1].text
        while len(scope) < 3 and self.rng.random() < 0.45:
            other = self.source(depth - 1)
            if self.rng.random() < 0.1:
                text += f" {self.one('SEMI', 'ANTI')} JOIN {other.text} ON {self.condition(scope, other)}"
                continue
            text += (
                f" {self.one('JOIN', 'JOIN', 'LEFT JOIN', 'RIGHT JOIN')} {other.text} ON {self.condition(scope, other)}"
            )
            scope.append(other)
        return text, scope

    def condition(self, scope: list[Source], other: Source) -> str:
        lefts = [f"{s.alias}.{s.entity}" for s in scope if s.entity]
        left = self.rng.choice(lefts) if lefts else (self.column(T.TEXT, scope) or "'a'")
        right = f"{other.alias}.{other.entity}" if other.entity else (self.column(T.TEXT, [other]) or "'a'")
        both = [*scope, other]
        same = f"{left} = {right}"
        coded = [s.alias for s in scope if "code" in s.columns] if "code" in other.columns else []
        if coded and self.rng.random() < 0.6:
            same = f"{self.rng.choice(coded)}.code = {other.alias}.code"
        if self.rng.random() < 0.5:
            return same
        return self.one(
            f"{right} = {left} AND {self.expression(T.BOOLEAN, both)}",
            f"{same} OR {self.expression(T.BOOLEAN, both)}",
            f"UPPER({left}) = {right}",
            f"({same}) = TRUE",
            f"CASE WHEN {same} THEN TRUE ELSE {self.expression(T.BOOLEAN, both, 1)} END",
            f"{self.column(T.TEXT, scope) or left} = {self.column(T.TEXT, [other]) or right}",
            f"{left} || '' = {right}",
            f"NOT ({left} <> {right})",
            "TRUE",
        )

    def select(self, depth: int) -> tuple[str, dict[str, ColumnType], str | None]:
        """Return a subquery: a projection, or an aggregation per entity (or what pretends to be one)."""
        text, scope = self.joined(depth)
        entities = [f"{s.alias}.{s.entity}" for s in scope if s.entity]
        entity = self.rng.choice(entities) if entities else None
        if entity is not None and self.rng.random() < 0.15:
            # What is shown as the entity is another thing: a constant, another column, a function of it.
            entity = self.one(
                "'a'", f"UPPER({entity})", self.column(T.TEXT, scope) or "'b'", f"COALESCE({entity}, 'a')"
            )
        listed: list[tuple[str, str, ColumnType]] = []
        name = None
        if entity is not None and self.rng.random() < 0.9:
            name = self.one("person", "who", "e", "dest")
            listed.append((name, entity, T.TEXT))
        if self.rng.random() < 0.5 and listed:
            keys = [entity or "'a'"]
            if self.rng.random() < 0.4:
                kind = self.one(T.TEXT, T.BOOLEAN, T.DATE)
                listed.append(("g1", self.expression(kind, scope), kind))
                keys.append(listed[-1][1])
            if self.rng.random() < 0.1:
                keys = [self.column(T.TEXT, scope) or "'a'"]  # another key than the entity
            number = self.one(T.INTEGER, T.DOUBLE)
            for place in range(self.rng.randint(1, 3)):
                call, kind = self.one(
                    (f"SUM({self.expression(number, scope)})", number),
                    ("COUNT(*)", T.INTEGER),
                    (f"AVG({self.expression(number, scope)})", T.DOUBLE),
                    (f"MAX({self.expression(number, scope)})", number),
                    (f"MIN({self.expression(T.TEXT, scope)})", T.TEXT),
                    (f"COUNT(DISTINCT {self.expression(T.TEXT, scope)})", T.INTEGER),
                )
                listed.append((f"v{place}", call, kind))
            tail = f" GROUP BY {', '.join(keys)}"
            if self.rng.random() < 0.25:
                tail += f" HAVING {self.one('COUNT(*) > 1', f'MAX({self.expression(number, scope)}) > 0')}"
        else:
            for place in range(self.rng.randint(1, 4)):
                kind = self.one(*VALUES)
                kind = T.DOUBLE if kind is T.DECIMAL else kind
                listed.append((f"v{place}", self.expression(kind, scope), kind))
            tail = self.one(*[""] * 20, " LIMIT 2", " ORDER BY v0 LIMIT 1")
            if self.rng.random() < 0.3:
                call, kind = self.window(scope)
                listed.append(("w", call, kind))
                if kind is T.INTEGER and self.rng.random() < 0.5:
                    tail = f" QUALIFY w {self.one('=', '<=', '<', '>')} {self.one(1, 2)}{tail}"
            elif self.rng.random() < 0.15:
                listed[0] = (listed[0][0], f"DISTINCT {listed[0][1]}", listed[0][2])
            codes = [f"{s.alias}.code" for s in scope if "code" in s.columns]
            if codes and self.rng.random() < 0.5:
                listed.append(("code", self.rng.choice(codes), T.TEXT))
        shown = ", ".join(f"{e} AS {n}" for n, e, _ in listed)
        body = f"SELECT {shown} FROM {text}{self.where(scope)}{tail}"
        return body, {n: t for n, _, t in listed}, name

    def further(self, scope: list[Source], entities: list[str], number: str) -> list[str]:
        """Return aggregates that are asked for less often."""
        condition = self.expression(T.BOOLEAN, scope)
        return [
            self.one(
                f"{self.one('VARIANCE', 'STDDEV', 'VAR_POP', 'STDDEV_POP')}({number})",
                f"{self.one('CORR', 'COVAR_POP')}({number}, {self.clamped(scope)})",
            ),
            self.one(
                f"COUNT(DISTINCT CASE WHEN {condition} THEN {self.rng.choice(entities) if entities else 'x'} END)",
                f"{self.one('SUM', 'AVG')}({condition})",
                f"SUM(CASE WHEN {condition} THEN {self.one(1, number)} ELSE 0 END)",
            ),
            self.one(
                f"COUNT(DISTINCT {self.expression(self.one(T.TEXT, T.DOUBLE, T.INTEGER, T.DATE), scope)})",
                f"{self.one('MEDIAN', 'MIN', 'MAX')}({number})",
                f"PERCENTILE_DISC(0.9) WITHIN GROUP (ORDER BY {number})",
            ),
        ]

    def query(self) -> str:
        """Return the whole text."""
        text, scope = self.joined(2)
        entities = [f"{s.alias}.{s.entity}" for s in scope if s.entity]
        keys = []
        for _ in range(self.one(0, 0, 1, 1, 2)):
            kind = self.one(T.TEXT, T.TEXT, T.BOOLEAN, T.INTEGER, T.DATE, T.DOUBLE)
            keys.append((self.column(kind, scope) if self.rng.random() < 0.6 else None) or self.expression(kind, scope))
        if self.rng.random() < 0.15:
            keys.append(
                "CASE WHEN {} THEN 'p' WHEN {} THEN 'q' END".format(*(self.expression(T.BOOLEAN, scope) for _ in "ab"))
            )
        calls = []
        for _ in range(self.rng.randint(1, 4)):
            number = self.clamped(scope)
            call = self.one(
                "COUNT(*)",
                f"COUNT({self.expression(self.one(T.TEXT, T.DOUBLE, T.INTEGER), scope)})",
                f"COUNT_IF({self.expression(T.BOOLEAN, scope)})",
                f"COUNT(DISTINCT {self.rng.choice(entities) if entities else 'x'})",
                f"SUM({number})",
                f"AVG({number})",
                f"SUM({number}) / COUNT({number})",
                *(self.further(scope, entities, number) if self.rng.random() < 0.4 else []),
            )
            if self.rng.random() < 0.1 and call.count("(") and "/" not in call:
                call += f" FILTER (WHERE {self.expression(T.BOOLEAN, scope)})"
            if self.rng.random() < 0.15:
                call = (
                    f"cleanroom.addnoise({call}, {self.one('0.5', '2', '0.000001')}, 0.5, {self.one('TRUE', 'FALSE')})"
                )
            calls.append(call)
        shown = [f"{e} AS k{i}" for i, e in enumerate(keys)] + [f"{e} AS a{i}" for i, e in enumerate(calls)]
        by = [self.one(str(i + 1), str(i + 1) if e.isdigit() else e) for i, e in enumerate(keys)]
        if self.rng.random() < 0.3:
            by = [f"cleanroom.or_other({e})" for e in keys]
        tail = f" GROUP BY {', '.join(by)}" if keys else ""
        body = f"SELECT {', '.join(shown)} FROM {text}{self.where(scope)}{tail}"
        return f"WITH {', '.join(self.ctes)} {body}" if self.ctes else body


def database(rng: random.Random) -> Rows:
    """Return rows: few entities, many coincidences, one entity that is much heavier than the others."""
    people = rng.sample(NAMES, rng.randint(2, 5))
    heavy = rng.choice(people)
    found: Rows = {}
    codes = rng.sample(VALUES[T.TEXT], 4)
    for table, shape in SHAPES.items():
        found[table] = []
        for _ in range(rng.choice([0, 3, 12, 30])):
            row = [rng.choice(VALUES[t]) for t in shape.values()]
            row[0] = heavy if rng.random() < 0.4 else rng.choice(people)
            if "code" in shape:
                row[list(shape).index("code")] = rng.choice(codes)
            found[table].append(tuple(row))
    return found


def without(rows: Rows, entity: str) -> Rows:
    """Return the neighbouring database: no row of that entity in any protected table.

    Lines go with the entity whose code they have, unless somebody else has the code as well.
    """
    less = {
        table: [r for r in listed if table not in ENTITY or r[list(SHAPES[table]).index(ENTITY[table])] != entity]
        for table, listed in rows.items()
    }
    code = list(SHAPES["trips"]).index("code")
    owners: dict[Any, set[Any]] = {}
    for row in rows["trips"]:
        if row[0] is not None:
            owners.setdefault(row[code], set()).add(row[0])
    less["lines"] = [r for r in rows["lines"] if owners.get(r[0]) != {entity}]
    return less


Cell = tuple[object, object]
"""A group, and which of the numbers that a column measures of it."""

Exact = tuple[tuple[str, ...], tuple[str, ...], dict[tuple[Any, ...], tuple[int, ...]]]


def exact_tables(plan: Plan, rows: Rows, connection: duckdb.DuckDBPyConnection) -> dict[str, Exact]:
    """Return for each measurement column names, types, and keys -> measured integers."""
    for use in plan.tables:
        shape = SHAPES[use.table.name]
        declared = ", ".join(f'"{n}" {NATIVE[t]}' for n, t in shape.items())
        connection.execute(f"CREATE OR REPLACE TABLE {use.relation} ({declared})")
        if rows[use.table.name]:
            connection.executemany(
                f"INSERT INTO {use.relation} VALUES ({', '.join('?' * len(shape))})", rows[use.table.name]
            )
    found = {}
    for m in plan.measurements:
        answer = connection.execute(m.exact_sql, {"run_key": 7} if "$run_key" in m.exact_sql else None)
        names = tuple(d[0] for d in answer.description)
        types = tuple(str(d[1]) for d in answer.description)
        table: dict[tuple[Any, ...], tuple[int, ...]] = {}
        for row in answer.fetchall():
            key = tuple(as_shown(v) for v in row[: len(m.keys)])
            if key in table:
                raise LeakError("a group appears twice")
            table[key] = row[len(m.keys) :]
        found[m.name] = (names, types, table)
    return found


def as_shown(key: Any) -> Any:
    """Return a group key so that what is shown in two ways differs: 0 and -0, and NaN with either sign."""
    if isinstance(key, float) and (math.isnan(key) or key == 0):
        return f"{math.copysign(1.0, key):+.0f} {abs(key)}"
    return key


class LeakError(Exception):
    """One entity shows more than is declared."""


def compare(m: Measurement, one: Exact, other: Exact, *, max_groups: int) -> None:
    """Compare the exact tables of neighbours.

    Raises:
        LeakError: names, types or public keys differ, or a column moves by more than its declared sensitivity.
    """
    if one[:2] != other[:2]:
        raise LeakError("columns or types differ")
    with_, less = one[2], other[2]
    if m.partition_selection is None and list(with_) != list(less):
        raise LeakError("public keys differ")
    place_of = {c.name: place for place, c in enumerate(m.columns)}
    for together in m.drawn_together:
        moves: list[dict[Cell, int]] = []  # of each column
        for c in together:
            cells = [
                {cell: n for key, row in table.items() for cell, n in counted(c, key, row[place_of[c.name]])}
                for table in (with_, less)
            ]
            moves.append({cell: cells[0].get(cell, 0) - cells[1].get(cell, 0) for cell in {*cells[0], *cells[1]}})
        first = together[0]
        # Of a vector it is the most that any of its columns moves in a group.
        largest = [max(abs(of_column[cell]) for of_column in moves) for cell in moves[0]]
        moved = sum(x * x for x in largest) if first.norm == "l2" else sum(largest)
        if moved > first.sensitivity:
            raise LeakError(f"{', '.join(c.meaning for c in together)}: moved {moved}, declared {first.sensitivity}")
        if first.other_noise is not None:
            check_other_row(first, moves)
    if m.partition_selection is not None:
        if {*less} - {*with_}:
            raise LeakError("a group disappears because an entity is there")
        column = next(i for i, c in enumerate(m.columns) if c.name == m.partition_selection.column)
        alone = [with_[key][column] for key in {*with_} - {*less}]
        if len(alone) > HARD_LIMIT * max_groups:
            raise LeakError(f"{len(alone)} groups of one entity")
        noise, unit = m.columns[column].noise, int(1 / m.columns[column].unit)
        weight = own_weight(noise=noise, unit=unit, max_groups=max_groups, groups=max(len(alone), 1))
        if any(count > weight for count in alone):
            raise LeakError("a lone entity weighs more in its groups than the threshold takes it to")


def check_other_row(first: MeasuredColumn, moves: list[dict[Cell, int]]) -> None:
    """Compare shown groups and other row together, for several choices of the groups that are shown.

    Args:
        first: of the columns that get noise together; mostly it is the only one.
        moves: of each of those, how far each cell moves.

    Raises:
        LeakError: they spend more than the columns pay.
    """
    groups = sorted({key for key, _ in moves[0]}, key=repr)
    for seed in range(4):
        hidden = set(groups if not seed else random.Random(seed).sample(groups, len(groups) // 2))
        shown = [max(abs(m[cell]) for m in moves) for cell in moves[0] if cell[0] not in hidden]
        rests: list[Counter[object]] = []
        for of_column in moves:
            rests.append(Counter())
            for (key, node), moved in of_column.items():
                rests[-1][node] += moved if key in hidden else 0
        rest = [max(abs(r[node]) for r in rests) for node in rests[0]]
        if isinstance(first.noise, DiscreteGaussian) and isinstance(first.other_noise, DiscreteGaussian):
            wider = first.other_noise.sigma_squared / first.noise.sigma_squared
            spent = sum(x * x for x in shown) + sum(x * x for x in rest) / wider
        else:
            spent = Fraction(sum(shown) + sum(rest))
        if spent > first.sensitivity:
            raise LeakError(f"{first.meaning}: with an other row moved {float(spent)}, declared {first.sensitivity}")


def counted(c: MeasuredColumn, key: object, value: Any) -> list[tuple[Cell, int]]:
    """Return what gets noise: one number of a group, or every node of the tree above its bins."""
    if c.bins is None:
        return [((key, None), value)]
    nodes: Counter[Cell] = Counter()
    for entry in value or []:
        nodes[key, ("bin", entry["b"])] += entry["n"]
        if c.bins.upper:
            nodes[key, ("above", entry["b"] // c.bins.below)] += entry["n"]
    return list(nodes.items())


def check_price(plan: Plan) -> None:
    """Compare what the noise of all columns but Gaussian ones spends with the price.

    Raises:
        LeakError: the price is less.
    """
    first = [together[0] for m in plan.measurements for together in m.drawn_together]
    spent = sum(
        (Fraction(c.sensitivity) / c.noise.scale for c in first if isinstance(c.noise, DiscreteLaplace | DiscreteCube)),
        Fraction(0),
    )
    if spent * 10**6 > plan.price.micro_epsilon:
        raise LeakError(f"spends {float(spent)}, priced {plan.price.micro_epsilon} micro-epsilon")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One query with its settings and bounds."""

    sql: str
    settings: PrivacySettings
    tables: tuple[LinkedTable, ...]

    def compiled(self) -> Plan:
        """Compile it. Raises CleanRoomError."""
        rendered = RenderedQuery(sql=self.sql, dialect="snowflake", tables={t.full_name: t for t in self.tables})
        share = Fraction(1, 4) if len(self.sql) % 3 == 0 else None  # some of them also ask what the bounds cut off
        context = CompileContext(reader="shop", settings=self.settings, clipping_share=share)
        return compile_query(rendered, template=Template(name="tried", text=self.sql), context=context)


def random_case(rng: random.Random) -> Case:
    """Return a case; most are refused."""
    settings = PrivacySettings(differential=True, epsilon=Fraction(rng.choice(["0.1", "1", "3"])))
    if rng.random() < 0.4:
        settings = replace(settings, noise_mechanism=NoiseMechanism.GAUSSIAN)
    bounds = {"max_rows": rng.choice([1, 2, 5]), "max_groups": rng.choice([1, 2, 3]), "domains": rng.random() < 0.6}
    return Case(sql=Queries(rng).query(), settings=settings, tables=tuple(linked(name, **bounds) for name in SHAPES))


def tried(
    case: Case,
    rng: random.Random,
    connection: duckdb.DuckDBPyConnection,
    *,
    databases: int = 2,
    mistake: Callable[[Plan], Plan] = lambda plan: plan,
) -> int | None:
    """Return how many neighbours were compared, or None where the case is refused; `mistake` is planted in the plan.

    Raises:
        LeakError: with what moved.
        Exception: the engine's own, where a query failed: an error that a row can bring about is a leak, too.
    """
    try:
        plan = mistake(case.compiled())
    except CleanRoomError:
        return None
    check_price(plan)
    pairs = 0
    k = max(t.policy.max_groups or 1 for t in case.tables)
    for _ in range(databases):
        rows = database(rng)
        everyone = exact_tables(plan, rows, connection)
        people = sorted({r[0] for table in ENTITY for r in rows[table] if r[0] is not None})
        for person in rng.sample(people, min(2, len(people))):
            fewer = exact_tables(plan, without(rows, person), connection)
            for m in plan.measurements:
                compare(m, everyone[m.name], fewer[m.name], max_groups=k)
            pairs += 1
    return pairs


def fuzz(*, seed: int, cases: int, pairs: int = 10**9) -> tuple[Counter[str], list[tuple[str, Case]]]:
    """Try random cases until so many of them, or so many neighbours, were tried.

    Returns:
        How many cases were refused and accepted and how many neighbours were compared; what was found, with its case.
    """
    rng = random.Random(seed)
    connection = duckdb.connect(config={"threads": 1})
    counted: Counter[str] = Counter()
    found: list[tuple[str, Case]] = []
    for _ in range(cases):
        if counted["pairs"] >= pairs:
            break
        case = random_case(rng)
        try:
            compared = tried(case, rng, connection)
        except (LeakError, duckdb.Error) as failure:
            found.append((f"{type(failure).__name__}: {failure}", case))
            continue
        counted["refused" if compared is None else "accepted"] += 1
        counted["pairs"] += compared or 0
    return counted, found
