"""A run from request to release: prices, charges, retries, refusals."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from tests.house import BY_CARRIER, EVENTS, FLIGHTS, furnished


def spent(house, party="agency"):
    budgets = house(party, "consumer", "view_remaining_privacy_budget", cleanroom_name="room")["budgets"]
    return budgets[0]["spent"]


def test_a_grouped_release_has_every_public_key_intervals_price_and_budget():
    """B-52 and B-55: COUNT and AVG cost epsilon 1 each; the release says what is left."""
    release = (house := furnished())("agency", "consumer", "run_analysis", **BY_CARRIER)
    assert [row[0] for row in release["rows"]] == ["AA", "DL", "UA"]
    assert set(release["intervals"]) == {"flights", "delay"}
    for name in ("flights", "delay"):
        place = [c["name"] for c in release["columns"]].index(name)
        for row, (low, high) in zip(release["rows"], release["intervals"][name], strict=True):
            assert low <= row[place] <= high
    assert release["price"]["epsilon"] == 2.0
    assert sum(part["epsilon"] for part in release["price"]["parts"]) == 2.0
    assert release["budgets"][0]["remaining"] == 8.0
    assert spent(house) == 2.0


def test_the_quote_is_the_price_that_is_charged_and_costs_nothing():
    """B-56."""
    house = furnished()
    quote = house("agency", "consumer", "quote_analysis", **BY_CARRIER)
    assert spent(house) == 0
    release = house("agency", "consumer", "run_analysis", **BY_CARRIER)
    assert quote["epsilon"] == release["price"]["epsilon"]
    assert quote["parts"] == release["price"]["parts"]
    assert quote["runs_left"] == 5


def test_the_same_run_id_is_charged_once_and_has_one_noise():
    """B-52: whatever is retried."""
    house = furnished()
    first = house("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="monthly-0001")
    again = house("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="monthly-0001")
    assert again == first
    assert spent(house) == 2.0
    other = house("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="monthly-0002")
    assert other["rows"] != first["rows"]
    assert spent(house) == 4.0


def test_a_run_id_with_another_request_is_refused():
    house = furnished()
    house("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="monthly-0001")
    changed = {**BY_CARRIER, "template_name": "by_dest"}
    status, answer = house.ask("agency", "consumer", "run_analysis", **changed, run_id="monthly-0001")
    assert (status, answer["error"]["code"]) == (409, "run_id_reused")
    assert spent(house) == 2.0


def test_an_exhausted_budget_refuses_before_anything_is_read():
    """B-51: price, spent, limit and the window's end; nothing charged or stored."""
    house = furnished(settings={"differential": 1, "epsilon": 1.0, "privacy_budget": 3})
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    stored = dict(house.releases.files)
    house.objects.read = None  # reading any table would now fail
    status, answer = house.ask("agency", "consumer", "run_analysis", **BY_CARRIER)
    assert (status, answer["error"]["code"]) == (402, "budget_exhausted")
    error = answer["error"]
    assert (error["price_epsilon"], error["spent_epsilon"], error["limit_epsilon"]) == (2.0, 2.0, 3.0)
    assert error["window_ends"] == "2026-01-02 00:00 UTC"
    assert house.releases.files == stored
    assert spent(house) == 2.0


def test_a_budget_of_zero_allows_no_query_while_dp_is_on():
    """B-13."""
    house = furnished(settings={"differential": 1, "privacy_budget": 0})
    assert house.ask("agency", "consumer", "run_analysis", **BY_CARRIER)[0] == 402


def test_private_keys_cost_one_epsilon_more_and_small_groups_stay_hidden():
    """Partition selection is priced; a destination that one plane alone has does not appear."""
    house = furnished()
    rare = pa.table({**{n: [*FLIGHTS[n].to_pylist(), v] for n, v in
                        {"tailnum": "N999ZZ", "carrier": "AA", "dest": "RARE", "dep_delay": 0}.items()}})  # fmt: skip
    rare = rare.set_column(3, "dep_delay", rare["dep_delay"].cast(pa.int32()))
    house.objects.put_table(owner="airline", name="flights", table=rare)
    request = {**BY_CARRIER, "template_name": "by_dest"}
    for _ in range(4):
        release = house("agency", "consumer", "run_analysis", **request)
        assert release["price"]["epsilon"] == 2.0
        assert release["price"]["delta"] > 0
        assert {row[0] for row in release["rows"]} <= {"BOS", "SFO", "ORD", "LAX"}


