"""What the compiler refuses, by rule: every row is a template that would leak, or that has no private meaning."""

import re
from dataclasses import replace

import pytest

from cleanroom.errors import MissingBoundsError, TableNotLinkedError, TemplateRefusedError
from cleanroom.rooms.tables import Column, ColumnType, EntityColumn, LinkedTable, TablePolicy
from tests.unit.templates.compiling import EPSILON_ONE, OFF, TABLES, compiled

REFUSED = [
    # rows, or nothing private
    ("SELECT city FROM customers", "rows_released"),
    ("SELECT city, hashed_email, COUNT(*) AS n FROM customers GROUP BY 1, 2", "rows_released"),
    ("SELECT segment, COUNT(*) AS n FROM segments GROUP BY 1", "nothing_protected"),
    ("SELECT 1", "no_from"),
    # not one SELECT
    ("DELETE FROM customers", "not_one_select"),
    ("COPY customers TO 'x'", "not_one_select"),
    ("SELECT COUNT(*) AS n FROM customers; SELECT 1", "not_one_select"),
    ("VALUES (1)", "not_one_select"),
    ("SELECT COUNT( FROM customers", "not_sql"),
    ("", "not_one_select"),
    # sources
    ("SELECT COUNT(*) AS n FROM TABLE('x')", "unsupported_source"),
    ("SELECT COUNT(*) AS n FROM customers, LATERAL FLATTEN(input => city) f", "type_mismatch"),
    ("WITH v AS (DELETE FROM flights) SELECT COUNT(*) AS n FROM v", "unsupported_query"),
    ("SELECT COUNT(*) AS n FROM customers, TABLE(GENERATOR(ROWCOUNT => 3)) f", "unsupported_source"),
    ("SELECT COUNT(*) AS n FROM (VALUES (1)) v", "nothing_protected"),
    ("SELECT COUNT(*) AS n FROM customers SAMPLE (10)", "unsupported_clause"),
    ("SELECT COUNT(*) AS n FROM customers PIVOT(COUNT(age) FOR city IN ('x'))", "unsupported_clause"),
    ("SELECT COUNT(*) AS n FROM read_csv('/etc/passwd')", "unsupported_source"),
    ("SELECT COUNT(*) AS n FROM (SELECT age FROM customers EXCEPT SELECT age FROM customers) u", "union_of_entities"),
    ("SELECT COUNT(*) AS n FROM (SELECT age FROM customers UNION SELECT age FROM customers) u", "union_of_entities"),
    (
        "SELECT COUNT(*) AS n FROM (SELECT city FROM customers UNION ALL SELECT segment FROM segments) u",
        "union_of_worlds",
    ),
    (
        "SELECT COUNT(*) AS n FROM (SELECT city FROM customers UNION ALL SELECT tailnum FROM planes) u",
        "different_entities",
    ),
    ("SELECT COUNT(*) AS n FROM (SELECT city FROM customers UNION ALL SELECT miles FROM flights) u", "type_mismatch"),
    (
        "SELECT COUNT(*) AS n FROM (SELECT city, age FROM customers UNION ALL SELECT dest FROM flights) u",
        "union_columns",
    ),
    ("WITH RECURSIVE r AS (SELECT age FROM customers) SELECT COUNT(*) AS n FROM r", "unsupported_clause"),
    # expressions
    ("SELECT COUNT(*) AS n FROM customers WHERE age > (SELECT AVG(age) FROM customers)", "join_noisy_with_table"),
    ("SELECT COUNT(*) AS n FROM customers WHERE city IN (SELECT dest FROM flights)", "subquery_entity"),
    ("SELECT COUNT(*) AS n FROM customers WHERE hashed_email IN (SELECT dest FROM flights)", "subquery_entity"),
    ("SELECT COUNT(*) AS n FROM customers WHERE city IN (SELECT email FROM flights)", "subquery_entity"),
    ("SELECT COUNT(*) AS n FROM customers WHERE hashed_email IN (SELECT tailnum FROM planes)", "different_entities"),
    ("SELECT COUNT(*) AS n FROM customers WHERE EXISTS (SELECT 1 FROM flights)", "subquery_entity"),
    (
        "SELECT COUNT(*) AS n FROM customers c WHERE EXISTS (SELECT 1 FROM flights f WHERE f.dest = c.city)",
        "correlated_subquery",
    ),
    (
        (
            "SELECT COUNT(*) AS n FROM customers c WHERE EXISTS "
            "(SELECT 1 FROM flights f WHERE f.email = c.hashed_email OR f.miles > c.age)"
        ),
        "correlated_subquery",
    ),
    (
        # the inner alias hides the outer one: both sides of the equality are the inner row's
        (
            "SELECT COUNT(*) AS n FROM customers c WHERE EXISTS "
            "(SELECT 1 FROM flights c JOIN customers d ON c.email = d.hashed_email WHERE c.email = hashed_email)"
        ),
        "subquery_entity",
    ),
    ("SELECT COUNT(*) AS n FROM segments WHERE email IN (SELECT email FROM flights)", "subquery_entity"),
    ("SELECT COUNT(*) AS n FROM customers WHERE age > (SELECT weight FROM segments)", "subquery_expression"),
    ("SELECT COUNT(*) AS n FROM customers p SEMI JOIN flights f ON p.city = f.dest", "join_without_entity"),
    ("SELECT COUNT(*) AS n FROM segments s SEMI JOIN customers p ON p.hashed_email = s.email", "semi_join"),
    ("SELECT COUNT(*) OVER () AS n FROM customers", "window_over_entities"),
    ("SELECT COUNT(*) AS n FROM customers WHERE ROW_NUMBER() OVER (PARTITION BY city) = 1", "aggregate_not_allowed"),
    ("SELECT SUM(RANK() OVER (PARTITION BY hashed_email ORDER BY age)) AS n FROM customers", "window"),
    ("SELECT COUNT(*) AS n FROM customers WHERE city IN (('X', 'Y'))", "unsupported_clause"),
    ("SELECT COUNT(*) AS n FROM customers QUALIFY ROW_NUMBER() OVER (ORDER BY age) = 1", "not_grouped"),
    ("SELECT age FROM customers QUALIFY age > 3", "window"),
    ("SELECT COUNT(*) AS n FROM customers WHERE RANDOM() < 0.5", "not_deterministic"),
    ("SELECT COUNT(*) AS n FROM customers WHERE since < CURRENT_DATE", "not_deterministic"),
    ("SELECT COUNT(*) AS n FROM customers WHERE query('SELECT 1') = 1", "function_not_allowed"),
    ("SELECT COUNT(*) AS n FROM customers WHERE error('x' || city) IS NULL", "function_not_allowed"),
    ("SELECT COUNT(*) AS n FROM customers WHERE setseed(0.5) IS NULL", "function_not_allowed"),
    ("SELECT COUNT(*) AS n FROM customers WHERE cleanroom.other(city) = 'x'", "function_not_allowed"),
    ("SELECT COUNT(*) AS n FROM customers WHERE getenv('HOME') = 'x'", "function_not_allowed"),
    ("SELECT COUNT(*) AS n FROM customers WHERE REGEXP_LIKE(city, '(a')", "bad_pattern"),
    ("SELECT COUNT(*) AS n FROM customers WHERE REGEXP_LIKE(city, status)", "literal_needed"),
    ("SELECT COUNT(*) AS n FROM customers WHERE REGEXP_LIKE(city, 'a', 'm')", "function_form"),
    ("SELECT COUNT(*) AS n FROM customers WHERE REPLACE(city, 'a', 'aaaaaaaaa') = 'x'", "function_form"),
    ("SELECT COUNT(*) AS n FROM customers WHERE TO_CHAR(since, 'Q') = 'x'", "function_form"),
    ("SELECT COUNT(*) AS n FROM customers WHERE TO_DATE(city, 'YY-MM-DD') > since", "function_form"),
    ("SELECT COUNT(*) AS n FROM customers WHERE seen + 1 > since", "type_mismatch"),
    ("SELECT COUNT(*) AS n FROM customers WHERE since + INTERVAL '1 day, 2 hours' > since", "function_form"),
    ("SELECT COUNT(*) AS n FROM customers WHERE age + INTERVAL '1 day' > since", "type_mismatch"),
    ("SELECT COUNT(*) AS n FROM customers WHERE DATEADD('day', 1.5, since) > since", "type_mismatch"),
    ("SELECT COUNT(*) AS n FROM customers WHERE WIDTH_BUCKET(age, 10, 0, 3) = 1", "literal_needed"),
    ("SELECT COUNT(*) AS n FROM customers WHERE SYSTEM$WAIT(10) = 'x'", "function_not_allowed"),
    ("SELECT COUNT(*) AS n FROM customers WHERE city LIKE status", "literal_needed"),
    ("SELECT COUNT(*) AS n FROM customers WHERE age = $1", "unsupported_expression"),
    ("SELECT COUNT(*) AS n FROM customers WHERE age = ?", "unsupported_expression"),
    ("SELECT COUNT(*) AS n FROM customers WHERE age = 'x'", "type_mismatch"),
    ("SELECT COUNT(*) AS n FROM customers WHERE city", "type_mismatch"),
    ("SELECT COUNT(*) AS n FROM customers WHERE city::VARIANT IS NULL", "unsupported_type"),
    ("SELECT COUNT(other) AS n FROM customers", "unsupported_type"),
    ("SELECT COUNT(*) AS n FROM customers WHERE nosuch = 1", "unknown_column"),
    ("SELECT COUNT(*) AS n FROM customers WHERE x.age = 1", "unknown_column"),
    ("SELECT COUNT(*) AS n FROM flights f JOIN segments s ON f.email = s.email WHERE email = 'x'", "ambiguous_column"),
    # grouping and aggregates
    ("SELECT city, COUNT(*) AS n FROM customers", "not_grouped"),
    ("SELECT * FROM customers", "star"),
    ("WITH t AS (SELECT * FROM customers) SELECT * FROM t", "star"),
    ("SELECT COUNT(*) AS n FROM flights JOIN (segments s JOIN segments t USING (email)) ON TRUE", "unsupported_join"),
    ("SELECT MAX(city) AS n FROM customers", "type_mismatch"),
    ("SELECT MEDIAN(active) AS n FROM customers", "type_mismatch"),
    ("SELECT PERCENTILE_CONT(1.5) WITHIN GROUP (ORDER BY age) AS n FROM customers", "literal_needed"),
    ("SELECT PERCENTILE_CONT(spend) WITHIN GROUP (ORDER BY age) AS n FROM customers", "literal_needed"),
    ("SELECT PERCENTILE_CONT(0.5) AS n FROM customers", "unsupported_clause"),
    ("SELECT LISTAGG(city) WITHIN GROUP (ORDER BY age) AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT ANY_VALUE(city) AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT LISTAGG(city) AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT ARRAY_AGG(city) AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT MODE(city) AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT COUNT(*) FILTER (WHERE age) AS n FROM customers", "type_mismatch"),
    ("SELECT COUNT(*) FILTER (WHERE COUNT(*) > 1) AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT MODE(city) AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT ANY_VALUE(city) AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT LISTAGG(city, ',') AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT ARRAY_AGG(city) AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT BOOLOR_AGG(active) AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT KURTOSIS(age) AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT MAX_BY(city, age) AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT STDDEV(city) AS n FROM customers", "type_mismatch"),
    ("SELECT SUM(DISTINCT age) AS n FROM customers", "distinct_values"),
    ("SELECT SUM(*) AS n FROM customers", "function_form"),
    ("SELECT SUM(COUNT(*)) AS n FROM customers", "aggregate_not_allowed"),
    ("SELECT SUM(city) AS n FROM customers", "type_mismatch"),
    ("SELECT COUNT(*) AS n FROM customers WHERE COUNT(*) > 1", "aggregate_not_allowed"),
    ("SELECT DISTINCT city, COUNT(*) AS n FROM customers GROUP BY 1", "unsupported_clause"),
    ("SELECT DISTINCT hashed_email FROM customers", "rows_released"),
    ("SELECT COUNT(*) AS n FROM (SELECT age FROM customers ORDER BY age LIMIT 1) q", "limit_on_protected"),
    ("SELECT COUNT(*) AS n, COUNT(*) AS N FROM customers", "duplicate_column"),
    ("SELECT COUNT(*) AS n FROM customers GROUP BY 7", "bad_ordinal"),
    ("SELECT COUNT(*) AS n FROM customers LIMIT -1", "literal_needed"),
    # joins
    ("SELECT COUNT(*) AS n FROM customers p JOIN flights f ON p.city = f.dest", "join_without_entity"),
    ("SELECT COUNT(*) AS n FROM customers p, flights f", "join_without_entity"),
    (
        "SELECT COUNT(*) AS n FROM customers p JOIN flights f ON p.hashed_email = f.email OR p.age > 3",
        "join_without_entity",
    ),
    ("SELECT COUNT(*) AS n FROM customers p JOIN flights f ON NOT p.hashed_email = f.email", "join_without_entity"),
    ("SELECT COUNT(*) AS n FROM customers p JOIN flights f ON LOWER(p.hashed_email) = f.email", "join_without_entity"),
    (
        "SELECT COUNT(*) AS n FROM customers p LEFT JOIN flights f ON 1 = 1 WHERE hashed_email = email",
        "join_without_entity",
    ),
    (
        (
            "SELECT COUNT(*) AS n FROM (SELECT city AS hashed_email FROM customers) p "
            "JOIN flights f ON p.hashed_email = f.email"
        ),
        "join_without_entity",
    ),
    ("SELECT COUNT(*) AS n FROM customers p JOIN planes f ON p.hashed_email = f.tailnum", "different_entities"),
    ("SELECT COUNT(*) AS n FROM customers p JOIN guests g ON p.city = g.email", "join_without_entity"),
    ("SELECT COUNT(*) AS n FROM segments s LEFT JOIN customers p ON p.hashed_email = s.email", "outer_join"),
    ("SELECT COUNT(*) AS n FROM customers p RIGHT JOIN segments s ON p.hashed_email = s.email", "outer_join"),
    ("SELECT COUNT(*) AS n FROM customers p FULL JOIN segments s ON p.hashed_email = s.email", "outer_join"),
    ("SELECT COUNT(*) AS n FROM customers p NATURAL JOIN segments s", "unsupported_clause"),
    ("SELECT COUNT(*) AS n FROM customers p JOIN segments p ON TRUE", "ambiguous_table"),
    (
        "SELECT q.n FROM (SELECT city, COUNT(*) AS n FROM customers GROUP BY 1) q JOIN segments s ON segment = city",
        "join_noisy_with_table",
    ),
    # protected tables
    ("SELECT COUNT(*) AS n FROM airports", "no_entity_column"),
    ("SELECT COUNT(*) AS n FROM pairs p JOIN pairs p1 ON p.a = p1.a", "joined_entities"),
    # addnoise
    ("SELECT cleanroom.addnoise(age, 1, 0.5) AS n FROM customers", "addnoise_without_aggregate"),
    ("SELECT cleanroom.addnoise(3, 1, 0.5) AS n FROM customers", "addnoise_without_aggregate"),
    ("SELECT cleanroom.addnoise(SUM(age) + city, 1, 0.5) AS n FROM customers", "not_grouped"),
    ("SELECT cleanroom.addnoise(COUNT(*), 0, 0.5) AS n FROM customers", "addnoise_arguments"),
    ("SELECT cleanroom.addnoise(COUNT(*), -1, 0.5) AS n FROM customers", "addnoise_arguments"),
    ("SELECT cleanroom.addnoise(COUNT(*), COUNT(*), 0.5) AS n FROM customers", "addnoise_arguments"),
    ("SELECT cleanroom.addnoise(COUNT(*), 1, 1.5) AS n FROM customers", "addnoise_arguments"),
    ("SELECT cleanroom.addnoise(COUNT(*), 1, COUNT(*)) AS n FROM customers", "addnoise_arguments"),
    ("SELECT cleanroom.addnoise(COUNT(*), 1, UNIFORM(0, 2, RANDOM())) AS n FROM customers", "addnoise_arguments"),
    ("SELECT cleanroom.addnoise(COUNT(*), 1) AS n FROM customers", "addnoise_arguments"),
    ("SELECT cleanroom.addnoise(COUNT(*), 1, 0.5, 3) AS n FROM customers", "addnoise_arguments"),
    ("SELECT cleanroom.addnoise(COUNT(*), 1, 0.5, TRUE, 0.01) AS n FROM customers", "addnoise_arguments"),
    ("SELECT cleanroom.addnoise(COUNT(*), 1, 0.5, TRUE, 1e-6, 1) AS n FROM customers", "addnoise_arguments"),
    (
        "SELECT addnoise(val => COUNT(*), epsilon => 1, epsilon => 9, noiserand => 0) AS n FROM customers",
        "addnoise_arguments",
    ),
    ("SELECT COUNT(*) AS n FROM customers WHERE cleanroom.addnoise(COUNT(*), 1, 0.5) > 1", "aggregate_not_allowed"),
]


