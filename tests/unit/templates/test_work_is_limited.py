"""How much is done for a text of a given size, counted in calls of functions and not in time."""

from __future__ import annotations

import cProfile
import pstats

import pytest
import sqlglot

from cleanroom.errors import TemplateRefusedError
from cleanroom.templates.reading import statements_of
from tests.unit.templates.compiling import compiled

MOST_CALLS = 5_000_000


def nested(depth, expression="age"):
    """Return an expression in which every level tests a column again."""
    for _ in range(depth):
        expression = f"(CASE WHEN age > 3 THEN {expression} ELSE 1 END)"
    return f"LEAST(GREATEST({expression}, 0), 100)"


def arms(number):
    """Return one CASE of so many arms."""
    return "CASE " + " ".join(f"WHEN age > {i} THEN {i}" for i in range(number)) + " ELSE 1 END"


def calls_of(selected):
    """Return whether a plan came out, and how many calls of Python functions it took."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        compiled(f"SELECT {selected} FROM airline.customers c")
        accepted = True
    except TemplateRefusedError as refusal:
        accepted = refusal.rule != "too_large"
    finally:
        profile.disable()
    return accepted, pstats.Stats(profile).total_calls


@pytest.mark.parametrize(
    ("selected", "accepted"),
    [
        (f"CORR({nested(6)}, {nested(6)} + 1)", True),
        (f"CORR({nested(20)}, {nested(20)} + 1)", True),
        (f"CORR({arms(60)}, spend)", True),
        (f"CORR({arms(400)}, spend)", False),
        (f"COVAR_POP({nested(12)}, {nested(12)})", True),
        (f"VARIANCE({nested(20)})", True),
        (", ".join(f"CORR(LEAST(age + {i}, 50), spend) AS a{i}" for i in range(100)), False),
        (", ".join(f"VARIANCE(LEAST(GREATEST(age + {i}, 0), 50)) AS a{i}" for i in range(100)), False),
        (", ".join(f"SUM(age) FILTER (WHERE age > {i}) AS a{i}" for i in range(400)), False),
    ],
)
def test_what_a_text_takes_to_compile_is_limited(selected, accepted):
    """Before: a CORR of a CASE with 100 arms took 20.6 million calls, its parts being worked out 17 times."""
    found, calls = calls_of(selected)
    assert found == accepted
    assert calls < MOST_CALLS


def test_a_dozen_ordinary_aggregates_are_far_from_the_limit():
    asked = [f"{function}(age), {function}(spend)" for function in ("SUM", "AVG", "VARIANCE", "STDDEV", "MEDIAN")]
    found, calls = calls_of(", ".join([*asked, "CORR(age, spend)", "COUNT(*)"]))
    assert found
    assert calls < MOST_CALLS


def functions_of_functions(depth):
    """Return functions each of which needs its operand several times, to guard it against NULL and infinity."""
    deep = "age"
    for low in range(depth):
        deep = f"ROUND(LEAST(GREATEST(SQRT({deep}), {low}), 1000), 1)"
    return deep


def test_a_short_text_stays_a_short_query():
    """Before: 378 characters became 178,858 of SQL, and took 3 s."""
    selected = f"SUM({functions_of_functions(7)}) AS s"
    (measured,) = compiled(f"SELECT {selected} FROM airline.customers c").measurements
    assert 300 < len(measured.exact_sql) < 15_000
    found, calls = calls_of(selected)
    assert found
    assert calls < MOST_CALLS / 2


@pytest.mark.parametrize(
    "selected",
    [
        ", ".join(f"COUNT_IF({functions_of_functions(2)} > {i}) AS n{i}" for i in range(100)),
        ", ".join(f"COUNT_IF({functions_of_functions(10)} > {i}) AS n{i}" for i in range(30)),
        " + ".join(f"SUM({functions_of_functions(3)} + {i})" for i in range(40)),
    ],
)
def test_many_long_expressions_are_refused_before_they_are_worked_out(selected):
    """Before: 2 s, for what is built is not all that is written, and that alone was counted."""
    found, calls = calls_of(selected)
    assert not found
    assert calls < MOST_CALLS


def test_windows_of_long_expressions_are_refused_before_they_are_worked_out():
    """Before: 1,679 characters, eight windows with eleven nested GREATEST, took 16 s, and then were refused."""
    by = "age"
    for low in range(11):
        by = f"GREATEST({by}, {low})"
    eight = ", ".join(f"ROW_NUMBER() OVER (PARTITION BY hashed_email ORDER BY {by}) AS w{i}" for i in range(8))
    for windows, accepted in (eight, True), (", ".join(f"{eight.replace('w', f'v{i}w')}" for i in range(9)), False):
        found, calls = calls_of(
            f"COUNT_IF(age > 1) AS n FROM (SELECT hashed_email, age, {windows} FROM customers) q --"
        )
        assert found == accepted
        assert calls < MOST_CALLS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # Each JOIN was read twice for each that follows: 200 would never have ended.
        ("SELECT COUNT(*) FROM airline.customers c" + " JOIN airline.customers d" * 200, "in too many ways"),
        ("SELECT COUNT(*) FROM airline.customers c WHERE age = 1" + " OR age = 1" * 2_500, "10,000 words and signs"),
    ],
)
def test_texts_that_take_long_to_read_are_refused_before_they_are_read(text, said):
    with pytest.raises(TemplateRefusedError, match=said) as refusal:
        compiled(text)
    assert refusal.value.rule == "too_large"


def test_a_text_of_many_joins_is_read():
    joins = "".join(f" JOIN shop.segments s{i} ON c.hashed_email = s{i}.hashed_email" for i in range(40))
    assert statements_of(f"SELECT COUNT(*) FROM airline.customers c{joins}", dialect="snowflake")[0] is not None
    nested_joins = "SELECT 1 FROM a JOIN b JOIN c JOIN d ON 1 = 1 ON 2 = 2 ON 3 = 3"
    assert statements_of(nested_joins, dialect="snowflake") == sqlglot.parse(nested_joins, read="snowflake")
