"""Noisy tables between the mechanism and the release query: how they are drawn, kept, shown, and simulated."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleanroom.privacy.bins import CELL_LIMIT
from cleanroom.privacy.mechanisms import LARGEST_EXACT, add_noise, add_vector_noise, select_groups
from cleanroom.privacy.noise import DiscreteCube
from cleanroom.privacy.other_row import exact_rest
from cleanroom.privacy.quantiles import LEVELS, MIDDLE, curves, drawn, nodes_of
from cleanroom.privacy.simulation import simulate, simulate_vectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cleanroom.privacy.bins import Bins
    from cleanroom.privacy.entropy import Entropy
    from cleanroom.privacy.noise import Noise
    from cleanroom.templates.plan import MeasuredColumn, Measurement, Plan, Quantile

    Integers = np.ndarray[Any, np.dtype[np.int64]]
    Floats = np.ndarray[Any, np.dtype[np.float64]]

MOST_NODES = 2_000_000
"""Counts of bins that are held at once, over several groups."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoisyTable:
    """The groups of one measurement that appear, with everything noisy about them.

    Attributes:
        unmeasured: group keys; with DP off also exact columns; where the measurement has an other row, the
            column that marks it: it is the last row.
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
        unmeasured=table.select([*measurement.keys, *_mark_of(measurement), *plan.exact_columns]),
        integers={n: np.asarray(table.column(n).combine_chunks(), dtype=np.int64) for n in plain},
        curves={
            q.name: np.asarray(table.column(q.name).combine_chunks().flatten(), dtype=np.float64).reshape(
                -1, len(LEVELS)
            )
            for q in measurement.quantiles
        },
    )


def _number_of_groups(table: pa.Table, measurement: Measurement) -> int:
    """Return how many different groups the rows are of; what is built for AWS has no `group_by`."""
    groups = np.zeros(table.num_rows, dtype=np.int64)
    for key in measurement.keys:
        known = table.column(key).combine_chunks().dictionary_encode(null_encoding="encode")
        places = np.asarray(known.indices, dtype=np.int64)
        _, groups = np.unique(groups * (len(known.dictionary) + 1) + places, return_inverse=True)
    return len(np.unique(groups)) if measurement.keys else 1


def draw_noise(exact_table: pa.Table, measurement: Measurement, plan: Plan, entropy: Entropy) -> NoisyTable:
    """Return the exact table with fresh noise: the only time that a run's noise is drawn.

    Groups are chosen first, so that bins of groups that do not appear need no noise. What is left is added up for the
    other row, where there is one, and gets fresh noise; `privacy/other_row.py` says why.

    Raises:
        AssertionError: a group appears twice; it would get noise twice for the price of one.
    """
    if plan.differential and _number_of_groups(exact_table, measurement) != exact_table.num_rows:
        raise AssertionError("an exact table has each group once")
    integers: dict[str, Integers] = {}
    exact: dict[str, Integers] = {}
    together = [columns for columns in measurement.drawn_together if columns[0].bins is None]
    for columns in together:
        for c in columns:
            exact_column = exact_table.column(c.name).combine_chunks()
            exact[c.name] = np.asarray(exact_column.fill_null(0), dtype=np.int64)
        vectors = np.array([exact[c.name] for c in columns])
        integers |= _by_name(columns, _noisy(vectors, columns[0].noise, entropy))
    chosen, hidden = exact_table, exact_table.slice(0, 0)
    selection = measurement.partition_selection
    if selection is not None:
        appear = select_groups(integers[selection.column], tau=selection.tau)
        chosen, hidden = exact_table.filter(pa.array(appear)), exact_table.filter(pa.array(~appear))
        integers = {name: values[appear] for name, values in integers.items()}
        for columns in together if measurement.other_row is not None else []:
            vectors = np.array([exact[c.name][~appear] for c in columns])
            rest = exact_rest(vectors.T, limit=LARGEST_EXACT).reshape(-1, 1)
            for name, last in _by_name(columns, _noisy_rest(rest, columns[0], entropy)).items():
                integers[name] = np.append(integers[name], last)
    found: dict[str, Floats] = {}
    for column in measurement.columns:
        if column.bins is not None:
            found |= _curves(chosen.column(column.name), column, column.bins, measurement, entropy)
            if column.other_noise is not None:
                counts = _rest_of_bins(hidden.column(column.name), column.bins)
                nodes = add_noise(counts, noise=column.other_noise, entropy=entropy)
                for q in _asked_of(column, measurement):
                    curve = _curve(nodes, q, column.bins, column.other_noise)
                    found[q.name] = np.concatenate([found[q.name], curve])
    unmeasured = chosen.select([*measurement.keys, *plan.exact_columns])
    if measurement.other_row is not None:
        unmeasured = _with_other_row(unmeasured, measurement.other_row)
    return NoisyTable(unmeasured=unmeasured, integers=integers, curves=found)


def _mark_of(measurement: Measurement) -> tuple[str, ...]:
    return () if measurement.other_row is None else (measurement.other_row,)


def _noisy(exact: Integers, noise: Noise, entropy: Entropy) -> Integers:
    """Return columns that are drawn together, shape (columns, groups), with noise; a column by itself is one of one."""
    if isinstance(noise, DiscreteCube):
        return add_vector_noise(exact, noise=noise, entropy=entropy)
    return add_noise(exact, noise=noise, entropy=entropy)


def _by_name(columns: Sequence[MeasuredColumn], values: Integers) -> dict[str, Integers]:
    return {c.name: row for c, row in zip(columns, values, strict=True)}


def _noisy_rest(exact: Integers, first: MeasuredColumn, entropy: Entropy) -> Integers:
    """Return the numbers of columns in the other row; 0 of the column that chooses the groups: it tells nothing more.

    Args:
        exact: shape (columns, 1), of columns that are drawn together.
        first: of those.
        entropy: fresh bits.
    """
    return np.zeros_like(exact) if first.other_noise is None else _noisy(exact, first.other_noise, entropy)


def _rest_of_bins(lists: pa.ChunkedArray, bins: Bins) -> Integers:
    """Return the nodes of all groups together, shape (1, nodes)."""
    at_once = max(1, MOST_NODES // bins.nodes)
    cells = np.zeros((1, bins.number), dtype=np.int64)
    for start in range(0, len(lists), at_once):
        more = np.concatenate([cells, _cells(lists.slice(start, at_once), bins.number)])
        cells = exact_rest(more, limit=CELL_LIMIT).reshape(1, -1)  # counts are not negative: clamping early is the same
    return nodes_of(cells, bins)


def _with_other_row(keys: pa.Table, mark: str) -> pa.Table:
    """Return the groups and, last, the other row, whose keys are NULL; always: that there is none would tell."""
    shown_groups = keys.append_column(mark, pa.array([False] * keys.num_rows, pa.bool_()))
    nulls = [pa.array([None], field.type) for field in keys.schema]
    names = [*keys.column_names, mark]
    other = pa.table([*nulls, pa.array([True])], names=names).cast(shown_groups.schema)
    return pa.concat_tables([shown_groups, other])


def _curves(
    lists: pa.ChunkedArray, column: MeasuredColumn, bins: Bins, measurement: Measurement, entropy: Entropy
) -> dict[str, Floats]:
    """Add noise to every node of every group and return the curves of the quantiles that are made from them."""
    wanted = _asked_of(column, measurement)
    at_once = max(1, MOST_NODES // bins.nodes)
    pieces: dict[str, list[Floats]] = {q.name: [np.empty((0, len(LEVELS)))] for q in wanted}
    for start in range(0, len(lists), at_once):
        exact_nodes = nodes_of(_cells(lists.slice(start, at_once), bins.number), bins)
        noisy = add_noise(exact_nodes, noise=column.noise, entropy=entropy)
        for q in wanted:
            pieces[q.name].append(_curve(noisy, q, bins, column.noise))
    return {name: np.concatenate(parts) for name, parts in pieces.items()}


def _asked_of(column: MeasuredColumn, measurement: Measurement) -> list[Quantile]:
    return [q for q in measurement.quantiles if q.column == column.name]


def _curve(noisy_nodes: Integers, q: Quantile, bins: Bins, noise: Noise) -> Floats:
    return curves(noisy_nodes, bins=bins, deviation=noise.standard_deviation, fraction=float(q.fraction), end=q.end)


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
    integers: dict[str, Integers] = {}
    for columns in measurement.drawn_together:
        if columns[0].bins is None:
            vectors = np.array([noisy.integers[c.name] for c in columns])
            simulated = _simulated(vectors, columns[0], measurement, replicates, entropy)
            integers |= _by_name(columns, simulated.reshape(len(columns), -1))
    middles = {
        name: drawn(curve, _spread_deviates(replicates, rows, entropy)).reshape(-1)
        for name, curve in noisy.curves.items()
    }
    table = _shown(repeated, integers, middles, measurement)
    return table if keyless else table.append_column("replicate", pa.array(np.repeat(numbers, rows)))


def _simulated(
    noisy: Integers, first: MeasuredColumn, measurement: Measurement, replicates: int, entropy: Entropy
) -> Integers:
    """Return replicates of what was drawn together, shape (columns, replicates, rows); the other row with its noise."""
    if measurement.other_row is None:
        return _replicates(noisy, first.noise, replicates, entropy)
    groups = _replicates(noisy[:, :-1], first.noise, replicates, entropy)
    last = np.tile(noisy[:, np.newaxis, -1:], (1, replicates, 1))
    if first.other_noise is not None:
        last = _replicates(noisy[:, -1:], first.other_noise, replicates, entropy)
    return np.concatenate([groups, last], axis=2)


def _replicates(noisy: Integers, noise: Noise, replicates: int, entropy: Entropy) -> Integers:
    if isinstance(noise, DiscreteCube):
        return simulate_vectors(noisy, noise=noise, replicates=replicates, entropy=entropy)
    return np.array([simulate(n, noise=noise, replicates=replicates, entropy=entropy) for n in noisy])


def _spread_deviates(replicates: int, groups: int, entropy: Entropy) -> Floats:
    """Return normal deviates, shape (replicates, groups): each group has one even spread in an order of its own."""
    even = np.array([NormalDist().inv_cdf((i + 0.5) / replicates) for i in range(replicates)])
    words = np.frombuffer(entropy.bytes(8 * replicates * groups), dtype=np.uint64).reshape(replicates, groups)
    return np.asarray(even[np.argsort(words, axis=0)], dtype=np.float64)
