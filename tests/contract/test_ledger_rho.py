"""Budgets that count rho (`accounting: "zcdp"`): limits, switches and exactness; on both ledgers."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from cleanroom.errors import BudgetExhaustedError
from cleanroom.privacy.accounting import Price
from cleanroom.privacy.rho import UNKNOWN_RHO, ZERO_RHO, RhoLimit, RhoPrice
from tests.contract.ledgers import KEY, NOON, OTHER_KEY, charge

COSTLY = Price(micro_epsilon=900_000, delta_steps=0)


def rho(rho_steps, delta_steps=0):
    return RhoPrice(rho_steps=rho_steps, delta_steps=delta_steps)


def by_rho(run_id, price, *, limit=(1_000, 10), **changes):
    """Return a charge where rho counts; its epsilon is far beyond what counting epsilon would hold."""
    rho_limit = RhoLimit(rho_steps=limit[0], delta_steps=limit[1])
    return charge(run_id, **{"price": COSTLY, "rho_prices": (price,), "rho_limits": (rho_limit,)} | changes)


def by_epsilon(run_id, rho_price, **changes):
    return charge(run_id, rho_prices=(rho_price,), **changes)


def refused(ledger, given):
    before = ledger.history("flights")
    with pytest.raises(BudgetExhaustedError) as refusal:
        ledger.charge(given)
    assert ledger.run(given.run_id) is None
    assert ledger.history("flights") == before
    return refusal.value


def test_a_window_that_counts_rho_holds_its_limit_to_the_last_step_and_no_epsilon_stops_it(ledger):
    """B-51: four runs of epsilon 0.9 against a budget that would hold one by epsilon."""
    for number, price in enumerate((rho(400), rho(599), rho(0, 10), rho(1))):
        ledger.charge(by_rho(f"run-{number}", price))
    assert ledger.spending(KEY, window=0).window_rho == rho(1_000, 10)
    assert ledger.spending(KEY, window=0).window.micro_epsilon == 3_600_000
    for price in (rho(1), rho(0, 1)):
        refused(ledger, by_rho("run-9", price))
    ledger.charge(by_rho("run-9", ZERO_RHO))


def test_a_refusal_says_what_of_rho_is_asked_spent_and_possible(ledger):
    ledger.charge(by_rho("run-0", rho(400, 3)))
    answer = refused(ledger, by_rho("run-1", rho(601, 3))).as_json()
    assert (answer["price_rho"], answer["spent_rho"], answer["limit_rho"]) == (601e-12, 400e-12, 1_000e-12)
    assert "rho 6.01e-10" in answer["message"]
    assert "epsilon" not in answer["message"]
    answer = refused(ledger, by_rho("run-1", rho(1, 8))).as_json()
    assert (answer["price_delta"], answer["spent_delta"], answer["limit_delta"]) == (8e-12, 3e-12, 10e-12)
    assert "private groups cost delta 8e-12" in answer["message"]
    renewed = refused(ledger, by_rho("run-1", rho(601))).renewed_at("tomorrow")
    assert (renewed.rho.spent_rho_steps, "until tomorrow" in renewed.as_json()["message"]) == (400, True)


def test_both_are_added_up_whatever_counts_so_that_a_switch_within_a_window_gives_nothing_away(ledger):
    """Runs before a switch count in the unit after it, in both directions."""
    ledger.charge(by_epsilon("run-0", rho(700)))
    refused(ledger, by_rho("run-1", rho(301)))
    ledger.charge(by_rho("run-1", rho(300)))
    assert ledger.spending(KEY, window=0).window == Price(micro_epsilon=1_000_000, delta_steps=7)
    error = refused(ledger, by_epsilon("run-2", rho(1), price=Price(micro_epsilon=1, delta_steps=0)))
    assert (error.rho, error.spent_micro_epsilon) == (None, 1_000_000)


def test_what_is_not_known_in_rho_fits_in_no_budget_that_counts_it(ledger):
    error = refused(ledger, by_rho("run-0", UNKNOWN_RHO, limit=(10**15 - 1, 10)))
    assert error.rho.price_rho_steps == 10**15
    ledger.charge(charge("run-0"))
    refused(ledger, by_rho("run-1", rho(0), limit=(10**15 - 1, 10)))


def test_rho_is_renewed_with_the_window_and_unmetered_runs_do_not_count(ledger):
    """B-60."""
    ledger.charge(by_rho("run-0", rho(1_000)))
    refused(ledger, by_rho("run-1", rho(1)))
    ledger.open_window(scheduled_for=NOON + timedelta(days=1), at=NOON + timedelta(days=1))
    ledger.charge(by_rho("run-1", rho(1_000), window=1))
    assert ledger.spending(KEY, window=1).window_rho == rho(1_000)


def test_lifetime_and_room_limits_go_on_counting_epsilon(ledger):
    ledger.charge(by_rho("run-0", rho(1), lifetime_limit=1_000_000))
    error = refused(ledger, by_rho("run-1", rho(1), lifetime_limit=1_000_000))
    assert (error.limit_name, error.spent_micro_epsilon) == ("lifetime_budget", 900_000)


def test_two_budgets_of_one_charge_each_count_their_own_unit_all_or_nothing(ledger):
    both = {"budgets": (KEY, OTHER_KEY), "rho_prices": (rho(600), rho(600))}
    limits = (RhoLimit(rho_steps=1_000, delta_steps=0), None)
    ledger.charge(charge("run-0", **both, rho_limits=limits))
    error = refused(ledger, charge("run-1", **both, rho_limits=limits))
    assert (error.party_name, error.rho.spent_rho_steps) == (KEY.party, 600)
    assert ledger.spending(OTHER_KEY, window=0).window_rho == rho(600)
    ledger.charge(charge("run-1", **both, rho_limits=(None, None)))
    assert ledger.spending(KEY, window=0).window_rho == rho(1_200)


def test_parallel_charges_never_pass_a_limit_of_rho(ledger):
    def attempt(number):
        try:
            ledger.charge(by_rho(f"run-{number}", rho(250)))
        except BudgetExhaustedError:
            return 0
        return 1

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(8))) == 4
    assert ledger.spending(KEY, window=0).window_rho == rho(1_000)


@pytest.mark.parametrize(
    "changes",
    [
        {"rho_prices": (rho(1), rho(1))},
        {"rho_prices": (RhoPrice(rho_steps=10**15 + 1, delta_steps=0),)},
        {"rho_limits": (None, None)},
        {"rho_limits": (RhoLimit(rho_steps=-1, delta_steps=0),)},
        {"rho_limits": (RhoLimit(rho_steps=float("nan"), delta_steps=0),)},
        {"rho_limits": (RhoLimit(rho_steps=1, delta_steps=float("inf")),)},
    ],
)
def test_a_charge_that_no_ledger_could_keep_exactly_is_our_bug(ledger, changes):
    with pytest.raises(ValueError):
        ledger.charge(charge(**changes))
