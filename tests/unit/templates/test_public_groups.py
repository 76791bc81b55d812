"""Groups that are known before any row is read: each is listed once, however its value is written."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from sqlglot import exp

from cleanroom.errors import TemplateRefusedError
from cleanroom.rooms.tables import ColumnType, Domain
from cleanroom.templates.domains import domain_query, public_domain
from cleanroom.templates.moments import moment_literals
from cleanroom.templates.public_values import distinct_values
from cleanroom.templates.scalars import Scalar, native_name
from cleanroom.templates.trees import column, double, integer, to_sql
from cleanroom.use_cases.noisy_tables import draw_noise
from tests.unit.templates.compiling import CUSTOMERS, SEGMENTS, TABLES, Engine, compiled, ran
from tests.unit.templates.test_bounding import customer

PEOPLE = {"customers": [customer("a", age=4), customer("b", age=1), customer("c", age=9)]}
AGED = replace(CUSTOMERS, policy=replace(CUSTOMERS.policy, domains={"age": Domain(values=(-1, 0, 1, 4))}))
ZERO = "SELECT hashed_email, 0 AS k FROM customers"
ZEROS = "CASE WHEN age > 8 THEN 0 WHEN age > 3 THEN -0 WHEN age > 2 THEN -(-0) ELSE 1 END"


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT {ZEROS} AS k, COUNT(*) AS n FROM customers GROUP BY 1",
        f"SELECT {ZEROS} AS k, CASE WHEN age > 1 THEN -0 ELSE 0 END AS j, COUNT(*) AS n FROM customers GROUP BY 1, 2",
        f"SELECT {ZEROS} AS k, COUNT(*) AS n FROM customers GROUP BY ROLLUP(1)",
        f"SELECT {ZEROS} AS k, MAX(age) AS n FROM customers GROUP BY 1",
        "SELECT COALESCE(age, -1) AS k, COUNT(*) AS n FROM customers GROUP BY 1",
        "SELECT DECODE(status, 'gold', 0, 'x', -0, 1) AS k, COUNT(*) AS n FROM customers GROUP BY 1",
        f"SELECT k, COUNT(*) AS n FROM ({ZERO} UNION ALL {ZERO.replace('0', '-0')}) u GROUP BY 1",
    ],
)
def test_a_public_group_is_listed_once_however_its_value_is_written(sql):
    """0 and -0 were two groups with the same rows, each with noise of its own: up to 512 draws for one price."""
    bounded = replace(AGED, policy=replace(AGED.policy, max_rows=3, max_groups=3))
    plan = compiled(sql, tables=(bounded, SEGMENTS))
    engine = Engine(**PEOPLE)
    engine.load(plan)
    for measurement in plan.measurements:
        rows = engine.connection.execute(measurement.exact_sql).fetchall()
        groups = [row[: len(measurement.keys)] for row in rows]
        assert len(set(groups)) == len(groups)
        assert measurement.partition_selection is None


def minus(tree: exp.Expr) -> exp.Expr:
    return exp.Neg(this=exp.Paren(this=tree))


NULL, T = exp.null(), ColumnType
MIDNIGHT = (*moment_literals([18262], T.DATE), *moment_literals([18262 * 86_400_000_000], T.TIMESTAMP))
PRECISE = exp.TryCast(this=exp.Literal.string("2020-01-01T00:00:00.000"), to=exp.DataType.build("TIMESTAMP"))


@pytest.mark.parametrize(
    ("kind", "values", "different"),
    [
        (T.INTEGER, [integer(0), minus(integer(0)), minus(integer(-0)), integer(1), NULL, NULL], 3),
        (T.INTEGER, [integer(-1), minus(integer(1)), integer(2**53), integer(2**53 + 1)], 3),
        (T.DOUBLE, [integer(0), double(0.0), minus(double(0.0)), integer(1), double(1.0), double(0.1)], 3),
        (T.DOUBLE, [integer(2**53), integer(2**53 + 1), double(2.0**53), double(1e-300), minus(double(1e-300))], 3),
        (T.TIMESTAMP, [*MIDNIGHT, PRECISE, NULL], 2),
        (T.DATE, [*moment_literals([0, 1, 1], T.DATE)], 2),
        (T.TEXT, [exp.Literal.string(text) for text in ("0", "-0", "a", "A", "a ", "", "a")], 6),
        (T.BOOLEAN, [exp.true(), exp.false(), NULL, exp.true()], 3),
        (None, [NULL, NULL], 1),
    ],
)
def test_a_list_has_as_many_values_as_the_engine_finds_different_groups(kind, values, different):
    key = Scalar(sql=column("k"), type=kind, values=tuple(values))
    factors = public_domain((key,), at=exp.Null())
    native = native_name(kind or T.INTEGER)
    connection = Engine().connection
    rows = ", ".join(f"(CAST({to_sql(v)} AS {native}))" for v in values)
    groups = connection.execute(f"SELECT COUNT(*) FROM (SELECT v FROM (VALUES {rows}) t(v) GROUP BY v)").fetchone()
    listed = connection.execute(to_sql(domain_query(factors, [native]))).fetchall()
    assert groups == (different,)
    assert len(distinct_values(values, kind)) == len(factors[0].values) == len(listed) == len(set(listed)) == different


def test_what_is_not_written_out_is_on_no_public_list():
    for kind, tree in ((T.INTEGER, column("x")), (T.DATE, exp.Literal.string("2020-01-01")), (T.TEXT, integer(1))):
        with pytest.raises(TypeError, match="a public value is a literal"):
            distinct_values([tree], kind)
    with pytest.raises(TypeError, match="a public moment is written in full"):
        distinct_values([exp.TryCast(this=exp.Literal.string("1/2/20"), to=exp.DataType.build("DATE"))], T.DATE)


def test_the_limit_on_groups_counts_a_value_once_however_it_is_written():
    """A million groups with 0 written in two ways were two million, and refused."""

    def keys(*last: exp.Expr) -> tuple[Scalar, ...]:
        ten = Scalar(sql=column("k"), type=T.INTEGER, values=tuple(map(integer, range(10))))
        return *([ten] * 6), replace(ten, values=last)

    factors = public_domain(keys(integer(0), minus(integer(0))), at=exp.Null())
    assert [len(f.values) for f in factors] == [10] * 6 + [1]
    with pytest.raises(TemplateRefusedError, match="2000000 combinations"):
        public_domain(keys(integer(0), minus(integer(1))), at=exp.Null())


def test_a_long_list_is_refused_with_its_length():
    """20,000 values and more took seconds, and were then told to name a long expression in a CTE."""
    ages = {"age": Domain(values=tuple(range(20_001)))}
    many = replace(AGED, policy=replace(AGED.policy, domains=ages))
    with pytest.raises(TemplateRefusedError, match="20001 values together, and 20000 is the most") as refusal:
        compiled("SELECT age, COUNT(*) AS n FROM customers GROUP BY 1", tables=(many,))
    assert refusal.value.rule == "too_many_groups"
    by_tens = "SELECT WIDTH_BUCKET(age, 0, 120, 12) AS decade, COUNT(*) AS n FROM customers GROUP BY 1"
    assert compiled(by_tens, tables=(many,)).measurements[0].partition_selection is None


def test_totals_know_how_many_groups_their_parts_are():
    """The four texts of 0 and 1 were taken for four groups, where two are listed."""
    plan = compiled(f"SELECT {ZEROS} AS k, COUNT(*) AS n FROM customers GROUP BY ROLLUP(1)", consistent=True)
    (totals,) = plan.post.consistent
    assert totals.sizes == (2,)


def test_a_union_keeps_the_lists_of_its_parts():
    """A declared domain was lost in a UNION, and its groups were private: a price more, and small groups left out."""
    rows = {"customers": [customer("a", status="gold"), customer("b", status="gold"), customer("c", status="none")]}
    own = "SELECT hashed_email AS e, status AS s FROM customers"
    for union, groups in (
        (f"{own} UNION ALL {own}", [("gold", 4), ("none", 2), ("silver", 0)]),
        (f"{own} UNION {own}", [("gold", 2), ("none", 1), ("silver", 0)]),
        (f"{own} INTERSECT {own}", [("gold", 2), ("none", 1), ("silver", 0)]),
        (
            f"{own} UNION ALL SELECT hashed_email, 'new' FROM customers",
            [("gold", 2), ("new", 3), ("none", 1), ("silver", 0)],
        ),
    ):
        sql = f"SELECT s, COUNT(*) AS n FROM ({union}) u GROUP BY s ORDER BY s"
        (measurement,) = compiled(sql).measurements
        assert measurement.partition_selection is None
        assert [row[:2] for row in ran(sql, rows)] == groups
    mixed = f"{own} UNION ALL SELECT hashed_email, city FROM customers"
    (measurement,) = compiled(f"SELECT s, COUNT(*) AS n FROM ({mixed}) u GROUP BY s").measurements
    assert measurement.partition_selection is not None


def test_a_row_against_its_declaration_makes_no_group_above_a_union():
    """Neither a group of its own, nor weight: the other row of its entity counts in full."""
    own = "SELECT hashed_email AS e, age FROM customers"
    sql = f"SELECT age, COUNT(*) AS n FROM ({own} UNION ALL {own} WHERE age < 3) u GROUP BY age ORDER BY age"
    tables = (replace(AGED, policy=replace(AGED.policy, max_rows=2, max_groups=1)), *TABLES[1:])
    rows = {"customers": [customer("a", age=1), *[customer("a", age=77)] * 50, customer("b", age=None)]}
    assert [row[:2] for row in ran(sql, rows, tables=tables)] == [(-1, 0), (0, 0), (1, 2), (4, 0)]


def test_no_noise_is_drawn_for_a_table_with_a_group_twice():
    plan = compiled("SELECT age > 3 AS k, COUNT(*) AS n FROM customers GROUP BY 1")
    (measurement,) = plan.measurements
    twice = pa.table({"k0": [True, True], measurement.columns[0].name: [8, 8]})
    with pytest.raises(AssertionError, match="each group once"):
        draw_noise(twice, measurement, plan, None)
