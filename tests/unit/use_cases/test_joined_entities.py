"""Tables with several entity columns (B-04), and with a policy elsewhere (B-07): whole runs in memory."""

from __future__ import annotations

import json
from random import Random

import pyarrow as pa
import pytest

from cleanroom.adapters.memory import parquet_bytes
from tests.house import furnished
from tests.unit.use_cases.test_entities_and_policies import add, ask, exact_tables, refused, spent

POLICY = {"max_groups": 1, "max_rows": 3, "bounds": {"spent": [0, 100]}, "domains": {"city": ["BER", "PAR"]}}


def customers(people):
    """Return rows (email, phone, city, spent) as a table; numbers become addresses, None stays NULL."""
    return pa.table(
        {
            "email": pa.array([None if e is None else f"p{e}@example.com" for e, *_ in people], pa.string()),
            "phone": pa.array([None if t is None else f"+4917000000{t:03}" for _, t, *_ in people], pa.string()),
            "city": pa.array([c for *_, c, _ in people], pa.string()),
            "spent": pa.array([s for *_, s in people], pa.int64()),
        }
    )


CROWD = [(i, i, ("BER", "PAR")[i % 2], 10) for i in range(100, 160)]
"""Sixty people of one row each, who share nothing."""


def linked_house(rows=CROWD, **more):
    house = furnished()
    house.objects.put_table(owner="airline", name="customers", table=customers(rows))
    answer = house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["customers"],
                   policies={"customers": POLICY}, **more)  # fmt: skip
    return house, answer["linked"][0]


def exact(house, text, rows=None):
    """Run over `rows` and return its exact integers by meaning, with their sensitivity."""
    if rows is not None:
        house.objects.put_table(owner="airline", name="customers", table=customers(rows))
    add(house, text)
    seen = exact_tables(house)
    status, answer = ask(house, tables=("customers",))
    assert status == 200, answer
    del house.runs.engine.execute
    return seen[-1], answer


BY_CITY = (
    "SELECT p.city, COUNT(*) AS n, SUM(p.spent) AS s FROM IDENTIFIER({{ source_table[0] }}) p "
    "GROUP BY p.city ORDER BY p.city"
)


def test_rows_that_share_any_entity_value_are_one_entity():
    """B-04: by address, by number, and through others; bounds are by that entity, and so is the receipt."""
    chain = [(1, 1, "BER", 10), (2, 1, "BER", 10), (2, 3, "BER", 10), (None, 3, "BER", 10), (4, 3, "BER", 10)]
    house, table = linked_house([*CROWD, *chain])
    assert [e["column"] for e in table["entity_columns"]] == ["email", "phone"]
    assert table["entities_joined"] == "now"
    measured, answer = exact(house, BY_CITY)
    unit = measured["rows"][0] // 3  # max_rows is 3, so the sensitivity is three rows
    berlin, paris = measured["rows"][1]
    assert paris == 30 * unit
    assert 30 * unit < berlin <= 33 * unit, "five rows of one chain weigh three"
    assert answer["receipt"]["entity"] == "email or phone of airline.customers"
    assert any("share email or phone" in note for note in answer["notes"])