def test_the_consumers_own_table_is_joined_on_the_entity():
    house = furnished()
    release = house(
        "agency",
        "consumer",
        "run_analysis",
        cleanroom_name="room",
        template_name="by_segment",
        provider_tables=["flights"],
        consumer_tables=["fleet"],
    )
    assert sorted(row[0] for row in release["rows"]) == ["narrow", "wide"]


def test_a_settings_change_overwrites_the_whole_record():
    """B-17: what is left out goes back to its default."""
    house = furnished(settings={"differential": 1, "epsilon": 2.0, "privacy_budget": 50})
    answer = house(
        "airline",
        "provider",
        "set_privacy_settings",
        cleanroom_name="room",
        party_name="agency",
        privacy_settings={"differential": 1},
    )
    settings = answer["privacy_settings"]
    assert (settings["epsilon"], settings["privacy_budget"], settings["noise_mechanism"]) == (0.1, 10, "Laplace")


@pytest.mark.parametrize(
    "record",
    [
        '{"epsilon": NaN}',
        '{"epsilon": -1}',
        '{"epsilon": 0}',
        '{"differential": true}',
        '{"differential": 2}',
        '{"privacy_budget": 1.5}',
        '{"privacy_budget": "10"}',
        '{"noise_mechanism": "Cauchy"}',
        '{"delta": 0.5}',
        '{"unknown": 1}',
    ],
)
def test_wrong_settings_are_refused_and_nothing_is_stored(record):
    """B-18."""
    house = furnished()
    before = house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room")
    body = f'{{"cleanroom_name": "room", "party_name": "agency", "privacy_settings": {record}}}'
    status, answer = house.ask("airline", "provider", "set_privacy_settings", body)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room") == before


def test_a_new_room_has_dp_off_and_no_budget_record():
    """B-10."""
    house = furnished()
    house("airline", "provider", "cleanroom_init", cleanroom_name="empty")
    answer = house("airline", "provider", "add_consumers", cleanroom_name="empty", consumer_names=["agency"])
    assert answer["consumers"][0]["privacy_settings"]["differential"] == 0
    assert answer["consumers"][0]["privacy_settings"]["version"] == 0


def test_adding_a_consumer_again_updates_its_settings_and_never_resets_what_is_spent():
    """B-20."""
    house = furnished()
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    again = {"cleanroom_name": "room", "consumer_names": ["agency"], "privacy_settings": {"differential": 1}}
    house("airline", "provider", "add_consumers", **again)
    assert spent(house) == 2.0
    house("airline", "provider", "remove_consumers", cleanroom_name="room", consumer_names=["agency"])
    house("airline", "provider", "add_consumers", **again)
    house("agency", "consumer", "install_cleanroom", cleanroom_name="room")
    assert spent(house) == 2.0


@pytest.mark.parametrize("damage", ["missing", "empty", "corrupt", "other_schema"])
def test_a_table_that_is_not_what_was_linked_is_refused_and_costs_nothing(damage):
    house = furnished()
    key = "airline/flights/0.parquet"
    if damage == "missing":
        house.objects.delete(key)
    elif damage == "empty":
        house.objects.put(key, b"")
    elif damage == "corrupt":
        house.objects.put(key, b"PAR1" + b"secret" * 100 + b"PAR1")
    else:
        house.objects.put_table(owner="airline", name="flights", table=FLIGHTS.drop_columns(["dep_delay"]))
    status, answer = house.ask("agency", "consumer", "run_analysis", **BY_CARRIER)
    assert (status, answer["error"]["code"]) == (409, "table_unreadable")
    assert "secret" not in json.dumps(answer)
    assert spent(house) == 0
    assert not house.releases.files


