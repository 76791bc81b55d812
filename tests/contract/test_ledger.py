"""What every ledger must do, on the twin in memory and on the emulated DynamoDB: rules 1 to 6 and 8 of the ledger."""

import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest

from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from cleanroom.adapters.memory_ledger import MemoryLedger
from cleanroom.errors import (
    BudgetExhaustedError,
    ConflictError,
    RunConflictError,
    RunNotFoundError,
    StaleChargeError,
    TooManyUnfinishedRunsError,
)
from cleanroom.privacy.accounting import Price, total
from cleanroom.rooms.ledger import (
    BudgetKey,
    RequestState,
    RunRequest,
    RunState,
    SettingsRecord,
    TaskState,
    TaskStatus,
)
from cleanroom.rooms.ledger_chain import RoomHistory, chain_of, first_broken_chain, first_broken_line
from cleanroom.rooms.ledger_rules import MOST_UNFINISHED
from cleanroom.rooms.settings import NoiseMechanism, PrivacySettings
from tests.contract.ledgers import KEY, NOON, OTHER_KEY, charge, charge_lines, create_table, table_of

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
ON = PrivacySettings(differential=True, privacy_budget=1)


def price(micro_epsilon, delta_steps=0):
    return Price(micro_epsilon=micro_epsilon, delta_steps=delta_steps)


def assert_nothing_happened(ledger):
    assert ledger.spending(KEY, window=0).lifetime == price(0)
    assert ledger.spending(KEY, window=0).window == price(0)
    assert ledger.entries("flights") == ()
    assert ledger.run("run-1") is None


# --- settings ---------------------------------------------------------------------------------------------------------


def test_a_new_account_has_defaults_and_no_records(ledger):
    """B-10: nothing is configured by default."""
    assert ledger.settings(KEY) == SettingsRecord(settings=PrivacySettings(), version=0)
    assert ledger.settings_of_room("flights") == {}
    assert ledger.keys_with_dp_on() == ()
    assert ledger.task() == TaskState()
    assert ledger.spending(KEY, window=0).window == price(0)
    assert ledger.run("run-1") is None
    assert ledger.entries("flights") == ()


def test_settings_are_overwritten_whole_and_versioned(ledger):
    """B-17: what is left out goes back to its default."""
    first = PrivacySettings(
        differential=True,
        epsilon=Fraction(1, 3),
        noise_mechanism=NoiseMechanism.GAUSSIAN,
        privacy_budget=10**20,
        threshold=True,
        threshold_value=5,
        delta=Fraction(1, 10**9),
    )
    assert ledger.put_settings(KEY, first, by="provider", at=NOON) == SettingsRecord(settings=first, version=1)
    assert ledger.settings(KEY) == SettingsRecord(settings=first, version=1)
    second = PrivacySettings(privacy_budget=3)
    assert ledger.put_settings(KEY, second, by="provider", at=NOON).version == 2
    assert ledger.settings(KEY) == SettingsRecord(settings=second, version=2)
    assert [entry.kind for entry in ledger.entries("flights")] == ["settings", "settings"]
    assert [entry.party for entry in ledger.entries("flights")] == ["provider", "provider"]


def test_settings_of_one_room_party_and_template_are_nobody_elses(ledger):
    """B-19: each stock template may have its own record; other rooms and parties do not see it."""
    stock = replace(KEY, template="reach")
    elsewhere = replace(KEY, room="trains")
    for key in (KEY, stock, elsewhere):
        ledger.put_settings(key, replace(ON, privacy_budget=len(key.room + key.template)), by="provider", at=NOON)
    assert set(ledger.settings_of_room("flights")) == {KEY, stock}
    assert ledger.settings_of_room("flights")[stock].settings.privacy_budget == len("flightsreach")
    assert ledger.settings(OTHER_KEY).version == 0


def test_the_index_of_rooms_with_dp_on_follows_every_change(ledger):
    """B-64: a call lists what still has DP on."""
    elsewhere = replace(KEY, room="a room # 1")
    ledger.put_settings(KEY, ON, by="provider", at=NOON)
    ledger.put_settings(elsewhere, ON, by="provider", at=NOON)
    assert ledger.keys_with_dp_on() == (elsewhere, KEY)
    ledger.put_settings(KEY, PrivacySettings(), by="provider", at=NOON)
    assert ledger.keys_with_dp_on() == (elsewhere,)


