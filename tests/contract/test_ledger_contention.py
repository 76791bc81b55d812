"""The ledger on DynamoDB: what concurrent charges share, interrupted changes that charges finish, and older items."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from cleanroom.adapters.dynamodb_items import attributes
from cleanroom.adapters.dynamodb_keys import (
    OPEN_RUNS_PARTS,
    TASK_COPIES,
    lifetime_key,
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
from cleanroom.errors import BudgetExhaustedError, LedgerUnreadableError, StaleChargeError
from cleanroom.privacy.accounting import Price
from cleanroom.privacy.rho import RhoLimit, RhoPrice
from cleanroom.rooms.ledger import BudgetKey, RoomBudget, RoomBudgetRecord, RunState, TaskStatus
from cleanroom.rooms.ledger_chain import chain_of, first_broken_chain
from cleanroom.rooms.settings import Accounting, PrivacySettings
from tests.contract.ledgers import KEY, NOON, FaultyClient, charge, create_table, table_of


class CrashError(Exception):
    """The process ends here."""


@pytest.fixture
def client(dynamodb):
    return FaultyClient(client=dynamodb)


@pytest.fixture
def ledger(client, table_name):
    return DynamoDbLedger(table_of(client, table_name, sleep=lambda _: None))


@pytest.fixture
def stored(dynamodb, table_name):
    """Give the same table without faults."""
    return DynamoDbLedger(table_of(dynamodb, table_name))


def named_by(request):
    """Return the keys of all items that a transaction names."""
    actions = [next(iter(action.values())) for action in request["TransactItems"]]
    return {(a.get("Key", a.get("Item"))["pk"]["S"], a.get("Key", a.get("Item"))["sk"]["S"]) for a in actions}


def transactions(client):
    return [named_by(request) for name, request in client.sent if name == "transact_write_items"]


def budgets_of_different_copies(count):
    """Return budgets of one room no two of which check the same copy of the task."""
    by_copy = {}
    for number in range(1000):
        key = BudgetKey(room="flights", party=f"party-{number}")
        by_copy.setdefault(task_copy_number(key), key)
    return list(by_copy.values())[:count]


def crash_at(client, number):
    """Let the process end before the given write of those that follow."""
    writes = []

    def before(name):
        if name in {"put_item", "update_item", "transact_write_items"}:
            writes.append(name)
            if len(writes) == number:
                client.before = None
                raise CrashError

    client.before = before
    return writes


# --- what charges share -----------------------------------------------------------------------------------------------


def test_charges_of_different_budgets_name_no_item_in_common(ledger, client):
    """DynamoDB cancels one of two transactions that name an item at the same time, also where both only check it.

    Before, every charge of the account named the DP task, and every charge of a room its chain's head.
    """
    ledger.open_window(scheduled_for=NOON, at=NOON)
    keys = budgets_of_different_copies(5)
    for key in keys:
        ledger.charge(charge(f"first-{key.party}", budgets=(key,), window=1))
    client.sent.clear()
    for key in keys:
        ledger.charge(charge(f"second-{key.party}", budgets=(key,), window=1))
    named = transactions(client)
    assert len(named) == 5
    assert all(left.isdisjoint(right) for i, left in enumerate(named) for right in named[:i])
    assert sum(map(len, named)) == 5 * 6


def test_only_the_first_charge_of_a_budget_names_the_rooms_own_chain(ledger, client):
    for number in range(3):
        ledger.charge(charge(f"run-{number}"))
    first, *others = transactions(client)
    assert ("HEAD#flights", "HEAD") in first
    assert all(("HEAD#flights", "HEAD") not in named for named in others)


def test_a_room_total_is_named_only_where_the_room_has_a_budget(ledger, client):
    """One item for all charges of a room: it is only written where somebody asked for a limit.

    The first charge of a budget checks that nobody has.
    """
    totals = {(key.pk, key.sk) for key in (room_total_key("flights"), room_window_key("flights", 0))}
    ledger.charge(charge("first"))
    ledger.charge(charge("run-0"))
    assert totals.isdisjoint(transactions(client)[-1])
    record = ledger.put_room_budget("flights", RoomBudget(per_window=5), by="provider", at=NOON)
    ledger.charge(charge("run-1", room_budget=record))
    assert totals < transactions(client)[-1]


def test_budgets_spread_over_all_copies_of_the_task():
    numbers = [task_copy_number(BudgetKey(room=f"room-{n % 7}", party=f"party-{n}")) for n in range(TASK_COPIES * 50)]
    counts = [numbers.count(number) for number in range(TASK_COPIES)]
    assert min(counts) > 20
    assert max(counts) < 100
    assert len({task_copy_key(number).pk for number in range(TASK_COPIES)}) == TASK_COPIES


# --- interrupted changes of the task ----------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [1, 2, 17, TASK_COPIES + 1])
def test_a_change_of_the_task_that_is_interrupted_anywhere_holds_for_every_later_charge(ledger, client, stored, write):
    """B-61: once resume was asked for and the task itself is written, no new charge is unmetered, whatever crashed."""
    stored.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    crash_at(client, write)
    with pytest.raises(CrashError):
        ledger.set_task(TaskStatus.RUNNING, by="provider", at=NOON)
    is_written = write > 1
    assert stored.task().status is (TaskStatus.RUNNING if is_written else TaskStatus.SUSPENDED)
    for key in budgets_of_different_copies(TASK_COPIES):
        right = charge(f"right-{key.party}", budgets=(key,), unmetered=not is_written)
        with pytest.raises(StaleChargeError):
            stored.charge(replace(right, run_id=f"wrong-{key.party}", unmetered=is_written))
        assert stored.charge(right).unmetered is not is_written


def test_repeating_an_interrupted_change_finishes_its_copies(ledger, client, stored):
    """Suspending what is suspended already changes nothing, and brings what was left behind."""
    crash_at(client, 5)
    with pytest.raises(CrashError):
        ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    copies = [task_copy_key(number) for number in range(TASK_COPIES)]
    assert len(stored._table.get_each(copies)) == 3
    stored.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    assert [copy["revision"]["N"] for copy in stored._table.get_each(copies).values()] == ["1"] * TASK_COPIES
    assert [entry.kind for entry in stored.account_entries()] == ["suspended"]


@pytest.mark.parametrize(
    "change",
    [
        lambda ledger: ledger.set_task(TaskStatus.RUNNING, by="provider", at=NOON),
        lambda ledger: ledger.open_window(scheduled_for=NOON, at=NOON),
    ],
)
def test_a_charge_on_its_way_is_cancelled_once_a_change_has_returned(ledger, client, stored, change):
    """It has read the old state, and commits after the change: its copy has moved on."""
    stored.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    changed = []

    def before(name):
        if name == "transact_write_items" and not changed:
            changed.append(change(stored))

    client.before = before
    with pytest.raises(StaleChargeError):
        ledger.charge(charge(unmetered=True))
    assert changed
    assert stored.run("run-1") is None


def test_a_change_that_is_overtaken_by_a_later_one_takes_no_copy_back(ledger, client, stored):
    """Two changes at once: copies only ever move forward."""
    overtaken = []

    def before(name):
        if name == "put_item" and not overtaken:
            overtaken.append(stored.open_window(scheduled_for=NOON, at=NOON))

    client.before = before
    ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    assert stored.task().window == 1
    copies = stored._table.get_each([task_copy_key(number) for number in range(TASK_COPIES)])
    assert {copy["revision"]["N"] for copy in copies.values()} == {"2"}
    assert stored.charge(charge(window=1, unmetered=True)).window == 1


# --- interrupted room budgets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [1, 2, 3, 4, 5, 6])
def test_a_room_budget_that_is_interrupted_anywhere_is_not_in_force_and_repeating_it_counts_everything(
    ledger, client, stored, write
):
    """Before, the limit was written first: what had not joined by then was missing, and 400,000 more were granted."""
    keys = budgets_of_different_copies(4)
    for key in keys:
        stored.charge(charge(f"early-{key.party}", budgets=(key,)))
    crash_at(client, write)
    with pytest.raises(CrashError):
        ledger.put_room_budget("flights", RoomBudget(lifetime=1), by="provider", at=NOON)
    assert stored.room_budget("flights") == RoomBudgetRecord()
    assert stored.standing("flights", []).room is None
    assert not [e for e in stored.entries("flights") if e.kind == "room_budget"]
    newcomer = replace(keys[0], party="newcomer")
    spent = 0
    for number, key in enumerate([*keys[:2], newcomer]):
        stored.charge(charge(f"late-{number}", budgets=(key,)))
        spent += 100_000
    record = stored.put_room_budget("flights", RoomBudget(lifetime=1), by="provider", at=NOON)
    assert record.version == 1
    spent += 400_000
    assert stored.standing("flights", []).room.lifetime == Price(micro_epsilon=spent, delta_steps=49)
    assert stored.standing("flights", []).room.window == Price(micro_epsilon=spent, delta_steps=49)
    too_much = (Price(micro_epsilon=300_001, delta_steps=0),)
    with pytest.raises(BudgetExhaustedError):
        stored.charge(charge("too-much", budgets=(keys[3],), room_budget=record, prices=too_much))


@pytest.mark.parametrize("at", [1, 2])
def test_a_charge_while_a_room_budget_is_set_is_in_its_total_once(ledger, client, stored, at):
    """Of a budget that is there, before it joins and after; the room's limit is not in force for either."""
    stored.charge(charge("run-0"))
    raced = []

    def before(name):
        if name == "transact_write_items":
            raced.append(name)
            if len(raced) == at:  # the first joins, the second writes the room's budget
                stored.charge(charge("run-1"))

    client.before = before
    ledger.put_room_budget("flights", RoomBudget(per_window=1), by="provider", at=NOON)
    assert stored.run("run-1") is not None
    assert stored.standing("flights", []).room.lifetime == stored.spending(KEY, window=0).lifetime
    assert stored.spending(KEY, window=0).lifetime == Price(micro_epsilon=200_000, delta_steps=14)


