"""Functions in whole queries: ranges that reach an aggregate, keys whose values are public, clamps."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fractions import Fraction

import pytest

from cleanroom.errors import MissingBoundsError, TemplateRefusedError
from cleanroom.rooms.moments import moment_number
from cleanroom.rooms.tables import ColumnBounds, ColumnType
from tests.unit.templates.compiling import CUSTOMERS, bounds, columns, compiled, ran

DATES = ColumnBounds(
    lo=Fraction(moment_number("2024-01-15", ColumnType.DATE) or 0),
    hi=Fraction(moment_number("2024-04-02", ColumnType.DATE) or 0),
    kind=ColumnType.DATE,
)
ORDERS = replace(
    CUSTOMERS,
    name="orders",
    columns=columns(
        hashed_email=ColumnType.TEXT,
        ordered=ColumnType.DATE,
        sent=ColumnType.DATE,
        seen=ColumnType.TIMESTAMP,
        amount=ColumnType.INTEGER,
        free=ColumnType.DATE,
    ),
    policy=replace(
        CUSTOMERS.policy,
        bounds={"ordered": DATES, "sent": DATES, "amount": bounds(0, 100)},
        domains={},
        max_rows=10,
        max_groups=10,
    ),
)
ROWS = {
    "orders": [
        ("a", "2024-01-20", "2024-01-25", "2024-01-20 10:00:00", 10, "2024-01-01"),
        ("a", "2024-02-29", "2024-03-01", "2024-02-29 23:59:59", 20, "2024-01-01"),
        ("b", "2024-04-01", "2024-04-02", "2024-04-01 00:00:00", 30, None),
        ("b", None, "2024-04-02", None, 40, None),
        ("c", "2031-01-01", "2024-04-02", None, 40, None),  # against what is declared
    ]
}


def asked(sql):
    """Return the listed columns without noise; the engine adds hidden keys behind them."""
    rows = ran(sql, ROWS, tables=(ORDERS,))
    return [row[: len(compiled(sql, tables=(ORDERS,)).release.columns)] for row in rows]


def test_the_difference_of_two_dates_with_ranges_can_be_summed_without_a_clamp():
    """By hand: 5 + 1 + 1 days; the row outside of its range counts as the range's nearest end, 78 days back."""
    sql = "SELECT SUM(DATEDIFF('day', ordered, sent)) AS s FROM orders WHERE ordered < '2030-01-01'"
    assert asked(sql) == [(7.0,)]
    column = compiled(sql, tables=(ORDERS,)).measurements[0].bounds
    assert "-78 to 78" in column.values()
    assert asked("SELECT SUM(sent - ordered) AS s FROM orders WHERE ordered > '2030-01-01'") == [(-78.0,)]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("YEAR(ordered)", [(2024, 3), (None, 1)]),
        (
            "DATE_TRUNC('month', ordered)",
            [(date(2024, 1, 1), 1), (date(2024, 2, 1), 1), (date(2024, 3, 1), 0), (date(2024, 4, 1), 1), (None, 1)],
        ),
        ("TO_CHAR(ordered, 'YYYY-MM')", [("2024-01", 1), ("2024-02", 1), ("2024-03", 0), ("2024-04", 1), (None, 1)]),
        ("LAST_DAY(ordered, 'quarter')", None),
        ("TIME_SLICE(ordered, 2, 'week')", None),
        ("COALESCE(MONTH(ordered), 0)", [(m, n) for m, n in zip(range(13), [1, 2, 1, 0, 1] + [0] * 8, strict=True)]),
    ],
)
def test_what_is_cut_from_a_date_with_a_range_is_a_public_key(key, expected):
    """All groups appear, empty ones too; a row outside the declared range is in none, but in its month of the year."""
    sql = f"SELECT {key} AS k, COUNT(*) AS n FROM orders GROUP BY 1 ORDER BY 1 NULLS LAST"
    (measurement,) = compiled(sql, tables=(ORDERS,)).measurements
    assert measurement.bounds["group keys"] == "public"
    if expected is not None:
        assert asked(sql) == expected


@pytest.mark.parametrize(
    "key",
    ["MONTH(free)", "DAYNAME(free)", "HOUR(seen)", "MOD(amount, 7)", "SIGN(amount)", "WIDTH_BUCKET(amount, 0, 50, 5)"],
)
def test_parts_with_few_values_are_public_keys_without_a_range(key):
    sql = f"SELECT {key} AS k, COUNT(*) AS n FROM orders GROUP BY 1"
    assert compiled(sql, tables=(ORDERS,)).measurements[0].bounds["group keys"] == "public"


@pytest.mark.parametrize("key", ["YEAR(free)", "DATE_TRUNC('month', free)", "ordered", "TO_CHAR(seen, 'YYYY')"])
def test_without_a_range_a_date_is_a_private_key(key):
    sql = f"SELECT {key} AS k, COUNT(*) AS n FROM orders GROUP BY 1"
    assert compiled(sql, tables=(ORDERS,)).measurements[0].bounds["group keys"] == "private"


def test_a_clamp_in_the_template_is_a_range_and_the_cure_says_so():
    with pytest.raises(MissingBoundsError) as refusal:
        compiled("SELECT SUM(DATEDIFF('day', free, sent)) AS s FROM orders", tables=(ORDERS,))
    assert "LEAST(GREATEST(" in refusal.value.cure
    sql = "SELECT SUM(LEAST(GREATEST(DATEDIFF('day', free, sent), 0), 30)) AS s FROM orders"
    assert asked(sql) == [(24.0 + 30.0,)]
    clamped = (
        "SELECT SUM(DATEDIFF('day', LEAST(GREATEST(free, '2024-01-01'), '2024-02-01'::DATE), sent)) AS s FROM orders"
    )
    assert asked(clamped) == [(24.0 + 60.0,)]


def test_formats_and_units_tell_keys_apart():
    """Before: keys were compared as SQL of a dialect that has no TO_CHAR with a format, and so these were one key."""
    sql = "SELECT TO_CHAR(ordered, 'YYYY') AS y, COUNT(*) AS n FROM orders GROUP BY TO_CHAR(ordered, 'MM')"
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(sql, tables=(ORDERS,))
    assert refusal.value.rule == "not_grouped"
