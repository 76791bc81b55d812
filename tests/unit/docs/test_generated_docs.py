"""The generated parts say what the code says now, and nothing that the code has lacks documentation."""

from __future__ import annotations

from fractions import Fraction

import pytest
import sqlglot

from cleanroom.edge import STATUS
from cleanroom.errors import Kind
from cleanroom.openapi import all_procedures
from cleanroom.rooms.settings import PrivacySettings, as_record
from cleanroom.templates.functions import FUNCTIONS, NAMED_FUNCTIONS, allowed_function
from cleanroom.templates.jinja_filters import FILTERS
from docs.generate import ROOT, error_classes, parameters, policy_keys, rules, written
from tests.unit.docs.names import document, quoted, rows


def test_what_is_generated_is_what_the_code_says():
    stale = [path.relative_to(ROOT).as_posix() for path, text in written().items() if path.read_text("utf-8") != text]
    assert stale == [], "run `make docs`"


def first_column(name):
    return {quoted(row[0])[0] for row in rows(document(name)) if quoted(row[0])}


def test_every_error_code_is_documented_with_its_status():
    documented = {quoted(row[0])[0]: row[1] for row in rows(document("errors.md"))}
    for kind in error_classes():
        assert documented[kind.code] == str(STATUS[kind.kind]), kind
        assert kind.__doc__, kind
    assert set(STATUS) == set(Kind)
    codes = [kind.code for kind in error_classes()]
    assert len(set(codes)) == len(codes)


def test_every_setting_policy_key_and_parameter_is_documented():
    documented = first_column("settings.md")
    assert set(as_record(PrivacySettings())) <= documented
    assert len(policy_keys()) == 10
    assert set(policy_keys()) <= documented
    assert set(parameters()) <= documented


def test_every_route_is_documented():
    documented = first_column("procedures.md")
    assert {f"POST /{side}/{name}" for side, name in all_procedures()} <= documented
    assert {"GET /runs/{run_id}", "GET /openapi.json"} <= documented


def test_every_rule_of_a_refusal_is_documented():
    assert len(rules()) > 50
    assert set(rules()) <= first_column("sql.md")


@pytest.mark.parametrize("kind", [*FUNCTIONS, *NAMED_FUNCTIONS])
def test_every_function_has_a_reason_and_a_spelling(kind):
    allowed = FUNCTIONS[kind] if isinstance(kind, type) else NAMED_FUNCTIONS[kind]
    assert len(allowed.reason) > 5
    assert "→" in allowed.types
    assert allowed.examples
    for example in allowed.examples:
        (parsed,) = sqlglot.parse_one(f"SELECT {example}", read="snowflake").expressions
        assert allowed_function(parsed) is allowed
        assert example in document("sql.md").replace("\\|", "|")


def test_every_filter_is_documented():
    assert all(f"`{name}`" in document("sql.md") for name in FILTERS)


def test_the_example_is_one_that_a_reader_can_check():
    """By hand from the receipt: sensitivity over epsilon is the scale; the exact answers are plain Python."""
    from tests.unit.docs.example import exact, story

    _, quote, release = story()
    columns = release["receipt"]["measurements"][0]["columns"]
    for column in columns:
        together = [c for c in columns if c is column or (c["vector"] == column["vector"] is not None)]
        paid = sum(c["micro_epsilon"] for c in together) / 1e6
        assert float(Fraction(column["noise"]["scale"])) == int(column["sensitivity"]) / paid
    assert quote["epsilon"] == release["price"]["epsilon"] == 2
    for (carrier, planes, _), (low, high) in zip(release["rows"], release["intervals"]["planes"], strict=True):
        assert low <= planes <= high
        assert low <= exact()[carrier][0] <= high
