"""Sums and their count under one draw of noise: what goes together, what is declared of it, what that saves."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from cleanroom.privacy.mechanisms import add_noise, add_vector_noise
from cleanroom.privacy.noise import DiscreteCube, DiscreteLaplace
from cleanroom.privacy.rho import rho_price
from cleanroom.templates.plan import Measurement, Plan
from cleanroom.templates.plan_json import plan_as_json, plan_from_json
from cleanroom.templates.shares import of_vector, shares, together, vector_coefficient
from cleanroom.use_cases.plan_views import explained_plan
from cleanroom.use_cases.receipts import plan_receipt
from tests.seeded_entropy import SeededEntropy
from tests.unit.templates.compiling import CUSTOMERS, EPSILON_ONE, GAUSSIAN, SEGMENTS, compiled, settings
from tests.unit.templates.test_bounding import databases, violations

T = "FROM customers"
THREE = f"SELECT COUNT(price) AS n, SUM(price) AS s, AVG(price) AS a, VARIANCE(price) AS v {T}"


def drawn(plan: Plan) -> list[list[str]]:
    """Return what gets noise together, by what each column measures."""
    return [[c.meaning.split()[0] for c in columns] for m in plan.measurements for columns in m.drawn_together]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (f"SELECT AVG(age) AS a {T}", [["sum", "values"]]),
        (f"SELECT SUM(age) AS s, COUNT(age) AS n {T}", [["sum", "values"]]),
        (f"SELECT STDDEV(age) AS a, AVG(age) AS b {T}", [["sum", "sum", "values"]]),
        (f"SELECT CORR(age, spend) AS a {T}", [["sum"] * 5 + ["values"]]),
        # What counts other rows is bounded by another norm: a vector of its own.
        (f"SELECT AVG(age) AS a, AVG(spend) AS b, COUNT(*) AS n {T}", [["sum", "values"]] * 2 + [["rows"]]),
        # Nothing to be put with.
        (f"SELECT SUM(age) AS s {T}", [["sum"]]),
        (f"SELECT COUNT(*) AS n, COUNT(DISTINCT hashed_email) AS m {T}", [["rows"], ["entities"]]),
        # A range far from zero: the sum is its middle times the count, and what is left of it counts for nothing.
        (f"SELECT AVG(age + 1000000) AS s, SUM(age + 1000000) AS t {T}", [["sum"], ["values"]]),
        (f"SELECT city, AVG(age) AS a {T} GROUP BY 1", [["sum", "values"], ["entities"]]),
        (f"SELECT AVG(age) AS a, MEDIAN(age) AS m {T}", [["sum", "values"], ["values"]]),
    ],
)  # fmt: skip
def test_sums_and_the_count_of_the_same_rows_get_one_draw_of_noise(sql: str, expected: list[list[str]]) -> None:
    assert sorted(map(sorted, drawn(compiled(sql)))) == sorted(map(sorted, expected))


def test_gaussian_columns_and_calls_of_addnoise_keep_to_themselves() -> None:
    assert all(len(columns) == 1 for columns in drawn(compiled(THREE, given=GAUSSIAN)))
    two = compiled(f"SELECT cleanroom.addnoise(AVG(age), 1, 0.5) AS a, AVG(age) AS b {T}")
    assert drawn(two) == [["sum", "values"]] * 2
    assert len({c.vector for c in two.measurements[0].columns}) == 2


def test_a_row_weighs_the_same_in_all_columns_but_for_less_than_half_a_percent() -> None:
    (measurement,) = compiled(f"SELECT status, CORR(age, spend) AS c {T} GROUP BY 1").measurements
    largest = {"sum around 60": 60, "sum around 10": 20, "sum around 0": 60 * 20, "sum around 1800": 1800}
    assert all(c.sensitivity == 2 * 3 * 2**28 for c in measurement.columns)
    for c in measurement.columns:
        own = 2 * 3 * largest.get(c.meaning, 200 if "sum" in c.meaning else 1)
        assert own <= c.sensitivity * c.unit < own * 1.005, c.meaning


@pytest.mark.parametrize("least", [0.0, 1e-9, 0.01, 0.3, 1.0, 3.0])
def test_what_goes_together_has_the_least_predicted_error_of_all_ways_to_put_four_parts(least: float) -> None:
    """By trying all partitions, and the shares of each by the same rule: none is better."""
    asked = {"n": 1.0, "s": 0.5, "t": least, "u": 2 * least}
    chosen = together(asked, counts=dict.fromkeys(asked, "rows"))
    assert sorted(p for v in chosen for p in v) == sorted(asked)

    def predicted(partition: list[tuple[str, ...]]) -> float:
        split = shares({v: vector_coefficient(asked, v) for v in partition}, gaussian=False)
        return sum(vector_coefficient(asked, v) / float(split[v]) ** 2 for v in partition)

    best = min(map(predicted, partitions(list(asked))))
    assert predicted(chosen) <= best * 1.02


def partitions(parts: list[str]) -> list[list[tuple[str, ...]]]:
    if not parts:
        return [[]]
    first, rest = parts[0], parts[1:]
    found = []
    for size in range(len(rest) + 1):
        for others in combinations(rest, size):
            left = [p for p in rest if p not in others]
            found += [[(first, *others), *more] for more in partitions(left)]
    return found


def test_parts_that_may_not_stand_in_a_vector_are_left_alone() -> None:
    asked = {"n": 1.0, "bins": 1.0, "s": 1.0, "other": 1.0, "t": 1.0}
    counts = {"n": "rows", "s": "rows", "other": "values", "t": "rows"}
    assert together(asked, counts=counts) == [("n", "s", "t"), ("bins",), ("other",)]
    many = dict.fromkeys(range(40), 1.0)
    assert max(map(len, together(many, counts=dict.fromkeys(many, "rows")))) == 16


# --- what it saves ----------------------------------------------------------------------------------------------------


def deviations(plan: Plan) -> dict[str, float]:
    """Return column -> standard deviation of its noise, in the column's own units."""
    (m,) = plan.measurements
    return {c.meaning: c.noise.standard_deviation * float(c.unit) for c in m.columns}


