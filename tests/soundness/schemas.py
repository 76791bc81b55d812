"""Random linked tables with policies, and random rows for them: few entities, many coincidences, one heavy entity."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cleanroom.rooms.tables import Column, ColumnBounds, ColumnType, Domain, EntityColumn, LinkedTable, TablePolicy

if TYPE_CHECKING:
    import random

T = ColumnType
READER, OWNER = "shop", "airline"
NATIVE = {
    T.INTEGER: "BIGINT",
    T.DECIMAL: "DECIMAL(15,2)",
    T.DOUBLE: "DOUBLE",
    T.BOOLEAN: "BOOLEAN",
    T.DATE: "DATE",
    T.TIMESTAMP: "TIMESTAMP",
    T.TEXT: "VARCHAR",
}
_ARROW = {
    T.INTEGER: pa.int64(),
    T.DECIMAL: pa.decimal128(15, 2),
    T.DOUBLE: pa.float64(),
    T.BOOLEAN: pa.bool_(),
    T.DATE: pa.date32(),
    T.TIMESTAMP: pa.timestamp("us"),
    T.TEXT: pa.string(),
}
TEXTS = ["a", "A", "b", "", " ", "a ", "gold", "X", "12", "-0", "2020-02-30", "2020-02-29", "é"]
DAYS = [date(2020, 2, 29), date(1, 1, 1), date(9999, 12, 31), date(1969, 12, 31), date(2021, 7, 4)]
ENTITIES: dict[ColumnType, list[Any]] = {
    T.TEXT: ["a", "A", "b", "", " ", "a ", "gold", None],
    T.INTEGER: [0, 1, 2, -1, 2**63 - 1, -(2**63), None],
    T.DATE: [*DAYS, None],
}
VALUES: dict[ColumnType, list[Any]] = {
    T.TEXT: [None, *TEXTS],
    T.INTEGER: [None, 0, 1, 2, 3, -1, 7, 120, 2**63 - 1, -(2**63), 2**62, 10**15],
    T.DOUBLE: [None, 0.0, -0.0, 0.1, 1.5, 2.5, -10.0, 29.999999, 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf],
    T.DECIMAL: [None, *map(Decimal, ("0", "0.01", "7.50", "9999999999999.99", "-9999999999999.99"))],
    T.BOOLEAN: [None, True, False],
    T.DATE: [None, *DAYS],
    T.TIMESTAMP: [None, *map(datetime.fromisoformat, ("2020-02-29T23:59:59.999999", "0001-01-01", "9999-12-31"))],
}
DOMAINS: dict[ColumnType, list[Any]] = {
    T.TEXT: ["gold", "a", "", "never"],
    T.INTEGER: [0, 1, 2, 7, -1],
    T.DATE: ["2020-02-29", "1969-12-31", "2000-01-01"],
    T.BOOLEAN: [True, False],
}
NAMES = ("v", "w", "x", "y", "z", "e", "k0", '"order"', '"x y"', "Mixed", '"é"', "entity")
"""Some are also names of ours in exact queries: they must not meet."""

Rows = dict[str, list[dict[str, Any]]]
"""Table -> rows; a row is column -> value."""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The tables of one room.

    Attributes:
        tables: as linked.
        written: column -> how a template writes its name.
    """

    tables: tuple[LinkedTable, ...]
    written: dict[str, str]

    def named(self, name: str) -> LinkedTable:
        return next(t for t in self.tables if t.name == name)

    @property
    def protected(self) -> tuple[LinkedTable, ...]:
        return tuple(t for t in self.tables if t.owner != READER)

    def entity_of(self, name: str) -> str | None:
        """Return the entity column of a protected table."""
        table = self.named(name)
        return table.entity_columns[0].column if table.owner != READER else None


def random_schema(rng: random.Random) -> Schema:
    """Return one to three protected tables with one kind of entity, and one or two of the reader's."""
    entity_type = rng.choice([T.TEXT, T.TEXT, T.TEXT, T.INTEGER, T.DATE])
    written: dict[str, str] = {}
    tables = [_table(rng, f"p{number}", OWNER, entity_type, written) for number in range(rng.randint(1, 3))]
    tables += [_table(rng, f"own{number}", READER, entity_type, written) for number in range(rng.randint(1, 2))]
    return Schema(tables=tuple(tables), written=written)


