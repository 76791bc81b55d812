"""Lifetime and room budgets, and runs that nobody finishes, as parties meet them."""

from dataclasses import replace

import pytest

from cleanroom.errors import RunFailedError
from cleanroom.privacy.accounting import Price
from cleanroom.rooms.ledger import BudgetKey, RoomBudgetRecord, RunState, SettingsRecord, TaskState
from cleanroom.rooms.settings import PrivacySettings
from cleanroom.use_cases.charge import Payer, charge_run
from cleanroom.use_cases.dp_task import handle_schedule
from tests.house import BY_CARRIER, furnished

LIMITED = {"differential": 1, "epsilon": 1.0, "privacy_budget": 10, "lifetime_budget": 5}


def run(house, party="agency"):
    return house.ask(party, "consumer", "run_analysis", **BY_CARRIER)


def renew(house):
    house.clock.advance(seconds=86_400)
    handle_schedule({"task": "open_window", "scheduled_time": house.clock.now().isoformat()}, house.tasks)


def test_a_lifetime_budget_outlives_every_window():
    """B-51: the refusal says which limit it is, and that it is not renewed; each run costs 2."""
    house = furnished(settings=LIMITED)
    for expected in (200, 200, 402):
        status, answer = run(house)
        assert status == expected
        renew(house)
    answer = answer["error"]
    assert (answer["code"], answer["limit"], answer["window_ends"]) == ("budget_exhausted", "lifetime_budget", None)
    assert (answer["price_epsilon"], answer["spent_epsilon"], answer["limit_epsilon"]) == (2.0, 4.0, 5.0)
    assert "not renewed" in answer["message"]
    (budget,) = house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room")["budgets"]
    assert (budget["privacy_budget"], budget["spent"], budget["remaining"]) == (10.0, 0.0, 1.0)
    assert budget["remaining_limit"] == "lifetime_budget"
    assert (budget["lifetime_budget"], budget["lifetime_epsilon"]) == (5, 4.0)
    quote = house("agency", "consumer", "quote_analysis", **BY_CARRIER)
    binding = {"limit": "lifetime_budget", "counts": "epsilon", "party_name": "agency"}
    assert (quote["runs_left"], quote["runs_left_limit"]) == (0, binding)
    house("airline", "provider", "set_privacy_settings", cleanroom_name="room", party_name="agency",
          privacy_settings=LIMITED | {"lifetime_budget": 6})  # fmt: skip
    assert run(house)[0] == 200


def test_a_lifetime_budget_is_null_by_default_and_after_a_record_without_it():
    """B-17: what is left out goes back to its default."""
    house = furnished(settings=LIMITED)
    answer = house("airline", "provider", "set_privacy_settings", cleanroom_name="room", party_name="agency",
                   privacy_settings={"differential": 1})  # fmt: skip
    assert answer["privacy_settings"]["lifetime_budget"] is None


def two_consumers():
    house = furnished()
    house("broker", "consumer", "install_cleanroom", cleanroom_name="room")
    return house


def test_a_room_budget_limits_all_parties_together_from_the_rooms_beginning():
    """Parties may pool what they learn."""
    house = two_consumers()
    assert run(house)[0] == 200
    view = house("airline", "provider", "view_remaining_privacy_budget", cleanroom_name="room")
    assert view["room_budget"] is None
    answer = house("airline", "provider", "set_room_budget", cleanroom_name="room", room_budget=5)
    expected = {
        "room_budget": 5,
        "spent": 2.0,
        "lifetime_room_budget": None,
        "lifetime_epsilon": 2.0,
        "lifetime_delta": 0.0,
        "version": 1,
    }
    assert answer == {"cleanroom_name": "room", "room_budget": expected}
    assert run(house, "broker")[0] == 200
    quote = house("broker", "consumer", "quote_analysis", **BY_CARRIER)
    assert (quote["runs_left"], quote["budget"]["remaining"]) == (0, 1.0)
    assert quote["runs_left_limit"] == {"limit": "room_budget", "counts": "epsilon", "party_name": None}
    assert quote["budget"]["remaining_limit"] == "room_budget"
    status, answer = run(house)
    refusal = answer["error"]
    assert (status, refusal["limit"], refusal["party_name"]) == (402, "room_budget", None)
    assert (refusal["spent_epsilon"], refusal["limit_epsilon"]) == (4.0, 5.0)
    assert refusal["window_ends"] == "2026-01-02 00:00 UTC"
    renew(house)
    assert run(house)[0] == 200
    house("airline", "provider", "set_room_budget", cleanroom_name="room", lifetime_room_budget=6)
    assert run(house)[1]["error"]["limit"] == "lifetime_room_budget"
    view = house("airline", "provider", "view_remaining_privacy_budget", cleanroom_name="room")["room_budget"]
    assert (view["room_budget"], view["spent"], view["lifetime_epsilon"], view["version"]) == (None, 2.0, 6.0, 2)
    house("airline", "provider", "set_room_budget", cleanroom_name="room")
    assert run(house)[0] == 200


