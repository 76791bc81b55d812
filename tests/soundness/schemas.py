"""Random linked tables with policies, and the values that their columns may have.

Tables of one or two parties with one entity column; tables with two or three, whose rows are joined into entities;
tables that are owned through a key, in one or two steps; the reader's own. A second party may have DP off for the
reader.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pyarrow as pa

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

if TYPE_CHECKING:
    import random

T = ColumnType
READER, OWNER, OTHER_OWNER = "shop", "airline", "hotel"
NATIVE = {
    T.INTEGER: "BIGINT",
    T.DECIMAL: "DECIMAL(15,2)",
    T.DOUBLE: "DOUBLE",
    T.BOOLEAN: "BOOLEAN",
    T.DATE: "DATE",
    T.TIMESTAMP: "TIMESTAMP",
    T.TEXT: "VARCHAR",
}
ARROW = {
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
KEYS = ("code", "nr", "code_of", "nr_of")
"""Columns of keys: their values are few, and the same in all tables."""

Rows = dict[str, list[dict[str, Any]]]
"""Table -> rows; a row is column -> value."""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The tables of one room.

    Attributes:
        tables: as linked.
        written: column -> how a template writes its name.
        entity_type: of all entity columns, but some of tables that have several.
        exempt: owners who have DP off for the reader.
    """

    tables: tuple[LinkedTable, ...]
    written: dict[str, str]
    entity_type: ColumnType
    exempt: frozenset[str] = frozenset()

    def named(self, name: str) -> LinkedTable:
        return next(t for t in self.tables if t.name == name)

    def way(self, table: LinkedTable) -> tuple[LinkedTable, ...]:
        """Return the tables through which it is owned, itself first; the last has the entity."""
        through = table.policy.owned_through
        return (table,) if through is None else (table, *self.way(self.named(through.parent)))

    def is_protected(self, table: LinkedTable) -> bool:
        """Return whether the rows are protected from the reader."""
        off = table.owner in self.exempt and not any(t.policy.min_entities for t in self.way(table))
        return table.owner != READER and not off

    @property
    def protected(self) -> tuple[LinkedTable, ...]:
        return tuple(t for t in self.tables if self.is_protected(t))

    def kind_of(self, table: LinkedTable) -> str:
        """Return the kind of a protected table's entities: joined entities are of a kind of their own."""
        last = self.way(table)[-1]
        return last.entity_columns[0].kind if len(last.entity_columns) == 1 else f"joined in {last.name}"

    def entity_of(self, name: str) -> str | None:
        """Return the column of a protected table that shows the entity."""
        table = self.named(name)
        return table.entity_columns[0].column if self.is_protected(table) and len(table.entity_columns) == 1 else None


def random_schema(rng: random.Random, *, focus: frozenset[str] = frozenset()) -> Schema:
    """Return a room with one to nine protected tables, and one or two of the reader's.

    Args:
        rng: decides all.
        focus: first letters of tables that there must be: `j` with several entity columns, `c` owned through a key.
    """
    kind = rng.choice([T.TEXT, T.TEXT, T.TEXT, T.INTEGER, T.DATE])
    owners = [OWNER, OWNER, OTHER_OWNER] if rng.random() < 0.45 else [OWNER]
    exempt = frozenset([OTHER_OWNER]) if rng.random() < 0.35 else frozenset()
    made = _Tables(rng, kind, exempt)
    parents = [made.table(f"p{i}", rng.choice(owners) if i else OWNER, [kind]) for i in range(rng.randint(1, 3))]
    if "j" in focus or rng.random() < 0.25:
        more = [rng.choice([kind, kind, T.TEXT, T.INTEGER]) for _ in range(rng.choice([1, 1, 2]))]
        parents.append(made.table("j0", OWNER, [kind, *more]))
    for number in range(1 if "c" in focus else rng.choice([0, 0, 1, 1, 2])):
        child = made.child(f"c{number}", rng.choice(parents))
        if rng.random() < 0.5:
            made.child(f"g{number}", child)
    for number in range(rng.randint(1, 2)):
        made.table(f"own{number}", READER, [kind])
    return Schema(tables=tuple(made.tables.values()), written=made.written, entity_type=kind, exempt=exempt)