@pytest.mark.parametrize(("sql", "rule"), REFUSED)
def test_a_query_without_a_private_meaning_is_refused_by_rule(sql: str, rule: str) -> None:
    """B-37, B-38, B-41, B-46: refused before anything is read, with rule and cure."""
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(sql)
    assert refusal.value.rule == rule
    assert refusal.value.cure


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("SELECT COUNT(*) AS n FROM bare", "missing_max_rows"),
        ("SELECT g, COUNT(DISTINCT email) AS n FROM bare GROUP BY g", "missing_max_groups"),
        ("SELECT SUM(x) AS n FROM bare", "missing_range"),
        ("SELECT AVG(age * spend / NULLIF(age, 3)) AS n FROM customers", "missing_range"),
        ("SELECT SUM(c) AS n FROM (SELECT hashed_email, COUNT(*) AS c FROM customers GROUP BY 1) q", "missing_range"),
    ],
)
def test_a_missing_bound_is_named_with_the_call_that_sets_it(sql: str, rule: str) -> None:
    with pytest.raises(MissingBoundsError) as refusal:
        compiled(sql)
    assert refusal.value.rule == rule
    assert "link_datasets" in refusal.value.cure


@pytest.mark.parametrize(
    "name",
    ["nosuch", "hotel.customers", "IDENTIFIER('/etc/passwd')", '"s3://x/y.parquet"', "information_schema.tables"],
)
def test_only_linked_tables_can_be_named(name: str) -> None:
    """B-37: and the refusal does not repeat the name."""
    with pytest.raises(TableNotLinkedError) as refusal:
        compiled(f"SELECT COUNT(*) AS n FROM {name}")
    assert name.strip('"') not in str(refusal.value)


