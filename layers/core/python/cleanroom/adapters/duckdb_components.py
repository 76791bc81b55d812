"""Connected components in SQL: joins rows that share an entity value into entities, inside a sandbox. Adapter.

What comes out are the *labels*: key -> label, for the keys by which rows are looked up and only where the two differ.
Where nobody has two addresses, there are none. A row is looked up by the first of its entity columns that is not
NULL; so its label depends on its own values and on no order of rows, files or threads.

Large-star and small-star steps alternate until the graph is a forest of stars (Kiveris, Lattanzi, Mirrokni, Rastogi,
Vassilvitskii, "Connected Components in MapReduce and Beyond", SoCC 2014, section 4). Each step keeps what is
connected, and no step adds an edge; the engine spills what does not fit in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.adapters.duckdb_sandbox import quoted
from cleanroom.rooms.entity_joining import key_spaces

if TYPE_CHECKING:
    from cleanroom.adapters.duckdb_sandbox import Sandbox
    from cleanroom.rooms.tables import LinkedTable

LABELS = "entity_labels"
"""The table that `join_entities` leaves in the sandbox: `key`, `label`; each key once."""

_LARGE_STAR = """
CREATE OR REPLACE TEMP TABLE entity_edges AS
WITH both_ways AS (
    SELECT child AS u, parent AS v FROM entity_edges UNION ALL SELECT parent, child FROM entity_edges
), least_of AS (SELECT u, least(u, min(v)) AS m FROM both_ways GROUP BY u)
SELECT DISTINCT v AS child, m AS parent FROM both_ways JOIN least_of USING (u) WHERE v > u
"""
_SMALL_STAR = """
CREATE OR REPLACE TEMP TABLE entity_edges AS
WITH least_of AS (SELECT child, min(parent) AS m FROM entity_edges GROUP BY child)
SELECT DISTINCT unnest([child, parent]) AS child, m AS parent FROM entity_edges JOIN least_of USING (child)
"""
_DROP_LOOPS = "DELETE FROM entity_edges WHERE child = parent"
_NOT_STARS = """
SELECT (SELECT count(*) - count(DISTINCT child) FROM entity_edges)
     + (SELECT count(*) FROM (SELECT DISTINCT parent FROM entity_edges) p JOIN entity_edges e ON p.parent = e.child)
"""


def row_key(table: LinkedTable) -> str:
    """Return the SQL expression of the key by which a row's label is looked up; NULL for a row without an entity."""
    return f"coalesce({', '.join(_keys(table))})"


def join_entities(sandbox: Sandbox, rows: str, table: LinkedTable) -> None:
    """Make the table `LABELS` of a linked table's rows.

    Args:
        sandbox: a fresh one; its memory, spill and time limits are the limits of this.
        rows: SQL that can stand in FROM and has the entity columns.
        table: with two entity columns or more.

    Raises:
        EngineError: the rows cannot be read, or a limit was reached.
    """
    keys = _keys(table)
    names = [f"k{i}" for i in range(len(keys))]
    filled = " + ".join(f"({name} IS NOT NULL)::INT" for name in names)
    selected = ", ".join(f"{key} AS {name}" for key, name in zip(keys, names, strict=True))
    first = f"coalesce({', '.join(names)})"
    sandbox.trusted(
        "CREATE TEMP TABLE entity_links AS "
        f"SELECT DISTINCT {', '.join(names)} FROM (SELECT {selected} FROM {rows}) WHERE {filled} > 1"
    )
    sandbox.trusted(
        "CREATE TEMP TABLE entity_values AS SELECT key, row_number() OVER () AS id "
        f"FROM (SELECT DISTINCT unnest([{', '.join(names)}]) AS key FROM entity_links) WHERE key IS NOT NULL"
    )
    sandbox.trusted("CREATE TEMP TABLE entity_edges (child BIGINT, parent BIGINT)")
    for name in names[1:]:
        sandbox.trusted(
            "INSERT INTO entity_edges SELECT DISTINCT greatest(a.id, b.id), least(a.id, b.id) FROM entity_links l "
            f"JOIN entity_values a ON a.key = {first} JOIN entity_values b ON b.key = l.{name}"
        )
    # Apart: as a condition of the join, the engine may start with all pairs of values.
    sandbox.trusted(_DROP_LOOPS)
    while sandbox.trusted(_NOT_STARS)[0][0]:
        for step in (_LARGE_STAR, _SMALL_STAR, _DROP_LOOPS):
            sandbox.trusted(step)
    # A row with a first column alone is in no link: its key may be there in another column of the same kind.
    spaces = [space for _, space in key_spaces(table)]
    alike = [name for name, space in zip(names, spaces, strict=True) if space == spaces[0]]
    looked_up = " UNION ".join(
        [
            *(f"SELECT {name} AS key FROM entity_links" for name in alike),
            f"SELECT coalesce({', '.join(keys[1:])}) FROM {rows} WHERE {keys[0]} IS NULL",
        ]
    )
    sandbox.trusted(
        f"""
CREATE TEMP TABLE {LABELS} AS
WITH member AS (
    SELECT v.key, coalesce(e.parent, v.id) AS root FROM entity_values v LEFT JOIN entity_edges e ON e.child = v.id
), called AS (SELECT root, min(key) AS label FROM member GROUP BY root)
SELECT key, label FROM member JOIN called USING (root)
WHERE key <> label AND key IN (SELECT key FROM ({looked_up}) WHERE key IS NOT NULL)
"""
    )


def _keys(table: LinkedTable) -> list[str]:
    return [f"('{space}:' || CAST({quoted(name)} AS VARCHAR))" for name, space in key_spaces(table)]
