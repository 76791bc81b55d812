"""Error bars of a release: exact for what was measured, simulated for what was derived. Costs no privacy."""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING

import pyarrow as pa

from cleanroom.rooms.moments import FIRST_DAY, LAST_DAY, MICROSECONDS_PER_DAY, moment_text
from cleanroom.rooms.tables import ColumnType
from cleanroom.use_cases.consistent_totals import with_consistent_totals
from cleanroom.use_cases.half_widths import half_width_of
from cleanroom.use_cases.noisy_tables import replicated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cleanroom.ports import ReleaseEngine
    from cleanroom.privacy.entropy import Entropy
    from cleanroom.templates.plan import Plan
    from cleanroom.use_cases.noisy_tables import NoisyTable

    Ends = list[float] | list[str] | None

REPLICATES = 1000
REPLICATE_ROWS = 4_000_000
"""At most this many simulated rows are held; with more groups there are fewer replicates."""
FEWEST_REPLICATES = 100


def intervals_of(
    answer: pa.Table,
    plan: Plan,
    *,
    noisy: Mapping[str, NoisyTable],
    engine: ReleaseEngine,
    entropy: Entropy,
) -> tuple[dict[str, list[Ends]], tuple[str, ...]]:
    """Return for each noisy column the two ends of its 95 % interval, row by row, and notes on what has none.

    A measured column's interval is its value plus or minus `half_width_of`. A derived column's is the 2.5 %
    and 97.5 % quantile of the release query over tables from which fresh noise was taken away. The ends of a date's or
    timestamp's are texts, those of a number are numbers.

    Args:
        answer: what the release query gave: visible columns, then identity columns.
        plan: of the run.
        noisy: per measurement the groups that appear.
        engine: runs the simulated release queries.
        entropy: of the simulated noise.
    """
    measured = {m.name: {c.name: c for c in m.columns} for m in plan.released}
    intervals: dict[str, list[Ends]] = {}
    derived: list[int] = []
    for index, column in enumerate(plan.release.columns):
        values = answer.column(index)
        if column.role == "measured" and column.measurement is not None and column.column is not None:
            source = measured[column.measurement][column.column]
            width = half_width_of(source)
            intervals[column.name] = [None if v is None else [v - width, v + width] for v in values.to_pylist()]
        elif column.role == "derived" and (_is_number(values.type) or _moment(values.type)):
            derived.append(index)
    if not derived or plan.release.interval_sql is None or answer.num_rows == 0:
        return intervals, ()
    replicates = replicates_of(noisy)
    if replicates < FEWEST_REPLICATES:
        return intervals, ("too many groups to simulate the intervals of derived numbers",)
    tables = {m.name: replicated(noisy[m.name], m, replicates=replicates, entropy=entropy) for m in plan.released}
    tables = with_consistent_totals(tables, plan, replicates=replicates)
    moments = {index: kind for index in derived if (kind := _moment(answer.column(index).type)) is not None}
    ends = engine.query(_quantile_sql(plan, derived, moments), tables)
    intervals |= _matched(answer, ends, plan, derived, moments)
    return intervals, ()


def replicates_of(noisy: Mapping[str, NoisyTable]) -> int:
    """Return how many releases are simulated: fewer the more groups there are, so that memory is bounded.

    Args:
        noisy: per measurement the groups that appear.
    """
    groups: int = max(table.unmeasured.num_rows for table in noisy.values())
    return min(REPLICATES, REPLICATE_ROWS // max(1, groups))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _moment(kind: pa.DataType) -> ColumnType | None:
    """Return DATE or TIMESTAMP for those, and None for other types."""
    if pa.types.is_date(kind):
        return ColumnType.DATE
    return ColumnType.TIMESTAMP if pa.types.is_timestamp(kind) else None


def _quantile_sql(plan: Plan, derived: list[int], moments: Mapping[int, ColumnType]) -> str:
    """Return SQL for the two quantiles of each derived column, per row of the answer.

    Columns are named by position: visible ones `v0`, …, identity ones `i0`, ….
    """
    visible = [f"v{i}" for i in range(len(plan.release.columns))]
    identity = [f"i{i}" for i in range(len(plan.release.identity))]
    numbers = {i: _number_sql(f"v{i}", moments.get(i)) for i in derived}
    # One call for both ends, which the engine makes once: it keeps and sorts the replicates once, not twice.
    both = {i: f"quantile_cont({number}, [0.025, 0.975])" for i, number in numbers.items()}
    quantiles = ", ".join(f"{ends}[1] AS low{i}, {ends}[2] AS high{i}" for i, ends in both.items())
    names = ", ".join(["replicate", *visible, *identity])
    by = f" GROUP BY {', '.join(identity)}" if identity else ""
    chosen = ", ".join([*identity, quantiles])
    return f"SELECT {chosen} FROM ({plan.release.interval_sql}) AS simulated({names}){by}"


def _number_sql(name: str, moment: ColumnType | None) -> str:
    """Return a column as DOUBLE; dates as days since 1970-01-01, timestamps as microseconds since then."""
    if moment is ColumnType.DATE:
        return f"date_diff('day', DATE '1970-01-01', {name})::DOUBLE"
    return f"epoch_us({name})::DOUBLE" if moment is ColumnType.TIMESTAMP else f"{name}::DOUBLE"


def _matched(
    answer: pa.Table, ends: pa.Table, plan: Plan, derived: list[int], moments: Mapping[int, ColumnType]
) -> dict[str, list[Ends]]:
    """Give every row of the answer the ends that were simulated for the same identity."""
    first = len(plan.release.columns)
    width = len(plan.release.identity)
    if width == 0:
        places = [0] * answer.num_rows
    else:
        place_of = {row: place for place, row in enumerate(_rows(ends, 0, width))}
        places = [place_of.get(row, -1) for row in _rows(answer, first, width)]
    matched: dict[str, list[Ends]] = {}
    for index in derived:
        low, high = ends.column(f"low{index}").to_pylist(), ends.column(f"high{index}").to_pylist()
        matched[plan.release.columns[index].name] = [
            None
            if place < 0 or low[place] is None or high[place] is None
            else _ends(low[place], high[place], moments.get(index))
            for place in places
        ]
    return matched


def _ends(low: float, high: float, moment: ColumnType | None) -> Ends:
    """Return the two ends of an interval; of dates and timestamps as text, rounded outward."""
    if moment is None:
        return [low, high]
    unit = 1 if moment is ColumnType.DATE else MICROSECONDS_PER_DAY
    first, last = FIRST_DAY * unit, (LAST_DAY + 1) * unit - 1
    ends = [moment_text(min(max(n, first), last), moment) for n in (floor(low), ceil(high))]
    return [end.replace(" ", "T") for end in ends]  # as rows write a timestamp in JSON


def _rows(table: pa.Table, start: int, width: int) -> list[tuple[object, ...]]:
    """Return `width` columns from `start` on, as rows."""
    return list(zip(*(table.column(i).to_pylist() for i in range(start, start + width)), strict=True))