def apart(plan: Plan, *, epsilon: list[str]) -> dict[str, float]:
    """Return the same for the old form: a share of epsilon for each column, with noise of its own."""
    (m,) = plan.measurements
    noises = [DiscreteLaplace(scale=c.sensitivity / Fraction(e)) for c, e in zip(m.columns, epsilon, strict=True)]
    return {c.meaning: n.standard_deviation * float(c.unit) for c, n in zip(m.columns, noises, strict=True)}


def test_an_average_has_half_the_variance_of_a_sum_and_a_count_that_are_paid_in_equal_shares() -> None:
    plan = compiled(f"SELECT AVG(age) AS a {T}")
    new, old = deviations(plan), apart(plan, epsilon=["1/2", "1/2"])
    assert [new[name] ** 2 / old[name] ** 2 for name in old] == pytest.approx([0.5, 0.5])


def test_against_the_best_shares_the_error_of_an_average_falls_too_wherever_the_mean_lies() -> None:
    """The old form's best shares were 0.591 and 0.409; the squared error is that of sum - mean * count."""
    plan = compiled(f"SELECT AVG(age) AS a {T}")
    (total, count), (old_total, old_count) = (
        list(d.values()) for d in (deviations(plan), apart(plan, epsilon=["0.591", "0.409"]))
    )
    for mean, least in ((0, 1.4), (30, 1.7), (60, 2.1)):  # from the middle, 60 being the end
        gain = (old_total**2 + mean**2 * old_count**2) / (total**2 + mean**2 * count**2)
        assert gain > least


