"""The ledger on DynamoDB when replies are lost, writes are throttled or collide, and items are damaged (rules 6, 8)."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from cleanroom.adapters.dynamodb_keys import (
    TASK_COPIES,
    History,
    Key,
    dp_on_key,
    head_key,
    history_partition,
    lifetime_key,
    request_key,
    room_total_key,
    room_window_key,
    run_key,
    settings_key,
    task_copy_key,
    task_copy_number,
    task_key,
    window_key,
)
from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from cleanroom.errors import (
    BudgetExhaustedError,
    BusyError,
    CleanRoomError,
    ConflictError,
    LedgerUnreadableError,
    RunConflictError,
    StaleChargeError,
)
from cleanroom.privacy.accounting import Price
from cleanroom.rooms.ledger import RequestState, RoomBudget, RunRequest, RunState, TaskStatus
from cleanroom.rooms.ledger_chain import first_broken_chain, first_broken_line
from cleanroom.rooms.settings import PrivacySettings
from tests.contract.ledgers import KEY, NOON, FaultyClient, charge, charge_lines, table_of

ON = PrivacySettings(differential=True)
PRICE = Price(micro_epsilon=100_000, delta_steps=7)
QUEUED = RunRequest(run_id="run-1", party="consumer", request_digest="digest", state=RequestState.QUEUED, at=NOON)


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def client(dynamodb):
    return FaultyClient(client=dynamodb)


@pytest.fixture
def faulty(client, table_name, pauses):
    """Give a ledger on a client that fails as told; its pauses are noted, not slept."""
    return DynamoDbLedger(table_of(client, table_name, sleep=pauses.append, jitter=lambda: 1.0, attempts=6))


@pytest.fixture
def stored(dynamodb, table_name):
    """Give a ledger on the same table that never fails: what is really there."""
    return DynamoDbLedger(table_of(dynamodb, table_name))


def assert_charged_once(stored):
    assert stored.run("run-1") is not None
    spending = stored.spending(KEY, window=0)
    assert spending.window == spending.lifetime == PRICE
    assert [entry.run_id for entry in charge_lines(stored)] == ["run-1"]
    assert first_broken_chain(stored.history("flights")) is None


def assert_not_charged(stored):
    assert stored.run("run-1") is None
    assert stored.spending(KEY, window=0).lifetime == Price(micro_epsilon=0, delta_steps=0)
    assert stored.entries("flights") == ()


@pytest.mark.parametrize(
    "faults",
    [
        ["lost"],
        ["lost", "lost", "lost", "lost", "lost"],
        ["throttle", "lost"],
        ["conflict", "throttle", "fail", "lost"],
        ["fail", "conflict", "throttle", "fail", None],
    ],
)
def test_a_charge_is_applied_once_whatever_replies_are_lost(faulty, client, stored, faults):
    """Rule 8: an unknown outcome is resolved by the ledger itself, never by guessing."""
    client.faults = faults
    assert faulty.charge(charge()) == stored.run("run-1")
    assert_charged_once(stored)


def test_when_every_reply_is_lost_the_run_that_was_charged_is_found(faulty, client, stored):
    """Rule 8: after the last attempt the run is read back."""
    client.faults = ["lost"] * 6
    assert faulty.charge(charge()) == stored.run("run-1")
    assert_charged_once(stored)


@pytest.mark.parametrize("faults", [["lost"], ["lost", "throttle", "lost"]])
def test_the_token_alone_is_not_relied_on(faulty, client, stored, faults):
    """Rule 8: a service that has forgotten the token refuses the repetition, and the run is read back."""
    client.faults = faults
    client.forgets_tokens = True
    assert faulty.charge(charge()) == stored.run("run-1")
    assert [name for name, _ in client.sent][-1] == "batch_get_item"
    assert_charged_once(stored)


def test_a_repetition_behind_another_line_of_the_history_is_applied_once(faulty, client, stored):
    """A reply is lost, and before the repetition another call writes into the room."""

    def race(name):
        if name == "transact_write_items" and [sent for sent, _ in client.sent].count(name) == 2:
            stored.note("flights", kind="noted", party="provider", body="{}", at=NOON)

    client.faults, client.before, client.forgets_tokens = ["lost"], race, True
    assert faulty.charge(charge()) == stored.run("run-1")
    assert stored.spending(KEY, window=0).lifetime == PRICE
    assert [entry.kind for entry in stored.entries("flights")] == ["chain", "noted", "charge"]
    assert first_broken_chain(stored.history("flights")) is None


@pytest.mark.parametrize("fault", ["throttle", "conflict", "fail"])
def test_a_store_that_never_answers_is_busy_and_nothing_is_charged(faulty, client, stored, pauses, fault):
    """Rule 8: retried with jitter, bounded; the same call is safe later."""
    client.faults = [fault] * 6
    with pytest.raises(BusyError):
        faulty.charge(charge())
    assert_not_charged(stored)
    assert len(pauses) == 5
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1] <= 0.32
    faulty.charge(charge())
    assert_charged_once(stored)


def test_pauses_have_full_jitter(client, table_name, pauses):
    ledger = DynamoDbLedger(table_of(client, table_name, sleep=pauses.append, jitter=lambda: 0.25))
    client.faults = ["throttle", "throttle"]
    ledger.charge(charge())
    assert pauses == [0.25 * 0.02, 0.25 * 0.04]


def test_a_different_request_is_told_so_even_when_replies_are_lost(faulty, client, stored):
    """Rule 2."""
    stored.charge(charge())
    client.faults = ["throttle", "lost"]
    with pytest.raises(RunConflictError):
        faulty.charge(charge(request_digest="another"))
    assert_charged_once(stored)


def test_a_lost_head_race_is_tried_again_behind_the_winner(faulty, client, stored):
    """Rule 8: the chain has one order; who comes second is not refused."""
    raced = []

    def race(name):
        if name == "transact_write_items" and not raced:
            raced.append(stored.charge(charge("run-0", budgets=(replace(KEY, party="another"),))))

    client.before = race
    faulty.charge(charge())
    assert [entry.run_id for entry in charge_lines(stored)] == ["run-0", "run-1"]
    assert first_broken_chain(stored.history("flights")) is None


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda ledger: ledger.put_settings(KEY, ON, by="provider", at=NOON), StaleChargeError),
        (lambda ledger: ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON), StaleChargeError),
        (lambda ledger: ledger.open_window(scheduled_for=NOON, at=NOON), StaleChargeError),
        (lambda ledger: ledger.charge(charge("run-0", price=Price(micro_epsilon=950_000, delta_steps=0))), None),
    ],
)
def test_what_changes_between_reading_and_charging_is_noticed(faulty, client, stored, change, error):
    """Rule 1: every part of the charge is checked again by the transaction itself."""
    changed = []

    def race(name):
        if name == "transact_write_items" and not changed:
            changed.append(change(stored))

    client.before = race
    with pytest.raises(error or BudgetExhaustedError):
        faulty.charge(charge())
    assert stored.run("run-1") is None


@pytest.mark.parametrize("faults", [["lost"], ["throttle", "lost"], ["conflict", "lost", "lost"]])
def test_every_other_change_is_applied_once_too(faulty, client, stored, faults):
    """Rule 8, for settings, notes and the DP task: one version, one line."""
    changes = [
        lambda: faulty.put_settings(KEY, ON, by="provider", at=NOON),
        lambda: faulty.note("flights", kind="noted", party="provider", body="{}", at=NOON),
        lambda: faulty.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON),
        lambda: faulty.open_window(scheduled_for=NOON, at=NOON),
    ]
    for change in changes:
        client.faults = list(faults)
        change()
    assert stored.settings(KEY).version == 1
    assert stored.keys_with_dp_on() == (KEY,)
    assert [entry.kind for entry in stored.entries("flights")] == ["settings", "noted"]
    assert (stored.task().status, stored.task().window) == (TaskStatus.SUSPENDED, 1)
    assert [entry.kind for entry in stored.account_entries()] == ["suspended", "window"]


@pytest.mark.parametrize("faults", [["lost"], ["throttle", "lost"], ["fail"]])
def test_a_step_of_a_run_and_a_request_survive_lost_replies(faulty, client, stored, faults):
    """Rules 3 and 8: the step of the first attempt is found, not refused."""
    stored.charge(charge())
    client.faults = list(faults)
    assert faulty.advance("run-1", to=RunState.EXECUTED, at=NOON).state is RunState.EXECUTED
    client.faults = list(faults)
    assert faulty.put_request(QUEUED) == QUEUED
    refused = replace(QUEUED, state=RequestState.REFUSED, error="{}")
    client.faults = list(faults)
    assert faulty.put_request(refused) == refused
    assert stored.request("run-1") == refused


def test_an_error_that_will_not_pass_is_not_retried(client, table_name, pauses):
    """A missing right or table is an operator's to see: an opaque 500, at once."""
    ledger = DynamoDbLedger(table_of(client, table_name + "-missing", sleep=pauses.append))
    with pytest.raises(ClientError):
        ledger.task()
    with pytest.raises(ClientError):
        ledger.charge(charge())
    assert pauses == []


