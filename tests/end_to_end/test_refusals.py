"""Each refusal over HTTP: a 4xx with a stable code; nothing charged, nothing stored, nothing told."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jwt
import pyarrow as pa
import pytest

from cleanroom.adapters.memory import parquet_bytes
from tests.end_to_end.deployed import SECRETS, VISITS, Room, furnished_room

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from local.stack import Stack

TELLING = re.compile(
    r"Traceback|File \"|\.py\b|site-packages|/tmp|/var|s3://|arn:|boto|duckdb|\bSELECT\b.*\bFROM\b", re.I
)


@pytest.fixture(scope="module")
def room(stack: Stack, caller: Callable[[str], httpx.Client]) -> Room:
    return furnished_room(stack, caller)


@pytest.fixture(scope="module")
def before(room: Room) -> object:
    """Give the state that each test here must leave as it was."""
    return state(room)


def refused(room: Room, answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check one refusal's status, code and shape, and that it tells nothing; return the error."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == code, error
    assert len(error["message"]) > 10
    assert not TELLING.search(answer.text), answer.text
    assert not [secret for secret in SECRETS if secret in answer.text], answer.text
    assert room.stack.outputs["TablesBucketName"] not in answer.text
    return error


def state(room: Room) -> object:
    """Return what a refusal must leave as it was: what both consumers spent, and what is stored."""
    return room.spent_by_all(), room.results(), room.keys("ExactBucketName")


RUN = "consumer/run_analysis"
WHOLE = parquet_bytes(VISITS)

# What is asked: party, route, arguments that replace those of a good run (or a whole body); status and code.
REQUESTS: dict[str, tuple[str, str, dict[str, Any] | str, int, str]] = {
    "malformed JSON": ("agency", RUN, '{"cleanroom_name": "QUOKKA', 400, "invalid_request"),
    "no JSON at all": ("agency", RUN, "BILBY-LITERAL", 400, "invalid_request"),
    "not UTF-8": ("agency", RUN, '{"cleanroom_name": "\udcff"}', 400, "invalid_request"),
    "a list": ("agency", RUN, "[1, 4711471147]", 400, "invalid_request"),
    "nested very deep": ("agency", RUN, '{"arguments": ' + "[" * 100_000, 400, "invalid_request"),
    "an unknown procedure": ("agency", "consumer/drop_all_tables", {}, 404, "unknown_procedure"),
    "an unknown procedure of the provider": ("airline", "provider/run_everything", {}, 404, "unknown_procedure"),
    "an unknown room": ("agency", RUN, {"cleanroom_name": "nowhere"}, 404, "clean_room_not_found"),
    "an outsider": ("stranger", RUN, {}, 404, "clean_room_not_found"),
    "an unknown template": ("agency", RUN, {"template_name": "nothing"}, 404, "template_not_found"),
    "a table that is not linked": ("agency", RUN, {"provider_tables": ["elsewhere"]}, 404, "table_not_linked"),
    "a number for a name": ("agency", RUN, {"template_name": 4711471147}, 400, "invalid_request"),
    "text for a list": ("agency", RUN, {"provider_tables": "wombat"}, 400, "invalid_request"),
    "an argument too many": ("agency", RUN, {"sql": "BILBY-LITERAL"}, 400, "invalid_request"),
    "a run id with a slash": ("agency", RUN, {"run_id": "../broker/QUOKKA"}, 400, "invalid_request"),
    "a column that does not exist": ("agency", RUN, {"template_name": "no_such_column"}, 422, "template_refused"),
    "rows": ("agency", RUN, {"template_name": "rows"}, 422, "template_refused"),
    "a sum without bounds": ("agency", RUN, {"template_name": "unbounded"}, 422, "missing_bounds"),
    "a missing argument": ("agency", RUN, {"template_name": "total"}, 422, "template_refused"),
    "an exhausted budget": ("broker", RUN, {}, 402, "budget_exhausted"),
    "a consumer as provider": ("agency", "provider/view_consumers", {}, 403, "forbidden"),
    "a provider as consumer": ("airline", RUN, {}, 403, "forbidden"),
    "a room by a consumer": ("agency", "provider/cleanroom_init", {"cleanroom_name": "mine"}, 403, "forbidden"),
    "suspending by a consumer": ("agency", "provider/suspend_account_dp_task", "{}", 403, "forbidden"),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_a_wrong_request_is_refused_and_leaves_everything_as_it_was(room: Room, before: object, name: str) -> None:
    party, route, asked, status, code = REQUESTS[name]
    if isinstance(asked, str):
        content: str | bytes = asked.encode("utf-8", "surrogateescape")
    elif route == RUN:
        content = json.dumps(room.request() | asked)
    else:
        content = json.dumps({"cleanroom_name": room.name} | asked)
    answer = room.caller(party).post(f"/{route}", content=content)
    refused(room, answer, status, code)
    assert state(room) == before


def test_a_join_without_the_entity_is_refused_by_rule_and_with_a_cure(room: Room, before: object) -> None:
    answer = room.run("without_entity", provider_tables=[room.table, f"{room.table}_more"])
    error = refused(room, answer, 422, "template_refused")
    assert error["rule"] == "join_without_entity"
    assert error["cure"]
    assert state(room) == before


@pytest.mark.parametrize(
    "record",
    [
        '{"epsilon": NaN}',
        '{"epsilon": -1}',
        '{"epsilon": Infinity}',
        '{"epsilon": 1e999}',
        '{"privacy_budget": "4711471147"}',
        '{"delta": -1}',
        '{"differential": null}',
    ],
)
def test_settings_that_are_no_numbers_or_negative_are_refused(room: Room, record: str) -> None:
    """B-18: and the stored record stays."""
    before = room("airline", "provider", "describe_cleanroom")
    body = f'{{"cleanroom_name": "{room.name}", "party_name": "agency", "privacy_settings": {record}}}'
    refused(room, room.ask("airline", "provider", "set_privacy_settings", body), 400, "invalid_request")
    assert room("airline", "provider", "describe_cleanroom") == before


@pytest.mark.parametrize(
    "changed",
    [
        '"values": [NaN]',
        '"values": [1e308, -1e308]',
        '"values": ["4711471147"]',
        '"epsilon": -0.5',
        '"epsilon": 0',
        '"epsilon": NaN',
        '"sensitivity": Infinity',
    ],
)
def test_direct_noise_without_a_meaning_is_refused(room: Room, before: object, changed: str) -> None:
    good = ['"values": [1.0]', '"epsilon": 0.5', '"sensitivity": 1.0']
    kept = [item for item in good if item.split(":")[0] != changed.split(":", maxsplit=1)[0]]
    body = f'{{"cleanroom_name": "{room.name}", {", ".join([*kept, changed])}}}'
    refused(room, room.ask("agency", "consumer", "add_noise", body), 400, "invalid_request")
    assert state(room) == before


DAMAGED = {
    "missing": None,
    "empty": b"",
    "corrupt": b"PAR1" + b"QUOKKA" * 100 + b"PAR1",
    "cut_off": WHOLE[: len(WHOLE) // 2],
    "another_schema": parquet_bytes(VISITS.drop_columns(["amount"])),
    "another_type": parquet_bytes(VISITS.set_column(3, "amount", VISITS["amount"].cast(pa.string()))),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_table_that_is_not_what_was_linked_is_refused_and_costs_nothing(
    room: Room, before: object, damage: str
) -> None:
    name, content = f"{room.table}_more", DAMAGED[damage]
    if content is None:
        room.stack.client("s3").delete_object(
            Bucket=room.stack.outputs["TablesBucketName"], Key=f"airline/{name}/0.parquet"
        )
    else:
        room.put("airline", name, content)
    try:
        refused(room, room.run(provider_tables=[name]), 409, "table_unreadable")
        assert state(room) == before
    finally:
        room.put("airline", name, WHOLE)


def test_an_outsider_cannot_tell_a_room_from_none(room: Room) -> None:
    """B-73."""
    known = room.ask("stranger", "consumer", "view_added_templates")
    unknown = room.ask("stranger", "consumer", "view_added_templates", cleanroom_name=f"{room.name}x")
    assert known.status_code == unknown.status_code == 404
    assert known.text.replace(room.name, "…") == unknown.text.replace(f"{room.name}x", "…")


@pytest.mark.parametrize(
    "route", [RUN, "consumer/add_noise", "provider/set_privacy_settings", "provider/link_datasets"]
)
def test_a_missing_altered_or_unsigned_token_opens_no_door(room: Room, before: object, route: str) -> None:
    good = room.stack.token("stranger")
    claims = jwt.decode(good, options={"verify_signature": False}) | {"custom:party": "airline"}
    header, _, signature = good.split(".")
    swapped = jwt.encode(claims, "not-the-key-of-the-pool-but-long-enough", algorithm="HS256").split(".")[1]
    unsigned = jwt.encode(claims, "", algorithm="none")
    client = room.caller("")
    for token in (None, "nonsense", f"{header}.{swapped}.{signature}", unsigned):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = client.post(f"/{route}", content=json.dumps(room.request()), headers=headers)
        assert answer.status_code == 401, (token, answer.text)
    assert state(room) == before