def test_the_label_is_shown_to_nobody():
    """B-04: it is a value of the table."""
    house, _ = linked_house([*CROWD, (1, 1, "BER", 10), (2, 1, "BER", 10)])
    _, answer = exact(house, BY_CITY)
    everything = json.dumps(answer) + json.dumps([str(vars(house.telemetry))])
    everything += json.dumps([e.body for e in house.ledger.entries("room")])
    assert "example.com" not in everything
    assert "0:p" not in everything
    for name in ("entity_label", "ENTITY_LABEL", "entity", "e"):
        error = refused(house, f"SELECT p.{name} AS x, COUNT(*) AS n FROM IDENTIFIER({{{{ source_table[0] }}}}) p "
                        f"GROUP BY p.{name}", tables=("customers",))  # fmt: skip
        assert error["rule"] == "unknown_column"


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_all_rows_of_a_joined_entity_move_the_exact_integers_by_no_more_than_the_sensitivity(rows):
    """B-01, B-04: however many addresses and numbers it has."""
    loud = [(i // 2, (i + 1) // 2, ("BER", "PAR")[i % 2], 10**6) for i in range(rows)]
    house, _ = linked_house()
    without, _ = exact(house, BY_CITY)
    with_one, _ = exact(house, BY_CITY, rows=[*CROWD, *loud])
    for meaning, (sensitivity, before) in without.items():
        moved = sum(abs(a - b) for a, b in zip(with_one[meaning][1], before, strict=True))
        assert 0 < moved <= sensitivity, meaning


def test_taking_one_value_away_may_split_an_entity_and_move_more():
    """The limit of the promise, as docs/privacy.md states it: ten people who share one number are one entity. Without
    the rows that show the number they are ten, and weigh ten times as much; within (1 + 10) times the sensitivity."""
    people = [(i, None, "BER", 100) for i in range(10) for _ in range(3)]
    shared = [(i, 999, "BER", 100) for i in range(10)]
    house, _ = linked_house([*CROWD, *people, *shared])
    together, _ = exact(house, BY_CITY)
    apart, _ = exact(house, BY_CITY, rows=[*CROWD, *people])
    for meaning, (sensitivity, before) in together.items():
        moved = sum(abs(a - b) for a, b in zip(apart[meaning][1], before, strict=True))
        assert sensitivity < moved <= 11 * sensitivity, meaning


def test_rows_without_any_entity_value_count_for_nobody_and_null_joins_nothing():
    """B-04."""
    house, _ = linked_house([*CROWD, *[(None, None, "BER", 10)] * 50, *[(i, None, "PAR", 10) for i in range(20)]])
    measured, _ = exact(house, BY_CITY)
    unit = measured["rows"][0] // 3
    assert measured["rows"][1] == [30 * unit, 50 * unit]


def test_private_groups_are_thresholded_by_joined_entities():
    """B-04: fifty addresses that share a number do not make a group appear."""
    rows = [*[(i, 1, "SFO", 10) for i in range(50)], *[(i, i, "NYC", 10) for i in range(100, 400)]]
    house, _ = linked_house(rows)
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["customers"],
          policies={"customers": {**POLICY, "domains": {"city": None}}})  # fmt: skip
    _, answer = exact(house, "SELECT p.city, COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) p GROUP BY p.city")
    assert [row[0] if isinstance(row, list) else row["city"] for row in answer["rows"]] == ["NYC"]


def test_a_new_version_is_joined_anew_by_its_first_run():
    """B-04, B-50: a later upload can join what was apart; no call of the owner is needed."""
    apart = [(1, 1, "BER", 10)] * 3 + [(2, 2, "BER", 10)] * 3
    house, _ = linked_house([*CROWD, *apart])
    first, _ = exact(house, BY_CITY)
    second, _ = exact(house, BY_CITY, rows=[*CROWD, *apart, (1, 2, "BER", 10)])
    unit = first["rows"][0] // 3
    assert first["rows"][1] == [36 * unit, 30 * unit]
    assert 30 * unit < second["rows"][1][0] <= 33 * unit
    assert len(house.entities.present("airline/customers/")) == 2


def test_the_readers_own_table_joins_on_any_of_its_columns():
    """Owned with Public: fan-out is bounded after the join, by the joined entity."""
    house, _ = linked_house([*CROWD, (1, 1, "BER", 10), (2, 1, "BER", 10)])
    fleet = pa.table({"email": [f"p{i}@example.com" for i in (1, 2, 100, 101)] * 5, "segment": ["a"] * 20})
    house.objects.put_table(owner="agency", name="leads", table=fleet)
    house("agency", "consumer", "link_datasets", cleanroom_name="room", tables=["leads"])
    add(house, "SELECT COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) p "
        "JOIN IDENTIFIER({{ my_table[0] }}) c ON p.email = c.email")  # fmt: skip
    seen = exact_tables(house)
    assert ask(house, tables=("customers",), consumer_tables=["leads"])[0] == 200
    sensitivity, (n,) = seen[-1]["rows"]
    assert n == 3 * sensitivity, "three entities, each with more rows than it may weigh"


def test_joins_that_would_need_the_label_are_refused_with_the_cure():
    """Two rows of a joined entity cannot be told to be of one: refused before anything is read."""
    house, _ = linked_house()
    twice = "SELECT COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) p JOIN IDENTIFIER({{ source_table[0] }}) p1 "
    for text, tables in (
        (twice + "ON p.email = p1.email", ("customers",)),
        (twice.replace("[0] }}) p1", "[1] }}) p1") + "ON p.email = p1.tailnum", ("customers", "flights")),
    ):
        error = refused(house, text, tables=tables)
        assert error["rule"] == "joined_entities"
        assert "link_datasets" in error["cure"]
    assert spent(house) == 0


def test_no_column_of_several_is_taken_for_the_entity():
    """B-04: COUNT(DISTINCT address) is not the number of entities."""
    house, _ = linked_house()
    add(house, "SELECT COUNT(DISTINCT p.email) AS n FROM IDENTIFIER({{ source_table[0] }}) p")
    seen = exact_tables(house)
    status, answer = ask(house, tables=("customers",))
    if status == 200:
        assert "entities" not in seen[-1]
    else:
        assert answer["error"]["rule"] == "distinct_values"


def test_one_column_can_be_protected_instead():
    """B-05: the owner unpins the others; then one value is one entity, as before."""
    house, table = linked_house(entity_columns={"customers": {"unpin": ["phone"]}})
    assert "entities_joined" not in table
    _, answer = exact(house, "SELECT COUNT(DISTINCT p.email) AS n FROM IDENTIFIER({{ source_table[0] }}) p")
    assert answer["receipt"]["entity"] == "email of airline.customers"
    assert not house.entities.present("")


def test_a_column_of_a_wrong_type_among_several_is_refused():
    house, _ = linked_house(entity_columns={"customers": {"pin": {"spent": "amount"}}})
    exact(house, "SELECT COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) p")
    table = customers(CROWD).append_column("moment", pa.array([0.5] * len(CROWD)))
    house.objects.put_table(owner="airline", name="customers", table=table)
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["customers"],
          policies={"customers": POLICY}, entity_columns={"customers": {"pin": {"moment": "moment"}}})  # fmt: skip
    error = refused(house, "SELECT COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) p", tables=("customers",))
    assert error["rule"] == "entity_type"


