"""GROUPING SETS, ROLLUP, CUBE and histograms: what they give without noise, what they cost, what they refuse."""

from __future__ import annotations

from collections import Counter

import pytest

from cleanroom.errors import TemplateRefusedError
from tests.unit.templates.compiling import EPSILON_ONE, GAUSSIAN, OFF, Engine, compiled, ran
from tests.unit.templates.test_aggregates import AGES, PEOPLE, SPENT
from tests.unit.templates.test_bounding import databases, violations

ROWS = {"customers": PEOPLE}
BY_STATUS = Counter(r[1] for r in PEOPLE)
BY_BOTH = Counter((r[1], r[3] > 40) for r in PEOPLE)  # type: ignore[operator]
BY_AGE = Counter(r[3] > 40 for r in PEOPLE)  # type: ignore[operator]


def shown(sql: str, columns: int, **how: object) -> list[tuple[object, ...]]:
    return [row[:columns] for row in ran(sql, ROWS, **how)]


@pytest.mark.parametrize("given", [None, OFF])
def test_rollup_has_each_prefix_and_grouping_tells_its_nulls(given):
    how = {} if given is None else {"given": given}
    sql = (
        "SELECT status, age > 40 AS old, GROUPING(old) + 2 * GROUPING(status) AS level, COUNT(*) AS n "
        "FROM customers WHERE age > 0 GROUP BY ROLLUP(status, old) ORDER BY level, status, old"
    )
    answer = [row for row in shown(sql, 4, **how) if row[3]]
    expected = [(s, o, 0, n) for (s, o), n in sorted(BY_BOTH.items())]
    expected += [(s, None, 1, n) for s, n in sorted(BY_STATUS.items())] + [(None, None, 3, len(PEOPLE))]
    assert answer == expected


def test_cube_has_every_subset_and_grouping_sets_those_that_are_named():
    cube = "SELECT status, age > 40 AS old, GROUPING_ID(status, old) AS g, COUNT(*) AS n FROM customers {} ORDER BY 3"
    answer = shown(cube.format("GROUP BY CUBE(status, old)"), 4)
    assert {(o, n) for s, o, g, n in answer if g == 2 and n} == set(BY_AGE.items())
    assert {g for _, _, g, _ in answer} == {0, 1, 2, 3}
    named = shown(cube.format("GROUP BY GROUPING SETS ((status, old), ())"), 4)
    assert {g for _, _, g, _ in named} == {0, 3}


def test_each_set_is_a_measurement_with_a_price_of_its_own():
    plan = compiled("SELECT status, COUNT(*) AS n, AVG(age) AS a FROM customers GROUP BY ROLLUP(status)")
    assert [m.keys for m in plan.measurements] == [("k0",), ()]
    assert plan.price.micro_epsilon == 2 * 2_000_000
    alone = compiled("SELECT COUNT(*) AS n, AVG(age) AS a FROM customers")
    assert plan.measurements[1].columns == alone.measurements[0].columns


def test_gaussian_sets_share_one_rho():
    one = compiled("SELECT status, COUNT(*) AS n FROM customers GROUP BY status", given=GAUSSIAN)
    two = compiled("SELECT status, COUNT(*) AS n FROM customers GROUP BY ROLLUP(status)", given=GAUSSIAN)
    alone, shared = (p.measurements[0].columns[0].noise.sigma_squared for p in (one, two))
    assert two.price.micro_epsilon == 2 * one.price.micro_epsilon
    assert shared < alone  # twice the epsilon and delta in all, and a joint vector: less noise than two runs


def test_private_keys_keep_their_threshold_in_each_set():
    plan = compiled("SELECT city, status, COUNT(*) AS n FROM customers GROUP BY GROUPING SETS ((city, status), status)")
    assert [m.partition_selection is not None for m in plan.measurements] == [True, False]
    assert violations(plan, databases()) == []


def test_sets_whose_totals_are_to_agree_have_the_same_rows_and_move_by_no_more_than_their_sensitivity():
    """Rows whose status is on no list are in no set; without the option they are in the total."""
    sql = "SELECT status, age > 40 AS old, COUNT(*) AS n, SUM(age) AS s FROM customers GROUP BY CUBE(status, old)"
    plan = compiled(sql, consistent=True)
    assert violations(plan, databases()) == []
    rows = [*PEOPLE, ("z", "undeclared", "X", 50, 1.0, 1, None, None, True, None)]
    engine = Engine(customers=rows)
    engine.load(plan)
    answer = [row[:3] for row in engine.release(plan)]
    total = sum(n for s, o, n in answer if s is not None and o is not None)
    assert total == len(PEOPLE)
    assert (None, None, len(PEOPLE)) in answer
    assert len(PEOPLE) + 1 in {row[2] for row in ran(sql, {"customers": rows})}
    assert [c.is_count for c in plan.measurements[0].columns] == [False, False]
    assert plan.price == compiled(sql).price


def test_having_order_and_limit_stand_above_all_sets():
    sql = (
        "SELECT status, SUM(age) AS s FROM customers GROUP BY ROLLUP(status) HAVING COUNT(*) > 0 "
        "ORDER BY MAX(age) - MIN(age) DESC, 2 DESC LIMIT 1"
    )
    assert shown(sql, 2) == [(None, pytest.approx(sum(AGES)))]


