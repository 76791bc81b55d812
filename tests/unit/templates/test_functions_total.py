"""Every allowed function on adversarial values: a value or NULL, the same each time, within its range, kept short."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import duckdb
import pytest
from sqlglot import exp

from cleanroom.rooms.moments import in_years, moment_number
from cleanroom.rooms.tables import ColumnBounds, ColumnType
from cleanroom.templates.function_rules import LONGEST_TEXT
from cleanroom.templates.trees import to_sql
from tests.unit.templates.functions_tried import (
    TAME_VALUES,
    WILD_VALUES,
    Tried,
    compiled,
    fill,
    scope,
    table,
    tried,
    with_large_operands,
)

MEMORY = "SET memory_limit = '300MB'; SET max_temp_directory_size = '0MB'; SET TimeZone = 'UTC'"
TEXTS_THAT_GROW = (exp.Concat, exp.DPipe, exp.ConcatWs, exp.Replace, exp.RegexpReplace, exp.Pad, exp.ArrayToString)


@pytest.fixture(scope="module")
def wild() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(MEMORY)
        fill(connection, WILD_VALUES)
        yield connection


@pytest.fixture(scope="module")
def unbounded() -> list[Tried]:
    return tried(bounds=False)


@pytest.fixture(scope="module")
def tame() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        fill(connection, TAME_VALUES)
        yield connection


@pytest.fixture(scope="module")
def bounded() -> list[Tried]:
    return tried(bounds=True)


def failing(connection: duckdb.DuckDBPyConnection, one: Tried) -> str:
    try:
        connection.execute(f"SELECT {one.sql} FROM tried AS r").fetchall()
    except duckdb.Error as error:
        return f"{one.text}: {error}"
    return ""


def digest(connection: duckdb.DuckDBPyConnection, some: list[Tried]) -> tuple[Any, ...]:
    """Return one number per expression that any changed value changes; in any order of rows."""
    sums = ", ".join(f"SUM(HASH(CAST(v{i} AS VARCHAR))::HUGEINT)" for i in range(len(some)))
    inner = ", ".join(f"{one.sql} AS v{i}" for i, one in enumerate(some))
    row = connection.execute(f"SELECT {sums} FROM (SELECT {inner} FROM tried AS r)").fetchone()
    assert row is not None
    return row


def test_a_large_operand_is_written_once_and_means_the_same(wild):
    """Written as often as it is needed, it made ten nested SQRT 178,858 characters long."""
    written_once = 0
    for small, large in with_large_operands():
        written_once += large.sql.count("LAMBDA operands")
        try:
            differing = wild.execute(
                f"SELECT COUNT(*) FROM (SELECT {small.sql} AS s, {large.sql} AS l FROM tried AS r) "
                "WHERE CAST(s AS VARCHAR) IS DISTINCT FROM CAST(l AS VARCHAR) OR TYPEOF(s) <> TYPEOF(l)"
            ).fetchone()
        except duckdb.Error as error:
            raise AssertionError(large.text) from error
        assert differing == (0,), large.text
        assert large.scalar.span == small.scalar.span
    assert written_once > 100


def test_no_value_makes_a_function_fail_or_give_another_value_the_next_time(wild, unbounded):
    """NaN, infinities, the ends of every type, long and multi-byte texts; one thread and four, stored and not."""
    assert len(unbounded) > 400
    with duckdb.connect(config={"threads": 4}) as other:
        other.execute(MEMORY)
        fill(other, WILD_VALUES)
        for start in range(0, len(unbounded), 24):
            some = unbounded[start : start + 24]
            try:
                first = digest(wild, some)
            except duckdb.Error:
                raise AssertionError([f for f in (failing(wild, one) for one in some) if f]) from None
            assert digest(other, some) == first, [one.text for one in some]


def test_no_value_makes_a_function_fail_as_a_filter(wild, unbounded):
    """The engine reasons about a column's extremes when it plans a filter, and could fail there."""
    for one in unbounded:
        wild.execute(f"SELECT COUNT(*) FROM tried AS r WHERE ({one.sql}) IS NOT NULL AND ({one.sql}) = ({one.sql})")


