"""Window functions and QUALIFY: over rows of one entity, public rows and noisy numbers; what is refused, and cures."""

from __future__ import annotations

import itertools

import pytest

from cleanroom.errors import TemplateRefusedError
from tests.unit.templates.compiling import OFF, Engine, compiled, ran
from tests.unit.templates.test_owned_through import ROWS as ORDER_ROWS
from tests.unit.templates.test_owned_through import TABLES as ORDER_TABLES
from tests.unit.templates.test_subqueries import ROWS, customer

FLIGHTS = [("a", 100, "X"), ("b", 5, "Q"), ("b", 900, "Y"), ("b", 5, "Z"), ("d", 7, "Z"), (None, 8, "X")]
MINE = {**ROWS, "flights": FLIGHTS}


@pytest.mark.parametrize(
    ("window", "condition", "n"),
    [
        ("ROW_NUMBER() OVER (PARTITION BY email ORDER BY miles DESC)", "w = 1", 3),
        ("ROW_NUMBER() OVER (PARTITION BY email)", "w = 3", 1),
        ("RANK() OVER (PARTITION BY email ORDER BY miles)", "w = 1", 4),
        ("DENSE_RANK() OVER (PARTITION BY email ORDER BY miles)", "w = 2", 1),
        ("PERCENT_RANK() OVER (PARTITION BY email ORDER BY miles)", "w = 0", 4),
        ("CUME_DIST() OVER (PARTITION BY email ORDER BY miles)", "w < 1", 2),
        ("NTILE(2) OVER (PARTITION BY email ORDER BY miles)", "w = 2", 1),
        ("LAG(miles) OVER (PARTITION BY email ORDER BY miles, dest)", "w = 5", 2),
        ("LEAD(miles, 2, -1) OVER (PARTITION BY email ORDER BY miles)", "w = -1", 4),
        ("FIRST_VALUE(dest) OVER (PARTITION BY email ORDER BY miles DESC)", "w = 'Y'", 3),
        ("LAST_VALUE(dest) OVER (PARTITION BY email ORDER BY miles)", "w = 'Y'", 3),
        ("NTH_VALUE(miles, 3) OVER (PARTITION BY email ORDER BY miles)", "w = 900", 3),
        ("COUNT(*) OVER (PARTITION BY email)", "w = 3", 3),
        ("COUNT(DISTINCTLY) OVER (PARTITION BY email)", None, 0),
        ("COUNT_IF(miles > 10) OVER (PARTITION BY email)", "w = 1", 4),
        ("SUM(miles) OVER (PARTITION BY email ORDER BY miles)", "w = 10", 2),
        ("SUM(miles) OVER (PARTITION BY email ORDER BY miles ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)", "w = 10", 1),
        ("SUM(miles) OVER (PARTITION BY email, dest)", "w = 5", 2),
        ("AVG(miles) OVER (PARTITION BY email)", "w > 303 AND w < 304", 3),
        ("MIN(miles) OVER (PARTITION BY email)", "w = 5", 3),
        ("MAX(miles) OVER (PARTITION BY email ORDER BY dest ROWS 1 PRECEDING)", "w = 900", 2),
        # Before: refused, since the engine has no window inside TRY.
        ("MOD(ROW_NUMBER() OVER (PARTITION BY email ORDER BY miles), 2)", "w = 1", 4),
        ("-COUNT(*) OVER (PARTITION BY email)", "w = -3", 3),
        ("LN(MAX(miles) OVER (PARTITION BY email) - 7)", "w IS NULL", 1),
        ("ROUND(SQRT(SQRT(SQRT(SUM(miles) OVER (PARTITION BY email)))), 6)", "w = 1.778279", 1),
    ],
)
def test_a_window_sees_the_rows_of_one_entity(window, condition, n):
    if condition is None:
        with pytest.raises(TemplateRefusedError):
            compiled(f"SELECT COUNT(*) AS n FROM (SELECT {window} AS w FROM flights) q")
        return
    sql = f"SELECT COUNT(*) AS n FROM (SELECT email, {window} AS w FROM flights) q WHERE {condition}"
    assert ran(sql, MINE) == [(n,)]


