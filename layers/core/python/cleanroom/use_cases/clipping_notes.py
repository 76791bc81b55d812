"""The clipping note of a quote, an explanation or a release: which bounds hold, and what is known of their effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cleanroom.templates.plan import DeclaredRange, Plan


def clipping_notes(
    plan: Plan, *, estimates: Mapping[str, Sequence[Mapping[str, object]]] | None = None
) -> list[dict[str, object]]:
    """Return the note, measurement by measurement; none with DP off.

    `estimated_by` names the measurement that was asked for beside; `estimate` is what came of it, in a release only.

    Args:
        plan: of the run.
        estimates: measurement -> what was measured of it; None before the run.
    """
    by = {m.estimate.of: m.name for m in plan.measurements if m.estimate is not None}
    notes: list[dict[str, object]] = []
    for measurement in plan.released:
        clipping = measurement.clipping
        if clipping is None:
            continue
        note: dict[str, object] = {
            "measurement": measurement.name,
            "max_groups": clipping.max_groups,
            "max_rows": clipping.max_rows,
            "ranges": [_range(r) for r in clipping.ranges],
            "words": list(clipping.words),
            "estimated_by": by.get(measurement.name),
        }
        if estimates is not None:
            note["estimate"] = list(estimates.get(measurement.name, ()))
        notes.append(note)
    return notes


def _range(declared: DeclaredRange) -> dict[str, object]:
    return {"of": list(declared.asked), "lo": declared.lo, "hi": declared.hi}
