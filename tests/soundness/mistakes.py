"""Mistakes to plant in a plan: in what it declares, or in the text of its exact queries."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlglot

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlglot import exp

    from cleanroom.templates.plan import MeasuredColumn, Measurement, Plan

    Mistake = Callable[[Plan], Plan]


def in_measurements(change: Callable[[Measurement], Measurement]) -> Mistake:
    """Return a change of a plan: of each measurement."""
    return lambda plan: replace(plan, measurements=tuple(map(change, plan.measurements)))


def rewritten(pattern: str, to: str, *, times: int = 0) -> Mistake:
    """Return a change of a plan: of its exact queries' text."""
    return in_measurements(lambda m: replace(m, exact_sql=re.sub(pattern, to, m.exact_sql, count=times)))


def with_columns(
    which: Callable[[Measurement, MeasuredColumn], bool] = lambda _, __: True, **changes: Callable[[Any], Any]
) -> Mistake:
    """Return a change of a plan: of what it declares of measured columns."""

    def changed(m: Measurement) -> Measurement:
        chosen = [c for c in m.columns if which(m, c)]
        vectors = {c.vector for c in chosen} - {None}  # what is drawn together has one sensitivity
        columns = [
            replace(c, **{k: f(getattr(c, k)) for k, f in changes.items()}) if c in chosen or c.vector in vectors else c
            for c in m.columns
        ]
        return replace(m, columns=tuple(columns))

    return in_measurements(changed)


def is_of_squares(m: Measurement, c: MeasuredColumn) -> bool:
    """Return whether a column holds the squares of a variance: they follow the sum of the same values."""
    place = m.columns.index(c)
    return place > 0 and all(o.meaning.startswith("sum around") for o in m.columns[place - 1 : place + 1])


def squares_without_a_clamp(m: Measurement) -> Measurement:
    """Let large squares weigh what they are."""
    sql = m.exact_sql
    summed = [c for c in m.columns if c.bins is None and c.meaning != "different values"]
    for number, c in enumerate(summed):
        if is_of_squares(m, c):
            sql = re.sub(rf'"v{number}" > \d+ THEN', f'"v{number}" > 1000000000 THEN', sql)
    return replace(m, exact_sql=sql)


def by_bin(m: Measurement) -> Measurement:
    """Clip each bin of an entity for itself, not all bins of a group together."""
    pattern = r'(FROM "b\d+_pairs" AS "p" GROUP BY "p"\."e"(?:, "p"\."k\d+")*)(\) AS "g")'
    return replace(m, exact_sql=re.sub(pattern, r'\1, "p"."b"\2', m.exact_sql))


def in_trees(change: Callable[[exp.Expr], exp.Expr]) -> Mistake:
    """Return a change of a plan: of each node of its exact queries."""

    def changed(m: Measurement) -> Measurement:
        tree = sqlglot.parse_one(m.exact_sql, dialect="duckdb").transform(change)
        return replace(m, exact_sql=tree.sql("duckdb"))

    return in_measurements(changed)
