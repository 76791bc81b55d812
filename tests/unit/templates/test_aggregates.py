"""Aggregates beyond COUNT, SUM and AVG: what they give without noise, what is measured, what one entity can move."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import duckdb
import pytest

from tests.unit.templates.compiling import EPSILON_ONE, GAUSSIAN, OFF, compiled, ran
from tests.unit.templates.test_bounding import customer, databases, violations

dice = random.Random(11)
PEOPLE = [
    customer(
        f"e{i % 120}",
        status=("gold", "silver", "none")[i % 3],
        city=f"city {i % 7}",
        age=dice.randint(1, 119),
        spend=dice.uniform(-10, 30),
    )
    for i in range(300)
]
AGES: list[int] = [r[3] for r in PEOPLE]  # type: ignore[misc]
SPENT: list[float] = [r[4] for r in PEOPLE]  # type: ignore[misc]
OLD = [a for a in AGES if a > 40]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("COUNT_IF(age > 40)", len(OLD)),
        ("COUNT(*) FILTER (WHERE age > 40)", len(OLD)),
        ("COUNT(age) FILTER (WHERE age > 40)", len(OLD)),
        ("COUNT(CASE WHEN age > 40 THEN 'x' END)", len(OLD)),
        ("SUM(CASE WHEN age > 40 THEN 1 ELSE 0 END)", len(OLD)),
        ("SUM(IFF(age > 40, 1, 0))", len(OLD)),
        ("SUM(age > 40)", len(OLD)),
        ("COUNT_IF(age > 40) FILTER (WHERE age < 80)", len([a for a in OLD if a < 80])),
        ("SUM(age) FILTER (WHERE age > 40)", sum(OLD)),
        ("SUM(CASE WHEN age > 40 THEN age END)", sum(OLD)),
        ("AVG(age) FILTER (WHERE age > 40)", statistics.mean(OLD)),
        ("AVG(age > 40)", len(OLD) / len(AGES)),
        ("AVG(CASE WHEN age > 40 THEN 1 ELSE 0 END)", len(OLD) / len(AGES)),
        ("COUNT(DISTINCT hashed_email)", 120),
        ("COUNT(DISTINCT CASE WHEN age > 40 THEN hashed_email END)", len({r[0] for r in PEOPLE if r[3] > 40})),  # type: ignore[operator]
        ("COUNT(DISTINCT IFF(age > 40, hashed_email, NULL))", len({r[0] for r in PEOPLE if r[3] > 40})),  # type: ignore[operator]
        ("COUNT(DISTINCT hashed_email) FILTER (WHERE age > 40)", len({r[0] for r in PEOPLE if r[3] > 40})),  # type: ignore[operator]
        ("VARIANCE(age)", statistics.variance(AGES)),
        ("VAR_SAMP(age)", statistics.variance(AGES)),
        ("VAR_POP(spend)", statistics.pvariance(SPENT)),
        ("STDDEV(age)", statistics.stdev(AGES)),
        ("STDDEV_SAMP(spend)", statistics.stdev(SPENT)),
        ("STDDEV_POP(age)", statistics.pstdev(AGES)),
        ("VARIANCE(age) FILTER (WHERE age > 40)", statistics.variance(OLD)),
        ("VAR_POP(age > 40)", (p := len(OLD) / len(AGES)) * (1 - p)),
        ("COVAR_SAMP(age, spend)", statistics.covariance(AGES, SPENT)),
        ("COVAR_POP(age, spend)", statistics.covariance(AGES, SPENT) * (len(AGES) - 1) / len(AGES)),
        ("CORR(age, spend)", statistics.correlation(AGES, SPENT)),
        ("CORR(age, 2 * age - 3)", 1),
    ],
)
def test_without_noise_and_below_all_bounds_an_aggregate_is_what_it_is_elsewhere(call: str, expected: float) -> None:
    """120 entities have 2 or 3 rows; the policy lets one weigh 2 groups of 3."""
    (answer,) = ran(f"SELECT {call} AS n FROM customers", {"customers": PEOPLE})
    assert answer[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("call", ["VARIANCE(age)", "STDDEV_POP(age)", "CORR(age, spend)", "COVAR_SAMP(age, spend)"])
def test_a_spread_of_nothing_is_null_and_of_one_row_within_bounds(call: str) -> None:
    assert ran(f"SELECT {call} AS n FROM customers", {}) == [(None,)]
    (answer,) = ran(f"SELECT {call} AS n FROM customers", {"customers": [customer("a", age=3, spend=1.0)]})
    assert answer[0] in (None, 0.0)


def test_null_and_nan_are_left_out_of_both_columns_of_a_covariance() -> None:
    rows = [*PEOPLE, customer("x", age=None, spend=30.0), customer("y", age=119, spend=math.nan)]
    (answer,) = ran("SELECT COVAR_SAMP(age, spend) AS n, COUNT(*) AS m FROM customers", {"customers": rows})
    assert answer == (pytest.approx(statistics.covariance(AGES, SPENT), rel=1e-5), 302)


def test_a_variance_is_never_negative_nor_above_a_quarter_of_the_squared_range() -> None:
    """Noise can make E[x^2] - E[x]^2 anything: here the noisy numbers are far off."""
    plan = compiled("SELECT VAR_POP(age) AS v FROM customers")
    for squares, expected in ((-1e9, 0.0), (1e9, 3600.0)):
        connection = duckdb.connect()
        connection.execute(f"CREATE TABLE m0 AS SELECT 0e0 AS c0, {squares} AS c1, 10 AS c2")
        assert connection.execute(plan.release.sql).fetchall() == [(expected,)]


CALLS = [
    "COUNT_IF(age > 40), SUM(age) FILTER (WHERE spend > 3), AVG(age > 40)",
    "VARIANCE(spend), AVG(spend), COUNT(spend)",
    "STDDEV(age * 2 - spend)",
    "CORR(age, spend), COVAR_POP(spend, age)",
    "COUNT(DISTINCT CASE WHEN age > 40 THEN hashed_email END), COUNT(DISTINCT hashed_email)",
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("key", ["", "status", "city", "age > 30"])
@pytest.mark.parametrize("mechanism", ["Laplace", "Gaussian"])
def test_no_entity_moves_a_part_by_more_than_its_sensitivity(call: str, key: str, mechanism: str) -> None:
    by = f" GROUP BY {key}" if key else ""
    plan = compiled(f"SELECT {call} FROM customers{by}", given=GAUSSIAN if mechanism == "Gaussian" else EPSILON_ONE)
    assert violations(plan, databases()) == []


def parts(sql: str, **how: Any) -> list[str]:
    (measurement,) = compiled(sql, **how).measurements
    return [c.meaning for c in measurement.columns]


def test_shared_parts_are_measured_once_and_paid_for_by_all_that_need_them() -> None:
    plan = compiled("SELECT AVG(spend) AS a, VARIANCE(spend) AS v, COUNT(spend) AS n, SUM(spend) AS s FROM customers")
    columns = plan.measurements[0].columns
    assert [c.meaning for c in columns] == ["sum around 10", "values that are not NULL", "sum around 200"]
    assert plan.price.micro_epsilon == 4_000_000
    assert sum(c.price.micro_epsilon for c in columns) == pytest.approx(4_000_000, abs=3)


def test_a_variance_shares_its_rows_and_squares_with_an_equal_one() -> None:
    asked = "SELECT VARIANCE(age) AS a, STDDEV(age) AS b, VAR_POP(age) AS c FROM customers"
    assert parts(asked) == ["sum around 60", "sum around 1800", "values that are not NULL"]


PLAIN = [
    ("VARIANCE(age)", statistics.variance(AGES)),
    ("STDDEV_POP(age)", statistics.pstdev(AGES)),
    ("SUM(age) FILTER (WHERE age > 40)", sum(OLD)),
    ("COUNT(*) FILTER (WHERE age > 40)", len(OLD)),
    ("COUNT(DISTINCT city) FILTER (WHERE age > 40)", 7),
    ("MAX(age) FILTER (WHERE age < 40)", max(a for a in AGES if a < 40)),
    ("AVG(age > 40)", len(OLD) / len(AGES)),
    ("BOOLOR_AGG(age > 40)", True),
    ("BOOLAND_AGG(age > 40)", False),
]


@pytest.mark.parametrize(("call", "expected"), PLAIN)
def test_with_dp_off_and_over_noisy_rows_the_same_calls_are_plain(call: str, expected: float) -> None:
    (answer,) = ran(f"SELECT {call} AS n FROM customers", {"customers": PEOPLE}, given=OFF)
    assert answer[0] == pytest.approx(expected)


def test_per_entity_variances_can_be_averaged() -> None:
    sql = (
        "SELECT AVG(LEAST(GREATEST(v, 0), 4000)) AS a FROM "
        "(SELECT hashed_email, VAR_POP(age) AS v, COUNT(*) FILTER (WHERE age > 40) AS n FROM customers GROUP BY 1) q"
    )
    of: dict[object, list[int]] = {}
    for row in PEOPLE:
        of.setdefault(row[0], []).append(row[3])  # type: ignore[arg-type]
    (answer,) = ran(sql, {"customers": PEOPLE})
    assert answer[0] == pytest.approx(statistics.mean(statistics.pvariance(a) for a in of.values()), rel=1e-5)


def test_a_variance_over_noisy_rows_is_plain() -> None:
    sql = "SELECT STDDEV_POP(n) AS s FROM (SELECT status, COUNT(*) AS n FROM customers GROUP BY 1) q"
    assert ran(sql, {"customers": PEOPLE[:299]}) == [(pytest.approx(math.sqrt(2) / 3),)]
