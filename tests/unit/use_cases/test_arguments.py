"""What is said of arguments that do not fit: the argument and what is possible, never the value."""

from __future__ import annotations

import json

import msgspec
import pytest

from cleanroom.errors import InvalidRequestError
from cleanroom.use_cases import arguments
from cleanroom.use_cases.arguments import (
    AddCustomSqlTemplate,
    AddNoise,
    Arguments,
    LinkDatasets,
    NoArguments,
    RunAnalysis,
    SetRoomBudget,
    ViewOwnAuditLog,
    parse_arguments,
)

RUN = {"cleanroom_name": "room", "template_name": "t"}
NOISE = {"values": [1], "sensitivity": 1, "epsilon": 1}
OF = "of must be one of changes, provider_runs, runs"
KINDS = [
    kind
    for kind in vars(arguments).values()
    if isinstance(kind, type) and issubclass(kind, Arguments) and kind is not Arguments
]


def said_of(kind: type[Arguments], given: object) -> str:
    with pytest.raises(InvalidRequestError) as refusal:
        parse_arguments(kind, json.dumps(given).encode())
    return str(refusal.value).removeprefix("the arguments do not fit: ")


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        *((ViewOwnAuditLog, {"of": of}, OF) for of in ("s3cret", "s3cret\n", "s3cret' - at `$.limit`", "s3cret` - at")),
        (RunAnalysis, RUN | {"post_processing": ["s3cret"]}, ("post_processing[0] must be one of consistent_totals, "
         "nonnegative_counts")),
        (RunAnalysis, RUN | {"run_id": "s3cret"}, ("run_id must be 8 to 64 of the letters a to z and A to Z, digits, "
         "_ and -, or null")),
        (ViewOwnAuditLog, {"of": "runs"}, "cleanroom_name is missing"),
        (ViewOwnAuditLog, {"cleanroom_name": "room", "limit": "s3cret"}, "limit must be a whole number from 1 to 500"),
        (ViewOwnAuditLog, {"cleanroom_name": "room", "limit": 501}, "limit must be a whole number from 1 to 500"),
        (ViewOwnAuditLog, {"cleanroom_name": "room", "limit": 1.5}, "limit must be a whole number from 1 to 500"),
        (ViewOwnAuditLog, {"cleanroom_name": ""}, "cleanroom_name must be text of 1 to 128 characters"),
        (ViewOwnAuditLog, {"cleanroom_name": "room", "limt": 3}, ("there is no argument limt; the arguments are "
         "cleanroom_name, of, after, limit")),
        (ViewOwnAuditLog, {"cleanroom_name": "room", "s3cret`": 3}, ("there is no such argument; the arguments are "
         "cleanroom_name, of, after, limit")),
        (NoArguments, {"limit": 3}, "there is no argument limit; there are no arguments"),
        (NoArguments, ["s3cret"], "the body must be a JSON object"),
        (SetRoomBudget, {"cleanroom_name": "room", "room_budget": -1}, ("room_budget must be a whole number from 0 to "
         "1,000,000,000, or null")),
        (AddNoise, NOISE | {"values": [1, "s3cret"]}, "values[1] must be a number"),
        (AddNoise, NOISE | {"values": []}, "values must be a list of 1 to 10,000 entries, each a number"),
        (AddNoise, NOISE | {"gaussian": 1}, "gaussian must be true or false"),
        (AddNoise, NOISE | {"sensitivity": 0}, "sensitivity must be a number from 1e-100 to 1e+100"),
        (AddCustomSqlTemplate, RUN | {"template": "x", "sensitivity": 0}, ("sensitivity must be a number above 0 and "
         "at most 1,000")),
        (LinkDatasets, {"cleanroom_name": "room", "tables": [], "policies": {"s3cret": 3}}, ("policies[...] must be a "
         "JSON object")),
        (LinkDatasets, {"cleanroom_name": "room", "tables": [], "entity_columns": {"s3cret": {"pni": 3}}},
         "in entity_columns[...] there is no argument pni; the arguments are pin, unpin"),
        (LinkDatasets, {"cleanroom_name": "room", "tables": [], "entity_columns": {"s3cret": {"unpin": [3]}}},
         "entity_columns[...].unpin[0] must be text"),
    ],
)  # fmt: skip
def test_the_argument_and_what_is_possible_are_said_and_the_value_is_not(kind, given, said):
    """Once: Expected `int`, got `str` - at `$.limit`; and Invalid enum value 's3cret' - at `$.of`, with the value."""
    assert said_of(kind, given) == said


@pytest.mark.parametrize("kind", KINDS)
def test_no_word_of_the_decoder_reaches_a_caller(kind):
    for field in msgspec.structs.fields(kind):
        for value in ("s3cret" * 50_000, ["s3cret", {}], {"s3cret": 3.5}, -7.5, True, None):
            try:
                parse_arguments(kind, json.dumps({field.name: value}).encode())
            except InvalidRequestError as refusal:
                words = str(refusal)
                assert not any(part in words for part in ("`", "$", "Expected", "Object", "Invalid", "s3cret", "7.5"))
                assert words.endswith(" is missing") or f"{field.name}" in words


def test_what_is_no_json_is_told_as_such():
    for body in (b"{", b'{"cleanroom_name": "\xff"}', b'{"arguments": {"a": ' + b"[" * 100_000):
        with pytest.raises(InvalidRequestError, match="the body is not valid JSON"):
            parse_arguments(RunAnalysis, body)
