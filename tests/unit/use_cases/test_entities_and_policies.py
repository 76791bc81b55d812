"""What is protected, what owners declare, and what templates may say: whole runs over a deployment in memory."""

from __future__ import annotations

import json
from fractions import Fraction

import pyarrow as pa
import pytest

from tests.house import FLIGHTS, POLICIES, furnished

ON = {"differential": 1, "epsilon": 1.0, "privacy_budget": 10}
B47 = (
    "SELECT cleanroom.addNoise(count(distinct p.hashed_email), {{ privacy.epsilon | sqlsafe }}, "
    "UNIFORM(0::FLOAT, 1::FLOAT, RANDOM())) AS noisy_count FROM IDENTIFIER({{ source_table[0] }}) p"
)


def add(house, text, *, name="t", **more):
    return house(
        "airline",
        "provider",
        "add_custom_sql_template",
        cleanroom_name="room",
        template_name=name,
        template=text,
        **more,
    )


def ask(house, procedure="run_analysis", *, name="t", tables=("flights",), **more):
    return house.ask(
        "agency",
        "consumer",
        procedure,
        cleanroom_name="room",
        template_name=name,
        provider_tables=list(tables),
        **more,
    )


def refused(house, text, **more):
    add(house, text)
    status, answer = ask(house, **more)
    assert status == 422, answer
    return answer["error"]


def relink(house, policy=POLICIES["flights"], **more):
    policies = {"flights": policy}
    return house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["flights"], policies=policies,
                 **more)["linked"][0]  # fmt: skip


def exact_tables(house):
    """Collect the exact tables of every run from now on: measurement column -> (sensitivity, integers)."""
    seen, execute = [], house.runs.engine.execute

    def watched(plan, **named):
        tables = execute(plan, **named)
        for m in plan.measurements:
            exact = pa.ipc.open_stream(tables[m.name]).read_all()
            seen.append({c.meaning: (c.sensitivity, exact.column(c.name).to_pylist()) for c in m.columns})
        return tables

    house.runs.engine.execute = watched
    return seen


def spent(house):
    return house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room")["budgets"][0]["spent"]


@pytest.mark.parametrize("rows", [1, 6, 500])
def test_all_rows_of_one_entity_move_the_exact_integers_by_no_more_than_the_sensitivity(rows):
    """B-01, B-02: one distinct value with however many rows, in however many groups, is one entity."""
    loud = pa.table(
        {
            "tailnum": ["N999ZZ"] * rows,
            "carrier": [("AA", "UA", "DL")[i % 3] for i in range(rows)],
            "dest": ["BOS"] * rows,
            "dep_delay": pa.array([10_000] * rows, pa.int32()),
        }
    )
    house = furnished()
    text = (
        "SELECT p.carrier, COUNT(*) AS n, COUNT(DISTINCT p.tailnum) AS planes, SUM(p.dep_delay) AS s "
        "FROM IDENTIFIER({{ source_table[0] }}) p GROUP BY p.carrier"
    )
    add(house, text)
    seen = exact_tables(house)
    assert ask(house)[0] == 200
    house.objects.put_table(owner="airline", name="flights", table=pa.concat_tables([FLIGHTS, loud]))
    assert ask(house)[0] == 200
    without, with_one = seen
    assert without.keys() == with_one.keys()
    for meaning, (sensitivity, before) in without.items():
        moved = sum(abs(a - b) for a, b in zip(with_one[meaning][1], before, strict=True))
        assert 0 < moved <= sensitivity, meaning


def test_only_the_owner_pins_and_unpins_entity_columns_and_each_change_is_in_the_history():
    """B-05."""
    house = furnished()
    status, _ = house.ask("agency", "provider", "link_datasets", cleanroom_name="room", tables=["flights"],
                          entity_columns={"flights": {"unpin": ["tailnum"]}})  # fmt: skip
    assert status == 403
    own, _ = house.ask("agency", "consumer", "link_datasets", cleanroom_name="room", tables=["flights"])
    assert own == 409  # there is no such table of its own
    assert relink(house, entity_columns={"flights": {"unpin": ["tailnum"]}})["entity_columns"] == []
    pinned = relink(house, entity_columns={"flights": {"unpin": ["tailnum"], "pin": {"dest": "place"}}})
    assert pinned["entity_columns"] == [
        {"column": "dest", "kind": "place", "evidence": ["pinned by its owner, airline"]}
    ]
    noted = [json.loads(e.body) for e in house.ledger.entries("room") if e.kind == "link_dataset"]
    flights = [n["entity_columns"] for n in noted if n["table"] == "airline.flights"]
    assert flights[-3:] == [
        [{"column": "tailnum", "kind": "aircraft_registration"}],
        [],
        [{"column": "dest", "kind": "place"}],
    ]


