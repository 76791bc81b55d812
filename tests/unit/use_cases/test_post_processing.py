"""Counts that are not negative and totals that agree: on request, for nothing, and refused where they cannot be had."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from cleanroom.use_cases.consistent_totals import with_consistent_totals
from tests.house import House, furnish
from tests.unit.privacy.test_consistency import design
from tests.unit.templates.compiling import compiled

CARRIERS = ["AA", "DL", "UA", "ZZ"]
ROLLUP = (
    "SELECT p.carrier, p.late, COUNT(*) AS flights, SUM(p.dep_delay) AS delay, COUNT(DISTINCT p.tailnum) AS planes, "
    "GROUPING_ID(p.carrier, p.late) AS level "
    "FROM IDENTIFIER({{ source_table[0] }}) p GROUP BY ROLLUP(p.carrier, p.late)"
)
CUBE = ROLLUP.replace("ROLLUP", "CUBE")
SMALL = (
    "SELECT p.carrier, COUNT(*) AS flights, COUNT(*) / 2 AS half FROM IDENTIFIER({{ source_table[0] }}) p GROUP BY 1"
)
CONDITIONS = [f"p.dep_delay > {i}" for i in range(13)]
TABLE = pa.table(
    {
        "tailnum": [f"N{100 + plane}AA" for plane in range(300) for _ in range(4)],
        "carrier": [("AA", "UA", "XX")[plane % 3] for plane in range(300) for _ in range(4)],
        "late": [leg % 4 == 0 for _ in range(300) for leg in range(4)],
        "dep_delay": pa.array([(plane + 3 * leg) % 50 for plane in range(300) for leg in range(4)], pa.int32()),
    }
)
LISTED = [r for r in TABLE.to_pylist() if r["carrier"] != "XX"]


def house(*, epsilon: float = 1.0, **policy: object) -> House:
    made = House()
    made.objects.put_table(owner="airline", name="flights", table=TABLE)
    made.objects.put_table(owner="agency", name="fleet", table=pa.table({"tailnum": ["N100AA"]}))
    furnish(made, settings={"differential": 1, "epsilon": epsilon, "privacy_budget": 1_000_000_000})
    declared = {"max_groups": 4, "max_rows": 4, "bounds": {"dep_delay": [0, 60]}, "domains": {"carrier": CARRIERS}}
    policies = {"flights": declared | policy}
    made("airline", "provider", "link_datasets", cleanroom_name="room", tables=["flights"], policies=policies)
    for name, text in {"rollup": ROLLUP, "cube": CUBE, "small": SMALL}.items():
        made("airline", "provider", "add_custom_sql_template", cleanroom_name="room", template_name=name, template=text)
    return made


def ask(name: str, *steps: str) -> dict[str, object]:
    return {
        "cleanroom_name": "room",
        "template_name": name,
        "provider_tables": ["flights"],
        "post_processing": list(steps),
    }


def run(made: House, name: str, *steps: str):
    return made("agency", "consumer", "run_analysis", **ask(name, *steps))


@pytest.mark.parametrize("name", ["rollup", "cube"])
def test_totals_agree_with_the_sums_of_their_parts_and_cost_nothing_more(name):
    made = house()
    plain, release = run(made, name), run(made, name, "consistent_totals")
    assert release["price"]["epsilon"] == plain["price"]["epsilon"]
    number = {(row[5], row[0], row[1]): row for row in release["rows"]}
    lates = (False, True, None)
    for place in (2, 3):
        total = number[3, None, None][place]
        assert total == pytest.approx(sum(number[1, c, None][place] for c in CARRIERS), rel=1e-9)
        for c in CARRIERS:
            parts = sum(number[0, c, late][place] for late in lates)
            assert number[1, c, None][place] == pytest.approx(parts, rel=1e-9)
        if name == "cube":
            for late in lates:
                parts = sum(number[0, c, late][place] for c in CARRIERS)
                assert number[2, None, late][place] == pytest.approx(parts, rel=1e-9)
    different = {(row[5], row[0], row[1]): row for row in plain["rows"]}
    assert different[3, None, None][2] != sum(different[1, c, None][2] for c in CARRIERS)


def test_with_next_to_no_noise_the_numbers_are_those_of_the_listed_rows():
    """Totals have the rows of their parts: XX is on no list, and in no total. Without the option it is in them."""
    made = house(epsilon=1e6)
    rows = {(r[5], r[0], r[1]): r for r in run(made, "rollup", "consistent_totals")["rows"]}
    assert rows[3, None, None][2] == pytest.approx(len(LISTED), abs=0.1)
    assert rows[3, None, None][3] == pytest.approx(sum(r["dep_delay"] for r in LISTED), abs=0.5)
    assert rows[1, "AA", None][2] == pytest.approx(400, abs=0.1)
    assert rows[0, "UA", True][2] == pytest.approx(100, abs=0.1)
    assert rows[3, None, None][4] == 200  # entities are left as they were measured, of the same rows
    plain = {(r[5], r[0], r[1]): r for r in run(made, "rollup")["rows"]}
    assert plain[3, None, None][2] == len(TABLE)


def test_counts_below_zero_are_shown_as_zero_with_intervals_that_begin_there():
    made = house(epsilon=0.02)
    seen = negative = 0
    for _ in range(6):
        release = run(made, "small", "nonnegative_counts")
        for row, ends, half in zip(
            release["rows"], release["intervals"]["flights"], release["intervals"]["half"], strict=True
        ):
            assert row[1] >= 0
            assert 0 <= ends[0] <= row[1] <= ends[1]
            if row[1] == 0 and row[2] < 0:
                negative += 1  # what is computed from a count was computed before
            assert half[0] < 0 or row[2] > 0
            seen += 1
        assert any("shown as 0 (flights)" in note for note in release["notes"])
        assert release["receipt"]["post_processing"]["nonnegative_counts"] == ["flights"]
    assert seen == 24
    assert negative > 0
    assert any(row[1] < 0 for _ in range(6) for row in run(made, "small")["rows"])


def test_both_can_be_asked_for_and_counts_of_all_sets_are_cut_off():
    release = run(house(epsilon=0.02), "cube", "nonnegative_counts", "consistent_totals")
    assert release["receipt"]["post_processing"] == {
        "nonnegative_counts": ["flights", "planes"],
        "consistent_totals": [["m0", "m1", "m2", "m3"]],
    }
    assert all(row[2] >= 0 and row[4] >= 0 for row in release["rows"])
    assert any(row[3] < 0 for row in release["rows"])  # sums are no counts
    assert all(low >= 0 for low, _ in release["intervals"]["flights"])


def test_the_quote_says_what_noise_remains():
    """B-56"""
    made = house()
    quote = made("agency", "consumer", "quote_analysis", **ask("rollup", "consistent_totals"))
    assert quote["epsilon"] == made("agency", "consumer", "quote_analysis", **ask("rollup"))["epsilon"]
    (totals,) = quote["post_processing"]["consistent_totals"]
    assert totals["measurements"] == ["m0", "m1", "m2"]
    for number in totals["numbers"]:
        pairs = list(zip(number["deviation_shown"], number["deviation_measured"], strict=True))
        assert all(after < before for after, before in pairs)
    explained = made("agency", "consumer", "explain_analysis", **ask("rollup", "consistent_totals"))
    assert explained["plan"]["post_processing"] == quote["post_processing"]


def test_a_run_without_a_request_is_not_post_processed():
    release = run(house(), "rollup")
    assert release["receipt"]["post_processing"] == {"nonnegative_counts": [], "consistent_totals": []}
    assert all(isinstance(row[2], int) for row in release["rows"])


@pytest.mark.parametrize(
    ("text", "step", "says"),
    [
        ("SELECT p.dep_delay, COUNT(*) AS n FROM {} p GROUP BY ROLLUP(p.dep_delay)", "consistent_totals", "is private"),
        ("SELECT p.carrier, COUNT(*) AS n FROM {} p GROUP BY p.carrier", "consistent_totals", "no totals of parts"),
        (
            "SELECT p.carrier, COUNT(DISTINCT p.tailnum) AS n FROM {} p GROUP BY ROLLUP(p.carrier)",
            "consistent_totals",
            "no totals of parts",
        ),
        ("SELECT AVG(p.dep_delay) AS a FROM {} p", "nonnegative_counts", "no released column is a count"),
        ("SELECT COUNT(*) - 1 AS a FROM {} p", "nonnegative_counts", "no released column is a count"),
        (
            "SELECT COUNT(*) AS n FROM {} p GROUP BY GROUPING SETS (" + ", ".join(f"({c})" for c in CONDITIONS) + ")",
            "consistent_totals",
            "too many keys",
        ),
        (  # the release would have taken minutes, and the noise function has one: charged, and never released
            f"SELECT COUNT(*) AS n FROM {{}} p GROUP BY GROUPING SETS (({', '.join(CONDITIONS[:9])}), ())",
            "consistent_totals",
            "too many keys",
        ),
        (
            f"SELECT COUNT(*), SUM(p.dep_delay) FROM {{}} p GROUP BY GROUPING SETS (({', '.join(CONDITIONS[:8])}), ())",
            "consistent_totals",
            "too many keys",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_before_it_is_charged(text, step, says):
    made = house()
    made(
        "airline", "provider", "add_custom_sql_template", cleanroom_name="room", template_name="tried",
        template=text.format("IDENTIFIER({{ source_table[0] }})"),
    )  # fmt: skip
    status, refusal = made.ask("agency", "consumer", "run_analysis", **ask("tried", step))
    assert (status, refusal["error"]["rule"]) == (422, "post_processing")
    assert says in refusal["error"]["message"]
    (budget,) = made("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room")["budgets"]
    assert budget["lifetime_epsilon"] == 0


def test_totals_do_not_agree_with_groups_that_a_policy_hides():
    made = house(min_entities=5)
    status, refusal = made.ask("agency", "consumer", "run_analysis", **ask("rollup", "consistent_totals"))
    assert (status, refusal["error"]["rule"]) == (422, "post_processing")
    assert "a smallest group is set" in refusal["error"]["message"]


def test_without_differential_privacy_there_is_nothing_to_do():
    made = house()
    made("airline", "provider", "add_consumers", cleanroom_name="room", consumer_names=["agency"],
         privacy_settings={"differential": 0})  # fmt: skip
    status, refusal = made.ask("agency", "consumer", "run_analysis", **ask("small", "nonnegative_counts"))
    assert (status, refusal["error"]["rule"]) == (422, "post_processing")


def test_an_unknown_step_is_refused_with_those_that_there_are():
    status, refusal = house().ask("agency", "consumer", "quote_analysis", **ask("small", "rounded"))
    assert status == 400
    assert "post_processing" in refusal["error"]["message"]


@pytest.mark.parametrize("name", ["rollup", "cube", "without the finest set"])
def test_the_numbers_are_those_of_least_squares_with_matrices(name):
    """Over booleans and a list, in a random order of rows, two replicates at once."""
    asked = {
        "rollup": "ROLLUP(status, old)",
        "cube": "CUBE(old, status)",
        "without the finest set": "GROUPING SETS (status, (old), ())",
    }
    sets, sizes = {
        "rollup": ([(0, 1), (0,), ()], (3, 3)),
        "cube": ([(0, 1), (0,), (1,), ()], (3, 3)),
        "without the finest set": ([(0,), (1,), ()], (3, 3)),
    }[name]
    plan = compiled(
        f"SELECT status, age > 40 AS old, COUNT(*) AS n FROM customers GROUP BY {asked[name]}", consistent=True
    )
    values = {"status": ["gold", "silver", "none"], "old": [True, False, None]}
    first = "status" if name != "cube" else "old"
    axes = [values[first], values["old" if first == "status" else "status"]]
    rng = np.random.default_rng(5)
    tables, noisy, orders = {}, [], []
    for m, own in zip(plan.measurements, sets, strict=True):
        cells = [tuple(axes[a][i] for a, i in zip(own, place, strict=True)) for place in np.ndindex(*(3 for _ in own))]
        order = rng.permutation(len(cells))
        drawn = rng.normal(10, 5, size=(2, len(cells)))
        noisy.append(drawn)
        orders.append(order)
        columns = {key: pa.array([cells[i][k] for _ in range(2) for i in order]) for k, key in enumerate(m.keys)}
        tables[m.name] = pa.table({**columns, m.columns[0].name: drawn[:, order].reshape(-1)})
    fitted = with_consistent_totals(tables, plan, replicates=2)
    a = design(sets, sizes)
    spread = [m.columns[0].noise.standard_deviation * float(m.columns[0].unit) for m in plan.measurements]
    weights = np.diag([s**-2 for s, own in zip(spread, sets, strict=True) for _ in range(3 ** len(own))])
    for replicate in range(2):
        y = np.concatenate([d[replicate] for d in noisy])
        expected = a @ np.linalg.pinv(a.T @ weights @ a) @ a.T @ weights @ y
        row = 0
        for m, order, drawn in zip(plan.measurements, orders, noisy, strict=True):
            found = np.asarray(fitted[m.name].column(m.columns[0].name)).reshape(2, -1)[replicate]
            assert found == pytest.approx(expected[row : row + drawn.shape[1]][order], rel=1e-9)
            row += drawn.shape[1]
