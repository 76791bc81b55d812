"""Shows counts below zero as zero, where that was asked for: the last thing that is done to a release's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cleanroom.templates.plan import Plan
    from cleanroom.use_cases.intervals import Ends


def with_nonnegative_counts(
    answer: pa.Table, intervals: Mapping[str, list[Ends]], plan: Plan
) -> tuple[pa.Table, dict[str, list[Ends]]]:
    """Return the answer and its intervals with counts, and both ends of theirs, cut off at 0.

    No exact count is below 0, so an interval that held it still does: what is cut off held nothing. Where noise put the
    whole interval below 0, it is [0, 0].

    Args:
        answer: what the release query gave.
        intervals: of its columns.
        plan: of the run: which columns are counts.
    """
    ends = dict(intervals)
    for name in plan.post.nonnegative:
        place = next(i for i, c in enumerate(plan.release.columns) if c.name == name)
        counts = answer.column(place)
        shown = pc.max_element_wise(counts, pa.scalar(0, type=counts.type), skip_nulls=False)
        answer = answer.set_column(place, answer.field(place), shown)
        if name in ends:
            ends[name] = [_from_zero(pair) for pair in ends[name]]
    return answer, ends


def _from_zero(ends: Ends) -> Ends:
    if ends is None:
        return None
    low, high = (max(float(end), 0.0) for end in ends)
    return [low, high]