def test_a_budget_that_begins_while_a_room_budget_is_set_is_in_its_total(ledger, client, stored):
    """It is in no list that the call goes through: it began after the list was read."""
    stored.charge(charge("run-0"))
    late = replace(KEY, party="late")

    def before(name):
        if name == "transact_write_items":
            client.before = None
            stored.charge(charge("run-1", budgets=(late,)))

    client.before = before
    ledger.put_room_budget("flights", RoomBudget(per_window=1), by="provider", at=NOON)
    assert stored.standing("flights", []).room.lifetime == Price(micro_epsilon=200_000, delta_steps=14)


class TornClient(FaultyClient):
    """Reads the room's total, lets something happen, and then reads the rest: no batch is of one moment."""

    happens = None

    def batch_get_item(self, **request):
        happens, self.happens = self.happens, None
        if happens is None:
            return self.client.batch_get_item(**request)
        ((table, wanted),) = request["RequestItems"].items()
        total = [key for key in wanted["Keys"] if key["pk"]["S"].startswith("ROOM_SPENT#")]
        rest = [key for key in wanted["Keys"] if key not in total]
        read = []
        for keys in (total, rest):
            part = self.client.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
            read += part["Responses"][table]
            if keys is total:
                happens()
        return {"Responses": {table: read}, "UnprocessedKeys": {}}