def test_only_the_provider_sets_and_sees_a_room_budget():
    """B-22, B-70: nobody sets their own limit."""
    house = two_consumers()
    for party, status in (("agency", 403), ("stranger", 404)):
        assert house.ask(party, "provider", "set_room_budget", cleanroom_name="room", room_budget=99)[0] == status
    assert house.ledger.room_budget("room") == RoomBudgetRecord()
    view = house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room")
    assert view["room_budget"] is None


@pytest.mark.parametrize("value", [-1, 0.5, True, "5", float("nan"), 10**9 + 1])
def test_a_room_budget_is_a_whole_number(value):
    """B-18."""
    house = furnished()
    for name in ("room_budget", "lifetime_room_budget"):
        status, answer = house.ask("airline", "provider", "set_room_budget", cleanroom_name="room", **{name: value})
        assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert house.ledger.room_budget("room") == RoomBudgetRecord()


def test_each_payer_has_a_price_and_limits_of_its_own():
    """Several parties' data: each budget pays what its own settings say, all of them or none."""
    house = furnished()
    keys = [BudgetKey(room="room", party=name) for name in ("agency", "agency@airline")]
    settings = [PrivacySettings(privacy_budget=1), PrivacySettings(privacy_budget=2, lifetime_budget=3)]
    prices = [Price(micro_epsilon=400_000, delta_steps=0), Price(micro_epsilon=900_000, delta_steps=5)]
    records = [
        house.ledger.put_settings(key, s, by="airline", at=house.clock.now())
        for key, s in zip(keys, settings, strict=True)
    ]
    payers = tuple(Payer(budget=k, record=r, price=p) for k, r, p in zip(keys, records, prices, strict=True))
    run = charge_run(
        run_id="agency.run",
        request_digest="digest",
        plan_digest="digest",
        payers=payers,
        task=TaskState(),
        room_budget=RoomBudgetRecord(),
        template="by_carrier",
        reader="agency",
        table_versions=(),
        ledger=house.ledger,
        renewal=house.schedule,
        clock=house.clock,
        telemetry=house.telemetry,
    )
    assert (run.budgets, run.prices) == (tuple(keys), tuple(prices))
    assert run.limit_micro_epsilon == (1_000_000, 2_000_000)
    assert run.lifetime_limit_micro_epsilon == (None, 3_000_000)
    assert run.price == Price(micro_epsilon=900_000, delta_steps=5)
    assert isinstance(records[0], SettingsRecord)
    for key, price in zip(keys, prices, strict=True):
        assert house.ledger.spending(key, window=0).window == price


# --- runs that nobody finishes ----------------------------------------------------------------------------------------


class GoneError(BaseException):
    """The function ends here."""


class BadEngine:
    """An engine that never comes to an end as it should."""

    def __init__(self, error):
        self.error = error

    def execute(self, *_, **__):
        raise self.error


def interrupted(house):
    """Charge a run whose function ends before it has executed."""
    runs = house.runs
    house.runs = replace(runs, engine=BadEngine(GoneError()))
    with pytest.raises(GoneError):
        house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="interrupted")
    house.runs = runs


def test_a_run_that_nobody_finishes_is_reported_daily_and_listed_and_can_be_finished_by_its_party():
    """Nothing is given back: whether a run was stuck can depend on rows."""
    house = furnished()
    interrupted(house)
    assert house("airline", "provider", "view_stuck_runs") == {"runs": []}
    since = house.clock.now().isoformat()
    renew(house)
    assert house.telemetry.counts.count("StuckRuns") == 1
    stuck = {
        "cleanroom_name": "room",
        "party_name": "agency",
        "template_name": "by_carrier",
        "run_id": "interrupted",
        "state": "charged",
        "since": since,
    }
    assert house("airline", "provider", "view_stuck_runs") == {"runs": [stuck]}
    (logged,) = [facts for step, facts in house.telemetry.steps if step == "stuck"]
    assert logged == {"run_id": "agency.interrupted", "room": "room", "template": "by_carrier", "state": "charged"}
    before = house.ledger.spending(BudgetKey(room="room", party="agency"), window=0)
    status, _ = house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="interrupted")
    assert status == 200
    assert house.ledger.run("agency.interrupted").state is RunState.RELEASED
    assert house.ledger.spending(BudgetKey(room="room", party="agency"), window=0).lifetime == before.lifetime
    renew(house)
    assert house.telemetry.counts.count("StuckRuns") == 1
    assert house("airline", "provider", "view_stuck_runs") == {"runs": []}


def test_stuck_runs_of_other_providers_rooms_are_not_listed():
    """B-73."""
    house = furnished()
    interrupted(house)
    renew(house)
    for party in ("agency", "stranger"):
        assert house("airline", "provider", "view_stuck_runs")["runs"]
        status, answer = house.ask(party, "provider", "view_stuck_runs")
        assert (status, answer) == (200, {"runs": []})


def test_a_run_that_failed_is_not_stuck():
    house = furnished()
    house.runs = replace(house.runs, engine=BadEngine(RunFailedError("the run failed")))
    assert run(house)[1]["error"]["code"] == "run_failed"
    renew(house)
    assert "StuckRuns" not in house.telemetry.counts
