"""What the compiler accepts, what it costs, and what comes out when the noise is left away."""

from __future__ import annotations

from fractions import Fraction

import pytest
import sqlglot
from sqlglot import exp

from cleanroom.adapters.duckdb_sandbox import EngineLimits, open_sandbox
from cleanroom.errors import TemplateRefusedError
from cleanroom.privacy.accounting import Price, price_of
from cleanroom.privacy.calibration import gaussian_rho
from cleanroom.privacy.noise import DiscreteCube, DiscreteGaussian, DiscreteLaplace
from cleanroom.rooms.tables import ColumnType, Domain, LinkedTable
from cleanroom.templates.operators import OPERATORS
from tests.unit.templates.compiling import (
    CUSTOMERS,
    EPSILON_ONE,
    GAUSSIAN,
    OFF,
    SEGMENTS,
    TABLES,
    Engine,
    compiled,
    ran,
    settings,
)

B47 = (
    "SELECT cleanroom.addNoise(count(distinct p.hashed_email), 0.1, UNIFORM(0::FLOAT, 1::FLOAT, RANDOM())) "
    "AS noisy_count FROM IDENTIFIER('airline.customers') p"
)

ROWS: dict[str, list[tuple[object, ...]]] = {
    "customers": [
        ("a", "gold", "X", 30, 20.0, 5, None, None, True, None),
        ("a", "gold", "Y", 40, 900.0, 5, None, None, True, None),
        ("b", "silver", "X", 50, -10.0, 5, None, None, False, None),
        ("c", "odd", "X", None, None, 5, None, None, None, None),
        (None, "gold", "X", 7, 7.0, 5, None, None, True, None),
    ],
    "segments": [("a", "s1", 1.0), ("b", "s2", 2.0), ("z", "s3", 3.0)],
    "flights": [("a", 100, "JFK"), ("a", 300, "LAX"), ("b", 50, "JFK")],
}


def epsilon(text: str) -> Price:
    return price_of(epsilon=Fraction(text))


def test_the_template_of_the_former_product_compiles_unchanged() -> None:
    """B-47, B-40, B-45: one entity count with noise for its own epsilon, the noiserand nowhere."""
    plan = compiled(B47)
    (measurement,) = plan.measurements
    (column,) = measurement.columns
    assert measurement.exact_sql == (
        'WITH "pairs" AS MATERIALIZED (SELECT "r"."e" AS "e" FROM (SELECT "r0"."hashed_email" AS "e" FROM "t0" AS "r0" '
        'WHERE NOT "r0"."hashed_email" IS NULL) AS "r" GROUP BY 1) SELECT CAST(LEAST(GREATEST(COALESCE(SUM(1), 0), '
        '(-4611686018427387904)), 4611686018427387904) AS BIGINT) AS "c0" FROM "pairs" AS "p"'
    )
    assert column.noise == DiscreteLaplace(scale=Fraction(10))
    assert (column.sensitivity, column.unit, column.norm) == (1, 1, "l1")
    assert plan.price == epsilon("0.1")
    assert plan.release.sql == 'SELECT "r1"."c0" AS "noisy_count" FROM "m0" AS "r1"'
    assert [c.role for c in plan.release.columns] == ["measured"]
    assert plan.protected_owners == ("airline",)
    assert plan.entity == "hashed_email of airline.customers"
    assert [(u.relation, u.table.full_name, u.columns) for u in plan.tables] == [
        ("t0", "airline.customers", ("hashed_email",))
    ]