@pytest.mark.parametrize(
    ("sql", "cure"),
    [
        ("SELECT COUNT(*) AS n FROM customers c WHERE c.agee > 3", "write age, if that was meant"),
        ("SELECT COUNT(*) AS n FROM customers WHERE zzzz > 3", "see the linked tables' columns"),
        ("SELECT COUNT(*) AS n FROM customers WHERE city IN (('X', 'Y'))", "write IN {{ x | inclause }}"),
        ("SELECT DISTINCT city, COUNT(*) AS n FROM customers GROUP BY 1", "leave DISTINCT out"),
        ("SELECT COUNT(*) OVER () AS n FROM customers", "add PARTITION BY"),
        ("SELECT COUNT(*) AS n FROM customers WHERE SOUNDEX(city) = 'x'", "docs/sql.md"),
        ("SELECT COUNT(*) AS n FROM bare", "max_rows, for one email of airline.bare"),
        ("SELECT g, COUNT(*) AS n FROM bare GROUP BY g", "max_groups, for one email of airline.bare"),
        ("SELECT SUM(x) AS n FROM bare", "LEAST(GREATEST(x, low), high)"),
        ("SELECT AVG(x) AS n FROM bare", "bounds for x with"),
    ],
)
def test_a_cure_says_what_to_write(sql: str, cure: str) -> None:
    """B-37: in the names of the query and the schema at hand."""
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(sql)
    assert cure in refusal.value.cure


