"""The DP task: windows, suspending, resuming."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from cleanroom.edge import answer_schedule
from cleanroom.errors import BusyError
from cleanroom.use_cases.dp_task import handle_schedule
from tests.house import BY_CARRIER, EVENTS, furnished


def budget(house):
    return house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room")["budgets"][0]


def renew(house, scheduled_for):
    event = {"task": "open_window", "scheduled_time": scheduled_for.isoformat()}
    return json.loads(handle_schedule(event, house.tasks))


def test_the_scheduled_task_renews_the_budget_and_the_lifetime_total_stays():
    """B-53."""
    house = furnished()
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    assert (budget(house)["spent"], budget(house)["remaining"]) == (2.0, 8.0)
    assert renew(house, house.clock.now())["window"] == 1
    assert (budget(house)["spent"], budget(house)["remaining"], budget(house)["lifetime_epsilon"]) == (0, 10.0, 2.0)


def test_doubled_late_and_early_schedules_renew_once():
    """A delivery that comes twice, or late, or for a time to come, opens no further window."""
    house = furnished()
    now = house.clock.now()
    assert renew(house, now)["window"] == 1
    assert renew(house, now)["window"] == 1
    assert renew(house, now - timedelta(days=1))["window"] == 1
    assert budget(house)["window"] == 1
    event = {"task": "open_window", "scheduled_time": (now + timedelta(days=1)).isoformat()}
    with pytest.raises(Exception, match="before its time"):
        handle_schedule(event, house.tasks)
    house.clock.advance(seconds=86_400)
    assert renew(house, now + timedelta(days=1))["window"] == 2


def test_the_schedules_own_event_is_understood():
    house = furnished()
    house.clock.advance(seconds=86_400)
    event = json.loads((EVENTS / "schedule_open_window.json").read_text(encoding="utf-8"))
    assert json.loads(handle_schedule(event, house.tasks))["window"] == 1


def test_a_schedule_that_was_refused_fails_so_that_it_is_tried_again():
    """B-53: the scheduler reads no answer; a window that a busy ledger left closed would stay so for a day."""

    def busy():
        raise BusyError("the ledger is busy")

    with pytest.raises(RuntimeError, match="not done"):
        answer_schedule(busy)
    assert answer_schedule(lambda: b"{}") == {"ok": "{}"}


def test_suspending_lifts_limits_and_marks_runs_and_resuming_enforces_everything_again():
    """B-60, B-61, B-64, B-66."""
    house = furnished(settings={"differential": 1, "epsilon": 1.0, "privacy_budget": 3})
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    assert house("airline", "provider", "is_dp_enabled_on_account")["rooms_with_dp_on"] == ["room"]
    suspended = house("airline", "provider", "suspend_account_dp_task")
    assert suspended["rooms_with_dp_on"] == ["room"]
    assert "DP is still on in room:" in suspended["warning"]
    assert not house.schedule.is_enabled()
    release = house("agency", "consumer", "run_analysis", **BY_CARRIER)
    assert release["unmetered"] is True
    assert release["budgets"][0]["lifetime_epsilon"] == 4.0
    assert release["budgets"][0]["spent"] == 2.0
    house("airline", "provider", "resume_account_dp_task")
    assert house.schedule.is_enabled()
    status, _ = house.ask("agency", "consumer", "run_analysis", **BY_CARRIER)
    assert status == 402


def test_turning_dp_on_anywhere_resumes_the_task():
    """B-62."""
    house = furnished(settings={"differential": 0})
    house("airline", "provider", "suspend_account_dp_task")
    turn_on = {"cleanroom_name": "room", "party_name": "agency", "privacy_settings": {"differential": 1}}
    house("airline", "provider", "set_privacy_settings", **turn_on)
    account = house("airline", "provider", "is_dp_enabled_on_account")
    assert (account["status"], account["schedule_enabled"]) == ("running", True)


def test_installing_while_suspended_is_refused_with_both_cures():
    """B-63."""
    house = furnished()
    house("airline", "provider", "suspend_account_dp_task")
    status, answer = house.ask("broker", "consumer", "install_cleanroom", cleanroom_name="room")
    assert status == 409
    assert "resume_account_dp_task" in answer["error"]["message"]
    assert "set_privacy_settings" in answer["error"]["message"]
    house("airline", "provider", "resume_account_dp_task")
    house("broker", "consumer", "install_cleanroom", cleanroom_name="room")
