"""Arrays: columns that hold them, arrays written out, FLATTEN and UNNEST in FROM, and what may be asked of one."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cleanroom.errors import TemplateRefusedError
from cleanroom.rooms.tables import Column, ColumnType, Domain, EntityColumn, LinkedTable, TablePolicy
from tests.unit.templates.compiling import OFF, TABLES, Engine, bounds, compiled, ran

T = ColumnType


def visits(**policy: Any) -> LinkedTable:
    natives = {"who": "VARCHAR", "tags": "VARCHAR[]", "scores": "INTEGER[]", "prices": "DECIMAL(10,2)[]"}
    natives |= {"days": "DATE[]", "codes": "VARCHAR"}
    return LinkedTable(
        owner="airline",
        name="visits",
        columns=tuple(
            Column(name=n, type=T.ARRAY if t.endswith("]") else T.TEXT, native_type=t) for n, t in natives.items()
        ),
        entity_columns=(EntityColumn(column="who", kind="email"),),
        policy=TablePolicy(max_rows=3, max_groups=2, bounds={"scores": bounds(0, 10)}, **policy),
    )


WIDE = LinkedTable(
    owner="shop",
    name="wide",
    columns=(
        Column(name="k", type=T.TEXT, native_type="VARCHAR"),
        Column(name="labels", type=T.ARRAY, native_type="VARCHAR[]"),
    ),
)
LISTED = (*TABLES, visits(), WIDE)
ROWS: dict[str, list[tuple[object, ...]]] = {
    "visits": [
        ("e1", "['a', NULL, 'b']", "[1, 2, 50]", "[1.25]", "['2024-01-01']", "x-y"),
        ("e2", None, "[]", None, None, "y"),
        ("e3", "['q', 'b']", "[3]", "[2, 3]", None, "z-x-x"),
        ("e4", "[]", None, None, None, None),
    ],
    "wide": [("e1", "['L1', 'L2']"), ("e3", "['L2', 'L3']"), ("zz", "['L9']")],
}


def answers(sql: str, **how: Any) -> list[tuple[Any, ...]]:
    plan = compiled(sql, **{"tables": LISTED, **how})
    engine = Engine(**ROWS)
    engine.load(plan)
    return [row[: len(plan.release.columns)] for row in engine.release(plan)]


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        (", LATERAL FLATTEN(input => v.tags) f", {("a", 1), ("b", 2), ("q", 1), (None, 1)}),
        (", LATERAL FLATTEN(input => v.tags, outer => TRUE) f", {("a", 1), ("b", 2), ("q", 1), (None, 3)}),
        (", TABLE(FLATTEN(v.tags)) f", {("a", 1), ("b", 2), ("q", 1), (None, 1)}),
        (" LEFT JOIN LATERAL FLATTEN(input => tags) f ON TRUE", {("a", 1), ("b", 2), ("q", 1), (None, 3)}),
        (" CROSS JOIN UNNEST(v.tags) AS f(value)", {("a", 1), ("b", 2), ("q", 1), (None, 1)}),
        (", LATERAL FLATTEN(input => SPLIT(v.codes, '-')) f", {("x", 3), ("y", 2), ("z", 1)}),
        (", LATERAL SPLIT_TO_TABLE(v.codes, '-') f", {("x", 3), ("y", 2), ("z", 1)}),
        (", LATERAL FLATTEN(input => [v.who, v.codes]) f WHERE f.index = 1 AND f.value <> 'y'",
         {("x-y", 1), ("z-x-x", 1)}),
        (" JOIN wide w ON w.k = v.who, LATERAL FLATTEN(input => w.labels) f",
         {("L1", 1), ("L2", 2), ("L3", 1), ("L9", 0)}),
        (", LATERAL FLATTEN(input => ARRAY_CONSTRUCT('p', 'r')) f", {("p", 4), ("r", 4)}),
        (" CROSS JOIN UNNEST(['p', 'r', 'p']) AS f(value)", {("p", 8), ("r", 4)}),
    ],
)  # fmt: skip
def test_a_row_becomes_a_row_for_each_element(source: str, rows: set[tuple[object, ...]]) -> None:
    sql = f"SELECT f.value, COUNT(*) AS n FROM visits v{source} GROUP BY f.value"
    assert set(answers(sql)) == rows
    assert set(answers(sql, given=OFF)) == {r for r in rows if r[1]}


@pytest.mark.parametrize(
    ("sql", "dialect"),
    [
        ("SELECT COUNT(*) AS n FROM visits t, t.tags a", "bigquery"),
        ("SELECT COUNT(*) AS n FROM visits t INNER JOIN UNNEST(t.tags) a ON TRUE", "bigquery"),
        ("SELECT COUNT(*) AS n FROM visits t, UNNEST(t.tags) a WITH OFFSET o WHERE o < 9", "bigquery"),
        ("SELECT COUNT(x) + COUNT_IF(x IS NULL) AS n FROM visits LATERAL VIEW EXPLODE(tags) y AS x", "spark"),
        ("SELECT COUNT(*) AS n FROM visits t, UNNEST(t.tags) AS u(x)", "duckdb"),
    ],
)
def test_other_dialects_have_their_own_words_for_it(sql: str, dialect: str) -> None:
    assert answers(sql, dialect=dialect) == [(5,)]


def test_views_of_arrays_multiply_rows() -> None:
    sql = (
        "SELECT x, y, COUNT(*) AS n FROM visits LATERAL VIEW EXPLODE(ARRAY(30, 60)) a AS x "
        "LATERAL VIEW OUTER EXPLODE(tags) b AS y WHERE who = 'e3' GROUP BY x, y"
    )
    assert set(answers(sql, dialect="spark")) == {(30, "q", 1), (30, "b", 1), (60, "q", 1), (60, "b", 1)}


def test_elements_of_an_array_written_out_are_public_keys() -> None:
    """The empty group appears too, and no threshold is asked for."""
    sql = "SELECT x, COUNT_IF(ARRAY_CONTAINS(x, scores)) AS n FROM visits, UNNEST([1, 3, 7]) AS x GROUP BY x"
    assert set(answers(sql)) == {(1, 1), (3, 1), (7, 0)}
    assert compiled(sql, tables=LISTED).measurements[0].partition_selection is None


def test_a_domain_and_a_range_of_an_array_column_are_about_its_elements() -> None:
    tables = (*TABLES, visits(domains={"tags": Domain(values=("a", "b", "none"))}), WIDE)
    sql = "SELECT f.value, COUNT(*) AS n FROM visits v, LATERAL FLATTEN(input => v.tags) f GROUP BY f.value"
    assert set(answers(sql, tables=tables)) == {("a", 1), ("b", 2), ("none", 0), (None, 1)}
    first = "SELECT tags[0] AS t, COUNT(*) AS n FROM visits GROUP BY 1"
    assert set(answers(first, tables=tables)) == {("a", 1), ("b", 0), ("none", 0), (None, 2)}
    summed = "SELECT SUM(f.value) AS s FROM visits v, LATERAL FLATTEN(input => v.scores) f"
    assert answers(summed) == [(1 + 2 + 10 + 3,)]


def test_the_rows_of_one_row_are_bounded_with_it() -> None:
    """An entity with one row of 100 elements weighs no more than max_rows in one group."""
    heavy = {"visits": [("e1", str(["a"] * 100), None, None, None, None)]}
    plan = compiled("SELECT COUNT(*) AS n FROM visits v, LATERAL FLATTEN(input => v.tags) f", tables=LISTED)
    engine = Engine(**heavy)
    engine.load(plan)
    (column,) = plan.measurements[0].columns
    (row,) = engine.exact(plan.measurements[0])
    assert (row[column.name], column.sensitivity) == (2 * 3, 2 * 3)


def test_an_array_is_its_first_thousand_elements() -> None:
    """What one row can become has a limit that no owner of a table can move."""
    long = {"wide": [("e1", str(["x"] * 5000))], "visits": [("e1", None, str([1] * 5000), None, None, "x-" * 3000)]}
    sql = "SELECT w.k, COUNT(*) AS n FROM {} GROUP BY w.k"
    for source in (
        "wide w, LATERAL FLATTEN(input => w.labels) f",
        "(SELECT who AS k, scores FROM visits) w, LATERAL FLATTEN(input => w.scores) f",
        "(SELECT who AS k, codes FROM visits) w, LATERAL SPLIT_TO_TABLE(w.codes, '-') f",
    ):
        assert ran(sql.format(source), long, tables=LISTED, given=OFF)[0][:2] == ("e1", 1000), source


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("SUM(ARRAY_SIZE(tags))", 5),
        ("COUNT_IF(ARRAY_CONTAINS('b'::VARIANT, tags))", 2),
        ("COUNT_IF(NOT ARRAY_CONTAINS('a', tags))", 2),
        ("COUNT_IF(ARRAY_CONTAINS(2.0, scores))", 1),
        ("COUNT_IF(scores[0] = 1)", 1),
        ("COUNT_IF(GET(scores, 1) = 2)", 1),
        ("COUNT_IF(tags[-1] IS NULL AND tags[99] IS NULL)", 4),
        ("COUNT_IF(ARRAY_POSITION('b', tags) = 1)", 1),
        ("COUNT_IF(ARRAYS_OVERLAP(tags, ['q', 'z']))", 1),
        ("COUNT_IF(ARRAYS_OVERLAP(tags, ['z', NULL]))", 1),
        ("COUNT_IF(ARRAY_TO_STRING(tags, '-') = 'a--b')", 1),
        ("COUNT_IF(ARRAY_TO_STRING(scores, ',') = '1,2,50')", 1),
        ("COUNT_IF(ARRAY_MAX(prices) = 3 AND ARRAY_MIN(prices) = 2)", 1),
        ("COUNT_IF(days[0] = '2024-01-01'::DATE)", 1),
        ("COUNT_IF(SPLIT(codes, '-')[1] = 'x')", 1),
        ("COUNT_IF(tags IS NULL)", 1),
    ],
)
def test_what_may_be_asked_of_an_array(expression: str, value: int) -> None:
    assert answers(f"SELECT {expression} AS v FROM visits") == [(value,)]


def test_arrays_pass_through_ctes_and_subqueries() -> None:
    sql = (
        "WITH q AS (SELECT * FROM visits WHERE codes <> 'y'), r AS (SELECT who, tags AS t FROM q) "
        "SELECT f.value, COUNT(DISTINCT r.who) AS n FROM r, LATERAL FLATTEN(input => r.t) f "
        "WHERE f.value IS NOT NULL GROUP BY f.value"
    )
    assert set(answers(sql)) == {("a", 1), ("b", 2), ("q", 1)}


def test_released_texts_are_split_above_the_noise() -> None:
    """Each element has an interval of its own."""
    sql = (
        "SELECT f.value, n * 2 AS d FROM (SELECT codes, COUNT(*) AS n FROM visits GROUP BY 1) q, "
        "LATERAL FLATTEN(input => SPLIT(q.codes, '-')) f"
    )
    assert sorted(answers(sql)) == [("x", 2), ("x", 2), ("x", 2), ("y", 2), ("y", 2), ("z", 2)]
    plan = compiled(sql, tables=LISTED)
    engine = Engine(**ROWS)
    engine.load(plan)
    rows = engine.release(plan, sql=plan.release.interval_sql, replicates=2)
    assert len(rows) == 2 * 6
    assert len({row[3:] for row in rows}) == 6


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("SELECT tags, COUNT(*) AS n FROM visits GROUP BY 1", "array_value"),
        ("SELECT COUNT(DISTINCT tags) AS n FROM visits", "array_value"),
        ("SELECT MIN(tags) AS n FROM visits", "array_value"),
        ("SELECT COUNT(*) AS n FROM visits WHERE tags = ['a']", "array_value"),
        ("SELECT COUNT(*) AS n FROM visits WHERE tags IN (['a'])", "array_value"),
        ("SELECT COUNT(*) AS n FROM visits WHERE tags IS TRUE", "type_mismatch"),
        ("SELECT COUNT(*) AS n FROM visits WHERE 'a' IN (SELECT tags FROM visits)", "array_value"),
        ("SELECT COUNT(*) AS n FROM (SELECT DISTINCT who, tags FROM visits) q", "array_value"),
        ("SELECT COUNT(*) AS n FROM (SELECT tags FROM visits UNION ALL SELECT tags FROM visits) q", "array_value"),
        ("SELECT COUNT(*) AS n FROM visits v JOIN visits w ON v.who = w.who AND v.tags = w.tags", "array_value"),
        ("SELECT COUNT(*) AS n FROM (SELECT LAG(tags) OVER (PARTITION BY who ORDER BY codes) t FROM visits) q",
         "array_value"),
        ("SELECT COALESCE(tags, tags)[0] AS t, COUNT(*) AS n FROM visits GROUP BY 1", "array_value"),
        ("SELECT COUNT(*) AS n FROM visits WHERE ARRAY_CONTAINS(1, tags)", "type_mismatch"),
        ("SELECT COUNT(*) AS n FROM visits WHERE ARRAY_CONTAINS(scores, tags)", "array_value"),
        ("SELECT COUNT(*) AS n FROM visits WHERE ARRAYS_OVERLAP(scores, tags)", "type_mismatch"),
        ("SELECT COUNT(*) AS n FROM visits WHERE ARRAY_SIZE(who) = 1", "type_mismatch"),
        ("SELECT COUNT(*) AS n FROM visits WHERE tags['a'] = 'b'", "type_mismatch"),
        ("SELECT COUNT(*) AS n FROM visits, UNNEST(['a', 1]) AS x", "type_mismatch"),
        ("SELECT COUNT(*) AS n FROM visits, UNNEST([]) AS x", "function_form"),
        ("SELECT x, COUNT(*) AS n FROM visits, UNNEST([[1]]) AS x GROUP BY x", "array_value"),
        ("SELECT COUNT(*) AS n FROM visits, LATERAL FLATTEN(input => who) f", "type_mismatch"),
        ("SELECT COUNT(*) AS n FROM visits, LATERAL FLATTEN(input => tags, recursive => TRUE) f",
         "unsupported_source"),
        ("SELECT COUNT(*) AS n FROM visits RIGHT JOIN LATERAL FLATTEN(input => tags) f ON TRUE", "unsupported_join"),
        ("SELECT COUNT(*) AS n FROM visits v JOIN UNNEST(v.tags) AS u(x) ON u.x = 'a'", "unsupported_join"),
        ("SELECT COUNT(*) AS n FROM visits v, LATERAL FLATTEN(input => v.tags) v", "ambiguous_table"),
        ("SELECT COUNT(*) AS n FROM LATERAL FLATTEN(input => v.tags) f, visits v", "unknown_column"),
        ("SELECT f.value AS v FROM visits v, LATERAL FLATTEN(input => v.tags) f", "rows_released"),
        ("SELECT COUNT(*) AS n FROM visits v, TABLE(GENERATOR(ROWCOUNT => 5)) f", "unsupported_source"),
        ("SELECT ARRAY_AGG(who) AS n FROM visits", "aggregate_not_allowed"),
        ("SELECT COUNT(*) AS n FROM visits WHERE ARRAY_SIZE(ARRAY_CAT(tags, tags)) > 3", "function_not_allowed"),
    ],
)  # fmt: skip
def test_what_an_array_is_not(sql: str, rule: str) -> None:
    """An array is no key, is not compared, and does not leave; each refusal has its place and a cure."""
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(sql, tables=LISTED)
    assert (refusal.value.rule, refusal.value.line) == (rule, 1)
    assert refusal.value.cure


def test_without_privacy_elements_leave_and_arrays_do_not() -> None:
    rows = answers("SELECT who, f.value FROM visits, LATERAL FLATTEN(input => days) f", given=OFF)
    assert rows == [("e1", date(2024, 1, 1))]
    assert answers("SELECT prices[0] AS p FROM visits WHERE who = 'e1'", given=OFF) == [(float(Decimal("1.25")),)]
    with pytest.raises(TemplateRefusedError):
        compiled("SELECT who, tags FROM visits", tables=LISTED, given=OFF)


def test_columns_that_flatten_does_not_have_here_are_told_with_those_that_it_has() -> None:
    """SEQ, KEY, PATH and THIS: the cure was to look at the linked tables."""
    for name in ("seq", "path"):
        with pytest.raises(TemplateRefusedError) as refusal:
            compiled(f"SELECT f.{name}, COUNT(*) AS n FROM visits, LATERAL FLATTEN(input => days) f", tables=LISTED)
        assert refusal.value.rule == "unknown_column"
        assert refusal.value.cure == "write f.value or f.index: f has no other columns"


def test_no_entity_is_an_array() -> None:
    table = LinkedTable(
        owner="airline",
        name="lists",
        columns=(Column(name="ids", type=T.ARRAY, native_type="VARCHAR[]"),),
        entity_columns=(EntityColumn(column="ids", kind="email"),),
    )
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled("SELECT COUNT(*) AS n FROM lists", tables=(table,))
    assert refusal.value.rule == "entity_type"
