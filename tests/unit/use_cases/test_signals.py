"""Refusals, alike queries and fast spending are counted and signalled, and never in the way of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from cleanroom.errors import BusyError, RunFailedError
from cleanroom.rooms.anomalies import Thresholds
from cleanroom.rooms.ledger import BudgetKey
from cleanroom.use_cases.dp_task import handle_schedule
from tests.house import BY_CARRIER, furnished

AGENCY = BudgetKey(room="room", party="agency")
LOW = Thresholds(refusals_per_hour=3, alike_queries=3, hourly_share=Fraction(1, 2))


def watched(**settings):
    house = furnished(settings={"differential": 1, "epsilon": 0.1, "privacy_budget": 10} | settings)
    house.runs, house.noises = replace(house.runs, thresholds=LOW), replace(house.noises, thresholds=LOW)
    return house


def refusals(house):
    return {one.budget.party: one.refusals for one in house.audit.active(0)}


def total(house, carrier):
    return house.ask("agency", "consumer", "run_analysis", cleanroom_name="room", template_name="total",
                     provider_tables=["flights"], arguments={"carrier": carrier})[0]  # fmt: skip


def test_refused_requests_to_run_are_counted_for_their_party_and_stated():
    house = watched(privacy_budget=0)
    assert house.ask("agency", "consumer", "run_analysis", **BY_CARRIER)[0] == 402
    assert house.ask("agency", "consumer", "run_analysis", **{**BY_CARRIER, "template_name": "none"})[0] == 404
    assert house.ask("broker", "consumer", "run_analysis", **BY_CARRIER)[0] == 409
    noise = {"cleanroom_name": "room", "values": [1], "epsilon": 1, "sensitivity": 1}
    assert house.ask("agency", "consumer", "add_noise", **noise)[0] == 402
    assert refusals(house) == {"agency": 3, "broker": 1}
    event = {"task": "open_window", "scheduled_time": house.clock.now().isoformat()}
    handle_schedule(event, house.tasks)
    rows = json.loads(house.statements.statements["room", 0])["budgets"]
    assert [(row["party_name"], row["refusals"], row["runs"]) for row in rows] == [("agency", 3, 0), ("broker", 1, 0)]
    assert all(row["verified"] for row in rows)


def test_an_outsider_is_counted_nowhere():
    """B-73: nobody writes into a statement of a room that it has no part in, nor makes items for rooms that are not."""
    house = watched()
    assert house.ask("stranger", "consumer", "run_analysis", **BY_CARRIER)[0] == 404
    assert house.ask("agency", "consumer", "run_analysis", **{**BY_CARRIER, "cleanroom_name": "none"})[0] == 404
    assert refusals(house) == {}


def test_a_burst_of_refusals_is_a_signal_and_as_many_over_a_day_are_not():
    house = watched(privacy_budget=0)
    for _ in range(4):
        house.ask("agency", "consumer", "run_analysis", **BY_CARRIER)
        house.clock.advance(seconds=3600)
    assert "RefusalBursts" not in house.telemetry.counts
    for _ in range(4):
        house.ask("agency", "consumer", "run_analysis", **BY_CARRIER)
    assert house.telemetry.counts.count("RefusalBursts") == 2


def test_queries_that_differ_in_one_literal_are_a_signal():
    house = watched()
    assert [total(house, carrier) for carrier in ("AA", "UA", "AA", "UA")] == [200] * 4
    assert "SimilarQueries" not in house.telemetry.counts, "the same two again are not more"
    assert total(house, "DL") == 200
    assert house.telemetry.counts.count("SimilarQueries") == 1
    (facts,) = [facts for step, facts in house.telemetry.steps if step == "signal"]
    assert facts == {"signal": "SimilarQueries", "room": "room", "party": "agency", "counted": 3}


def test_spending_most_of_a_budget_within_an_hour_is_a_signal_and_over_a_day_it_is_not():
    house = watched(epsilon=1.0, privacy_budget=8)
    for _ in range(3):
        house("agency", "consumer", "run_analysis", **BY_CARRIER)
        house.clock.advance(seconds=3600)
    assert "FastSpending" not in house.telemetry.counts
    house = watched(epsilon=1.0, privacy_budget=8)
    for _ in range(3):
        house("agency", "consumer", "run_analysis", **BY_CARRIER)
    assert house.telemetry.counts.count("FastSpending") == 1


@pytest.mark.parametrize(
    ("reason", "metric"),
    [("out_of_time", "EngineTimeouts"), ("OutOfMemoryException", "EngineOutOfMemory"), ("columns", "EngineErrors")],
)
def test_failures_of_the_engine_are_counted_by_kind_and_the_caller_is_not_told_which(reason, metric):
    house = watched()

    class Failing:
        def execute(self, *_, **__):
            raise RunFailedError("could not be computed", reason=reason)

    house.runs = replace(house.runs, engine=Failing())
    status, answer = house.ask("agency", "consumer", "run_analysis", **BY_CARRIER)
    assert status == 409
    assert reason not in json.dumps(answer)
    assert house.telemetry.counts.count(metric) == 1
    assert refusals(house)["agency"] == 0, "whether a run fails can depend on rows; refusals never do"


def test_a_ledger_too_busy_to_count_stops_no_run():
    house = watched()

    class Busy:
        def __getattr__(self, name):
            raise BusyError("the ledger is busy")

    house.runs = replace(house.runs, signals=Busy())
    assert house.ask("agency", "consumer", "run_analysis", **BY_CARRIER)[0] == 200
    assert house.ask("agency", "consumer", "run_analysis", **{**BY_CARRIER, "template_name": "none"})[0] == 404
    assert house.telemetry.counts.count("SignalsLost") == 2
