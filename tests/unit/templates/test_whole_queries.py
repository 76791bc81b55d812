"""Stars over tables, joins in brackets, UNION as the outermost query, an order that says nothing, VALUES."""

from __future__ import annotations

import pytest

from cleanroom.errors import TemplateRefusedError
from tests.unit.templates.compiling import OFF, Engine, compiled, ran

CUSTOMERS = [
    (f"e{n}", "gold", "XY"[n % 2], 10 * n, 1.0, 5, "2024-01-01", "2024-01-01 00:00:00", True, None) for n in range(6)
]
FLIGHTS = [(f"e{n % 6}", 100 * n, "BOS") for n in range(12)]
SEGMENTS = [("e0", "wide", 1.0), ("e1", "slim", 2.0)]
ROWS: dict[str, list[tuple[object, ...]]] = {"customers": CUSTOMERS, "flights": FLIGHTS, "segments": SEGMENTS}


def columns_read(sql: str) -> dict[str, tuple[str, ...]]:
    return {use.table.name: use.columns for use in compiled(sql).tables}


def test_a_star_below_reads_only_what_is_named_above() -> None:
    assert columns_read("SELECT city, COUNT(*) AS n FROM (SELECT * FROM customers WHERE age > 3) q GROUP BY city") == {
        "customers": ("hashed_email", "city", "age")
    }


@pytest.mark.parametrize(
    ("starred", "named"),
    [
        (
            "WITH t AS (SELECT * FROM customers) SELECT city, SUM(age) AS s FROM t GROUP BY city",
            "SELECT city, SUM(age) AS s FROM customers GROUP BY city",
        ),
        (
            "SELECT segment, COUNT(*) AS n FROM (SELECT * FROM flights JOIN segments USING (email)) q GROUP BY segment",
            "SELECT segment, COUNT(*) AS n FROM flights f JOIN segments s ON f.email = s.email GROUP BY segment",
        ),
        (
            "SELECT COUNT(*) AS n FROM (SELECT * FROM flights UNION SELECT * FROM flights) u",
            "SELECT COUNT(*) AS n FROM (SELECT DISTINCT email, miles, dest FROM flights) u",
        ),
        (
            "SELECT COUNT(*) AS n FROM (SELECT DISTINCT * FROM flights) u WHERE dest = 'BOS'",
            "SELECT COUNT(*) AS n FROM flights WHERE dest = 'BOS'",
        ),
        (
            "SELECT COUNT(*) AS n FROM (SELECT f.*, s.segment FROM flights f JOIN segments s USING (email)) q",
            "SELECT COUNT(*) AS n FROM flights f JOIN segments s USING (email)",
        ),
    ],
)
def test_a_star_stands_for_the_columns_of_its_tables(starred: str, named: str) -> None:
    assert sorted(ran(starred, ROWS)) == sorted(ran(named, ROWS)) != []


def test_columns_of_types_without_a_meaning_are_not_in_a_star() -> None:
    assert columns_read("SELECT COUNT(DISTINCT city) AS n FROM (SELECT DISTINCT * FROM customers) q") == {
        "customers": ("hashed_email", "status", "city", "age", "spend", "price", "since", "seen", "active")
    }


@pytest.mark.parametrize("given", [None, OFF])
def test_what_leaves_is_named_whatever_stands_below(given: object) -> None:
    """A table that gains a column must not release it by a template that was approved before."""
    for sql in ("SELECT * FROM customers", "SELECT * FROM (SELECT * FROM customers) q", "SELECT q.* FROM customers q"):
        with pytest.raises(TemplateRefusedError) as refusal:
            compiled(sql, **({} if given is None else {"given": given}))
        assert (refusal.value.rule, refusal.value.line) == ("star", 1)


def test_stars_and_brackets_do_not_lose_the_entity() -> None:
    plan = compiled("SELECT COUNT(*) AS n FROM (SELECT * FROM (flights f JOIN segments s USING (email)) AS q) r")
    engine = Engine(**ROWS)
    engine.load(plan)
    engine.connection.execute("DELETE FROM \"source flights\" WHERE email IN ('e0')")
    assert engine.release(plan) == [(2,)]
    assert compiled("SELECT COUNT(*) AS n FROM (flights)").measurements[0].exact_sql


