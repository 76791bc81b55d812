"""The pure rules of the ledger: what a charge must satisfy, and how runs, requests and the DP task may change."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cleanroom.errors import BudgetExhaustedError, ConflictError, RunConflictError
from cleanroom.privacy.accounting import ZERO_PRICE, Price
from cleanroom.privacy.rho import RhoLimit, RhoPrice
from cleanroom.rooms.ledger import (
    RequestState,
    RoomBudget,
    RoomBudgetRecord,
    RoomStanding,
    RunRequest,
    RunState,
    SettingsRecord,
    Spending,
    TaskState,
    TaskStatus,
)
from cleanroom.rooms.ledger_rules import (
    ADVANCES_FROM,
    MAX_AMOUNT,
    charge_body,
    check_charge,
    check_limits,
    is_stuck,
    may_replace,
    metered,
    run_of,
    same_run,
    settings_body,
    unmetered,
    with_next_window,
    with_status,
)
from cleanroom.rooms.settings import PrivacySettings
from tests.contract.ledgers import KEY, NOON, OTHER_KEY, charge

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)


def test_a_sound_charge_passes_up_to_the_largest_amount():
    check_charge(charge())
    check_charge(charge(price=Price(micro_epsilon=MAX_AMOUNT, delta_steps=MAX_AMOUNT)))
    check_charge(charge(price=ZERO_PRICE, limit_micro_epsilon=(0,)))
    check_charge(charge(budgets=(KEY, OTHER_KEY), limit_micro_epsilon=(1, 10**60), settings_versions=(0, 5)))


@pytest.mark.parametrize(
    "change",
    [
        {"limit_micro_epsilon": (float("nan"),)},
        {"limit_micro_epsilon": (1.0,)},
        {"limit_micro_epsilon": (True,)},
        {"limit_micro_epsilon": (-1,)},
        {"limit_micro_epsilon": (1, 1)},
        {"settings_versions": ()},
        {"settings_versions": (-1,)},
        {"window": -1},
        {"window": None},
        {"price": Price(micro_epsilon=MAX_AMOUNT + 1, delta_steps=0)},
        {"price": Price(micro_epsilon=0, delta_steps=MAX_AMOUNT + 1)},
        {"budgets": (), "limit_micro_epsilon": (), "settings_versions": ()},
        {"budgets": (KEY, KEY), "limit_micro_epsilon": (1, 1), "settings_versions": (0, 0)},
        {"budgets": tuple(replace(KEY, party=f"p{number}") for number in range(9))},
        {"budgets": (replace(KEY, room="trains"),)},
        {"prices": ()},
        {"lifetime_limit_micro_epsilon": ()},
        {"lifetime_limit": -1},
        {"lifetime_limit": float("nan")},
        {"room_budget": RoomBudgetRecord(version=-1)},
        {"request_digest": ""},
        {"run_id": ""},
        {"at": NOON.replace(tzinfo=None)},
    ],
)
def test_an_unsound_charge_is_a_bug_of_ours(change):
    """B-18 has refused it long before; NaN would pass every comparison with a limit."""
    with pytest.raises(ValueError):
        check_charge(charge(**change))


def test_the_run_of_a_charge_has_all_of_it():
    run = run_of(charge())
    for name in (
        "run_id",
        "request_digest",
        "plan_digest",
        "room",
        "party",
        "template",
        "price",
        "window",
        "unmetered",
    ):
        assert getattr(run, name) == getattr(charge(), name)
    for name in (
        "table_versions",
        "settings_versions",
        "budgets",
        "prices",
        "limit_micro_epsilon",
        "lifetime_limit_micro_epsilon",
        "rho_prices",
        "rho_limits",
    ):
        assert getattr(run, name) == getattr(charge(), name)
    assert (run.state, run.charged_at) == (RunState.CHARGED, NOON)


def test_only_the_same_request_is_the_same_run():
    """Rule 2: the price may differ on a retry, the request not."""
    run = run_of(charge())
    assert same_run(run, charge(price=ZERO_PRICE)) is run
    with pytest.raises(RunConflictError):
        same_run(run, charge(request_digest="another"))


def test_a_charge_is_metered_or_unmetered_and_never_both():
    """B-60."""
    for suspended in (False, True):
        given = charge(unmetered=suspended)
        counted, uncounted = metered(given.price, of=given), unmetered(given.price, of=given)
        assert counted + uncounted == given.price
        assert (counted == ZERO_PRICE) is suspended


def test_history_bodies_say_everything_in_whole_numbers():
    given = charge(
        rho_prices=(RhoPrice(rho_steps=5, delta_steps=3),), rho_limits=(RhoLimit(rho_steps=9, delta_steps=4),)
    )
    body = json.loads(charge_body(given, number=0), parse_float=pytest.fail)
    assert body["price"] == {"micro_epsilon": 100_000, "delta_steps": 7}
    assert body["budgets"] == [
        {
            "room": "flights",
            "party": "consumer",
            "template": "*",
            "price": {"micro_epsilon": 100_000, "delta_steps": 7},
            "limit_micro_epsilon": 1_000_000,
            "lifetime_limit_micro_epsilon": None,
            "settings_version": 0,
            "rho_price": {"rho_steps": 5, "delta_steps": 3},
            "rho_limit": {"rho_steps": 9, "delta_steps": 4},
        }
    ]
    assert body["rho_price"] == {"rho_steps": 5, "delta_steps": 3}
    assert (body["window"], body["unmetered"], body["plan_digest"]) == (0, False, "plan")
    settings = json.loads(settings_body(KEY, SettingsRecord(settings=PrivacySettings(), version=3)))
    assert settings["version"] == 3
    assert (settings["epsilon"], settings["differential"]) == ("1/10", False)
    # B-17: the whole record, whatever fields it will have.
    assert set(PrivacySettings.__dataclass_fields__) <= set(settings)


def test_runs_move_forward_only():
    """Rule 3."""
    order = [RunState.CHARGED, RunState.EXECUTED, RunState.RELEASED, RunState.FAILED]
    moves = {(source, to) for to, sources in ADVANCES_FROM.items() for source in sources}
    assert moves == {(order[0], order[1]), (order[1], order[2]), (order[0], order[3]), (order[1], order[3])}


@pytest.mark.parametrize("seconds", [0, 1, 86_400])
def test_a_later_scheduled_time_opens_one_window(seconds):
    """Rule 5: however late the event comes."""
    at = MIDNIGHT + timedelta(seconds=seconds)
    state = with_next_window(TaskState(window=4, window_opened_for=NOON), scheduled_for=MIDNIGHT, at=at)
    assert (state.window, state.window_opened_for) == (5, MIDNIGHT)


@pytest.mark.parametrize("before", [timedelta(0), timedelta(seconds=1), timedelta(days=1)])
def test_a_time_that_is_no_later_changes_nothing(before):
    """Rule 5."""
    state = TaskState(window=4, window_opened_for=MIDNIGHT)
    assert with_next_window(state, scheduled_for=MIDNIGHT - before, at=MIDNIGHT) is state


def test_a_window_opens_while_suspended_too():
    """B-61: after resuming, the window is today's."""
    state = with_next_window(TaskState(status=TaskStatus.SUSPENDED), scheduled_for=MIDNIGHT, at=MIDNIGHT)
    assert (state.window, state.status) == (1, TaskStatus.SUSPENDED)


