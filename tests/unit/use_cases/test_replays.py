"""Free replay: the same question over the same data is answered again from the stored release, for nothing (B-50)."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pytest

from cleanroom.rooms.replays import NewRun, Question
from cleanroom.verify_receipt import verified_receipt
from tests.house import BY_CARRIER, FLIGHTS, POLICIES, TEMPLATES, furnished

ON = {"differential": 1, "epsilon": 1.0, "privacy_budget": 10}


def run(house, party="agency", **changed):
    """Run as a caller does who says nothing of replays."""
    return house(party, "consumer", "run_analysis", **{**BY_CARRIER, "replay": "allow", **changed})


def spent(house, party="agency"):
    budget = house(party, "consumer", "view_remaining_privacy_budget", cleanroom_name="room")["budgets"][0]
    return budget["spent"], budget["lifetime_epsilon"]


def add(house, name, text):
    house("airline", "provider", "add_custom_sql_template", cleanroom_name="room", template_name=name, template=text)


def unreadable(house):
    """Take away the engine, entropy and the tables' rows: what answers now reads nothing and draws nothing."""

    class Nothing:
        def __getattr__(self, name):
            raise AssertionError(f"a replay used {name}")

    house.runs = replace(house.runs, engine=Nothing(), exact=Nothing())
    house.noises = replace(house.noises, entropy=Nothing())


def test_the_same_question_is_answered_again_for_nothing_under_a_new_run_id():
    """B-50: the same numbers and intervals, price 0, no data read, no noise drawn; both runs are in the history."""
    house = furnished()
    first = run(house, run_id="paid-for-once")
    unreadable(house)
    again = run(house, run_id="asked-again-1")
    assert (again["rows"], again["intervals"]) == (first["rows"], first["intervals"])
    assert again["price"] == {"epsilon": 0.0, "delta": 0.0, "rho": 0.0, "rho_delta": 0.0, "parts": []}
    assert (again["run_id"], again["replayed_from"]) == ("asked-again-1", "paid-for-once")
    assert any("paid for before" in note for note in again["notes"])
    assert spent(house) == (2.0, 2.0)
    assert house.get_run("agency", "asked-again-1") == (200, again)
    (line,) = [line for line in house.ledger.entries("room") if line.kind == "replay"]
    assert line.run_id == "agency.asked-again-1"
    assert json.loads(line.body)["replay_of"] == "agency.paid-for-once"
    assert (
        house.releases.files["agency", "asked-again-1", "release.csv"]
        == (house.releases.files["agency", "paid-for-once", "release.csv"])
    )


def test_a_replay_has_a_receipt_of_its_own_that_names_the_first():
    house = furnished()
    first = run(house, run_id="paid-for-once")
    again = run(house, run_id="asked-again-1")
    pem = house("agency", "consumer", "view_receipt_key")["pem"].encode()
    receipt = verified_receipt(house.releases.files["agency", "asked-again-1", "release.json"], [pem])
    assert receipt["replayed_from"]["run_id"] == "paid-for-once"
    assert receipt["replayed_from"]["price"] == first["receipt"]["price"]
    free = {"rho_steps": 0, "delta_steps": 0}
    assert receipt["price"] == {"micro_epsilon": 0, "delta_steps": 0, "rho": free, "parts": []}
    (budget,) = receipt["budgets"]
    assert budget["spent_before"] == budget["spent_after"] == {"micro_epsilon": 2_000_000, "delta_steps": 0}
    for same in ("measurements", "intervals", "table_versions", "question_digest", "plan_digest"):
        assert receipt[same] == first["receipt"][same], same
    assert again["receipt"] == receipt


def test_a_replay_is_free_when_the_budget_is_exhausted_and_fresh_noise_is_not():
    house = furnished(settings={**ON, "privacy_budget": 2})
    first = run(house)
    assert run(house)["rows"] == first["rows"]
    status, answer = house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, replay="never")
    assert (status, answer["error"]["code"]) == (402, "budget_exhausted")


def test_fresh_noise_can_be_paid_for_and_is_what_is_given_again_from_then_on():
    house = furnished()
    first = run(house)
    house.clock.advance(seconds=1)
    fresh = run(house, replay="never")
    assert fresh["rows"] != first["rows"]
    assert spent(house) == (4.0, 4.0)
    assert run(house)["rows"] == fresh["rows"]
    assert spent(house) == (4.0, 4.0)