def test_a_table_that_is_not_named_in_the_call_says_where_to_name_it() -> None:
    """B-37"""
    with pytest.raises(TableNotLinkedError) as refusal:
        compiled("SELECT COUNT(*) AS n\nFROM nosuch")
    assert "provider_tables" in str(refusal.value.details["cure"])
    assert refusal.value.details["line"] == 2


def test_the_error_for_a_table_without_entity_names_table_and_cure() -> None:
    """B-06."""
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled("SELECT COUNT(*) AS n\n  FROM airports")
    assert "airline.airports" in str(refusal.value)
    assert "link_datasets" in refusal.value.cure
    assert refusal.value.line == 2


def identified_by(kind: ColumnType, native_type: str) -> LinkedTable:
    return LinkedTable(
        owner="airline",
        name="seen",
        columns=(
            Column(name="moment", type=kind, native_type=native_type),
            Column(name="email", type=ColumnType.TEXT, native_type="VARCHAR"),
        ),
        entity_columns=(EntityColumn(column="MOMENT", kind="customer_id"),),
        policy=TablePolicy(max_rows=1, max_groups=1, min_entities=5),
    )


@pytest.mark.parametrize(
    ("kind", "native_type"),
    [
        (ColumnType.TIMESTAMP, "TIMESTAMP"),
        (ColumnType.TIMESTAMP, "TIMESTAMP_NS"),
        (ColumnType.TIMESTAMP, "TIMESTAMP WITH TIME ZONE"),
        (ColumnType.DOUBLE, "DOUBLE"),
        (ColumnType.DOUBLE, "FLOAT"),
        (ColumnType.INTEGER, "HUGEINT"),
        (ColumnType.OTHER, "BLOB"),
    ],
)
def test_an_entity_column_in_which_two_entities_could_become_one_is_refused(kind: ColumnType, native_type: str) -> None:
    """B-02: with DP on, and with DP off where groups are counted in entities; the reader's own table is public."""
    table = identified_by(kind, native_type)
    for given in (EPSILON_ONE, OFF):
        with pytest.raises(TemplateRefusedError) as refusal:
            compiled("SELECT COUNT(*) AS n FROM seen", given=given, tables=(table,))
        assert refusal.value.rule == "entity_type"
        assert "moment of airline.seen" in str(refusal.value)
        assert "link_datasets" in refusal.value.cure
    own = replace(table, owner="shop")
    assert compiled("SELECT COUNT(email) AS n FROM seen", given=OFF, tables=(own,)).tables


