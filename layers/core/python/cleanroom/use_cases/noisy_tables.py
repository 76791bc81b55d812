"""Noisy tables between the mechanism and the release query: how they are drawn, kept, shown, and simulated."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleanroom.privacy.mechanisms import add_noise, select_groups
from cleanroom.privacy.quantiles import LEVELS, MIDDLE, curves, drawn, nodes_of
from cleanroom.privacy.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cleanroom.privacy.bins import Bins
    from cleanroom.privacy.entropy import Entropy
    from cleanroom.templates.plan import MeasuredColumn, Measurement, Plan

    Integers = np.ndarray[Any, np.dtype[np.int64]]
    Floats = np.ndarray[Any, np.dtype[np.float64]]

MOST_NODES = 2_000_000
"""Counts of bins that are held at once, over several groups."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoisyTable:
    """The groups of one measurement that appear, with everything noisy about them.

    Attributes:
        unmeasured: group keys; with DP off also exact columns.
        integers: per measured column its noisy integers.
        curves: per quantile where it lies, at each of `quantiles.LEVELS`; shape (groups, levels).
    """

    unmeasured: pa.Table
    integers: Mapping[str, Integers]
    curves: Mapping[str, Floats]

    def as_arrow(self) -> pa.Table:
        """Return it as one table, for keeping."""
        table = self.unmeasured
        for name, values in self.integers.items():
            table = table.append_column(name, pa.array(values))
        for name, curve in self.curves.items():
            lists = pa.FixedSizeListArray.from_arrays(pa.array(curve.reshape(-1)), len(LEVELS))
            table = table.append_column(name, lists)
        return table


def noisy_table_of(table: pa.Table, measurement: Measurement, plan: Plan) -> NoisyTable:
    """Read back what `as_arrow` gave."""
    plain = [c.name for c in measurement.columns if c.bins is None]
    return NoisyTable(
        unmeasured=table.select([*measurement.keys, *plan.exact_columns]),
        integers={n: np.asarray(table.column(n).combine_chunks(), dtype=np.int64) for n in plain},
        curves={
            q.name: np.asarray(table.column(q.name).combine_chunks().flatten(), dtype=np.float64).reshape(
                -1, len(LEVELS)
            )
            for q in measurement.quantiles
        },
    )


def draw_noise(exact_table: pa.Table, measurement: Measurement, plan: Plan, entropy: Entropy) -> NoisyTable:
    """Return the exact table with fresh noise: the only time that a run's noise is drawn.

    Groups are chosen first, so that bins of groups that do not appear need no noise.
    """
    integers: dict[str, Integers] = {}
    for column in measurement.columns:
        if column.bins is None:
            exact_column = exact_table.column(column.name).combine_chunks()
            exact_values = np.asarray(exact_column.fill_null(0), dtype=np.int64)
            integers[column.name] = add_noise(exact_values, noise=column.noise, entropy=entropy)
    chosen = exact_table
    selection = measurement.partition_selection
    if selection is not None:
        appear = select_groups(integers[selection.column], tau=selection.tau)
        chosen = exact_table.filter(pa.array(appear))
        integers = {name: values[appear] for name, values in integers.items()}
    found: dict[str, Floats] = {}
    for column in measurement.columns:
        if column.bins is not None:
            found |= _curves(chosen.column(column.name), column, column.bins, measurement, entropy)
    return NoisyTable(
        unmeasured=chosen.select([*measurement.keys, *plan.exact_columns]), integers=integers, curves=found
    )