@pytest.mark.parametrize(
    "text",
    [
        TEMPLATES["by_carrier"].replace("COUNT(*)", "\n\tcount( * ) -- as before\n").replace("FROM", "from"),
        TEMPLATES["by_carrier"].replace("AS flights", "AS {{ 'flights' | sqlsafe }} {# a comment #}"),
    ],
)
def test_another_text_with_the_same_plan_is_the_same_question(text):
    """B-50: what is compared is what is computed, not how it is written."""
    house = furnished()
    first = run(house)
    add(house, "another", text)
    again = run(house, template_name="another")
    assert again["rows"] == first["rows"]
    assert again["template_name"] == "another"
    assert again["receipt"]["template_digest"] != first["receipt"]["template_digest"]
    assert spent(house)[0] == 2.0


@pytest.mark.parametrize(
    "text",
    [
        TEMPLATES["by_carrier"].replace("COUNT(*)", "COUNT(p.dep_delay)"),
        TEMPLATES["by_carrier"].replace("AS flights", "AS departures"),
        TEMPLATES["by_carrier"].replace("GROUP BY", "WHERE p.dest <> 'BOS' GROUP BY"),
        TEMPLATES["by_carrier"] + " DESC",
        TEMPLATES["by_carrier"].replace(", AVG(p.dep_delay) AS delay", ""),
    ],
)
def test_another_question_is_paid_for_even_where_it_asks_for_a_count_again(text):
    """A count that another query had is not silently reused."""
    house = furnished()
    run(house)
    before = spent(house)[0]
    add(house, "another", text)
    assert run(house, template_name="another")["price"]["epsilon"] > 0
    assert spent(house)[0] > before


def test_arguments_belong_to_the_question():
    house = furnished()
    asked = {"template_name": "total", "arguments": {"carrier": "AA"}}
    first = run(house, **asked)
    assert run(house, **asked)["rows"] == first["rows"]
    assert run(house, template_name="total", arguments={"carrier": "UA"})["price"]["epsilon"] == 1.0
    assert spent(house)[0] == 2.0


def test_a_changed_table_gives_fresh_noise_at_full_price():
    """B-50; and going back to the first version does not bring its release back: the last answer is remembered."""
    house = furnished()
    first = run(house)
    house.objects.put_table(owner="airline", name="flights", table=FLIGHTS.slice(0, 1100))
    house.clock.advance(seconds=1)
    second = run(house)
    assert second["price"]["epsilon"] == 2.0
    assert second["rows"] != first["rows"]
    assert run(house)["rows"] == second["rows"]
    assert spent(house)[0] == 4.0


def test_the_same_bytes_written_again_are_another_version_with_independent_noise():
    house = furnished()
    first = run(house)
    house.objects.put_table(owner="airline", name="flights", table=FLIGHTS)
    assert run(house)["rows"] != first["rows"]
    assert spent(house)[0] == 4.0


@pytest.mark.parametrize(
    "settings",
    [{**ON, "epsilon": 0.5}, {**ON, "noise_mechanism": "Gaussian"}, {**ON, "threshold": 1, "threshold_value": 400}],
)
def test_settings_that_change_the_noise_make_another_question(settings):
    house = furnished()
    asked = {"template_name": "by_dest"}
    first = run(house, **asked)
    house("airline", "provider", "set_privacy_settings", cleanroom_name="room", party_name="agency",
          privacy_settings=settings)  # fmt: skip
    fresh = run(house, **asked)
    assert fresh["price"]["epsilon"] > 0
    assert "replayed_from" not in fresh
    assert fresh["rows"] != first["rows"]


def test_a_larger_budget_is_no_other_question():
    house = furnished()
    first = run(house)
    house("airline", "provider", "set_privacy_settings", cleanroom_name="room", party_name="agency",
          privacy_settings={**ON, "privacy_budget": 20})  # fmt: skip
    again = run(house)
    assert again["rows"] == first["rows"]
    (budget,) = again["receipt"]["budgets"]
    assert (budget["limit_micro_epsilon"], budget["settings_version"]) == (20_000_000, 2)


def test_a_budget_of_zero_allows_no_replay_either():
    """B-13: no query at all while DP is on."""
    house = furnished()
    run(house)
    house("airline", "provider", "set_privacy_settings", cleanroom_name="room", party_name="agency",
          privacy_settings={**ON, "privacy_budget": 0})  # fmt: skip
    assert house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, replay="allow")[0] == 402
    assert house("agency", "consumer", "quote_analysis", **BY_CARRIER)["replay"] is None