def test_a_variance_has_a_third_of_the_squared_error_of_three_columns_in_equal_shares() -> None:
    plan = compiled(f"SELECT VARIANCE(age) AS a {T}")
    new, old = deviations(plan), apart(plan, epsilon=["1/3"] * 3)
    assert [new[name] ** 2 / old[name] ** 2 for name in old] == pytest.approx([20 / 54] * 3)
    assert of_vector(3) / 9 == pytest.approx(20 / 54)


# --- what is declared -------------------------------------------------------------------------------------------------

MEASURED = [
    f"SELECT status, AVG(spend) AS a {T} GROUP BY 1",
    f"SELECT status, COUNT(age) AS n, SUM(age) AS s, VARIANCE(age) AS v {T} GROUP BY 1",
    f"SELECT city, CORR(age, spend) AS c {T} GROUP BY 1",
    f"SELECT AVG(age) AS a, STDDEV(spend) AS b, AVG(spend) AS c {T}",
    f"SELECT status, SUM(1) AS s, AVG(CASE WHEN spend > 3 THEN 1 ELSE -5 END) AS a, COUNT(*) AS n {T} GROUP BY 1",
    f"SELECT status, AVG(age) FILTER (WHERE spend > 1) AS a, COUNT_IF(spend > 1) AS n {T} GROUP BY 1",
]


@pytest.mark.parametrize("sql", MEASURED)
def test_no_entity_moves_a_vector_by_more_than_its_sensitivity(sql: str) -> None:
    """The most that any column moves in a group, summed over the groups."""
    plan = compiled(sql)
    assert any(len(columns) > 1 for m in plan.measurements for columns in m.drawn_together)
    assert violations(plan, databases()) == []


