"""Rendering: what a caller passes is a literal, what a template asks for is bounded, and every failure is a refusal."""

import time
from collections.abc import Mapping
from fractions import Fraction

import pytest
import sqlglot
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from cleanroom.errors import PolicyViolationError, TemplateRefusedError
from cleanroom.rooms.approved import Template
from cleanroom.rooms.settings import NoiseMechanism, PrivacySettings
from cleanroom.rooms.tables import Column, ColumnType, LinkedTable
from cleanroom.templates.render import render, template_arguments
from cleanroom.templates.template import CompileContext

FLIGHTS = LinkedTable(
    owner="airline", name="flights", columns=(Column(name="dest", type=ColumnType.TEXT, native_type="VARCHAR"),)
)
PLANES = LinkedTable(
    owner="agency", name="planes", columns=(Column(name="tailnum", type=ColumnType.TEXT, native_type="VARCHAR"),)
)


def context(**changes) -> CompileContext:
    return CompileContext(
        reader="agency", settings=PrivacySettings(**changes), source_tables=(FLIGHTS,), my_tables=(PLANES,)
    )


def rendered(text: str, *, dialect: str = "snowflake", **arguments) -> str:
    return render(Template(name="t", text=text, dialect=dialect), arguments, context()).sql


def refusal(text: str, arguments: Mapping | None = None, **more) -> TemplateRefusedError:
    with pytest.raises(TemplateRefusedError) as caught:
        render(Template(name="t", text=text), {**(arguments or {}), **more}, context())
    return caught.value


def test_the_noisy_count_template_renders_unchanged_but_for_its_variables():
    """B-47"""
    text = (
        "SELECT cleanroom.addNoise(count(distinct p.hashed_email), {{ privacy.epsilon | sqlsafe }}, "
        "UNIFORM(0::FLOAT, 1::FLOAT, RANDOM())) AS noisy_count FROM IDENTIFIER({{ source_table[0] }}) p"
    )
    assert rendered(text) == (
        "SELECT cleanroom.addNoise(count(distinct p.hashed_email), 0.1, "
        "UNIFORM(0::FLOAT, 1::FLOAT, RANDOM())) AS noisy_count FROM IDENTIFIER('airline.flights') p"
    )


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        ("a", "'a'"),
        (3, "3"),
        (-3, " -3"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (1e20, "100000000000000000000"),
        (True, "TRUE"),
        (None, "NULL"),
        ([1, "b", None], "(1, 'b', NULL)"),
        ((False, 0.5), "(FALSE, 0.5)"),
    ],
)
def test_a_variable_is_bound_as_a_literal(value, literal):
    """B-31"""
    assert rendered("x = {{ v }}", v=value) == f"x = {literal}"


DIALECTS = ["snowflake", "duckdb", "postgres", "bigquery", "mysql"]
ATTACKS = [
    *("'", "\\", "\\'", "''", "'; DROP TABLE x; --", "a\nb", "\\\\'", "$$", "{{ 1 }}", "/*", "--", "%_"),
    *("\u2019", "\u02bc", "\u2028", "é", "\x1a", "\b", "jinja", "\\x27", "\\u0027", "\\047", "{fn x}", "?", ":a", "@a"),
]


def check_one_literal(value: str, *, dialect: str) -> None:
    """Read back by the dialect's parser, the query has one literal, and nothing else of the caller's."""
    sql = rendered("SELECT 1 FROM t WHERE x = {{ v }} AND y = 2", dialect=dialect, v=value)
    tree = sqlglot.parse(sql, read=dialect)
    assert len(tree) == 1
    literals = [node for node in tree[0].find_all(exp.Literal) if node.is_string]
    assert [node.this for node in literals] == [value]
    literals[0].set("this", "v")
    assert tree[0] == sqlglot.parse_one("SELECT 1 FROM t WHERE x = 'v' AND y = 2", read=dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("value", ATTACKS)
def test_no_known_attack_breaks_out_of_its_literal(dialect, value):
    """B-31"""
    check_one_literal(value, dialect=dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60))