def test_qualify_keeps_rows_by_their_window():
    latest = "SELECT dest, miles FROM flights QUALIFY ROW_NUMBER() OVER (PARTITION BY email ORDER BY miles DESC) = 1"
    sql = f"SELECT dest, COUNT(*) AS n, SUM(miles) AS s FROM ({latest}) q JOIN segments ON segment = dest GROUP BY dest"
    plan = compiled(sql.replace("COUNT(*) AS n, SUM(miles) AS s", "segment").replace("GROUP BY dest", "GROUP BY 1, 2"))
    assert plan.differential
    by_dest = (
        f"SELECT CASE WHEN dest = 'X' THEN 'x' ELSE 'other' END d, COUNT(*) n FROM ({latest}) q GROUP BY 1 ORDER BY 1"
    )
    assert [row[:2] for row in ran(by_dest, MINE)] == [("other", 2), ("x", 1)]
    named = "SELECT miles, RANK() OVER (PARTITION BY email ORDER BY miles) AS r FROM flights QUALIFY r = 1"
    assert ran(f"SELECT COUNT(*) AS n FROM ({named}) q", MINE) == [(4,)]


@pytest.mark.parametrize(
    ("sql", "sensitivity"),
    [
        ("SELECT miles FROM flights QUALIFY ROW_NUMBER() OVER (PARTITION BY email ORDER BY miles) = 1", 1),
        ("SELECT miles FROM flights QUALIFY ROW_NUMBER() OVER (PARTITION BY email ORDER BY miles) <= 3", 3),
        (
            "SELECT miles FROM flights QUALIFY ROW_NUMBER() OVER (PARTITION BY email ORDER BY miles) < 3 AND miles > 7",
            2,
        ),
        (
            (
                "SELECT miles FROM (SELECT miles, ROW_NUMBER() OVER (PARTITION BY email ORDER BY 1) r FROM flights) w "
                "WHERE r = 1"
            ),
            1,
        ),
        # not by the entity alone, ranks tie, a join repeats rows, an OR: the declared 5 groups of 7 rows
        ("SELECT miles FROM flights QUALIFY ROW_NUMBER() OVER (PARTITION BY email, dest ORDER BY miles) = 1", 35),
        ("SELECT miles FROM flights QUALIFY RANK() OVER (PARTITION BY email ORDER BY miles) = 1", 35),
        ("SELECT miles FROM flights QUALIFY ROW_NUMBER() OVER (PARTITION BY email ORDER BY miles) >= 1", 35),
        (
            "SELECT miles FROM flights QUALIFY ROW_NUMBER() OVER (PARTITION BY email ORDER BY miles) = 1 OR miles > 3",
            35,
        ),
        (
            (
                "SELECT r FROM (SELECT ROW_NUMBER() OVER (PARTITION BY email ORDER BY miles) AS r FROM flights) w "
                "JOIN segments ON weight > 0 WHERE r = 1"
            ),
            35,
        ),
        (
            (
                "SELECT r FROM (SELECT r FROM (SELECT ROW_NUMBER() OVER (PARTITION BY email) r FROM flights) "
                "w JOIN segments ON weight > 0) v WHERE r = 1"
            ),
            35,
        ),
    ],
)
def test_first_rows_of_an_entity_need_no_more_noise_than_they_are_rows(sql, sensitivity):
    plan = compiled(f"SELECT COUNT(*) AS n FROM ({sql}) q")
    assert plan.measurements[0].columns[0].sensitivity == sensitivity


def test_ties_are_broken_so_that_the_order_of_rows_does_not_show():
    rows = [("a", 1, "X"), ("a", 1, "Y"), ("a", 1, "Z"), ("a", 2, "X")]
    sql = (
        "SELECT SUM(LEAST(GREATEST(v, 0), 9)) AS s FROM (SELECT ROW_NUMBER() OVER (PARTITION BY email ORDER BY miles) "
        "* CASE WHEN dest = 'X' THEN 1 ELSE 3 END AS v FROM flights) q"
    )
    answers = {tuple(ran(sql, {"flights": list(order)})) for order in itertools.permutations(rows)}
    assert answers == {((1 + 6 + 9 + 4 + 0.0,),)}