@pytest.mark.parametrize("policy", [{"max_rows": 5}, {"bounds": {"dep_delay": [-30, 181]}}, {"min_entities": 3}])
def test_what_the_owner_declares_belongs_to_the_question(policy):
    house = furnished()
    run(house)
    changed = {"flights": {**POLICIES["flights"], **policy}}
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["flights"], policies=changed)
    assert run(house)["price"]["epsilon"] >= 2.0


def test_linking_a_table_again_unchanged_changes_no_question():
    house = furnished()
    first = run(house)
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["flights"], policies=POLICIES)
    assert run(house)["rows"] == first["rows"]
    assert spent(house)[0] == 2.0


def test_another_party_pays_for_its_own_noise():
    """Neighbours in the house: neither the release nor that there is one reaches another party."""
    house = furnished()
    house("broker", "consumer", "install_cleanroom", cleanroom_name="room")
    first = run(house)
    quote = house("broker", "consumer", "quote_analysis", **BY_CARRIER)
    assert (quote["epsilon"], quote["replay"]) == (2.0, None)
    other = run(house, "broker")
    assert other["price"]["epsilon"] == 2.0
    assert other["rows"] != first["rows"]
    assert spent(house, "broker")[0] == 2.0


def test_another_room_is_another_question():
    house = furnished()
    run(house)
    house("airline", "provider", "cleanroom_init", cleanroom_name="second")
    house("airline", "provider", "link_datasets", cleanroom_name="second", tables=["flights"], policies=POLICIES)
    house("airline", "provider", "add_custom_sql_template", cleanroom_name="second", template_name="by_carrier",
          template=TEMPLATES["by_carrier"])  # fmt: skip
    house("airline", "provider", "add_consumers", cleanroom_name="second", consumer_names=["agency"],
          privacy_settings=ON)  # fmt: skip
    house("agency", "consumer", "install_cleanroom", cleanroom_name="second")
    assert run(house, cleanroom_name="second")["price"]["epsilon"] == 2.0


@pytest.mark.parametrize("field", ["room", "party", "table_versions"])
def test_add_noise_checks_for_itself_whose_question_it_is(field):
    """The door out trusts the ledger: a question that names another party, room or version is not answered."""
    house = furnished()
    run(house, run_id="paid-for-once")
    stored = house.ledger.run("agency.paid-for-once")
    digest = json.loads(house.releases.files["agency", "paid-for-once", "release.json"])["receipt"]["question_digest"]
    question = Question(digest=digest, room="room", party="agency", table_versions=stored.table_versions)
    assert house.noise.find_answer(question) is not None
    other = {"room": "second", "party": "broker", "table_versions": (("airline.flights", "other"),)}[field]
    asked = replace(question, **{field: other})
    new = NewRun(
        run_id=f"{asked.party}.stolen-run-1",
        request_digest="r",
        plan_digest="p",
        template="by_carrier",
        template_digest="t",
        query="q",
        window=0,
        settings_versions=(1,),
        limit_micro_epsilon=(1,),
    )
    assert house.noise.find_answer(asked) is None
    assert house.noise.replay(asked, run=new) is None
    assert house.ledger.run(new.run_id) is None


def test_what_is_refused_today_is_not_replayed():
    """The template, its tables and its policies are compiled and checked again before any answer is looked for."""
    house = furnished()
    run(house)
    house("airline", "provider", "clear_template", cleanroom_name="room", template_name="by_carrier")
    assert house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, replay="allow")[0] == 404
    add(house, "by_carrier", TEMPLATES["by_carrier"])
    assert run(house)["price"]["epsilon"] == 0
    house("airline", "provider", "unlink_datasets", cleanroom_name="room", tables=["flights"])
    assert house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, replay="allow")[0] == 404
    house("airline", "provider", "remove_consumers", cleanroom_name="room", consumer_names=["agency"])
    assert house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, replay="allow")[0] == 404


def test_a_stored_release_that_is_gone_is_not_promised_and_the_run_is_paid_for():
    """After results expired: the quote says the full price, `only` refuses, and fresh noise is drawn."""
    house = furnished()
    first = run(house, run_id="paid-for-once")
    del house.releases.files["agency", "paid-for-once", "release.json"]
    house.releases.drawn.clear()
    quote = house("agency", "consumer", "quote_analysis", **BY_CARRIER)
    assert (quote["epsilon"], quote["replay"]) == (2.0, None)
    status, answer = house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, replay="only")
    assert (status, answer["error"]["code"]) == (409, "no_stored_answer")
    assert spent(house)[0] == 2.0
    fresh = run(house)
    assert fresh["rows"] != first["rows"]
    assert spent(house)[0] == 4.0