@pytest.mark.parametrize(
    ("kind", "native_type"),
    [
        (ColumnType.TEXT, "VARCHAR"),
        (ColumnType.INTEGER, "UINTEGER"),
        (ColumnType.INTEGER, "BIGINT"),
        (ColumnType.DECIMAL, "DECIMAL(38,0)"),
        (ColumnType.DATE, "DATE"),
        (ColumnType.BOOLEAN, "BOOLEAN"),
    ],
)
def test_an_entity_column_whose_values_stay_apart_is_used_as_it_is_stored(kind: ColumnType, native_type: str) -> None:
    """B-02: nothing is converted on the way to the entity that is grouped by."""
    table = identified_by(kind, native_type)
    (measurement,) = compiled("SELECT COUNT(DISTINCT moment) AS n FROM seen", tables=(table,)).measurements
    assert re.search(r'"r\d+"\."moment" AS "e"', measurement.exact_sql), measurement.exact_sql


def test_no_refusal_repeats_a_literal() -> None:
    for sql in (
        "SELECT COUNT(*) AS n FROM customers WHERE secretly('s3cr3t') = 's3cr3t'",
        "SELECT COUNT(*) AS n FROM customers WHERE city LIKE status || 's3cr3t'",
        "SELECT COUNT(*) AS n FROM customers WHERE ((city = 's3cr3t'",
        "SELECT MODE(CASE WHEN city = 's3cr3t' THEN 1 END) AS n FROM customers",
    ):
        with pytest.raises(TemplateRefusedError) as refusal:
            compiled(sql)
        assert "s3cr3t" not in str(refusal.value) + str(refusal.value.details)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) AS n FROM customers WHERE " + "(" * 3000 + "age = 1" + ")" * 3000,
        "SELECT COUNT(*) AS n FROM customers WHERE " + " OR ".join(["age = 1"] * 5000),
        "SELECT COUNT(*) AS n FROM customers WHERE age = " + "1" * 200_000,
        "SELECT COUNT(*) AS n FROM customers WHERE " + "NOT " * 900 + "active",
        "SELECT SUM(" + "LEAST(" * 40 + "age" + ", 1)" * 40 + ") AS n FROM customers",
        "WITH a0 AS (SELECT segment AS s FROM segments), "
        + ", ".join(f"a{i} AS (SELECT x.s FROM a{i - 1} x JOIN a{i - 1} y ON x.s = y.s)" for i in range(1, 30))
        + " SELECT COUNT(*) AS n FROM customers JOIN a29 ON city = a29.s",
    ],
)
def test_queries_that_would_exhaust_the_compiler_are_refused(sql: str) -> None:
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(sql)
    assert refusal.value.rule in ("too_large", "not_sql")