def test_a_run_that_was_interrupted_after_its_charge_goes_on_under_the_same_id():
    """A crash between charge and release: the next attempt finishes it, without a second charge."""
    house = furnished()
    working = house.runs.engine.execute
    house.runs.engine.execute = lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="crashed-01")
    assert spent(house) == 2.0
    assert house.get_run("agency", "crashed-01")[1]["state"] == "charged"
    house.runs.engine.execute = working
    assert house("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="crashed-01")["state"] == "released"
    assert spent(house) == 2.0


def test_an_interrupted_run_whose_table_changed_fails_rather_than_mixing_versions():
    house = furnished()
    working = house.runs.engine.execute
    house.runs.engine.execute = lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="crashed-01")
    house.runs.engine.execute = working
    house.objects.put_table(owner="airline", name="flights", table=FLIGHTS.slice(6))
    status, answer = house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="crashed-01")
    assert (status, answer["error"]["code"]) == (409, "run_failed")
    assert spent(house) == 2.0


def test_a_plan_that_was_swapped_after_the_charge_is_not_released():
    """add_noise releases only what was charged."""
    house = furnished()
    put = house.exact.put
    house.exact.put = lambda run_id, payload: put(run_id, payload.replace(b"10", b"99"))
    status, answer = house.ask("agency", "consumer", "run_analysis", **BY_CARRIER)
    assert status in {409, 500}, answer
    assert not house.releases.files


