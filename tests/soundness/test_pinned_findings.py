"""What the comparison with the reference has found, each with the old wrong value."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date

import pytest

from cleanroom.errors import CleanRoomError, TemplateRefusedError
from cleanroom.rooms.tables import Domain
from cleanroom.templates import jinja_tree
from tests.unit.templates.compiling import CUSTOMERS, OFF, SEGMENTS, Engine, compiled, ran


def test_rows_outside_a_declared_domain_of_a_boolean_weigh_nothing():
    """Before: they were in no group, but the entity was scaled down for them: 1024 steps instead of 2048."""
    policy = replace(CUSTOMERS.policy, max_rows=1, max_groups=2, domains={"active": Domain(values=(True,))})
    plan = compiled(
        "SELECT active, COUNT(*) AS n FROM customers GROUP BY active",
        tables=(replace(CUSTOMERS, policy=policy), SEGMENTS),
    )
    engine = Engine(customers=[("a", "gold", "X", 1, 1.0, 1, None, None, active, None) for active in (True, False) * 2])
    engine.load(plan)
    assert engine.exact(plan.measurements[0]) == [{"k0": True, "c0": 2048}]


def test_the_remainder_of_what_is_never_negative_is_never_negative():
    """Before: the range of `age % 7` with age from 0 was -6 to 6, so that its grid was twice as coarse for AVG."""
    (measurement,) = compiled("SELECT AVG(age % 7) AS m FROM customers").measurements
    assert measurement.bounds["clamp of c0"] == "0 to 6"
    assert ran("SELECT SUM(age % 7) AS s FROM customers", {"customers": [("a", *"gX", 13, *[None] * 6)]}) == [(6.0,)]


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("SELECT COUNT(*) + 1 AS n FROM customers", [(2,)]),
        (
            "SELECT status, ABS(SUM(age) - 20) AS n FROM customers GROUP BY status HAVING MAX(age) * 2 > 5",
            [("gold", 7, "gold")],
        ),
        ("SELECT 7 AS n FROM customers HAVING COUNT(*) % 2 = 1", [(7,)]),
        ("SELECT MAX(x.n) AS n FROM (SELECT city, -COUNT(*) AS n FROM customers GROUP BY 1) x", [(-1,)]),
    ],
)
def test_expressions_over_aggregates_without_noise_bind_in_the_engine(sql, answer):
    """Before: accepted, and then an engine's error: no aggregate may stand inside TRY."""
    assert ran(sql, {"customers": [("a", "gold", "X", 13, *[None] * 6)]}, given=OFF) == answer


def test_expressions_over_the_rows_of_one_entity_bind_in_the_engine():
    counted = "SELECT hashed_email, COUNT(*) * 2 AS n FROM customers GROUP BY 1 HAVING SUM(age) + 1 > 5"
    sql = f"SELECT SUM(LEAST(GREATEST(n, 0), 5)) AS s FROM ({counted}) x"
    assert ran(sql, {"customers": [("a", "gold", "X", 13, *[None] * 6)]}) == [(2.0,)]


def test_a_cast_of_a_date_that_is_written_out_is_of_the_date():
    """Before: the cast went to the text, and then the date was of what came out: here NULL, and a DATE."""
    sql = (
        "SELECT DATE '2020-02-29'::VARCHAR(4) AS y, TIMESTAMP '2020-02-29 10:00:00'::DATE AS d, "
        "DATE '2020-02-29'::TIMESTAMP::VARCHAR AS t, COUNT(*) AS n FROM customers"
    )
    assert ran(sql, {"customers": []}, given=OFF) == [("2020", date(2020, 2, 29), "2020-02-29 00:00:00", 0)]


def test_a_number_that_a_cast_rounds_is_no_longer_the_one_that_is_written():
    """Before: -TRY_CAST(0.1 AS BIGINT) passed for the literal -0.1, and was put on a public list as it stands."""
    key = "CASE WHEN age > 3 THEN -TRY_CAST(0.1 AS BIGINT) ELSE 7 END"
    answer = ran(
        f"SELECT {key} AS v, COUNT(*) AS n FROM customers GROUP BY 1",
        {"customers": [("a", "gold", "X", 13, *[None] * 6)]},
    )
    assert [row[:2] for row in answer] == [(0, 1)]
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled("SELECT COUNT(ROUND(age, 1.4::INT)) AS n FROM customers")
    assert refusal.value.rule == "literal_needed"