def test_windows_over_noisy_numbers_are_post_processing():
    sql = (
        "SELECT status, COUNT(*) AS n, RANK() OVER (ORDER BY COUNT(*) DESC) AS r, n / SUM(COUNT(*)) OVER () AS share "
        "FROM customers GROUP BY status ORDER BY status"
    ).replace("n / SUM", "COUNT(*) / SUM")
    assert [row[:4] for row in ran(sql, ROWS)] == [("gold", 3, 1, 0.75), ("none", 1, 2, 0.25), ("silver", 0, 3, 0.0)]
    above = (
        "WITH m AS (SELECT status, COUNT(*) n FROM customers GROUP BY 1) SELECT status, SUM(n) OVER (ORDER BY n) c "
        "FROM m QUALIFY ROW_NUMBER() OVER (ORDER BY n DESC) <= 2 ORDER BY 1"
    )
    assert [row[:2] for row in ran(above, ROWS)] == [("gold", 4.0), ("none", 1.0)]


def test_intervals_of_windows_are_worked_out_in_each_replicate():
    sql = (
        "SELECT status, RANK() OVER (ORDER BY COUNT(*) DESC) AS r, COUNT(*) / SUM(COUNT(*)) OVER () AS share "
        "FROM customers GROUP BY status HAVING COUNT(*) > 0"
    )
    plan = compiled(sql)
    assert [c.role for c in plan.release.columns] == ["key", "derived", "derived"]
    engine = Engine(**ROWS)
    engine.load(plan)
    rows = engine.release(plan, sql=plan.release.interval_sql, replicates=3)
    assert sorted(row[:4] for row in rows) == sorted(
        (r, *v) for r in range(3) for v in (("gold", 1, 0.75), ("none", 2, 0.25))
    )


def test_windows_over_public_rows():
    sql = (
        "SELECT COUNT(*) AS n FROM customers JOIN (SELECT segment, ROW_NUMBER() OVER (ORDER BY weight DESC) AS r "
        "FROM segments) s ON segment = city WHERE r = 1"
    )
    assert ran(sql, ROWS) == [(1,)]


def test_windows_along_a_declared_key():
    sql = (
        "SELECT COUNT(*) AS n FROM (SELECT qty FROM items QUALIFY ROW_NUMBER() OVER (PARTITION BY l_orderkey "
        "ORDER BY qty DESC) = 1) q"
    )
    assert ran(sql, ORDER_ROWS, tables=ORDER_TABLES) == [(4,)]


def test_with_differential_privacy_off_windows_run_as_they_stand():
    """B-38."""
    sql = "SELECT email, ROW_NUMBER() OVER (ORDER BY miles DESC) AS r FROM flights QUALIFY r <= 2 ORDER BY r"
    assert [row[:2] for row in ran(sql, MINE, given=OFF)] == [("b", 1), ("a", 2)]
    grouped = "SELECT email, COUNT(*) n, RANK() OVER (ORDER BY COUNT(*) DESC) r FROM flights GROUP BY 1 QUALIFY r = 1"
    assert [row[:3] for row in ran(grouped, MINE, given=OFF)] == [("b", 3, 1)]


ENTITY_WINDOW = "SELECT COUNT(*) AS n FROM (SELECT {} AS w FROM flights) q"