def _table(rng: random.Random, name: str, owner: str, entity_type: ColumnType, written: dict[str, str]) -> LinkedTable:
    first = rng.choice(["person", "who", "e"])
    written[first] = first
    columns = [Column(name=first, type=entity_type, native_type=NATIVE[entity_type])]
    bounds, domains = {}, {}
    for spelled in rng.sample([n for n in NAMES if n != first], rng.randint(3, 6)):
        column = spelled.strip('"')
        kind = rng.choice([T.TEXT, T.TEXT, T.INTEGER, T.DOUBLE, T.DOUBLE, T.DECIMAL, T.BOOLEAN, T.DATE, T.TIMESTAMP])
        written[column] = spelled
        columns.append(Column(name=column, type=kind, native_type=NATIVE[kind]))
        if kind in (T.INTEGER, T.DOUBLE, T.DECIMAL) and rng.random() < 0.7:
            bounds[column.lower()] = _bounds(rng)
        if kind in DOMAINS and rng.random() < 0.45:
            listed = DOMAINS[kind]
            domains[column.lower()] = Domain(values=tuple(rng.sample(listed, rng.randint(1, len(listed)))))
    policy = TablePolicy(bounds=bounds, domains=domains)
    if owner == READER:
        return LinkedTable(owner=owner, name=name, columns=tuple(columns), policy=policy)
    policy = replace(
        policy,
        max_rows=rng.choice([1, 2, 5]),
        max_groups=rng.choice([1, 2, 3]),
        min_entities=rng.choice([0] * 8 + [1, 2]),
    )
    entity = EntityColumn(column=first, kind="email")
    return LinkedTable(owner=owner, name=name, columns=tuple(columns), entity_columns=(entity,), policy=policy)


def _bounds(rng: random.Random) -> ColumnBounds:
    lo, hi = rng.choice(
        [
            ("0", "120"),
            ("-10", "30"),
            ("0", "1"),
            ("1", "2"),
            ("-7", "-3"),
            ("0.1", "0.3"),
            ("0", "1000000000"),
            ("-5", "5"),
            ("-1/3", "100"),
        ]
    )
    return ColumnBounds(lo=Fraction(lo), hi=Fraction(hi))


def random_rows(rng: random.Random, schema: Schema) -> Rows:
    """Return the rows of all tables."""
    kind = schema.tables[0].columns[0].type
    people = rng.sample(ENTITIES[kind], rng.randint(2, 4))
    heavy = rng.choice(people)
    found: Rows = {}
    for table in schema.tables:
        found[table.name] = []
        few = {c.name: rng.sample(VALUES[c.type], min(3, len(VALUES[c.type]))) for c in table.columns}
        for _ in range(rng.choice([0, 3, 8, 14] if table.owner != READER else [0, 2, 5])):
            row = {c.name: rng.choice(few[c.name]) for c in table.columns}
            row[table.columns[0].name] = heavy if rng.random() < 0.4 else rng.choice(people)
            found[table.name].append(row)
    return found


def without(schema: Schema, rows: Rows, entity: Any) -> Rows:
    """Return the neighbouring database: no row of that entity in any protected table."""
    fewer = dict(rows)
    for table in schema.protected:
        column = schema.entity_of(table.name)
        fewer[table.name] = [r for r in rows[table.name] if r[column] != entity]
    return fewer


def entities(schema: Schema, rows: Rows) -> list[Any]:
    """Return all entities of the protected tables, in a fixed order."""
    found = {r[schema.entity_of(t.name)] for t in schema.protected for r in rows[t.name]}
    return sorted(found - {None}, key=repr)


def arrow(table: LinkedTable, rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows as the engine gets them."""
    return pa.table({c.name: pa.array([r[c.name] for r in rows], type=_ARROW[c.type]) for c in table.columns})
