"""What the engine has and the list does not is refused, however it is called; what runs has no side effect."""

from __future__ import annotations

import hashlib
import json
import re

import duckdb
import pytest
import sqlglot
from sqlglot.errors import SqlglotError

from cleanroom.errors import TableNotLinkedError, TemplateRefusedError
from cleanroom.templates.expressions import translate
from cleanroom.templates.relations import RowScope
from tests.unit.templates.compiling import compiled as plan_of
from tests.unit.templates.functions_tried import scope, table, tried

VERSION = "2.0.0"
DIGEST = "8abad1c808a7373bb26fa35fcb69166fb8b15892e7e860fd05691ba3e24e9eca"
REVIEW = (
    "the engine's functions are not those that the allow-list was checked against. Look at what is new: does the SQL "
    "that we generate still mean the same, are the functions in it still consistent and without side effect, can a "
    "new one be reached by a name that the list reads as another? Then pin the version, the digest and the names here"
)

_ACCEPTED = """
abs acos acosh ascii asin asinh atan atan2 atanh bit_and bit_or bit_xor cbrt ceil ceiling char_length
character_length chr concat concat_ws contains cos cosh cot day dayname dayofmonth dayofweek dayofyear degrees
ends_with exp factorial floor greatest hex hour instr isodow last_day lcase least len length levenshtein ln log
log10 log2 lower ltrim md5 minute mod month monthname nullif octet_length pi position pow power quarter radians
regexp_replace replace reverse round rtrim second sha1 sign sin sinh sqrt starts_with strpos tan tanh to_hex
to_timestamp trim trunc ucase unicode upper week weekofyear year
"""
ACCEPTED = frozenset(_ACCEPTED.split())
"""Names of engine functions that a template may call: the parser reads them as an entry of the list."""

_USED = """
% & && * + - / // abs acos acosh array_contains array_to_string ascii asin asinh atan atan2 atanh cbrt ceil chr
contains cos cosh cot date_diff date_part date_trunc day degrees encode ends_with epoch_us exp factorial floor
greatest hex isfinite isnan last_day least left length levenshtein like_escape list_count list_extract list_max
list_min list_position list_reverse list_slice list_transform list_value ln log lower lpad ltrim make_date
make_timestamp md5 month nullif power quarter radians regexp_extract regexp_extract_all regexp_full_match
regexp_matches regexp_replace repeat replace right round rpad rtrim sha1 sha256 sign sin sinh split_part sqrt
starts_with str_split strftime strlen strpos struct_extract struct_pack substring tan tanh
to_base64 to_days to_months translate trim trunc try_strptime unicode upper xor year | || ~~ ~~*
"""
USED = frozenset(_USED.split())
"""Engine functions in the SQL that the list generates."""


@pytest.fixture(scope="module")
def engine() -> dict[str, set[str]]:
    """Name -> kinds, of all functions of the engine."""
    with duckdb.connect() as connection:
        listed = connection.execute("SELECT DISTINCT function_name, function_type FROM duckdb_functions()").fetchall()
    found: dict[str, set[str]] = {}
    for name, kind in listed:
        found.setdefault(name, set()).add(kind)
    return found


def test_the_list_was_checked_against_this_engine(engine: dict[str, set[str]]) -> None:
    digest = hashlib.sha256("\n".join(sorted(engine)).encode()).hexdigest()
    assert (duckdb.__version__, digest) == (VERSION, DIGEST), REVIEW


def refused(text: str, rows: RowScope) -> bool:
    try:
        (parsed,) = sqlglot.parse_one(f"SELECT {text}", read="snowflake").expressions
    except (SqlglotError, ValueError):  # as `parse.py` does: no SQL of the dialect
        return True
    try:
        translate(parsed, rows)
    except TemplateRefusedError:
        return True
    return False


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def plain(name: str) -> bool:
    return re.fullmatch(r"[a-z_][a-z0-9_]*", name) is not None