@pytest.mark.parametrize("number", ["9" * 5000, "0." + "0" * 5000 + "1", "1e-9999999", "0e-9999999", "1e+9999999"])
@pytest.mark.parametrize(
    "query",
    [
        "SELECT COUNT(*) AS n FROM customers WHERE age < {}",
        "SELECT COUNT(*) AS n FROM customers WHERE age = 1 GROUP BY age < 3, {}",
        "SELECT cleanroom.addnoise(COUNT(*), {}, 0.5) AS n FROM customers",
        "SELECT PERCENTILE_CONT({}) WITHIN GROUP (ORDER BY age) AS n FROM customers",
        "SELECT COUNT(*) AS n FROM customers LIMIT {}",
    ],
)
def test_numbers_that_would_take_long_to_read_are_refused_as_they_stand(query: str, number: str) -> None:
    """Before, 1e-9999999 was worked out for half a minute, and 5,000 digits were a failure that was no refusal."""
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(query.format(number))
    assert refusal.value.rule in ("bad_literal", "not_sql")


def test_what_the_parser_reads_and_its_generator_cannot_write_is_refused() -> None:
    """Before, an AssertionError of the generator came through: a PIVOT statement where a query is expected."""
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled("SELECT n FROM (PIVOT customers ON city) x")
    assert refusal.value.rule == "not_sql"


