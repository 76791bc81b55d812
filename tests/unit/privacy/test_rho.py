"""Rho in integers: prices and limits are rounded the safe way, and another library's accountant agrees with them."""

import math
from fractions import Fraction

import pytest

from cleanroom.privacy.accounting import DELTA_STEPS, WINDOW_DELTA_STEPS, price_of
from cleanroom.privacy.calibration import gaussian_noise, gaussian_rho, laplace_noise
from cleanroom.privacy.rho import MOST_RHO_STEPS, RHO_STEPS, RhoLimit, RhoPrice, rho_limit, rho_price
from tests.unit.privacy.runs_by_accounting import CASES, DELTA, loss_of_runs, runs_of

MILLIONTH = Fraction(1, 10**6)


def test_laplace_costs_half_the_square_of_its_epsilon_and_gaussian_its_rho():
    laplace = laplace_noise(l1_sensitivity=1024, epsilon=Fraction(1, 10))
    assert rho_price([(laplace, 1024)]) == RhoPrice(rho_steps=RHO_STEPS // 200, delta_steps=0)
    rho = gaussian_rho(epsilon=Fraction(1), delta=MILLIONTH)
    gaussian = gaussian_noise(l2_squared=77, rho=rho)
    assert rho_price([(gaussian, 77)]).rho_steps == math.ceil(rho * RHO_STEPS)
    both = rho_price([(laplace, 1024), (gaussian, 77)], selection_deltas=[MILLIONTH, MILLIONTH])
    assert both == RhoPrice(rho_steps=math.ceil(rho * RHO_STEPS + RHO_STEPS // 200), delta_steps=2_000_000)


@pytest.mark.parametrize("epsilon", [Fraction(1, 10), Fraction(1), Fraction(3)])
def test_half_the_square_of_epsilon_bounds_every_renyi_divergence_of_laplace_noise(epsilon):
    """Exactly summed on the integers; at most alpha * rho, and close to it where alpha is small."""
    scale = float(1 / laplace_noise(l1_sensitivity=1, epsilon=epsilon).scale)
    weights = {x: math.exp(-abs(x) * scale) for x in range(-2_000, 2_001)}
    whole = sum(weights.values())
    rho = rho_price([(laplace_noise(l1_sensitivity=1, epsilon=epsilon), 1)]).rho_steps / RHO_STEPS
    for alpha in (1.01, 1.5, 2.0, 5.0, 20.0, 100.0):
        powers = sum(math.exp(-scale * (alpha * abs(x) + (1 - alpha) * abs(x - 1))) for x in weights)
        assert math.log(powers / whole) / (alpha - 1) <= alpha * rho


def test_prices_are_rounded_up_and_what_is_too_large_is_as_if_it_were_not_known():
    assert rho_price([(laplace_noise(l1_sensitivity=1, epsilon=Fraction(1, 10**6)), 1)]).rho_steps == 1
    assert rho_price([(laplace_noise(l1_sensitivity=1, epsilon=Fraction(10**6)), 1)]).rho_steps == MOST_RHO_STEPS
    assert rho_price([(laplace_noise(l1_sensitivity=1, epsilon=Fraction(44)), 1)]).rho_steps == 968 * RHO_STEPS
    assert rho_price([], selection_deltas=[Fraction(1, 3 * 10**12)]) == RhoPrice(rho_steps=0, delta_steps=1)


def test_a_limit_is_rounded_down_and_leaves_the_rest_of_delta_to_private_groups():
    for epsilon in (1, 10, 700):
        limit, rho = (
            rho_limit(epsilon=epsilon, delta=MILLIONTH),
            gaussian_rho(epsilon=Fraction(epsilon), delta=MILLIONTH),
        )
        assert 0 <= rho - Fraction(limit.rho_steps, RHO_STEPS) < Fraction(1, RHO_STEPS)
        assert limit.delta_steps == WINDOW_DELTA_STEPS - DELTA_STEPS // 10**6
    assert rho_limit(epsilon=0, delta=MILLIONTH) == RhoLimit(rho_steps=0, delta_steps=0)
    assert rho_limit(epsilon=10**9, delta=MILLIONTH).rho_steps == MOST_RHO_STEPS - 1
    assert rho_limit(epsilon=1, delta=Fraction(1, 1000)).delta_steps == 0
    assert rho_limit(epsilon=1, delta=Fraction(1, 10**30)).delta_steps == WINDOW_DELTA_STEPS - 1


@pytest.mark.parametrize("part", ["epsilon", "delta"])
def test_a_limit_of_what_is_out_of_range_is_our_bug(part):
    wrong = {"epsilon": -1} if part == "epsilon" else {"delta": Fraction(2, 1000)}
    with pytest.raises(ValueError):
        rho_limit(**{"epsilon": 1, "delta": MILLIONTH} | wrong)
    with pytest.raises(ValueError):
        RhoPrice(rho_steps=float("nan"), delta_steps=0)


@pytest.mark.parametrize("case", CASES)
def test_as_many_gaussian_runs_as_rho_holds_are_within_the_promise_by_an_exact_accountant(case):
    """dp-accounting's privacy loss distributions as the oracle: the sum of what is allowed, and its first excess."""
    budget, epsilon = case
    runs = runs_of(budget, epsilon)
    rho = gaussian_rho(epsilon=epsilon, delta=DELTA)
    assert loss_of_runs(rho, runs.by_rho).get_delta_for_epsilon(float(budget)) <= DELTA
    # Not by chance: at the count that the oracle allows it is still within, and one run later it is not.
    assert loss_of_runs(rho, runs.by_oracle).get_delta_for_epsilon(float(budget)) <= DELTA
    assert loss_of_runs(rho, runs.by_oracle + 1).get_delta_for_epsilon(float(budget)) > DELTA
    # The conversion gives away about a tenth: at 1.05 times the limit the promise would still hold.
    assert 0.85 <= runs.by_rho / runs.by_oracle <= 0.95
    assert loss_of_runs(rho, math.ceil(1.25 * runs.by_rho)).get_delta_for_epsilon(float(budget)) > DELTA


def test_counting_epsilon_is_what_the_ledger_does():
    runs, price = runs_of(10, Fraction(1, 10)), price_of(epsilon=Fraction(1, 10), delta=DELTA)
    assert runs.by_epsilon * price.micro_epsilon == 10_000_000
    assert (runs.by_epsilon, runs.by_rho) == (100, 4794)