def test_names_that_only_differ_in_separators_stay_apart(ledger):
    """Rule 6: no key of one budget is ever that of another."""
    keys = [
        BudgetKey(room="a#b", party="c", template="d"),
        BudgetKey(room="a", party="b#c", template="d"),
        BudgetKey(room="a", party="b", template="c#d"),
        BudgetKey(room="a%23b", party="c", template="d"),
        BudgetKey(room="a%b", party="", template="d"),
    ]
    for number, key in enumerate(keys):
        ledger.charge(charge(f"run#{number}", room=key.room, budgets=(key,), price=price(number + 1)))
        ledger.put_settings(key, replace(ON, privacy_budget=number), by="provider", at=NOON)
    for number, key in enumerate(keys):
        assert ledger.spending(key, window=0).window == price(number + 1)
        assert ledger.settings(key).settings.privacy_budget == number
        assert key in ledger.settings_of_room(key.room)
    assert [entry.kind for entry in ledger.entries("a#b")] == ["chain", "settings", "charge"]


def test_a_room_named_like_the_accounts_history_has_its_own(ledger):
    ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    for name in ("account", "#account", ""):
        ledger.note(name, kind="noted", party="provider", body="{}", at=NOON)
        assert [entry.kind for entry in ledger.entries(name)] == ["noted"]
    assert [entry.kind for entry in ledger.account_entries()] == ["suspended"]


# --- charges ----------------------------------------------------------------------------------------------------------


def test_a_charge_writes_run_spending_and_entry(ledger):
    """B-52 and rule 1."""
    run = ledger.charge(charge())
    assert run == ledger.run("run-1")
    assert (run.state, run.price, run.window) == (RunState.CHARGED, price(100_000, 7), 0)
    assert run.table_versions == (("provider.flights", "digest"),)
    spending = ledger.spending(KEY, window=0)
    assert spending.window == spending.lifetime == price(100_000, 7)
    opening, entry = ledger.entries("flights")
    assert (opening.kind, opening.chain, opening.body) == ("chain", "", '{"chain":"[\\"consumer\\",\\"*\\"]"}')
    assert entry.chain == '["consumer","*"]'
    assert (entry.kind, entry.run_id, entry.party, entry.at) == ("charge", "run-1", "consumer", NOON)
    assert '"micro_epsilon":100000' in entry.body


def test_a_retry_of_the_same_request_never_charges_again(ledger):
    """B-52 and rule 2: also when it was priced anew in between, and when the run has moved on."""
    ledger.charge(charge())
    ledger.advance("run-1", to=RunState.EXECUTED, at=NOON)
    again = ledger.charge(charge(price=price(5), window=0, at=NOON + timedelta(hours=1)))
    assert again == ledger.run("run-1")
    assert again.state is RunState.EXECUTED
    assert again.price == price(100_000, 7)
    assert ledger.spending(KEY, window=0).lifetime == price(100_000, 7)
    assert len(charge_lines(ledger)) == 1


def test_a_retry_returns_the_run_even_when_everything_else_has_changed(ledger):
    """Rule 2: a run that is charged is finished, whatever the budget, the window or the settings are now."""
    run = ledger.charge(charge(limit_micro_epsilon=(100_000,)))
    ledger.put_settings(KEY, ON, by="provider", at=NOON)
    ledger.open_window(scheduled_for=NOON, at=NOON)
    assert ledger.charge(charge(limit_micro_epsilon=(0,))) == run


def test_a_different_request_under_the_same_run_id_is_refused(ledger):
    """Rule 2."""
    ledger.charge(charge())
    with pytest.raises(RunConflictError):
        ledger.charge(charge(request_digest="another request"))
    assert ledger.spending(KEY, window=0).lifetime == price(100_000, 7)


