"""Dates and timestamps as integers: there and back, at the ends of the years 1 to 9999 and beyond them."""

from __future__ import annotations

from datetime import date, datetime
from fractions import Fraction

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanroom.rooms.moments import FIRST_DAY, LAST_DAY, in_years, moment_number, moment_text
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.moments import as_integer, from_integer
from cleanroom.templates.scalars import Scalar, Span, cast
from cleanroom.templates.trees import column, to_sql

DATE, TIMESTAMP = ColumnType.DATE, ColumnType.TIMESTAMP
INSIDE = {
    DATE: ["0001-01-01", "1969-12-31", "1970-01-01", "2024-02-29", "9999-12-31"],
    TIMESTAMP: [
        "0001-01-01 00:00:00",
        "1969-12-31 23:59:59.999999",
        "2024-02-29 12:00:00",
        "9999-12-31 23:59:59.999999",
    ],
}
OUTSIDE = {
    DATE: ["infinity", "-infinity", "10000-01-01", "0001-12-31 (BC)", "5881580-07-10", "5877642-06-25 (BC)"],
    TIMESTAMP: ["infinity", "-infinity", "10000-01-01 00:00:00", "294247-01-10 04:00:54.775806", "290309-12-22 (BC)"],
}


@pytest.mark.parametrize("kind", [DATE, TIMESTAMP])
def test_a_moment_becomes_its_number_and_comes_back(kind):
    """The numbers are Python's own; what lies outside the years 1 to 9999 is NULL, and nothing fails."""
    connection = duckdb.connect()
    connection.execute(
        f"CREATE TABLE t AS SELECT v, v::{kind.value} AS d FROM unnest($v) AS u(v)", {"v": INSIDE[kind] + OUTSIDE[kind]}
    )
    number = as_integer(Scalar(sql=column("d"), type=kind)).sql
    back = from_integer(number, kind)
    answer = connection.execute(f"SELECT v, {to_sql(number)}, {to_sql(back)} FROM t").fetchall()
    for written, whole, moment in answer:
        assert whole == moment_number(written, kind)
        expected = None
        if written in INSIDE[kind]:
            expected = date.fromisoformat(written) if kind is DATE else datetime.fromisoformat(written)
        assert moment == expected


@pytest.mark.parametrize(
    ("kind", "number", "text"),
    [
        (DATE, "2.4", "1970-01-03"),
        (DATE, str(LAST_DAY), "9999-12-31"),
        (DATE, str(LAST_DAY + 1), None),
        (DATE, str(FIRST_DAY - 1), None),
        (DATE, str(2**63 - 1), None),
        (DATE, "'nan'::DOUBLE", None),
        (DATE, "1e300", None),
        (TIMESTAMP, "-1", "1969-12-31 23:59:59.999999"),
        (TIMESTAMP, "253402300800000000::DOUBLE", None),
        (TIMESTAMP, "253402300799999999", "9999-12-31 23:59:59.999999"),
        (TIMESTAMP, str(-(2**63)), None),
        (TIMESTAMP, "'-inf'::DOUBLE", None),
    ],
)
def test_any_number_is_a_moment_or_null(kind, number, text):
    """Before: the first microsecond of the year 10000, as a double, passed for one of the year 9999."""
    made = to_sql(from_integer(column("n"), kind))
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE t AS SELECT {number} AS n")
    assert connection.execute(f"SELECT CAST({made} AS VARCHAR) FROM t").fetchone() == (text,)


@given(st.dates())
def test_numbers_of_dates_are_those_of_the_calendar(day):
    number = moment_number(day.isoformat(), DATE)
    assert number == (day - date(1970, 1, 1)).days
    assert in_years(Fraction(number), DATE)
    assert moment_text(number, DATE) == day.isoformat()


@given(st.datetimes())
def test_numbers_of_timestamps_are_those_of_the_calendar(moment):
    number = moment_number(moment.isoformat(sep=" "), TIMESTAMP)
    since = moment - datetime.fromisoformat("1970-01-01")
    assert number == (since.days * 86_400 + since.seconds) * 10**6 + since.microseconds
    assert moment_text(number, TIMESTAMP) == moment.isoformat(sep=" ")


def test_a_range_stays_the_same_moments_through_casts():
    days = Scalar(sql=column("d"), type=DATE, span=Span(lo=Fraction(-1), hi=Fraction(1)))
    moments = cast(days, TIMESTAMP)
    assert (moments.span.lo, moments.span.hi) == (-86_400 * 10**6, 86_400 * 10**6)
    late = Scalar(sql=column("t"), type=TIMESTAMP, span=Span(lo=Fraction(-1), hi=Fraction(1)))
    assert cast(late, DATE).span == Span(lo=Fraction(-1), hi=Fraction(0))
    assert as_integer(days).span == days.span