def test_a_table_that_its_owner_marked_cannot_be_linked_and_the_error_says_so():
    """B-07: the marker lies beside the table, so that whoever links it for the owner is stopped."""
    house = furnished()
    house.objects.put_table(owner="airline", name="customers", table=customers(CROWD))
    house.objects.put("airline/customers/_own_privacy_policy", b"governed by the hospital")
    status, answer = house.ask("airline", "provider", "link_datasets", cleanroom_name="room", tables=["customers"])
    assert (status, answer["error"]["code"]) == (409, "own_privacy_policy")
    assert "airline.customers" in answer["error"]["message"]
    assert "privacy policy of its own" in answer["error"]["message"]
    assert "hospital" not in json.dumps(answer)
    house.objects.delete("airline/customers/_own_privacy_policy")
    assert house.ask("airline", "provider", "link_datasets", cleanroom_name="room", tables=["customers"])[0] == 200


def test_a_table_that_is_marked_after_it_was_linked_is_not_read_any_more():
    """B-07: refused before the charge."""
    house = furnished()
    add(house, "SELECT COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) p")
    assert ask(house)[0] == 200
    before = spent(house)
    house.objects.put("airline/flights/_own_privacy_policy", b"")
    status, answer = ask(house)
    assert (status, answer["error"]["code"]) == (409, "own_privacy_policy")
    assert spent(house) == before


def test_a_smallest_group_is_counted_in_joined_entities_also_with_dp_off():
    """B-04, B-80: fifty addresses with one number are one entity."""
    rows = [*[(i, 1, "SFO", 10) for i in range(50)], *[(i, i, "NYC", 10) for i in range(100, 110)]]
    house, _ = linked_house(rows)
    house("airline", "provider", "set_privacy_settings", cleanroom_name="room", party_name="agency",
          privacy_settings={"differential": 0})  # fmt: skip
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["customers"],
          policies={"customers": {"min_entities": 5, "domains": {"city": None}}})  # fmt: skip
    add(house, "SELECT p.city, COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) p GROUP BY p.city")
    status, answer = ask(house, tables=("customers",))
    assert status == 200, answer
    assert "NYC" in json.dumps(answer["rows"])
    assert "SFO" not in json.dumps(answer["rows"])


def test_rows_owned_through_a_key_belong_to_the_joined_entity():
    """B-04 with a declared key: the orders of two addresses with one number weigh as much as one entity's."""
    house, _ = linked_house([*CROWD, (1, 1, "BER", 10), (2, 1, "BER", 10)])
    people = [*range(100, 160), *[1] * 40, *[2] * 40]
    orders = pa.table({"buyer": [f"p{i}@example.com" for i in people], "item": ["x"] * len(people)})
    house.objects.put_table(owner="airline", name="orders", table=orders)
    through = {"parent": "customers", "on": {"buyer": "email"}}
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["orders"],
          policies={"orders": {"max_groups": 1, "max_rows": 3, "owned_through": through}},
          entity_columns={"orders": {"unpin": ["buyer"]}})  # fmt: skip
    add(house, "SELECT COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) p")
    seen = exact_tables(house)
    status, answer = ask(house, tables=("orders",))
    assert status == 200, answer
    sensitivity, (n,) = seen[-1]["rows"]
    unit = sensitivity // 3
    assert 62 * unit < n <= 63 * unit
    assert answer["receipt"]["entity"] == "email or phone of airline.customers"


