"""The linter names what will be refused, or leaves without noise, with line and cure (B-39)."""

import inspect
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanroom.errors import TemplateRefusedError
from cleanroom.templates import lint_jinja, lint_sql
from cleanroom.templates.lint import lint
from cleanroom.templates.lint_findings import LINT_RULES
from tests.unit.templates.compiling import EPSILON_ONE, OFF, compiled

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
        (f"SELECT COUNT(*) {FROM}\nWHERE secret_function(p.a)", (2, "unknown_function")),
        (f"SELECT COUNT(*) {FROM}\nWHERE soundex(p.a) = 'x'", (2, "unknown_function")),
        (f"SELECT COUNT(*) {FROM}\nWHERE random() > 1", (2, "not_deterministic")),
        (f"SELECT COUNT(*) n,\nANY_VALUE(p.a) {FROM}", (2, "row_value_aggregate")),
        (f"SELECT COUNT(*) n,\nMIN(p.a) {FROM}", (2, "extreme_value")),
        (f"SELECT COUNT(*) n,\nROW_NUMBER() OVER (ORDER BY p.a) r {FROM}", (2, "window")),
        (f"SELECT\nCOUNT(*) OVER () n {FROM}", (2, "window")),
        (f"SELECT COUNT(*) {FROM}\nWHERE p.a IN ({{{{ ws | inclause }}}})", (2, "inclause_brackets")),
        (f"SELECT COUNT(*) {FROM}\nWHERE JAROWINKLER_SIMILARITY(p.a, p.b) > 1", (2, "unknown_function")),
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
            (3, "unknown_function"),
        ),
        (
            f"SELECT COUNT(*) {FROM}\n{{% if w %}}WHERE foo(p.a){{% else %}}\nWHERE bar(p.a){{% endif %}}",
            (2, "unknown_function"),
        ),
    ],
)
def test_a_construct_is_named_with_its_line(text, expected):
    """B-39"""
    places = found(text)
    assert expected in places or (expected[0] is None and expected[1] in {rule for _, rule in places})
    assert all(finding.sentence and finding.cure for finding in lint(text))


GROUPED = (
    f"SELECT IDENTIFIER({{{{ g | column_policy }}}}), cleanroom.addnoise(SUM(p.b), 0.1, {NOISE}) {FROM} "
    "GROUP BY IDENTIFIER({{ g | column_policy }}) ORDER BY 2 LIMIT {{ n }}"
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
LIMITED = f"SELECT cleanroom.addnoise(COUNT(*), 0.1, {NOISE}) n {FROM} WHERE p.a = {{{{ x }}}} LIMIT 3"


@pytest.mark.parametrize("text", [GROUPED, LOOPED, JOINED, LIMITED])
def test_ordinary_templates_are_clean(text):
    """B-39: a linter that cries wolf is not read."""
    assert lint(text) == ()


VALID = [
    "SELECT COUNT_IF(age > 3) / NULLIF(COUNT(*), 0) AS r FROM customers",
    "WITH g AS (SELECT status, COUNT(*) AS n FROM customers GROUP BY 1) SELECT SUM(n) AS s, MAX(n) AS m FROM g",
    (
        "WITH e AS (SELECT hashed_email, MAX(age) AS a FROM customers GROUP BY 1) "
        "SELECT AVG(LEAST(GREATEST(a, 0), 99)) AS m FROM e"
    ),
    "WITH k AS (SELECT status FROM customers GROUP BY 1) SELECT status FROM k",
    "SELECT COUNT(*) AS n FROM customers WHERE city IN (SELECT segment FROM segments)",
]


@pytest.mark.parametrize("text", VALID)
def test_no_refusal_is_foretold_where_the_compiler_has_none(text):
    """B-39: what may be refused is told from what will be."""
    assert compiled(text).differential
    told = [f"{finding.sentence} {finding.cure}" for finding in lint(text)]
    assert [s for s in told if "refused" in s and "may be refused" not in s] == []
    assert not any(f.rule in ("aggregate_not_allowed", "returns_rows") for f in lint(text))


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
    assert any(f.sentence.startswith(f"{name} ") for f in lint(f"SELECT {name}({arguments}) AS n {FROM}"))


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
    assert {a or b for a, b in named} | {"unknown_function"} == set(LINT_RULES)


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