def test_a_charge_takes_one_read_and_one_transaction(faulty, client):
    """Cost: what one charge costs when nothing is in its way; a token of 36 characters at most goes with it."""
    faulty.charge(charge())
    assert [name for name, _ in client.sent] == ["batch_get_item", "transact_write_items"]
    request = client.sent[-1][1]
    assert (
        len(request["TransactItems"]) == 10
    )  # four of them only as the budget's first: its chain, opened and checked, and its activity
    faulty.charge(charge("run-2"))
    assert [name for name, _ in client.sent][2:] == ["batch_get_item", "transact_write_items"]
    assert len(client.sent[-1][1]["TransactItems"]) == 6
    assert len(request["ClientRequestToken"]) <= 36


def test_only_spending_and_activity_of_windows_ever_expire(faulty, client, stored):
    """Runs, totals, settings and histories are kept; what is of one window for 400 days after its last charge."""
    stored.put_settings(KEY, PrivacySettings(), by="provider", at=NOON)
    stored.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    stored.set_task(TaskStatus.RUNNING, by="provider", at=NOON)
    stored.charge(charge(settings_versions=(1,)))
    items = client.scan(TableName=faulty._table.name)["Items"]
    expiring = [item for item in items if "expires_at" in item]
    assert sorted(item["kind"]["S"] for item in expiring) == ["activity/1", "window_spending/3"]
    expire = {int(item["expires_at"]["N"]) for item in expiring}
    assert expire == {int((NOON + timedelta(days=400)).timestamp())}
    assert len(items) == 14 + TASK_COPIES


