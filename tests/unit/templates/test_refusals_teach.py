"""Row 8: every refusal of a query says where, by which rule, and what to write instead; the rewrites are tried."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from sqlglot.dialects.dialect import Dialects

from cleanroom.errors import MissingBoundsError, TemplateRefusedError
from cleanroom.rooms.approved import Template
from cleanroom.rooms.tables import TablePolicy
from cleanroom.templates.literals import literal, string_literal
from cleanroom.templates.render import known_dialect, render
from cleanroom.templates.template import CompileContext
from docs.generate import rules
from tests.unit.templates.compiling import BARE, CUSTOMERS, FLIGHTS, OFF, SEGMENTS, compiled

ROOT = Path(__file__).resolve().parents[3]
COUNT = "SELECT COUNT(*) AS n FROM customers"
UNITED = "SELECT COUNT(*) AS n FROM (SELECT hashed_email AS e FROM customers"

TAUGHT = [
    # statement with «» around the place, rule, a part of the cure, the rewrite
    (f"{COUNT} SAMPLE («10»)", "unsupported_clause", "leave SAMPLE out", COUNT),
    (
        f"{COUNT} PIVOT(«SUM(age)» FOR city IN ('X'))",
        "unsupported_clause",
        "SUM(CASE WHEN",
        "SELECT SUM(CASE WHEN city = 'X' THEN age END) AS x FROM customers",
    ),
    (
        "WITH RECURSIVE «a» AS (SELECT age FROM customers) SELECT COUNT(*) AS n FROM a",
        "unsupported_clause",
        "a CTE of its own",
        "WITH a AS (SELECT age FROM customers) SELECT COUNT(*) AS n FROM a",
    ),
    (
        "SELECT COUNT(*) AS n FROM flights f NATURAL JOIN «segments s»",
        "unsupported_clause",
        "USING",
        "SELECT COUNT(*) AS n FROM flights f JOIN segments s USING (email)",
    ),
    (
        "SELECT COUNT(*) AS n FROM (SELECT age FROM customers) q(«a»)",
        "unsupported_clause",
        "SELECT x AS a",
        "SELECT COUNT(*) AS n FROM (SELECT age AS a FROM customers) q",
    ),
    (
        "SELECT city, COUNT(*) AS n FROM customers GROUP BY city FETCH FIRST «3» ROWS ONLY",
        "unsupported_clause",
        "LIMIT",
        "SELECT city, COUNT(*) AS n FROM customers GROUP BY city LIMIT 3",
    ),
    (
        "SELECT DISTINCT «city», COUNT(*) AS n FROM customers GROUP BY city",
        "unsupported_clause",
        "select DISTINCT from it",
        "SELECT DISTINCT n FROM (SELECT city, COUNT(*) AS n FROM customers GROUP BY city) q",
    ),
    (f"{COUNT} WHERE «age» = ?", "unsupported_expression", "{{ x }}", f"{COUNT} WHERE age = 3"),
    (f"{COUNT} WHERE «seen» < CURRENT_DATE", "not_deterministic", "{{ today }}", f"{COUNT} WHERE seen < '2024-01-01'"),
    (f"{COUNT} WHERE «RANDOM()» < 0.5", "not_deterministic", "argument", COUNT),
    (f"{COUNT} WHERE «query('x')» = 1", "function_not_allowed", "docs/sql.md", f"{COUNT} WHERE LENGTH('x') = 1"),
    (
        "SELECT SUM(«COUNT(*)») AS n FROM customers",
        "aggregate_not_allowed",
        "above a subquery",
        "SELECT SUM(n) AS n FROM (SELECT city, COUNT(*) AS n FROM customers GROUP BY city) q",
    ),
    (f"{COUNT} WHERE «COUNT(*)» > 1", "aggregate_not_allowed", "HAVING", f"{COUNT} HAVING COUNT(*) > 1"),
    (
        "SELECT COUNT(*) AS n FROM customers GROUP BY «COUNT(*)»",
        "aggregate_not_allowed",
        "in a subquery and group by it above",
        "SELECT n, COUNT(*) AS m FROM (SELECT city, COUNT(*) AS n FROM customers GROUP BY city) q GROUP BY n",
    ),
    (
        "SELECT «SUM(DISTINCT age)» AS s FROM customers",
        "distinct_values",
        "group by the value in a subquery",
        (
            "SELECT SUM(age) AS s FROM (SELECT age, COUNT(DISTINCT hashed_email) AS n FROM customers GROUP BY "
            "age) q WHERE n > 5"
        ),
    ),
    ("SELECT «SUM(*)» AS s FROM customers", "function_form", "SUM(x)", "SELECT SUM(age) AS s FROM customers"),
    (
        "SELECT SUM(«RANK()» OVER (PARTITION BY hashed_email ORDER BY age)) AS n FROM customers",
        "window",
        "use that above",
        (
            "SELECT SUM(LEAST(GREATEST(r, 1), 9)) AS n FROM "
            "(SELECT RANK() OVER (PARTITION BY hashed_email ORDER BY age) AS r FROM customers) q"
        ),
    ),
    (
        "SELECT COUNT(*) AS n, «COUNT(*)» AS N FROM customers",
        "duplicate_column",
        "an alias of its own",
        "SELECT COUNT(*) AS n, COUNT(*) AS m FROM customers",
    ),
    (
        f"{UNITED} UNION ALL SELECT «tailnum» FROM planes) u",
        "different_entities",
        "of one kind",
        f"{UNITED} UNION ALL SELECT email FROM flights) u",
    ),
    (f"{UNITED} UNION ALL SELECT «email», miles FROM flights) u", "union_columns", "as many columns",
     f"{UNITED} UNION ALL SELECT email FROM flights) u"),
    (f"{UNITED} UNION ALL SELECT «miles» FROM flights) u", "type_mismatch", "one type",
     f"{UNITED} UNION ALL SELECT CAST(miles AS VARCHAR) FROM flights) u"),
    (
        "SELECT COUNT(*) AS n FROM (SELECT dest FROM flights EXCEPT SELECT «city» FROM customers) u",
        "union_of_entities",
        "in both parts",
        "SELECT COUNT(*) AS n FROM (SELECT email, dest FROM flights EXCEPT SELECT hashed_email, city FROM customers) u",
    ),
    (
        "SELECT COUNT(*) AS n FROM flights a FULL JOIN «customers b» ON a.email = b.hashed_email",
        "outer_join",
        "ANTI JOIN",
        (
            "SELECT COUNT(*) AS n FROM (SELECT email FROM flights a LEFT JOIN customers b ON a.email = b.hashed_email "
            "UNION ALL SELECT b.hashed_email FROM customers b ANTI JOIN flights a ON a.email = b.hashed_email) u"
        ),
    ),
    (
        "SELECT COUNT(*) AS n FROM segments s LEFT JOIN «customers c» ON c.hashed_email = s.email",
        "outer_join",
        "use JOIN",
        "SELECT COUNT(*) AS n FROM segments s JOIN customers c ON c.hashed_email = s.email",
    ),
    (
        "SELECT COUNT(*) AS n FROM flights f JOIN («segments s» JOIN segments t USING (email)) ON TRUE",
        "unsupported_join",
        "AS q",
        "SELECT COUNT(*) AS n FROM flights f JOIN (segments s JOIN segments t USING (email)) AS q ON TRUE",
    ),
    (
        "SELECT COUNT(*) AS n FROM (SELECT age FROM customers LIMIT «3») q",
        "limit_on_protected",
        "ROW_NUMBER()",
        (
            "SELECT COUNT(*) AS n FROM (SELECT age FROM customers QUALIFY ROW_NUMBER() OVER (PARTITION BY hashed_email "
            "ORDER BY age) <= 3) q"
        ),
    ),
    ("SELECT «*» FROM customers", "star", "aggregate, as in SELECT COUNT(*)", "SELECT COUNT(*) AS n FROM customers"),
    (
        "SELECT «f.*» FROM flights f LIMIT 10",
        "star",
        "under a SELECT that aggregates",
        "SELECT COUNT(*) AS n FROM (SELECT f.* FROM flights f) q LIMIT 10",
    ),
    (
        "SELECT «p.tailnum», COUNT(*) AS n FROM planes p GROUP BY p.tailnum ORDER BY n DESC LIMIT 10",
        "rows_released",
        "do not group by the entity column",
        "SELECT p.seats, COUNT(*) AS n FROM planes p GROUP BY p.seats ORDER BY n DESC LIMIT 10",
    ),
    (
        "SELECT «tailnum» FROM planes LIMIT 10",
        "rows_released",
        "aggregate with COUNT",
        "SELECT COUNT(*) AS n FROM planes LIMIT 10",
    ),
    (
        "SELECT «MEDIAN(city)» AS m FROM customers",
        "type_mismatch",
        "LEAST(GREATEST(x::INT, low), high)",
        "SELECT MEDIAN(LEAST(GREATEST(city::INT, 0), 9)) AS m FROM customers",
    ),
    (
        "SELECT «MIN(city)» AS m FROM customers",
        "type_mismatch",
        "LEAST(GREATEST(x::DATE, low), high) for dates",
        "SELECT MIN(LEAST(GREATEST(city::DATE, '2024-01-01'), '2024-12-31')) AS m FROM customers",
    ),
    (
        "SELECT «SUM(city)» AS s FROM customers",
        "type_mismatch",
        "LEAST(GREATEST(x::INT, low), high)",
        "SELECT SUM(LEAST(GREATEST(city::INT, 0), 9)) AS s FROM customers",
    ),
    (f"{COUNT} WHERE age = («1», 2)", "unsupported_expression", "x IN {{ values |", f"{COUNT} WHERE age IN (1, 2)"),
    (
        f"{COUNT} WHERE «TO_CHAR(age, '999')» = '1'",
        "function_form",
        "TO_CHAR(ROUND(x, 2))",
        f"{COUNT} WHERE TO_CHAR(ROUND(age, 2)) = '1'",
    ),
    (
        "SELECT COUNT(*) AS n FROM customers, «TABLE(GENERATOR(ROWCOUNT => 3))» f",
        "unsupported_source",
        "links as a table",
        "SELECT COUNT(*) AS n FROM customers, segments f",
    ),
    (
        "SELECT COUNT(*) AS n FROM customers, LATERAL «FLATTEN(input => city)» f",
        "type_mismatch",
        "SPLIT a text",
        "SELECT COUNT(*) AS n FROM customers, LATERAL FLATTEN(input => SPLIT(city, ' ')) f",
    ),
    (
        "SELECT «AVG(since)» AS a FROM customers",
        "type_mismatch",
        "DATEADD('day', AVG(DATEDIFF(",
        (
            "SELECT DATEADD('day', AVG(LEAST(GREATEST(DATEDIFF('day', '2024-01-01'::DATE, since), 0), 366))::INT, "
            "'2024-01-01'::DATE) AS a FROM customers"
        ),
    ),
    (
        "SELECT «tags», COUNT(*) AS n FROM customers GROUP BY 1",
        "array_value",
        "FLATTEN",
        "SELECT f.value, COUNT(*) AS n FROM customers c, LATERAL FLATTEN(input => c.tags) f GROUP BY 1",
    ),
    ("SELECT «1» AS n", "no_from", "without FROM", "SELECT (SELECT COUNT(*) FROM customers) AS n"),
    (
        "SELECT cleanroom.addnoise(COUNT(*) + «cleanroom.addnoise(COUNT(*), 1, 0.5)», 1, 0.5) AS n FROM customers",
        "addnoise_place",
        "the inner one",
        "SELECT cleanroom.addnoise(COUNT(*), 1, 0.5) AS n FROM customers",
    ),
    (
        "WITH x AS (DELETE FROM «customers») SELECT COUNT(*) AS n FROM x",
        "unsupported_query",
        "write a SELECT",
        "WITH x AS (SELECT 1 AS a FROM customers) SELECT COUNT(*) AS n FROM x",
    ),
    (f"{COUNT} WHERE price < «1e999»", "bad_literal", "below 1e308", f"{COUNT} WHERE price < 1e99"),
    (f"{COUNT} WHERE price < «1e-9999999»", "bad_literal", "between 1e-308", f"{COUNT} WHERE price < 1e-99"),
    (
        "SELECT «SUM(LEAST(GREATEST(weight, 0), 1e200))» AS s FROM flights f JOIN segments s USING (email)",
        "range_too_large",
        "1e60",
        "SELECT SUM(LEAST(GREATEST(weight, 0), 1e9)) AS s FROM flights f JOIN segments s USING (email)",
    ),
    (
        f"{COUNT} WHERE «city» IN (SELECT dest FROM flights)",
        "subquery_entity",
        "<entity> IN (SELECT <entity>",
        f"{COUNT} WHERE hashed_email IN (SELECT email FROM flights)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("marked", "rule", "cure", "rewrite"), TAUGHT)
def test_a_refusal_says_where_and_what_instead(marked: str, rule: str, cure: str, rewrite: str) -> None:
    sql, place = re.sub("[«»]", "", marked), marked.index("«") + 1
    for lead, line in (("", 1), ("\n \n", 3)):
        with pytest.raises(TemplateRefusedError) as refusal:
            compiled(lead + sql)
        said = refusal.value
        assert (said.rule, said.line, said.column) == (rule, line, place)
        assert cure in said.cure
    assert compiled(rewrite).measurements


RENDERED = [
    # template, arguments, rule, line
    ("SELECT\n{{ x | upper }}", {"x": 3}, "jinja_text", 2),
    ("SELECT\n{{ x | first }}", {"x": 3}, "jinja_list", 2),
    ("SELECT\n{{ x | round(40) }}", {"x": 3}, "jinja_number", 2),
    ("SELECT\n{{ x * 2 }}", {"x": "a"}, "jinja_operator", 2),
    ("SELECT\n{{ x.split(3) }}", {"x": "a"}, "jinja_call", 2),
    ("SELECT\n{% for i in range(x) %}{{ i }}, {% endfor %}", {"x": "a"}, "jinja_range", 2),
    ("SELECT\n{% for i in x %}{{ i }}, {% endfor %}", {"x": 3}, "jinja_loop", 2),
    ("SELECT\n{{ x / y }}", {"x": 3, "y": 0}, "jinja_evaluation", 2),
    ("SELECT\n{% for i in range(100000000) %}{% endfor %}", {}, "rendering_too_large", 2),
    ("SELECT\n{{ x }}", {}, "missing_argument", 2),
    ("SELECT 1", {"x": 3}, "unknown_argument", None),
    ("SELECT " + "(" * 300 + "{{ " + "(" * 300 + "1" + ")" * 300 + " }}", {}, "template_too_deep", None),
    ("SELECT " + " " * 70_000, {}, "template_too_long", None),
    ("SELECT jinja_bound_1_", {}, "reserved_text", None),
]


@pytest.mark.parametrize(("text", "arguments", "rule", "line"), RENDERED, ids=[r[2] for r in RENDERED])
def test_a_refusal_of_a_template_says_where_and_what_instead(
    text: str, arguments: dict[str, object], rule: str, line: int | None
) -> None:
    with pytest.raises(TemplateRefusedError) as refusal:
        render(Template(name="t", text=text), arguments, CompileContext(reader="shop", settings=OFF))
    said = refusal.value
    assert (said.rule, said.line) == (rule, line)
    assert said.cure


@pytest.mark.parametrize(
    ("value", "named", "rewrite"),
    [
        ("age * x", "for x with", "age * LEAST(GREATEST(x, 0), 9)"),
        ("x + miles * weight", "for x and weight with", "LEAST(GREATEST(x, 0), 9) + LEAST(GREATEST(weight, 0), 9)"),
        ("CASE WHEN weight > 1 AND city = 'X' THEN x END", "for x with", "LEAST(GREATEST(x, 0), 9)"),
        ("age / (age - 3)", "with the whole for x", "LEAST(GREATEST(age / (age - 3), 0), 9)"),
        ("city::INT", "with the whole for x", "LEAST(GREATEST(city::INT, 0), 9)"),
    ],
)
@pytest.mark.parametrize(
    "call", ["SUM({})", "STDDEV({})", "MEDIAN({})", "CORR({}, age)", "cleanroom.addnoise(SUM({}), 1, 0.5)"]
)
def test_a_missing_range_names_the_columns_that_lack_bounds(call: str, value: str, named: str, rewrite: str) -> None:
    """A name of a column is schema and no data."""
    read = (
        "FROM customers c JOIN bare b ON c.hashed_email = b.email JOIN segments s ON s.email = b.email "
        "JOIN flights f ON f.email = b.email"
    )
    declared = replace(BARE, policy=TablePolicy(max_rows=1, max_groups=1))
    tables = (CUSTOMERS, FLIGHTS, SEGMENTS, declared)
    with pytest.raises(MissingBoundsError) as refusal:
        compiled(f"SELECT {call.format(value)} AS s {read}", tables=tables)
    assert refusal.value.rule == "missing_range"
    assert named in refusal.value.cure
    assert compiled(f"SELECT {call.format(rewrite)} AS s {read}", tables=tables).measurements


def test_a_list_that_stands_for_one_value_is_told_the_filter_that_makes_it_a_list() -> None:
    context = CompileContext(reader="shop", settings=OFF)
    text = f"{COUNT} WHERE age = {{{{ ages }}}}"
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(render(Template(name="t", text=text), {"ages": (1, 2)}, context).sql)
    assert "IN {{ values | inclause }}" in refusal.value.cure
    cured = f"{COUNT} WHERE age IN {{{{ ages | inclause }}}}"
    assert compiled(render(Template(name="t", text=cured), {"ages": (1, 2)}, context).sql).measurements


def test_brackets_in_cube_are_named_only_where_there_is_a_cube() -> None:
    for sql, named in (
        ("SELECT FROM WHERE", False),
        ("SELECT city, COUNT(*) AS n FROM customers GROUP BY CUBE(city, age > 1)", True),
        ("SELECT city, COUNT(*) AS n FROM customers GROUP BY rollup(city, age > 1)", True),
    ):
        with pytest.raises(TemplateRefusedError) as refusal:
            compiled(sql)
        assert (refusal.value.rule, "CUBE(a, (b > 1))" in refusal.value.cure) == ("not_sql", named)
    assert compiled("SELECT city, COUNT(*) AS n FROM customers GROUP BY CUBE(city, (age > 1))").measurements


def test_a_sum_of_distinct_values_is_told_what_its_rewrite_leaves_out() -> None:
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled("SELECT SUM(DISTINCT age) AS s FROM customers")
    assert "without the rarer ones" in refusal.value.cure
    assert "no width" in refusal.value.cure


@pytest.mark.parametrize("dialect", ["duckdb", "postgres", "bigquery", "oracle"])
def test_identifier_in_another_dialect_is_told_how_a_table_is_named_there(dialect: str) -> None:
    table = Template(name="t", text="SELECT COUNT(*) AS n FROM {{ source_table[0] | sqlsafe }}", dialect=dialect)
    context = CompileContext(reader="shop", settings=OFF, source_tables=(CUSTOMERS,))
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled("SELECT COUNT(*) AS n FROM IDENTIFIER('airline.customers')", dialect=dialect)
    assert "{{ source_table[0] | sqlsafe }}" in refusal.value.cure
    assert compiled(render(table, {}, context).sql, dialect=dialect).measurements
    assert compiled("SELECT COUNT(*) AS n FROM airline.customers", dialect=dialect).measurements


def test_the_dialects_that_are_listed_are_those_that_the_parser_knows() -> None:
    """B-30: all but two that are no SQL; each counts."""
    text = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
    listed = re.findall(r"`(\w+)`", text.partition("in any letter case: ")[2].partition(". Another")[0])
    assert sorted([*listed, "dax", "prql"]) == sorted(d.value for d in Dialects if d.value)
    for name in listed:
        assert known_dialect(name.upper()) == name
        assert compiled("SELECT COUNT(*) AS n FROM airline.customers", dialect=name).measurements
    with pytest.raises(TemplateRefusedError) as refusal:
        known_dialect("klingon")
    assert "docs/sql.md" in refusal.value.cure


def test_texts_that_cannot_be_bound_are_refused_with_a_cure() -> None:
    for text, rule in (("a" * 65_537, "string_too_long"), ("\0", "string_not_text")):
        with pytest.raises(TemplateRefusedError) as refusal:
            string_literal(text, dialect="snowflake")
        assert refusal.value.rule == rule
        assert refusal.value.cure
    assert string_literal("a" * 65_536, dialect="snowflake")
    with pytest.raises(TemplateRefusedError) as refusal:
        literal(range(10_001), dialect="snowflake")
    assert refusal.value.rule == "list_too_long"


def test_no_cure_only_says_to_leave_something_out_or_nothing() -> None:
    """What was meant can nearly always be said otherwise; where a whole clause falls away, the cure says why."""
    weak = {"", "leave it out", "leave that clause out", "declare another", "use one"}
    assert [(rule, said) for rule, sentences in rules().items() for said in sentences.values() if said in weak] == []


NOT_REACHED = "string_not_bindable"


def test_every_rule_is_named_by_a_test() -> None:
    """Only `string_not_bindable` cannot be reached: it guards against literals that a dialect would read otherwise."""
    tests = "".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "tests").rglob("*.py")))
    unnamed = [rule for rule in rules() if not re.search(rf"[\"']{rule}[\"']", tests)]
    assert unnamed == []
