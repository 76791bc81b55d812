"""The other row loses no more than its column pays, a mistake in it is caught, and its interval holds what it should.

Plans are compiled, exact integers are the engine's, and noise, selection and sums are those of the product; thousands
of releases of the same two neighbouring tables are drawn at once. Fixed bits, so that nothing flakes; with fresh bits a
bound is above the true epsilon with a chance of 1e-6 (`audit.FALSE_ALARM`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest

from cleanroom.privacy.mechanisms import LARGEST_EXACT, add_noise, select_groups
from cleanroom.privacy.noise import DiscreteGaussian, DiscreteLaplace
from cleanroom.privacy.other_row import exact_rest
from cleanroom.rooms.settings import NoiseMechanism
from cleanroom.rooms.tables import TablePolicy
from cleanroom.templates.plan import MeasuredColumn, Plan
from cleanroom.use_cases.half_widths import half_width_of
from cleanroom.use_cases.noisy_tables import draw_noise
from tests.seeded_entropy import SeededEntropy
from tests.statistical.audit import Floats, epsilon_lower_bound, gaussian_epsilon_lower_bound
from tests.unit.templates.compiling import FLIGHTS, Engine, bounds, compiled, settings

RELEASES = 20_000
MAX_ROWS = 4
TABLE = replace(FLIGHTS, policy=TablePolicy(max_rows=MAX_ROWS, max_groups=1, bounds={"miles": bounds(0, 100)}))
DELTA = Fraction(1, 4000)
HIDDEN = -1e9
"""What stands for a group that is not shown: a number that noise never gives."""

Rows = list[tuple[object, ...]]


def plan_of(asked: str, *, gaussian: bool = False) -> Plan:
    mechanism = NoiseMechanism.GAUSSIAN if gaussian else NoiseMechanism.LAPLACE
    sql = f"SELECT f.dest, {asked} FROM airline.flights f GROUP BY cleanroom.or_other(f.dest)"
    return compiled(sql, tables=(TABLE,), given=settings(noise_mechanism=mechanism, delta=DELTA))


def price(plan: Plan) -> tuple[float, float]:
    return plan.price.micro_epsilon / 1e6, plan.price.delta_steps / 1e12


def people(dest: str, number: int, *, rows: int = 1) -> Rows:
    return [(f"{dest}{i}", 50, dest) for i in range(number) for _ in range(rows)]


def victim(*dests: str, rows: int = 1) -> Rows:
    return [("victim", 100, dest) for dest in dests for _ in range(rows)]


@dataclass(frozen=True, kw_only=True)
class Release:
    """Thousands of releases of one table.

    Attributes:
        groups: by column the noisy integers of every group, shape (releases, groups); `HIDDEN` where it is not shown.
        rest: by column those of the other row.
        exact_rest: by column what they are of.
    """

    groups: dict[str, Floats]
    rest: dict[str, Floats]
    exact_rest: dict[str, Floats]

    def numbers(self, name: str) -> Floats:
        return np.column_stack([self.groups[name], self.rest[name]])

    def rest_where_hidden(self, name: str, *, group: int) -> Floats:
        """Return the other row where a group is in it, and a large number elsewhere: both at once are one event."""
        return np.where(self.groups[name][:, [group]] == HIDDEN, self.rest[name][:, None], -HIDDEN)


def released(plan: Plan, rows: Rows, *, groups: tuple[str, ...], seed: str) -> Release:
    """Draw releases of a table, as `noisy_tables.draw_noise` draws one; `groups` are all that any table has."""
    (measurement,) = plan.measurements
    selection = measurement.partition_selection
    assert selection is not None
    engine = Engine(flights=rows)
    engine.load(plan)
    found = {row["k0"]: row for row in engine.exact(measurement)}
    entropy = SeededEntropy(seed)

    def exact_of(c: MeasuredColumn) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        one = np.array([found[g][c.name] if g in found else 0 for g in groups], dtype=np.int64)
        return np.tile(one, (RELEASES, 1))

    noisy = {c.name: add_noise(exact_of(c), noise=c.noise, entropy=entropy) for c in measurement.columns}
    appear = select_groups(noisy[selection.column], tau=selection.tau)
    appear &= np.array([g in found for g in groups])
    numbers, rest, exact = {}, {}, {}
    for c in measurement.columns:
        numbers[c.name] = np.where(appear, noisy[c.name], HIDDEN).astype(np.float64)
        if c.other_noise is not None:
            hidden = exact_rest(np.where(appear, 0, exact_of(c)).T.copy(), limit=LARGEST_EXACT)
            exact[c.name] = hidden.astype(np.float64)
            rest[c.name] = add_noise(hidden, noise=c.other_noise, entropy=entropy).astype(np.float64)
    return Release(groups=numbers, rest=rest, exact_rest=exact)


def both(plan: Plan, rows: Rows, more: Rows) -> tuple[Release, Release]:
    """Return releases without and with the victim's rows."""
    groups = tuple(dict.fromkeys(str(row[2]) for row in [*rows, *more]))
    absent = released(plan, rows, groups=groups, seed="absent")
    return absent, released(plan, [*rows, *more], groups=groups, seed="present")