def test_a_protected_table_without_an_entity_column_names_the_table_and_the_cure():
    """B-06."""
    house = furnished()
    relink(house, entity_columns={"flights": {"unpin": ["tailnum"]}})
    error = refused(house, "SELECT COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) p")
    assert error["rule"] == "no_entity_column"
    assert "airline.flights" in error["message"]
    assert "link_datasets" in error["cure"]


@pytest.mark.parametrize(
    ("said", "stored"),
    [("laplace", "Laplace"), ("GAUSSIAN", "Gaussian"), ("Gauss", "Gaussian"), ("Gauß", "Gaussian")],
)
def test_mechanisms_have_several_spellings(said, stored):
    """B-12."""
    house = furnished()
    answer = house("airline", "provider", "set_privacy_settings", cleanroom_name="room", party_name="agency",
                   privacy_settings={**ON, "noise_mechanism": said})  # fmt: skip
    assert answer["privacy_settings"]["noise_mechanism"] == stored
    release = house("agency", "consumer", "run_analysis", cleanroom_name="room", template_name="by_carrier",
                    provider_tables=["flights"])  # fmt: skip
    column = release["receipt"]["measurements"][0]["columns"][0]
    assert column["noise"]["distribution"] == f"discrete_{stored.lower()}"


def test_a_threshold_hides_groups_by_their_noisy_count_where_it_is_on():
    """B-14, B-15: 200 planes over three carriers, so that no group has 1,000 and each has 20."""
    rows = {}
    for threshold, value in ((0, 1000), (1, 1000), (1, 20)):
        house = furnished(settings={**ON, "threshold": threshold, "threshold_value": value})
        rows[threshold, value] = len(ask(house, name="by_carrier")[1]["rows"])
    assert rows == {(0, 1000): 3, (1, 1000): 0, (1, 20): 3}


def test_a_templates_sensitivity_multiplies_its_epsilon():
    """B-35."""
    house = furnished()
    add(house, "SELECT COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) p", sensitivity=2.5)
    assert ask(house, "quote_analysis")[1]["epsilon"] == 2.5


def test_template_names_are_plain():
    """B-36."""
    house = furnished()
    add(house, "SELECT 1", name="a_1")
    for name in ("Total", "a-b", "a b", "é", "a" * 65):
        status, answer = house.ask("airline", "provider", "add_custom_sql_template", cleanroom_name="room",
                                   template_name=name, template="SELECT 1")  # fmt: skip
        assert (status, answer["error"]["code"]) == (400, "invalid_request"), name


def test_nothing_but_a_linked_table_can_be_named():
    """B-37: refused before any table is read, and nothing is charged."""
    house = furnished()
    house.objects.read = None  # reading any table would now fail
    for source in ("read_parquet('s3://x')", "'secret.csv'", "information_schema.tables", "duckdb_tables()", "fleet2"):
        add(house, f"SELECT COUNT(*) AS n FROM {source}")
        status, answer = ask(house)
        assert (status, answer["error"]["code"]) in {(422, "template_refused"), (404, "table_not_linked")}
        assert "secret" not in json.dumps(answer)
    assert spent(house) == 0


@pytest.mark.parametrize("text", ["SELECT p.dest FROM {t} p", "SELECT p.tailnum, COUNT(*) AS n FROM {t} p GROUP BY 1"])
def test_rows_leave_only_where_dp_is_off(text):
    """B-38."""
    text = text.replace("{t}", "IDENTIFIER({{ source_table[0] }})")
    assert refused(furnished(), text)["rule"] == "rows_released"
    house = furnished(settings={"differential": 0})
    add(house, text)
    status, release = ask(house)
    assert (status, release["differential"], len(release["rows"]) >= 200) == (200, 0, True)
    assert {c["role"] for c in release["columns"]} == {"exact"}


