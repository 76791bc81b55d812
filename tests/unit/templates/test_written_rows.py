"""Rows that stand in the text may meet noisy numbers: the release query has them in it, and opens no table."""

from __future__ import annotations

import re

import pytest

from cleanroom.errors import TemplateRefusedError
from tests.unit.templates.compiling import OFF, Engine, compiled, ran
from tests.unit.templates.test_subqueries import ROWS

BY_CITY = "(SELECT city, COUNT(*) AS n FROM customers WHERE city IS NOT NULL GROUP BY city) q"
FLIGHTS = "(SELECT COUNT(*) FROM flights)"
V = "SELECT v.x FROM (VALUES (1)) v(x)"
NAMES = "(VALUES ('X', 'ex'), ('Y', 'why'), ('W', 'double u')) v(city, name)"


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        (f"SELECT v.name, n FROM {NAMES} JOIN {BY_CITY} ON q.city = v.city", {("ex", 1), ("why", 1)}),
        (f"SELECT v.name, COALESCE(n, 0) * 2 AS d FROM {NAMES} LEFT JOIN {BY_CITY} USING (city)",
         {("ex", 2), ("why", 2), ("double u", 0)}),
        (f"SELECT city, n FROM {BY_CITY} WHERE city IN (SELECT city FROM {NAMES})", {("X", 1), ("Y", 1)}),
        (f"SELECT q.city, v.x * n AS d FROM {BY_CITY} CROSS JOIN (VALUES (3), (5)) v(x)",
         {(c, d) for c in "XYZ" for d in (3, 5)}),
        ("SELECT v.x FROM (VALUES (3), (4)) v(x) WHERE v.x IN (SELECT COUNT(*) FROM customers)", {(4,)}),
        ("SELECT v.x FROM (VALUES (3), (4)) v(x) WHERE EXISTS (SELECT COUNT(*) FROM customers)", {(3,), (4,)}),
        ("SELECT (SELECT COUNT(*) FROM customers) AS c, (SELECT COUNT(*) FROM flights) AS f", {(4, 4)}),
        ("SELECT city, COUNT(*) AS n FROM customers WHERE age < 25 GROUP BY 1 UNION ALL SELECT 'none', 0",
         {("X", 1), ("Y", 1), ("none", 0)}),
        ("SELECT COUNT(*) AS n FROM customers UNION ALL (VALUES (1), (2))", {(4,), (1,), (2,)}),
        ("SELECT SUM(x) AS s FROM (VALUES (3), (4), (9)) v(x) WHERE x <= (SELECT COUNT(*) FROM flights)", {(7,)}),
        ("SELECT SUM(x * (SELECT COUNT(*) FROM flights)) AS s FROM (VALUES (3), (4)) v(x)", {(28,)}),
        ("SELECT x FROM (VALUES (3), (4)) v(x) QUALIFY SUM(x) OVER (ORDER BY x) <= (SELECT COUNT(*) FROM flights)",
         {(3,)}),
    ],
)  # fmt: skip
def test_rows_in_the_text_meet_noisy_numbers(sql: str, rows: set[tuple[object, ...]]) -> None:
    plan = compiled(sql)
    width = len(plan.release.columns)
    assert {row[:width] for row in ran(sql, ROWS)} == rows
    assert set(re.findall(r'"([tm]\d+)"', plan.release.sql)) == {m.name for m in plan.measurements}


def test_each_row_in_the_text_has_an_interval_of_its_own() -> None:
    """Two equal rows are two rows."""
    plan = compiled(f"SELECT q.city, v.x * n AS d FROM {BY_CITY} CROSS JOIN (VALUES (3), (5), (5)) v(x)")
    engine = Engine(**ROWS)
    engine.load(plan)
    rows = engine.release(plan, sql=plan.release.interval_sql, replicates=2)
    assert len(rows) == 2 * 3 * 3
    assert len({row[3:] for row in rows}) == 3 * 3


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT city, n FROM {BY_CITY} CROSS JOIN segments",
        f"SELECT city, n FROM {BY_CITY} WHERE city IN (SELECT segment FROM segments)",
        f"{V} WHERE EXISTS (SELECT 1 FROM segments) AND x < (SELECT COUNT(*) FROM flights)",
        f"{V} WHERE x < (SELECT COUNT(*) FROM flights) AND EXISTS (SELECT 1 FROM segments)",
        "SELECT x, (SELECT COUNT(*) FROM flights) AS n FROM (VALUES (1)) v(x) WHERE x IN (SELECT weight FROM segments)",
        f"SELECT q.x FROM ({V} WHERE EXISTS (SELECT 1 FROM segments)) q WHERE EXISTS (SELECT COUNT(*) FROM flights)",
        "SELECT v.x FROM (VALUES (1)) v(x) JOIN segments ON weight = x WHERE EXISTS (SELECT COUNT(*) FROM flights)",
        "SELECT COUNT(*) AS n FROM (VALUES (1)) v(x) GROUP BY x HAVING x < (SELECT COUNT(*) FROM flights)",
        f"SELECT COUNT(*) AS n FROM customers WHERE age IN (SELECT SUM({FLIGHTS}) FROM (VALUES (1)) v(x))",
        f"SELECT COUNT(*) AS n FROM customers JOIN (SELECT MAX({FLIGHTS}) AS m FROM (VALUES (1)) v(x)) q ON age = q.m",
        f"SELECT COUNT(*) AS n FROM customers WHERE age IN ({V} QUALIFY COUNT(*) OVER () <= {FLIGHTS})",
        f"SELECT m, COUNT(*) AS n FROM customers JOIN (SELECT MAX({FLIGHTS}) AS m FROM (VALUES (1)) v(x)) q GROUP BY m",
    ],
)
def test_rows_that_hang_on_a_table_meet_none(sql: str) -> None:
    """The function that holds noisy numbers can open no table, not even a public one."""
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(sql)
    assert refusal.value.rule == "join_noisy_with_table"
    assert refusal.value.line == 1


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("SELECT v.x FROM (VALUES (1)) v(x) WHERE EXISTS (SELECT 1 FROM flights)", "subquery_entity"),
        ("SELECT (SELECT MAX(weight) FROM segments) AS m", "nothing_protected"),
        ("SELECT v.x FROM (VALUES (1)) v(x) WHERE x IN (SELECT y FROM (VALUES (1)) w(y))", "nothing_protected"),
        ("SELECT (SELECT email FROM flights) AS e", "subquery_entity"),
    ],
)
def test_rows_in_the_text_say_nothing_of_protected_ones(sql: str, rule: str) -> None:
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(sql)
    assert refusal.value.rule == rule


def test_without_privacy_subqueries_need_no_from() -> None:
    assert ran("SELECT (SELECT COUNT(*) FROM customers) AS c, 1 AS one", ROWS, given=OFF) == [(5, 1)]
