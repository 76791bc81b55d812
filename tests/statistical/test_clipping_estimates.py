"""The shares that a clipping note tells: how often their 95 % intervals hold the exact share."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest

from cleanroom.privacy.mechanisms import add_noise
from cleanroom.use_cases.clipping_estimates import clipping_estimates
from cleanroom.use_cases.noisy_tables import NoisyTable
from tests.seeded_entropy import SeededEntropy
from tests.unit.templates.compiling import EPSILON_ONE, GAUSSIAN, settings
from tests.unit.templates.test_clipping import estimated

EXACT = np.array([880, 60, 40, 15, 5], dtype=np.int64)
RUNS = 400


@pytest.mark.parametrize("given", [EPSILON_ONE, GAUSSIAN], ids=["Laplace", "Gaussian"])
def test_intervals_of_the_share_that_is_cut_hold_it_in_93_to_97_of_100_runs(given):
    """Of 400 runs; one standard error is 1.1 of 100. The counts' own intervals hold theirs in 95 or more."""
    plan = estimated("SELECT COUNT(*) AS n FROM customers", share="0.5", given=given)
    (measurement,) = (m for m in plan.measurements if m.estimate is not None)
    noise, entropy = measurement.columns[0].noise, SeededEntropy("clipping")
    noisy = add_noise(np.tile(EXACT, RUNS), noise=noise, entropy=entropy).reshape(RUNS, -1)
    one = replace(plan, measurements=(plan.measurements[0], measurement))
    share, counts = float(Fraction(int(EXACT[1:].sum()), int(EXACT.sum()))), []
    met = []
    for drawn in noisy:
        table = NoisyTable(
            unmeasured=pa.table({"k0": pa.array(range(5))}), integers={c.name: drawn for c in measurement.columns},
            curves={},
        )  # fmt: skip
        (rows,) = clipping_estimates(one, noisy={measurement.name: table}, entropy=entropy)["m0"]
        low, high = rows["interval"]
        met.append(low <= share <= high)
        counts += [c["interval"][0] <= n <= c["interval"][1] for c, n in zip(rows["classes"], EXACT, strict=True)]
    assert 0.93 <= np.mean(met) <= 0.97
    assert 0.94 <= np.mean(counts) <= 0.98


def test_more_epsilon_makes_the_interval_narrower():
    widths = []
    for epsilon in (Fraction(1), Fraction(4)):
        plan = estimated("SELECT SUM(spend) AS s FROM customers", share="0.5", given=settings(epsilon=epsilon))
        measurement = plan.measurements[-1]
        table = NoisyTable(
            unmeasured=pa.table({"k0": pa.array(range(5))}), integers={c.name: EXACT for c in measurement.columns},
            curves={},
        )  # fmt: skip
        found = clipping_estimates(plan, noisy={measurement.name: table}, entropy=SeededEntropy("widths"))["m0"][0]
        widths.append(found["interval"][1] - found["interval"][0])
    assert 3 <= widths[0] / widths[1] <= 5