def test_intervals_are_simulated_for_the_rows_of_all_sets():
    plan = compiled("SELECT status, COUNT(*) AS n FROM customers GROUP BY ROLLUP(status)")
    engine = Engine(**ROWS)
    engine.load(plan)
    assert plan.release.interval_sql is not None
    assert len(engine.release(plan, sql=plan.release.interval_sql, replicates=3)) == 3 * 4


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("SELECT COUNT(*) FROM customers GROUP BY CUBE(a, b, c, d, e, f, g)", "grouping_sets"),
        ("SELECT city, COUNT(*) AS n FROM customers GROUP BY ROLLUP(7)", "bad_ordinal"),
        ("SELECT GROUPING(city) AS g, COUNT(*) AS n FROM customers GROUP BY ROLLUP(status)", "grouping_sets"),
        ("SELECT city, COUNT(*) AS n FROM customers GROUP BY ROLLUP(status)", "not_grouped"),
        ("SELECT hashed_email, COUNT(*) AS n FROM customers GROUP BY ROLLUP(hashed_email)", "union_of_worlds"),
        ("SELECT 1 FROM customers WHERE " + "age > 3 AND " * 900 + "TRUE GROUP BY CUBE(a, b, c, d, e)", "too_large"),
        ("SELECT *, COUNT(*) AS n FROM customers GROUP BY ROLLUP(status)", "star"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(sql: str, rule: str):
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(sql)
    assert refusal.value.details["rule"] == rule


def test_a_histogram_by_width_bucket_has_public_groups():
    sql = "SELECT WIDTH_BUCKET(spend, -10, 30, 8) AS b, COUNT(*) AS n FROM customers GROUP BY b ORDER BY b"
    plan = compiled(sql)
    assert plan.measurements[0].partition_selection is None
    counts = Counter(int((s + 10) // 5) + 1 for s in SPENT)
    answer = {b: n for b, n in (row[:2] for row in ran(sql, ROWS)) if b is not None}
    assert answer == {b: counts[b] for b in range(10)}


def test_windows_are_over_the_groups_of_all_sets() -> None:
    """Once each set had windows of its own: the total was first, and so was the largest group."""
    sql = (
        "SELECT status, age > 40 AS old, COUNT(*) AS n, RANK() OVER (ORDER BY COUNT(*) DESC) AS r, "
        "COUNT(*) / SUM(COUNT(*)) OVER (PARTITION BY GROUPING(status)) AS share "
        "FROM customers GROUP BY ROLLUP(status, old) ORDER BY r, status, old"
    )
    answer = shown(sql, 5)
    counts = [row[2] for row in answer]
    assert (answer[0][:4], sum(counts)) == ((None, None, len(PEOPLE), 1), 3 * len(PEOPLE))
    assert [row[3] for row in answer] == [1 + sum(m > n for m in counts) for n in counts]
    assert sum(row[4] for row in answer if row[0] is not None) == pytest.approx(1)


@pytest.mark.parametrize("condition", ["r <= 2", "ROW_NUMBER() OVER (ORDER BY COUNT(*) DESC, status) <= 2"])
def test_qualify_is_over_the_groups_of_all_sets(condition: str) -> None:
    sql = (
        "SELECT status, COUNT(*) AS n, ROW_NUMBER() OVER (ORDER BY COUNT(*) DESC, status) AS r FROM customers "
        f"GROUP BY ROLLUP(status) QUALIFY {condition} ORDER BY r"
    )
    expected = [(None, len(PEOPLE), 1), (min(BY_STATUS), BY_STATUS[min(BY_STATUS)], 2)]
    assert set(BY_STATUS.values()) == {100}
    assert shown(sql, 3) == expected
    assert shown(sql, 3, given=OFF) == expected


def test_qualify_may_name_keys_and_grouping() -> None:
    sql = (
        "SELECT status, COUNT(*) AS n FROM customers GROUP BY CUBE(status, (age > 40)) "
        "QUALIFY RANK() OVER (PARTITION BY GROUPING(age > 40) ORDER BY COUNT(*) DESC) = 1 AND GROUPING(age > 40) = 1"
    )
    assert shown(sql, 2) == [(None, len(PEOPLE))]


@pytest.mark.parametrize(
    ("key", "value"), [("1", 1), ("7", 7), ("'x'", "x"), ("TRUE", True), ("2.5", 2.5), ("-3", -3), ("NULL", None)]
)
def test_a_constant_may_be_a_key_of_a_set(key, value):
    """Before: a number that stood at a key's place was read as a place once more, 7 as one that is not there; and where
    the key was left out, `COUNT(*) + 1` lost its 1."""
    sql = (
        f"SELECT age > 200 AS k, {key} AS c, COUNT(*) + 1 AS n, CASE WHEN GROUPING(2) = 1 THEN 'x' ELSE '-' END AS g "
        "FROM customers GROUP BY CUBE(1, 2)"
    )
    n = len(PEOPLE) + 1
    expected = [(False, value, n, "-"), (False, None, n, "x"), (None, value, n, "-"), (None, None, n, "x")]
    for given in (EPSILON_ONE, OFF):
        answer = [row for row in shown(sql, 4, given=given) if row[0] is not True]  # nobody is so old
        answer = [row for row in answer if row[2] != 1]  # with DP the public keys that nobody has are there
        assert sorted(answer, key=str) == sorted(expected, key=str)