def test_a_budget_can_be_spent_to_the_last_unit_and_no_further(ledger):
    """B-51: price above the remaining budget: nothing is charged; the error gives price, spent and limit."""
    ledger.charge(charge("run-0", price=price(999_999)))
    with pytest.raises(BudgetExhaustedError) as refusal:
        ledger.charge(charge("run-1", price=price(2)))
    assert refusal.value.price_micro_epsilon == 2
    assert refusal.value.spent_micro_epsilon == 999_999
    assert refusal.value.limit_micro_epsilon == 1_000_000
    assert ledger.run("run-1") is None
    assert len(charge_lines(ledger)) == 1
    ledger.charge(charge("run-2", price=price(1)))
    assert ledger.spending(KEY, window=0).window == price(1_000_000)
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(charge("run-3", price=price(1)))
    ledger.charge(charge("run-4", price=price(0)))


def test_delta_can_be_spent_to_the_last_step_and_no_further(ledger):
    """A window has a delta of 1e-3, however little epsilon a run costs; before, delta was counted and never limited."""
    ledger.charge(charge("run-0", price=price(1, 10**9 - 1)))
    with pytest.raises(BudgetExhaustedError) as refusal:
        ledger.charge(charge("run-1", price=price(1, 2)))
    assert (refusal.value.price_delta_steps, refusal.value.spent_delta_steps) == (2, 10**9 - 1)
    assert ledger.run("run-1") is None
    ledger.charge(charge("run-2", price=price(1, 1)))
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(charge("run-3", price=price(0, 1)))
    ledger.charge(charge("run-4", price=price(1, 0)))
    assert ledger.spending(KEY, window=0).window == price(3, 10**9)
    ledger.open_window(scheduled_for=MIDNIGHT, at=MIDNIGHT)
    ledger.charge(charge("run-5", price=price(1, 10**9), window=1))


def test_a_delta_above_the_whole_limit_is_refused_on_an_empty_budget(ledger):
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(charge(price=price(1, 10**9 + 1)))
    assert_nothing_happened(ledger)


@pytest.mark.parametrize("limit", [0, 99_999])
def test_a_price_above_the_whole_limit_is_refused_on_an_empty_budget(ledger, limit):
    """B-13: a budget of 0 allows nothing that costs something."""
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(charge(limit_micro_epsilon=(limit,)))
    assert_nothing_happened(ledger)


def test_a_limit_beyond_any_sum_of_prices_is_no_limit(ledger):
    ledger.charge(charge(limit_micro_epsilon=(10**50,), price=price(10**15)))
    assert ledger.spending(KEY, window=0).lifetime == price(10**15)


def test_two_budgets_are_charged_together_or_not_at_all(ledger):
    """Rule 1: two parties' budgets in one transaction where both are protected."""
    both = {"budgets": (KEY, OTHER_KEY), "settings_versions": (0, 0)}
    ledger.charge(charge("run-0", **both, limit_micro_epsilon=(1_000_000, 150_000)))
    for limits in ((1_000_000, 150_000), (150_000, 1_000_000)):
        with pytest.raises(BudgetExhaustedError) as refusal:
            ledger.charge(charge("run-1", **both, limit_micro_epsilon=limits))
        assert refusal.value.limit_micro_epsilon == 150_000
    assert ledger.run("run-1") is None
    for key in (KEY, OTHER_KEY):
        spending = ledger.spending(key, window=0)
        assert spending.window == spending.lifetime == price(100_000, 7)


def test_settings_changed_in_flight_make_the_charge_stale(ledger):
    """Rule 1: the limit comes from settings whose version the transaction checks."""
    ledger.put_settings(KEY, ON, by="provider", at=NOON)
    with pytest.raises(StaleChargeError):
        ledger.charge(charge(settings_versions=(0,)))
    ledger.put_settings(KEY, ON, by="provider", at=NOON)
    with pytest.raises(StaleChargeError):
        ledger.charge(charge(settings_versions=(1,)))
    assert ledger.run("run-1") is None
    assert ledger.charge(charge(settings_versions=(2,))).settings_versions == (2,)


