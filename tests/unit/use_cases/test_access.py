"""Who may do what in which room."""

from __future__ import annotations

import pytest

from tests.house import BY_CARRIER, furnished


def test_an_unknown_room_and_a_foreign_room_look_the_same():
    """B-73: no call reveals whether another party's room exists."""
    house = furnished()
    calls = [
        ("consumer", "install_cleanroom", {}),
        ("consumer", "view_added_templates", {}),
        ("consumer", "view_remaining_privacy_budget", {}),
        ("consumer", "run_analysis", {"template_name": "by_carrier"}),
        ("consumer", "quote_analysis", {"template_name": "by_carrier"}),
        ("consumer", "add_noise", {"values": [1.0], "sensitivity": 1.0, "epsilon": 1.0}),
        ("provider", "describe_cleanroom", {}),
        ("provider", "link_datasets", {"tables": ["flights"]}),
        ("provider", "drop_cleanroom", {}),
        ("provider", "submit_analysis_request", {"template_name": "by_carrier", "consumer_name": "agency"}),
    ]
    for side, procedure, arguments in calls:
        foreign = house.ask("stranger", side, procedure, cleanroom_name="room", **arguments)
        unknown = house.ask("stranger", side, procedure, cleanroom_name="rook", **arguments)
        assert foreign[0] == unknown[0] == 404, procedure
        assert foreign[1]["error"]["code"] == "clean_room_not_found"
        assert str(foreign[1]).replace("room'", "rook'") == str(unknown[1]).replace("room'", "rook'")


def test_a_consumer_cannot_change_dp_for_its_own_runs():
    """B-70 and B-22: 403, and the settings stay as they were."""
    house = furnished()
    before = house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room")
    for side, name in (("provider", "agency"), ("consumer", "agency")):
        status, answer = house.ask(
            "agency",
            side,
            "set_privacy_settings",
            cleanroom_name="room",
            party_name=name,
            privacy_settings={"differential": 0},
        )
        assert (status, answer["error"]["code"]) == (403, "forbidden")
    status, _ = house.ask("agency", "provider", "suspend_account_dp_task")
    assert status == 403
    assert house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room") == before


def test_a_room_must_be_installed_before_it_runs():
    """B-71."""
    house = furnished()
    status, answer = house.ask("broker", "consumer", "run_analysis", **BY_CARRIER)
    assert (status, answer["error"]["code"]) == (409, "conflict")
    house("broker", "consumer", "install_cleanroom", cleanroom_name="room")
    assert house("broker", "consumer", "run_analysis", **BY_CARRIER)["state"] == "released"


def test_only_a_provider_of_the_deployment_makes_rooms_and_steers_the_task():
    house = furnished()
    for side, procedure in (
        ("provider", "suspend_account_dp_task"),
        ("provider", "resume_account_dp_task"),
        ("provider", "is_dp_enabled_on_account"),
    ):
        assert house.ask("broker", side, procedure)[0] == 403
    assert house.ask("broker", "provider", "cleanroom_init", cleanroom_name="mine")[0] == 403


def test_a_run_is_its_partys_own():
    """Another party's run id looks like one that does not exist, and can neither be met nor blocked."""
    house = furnished()
    release = house("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="shared-id")
    assert house.get_run("agency", "shared-id")[1] == release
    for party in ("broker", "airline", "stranger"):
        assert house.get_run(party, "shared-id") == house.get_run(party, "shared-id")
        assert house.get_run(party, "shared-id")[0] == 404
    house("broker", "consumer", "install_cleanroom", cleanroom_name="room")
    own = house("broker", "consumer", "run_analysis", **BY_CARRIER, run_id="shared-id")
    assert own["rows"] != release["rows"]


@pytest.mark.parametrize("template", ["by_carrier", "by_dest"])
def test_a_provider_run_needs_the_consumers_leave_and_spends_its_own_budget(template):
    """B-21 and B-72: the consumer sets the settings of the provider's runs over its tables."""
    house = furnished()
    text = "SELECT c.segment, COUNT(*) AS planes FROM IDENTIFIER({{ my_table[0] }}) c GROUP BY c.segment"
    house(
        "airline", "provider", "add_custom_sql_template", cleanroom_name="room", template_name=template, template=text
    )
    request = {
        "cleanroom_name": "room",
        "template_name": template,
        "consumer_name": "agency",
        "consumer_tables": ["fleet"],
    }
    assert house.ask("airline", "provider", "submit_analysis_request", **request)[0] == 403
    house("agency", "consumer", "enable_templates_for_provider_run", cleanroom_name="room", template_names=[template])
    status, refusal = house.ask("airline", "provider", "submit_analysis_request", **request)
    assert (status, refusal["error"]["code"]) == (422, "missing_bounds")
    house(
        "agency",
        "consumer",
        "link_datasets",
        cleanroom_name="room",
        tables=["fleet"],
        policies={"fleet": {"max_rows": 1, "max_groups": 1}},
    )
    release = house("airline", "provider", "submit_analysis_request", **request)
    assert release["budgets"][0]["party_name"] == "airline@agency"
    assert release["budgets"][0]["spent"] == release["price"]["epsilon"] > 0
    own = house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room")["budgets"]
    assert {b["party_name"]: b["spent"] for b in own} == {"agency": 0, "airline@agency": release["price"]["epsilon"]}


def test_linking_again_keeps_what_it_does_not_declare():
    """A table that is linked again keeps its column policies, and its whole policy where none is declared."""
    house = furnished()
    house("airline", "provider", "set_join_policy", cleanroom_name="room", table_and_col_names=["flights:tailnum"])
    again = {"cleanroom_name": "room", "tables": ["flights"]}
    first = house("airline", "provider", "link_datasets", **again)["linked"][0]["policy"]
    assert (first["join_columns"], first["max_rows"]) == (["tailnum"], 6)
    second = house("airline", "provider", "link_datasets", **again, policies={"flights": {"max_rows": 2}})
    assert second["linked"][0]["policy"] == {**first, "max_rows": 2}
    third = {"flights": {"join_columns": ["carrier"], "bounds": {"dep_delay": None}, "domains": None}}
    assert house("airline", "provider", "link_datasets", **again, policies=third)["linked"][0]["policy"] == {
        "max_groups": 4,
        "max_rows": 2,
        "join_columns": ["carrier"],
    }


def test_linking_again_never_unprotects_what_the_owner_pinned():
    """B-05: a pin stays until the owner changes it."""
    house = furnished()
    again = {"cleanroom_name": "room", "tables": ["flights"]}
    decision = {"flights": {"pin": {"carrier": "company"}, "unpin": ["tailnum"]}}
    house("airline", "provider", "link_datasets", **again, entity_columns=decision)
    linked = house("airline", "provider", "link_datasets", **again)["linked"][0]
    assert [e["column"] for e in linked["entity_columns"]] == ["carrier"]
    back = {"flights": {"pin": {"tailnum": "aircraft"}, "unpin": ["carrier"]}}
    linked = house("airline", "provider", "link_datasets", **again, entity_columns=back)["linked"][0]
    assert [e["column"] for e in linked["entity_columns"]] == ["tailnum"]
