"""Explaining a run: everything it would do, without data and without a charge."""

from __future__ import annotations

import re

import duckdb
import pytest

from cleanroom.use_cases.arguments import RunArguments
from cleanroom.use_cases.prepare import prepare
from tests.house import BY_CARRIER, FLIGHTS, furnished

BY_DEST = {**BY_CARRIER, "template_name": "by_dest"}


def _squeezed(sql: str) -> str:
    return re.sub(r"\s+", "", sql)


@pytest.mark.parametrize("asked", [BY_CARRIER, BY_DEST], ids=["public keys", "private keys"])
def test_the_sql_shown_is_the_sql_that_would_run(asked):
    house = furnished()
    shown = house("agency", "consumer", "explain_analysis", **asked)["plan"]
    plan = prepare(RunArguments(**asked), "agency", house.runs).plan
    assert [_squeezed(m["exact_sql"]) for m in shown["measurements"]] == [
        _squeezed(m.exact_sql) for m in plan.measurements
    ]
    assert _squeezed(shown["release_sql"]) == _squeezed(plan.release.sql)
    assert shown["interval_sql"] is None or "\n" in shown["interval_sql"]
    assert "\n" in shown["release_sql"]


def test_the_exact_sql_shown_runs_as_it_is():
    shown = furnished()("agency", "consumer", "explain_analysis", **BY_CARRIER)["plan"]
    (measurement,) = shown["measurements"]
    with duckdb.connect() as connection:
        connection.register("t0", FLIGHTS)
        rows = connection.execute(measurement["exact_sql"]).fetchall()
    place = [c["measures"] for c in measurement["columns"]].index("rows")
    counted = {row[0]: row[1 + place] * measurement["columns"][place]["step"] for row in rows}
    assert counted == pytest.approx({"AA": 402, "DL": 396, "UA": 402})


def test_explaining_reads_and_charges_nothing():
    house = furnished()
    house.objects.read = None  # reading any table would now fail
    house("agency", "consumer", "explain_analysis", **BY_CARRIER)
    budget = house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room")
    assert budget["budgets"][0]["spent"] == 0


def test_sensitivity_noise_and_price_are_those_of_the_plan():
    shown = furnished()("agency", "consumer", "explain_analysis", **BY_DEST)["plan"]
    (measurement,) = shown["measurements"]
    assert measurement["group_keys"] == "private"
    assert measurement["threshold"] > 1
    by_name = {c["measures"]: c for c in measurement["columns"]}
    rows = by_name["rows"]
    # 4 groups of 6 rows, in steps of 1/1024 of a row; epsilon 1: the scale is the sensitivity itself.
    assert rows["sensitivity"] == {"norm": "l1", "steps": str(4 * 6 * 1024), "squared": False}
    assert rows["price"] == {"epsilon": 1.0, "delta": 0.0}
    assert shown["price"]["epsilon"] == sum(p["epsilon"] for p in shown["price"]["parts"]) == 2.0


def test_a_quote_names_the_columns_that_its_bounds_speak_of():
    """`clamp of c0` beside columns without names told nobody which one is clipped."""
    house = furnished()
    (quoted,) = house("agency", "consumer", "quote_analysis", **BY_CARRIER)["measurements"]
    (explained,) = house("agency", "consumer", "explain_analysis", **BY_CARRIER)["plan"]["measurements"]
    assert [c["name"] for c in quoted["columns"]] == [c["name"] for c in explained["columns"]]
    spoken_of = {what.removeprefix("clamp of ") for what in quoted["bounds"] if what.startswith("clamp of ")}
    assert spoken_of
    assert spoken_of <= {c["name"] for c in quoted["columns"]}


def test_what_refuses_a_run_refuses_its_explanation_with_line_rule_and_cure():
    house = furnished()
    house("airline", "provider", "add_custom_sql_template", cleanroom_name="room", template_name="rows",
          template="SELECT p.tailnum\nFROM IDENTIFIER({{ source_table[0] }}) p")  # fmt: skip
    asked = {**BY_CARRIER, "template_name": "rows"}
    status, answer = house.ask("agency", "consumer", "explain_analysis", **asked)
    assert (status, answer["error"]["code"]) == (422, "template_refused")
    assert answer["error"]["rule"] == "rows_released"
    assert answer["error"]["cure"]
    assert answer["error"]["line"] == 1


def test_the_provider_explains_and_quotes_its_own_run():
    """B-21: in provider-run, the consumer's settings price it."""
    house = furnished()
    asked = {"cleanroom_name": "room", "template_name": "planes", "consumer_name": "agency",
             "consumer_tables": ["fleet"]}  # fmt: skip
    house("airline", "provider", "add_custom_sql_template", cleanroom_name="room", template_name="planes",
          template="SELECT COUNT(DISTINCT c.tailnum) AS n FROM IDENTIFIER({{ my_table[0] }}) c")  # fmt: skip
    status, _ = house.ask("airline", "provider", "explain_analysis", **asked)
    assert status == 403
    house("agency", "consumer", "enable_templates_for_provider_run", cleanroom_name="room",
          template_names=["planes"])  # fmt: skip
    shown = house("airline", "provider", "explain_analysis", **asked)["plan"]
    quote = house("airline", "provider", "quote_analysis", **asked)
    assert shown["price"]["epsilon"] == quote["epsilon"] == 0.1
    assert shown["entity"] == "tailnum of agency.fleet"
