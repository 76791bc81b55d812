"""Hostile texts and arguments: mutated templates, soups of tokens, deep nests, huge literals, odd Unicode, Jinja abuse.

Whatever comes in, rendering and compiling it gives a plan or a `CleanRoomError`, in a second and 256 MiB; what is
compiled binds in the engine with the types that the plan says, and runs on hostile rows.
"""

from __future__ import annotations

import contextlib
import gc
import math
import random
import resource
import time
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import duckdb

from cleanroom.errors import CleanRoomError
from cleanroom.rooms.approved import Template
from cleanroom.rooms.settings import NoiseMechanism, PrivacySettings
from cleanroom.templates.compile import compile_query
from cleanroom.templates.lint import lint
from cleanroom.templates.render import render
from cleanroom.templates.template import CompileContext
from tests.soundness.check import ARROW_OF, OF_BINS, RUN_KEY, Bench
from tests.soundness.databases import random_rows
from tests.soundness.queries import random_query
from tests.soundness.schemas import READER, Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from cleanroom.templates.plan import Plan
    from tests.soundness.schemas import Schema

MOST_SECONDS = 1.0
MOST_BYTES = 256 << 20

P, C = "IDENTIFIER({{ source_table[0] }}) p", "IDENTIFIER({{ my_table[0] }}) c"
TEMPLATES = [
    f"SELECT COUNT(*) AS n FROM {P}",
    f"SELECT cleanroom.addNoise(count(distinct p.person), {{{{ privacy.epsilon | sqlsafe }}}}, 0.5) AS n FROM {P}",
    f"SELECT p.{{{{ by | sqlsafe }}}} AS k, AVG(LEAST(GREATEST(p.v, 0), 10)) AS a FROM {P} GROUP BY 1 ORDER BY 2 DESC",
    f"SELECT {{% for c in columns %}}COUNT(p.{{{{ c | sqlsafe }}}}) AS n{{{{ loop.index }}}}, {{% endfor %}}1 FROM {P}",
    f"SELECT COUNT(*) FROM {P} WHERE p.x IN {{{{ values | inclause }}}} AND p.y > {{{{ least }}}}",
    f"{{% if flag %}}SELECT COUNT(*) AS n FROM {P}{{% else %}}SELECT SUM(c.n) AS s FROM {C}{{% endif %}}",
    f"WITH a AS (SELECT p.person, SUM(p.v) AS s FROM {P} GROUP BY 1) SELECT COUNT_IF(s > 1) AS n FROM a",
    f"SELECT COUNT(*) AS n FROM {P} JOIN {C} ON p.person = c.person WHERE p.x = {{{{ x }}}}",
    f"{{% set k = 3 %}}SELECT p.z, COUNT(*) FROM {P} GROUP BY p.z HAVING COUNT(*) > {{{{ k * 2 }}}} LIMIT {{{{ k }}}}",
    f"SELECT DATE_TRUNC('month', p.y) AS m, STDDEV(LEAST(GREATEST(p.v, 0), 1)) AS d FROM {P} GROUP BY ROLLUP(1)",
    f"SELECT {{{{ column | column_policy | sqlsafe }}}} AS k, COUNT(*) FROM {P} GROUP BY 1",
    f"SELECT cleanroom.or_other(p.z, 'x') AS z, is_other() AS o, COUNT(*) AS n FROM {P} GROUP BY 1 ORDER BY o",
    f"SELECT COUNT(DISTINCT p.x) FILTER (WHERE p.y IS NOT NULL) AS n, MEDIAN(p.v) AS m FROM {P}",
    f"SELECT p.x, COUNT(*) FROM {P} WHERE EXISTS (SELECT 1 FROM {C} WHERE c.e = p.e) GROUP BY p.x",
    f"SELECT COUNT(*) FROM (SELECT p.person FROM {P} UNION ALL SELECT p2.person FROM {P}2) u",
    f"SELECT ROW_NUMBER() OVER (PARTITION BY p.person ORDER BY p.v) AS r FROM {P} QUALIFY r = 1",
]
_SOUP = r"""
SELECT FROM WHERE GROUP BY HAVING ORDER LIMIT OFFSET JOIN LEFT RIGHT FULL CROSS LATERAL NATURAL ON USING AND
OR NOT IN EXISTS BETWEEN LIKE ILIKE RLIKE IS NULL TRUE FALSE CASE WHEN THEN ELSE END CAST AS DISTINCT ALL ANY
SOME UNION INTERSECT EXCEPT WITH RECURSIVE VALUES TABLE UNNEST FLATTEN PIVOT UNPIVOT QUALIFY OVER PARTITION
ROWS RANGE FILTER WITHIN INTERVAL ARRAY STRUCT MAP OBJECT VARIANT COUNT( SUM( AVG( MIN( MAX( MEDIAN( STDDEV(
LISTAGG( COALESCE( NULLIF( LEAST( GREATEST( ROUND( SUBSTR( DATEADD( DATE_TRUNC( TO_DATE( TRY_CAST(
REGEXP_LIKE( REGEXP_REPLACE( PARSE_JSON( read_csv( read_text( query( getvariable( error( setseed( nextval(
IDENTIFIER( SYSTEM$WAIT( cleanroom.addnoise( ( ) ) , , . ; : :: -> ->> => || + - * / // % = <> != < > <= >= ~
^ & | ! ? @ # $ $1 $$ \ [ ] { } ' " ` -- /* */ {{ }} {% %} {# #} 1 0 -1 1e999 1e-999 0x1F 1_000 .5 5.
99999999999999999999 'a' '' 'NaN' 'inf' x p c p.x p.person p.v *
"""
SOUP = _SOUP.split()
ODD = [
    "\x00",
    "\u200b",
    "\u202e",
    "\ufeff",
    "\ud800",
    "\U0001f600",
    "ſ",
    "İ",
    "ﬁ",
    "K",
    "\u2028",
    "\xa0",
    "é",
    "e\u0301",
    "\t",
    "\r",
    "\x1b",
    "＇",
    "；",
    "−",
]
JINJA = [
    "{{ ''.__class__.__mro__ }}",
    "{{ self }}",
    "{{ [].append }}",
    "{{ x.__init__ }}",
    "{{ 'x' * 10**9 }}",
    "{{ range(10**9) | list }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    "{{ 9**9**9 }}",
    "{% include 'x' %}",
    "{% import 'os' as os %}",
    "{{ cycler }}",
    "{{ lipsum(999999) }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ x | attr('__class__') }}",
    "{{ '%s' | format(x) }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ x | replace('a', 'b' * 99999999) }}",
    "{% set x = x %}{{ x }}",
    "{{ privacy }}",
    "{{ source_table }}",
    "{{ source_table[99] }}",
    "{{ undefined_thing }}",
    "{{ 1/0 }}",
    "{{ {} | tojson }}",
    "{{ x | safe }}",
    "{% raw %}{{ x }}{% endraw %}",
    "{{ 'a' ~ x ~ 'b' | sqlsafe }}",
    "{% if x is mapping %}1{% endif %}",
    "{{ x() }}",
    "{{ (x,) * 99999999 }}",
    "{{ x | sort | unique | join(',') | sqlsafe }}",
    "{{ -x }}",
    "{{ x[::-1] }}",
    "{{ x % (1,) }}",
]
NAMES = (
    "by",
    "columns",
    "values",
    "least",
    "flag",
    "x",
    "column",
    "k",
    "self",
    "privacy",
    "source_table",
    "a b",
    "",
    "é",
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One template with its arguments, in a room."""

    text: str
    arguments: dict[str, Any]
    context: CompileContext
    schema: Schema


def random_request(rng: random.Random) -> Request:
    """Return a request; most are nonsense, some are nearly right."""
    query = random_query(rng)
    base = query.sql if rng.random() < 0.4 else rng.choice(TEMPLATES)
    text = base
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3, 8])):
        text = rng.choice(MUTATIONS)(rng, text)[:200_000]
    settings = replace(query.settings, differential=rng.random() < 0.85)
    if rng.random() < 0.1:
        settings = PrivacySettings(differential=True, noise_mechanism=NoiseMechanism.GAUSSIAN)
    # Some also ask what the bounds cut off, or for post-processing: by the length of the text, so that no draw changes.
    private, size = settings.differential, len(text)
    tables = [replace(t, policy=replace(t.policy, clipping_estimate=size % 2 == 0)) for t in query.schema.tables]
    context = CompileContext(
        reader=READER,
        settings=settings,
        clipping_share=Fraction(1, 4) if private and size % 5 == 0 else None,
        nonnegative_counts=private and size % 7 == 0,
        consistent_totals=private
        and size % 3 == 0
        and any(word in text.upper() for word in ("ROLLUP", "CUBE", "SETS")),
        source_tables=tuple(t for t in tables if t.owner != READER),
        my_tables=tuple(t for t in tables if t.owner == READER),
    )
    known = [n for n in NAMES[:8] if "{{ " + n in text or "{% if " + n in text or f" in {n} " in text]
    arguments = {n: _argument(rng, 0) for n in known if rng.random() < 0.95}
    if rng.random() < 0.1:
        arguments[rng.choice(NAMES)] = _argument(rng, 0)
    return Request(text=text, arguments=arguments, context=context, schema=query.schema)


def _argument(rng: random.Random, depth: int) -> Any:
    """Return a JSON value, from the dull to the absurd."""
    dull = ["x", "v", "person", "p.x", 1, 0, 2.5, True, None, "a"]
    absurd = [
        10**30,
        -(10**400),
        1e308,
        5e-324,
        math.nan,
        math.inf,
        "",
        "'",
        "';--",
        "x" * 70_000,
        "\x00",
        "{{ x }}",
        "1 OR TRUE",
        "(SELECT 1)",
        "p.x FROM t --",
        "/*",
        *ODD,
    ]
    chance = rng.random()
    if chance < 0.55:
        return rng.choice(dull)
    if chance < 0.8 or depth > 3:
        return rng.choice(absurd)
    if chance < 0.95:
        return tuple(_argument(rng, depth + 1) for _ in range(rng.choice([0, 1, 3, 3, 50])))
    return {rng.choice(["a", "b", "__class__", ""]): _argument(rng, depth + 1) for _ in range(rng.choice([0, 1, 2]))}


def _words(text: str) -> list[str]:
    return text.split(" ")


def _place(rng: random.Random, words: list[str]) -> int:
    """Return a place before, between or behind the words."""
    return rng.randrange(len(words) + 1)


def _drop(rng: random.Random, text: str) -> str:
    words = _words(text)
    place = rng.randrange(len(words))
    return " ".join(words[:place] + words[place + rng.randint(1, 3) :])


def _twice(rng: random.Random, text: str) -> str:
    words = _words(text)
    place, length = rng.randrange(len(words)), rng.randint(1, 6)
    return " ".join(
        words[: place + length] + words[place : place + length] * rng.choice([1, 1, 2, 200]) + words[place:]
    )


def _swap(rng: random.Random, text: str) -> str:
    words = _words(text)
    a, b = rng.randrange(len(words)), rng.randrange(len(words))
    words[a], words[b] = words[b], words[a]
    return " ".join(words)


def _soup(rng: random.Random, text: str) -> str:
    words = _words(text)
    place = rng.randrange(len(words) + 1)
    return " ".join(
        words[:place] + rng.choices(SOUP, k=rng.choice([1, 1, 2, 5, 40])) + words[place + rng.randint(0, 1) :]
    )


def _soup_alone(rng: random.Random, _: str) -> str:
    return " ".join(rng.choices(SOUP, k=rng.choice([0, 1, 3, 10, 60, 600])))


def _odd(rng: random.Random, text: str) -> str:
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice(ODD) * rng.choice([1, 1, 1, 5000]) + text[place:]


def _cut(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _jinja(rng: random.Random, text: str) -> str:
    words = _words(text)
    place = rng.randrange(len(words) + 1)
    return " ".join([*words[:place], rng.choice(JINJA), *words[place:]])


def _deep(rng: random.Random, text: str) -> str:
    """Put something deep into the list: brackets, CASE, NOT, minus, subqueries, functions, CTEs."""
    depth = rng.choice([5, 30, 90, 150, 1000, 20_000])
    before, after = rng.choice(
        [
            ("(", ")"),
            ("CASE WHEN TRUE THEN ", " END"),
            ("NOT ", ""),
            ("- ", ""),
            ("-", ""),
            ("ABS(", ")"),
            ("[", "]"),
            ("(SELECT ", ")"),
            ("1 + (", ")"),
            ("CAST(", " AS INT)"),
            ("1 IN (", ")"),
            ("{{ (", ") }}"),
            ("{", "}"),
            ("SELECT * FROM (", ")"),
            ("COALESCE(1, ", ")"),
            ("{% if 1 %}", "{% endif %}"),
            ("f(g(", "))"),
        ]
    )
    nested = (before * depth + rng.choice(["1", "p.x", "COUNT(*)", ""]) + after * depth)[:90_000]
    return rng.choice([text.replace("SELECT ", f"SELECT {nested}, ", 1), f"{text} WHERE {nested} = 1", nested])


def _long(rng: random.Random, text: str) -> str:
    """Repeat one thing very often."""
    count = rng.choice([20, 300, 5_000])
    piece = rng.choice(
        [
            " + 1",
            " OR p.x = 'a'",
            " AND TRUE",
            ", 1",
            " || 'a'",
            " UNION ALL SELECT 1",
            "::TEXT",
            ".x",
            " JOIN c ON TRUE",
            ", COUNT(*) AS n",
            " IS NULL",
            "/**/",
            ";",
            "'a' ",
            " COLLATE x",
            " NOT",
        ]
    )
    return rng.choice([text.replace("COUNT(*)", "COUNT(*)" + piece * count, 1), text + piece * count])


def _literal(rng: random.Random, text: str) -> str:
    """Put a huge or odd literal in the place of a word."""
    words = _words(text)
    words[rng.randrange(len(words))] = rng.choice(
        [
            "9" * rng.choice([19, 40, 400, 5000]),
            rng.choice(["1e", "1e-", ".1e+"]) + "9" * rng.choice([2, 3, 9]),
            "'" + "x" * 60_000 + "'",
            "0." + "0" * 4000 + "1",
            "'2020-13-45'::DATE",
            "'99999-01-01'::TIMESTAMP",
            "-9223372036854775808",
            "9223372036854775808",
            "X'AB'",
            "$$a$$",
            "INTERVAL '9999999999 years'",
            "1::NUMBER(99, 99)",
            "1::NUMBER(38, 37)",
            "'a'::VARCHAR(99999999999)",
            "1::DECIMAL(0)",
            "x::STRUCT(a INT)",
            "'\\'",
            "'''",
            "''''",
            "E'\\x00'",
            "1.e5",
            "1..2",
            "t.*",
            "*",
            "p.* EXCLUDE x",
            ":1",
            "?",
            "@x",
            "{{ x }}",
        ]
    )
    return " ".join(words)


def _spliced(rng: random.Random, text: str) -> str:
    words, others = _words(text), _words(rng.choice(TEMPLATES))
    return " ".join(words[: rng.randrange(len(words) + 1)] + others[rng.randrange(len(others)) :])


MUTATIONS: list[Callable[[random.Random, str], str]] = [
    _drop,
    _twice,
    _swap,
    _swap,
    _soup,
    _soup,
    _soup_alone,
    _odd,
    _cut,
    _jinja,
    _deep,
    _long,
    _literal,
    _literal,
    _spliced,
]


# --- what must hold ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """Something that must not happen, and the request that brought it about."""

    what: str
    request: Request


def complaints(*, seed: int, cases: int, most_seconds: float = MOST_SECONDS) -> tuple[Counter[str], list[Complaint]]:
    """Try random requests; return what came of them, and what must not have."""
    rng, bench = random.Random(seed), Bench()
    counted: Counter[str] = Counter()
    found: list[Complaint] = []
    gc.collect()
    before = _peak_bytes()
    for _ in range(cases):
        request = random_request(rng)
        begun = time.process_time()
        plan, what = _tried(request, counted)
        seconds = time.process_time() - begun
        if seconds > most_seconds:
            what = what or f"{seconds:.1f} seconds"
        if _peak_bytes() - before > MOST_BYTES:
            what, before = what or "more than 256 MiB", _peak_bytes()
        if what is None and plan is not None:
            what = _in_the_engine(plan, request.schema, random_rows(rng, request.schema), bench)
        if what is not None:
            found.append(Complaint(what=what, request=request))
    return counted, found


def _tried(request: Request, counted: Counter[str]) -> tuple[Plan | None, str | None]:
    """Return the plan, if there is one, and what must not happen.

    Any other exception ends the run: the request is printed before.
    """
    template = Template(name="tried", text=request.text)
    expected = False
    try:
        with contextlib.suppress(CleanRoomError):
            lint(request.text)
        try:
            rendered = render(template, request.arguments, request.context)
            counted["rendered"] += 1
            plan = compile_query(rendered, template=template, context=request.context)
        except CleanRoomError as refusal:
            counted[f"refused: {getattr(refusal, 'rule', refusal.code)}"] += 1
            expected = True
            return None, None if refusal.code else "a refusal without a code"
        expected = True
    finally:
        if not expected:
            print(repr(request.text), request.arguments, request.context.settings, sep="\n")
    counted["compiled"] += 1
    return plan, None


def _in_the_engine(plan: Plan, schema: Schema, rows: Rows, bench: Bench) -> str | None:
    """Return what is wrong when the plan's queries are bound, and run on rows full of odd values."""
    try:
        if not plan.differential:
            return _exact_without_privacy(plan, schema, rows, bench)
        tables, given = bench.exact(plan, schema, rows)
        for m in plan.measurements:
            expected = tuple("BIGINT" if c.bins is None else OF_BINS for c in m.columns)
            if tables[m.name].types[len(m.keys) :] != expected or tables[m.name].names != (
                *m.keys,
                *(c.name for c in m.columns),
            ):
                return f"columns {tables[m.name].names} of types {tables[m.name].types}"
            odd = [t for t in tables[m.name].types[: len(m.keys)] if t not in ARROW_OF]
            if odd:
                return f"keys of types {odd}, which are not standard"
        bench.release(plan, tables, given)
    except duckdb.Error as error:
        return f"the engine raises {type(error).__name__}: {error}"
    return None


def _exact_without_privacy(plan: Plan, schema: Schema, rows: Rows, bench: Bench) -> str | None:
    bench.load(plan, schema, rows)
    (m,) = plan.measurements
    answer = bench.connection.execute(m.exact_sql.replace("$run_key", str(RUN_KEY)))
    names = {d[0] for d in answer.description}
    answer.fetchall()
    return None if names == {*m.keys, *plan.exact_columns, *(c.name for c in m.columns)} else f"columns {names}"


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