@settings(max_examples=50, deadline=None)
def test_no_text_breaks_out_of_its_literal(dialect, value):
    """B-31"""
    check_one_literal(value, dialect=dialect)


@pytest.mark.parametrize(
    "text",
    [
        "x = '{{ v }}'",
        "-- {{ v }}\n1",
        "/* {{ v }} */",
        'x."{{ v }}"',
        "a{{ v }}",
        "{{ v }}b",
        "{{ v }}{{ v }}",
        "$${{ v }}$$",
        "2{{ v }}",
        "'a'{{ v }}",
    ],
)
def test_a_literal_stands_alone_or_not_at_all(text):
    """B-31: inside quotes, comments and names a literal would be something else."""
    assert refusal(text, v="' OR 1=1 --").rule in ("literal_not_alone", "not_sql")


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (float("nan"), "number_not_finite"),
        (float("inf"), "number_not_finite"),
        (1e300, "number_out_of_range"),
        (1e-300, "number_out_of_range"),
        (10**40, "argument_not_bindable"),
        ({"a": 1}, "value_not_bindable"),
        ([], "empty_list"),
        ([[1]], "value_not_bindable"),
        (b"x", "argument_not_bindable"),
        (object(), "argument_not_bindable"),
        ("\x00", "string_not_text"),
        ("\ud800", "string_not_text"),
        ("x" * 100_000, "argument_not_bindable"),
        ([[[[[[1]]]]]], "argument_not_bindable"),
    ],
)
def test_what_has_no_literal_is_refused(value, rule):
    """B-31"""
    assert refusal("{{ v }}", v=value).rule == rule


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("1 -- ", "sqlsafe_comment"),
        ("-- x", "sqlsafe_comment"),
        ("/* x */ 1", "sqlsafe_comment"),
        ("1; SELECT 2", "sqlsafe_semicolon"),
        ("1) OR (1", "sqlsafe_parentheses"),
        ("(1", "sqlsafe_parentheses"),
        ("'a", "not_sql"),
        ("a\x00", "sqlsafe_characters"),
        ("a\u200bb", "sqlsafe_characters"),
        ("a\u202eb", "sqlsafe_characters"),
        ("{{ 1 }}", "sqlsafe_marks"),
        ("x" * 20_000, "sqlsafe_too_long"),
    ],
)
def test_sqlsafe_text_cannot_swallow_the_template(value, rule):
    """B-31"""
    assert refusal("SELECT ({{ v | sqlsafe }}) FROM t", v=value).rule == rule


def test_sqlsafe_inserts_sql_and_never_joins_a_comment():
    """B-31"""
    assert rendered("SELECT {{ v | sqlsafe }} FROM t", v="a + 1") == "SELECT a + 1 FROM t"
    assert rendered("SELECT a -{{ v | sqlsafe }}", v="-5") == "SELECT a - -5"
    assert rendered("SELECT a -{{ v }}", v=-5) == "SELECT a - -5"
    assert rendered("SELECT {{ v | join(', ') | sqlsafe }}", v=["a", "b"]) == "SELECT a, b"


def test_text_is_sqlsafe_only_where_all_of_it_was_marked_or_written():
    """B-31"""
    assert rendered("SELECT {{ 'p.' ~ (v | sqlsafe) }}", v="a") == "SELECT p.a"
    assert rendered("SELECT {{ (v ~ '_x') | sqlsafe }}", v="a") == "SELECT a_x"
    assert rendered("SELECT {{ (v | sqlsafe) | upper }}", v="a") == "SELECT 'A'"
    assert refusal("SELECT {{ (v | sqlsafe) ~ w }}", v="a", w="b").rule == "sqlsafe_mixed"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{% set x = y %}{{ x }}", ("y",)),
        ("{{ x }}{% set x = 1 %}", ("x",)),
        ("{% if a %}{% set x = 1 %}{% endif %}{{ x }}", ("a", "x")),
        ("{% if a %}{% set x = 1 %}{% elif b %}{% set x = 2 %}{% else %}{% set x = 3 %}{% endif %}{{ x }}", ("a", "b")),
        (
            "{% for x in xs if x > low %}{{ x }}{{ loop.index }}{% else %}{{ y }}{% endfor %}{{ x }}",
            ("xs", "low", "y", "x"),
        ),
        ("{% for a, b in xs %}{{ a }}{{ b }}{% set c = 1 %}{% endfor %}{{ c }}", ("xs", "c")),
        ("{{ range(n) }}{{ x.y[z:w] | join(s) }}", ("n", "x", "z", "w", "s")),
    ],
)
def test_what_a_template_sets_itself_is_no_argument(text, names):
    """B-32"""
    assert template_arguments(text) == names


