"""The linter names what will be refused, or leaves without noise, with line and cure (B-39)."""

import inspect
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from cleanroom.errors import TemplateRefusedError
from cleanroom.templates import lint_jinja, lint_sql
from cleanroom.templates.aggregates import NO_PRIVATE_FORM
from cleanroom.templates.lint import lint
from cleanroom.templates.lint_findings import LINT_RULES
from tests.breadth.suites import SUITES
from tests.unit.templates.compiling import EPSILON_ONE, OFF, compiled
from tests.unit.templates.functions_tried import OTHERS, examples

NOISE = "UNIFORM(0::FLOAT, 1::FLOAT, RANDOM())"
FROM = "FROM IDENTIFIER({{ source_table[0] }}) p"
LOOP = "{% for d in ds %}{{ d | sqlsafe }}{% endfor %}"
BRANCHES = "{% if w %}WHERE foo(p.a){% else %}\nWHERE bar(p.a){% endif %}"


def found(text: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.rule) for finding in lint(text)]


def test_the_noisy_count_template_is_clean():
    """B-39, B-47"""
    call = f"cleanroom.addNoise(count(distinct p.hashed_email), {{{{ privacy.epsilon | sqlsafe }}}}, {NOISE})"
    assert found(f"SELECT {call} AS noisy_count {FROM}") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"SELECT p.a,\n COUNT(*) {FROM} GROUP BY p.a", (2, "unnoised_number")),
        (f"SELECT cleanroom.addnoise(COUNT(*), 0.1,\n 0.5) {FROM}", (1, "constant_noiserand")),
        (f"SELECT cleanroom.addnoise(COUNT(*), 0.1) {FROM}", (1, "addnoise_arguments")),
        (f"SELECT cleanroom.addnoise(COUNT(*), -1, {NOISE}) {FROM}", (1, "addnoise_arguments")),
        (f"SELECT\n *\n{FROM}", (2, "select_star")),
        (f"SELECT COUNT(*) FROM (SELECT * {FROM}) s", (1, "unnoised_number")),
        (f"SELECT p.a\n{FROM}", (1, "returns_rows")),
        (f"SELECT COUNT(*) FROM (\n\nSELECT p.a {FROM} LIMIT 5) s", (3, "limit_in_subquery")),
        (f"WITH s AS (SELECT p.a {FROM} LIMIT 5) SELECT COUNT(*) FROM s", (1, "limit_in_subquery")),
        ("SELECT 1;\nSELECT 2", (2, "not_one_select")),
        ("DROP TABLE x", (1, "not_one_select")),
        ("INSERT INTO x SELECT 1", (1, "not_one_select")),
        (f"SELECT COUNT(*) {FROM},\n'file.parquet'", (2, "table_not_linked")),
        (f"SELECT COUNT(*) {FROM},\n read_csv('x')", (2, "table_not_linked")),
        (f"SELECT COUNT(*) {FROM}\nWHERE secret_function(p.a)", (2, "function_not_allowed")),
        (f"SELECT COUNT(*) {FROM}\nWHERE soundex(p.a) = 'x'", (2, "function_not_allowed")),
        (f"SELECT COUNT(*) {FROM}\nWHERE random() > 1", (2, "not_deterministic")),
        (f"SELECT COUNT(*) n,\nANY_VALUE(p.a) {FROM}", (2, "aggregate_not_allowed")),
        (f"SELECT COUNT(*) n,\nMIN(p.a) {FROM}", (2, "unnoised_number")),
        (f"SELECT COUNT(*) n,\nROW_NUMBER() OVER (ORDER BY p.a) r {FROM}", (2, "window_not_partitioned")),
        (f"SELECT\nCOUNT(*) OVER () n {FROM}", (2, "window_not_partitioned")),
        (f"SELECT COUNT(*) {FROM}\nWHERE p.a IN ({{{{ ws | inclause }}}})", (2, "inclause_brackets")),
        (f"SELECT COUNT(*) {FROM}\nWHERE JAROWINKLER_SIMILARITY(p.a, p.b) > 1", (2, "function_not_allowed")),
        (f"SELECT COUNT(*) {FROM}\nWHERE {{{{ w | sqlsafe }}}}", (2, "missing_policy_filter")),
        (f"SELECT COUNT(*) {FROM} GROUP BY\nIDENTIFIER({{{{ g }}}})", (2, "missing_policy_filter")),
        (
            f"SELECT COUNT(*) {FROM} GROUP BY\n{{% for d in ds %}}{{{{ d | sqlsafe }}}}{{% endfor %}}",
            (2, "missing_policy_filter"),
        ),
        (f"SELECT COUNT(*) {FROM} WHERE p.a = '\n", (None, "not_sql")),
        ("SELECT 1\n{{ x", (2, "jinja_syntax")),
        ("SELECT 1\n{% include 'x' %}", (2, "jinja_construct")),
        (
            f"SELECT COUNT(*) {FROM}\n{{% if w %}}WHERE foo(p.a){{% else %}}\nWHERE bar(p.a){{% endif %}}",
            (3, "function_not_allowed"),
        ),
        (
            f"SELECT COUNT(*) {FROM}\n{{% if w %}}WHERE foo(p.a){{% else %}}\nWHERE bar(p.a){{% endif %}}",
            (2, "function_not_allowed"),
        ),
    ],
)
def test_a_construct_is_named_with_its_line(text, expected):
    """B-39"""
    places = found(text)
    assert expected in places or (expected[0] is None and expected[1] in {rule for _, rule in places})
    assert all(finding.sentence and finding.cure for finding in lint(text))


