"""How tables look to people: what is public to the room, and nothing of their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.rooms.policies import policy_as_json

if TYPE_CHECKING:
    from cleanroom.rooms.tables import LinkedTable


def table_view(table: LinkedTable) -> dict[str, object]:
    """Return a linked table as JSON: columns, entity columns with their evidence, and the owner's policy."""
    return {
        "table": table.full_name,
        "columns": [{"name": c.name, "type": c.native_type} for c in table.columns],
        "entity_columns": [
            {"column": e.column, "kind": e.kind, "evidence": list(e.evidence)} for e in table.entity_columns
        ],
        "policy": policy_as_json(table.policy),
    }