LARGE, SMALL = people("A", 200), people("H", 3)


def people_at_the_threshold(plan: Plan, *, beyond: int = 0) -> Rows:
    """Return a group that is shown in about half of the releases."""
    (measurement,) = plan.measurements
    selection = measurement.partition_selection
    assert selection is not None
    unit = next(c.unit for c in measurement.columns if c.name == selection.column)
    return people("E", int(selection.tau * unit) + beyond)


# --- honest -----------------------------------------------------------------------------------------------------------


def test_the_other_row_of_a_count_loses_no_more_than_the_count_costs_and_the_audit_sees_most_of_it() -> None:
    """The victim fills its bound, in a group that is hardly ever shown."""
    plan = plan_of("COUNT(*) AS n")
    absent, present = both(plan, LARGE + SMALL, victim("H", rows=MAX_ROWS))
    assert price(plan)[0] == 2  # of it one is for choosing
    bound = epsilon_lower_bound(absent.rest["c0"][:, None], present.rest["c0"][:, None])
    assert 0.6 <= bound <= 1
    assert epsilon_lower_bound(absent.numbers("c0"), present.numbers("c0"), delta=float(DELTA)) <= 2


@pytest.mark.parametrize("where", ["E", "H", "new"])
def test_shown_groups_and_other_row_together_lose_no_more_than_the_run_costs(where: str) -> None:
    """A victim in a group at the threshold, which moves between the two; in a hidden group; and in one of its own."""
    plan = plan_of("COUNT(DISTINCT f.email) AS n")
    epsilon, delta = price(plan)
    assert epsilon == 2
    for beyond in (0, 2):
        rows = LARGE + SMALL + people_at_the_threshold(plan, beyond=beyond)
        absent, present = both(plan, rows, victim(where))
        assert epsilon_lower_bound(absent.numbers("c0"), present.numbers("c0"), delta=delta) <= epsilon
        if where == "E":
            hidden = (release.rest_where_hidden("c0", group=2) for release in (absent, present))
            assert 0.5 * epsilon <= epsilon_lower_bound(*hidden, delta=delta) <= epsilon


def test_gaussian_noise_of_the_other_row_holds_for_an_entity_in_as_many_groups_as_are_kept() -> None:
    """The victim is in four groups, with a weight of one half in each: twice its norm, under twice the deviation."""
    plan = plan_of("COUNT(DISTINCT f.email) AS n", gaussian=True)
    absent, present = both(plan, LARGE + SMALL, victim("a", "b", "c", "d"))
    epsilon, delta = price(plan)
    bound = gaussian_epsilon_lower_bound(absent.rest["c0"][:, None], present.rest["c0"][:, None], delta=delta)
    assert 0.25 * epsilon <= bound <= epsilon


# --- mistakes ---------------------------------------------------------------------------------------------------------


def changed(plan: Plan, **noises: object) -> Plan:
    """Return the plan with other noise in the other row of a column, past the checks of the plan."""
    (measurement,) = plan.measurements
    columns = tuple(replace(c) for c in measurement.columns)
    for c in columns:
        if c.name in noises:
            object.__setattr__(c, "other_noise", noises[c.name])
    planted = replace(measurement)
    object.__setattr__(planted, "columns", columns)
    return replace(plan, measurements=(planted,))


def test_gaussian_noise_that_is_no_wider_in_the_other_row_is_caught() -> None:
    plan = plan_of("COUNT(DISTINCT f.email) AS n", gaussian=True)
    noise = plan.measurements[0].columns[0].noise
    assert isinstance(noise, DiscreteGaussian)
    absent, present = both(changed(plan, c0=noise), LARGE + SMALL, victim("a", "b", "c", "d"))
    epsilon, delta = price(plan)
    bound = gaussian_epsilon_lower_bound(absent.rest["c0"][:, None], present.rest["c0"][:, None], delta=delta)
    assert bound > 1.05 * epsilon