def test_arguments_are_exactly_those_that_the_template_names():
    """B-32"""
    assert template_arguments("{{ b }}{% for d in a %}{{ d }}{{ privacy.epsilon }}{{ my_table[0] }}{% endfor %}") == (
        "b",
        "a",
    )
    assert "argument x is missing" in str(refusal("SELECT 1\n, {{ x }}"))
    assert refusal("SELECT 1\n, {{ x }}").line == 2
    unknown = refusal("SELECT {{ x }}", x=1, y=2)
    assert "no argument y" in str(unknown)
    assert "x" in unknown.cure


@pytest.mark.parametrize(
    "name",
    [
        "privacy",
        "source_table",
        "my_table",
        "self",
        "bind",
        "cleanroom",
        "loop",
        "range",
        "__class__",
        "_x",
        "ｐrivacy",
        "a b",
        "1",
        "",
    ],
)
def test_a_reserved_name_is_no_argument(name):
    """B-32"""
    assert refusal("SELECT {{ privacy.epsilon }}", {name: 1}).rule == "reserved_argument"


@pytest.mark.parametrize(
    "text",
    [
        "{% set privacy = 1 %}",
        "{% for my_table in [1] %}{% endfor %}",
        "{{ self }}",
        "{{ __import__ }}",
        "{{ ｐrivacy }}",
        "{{ loop }}",
    ],
)
def test_a_template_cannot_redefine_or_read_what_is_kept(text):
    """B-32"""
    assert refusal(text).rule == "jinja_construct"


def test_privacy_shows_the_effective_settings_in_plain_decimals():
    """B-32"""
    names = ("differential", "epsilon", "noise_mechanism", "privacy_budget", "threshold", "threshold_value", "delta")
    text = ", ".join(f"{{{{ privacy.{name} }}}}" for name in names)
    changed = context(
        differential=True,
        epsilon=Fraction(1, 4),
        noise_mechanism=NoiseMechanism.GAUSSIAN,
        privacy_budget=20,
        threshold_value=7,
        delta=Fraction(1, 10**9),
    )
    sql = render(Template(name="t", text=text), {}, changed).sql
    assert sql == "1, 0.25, 'Gaussian', 20, 0, 7, 0.000000001"
    assert rendered("{{ privacy.epsilon * 0.5 }} {{ privacy.delta | sqlsafe }}") == "0.05 0.000001"


def test_tables_are_named_in_full_and_handed_on():
    """B-32, B-37"""
    query = render(Template(name="t", text="{{ source_table[0] | sqlsafe }}, {{ my_table[0] }}"), {}, context())
    assert query.sql == "airline.flights, 'agency.planes'"
    assert query.tables == {"airline.flights": FLIGHTS, "agency.planes": PLANES}
    assert refusal("{{ source_table[1] }}").rule == "missing_entry"
    assert "provider_tables" in refusal("{{ source_table[1] }}").cure