def test_nothing_is_ever_deleted_from_the_ledger(faulty, client):
    """Its functions have no right to: the index of rooms with DP on says no instead of going."""
    faulty.put_settings(KEY, ON, by="provider", at=NOON)
    faulty.put_settings(KEY, PrivacySettings(), by="provider", at=NOON)
    faulty.charge(charge(settings_versions=(2,)))
    actions = [next(iter(a)) for _, request in client.sent for a in request.get("TransactItems", [])]
    assert set(actions) == {"Put", "Update", "ConditionCheck"}
    assert not [name for name, _ in client.sent if "delete" in name]
    assert faulty.keys_with_dp_on() == ()


# --- damaged items (rule 6) -------------------------------------------------------------------------------------------


def everything(stored):
    """Fill a ledger, with two budgets so that several lines exist."""
    stored.put_settings(KEY, ON, by="provider", at=NOON)
    stored.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    stored.set_task(TaskStatus.RUNNING, by="provider", at=NOON)
    stored.put_request(QUEUED)
    stored.put_room_budget("flights", RoomBudget(per_window=5), by="provider", at=NOON)
    stored.charge(charge(settings_versions=(1,), room_budget=stored.room_budget("flights")))


def a_line_key(stored):
    line = stored._table.query(history_partition(History(room="flights")))[0]
    return Key(pk=line["pk"]["S"], sk=line["sk"]["S"])


READS = {
    "settings": (lambda _: settings_key(KEY), lambda ledger: ledger.settings(KEY)),
    "settings of a room": (lambda _: settings_key(KEY), lambda ledger: ledger.settings_of_room("flights")),
    "index": (lambda _: dp_on_key(KEY), lambda ledger: ledger.keys_with_dp_on()),
    "task": (lambda _: task_key(), lambda ledger: ledger.task()),
    "window": (lambda _: window_key(KEY, 0), lambda ledger: ledger.spending(KEY, window=0)),
    "lifetime": (lambda _: lifetime_key(KEY), lambda ledger: ledger.spending(KEY, window=0)),
    "run": (lambda _: run_key("run-1"), lambda ledger: ledger.run("run-1")),
    "request": (lambda _: request_key("run-1"), lambda ledger: ledger.request("run-1")),
    "line": (a_line_key, lambda ledger: ledger.entries("flights")),
    "head": (lambda _: head_key(History(room="flights")), lambda ledger: ledger.history("flights")),
    "room total": (lambda _: room_total_key("flights"), lambda ledger: ledger.room_budget("flights")),
    "room window": (lambda _: room_window_key("flights", 0), lambda ledger: ledger.standing("flights", ())),
}


