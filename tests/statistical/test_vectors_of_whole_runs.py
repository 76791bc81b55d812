"""Whole runs whose sums and counts get one draw of noise: audits of what is released, mistakes, and intervals.

As `test_whole_run.py`, whose worlds and false alarms these are.
"""

from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from cleanroom.privacy.noise import DiscreteCube, DiscreteLaplace
from tests.statistical.audit import epsilon_lower_bound
from tests.statistical.worlds import HIGH, MAX_ROWS, Experiment, Rows

WORLD = "p.shelf, p.slot"
BOTH = (
    f"SELECT {WORLD}, COUNT(p.value) AS known, SUM(p.value) AS total FROM {{table}} GROUP BY {WORLD} ORDER BY {WORLD}"
)
SIDES = (
    f"SELECT {WORLD}, p.side, COUNT(p.value) AS known, SUM(p.value) AS total FROM {{table}} "
    f"GROUP BY {WORLD}, p.side ORDER BY {WORLD}, p.side"
)
UNSEEN = 41_000
"""More groups than error bars are simulated for, which takes long."""
EMPTY_HALF = Rows(counts=(MAX_ROWS,), value=0.0)
"""All at the low end: the count goes up, the sum around the middle goes down."""

HONEST = {
    "the low end": (Experiment(query=BOTH, worlds=UNSEEN, victim=EMPTY_HALF), 0.5),
    "three groups": (
        Experiment(query=SIDES, worlds=14_000, max_groups=3, victim=Rows(counts=(MAX_ROWS,) * 3, value=HIGH)),
        0.3,
    ),
}


@cache
def released(experiment, *, present):
    return experiment.release(present=present)


def samples(experiment):
    """Return what each world releases, and what an auditor makes of it: each group's sum around the middle."""
    found = []
    for present in (False, True):
        x = experiment.outputs_of(released(experiment, present=present))
        known, total = x[:, 0::2], x[:, 1::2]
        found.append(np.column_stack([known, total, total - 50 * known, total - 100 * known]))
    return found


@pytest.mark.parametrize("name", HONEST)
def test_a_run_with_a_vector_loses_no_more_than_its_price_and_the_audit_sees_most_of_it(name):
    experiment, share = HONEST[name]
    release = released(experiment, present=True)
    assert release["price"]["epsilon"] == 2
    (columns,) = [m["columns"] for m in release["receipt"]["measurements"]]
    assert [c["noise"]["distribution"] for c in columns] == ["discrete_cube"] * 2
    assert 2 * share <= epsilon_lower_bound(*samples(experiment)) <= 2


def with_columns(change):
    """Return a change of a plan: of the columns of each measurement."""
    return lambda plan: replace(
        plan, measurements=tuple(replace(m, columns=tuple(change(m.columns))) for m in plan.measurements)
    )


def by_themselves(columns, scales):
    """The vector's columns with noise of their own, of so many times the scale."""
    assert all(isinstance(c.noise, DiscreteCube) for c in columns)
    return [
        replace(c, vector=None, norm="l1", noise=DiscreteLaplace(scale=c.noise.scale * s))
        for c, s in zip(columns, scales, strict=True)
    ]


def twice_the_rows(plan):
    """A row weighs twice its share in the count, and not in the sum."""
    weight = str(int(1 / next(c.unit for m in plan.measurements for c in m.columns if c.is_count)))
    (m,) = plan.measurements
    assert f"* {weight}" in m.exact_sql
    return replace(
        plan, measurements=(replace(m, exact_sql=m.exact_sql.replace(f"* {weight}", f"* {2 * int(weight)}")),)
    )


MISTAKES = {
    "each column with noise for the whole epsilon": {
        "plan_of_noise": with_columns(lambda columns: by_themselves(columns, (1, 1))),
    },
    "no noise for one of them": {
        "plan_of_noise": with_columns(lambda columns: by_themselves(columns, (2, Fraction(1, 10**9)))),
    },
    "a wrong weight of a row": {"plan_of_engine": twice_the_rows},
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_of_a_vector_is_caught_by_the_same_audit(name):
    experiment = Experiment(query=BOTH, worlds=UNSEEN, **MISTAKES[name])
    assert epsilon_lower_bound(*samples(experiment)) > 1.05 * 2


def test_intervals_over_a_vector_hold_the_exact_number_in_95_of_100_groups():
    """Of 1,200 groups; one standard error is 0.6 of 100. The count's is exact, the others' are simulated jointly."""
    query = BOTH.replace("SUM(p.value) AS total", "SUM(p.value) AS total, AVG(p.value) AS mean, STDDEV(p.value) AS sd")
    base = (Rows(counts=(MAX_ROWS,), value=20.0), Rows(counts=(MAX_ROWS,), value=70.0)) * 20
    experiment = Experiment(query=query, worlds=400, base=base)
    releases = [experiment.release(present=False, seed=seed) for seed in "123"]
    rows = 40 * MAX_ROWS
    exact = {"known": rows, "total": 45.0 * rows, "mean": 45.0, "sd": 25 * (rows / (rows - 1)) ** 0.5}
    for name, truth in exact.items():
        ends = np.array([e for release in releases for e in release["intervals"][name]], dtype=np.float64)
        assert 0.93 <= np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])) <= 0.975, name
    (columns,) = [m["columns"] for m in releases[0]["receipt"]["measurements"]]
    assert {c["vector"] for c in columns} == {columns[0]["vector"]} != {None}