GROUPED = (
    f"SELECT {{{{ g | column_policy | sqlsafe }}}}, cleanroom.addnoise(SUM(p.b), 0.1, {NOISE}) {FROM} "
    "GROUP BY {{ g | column_policy | sqlsafe }} ORDER BY 2 LIMIT {{ n }}"
)
LOOPED = (
    "SELECT {% for d in ds %}{{ d | sqlsafe | column_policy }}, {% endfor %}"
    f"cleanroom.ADDNOISE(COUNT(*), 1, {NOISE}) {FROM} "
    "{% if ds %}GROUP BY {% for d in ds %}{{ d | column_policy | sqlsafe }}"
    "{% if not loop.last %}, {% endif %}{% endfor %}{% endif %}"
)
JOINED = (
    f"SELECT cleanroom.addnoise(COUNT(*), {{{{ privacy.epsilon }}}}, {NOISE}) {FROM} "
    "JOIN {{ my_table[0] | sqlsafe }} c ON p.e = c.e WHERE p.x BETWEEN 1 AND 2 AND UPPER(p.y) LIKE 'A%' "
    "AND p.z IS NOT NULL AND p.w IN {{ ws }} AND CASE WHEN p.v > 1 THEN TRUE ELSE FALSE END"
)
MEASURED = (
    *("COUNT", "COUNT_IF", "SUM", "AVG", "MIN", "MAX", "MEDIAN", "VARIANCE", "VAR_POP", "STDDEV", "STDDEV_POP"),
    *("APPROX_COUNT_DISTINCT", "HLL"),
)
LIMITED = f"SELECT cleanroom.addnoise(COUNT(*), 0.1, {NOISE}) n {FROM} WHERE p.a = {{{{ x }}}} LIMIT 3"


@pytest.mark.parametrize("text", [GROUPED, LOOPED, JOINED, LIMITED])
def test_ordinary_templates_are_clean(text):
    """B-39: a linter that cries wolf is not read."""
    assert lint(text) == ()


def foretold(text: str, *, dialect: str = "snowflake") -> list[str]:
    """Return what is said to be refused for sure."""
    sentences = (finding.sentence for finding in lint(text, dialect=dialect))
    return [s for s in sentences if re.search("(?<!may )be refused|: refused|is refused", s)]


def test_what_is_foretold_is_seen_by_the_tests():
    """Each way of saying it, so that the tests below cannot pass for want of words."""
    assert len(foretold("SELECT KURTOSIS(age) AS n FROM customers")) == 1
    assert len(foretold("SELECT city FROM customers")) == 1
    assert len(foretold("SELECT * FROM customers")) == 2
    assert foretold("SELECT BOOLOR_AGG(active) AS b FROM customers") == []


