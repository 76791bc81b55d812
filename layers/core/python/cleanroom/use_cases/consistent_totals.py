"""Makes noisy totals agree with their noisy parts: post-processing of what was drawn, before the release query.

`privacy/consistency.py` has the weights and says why they are the best. The same linear map is put on what is simulated
for intervals, so that these are of the numbers that are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cleanroom.privacy.consistency import components, precisions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cleanroom.templates.plan import ConsistentTotals, MeasuredColumn, Plan

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Places = np.ndarray[Any, np.dtype[np.int64]]

LEAST_VARIANCE = 1e-12
"""Of noise that is next to nothing: weights stay finite."""


def with_consistent_totals(tables: Mapping[str, pa.Table], plan: Plan, *, replicates: int = 1) -> dict[str, pa.Table]:
    """Return the noisy tables with all totals in agreement with their parts, where that was asked for.

    Args:
        tables: per measurement as the release query reads it; with replicates these follow one another.
        plan: of the run.
        replicates: how often each group is there; >= 1.
    """
    agreeing = dict(tables)
    measured = {m.name: {c.name: c for c in m.columns} for m in plan.measurements}
    keys = {m.name: m.keys for m in plan.measurements}
    for totals in plan.post.consistent:
        cells = _cells([agreeing[name] for name in totals.measurements], totals, keys, replicates)
        for names in totals.columns:
            columns = [measured[m][c] for m, c in zip(totals.measurements, names, strict=True)]
            observed = [
                _laid_out(agreeing[m], c, place, replicates)
                for m, c, place in zip(totals.measurements, names, cells.places, strict=True)
            ]
            fitted = _fitted(observed, columns, totals, cells.sizes)
            for m, name, values, place in zip(totals.measurements, names, fitted, cells.places, strict=True):
                table = agreeing[m]
                shown = values.reshape(replicates, -1)[:, place].reshape(-1)
                agreeing[m] = table.set_column(table.column_names.index(name), name, pa.array(shown))
    return agreeing


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cells:
    """Where the groups of each set lie in the table of all keys.

    Attributes:
        sizes: number of values of each axis.
        places: for each set, the place of each of its rows among its cells, in the order of its own keys.
    """

    sizes: tuple[int, ...]
    places: tuple[Places, ...]


def _cells(
    tables: Sequence[pa.Table], totals: ConsistentTotals, keys: Mapping[str, tuple[str, ...]], replicates: int
) -> _Cells:
    found: dict[int, pa.Array] = {}
    rows: list[pa.Table] = []
    for table, name, axes in zip(tables, totals.measurements, totals.keys, strict=True):
        first = table.slice(0, table.num_rows // replicates)
        rows.append(first)
        for key, axis in zip(keys[name], axes, strict=True):
            found.setdefault(axis, first.column(key).combine_chunks().unique())
    sizes = tuple(len(found[axis]) for axis in range(len(totals.sizes)))
    places = []
    for table, name, axes in zip(rows, totals.measurements, totals.keys, strict=True):
        own = [sizes[axis] for axis in axes]
        indices = [
            np.asarray(pc.index_in(table.column(key).combine_chunks(), value_set=found[axis]), dtype=np.int64)
            for key, axis in zip(keys[name], axes, strict=True)
        ]
        place = np.ravel_multi_index(indices, own) if axes else np.zeros(1, dtype=np.int64)
        if len(place) != int(np.prod(own)) or len(np.unique(place)) != len(place):
            raise AssertionError("public keys have every combination once")
        places.append(np.asarray(place, dtype=np.int64))
    return _Cells(sizes=sizes, places=tuple(places))


def _laid_out(table: pa.Table, column: str, place: Places, replicates: int) -> Floats:
    """Return a column, replicate by replicate, in the order of the cells."""
    values = np.asarray(table.column(column).combine_chunks(), dtype=np.float64).reshape(replicates, -1)
    cells = np.empty_like(values)
    cells[:, place] = values
    return cells


def _fitted(
    observed: Sequence[Floats], columns: Sequence[MeasuredColumn], totals: ConsistentTotals, sizes: tuple[int, ...]
) -> list[Floats]:
    """Return the numbers of each set, in the order of its cells, fitted to one another by weighted least squares."""
    sets = [frozenset(axes) for axes in totals.keys]
    variances = [max((c.noise.standard_deviation * float(c.unit)) ** 2, LEAST_VARIANCE) for c in columns]
    stands_for = [_product(size for axis, size in enumerate(sizes) if axis not in keys) for keys in sets]
    means = [
        _on_axes(values, axes, sizes) / cells
        for values, axes, cells in zip(observed, totals.keys, stands_for, strict=True)
    ]
    fitted = [np.zeros_like(mean) for mean in means]
    for component in components(sets):
        weights = precisions(component, sets=sets, variances=variances, sizes=sizes)
        whole = sum(weights)
        part: Floats | None = None
        for mean, keys, weight in zip(means, sets, weights, strict=True):
            if weight:
                away = tuple(1 + axis for axis in keys - component)
                told = mean.mean(axis=away, keepdims=True) * (weight / whole)
                part = told if part is None else part + told
        if part is None:
            raise AssertionError("a component is told by the set that it is within")
        for axis in component:
            part = part - part.mean(axis=1 + axis, keepdims=True)
        for place, keys in enumerate(sets):
            if component <= keys:
                fitted[place] += part
    return [
        _off_axes(values * cells, axes) for values, axes, cells in zip(fitted, totals.keys, stands_for, strict=True)
    ]


def _product(sizes: Any) -> float:
    return float(np.prod([float(size) for size in sizes]))


def _on_axes(values: Floats, axes: tuple[int, ...], sizes: tuple[int, ...]) -> Floats:
    """Return (replicates, cells) with one axis for every key; of length 1 for those that the set has not."""
    shaped = values.reshape(-1, *(sizes[axis] for axis in axes))
    ordered = shaped.transpose(0, *(1 + place for place in np.argsort(axes, kind="stable").tolist()))
    return ordered.reshape(-1, *(size if axis in axes else 1 for axis, size in enumerate(sizes)))


def _off_axes(values: Floats, axes: tuple[int, ...]) -> Floats:
    """Return what `_on_axes` was given."""
    kept = values.reshape(values.shape[0], *(values.shape[1 + axis] for axis in sorted(axes)))
    places = [sorted(axes).index(axis) for axis in axes]
    return kept.transpose(0, *(1 + place for place in places)).reshape(values.shape[0], -1)