@pytest.mark.parametrize("is_first", [False, True])
def test_a_room_budget_that_is_set_while_a_charge_reads_is_not_missed(dynamodb, table_name, stored, is_first):
    """The room's total is read before, all else after: the charge neither passes the limit nor leaves the total."""
    client = TornClient(client=dynamodb)
    ledger = DynamoDbLedger(table_of(client, table_name, sleep=lambda _: None))
    if not is_first:
        stored.charge(charge("run-0"))
    spent = stored.spending(KEY, window=0).lifetime
    client.happens = lambda: stored.put_room_budget("flights", RoomBudget(lifetime=0), by="provider", at=NOON)
    with pytest.raises(StaleChargeError):
        ledger.charge(charge("run-1"))
    assert stored.spending(KEY, window=0).lifetime == stored.standing("flights", []).room.lifetime == spent
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(charge("run-1", room_budget=stored.room_budget("flights")))


# --- the index of runs without an end ---------------------------------------------------------------------------------


def test_the_index_holds_runs_without_an_end_and_nothing_else(ledger, client, dynamodb, table_name):
    """It costs nothing where nothing is at work or stuck: no scan, one query for each of its parts."""
    for number in range(12):
        ledger.charge(charge(f"run-{number}", price=Price(micro_epsilon=1, delta_steps=0)))
    for number in range(10):
        ledger.advance(f"run-{number}", to=RunState.FAILED, at=NOON)
    indexed = dynamodb.scan(TableName=table_name, IndexName="open-runs")["Items"]
    assert sorted(item["pk"]["S"] for item in indexed) == ["RUN#run-10", "RUN#run-11"]
    client.sent.clear()
    assert len(ledger.stuck_runs(at=NOON + timedelta(hours=1))) == 2
    assert [name for name, _ in client.sent] == ["query"] * OPEN_RUNS_PARTS + ["batch_get_item"]