def test_a_dialect_that_nobody_knows_is_refused_when_the_template_is_added():
    """B-30: and not at the first run; letter case says nothing."""
    house, text = furnished(), "SELECT COUNT(*) AS n FROM {{ source_table[0] | sqlsafe }}"
    given = {"cleanroom_name": "room", "template_name": "t", "template": text, "dialect": "klingon"}
    status, answer = house.ask("airline", "provider", "add_custom_sql_template", **given)
    assert (status, answer["error"]["rule"]) == (422, "unknown_dialect")
    add(house, text, dialect="DuckDB")
    shown = house("airline", "provider", "view_added_templates", cleanroom_name="room")["templates"]
    assert [t["dialect"] for t in shown if t["template_name"] == "t"] == ["duckdb"]
    assert ask(house)[0] == 200


def test_a_template_is_linted_when_it_is_added():
    """B-39: line, rule and cure."""
    findings = add(furnished(), "SELECT COUNT(*) AS n,\n  cleanroom.addnoise(COUNT(*), 1, 0.5) AS m FROM a.b")[
        "findings"
    ]
    assert {(f["line"], f["rule"]) for f in findings} >= {(1, "unnoised_number"), (2, "constant_noiserand")}
    assert all(f["cure"] for f in findings)


@pytest.mark.parametrize("differential", [0, 1])
def test_addnoise_is_found_in_any_case_and_inside_expressions(differential):
    """B-40: at the top level or in an expression over aggregates; a call that is repeated is one."""
    house = furnished(settings={**ON, "differential": differential})
    text = (
        "SELECT cleanroom.addnoise(COUNT(*), 5, 0.5) AS a, CLEANROOM.ADDNOISE(COUNT(*), 5, 0.5) AS b, "
        "cleanroom.addNoise(COUNT(*), 5, 0.5) / 2 AS c FROM IDENTIFIER({{ source_table[0] }}) p"
    )
    add(house, text)
    status, release = ask(house)
    assert status == 200, release
    ((a, b, c),) = release["rows"]
    assert c == pytest.approx(a / 2)
    assert max(abs(a - 1200), abs(b - 1200)) < 100


def test_addnoise_checks_its_arguments():
    """B-41."""
    house = furnished()
    for arguments in (
        *("COUNT(*)", "COUNT(*), 0, 0.5", "COUNT(*), -1, 0.5", "COUNT(*), 1, 1.5", "COUNT(*), 1, 0.5, 1"),
        *("COUNT(*), 1, 0.5, TRUE, 0", "COUNT(*), 1, 0.5, TRUE, 0.5", "COUNT(*), 1, 0.5, TRUE, 1e-6, 1"),
    ):
        text = f"SELECT cleanroom.addnoise({arguments}) AS a FROM IDENTIFIER({{{{ source_table[0] }}}}) p"
        assert refused(house, text)["rule"] == "addnoise_arguments", arguments


def test_addnoise_needs_no_setting_and_costs_its_epsilon_out_of_a_default_budget_of_ten():
    """B-42, B-43: without a settings record; with the task suspended the budget is unlimited."""
    house = furnished(settings={"differential": 0})
    house("airline", "provider", "cleanroom_init", cleanroom_name="plain")
    text = "SELECT cleanroom.addnoise(COUNT(*), 4, 0.5) AS a FROM IDENTIFIER({{ source_table[0] }}) p"
    for party, side, procedure, more in (
        ("airline", "provider", "link_datasets", {"tables": ["flights"]}),
        ("airline", "provider", "add_custom_sql_template", {"template_name": "t", "template": text}),
        ("airline", "provider", "add_consumers", {"consumer_names": ["agency"]}),
        ("agency", "consumer", "install_cleanroom", {}),
    ):
        house(party, side, procedure, cleanroom_name="plain", **more)
    run = {"cleanroom_name": "plain", "template_name": "t", "provider_tables": ["flights"]}
    statuses = [house.ask("agency", "consumer", "run_analysis", **run)[0] for _ in range(3)]
    assert statuses == [200, 200, 402]
    house("airline", "provider", "suspend_account_dp_task")
    release = house("agency", "consumer", "run_analysis", **run)
    assert (release["unmetered"], release["price"]["epsilon"]) == (True, 4.0)


