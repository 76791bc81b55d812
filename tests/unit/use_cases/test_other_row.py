"""A run with an other row through the HTTP event: what the row holds, its interval, its price, quote and receipt."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from tests.house import House, furnished

LARGE, SMALL = {"BOS": 90, "other": 80}, {"ORD": 24, "LAX": 22, None: 20}
"""Airports with so many planes, each with two flights there; those of `SMALL` have fewer than `LEAST`."""

LEAST = {"threshold": 1, "threshold_value": 30}

PLANES = [(f"N{place}{n}", dest) for place, (dest, planes) in enumerate((LARGE | SMALL).items()) for n in range(planes)]
VISITS = pa.table(
    {
        "tailnum": [plane for plane, _ in PLANES for _ in range(2)],
        "dest": pa.array([dest for _, dest in PLANES for _ in range(2)], pa.string()),
        "delay": pa.array([10 if dest in LARGE else 40 + 20 * leg for _, dest in PLANES for leg in range(2)]),
    }
)
NEVER = pa.table({"tailnum": ["N1"], "dest": ["BOS"], "delay": [1]})
POLICY = {"max_groups": 1, "max_rows": 2, "bounds": {"delay": [0, 100]}}
BY = "FROM IDENTIFIER({{ source_table[0] }}) p GROUP BY cleanroom.or_other(p.dest)"


def house_of(table: pa.Table, **settings: Any) -> House:
    house = furnished(settings={"differential": 1, "epsilon": 20.0, "privacy_budget": 10_000} | settings)
    house.objects.put_table(owner="airline", name="visits", table=table)
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["visits"],
          policies={"visits": POLICY})  # fmt: skip
    return house


def run(house: House, sql: str, *, name: str = "asked", procedure: str = "run_analysis") -> dict[str, Any]:
    room = {"cleanroom_name": "room", "template_name": name}
    house("airline", "provider", "add_custom_sql_template", **room, template=sql)
    more = {"run_id": f"run-number-{name}"} if procedure == "run_analysis" else {}
    answer: dict[str, Any] = house("agency", "consumer", procedure, **room, provider_tables=["visits"], **more)
    return answer


def only(release: dict[str, Any], mark: int) -> list[Any]:
    (row,) = [row for row in release["rows"] if row[mark]]
    return row


@pytest.mark.parametrize("mechanism", ["Laplace", "Gaussian"])
def test_the_row_holds_the_groups_that_are_not_shown_whatever_their_keys(mechanism: str) -> None:
    """A group of NULL is left out, and one that is called as the row is shown beside it."""
    sql = (
        "SELECT cleanroom.or_other(p.dest, 'other') AS dest, cleanroom.is_other() AS rest, COUNT(*) AS n, "
        f"SUM(p.delay) AS s, AVG(p.delay) AS a, COUNT(DISTINCT p.tailnum) AS planes, MEDIAN(p.delay) AS m {BY} "
        "ORDER BY cleanroom.is_other(), n DESC"
    )
    release = run(house_of(VISITS, noise_mechanism=mechanism, epsilon=50.0, **LEAST), sql)
    assert [row[:2] for row in release["rows"]] == [["BOS", False], ["other", False], ["other", True]]
    exact = {"n": 132, "s": 6600, "a": 50, "planes": 66}
    found = dict(zip([c["name"] for c in release["columns"]], release["rows"][2], strict=True))
    for name, truth in exact.items():
        low, high = release["intervals"][name][2]
        assert low <= found[name] <= high
        assert abs(found[name] - truth) < 0.35 * truth, name
        assert high - low < truth
    assert 35 <= found["m"] <= 65  # of 66 delays of 40, and as many of 60
    assert release["price"]["epsilon"] == 6 * 50


@pytest.mark.parametrize("table", [VISITS.filter(pa.compute.is_in(VISITS["dest"], pa.array(list(LARGE)))), NEVER])
def test_the_row_is_there_when_nothing_is_left_out_and_when_nothing_is_shown(table: pa.Table) -> None:
    """Otherwise its absence would tell, without noise, that there is no small group."""
    release = run(house_of(table, epsilon=1.0), f"SELECT p.dest, cleanroom.is_other() AS rest, COUNT(*) AS n {BY}")
    row = only(release, 1)
    assert row[0] is None
    assert abs(row[2]) < 40
    assert len(release["intervals"]["n"]) == len(release["rows"])


def test_what_stands_above_the_groups_takes_the_row_as_one_of_them() -> None:
    sql = (
        "SELECT p.dest, cleanroom.is_other() AS rest, COUNT(*) AS n, COUNT(*) / SUM(COUNT(*)) OVER () AS share, "
        f"SUM(p.delay) / COUNT(*) AS mean {BY} HAVING COUNT(*) > 40 ORDER BY n LIMIT 2"
    )
    release = run(house_of(VISITS, **LEAST), sql)
    rest, other = release["rows"]
    assert rest[:2] == [None, True]
    assert other[:2] == ["other", False]
    assert rest[3] == pytest.approx(132 / 472, abs=0.02)
    for name, place, truth in (("share", 3, 132 / 472), ("mean", 4, 50)):
        low, high = release["intervals"][name][0]
        assert low <= rest[place] <= high
        assert low <= truth <= high


def test_a_query_joins_and_adds_up_above_the_row() -> None:
    sql = (
        f"WITH g AS (SELECT cleanroom.or_other(p.dest, 'other') AS dest, is_other() AS rest, COUNT(*) AS n {BY}) "
        "SELECT rest, SUM(n) AS n FROM g GROUP BY rest ORDER BY rest"
    )
    shown, rest = run(house_of(VISITS, **LEAST), sql)["rows"]
    assert shown[0] is False
    assert shown[1] == pytest.approx(340, abs=10)
    assert rest[1] == pytest.approx(132, abs=10)


def test_with_gaussian_noise_the_interval_of_the_row_is_wider_by_the_root_of_its_groups() -> None:
    """By 2: an entity that may weigh one group is kept in four at most."""
    sql = f"SELECT cleanroom.is_other() AS rest, SUM(p.delay) AS s {BY}"
    release = run(house_of(VISITS, noise_mechanism="Gaussian", epsilon=5.0), sql)
    ends = zip(release["rows"], release["intervals"]["s"], strict=True)
    widths = {bool(row[0]): high - low for row, (low, high) in ends}
    assert widths[True] / widths[False] == pytest.approx(2, rel=0.2)


def test_quote_plan_and_receipt_name_the_row_and_its_noise() -> None:
    sql = f"SELECT p.dest, cleanroom.is_other() AS rest, COUNT(*) AS n {BY}"
    house = house_of(VISITS, noise_mechanism="Gaussian", epsilon=5.0)
    release = run(house, sql)
    quote = run(house, sql, procedure="quote_analysis")
    plan = run(house, sql, procedure="explain_analysis")["plan"]
    (said,) = release["receipt"]["measurements"]
    counted, choosing = said["columns"]
    assert "other_row_noise" not in choosing
    assert said["bounds"]["other row"] == "the groups that are not shown, together"
    for view in (quote["measurements"], plan["measurements"]):
        (measurement,) = view
        first, second = measurement["columns"]
        assert first["other_row"]["noise"] == counted["other_row_noise"] != counted["noise"]
        wider, narrow = (half - 0.5 for half in (first["other_row"]["plus_or_minus_95"], first["plus_or_minus_95"]))
        assert wider == pytest.approx(2 * narrow, rel=0.01)
        assert "other_row" not in second
    assert "are in the other row, all together" in " ".join(plan["notes"])


def test_the_row_has_as_many_entities_as_the_owner_asks_of_a_group() -> None:
    """B-80"""
    sql = f"SELECT cleanroom.is_other() AS rest, COUNT(*) AS n {BY}"
    shown = {}
    for least in (30, 75):
        release = run(house_of(VISITS, threshold=1, threshold_value=least), sql)
        shown[least] = sorted(row[0] for row in release["rows"])
    assert shown == {30: [False, False, True], 75: [False, False]}  # of 66 planes


def test_a_release_made_again_has_the_same_row() -> None:
    house = house_of(VISITS, epsilon=1.0)
    sql = f"SELECT cleanroom.is_other() AS rest, COUNT(*) AS n, MEDIAN(p.delay) AS m {BY}"
    release = run(house, sql)
    again = house.get_run("agency", "run-number-asked")[1]
    assert json.dumps(again.get("release", again)["rows"]) == json.dumps(release["rows"])


def test_with_dp_off_the_same_template_shows_all_groups() -> None:
    sql = f"SELECT cleanroom.or_other(p.dest, 'other') AS dest, is_other() AS rest, COUNT(*) AS n {BY} ORDER BY 3"
    release = run(house_of(VISITS, differential=0), sql)
    assert release["rows"] == [
        [None, False, 40], ["LAX", False, 44], ["ORD", False, 48], ["other", False, 160], ["BOS", False, 180]
    ]  # fmt: skip