def test_an_asynchronous_run_is_queued_polled_and_charged_when_it_runs():
    house = furnished()
    queued = house("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="later-0001", mode="async")
    assert queued == {"run_id": "later-0001", "state": "queued"}
    assert house.get_run("agency", "later-0001")[1]["state"] == "queued"
    assert spent(house) == 0
    from cleanroom.use_cases.queue import handle_message

    (message,) = house.queue.bodies
    handle_message(message, house.runs)
    handle_message(message, house.runs)
    assert house.get_run("agency", "later-0001")[1]["state"] == "released"
    assert spent(house) == 2.0


def test_a_queued_run_that_is_refused_says_so_to_its_party():
    house = furnished(settings={"differential": 1, "epsilon": 1.0, "privacy_budget": 3})
    house("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="later-0001", mode="async")
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    from cleanroom.use_cases.queue import handle_message

    handle_message(house.queue.bodies[0], house.runs)
    _, answer = house.get_run("agency", "later-0001")
    assert (answer["state"], answer["error"]["code"]) == ("refused", "budget_exhausted")
    assert house.get_run("broker", "later-0001")[0] == 404


def test_a_request_dropped_into_the_inbox_is_run_once_and_its_release_stored():
    house = furnished()
    event = json.loads((EVENTS / "sqs_dropped_request.json").read_text(encoding="utf-8"))
    message = event["Records"][0]["body"]
    version = json.loads(message)["Records"][0]["s3"]["object"]["versionId"]
    house.inbox.drop(key="agency/runs/monthly report.json", version_id=version, content=json.dumps(BY_CARRIER).encode())
    from cleanroom.use_cases.queue import handle_message

    handle_message(message, house.runs)
    handle_message(message, house.runs)
    assert {name for _, _, name in house.releases.files} == {"release.json", "release.csv"}
    assert spent(house) == 2.0


def test_a_dropped_request_that_is_refused_leaves_its_refusal_beside_where_the_release_would_be():
    house = furnished()
    from cleanroom.use_cases.inbox import run_dropped_request

    house.inbox.drop(key="agency/runs/a.json", version_id="1", content=b'{"cleanroom_name": "room", "oops": 1}')
    run_dropped_request(key="agency/runs/a.json", version_id="1", services=house.runs)
    ((party, _, name),) = house.releases.files
    assert (party, name) == ("agency", "refusal.json")
    assert json.loads(next(iter(house.releases.files.values())))["error"]["code"] == "invalid_request"
    assert spent(house) == 0


def test_direct_noise_is_charged_once_and_repeats_itself_under_one_id():
    house = furnished()
    event = json.loads((EVENTS / "http_add_noise.json").read_text(encoding="utf-8"))
    event["body"] = event["body"].replace("new_york_2013", "room")
    status, first = house.answer(event)
    assert status == 200
    assert house.answer(event) == (200, first)
    assert spent(house) == 0.5
    assert all(abs(noisy - exact) < 100 for noisy, exact in zip(first["values"], [120.0, 340.5], strict=True))
    assert first["values"] != [120.0, 340.5]


@pytest.mark.parametrize(
    "changed",
    [
        {"values": [1e300]},
        {"sensitivity": 0},
        {"sensitivity": 5e-324},
        {"sensitivity": 1e300},
        {"epsilon": -1},
        {"epsilon": 1e-12},
        {"epsilon": 1e12},
        {"delta": 1e-200, "gaussian": True},
        {"values": []},
    ],
)
def test_direct_noise_refuses_what_has_no_private_meaning(changed):
    house = furnished()
    asked = {"cleanroom_name": "room", "values": [1.0], "sensitivity": 1.0, "epsilon": 0.5, **changed}
    status, answer = house.ask("agency", "consumer", "add_noise", **asked)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert spent(house) == 0


def test_every_step_is_logged_and_an_unmetered_run_is_counted():
    """Style rule 9: run, room, template, price, outcome; the metric is the one that the alarm watches."""
    house = furnished()
    house("airline", "provider", "suspend_account_dp_task")
    house("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="logged-01")
    assert [step for step, _ in house.telemetry.steps] == ["charged", "executed", "released"]
    charged = house.telemetry.steps[0][1]
    assert (charged["run_id"], charged["micro_epsilon"], charged["unmetered"]) == ("agency.logged-01", 2_000_000, True)
    assert house.telemetry.counts == ["UnmeteredRuns"]
    template = (EVENTS.parent / "template.yaml").read_text(encoding="utf-8")
    assert "MetricName: UnmeteredRuns" in template


def test_running_times_are_rounded_up_to_a_public_step():
    """privacy.md §8: synchronous answers come after a whole number of steps, also refusals after the charge."""
    from cleanroom.adapters.memory import FixedClock
    from cleanroom.adapters.pace import SteppedPace

    clock = FixedClock(furnished().clock.now())
    pace = SteppedPace(step_seconds=0.25, clock=clock, sleep=lambda seconds: clock.advance(seconds=seconds))
    for worked, waited in ((0.1, 0.25), (0.25, 0.25), (0.3, 0.5)):
        began = clock.now()
        clock.advance(seconds=worked)
        pace.hold(began)
        assert (clock.now() - began).total_seconds() == pytest.approx(waited)


def test_a_caller_cannot_ask_by_failures_for_ever():
    """A run that exhausts the engine for one entity only is an answer for which no noise was paid: 20 in a window."""
    from cleanroom.errors import RunFailedError

    house = furnished(settings={"differential": 1, "epsilon": 0.0001, "privacy_budget": 10})
    working = house.runs.engine.execute

    def exhausted(*_arguments, **_keywords):
        raise RunFailedError("the run could not be computed")

    house.runs.engine.execute = exhausted
    codes = [house.ask("agency", "consumer", "run_analysis", **BY_CARRIER)[1]["error"]["code"] for _ in range(22)]
    assert codes == ["run_failed"] * 20 + ["too_many_unfinished_runs"] * 2
    house.runs.engine.execute = working
    assert house.ask("agency", "consumer", "run_analysis", **BY_CARRIER)[0] == 402


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("sensitivity", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize("epsilon", [1e-6, 1e6])
def test_direct_noise_can_be_drawn_at_the_ends_of_what_it_takes(gaussian, sensitivity, epsilon):
    """What is charged is released."""
    house = furnished(settings={"differential": 1, "privacy_budget": 10**7})
    asked = {"cleanroom_name": "room", "values": [0.0], "sensitivity": sensitivity, "epsilon": epsilon}
    answer = house("agency", "consumer", "add_noise", **asked, gaussian=gaussian, delta=1e-30)
    assert answer["state"] == "released"
    assert spent(house) == epsilon
