"""`accounting: "zcdp"` as parties meet it: quotes, releases, budgets, switches within a window."""

import pytest

from cleanroom.privacy.rho import RHO_STEPS
from cleanroom.rooms.ledger import BudgetKey
from cleanroom.rooms.settings import rho_limit_of, settings_from_record
from tests.house import BY_CARRIER, furnished

GAUSSIAN = {"differential": 1, "epsilon": 0.5, "privacy_budget": 2, "noise_mechanism": "Gaussian"}
BY_RHO = GAUSSIAN | {"accounting": "zcdp"}
BY_DEST = BY_CARRIER | {"template_name": "by_dest"}


def quote(house, **asked):
    return house("agency", "consumer", "quote_analysis", **BY_CARRIER | asked)


def run(house, **asked):
    return house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, replay="never", **asked)


def set_settings(house, settings):
    house("airline", "provider", "set_privacy_settings", cleanroom_name="room", party_name="agency",
          privacy_settings=settings)  # fmt: skip


def budget(house):
    (found,) = house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room")["budgets"]
    return found


def test_a_budget_that_counts_rho_holds_as_many_runs_as_its_quote_says():
    """B-51, B-56: each run costs epsilon 1 of a budget of 2, by epsilon."""
    assert quote(furnished(settings=GAUSSIAN))["runs_left"] == 2
    house = furnished(settings=BY_RHO)
    limit = rho_limit_of(settings_from_record(BY_RHO))
    first = quote(house)
    assert (first["epsilon"], first["delta"]) == (1.0, 2e-06), "both prices are told, whichever counts"
    assert first["rho_delta"] == 0, "the delta of Gaussian noise is spent once, in the conversion"
    assert first["runs_left"] == limit.rho_steps // round(first["rho"] * RHO_STEPS) == 3
    assert first["runs_left_limit"] == {"limit": "privacy_budget", "counts": "rho", "party_name": "agency"}
    for left in (2, 1, 0):
        status, release = run(house)
        assert status == 200
        assert release["price"]["rho"] == first["rho"]
        assert release["budgets"][0]["accounting"] == "zcdp"
        assert quote(house)["runs_left"] == left
    status, answer = run(house)
    assert (status, answer["error"]["code"], answer["error"]["limit"]) == (402, "budget_exhausted", "privacy_budget")
    assert answer["error"]["spent_rho"] == pytest.approx(3 * first["rho"])
    assert answer["error"]["limit_rho"] == limit.rho_steps / RHO_STEPS
    assert "until 2" in answer["error"]["message"]


def test_a_view_shows_both_units_and_what_is_left_of_the_one_that_counts():
    """B-54"""
    house = furnished(settings=BY_RHO)
    run(house)
    shown = budget(house)
    assert (shown["spent"], shown["remaining"], shown["remaining_limit"]) == (1.0, None, None)
    assert shown["remaining_rho"] == pytest.approx(shown["rho_limit"] - shown["spent_rho"])
    set_settings(house, GAUSSIAN)
    shown = budget(house)
    assert (shown["accounting"], shown["remaining"], shown["rho_limit"]) == ("epsilon", 1.0, None)
    assert shown["spent_rho"] > 0


def test_a_switch_within_a_window_counts_what_was_spent_before_in_the_other_unit():
    house = furnished(settings=BY_RHO)
    for _ in range(3):
        assert run(house)[0] == 200
    set_settings(house, GAUSSIAN)
    status, answer = run(house)
    assert (status, answer["error"]["spent_epsilon"]) == (402, 3.0)
    set_settings(house, BY_RHO)
    assert run(house)[0] == 402
    set_settings(house, BY_RHO | {"privacy_budget": 3})
    assert run(house)[0] == 200


def test_private_groups_cost_their_delta_beside_rho():
    """The delta of a selection is no part of rho; a window has 0.001 less what the conversion takes."""
    house = furnished(settings=BY_RHO | {"noise_mechanism": "Laplace", "delta": 0.0005, "privacy_budget": 100})
    asked = quote(house, **BY_DEST)
    # COUNT(*) and the number of entities, each Laplace noise of epsilon 0.5: rho 0.125 each.
    assert (asked["rho"], asked["rho_delta"], asked["epsilon"]) == (0.25, 0.0005, 1.0)
    assert asked["runs_left"] == 1, "0.0005 of 0.001 is the conversion's"
    assert asked["runs_left_limit"] == {"limit": "privacy_budget", "counts": "delta", "party_name": "agency"}


def test_a_lifetime_limit_goes_on_counting_epsilon():
    house = furnished(settings=BY_RHO | {"lifetime_budget": 2})
    asked = quote(house)
    assert (asked["runs_left"], asked["runs_left_limit"]["limit"]) == (2, "lifetime_budget")
    assert (budget(house)["remaining"], budget(house)["remaining_limit"]) == (2.0, "lifetime_budget")
    assert [run(house)[0] for _ in range(3)] == [200, 200, 402]


def test_noise_for_a_partys_own_numbers_costs_its_rho():
    house = furnished(settings=BY_RHO | {"privacy_budget": 10})
    house("agency", "consumer", "add_noise", cleanroom_name="room", values=[1.0, 2.0], sensitivity=1.0, epsilon=0.5)
    key = BudgetKey(room="room", party="agency")
    assert house.ledger.spending(key, window=0).window_rho.rho_steps == RHO_STEPS // 8


def test_a_window_without_a_budget_holds_no_run_by_rho_either():
    """B-13"""
    house = furnished(settings=BY_RHO | {"privacy_budget": 0})
    assert quote(house)["runs_left"] == 0
    assert run(house)[0] == 402
