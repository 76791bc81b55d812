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
from tests.unit.templates.compiling import CUSTOMERS, SEGMENTS, Engine, compiled
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


def test_totals_know_how_many_groups_their_parts_are():
    """The four texts of 0 and 1 were taken for four groups, where two are listed."""
    plan = compiled(f"SELECT {ZEROS} AS k, COUNT(*) AS n FROM customers GROUP BY ROLLUP(1)", consistent=True)
    (totals,) = plan.post.consistent
    assert totals.sizes == (2,)


def test_no_noise_is_drawn_for_a_table_with_a_group_twice():
    plan = compiled("SELECT age > 3 AS k, COUNT(*) AS n FROM customers GROUP BY 1")
    (measurement,) = plan.measurements
    twice = pa.table({"k0": [True, True], measurement.columns[0].name: [8, 8]})
    with pytest.raises(AssertionError, match="each group once"):
        draw_noise(twice, measurement, plan, None)
