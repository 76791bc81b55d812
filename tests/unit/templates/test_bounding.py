"""Exact queries against an obvious reference, and against the promise itself: what one entity can move."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanroom.rooms.tables import ColumnBounds, LinkedTable
from cleanroom.templates.plan import MeasuredColumn, Measurement, Plan
from tests.unit.templates.compiling import CUSTOMERS, EPSILON_ONE, GAUSSIAN, SEGMENTS, Engine, compiled

COUNT_STEPS = 1024
SPEND_STEPS = 20 * 2**15
"""Of half the range of spend, -10 to 30: a value that is counted beside its sum weighs as much."""
ROW = tuple[object, ...]


def customer(
    email: object, *, status: object = "gold", city: object = "X", age: object = 1, spend: object = 1.0
) -> ROW:
    return (email, status, city, age, spend, 1, None, None, None, None)


def with_bounds(*, max_rows: int, max_groups: int) -> tuple[LinkedTable, ...]:
    policy = replace(CUSTOMERS.policy, max_rows=max_rows, max_groups=max_groups)
    return (replace(CUSTOMERS, policy=policy), SEGMENTS)


values = st.one_of(
    st.none(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(min_value=-15, max_value=35),
    st.sampled_from([-10.0, 30.0, 10.0, 0.0, 1e308, -1e308]),
)
customers = st.lists(
    st.builds(
        customer,
        st.sampled_from(["a", "b", "c", None]),
        status=st.sampled_from(["gold", "silver", "none", "undeclared", None]),
        city=st.sampled_from(["X", "Y", "Z", None, "V", "W", "U", "T", "S", "R"]),
        age=st.one_of(st.none(), st.integers(-200, 200)),
        spend=values,
    ),
    max_size=40,
)


def on_grid(x: Any, *, lo: Fraction | int, hi: Fraction | int, centred: bool) -> int | None:
    """The documented grid, from the docstrings alone, in exact arithmetic (the columns tried have exact middles)."""
    if x is None or not math.isfinite(x):
        return None
    width = Fraction(hi - lo if centred else max(abs(lo), abs(hi)))
    unit = Fraction(2) ** math.floor(math.log2(width / 2**20))
    lowest, highest = math.floor(lo / unit), math.ceil(hi / unit)
    middle = (lowest + highest) // 2 if centred else 0
    steps = (
        Fraction(float(Fraction(float(x)) / unit - middle))
        if abs(x) < 1e300
        else Fraction(10**40 if x > 0 else -(10**40))
    )
    return max(lowest - middle, min(highest - middle, round(steps)))


def reference(
    rows: list[ROW], *, key: int, keys: list[str] | None, k: int, m: int, gaussian: bool
) -> dict[object, list[int]]:
    """Rows, centred spend, values of spend, uncentred age, entities; written from the design, one entity at a time."""
    by_entity: dict[object, dict[object, list[ROW]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row[0] is not None and (keys is None or row[key] in keys):
            by_entity[row[0]][row[key]].append(row)
    totals: dict[object, list[int]] = {g: [0] * 5 for g in keys or []}
    for groups in by_entity.values():
        per_group: dict[object, list[tuple[int, int]]] = {}  # group -> (value, count that weighs it)
        for group, members in groups.items():
            spent = [s for s in (on_grid(r[4], lo=-10, hi=30, centred=True) for r in members) if s is not None]
            aged = [s for s in (on_grid(r[3], lo=0, hi=120, centred=False) for r in members) if s is not None]
            n = len(members)
            per_group[group] = [
                (n * COUNT_STEPS, n),
                (sum(spent), len(spent)),
                (len(spent) * (COUNT_STEPS if gaussian else SPEND_STEPS), len(spent)),
                (sum(aged), len(aged)),
                (COUNT_STEPS, 1),
            ]
        for position in range(5):
            counts = [cells[position][1] for cells in per_group.values()]
            rows_each = 1 if position == 4 else m
            for group, cells in per_group.items():
                value = cells[position][0]
                if gaussian:
                    norm, bound = sum(c * c for c in counts), k * rows_each**2
                    weight = (
                        max(math.floor(2**30 * math.sqrt(bound) / math.sqrt(norm)) - 1, 0) if norm > bound else 2**30
                    )
                    scaled = math.trunc(Fraction(value * weight, 2**30))
                else:
                    norm, bound = sum(counts), k * rows_each
                    scaled = math.trunc(Fraction(value * bound, norm)) if norm > bound else value
                totals.setdefault(group, [0] * 5)[position] += scaled
    return totals


QUERY = "SELECT {key}, COUNT(*), AVG(spend), SUM(age), COUNT(DISTINCT hashed_email) FROM customers GROUP BY {key}"


@cache
def plan_for(key: str, k: int, m: int, gaussian: bool) -> Plan:
    tables = with_bounds(max_rows=m, max_groups=k)
    return compiled(QUERY.format(key=key), given=GAUSSIAN if gaussian else EPSILON_ONE, tables=tables)


@settings(max_examples=60)
@given(rows=customers, k=st.integers(1, 3), m=st.integers(1, 4), gaussian=st.booleans())
def test_public_groups_are_bounded_as_the_reference_does(rows: list[ROW], k: int, m: int, gaussian: bool) -> None:
    plan = plan_for("status", k, m, gaussian)
    engine = Engine(customers=rows)
    engine.load(plan)
    answer = {row.pop("k0"): list(row.values()) for row in engine.exact(plan.measurements[0])}
    assert answer == reference(rows, key=1, keys=["gold", "silver", "none"], k=k, m=m, gaussian=gaussian)


@settings(max_examples=60)
@given(rows=customers, m=st.integers(1, 4), gaussian=st.booleans())
def test_private_groups_within_the_hard_limit_are_bounded_as_the_reference_does(
    rows: list[ROW], m: int, gaussian: bool
) -> None:
    plan = plan_for("city", 3, m, gaussian)  # 12 groups at most: there are 10
    engine = Engine(customers=rows)
    engine.load(plan)
    answer = {row.pop("k0"): list(row.values()) for row in engine.exact(plan.measurements[0])}
    assert answer == reference(rows, key=2, keys=None, k=3, m=m, gaussian=gaussian)


WHOLE = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "UTINYINT": 9, "USMALLINT": 17, "UINTEGER": 33}
"""Types of whole numbers with their bits, a sign included; 9 for what starts at 0 and has 8."""


def whole_numbers(native: str) -> tuple[int, int]:
    """Return the smallest and the largest number of a type."""
    most = 1 << (WHOLE[native] - 1)
    return (0 if native.startswith("U") else -most), most - 1


CLOSE = [(0, 120), (-30, 180), (-128, -5)]
AS_WHOLE = {"SUM(age)": [*CLOSE, (1990, 2030)], "AVG(age)": CLOSE}
"""Ranges whose numbers are added up as they are. Those below have steps above 1, an end between two whole numbers, and
numbers that are large beside their range."""
ENDS = [*AS_WHOLE["SUM(age)"], (0, 10**7), (0, Fraction(1, 2)), (10**12, 10**12 + 5)]


@pytest.mark.parametrize("native", WHOLE)
@pytest.mark.parametrize("ends", ENDS)
def test_sums_of_whole_numbers_are_those_of_each_on_the_grid(native: str, ends: tuple[Any, Any]) -> None:
    """Exact: whatever the type holds, with NULL and without, the sum is that of the documented grid, row by row."""
    lo, hi = map(Fraction, ends)
    age = replace(CUSTOMERS.columns[3], native_type=native)
    policy = replace(
        CUSTOMERS.policy, max_rows=100, bounds=CUSTOMERS.policy.bounds | {"age": ColumnBounds(lo=lo, hi=hi)}
    )
    table = replace(CUSTOMERS, columns=(*CUSTOMERS.columns[:3], age, *CUSTOMERS.columns[4:]), policy=policy)
    least, most = whole_numbers(native)
    around = [math.floor(lo) + step for step in (-1, 0, 2)] + [math.ceil(hi) + step for step in (0, 1)]
    ages = [age for age in [least, most, 0, 1, *around] if least <= age <= most]
    for nullable, held in ((True, [*ages, None]), (False, ages)):
        columns = tuple(replace(c, nullable=nullable) if c.name == "age" else c for c in table.columns)
        engine = Engine(customers=[customer("a", age=age) for age in held])
        for aggregate, as_whole in AS_WHOLE.items():
            plan = compiled(f"SELECT {aggregate} AS x FROM customers", tables=(replace(table, columns=columns),))
            engine.load(plan)
            (answer,) = engine.exact(plan.measurements[0])
            steps = [on_grid(age, lo=lo, hi=hi, centred=aggregate == "AVG(age)") for age in ages]
            assert answer["c0"] == sum(step for step in steps if step is not None)
            assert ("AS DOUBLE" not in plan.measurements[0].exact_sql) == (ends in as_whole)


def test_an_entity_is_in_no_more_private_groups_than_the_hard_limit_and_the_key_of_the_run_chooses() -> None:
    rows = [customer("a", city=f"city {i}") for i in range(50)] + [customer("b", city="city 1")]
    plan = compiled(
        "SELECT city, COUNT(DISTINCT hashed_email) AS n FROM customers GROUP BY city",
        tables=with_bounds(max_rows=1, max_groups=2),
    )
    engine = Engine(customers=rows)
    engine.load(plan)
    chosen = []
    for run_key in range(3):
        answer = engine.exact(plan.measurements[0], run_key=run_key)
        alone = {row["k0"] for row in answer if row["k0"] != "city 1"}
        assert len(alone) in (7, 8)
        assert sum(row["c0"] for row in answer) <= COUNT_STEPS * 2 + COUNT_STEPS
        chosen.append(frozenset(alone))
    assert len(set(chosen)) == 3


def exact_answers(plan: Plan, rows: list[ROW], others: dict[str, list[ROW]]) -> list[dict[tuple[object, ...], Any]]:
    """Return per measurement: group -> its row."""
    engine = Engine(customers=rows, **others)
    engine.load(plan)
    return [{tuple(row[k] for k in m.keys): row for row in engine.exact(m)} for m in plan.measurements]


def moved(m: Measurement, answers: list[dict[tuple[object, ...], Any]]) -> dict[str, tuple[int, int]]:
    """Return column -> (L1, squared L2) distance between two answers; of a vector that of its largest columns."""
    distances = {}
    for together in m.drawn_together:
        steps: dict[object, int] = defaultdict(int)
        for c in together:
            cells = [
                {cell: n for group, row in answer.items() for cell, n in counted(c, group, row[c.name])}
                for answer in answers
            ]
            for cell in cells[0].keys() | cells[1].keys():
                steps[cell] = max(steps[cell], abs(cells[0].get(cell, 0) - cells[1].get(cell, 0)))
        found = (sum(steps.values()), sum(s * s for s in steps.values()))
        distances |= dict.fromkeys((c.name for c in together), found)
    return distances


def counted(c: MeasuredColumn, group: object, value: Any) -> list[tuple[object, int]]:
    """Return what gets noise: one number of a group, or every node of the tree above its bins."""
    if c.bins is None:
        return [((group, 0), value)]
    nodes: dict[object, int] = defaultdict(int)
    for entry in value or []:
        nodes[group, "bin", entry["b"]] += entry["n"]
        if c.bins.upper:
            nodes[group, "above", entry["b"] // c.bins.below] += entry["n"]
    return list(nodes.items())


def violations(plan: Plan, databases: list[list[ROW]], **others: list[ROW]) -> list[str]:
    """Return the columns that one entity moved by more than the plan declares."""
    found = []
    for rows in databases:
        whole = exact_answers(plan, rows, others)
        for entity in {r[0] for r in rows if r[0] is not None}:
            rest = exact_answers(plan, [r for r in rows if r[0] != entity], others)
            for number, m in enumerate(plan.measurements):
                distances = moved(m, [whole[number], rest[number]])
                found += [
                    f"{m.name}.{c.name} {c.meaning}"
                    for c in m.columns
                    if distances[c.name][1 if c.norm == "l2" else 0] > c.sensitivity
                ]
    return found


def databases() -> list[list[ROW]]:
    """A few databases with entities far above every bound, at the ends of every range."""
    made = []
    for seed in range(2):
        dice = random.Random(seed)
        rows: list[ROW] = []
        for entity, most in (("a", 1), ("b", 6), ("c", 60), ("d", 200)):
            rows += [
                customer(
                    entity,
                    status=dice.choice(["gold", "silver", "none"]),
                    city=f"city {dice.randrange(20)}",
                    age=dice.choice([None, 0, 120, 10**15, -(10**15), dice.randrange(120)]),
                    spend=dice.choice([None, -10.0, 30.0, 1e300, -1e300, float("nan"), float("inf"), dice.random()]),
                )
                for _ in range(most)
            ]
        made.append(rows)
    # everything on one side: nothing cancels
    made.append([customer("a", status=s, age=10**9, spend=1e9) for s in ("gold", "silver", "none") for _ in range(50)])
    made.append([customer("a", status="gold", age=10**9, spend=-1e9) for _ in range(50)])
    return made


MEASURED = [
    QUERY.format(key="status"),
    QUERY.format(key="city"),
    QUERY.format(key="age > 30"),
    "SELECT COUNT(*), AVG(spend), SUM(age), COUNT(DISTINCT hashed_email), SUM(age * 2 - spend) FROM customers",
    "SELECT status, SUM(age), COUNT(age), SUM(CASE WHEN spend > 3 THEN age ELSE -5 END) FROM customers GROUP BY status",
    "SELECT status, cleanroom.addnoise(SUM(spend) / COUNT(*), 2, 0.5, TRUE) AS x, COUNT(*) FROM customers GROUP BY 1",
    "SELECT c.segment, COUNT(*), SUM(p.spend) FROM customers p JOIN segments c ON TRUE GROUP BY 1",
    "SELECT c.segment, COUNT(*) FROM customers p LEFT JOIN segments c ON p.hashed_email = c.email GROUP BY 1",
    (
        "SELECT s, COUNT(*), SUM(LEAST(GREATEST(t, 0), 50)) FROM (SELECT hashed_email, status AS s, SUM(spend) AS t "
        "FROM customers GROUP BY 1, 2 HAVING COUNT(*) > 1) q GROUP BY s"
    ),
    "SELECT a.status, COUNT(*) FROM customers a JOIN customers b ON a.hashed_email = b.hashed_email GROUP BY 1",
]
SEGMENT_ROWS: list[ROW] = [("a", "s1", 1.0), ("a", "s2", 1.0), ("b", "s1", 1.0), ("c", "s3", 1.0), ("z", "s9", 1.0)]


@pytest.mark.parametrize("sql", MEASURED)
@pytest.mark.parametrize("mechanism", ["Laplace", "Gaussian"])
def test_no_entity_moves_a_column_by_more_than_its_sensitivity(sql: str, mechanism: str) -> None:
    plan = compiled(sql, given=GAUSSIAN if mechanism == "Gaussian" else EPSILON_ONE)
    assert violations(plan, databases(), segments=SEGMENT_ROWS) == []


FAULTS = [
    ("the clamp above is missing", "> 655360 THEN 655360", "> 9e18 THEN 655360"),
    ("the clamp below is missing", "< (-655360) THEN (-655360)", "< -9e18 THEN 0"),
    ("the cap is twice too large", "* 6)", "* 12)"),
    ("the norm forgets groups", 'CAST(SUM("p"."n0") AS BIGINT)', 'CAST(MAX("p"."n0") AS BIGINT)'),
    ("nothing is scaled", 'FROM "pairs" AS "p" GROUP BY', 'FROM "pairs" AS "p" WHERE FALSE GROUP BY'),
    ("entities are not scaled", "* 2)", "* 20)"),
]


@pytest.mark.parametrize(("fault", "right", "wrong"), FAULTS)
def test_the_neighbour_check_catches_a_planted_fault(fault: str, right: str, wrong: str) -> None:
    plan = compiled(QUERY.format(key="status"))
    (measurement,) = plan.measurements
    assert right in measurement.exact_sql, fault
    broken = replace(measurement, exact_sql=measurement.exact_sql.replace(right, wrong))
    wider = broken.exact_sql.replace("AS INT)", "AS BIGINT)")  # so that the missing clamp shows as a value
    tame = [[r for r in rows if r[4] is None or not abs(float(str(r[4]))) > 1e10] for rows in databases()]
    assert violations(replace(plan, measurements=(replace(broken, exact_sql=wider),)), tame) != [], fault


def test_the_neighbour_check_catches_a_halved_sensitivity() -> None:
    plan = compiled(QUERY.format(key="status"))
    (measurement,) = plan.measurements
    halved = replace(
        measurement, columns=tuple(replace(c, sensitivity=c.sensitivity // 2) for c in measurement.columns)
    )
    found = violations(replace(plan, measurements=(halved,)), databases())
    assert {f.split(" ")[0] for f in found} == {f"m0.c{i}" for i in range(5)}


def test_totals_stay_within_62_bits_whatever_the_rows_hold() -> None:
    plan = compiled("SELECT SUM(LEAST(GREATEST(spend, -1e40), 1e40)) AS s, COUNT(*) FROM customers")
    engine = Engine(customers=[customer(f"e{i}", spend=1e300) for i in range(50)])
    engine.load(plan)
    (row,) = engine.exact(plan.measurements[0])
    assert all(abs(v) <= 2**62 for v in row.values())


def test_the_schema_and_the_groups_of_a_public_domain_do_not_depend_on_rows() -> None:
    plan = compiled("SELECT status, active, COUNT(*) AS n FROM customers GROUP BY 1, 2")
    shapes = []
    for rows in ([], [customer("a")], [customer(None), customer("b", status="undeclared")]):
        engine = Engine(customers=rows)
        engine.load(plan)
        shapes.append([(r["k0"], r["k1"]) for r in engine.exact(plan.measurements[0])])
    assert shapes[0] == shapes[1] == shapes[2]
    assert len(shapes[0]) == 9


def test_the_row_that_comes_first_does_not_decide_how_a_group_is_shown():
    """B-01: 0 and -0 are one group, and all NaN are one; the engine shows that of the first row: -0.0 in the second."""
    plan = compiled("SELECT spend, COUNT(*) AS n FROM customers GROUP BY spend")
    rows = [customer(f"e{i}", spend=x) for i, x in enumerate([0.0, 0.0, -0.0, math.nan, -math.nan])]
    for order in (rows, rows[::-1]):
        engine = Engine(customers=order)
        engine.load(plan)
        (measurement,) = plan.measurements
        found = engine.exact(measurement)
        assert [(row["c0"] // COUNT_STEPS, math.copysign(1.0, row["k0"])) for row in found] == [(3, 1.0), (2, 1.0)]