def _curves(
    lists: pa.ChunkedArray, column: MeasuredColumn, bins: Bins, measurement: Measurement, entropy: Entropy
) -> dict[str, Floats]:
    """Add noise to every node of every group and return the curves of the quantiles that are made from them."""
    wanted = [q for q in measurement.quantiles if q.column == column.name]
    at_once = max(1, MOST_NODES // bins.nodes)
    pieces: dict[str, list[Floats]] = {q.name: [np.empty((0, len(LEVELS)))] for q in wanted}
    for start in range(0, len(lists), at_once):
        exact_nodes = nodes_of(_cells(lists.slice(start, at_once), bins.number), bins)
        noisy = add_noise(exact_nodes, noise=column.noise, entropy=entropy)
        for q in wanted:
            pieces[q.name].append(
                curves(
                    noisy,
                    bins=bins,
                    deviation=column.noise.standard_deviation,
                    fraction=float(q.fraction),
                    end=q.end,
                )
            )
    return {name: np.concatenate(parts) for name, parts in pieces.items()}


def _cells(lists: pa.ChunkedArray, number: int) -> Integers:
    """Return lists of (bin, count) as a matrix of counts; bins that are not listed hold nothing."""
    array = lists.combine_chunks()
    flat = array.flatten()
    lengths = np.asarray(pc.list_value_length(array).fill_null(0), dtype=np.int64)
    cells = np.zeros((len(array), number), dtype=np.int64)
    rows = np.repeat(np.arange(len(array)), lengths)
    cells[rows, np.asarray(flat.field("b"), dtype=np.int64)] = np.asarray(flat.field("n"), dtype=np.int64)
    return cells


def shown(noisy: NoisyTable, measurement: Measurement) -> pa.Table:
    """Return the noisy table that the release query reads: integers times their unit, counts as whole numbers."""
    middles = {name: curve[:, MIDDLE] for name, curve in noisy.curves.items()}
    return _shown(noisy.unmeasured, noisy.integers, middles, measurement)


def _shown(
    unmeasured: pa.Table, integers: Mapping[str, Integers], middles: Mapping[str, Floats], measurement: Measurement
) -> pa.Table:
    table = unmeasured
    for column in measurement.columns:
        if column.bins is None:
            table = table.append_column(column.name, pa.array(_in_units(integers[column.name], column)))
    for q in measurement.quantiles:
        table = table.append_column(q.name, pa.array(middles[q.name], from_pandas=True))  # NaN is NULL
    return table


def _in_units(noisy: Integers, column: MeasuredColumn) -> np.ndarray[Any, np.dtype[Any]]:
    value = noisy.astype(np.float64) * float(column.unit)
    return np.rint(value).astype(np.int64) if column.is_count else value


def replicated(noisy: NoisyTable, measurement: Measurement, *, replicates: int, entropy: Entropy) -> pa.Table:
    """Return the shown table `replicates` times over, each with fresh noise taken away, and a column `replicate`.

    A quantile is drawn from its curve: at normal deviates that are spread evenly, so that few draws show its tails.
    """
    rows = noisy.unmeasured.num_rows
    keyless = not measurement.keys and not noisy.unmeasured.num_columns
    numbers = np.arange(replicates, dtype=np.int64)
    if keyless:
        rows = 1
        repeated = pa.table({"replicate": pa.array(numbers)})
    else:
        repeated = noisy.unmeasured.take(pa.array(np.tile(np.arange(rows), replicates)))
    integers = {
        c.name: simulate(noisy.integers[c.name], noise=c.noise, replicates=replicates, entropy=entropy).reshape(-1)
        for c in measurement.columns
        if c.bins is None
    }
    middles = {
        name: drawn(curve, _spread_deviates(replicates, rows, entropy)).reshape(-1)
        for name, curve in noisy.curves.items()
    }
    table = _shown(repeated, integers, middles, measurement)
    return table if keyless else table.append_column("replicate", pa.array(np.repeat(numbers, rows)))


def _spread_deviates(replicates: int, groups: int, entropy: Entropy) -> Floats:
    """Return normal deviates, shape (replicates, groups): each group has one even spread in an order of its own."""
    even = np.array([NormalDist().inv_cdf((i + 0.5) / replicates) for i in range(replicates)])
    words = np.frombuffer(entropy.bytes(8 * replicates * groups), dtype=np.uint64).reshape(replicates, groups)
    return np.asarray(even[np.argsort(words, axis=0)], dtype=np.float64)
