"""Queries that are alike but for one condition or for literals share a digest, and others do not."""

import pytest

from cleanroom.templates.kinship import MOST_PREDICATES, kinship_of, kinship_of_sql
from tests.unit.templates.compiling import compiled

COUNT = "SELECT COUNT(*) AS n FROM customers AS p"
CASE = "SELECT SUM(CASE WHEN p.id"
WITH = "WITH q AS (SELECT * FROM t WHERE"


def kinship(sql, tables=("airline.customers",)):
    return kinship_of_sql(sql, tables=list(tables))


def alike(left, right):
    return bool(set(kinship(left).kin) & set(kinship(right).kin))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (COUNT, f"{COUNT} WHERE p.name <> 'Ada'"),
        (f"{COUNT} WHERE p.name = 'Ada'", f"{COUNT} WHERE p.name = 'Bob'"),
        (f"{COUNT} WHERE p.age > 30", f"{COUNT} WHERE p.age > 30 AND p.name <> 'Ada'"),
        (f"{COUNT} WHERE p.age > 30 AND p.city = 'x'", f"{COUNT} WHERE p.age > 30 AND p.name <> 'Ada'"),
        (f"{COUNT} WHERE p.city = 'x' AND p.age > 30", f"{COUNT} WHERE p.age > 30 AND p.zip <> 7 AND p.city = 'x'"),
        (f"{COUNT} WHERE p.age = 1 OR p.age = 2", f"{COUNT} WHERE p.age = 2 OR p.age = 1 OR p.name = 'Ada'"),
        (f"{COUNT} WHERE p.id IN (1, 2, 3)", f"{COUNT} WHERE p.id IN (1, 2)"),
        (f"{CASE} = 1 THEN 1 END) AS n FROM t AS p", f"{CASE} = 2 THEN 1 END) AS n FROM t AS p"),
        (f"{COUNT} GROUP BY p.city", f"{COUNT} GROUP BY p.city HAVING COUNT(*) > 5"),
        (f"{WITH} a = 1) {COUNT}", f"{WITH} a = 1 AND b = 3) {COUNT}"),
    ],
)
def test_queries_that_differ_in_one_condition_or_in_literals_are_alike(left, right):
    assert kinship(left).query != kinship(right).query
    assert alike(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (f"{COUNT} WHERE p.age > 30 AND p.city = 'x'", f"{COUNT} WHERE p.zip = 7 AND p.name <> 'Ada'"),
        (f"{COUNT} WHERE p.age > 30", "SELECT SUM(p.age) AS n FROM customers AS p WHERE p.age > 30"),
        (f"{COUNT} GROUP BY p.city", f"{COUNT} GROUP BY p.state"),
    ],
)
def test_other_queries_are_not(left, right):
    assert not alike(left, right)


def test_the_same_query_over_other_tables_is_another():
    assert not set(kinship(COUNT).kin) & set(kinship(COUNT, tables=("airline.flights",)).kin)


def test_the_order_of_conditions_makes_no_other_query():
    """Or else one query, written in many ways, would look like many."""
    one = kinship(f"{COUNT} WHERE p.a = 1 AND (p.b = 2 OR p.c = 3) AND p.d = 4")
    assert one == kinship(f"{COUNT} WHERE p.d = 4 AND (p.c = 3 OR p.b = 2) AND p.a = 1")


def test_there_are_at_most_ten_likenesses_of_a_query():
    """As many as one write has places for."""
    many = " AND ".join(f"p.c{number} = {number}" for number in range(30))
    assert len(kinship(f"{COUNT} WHERE {many}").kin) == MOST_PREDICATES + 2 == 10


def test_no_literal_is_read_back_from_a_kinship():
    shown = repr(kinship(f"{COUNT} WHERE p.name = 'Ada Lovelace' AND p.age = 36"))
    assert "Ada" not in shown
    assert "36 " not in shown


def test_a_compiled_plan_has_a_kinship():
    plan = compiled("SELECT COUNT(*) AS n FROM airline.customers p WHERE p.status = 'gold'")
    other = compiled("SELECT COUNT(*) AS n FROM airline.customers p WHERE p.status = 'silver'")
    assert kinship_of(plan).query != kinship_of(other).query
    assert set(kinship_of(plan).kin) & set(kinship_of(other).kin)


@pytest.mark.parametrize(
    "source", ["TABLE(FLATTEN(input => t.x, outer => TRUE)) f", "LATERAL FLATTEN(input => t.x, outer => TRUE) f"]
)
def test_a_query_in_the_words_of_another_dialect_has_kin_too(source):
    query = f"SELECT COUNT(*) AS n FROM t, {source}"
    assert alike(query, f"{query} WHERE t.city = 'x'")
    assert not alike(query, f"SELECT SUM(t.y) AS n FROM t, {source}")


def test_a_text_that_cannot_be_read_again_is_like_itself_alone():
    """A run is charged when this is asked: it must not fail."""
    assert kinship("SELECT FROM ((").kin == (kinship("SELECT FROM ((").query,)
    assert not alike("SELECT FROM ((", "SELECT FROM (((")