@pytest.mark.parametrize(
    "name",
    [
        "airline.customers",
        "AIRLINE.Customers",
        '"airline"."customers"',
        "customers",
        "IDENTIFIER('airline.customers')",
        'IDENTIFIER(\'"AIRLINE"."customers"\')',
        "IDENTIFIER('CUSTOMERS')",
    ],
)
def test_a_linked_table_is_found_under_each_of_its_names(name: str) -> None:
    """B-31, B-34."""
    assert ran(f"SELECT COUNT(DISTINCT p1.hashed_email) AS n FROM {name} p1", ROWS) == [(3,)]


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("SELECT COUNT(*) AS n FROM customers", [(4,)]),
        ("SELECT COUNT(age) AS n, COUNT(spend) AS m FROM customers", [(3, 3)]),
        ("SELECT SUM(spend) AS s FROM customers", [(40.0,)]),
        ("SELECT status, COUNT(*) FROM customers GROUP BY status", [("gold", 2), ("none", 0), ("silver", 1)]),
        ("SELECT status AS s, COUNT(*) AS n FROM customers GROUP BY s HAVING n > 1 ORDER BY n DESC", [("gold", 2)]),
        (
            "SELECT UPPER(status) AS u, COUNT(*) AS n FROM customers GROUP BY u ORDER BY 2 DESC LIMIT 1",
            [("GOLD", 2)],
        ),
        ("SELECT age > 35 AS old, COUNT(*) FROM customers GROUP BY 1", [(False, 1), (True, 2), (None, 1)]),
        (
            "SELECT CASE WHEN age < 40 THEN 'young' WHEN age > 39 THEN 'old' END, COUNT(*) FROM customers GROUP BY 1",
            [("old", 2), ("young", 1), (None, 1)],
        ),
        ("SELECT COUNT(*) / COUNT(DISTINCT hashed_email) AS r FROM customers", [(4 / 3,)]),
        ("SELECT ROUND(AVG(age), 1) AS a FROM customers", [(40.0,)]),
        ("SELECT COUNT_IF(age >= 40) AS n FROM customers", [(2,)]),
        ("SELECT SUM(IFF(age >= 40, 1, 0)) AS n FROM customers WHERE city = 'X'", [(1.0,)]),
        (
            "SELECT COUNT(*) AS n FROM customers WHERE age BETWEEN 30 AND 45 AND city IN ('X', 'Y')",
            [(2,)],
        ),
        ("SELECT COUNT(*) FROM customers p JOIN segments c ON p.hashed_email = c.email", [(3,)]),
        ("SELECT COUNT(DISTINCT c.email) FROM customers p JOIN segments c ON c.email = p.hashed_email", [(2,)]),
        (
            "SELECT segment, COUNT(*) FROM customers p LEFT JOIN segments c ON p.hashed_email = c.email GROUP BY 1",
            [("s1", 2), ("s2", 1), ("s3", 0), (None, 1)],
        ),
        (
            "SELECT segment, COUNT(*) FROM segments c RIGHT JOIN customers p ON p.hashed_email = c.email GROUP BY 1",
            [("s1", 2), ("s2", 1), ("s3", 0), (None, 1)],
        ),
        ("SELECT COUNT(*) AS n FROM customers p JOIN flights f ON p.hashed_email = f.email AND f.miles > 60", [(4,)]),
        ("SELECT COUNT(*) AS n FROM customers p, flights f WHERE f.email = p.hashed_email AND f.miles > 200", [(2,)]),
        ("SELECT COUNT(*) AS n FROM customers p LEFT JOIN flights f ON p.hashed_email = f.email", [(6,)]),
        ("SELECT SUM(miles) AS n FROM flights f JOIN segments s USING (email)", [(450.0,)]),
        (
            (
                "WITH per AS (SELECT hashed_email AS e, COUNT(*) AS c FROM customers GROUP BY e) "
                "SELECT COUNT(*) AS n FROM per WHERE c > 1"
            ),
            [(1,)],
        ),
        (
            (
                "WITH a AS (SELECT status, COUNT(*) AS n FROM customers GROUP BY 1), "
                "b AS (SELECT status, COUNT(*) AS n FROM customers WHERE age > 35 GROUP BY 1) "
                "SELECT a.status, a.n - b.n AS d FROM a JOIN b ON a.status = b.status WHERE a.n > 0 ORDER BY 1"
            ),
            [("gold", 1), ("silver", 0)],
        ),
        ("SELECT SUM(n) AS s, MAX(n) AS m FROM (SELECT status, COUNT(*) AS n FROM customers GROUP BY 1) q", [(3, 2)]),
        ("SELECT * FROM (SELECT status, COUNT(*) AS n FROM customers GROUP BY 1) q WHERE n > 1", [("gold", 2)]),
        (
            (
                "WITH w AS (SELECT segment, SUM(weight) AS s FROM segments GROUP BY 1) "
                "SELECT COUNT(*) AS n FROM customers CROSS JOIN w WHERE w.s > 1.5"
            ),
            [(8,)],
        ),
    ],
)
def test_without_noise_the_release_is_the_plain_answer(sql: str, answer: list[tuple[object, ...]]) -> None:
    """The bounds are wide here, so that nothing is clipped but spend (to -10 .. 30)."""
    policy = CUSTOMERS.policy
    wide = (
        LinkedTable(
            owner=CUSTOMERS.owner,
            name=CUSTOMERS.name,
            columns=CUSTOMERS.columns,
            entity_columns=CUSTOMERS.entity_columns,
            policy=type(policy)(max_rows=50, max_groups=50, bounds=policy.bounds, domains=policy.domains),
        ),
        *TABLES[1:],
    )
    plan = compiled(sql, tables=wide)
    engine = Engine(**ROWS)
    engine.load(plan)
    width = len(plan.release.columns)
    shown = [row[:width] for row in engine.release(plan)]
    assert [tuple(pytest.approx(v) if isinstance(v, float) else v for v in row) for row in answer] == shown
    if plan.release.interval_sql is not None:
        simulated = engine.release(plan, sql=plan.release.interval_sql, replicates=3)
        assert {row[0] for row in simulated} == {0, 1, 2}
        assert all(len(row) == 1 + width + len(plan.release.identity) for row in simulated)
        assert set(shown) <= {row[1 : 1 + width] for row in simulated}