class _Tables:
    """Makes linked tables."""

    def __init__(self, rng: random.Random, kind: ColumnType, exempt: frozenset[str]) -> None:
        self.rng, self.kind, self.exempt = rng, kind, exempt
        self.written: dict[str, str] = {}
        self.tables: dict[str, LinkedTable] = {}

    def table(self, name: str, owner: str, kinds: list[ColumnType]) -> LinkedTable:
        """Return a table whose first columns are of these types: of the reader's as others, else entity columns."""
        first = self.rng.choice(["person", "who", "e"])
        names = [first, "phone", "card"][: len(kinds)]
        columns = [self._column(n, k) for n, k in zip(names, kinds, strict=True)]
        entities = [EntityColumn(column=first, kind="email")]
        entities += [EntityColumn(column=n, kind=self.rng.choice(["email", "email", "phone"])) for n in names[1:]]
        return self._linked(name, owner, columns, entities)

    def child(self, name: str, parent: LinkedTable) -> LinkedTable:
        """Return a table that is owned through a key of another, which gets the columns of the key, if need be."""
        parent = self.tables[parent.name]
        key: list[tuple[Column, Column]] = []
        for of_parent in ("code", "nr")[: self.rng.choice([1, 1, 2])]:
            column = parent.column(of_parent)
            if column is None:
                column = self._column(of_parent, self.rng.choice([T.TEXT, T.INTEGER, T.DATE, T.BOOLEAN]))
                parent = replace(parent, columns=(*parent.columns, column))
            named = self.rng.choice([of_parent, f"{of_parent}_of"])
            key.append((self._column(named, column.type), column))
        self.rng.shuffle(key)
        self.tables[parent.name] = parent
        through = OwnedThrough(
            parent=parent.name,
            columns=tuple((mine.name, theirs.name) for mine, theirs in key),
            unique=self.rng.random() < 0.3,
        )
        return self._linked(name, parent.owner, [mine for mine, _ in key], [], through=through, above=parent)

    def _column(self, name: str, kind: ColumnType) -> Column:
        self.written.setdefault(name, name)
        return Column(name=name, type=kind, native_type=NATIVE[kind])

    def _linked(
        self,
        name: str,
        owner: str,
        columns: list[Column],
        entities: list[EntityColumn],
        *,
        through: OwnedThrough | None = None,
        above: LinkedTable | None = None,
    ) -> LinkedTable:
        bounds, domains = {}, {}
        taken = {c.name for c in columns}
        for spelled in self.rng.sample([n for n in NAMES if n not in taken], self.rng.randint(3, 6)):
            column = spelled.strip('"')
            kind = self.rng.choice(
                [T.TEXT, T.TEXT, T.INTEGER, T.DOUBLE, T.DOUBLE, T.DECIMAL, T.BOOLEAN, T.DATE, T.TIMESTAMP]
            )
            self.written[column] = spelled
            columns.append(Column(name=column, type=kind, native_type=NATIVE[kind]))
            if kind in (T.INTEGER, T.DOUBLE, T.DECIMAL) and self.rng.random() < 0.7:
                bounds[column.lower()] = _bounds(self.rng)
            if kind in (T.DATE, T.TIMESTAMP) and self.rng.random() < 0.6:
                bounds[column.lower()] = _moments(self.rng, kind)
            if kind in DOMAINS and self.rng.random() < 0.45:
                listed = DOMAINS[kind]
                domains[column.lower()] = Domain(
                    values=tuple(self.rng.sample(listed, self.rng.randint(1, len(listed))))
                )
        policy = TablePolicy(bounds=bounds, domains=domains)
        if owner == READER:
            table = LinkedTable(owner=owner, name=name, columns=tuple(columns), policy=policy)
        else:
            least = self.rng.choice([0] * 8 + [1, 2])
            if owner in self.exempt:  # all tables of one way are protected, or none
                least = above.policy.min_entities if above is not None else self.rng.choice([0, 1, 2])
            policy = replace(
                policy,
                max_rows=self.rng.choice([1, 2, 5]),
                max_groups=self.rng.choice([1, 2, 3]),
                min_entities=least,
                owned_through=through,
            )
            table = LinkedTable(
                owner=owner, name=name, columns=tuple(columns), entity_columns=tuple(entities), policy=policy
            )
        self.tables[name] = table
        return table


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


def _moments(rng: random.Random, kind: ColumnType) -> ColumnBounds:
    """Return a range of dates or timestamps: of days, of a century, of all there are."""
    lo, hi = rng.choice([(18262, 18291), (18320, 18322), (-25567, 25567), (-719162, 2932896)])
    unit = 1 if kind is T.DATE else 86_400_000_000
    return ColumnBounds(lo=Fraction(lo * unit), hi=Fraction(hi * unit), kind=kind)