@pytest.mark.parametrize("name", READS)
def test_an_item_of_another_kind_or_without_any_one_field_refuses(name, stored, dynamodb, table_name):
    """Rule 6: an unreadable item refuses; fields that are gone are not replaced by defaults."""
    everything(stored)
    find, read = READS[name]
    key = find(stored)
    item = dict(stored._table.get(key))
    read(stored)
    optional = {"pk", "sk", "state_since", "expires_at", "window_opened_for", "since", "by", "open", "charged_at"}
    # A request's party and digest stand in its body too; only conditions use the copies.
    optional |= {"party", "request_digest", "state"} if name == "request" else set()
    required = set(item) - optional
    assert "kind" in required
    for field in sorted(required):
        damages = [{k: v for k, v in item.items() if k != field}, item | {field: {"BOOL": True}}]
        if field == "on":
            damages = [damages[0], item | {"on": {"S": "true"}}]
        if "N" in item[field]:
            damages += [item | {field: {"N": number}} for number in ("-1", "1.5", "1E40")]
        else:
            damages += [item | {field: {"S": "of another kind"}}]
        for damage in damages:
            dynamodb.put_item(TableName=table_name, Item=damage)
            if name in {"line", "head", "lifetime"} and field in {"hash"} and damage.get(field, {}).get("S"):
                continue  # any text may be a hash: the chain tells
            with pytest.raises(LedgerUnreadableError):
                read(stored)
    dynamodb.put_item(TableName=table_name, Item=item)
    read(stored)


@pytest.mark.parametrize(
    "key",
    [
        settings_key(KEY),
        task_key(),
        task_copy_key(task_copy_number(KEY)),
        window_key(KEY, 0),
        lifetime_key(KEY),
        room_total_key("flights"),
        room_window_key("flights", 0),
        head_key(History(room="flights")),
    ],
)
@pytest.mark.parametrize("field", ["kind", "all but the key"])
def test_a_charge_that_meets_a_damaged_item_is_refused(key, field, stored, dynamodb, table_name):
    """Rule 6: it never grants."""
    everything(stored)
    before = stored.history("flights")
    item = dict(stored._table.get(key))
    damaged = item | {"kind": {"S": "?"}} if field == "kind" else {"pk": item["pk"], "sk": item["sk"]}
    dynamodb.put_item(TableName=table_name, Item=damaged)
    with pytest.raises(LedgerUnreadableError):
        stored.charge(charge("run-2", settings_versions=(1,)))
    with pytest.raises(CleanRoomError):
        stored.charge(charge("run-2", settings_versions=(1,), unmetered=True))
    assert stored.run("run-2") is None
    dynamodb.put_item(TableName=table_name, Item=item)
    assert stored.history("flights") == before


def test_a_settings_record_without_its_switch_does_not_turn_dp_off(stored, dynamodb, table_name):
    """Rule 6: `differential` missing is no `differential` 0."""
    everything(stored)
    item = dict(stored._table.get(settings_key(KEY)))
    item["body"] = {"S": item["body"]["S"].replace('"differential":true,', "")}
    dynamodb.put_item(TableName=table_name, Item=item)
    with pytest.raises(LedgerUnreadableError):
        stored.settings(KEY)


@pytest.mark.parametrize("field", ["body", "party", "kind", "hash"])
def test_a_changed_line_of_the_stored_history_is_found(stored, dynamodb, table_name, field):
    """The chain: a line changed in the table by whoever can write to it does not go unnoticed."""
    everything(stored)
    stored.note("flights", kind="noted", party="provider", body="{}", at=NOON)
    key = a_line_key(stored)
    item = dict(stored._table.get(key))
    original = getattr(stored.entries("flights")[0], field)
    changed = ("0" * 64) if field == "hash" else ("noted" if field == "kind" else "consumer")
    item["body"] = {"S": item["body"]["S"].replace(f'"{field}":', f'"{field}":"{changed}","was":', 1)}
    # Exactly one field differs, as a forger would leave it.
    forged = json.loads(item["body"]["S"])
    assert forged.pop("was") == original
    item["body"] = {"S": json.dumps(forged)}
    dynamodb.put_item(TableName=table_name, Item=item)
    assert first_broken_chain(stored.history("flights")) == ("", 0)


def test_a_line_cut_from_the_end_is_found_by_the_head(stored, dynamodb, table_name):
    everything(stored)
    lines = stored._table.query(history_partition(History(room="flights")))
    last = max(lines, key=lambda line: int(line["number"]["N"]))
    dynamodb.delete_item(TableName=table_name, Key={"pk": last["pk"], "sk": last["sk"]})
    history = stored.history("flights")
    own = [entry for entry in history.entries if entry.chain == ""]
    assert first_broken_line(own) is None
    assert first_broken_chain(history) == ("", len(own))


def test_conflict_is_not_a_retry_of_a_state_that_is_passed(faulty, client, stored):
    """Rule 3: a lost reply to a step is only found if the run is where the step leads."""
    stored.charge(charge())
    stored.advance("run-1", to=RunState.FAILED, at=NOON)
    client.faults = ["throttle"]
    with pytest.raises(ConflictError):
        faulty.advance("run-1", to=RunState.EXECUTED, at=NOON)