def test_a_sum_is_centred_wherever_its_count_is_measured():
    """Half the weight of a row: the count may be asked for by another aggregate than the sum's own."""
    beside = compiled("SELECT SUM(age) AS s, COUNT(age) AS n FROM customers").measurements[0].columns
    alone = compiled("SELECT SUM(age) AS s FROM customers").measurements[0].columns
    assert [c.meaning.split()[0:2] for c in beside] == [["sum", "around"], ["values", "that"]]
    assert [c.meaning for c in alone] == ["sum"]
    # age is within 0 and 120: a row weighs 60 from the middle, or 120 from zero; at most 6 rows of an entity count.
    assert [c.sensitivity * c.unit for c in (beside[0], alone[0])] == [60 * 6, 120 * 6]


@pytest.mark.parametrize(
    ("sql", "price", "columns"),
    [
        ("SELECT COUNT(*) AS n FROM customers", "1", ["1"]),
        ("SELECT COUNT(*) AS n, COUNT(*) + 1 AS m FROM customers", "1", ["1"]),
        ("SELECT AVG(age) AS a FROM customers", "1", ["1/2", "1/2"]),
        ("SELECT AVG(age) AS a, COUNT(age) AS n FROM customers", "2", ["1", "1"]),
        ("SELECT AVG(age) AS a, SUM(age) AS s, COUNT(age) AS n FROM customers", "3", ["3/2", "3/2"]),
        ("SELECT VARIANCE(age) AS a FROM customers", "1", ["1/3", "1/3", "1/3"]),
        ("SELECT AVG(age) AS a, AVG(spend) AS b, COUNT(*) AS n FROM customers", "3", ["1/2"] * 4 + ["1"]),
        ("SELECT cleanroom.addnoise(SUM(age) / COUNT(*), 0.3, 0) AS a FROM customers", "0.3", ["0.15", "0.15"]),
        (
            "SELECT CLEANROOM.ADDNOISE(AVG(age), 0.3, 0) AS a, COUNT(*) AS n FROM customers",
            "1.3",
            ["0.15", "0.15", "1"],
        ),
        ("SELECT status, COUNT(*) AS n FROM customers GROUP BY 1", "1", ["1"]),
        ("SELECT city, COUNT(*) AS n FROM customers GROUP BY 1", "2", ["1", "1"]),
        ("SELECT city, COUNT(DISTINCT hashed_email) AS n FROM customers GROUP BY 1", "1", ["1"]),
        (
            "SELECT status, city, SUM(age) AS n FROM customers GROUP BY 1, 2 HAVING COUNT(*) > 3",
            "3",
            ["9/8", "9/8", "3/4"],
        ),
        # The selection shares with what is measured beside it; a sum that is not centred counts twice, and a vector of
        # two columns as much as 1.587, the root of 4 by 3.
        ("SELECT city, SUM(age) AS n FROM customers GROUP BY 1", "2", ["4/3", "2/3"]),
        ("SELECT city, AVG(age) AS n FROM customers GROUP BY 1", "2", ["1587/2587", "1587/2587", "2000/2587"]),
        (
            "SELECT city, AVG(age) AS n, COUNT(age) AS m FROM customers GROUP BY 1",
            "3",
            ["4761/5174", "4761/5174", "3000/2587"],
        ),
    ],
)
def test_the_price_follows_the_parts_that_are_measured(sql: str, price: str, columns: list[str]) -> None:
    """B-50: and the columns' shares add up to no more than the price."""
    plan = compiled(sql)
    shares = [c.price for m in plan.measurements for c in m.columns]
    assert plan.price.micro_epsilon == epsilon(price).micro_epsilon
    assert [s.micro_epsilon for s in shares] == pytest.approx([epsilon(c).micro_epsilon for c in columns], abs=1500)
    for m in plan.measurements:
        share_of = {c.name: Fraction(share) for c, share in zip(m.columns, columns, strict=False)}
        for together in m.drawn_together:
            noise = together[0].noise
            assert isinstance(noise, DiscreteLaplace if len(together) == 1 else DiscreteCube)
            assert noise.scale == together[0].sensitivity / sum(share_of[c.name] for c in together)


