"""Several entity columns in one table: which values are the same, and what the joined entity is called (B-04). Pure.

Rows that share an entity value, directly or through other rows, are one entity: a connected component of the graph
of rows and values. NULL is no value and joins nothing. Two values are the same if kind and type of their columns
agree and they are equal: an e-mail address is one value, whether it stands in the column `billing` or `shipping`.

A value is written as its *key*, `<space>:<value as text>`: equal keys mean equal values. A joined entity is called by
its smallest key in the order of bytes, its *label*: a function of the entity's own rows, so that adding or removing
other entities renames none.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from cleanroom.rooms.tables import ColumnType

if TYPE_CHECKING:
    from cleanroom.rooms.tables import LinkedTable, TableVersion

_FORMAT = 2
"""Of stored labels; raised whenever keys, labels or their file change."""


def key_spaces(table: LinkedTable) -> tuple[tuple[str, int], ...]:
    """Return (column, number of its value space) for each entity column, in the order of the declaration.

    Columns share a space where their kinds and types agree; decimals also need the same scale, which their text shows.
    """
    spaces: dict[tuple[str, str], int] = {}
    numbered = []
    for entity in table.entity_columns:
        column = table.column(entity.column)
        if column is None:
            raise ValueError("an entity column is not in the table")
        type_name = column.native_type if column.type is ColumnType.DECIMAL else column.type.value
        numbered.append((column.name, spaces.setdefault((entity.kind, type_name), len(spaces))))
    return tuple(numbered)


def labels_digest(table: LinkedTable, version: TableVersion) -> str:
    """Return the SHA-256 that names the labels of a table version: of its objects, its entity columns and the format.

    Another pin, kind or type of an entity column joins other rows, and so has another name.
    """
    said = [_FORMAT, version.digest, key_spaces(table)]
    return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()
