"""What a release tells of how much its bounds cut off: noisy counts of entities by class, and shares. Free of charge.

It is computed from the noisy counts of an estimate's measurement (`templates/clipping.py`) alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cleanroom.privacy.simulation import simulate
from cleanroom.use_cases.half_widths import half_width_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cleanroom.privacy.entropy import Entropy
    from cleanroom.templates.plan import ClippingProfile, MeasuredColumn, Measurement, Plan
    from cleanroom.use_cases.noisy_tables import NoisyTable

    Floats = np.ndarray[Any, np.dtype[np.float64]]

REPLICATES = 1000
"""Of the noise, behind each interval of a share."""

CONTRIBUTIONS = (
    "within the bound",
    "up to 2 times the bound",
    "up to 4 times the bound",
    "up to 10 times the bound",
    "more than 10 times the bound",
)
VALUES = (
    "no value outside the range",
    "up to 1 % of its values outside",
    "up to 10 % of its values outside",
    "up to 50 % of its values outside",
    "more than 50 % of its values outside",
)
_BOUNDS = {"rows": "max_groups and max_rows", "groups": "max_groups", "range": "range"}


def clipping_estimates(
    plan: Plan, *, noisy: Mapping[str, NoisyTable], entropy: Entropy
) -> dict[str, list[dict[str, object]]]:
    """Return for each measurement that has an estimate what was measured, bound by bound.

    Args:
        plan: of the run.
        noisy: per measurement what was drawn.
        entropy: of the simulated noise behind intervals.
    """
    return {m.estimate.of: _estimated(m, noisy[m.name], entropy) for m in plan.measurements if m.estimate is not None}


def _estimated(measurement: Measurement, noisy: NoisyTable, entropy: Entropy) -> list[dict[str, object]]:
    if measurement.estimate is None:
        raise AssertionError("an estimate says what it estimates")
    columns = {c.name: c for c in measurement.columns}
    return [
        _histogram(
            profile,
            columns[profile.column],
            np.asarray(noisy.integers[profile.column], dtype=np.int64),
            at_least=measurement.estimate.at_least,
            entropy=entropy,
        )
        for profile in measurement.estimate.profiles
    ]


def _histogram(
    profile: ClippingProfile,
    column: MeasuredColumn,
    counts: np.ndarray[Any, np.dtype[np.int64]],
    *,
    at_least: int,
    entropy: Entropy,
) -> dict[str, object]:
    """Return what one bound cuts off, class by class, and the share of entities that it cuts something off from.

    Counts are shown as 0 where noise made them negative, and their intervals end at 0: so they hold the exact count as
    often as before. Where a policy asks for a smallest group, a smaller noisy number is not shown.
    """
    width = half_width_of(column)
    says = VALUES if profile.bound == "range" else CONTRIBUTIONS
    classes = [
        {"entities": says[place], "count": None, "interval": None}
        if at_least and n < at_least
        else {
            "entities": says[place],
            "count": max(int(n), 0),
            "interval": [max(n - width, 0.0), max(n + width, 0.0)],
        }
        for place, n in enumerate(counts.tolist())
    ]
    share, interval = _share(counts, column, at_least=at_least, entropy=entropy)
    return {
        "bound": _BOUNDS[profile.bound],
        "of": list(profile.asked),
        "share_of_entities_cut": share,
        "interval": interval,
        "classes": classes,
    }


def _share(
    counts: np.ndarray[Any, np.dtype[np.int64]], column: MeasuredColumn, *, at_least: int, entropy: Entropy
) -> tuple[float | None, list[float] | None]:
    """Return the share of entities in the classes above the first, with its 95 % interval; None where it has none.

    The interval is made like those of all derived numbers: from what the exact counts may have been.
    """
    cut, whole = int(counts[1:].sum()), int(counts.sum())
    if whole <= 0 or (at_least and min(cut, whole) < at_least):
        return None, None
    likely = simulate(counts, noise=column.noise, replicates=REPLICATES, entropy=entropy).astype(np.float64)
    totals: Floats = likely.sum(axis=1)
    shares = np.where(totals > 0, likely[:, 1:].sum(axis=1) / np.where(totals > 0, totals, 1.0), 1.0)
    low, high = np.quantile(np.clip(shares, 0.0, 1.0), [0.025, 0.975])
    return min(max(cut / whole, 0.0), 1.0), [float(low), float(high)]
