"""The labels of joined entities as the product makes them, for the soundness check to run plans on.

What is compared with them, `owners.labels`, floods the rows and knows nothing of keys, links or look-ups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from cleanroom.adapters.duckdb_components import LABELS, join_entities, row_key
from cleanroom.adapters.duckdb_sandbox import Sandbox
from tests.soundness.databases import arrow
from tests.soundness.owners import labels

if TYPE_CHECKING:
    from cleanroom.rooms.tables import LinkedTable

Labelling = Callable[["LinkedTable", list[dict[str, Any]]], list[str | None]]
"""Table and rows -> the label of each row."""


class _Engine(Sandbox):
    """A sandbox without limits that stays open: to open one takes longer than to join a few rows."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"threads": 1})

    def trusted(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, dict(parameters or {})).fetchall()


class StoredLabels:
    """Gives each row the label that a run sees: the one that is stored for its key, or else the key."""

    def __init__(self) -> None:
        self.sandbox = _Engine()

    def __call__(self, table: LinkedTable, rows: list[dict[str, Any]]) -> list[str | None]:
        """Return the labels, in the order of the rows."""
        place = pa.array(range(len(rows)), pa.int64())
        values = arrow(table, rows, lambda _, listed: [None] * len(listed))
        self.sandbox.register("rows", values.append_column("place_", place))
        join_entities(self.sandbox, "rows", table)
        found = self.sandbox.trusted(
            f"SELECT r.place_, coalesce(l.label, r.k) FROM (SELECT place_, {row_key(table)} AS k FROM rows) r "
            f"LEFT JOIN {LABELS} l ON l.key = r.k ORDER BY ALL"
        )
        for made in ("entity_links", "entity_values", "entity_edges", LABELS):
            self.sandbox.trusted(f"DROP TABLE {made}")
        if [number for number, _ in found] != list(range(len(rows))):
            raise AssertionError("a row has two labels")
        return [label for _, label in found]


def same_entities(table: LinkedTable, rows: list[dict[str, Any]], labelled: Labelling) -> bool:
    """Return whether the rows are joined exactly as flooding joins them, whatever the entities are called."""
    one, other = labelled(table, rows), labels(table, rows)
    met = set(zip(one, other, strict=True))
    return all((a is None) == (b is None) for a, b in met) and len(met) == len(set(one)) == len(set(other))
