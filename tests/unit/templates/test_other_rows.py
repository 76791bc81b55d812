"""What `GROUP BY cleanroom.or_other(key)` compiles to: price, noise, labels, refusals; and what one entity moves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import pytest

from cleanroom.errors import TemplateRefusedError
from cleanroom.privacy.noise import DiscreteGaussian, can_be_drawn
from cleanroom.rooms.tables import LinkedTable, TablePolicy
from cleanroom.templates.bounding import HARD_LIMIT
from cleanroom.templates.lint import lint
from cleanroom.templates.plan import MeasuredColumn, Measurement, Plan
from cleanroom.templates.plan_json import plan_as_json, plan_from_json
from tests.unit.templates.compiling import (
    FLIGHTS,
    GAUSSIAN,
    OFF,
    Engine,
    bounds,
    compiled,
    settings,
)

FROM = "FROM airline.flights f"
BY = "GROUP BY cleanroom.or_other(f.dest)"
NARROW = replace(FLIGHTS, policy=TablePolicy(max_rows=3, max_groups=2, bounds={"miles": bounds(0, 100)}))


def measured(plan: Plan) -> Measurement:
    (measurement,) = plan.measurements
    return measurement


def paid(plan: Plan) -> dict[str, int]:
    return {part.what: part.price.micro_epsilon for part in plan.parts}


# --- price and noise --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["Laplace", "Gaussian"])
def test_an_other_row_of_what_does_not_choose_the_groups_costs_nothing(mechanism: str) -> None:
    given = GAUSSIAN if mechanism == "Gaussian" else settings()
    sql = f"SELECT COUNT(*) AS n, AVG(f.miles) AS a, SUM(f.miles) AS s, MEDIAN(f.miles) AS m {FROM} "
    without, beside = compiled(sql + "GROUP BY f.dest", given=given), compiled(sql + BY, given=given)
    assert paid(without) == paid(beside)
    assert without.price == beside.price
    assert without.rho_price == beside.rho_price
    assert [c.noise for c in measured(without).columns] == [c.noise for c in measured(beside).columns]
    assert measured(without).exact_sql == measured(beside).exact_sql


def test_the_count_that_chooses_the_groups_is_not_the_one_that_is_released() -> None:
    """It would tell of the hidden groups twice; so COUNT(DISTINCT entity) is measured apart, for one epsilon more."""
    sql = f"SELECT f.dest, COUNT(DISTINCT f.email) AS n {FROM} "
    without, beside = compiled(sql + "GROUP BY f.dest"), compiled(sql + BY)
    assert paid(without) == {"COUNT(DISTINCT f.email)": 1_000_000, "choosing the groups: entities per group": 0}
    assert paid(beside) == {"COUNT(DISTINCT f.email)": 1_000_000, "choosing the groups: entities per group": 1_000_000}
    counted, choosing = measured(beside).columns
    selection = measured(beside).partition_selection
    assert selection is not None
    assert selection.column == choosing.name
    assert choosing.other_noise is None
    assert counted.other_noise == counted.noise
    assert f'"{choosing.name}"' not in beside.release.sql


def test_gaussian_noise_of_the_other_row_has_the_variance_of_all_groups_that_an_entity_may_be_in() -> None:
    plan = compiled(f"SELECT COUNT(*) AS n, SUM(f.miles) AS s {FROM} {BY}", given=GAUSSIAN)
    max_groups = FLIGHTS.policy.max_groups
    assert max_groups == 5
    *released, choosing = measured(plan).columns
    for c in released:
        assert isinstance(c.noise, DiscreteGaussian)
        assert c.other_noise == DiscreteGaussian(sigma_squared=c.noise.sigma_squared * HARD_LIMIT * max_groups)
    assert choosing.other_noise is None


def test_noise_of_the_other_row_that_cannot_be_drawn_is_refused_before_the_charge() -> None:
    """It is wider than that of the groups: such a run was charged, and then failed whatever the rows."""
    tiny = "cleanroom.addnoise(SUM(f.miles), 0.00000002, 0, TRUE, 0.00000000000000000000001)"
    assert all(can_be_drawn(c.noise) for c in measured(compiled(f"SELECT {tiny} AS s {FROM} GROUP BY f.dest")).columns)
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(f"SELECT {tiny} AS s {FROM} {BY}")
    assert refusal.value.rule == "too_much_noise"


def test_a_plan_keeps_its_other_row_as_json_and_one_without_is_written_as_before() -> None:
    """So that questions asked before there were other rows are still equal to themselves."""
    plan = compiled(f"SELECT COUNT(*) AS n {FROM} {BY}")
    assert plan_from_json(plan_as_json(plan)) == plan
    assert b"other" not in plan_as_json(compiled(f"SELECT COUNT(*) AS n {FROM} GROUP BY f.dest"))


def test_a_plan_in_which_the_choosing_column_has_an_other_row_cannot_be_made() -> None:
    measurement = measured(compiled(f"SELECT COUNT(*) AS n {FROM} {BY}"))
    for changed in (
        [replace(c, other_noise=c.noise) for c in measurement.columns],
        [replace(c, other_noise=None) for c in measurement.columns],
    ):
        with pytest.raises(ValueError, match="all columns have noise but the one that chooses"):
            replace(measurement, columns=tuple(changed))
    with pytest.raises(ValueError, match="of private groups"):
        replace(measurement, partition_selection=None)


# --- what it looks like -----------------------------------------------------------------------------------------------


def test_labels_marks_and_keys_of_the_other_row() -> None:
    sql = (
        f"SELECT cleanroom.or_other(f.dest, 'rest') AS a, f.dest AS b, CLEANROOM.IS_OTHER() AS c, COUNT(*) AS n {FROM} "
        f"{BY} HAVING n > 5 OR is_other() ORDER BY cleanroom.is_other(), n DESC LIMIT 3"
    )
    plan = compiled(sql)
    connection = Engine().connection
    noisy = "('BOS', FALSE, 9, 0), ('rest', FALSE, 8, 0), (NULL, FALSE, 7, 0), ('XYZ', FALSE, 1, 0), (NULL, TRUE, 2, 0)"
    connection.execute(f"CREATE TABLE m0 AS FROM (VALUES {noisy}) AS m0(k0, other, c0, c1)")
    rows = [row[:4] for row in connection.execute(plan.release.sql).fetchall()]
    assert rows == [("BOS", "BOS", False, 9), ("rest", "rest", False, 8), (None, None, False, 7)]
    assert [c.role for c in plan.release.columns] == ["key", "key", "key", "measured"]
    identity = connection.execute(plan.release.sql.replace("LIMIT 3", "")).fetchall()
    assert len({row[4:] for row in identity}) == len(identity) == 4  # a NULL key and the other row are told apart


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("f.miles", "-1"),
        ("f.miles > 3", "NULL"),
        ("UPPER(f.dest)", "'other'"),
        ("DATE_FROM_PARTS(2020, f.miles, 1)", "'2000-01-01'::DATE"),
        ("f.miles / 7", "0"),
    ],
)
def test_a_label_has_the_type_of_the_key(key: str, label: str) -> None:
    sql = f"SELECT cleanroom.or_other({key}, {label}) AS k, COUNT(*) AS n {FROM} GROUP BY f.dest"
    sql = sql.replace("GROUP BY f.dest", f"GROUP BY cleanroom.or_other({key}), cleanroom.or_other(f.dest)")
    assert compiled(sql).release.columns[0].role == "key"


def test_several_keys_have_one_other_row() -> None:
    keys = "cleanroom.or_other(f.dest, 'x') AS d, cleanroom.or_other(f.miles, 0) AS m"
    sql = f"SELECT {keys}, cleanroom.is_other() AS o, COUNT(*) AS n {FROM} GROUP BY ALL"
    assert measured(compiled(sql)).keys == ("k0", "k1")
    assert measured(compiled(sql)).other_row == "other"


def test_each_grouping_set_has_an_other_row_of_its_own_and_the_total_none() -> None:
    sql = (
        "SELECT cleanroom.or_other(f.dest, 'x') AS d, cleanroom.is_other() AS o, GROUPING(f.dest) AS g, COUNT(*) AS n "
        f"{FROM} GROUP BY ROLLUP (cleanroom.or_other(f.dest)) HAVING NOT cleanroom.is_other()"
    )
    first, total = compiled(sql).measurements
    assert first.other_row == "other"
    assert total.other_row is None
    assert total.partition_selection is None


@pytest.mark.parametrize(
    "sets", ["ROLLUP (cleanroom.or_other(f.dest))", "GROUPING SETS ((), (cleanroom.or_other(f.dest)))"]
)
def test_totals_are_not_made_to_agree_with_groups_of_which_some_are_left_out(sets: str) -> None:
    """Not even with an other row: its groups are not the same in every release."""
    with pytest.raises(TemplateRefusedError, match="a key is private") as refusal:
        compiled(f"SELECT f.dest, COUNT(*) AS n {FROM} GROUP BY {sets}", consistent=True)
    assert refusal.value.rule == "post_processing"


def test_the_receipt_and_the_notes_say_what_the_row_holds() -> None:
    plan = compiled(f"SELECT COUNT(DISTINCT f.miles) AS n {FROM} {BY}")
    assert measured(plan).bounds["other row"] == "the groups that are not shown, together"
    assert any(note.endswith("are in the other row, all together") for note in plan.notes)
    assert "COUNT(DISTINCT …) of the other row adds up its groups: what is in several counts in each" in plan.notes
    plain = compiled(f"SELECT COUNT(*) AS n {FROM} {BY}", given=settings(threshold=True, threshold_value=9))
    assert not any("COUNT(DISTINCT" in note for note in plain.notes)


def test_with_gaussian_noise_intervals_are_simulated_for_they_differ_by_row() -> None:
    sql = f"SELECT COUNT(*) AS n {FROM} {BY}"
    assert compiled(sql).release.columns[0].role == "measured"
    plan = compiled(sql, given=GAUSSIAN)
    assert plan.release.columns[0].role == "derived"
    assert plan.release.interval_sql is not None


# --- a smallest group -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mechanism", "most"), [("Laplace", 5), ("Gaussian", 10)])
def test_the_other_row_too_has_the_smallest_group_that_is_asked_for(mechanism: str, most: int) -> None:
    """Of what its groups add up to one entity is max_groups, with Gaussian noise twice that: so many times more."""
    given = replace(GAUSSIAN if mechanism == "Gaussian" else settings(), threshold=True, threshold_value=30)
    plan = compiled(f"SELECT COUNT(*) AS n {FROM} {BY}", given=given)
    assert "smallest group: entities of the other row" in paid(plan)
    assert plan.price.micro_epsilon == 3_000_000
    _, counted, choosing = measured(plan).columns
    assert counted.meaning == choosing.meaning == "entities"
    assert f'(NOT "r1"."other" OR "r1"."{counted.name}" >= {30 * most})' in plan.release.sql
    released = compiled(f"SELECT COUNT(DISTINCT f.email) AS n {FROM} {BY}", given=given)
    assert released.price.micro_epsilon == 2_000_000  # the number that is released does for it
    assert f'"c0" >= {30 * most}' in released.release.sql


TINY = "cleanroom.addnoise(COUNT(DISTINCT {}), 0.000001, 0) AS n"


@pytest.mark.parametrize(
    ("sql", "smallest"),
    [
        (f"SELECT status, {TINY.format('hashed_email')} FROM customers GROUP BY status", 30),
        (f"SELECT {TINY.format('hashed_email')} FROM customers", 30),
        (f"SELECT f.dest, {TINY.format('f.email')} {FROM} {BY}", 30 * 5),
    ],
)
def test_a_smallest_group_is_not_asked_of_a_count_whose_noise_the_template_chooses(sql: str, smallest: int) -> None:
    """Before: it was asked of the addnoise, c0, which half of all groups pass, whatever is in them."""
    plan = compiled(sql, given=settings(threshold=True, threshold_value=30))
    chosen, settled, *_ = measured(plan).columns
    assert chosen.meaning == settled.meaning == "entities"
    assert chosen.noise.standard_deviation > 100_000 * settled.noise.standard_deviation
    assert f'"{settled.name}" >= {smallest}' in plan.release.sql
    assert f'"{chosen.name}" >=' not in plan.release.sql
    assert plan.price.micro_epsilon > 1_000_000


def test_the_most_that_an_entity_weighs_in_the_other_row_is_what_the_filter_takes_it_for() -> None:
    """Over all numbers of groups it is in: its weights as the exact query makes them, added up."""
    for gaussian, most in ((False, 2), (True, 4)):
        sql = f"SELECT COUNT(DISTINCT f.email) AS n {FROM} {BY}"
        plan = compiled(sql, tables=(NARROW,), given=GAUSSIAN if gaussian else settings())
        sums = []
        for groups in range(1, 12):
            engine = Engine(flights=[("e", 1, f"d{i}") for i in range(groups)])
            engine.load(plan)
            unit = measured(plan).columns[0].unit
            sums.append(sum(row["c0"] for row in engine.exact(measured(plan))) * unit)
        assert Fraction(most) * Fraction(99, 100) <= max(sums) <= most


# --- DP off, and refusals ---------------------------------------------------------------------------------------------


def test_with_dp_off_all_groups_appear_and_there_is_no_other_row() -> None:
    """One template serves parties with and without DP."""
    sql = f"SELECT cleanroom.or_other(f.dest, 'x') AS d, is_other() AS o, COUNT(*) AS n {FROM} {BY} ORDER BY 1"
    plan = compiled(sql, given=OFF)
    engine = Engine(flights=[("a", 1, "BOS"), ("b", 1, "BOS"), ("c", 1, None)])
    engine.load(plan)
    rows = engine.release(plan)
    assert [row[:3] for row in rows] == [("BOS", False, 2), (None, False, 1)]


REFUSED = [
    (f"SELECT cleanroom.or_other(f.dest, 'x', 'y') AS d, COUNT(*) {FROM} GROUP BY 1", "takes the key"),
    (f"SELECT cleanroom.or_other() AS d, COUNT(*) {FROM} GROUP BY 1", "takes the key"),
    (f"SELECT cleanroom.or_other(f.dest, f.dest) AS d, COUNT(*) {FROM} GROUP BY 1", "must be written out"),
    (f"SELECT cleanroom.or_other(f.dest, 'a' || 'b') AS d, COUNT(*) {FROM} GROUP BY 1", "must be written out"),
    (f"SELECT cleanroom.or_other(cleanroom.or_other(f.dest)) AS d, COUNT(*) {FROM} GROUP BY 1", "inside or_other"),
    (f"SELECT f.dest, cleanroom.is_other(1) AS o, COUNT(*) {FROM} {BY}", "takes no argument"),
    (f"SELECT cleanroom.or_other(f.dest, 0) AS d, COUNT(*) {FROM} GROUP BY 1", "another type"),
    (f"SELECT cleanroom.or_other(f.miles, 1.5) AS d, COUNT(*) {FROM} GROUP BY 1", "another type"),
    (f"SELECT cleanroom.or_other(f.dest, 'x') AS d, COUNT(*) {FROM} GROUP BY f.dest", "grouped by or_other"),
    (f"SELECT f.dest, cleanroom.is_other() AS o, COUNT(*) {FROM} GROUP BY f.dest", "grouped by or_other"),
    (f"SELECT cleanroom.or_other(f.miles, 1) AS m, COUNT(*) {FROM} {BY}", "grouped by or_other"),
    (f"SELECT cleanroom.is_other() AS o, COUNT(*) {FROM}", "grouped by or_other"),
    (f"SELECT COUNT(*) AS n {FROM} WHERE cleanroom.or_other(f.dest) = 'x'", "grouped by or_other"),
    (f"SELECT COUNT(cleanroom.or_other(f.dest)) AS n {FROM}", "grouped by or_other"),
    (f"SELECT COUNT(*) AS n {FROM} GROUP BY UPPER(cleanroom.or_other(f.dest))", "grouped by or_other"),
    (f"SELECT f.dest, f.miles, COUNT(*) AS n {FROM} GROUP BY cleanroom.or_other(f.dest), f.miles", "are not"),
    ("SELECT c.status, COUNT(*) AS n FROM airline.customers c GROUP BY cleanroom.or_other(c.status)", "public keys"),
    ("SELECT s.segment, COUNT(*) AS n FROM shop.segments s GROUP BY cleanroom.or_other(s.segment)", "no group is left"),
    (
        f"SELECT AVG(q.n) AS n FROM (SELECT f.email, COUNT(*) AS n {FROM} GROUP BY cleanroom.or_other(f.email)) q",
        "no group is left",
    ),
    (
        f"SELECT n FROM (SELECT f.dest, COUNT(*) AS n {FROM} GROUP BY 1) q GROUP BY cleanroom.or_other(n)",
        "no group is left",
    ),
]


@pytest.mark.parametrize(("sql", "said"), REFUSED)
def test_what_has_no_other_row_is_refused_with_place_and_cure(sql: str, said: str) -> None:
    with pytest.raises(TemplateRefusedError, match=said) as refusal:
        compiled(sql)
    assert refusal.value.rule == "other_row"
    assert refusal.value.line == 1
    assert refusal.value.column
    assert "or_other" in refusal.value.cure or "type" in refusal.value.cure


def test_lint_sees_calls_that_have_no_group_by_and_arguments_that_are_wrong() -> None:
    source = "FROM IDENTIFIER({{ source_table[0] }}) p"
    good = f"SELECT cleanroom.or_other(p.x, 'x') AS x, is_other() AS o {source} GROUP BY cleanroom.or_other(p.x)"
    assert [f.rule for f in lint(good)] == []
    assert [f.rule for f in lint(f"SELECT p.x, is_other() AS o, COUNT(*) AS n {source} GROUP BY p.x")] == [
        "no_other_row",
        "unnoised_number",
    ]
    wrong = lint(f"SELECT COUNT(*) AS n\n{source} GROUP BY cleanroom.or_other(p.x, p.y)")
    assert [(f.rule, f.line) for f in wrong if f.rule == "other_row"] == [("other_row", 2)]


# --- neighbours -------------------------------------------------------------------------------------------------------

Rows = list[tuple[object, ...]]


def random_flights(rng: random.Random) -> Rows:
    dests = [None, *(f"d{i}" for i in range(rng.choice([2, 12])))]
    miles = (None, 0, 50, 100, 700)
    return [(f"e{rng.randrange(5)}", rng.choice(miles), rng.choice(dests)) for _ in range(rng.randrange(60))]


def exact_of(plan: Plan, rows: Rows) -> dict[object, dict[str, object]]:
    engine = Engine(flights=rows)
    engine.load(plan)
    return {row["k0"]: row for row in engine.exact(measured(plan))}


def moved(c: MeasuredColumn, one: dict[str, object] | None, other: dict[str, object] | None) -> list[int]:
    """Return how far a group's integer, or each of its bins, is from that of the other database."""

    def cells(row: dict[str, object] | None) -> dict[int, int]:
        found = None if row is None else row[c.name]
        if isinstance(found, list):
            return {entry["b"]: entry["n"] for entry in found}
        return {0: found if isinstance(found, int) else 0}

    a, b = cells(one), cells(other)
    return [a.get(place, 0) - b.get(place, 0) for place in range(c.bins.number if c.bins else 1)]


