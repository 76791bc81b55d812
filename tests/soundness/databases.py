"""Random rows for the tables of a room: few entities, many coincidences, one heavy entity, rows that are wholly alike.

`random_rows` makes the small databases that the slow reference can compute; `random_crowd` one of hundreds of rows, of
which most are alike: where the engine's chance decides anything, it shows there.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cleanroom.rooms.tables import ColumnType
from tests.soundness.owners import labels
from tests.soundness.schemas import ARROW, ENTITIES, KEYS, READER, VALUES, Rows, Schema

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from cleanroom.rooms.tables import LinkedTable

T = ColumnType
PEOPLE = 44
"""Entities of a crowd. Below about 40 of them, or 300 rows, the engine sorts rows that are alike in one way always."""


def random_rows(rng: random.Random, schema: Schema) -> Rows:
    """Return the rows of all tables; in every third database they are alike, many of them wholly."""
    alike = rng.random() < 0.35
    people = rng.sample(ENTITIES[schema.entity_type], rng.randint(2, 4))
    heavy = rng.choice(people)
    pools = {kind: rng.sample(values, min(rng.randint(2, 4), len(values))) for kind, values in VALUES.items()}
    found: Rows = {}
    for table in schema.tables:
        most = rng.choice([1, 1, 2]) if alike else 3
        few = {c.name: rng.sample(VALUES[c.type], min(most, len(VALUES[c.type]))) for c in table.columns}
        few |= {c.name: pools[c.type] for c in table.columns if c.name in KEYS}
        number = rng.choice([0, 3, 8, 14] if table.owner != READER else [0, 2, 5])
        rows = [{c.name: rng.choice(few[c.name]) for c in table.columns} for _ in range(number)]
        for row in rows:
            if table.policy.owned_through is None:
                row[table.columns[0].name] = heavy if rng.random() < 0.4 else rng.choice(people)
        _join(rng, table, rows, people)
        found[table.name] = _copied(rng, table, rows) if alike and rows else rows
    for table in schema.tables:
        through = table.policy.owned_through
        if through is not None and through.unique and rng.random() < 0.7:
            of_parent = [name for _, name in through.columns]
            by_key = {tuple(row[name] for name in of_parent): row for row in found[through.parent]}
            found[through.parent] = list(by_key.values())
    return found


def _join(rng: random.Random, table: LinkedTable, rows: list[dict[str, Any]], people: list[Any]) -> None:
    """Give rows of a table with several entity columns values in some of these: in all, in one, or in a few."""
    names = [e.column for e in table.entity_columns]
    if len(names) < 2:
        return
    known = [p for p in people if p is not None]
    for row in rows:
        for name in names[1:]:
            column = table.column(name)
            assert column is not None
            alike = [e for e in table.entity_columns if e.column == name and e.kind == table.entity_columns[0].kind]
            same = column.type is table.columns[0].type
            pool = known if same and (alike or rng.random() < 0.3) else []
            row[name] = rng.choice([*pool, *ENTITIES[column.type][: 2 if pool else 4]])
        filled = rng.choice([names, names[:1], *([n] for n in names), rng.sample(names, 2), rng.sample(names, 2)])
        for name in names:
            row[name] = row[name] if name in filled else None


def _copied(rng: random.Random, table: LinkedTable, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return at most as many rows, most of them copies of others: whole, or as rows of another entity."""
    kept = rows[: max(len(rows) // 2, 1)]
    copies = []
    for row in rng.choices(kept, k=len(rows) - len(kept)):
        of = rng.choice(rows)
        others = {e.column: of[e.column] for e in table.entity_columns} if rng.random() < 0.4 else {}
        copies.append({**row, **others})
    return [*kept, *copies]


def random_crowd(rng: random.Random, schema: Schema) -> Rows:
    """Return a database of which one or two tables have hundreds of rows of many entities, most of them alike."""
    found = random_rows(rng, schema)
    people = [_person(schema.entity_type, i) for i in range(PEOPLE)]
    large = [t for t in schema.protected if t.policy.owned_through is None]
    for table in rng.sample(large, min(len(large), 2)):
        few = {c.name: rng.sample(VALUES[c.type], rng.choice([1, 1, 1, 2])) for c in table.columns}
        rows = [{c.name: rng.choice(few[c.name]) for c in table.columns} for _ in range(rng.randint(300, 360))]
        for row in rows:
            row[table.columns[0].name] = rng.choice(people)
            for e in table.entity_columns[1:]:
                row[e.column] = None if rng.random() < 0.9 else row[e.column]
        found[table.name] = rows
    return found


def _person(kind: ColumnType, number: int) -> Any:
    """Return an entity of its own."""
    if kind is T.TEXT:
        return f"p{number}"
    return number + 10 if kind is T.INTEGER else date(2021, 1, 1) + timedelta(days=number)


def arrow(
    table: LinkedTable,
    rows: list[dict[str, Any]],
    labelled: Callable[[LinkedTable, list[dict[str, Any]]], list[str | None]] = labels,
) -> pa.Table:
    """Return rows as the engine gets them: with their label, where entities are joined from several columns.

    Args:
        table: as linked.
        rows: of it.
        labelled: gives each row its label.
    """
    columns = {c.name: pa.array([r[c.name] for r in rows], type=ARROW[c.type]) for c in table.columns}
    if table.entity_label is not None:
        columns[table.entity_label] = pa.array(labelled(table, rows), type=pa.string())
    return pa.table(columns)