VALID = [
    "SELECT COUNT_IF(age > 3) / NULLIF(COUNT(*), 0) AS r FROM customers",
    "WITH g AS (SELECT status, COUNT(*) AS n FROM customers GROUP BY 1) SELECT SUM(n) AS s, MAX(n) AS m FROM g",
    (
        "WITH e AS (SELECT hashed_email, MAX(age) AS a FROM customers GROUP BY 1) "
        "SELECT AVG(LEAST(GREATEST(a, 0), 99)) AS m FROM e"
    ),
    "WITH k AS (SELECT status FROM customers GROUP BY 1) SELECT status FROM k",
    "SELECT COUNT(*) AS n FROM customers WHERE city IN (SELECT segment FROM segments)",
    "SELECT GROUPING(city, status) AS g, COUNT(*) AS n FROM customers GROUP BY ROLLUP (city, status)",
    "SELECT GROUPING_ID(city) AS g, COUNT(*) AS n FROM customers GROUP BY CUBE (city) HAVING GROUPING(city) = 0",
    "SELECT COUNT(*) AS n FROM flights f WHERE EXISTS (SELECT 1 FROM customers c WHERE c.hashed_email = f.email)",
    "SELECT DISTINCT city FROM customers",
    "SELECT q.city FROM (SELECT DISTINCT city FROM customers) q",
    "SELECT MIN(age) AS a, MAX(age) AS b FROM customers",
    f"SELECT cleanroom.addnoise(MIN(age), 0.1, {NOISE}) AS a FROM customers",
    "SELECT BOOLOR_AGG(n > 3) AS b FROM (SELECT status, COUNT(*) AS n FROM customers GROUP BY 1) q",
    *(case.sql for suite in SUITES for case in suite.points if not case.rule),
    *(case.rewrite for suite in SUITES for case in suite.points if case.rewrite),
]
ACCEPTED = [
    *(f"SELECT COUNT(*) AS n {FROM} WHERE {text} IS NOT NULL" for text in (*examples(), *OTHERS)),
    *(f"SELECT {name}(p.a) AS n {FROM}" for name in MEASURED),
]


@pytest.mark.parametrize("text", VALID)
def test_no_refusal_is_foretold_where_the_compiler_has_none(text):
    """B-39: what may be refused is told from what will be."""
    assert compiled(text).differential
    assert foretold(text) == []


def test_no_function_of_the_list_is_foretold_to_be_refused():
    """B-39: every example of the list, with operands of all types, which other tests compile."""
    assert len(ACCEPTED) > 300
    assert [(text, said) for text in ACCEPTED for said in foretold(text)] == []


@pytest.mark.parametrize(
    "call",
    [
        *("KURTOSIS(age)", "SKEW(age)", "BOOLOR_AGG(active)", "BOOLAND_AGG(active)", "LISTAGG(city)", "MODE(city)"),
        *("ARRAY_AGG(city)", "ARRAY_UNIQUE_AGG(city)", "OBJECT_AGG(city, age)", "ANY_VALUE(city)", "LAG(age)"),
        *("MAX_BY(city, age)", "MIN_BY(city, age)", "FIRST_VALUE(city)", "REGR_SLOPE(age, spend)", "HASH_AGG(age)"),
        *("APPROX_TOP_K(city)", "GROUPING(city)", "COUNT(SOUNDEX(city))", "COUNT(secret_function(city))", "RANDOM()"),
        *("COUNT(UNIFORM(1, 2, RANDOM()))", "COUNT(CURRENT_USER())", "COUNT(IDENTIFIER('city'))", "ROW_NUMBER()"),
        f"cleanroom.addnoise(KURTOSIS(age), 0.1, {NOISE})",
    ],
)
def test_rule_reason_and_cure_are_those_of_the_compiler(call):
    """B-39: they were of the linter's own, such as COUNT, SUM or AVG in the place of COUNT_IF."""
    text = f"SELECT {call} AS n FROM customers"
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(text)
    told = {(f.rule, f.sentence.partition(": ")[0], f.cure) for f in lint(text)}
    assert (refusal.value.rule, str(refusal.value), refusal.value.cure) in told