def test_half_the_scale_in_the_other_row_is_caught() -> None:
    plan = plan_of("COUNT(*) AS n")
    noise = plan.measurements[0].columns[0].noise
    assert isinstance(noise, DiscreteLaplace)
    half = DiscreteLaplace(scale=noise.scale / 2)
    absent, present = both(changed(plan, c0=half), LARGE + SMALL, victim("H", rows=MAX_ROWS))
    bound = epsilon_lower_bound(absent.rest["c0"][:, None], present.rest["c0"][:, None])
    assert bound > 1.2


def test_releasing_the_count_that_chooses_the_groups_beside_an_other_row_is_caught() -> None:
    """It costs one epsilon, and loses nearly two: that a group is hidden is one, what is added for it another."""
    plan = plan_of("COUNT(*) AS n")
    choosing = plan.measurements[0].columns[-1]
    assert choosing.other_noise is None
    rows = LARGE + SMALL + people_at_the_threshold(plan, beyond=1)
    absent, present = both(changed(plan, **{choosing.name: choosing.noise}), rows, victim("E"))
    hidden = (release.rest_where_hidden(choosing.name, group=2) for release in (absent, present))
    assert epsilon_lower_bound(*hidden, delta=float(DELTA)) > 1.2


# --- one release at a time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gaussian", [False, True])
def test_a_release_as_it_is_drawn_has_the_noise_of_the_plan_in_its_other_row(*, gaussian: bool) -> None:
    """The mean size of the noise of 250 releases is that of its scale within 20 of 100: three standard errors."""
    plan = plan_of("COUNT(*) AS n", gaussian=gaussian)
    (measurement,) = plan.measurements
    counted, choosing = measurement.columns
    engine = Engine(flights=LARGE + SMALL + people_at_the_threshold(plan))
    engine.load(plan)
    exact = engine.connection.sql(measurement.exact_sql.replace("$run_key", "7")).to_arrow_table()
    by_group = dict(zip(exact.column("k0").to_pylist(), exact.column("c0").to_pylist(), strict=True))
    entropy = SeededEntropy("drawn")
    off, hidden = [], 0
    for _ in range(250):
        drawn = draw_noise(exact, measurement, plan, entropy)
        *keys, last = drawn.unmeasured.to_pylist()
        assert last == {"k0": None, "other": True}
        shown = {key["k0"] for key in keys}
        hidden += "E" not in shown
        rest = sum(n for group, n in by_group.items() if group not in shown)
        off.append(int(drawn.integers["c0"][-1]) - rest)
        assert drawn.integers[choosing.name][-1] == 0
    assert 50 < hidden < 200
    noise = counted.other_noise
    assert noise is not None
    size = noise.scale if isinstance(noise, DiscreteLaplace) else math.sqrt(2 * noise.sigma_squared / math.pi)
    assert 0.8 < np.mean(np.abs(off)) / float(size) < 1.2
    assert abs(np.mean(off)) < 4 * noise.standard_deviation / math.sqrt(250)


# --- intervals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gaussian", [False, True])
def test_intervals_of_the_other_row_hold_its_exact_number_in_93_to_97_of_100_releases(*, gaussian: bool) -> None:
    """Whichever groups are hidden: a group at the threshold is in about half of them."""
    plan = plan_of("COUNT(*) AS n, SUM(f.miles) AS s", gaussian=gaussian)
    rows = LARGE + SMALL + people_at_the_threshold(plan)
    release = released(plan, rows, groups=("A", "H", "E"), seed="intervals")
    assert 0.2 < np.mean(release.groups["c0"][:, 2] == HIDDEN) < 0.8
    for c in plan.measurements[0].columns:
        if c.other_noise is not None:
            shown = release.rest[c.name] * float(c.unit)
            shown = np.rint(shown) if c.is_count else shown
            off = np.abs(shown - release.exact_rest[c.name] * float(c.unit))
            assert 0.93 <= np.mean(off <= half_width_of(c, other_row=True)) <= 0.97
            if gaussian:
                assert np.mean(off <= half_width_of(c)) < 0.8  # the interval of the groups would be wrong here