# --- items of older kinds (rule 6) ------------------------------------------------------------------------------------


def put_old(dynamodb, table_name, key, **values):
    dynamodb.put_item(TableName=table_name, Item=attributes(pk=key.pk, sk=key.sk, **values))


OLD_SETTINGS = {
    "key": {"room": "flights", "party": "consumer", "template": "*"},
    "settings": {
        "differential": True,
        "epsilon": "1/10",
        "noise_mechanism": "Laplace",
        "privacy_budget": 3,
        "threshold": False,
        "threshold_value": 0,
        "delta": "1/1000000",
    },
}
OLD_RUN = {
    "run_id": "old",
    "state": "charged",
    "request_digest": "request of old",
    "plan_digest": "plan",
    "room": "flights",
    "party": "consumer",
    "template": "count_planes",
    "price": {"micro_epsilon": 100_000, "delta_steps": 7},
    "window": 0,
    "unmetered": False,
    "table_versions": [["provider.flights", "digest"]],
    "settings_versions": [4],
    "charged_at": "2026-11-20T12:00:00Z",
    "budgets": [{"room": "flights", "party": "consumer", "template": "*"}],
    "limit_micro_epsilon": [3_000_000],
}
OLD_AMOUNTS = {"micro_epsilon": 100_000, "delta_steps": 7, "unmetered_micro_epsilon": 0, "unmetered_delta_steps": 0}


@pytest.fixture
def old_items(dynamodb, table_name):
    """Store a settings record, a run and its spending as they were before chains, lifetime budgets and counts."""
    put_old(dynamodb, table_name, settings_key(KEY), kind="settings/1", version=4, body=json.dumps(OLD_SETTINGS))
    run = {"kind": "run/1", "state": "executed", "state_since": "2026-11-20T12:00:00.000000+00:00"}
    put_old(dynamodb, table_name, run_key("old"), **run, request_digest="request of old", body=json.dumps(OLD_RUN))
    put_old(dynamodb, table_name, window_key(KEY, 0), kind="window_spending/1", **OLD_AMOUNTS, expires_at=1)
    put_old(dynamodb, table_name, lifetime_key(KEY), kind="lifetime_spending/1", **OLD_AMOUNTS)