def violations(plan: Plan, *, pairs: int, seed: int = 1) -> Iterator[str]:
    """Give what one entity moves the shown groups and the other row together, beyond what the column pays for.

    Which groups are shown is drawn at random: the bound is for each choice. Of columns that get noise together it is
    the largest that counts, in each group and in the other row.
    """
    rng = random.Random(seed)
    for _ in range(pairs):
        rows = random_flights(rng)
        with_all = exact_of(plan, rows)
        without = exact_of(plan, [row for row in rows if row[0] != "e0"])
        groups = with_all.keys() | without.keys()
        shown = {g for g in groups if rng.random() < rng.choice([0.0, 0.5, 1.0])}
        for together in measured(plan).drawn_together:
            c = together[0]
            if c.other_noise is None:
                continue
            if c.vector is not None:
                moves = [{g: moved(v, with_all.get(g), without.get(g))[0] for g in groups} for v in together]
                of_groups = sum(max(abs(m[g]) for m in moves) for g in shown)
                of_rest = max(abs(sum(m[g] for g in groups - shown)) for m in moves)
                if of_groups + of_rest > c.sensitivity:
                    yield f"{c.vector}: {of_groups + of_rest} of {c.sensitivity}"
                continue
            by_group = {g: moved(c, with_all.get(g), without.get(g)) for g in groups}
            rest = [sum(by_group[g][cell] for g in groups - shown) for cell in range(c.bins.number if c.bins else 1)]
            levels = c.bins.levels if c.bins else 1
            values = [d for g in shown for d in by_group[g]]
            if c.norm == "l1":
                spent = Fraction(levels * sum(abs(d) for d in [*values, *rest]), c.sensitivity)
            else:
                assert isinstance(c.noise, DiscreteGaussian)
                assert isinstance(c.other_noise, DiscreteGaussian)
                wider = c.other_noise.sigma_squared / c.noise.sigma_squared
                spent = (sum(d * d for d in values) + sum(d * d for d in rest) / wider) * levels / c.sensitivity
            if spent > 1:
                yield f"{c.name} ({c.meaning}): {float(spent):.3f} of what it pays"


