"""IN, EXISTS, scalar subqueries, SEMI and ANTI JOIN, UNION and DISTINCT: the answer is SQL's, on protected rows of
entities. What is refused is in `test_refusals.py`."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from cleanroom.errors import TemplateRefusedError
from cleanroom.privacy.noise import DiscreteLaplace
from tests.unit.templates.compiling import EPSILON_ONE, OFF, TABLES, Engine, compiled, ran
from tests.unit.templates.test_owned_through import ROWS as ORDER_ROWS
from tests.unit.templates.test_owned_through import TABLES as ORDER_TABLES


def customer(email, city, age, status="gold"):
    return (email, status, city, age, 1.0, 5, None, None, True, None)


ROWS = {
    "customers": [
        customer("a", "X", 10),
        customer("b", "Y", 20),
        customer("b", "Z", 30),
        customer("c", None, 40, "none"),
        customer(None, "X", 50),
    ],
    "flights": [("a", 100, "X"), ("b", 5, "Q"), ("b", 900, "Y"), ("d", 7, "Z"), (None, 8, "X")],
    "segments": [("a", "X", 1.0), ("z", "Z", 2.0), ("y", "Y", 25.0)],
}
NULLS = {**ROWS, "segments": [*ROWS["segments"], ("n", None, 0.0)]}


@pytest.mark.parametrize(
    ("where", "n"),
    [
        # over public rows
        ("city IN (SELECT segment FROM segments)", 3),
        ("city NOT IN (SELECT segment FROM segments WHERE segment <> 'X')", 1),
        ("NOT city IN (SELECT segment FROM segments WHERE weight > 1)", 1),
        ("EXISTS (SELECT 1 FROM segments)", 4),
        ("EXISTS (SELECT 1 FROM segments s WHERE s.weight > age)", 2),
        ("NOT EXISTS (SELECT 1 FROM segments s WHERE s.segment = city)", 1),
        ("age > (SELECT MAX(weight) FROM segments)", 2),
        ("age > (SELECT weight FROM segments ORDER BY weight DESC LIMIT 1)", 2),
        ("weightless IS NULL", None),
        ("age > (SELECT SUM(s.weight) FROM segments s WHERE s.segment = city)", 2),
        # over protected rows of the same entity
        ("hashed_email IN (SELECT email FROM flights)", 3),
        ("hashed_email NOT IN (SELECT email FROM flights)", 1),
        ("hashed_email IN (SELECT email FROM flights GROUP BY email HAVING SUM(miles) > 500)", 2),
        ("hashed_email IN (SELECT email FROM flights UNION ALL SELECT hashed_email FROM customers)", 4),
        ("EXISTS (SELECT 1 FROM flights f WHERE f.email = c.hashed_email AND f.dest = c.city)", 2),
        ("NOT EXISTS (SELECT 1 FROM flights WHERE email = hashed_email AND miles > 50)", 1),
        ("city IN (SELECT dest FROM flights WHERE email = hashed_email)", 2),
        ("(SELECT SUM(miles) FROM flights WHERE email = hashed_email) > 500", 2),
        ("(SELECT COUNT(*) FROM flights WHERE email = hashed_email) = 0", 1),
        # Before: refused, since the engine has no subquery inside TRY.
        ("MOD((SELECT COUNT(*) FROM flights WHERE email = hashed_email), 2) = 1", 1),
        ("MOD((SELECT COUNT(*) FROM segments), 2) = 1", 4),
    ],
)
def test_a_subquery_in_where_means_what_it_says(where, n):
    if n is None:
        with pytest.raises(TemplateRefusedError, match="no column"):
            compiled(f"SELECT COUNT(*) AS n FROM customers c WHERE {where}")
        return
    assert ran(f"SELECT COUNT(*) AS n FROM customers c WHERE {where}", ROWS) == [(n,)]


def test_not_in_with_a_null_in_the_list_holds_for_no_row():
    sql = "SELECT COUNT(*) AS n FROM customers WHERE city NOT IN (SELECT segment FROM segments)"
    assert ran(sql, ROWS) == [(0,)]
    assert ran("SELECT COUNT(*) AS n FROM customers WHERE city NOT IN (SELECT segment FROM segments WHERE weight < 2)",
               NULLS) == [(0,)]  # fmt: skip


def test_rows_of_nobody_do_not_decide_whether_an_entity_is_not_in():
    """As SQL reads it, a NULL entity in the list would make NOT IN hold for nobody; such rows are left out."""
    sql = "SELECT COUNT(*) AS n FROM customers WHERE hashed_email NOT IN (SELECT email FROM flights)"
    without_nobody = {**ROWS, "flights": [row for row in ROWS["flights"] if row[0] is not None]}
    assert ran(sql, ROWS) == ran(sql, without_nobody) == [(1,)]


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("SELECT COUNT(*) AS n FROM customers c SEMI JOIN segments s ON s.segment = c.city", [(3,)]),
        ("SELECT COUNT(*) AS n FROM customers c ANTI JOIN segments s ON s.segment = c.city", [(1,)]),
        ("SELECT COUNT(*) AS n FROM customers c LEFT SEMI JOIN flights f ON f.email = c.hashed_email", [(3,)]),
        ("SELECT COUNT(*) AS n FROM customers c ANTI JOIN flights f ON f.email = hashed_email AND miles > 50", [(1,)]),
        # UNION
        (("SELECT COUNT(*) AS n, SUM(LEAST(GREATEST(x, 0), 1000)) AS s FROM (SELECT age AS x FROM customers UNION ALL "
         "SELECT miles FROM flights) u"), [(8, 1112.0)]),
        ("SELECT COUNT(DISTINCT e) n FROM (SELECT hashed_email e FROM customers UNION ALL SELECT email FROM flights)",
         [(4,)]),
        ("SELECT COUNT(*) n FROM (SELECT hashed_email e FROM customers UNION SELECT email FROM flights) u", [(4,)]),
        (("SELECT COUNT(*) AS n FROM customers JOIN (SELECT segment AS s FROM segments UNION SELECT 'Q' FROM segments "
         "UNION ALL SELECT NULL FROM segments WHERE weight > 2) u ON s = city"), [(3,)]),
        (("WITH u AS (SELECT 'c' AS what, COUNT(*) AS n FROM customers UNION ALL SELECT 'f', COUNT(*) FROM flights) "
         "SELECT what, n FROM u ORDER BY what"), [("c", 4), ("f", 4)]),
        # DISTINCT
        ("SELECT COUNT(*) AS n FROM (SELECT DISTINCT hashed_email FROM customers) d", [(3,)]),
        ("SELECT COUNT(*) AS n FROM (SELECT DISTINCT hashed_email, active FROM customers) d", [(3,)]),
        ("SELECT COUNT(*) n FROM customers JOIN (SELECT DISTINCT segment FROM segments) d ON segment = city", [(3,)]),
        ("SELECT DISTINCT status FROM customers ORDER BY 1", [("gold",), ("none",), ("silver",)]),
        ("SELECT DISTINCT n FROM (SELECT status, COUNT(*) n FROM customers GROUP BY 1) q ORDER BY 1",
         [(0,), (1,), (3,)]),
        # above noisy numbers
        (("WITH m AS (SELECT status, COUNT(*) n FROM customers GROUP BY 1) SELECT status, n / (SELECT SUM(n) FROM m) s "
         "FROM m WHERE n > (SELECT MIN(n) FROM m) ORDER BY 1"), [("gold", 0.75), ("none", 0.25)]),
        (("WITH m AS (SELECT status, COUNT(*) n FROM customers GROUP BY 1),big AS (SELECT status FROM m WHERE n > 1) "
         "SELECT status, n FROM m WHERE status IN (SELECT status FROM big)"), [("gold", 3)]),
        (("SELECT status, COUNT(*) AS n FROM customers GROUP BY 1 HAVING COUNT(*) > (SELECT COUNT(*) / 5 FROM flights) "
         "ORDER BY 1"), [("gold", 3), ("none", 1)]),
        ("SELECT COUNT_IF(city IN (SELECT segment FROM segments)) AS n FROM customers", [(3,)]),
        (("SELECT CASE WHEN city IN (SELECT segment FROM segments) THEN 'in' ELSE 'out' END AS k, COUNT(*) AS n "
         "FROM customers GROUP BY 1 ORDER BY 1"), [("in", 3), ("out", 1)]),
    ],
)  # fmt: skip
def test_the_answer_is_that_of_sql(sql, answer):
    found = ran(sql, ROWS)
    assert [row[: len(answer[0])] for row in found] == answer


@pytest.mark.parametrize(
    ("sql", "n"),
    [
        (("SELECT COUNT(*) AS n FROM orders o WHERE EXISTS (SELECT 1 FROM items l WHERE l.l_orderkey = o.o_orderkey "
         "AND l.flag = 'y')"), 1),
        (("SELECT COUNT(*) AS n FROM orders o WHERE o_orderkey IN (SELECT l_orderkey FROM items l WHERE "
         "l.l_orderkey = o.o_orderkey)"), 5),
        (("SELECT COUNT(*) AS n FROM items l WHERE EXISTS (SELECT 1 FROM items m WHERE m.l_orderkey = l.l_orderkey "
         "AND m.l_line <> l.l_line)"), 2),
        # order 5 is of c (F) and of d (O): each has the item, and its own order only
        (("SELECT COUNT(*) AS n FROM items l WHERE EXISTS (SELECT 1 FROM orders o WHERE o.o_orderkey = l.l_orderkey "
         "AND o.o_status = 'F')"), 4),
        ("SELECT COUNT(*) AS n FROM orders o SEMI JOIN items l ON l.l_orderkey = o.o_orderkey", 5),
        ("SELECT COUNT(*) AS n FROM items l ANTI JOIN orders o ON l.l_orderkey = o.o_orderkey AND o.o_status = 'F'", 1),
    ],
)  # fmt: skip
def test_subqueries_along_a_declared_key(sql, n):
    assert ran(sql, ORDER_ROWS, tables=ORDER_TABLES) == [(n,)]


def test_a_subquery_reads_protected_tables_that_count_in_bounds_price_and_smallest_group():
    least = tuple(replace(t, policy=replace(t.policy, min_entities=9)) if t.name == "flights" else t for t in TABLES)
    sql = "SELECT status, COUNT(*) AS n FROM customers WHERE hashed_email IN (SELECT email FROM flights) GROUP BY 1"
    plan = compiled(sql, tables=least)
    assert any("smallest group" in p.what for p in plan.parts)
    assert not any("smallest group" in p.what for p in compiled(sql).parts)


def test_where_an_entity_has_one_row_one_row_is_what_the_noise_is_for():
    """The declared bounds are 2 groups of 3 rows; a relation with one row per entity needs less, and none declared."""
    per_entity = "(SELECT hashed_email AS e, MIN(status) AS s FROM customers GROUP BY hashed_email)"
    plan = compiled(f"SELECT s, COUNT(*) AS n FROM {per_entity} GROUP BY s")
    loose = compiled("SELECT status, COUNT(*) AS n FROM customers GROUP BY status")
    scale = [
        c.noise.scale for p in (plan, loose) for c in p.measurements[0].columns if isinstance(c.noise, DiscreteLaplace)
    ]
    assert scale[0] == 1024
    assert scale[-1] == 6 * 1024
    assert compiled("SELECT COUNT(*) AS n FROM (SELECT DISTINCT email FROM bare) d").measurements[0].columns[
        0
    ].noise == (DiscreteLaplace(scale=Fraction(1)))
    joined = compiled("SELECT COUNT(*) AS n FROM (SELECT DISTINCT hashed_email AS e FROM customers) d JOIN flights f "
                      "ON f.email = e")  # fmt: skip
    assert joined.measurements[0].columns[0].sensitivity == 35


def test_a_share_of_the_total_has_an_interval_for_every_row():
    sql = (
        "WITH m AS (SELECT status, COUNT(*) AS n FROM customers GROUP BY 1) "
        "SELECT status, n / (SELECT SUM(n) FROM m) AS share FROM m ORDER BY 1"
    )
    plan = compiled(sql)
    engine = Engine(**ROWS)
    engine.load(plan)
    rows = engine.release(plan, sql=plan.release.interval_sql, replicates=3)
    assert sorted(row[:3] for row in rows) == sorted(
        (r, s, v) for r in range(3) for s, v in (("gold", 0.75), ("none", 0.25), ("silver", 0.0))
    )


def test_an_interval_of_a_union_is_matched_to_its_part_and_group():
    sql = (
        "WITH m AS (SELECT status, COUNT(*) AS n FROM customers GROUP BY 1), "
        "u AS (SELECT status, n * 2 AS d FROM m UNION ALL SELECT 'all', SUM(n) FROM m) SELECT status, d FROM u"
    )
    plan = compiled(sql)
    engine = Engine(**ROWS)
    engine.load(plan)
    rows = engine.release(plan, sql=plan.release.interval_sql, replicates=2)
    assert len(rows) == 8
    assert len({row[3:] for row in rows}) == 4


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) AS n FROM customers p JOIN guests g ON p.hashed_email = g.email",
        "SELECT COUNT(*) AS n FROM customers WHERE hashed_email IN (SELECT email FROM guests)",
        "SELECT COUNT(*) AS n FROM (SELECT hashed_email FROM customers UNION ALL SELECT email FROM guests) u",
        "WITH a AS (SELECT COUNT(*) n FROM customers), b AS (SELECT COUNT(*) m FROM guests) SELECT n / m r FROM a, b",
    ],
)
def test_both_owners_of_what_a_run_reads_are_protected_in_it(sql):
    """B-21: the price is charged to both."""
    plan = compiled(sql)
    assert plan.protected_owners == ("airline", "hotel")


def test_an_owner_with_differential_privacy_off_is_public_unless_it_set_a_smallest_group():
    """B-38, B-80: where another owner of the run has it on."""
    sql = "SELECT COUNT(*) AS n FROM customers p JOIN guests g ON p.hashed_email = g.email"
    rows = {**ROWS, "guests": [("a", 1), ("a", 2), ("z", 1)]}
    assert compiled(sql, exempt=frozenset({"hotel"})).protected_owners == ("airline",)
    assert ran(sql, rows, exempt=frozenset({"hotel"})) == [(2,)]
    least = tuple(replace(t, policy=replace(t.policy, min_entities=3)) if t.owner == "hotel" else t for t in TABLES)
    plan = compiled(sql, tables=least, exempt=frozenset({"hotel"}))
    assert plan.protected_owners == ("airline", "hotel")
    assert any("smallest group" in part.what for part in plan.parts)


def test_with_differential_privacy_off_subqueries_are_computed_as_they_stand():
    """B-38."""
    sql = "SELECT city FROM customers WHERE hashed_email IN (SELECT email FROM flights) ORDER BY 1"
    assert [row[0] for row in ran(sql, ROWS, given=OFF)] == ["X", "Y", "Z"]
    assert EPSILON_ONE.differential
