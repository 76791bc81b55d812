"""Aggregates beyond COUNT, SUM and AVG: what they give without noise, what is measured, what one entity can move."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace
from datetime import date
from fractions import Fraction
from typing import Any

import duckdb
import pytest

from cleanroom.rooms.tables import ColumnBounds, ColumnType, Domain
from tests.unit.templates.compiling import CUSTOMERS, EPSILON_ONE, GAUSSIAN, OFF, Engine, compiled, ran
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


ASKED = [("", "Laplace"), ("status", "Laplace"), ("city", "Laplace"), ("status", "Gaussian"), ("city", "Gaussian")]
CALLS = [
    "COUNT_IF(age > 40), SUM(age) FILTER (WHERE spend > 3), AVG(age > 40)",
    "VARIANCE(spend), AVG(spend), COUNT(spend)",
    "STDDEV(age * 2 - spend)",
    "CORR(age, spend), COVAR_POP(spend, age)",
    "COUNT(DISTINCT CASE WHEN age > 40 THEN hashed_email END), COUNT(DISTINCT hashed_email)",
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("key", "mechanism"), ASKED)
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


# --- different values, and quantiles ---


def middle(values: list[Any], share: float) -> Any:
    return sorted(values)[round(share * (len(values) - 1))]


@pytest.mark.parametrize(
    ("call", "expected", "within"),
    [
        ("COUNT(DISTINCT city)", 7, 0),
        ("COUNT(DISTINCT age)", len(set(AGES)), 0),
        ("APPROX_COUNT_DISTINCT(age)", len(set(AGES)), 0),
        ("COUNT(DISTINCT age) FILTER (WHERE age > 40)", len(set(OLD)), 0),
        ("COUNT(DISTINCT spend)", len(set(SPENT)), 0),
        ("MEDIAN(age)", statistics.median(AGES), 1),
        ("MEDIAN(spend)", statistics.median(SPENT), 0.3),
        ("PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY spend)", middle(SPENT, 0.9), 0.5),
        ("PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY spend DESC)", middle(SPENT, 0.1), 0.5),
        ("PERCENTILE_DISC(0.25) WITHIN GROUP (ORDER BY age)", middle(AGES, 0.25), 1),
        ("APPROX_PERCENTILE(spend, 0.75)", middle(SPENT, 0.75), 0.5),
        ("MEDIAN(spend) FILTER (WHERE spend > 10)", statistics.median(s for s in SPENT if s > 10), 0.3),
        ("MIN(age)", min(AGES), 0),
        ("MAX(age)", max(AGES), 0),
        ("MIN(spend)", min(SPENT), 0.04),
        ("MAX(spend)", max(SPENT), 0.04),
        ("MAX(age) - MIN(age)", max(AGES) - min(AGES), 0),
    ],
)
def test_without_noise_values_are_counted_and_ranked_as_elsewhere(call: str, expected: float, within: float) -> None:
    """A bin of `spend` is 40 / 1024 wide; every age has a bin of its own."""
    (answer,) = ran(f"SELECT {call} AS n FROM customers", {"customers": PEOPLE})
    assert answer[0] == pytest.approx(expected, abs=within)


@pytest.mark.parametrize("call", ["MEDIAN(age)", "MIN(spend)", "MAX(age)"])
def test_a_quantile_of_no_rows_is_null(call: str) -> None:
    assert ran(f"SELECT {call} AS n FROM customers", {}) == [(None,)]
    rows = {"customers": [customer("a", status="gold", age=50, spend=1.0)]}
    answer = ran(f"SELECT status, {call} IS NULL AS n FROM customers GROUP BY 1 ORDER BY 1", rows)
    assert [row[:2] for row in answer] == [("gold", False), ("none", True), ("silver", True)]


def test_quantiles_of_one_column_share_one_measurement() -> None:
    plan = compiled(
        "SELECT MEDIAN(age) AS a, MIN(age) AS b, PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY age) AS c, "
        "MAX(age) AS d, COUNT(*) AS n FROM customers"
    )
    assert [c.meaning for c in plan.measurements[0].columns] == ["values in each of 121 bins", "rows"]
    assert [q.end for q in plan.measurements[0].quantiles] == ["inside", "smallest", "largest"]
    assert plan.price.micro_epsilon == 4_000_000  # MEDIAN is PERCENTILE_CONT(0.5)
    assert plan.measurements[0].columns[0].price.micro_epsilon == 3_000_000


DISTINCT = [
    "COUNT(DISTINCT city), COUNT(*)",
    "COUNT(DISTINCT age), COUNT(DISTINCT city)",
    "COUNT(DISTINCT spend)",
    "MEDIAN(spend), MAX(age), COUNT(DISTINCT hashed_email)",
    "MEDIAN(age)",
]


@pytest.mark.parametrize("call", DISTINCT)
@pytest.mark.parametrize(("key", "mechanism"), ASKED)
def test_no_entity_moves_different_values_or_bins_by_more_than_their_sensitivity(
    call: str, key: str, mechanism: str
) -> None:
    by = f" GROUP BY {key}" if key else ""
    plan = compiled(f"SELECT {call} FROM customers{by}", given=GAUSSIAN if mechanism == "Gaussian" else EPSILON_ONE)
    assert violations(plan, databases()) == []


@pytest.mark.parametrize(
    ("fault", "right", "wrong"),
    [
        ("pairs are not limited", " > 6)", " > 60000)"),
        ("rows of a bin are not scaled", "* 6) //", "* 12) //"),
    ],
)
def test_a_planted_fault_of_different_values_or_bins_is_caught(fault: str, right: str, wrong: str) -> None:
    plan = compiled("SELECT status, COUNT(DISTINCT spend), MEDIAN(age) FROM customers GROUP BY status")
    (measurement,) = plan.measurements
    broken = measurement.exact_sql.replace(right, wrong).replace(" > 6\n", " > 60000\n")
    if broken == measurement.exact_sql:
        broken = measurement.exact_sql.replace("> 6", "> 60000")
    assert broken != measurement.exact_sql, fault
    assert violations(replace(plan, measurements=(replace(measurement, exact_sql=broken),)), databases()) != [], fault


def test_gaussian_keeps_at_most_m_values_in_a_group_and_k_m_in_all() -> None:
    """k = 2, m = 3. The square of the L2 norm is then at most m * k m = 18, and the noise is for that."""
    rows = [customer("a", status="gold", spend=float(i)) for i in range(20)]
    rows += [customer("a", status="silver", spend=float(i)) for i in range(2)]
    for given, most, bound in ((GAUSSIAN, 3, 18), (EPSILON_ONE, 6, 6)):
        plan = compiled("SELECT status, COUNT(DISTINCT spend) AS n FROM customers GROUP BY 1", given=given)
        assert plan.measurements[0].columns[0].sensitivity == bound
        engine = Engine(customers=rows)
        engine.load(plan)
        counts = {row["k0"]: row["c0"] for row in engine.exact(plan.measurements[0])}
        assert counts["gold"] <= most
        assert 3 <= sum(counts.values()) <= 6


def test_which_values_are_kept_depends_on_the_key_of_the_run() -> None:
    rows = [customer("a", status="gold", spend=float(i % 31 - 10)) for i in range(60)]
    plan = compiled("SELECT spend > 10 AS high, COUNT(DISTINCT spend) AS n FROM customers GROUP BY 1")
    engine = Engine(customers=rows)
    engine.load(plan)
    answers = {tuple(row["c0"] for row in engine.exact(plan.measurements[0], run_key=run_key)) for run_key in range(8)}
    assert len(answers) > 1
    assert all(sum(a) == 6 for a in answers)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("MEDIAN(age)", statistics.median(AGES)),
        ("MIN(age)", min(AGES)),
        ("COUNT(DISTINCT city)", 7),
        ("PERCENTILE_DISC(0) WITHIN GROUP (ORDER BY age)", min(AGES)),
    ],
)
def test_with_dp_off_quantiles_are_exact(call: str, expected: float) -> None:
    assert ran(f"SELECT {call} AS n FROM customers", {"customers": PEOPLE}, given=OFF) == [(expected,)]


def test_dates_and_timestamps_have_quantiles_in_their_declared_ranges() -> None:
    policy = replace(
        CUSTOMERS.policy,
        bounds={
            "since": ColumnBounds(lo=Fraction(18262), hi=Fraction(18627), kind=ColumnType.DATE),
            "seen": ColumnBounds(lo=Fraction(0), hi=Fraction(86_400_000_000 * 1024), kind=ColumnType.TIMESTAMP),
        },
    )
    tables = (replace(CUSTOMERS, policy=policy),)
    rows = [
        (f"e{i}", "gold", "X", 1, 1.0, 1, f"2020-01-{1 + i:02}", f"1970-01-{1 + i:02} 12:00:00", None, None)
        for i in range(31)
    ]
    sql = "SELECT MEDIAN(since) AS a, MIN(since) AS b, MAX(since) AS c, MEDIAN(seen) AS d FROM customers"
    ((a, b, c, d),) = ran(sql, {"customers": rows}, tables=tables)
    assert (a, b, c) == (date(2020, 1, 16), date(2020, 1, 1), date(2020, 1, 31))
    assert d.date() == date(1970, 1, 16)


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("COVAR_SAMP(age, spend)", statistics.covariance(AGES, SPENT)),
        ("COVAR_POP(age, spend)", statistics.covariance(AGES, SPENT) * (len(AGES) - 1) / len(AGES)),
        ("CORR(age, spend)", statistics.correlation(AGES, SPENT)),
        ("CORR(age, 7)", None),
        ("COVAR_SAMP(age, spend) FILTER (WHERE age < 0)", None),
    ],
)
def test_covariances_without_noise(call, value):
    """With privacy off, and the rows of one entity; whatever the order of rows, to the last digit."""
    rows = {"customers": PEOPLE}
    (answer,) = ran(f"SELECT {call} AS v FROM customers", rows, given=OFF)
    assert answer == ran(f"SELECT {call} AS v FROM customers", {"customers": PEOPLE[::-1]}, given=OFF)[0]
    assert answer[0] == (None if value is None else pytest.approx(value, rel=1e-9))
    each = f"SELECT COUNT(v) AS n FROM (SELECT hashed_email, {call} AS v FROM customers GROUP BY hashed_email) q"
    assert 0 <= ran(each, rows)[0][0] <= 120


@pytest.mark.parametrize("given", [None, OFF])
def test_different_combinations_of_several_columns(given):
    """A combination in which one is NULL does not count; what stands in one column cannot be taken for another's."""
    rows = [
        customer("a", status="x", city="yz"),
        customer("b", status="xy", city="z"),
        customer("c", status="xy", city="z"),
        customer("d", status="1:x", city=None),
        customer("e", status="x", city="yz", spend=-0.0),
        customer("f", status="x", city="yz", spend=0.0),
    ]
    how = {} if given is None else {"given": given}
    sql = "SELECT COUNT(DISTINCT status, city) AS n, COUNT(DISTINCT status, city, spend) AS m FROM customers"
    assert ran(sql, {"customers": rows}, **how)[0][:2] == (2, 3)
    if given is None:
        assert {c.meaning for c in compiled(sql).measurements[0].columns} == {"different values"}


def test_a_sum_of_what_is_declared_to_be_zero_or_one_is_no_count():
    """A column may hold others than its declared values; such a CASE was counted where it is 1, and 5 for nothing."""
    declared = replace(CUSTOMERS, policy=replace(CUSTOMERS.policy, domains={"age": Domain(values=(1,))}))
    rows = {"customers": [customer("a", age=5), customer("b", age=1)]}
    sql = "SELECT SUM(CASE WHEN status = 'gold' THEN age ELSE 0 END) AS s FROM customers"
    assert ran(sql, rows, tables=(declared,)) == [(6.0,)]