def changed(plan: Plan, change: Any) -> Plan:
    return replace(plan, measurements=tuple(map(change, plan.measurements)))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: replace(m, exact_sql=m.exact_sql.replace("* 655360", "* 1310720")),  # a value weighs twice its share
        lambda m: replace(m, exact_sql=m.exact_sql.replace("* 6)", "* 7)")),
        lambda m: replace(m, columns=tuple(replace(c, sensitivity=c.sensitivity // 2) for c in m.columns)),
    ],
    ids=["the weight of a row is wrong", "the cap is too large", "half the sensitivity"],
)
def test_the_neighbour_check_catches_a_planted_fault_of_a_vector(change: Any) -> None:
    plan = compiled(MEASURED[0])
    broken = changed(plan, change)
    assert broken != plan
    assert violations(broken, databases()) != []


def test_the_entity_that_moves_every_column_by_all_it_may_is_there() -> None:
    """Otherwise the check above could not fail: the largest value in all of an entity's rows fills the bound."""
    (m,) = compiled(MEASURED[0]).measurements
    found = violations(changed(compiled(MEASURED[0]), _one_percent_less), databases())
    assert {v.split(" ")[0] for v in found} == {f"{m.name}.{c.name}" for c in m.columns}


def _one_percent_less(m: Measurement) -> Measurement:
    return replace(m, columns=tuple(replace(c, sensitivity=c.sensitivity * 99 // 100) for c in m.columns))


def test_columns_of_a_vector_have_the_same_noise_for_as_many_and_none_stands_alone() -> None:
    (m,) = compiled(MEASURED[0]).measurements
    first, *rest = m.columns
    wrong = [
        (first,),
        (replace(first, sensitivity=1), *rest),
        (replace(first, vector="other"), *rest),
        (replace(first, vector=None), *rest),
        (*m.columns, replace(first, name="c9")),
        tuple(replace(c, noise=DiscreteLaplace(scale=Fraction(1))) for c in m.columns),
        tuple(replace(c, norm="l1") for c in m.columns),
    ]
    for columns in wrong:
        with pytest.raises(ValueError, match="columns of a vector"):
            replace(m, columns=columns)


# --- what is written down ---------------------------------------------------------------------------------------------


def test_a_vector_costs_the_epsilon_of_its_columns_once_in_both_units() -> None:
    plan = compiled(THREE)
    (m,) = plan.measurements
    (columns,) = m.drawn_together
    noise = columns[0].noise
    assert isinstance(noise, DiscreteCube)
    assert noise.dimension == 3
    assert plan.price.micro_epsilon == 4_000_000
    assert [c.price.micro_epsilon for c in columns] == [1_333_334] * 3  # each rounded up
    assert noise.scale * 4 == columns[0].sensitivity
    assert plan.rho_price == rho_price([(noise, columns[0].sensitivity)])
    assert plan.rho_price.rho_steps == 8 * 10**12


def test_plans_explanations_and_receipts_name_the_vector_its_norm_and_its_noise() -> None:
    plan = compiled(THREE)
    assert plan_from_json(plan_as_json(plan)) == plan
    explained: Any = explained_plan(plan)
    receipt: Any = plan_receipt(plan, template_digest="", intervals=(), replicates=0)
    for written in (explained["measurements"][0]["columns"], receipt["measurements"][0]["columns"]):
        assert {c["vector"] for c in written} == {"v0"}
        assert [c["noise"] for c in written] == [plan.measurements[0].columns[0].noise.as_json()] * 3
    assert {c["sensitivity"]["norm"] for c in explained["measurements"][0]["columns"]} == {"l1_max"}
    assert {c["norm"] for c in receipt["measurements"][0]["columns"]} == {"l1_max"}
    widths = {c["measures"]: c["plus_or_minus_95"] for c in explained["measurements"][0]["columns"]}
    # Six rows at most, an epsilon of 4 for the three: 5.186 scales hold 95 % of one of three columns.
    assert widths["values that are not NULL"] == pytest.approx(5.186 * 6 / 4 + 0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("epsilon", "max_rows"), [(Fraction(20_000), 3), (Fraction(1), 2**30)], ids=["hardly any noise", "very many rows"]
)
def test_where_a_vector_could_not_be_drawn_its_columns_are_drawn_by_themselves(
    epsilon: Fraction, max_rows: int
) -> None:
    """At the same price, and in the old steps."""
    tables = (replace(CUSTOMERS, policy=replace(CUSTOMERS.policy, max_rows=max_rows)), SEGMENTS)
    plan = compiled(f"SELECT status, AVG(price) AS a {T} GROUP BY 1", given=settings(epsilon=epsilon), tables=tables)
    (m,) = plan.measurements
    assert [(c.vector, c.norm, type(c.noise)) for c in m.columns] == [(None, "l1", DiscreteLaplace)] * 2
    assert [c.unit for c in m.columns][1] == Fraction(1, 1024)
    assert (
        sum(Fraction(c.sensitivity) / c.noise.scale for c in m.columns if isinstance(c.noise, DiscreteLaplace))
        == epsilon
    )


def test_the_measured_error_of_an_average_is_the_predicted_one() -> None:
    """Over 20,000 draws of a group of 1000 values, their mean 45 from the middle; the old form has almost twice."""
    plan = compiled(f"SELECT AVG(age) AS a {T}", given=EPSILON_ONE)
    (m,) = plan.measurements
    exact = np.tile(np.array([[int(1000 * 45 / m.columns[0].unit)], [int(1000 / m.columns[1].unit)]]), 20_000)
    units = np.array([[float(c.unit)] for c in m.columns])
    noise = m.columns[0].noise
    assert isinstance(noise, DiscreteCube)
    new = add_vector_noise(exact, noise=noise, entropy=SeededEntropy("new")) * units
    scales = [DiscreteLaplace(scale=noise.scale / Fraction(share)) for share in ("0.591", "0.409")]
    old = np.array(
        [add_noise(x, noise=n, entropy=SeededEntropy(i)) for i, (x, n) in enumerate(zip(exact, scales, strict=True))]
    )
    errors = [np.mean((x[0] / x[1] - 45) ** 2) for x in (new, old * units)]
    assert errors[0] == pytest.approx(4 * 36 * (60**2 + 45**2) / 1000**2, rel=0.06)
    assert errors[1] / errors[0] > 1.85
