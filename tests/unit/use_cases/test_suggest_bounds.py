"""`suggest_bounds`: exact figures about one's own table, and about nobody else's. Whole calls in memory."""

from __future__ import annotations

import datetime
import json

import pyarrow as pa
import pytest

from tests.house import furnished

DAY = datetime.date(2026, 1, 1)
VISITS = pa.table(
    {
        "email": [f"p{i}@example.com" for i in range(100) for _ in range(1 + i % 3)] + ["p0@example.com"] * 200,
        "phone": pa.array([f"+49170{i:07}" for i in range(100) for _ in range(1 + i % 3)] + [None] * 200, pa.string()),
        "city": [("BER", "PAR", "ROM")[i % 3] for i in range(100) for _ in range(1 + i % 3)] + ["BER"] * 200,
        "spent": [float(i) for i in range(100) for _ in range(1 + i % 3)] + [50.0] * 199 + [1e6],
        "day": [DAY + datetime.timedelta(days=i) for i in range(100) for _ in range(1 + i % 3)] + [DAY] * 200,
        "odd": pa.array([None] * 399, pa.float64()),
    }
)
"""A hundred people of one, two or three rows; p0 has two hundred more, and one value is far out."""


def linked(**more):
    house = furnished()
    house.objects.put_table(owner="airline", name="visits", table=VISITS)
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["visits"], **more)
    return house


def suggest(house, party="airline", side="provider", **more):
    return house.ask(party, side, "suggest_bounds", cleanroom_name="room", **{"table": "visits"} | more)


def rows_of_people():
    counts: dict[str, int] = {}
    for email in VISITS.column("email").to_pylist():
        counts[email] = counts.get(email, 0) + 1
    return list(counts.values())


@pytest.mark.parametrize("columns", [{"unpin": ["phone"]}, {}], ids=["one entity column", "joined from two"])
def test_figures_are_those_of_the_rows(columns):
    """Checked a second way: counted here in Python."""
    status, answer = suggest(linked(entity_columns={"visits": columns}))
    assert status == 200, answer
    measured = answer["measured"]
    assert (measured["exact_entities"], measured["exact_rows"], measured["exact_rows_without_entity"]) == (100, 399, 0)
    people = rows_of_people()
    for found in measured["contributions"]:
        cap = found["max_groups"] * found["max_rows"]
        assert found["max_groups"] == 1
        lost = sum(max(0, n - cap) for n in people) / 399
        assert found["exact_rows_lost"] == pytest.approx(lost)
        assert found["exact_rows_lost_gaussian"] == pytest.approx(lost), "one group: both norms are the same"
        assert found["exact_entities_scaled"] == pytest.approx(sum(n > cap for n in people) / 100)
    assert [found["max_rows"] for found in measured["contributions"]] == [3, 250]
    assert answer["proposal"]["max_rows"] == 250, "1 % is lost only with the loudest, and the owner sees what it costs"
    values = VISITS.column("spent").to_pylist()
    for found in measured["ranges"]["spent"]:
        lo, hi = found["bounds"]
        clamped = [v for v in values if not lo <= v <= hi]
        assert found["exact_values_clamped"] == pytest.approx(len(clamped) / 399)
        moved = sum(abs(v - min(max(v, lo), hi)) for v in values)
        assert found["exact_mass_clamped"] == pytest.approx(moved / sum(values))
    assert measured["ranges"]["spent"][-1]["exact_values_clamped"] == 0
    assert measured["ranges"]["day"][-1]["bounds"][0] <= "2026-01-01"
    assert "odd" not in measured["ranges"], "a column without a value has no range"


