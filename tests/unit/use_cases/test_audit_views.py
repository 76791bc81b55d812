"""Statements and histories, as providers and consumers may read them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cleanroom.use_cases.dp_task import handle_schedule
from tests.house import BY_CARRIER, furnished


def renew(house):
    event = {"task": "open_window", "scheduled_time": house.clock.now().isoformat()}
    handle_schedule(event, house.tasks)
    house.clock.advance(seconds=86_400)


def pages(house, party, side, **arguments):
    """Return all entries, page by page."""
    found, after = [], ""
    while after is not None:
        page = house(party, side, "view_audit_log", **arguments, after=after)
        found += page["entries"]
        after = page["next"]
    return found


def test_a_provider_reads_statements_page_by_page():
    house = furnished()
    for _ in range(3):
        house("agency", "consumer", "run_analysis", **BY_CARRIER)
        renew(house)
    first = house("airline", "provider", "view_statements", cleanroom_name="room", limit=2)
    assert [one["window"] for one in first["statements"]] == [0, 1]
    second = house("airline", "provider", "view_statements", cleanroom_name="room", limit=2, after_window=first["next"])
    assert [one["window"] for one in second["statements"]] == [2]
    assert second["next"] is None
    assert second["statements"][0]["budgets"][0]["lifetime"]["epsilon"] == 6.0


def test_statements_are_for_the_provider_of_the_room_alone():
    """B-73."""
    house = furnished()
    assert house.ask("agency", "provider", "view_statements", cleanroom_name="room")[0] == 403
    assert house.ask("stranger", "provider", "view_statements", cleanroom_name="room")[0] == 404


def test_every_change_of_a_room_is_in_its_history_with_who_and_when():
    house = furnished()
    house("airline", "provider", "set_join_policy", cleanroom_name="room", table_and_col_names=["flights:tailnum"])
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["flights"],
          entity_columns={"flights": {"pin": {"dest": "place"}}})  # fmt: skip
    house("airline", "provider", "create_or_update_cleanroom_listing", cleanroom_name="room")
    house("agency", "consumer", "enable_templates_for_provider_run", cleanroom_name="room",
          template_names=["by_dest"], differential=1)  # fmt: skip
    house("agency", "consumer", "unlink_datasets", cleanroom_name="room", tables=["fleet"])
    house("agency", "consumer", "uninstall_cleanroom", cleanroom_name="room")
    house("airline", "provider", "clear_template", cleanroom_name="room", template_name="total")
    house("airline", "provider", "remove_consumers", cleanroom_name="room", consumer_names=["broker"])
    entries = pages(house, "airline", "provider", cleanroom_name="room", limit=3)
    done = [(entry["kind"], entry["by"]) for entry in entries]
    assert ("set_join_columns", "airline") in done
    assert ("create_or_update_cleanroom_listing", "airline") in done
    assert ("enable_templates_for_provider_run", "agency") in done
    assert [kind for kind, by in done if by == "agency"] == [
        "install_cleanroom",
        "link_dataset",
        "enable_templates_for_provider_run",
        "settings",
        "unlink_dataset",
        "uninstall_cleanroom",
    ]
    for kind in ("cleanroom_init", "add_custom_sql_template", "add_consumer", "settings", "clear_template"):
        assert (kind, "airline") in done
    assert done[-1] == ("remove_consumer", "airline")
    pinned = [entry["what"] for entry in entries if entry["kind"] == "link_dataset"][-1]
    assert {"column": "dest", "kind": "place"} in pinned["entity_columns"]
    enabled = next(entry["what"] for entry in entries if entry["kind"] == "enable_templates_for_provider_run")
    assert enabled == {"templates": ["by_dest"], "differential": True}
    assert [entry["hash"] for entry in entries][:-1] == [entry["previous_hash"] for entry in entries][1:]


def test_a_consumer_reads_what_it_did_and_what_was_done_to_its_record_and_nothing_of_others():
    """B-73."""
    house = furnished()
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    house("airline", "provider", "set_privacy_settings", cleanroom_name="room", party_name="broker",
          privacy_settings={"differential": 1, "privacy_budget": 7})  # fmt: skip
    house("broker", "consumer", "install_cleanroom", cleanroom_name="room")
    changes = pages(house, "agency", "consumer", cleanroom_name="room", limit=1)
    kinds = [entry["kind"] for entry in changes]
    assert kinds == ["add_consumer", "settings", "install_cleanroom", "link_dataset", "chain"]
    assert "broker" not in json.dumps(changes)
    (run,) = pages(house, "agency", "consumer", cleanroom_name="room", of="runs")
    assert (run["kind"], run["by"]) == ("charge", "agency")
    assert run["what"]["price"]["micro_epsilon"] == 2_000_000
    assert pages(house, "broker", "consumer", cleanroom_name="room", of="runs") == []
    assert house.ask("stranger", "consumer", "view_audit_log", cleanroom_name="room")[0] == 404
    assert house.ask("agency", "provider", "view_audit_log", cleanroom_name="room")[0] == 403


def test_a_consumer_reads_what_the_provider_ran_over_its_data():
    house = furnished()
    house("agency", "consumer", "enable_templates_for_provider_run", cleanroom_name="room",
          template_names=["by_carrier"], differential=0)  # fmt: skip
    house.ask("airline", "provider", "submit_analysis_request", cleanroom_name="room", consumer_name="agency",
              template_name="by_carrier", provider_tables=["flights"])  # fmt: skip
    ran = pages(house, "agency", "consumer", cleanroom_name="room", of="provider_runs")
    assert [(entry["kind"], entry["by"]) for entry in ran] == [("charge", "airline")]
    assert pages(house, "airline", "provider", cleanroom_name="room", party_name="airline@agency") == ran


def test_the_tasks_state_is_in_the_accounts_history_for_providers():
    """B-60, B-61: who suspended, who resumed, and which windows were opened."""
    house = furnished()
    house("airline", "provider", "suspend_account_dp_task")
    house("airline", "provider", "resume_account_dp_task")
    renew(house)
    entries = pages(house, "airline", "provider")
    assert [(entry["kind"], entry["by"]) for entry in entries] == [
        ("suspended", "airline"),
        ("running", "airline"),
        ("window", "the schedule"),
    ]
    assert house.ask("agency", "provider", "view_audit_log")[0] == 403
    assert house.ask("airline", "provider", "view_audit_log", party_name="agency")[0] == 400


@pytest.mark.parametrize(
    ("party", "side", "procedure", "arguments", "kind"),
    [
        ("airline", "provider", "drop_cleanroom", {}, "drop_cleanroom"),
        ("airline", "provider", "remove_consumers", {"consumer_names": ["agency"]}, "remove_consumer"),
        ("airline", "provider", "unlink_datasets", {"tables": ["flights"]}, "unlink_dataset"),
        ("airline", "provider", "clear_template", {"template_name": "total"}, "clear_template"),
        ("airline", "provider", "link_datasets", {"tables": ["flights"]}, "link_dataset"),
        ("airline", "provider", "set_column_policy", {"table_and_col_names": ["flights:dest"]}, "set_project_columns"),
        ("agency", "consumer", "uninstall_cleanroom", {}, "uninstall_cleanroom"),
        ("broker", "consumer", "install_cleanroom", {}, "install_cleanroom"),
    ],
)
def test_a_change_that_crashes_halfway_is_in_the_history_already(party, side, procedure, arguments, kind):
    house = furnished()

    class Crashing:
        def __getattr__(self, name):
            if name in {"snapshot", "rooms_of"}:
                return getattr(house.catalogue, name)
            raise MemoryError

    house.rooms = replace(house.rooms, catalogue=Crashing())
    assert house.ask(party, side, procedure, cleanroom_name="room", **arguments)[0] == 500
    last = house.ledger.entries("room")[-1]
    assert (last.kind, last.party) == (kind, party)