@pytest.mark.parametrize(
    ("bracketed", "flat"),
    [
        (
            "((flights f JOIN segments s USING (email)) CROSS JOIN segments) JOIN customers ON hashed_email = f.email",
            "flights f JOIN segments s USING (email) CROSS JOIN segments JOIN customers ON hashed_email = f.email",
        ),
        ("((SELECT email FROM flights) f JOIN segments s USING (email))", "flights f JOIN segments s USING (email)"),
        ("(((SELECT email FROM flights))) f", "flights f"),
    ],
)
def test_brackets_around_joins_say_nothing(bracketed: str, flat: str) -> None:
    assert ran(f"SELECT COUNT(*) AS n FROM {bracketed}", ROWS) == ran(f"SELECT COUNT(*) AS n FROM {flat}", ROWS)


def test_joins_without_the_entity_are_refused_in_brackets_too() -> None:
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled("SELECT COUNT(*) AS n FROM (flights a JOIN flights b ON a.miles = b.miles) AS q")
    assert (refusal.value.rule, refusal.value.line) == ("join_without_entity", 1)


def test_a_union_may_be_the_whole_query() -> None:
    sql = (
        "WITH f AS (SELECT * FROM flights) (SELECT 'flights' AS what, COUNT(*) AS n FROM f) "
        "UNION ALL SELECT 'customers', COUNT(*) FROM customers ORDER BY 2 DESC LIMIT 1"
    )
    assert [row[:2] for row in ran(sql, ROWS)] == [("flights", 12)]
    assert len(compiled(sql).measurements) == 2
    assert ran("(SELECT COUNT(*) AS n FROM flights)", ROWS) == [(12,)]


def test_rows_do_not_leave_by_a_union() -> None:
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled("SELECT email FROM flights UNION ALL SELECT hashed_email FROM customers")
    assert refusal.value.rule == "rows_released"


def test_an_order_without_limit_says_nothing_over_protected_rows() -> None:
    sql = "SELECT COUNT(*) AS n FROM (SELECT email, miles FROM flights ORDER BY miles) q"
    assert "ORDER BY" not in compiled(sql).measurements[0].exact_sql
    assert ran(sql, ROWS) == [(12,)]
    for limited in ("ORDER BY miles LIMIT 3", "OFFSET 2", "LIMIT 5"):
        with pytest.raises(TemplateRefusedError) as refusal:
            compiled(f"SELECT COUNT(*) AS n FROM (SELECT email FROM flights {limited}) q")
        assert refusal.value.rule == "limit_on_protected"


@pytest.mark.parametrize(
    "written",
    [
        "(VALUES ('BOS', 'Boston'), ('LAX', 'Los Angeles'), ('ORD', NULL)) AS v(code, name)",
        "(SELECT 'BOS' AS code, 'Boston' AS name UNION ALL SELECT 'LAX', 'Los Angeles' UNION ALL SELECT 'ORD', NULL) v",
    ],
)
def test_rows_that_a_query_brings_along_are_public(written: str) -> None:
    """Their columns give public keys: the group that nobody is in appears too."""
    sql = f"SELECT v.name, COUNT(*) AS n FROM flights f JOIN {written} ON f.dest = v.code GROUP BY v.name"
    assert {row[:2] for row in ran(sql, ROWS)} == {("Boston", 12), ("Los Angeles", 0), (None, 0)}
    (measurement,) = compiled(sql).measurements
    assert measurement.partition_selection is None


def test_values_without_names_are_called_by_their_place() -> None:
    assert ran("SELECT COUNT(*) AS n FROM flights JOIN (VALUES ('BOS')) v ON dest = v.column1", ROWS) == [(12,)]
    assert ran("SELECT COUNT(*) AS n FROM flights WHERE miles > (SELECT 1000) AND dest = (SELECT 'BOS')", ROWS) == [
        (1,)
    ]


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("SELECT COUNT(*) AS n FROM flights CROSS JOIN (VALUES (1), (2, 3)) v", "union_columns"),
        ("SELECT COUNT(*) AS n FROM flights CROSS JOIN (VALUES (1)) AS v(a, b)", "union_columns"),
        (f"SELECT COUNT(*) AS n FROM flights CROSS JOIN (VALUES {'(1), ' * 1000}(2)) v", "unsupported_source"),
        ("SELECT v.x AS x FROM (VALUES (1)) AS v(x)", "nothing_protected"),
        ("SELECT 1 AS x", "no_from"),
        ("SELECT COUNT(*) AS n FROM (SELECT email FROM flights UNION ALL SELECT 'e0') u", "union_of_worlds"),
    ],
)
def test_rows_that_a_query_brings_along_have_limits(sql: str, rule: str) -> None:
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(sql)
    assert (refusal.value.rule, refusal.value.line) == (rule, 1)
