"""INTERSECT and EXCEPT: the answer is SQL's; protected rows are compared with their entity among the columns."""

from __future__ import annotations

import pytest

from cleanroom.errors import TemplateRefusedError
from tests.unit.templates.compiling import OFF, Engine, compiled, ran
from tests.unit.templates.test_subqueries import ROWS

PEOPLE = "SELECT hashed_email AS e, city AS c FROM customers"
TRIPS = "SELECT email, dest FROM flights"


@pytest.mark.parametrize(
    ("sql", "n"),
    [
        (f"{PEOPLE} INTERSECT {TRIPS}", 2),
        (f"{PEOPLE} EXCEPT {TRIPS}", 2),
        (f"{TRIPS} MINUS {PEOPLE}", 2),
        ("SELECT hashed_email FROM customers EXCEPT SELECT email FROM flights", 1),
        ("SELECT email, 1 FROM flights EXCEPT SELECT hashed_email, 1 FROM customers WHERE city = 'Z'", 2),
        # public rows say what remains
        ("SELECT hashed_email FROM customers EXCEPT SELECT email FROM segments", 2),
        ("SELECT hashed_email FROM customers INTERSECT SELECT email FROM segments", 1),
        ("SELECT hashed_email, city FROM customers INTERSECT (SELECT 'b', 'Y' UNION ALL SELECT 'b', 'Z')", 2),
    ],
)
def test_protected_rows_that_are_or_are_not_in_others(sql: str, n: int) -> None:
    """Once each; the row of nobody counts for nobody."""
    assert ran(f"SELECT COUNT(*) AS n FROM ({sql}) u", ROWS) == [(n,)]
    (measurement,) = compiled(f"SELECT COUNT(*) AS n FROM ({sql}) u").measurements
    assert measurement.columns[0].sensitivity <= 7 * 5


def test_all_counts_how_often_a_row_is_there() -> None:
    """ALL takes away as many as there are."""
    rows = {**ROWS, "flights": [("a", 1, "X"), ("a", 2, "X"), ("b", 3, "Y")]}
    for words, n in (("EXCEPT ALL", 1), ("EXCEPT", 0), ("INTERSECT ALL", 2), ("INTERSECT", 2)):
        sql = f"SELECT COUNT(*) AS n FROM ({TRIPS} {words} {PEOPLE}) u"
        assert ran(sql, rows, dialect="duckdb") == [(n,)], words


def test_the_entity_may_be_asked_for_above() -> None:
    sql = f"SELECT COUNT(DISTINCT e) AS people FROM ({PEOPLE} EXCEPT {TRIPS}) u JOIN flights f ON f.email = u.e"
    assert ran(sql, ROWS) == [(1,)]
    assert compiled(sql).measurements[0].columns[0].meaning == "entities"


def test_noisy_rows_are_compared_as_they_are() -> None:
    sql = (
        "SELECT city FROM customers GROUP BY city INTERSECT SELECT dest FROM flights GROUP BY dest "
        "EXCEPT SELECT 'Y' ORDER BY city"
    )
    assert [row[0] for row in ran(sql, ROWS)] == ["X", "Z"]
    assert len(compiled(sql).measurements) == 2
    numbers = "SELECT n FROM (SELECT COUNT(*) AS n FROM flights {} SELECT COUNT(*) AS n FROM customers) u"
    assert [row[0] for row in ran(numbers.format("INTERSECT"), ROWS)] == [4]
    assert ran(numbers.format("EXCEPT"), ROWS) == []


def test_an_interval_query_of_noisy_rows_runs() -> None:
    plan = compiled("SELECT city, n * 2 AS d FROM (SELECT city, COUNT(*) AS n FROM customers GROUP BY 1 "
                    "EXCEPT SELECT dest, COUNT(*) FROM flights GROUP BY 1) u")  # fmt: skip
    engine = Engine(**ROWS)
    engine.load(plan)
    assert {row[1:3] for row in engine.release(plan, sql=plan.release.interval_sql, replicates=2)} == {(None, 2)}


def test_without_privacy_it_is_plain_sql() -> None:
    assert ran(f"{PEOPLE} INTERSECT {TRIPS} ORDER BY e", ROWS, given=OFF) == [("a", "X"), ("b", "Y"), (None, "X")]


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("SELECT city FROM customers INTERSECT SELECT dest FROM flights", "union_of_entities"),
        ("SELECT city FROM customers EXCEPT SELECT segment FROM segments", "union_of_entities"),
        ("SELECT city, hashed_email FROM customers INTERSECT SELECT email, dest FROM flights", "union_of_entities"),
        ("SELECT email FROM segments EXCEPT SELECT email FROM flights", "union_of_worlds"),
        ("SELECT email FROM flights EXCEPT SELECT tailnum FROM planes", "different_entities"),
        ("SELECT email, dest FROM flights EXCEPT SELECT hashed_email FROM customers", "union_columns"),
        ("SELECT email, dest FROM flights EXCEPT SELECT hashed_email, age FROM customers", "type_mismatch"),
        ("SELECT city FROM customers GROUP BY city EXCEPT SELECT segment FROM segments", "union_of_worlds"),
        ("(SELECT hashed_email FROM customers LIMIT 1) INTERSECT SELECT email FROM flights", "limit_on_protected"),
    ],
)  # fmt: skip
def test_what_other_entities_would_decide_is_refused(sql: str, rule: str) -> None:
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(f"SELECT COUNT(*) AS n FROM ({sql}) u")
    assert (refusal.value.rule, refusal.value.line) == (rule, 1)
