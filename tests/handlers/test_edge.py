"""The edge: what comes in wrong, and that nothing but a coded refusal or a reference goes out."""

from __future__ import annotations

import io
import json

import pytest

from cleanroom.edge import Procedure, answer_http, logger
from cleanroom.use_cases.arguments import NoArguments
from tests.house import EVENTS, furnished


@pytest.fixture(scope="module")
def house():
    return furnished()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", "invalid_request"),
        ("[]", "invalid_request"),
        ('"text"', "invalid_request"),
        ("null", "invalid_request"),
        ("{}", "invalid_request"),
        ('{"cleanroom_name": 7}', "invalid_request"),
        ('{"cleanroom_name": ""}', "invalid_request"),
        ('{"cleanroom_name": "room", "surplus": 1}', "invalid_request"),
        ('{"cleanroom_name": "room", "cleanroom_name": ["x"]}', "invalid_request"),
        ("[" * 100_000, "invalid_request"),
        ('{"cleanroom_name": NaN}', "invalid_request"),
        ("\u0000", "invalid_request"),
    ],
)
def test_malformed_bodies_are_refused(house, body, code):
    status, answer = house.ask("airline", "provider", "describe_cleanroom", body)
    assert (status, answer["error"]["code"]) == (400, code)


@pytest.mark.parametrize("procedure", ["nothing", "", "cleanroom_init/x", "../provider/cleanroom_init", "run_analysis"])
def test_unknown_procedures_are_404(house, procedure):
    status, answer = house.ask("airline", "provider", procedure, "{}")
    assert (status, answer["error"]["code"]) == (404, "unknown_procedure")


@pytest.mark.parametrize(
    "claims", [{}, {"custom:party": ""}, {"custom:party": "Air Line"}, {"custom:party": "a.b"}, {"party": "airline"}]
)
def test_a_token_without_a_party_can_do_nothing(house, claims):
    event = json.loads((EVENTS / "http_cleanroom_init.json").read_text(encoding="utf-8"))
    event["requestContext"]["authorizer"]["jwt"]["claims"] = claims
    status, _ = house.answer(event)
    assert status in {400, 403}
    assert not house.catalogue.rooms_of("")


def test_an_unexpected_failure_is_a_500_with_a_reference_that_is_in_the_log(monkeypatch):
    """Style rule 7: no trace, no text, no value leaves; the log has the reference, the kind and the place."""

    def fail(_arguments, _party, _services):
        raise ValueError("secret cell 4711")

    log = io.StringIO()
    monkeypatch.setattr(logger.handlers[0], "stream", log)
    routes = {("provider", "view_cleanrooms"): Procedure(arguments=NoArguments, call=fail)}
    event = json.loads((EVENTS / "http_suspend.json").read_text(encoding="utf-8"))
    event["rawPath"] = "/provider/view_cleanrooms"
    answer = answer_http(event, routes, lambda: None)
    assert answer["statusCode"] == 500
    assert "4711" not in answer["body"]
    reference = json.loads(answer["body"])["error"]["reference"]
    assert reference in log.getvalue()
    assert "ValueError" in log.getvalue()
    assert "4711" not in log.getvalue()


def test_openapi_describes_every_procedure_and_is_the_shipped_file(house):
    from cleanroom.openapi import all_procedures, build_openapi

    event = json.loads((EVENTS / "http_get_run.json").read_text(encoding="utf-8"))
    event["rawPath"] = "/openapi.json"
    status, shipped = house.answer(event)
    assert status == 200
    assert shipped == json.loads(json.dumps(build_openapi())), "run `make docs`"
    for side, name in all_procedures():
        assert f"/{side}/{name}" in shipped["paths"]