def test_private_groups_cost_delta_and_the_template_sensitivity_multiplies_epsilon() -> None:
    """B-35, B-16."""
    plan = compiled("SELECT city, COUNT(*) AS n FROM customers GROUP BY 1", sensitivity=Fraction(3, 2))
    assert plan.price == Price(micro_epsilon=3_000_000, delta_steps=1_000_000)
    (measurement,) = plan.measurements
    assert measurement.partition_selection is not None
    assert measurement.partition_selection.column == "c1"
    assert measurement.partition_selection.tau > 10 * 1024


def test_gaussian_columns_share_the_rho_of_the_whole_run() -> None:
    """B-12, B-16: two columns at epsilon 1 each get half of the rho of (2, 2 delta)."""
    plan = compiled("SELECT COUNT(*) AS n, COUNT(age) AS m FROM customers", given=GAUSSIAN)
    rho = gaussian_rho(epsilon=Fraction(2), delta=Fraction(2, 10**6))
    for column in plan.measurements[0].columns:
        assert (column.norm, column.sensitivity) == ("l2", 36)
        assert column.noise == DiscreteGaussian(sigma_squared=Fraction(36) / (2 * (rho / 2)))
    assert plan.price == Price(micro_epsilon=2_000_000, delta_steps=2_000_000)
    named = compiled(
        "SELECT cleanroom.addnoise(COUNT(*), 1, 0.5, gaussian => TRUE, delta => 0.0001) AS n FROM customers"
    )
    assert named.price == Price(micro_epsilon=1_000_000, delta_steps=100_000_000)
    assert isinstance(named.measurements[0].columns[0].noise, DiscreteGaussian)


