"""What post-processing gains, measured: errors of totals, parts and counts, and how often intervals hold the truth."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cleanroom.privacy.consistency import variances_left
from cleanroom.privacy.mechanisms import add_noise
from cleanroom.use_cases.consistent_totals import with_consistent_totals
from tests.house import House, furnish
from tests.seeded_entropy import SeededEntropy
from tests.unit.templates.compiling import EPSILON_ONE, GAUSSIAN, compiled

REPLICATES = 3_000


@pytest.mark.parametrize("given", [EPSILON_ONE, GAUSSIAN], ids=["Laplace", "Gaussian"])
def test_totals_and_parts_have_the_smaller_error_that_least_squares_promises(given):
    """3,000 draws of a cube of 3 and 3 values: each set's mean square error is what is told, and below what it was."""
    plan = compiled(
        "SELECT status, age > 40 AS old, COUNT(*) AS n FROM customers GROUP BY CUBE(status, old)",
        given=given,
        consistent=True,
    )
    entropy = SeededEntropy("cube")
    labels: dict[str, list[Any]] = {"status": ["gold", "silver", "none"], "old": [False, True, None]}
    named = [("status", "old"), ("status",), ("old",), ()]
    tables, before = {}, []
    for m, keys in zip(plan.measurements, named, strict=True):
        (c,) = m.columns
        cells = [
            tuple(labels[k][i] for k, i in zip(keys, place, strict=True)) for place in np.ndindex(*[3] * len(keys))
        ]
        noise = add_noise(np.zeros(REPLICATES * len(cells), dtype=np.int64), noise=c.noise, entropy=entropy)
        columns = {k: pa.array([cell[i] for _ in range(REPLICATES) for cell in cells]) for i, k in enumerate(m.keys)}
        tables[m.name] = pa.table({**columns, c.name: noise * float(c.unit)})
        before.append((c.noise.standard_deviation * float(c.unit)) ** 2)
    fitted = with_consistent_totals(tables, plan, replicates=REPLICATES)
    axes = [frozenset(a) for a in plan.post.consistent[0].keys]
    left = variances_left(sets=axes, variances=before, sizes=[3, 3])
    for m, expected, alone in zip(plan.measurements, left, before, strict=True):
        found = np.mean(np.asarray(fitted[m.name].column(m.columns[0].name)) ** 2)
        assert found == pytest.approx(expected, rel=0.1)
        assert expected < 0.9 * alone
        assert found != pytest.approx(0.7 * expected, rel=0.1)
        assert found != pytest.approx(1.3 * expected, rel=0.1)


SHELVES, LAMPS = 8, 10
SOLD = pa.table(
    {
        "tailnum": [f"N{100 + place}AA" for place in range(400)],
        "shelf": pa.array([place % SHELVES for place in range(400)], pa.int32()),
        "carrier": ["AA"] * 400,
        "dep_delay": pa.array([place % LAMPS for place in range(400)], pa.int32()),
    }
)


def house(*, seed: str, shelves: int = SHELVES, table: pa.Table = SOLD) -> House:
    made = House(entropy=SeededEntropy(seed))
    made.objects.put_table(owner="airline", name="flights", table=table)
    made.objects.put_table(owner="agency", name="fleet", table=pa.table({"tailnum": ["N100AA"]}))
    furnish(made, settings={"differential": 1, "epsilon": 0.5, "privacy_budget": 1_000_000})
    policies = {"flights": {"max_groups": 1, "max_rows": 1, "domains": {"shelf": {"range": [0, shelves - 1]}}}}
    made("airline", "provider", "link_datasets", cleanroom_name="room", tables=["flights"], policies=policies)
    return made


def released(made: House, text: str, *steps: str) -> dict[str, Any]:
    made("airline", "provider", "add_custom_sql_template", cleanroom_name="room", template_name="tried",
         template=text.format("IDENTIFIER({{ source_table[0] }})"))  # fmt: skip
    return made("agency", "consumer", "run_analysis", cleanroom_name="room", template_name="tried",
                provider_tables=["flights"], post_processing=list(steps))  # fmt: skip


LAMPS_OF_SHELVES = (
    "SELECT p.shelf, " + ", ".join(f"COUNT_IF(p.dep_delay = {i}) AS n{i}" for i in range(LAMPS)) + " "
    "FROM {} p GROUP BY ROLLUP(p.shelf)"
)


def test_intervals_of_consistent_numbers_hold_the_exact_ones_in_93_to_97_of_100():
    """Of 720 numbers in 8 runs, 80 of them totals; those of a run are not independent, so the band is as wide."""
    exact = {(s, v): 0 for s in [*range(SHELVES), None] for v in range(LAMPS)}
    for row in SOLD.to_pylist():
        exact[row["shelf"], row["dep_delay"]] += 1
        exact[None, row["dep_delay"]] += 1
    made, met, totals = house(seed="shelves"), [], []
    for _ in range(8):
        release = released(made, LAMPS_OF_SHELVES, "consistent_totals")
        for place, row in enumerate(release["rows"]):
            for v in range(LAMPS):
                low, high = release["intervals"][f"n{v}"][place]
                (totals if row[0] is None else met).append(low <= exact[row[0], v] <= high)
    assert len(met) == 8 * SHELVES * LAMPS
    assert 0.93 <= np.mean([*met, *totals]) <= 0.97
    assert np.mean(totals) >= 0.88  # of 80


FEW = 3_000
SPARSE = pa.table(
    {
        "tailnum": [f"N{100 + place}AA" for place in range(FEW)],
        "shelf": pa.array([place % 1000 for place in range(FEW)], pa.int32()),
        "carrier": ["AA"] * FEW,
        "dep_delay": pa.array([0] * FEW, pa.int32()),
    }
)


@cache
def sparse(*steps: str) -> dict[str, Any]:
    made = house(seed="sparse", shelves=FEW, table=SPARSE)
    return released(made, "SELECT p.shelf, COUNT(*) AS n FROM {} p GROUP BY p.shelf ORDER BY 1", *steps)


def test_counts_that_are_not_negative_have_less_error_and_intervals_that_hold_as_many():
    """3,000 groups, 1,000 of which have 3 rows and the others none; one standard error is 0.4 of 100."""
    plain, cut = sparse(), sparse("nonnegative_counts")
    exact = np.array([3 if place < 1000 else 0 for place in range(FEW)])
    errors = []
    for release in (plain, cut):
        shown = np.array([row[1] for row in release["rows"]])
        ends = np.array(release["intervals"]["n"])
        assert 0.94 <= np.mean((ends[:, 0] <= exact) & (exact <= ends[:, 1])) <= 0.985
        errors.append(float(np.mean(np.abs(shown - exact))))
    assert errors[1] < 0.75 * errors[0]
    assert cut["price"]["epsilon"] == plain["price"]["epsilon"]
    assert min(row[1] for row in cut["rows"]) == 0 > min(row[1] for row in plain["rows"])
