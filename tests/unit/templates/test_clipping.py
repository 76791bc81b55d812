"""The clipping note: what it names, what its estimate counts and costs, and that nobody moves it by more than one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given, settings

from cleanroom.errors import TemplateRefusedError
from cleanroom.rooms.approved import Template
from cleanroom.rooms.settings import PrivacySettings
from cleanroom.rooms.tables import LinkedTable
from cleanroom.templates.compile import compile_query
from cleanroom.templates.plan import Plan
from cleanroom.templates.plan_json import plan_as_json, plan_from_json
from cleanroom.templates.template import CompileContext, RenderedQuery
from tests.unit.templates.compiling import CUSTOMERS, EPSILON_ONE, FLIGHTS, GAUSSIAN, OFF, SEGMENTS, Engine, compiled
from tests.unit.templates.test_bounding import ROW, customer, customers

QUERY = (
    "SELECT status, COUNT(*) AS n, AVG(spend) AS a, COUNT(DISTINCT hashed_email) AS e FROM customers GROUP BY status"
)


def agreed(table: LinkedTable) -> LinkedTable:
    return replace(table, policy=replace(table.policy, clipping_estimate=True))


@cache
def estimated(
    sql: str,
    *,
    share: str = "0.1",
    given: PrivacySettings = EPSILON_ONE,
    tables: tuple[str, ...] = ("customers", "flights"),
) -> Plan:
    named = {t.name: t for t in (CUSTOMERS, FLIGHTS, SEGMENTS)}
    linked = {t.full_name: agreed(t) if name in tables else t for name, t in named.items()}
    return compile_query(
        RenderedQuery(sql=sql, dialect="snowflake", tables=linked),
        template=Template(name="tried", text=sql, sensitivity=Fraction(1)),
        context=CompileContext(reader="shop", settings=given, clipping_share=Fraction(share)),
    )


def counts(plan: Plan, rows: list[ROW]) -> list[tuple[int, ...]]:
    """Return, column by column, the number of entities in each class."""
    engine = Engine(customers=rows)
    engine.load(plan)
    table = [tuple(row.values()) for row in engine.exact(plan.measurements[-1])]
    assert [row[0] for row in table] == [0, 1, 2, 3, 4]
    return [tuple(row[place] for row in table) for place in range(1, len(table[0]))]


def test_the_note_names_the_bounds_in_numbers_and_in_words() -> None:
    (measurement,) = compiled(QUERY).measurements
    note = measurement.clipping
    assert note is not None
    assert (note.max_groups, note.max_rows) == (2, 3)
    assert [(r.asked, r.lo, r.hi) for r in note.ranges] == [(("AVG(spend)",), -10.0, 30.0)]
    assert note.words == (
        "one hashed_email weighs at most 6 rows (2 groups of 3): what is above is scaled down",
        "values outside -10 to 30 count as the nearer end, in AVG(spend)",
        "rows whose keys are not in the declared domain are left out",
    )


def test_ranges_of_dates_are_dates_and_counts_of_entities_have_no_bound_on_rows() -> None:
    sql = "SELECT MIN(DATE_TRUNC('day', LEAST(GREATEST(since, '2020-01-01'::DATE), '2021-01-01'::DATE))) FROM customers"
    note = compiled(sql).measurements[0].clipping
    assert note is not None
    assert [(r.lo, r.hi) for r in note.ranges] == [("2020-01-01", "2021-01-01")]
    entities = compiled("SELECT COUNT(DISTINCT hashed_email) FROM customers").measurements[0].clipping
    assert entities is not None
    assert (entities.max_groups, entities.max_rows, entities.ranges) == (None, None, ())
    assert entities.words == (
        "no bound can cut anything off: a clipping_estimate has nothing to measure, and costs nothing",
    )


def test_nothing_is_measured_or_paid_for_it_unless_it_is_asked_for() -> None:
    plain, with_it = compiled(QUERY), estimated(QUERY)
    assert len(plain.measurements) == 1
    assert with_it.measurements[:1] == tuple(
        replace(m, clipping=with_it.measurements[0].clipping) for m in plain.measurements
    )
    assert with_it.parts[:-1] == plain.parts
    assert with_it.release == plain.release


def test_it_costs_the_declared_share_of_what_the_aggregates_cost_on_top_of_them() -> None:
    plain, with_it = compiled(QUERY), estimated(QUERY, share="0.25")
    assert plain.price.micro_epsilon == 3_000_000
    assert with_it.price.micro_epsilon == 3_750_000
    assert with_it.parts[-1].what == "clipping estimate of m0"
    estimate = with_it.measurements[-1]
    spent = sum(c.sensitivity / c.noise.scale for c in estimate.columns)
    assert spent == Fraction(3, 4)
    assert [p.bound for p in estimate.estimate.profiles] == ["rows", "groups", "range"]
    assert with_it.rho_price.rho_steps > plain.rho_price.rho_steps


def test_gaussian_estimates_share_the_rho_of_the_run_and_cost_the_share_of_delta() -> None:
    plain, with_it = compiled(QUERY, given=GAUSSIAN), estimated(QUERY, given=GAUSSIAN)
    assert with_it.price.micro_epsilon == 3_300_000
    assert with_it.price.delta_steps == plain.price.delta_steps + 100_000
    columns = with_it.measurements[-1].columns
    assert {(c.norm, c.sensitivity) for c in columns} == {("l2", 1)}
    one, other = plain.measurements[0].columns[0].noise, with_it.measurements[0].columns[0].noise
    assert other.sigma_squared < one.sigma_squared  # the run's numbers get no more noise by it


def test_a_plan_with_an_estimate_comes_back_from_json() -> None:
    plan = estimated(QUERY)
    assert plan_from_json(plan_as_json(plan)) == plan


def by_hand(rows: list[ROW], *, gaussian: bool) -> list[tuple[int, ...]]:
    """Sort each entity by k = 2, m = 3 and the range -10 to 30, from the documented rules."""
    people: dict[object, dict[object, list[ROW]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row[0] is not None and row[1] in ("gold", "silver", "none"):
            people[row[0]][row[1]].append(row)
    found = [[0] * 5 for _ in range(3)]
    for groups in people.values():
        lists = [[r[4] for r in g if isinstance(r[4], float) and abs(r[4]) < float("inf")] for g in groups.values()]
        numbers = [[len(g) for g in groups.values()], [len(v) for v in lists]]
        norms = [sum(n * n for n in c) / (2 * 9) if gaussian else sum(c) / 6 for c in numbers]
        limits = [f * f if gaussian else f for f in (1, 2, 4, 10)]
        found[0][sum(max(norms) > limit for limit in limits)] += 1
        found[1][sum(len(groups) / 2 > limit for limit in limits)] += 1
        values = [x for v in lists for x in v]
        if values:
            outside = sum(not -10 <= x <= 30 for x in values) / len(values)
            found[2][sum(outside > limit for limit in (0, 0.01, 0.1, 0.5))] += 1
    return [tuple(c) for c in found]


@settings(max_examples=25)
@given(rows=customers)
@pytest.mark.parametrize("gaussian", [False, True])
def test_each_entity_is_in_the_class_that_its_own_rows_say(rows: list[ROW], gaussian: bool) -> None:
    plan = estimated(QUERY, given=GAUSSIAN if gaussian else EPSILON_ONE)
    assert counts(plan, rows) == by_hand(rows, gaussian=gaussian)


def test_classes_tell_how_far_above_the_bound_an_entity_is() -> None:
    rows = [
        customer(f"by {n}", spend=99.0 if i < n // 3 else 1.0) for n in (6, 7, 12, 13, 24, 60, 61) for i in range(n)
    ]
    rows_cut, _, outside = counts(estimated(QUERY), rows)
    assert rows_cut == (1, 2, 2, 1, 1)
    assert outside == (0, 0, 0, 7, 0)


@settings(max_examples=25)
@given(rows=customers)
@pytest.mark.parametrize("gaussian", [False, True])
def test_all_rows_of_one_entity_move_a_histogram_by_one_at_most(rows: list[ROW], gaussian: bool) -> None:
    """B-01: whatever the entity has, and however far above the bounds it is."""
    plan = estimated(QUERY, given=GAUSSIAN if gaussian else EPSILON_ONE)
    heavy = [*rows, *([customer("a", status="gold", spend=1e300)] * 500)]
    for one in (rows, heavy):
        less = counts(plan, [r for r in one if r[0] != "a"])
        for everyone, others in zip(counts(plan, one), less, strict=True):
            moves = [abs(x - y) for x, y in zip(everyone, others, strict=True)]
            assert sum(moves) <= 1


def test_what_no_row_can_bring_above_a_bound_is_not_measured() -> None:
    """One row for each entity, and a choice among written numbers: nothing is asked, nothing is paid."""
    per_entity = "SELECT COUNT(*) FROM (SELECT hashed_email, COUNT(*) AS n FROM customers GROUP BY hashed_email)"
    assert estimated(per_entity).price == compiled(per_entity).price
    written = "SELECT SUM(CASE WHEN age > 3 THEN 2 ELSE 1 END) AS s FROM customers"
    assert [p.bound for p in estimated(written).measurements[-1].estimate.profiles] == ["rows"]


def test_columns_of_all_kinds_have_their_bounds_measured() -> None:
    sql = (
        "SELECT city, COUNT(DISTINCT status) AS d, MEDIAN(age) AS m, VARIANCE(spend) AS v, COUNT_IF(active) AS n "
        "FROM customers GROUP BY city"
    )
    for given_settings, far in ((EPSILON_ONE, (1, 0, 0, 1, 0)), (GAUSSIAN, (1, 0, 1, 0, 0))):
        plan = estimated(sql, given=given_settings)
        profiles = plan.measurements[-1].estimate.profiles
        assert [(p.bound, p.asked) for p in profiles] == [
            ("rows", ("COUNT(DISTINCT status)", "MEDIAN(age)", "VARIANCE(spend)", "COUNT_IF(active)")),
            ("groups", ("entities",)),
            ("range", ("MEDIAN(age)",)),
            ("range", ("VARIANCE(spend)",)),
        ]
        rows = [customer("a", city=f"city {i}", age=200, spend=31.0) for i in range(9)] + [customer("b")]
        assert counts(plan, rows)[1:] == [far, (1, 0, 0, 0, 1), (1, 0, 0, 0, 1)]


def test_each_measurement_has_an_estimate_of_its_own() -> None:
    plan = estimated("SELECT status, COUNT(*) AS n FROM customers GROUP BY ROLLUP(status)")
    assert [(m.name, m.estimate and m.estimate.of) for m in plan.measurements] == [
        ("m0", None), ("m1", None), ("m2", "m0"), ("m3", "m1"),
    ]  # fmt: skip
    assert [m.name for m in plan.released] == ["m0", "m1"]


@pytest.mark.parametrize("tables", [(), ("flights",), ("customers",)])
def test_it_is_refused_before_data_is_read_unless_the_owners_of_all_tables_agreed(tables: tuple[str, ...]) -> None:
    sql = "SELECT COUNT(*) AS n FROM customers c JOIN flights f ON c.hashed_email = f.email"
    with pytest.raises(TemplateRefusedError) as refusal:
        estimated(sql, tables=tables)
    assert refusal.value.details["rule"] == "clipping_estimate"
    assert ("customers" if "flights" in tables else "airline") in str(refusal.value)
    estimated(sql)


def test_without_differential_privacy_there_is_nothing_to_estimate() -> None:
    with pytest.raises(TemplateRefusedError) as refusal:
        estimated("SELECT COUNT(*) AS n FROM customers", given=OFF)
    assert refusal.value.details["rule"] == "clipping_estimate"
