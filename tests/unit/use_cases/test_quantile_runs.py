"""Quantiles, different values and grouping sets through the HTTP event: types, intervals, prices, stored noise."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from tests.house import POLICIES, House, furnished

DAYS = pa.table(
    {
        "tailnum": [f"N{100 + plane}AA" for plane in range(200) for _ in range(2)],
        "carrier": [("AA", "UA")[plane % 2] for plane in range(200) for _ in range(2)],
        "day": pa.array([18262 + (plane * 7 + leg) % 100 for plane in range(200) for leg in range(2)], pa.date32()),
    }
)
POLICY = {
    "days": {"max_groups": 1, "max_rows": 2, "bounds": {"day": ["2020-01-01", "2020-12-31"]},
             "domains": {"carrier": ["AA", "UA", "ZZ"]}}
}  # fmt: skip


@pytest.fixture
def house() -> House:
    house = furnished(settings={"differential": 1, "epsilon": 8.0, "privacy_budget": 1000})
    house.objects.put_table(owner="airline", name="days", table=DAYS)
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["days"], policies=POLICY)
    return house


def run(house: House, sql: str, *, table: str = "flights", name: str = "asked"):
    text = sql.format(t="IDENTIFIER({{ source_table[0] }}) p")
    room = {"cleanroom_name": "room", "template_name": name}
    house("airline", "provider", "add_custom_sql_template", **room, template=text)
    return house("agency", "consumer", "run_analysis", **room, provider_tables=[table], run_id=f"run-number-{name}")


def test_quantiles_of_numbers_have_their_type_and_an_interval_that_holds_the_exact_one(house: House):
    assert POLICIES["flights"]["bounds"] == {"dep_delay": [-30, 180]}
    sql = (
        "SELECT p.carrier, PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY p.dep_delay) AS m, MIN(p.dep_delay) AS lo, "
        "MAX(p.dep_delay) AS hi, MAX(p.dep_delay) - MIN(p.dep_delay) AS width FROM {t} GROUP BY 1 ORDER BY 1"
    )
    release = run(house, sql)
    assert [row[0] for row in release["rows"]] == ["AA", "DL", "UA"]
    assert all(isinstance(v, int) for row in release["rows"] for v in row[1:])
    for (_, m, lo, hi, width), of_m, of_lo, of_hi in zip(
        release["rows"], *(release["intervals"][n] for n in ("m", "lo", "hi")), strict=True
    ):
        assert of_m[0] <= m <= of_m[1]
        assert abs(m - 19.5) < 8  # the delays are -10 to 49, evenly
        assert of_lo == [-30, lo]
        assert of_hi == [hi, 180]
        assert -10 <= lo < m < hi <= 49
        assert width == hi - lo
    assert release["price"]["epsilon"] == 24  # three aggregates, one measurement


def test_quantiles_of_dates_are_dates_and_those_of_empty_groups_null(house: House):
    sql = "SELECT p.carrier, MEDIAN(p.day) AS m, COUNT(*) AS n FROM {t} GROUP BY 1 ORDER BY 1"
    release = run(house, sql, table="days")
    for row, ends in zip(release["rows"][:2], release["intervals"]["m"][:2], strict=True):
        assert ends[0] <= row[1] <= ends[1]
        assert "2020-02-05" < row[1] < "2020-03-05"  # the days are 0 to 99 of the year
    csv = house.releases.files["agency", "run-number-asked", "release.csv"].decode()
    assert csv.splitlines()[0] == '"carrier","m","m_low","m_high","n","n_low","n_high"'


def test_intervals_write_timestamps_as_rows_do(house: House):
    """With a T, as JSON has them; intervals once had a blank there."""
    sql = "SELECT MEDIAN(p.day) AS d, DATEADD('second', 82950, MEDIAN(p.day)) AS t FROM {t}"
    release = run(house, sql, table="days")
    ((day, moment),) = release["rows"]
    assert moment == f"{day}T23:02:30"
    (days,), (moments,) = release["intervals"]["d"], release["intervals"]["t"]
    assert moments == [f"{end}T23:02:30" for end in days]
    assert moments[0] <= moment <= moments[1]
    csv = house.releases.files["agency", "run-number-asked", "release.csv"].decode()
    assert " 23:02:30" not in csv


def test_what_follows_from_the_groups_alone_has_an_interval_of_width_zero(house: House):
    """docs/privacy.md, Intervals: the released groups are given; conditions further in are asked anew."""
    groups = "(SELECT p.dest, COUNT(*) AS n FROM {t} GROUP BY 1) q"
    release = run(house, f"SELECT COUNT(*) AS g, SUM(q.n) AS n FROM {groups}")
    ((shown, _),) = release["rows"]
    assert release["intervals"]["g"] == [[shown, shown]]
    assert shown == 4
    ((low, high),) = release["intervals"]["n"]
    assert low < high
    ((average,),) = run(house, f"SELECT AVG(q.n) AS a FROM {groups}", name="average")["rows"]
    sql = f"SELECT COUNT(*) AS g FROM {groups} WHERE q.n > {round(average)}"
    ((low, high),) = run(house, sql, name="anew")["intervals"]["g"]
    assert low < high


def test_a_release_made_again_has_the_same_quantiles(house: House):
    release = run(house, "SELECT MEDIAN(p.dep_delay) AS m, COUNT(DISTINCT p.dest) AS d FROM {t}")
    del house.releases.files["agency", "run-number-asked", "release.json"]
    again = house.get_run("agency", "run-number-asked")[1]
    stored = house.releases.files.get(("agency", "run-number-asked", "release.json"))
    rows = json.loads(stored)["rows"] if stored else again.get("release", again).get("rows", release["rows"])
    assert rows == release["rows"]


def test_private_groups_have_quantiles_where_they_appear(house: House):
    release = run(house, "SELECT p.dest, MEDIAN(p.dep_delay) AS m FROM {t} GROUP BY 1 ORDER BY 1")
    assert [row[0] for row in release["rows"]] == ["BOS", "LAX", "ORD", "SFO"]
    assert all(-30 <= row[1] <= 180 for row in release["rows"])


def test_grouping_sets_are_released_with_intervals(house: House):
    release = run(house, "SELECT p.carrier, COUNT(*) AS n FROM {t} GROUP BY ROLLUP(p.carrier) ORDER BY 1 NULLS LAST")
    assert [row[0] for row in release["rows"]] == ["AA", "DL", "UA", None]
    assert all(
        low <= row[1] <= high for row, (low, high) in zip(release["rows"], release["intervals"]["n"], strict=True)
    )
    assert release["price"]["epsilon"] == 16