def test_the_parser_writes_nothing_of_a_text_to_the_log(caplog):
    """Before: its warnings quoted the template, literals and all."""
    with pytest.raises(CleanRoomError):
        compiled("SELECT COUNT(GET_PATH(city, '[secret')) AS n FROM customers")
    assert caplog.text == ""


def test_what_can_be_parsed_and_not_be_written_is_refused():
    """Before: an AttributeError of the SQL library's, and so a 500."""
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled("SELECT COUNT(city:x[1e999].secret) AS n FROM customers")
    assert refusal.value.rule == "not_sql"


def test_a_number_in_jinja_of_thousands_of_digits_is_refused():
    """Before: a ValueError of Python's, and so a 500."""
    with pytest.raises(TemplateRefusedError) as refusal:
        jinja_tree.parse(f"SELECT {{{{ {'9' * 5000} }}}} AS n FROM t")
    assert refusal.value.rule == "jinja_syntax"


@pytest.mark.parametrize(
    "made",
    [
        "SELECT hashed_email, age AS q FROM customers UNION ALL SELECT hashed_email, {} FROM customers",
        "SELECT hashed_email, CASE WHEN active THEN age ELSE {} END AS q FROM customers",
        "SELECT hashed_email, COALESCE({}, age) AS q FROM customers",
    ],
)
@pytest.mark.parametrize(
    "nothing", ["HOUR(NULL::TIMESTAMP)", "EXTRACT(epoch_second FROM NULL::DATE)", "LENGTH(NULL::VARCHAR)"]
)
def test_an_integer_beside_a_part_of_no_date_stays_one(made, nothing):
    """Before: a DOUBLE for the engine, and 2^63 - 1 in the column failed the query: an error that a row decides."""
    sql = f"SELECT COUNT_IF(q = 9223372036854775807) AS n FROM ({made.format(nothing)}) x"
    assert ran(sql, {"customers": [("a", "gold", "X", 2**63 - 1, *[None] * 4, True, None)]}) == [(1,)]


def in_both_orders(sql, rows, **more):
    """Return the exact table of a query on rows, and on the same in reverse: it must not depend on their order."""
    plan, answers = compiled(sql), []
    for listed in (rows, rows[::-1]):
        engine = Engine(customers=listed, **more)
        engine.load(plan)
        answers.append(engine.exact(plan.measurements[0]))
    return answers


def test_a_window_beside_a_subquery_does_not_depend_on_the_order_of_rows():
    """Before: rows that differ in what a subquery reads of them alone were numbered as the engine met them.

    So the exact sum was 262144 or 524288, and the rows of other entities could have decided which.
    """
    seen = "(SELECT COUNT(*) FROM segments o WHERE o.email = c.city) AS v"
    numbered = f"SELECT hashed_email, {seen}, ROW_NUMBER() OVER (PARTITION BY hashed_email ORDER BY status) AS w"
    one, other = in_both_orders(
        f"SELECT SUM(LEAST(GREATEST(w * v, 0), 5)) AS s FROM ({numbered} FROM customers c) x",
        [("a", "gold", city, *[None] * 7) for city in "XY"],
        segments=[("X", "s", 1.0)],
    )
    assert one == other == [{"c0": 262144}]


@pytest.mark.parametrize(
    "made",
    [
        "SELECT hashed_email, spend AS q FROM customers GROUP BY 1, 2",
        "SELECT DISTINCT hashed_email, spend AS q FROM customers",
        "SELECT hashed_email, MIN(spend) AS q FROM customers GROUP BY 1",
        "SELECT hashed_email, spend AS q FROM customers INTERSECT SELECT hashed_email, spend FROM customers",
        (
            "SELECT hashed_email, spend AS q, ROW_NUMBER() OVER (PARTITION BY hashed_email ORDER BY spend) AS w "
            "FROM customers QUALIFY w = 1"
        ),
    ],
)
@pytest.mark.parametrize(("shown", "key"), [("q::VARCHAR", "0.0"), ("ATAN2(q, -1)", math.pi)])
def test_what_is_equal_looks_equal_whatever_the_order_of_rows(made, shown, key):
    """Before: the group was '0.0' or '-0.0', and pi or -pi, by which of 0 and -0 the engine had met first."""
    rows = [("a", "gold", "X", 1, spend, *[None] * 5) for spend in (0.0, -0.0)]
    one, other = in_both_orders(f"SELECT {shown} AS k, COUNT(*) AS n FROM ({made}) x GROUP BY 1", rows)
    assert one == other == [{"k0": key, "c0": 1024, "c1": 1024}]