def test_a_window_that_ended_in_flight_makes_the_charge_stale(ledger):
    """B-53 and rule 5: a boundary cannot be raced, and the next window is empty; the lifetime total is not."""
    ledger.charge(charge("run-0", price=price(1_000_000)))
    ledger.open_window(scheduled_for=MIDNIGHT, at=MIDNIGHT)
    for window in (0, 2):
        with pytest.raises(StaleChargeError):
            ledger.charge(charge(window=window))
    ledger.charge(charge(window=1))
    assert ledger.spending(KEY, window=0).window == price(1_000_000)
    assert ledger.spending(KEY, window=1).window == price(100_000, 7)
    assert ledger.spending(KEY, window=1).lifetime == price(1_100_000, 7)


def test_an_exhausted_budget_that_is_also_stale_is_stale(ledger):
    """The limit may have been raised: price again before refusing."""
    ledger.put_settings(KEY, ON, by="provider", at=NOON)
    with pytest.raises(StaleChargeError):
        ledger.charge(charge(limit_micro_epsilon=(0,)))


def test_an_unmetered_charge_skips_the_limit_and_writes_all_the_rest(ledger):
    """B-60: counted in the lifetime total, marked in run and history, and not against the window's limit."""
    ledger.charge(charge("run-0"))
    ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    run = ledger.charge(charge("run-1", unmetered=True, limit_micro_epsilon=(0,), price=price(5_000_000, 1)))
    assert run.unmetered
    assert ledger.run("run-1").unmetered
    assert '"unmetered":true' in ledger.entries("flights")[-1].body
    spending = ledger.spending(KEY, window=0)
    assert spending.window == price(100_000, 7)
    assert spending.lifetime == price(5_100_000, 8)


def test_suspending_or_resuming_in_flight_makes_the_charge_stale(ledger):
    """B-61: nothing that was priced as unmetered gets through once everything is enforced again, nor the reverse."""
    with pytest.raises(StaleChargeError):
        ledger.charge(charge(unmetered=True))
    ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    with pytest.raises(StaleChargeError):
        ledger.charge(charge())
    ledger.set_task(TaskStatus.RUNNING, by="provider", at=NOON)
    with pytest.raises(StaleChargeError):
        ledger.charge(charge(unmetered=True))
    assert_nothing_happened(ledger)
    ledger.charge(charge())


@pytest.mark.parametrize(
    "changes",
    [
        {"limit_micro_epsilon": (float("nan"),)},
        {"limit_micro_epsilon": (float("inf"),)},
        {"limit_micro_epsilon": (-1,)},
        {"limit_micro_epsilon": ()},
        {"price": Price(micro_epsilon=10**15 + 1, delta_steps=0)},
        {"price": Price(micro_epsilon=0, delta_steps=10**15 + 1)},
        {"window": float("nan")},
        {"budgets": (), "limit_micro_epsilon": (), "settings_versions": ()},
        {"budgets": (KEY, KEY), "limit_micro_epsilon": (1, 1), "settings_versions": (0, 0)},
        {"at": datetime(2026, 11, 20)},  # noqa: DTZ001
        {"run_id": ""},
    ],
)
def test_a_charge_that_no_ledger_could_keep_exactly_never_gets_in(ledger, changes):
    """B-18: not even NaN, against which every comparison is false."""
    with pytest.raises(ValueError):
        ledger.charge(charge(**changes))
    assert_nothing_happened(ledger)


def finish(ledger, run_id):
    """Release a run, so that it no longer counts as unfinished."""
    ledger.advance(run_id, to=RunState.EXECUTED, at=NOON)
    return ledger.advance(run_id, to=RunState.RELEASED, at=NOON)


def test_runs_without_a_release_are_limited_and_finishing_one_makes_room(ledger):
    """That a run fails may depend on rows: failures are counted like a price, and only a release takes one off."""
    for number in range(MOST_UNFINISHED):
        ledger.charge(charge(f"run-{number}", price=price(1)))
    ledger.advance("run-0", to=RunState.FAILED, at=NOON)
    with pytest.raises(TooManyUnfinishedRunsError) as refusal:
        ledger.charge(charge("one-more", price=price(1)))
    assert refusal.value.details == {"unfinished": MOST_UNFINISHED, "limit": MOST_UNFINISHED}
    assert ledger.run("one-more") is None
    assert ledger.spending(KEY, window=0).window == price(MOST_UNFINISHED)
    finish(ledger, "run-1")
    ledger.advance("run-1", to=RunState.RELEASED, at=NOON)  # repeated, it makes room once
    assert ledger.spending(KEY, window=0).unfinished == MOST_UNFINISHED - 1
    ledger.charge(charge("one-more", price=price(1)))
    with pytest.raises(TooManyUnfinishedRunsError):
        ledger.charge(charge("yet-one-more", price=price(1)))
    ledger.charge(charge("free-of-charge", price=price(0)))
    ledger.open_window(scheduled_for=NOON, at=NOON)
    ledger.charge(charge("tomorrow", price=price(1), window=1))


