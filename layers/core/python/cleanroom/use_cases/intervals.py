"""Error bars of a release: exact for what was measured, simulated for what was derived. Costs no privacy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from cleanroom.privacy.simulation import simulate
from cleanroom.use_cases.half_widths import half_width_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cleanroom.ports import ReleaseEngine
    from cleanroom.privacy.entropy import Entropy
    from cleanroom.templates.plan import Measurement, Plan

    IntegerColumns = Mapping[str, np.ndarray[Any, np.dtype[np.int64]]]

REPLICATES = 1000
REPLICATE_ROWS = 4_000_000
"""At most this many simulated rows are held; with more groups there are fewer replicates."""
FEWEST_REPLICATES = 100


def intervals_of(
    answer: pa.Table,
    plan: Plan,
    *,
    keys: Mapping[str, pa.Table],
    noisy: Mapping[str, IntegerColumns],
    shown: Callable[[pa.Table, IntegerColumns, Measurement], pa.Table],
    engine: ReleaseEngine,
    entropy: Entropy,
) -> tuple[dict[str, list[list[float] | None]], tuple[str, ...]]:
    """Return for each noisy column the two ends of its 95 % interval, row by row, and notes on what has none.

    A measured column's interval is its value plus or minus `half_width_of`. A derived column's is the 2.5 %
    and 97.5 % quantile of the release query over tables from which fresh noise was taken away.

    Args:
        answer: what the release query gave: visible columns, then identity columns.
        plan: of the run.
        keys: per measurement the unmeasured columns of the groups that appear.
        noisy: per measurement the noisy integers of the same groups.
        shown: makes the table that the release query reads.
        engine: runs the simulated release queries.
        entropy: of the simulated noise.
    """
    measured = {m.name: {c.name: c for c in m.columns} for m in plan.measurements}
    intervals: dict[str, list[list[float] | None]] = {}
    derived: list[int] = []
    for index, column in enumerate(plan.release.columns):
        values = answer.column(index)
        if column.role == "measured" and column.measurement is not None and column.column is not None:
            source = measured[column.measurement][column.column]
            width = half_width_of(source)
            intervals[column.name] = [None if v is None else [v - width, v + width] for v in values.to_pylist()]
        elif column.role == "derived" and _is_number(values.type):
            derived.append(index)
    if not derived or plan.release.interval_sql is None or answer.num_rows == 0:
        return intervals, ()
    replicates = replicates_of(keys)
    if replicates < FEWEST_REPLICATES:
        return intervals, ("too many groups to simulate the intervals of derived numbers",)
    tables = {
        m.name: _replicated(keys[m.name], noisy[m.name], m, replicates, shown=shown, entropy=entropy)
        for m in plan.measurements
    }
    ends = engine.query(_quantile_sql(plan, derived), tables)
    intervals |= _matched(answer, ends, plan, derived)
    return intervals, ()


def replicates_of(keys: Mapping[str, pa.Table]) -> int:
    """Return how many releases are simulated: fewer the more groups there are, so that memory is bounded.

    Args:
        keys: per measurement the groups that appear.
    """
    groups: int = max(table.num_rows for table in keys.values())
    return min(REPLICATES, REPLICATE_ROWS // max(1, groups))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _replicated(
    unmeasured: pa.Table,
    noisy: IntegerColumns,
    measurement: Measurement,
    replicates: int,
    *,
    shown: Callable[[pa.Table, IntegerColumns, Measurement], pa.Table],
    entropy: Entropy,
) -> pa.Table:
    """Return the noisy table `replicates` times over, each with fresh noise taken away, and a column `replicate`."""
    rows = unmeasured.num_rows
    repeated = unmeasured.take(pa.array(np.tile(np.arange(rows), replicates)))
    simulated = {
        c.name: simulate(noisy[c.name], noise=c.noise, replicates=replicates, entropy=entropy).reshape(-1)
        for c in measurement.columns
    }
    if not measurement.keys and not unmeasured.num_columns:
        repeated = pa.table({"replicate": pa.array(np.arange(replicates, dtype=np.int64))})
        return shown(repeated, simulated, measurement)
    table = shown(repeated, simulated, measurement)
    return table.append_column("replicate", pa.array(np.repeat(np.arange(replicates, dtype=np.int64), rows)))


def _quantile_sql(plan: Plan, derived: list[int]) -> str:
    """Return SQL for the two quantiles of each derived column, per row of the answer.

    Columns are named by position: visible ones `v0`, …, identity ones `i0`, ….
    """
    visible = [f"v{i}" for i in range(len(plan.release.columns))]
    identity = [f"i{i}" for i in range(len(plan.release.identity))]
    quantiles = ", ".join(
        f"quantile_cont(v{i}::DOUBLE, 0.025) AS low{i}, quantile_cont(v{i}::DOUBLE, 0.975) AS high{i}" for i in derived
    )
    names = ", ".join(["replicate", *visible, *identity])
    by = f" GROUP BY {', '.join(identity)}" if identity else ""
    chosen = ", ".join([*identity, quantiles])
    return f"SELECT {chosen} FROM ({plan.release.interval_sql}) AS simulated({names}){by}"


def _matched(answer: pa.Table, ends: pa.Table, plan: Plan, derived: list[int]) -> dict[str, list[list[float] | None]]:
    """Give every row of the answer the ends that were simulated for the same identity."""
    first = len(plan.release.columns)
    width = len(plan.release.identity)
    if width == 0:
        places = [0] * answer.num_rows
    else:
        place_of = {row: place for place, row in enumerate(_rows(ends, 0, width))}
        places = [place_of.get(row, -1) for row in _rows(answer, first, width)]
    matched: dict[str, list[list[float] | None]] = {}
    for index in derived:
        low, high = ends.column(f"low{index}").to_pylist(), ends.column(f"high{index}").to_pylist()
        matched[plan.release.columns[index].name] = [
            None if place < 0 or low[place] is None or high[place] is None else [low[place], high[place]]
            for place in places
        ]
    return matched


def _rows(table: pa.Table, start: int, width: int) -> list[tuple[object, ...]]:
    """Return `width` columns from `start` on, as rows."""
    return list(zip(*(table.column(i).to_pylist() for i in range(start, start + width)), strict=True))
