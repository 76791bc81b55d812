"""What a reader of noisy numbers should know of them: public sentences for quote and release. Pure.

They follow from the query and the declared bounds alone, so they are the same whatever the rows are.
"""

from __future__ import annotations

from collections.abc import Iterable

from cleanroom.rooms.tables import LinkedTable
from cleanroom.templates.draft import Draft
from cleanroom.templates.parts import PartKind
from cleanroom.templates.plan import Measurement


def notes_of(drafts: Iterable[Draft], measurements: Iterable[Measurement]) -> tuple[str, ...]:
    """Return the sentences, each once.

    Args:
        drafts: with their final bounds.
        measurements: made of them, in the same order; their thresholds are in steps of the selecting column.
    """
    notes: list[str] = []
    for draft, measurement in zip(drafts, measurements, strict=True):
        joined = _entity_table(draft).entity_label is not None
        entity = entity_word(draft)
        weight = weight_of(draft)
        if weight is not None:
            notes.append(
                f"intervals show the noise alone: one {entity} weighs at most {weight}, "
                "and what is above is scaled down"
            )
        selection = measurement.partition_selection
        if selection is not None:
            column = next(c for c in measurement.columns if c.name == selection.column)
            notes.append(
                f"groups with fewer than about {round(selection.tau * column.unit):,} different "
                f"{'entities' if joined else entity} are "
                + ("in the other row, all together" if draft.other else "left out")
            )
        if draft.other and draft.counts_distinct:
            notes.append("COUNT(DISTINCT …) of the other row adds up its groups: what is in several counts in each")
        if joined:
            notes.append(
                f"rows that share {_entity_columns(draft)}, also through other rows, are of one entity; rows that have "
                "none of them count for nobody"
            )
        elif any(c.name == entity and c.nullable for t in draft.protected.tables for c in t.columns):
            notes.append(f"rows whose {entity} is NULL count for nobody")
        notes += [
            f"rows of {table.full_name} count for the {entity} under their key in "
            f"{table.owner}.{table.policy.owned_through.parent}, and for nobody where there is none"
            for table in draft.protected.tables
            if table.policy.owned_through is not None
        ]
    return tuple(dict.fromkeys(notes))


def entity_word(draft: Draft) -> str:
    """Return what one entity is called: by its column, where it has one."""
    return "entity" if _entity_table(draft).entity_label is not None else _entity_columns(draft)


def _entity_columns(draft: Draft) -> str:
    table = _entity_table(draft)
    return " or ".join(e.column if (c := table.column(e.column)) is None else c.name for e in table.entity_columns)


def _entity_table(draft: Draft) -> LinkedTable:
    return next(t for t in draft.protected.tables if t.entity_columns)


def weight_of(draft: Draft) -> str | None:
    """Return what one entity weighs at most, where something can be above it."""
    k, m = draft.bounds.max_groups, draft.bounds.max_rows
    groups = f"{k:,} group{'s' if k > 1 else ''}"
    if any(c.part.kind is not PartKind.ENTITIES for c in draft.columns):
        rows = f"{k * m:,} row{'s' if k * m > 1 else ''}"
        return f"{rows} ({groups} of {m:,})" if draft.keys else rows
    return groups if draft.keys else None