def test_a_smallest_group_raises_tau_and_hides_public_groups_by_their_noisy_size() -> None:
    """B-15, B-80: never by the exact number."""
    tables = (with_smallest_group(1000), SEGMENTS)
    private = compiled("SELECT city, COUNT(*) AS n FROM customers GROUP BY 1", tables=tables)
    assert private.measurements[0].partition_selection is not None
    assert private.measurements[0].partition_selection.tau >= 1000 * 1024
    public = compiled("SELECT status, COUNT(*) AS n FROM customers GROUP BY 1", tables=tables)
    assert '"c1" >= 1000' in public.release.sql
    assert public.price == epsilon("2")
    by_setting = compiled(
        "SELECT status, COUNT(*) AS n FROM customers GROUP BY 1", given=settings(threshold=True, threshold_value=50)
    )
    assert '"c1" >= 50' in by_setting.release.sql


def with_smallest_group(least: int) -> LinkedTable:
    policy = CUSTOMERS.policy
    return LinkedTable(
        owner=CUSTOMERS.owner,
        name=CUSTOMERS.name,
        columns=CUSTOMERS.columns,
        entity_columns=CUSTOMERS.entity_columns,
        policy=type(policy)(max_rows=3, max_groups=2, bounds=policy.bounds, domains=policy.domains, min_entities=least),
    )


def test_declared_combinations_over_a_million_are_refused_with_the_number() -> None:
    keys = ", ".join(f"age > {i}" for i in range(13))
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(f"SELECT COUNT(*) AS n FROM customers GROUP BY {keys}")
    assert refusal.value.rule == "too_many_groups"
    assert str(3**13) in str(refusal.value)


def test_roles_tell_keys_measured_and_derived_columns() -> None:
    plan = compiled(
        "SELECT status, 7 AS seven, COUNT(*) AS n, AVG(age) AS a, SUM(spend) AS s FROM customers GROUP BY 1"
    )
    assert [(c.name, c.role) for c in plan.release.columns] == [
        ("status", "key"),
        ("seven", "key"),
        ("n", "measured"),
        ("a", "derived"),
        ("s", "measured"),
    ]
    assert plan.release.identity == ("identity_0",)


def test_having_on_top_and_limits_are_not_in_the_simulation() -> None:
    plan = compiled("SELECT status, COUNT(*) * 2 AS n FROM customers GROUP BY 1 HAVING COUNT(*) > 5 ORDER BY 2 LIMIT 1")
    assert plan.release.interval_sql is not None
    for word in ("HAVING", "LIMIT", "ORDER", "> 5"):
        assert word not in plan.release.interval_sql
    assert "LIMIT 1" in plan.release.sql


# --- DP off -----------------------------------------------------------------------------------------------------------


def test_with_dp_off_rows_may_be_returned_and_cost_nothing() -> None:
    """B-38."""
    plan = compiled("SELECT city, age + 1 AS older FROM customers WHERE age > 30 ORDER BY age DESC LIMIT 1", given=OFF)
    engine = Engine(**ROWS)
    engine.load(plan)
    assert not plan.differential
    assert plan.price == epsilon("0")
    assert [row[:2] for row in engine.release(plan)] == [("X", 51)]
    assert [c.role for c in plan.release.columns] == ["exact", "exact"]


