"""benchmarks: a hand-written float baseline: the same bounding in DuckDB, numpy's noise, none of the defences.

What an expert writes for one query: doubles instead of a grid, a pseudo-random generator instead of the operating
system's entropy, one joint vector of measurements. It shows what our defences cost in accuracy. Nobody should release
its answers.

Each measurement is scaled to one unit per entity and group. The vector gets Laplace noise of scale k * n / epsilon, or
Gaussian noise of norm sqrt(k * n), whichever is smaller: k groups, n measurements (Dwork, Roth 2014, Theorems 3.6 and
A.1; sigma by the exact condition of Balle, Wang 2018, Theorem 8). Sums are taken around the middle of the clamp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.workloads import DELTA, EPSILON, Asked, Question

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import duckdb
    import numpy as np

HARD_LIMIT = 4
"""Groups of one entity, in units of max_groups, where keys are private; as in our own compiler."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """The bounded, noiseless part of an answer, and the noise that it needs.

    Attributes:
        exact_cells: group -> measurement -> bounded sum.
        units: measurement -> what one entity adds at most in one group.
        gaussian: which noise.
        scale: of one unit: the Laplace scale, or sigma.
        threshold: noisy entities at which a private group appears; -inf for public groups.
    """

    exact_cells: Mapping[tuple[Any, ...], Mapping[str, float]]
    units: Mapping[str, float]
    gaussian: bool
    scale: float
    threshold: float


def prepare(question: Question, connection: duckdb.DuckDBPyConnection) -> Prepared:
    """Bound and sum; draws nothing."""
    units = _units(question)
    weights = question.max_groups * len(units)
    laplace = weights / float(EPSILON)
    delta = float(DELTA) if question.groups else float(DELTA) / 2
    gauss = gaussian_sigma(float(EPSILON), delta) * math.sqrt(weights)
    gaussian = gauss < laplace * math.sqrt(2)
    scale = gauss if gaussian else laplace
    cursor = connection.execute(bounded_sql(question, gaussian=gaussian))
    names = [column[0] for column in cursor.description or ()][len(question.keys) :]
    keys = len(question.keys)
    cells = {row[:keys]: dict(zip(names, map(float, row[keys:]), strict=True)) for row in cursor.fetchall()}
    threshold = -math.inf
    if not question.groups:
        threshold = _threshold(question.max_groups, scale=scale, gaussian=gaussian, delta=float(DELTA) / 2)
    return Prepared(exact_cells=cells, units=units, gaussian=gaussian, scale=scale, threshold=threshold)


def answer(
    question: Question, prepared: Prepared, generator: np.random.Generator
) -> dict[tuple[Any, ...], list[float]]:
    """Draw noise and return group -> numbers."""
    draw: Callable[[], float] = (
        (lambda: generator.normal(0, prepared.scale))
        if prepared.gaussian
        else (lambda: generator.laplace(0, prepared.scale))
    )
    rows: dict[tuple[Any, ...], list[float]] = {}
    for group in question.groups or prepared.exact_cells:
        cells = prepared.exact_cells.get(tuple(group), {})
        noisy = {name: cells.get(name, 0.0) + unit * draw() for name, unit in prepared.units.items()}
        if noisy.get("entities", math.inf) < prepared.threshold:
            continue
        rows[tuple(group)] = [_finished(asked, noisy) for asked in question.asked]
    return rows


def _units(question: Question) -> dict[str, float]:
    units: dict[str, float] = {}
    if not question.groups or any(a.kind == "entities" for a in question.asked):
        units["entities"] = 1.0
    if any(a.kind != "entities" for a in question.asked):
        units["rows"] = float(question.max_rows)
    for name, asked in _values(question).items():
        units[f"sum_{name}"] = (asked.hi - asked.lo) / 2 * question.max_rows
    return units


def _values(question: Question) -> dict[str, Asked]:
    return {a.column: a for a in question.asked if a.column}


def _finished(asked: Asked, noisy: Mapping[str, float]) -> float:
    if asked.kind == "count":
        return noisy["rows"]
    if asked.kind == "entities":
        return noisy["entities"]
    middle = (asked.lo + asked.hi) / 2
    if asked.kind == "sum":
        return noisy[f"sum_{asked.column}"] + middle * noisy["rows"]
    return min(max(middle + noisy[f"sum_{asked.column}"] / max(noisy["rows"], 1.0), asked.lo), asked.hi)


def bounded_sql(question: Question, *, gaussian: bool) -> str:
    """Return the bounded sums per group: each entity's vector is scaled to the norm that its bounds allow."""
    keys = ", ".join(question.keys)
    sums = ", ".join(
        f"sum(least(greatest({name}, {a.lo}), {a.hi}) - {(a.lo + a.hi) / 2}) AS sum_{name}"
        for name, a in _values(question).items()
    )
    pairs = f"SELECT entity, {keys}, count(*) AS rows{', ' + sums if sums else ''} FROM view GROUP BY ALL"
    kept = "SELECT * FROM pairs"
    if not question.groups:
        limit = HARD_LIMIT * question.max_groups
        kept = (
            "SELECT * FROM pairs ANTI JOIN big USING (entity) "
            "UNION ALL (SELECT * FROM pairs SEMI JOIN big USING (entity) "
            f"QUALIFY row_number() OVER (PARTITION BY entity ORDER BY hash(entity, {keys}, 11)) <= {limit})"
        )
        big = f"big AS (SELECT entity FROM pairs GROUP BY entity HAVING count(*) > {limit}), "
    else:
        big = ""
    k, m = question.max_groups, question.max_rows
    cap, rows, groups = (
        (math.sqrt(k), "sqrt(sum(rows * rows))", "sqrt(count(*))") if gaussian else (k, "sum(rows)", "count(*)")
    )
    scaled = "".join(f", sum(sum_{name} * coalesce(by_rows, 1)) AS sum_{name}" for name in _values(question))
    return question.files(
        f"WITH view AS ({question.view}), pairs AS MATERIALIZED ({pairs}), {big}kept AS ({kept}), "
        f"weights AS (SELECT entity, least(1, {cap * m} / {rows}) AS by_rows, least(1, {cap} / {groups}) AS by_groups "
        "FROM kept GROUP BY entity HAVING by_rows < 1 OR by_groups < 1) "
        f"SELECT {keys}, sum(rows * coalesce(by_rows, 1)) AS rows, sum(coalesce(by_groups, 1)) AS entities{scaled} "
        "FROM kept LEFT JOIN weights USING (entity) GROUP BY ALL"
    )


def gaussian_sigma(epsilon: float, delta: float) -> float:
    """Return the smallest sigma for L2 sensitivity 1 that gives (epsilon, delta), by bisection, in floats."""

    def spent(sigma: float) -> float:
        shift = epsilon * sigma
        return _phi(1 / (2 * sigma) - shift) - math.exp(epsilon) * _phi(-1 / (2 * sigma) - shift)

    return _bisect(lambda sigma: spent(sigma) <= delta, low=0.05, high=100.0)


def _threshold(max_groups: int, *, scale: float, gaussian: bool, delta: float) -> float:
    """Return the cut at which the groups of one entity alone pass with chance delta at most, over all their numbers."""

    def cut(groups: int) -> float:
        share = min(1.0, max_groups / groups)
        if gaussian:
            own = math.sqrt(share)
            return own + scale * _bisect(lambda x: _phi(-x) <= delta / groups, low=0.0, high=40.0)
        return share + scale * math.log(groups / (2 * delta))

    return max(cut(groups) for groups in range(1, HARD_LIMIT * max_groups + 1))


def _phi(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _bisect(holds: Callable[[float], bool], *, low: float, high: float) -> float:
    """Return about the smallest x at which `holds`, which stays true from there on."""
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