def test_of_many_charges_at_once_exactly_as_many_as_fit_are_granted(ledger):
    """B-52: 150 runs at once against a budget for 100: 100 granted, 50 refused, and the history has all of them."""

    def attempt(number):
        try:
            run = ledger.charge(charge(f"run-{number}", price=price(10_000)))
        except BudgetExhaustedError:
            return "refused"
        finish(ledger, run.run_id)
        return run.state.value

    with ThreadPoolExecutor(16) as pool:
        outcomes = Counter(pool.map(attempt, range(150)))
    assert outcomes == {"charged": 100, "refused": 50}
    assert ledger.spending(KEY, window=0).window == price(1_000_000)
    assert len({entry.run_id for entry in charge_lines(ledger)}) == len(charge_lines(ledger)) == 100
    assert first_broken_chain(ledger.history("flights")) is None


def test_the_same_run_charged_by_many_at_once_is_charged_once(ledger):
    """B-52: queue redelivery and impatient callers."""

    def attempt(number):
        return ledger.charge(charge(at=NOON + timedelta(seconds=number)))

    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(attempt, range(24)))
    assert all(run == runs[0] for run in runs)
    assert ledger.spending(KEY, window=0).lifetime == price(100_000, 7)
    assert len(charge_lines(ledger)) == 1


# --- runs and requests ------------------------------------------------------------------------------------------------


def test_a_run_moves_forward_only_and_repeating_a_step_changes_nothing(ledger):
    """Rule 3."""
    ledger.charge(charge())
    with pytest.raises(ConflictError):
        ledger.advance("run-1", to=RunState.RELEASED, at=NOON)
    for state in (RunState.EXECUTED, RunState.EXECUTED, RunState.RELEASED, RunState.RELEASED):
        assert ledger.advance("run-1", to=state, at=NOON).state is state
        assert ledger.run("run-1").state is state
    for state in (RunState.CHARGED, RunState.EXECUTED, RunState.FAILED):
        with pytest.raises(ConflictError):
            ledger.advance("run-1", to=state, at=NOON)
    assert ledger.run("run-1") == replace(ledger.charge(charge()), state=RunState.RELEASED)


@pytest.mark.parametrize("steps", [[], [RunState.EXECUTED]])
def test_a_run_can_fail_before_it_is_released_and_then_stays_failed(ledger, steps):
    """Rule 4: a failed run stays charged."""
    ledger.charge(charge())
    for step in steps:
        ledger.advance("run-1", to=step, at=NOON)
    assert ledger.advance("run-1", to=RunState.FAILED, at=NOON).state is RunState.FAILED
    for state in (RunState.EXECUTED, RunState.RELEASED):
        with pytest.raises(ConflictError):
            ledger.advance("run-1", to=state, at=NOON)
    assert ledger.spending(KEY, window=0).window == price(100_000, 7)


def test_a_run_that_is_not_there_cannot_move(ledger):
    with pytest.raises(RunNotFoundError):
        ledger.advance("run-1", to=RunState.EXECUTED, at=NOON)


def test_a_request_is_stored_once_and_only_its_own_refusal_replaces_it(ledger):
    """Rule 2 for queued runs: redelivery returns what is stored."""
    queued = RunRequest(run_id="run-1", party="consumer", request_digest="digest", state=RequestState.QUEUED, at=NOON)
    refused = replace(queued, state=RequestState.REFUSED, error='{"code":"budget_exhausted"}')
    assert ledger.request("run-1") is None
    assert ledger.put_request(queued) == queued
    assert ledger.put_request(replace(queued, at=MIDNIGHT)) == queued
    for foreign in (replace(refused, party="outsider"), replace(refused, request_digest="another")):
        assert ledger.put_request(foreign) == queued
    assert ledger.put_request(refused) == refused
    for late in (queued, replace(refused, error="{}")):
        assert ledger.put_request(late) == refused
    assert ledger.request("run-1") == refused
    assert ledger.run("run-1") is None