@pytest.mark.parametrize(
    ("window", "rule", "cured"),
    [
        ("RANK() OVER (ORDER BY miles)", "window_over_entities", "RANK() OVER (PARTITION BY email ORDER BY miles)"),
        ("SUM(miles) OVER ()", "window_over_entities", "SUM(miles) OVER (PARTITION BY email)"),
        ("SUM(miles) OVER (PARTITION BY dest)", "window_over_entities", "SUM(miles) OVER (PARTITION BY dest, email)"),
        ("SUM(miles) OVER (PARTITION BY UPPER(email))", "window_over_entities", "SUM(miles) OVER (PARTITION BY email)"),
        ("RANK() OVER (PARTITION BY email)", "window", "RANK() OVER (PARTITION BY email ORDER BY miles)"),
        ("MEDIAN(miles) OVER (PARTITION BY email)", "window", "AVG(miles) OVER (PARTITION BY email)"),
        ("LAG(miles) IGNORE NULLS OVER (PARTITION BY email ORDER BY miles)", "window",
         "LAG(miles) OVER (PARTITION BY email ORDER BY miles)"),
        ("SUM(miles) OVER (PARTITION BY email ORDER BY miles RANGE BETWEEN 3 PRECEDING AND CURRENT ROW)", "window",
         "SUM(miles) OVER (PARTITION BY email ORDER BY miles ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)"),
        ("SUM(miles) OVER (PARTITION BY email ORDER BY miles ROWS BETWEEN 1 FOLLOWING AND 1 PRECEDING)", "window",
         "SUM(miles) OVER (PARTITION BY email ORDER BY miles ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)"),
        ("SUM(miles) OVER (PARTITION BY email ORDER BY miles ROWS miles PRECEDING)", "window",
         "SUM(miles) OVER (PARTITION BY email ORDER BY miles ROWS 2 PRECEDING)"),
        ("NTILE(0) OVER (PARTITION BY email ORDER BY miles)", "literal_needed",
         "NTILE(4) OVER (PARTITION BY email ORDER BY miles)"),
        ("LAG(miles, 1, miles) OVER (PARTITION BY email ORDER BY miles)", "literal_needed",
         "COALESCE(LAG(miles) OVER (PARTITION BY email ORDER BY miles), miles)"),
        ("SUM(RANK() OVER (PARTITION BY email ORDER BY miles)) OVER (PARTITION BY email)", "window",
         "RANK() OVER (PARTITION BY email ORDER BY miles)"),
    ],
)  # fmt: skip
def test_a_window_without_a_rule_is_refused_and_its_cure_compiles(window, rule, cured):
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(ENTITY_WINDOW.format(window))
    assert refusal.value.rule == rule
    assert refusal.value.cure
    assert compiled(ENTITY_WINDOW.format(cured)).differential


def test_what_a_window_gives_is_no_entity_and_no_key():
    moved = "SELECT LAG(email) OVER (PARTITION BY email ORDER BY miles) AS e FROM flights"
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(f"SELECT COUNT(*) AS n FROM ({moved}) q JOIN customers c ON q.e = c.hashed_email")
    assert refusal.value.rule == "join_without_entity"
    assert customer("a", "X", 1)[0] == "a"


def test_two_orders_in_one_select_over_public_rows_are_refused():
    """Rows that are alike were numbered by each window for itself, so that which numbers met hung on their order."""
    sql = "SELECT COUNT(*) AS n FROM customers c JOIN (SELECT {} FROM segments QUALIFY {} < 3) s ON c.age = s.b"
    numbers = "ROW_NUMBER() OVER (ORDER BY segment)", "ROW_NUMBER() OVER (ORDER BY segment DESC)"
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(sql.format(f"segment, {numbers[0]} AS b", numbers[1]))
    assert refusal.value.rule == "window_ties"
    assert compiled(sql.format(f"segment, {numbers[0]} AS b", numbers[0]))
    named = f"(SELECT segment, {numbers[0]} AS b FROM segments)"
    inner = f"SELECT b FROM {named} t QUALIFY ROW_NUMBER() OVER (ORDER BY segment DESC) < 3"
    assert compiled(f"SELECT COUNT(*) AS n FROM customers c JOIN ({inner}) s ON c.age = s.b")


def test_two_orders_in_one_select_over_the_rows_of_an_entity_are_refused():
    """One row more of another entity moved 55 to 53, where one entity may move 1: the engine sorts all rows at once."""
    own = "ROW_NUMBER() OVER (PARTITION BY hashed_email ORDER BY age {}) AS {}"
    both = f"SELECT hashed_email, {own.format('', 'a')}, {own.format('DESC', 'b')} FROM customers"
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(f"SELECT COUNT(*) AS n FROM ({both}) t WHERE a = 10 AND b = 2")
    assert refusal.value.rule == "window_ties"
    inner = f"SELECT hashed_email, age, {own.format('', 'a')} FROM customers"
    named = f"SELECT hashed_email, a, {own.format('DESC', 'b')} FROM ({inner}) t"
    plan = compiled(f"SELECT COUNT(*) AS n FROM ({named}) u WHERE a = 10 AND b = 2")
    assert 'ORDER BY "r' in plan.measurements[0].exact_sql
    same = f"SELECT hashed_email, {own.format('', 'a')}, LAG(age) OVER (PARTITION BY hashed_email ORDER BY age) AS b"
    assert compiled(f"SELECT COUNT(*) AS n FROM ({same} FROM customers) t WHERE a = b")
    assert compiled(f"SELECT COUNT(*) AS n FROM ({both}) t WHERE a = 10 AND b = 2", given=OFF)