def test_conditions_loops_and_the_listed_filters_work():
    """B-31"""
    text = (
        "{% set n = dims | length %}{% for d in dims %}{{ d | sqlsafe }}{% if not loop.last %}, {% endif %}{% endfor %}"
        "{% if n > 1 %} LIMIT {{ n }}{% endif %}{% if w is defined %} {{ w }}{% endif %} {{ z | default(5) }}"
    )
    assert rendered(text, dims=["a", "b"]) == "a, b LIMIT 2 5"
    assert rendered("{{ x.split(',') }} {{ y.k }} {{ y['k'] }} {{ 7 // 2 }} {{ 1 / 4 }}", x="a,b", y={"k": 1}) == (
        "('a', 'b') 1 1 3 0.25"
    )


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ x['__class__'] }}",
        "{{ x | attr('__class__') }}",
        "{{ x.format(1) }}",
        "{{ x['format'] }}",
        "{{ x.upper }}",
        "{{ x['upper']() }}",
        "{{ '%s' % x }}",
        "{{ lipsum() }}",
        "{{ cycler(1) }}",
        "{{ namespace() }}",
        "{{ x | map('upper') }}",
        "{{ x | pprint }}",
        "{{ x | xmlattr }}",
        "{{ x | format }}",
        "{{ x | replace('a', 'b') }}",
        "{{ x() }}",
        "{{ privacy.items() }}",
        "{{ range(*[1]) }}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% macro m() %}{% endmacro %}",
        "{% block b %}{% endblock %}",
        "{% set y %}a{% endset %}",
        "{% filter upper %}a{% endfilter %}",
        "{% for a in [] recursive %}{% endfor %}",
        "{{ x is callable }}",
        "{{ 2 ** 9 }}",
        "{{ _iterate }}",
        "{{ x | _concat }}",
        "{{ 1 / 0 }}",
        "{{ x + 1 }}",
        "{{ x[9:].y.z }}",
        "{% for a in 5 %}{% endfor %}",
        "{{",
        "{% if %}",
        "{{ {[1]: 2} }}",
        "{{ 'x' | int }}",
        "{{ 'a' | sort(1, 2, 3) }}",
        "{{ x | round(-5) }}",
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{% if 1 %}" * 300 + "{% endif %}" * 300,
        "{% for a in [1] %}" * 25 + "{% endfor %}" * 25,
        "{{ " + "+".join("1" * 200) + " }}",
    ],
)
def test_what_templates_do_not_have_is_refused_with_a_code(text):
    """B-31: Jinja runs sandboxed."""
    arguments = {"x": "a"} if "x" in template_arguments_or_none(text) else {}
    assert refusal(text, arguments).code == "template_refused"


def template_arguments_or_none(text: str) -> tuple[str, ...]:
    try:
        return template_arguments(text)
    except TemplateRefusedError:
        return ()


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'x' * 100000000 }}",
        "{{ 10 ** 1000000 }}",
        "{% for a in range(1000000000) %}{% endfor %}",
        "{% for a in range(10000000000000000000000000) %}{% endfor %}",
        "{% for a in range(5000) %}{% for b in range(5000) %}{% endfor %}{% endfor %}",
        "{% for a in range(9000) %}" + "x" * 1000 + "{% endfor %}",
        "{% set a = 'x' * 1 %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
        "{% set a = 'xxxxxxxx' %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
        "{% set a = [1, 2] %}" + "{% set a = a + a %}" * 60 + "{{ a | length }}",
        "{% set a = 99999999999 %}" + "{% set a = a * a %}" * 60 + "{{ a }}",
        "{% set a = 9999.5 %}" + "{% set a = a * a %}" * 60 + "{{ a }}",
        "{{ ([1] * 100000000) | join('x') }}",
        "{% set a = 'x,' ~ 'x' %}{% for i in range(9999) %}{{ (a ~ a ~ a).split(',') }}{% endfor %}",
        "{{ range(10000) | join('" + "x" * 1000 + "') }}",
    ],
)
def test_no_template_takes_long_or_much(text):
    """Resource bombs: refused within a second, whatever they would take."""
    started = time.perf_counter()
    refusal(text)
    assert time.perf_counter() - started < 1