def doubled(levels: int, rows: str) -> str:
    """A query whose condition has 2 ** levels parts, once each CTE is put in where the next one uses it."""
    steps = ", ".join(f"a{i} AS (SELECT hashed_email, x + x AS x FROM a{i - 1})" for i in range(1, levels + 1))
    return f"WITH a0 AS ({rows}), {steps} SELECT COUNT(*) AS n FROM a{levels} WHERE x > 1"


@pytest.mark.parametrize(
    "rows",
    [
        "SELECT hashed_email, age AS x FROM customers",
        "SELECT hashed_email, weight AS x FROM customers JOIN segments ON hashed_email = email",
        "SELECT hashed_email, COUNT(*) AS x FROM customers GROUP BY 1",
    ],
)
def test_expressions_that_double_from_cte_to_cte_are_refused_by_their_size(rows: str) -> None:
    """The text is short, but the engine would write the condition out; few levels are no harm."""
    assert compiled(doubled(5, rows)).measurements
    for levels in (15, 40):  # 2 ** 15 parts are more than MOST_PARTS = 20,000
        with pytest.raises(TemplateRefusedError) as refusal:
            compiled(doubled(levels, rows))
        assert refusal.value.rule == "too_large"


def test_with_dp_off_the_same_tables_and_functions_are_refused() -> None:
    """B-37, B-38."""
    for sql, rule in (
        ("SELECT error(city) AS x FROM customers", "function_not_allowed"),
        ("SELECT * FROM customers", "star"),
        ("SELECT city FROM read_csv('x')", "unsupported_source"),
    ):
        with pytest.raises(TemplateRefusedError) as refusal:
            compiled(sql, given=OFF)
        assert refusal.value.rule == rule
    with pytest.raises(TableNotLinkedError):
        compiled("SELECT city FROM nosuch", given=OFF, tables=TABLES[:1])