QUERIES = [
    f"SELECT COUNT(*) AS a, COUNT(DISTINCT f.email) AS b, SUM(f.miles) AS c, COUNT(f.miles) AS d {FROM} {BY}",
    f"SELECT COUNT(DISTINCT f.miles) AS a, MEDIAN(f.miles) AS b {FROM} {BY}",
]


@pytest.mark.parametrize("mechanism", ["Laplace", "Gaussian"])
@pytest.mark.parametrize("sql", QUERIES)
def test_one_entity_moves_shown_groups_and_other_row_together_by_no_more_than_is_paid_for(
    sql: str, mechanism: str
) -> None:
    tables: tuple[LinkedTable, ...] = (NARROW,)
    plan = compiled(sql, tables=tables, given=GAUSSIAN if mechanism == "Gaussian" else settings())
    assert list(violations(plan, pairs=12)) == []


def test_the_check_catches_gaussian_noise_that_is_no_wider_in_the_other_row() -> None:
    plan = compiled(QUERIES[0], tables=(NARROW,), given=GAUSSIAN)
    columns = tuple(c if c.other_noise is None else replace(c, other_noise=c.noise) for c in measured(plan).columns)
    broken = replace(plan, measurements=(replace(measured(plan), columns=columns),))
    assert len(list(violations(broken, pairs=12))) > 2