def test_groups_count_where_they_are_asked_for():
    house = linked(entity_columns={"visits": {"unpin": ["phone"]}})
    status, answer = suggest(house, group_columns=["day"], columns=["spent"])
    assert status == 200, answer
    pairs: dict[str, dict[object, int]] = {}
    for email, day in zip(VISITS.column("email").to_pylist(), VISITS.column("day").to_pylist(), strict=True):
        groups = pairs.setdefault(email, {})
        groups[day] = groups.get(day, 0) + 1
    assert set(answer["measured"]["ranges"]) == {"spent"}
    for found in answer["measured"]["contributions"]:
        k, m = found["max_groups"], found["max_rows"]
        lost = sum(max(0, sum(g.values()) - k * m) for g in pairs.values()) / 399
        assert found["exact_rows_lost"] == pytest.approx(lost)
        norms = [(sum(g.values()), sum(c * c for c in g.values()) ** 0.5) for g in pairs.values()]
        kept = sum(total * min(1, k**0.5 * m / norm) for total, norm in norms)
        assert found["exact_rows_lost_gaussian"] == pytest.approx(1 - kept / 399, abs=1e-12)
        assert found["exact_groups_lost"] == pytest.approx(
            1 - sum(min(len(g), k) for g in pairs.values()) / sum(map(len, pairs.values())), abs=1e-12
        )


def test_the_proposal_is_a_policy_that_can_be_declared():
    house = linked()
    proposed = suggest(house)[1]["proposal"]
    policies = {"visits": proposed}
    answer = house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["visits"], policies=policies)
    assert answer["linked"][0]["policy"]["max_rows"] == proposed["max_rows"]
    assert answer["linked"][0]["policy"]["bounds"]["spent"] == proposed["bounds"]["spent"]


@pytest.mark.parametrize(
    ("party", "side", "named", "expected"),
    [
        ("agency", "consumer", "airline.visits", (403, "forbidden")),
        ("agency", "consumer", "airline.no_such_table", (403, "forbidden")),
        ("agency", "consumer", "visits", (404, "table_not_linked")),
        ("agency", "provider", "visits", (403, "forbidden")),
        ("airline", "provider", "agency.fleet", (403, "forbidden")),
        ("airline", "provider", "fleet", (404, "table_not_linked")),
        ("stranger", "provider", "visits", (404, "clean_room_not_found")),
    ],
)
def test_nobody_but_the_owner_of_a_table_is_told(party, side, named, expected):
    """B-72, B-73: not in a provider-run either; a table of another party is not told from one that is not there."""
    house = linked()
    house("agency", "consumer", "enable_templates_for_provider_run", cleanroom_name="room",
          template_names=["by_carrier"])  # fmt: skip
    status, answer = suggest(house, party, side, table=named)
    assert (status, answer["error"]["code"]) == expected
    assert "exact" not in json.dumps(answer)


def test_a_consumer_measures_its_own_table():
    house = linked()
    status, answer = suggest(house, "agency", "consumer", table="fleet")
    assert status == 200
    assert answer["for"] == "agency"
    assert answer["measured"]["exact_rows"] == 100


def test_exact_figures_are_marked_and_kept_nowhere():
    """Neither in the history, nor in a log, nor in what other parties see."""
    house = linked()
    before = [e.body for e in house.ledger.entries("room")]
    _, answer = suggest(house)
    assert any("owner of the table alone" in warning for warning in answer["warnings"])
    assert any("no promise covers" in warning for warning in answer["warnings"])
    after = [e.body for e in house.ledger.entries("room")]
    assert after[len(before) :] == [json.dumps({"table": "airline.visits"})]
    assert not any("suggest" in step for step, _ in house.telemetry.steps)
    seen = house("agency", "consumer", "view_provider_datasets", cleanroom_name="room")
    assert "exact" not in json.dumps(seen)
    assert "max_rows" not in next(t for t in seen["tables"] if t["table"] == "airline.visits")["policy"]


def test_wrong_columns_are_refused_by_name():
    house = linked()
    for key, word in (("columns", "city"), ("columns", "nope"), ("group_columns", "x")):
        more = {key: [word]}
        status, answer = suggest(house, **more)
        assert (status, answer["error"]["code"]) == (400, "invalid_request")
        assert word in answer["error"]["message"]


def test_a_table_without_an_entity_column_has_ranges_only():
    house = linked(entity_columns={"visits": {"unpin": ["email", "phone"]}})
    _, answer = suggest(house)
    assert answer["measured"]["exact_entities"] is None
    assert answer["measured"]["exact_rows"] is None
    assert set(answer["proposal"]) == {"bounds"}
    assert any("no entity column" in warning for warning in answer["warnings"])