FRAGMENTS = st.sampled_from(
    [
        *("{{", "}}", "{%", "%}", "{#", "#}", "x", "y", "privacy", ".", "epsilon", "[", "]", "0", "1", "(", ")", "|"),
        *(
            "sqlsafe",
            "upper",
            "join",
            "length",
            "~",
            "+",
            "*",
            "-",
            "/",
            "'a'",
            '"',
            "if",
            "else",
            "endif",
            "for",
            "in",
        ),
        *("endfor", "set", "=", "range", "loop", "last", "is", "defined", "not", "source_table", ",", ":", "{", "}"),
        *("--", "/*", "*/", ";", "SELECT", "\\", "column_policy", "default"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    text=st.lists(FRAGMENTS | st.text(max_size=4), max_size=25).map(" ".join),
    arguments=st.dictionaries(st.sampled_from(["x", "y", "z", "privacy", "é"]), VALUES, max_size=3),
)
@example(text="{{ x }}", arguments={"x": "\ud800"})
@settings(max_examples=150, deadline=None)
def test_any_text_renders_or_is_refused(text, arguments):
    """B-31: no exception of Jinja, Python or the SQL library leaves."""
    try:
        query = render(Template(name="t", text=text), arguments, context())
    except TemplateRefusedError:
        return
    assert len(query.sql) <= 262_144


FILTERS = st.sampled_from(
    [
        *(
            "upper",
            "length",
            "join",
            "first",
            "int",
            "sqlsafe",
            "sort",
            "abs",
            "list",
            "unique",
            "round(2)",
            "inclause",
        ),
        "column_policy",
    ]
)
EXPRESSIONS = st.recursive(
    st.sampled_from(["x", "y", "1", "0.5", "'a'", "none", "true", "privacy.epsilon", "source_table", "[1, x]", "z.k"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "~", "==", "<", "in", "and"]), inner).map(
            lambda p: f"({p[0]} {p[1]} {p[2]})"
        ),
        st.tuples(
            inner,
            st.sampled_from(
                [
                    "upper",
                    "length",
                    "join",
                    "first",
                    "int",
                    "sqlsafe",
                    "sort",
                    "abs",
                    "list",
                    "unique",
                    "round(2)",
                    "inclause",
                    "column_policy",
                ]
            ),
        ).map(lambda p: f"({p[0]} | {p[1]})"),
        inner.map(lambda e: f"{e}[0]"),
        inner.map(lambda e: f"({e}).split('a')"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
    ),
    max_leaves=6,
)


@given(expression=EXPRESSIONS, x=VALUES, y=VALUES)
@settings(max_examples=150, deadline=None)
def test_any_expression_renders_or_is_refused(expression, x, y):
    """B-31"""
    text = f"SELECT {{{{ {expression} }}}}"
    known = template_arguments_or_none(text)
    arguments = {name: value for name, value in (("x", x), ("y", y), ("z", {"k": "b"})) if name in known}
    try:
        render(Template(name="t", text=text), arguments, context())
    except TemplateRefusedError:
        return


def test_refusals_quote_no_value():
    """Style 7: a refusal may be logged; a caller's value may be a person's."""
    secret = "ann@example.org"
    for text in ("{{ x + 1 }}", "{{ x | int }}", "'{{ x }}'", "{{ x[99] }}", "{{ x.y }}", "{{ x | column_policy }}"):
        refused = refusal(text, x=secret)
        assert secret not in f"{refused} {refused.details}"
        assert refused.__cause__ is None


def test_an_unknown_dialect_is_refused():
    """B-30"""
    with pytest.raises(TemplateRefusedError) as caught:
        rendered("SELECT 1", dialect="klingon")
    assert caught.value.rule == "unknown_dialect"


def test_a_policy_refusal_keeps_its_class_and_gets_a_line():
    """B-33"""
    with pytest.raises(PolicyViolationError) as caught:
        rendered("SELECT 1,\n\n{{ x | column_policy }}", x="dest")
    assert caught.value.line == 3


def test_a_number_without_a_finite_value_is_refused():
    """Jinja writes infinity as the name `inf` in the code that it makes, and that was a NameError."""
    assert refusal("SELECT {{ 1e999 }}").rule == "jinja_construct"
    assert refusal("SELECT {{ 1e308 + 1e308 }}").rule == "rendering_too_large"
