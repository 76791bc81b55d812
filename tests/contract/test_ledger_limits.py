"""Limits beyond the window's: lifetime budgets, room budgets, and runs that nobody finishes; on both ledgers."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from cleanroom.errors import BudgetExhaustedError, ConflictError, StaleChargeError
from cleanroom.privacy.accounting import Price, total
from cleanroom.rooms.ledger import (
    BudgetKey,
    RoomBudget,
    RoomBudgetRecord,
    RoomStanding,
    RunState,
    StuckRun,
    TaskStatus,
)
from cleanroom.rooms.ledger_chain import first_broken_chain
from tests.contract.ledgers import KEY, NOON, OTHER_KEY, charge

ELSEWHERE = BudgetKey(room="trains", party="consumer")


def price(micro_epsilon, delta_steps=0):
    return Price(micro_epsilon=micro_epsilon, delta_steps=delta_steps)


def set_room(ledger, **limits):
    return ledger.put_room_budget("flights", RoomBudget(**limits), by="provider", at=NOON)


def refusal_of(ledger, given):
    before = ledger.history(given.room)
    with pytest.raises(BudgetExhaustedError) as refusal:
        ledger.charge(given)
    assert ledger.run(given.run_id) is None
    assert ledger.history(given.room) == before
    error = refusal.value
    return error.limit_name, error.price_micro_epsilon, error.spent_micro_epsilon, error.limit_micro_epsilon


# --- lifetime budgets -------------------------------------------------------------------------------------------------


def test_a_lifetime_budget_can_be_spent_to_the_last_unit_in_any_number_of_windows_and_no_further(ledger):
    """It is never renewed, and what was spent before it was set counts."""
    ledger.charge(charge("run-0", price=price(400_000)))
    for window in (1, 2):
        ledger.open_window(scheduled_for=NOON + timedelta(days=window), at=NOON + timedelta(days=window))
    limited = {"lifetime_limit": 500_000, "window": 2}
    assert refusal_of(ledger, charge("run-1", price=price(100_001), **limited)) == (
        "lifetime_budget",
        100_001,
        400_000,
        500_000,
    )
    ledger.charge(charge("run-1", price=price(100_000), **limited))
    assert refusal_of(ledger, charge("run-2", price=price(1), **limited))[:3] == ("lifetime_budget", 1, 500_000)
    ledger.charge(charge("run-2", price=price(0), **limited))
    ledger.charge(charge("run-3", price=price(1), window=2))


def test_what_costs_nothing_runs_under_limits_that_were_set_below_what_was_spent(ledger):
    """Before: refused "for epsilon 0", though nothing is spent by a run without noise where DP is off."""
    set_room(ledger, per_window=5, lifetime=5)
    ledger.charge(
        charge(
            "run-0",
            price=price(400_000),
            room_budget=RoomBudgetRecord(budget=RoomBudget(per_window=5, lifetime=5), version=1),
        )
    )
    set_room(ledger, per_window=0, lifetime=0)
    low = {
        "limit_micro_epsilon": (10,),
        "lifetime_limit": 20,
        "room_budget": RoomBudgetRecord(budget=RoomBudget(per_window=0, lifetime=0), version=2),
    }
    assert refusal_of(ledger, charge("run-1", price=price(1), **low)) == ("privacy_budget", 1, 400_000, 10)
    assert refusal_of(ledger, charge("run-1", price=price(0, 1), **low))[0] == "privacy_budget"
    assert ledger.charge(charge("run-1", price=price(0), **low)).state is RunState.CHARGED
    assert ledger.spending(KEY, window=0).window == price(400_000)


@pytest.mark.parametrize("limit", [0, 99_999])
def test_a_lifetime_budget_below_the_price_refuses_the_first_charge(ledger, limit):
    assert refusal_of(ledger, charge(lifetime_limit=limit)) == ("lifetime_budget", 100_000, 0, limit)


def test_unmetered_runs_pass_a_lifetime_budget_and_count_in_it(ledger):
    """B-60: budgets are not enforced while the task is suspended, and the lifetime total has everything."""
    ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    ledger.charge(charge("run-1", price=price(900_000), lifetime_limit=500_000, unmetered=True))
    ledger.set_task(TaskStatus.RUNNING, by="provider", at=NOON)
    assert refusal_of(ledger, charge("run-2", price=price(1), lifetime_limit=500_000))[2] == 900_000


def test_of_two_budgets_the_one_that_does_not_hold_its_own_price_refuses_for_both(ledger):
    """Each of several payers has a price and limits of its own; all are charged, or none."""
    both = {"budgets": (KEY, OTHER_KEY), "prices": (price(10), price(300_000))}
    ledger.charge(charge("run-1", **both, lifetime_limit_micro_epsilon=(10, 300_000)))
    expected = {
        (10, None): ("lifetime_budget", 10, 10, 10),
        (None, 599_999): ("lifetime_budget", 300_000, 300_000, 599_999),
    }
    for limits, refused in expected.items():
        assert refusal_of(ledger, charge("run-2", **both, lifetime_limit_micro_epsilon=limits)) == refused
    assert ledger.spending(KEY, window=0).lifetime == price(10)
    assert ledger.spending(OTHER_KEY, window=0).lifetime == price(300_000)


# --- room budgets -----------------------------------------------------------------------------------------------------


def test_a_room_without_a_budget_has_none_and_adds_nothing_up(ledger):
    assert ledger.room_budget("flights") == RoomBudgetRecord()
    ledger.charge(charge())
    assert ledger.standing("flights", [KEY]).room is None
    assert ledger.terms("flights", [KEY]).room == RoomBudgetRecord()


def test_what_was_spent_before_a_room_budget_was_set_counts_and_rooms_do_not_share_it(ledger):
    """Rule 1: the room total over all parties, for they may pool what they learn."""
    ledger.charge(charge("run-0", price=price(1_000_000)))
    ledger.open_window(scheduled_for=NOON, at=NOON)
    ledger.charge(charge("run-1", price=price(30, 3), window=1))
    ledger.charge(charge("run-2", price=price(500, 5), budgets=(OTHER_KEY,), window=1))
    ledger.charge(charge("run-3", price=price(7), budgets=(ELSEWHERE,), room="trains", window=1))
    record = set_room(ledger, per_window=1, lifetime=2)
    assert (
        record
        == ledger.room_budget("flights")
        == RoomBudgetRecord(budget=RoomBudget(per_window=1, lifetime=2), version=1)
    )
    standing = ledger.standing("flights", [KEY, OTHER_KEY])
    assert standing.room == RoomStanding(record=record, window=price(530, 8), lifetime=price(1_000_530, 8))
    assert standing.spending[KEY] == ledger.spending(KEY, window=1)
    assert standing == ledger.standing("flights", [KEY, OTHER_KEY], window=1)
    before = ledger.standing("flights", [KEY, OTHER_KEY], window=0)
    assert (before.window, before.task.window) == (0, 1)
    assert before.room.lifetime == standing.room.lifetime
    assert before.spending[KEY] == ledger.spending(KEY, window=0)
    own = [entry.kind for entry in ledger.entries("flights") if entry.chain == ""]
    assert own == ["chain", "chain", "room_budget"]
    given = {"room_budget": record, "window": 1}
    assert refusal_of(ledger, charge("run-4", price=price(999_471), **given)) == (
        "room_budget",
        999_471,
        530,
        1_000_000,
    )
    ledger.charge(charge("run-4", price=price(499_470), budgets=(OTHER_KEY,), **given))
    ledger.charge(charge("run-5", price=price(500_000), **given))
    assert refusal_of(ledger, charge("run-6", price=price(1), **given)) == ("room_budget", 1, 1_000_000, 1_000_000)
    ledger.open_window(scheduled_for=NOON + timedelta(days=1), at=NOON + timedelta(days=1))
    assert (
        refusal_of(ledger, charge("run-6", price=price(1), room_budget=record, window=2))[0] == "lifetime_room_budget"
    )
    ledger.charge(charge("run-7", price=price(7), budgets=(ELSEWHERE,), room="trains", window=2))


def test_a_charge_of_several_budgets_costs_the_room_their_sum(ledger):
    record = set_room(ledger, per_window=1)
    both = {"budgets": (KEY, OTHER_KEY), "room_budget": record}
    ledger.charge(charge("run-1", prices=(price(300_000), price(400_000)), **both))
    standing = ledger.standing("flights", [])
    assert standing.room.window == standing.room.lifetime == price(700_000)
    assert refusal_of(ledger, charge("run-2", prices=(price(150_001), price(150_000)), **both))[1:3] == (
        300_001,
        700_000,
    )
    ledger.charge(charge("run-2", prices=(price(150_000), price(150_000)), **both))


def test_a_room_budget_that_changed_in_flight_makes_the_charge_stale(ledger):
    """Rule 1: every limit is checked to be the present one, also where there was none before."""
    ledger.charge(charge("run-0"))
    first = set_room(ledger, per_window=5)
    for key, run_id in ((KEY, "run-1"), (OTHER_KEY, "run-2")):
        with pytest.raises(StaleChargeError):
            ledger.charge(charge(run_id, budgets=(key,)))
    second = set_room(ledger)
    assert (first.version, second.version) == (1, 2)
    with pytest.raises(StaleChargeError):
        ledger.charge(charge("run-1", room_budget=first))
    ledger.charge(charge("run-1", room_budget=second, price=price(1_000)))
    assert ledger.standing("flights", []).room.lifetime == price(101_000, 7), "it is added up, also without a limit"


def test_unmetered_runs_count_in_a_rooms_lifetime_and_not_in_its_window(ledger):
    """B-60."""
    record = set_room(ledger, per_window=0, lifetime=0)
    ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    ledger.charge(charge("run-1", price=price(9), room_budget=record, unmetered=True))
    standing = ledger.standing("flights", [])
    assert (standing.room.window, standing.room.lifetime) == (price(0), price(9))


def test_of_many_charges_of_many_parties_exactly_as_many_as_the_room_holds_are_granted(ledger):
    """100 runs at once of 5 parties, each with its own budget, in a room that is given a budget meanwhile.

    It holds 50, and 5 were charged before.
    """
    keys = [replace(KEY, party=f"party-{number}") for number in range(5)]
    spent = total(
        ledger.charge(charge(f"early-{number}", budgets=(key,), price=price(20_000))).price
        for number, key in enumerate(keys)
    )
    records, is_set = [], threading.Event()

    def attempt(number):
        if number == 30:
            records.append(set_room(ledger, per_window=1))
            is_set.set()
        elif number > 30:
            is_set.wait(timeout=30)
        key = keys[number % 5]
        while True:
            room_budget = ledger.room_budget("flights")
            given = charge(f"run-{number}", budgets=(key,), price=price(20_000), room_budget=room_budget)
            try:
                run = ledger.charge(given)
            except StaleChargeError:
                continue
            except BudgetExhaustedError as refusal:
                return refusal.limit_name
            ledger.advance(run.run_id, to=RunState.EXECUTED, at=NOON)
            ledger.advance(run.run_id, to=RunState.RELEASED, at=NOON, known=replace(run, state=RunState.EXECUTED))
            return "charged"

    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(attempt, range(100)))
    assert spent == price(100_000)
    assert outcomes == {"charged": 45, "room_budget": 55}
    standing = ledger.standing("flights", keys)
    assert standing.room == RoomStanding(record=records[0], window=price(1_000_000), lifetime=price(1_000_000))
    assert total(spending.window for spending in standing.spending.values()) == standing.room.window
    assert first_broken_chain(ledger.history("flights")) is None


# --- runs that nobody finishes ----------------------------------------------------------------------------------------


def test_runs_without_an_end_are_found_when_no_function_can_be_at_work_on_them_any_more(ledger):
    """They stay charged, and each state has its own 20 minutes."""
    minutes = [NOON + timedelta(minutes=number) for number in range(50)]
    for name in ("stays-charged", "is-executed", "is-released", "has-failed"):
        ledger.charge(charge(name))
    for name in ("is-executed", "is-released"):
        ledger.advance(name, to=RunState.EXECUTED, at=minutes[10])
    ledger.advance("is-released", to=RunState.RELEASED, at=minutes[11])
    ledger.advance("has-failed", to=RunState.FAILED, at=minutes[12])
    assert ledger.stuck_runs(at=minutes[20]) == ()
    charged = StuckRun(
        run_id="stays-charged",
        room="flights",
        party="consumer",
        template="count_planes",
        state=RunState.CHARGED,
        since=NOON,
    )
    executed = replace(charged, run_id="is-executed", state=RunState.EXECUTED, since=minutes[10])
    assert ledger.stuck_runs(at=minutes[21]) == (charged,)
    assert ledger.stuck_runs(at=minutes[31]) == (charged, executed)
    spent = ledger.spending(KEY, window=0)
    ledger.advance("is-executed", to=RunState.RELEASED, at=minutes[40])
    ledger.advance("stays-charged", to=RunState.EXECUTED, at=minutes[40])
    assert ledger.stuck_runs(at=minutes[49]) == ()
    assert ledger.spending(KEY, window=0).window == spent.window == price(400_000, 28)


def test_a_run_that_the_caller_knows_is_moved_as_it_really_stands(ledger):
    """What a caller has read may be old: the move is conditional all the same."""
    run = ledger.charge(charge())
    executed = ledger.advance("run-1", to=RunState.EXECUTED, at=NOON)
    ledger.advance("run-1", to=RunState.FAILED, at=NOON)
    for known in (run, executed):
        with pytest.raises(ConflictError):
            ledger.advance("run-1", to=RunState.RELEASED, at=NOON, known=known)
    assert ledger.run("run-1").state is RunState.FAILED
    assert ledger.spending(KEY, window=0).unfinished == 1