def test_what_makes_texts_longer_keeps_them_short(wild, unbounded):
    """Without a limit a chain of CTEs could double a text at each level, and fail for want of memory."""
    growing = [one for one in unbounded if one.scalar.sql.find(*TEXTS_THAT_GROW) and one.scalar.type is ColumnType.TEXT]
    assert len(growing) >= 8
    listed = ", ".join(f"MAX(LENGTH({one.sql}))" for one in growing)
    longest = wild.execute(f"SELECT {listed} FROM tried AS r").fetchone()
    assert longest is not None
    assert [one.text for one, most in zip(growing, longest, strict=True) if most > LONGEST_TEXT] == []


def as_number(value: Any, kind: ColumnType | None) -> Fraction | None:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if kind in (ColumnType.DATE, ColumnType.TIMESTAMP):
        number = moment_number(str(value), kind)
        return None if number is None else Fraction(number)
    return Fraction(value)


def test_a_range_that_the_compiler_claims_holds_every_value(tame, bounded):
    """The columns' values are all within their declared ranges here; doubles may be off by their rounding."""
    outside, claimed = [], 0
    for one in bounded:
        span, kind = one.scalar.span, one.scalar.type
        if span.lo is None and span.hi is None:
            continue
        claimed += 1
        for (value,) in tame.execute(f"SELECT DISTINCT {one.sql} FROM tried AS r").fetchall():
            number = as_number(value, kind)
            if number is None:
                continue
            slack = Fraction(abs(number), 10**12) if kind is ColumnType.DOUBLE else 0
            above = span.lo is None or number >= span.lo - slack
            below = span.hi is None or number <= span.hi + slack
            if not (above and below):
                outside.append((one.text, str(value), str(span)))
    assert outside == []
    assert claimed > 250


def test_the_values_that_the_compiler_claims_are_all_there_are(tame, bounded):
    wrong, claimed = [], 0
    for one in bounded:
        values = one.scalar.values
        if values is None or one.scalar.constant:
            continue
        claimed += 1
        listed = ", ".join(to_sql(v) for v in values if not isinstance(v, exp.Null)) or "NULL"
        null = any(isinstance(v, exp.Null) for v in values)
        counted = f"COUNT(*) FILTER (v NOT IN ({listed})), COUNT(*) FILTER (v IS NULL)"
        others, nulls = tame.execute(f"SELECT {counted} FROM (SELECT {one.sql} AS v FROM tried AS r)").fetchall()[0]
        if others or (nulls and not null):
            wrong.append((one.text, others, nulls))
    assert wrong == []
    assert claimed > 60


@pytest.mark.parametrize(
    "text",
    ["LAST_DAY(d, 'week')", "LAST_DAY(d, 'year')", "TIME_SLICE(d, 7, 'month')", "TIME_SLICE(d, 9, 'week', 'END')"],
)
def test_values_at_the_ends_of_time_are_moments(text):
    """The last week of the year 9999 ends after it, the first slice begins before the year 1."""
    ends = (("0001-01-01", "0001-02-01"), ("9999-12-01", "9999-12-31"))
    for lo, hi in ends:
        first, last = (Fraction(moment_number(end, ColumnType.DATE) or 0) for end in (lo, hi))
        near = ColumnBounds(lo=first, hi=last, kind=ColumnType.DATE)
        of = table(bounds=False)
        scalar = compiled(text, scope(replace(of, policy=replace(of.policy, bounds={"d": near}))))
        assert scalar.values
        for value in scalar.values:
            number = None if isinstance(value, exp.Null) else moment_number(str(value.this.this), ColumnType.DATE)
            assert isinstance(value, exp.Null) or (number is not None and in_years(Fraction(number), ColumnType.DATE))