@pytest.mark.parametrize("kind", NO_PRIVATE_FORM)
def test_every_aggregate_without_a_private_form_has_its_cure(kind):
    """B-39: the table that the compiler refuses by."""
    select = exp.select(kind(this=exp.column("age"), expression=exp.column("city"))).from_("customers")
    cures = {finding.cure for finding, node in lint_sql.sql_findings(select) if type(node) is kind}
    assert cures == {NO_PRIVATE_FORM[kind][1]}


@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
def test_identifier_in_another_dialect_is_one_finding_that_does_not_say_to_use_it(dialect):
    """B-39: it said that IDENTIFIER is not on the list, and to use IDENTIFIER."""
    (told,) = [f for f in lint(f"SELECT COUNT(*) AS n {FROM}", dialect=dialect) if f.rule != "unnoised_number"]
    assert told.rule == "table_not_linked"
    assert "IDENTIFIER" in told.sentence
    assert "IDENTIFIER" not in told.cure
    cured = "SELECT COUNT(*) AS n FROM {{ source_table[0] | sqlsafe }} p"
    assert [f.rule for f in lint(cured, dialect=dialect)] == ["unnoised_number"]
    assert compiled("SELECT COUNT(*) AS n FROM airline.customers p", dialect=dialect).differential


@pytest.mark.parametrize(
    "text",
    [
        "SELECT KURTOSIS(age) AS n FROM customers",
        "SELECT LISTAGG(city) AS n FROM customers",
        "SELECT ANY_VALUE(city) AS n FROM customers",
        "SELECT COUNT(*) AS n FROM customers WHERE JAROWINKLER_SIMILARITY(city, status) > 1",
    ],
)
@pytest.mark.parametrize("privacy", [EPSILON_ONE, OFF])
def test_a_refusal_that_is_foretold_happens(text, privacy):
    """B-39: with differential privacy and without."""
    assert any("will be refused" in finding.sentence and finding.line == 1 for finding in lint(text))
    with pytest.raises(TemplateRefusedError):
        compiled(text, given=privacy)


@pytest.mark.parametrize("name", ["JAROWINKLER_SIMILARITY", "STDDEV", "ARRAY_AGG", "COUNT_IF"])
def test_calls_are_spelled_as_in_sql(name):
    """B-39"""
    arguments = {"JAROWINKLER_SIMILARITY": "p.a, p.b"}.get(name, "p.a")
    findings = lint(f"SELECT {name}({arguments}) AS n {FROM}")
    assert any(f.sentence.removeprefix("the function ").startswith(f"{name} ") for f in findings)


@pytest.mark.parametrize(
    "source",
    [
        "LATERAL FLATTEN(input => p.tags) f",
        "TABLE(FLATTEN(p.tags)) f",
        "UNNEST(p.tags) AS f(value)",
        "LATERAL SPLIT_TO_TABLE(p.a, ',') f",
    ],
)
def test_what_makes_rows_of_an_array_in_from_is_no_unknown_function(source):
    text = f"SELECT f.value, COUNT(*) AS n {FROM}, {source} GROUP BY f.value"
    assert {finding.rule for finding in lint(text)} <= {"unnoised_number"}


def test_every_rule_of_its_own_is_documented():
    """B-39"""
    texts = inspect.getsource(lint_jinja) + inspect.getsource(lint_sql)
    named = set(re.findall(r'_finding\(\s*[\w. ]+,\s*"(\w+)"|rule="(\w+)"', texts))
    assert {a or b for a, b in named} == set(LINT_RULES)


def test_noise_inside_does_not_excuse_an_exact_number_beside_it():
    """B-39"""
    assert found(f"SELECT cleanroom.addnoise(COUNT(*), 1, {NOISE}),\nCOUNT(*) {FROM}") == [(2, "unnoised_number")]


PIECES = st.sampled_from(
    [
        *("SELECT", "FROM", "(", ")", "*", ",", "{{", "x", "}}", "{%", "if", "%}", "endif", "'", "LIMIT", "addnoise"),
        *("cleanroom.", "1", "p", "IDENTIFIER", "count"),
    ]
)


@given(st.text(max_size=80) | st.lists(PIECES, max_size=20).map(" ".join))
@settings(max_examples=150, deadline=None)
def test_linting_is_total(text):
    """B-39: whatever is added as a template, there is an answer."""
    assert all(finding.rule for finding in lint(text))