def direct(name: str) -> list[str]:
    unquoted = [f"{name}()", f"{name}(a, 'x')", f"{name.upper()}(d)", f"{name}(x)"] if plain(name) else []
    return [f"{quoted(name)}(a)", f"{quoted(name)}(x, y)", *unquoted]


def indirect(name: str, number: int) -> list[str]:
    """Return a call with a schema, one with a dot, and three of the other ways in turn."""
    q, bare = quoted(name), name if plain(name) else quoted(name)
    others = [
        *(f'"main".{q}(x)', f"pg_catalog.{bare}(x)", f"system.main.{q}(a)", f"memory.main.{bare}(x, y)"),
        *(f"(a).{bare}()", f"r.a.{q}(1)", f"'x'.{bare}()", f"{q}(a) OVER ()", f"{bare}(DISTINCT a)"),
        *(f"{q}(a => 1)", f"{bare}((SELECT 1))", f"{q}(x -> x + 1)", f"[1].{q}()", f"{bare} a", f"@{bare}(a)"),
        *(f"{bare}(a) FILTER (WHERE p)", f"{{'k': 1}}.{q}()", f"TABLE({bare}(a))", f"{q}(*)"),
    ]
    turns = [others[(number * 3 + k) % len(others)] for k in range(3)]
    return [f"main.{bare}(a)", f"a.{bare}()", *turns]


def test_a_function_that_is_not_on_the_list_is_refused_however_it_is_called(engine: dict[str, set[str]]) -> None:
    """B-37: also with a schema, quoted, with a dot, as a window, or with arguments of other kinds."""
    rows = scope(table(bounds=True))
    accepted, reached = set(), []
    for number, name in enumerate(sorted(engine)):
        if not all(refused(text, rows) for text in direct(name)):
            accepted.add(name)
        reached += [text for text in indirect(name, number) if not refused(text, rows)]
    assert reached == []
    assert accepted == ACCEPTED, REVIEW


def test_a_function_that_is_not_on_the_list_is_refused_wherever_it_stands(engine: dict[str, set[str]]) -> None:
    """B-37: as a key, in WHERE, and as a source, over a protected table."""
    for number, name in enumerate(sorted(set(engine) - ACCEPTED)):
        q = quoted(name)
        place = [
            "SELECT {}(city) AS v, COUNT(*) AS n FROM customers GROUP BY 1",
            "SELECT COUNT(*) AS n FROM customers WHERE {}(city) = 'x'",
        ]
        texts = [place[number % 2].format(q)]
        if engine[name] & {"table", "table_macro", "pragma"}:
            texts += [
                f"SELECT COUNT(*) AS n FROM {q}('x') t",
                f"SELECT COUNT(*) AS n FROM customers, TABLE({q}('x')) t",
            ]
        for text in texts:
            with pytest.raises((TemplateRefusedError, TableNotLinkedError)):
                plan_of(text)


def functions_in(sql: str, connection: duckdb.DuckDBPyConnection) -> set[str]:
    (text,) = connection.execute("SELECT json_serialize_sql($sql)", {"sql": sql}).fetchall()[0]
    found, waiting = set(), [json.loads(text)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("class") == "FUNCTION":
                found.add(value["function_name"].lower())
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found


def test_what_is_generated_calls_consistent_functions_only() -> None:
    """As the engine itself classes them: the same value for the same row, and nothing else happens."""
    with duckdb.connect() as connection:
        used = set().union(
            *(functions_in(f"SELECT {one.sql} FROM tried AS r", connection) for one in tried(bounds=True))
        )
        assert used == USED, REVIEW
        stable = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() "
            "WHERE function_type = 'scalar' AND stability = 'CONSISTENT' AND NOT coalesce(has_side_effects, false)"
        ).fetchall()
    # These are macros of the engine's own, over functions that are consistent.
    macros = {"split_part", "nullif", "array_to_string", "list_count", "list_max", "list_min", "list_reverse"}
    assert used - {name for (name,) in stable} == macros