def test_with_dp_off_addnoise_takes_sensitivity_one_and_says_so() -> None:
    """B-42, B-46."""
    sql = (
        "SELECT city, COUNT(*) AS n, ROUND(cleanroom.addnoise(AVG(age), 0.5, 0.5), 1) AS a "
        "FROM customers GROUP BY 1 ORDER BY 1"
    )
    plan = compiled(sql, given=OFF)
    (column,) = plan.measurements[0].columns
    assert column.noise == DiscreteLaplace(scale=Fraction(2 * (2**20 + 1)))
    assert plan.price == epsilon("0.5")
    assert any("sensitivity" in note for note in plan.notes)
    engine = Engine(**ROWS)
    engine.load(plan)
    assert [row[:3] for row in engine.release(plan)] == [("X", 4, 29.0), ("Y", 1, 40.0)]
    simulated = engine.release(plan, sql=plan.release.interval_sql, replicates=2)
    assert {row[:4] for row in simulated} == {
        (i, c, n, a) for i in (0, 1) for c, n, a in (("X", 4, 29.0), ("Y", 1, 40.0))
    }


def test_with_dp_off_a_smallest_group_is_enforced_exactly_and_rows_do_not_come_out() -> None:
    """B-80."""
    tables = (with_smallest_group(2), SEGMENTS)
    assert [
        r[:2] for r in ran("SELECT city, COUNT(*) AS n FROM customers GROUP BY 1", ROWS, given=OFF, tables=tables)
    ] == [("X", 3)]
    assert ran("SELECT COUNT(*) AS n FROM customers WHERE city = 'Y'", ROWS, given=OFF, tables=tables) == []
    nested = "SELECT SUM(n) AS n FROM (SELECT city, COUNT(*) AS n FROM customers GROUP BY 1) q"
    assert ran(nested, ROWS, given=OFF, tables=tables) == [(3,)]
    for sql in ("SELECT city FROM customers", "SELECT hashed_email, COUNT(*) AS n FROM customers GROUP BY 1"):
        with pytest.raises(TemplateRefusedError) as refusal:
            compiled(sql, given=OFF, tables=tables)
        assert refusal.value.rule == "rows_released"


# --- no row makes a query fail ----------------------------------------------------------------------------------------

NASTY: list[tuple[object, ...]] = [
    (f"e{i}", text, text, integer, number, 9999999999999.99, day, moment, flag, None)
    for i, (text, integer, number, day, moment, flag) in enumerate(
        [
            ("", 0, 0.0, "0001-01-01", "0001-01-01", True),
            ("x", 2**63 - 1, float("nan"), "infinity", "infinity", False),
            ("é" * 300, -(2**63), float("inf"), "-infinity", "-infinity", None),
            ("2020-02-30", -1, float("-inf"), "5877642-06-25 (BC)", "290309-12-22 (BC)", True),
            ("1e999", 1, 1e308, "5881580-07-10", "294247-01-10", True),
            (None, None, None, None, None, None),
            ("%_\\", 7, -1e-308, "2020-02-29", "2020-02-29 23:59:59", False),
        ]
    )
]