@pytest.mark.usefixtures("old_items")
def test_items_of_older_kinds_mean_what_they_meant(stored):
    """Before, a field that was new refused every older item: a deployment could not have gone on."""
    assert stored.settings(KEY).settings == PrivacySettings(differential=True, privacy_budget=3)
    assert stored.settings(KEY).settings.lifetime_budget is None
    run = stored.run("old")
    assert (run.prices, run.lifetime_limit_micro_epsilon) == ((Price(micro_epsilon=100_000, delta_steps=7),), (None,))
    spending = stored.spending(KEY, window=0)
    assert spending.window == spending.lifetime == run.price
    assert spending.unfinished == 0
    assert stored.advance("old", to=RunState.RELEASED, at=NOON).state is RunState.RELEASED
    assert stored.spending(KEY, window=0).unfinished == 0, "a run that was never counted is not taken off"


@pytest.mark.usefixtures("old_items")
@pytest.mark.parametrize("with_room_budget", [False, True])
def test_a_charge_goes_on_from_items_of_older_kinds_and_leaves_the_newest(stored, with_room_budget):
    if with_room_budget:
        stored.put_room_budget("flights", RoomBudget(lifetime=1), by="provider", at=NOON)
    given = {
        "settings_versions": (4,),
        "limit_micro_epsilon": (3_000_000,),
        "room_budget": stored.room_budget("flights"),
    }
    with pytest.raises(BudgetExhaustedError) as refusal:
        stored.charge(charge("run-0", price=Price(micro_epsilon=2_900_001, delta_steps=0), **given))
    assert refusal.value.spent_micro_epsilon == 100_000
    stored.charge(charge("run-1", **given))
    spending = stored.spending(KEY, window=0)
    assert spending.lifetime == spending.window == Price(micro_epsilon=200_000, delta_steps=14)
    assert spending.unfinished == 1
    kinds = [stored._table.get(key)["kind"]["S"] for key in (window_key(KEY, 0), lifetime_key(KEY))]
    assert kinds == ["window_spending/3", "lifetime_spending/2"]
    history = stored.history("flights")
    assert [e.run_id for e in history.entries if e.chain == chain_of(KEY)] == ["run-1"]
    assert first_broken_chain(history) is None
    if with_room_budget:
        assert stored.standing("flights", []).room.lifetime == spending.lifetime
    stored.put_settings(KEY, PrivacySettings(), by="provider", at=NOON)
    assert stored.settings(KEY).version == 5
    assert stored._table.get(settings_key(KEY))["kind"]["S"] == "settings/3"


COUNTS_RHO = {
    "settings_versions": (4,),
    "rho_prices": (RhoPrice(rho_steps=1, delta_steps=0),),
    "rho_limits": (RhoLimit(rho_steps=10**15 - 1, delta_steps=10**9),),
}


@pytest.mark.usefixtures("old_items")
@pytest.mark.parametrize("first_by_epsilon", [False, True])
def test_a_window_that_was_spent_in_before_rho_was_counted_holds_no_run_by_rho(stored, first_by_epsilon):
    """What is not known fits in no limit, neither as it stands nor once a later charge has brought the item forward."""
    if first_by_epsilon:
        stored.charge(charge("run-0", settings_versions=(4,), rho_prices=COUNTS_RHO["rho_prices"]))
    with pytest.raises(BudgetExhaustedError) as refusal:
        stored.charge(charge("run-1", **COUNTS_RHO))
    assert refusal.value.rho.spent_rho_steps == 10**15 + first_by_epsilon
    stored.open_window(scheduled_for=NOON, at=NOON)
    assert stored.charge(charge("run-1", window=1, **COUNTS_RHO)).rho_prices == COUNTS_RHO["rho_prices"]


def test_a_window_of_the_older_kind_in_which_nothing_was_spent_goes_on_by_rho(stored, dynamodb, table_name):
    nothing = dict.fromkeys(OLD_AMOUNTS, 0)
    put_old(dynamodb, table_name, window_key(KEY, 0), kind="window_spending/2", **nothing, unfinished=0, expires_at=1)
    stored.charge(charge("run-1", **COUNTS_RHO | {"settings_versions": (0,)}))
    stored.charge(charge("run-2", **COUNTS_RHO | {"settings_versions": (0,)}))
    assert stored.spending(KEY, window=0).window_rho == RhoPrice(rho_steps=2, delta_steps=0)