# --- the DP task ------------------------------------------------------------------------------------------------------


def test_windows_open_once_per_scheduled_time(ledger):
    """B-53 and rule 5: doubled, late and out-of-order events change nothing; after missed ones the next opens one."""
    days = [MIDNIGHT + timedelta(days=number) for number in range(5)]
    assert ledger.open_window(scheduled_for=days[0], at=days[0]).window == 1
    assert ledger.open_window(scheduled_for=days[0], at=days[1]).window == 1
    assert ledger.open_window(scheduled_for=days[1], at=days[1]).window == 2
    assert ledger.open_window(scheduled_for=days[0], at=days[2]).window == 2
    assert ledger.open_window(scheduled_for=days[4], at=days[4]) == TaskState(window=3, window_opened_for=days[4])
    assert ledger.open_window(scheduled_for=days[3], at=days[4]).window == 3
    assert ledger.task() == TaskState(window=3, window_opened_for=days[4])
    assert [entry.kind for entry in ledger.account_entries()] == ["window"] * 3


def test_a_window_cannot_be_opened_before_its_time(ledger):
    """Rule 5: five minutes for clocks that differ, no more."""
    with pytest.raises(ConflictError):
        ledger.open_window(scheduled_for=MIDNIGHT, at=MIDNIGHT - timedelta(minutes=5, microseconds=1))
    assert ledger.task() == TaskState()
    assert ledger.open_window(scheduled_for=MIDNIGHT, at=MIDNIGHT - timedelta(minutes=5)).window == 1


def test_a_scheduled_time_in_another_zone_is_the_same_time(ledger):
    ledger.open_window(scheduled_for=MIDNIGHT, at=MIDNIGHT)
    elsewhere = MIDNIGHT.astimezone(timezone(timedelta(hours=9)))
    assert ledger.open_window(scheduled_for=elsewhere, at=MIDNIGHT).window == 1


def test_suspend_and_resume_are_audited_and_repeating_them_changes_nothing(ledger):
    """B-60, B-61: settings and window stay as they were."""
    ledger.put_settings(KEY, ON, by="provider", at=NOON)
    ledger.open_window(scheduled_for=NOON, at=NOON)
    suspended = ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    assert suspended == TaskState(
        status=TaskStatus.SUSPENDED, window=1, window_opened_for=NOON, since=NOON, by="provider"
    )
    assert ledger.set_task(TaskStatus.SUSPENDED, by="someone else", at=MIDNIGHT) == suspended
    assert ledger.task() == suspended
    resumed = ledger.set_task(TaskStatus.RUNNING, by="provider", at=MIDNIGHT)
    assert resumed == replace(suspended, status=TaskStatus.RUNNING, since=MIDNIGHT)
    assert ledger.settings(KEY) == SettingsRecord(settings=ON, version=1)
    history = ledger.account_entries()
    assert [(entry.kind, entry.party) for entry in history] == [
        ("window", ""),
        ("suspended", "provider"),
        ("running", "provider"),
    ]
    assert first_broken_line(history) is None


# --- histories --------------------------------------------------------------------------------------------------------


def test_a_rooms_history_is_its_own_chain_and_one_of_charges_for_each_budget(ledger):
    """Rule 1: append-only, each line holding the hash of the one before; other rooms do not break it."""
    ledger.note("flights", kind="link_datasets", party="provider", body='{"table":"ü #"}', at=NOON)
    ledger.charge(charge())
    ledger.charge(charge("run-2", budgets=(OTHER_KEY,), at=NOON + timedelta(seconds=2)))
    ledger.charge(charge("run-3", at=NOON + timedelta(seconds=3)))
    ledger.note("trains", kind="cleanroom_init", party="provider", body="{}", at=NOON)
    # A clock that lags behind: the chain has the order of writing.
    ledger.put_settings(KEY, ON, by="provider", at=NOON - timedelta(hours=1))
    history = ledger.history("flights")
    assert history.entries == ledger.entries("flights")
    by_chain = {chain: [e for e in history.entries if e.chain == chain] for chain in history.heads}
    assert [entry.kind for entry in by_chain[""]] == ["link_datasets", "chain", "chain", "settings"]
    assert [entry.run_id for entry in by_chain[chain_of(KEY)]] == ["run-1", "run-3"]
    assert [entry.run_id for entry in by_chain[chain_of(OTHER_KEY)]] == ["run-2"]
    assert sum(map(len, by_chain.values())) == len(history.entries) == 7
    assert first_broken_chain(history) is None
    for lines in by_chain.values():
        assert [entry.previous_hash for entry in lines[1:]] == [entry.hash for entry in lines[:-1]]
    at = [entry.at for entry in history.entries if entry.kind == "charge"]
    assert at == sorted(at)