ROW_WISE = [
    "age + age",
    "age - age * 2",
    "age * age",
    "-age",
    "ABS(age)",
    "age / 0",
    "age / spend",
    "age % 0",
    "MOD(age, -1)",
    "MOD(spend, 0)",
    "spend * 1e308",
    "spend / spend",
    "price * price",
    "price + age",
    "POWER(spend, spend)",
    "POWER(age, age)",
    "SQRT(spend)",
    "LN(spend)",
    "EXP(spend)",
    "ROUND(spend, 15)",
    "ROUND(age, -15)",
    "FLOOR(spend)",
    "CEIL(spend)",
    "SIGN(spend)",
    "city::INTEGER",
    "city::FLOAT",
    "city::DATE",
    "city::TIMESTAMP_NTZ",
    "city::BOOLEAN",
    "city::NUMBER(10,2)",
    "spend::INTEGER",
    "age::VARCHAR",
    "spend::VARCHAR(3)",
    "age::BOOLEAN",
    "since::VARCHAR",
    "since::TIMESTAMP_NTZ",
    "seen::DATE",
    "TO_DATE(city)",
    "YEAR(since)",
    "MONTH(seen)",
    "DAY(since)",
    "QUARTER(since)",
    "HOUR(seen)",
    "MINUTE(seen)",
    "SECOND(seen)",
    "DAYOFWEEK(since)",
    "DAYOFYEAR(since)",
    "EXTRACT(year FROM since)",
    "DATE_PART('month', since)",
    "DATE_TRUNC('month', since)",
    "DATE_TRUNC('year', seen)",
    "DATE_TRUNC('week', since)",
    "LOWER(city)",
    "UPPER(city)",
    "LENGTH(city)",
    "TRIM(city)",
    "LTRIM(city)",
    "SUBSTR(city, 2, 3)",
    "SUBSTR(city, -400)",
    "LEFT(city, 2)",
    "RIGHT(city, 2)",
    "city || status",
    "CONCAT(city, status)",
    "STARTSWITH(city, status)",
    "city LIKE '%!%%' ESCAPE '!'",
    "city ILIKE '_%'",
    "LIKE(city, '%')",
    "age IN (1, 2, NULL)",
    "since IN ('2020-01-01', 'nonsense')",
    "since > '2020-01-01'",
    "since = seen",
    "age = spend",
    "price = 0.1",
    "price BETWEEN age AND spend",
    "spend IS NULL",
    "NOT active",
    "active IS TRUE",
    "active AND age > 1 OR spend < 0",
    "COALESCE(age, spend, price)",
    "NVL(city, 'x')",
    "NULLIF(age, 0)",
    "IFF(active, age, spend)",
    "CASE WHEN active THEN since ELSE seen END",
    "CASE city WHEN 'x' THEN 1 END",
    "LEAST(age, spend, 3)",
    "GREATEST(age, NULL)",
    "ZEROIFNULL(age)",
    "DIV0(age, age)",
    "NULL",
    "LEAST(since, seen)",
]


@pytest.fixture(scope="module")
def empty() -> Engine:
    return Engine()


@pytest.fixture(scope="module")
def nasty() -> Engine:
    return Engine(customers=NASTY)


@pytest.mark.parametrize("expression", ROW_WISE)
def test_no_row_makes_an_allowed_expression_fail(expression: str, empty: Engine, nasty: Engine) -> None:
    """Whatever a cell holds, the query ends, and with the same columns: as filter, as key, as value, per entity."""
    queries = [
        f"SELECT COUNT({expression}) AS n FROM customers",
        f"SELECT {expression} AS k, COUNT(*) AS n FROM customers GROUP BY 1",
        f"SELECT COUNT(*) AS n FROM customers WHERE ({expression}) IS NOT NULL",
        f"SELECT COUNT(m) AS n FROM (SELECT hashed_email, MAX({expression}) AS m FROM customers GROUP BY 1) q",
    ]
    for sql in queries:
        plan = compiled(sql)
        shapes = []
        for engine in (empty, nasty):
            engine.load(plan)
            answer = engine.connection.execute(
                plan.measurements[0].exact_sql, {"run_key": 1} if "$run_key" in plan.measurements[0].exact_sql else None
            )
            shapes.append([tuple(map(str, d[:2])) for d in answer.description])
            answer.fetchall()
        assert shapes[0] == shapes[1]


NUMBERS = ["age", "spend", "price", "age * spend", "ABS(age)", "LENGTH(city)", "YEAR(since)"]


@pytest.mark.parametrize("expression", NUMBERS)
def test_no_row_makes_a_sum_fail(expression: str) -> None:
    sql = (
        f"SELECT SUM(LEAST(GREATEST({expression}, -5), 1e15)) AS s, AVG(LEAST(GREATEST({expression}, 0), 0.5)) AS a, "
        "COUNT(*) AS n FROM customers"
    )
    per = (
        "SELECT SUM(LEAST(GREATEST(s + a, 0), 1)) AS n FROM (SELECT hashed_email, "
        f"SUM({expression}) AS s, AVG({expression}) AS a FROM customers GROUP BY 1) q"
    )
    for given in (EPSILON_ONE, GAUSSIAN):
        ran(sql, {"customers": NASTY * 3}, given=given)
        ran(per, {"customers": NASTY * 3}, given=given)