def test_runs_and_settings_of_the_kinds_before_rho_mean_what_they_meant(stored, dynamodb, table_name):
    settings = {"key": OLD_SETTINGS["key"], "settings": OLD_SETTINGS["settings"] | {"lifetime_budget": 7}}
    put_old(dynamodb, table_name, settings_key(KEY), kind="settings/2", version=4, body=json.dumps(settings))
    run = {k: v for k, v in OLD_RUN.items() if k != "price"}
    run |= {"prices": [OLD_RUN["price"]], "lifetime_limit_micro_epsilon": [7]}
    stored_run = {"kind": "run/2", "state": "executed", "state_since": "2026-11-20T12:00:00.000000+00:00"}
    put_old(dynamodb, table_name, run_key("old"), **stored_run, request_digest="request of old", body=json.dumps(run))
    assert stored.settings(KEY).settings == PrivacySettings(differential=True, privacy_budget=3, lifetime_budget=7)
    assert stored.settings(KEY).settings.accounting is Accounting.EPSILON
    assert (stored.run("old").lifetime_limit_micro_epsilon, stored.run("old").rho_prices) == ((7,), ())


@pytest.mark.usefixtures("old_items")
@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (settings_key(KEY), "settings/4"),
        (lifetime_key(KEY), "lifetime_spending/3"),
        (window_key(KEY, 0), "window_spending/4"),
        (task_key(), "dp_task/2"),
        (task_copy_key(task_copy_number(KEY)), "dp_task_copy/2"),
    ],
)
def test_an_item_of_a_kind_that_newer_code_wrote_refuses_a_charge(stored, dynamodb, table_name, key, kind):
    """Rule 6: it is never half understood."""
    stored.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    stored.set_task(TaskStatus.RUNNING, by="provider", at=NOON)
    dynamodb.put_item(TableName=table_name, Item=dict(stored._table.get(key)) | {"kind": {"S": kind}})
    with pytest.raises(LedgerUnreadableError):
        stored.charge(charge("run-1", settings_versions=(4,)))
    assert stored.run("run-1") is None


@pytest.mark.usefixtures("old_items")
@pytest.mark.parametrize("kind", ["settings/3", "settings/2", "settings/1"])
def test_an_older_body_under_a_newer_kind_refuses_and_the_reverse(stored, dynamodb, table_name, kind):
    """Which reader is used is told by the kind alone; what is missing is never a default."""
    key = settings_key(KEY)
    if kind == "settings/1":
        stored.put_settings(KEY, PrivacySettings(), by="provider", at=NOON)
    dynamodb.put_item(TableName=table_name, Item=dict(stored._table.get(key)) | {"kind": {"S": kind}})
    with pytest.raises(LedgerUnreadableError):
        stored.settings(KEY)


def test_sums_are_exact_far_beyond_what_can_be_spent(stored, dynamodb, table_name):
    """Within 38 digits: 10^12 of the largest charges, and no digit is lost.

    The emulated service itself rounds from 28 digits on.
    """
    stored.charge(charge("run-0"))
    item = dict(stored._table.get(lifetime_key(KEY)))
    before = 10**27 - 10**15
    dynamodb.put_item(TableName=table_name, Item=item | {"micro_epsilon": {"N": str(before)}})
    price = Price(micro_epsilon=10**15 - 1, delta_steps=0)
    limits = {"limit_micro_epsilon": (10**50,), "lifetime_limit": 10**27 - 1}
    stored.charge(charge("run-1", price=price, **limits))
    assert stored.spending(KEY, window=0).lifetime.micro_epsilon == 10**27 - 1
    with pytest.raises(BudgetExhaustedError):
        stored.charge(charge("run-2", price=Price(micro_epsilon=1, delta_steps=0), **limits))


def test_two_tables_do_not_share_anything(dynamodb):
    """The tests above rely on it."""
    one, other = (DynamoDbLedger(table_of(dynamodb, create_table(dynamodb))) for _ in range(2))
    one.charge(charge())
    assert other.run("run-1") is None