def test_a_stored_release_that_was_changed_is_not_given_again():
    house = furnished()
    run(house, run_id="paid-for-once")
    key = ("agency", "paid-for-once", "release.json")
    house.releases.files[key] = house.releases.files[key].replace(b'"AA"', b'"ZZ"')
    assert run(house)["price"]["epsilon"] == 2.0


def test_only_asks_for_a_stored_release_and_never_pays():
    house = furnished()
    status, answer = house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, replay="only")
    assert (status, answer["error"]["code"]) == (409, "no_stored_answer")
    assert spent(house) == (0, 0)
    first = run(house)
    assert run(house, replay="only")["rows"] == first["rows"]


def test_the_quote_is_zero_says_why_and_what_fresh_noise_would_cost():
    """B-56: and it is what the run then costs."""
    house = furnished()
    quote = house("agency", "consumer", "quote_analysis", **BY_CARRIER)
    assert (quote["epsilon"], quote["replay"]) == (2.0, None)
    run(house, run_id="paid-for-once")
    quote = house("agency", "consumer", "quote_analysis", **BY_CARRIER)
    assert (quote["epsilon"], quote["delta"]) == (0.0, 0.0)
    assert quote["replay"]["run_id"] == "paid-for-once"
    assert quote["replay"]["fresh_epsilon"] == 2.0
    assert "paid for before" in quote["replay"]["why"]
    assert run(house)["price"]["epsilon"] == quote["epsilon"]
    assert len([line for line in house.ledger.entries("room") if line.kind == "replay"]) == 1


def test_a_run_that_is_not_released_answers_nothing():
    """Failed, or executed and stuck: a second run id pays, and gets noise of its own."""
    house = furnished()
    release = house.noise.release
    house.noise.release = lambda run_id: b"{}"
    run(house, run_id="never-finished")
    assert house.ledger.run("agency.never-finished").state == "executed"
    house.noise.release = release
    assert run(house)["price"]["epsilon"] == 2.0
    assert spent(house)[0] == 4.0


def test_a_replay_that_crashed_is_finished_by_the_next_attempt():
    """The run is kept before its release is made: a retry of its id, or a GET, gives the same answer for nothing."""
    house = furnished()
    first = run(house)
    put = house.releases.put_if_absent

    def lost(**_):
        raise RuntimeError("the function was killed")

    house.releases.put_if_absent = lost
    assert (
        house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="killed-replay", replay="allow")[0] == 500
    )
    house.releases.put_if_absent = put
    assert house.ledger.run("agency.killed-replay").state == "executed"
    house.objects.put_table(owner="airline", name="flights", table=FLIGHTS.slice(0, 600))
    again = run(house, run_id="killed-replay")
    assert again["rows"] == first["rows"]
    assert house.get_run("agency", "killed-replay")[1]["rows"] == first["rows"]
    assert spent(house)[0] == 2.0


def test_a_replay_whose_release_vanished_half_way_fails_and_costs_nothing():
    house = furnished()
    run(house, run_id="paid-for-once")
    put = house.releases.put_if_absent

    def lost(**_):
        raise RuntimeError("the function was killed")

    house.releases.put_if_absent = lost
    assert (
        house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="killed-replay", replay="allow")[0] == 500
    )
    house.releases.put_if_absent = put
    del house.releases.files["agency", "paid-for-once", "release.json"]
    status, answer = house.ask(
        "agency", "consumer", "run_analysis", **BY_CARRIER, run_id="killed-replay", replay="allow"
    )
    assert (status, answer["error"]["code"]) == (409, "run_failed")
    assert house.ledger.run("agency.killed-replay").state == "failed"
    assert spent(house)[0] == 2.0


def test_a_repeated_replay_with_the_same_run_id_is_the_same_and_another_request_is_refused():
    house = furnished()
    run(house)
    again = run(house, run_id="asked-again-1")
    assert run(house, run_id="asked-again-1") == again
    status, answer = house.ask(
        "agency",
        "consumer",
        "run_analysis",
        **{**BY_CARRIER, "template_name": "by_dest", "replay": "allow"},
        run_id="asked-again-1",
    )
    assert (status, answer["error"]["code"]) == (409, "run_id_reused")