def test_every_operator_is_tried() -> None:
    """The functions are tried in `test_functions_total.py`."""
    tried = {type(n) for e in ROW_WISE for n in sqlglot.parse_one(f"SELECT {e}", read="snowflake").walk()}
    left = {kind for kind in OPERATORS if kind not in tried}
    assert left <= {exp.TryCast, exp.NEQ, exp.LTE, exp.GTE, exp.LT, exp.Paren, exp.Boolean}


def test_what_is_compiled_is_accepted_by_the_sandbox_that_runs_it() -> None:
    sqls = [
        B47,
        "SELECT city, status, COUNT(*) AS n, AVG(spend) AS a FROM customers GROUP BY 1, 2 ORDER BY 3 LIMIT 2",
        (
            "SELECT segment, status, COUNT(*) * 2 AS n FROM customers p "
            "LEFT JOIN segments c ON p.hashed_email = c.email GROUP BY 1, 2"
        ),
    ]
    with open_sandbox(EngineLimits(memory_bytes=1 << 28, threads=1)) as sandbox:
        for sql in sqls:
            plan = compiled(sql)
            for use in plan.tables:
                listed = ", ".join(
                    f'NULL::{c.native_type} AS "{c.name}"' for c in use.table.columns if c.name in use.columns
                )
                sandbox.trusted(f"CREATE OR REPLACE TABLE {use.relation} AS SELECT {listed}")
            for m in plan.measurements:
                parameters = {"run_key": 1} if "$run_key" in m.exact_sql else {}
                answer = sandbox.query(m.exact_sql, relations=[u.relation for u in plan.tables], parameters=parameters)
                assert answer.column_names == [*m.keys, *(c.name for c in m.columns)]
                assert all(str(answer.schema.field(c.name).type) == "int64" for c in m.columns)
                text = m.exact_sql.replace("$run_key", "1")
                sandbox.trusted(f"CREATE OR REPLACE TABLE {m.name} AS SELECT *, 0 AS replicate FROM ({text})")
            for text in (plan.release.sql, plan.release.interval_sql):
                if text is not None:
                    sandbox.query(text, relations=[m.name for m in plan.measurements])


def test_the_output_never_holds_a_name_or_function_of_the_caller_unquoted() -> None:
    tables = (
        LinkedTable(
            owner="airline",
            name="customers",
            columns=(
                *CUSTOMERS.columns[:1],
                type(CUSTOMERS.columns[0])(name='x"; DROP', type=ColumnType.TEXT, native_type="VARCHAR"),
            ),
            entity_columns=CUSTOMERS.entity_columns,
            policy=CUSTOMERS.policy,
        ),
    )
    plan = compiled('SELECT COUNT("x""; DROP") AS "a""b" FROM customers', tables=tables)
    assert '"x""; DROP"' in plan.measurements[0].exact_sql
    assert plan.release.sql.endswith('AS "a""b" FROM "m0" AS "r1"')


def test_a_declared_value_may_hold_any_character() -> None:
    values = ("O'Hare", 'a"b', "x\\", "", "é\n", "NULL")
    policy = CUSTOMERS.policy
    table = LinkedTable(
        owner=CUSTOMERS.owner,
        name=CUSTOMERS.name,
        columns=CUSTOMERS.columns,
        entity_columns=CUSTOMERS.entity_columns,
        policy=type(policy)(max_rows=3, max_groups=3, domains={"city": Domain(values=values)}),
    )
    rows = [(f"e{i}", "gold", v, 1, 1.0, 1, None, None, None, None) for i, v in enumerate((*values, None, "other"))]
    answer = ran("SELECT city, COUNT(*) AS n FROM customers GROUP BY 1", {"customers": rows}, tables=(table,))
    assert {row[0]: row[1] for row in answer} == dict.fromkeys(values, 1)
