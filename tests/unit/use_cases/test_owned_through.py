"""Declaring that a table is owned through a key, and a whole run over it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.house import House, furnished

ORDERS = pa.table(
    {
        "order_id": pa.array(range(400), pa.int64()),
        "tailnum": [f"N{100 + order % 200}AA" for order in range(400)],
    }
)
LINES = pa.table(
    {
        "order_ref": pa.array([line % 500 for line in range(2000)], pa.int32()),
        "qty": pa.array([line % 10 for line in range(2000)], pa.int32()),
    }
)
KEY = {"parent": "orders", "on": {"order_ref": "order_id"}}
LINES_POLICY = {"max_rows": 20, "max_groups": 1, "bounds": {"qty": [0, 16]}, "owned_through": KEY}


def with_lines() -> House:
    house = furnished(settings={"differential": 1, "epsilon": 5.0, "privacy_budget": 100})
    house.objects.put_table(owner="airline", name="orders", table=ORDERS)
    house.objects.put_table(owner="airline", name="lines", table=LINES)
    return house


def link(house: House, *, policies, tables=("orders", "lines"), **more):
    return house.ask("airline", "provider", "link_datasets", cleanroom_name="room", tables=list(tables),
                     policies=policies, **more)  # fmt: skip


def test_a_run_over_the_child_alone_reads_the_parent_and_counts_for_its_entities():
    house = with_lines()
    status, answer = link(house, policies={"lines": LINES_POLICY})
    assert status == 200, answer
    assert answer["linked"][1]["policy"]["owned_through"] == KEY
    house("airline", "provider", "add_custom_sql_template", cleanroom_name="room", template_name="lines",
          template="SELECT COUNT(*) AS n, SUM(p.qty) AS s FROM IDENTIFIER({{ source_table[0] }}) p")  # fmt: skip
    release = house("agency", "consumer", "run_analysis", cleanroom_name="room", template_name="lines",
                    provider_tables=["lines"])  # fmt: skip
    exact = [row for row in LINES.to_pylist() if row["order_ref"] < 400]
    noisy = release["rows"][0]
    assert abs(noisy[0] - len(exact)) < 100
    assert abs(noisy[1] - sum(row["qty"] for row in exact)) < 1500


def test_the_key_is_declared_as_one_value_and_taken_away_by_null():
    house = with_lines()
    assert link(house, policies={"lines": LINES_POLICY})[0] == 200
    unique = {**KEY, "unique": True}
    _, answer = link(house, tables=["lines"], policies={"lines": {"owned_through": unique}})
    assert answer["linked"][0]["policy"]["owned_through"] == unique
    assert answer["linked"][0]["policy"]["max_rows"] == 20
    _, answer = link(house, tables=["lines"], policies={"lines": {"owned_through": None}})
    assert "owned_through" not in answer["linked"][0]["policy"]


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"parent": "nosuch", "on": {"order_ref": "order_id"}}, "not linked"),
        ({"parent": "orders", "on": {"order_ref": "nosuch"}}, "does not have"),
        ({"parent": "orders", "on": {"nosuch": "order_id"}}, "does not have"),
        ({"parent": "orders", "on": {"order_ref": "tailnum"}}, "equal types"),
        ({"parent": "lines", "on": {"order_ref": "qty"}}, "itself"),
        ({"parent": "orders", "on": {}}, "must be"),
        ({"parent": "orders"}, "must be"),
        ({"parent": "orders", "on": {"order_ref": "order_id"}, "sure": 1}, "must be"),
        ({"parent": "orders", "on": {"order_ref": "order_id", "qty": "ORDER_ID"}}, "twice"),
        ("orders", "must be"),
    ],
)
def test_a_key_that_cannot_hold_is_refused_when_it_is_declared_and_nothing_is_linked(declared, says):
    house = with_lines()
    status, answer = link(house, policies={"lines": {"owned_through": declared}})
    assert status == 400
    assert says in str(answer)
    seen = house("airline", "provider", "view_provider_datasets", cleanroom_name="room")["tables"]
    assert [t["table"] for t in seen] == ["airline.flights"]


def test_a_table_with_an_entity_column_is_not_owned_through_a_key_as_well():
    house = with_lines()
    pinned = {"lines": {"pin": {"qty": "customer_id"}}}
    status, answer = link(house, policies={"lines": LINES_POLICY}, entity_columns=pinned)
    assert status == 400
    assert "unpin" in str(answer)
