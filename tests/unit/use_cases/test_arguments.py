"""What is said of arguments that do not fit: the argument and what is possible, never the value."""

from __future__ import annotations

import pytest

from cleanroom.errors import InvalidRequestError
from cleanroom.use_cases.arguments import NoArguments, RunAnalysis, ViewOwnAuditLog, parse_arguments


@pytest.mark.parametrize("value", ["s3cret", "s3cret\\n", "s3cret' - at `$.limit`", "s3cret` - at"])
def test_a_value_that_is_not_possible_is_not_repeated_and_the_possible_ones_are_named(value: str):
    """Once: `Invalid enum value 's3cret' - at `$.of``, with the value and without what is possible."""
    with pytest.raises(InvalidRequestError) as refusal:
        parse_arguments(ViewOwnAuditLog, f'{{"cleanroom_name": "room", "of": "{value}"}}'.encode())
    assert str(refusal.value) == (
        "the arguments do not fit: Invalid value - at `$.of`; possible are changes, provider_runs, runs"
    )


def test_the_possible_entries_of_a_list_are_named():
    with pytest.raises(InvalidRequestError) as refusal:
        parse_arguments(RunAnalysis, b'{"cleanroom_name": "room", "template_name": "t", "post_processing": ["s3cret"]}')
    assert str(refusal.value) == (
        "the arguments do not fit: Invalid value - at `$.post_processing[0]`; "
        "possible are consistent_totals, nonnegative_counts"
    )


def test_an_unknown_argument_is_answered_with_the_known_ones():
    with pytest.raises(InvalidRequestError) as refusal:
        parse_arguments(ViewOwnAuditLog, b'{"cleanroom_name": "room", "limt": 3}')
    assert str(refusal.value) == (
        "the arguments do not fit: Object contains unknown field `limt`; "
        "the arguments are cleanroom_name, of, after, limit"
    )
    with pytest.raises(InvalidRequestError, match="there are no arguments"):
        parse_arguments(NoArguments, b'{"limit": 3}')


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"of": "runs"}', "Object missing required field `cleanroom_name`"),
        (b'{"cleanroom_name": "room", "limit": "s3cret"}', "Expected `int`, got `str` - at `$.limit`"),
    ],
)
def test_what_names_no_value_is_said_as_it_is(body: bytes, said: str):
    with pytest.raises(InvalidRequestError) as refusal:
        parse_arguments(ViewOwnAuditLog, body)
    assert str(refusal.value) == f"the arguments do not fit: {said}"