def test_a_whole_chain_that_is_gone_is_found(ledger):
    """The room's own chain names every other, and so no budget's charges can be left out unnoticed."""
    ledger.charge(charge())
    ledger.charge(charge("run-2", budgets=(OTHER_KEY,)))
    history = ledger.history("flights")
    left = [entry for entry in history.entries if entry.chain != chain_of(OTHER_KEY)]
    heads = {chain: head for chain, head in history.heads.items() if chain != chain_of(OTHER_KEY)}
    assert first_broken_chain(RoomHistory(entries=tuple(left), heads=heads)) == (chain_of(OTHER_KEY), 0)
    assert first_broken_chain(replace(history, entries=tuple(left))) == (chain_of(OTHER_KEY), 0)
    assert first_broken_chain(replace(history, heads=heads)) == (chain_of(OTHER_KEY), 0)


def test_what_a_budget_has_spent_is_the_sum_of_its_chain(ledger):
    """Spent = sum of ledger entries, exactly; also for a charge that several budgets pay at different prices."""
    both = (KEY, OTHER_KEY)
    ledger.charge(charge("run-1", budgets=both, prices=(price(10, 1), price(200, 0))))
    ledger.charge(charge("run-2", price=price(3_000, 5)))
    ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    ledger.charge(charge("run-3", budgets=(OTHER_KEY, KEY), prices=(price(7, 0), price(9, 2)), unmetered=True))
    for key, lifetime, window in ((KEY, price(3_019, 8), price(3_010, 6)), (OTHER_KEY, price(207, 0), price(200, 0))):
        bodies = [json.loads(entry.body) for entry in ledger.entries("flights") if entry.chain == chain_of(key)]
        spent = [price(**body["price"]) for body in bodies]
        assert total(spent) == ledger.spending(key, window=0).lifetime == lifetime
        spent = [price(**body["price"]) for body in bodies if not body["unmetered"] and body["window"] == 0]
        assert total(spent) == ledger.spending(key, window=0).window == window


def test_both_ledgers_write_the_same_history(dynamodb):
    """One history, one hash: a copy of the ledger anywhere can be checked against it."""
    ledgers = (MemoryLedger(), DynamoDbLedger(table_of(dynamodb, create_table(dynamodb))))
    for ledger in ledgers:
        ledger.charge(charge())
        ledger.put_settings(KEY, ON, by="provider", at=NOON)
        ledger.open_window(scheduled_for=NOON, at=NOON)
    memory, stored = ledgers
    assert memory.entries("flights") == stored.entries("flights")
    assert memory.account_entries() == stored.account_entries()
    assert memory.run("run-1") == stored.run("run-1")


def test_random_charges_in_random_order_spend_exactly_their_sum(ledger):
    """Spent = the sum of what was granted, exactly, and never above the limit."""
    source = random.Random(20261121)
    granted = 0
    for number in range(40):
        amount = source.randrange(1, 120_000)
        if granted + amount <= 1_000_000:
            finish(ledger, ledger.charge(charge(f"run-{number}", price=price(amount))).run_id)
            granted += amount
        else:
            with pytest.raises(BudgetExhaustedError) as refusal:
                ledger.charge(charge(f"run-{number}", price=price(amount)))
            assert refusal.value.spent_micro_epsilon == granted
        assert ledger.spending(KEY, window=0).window == price(granted)
    assert 900_000 < granted <= 1_000_000