def test_budgets_cannot_be_renewed_in_advance():
    for ahead, refused in ((timedelta(minutes=5), False), (timedelta(minutes=5, microseconds=1), True)):
        if refused:
            with pytest.raises(ConflictError):
                with_next_window(TaskState(), scheduled_for=MIDNIGHT + ahead, at=MIDNIGHT)
        else:
            assert with_next_window(TaskState(), scheduled_for=MIDNIGHT + ahead, at=MIDNIGHT).window == 1


def test_suspending_twice_keeps_who_did_it_first():
    """B-60."""
    suspended = with_status(TaskState(window=2), TaskStatus.SUSPENDED, by="a", at=NOON)
    assert suspended == TaskState(status=TaskStatus.SUSPENDED, window=2, since=NOON, by="a")
    assert with_status(suspended, TaskStatus.SUSPENDED, by="b", at=MIDNIGHT) is suspended


def test_a_request_is_replaced_by_its_own_refusal_only():
    queued = RunRequest(run_id="r", party="c", request_digest="d", state=RequestState.QUEUED, at=NOON)
    refused = replace(queued, state=RequestState.REFUSED, error="{}")
    assert may_replace(queued, refused)
    assert not may_replace(queued, queued)
    assert not may_replace(refused, refused)
    assert not may_replace(refused, queued)
    assert not may_replace(queued, replace(refused, party="outsider"))
    assert not may_replace(queued, replace(refused, request_digest="another"))


@pytest.mark.parametrize("state", RunState)
@pytest.mark.parametrize("minutes", [0, 15, 20, 21])
def test_a_run_is_stuck_when_it_has_no_end_for_longer_than_a_function_lives(state, minutes):
    """15 minutes and a margin; a run with an end is never stuck."""
    stuck = is_stuck(state, since=NOON, at=NOON + timedelta(minutes=minutes))
    assert stuck == (state in {RunState.CHARGED, RunState.EXECUTED} and minutes == 21)


def test_each_limit_is_told_by_its_name():
    """B-51: which limit does not hold the price, with price, spent and limit of that one."""
    spent = Spending(window=Price(micro_epsilon=500_000, delta_steps=0), lifetime=Price(micro_epsilon=9, delta_steps=0))
    room = RoomStanding(window=Price(micro_epsilon=7, delta_steps=0), lifetime=Price(micro_epsilon=8, delta_steps=0))
    record = RoomBudgetRecord(budget=RoomBudget(per_window=0, lifetime=0), version=1)
    lifetime_only = RoomBudgetRecord(budget=RoomBudget(lifetime=0), version=1)
    expected = {
        ("privacy_budget", "consumer", 500_000, 500_000): charge(limit_micro_epsilon=(500_000,)),
        ("lifetime_budget", "consumer", 9, 100_008): charge(lifetime_limit=100_008),
        ("room_budget", None, 7, 0): charge(room_budget=record),
        ("lifetime_room_budget", None, 8, 0): charge(room_budget=lifetime_only),
    }
    for (name, party, before, limit), given in expected.items():
        with pytest.raises(BudgetExhaustedError) as refusal:
            check_limits(given, spent=[spent], room=room)
        error = refusal.value
        assert (error.limit_name, error.party_name, error.spent_micro_epsilon) == (name, party, before)
        assert (error.price_micro_epsilon, error.limit_micro_epsilon) == (100_000, limit)
        assert (error.window_ends is None) == name.startswith("lifetime")
        assert name in str(error)
        told = {key for key in error.as_json() if key.endswith("_delta")}
        assert told == ({"price_delta", "spent_delta"} if name == "privacy_budget" else set()), "0 would be wrong"
        check_limits(replace(given, unmetered=True), spent=[spent], room=room)
        # Before: refused "for epsilon 0", once an owner had set a limit below what was spent.
        check_limits(replace(given, prices=(ZERO_PRICE,)), spent=[spent], room=room)
    check_limits(charge(lifetime_limit=100_009), spent=[spent], room=None)
