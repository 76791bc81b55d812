"""What every catalogue must do, on the twin in memory and on the emulated DynamoDB."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pytest

from cleanroom.adapters.dynamodb_catalogue import DynamoDbCatalogue
from cleanroom.adapters.dynamodb_keys import consumer_key, room_key, table_key, template_key
from cleanroom.errors import (
    BusyError,
    CleanRoomNotFoundError,
    ConflictError,
    InvalidRequestError,
    LedgerUnreadableError,
)
from cleanroom.rooms.approved import Template
from cleanroom.rooms.rooms import AddedTemplate, CleanRoom, Consumer, Snapshot
from cleanroom.rooms.tables import Column, ColumnBounds, ColumnType, Domain, EntityColumn, LinkedTable, TablePolicy
from tests.contract.ledgers import FaultyClient, table_of

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROOM = CleanRoom(name="flights", provider="airline", created_at=NOON)
CONSUMER = Consumer(party="lessor")
TABLE = LinkedTable(
    owner="airline",
    name="flights",
    columns=(
        Column(name="tailnum", type=ColumnType.TEXT, native_type="VARCHAR"),
        Column(name="air_time", type=ColumnType.DOUBLE, native_type="DOUBLE", nullable=False),
    ),
    entity_columns=(EntityColumn(column="tailnum", kind="vehicle", evidence=("named like one",)),),
    policy=TablePolicy(
        max_rows=20,
        bounds={"air_time": ColumnBounds(lo=Fraction(0), hi=Fraction(2001, 2))},
        domains={"mixed": Domain(values=("UA", 1, True, 0, False, "2026-11-20"))},
        join_columns=(),
    ),
)
TEMPLATE = AddedTemplate(
    template=Template(name="count_planes", text="SELECT 'ü' {{ x }}", sensitivity=Fraction(1, 3)),
    added_by="airline",
    added_at=NOON,
)


def fill(catalogue):
    catalogue.create_room(ROOM)
    catalogue.put_consumer("flights", CONSUMER)
    catalogue.put_table("flights", TABLE)
    catalogue.put_template("flights", TEMPLATE)


def test_a_room_comes_back_with_everything_in_it(catalogue):
    """Policies and exact fractions included."""
    fill(catalogue)
    snapshot = catalogue.snapshot("flights")
    assert snapshot == Snapshot(room=ROOM, consumers=(CONSUMER,), tables=(TABLE,), templates=(TEMPLATE,))
    values = snapshot.tables[0].policy.domains["mixed"].values
    assert [type(value) for value in values] == [str, int, bool, int, bool, str]


def test_a_name_can_be_taken_once(catalogue):
    catalogue.create_room(ROOM)
    with pytest.raises(ConflictError):
        catalogue.create_room(replace(ROOM, provider="another"))
    assert catalogue.snapshot("flights") == Snapshot(room=ROOM)
    assert catalogue.rooms_of("another") == ()


def test_of_many_who_want_a_name_one_gets_it(catalogue):
    def attempt(number):
        try:
            catalogue.create_room(replace(ROOM, provider=f"provider-{number}"))
        except ConflictError:
            return None
        return f"provider-{number}"

    with ThreadPoolExecutor(8) as pool:
        winners = [name for name in pool.map(attempt, range(16)) if name is not None]
    assert len(winners) == 1
    assert catalogue.snapshot("flights").room.provider == winners[0]
    assert [len(catalogue.rooms_of(f"provider-{number}")) for number in range(16)].count(1) == 1


def test_what_is_put_again_is_overwritten(catalogue):
    """B-20: adding the same consumer again updates it."""
    fill(catalogue)
    consumer = replace(CONSUMER, installed=True, provider_run_templates=("count_planes",))
    table = replace(TABLE, policy=TablePolicy(min_entities=5))
    template = replace(TEMPLATE, template=replace(TEMPLATE.template, text="SELECT 2"))
    catalogue.put_room(replace(ROOM, listed=False))
    catalogue.put_consumer("flights", consumer)
    catalogue.put_table("flights", table)
    catalogue.put_template("flights", template)
    assert catalogue.snapshot("flights") == Snapshot(
        room=replace(ROOM, listed=False), consumers=(consumer,), tables=(table,), templates=(template,)
    )
    assert catalogue.rooms_of("lessor") == (replace(ROOM, listed=False),)


def test_what_is_removed_is_gone_and_removing_it_again_changes_nothing(catalogue):
    fill(catalogue)
    for _ in range(2):
        catalogue.remove_consumer("flights", "lessor")
        catalogue.remove_table("flights", owner="airline", name="flights")
        catalogue.remove_template("flights", "count_planes")
    assert catalogue.snapshot("flights") == Snapshot(room=ROOM)
    assert catalogue.rooms_of("lessor") == ()
    assert catalogue.rooms_of("airline") == (ROOM,)


def test_parties_find_the_rooms_they_made_or_were_added_to(catalogue):
    """B-73: and no others; a party in both roles finds its room once."""
    trains = replace(ROOM, name="trains", provider="lessor")
    for room in (trains, ROOM):
        catalogue.create_room(room)
    catalogue.put_consumer("flights", CONSUMER)
    catalogue.put_consumer("flights", replace(CONSUMER, party="airline"))
    assert catalogue.rooms_of("lessor") == (ROOM, trains)
    assert catalogue.rooms_of("airline") == (ROOM,)
    assert catalogue.rooms_of("outsider") == ()
    catalogue.remove_consumer("flights", "airline")
    assert catalogue.rooms_of("airline") == (ROOM,)


def test_a_dropped_room_leaves_nothing_behind_for_the_next_of_that_name(catalogue):
    """Whoever takes the name later gets no tables, templates or members of the old room."""
    fill(catalogue)
    for number in range(90):
        catalogue.put_consumer("flights", Consumer(party=f"consumer-{number}"))
    for _ in range(2):
        catalogue.drop_room("flights")
        assert catalogue.snapshot("flights") is None
        for party in ("airline", "lessor", "consumer-89"):
            assert catalogue.rooms_of(party) == ()
    catalogue.create_room(replace(ROOM, provider="another"))
    assert catalogue.snapshot("flights") == Snapshot(room=replace(ROOM, provider="another"))


def test_nothing_can_be_put_into_a_room_that_is_not_there(catalogue):
    for put in (
        lambda: catalogue.put_room(ROOM),
        lambda: catalogue.put_consumer("flights", CONSUMER),
        lambda: catalogue.put_table("flights", TABLE),
        lambda: catalogue.put_template("flights", TEMPLATE),
    ):
        with pytest.raises(CleanRoomNotFoundError):
            put()
    catalogue.remove_consumer("flights", "lessor")
    catalogue.remove_table("flights", owner="airline", name="flights")
    catalogue.remove_template("flights", "count_planes")
    catalogue.drop_room("flights")
    assert catalogue.snapshot("flights") is None
    assert catalogue.rooms_of("lessor") == ()


def test_a_room_cannot_change_its_provider(catalogue):
    fill(catalogue)
    with pytest.raises(ConflictError):
        catalogue.put_room(replace(ROOM, provider="lessor"))
    assert catalogue.snapshot("flights").room == ROOM


def test_names_that_only_differ_in_separators_stay_apart(catalogue):
    for name in ("a#b", "a", "a%23b", "a%b"):
        catalogue.create_room(replace(ROOM, name=name, provider=name))
    catalogue.put_table("a", replace(TABLE, owner="x#y", name="z"))
    catalogue.put_table("a", replace(TABLE, owner="x", name="y#z"))
    catalogue.put_consumer("a#b", Consumer(party="p#q"))
    assert [table.full_name for table in catalogue.snapshot("a").tables] == ["x.y#z", "x#y.z"]
    assert [room.name for room in catalogue.rooms_of("p#q")] == ["a#b"]
    assert catalogue.rooms_of("p") == ()
    assert catalogue.snapshot("a%23b").consumers == ()


# --- DynamoDB only ----------------------------------------------------------------------------------------------------


@pytest.fixture
def client(dynamodb):
    return FaultyClient(client=dynamodb)


@pytest.fixture
def faulty(client, table_name):
    return DynamoDbCatalogue(table_of(client, table_name, sleep=lambda _: None, attempts=6))


@pytest.fixture
def stored(dynamodb, table_name):
    return DynamoDbCatalogue(table_of(dynamodb, table_name))


@pytest.mark.parametrize("faults", [["lost"], ["throttle", "lost"], ["fail", "conflict", None]])
def test_every_change_survives_lost_replies(faulty, client, stored, faults):
    """Creating a room, too: the repetition does not find its own name taken."""
    for change in (
        lambda: faulty.create_room(ROOM),
        lambda: faulty.put_consumer("flights", CONSUMER),
        lambda: faulty.put_table("flights", TABLE),
        lambda: faulty.put_template("flights", TEMPLATE),
    ):
        client.faults = list(faults)
        change()
    assert stored.snapshot("flights") == Snapshot(
        room=ROOM, consumers=(CONSUMER,), tables=(TABLE,), templates=(TEMPLATE,)
    )
    client.faults = [fault for fault in faults if fault != "conflict"]
    faulty.put_room(replace(ROOM, listed=False))
    assert not stored.snapshot("flights").room.listed
    client.faults = [fault for fault in faults if fault != "conflict"]
    faulty.drop_room("flights")
    assert stored.snapshot("flights") is None


def test_a_drop_that_broke_off_shows_nothing_and_is_finished_by_the_next_who_comes(faulty, client, stored, dynamodb):
    """A crash between closing a room and removing its contents."""
    for finish in (lambda: stored.drop_room("flights"), lambda: None):
        fill(stored)
        client.faults = [None] + ["throttle"] * 6
        with pytest.raises(BusyError):
            faulty.drop_room("flights")
        client.faults = []
        assert stored.snapshot("flights") is None
        assert stored.rooms_of("lessor") == ()
        with pytest.raises(CleanRoomNotFoundError):
            stored.put_consumer("flights", CONSUMER)
        with pytest.raises(CleanRoomNotFoundError):
            stored.put_room(ROOM)
        finish()
        stored.create_room(ROOM)
        assert stored.snapshot("flights") == Snapshot(room=ROOM)
        stored.drop_room("flights")
    assert dynamodb.scan(TableName=stored._table.name)["Items"] == []


def test_a_room_made_anew_loses_nothing_to_a_drop_that_comes_late(faulty, client, stored):
    """The remaining deletes of a slow drop check that it is still the closed room that they delete from."""
    fill(stored)
    transactions = []

    def race(name):
        if name == "transact_write_items":
            transactions.append(name)
            if len(transactions) == 1:
                stored.drop_room("flights")
                fill(stored)

    client.before = race
    faulty.drop_room("flights")
    assert stored.snapshot("flights").consumers == (CONSUMER,)
    assert stored.rooms_of("airline") == (ROOM,)


def test_a_snapshot_is_never_half_of_a_change(faulty, client, stored):
    """A change that lands while the room is being read: the room is read again."""
    fill(stored)
    reads = []

    def race(name):
        reads.append(name)
        if reads == ["query", "get_item"]:
            stored.remove_consumer("flights", "lessor")
            stored.put_consumer("flights", Consumer(party="another"))

    client.before = race
    assert faulty.snapshot("flights").consumers == (Consumer(party="another"),)
    assert reads == ["query", "get_item", "query", "get_item"]


def test_a_room_larger_than_one_page_is_read_whole(stored):
    """A query answers at most 1 MB at a time."""
    stored.create_room(ROOM)
    templates = [
        replace(TEMPLATE, template=replace(TEMPLATE.template, name=f"t{number}", text="x" * 300_000))
        for number in range(5)
    ]
    for template in templates:
        stored.put_template("flights", template)
    assert stored.snapshot("flights").templates == tuple(templates)


def test_what_is_too_large_for_one_record_is_refused_with_the_limit(stored):
    stored.create_room(ROOM)
    large = replace(TEMPLATE, template=replace(TEMPLATE.template, text="x" * 350_000))
    with pytest.raises(InvalidRequestError, match="350000"):
        stored.put_template("flights", large)
    assert stored.snapshot("flights").templates == ()


def test_more_rooms_than_one_batch_reads_are_all_found(stored):
    rooms = [replace(ROOM, name=f"room-{number:03d}") for number in range(105)]
    for room in rooms:
        stored.create_room(room)
    assert stored.rooms_of("airline") == tuple(rooms)


@pytest.mark.parametrize(
    "key",
    [
        room_key("flights"),
        consumer_key("flights", "lessor"),
        table_key("flights", owner="airline", name="flights"),
        template_key("flights", "count_planes"),
    ],
)
def test_a_damaged_part_refuses_the_whole_room(key, stored, dynamodb):
    """Rule 6: a table whose policy cannot be read must not come back without one."""
    fill(stored)
    item = dict(stored._table.get(key))
    body = item["body"]["S"]
    for damage in (
        item | {"kind": {"S": "another/1"}},
        item | {"body": {"S": body[:-1]}},
        item | {"body": {"S": body[:-1] + ',"unknown":1}'}},
        item | {"body": {"S": "{}"}},
        {name: value for name, value in item.items() if name != "body"},
        {name: value for name, value in item.items() if name != "kind"},
    ):
        dynamodb.put_item(TableName=stored._table.name, Item=damage)
        with pytest.raises(LedgerUnreadableError):
            stored.snapshot("flights")
    dynamodb.put_item(TableName=stored._table.name, Item=item)
    assert stored.snapshot("flights").tables == (TABLE,)
