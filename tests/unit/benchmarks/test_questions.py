"""The benchmark's questions and baseline: each form asks the same, and the baseline is worth comparing with."""

import math
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import baseline, exact, workloads
from cleanroom.privacy.calibration import gaussian_rho


@pytest.fixture
def flights(tmp_path):
    """Three planes over two destinations; AA1 makes more flights than its bounds allow."""
    planes = ["AA1"] * 50 + ["BB2"] * 3 + ["CC3"] * 2
    dest = ["ATL"] * 40 + ["BOS"] * 10 + ["ATL", "BOS", "BOS", "ATL", "ATL"]
    columns = {
        "tailnum": pa.array(planes),
        "dest": pa.array(dest),
        "carrier": pa.array([plane[:2] for plane in planes]),
        "distance": pa.array([700 + i for i in range(55)], pa.int32()),
        "dep_delay": pa.array([i - 20 for i in range(55)], pa.int32()),
    }
    schema = pa.schema([pa.field(name, values.type, nullable=False) for name, values in columns.items()])
    pq.write_table(pa.table(list(columns.values()), schema=schema), tmp_path / "flights.parquet")
    return tmp_path


def test_the_bounded_part_of_both_forms_is_the_same_but_for_the_grid(flights):
    """AA1's 50 rows are scaled to its norm in our exact query and in the float baseline alike."""
    question = replace(
        workloads.delay_by_carrier(folder=flights), groups=(("AA",), ("VX",)), mechanism="Laplace", max_rows=4
    )
    policy = {**question.sources[0].policy, "max_rows": 4, "domains": {"carrier": ["AA", "VX"]}}
    question = replace(question, sources=(replace(question.sources[0], policy=policy),))
    plan = exact.compiled(question)
    (measurement,) = plan.measurements
    table = exact.run_exact(question, plan)["m0"].to_pydict()
    with duckdb.connect() as connection:
        prepared = baseline.prepare(question, connection)
    assert table["k0"] == ["AA", "VX"]
    cells = prepared.exact_cells[("AA",)]
    for column in measurement.columns:
        ours = table[column.name][0] * float(column.unit)
        theirs = cells["rows"] if column.is_count else cells["sum_dep_delay"]
        assert ours == pytest.approx(theirs, rel=1e-3)
    assert cells["rows"] == pytest.approx(12)  # max_groups * max_rows of its 50


def test_a_release_has_the_columns_of_the_plain_query(flights):
    question = workloads.miles_by_destination(folder=flights)
    plan = exact.compiled(question)
    assert len(plan.release.columns) == len(question.keys) + len(question.asked)
    assert set(exact.truth(question)) == {("ATL",), ("BOS",)}
    assert exact.truth(question)[("BOS",)][0] == 12


def test_what_costs_too_much_is_not_compared(flights):
    """Two paid aggregates at the whole epsilon each would be an unequal budget."""
    with pytest.raises(RuntimeError, match="more than"):
        exact.compiled(replace(workloads.miles_by_destination(folder=flights), shares=1))


def test_the_baseline_noise_has_the_scale_that_it_says(flights):
    """Root mean square of 2,000 noisy counts within 10 % of the Laplace scale times root 2 (4 standard errors)."""
    question = replace(workloads.delay_by_carrier(folder=flights), groups=(("VX",),))
    prepared = baseline.Prepared(
        exact_cells={}, units={"rows": 20.0, "sum_dep_delay": 1.0}, gaussian=False, scale=6.0, threshold=-math.inf
    )
    counts = replace(question, asked=(workloads.Asked(kind="count"),))
    generator = np.random.default_rng(7)
    drawn = [baseline.answer(counts, prepared, generator)[("VX",)][0] for _ in range(2000)]
    assert np.sqrt(np.mean(np.square(drawn))) == pytest.approx(20 * 6 * math.sqrt(2), rel=0.1)


def test_the_baseline_sigma_is_a_little_below_what_zcdp_gives():
    """The exact condition of the Gaussian mechanism is tighter than zCDP, by a few per cent."""
    rho = float(gaussian_rho(epsilon=workloads.EPSILON, delta=workloads.DELTA))
    assert 0.9 < baseline.gaussian_sigma(1.0, 1e-6) / math.sqrt(1 / (2 * rho)) <= 1.0