def test_a_column_that_is_called_like_the_label_is_another():
    """The hidden column takes a name that no column has, in any case of letters."""
    house, _ = linked_house()
    rows = [*CROWD, (1, 1, "BER", 10), (2, 1, "BER", 10)]
    table = customers(rows).append_column("Entity_Label", pa.array([f"mine{i}" for i in range(len(rows))]))
    house.objects.put_table(owner="airline", name="customers", table=table)
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["customers"])
    text = "SELECT p.city, COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) p WHERE p.entity_label <> 'x' "
    measured, _ = exact(house, text + "GROUP BY p.city")
    unit = measured["rows"][0] // 3
    assert measured["rows"][1] == [32 * unit, 30 * unit]


def crowd_of(chance):
    """Return random people who share addresses and numbers now and then; some have only one of the two, or none."""
    values = range(chance.choice([20, 40, 80]))
    return [
        (
            chance.choice([None, *values]),
            chance.choice([None, *values]),
            chance.choice(["BER", "PAR"]),
            chance.randint(-(10**6), 10**6),
        )
        for _ in range(40)
    ]


def with_all_it_is_connected_to(rows, start):
    """Return the places of all rows of one entity, by a search; without labels, and without the engine."""
    found, waiting = {start}, [start]
    while waiting:
        email, phone, *_ = rows[waiting.pop()]
        for i, (e, p, *_) in enumerate(rows):
            if i not in found and ((e is not None and e == email) or (p is not None and p == phone)):
                found.add(i)
                waiting.append(i)
    return found


def test_random_neighbours_differ_by_no_more_than_the_sensitivity():
    """B-01, B-04: the exact integers of whatever is connected, against a search of its own; public groups."""
    house, _ = linked_house()
    plans, execute = [], house.runs.engine.execute

    def watched(plan, **named):
        plans.append(plan)
        return execute(plan, **named)

    house.runs.engine.execute = watched
    add(house, BY_CITY)
    assert ask(house, tables=("customers",))[0] == 200
    (plan,) = plans
    (measurement,) = plan.measurements
    largest = dict.fromkeys((c.name for c in measurement.columns), 0.0)

    def exact_of(rows):
        house.objects.put_table(owner="airline", name="customers", table=customers(rows or [(None, None, "BER", 0)]))
        versions = {use.relation: house.runs.tables.resolve(use.table) for use in plan.tables}
        return pa.ipc.open_stream(execute(plan, versions=versions, run_key=1)[measurement.name]).read_all()

    for seed in range(3):
        rows = crowd_of(Random(seed))
        before = exact_of(rows)
        entities = {
            frozenset(with_all_it_is_connected_to(rows, i)) for i, row in enumerate(rows) if row[:2] != (None, None)
        }
        for gone in (max(entities, key=len), min(entities, key=len)):
            after = exact_of([row for i, row in enumerate(rows) if i not in gone])
            for column in measurement.columns:
                pairs = zip(before.column(column.name).to_pylist(), after.column(column.name).to_pylist(), strict=True)
                moved = sum(abs(a - b) for a, b in pairs)
                assert moved <= column.sensitivity, (seed, column.meaning)
                largest[column.name] = max(largest[column.name], moved / column.sensitivity)
    assert min(largest.values()) > 0.5, "some entity weighed much of what it may: the bound is not loose"


def test_labels_that_join_nothing_would_be_noticed():
    """A planted fault: with an empty object in place of the labels, five addresses with one number weigh five times."""
    house, _ = linked_house([*CROWD, *[(i, 1, "BER", 10) for i in range(5) for _ in range(3)]])
    sound, _ = exact(house, BY_CITY)
    (stored,) = house.entities.present("airline/customers/")
    house.entities.put(stored.key, parquet_bytes(pa.table({"key": pa.array([], "str"), "label": pa.array([], "str")})))
    faulty, _ = exact(house, BY_CITY)
    unit = sound["rows"][0] // 3
    assert 30 * unit < sound["rows"][1][0] <= 33 * unit
    assert faulty["rows"][1][0] == 45 * unit
