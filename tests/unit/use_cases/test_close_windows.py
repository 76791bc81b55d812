"""What follows the opening of a window: verification, statements, exports."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cleanroom.errors import BusyError
from cleanroom.privacy.accounting import Price
from cleanroom.rooms.ledger import BudgetKey
from cleanroom.rooms.ledger_chain import ChainHead, chain_of, first_broken_chain, head_after, next_line
from cleanroom.use_cases.dp_task import handle_schedule
from tests.house import BY_CARRIER, furnished

AGENCY = BudgetKey(room="room", party="agency")


def renew(house):
    event = {"task": "open_window", "scheduled_time": house.clock.now().isoformat()}
    answer = json.loads(handle_schedule(event, house.tasks))
    house.clock.advance(seconds=86_400)
    return answer


def stated(house, window):
    return json.loads(house.statements.statements["room", window])


def test_a_window_that_ended_is_stated_for_each_budget_and_measured():
    """Spent, runs and the lifetime total, of each party that did something; none for a window in which nobody did."""
    house = furnished()
    for _ in range(2):
        house("agency", "consumer", "run_analysis", **BY_CARRIER)
    renew(house)
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    renew(house)
    renew(house)
    (row,) = stated(house, 0)["budgets"]
    assert (row["party_name"], row["template_name"], row["runs"], row["refusals"]) == ("agency", None, 2, 0)
    assert row["spent"] == {"epsilon": 4.0, "delta": 0.0, "micro_epsilon": 4_000_000, "delta_steps": 0}
    (row,) = stated(house, 1)["budgets"]
    assert (row["spent"]["epsilon"], row["lifetime"]["epsilon"], row["runs"]) == (2.0, 6.0, 1)
    assert stated(house, 1)["verified"] is True
    assert sorted(house.statements.statements) == [("room", 0), ("room", 1)]
    values, dimensions = house.telemetry.measures[0]
    assert dimensions == {"room": "room", "party": "agency"}
    assert (values["WindowEpsilon"], values["WindowRuns"], values["LifetimeEpsilon"]) == (4.0, 2, 4.0)


def test_unmetered_runs_are_stated_apart_and_count_in_the_lifetime_total():
    """B-60."""
    house = furnished()
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    house("airline", "provider", "suspend_account_dp_task")
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    house("airline", "provider", "resume_account_dp_task")
    renew(house)
    (row,) = stated(house, 0)["budgets"]
    assert (row["spent"]["epsilon"], row["unmetered"]["epsilon"], row["lifetime"]["epsilon"]) == (2.0, 2.0, 4.0)
    assert (row["runs"], row["unmetered_runs"], row["verified"]) == (2, 1, True)


def test_a_doubled_schedule_states_and_measures_nothing_twice():
    """B-53."""
    house = furnished()
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    event = {"task": "open_window", "scheduled_time": house.clock.now().isoformat()}
    for _ in range(3):
        handle_schedule(event, house.tasks)
    assert len(house.statements.statements) == len(house.telemetry.measures) == 1
    assert house.audit.closed_through() == 0


def test_what_a_crash_left_undone_is_caught_up_with_by_the_next_call():
    """The window is open whatever follows; each statement still has the amounts of its own window."""
    house = furnished()

    class OutOfOrder:
        def put_if_absent(self, **_):
            raise BusyError("S3 is busy")

    broken = replace(house.tasks, statements=OutOfOrder())
    for number in range(3):
        house("agency", "consumer", "run_analysis", **BY_CARRIER)
        event = {"task": "open_window", "scheduled_time": house.clock.now().isoformat()}
        with pytest.raises(BusyError):
            handle_schedule(event, broken)
        assert house.ledger.task().window == number + 1
        house.clock.advance(seconds=86_400)
    handle_schedule(event, house.tasks)
    rows = [stated(house, window)["budgets"][0] for window in range(3)]
    assert [(row["spent"]["epsilon"], row["lifetime"]["epsilon"]) for row in rows] == [(2, 2), (2, 4), (2, 6)]
    assert all(row["verified"] for row in rows)


def tampered(house, change):
    """Let `change` act on the ledger, as somebody who can write the table might, and close the window."""
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    change(house.ledger)
    renew(house)
    differences = [facts for step, facts in house.telemetry.steps if step == "ledger_difference"]
    assert house.telemetry.counts.count("LedgerDifferences") == len(differences)
    return differences


@pytest.mark.parametrize("spent", [0, 1_999_999, 2_000_001])
def test_a_counter_that_its_lines_do_not_add_up_to_raises_the_alarm(spent):
    house = furnished()

    def lower(ledger):
        ledger._window_spent[AGENCY, 0] = Price(micro_epsilon=spent, delta_steps=0)

    (difference,) = tampered(house, lower)
    assert (difference["difference"], difference["room"], difference["party"]) == ("counter", "room", "agency")
    assert stated(house, 0)["verified"] is False


def test_a_lifetime_total_that_its_lines_do_not_add_up_to_raises_the_alarm():
    house = furnished()

    def forget(ledger):
        ledger._lifetime_spent[AGENCY] = Price(micro_epsilon=0, delta_steps=0)

    assert [one["difference"] for one in tampered(house, forget)] == ["counter"]


def test_a_line_that_was_changed_raises_the_alarm_again_in_each_window():
    """The check never goes past it, so the alarm stays until somebody has looked."""
    house = furnished()

    def cheapen(ledger):
        lines = ledger._lines[False, "room"][chain_of(AGENCY)]
        lines[-1] = replace(lines[-1], body=lines[-1].body.replace("2000000", "1000000"))

    (difference,) = tampered(house, cheapen)
    assert difference["difference"] == "line"
    assert (difference["chain"], difference["line"]) == (chain_of(AGENCY), 0)
    assert stated(house, 0)["verified"] is False
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    renew(house)
    assert house.telemetry.counts.count("LedgerDifferences") == 2


def test_lines_of_another_room_raise_the_alarm_however_well_they_follow_each_other():
    house = furnished()

    def replant(ledger):
        lines, head = [], ChainHead()
        for old in ledger._lines[False, "room"][chain_of(AGENCY)]:
            line = next_line(head, room="elsewhere", at=old.at, kind=old.kind, party=old.party, body=old.body,
                             run_id=old.run_id, chain=old.chain)  # fmt: skip
            lines.append(line)
            head = head_after(head, line)
        ledger._lines[False, "room"][chain_of(AGENCY)] = lines
        ledger._heads[False, "room"][chain_of(AGENCY)] = head

    (difference,) = tampered(house, replant)
    assert (difference["difference"], difference["line"]) == ("line", 0)


def test_no_alarm_where_nothing_differs():
    house = furnished()
    assert tampered(house, lambda ledger: None) == []


def test_a_charge_that_comes_while_counters_are_read_is_no_difference():
    """The new window's charges go on while the old one is verified."""
    house = furnished()
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    house.ledger.open_window(scheduled_for=house.clock.now(), at=house.clock.now())
    reading, real = [], house.ledger.spending

    def spending(key, *, window):
        found = real(key, window=window)
        if not reading:
            reading.append(key)
            house("agency", "consumer", "run_analysis", **BY_CARRIER)
            return real(key, window=window)
        return found

    house.ledger.spending = spending
    renew(house)
    (row,) = stated(house, 0)["budgets"]
    assert row["verified"] is True
    assert (row["spent"]["epsilon"], row["lifetime"]["epsilon"]) == (2.0, 2.0)
    assert "LedgerDifferences" not in house.telemetry.counts


def test_what_is_exported_is_the_whole_history_once_and_each_part_says_where_the_chain_stands():
    house = furnished()
    for _ in range(3):
        house("agency", "consumer", "run_analysis", **BY_CARRIER)
        renew(house)
    history = house.ledger.history("room")
    assert first_broken_chain(history) is None
    assert set(history.heads) == {"", chain_of(AGENCY)}
    for chain in history.heads:
        exported = []
        objects = {key: value for key, value in house.audit_export.objects.items() if key[:2] == ("room", chain)}
        for (room, _, first, count), content in sorted(objects.items(), key=lambda item: item[0][2]):
            *lines, end = [json.loads(line) for line in content.splitlines()]
            assert (first, first + len(lines)) == (len(exported), count)
            exported += lines
            assert end["head"] == {"room": room, "chain": chain, "count": count, "hash": lines[-1]["hash"]}
        entries = [entry for entry in history.entries if entry.chain == chain]
        assert [line["hash"] for line in exported] == [entry.hash for entry in entries]
    assert any(room is None for room, *_ in house.audit_export.objects)
