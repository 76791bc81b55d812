"""From noisy counts per bin to quantiles with error bars: post-processing of a two-level tree of counts. In `privacy/`.

Every bin and every run of bins (a node above them) is counted and gets noise of its own. The two are brought together
by least squares, and a quantile is where the cumulative count crosses its share. All of it is computed from noisy
numbers and public noise, so it costs no privacy.

With b bins below each upper node and noise of variance s^2 on every node, the best estimate of an upper node's count
is z = (b y + sum of its bins) / (b + 1), with variance s^2 b / (b + 1); each of its bins is corrected by an equal share
of what is missing. (Hay, Rastogi, Miklau, Suciu, "Boosting the Accuracy of Differentially Private Histograms Through
Consistency", 2010: the universal histogram.) The deviations of bins from their mean are independent of z, so that the
variance of any cumulative count has a closed form.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanroom.privacy.bins import edge_variance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cleanroom.privacy.bins import Bins, End

    Floats = NDArray[np.float64]

LEVELS = np.linspace(-3.92, 3.92, 33)
"""Normal deviates at which a quantile's curve is kept; -1.96, 0 and 1.96 are among them."""

MIDDLE = 16
"""Place of the deviate 0."""

AVERAGED = 0.92
"""Share of a cumulative count's deviation that counts for a quantile: how many bins are under a line averages over
neighbours, so that it errs less than any one of them. Measured, as the coverage in the tests is."""

SURE = 1.645
"""Deviate that a normal variable exceeds with a chance of 5 %: how sure a smallest or largest value is to be inside."""


def nodes_of(cells: NDArray[np.int64], bins: Bins) -> NDArray[np.int64]:
    """Return the exact count of every node: upper nodes, then bins; one row per group.

    Args:
        cells: shape (groups, bins.number), exact.
        bins: with their tree.
    """
    leaves = max(bins.upper, 1) * bins.below
    padded = np.zeros((len(cells), leaves), dtype=np.int64)
    padded[:, : bins.number] = cells
    if not bins.upper:
        return padded
    upper = padded.reshape(len(cells), bins.upper, bins.below).sum(axis=2)
    return np.concatenate([upper, padded], axis=1)


def curves(noisy: NDArray[np.int64], *, bins: Bins, deviation: float, fraction: float, end: End) -> Floats:
    """Return for each group where its quantile lies, at each of `LEVELS`; NaN where noise left no row in the group.

    At level z it is the value below which the cumulative count, less the quantile's share of all rows, is under z
    standard deviations of its noise: level 0 is the estimate, levels -1.96 and 1.96 the ends of a 95 % interval, and a
    random normal level gives a draw for whatever is computed from the quantile. How many bins are under the line takes
    the place of the first or last one: a noisy cumulative count can cross the line several times, and sorting it
    first gives a curve that only rises, with no worse an interval. An interval is at least as wide as the bin.

    A smallest value is the upper end of the last bin below which rows cannot be told from noise with a confidence of
    95 %: the true one is at or below it; how far below, no number of rows could tell. A largest one likewise.

    Args:
        noisy: of `nodes_of` with noise, in rows of one group each; any unit.
        bins: with their tree.
        deviation: standard deviation of the noise of one node, in the same unit; > 0.
        fraction: 0 <= fraction <= 1.
        end: `inside`: the quantile of `fraction`; `smallest` and `largest`: the ends.

    Source:
        Chernozhukov, Fernandez-Val, Galichon, "Improving Point and Interval Estimates of Monotone Functions by
        Rearrangement", 2008, for sorting.
    """
    below, total = cumulative(noisy, bins)
    inner = below[:, 1 : bins.number]  # at the left edge of each bin but the first
    edges = np.arange(1, bins.number)
    if end == "inside":
        spread = AVERAGED * deviation * np.sqrt(_variance(bins, edges, fraction))
        off = (inner - fraction * total[:, None]) / spread if len(edges) else inner
        place = np.stack([(off < z).sum(axis=1) for z in LEVELS], axis=1).astype(np.float64)
        share = np.array([NormalDist().cdf(z) for z in LEVELS])
        values = _value(bins, place, share)
    else:
        share_of = 0.0 if end == "smallest" else 1.0
        spread = deviation * np.sqrt(_variance(bins, edges, share_of))
        off = inner - share_of * total[:, None]
        values = np.empty((len(noisy), len(LEVELS)))
        if end == "smallest":
            unsure = off < SURE * spread
            last = (unsure * edges).max(axis=1, initial=0).astype(np.float64)
            values[:, :MIDDLE] = _value(bins, np.zeros(1), np.zeros(1))
            values[:, MIDDLE:] = _value(bins, last, np.ones(1))[:, None]
        else:
            unsure = -off < SURE * spread
            first = np.where(unsure, edges, bins.number).min(axis=1, initial=bins.number).astype(np.float64)
            values[:, : MIDDLE + 1] = _value(bins, first - 1, np.zeros(1))[:, None]
            values[:, MIDDLE + 1 :] = _value(bins, np.array([bins.number - 1.0]), np.ones(1))
    values[~(total > 0)] = np.nan
    return values


def cumulative(noisy: NDArray[np.int64], bins: Bins) -> tuple[Floats, Floats]:
    """Return the estimated rows below the left edge of each leaf, and of all; shapes (groups, leaves), (groups,)."""
    leaves = noisy[:, bins.upper :].astype(np.float64)
    if not bins.upper:
        total = leaves.sum(axis=1)
        return np.cumsum(leaves, axis=1) - leaves, total
    nested = leaves.reshape(len(noisy), bins.upper, bins.below)
    sums = nested.sum(axis=2)
    best = (noisy[:, : bins.upper].astype(np.float64) * bins.below + sums) / (bins.below + 1)
    nested = nested + ((best - sums) / bins.below)[:, :, None]
    corrected = nested.reshape(len(noisy), -1)
    return np.cumsum(corrected, axis=1) - corrected, best.sum(axis=1)


def _variance(bins: Bins, edges: NDArray[Any], fraction: float) -> Floats:
    """Return `edge_variance` of several edges."""
    return np.array([edge_variance(bins, int(edge), fraction) for edge in edges], dtype=np.float64)


def _value(bins: Bins, place: Floats, share: Floats) -> Floats:
    """Return the value at a share of the bin at a place; of whole numbers, the bin's first is share 0, its last 1."""
    return float(bins.lo) + float(bins.width) * place + share * float(bins.width - bins.step)


def drawn(curve: Floats, levels: Floats) -> Floats:
    """Return each group's curve at normal deviates, linear in between; shapes (groups, LEVELS), (draws, groups)."""
    step = LEVELS[1] - LEVELS[0]
    at = np.clip((levels - LEVELS[0]) / step, 0, len(LEVELS) - 1)
    left = np.minimum(at.astype(np.int64), len(LEVELS) - 2)
    rest = at - left
    groups = np.arange(len(curve))[None, :]
    return np.asarray(curve[groups, left] * (1 - rest) + curve[groups, left + 1] * rest, dtype=np.float64)