def test_a_fixed_noiserand_fixes_nothing():
    """B-45."""
    house = furnished(settings={**ON, "privacy_budget": 100})
    add(house, "SELECT cleanroom.addnoise(COUNT(*), 0.1, 0.5) AS a FROM IDENTIFIER({{ source_table[0] }}) p")
    assert len({ask(house)[1]["rows"][0][0] for _ in range(5)}) == 5


def test_addnoise_takes_sensitivity_one_with_dp_off_and_derives_it_with_dp_on():
    """B-46: with DP off the answer says so; with DP on a value without an aggregate is refused."""
    text = "SELECT cleanroom.addnoise({}, 1, 0.5) AS a FROM IDENTIFIER({{{{ source_table[0] }}}}) p"
    scales = {}
    for differential in (0, 1):
        house = furnished(settings={**ON, "differential": differential})
        add(house, text.format("COUNT(*)"))
        release = ask(house)[1]
        column = release["receipt"]["measurements"][0]["columns"][0]
        scales[differential] = int(column["sensitivity"]) * Fraction(column["unit"])
        assert any("sensitivity" in note for note in release["notes"]) is (differential == 0)
    assert scales[0] == 1 + Fraction(1, 2**20)  # one step more, for cutting off the fraction
    assert scales[1] == 24  # all that the table's policy lets one entity weigh: 4 groups of 6 rows
    assert refused(furnished(), text.format("p.dep_delay"))["rule"] == "addnoise_without_aggregate"


@pytest.mark.parametrize("differential", [0, 1])
def test_the_classic_noisy_count_runs_unchanged(differential):
    """B-47."""
    house = furnished(settings={**ON, "differential": differential})
    members = pa.table({"hashed_email": [f"{i:064x}" for i in range(300)] * 2})
    house.objects.put_table(owner="airline", name="members", table=members)
    linked = house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["members"],
                   policies={"members": {"max_rows": 2}})["linked"][0]  # fmt: skip
    assert [e["column"] for e in linked["entity_columns"]] == ["hashed_email"]
    add(house, B47)
    status, release = ask(house, tables=["members"])
    assert status == 200, release
    assert [c["name"] for c in release["columns"]] == ["noisy_count"]
    assert abs(release["rows"][0][0] - 300) < 25
    assert release["price"]["epsilon"] == 1


def test_a_consumer_sees_its_own_budget_and_the_provider_every_partys():
    """B-54."""
    house = furnished()
    assert ask(house, name="by_carrier")[0] == 200
    own = house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room")["budgets"]
    all_of_them = house("airline", "provider", "view_remaining_privacy_budget", cleanroom_name="room")["budgets"]
    assert [(b["party_name"], b["spent"]) for b in own] == [("agency", 2.0)]
    assert {b["party_name"]: b["spent"] for b in all_of_them} == {"agency": 2.0, "broker": 0}


@pytest.mark.parametrize("differential", [0, 1])
def test_an_owners_smallest_group_holds_with_dp_and_without(differential):
    """B-80."""
    shown = {}
    for least in (20, 1000):
        house = furnished(settings={**ON, "differential": differential})
        relink(house, {**POLICIES["flights"], "min_entities": least})
        shown[least] = len(ask(house, name="by_carrier")[1]["rows"])
    assert shown == {20: 3, 1000: 0}


def test_an_owners_smallest_group_keeps_rows_in_with_dp_off():
    """B-80: a table with a smallest group gives no rows."""
    house = furnished(settings={"differential": 0})
    relink(house, {**POLICIES["flights"], "min_entities": 2})
    assert refused(house, "SELECT p.dest FROM IDENTIFIER({{ source_table[0] }}) p")["rule"] == "rows_released"