def test_an_unmetered_run_is_replayed_after_budgets_are_enforced_again_and_stays_marked():
    """It was released: giving it again tells nothing new. The mark says how it came to be."""
    house = furnished()
    house("airline", "provider", "suspend_account_dp_task")
    first = run(house)
    house("airline", "provider", "resume_account_dp_task")
    again = run(house)
    assert again["rows"] == first["rows"]
    assert (first["unmetered"], again["unmetered"]) == (True, True)
    assert spent(house) == (0.0, 2.0)
    assert house.telemetry.counts.count("UnmeteredRuns") == 1


def test_a_metered_run_is_replayed_while_the_task_is_suspended_and_is_not_marked():
    """B-60 marks runs whose price met no limit; this one has none."""
    house = furnished()
    first = run(house)
    house("airline", "provider", "suspend_account_dp_task")
    again = run(house)
    assert (again["rows"], again["unmetered"]) == (first["rows"], False)
    assert house.telemetry.counts.count("UnmeteredRuns") == 0


def test_a_replay_of_a_replay_names_the_run_that_paid():
    house = furnished()
    run(house, run_id="paid-for-once")
    for number in range(3):
        assert run(house, run_id=f"asked-again-{number}")["replayed_from"] == "paid-for-once"


def test_replays_do_not_count_as_runs_without_a_release():
    """The limit of 20 is on priced runs only."""
    house = furnished()
    run(house)
    for number in range(25):
        assert run(house, run_id=f"asked-again-{number}")["price"]["epsilon"] == 0
    assert run(house, replay="never")["price"]["epsilon"] == 2.0


def test_the_providers_runs_are_replayed_to_the_provider_alone():
    house = furnished()
    fleet = pa.table({"tailnum": [f"N{n}" for n in range(100, 300)], "segment": ["wide", "narrow"] * 100})
    house.objects.put_table(owner="agency", name="fleet", table=fleet)
    house("agency", "consumer", "link_datasets", cleanroom_name="room", tables=["fleet"],
          policies={"fleet": {"max_groups": 1, "max_rows": 1, "domains": {"segment": ["narrow", "wide"]}}},
          entity_columns={"fleet": {"pin": {"tailnum": "plane"}}})  # fmt: skip
    text = "SELECT c.segment, COUNT(*) AS n FROM IDENTIFIER({{ my_table[0] }}) c GROUP BY c.segment"
    add(house, "theirs", text)
    house("agency", "consumer", "enable_templates_for_provider_run", cleanroom_name="room", template_names=["theirs"])
    house(
        "agency", "consumer", "set_privacy_settings", cleanroom_name="room", party_name="airline", privacy_settings=ON
    )
    asked = {"cleanroom_name": "room", "template_name": "theirs", "consumer_tables": ["fleet"]}
    first = house("airline", "provider", "submit_analysis_request", consumer_name="agency", replay="allow", **asked)
    again = house("airline", "provider", "submit_analysis_request", consumer_name="agency", replay="allow", **asked)
    assert (again["rows"], again["price"]["epsilon"]) == (first["rows"], 0.0)
    assert "replayed_from" not in house.ask("agency", "consumer", "run_analysis", replay="allow", **asked)[1]


def test_nothing_is_replayed_that_costs_nothing():
    """With DP off and no noise there is nothing to save, and the answer is that of today."""
    house = furnished(settings={"differential": 0})
    first = run(house)
    again = run(house)
    assert again["rows"] == first["rows"]
    assert "replayed_from" not in again


def test_a_stored_release_is_what_a_caller_gets_who_asks_for_nothing_else():
    """B-50: the default, as it stands in a request without `replay`."""
    house = furnished()
    first = run(house)
    _, again = house.ask("agency", "consumer", "run_analysis", json.dumps(BY_CARRIER))
    assert (again["rows"], again["price"]["epsilon"]) == (first["rows"], 0.0)


def test_an_asynchronous_run_is_replayed_too():
    house = furnished()
    first = run(house)
    assert run(house, run_id="later-0001", mode="async")["state"] == "queued"
    from cleanroom.use_cases.queue import handle_message

    handle_message(house.queue.bodies[0], house.runs)
    status, release = house.get_run("agency", "later-0001")
    assert (status, release["rows"]) == (200, first["rows"])
    assert spent(house)[0] == 2.0