def test_a_template_may_ask_for_a_smallest_group_itself():
    """B-81."""
    shown = {}
    for least in (20, 1000):
        house = furnished(settings={**ON, "threshold_value": least})
        add(house, "SELECT p.carrier, COUNT(DISTINCT p.tailnum) AS planes FROM IDENTIFIER({{ source_table[0] }}) p "
                   "GROUP BY p.carrier HAVING COUNT(DISTINCT p.tailnum) >= {{ privacy.threshold_value }}")  # fmt: skip
        release = ask(house)[1]
        shown[least] = (len(release["rows"]), release["price"]["epsilon"])
    assert shown == {20: (3, 1.0), 1000: (0, 1.0)}


def test_nothing_polls_there_is_one_schedule_and_suspending_disables_it():
    """B-65: beside requests and messages, one schedule starts a function, and it is off while suspended."""
    from local.template import read_template

    resources = read_template()["Resources"]
    schedules = [r for r in resources.values() if r["Type"].startswith("AWS::Scheduler::Schedule")]
    assert [r["Type"] for r in schedules].count("AWS::Scheduler::Schedule") == 1
    assert not [r for r in resources.values() if r["Type"].startswith("AWS::Events::")]
    triggers = [e["Type"] for r in resources.values() for e in r.get("Properties", {}).get("Events", {}).values()
                if r["Type"] == "AWS::Serverless::Function"]  # fmt: skip
    assert set(triggers) <= {"HttpApi", "SQS"}
    house = furnished()
    house("airline", "provider", "suspend_account_dp_task")
    assert not house.schedule.is_enabled()


@pytest.mark.parametrize("only_the_victim", [True, False])
def test_a_consumers_table_that_repeats_a_key_or_holds_only_one_gains_nothing(only_the_victim):
    """Fan-out after the join is bounded as any other: without the victim's rows nothing moves by more than allowed."""
    keys = ["N100AA"] * 300 + ([] if only_the_victim else [f"N{100 + plane}AA" for plane in range(1, 200)])
    house = furnished()
    house.objects.put_table(
        owner="agency", name="fleet", table=pa.table({"tailnum": keys, "segment": ["a"] * len(keys)})
    )
    house("agency", "consumer", "link_datasets", cleanroom_name="room", tables=["fleet"])
    add(house, "SELECT c.segment, COUNT(*) AS n, COUNT(DISTINCT p.tailnum) AS planes FROM "
               "IDENTIFIER({{ source_table[0] }}) p JOIN IDENTIFIER({{ my_table[0] }}) c ON p.tailnum = c.tailnum "
               "GROUP BY c.segment")  # fmt: skip
    seen = exact_tables(house)
    assert ask(house, consumer_tables=["fleet"])[0] == 200
    others = FLIGHTS.filter(pa.array([tailnum != "N100AA" for tailnum in FLIGHTS["tailnum"].to_pylist()]))
    house.objects.put_table(owner="airline", name="flights", table=others)
    status, release = ask(house, consumer_tables=["fleet"])
    assert (status, [row[0] for row in release["rows"]]) == (200, ["a"])
    for meaning, (sensitivity, with_the_victim) in seen[0].items():
        moved = sum(abs(a - b) for a, b in zip(seen[1][meaning][1], with_the_victim, strict=True))
        assert 0 < moved <= sensitivity, meaning


def test_sql_comes_in_by_templates_of_a_room_only():
    """B-44: addnoise is a word of templates; no other procedure takes SQL, and a template runs in its room only."""
    from cleanroom.openapi import all_procedures

    taking = [name for (_, name), p in all_procedures().items() if "template" in p.arguments.__struct_fields__]
    assert taking == ["add_custom_sql_template"]
    house = furnished()
    add(house, "SELECT cleanroom.addnoise(COUNT(*), 1, 0.5) AS a FROM IDENTIFIER({{ source_table[0] }}) p")
    house("airline", "provider", "cleanroom_init", cleanroom_name="other")
    house("airline", "provider", "add_consumers", cleanroom_name="other", consumer_names=["agency"])
    house("agency", "consumer", "install_cleanroom", cleanroom_name="other")
    status, answer = house.ask("agency", "consumer", "run_analysis", cleanroom_name="other", template_name="t")
    assert (status, answer["error"]["code"]) == (404, "template_not_found")
