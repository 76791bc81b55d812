"""Values as stored JSON: what comes back is what went in, or a refusal (rule 6 of the ledger)."""

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanroom.adapters.codec import MAX_BODY_BYTES, decode, encode
from cleanroom.errors import InvalidRequestError, LedgerUnreadableError
from cleanroom.rooms.ledger import RunRecord
from cleanroom.rooms.ledger_rules import run_of
from cleanroom.rooms.settings import NoiseMechanism, PrivacySettings
from tests.contract.ledgers import charge

RUN = run_of(charge())


@settings(deadline=None)
@given(st.fractions(), st.integers(0), st.booleans(), st.sampled_from(NoiseMechanism))
def test_settings_come_back_exactly(epsilon, budget, on, mechanism):
    """B-17: no rounding of what the price is computed from."""
    record = PrivacySettings(epsilon=epsilon, privacy_budget=budget, differential=on, noise_mechanism=mechanism)
    back = decode(encode(record), PrivacySettings)
    assert back == record
    assert type(back.epsilon) is Fraction


def test_a_run_comes_back_exactly():
    assert decode(encode(RUN), RunRecord) == RUN


@pytest.mark.parametrize("value", [PrivacySettings(), RUN])
def test_every_field_is_required_although_it_has_a_default(value):
    """A record written by a damaged or older program must not come back with DP off."""
    stored = msgspec.json.decode(encode(value))
    assert set(stored) == {field.name for field in fields(value)}
    for name in stored:
        damaged = {key: part for key, part in stored.items() if key != name}
        with pytest.raises(LedgerUnreadableError):
            decode(msgspec.json.encode(damaged).decode(), type(value))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"1/10"', "0.1"),
        ('"1/10"', '"0.1"'),
        ('"1/10"', '"2/20"'),
        ('"1/10"', '"1/0"'),
        ('"1/10"', '"nan"'),
        ('"1/10"', "null"),
        ("false", "0"),
        ("false", '"false"'),
        ('"Laplace"', '"none"'),
        (":10,", ":10.0,"),
        (":10,", ":NaN,"),
        ("}", ',"unknown":1}'),
        ("}", ""),
        ("{", "[{"),
    ],
)
def test_what_is_not_exactly_what_we_write_refuses(old, new):
    """Rule 6."""
    text = encode(PrivacySettings())
    assert old in text
    with pytest.raises(LedgerUnreadableError):
        decode(text.replace(old, new, 1), PrivacySettings)


def test_a_refusal_shows_nothing_of_what_is_stored():
    with pytest.raises(LedgerUnreadableError) as refusal:
        decode('{"secret":"value"}', PrivacySettings)
    assert "secret" not in str(refusal.value)
    assert "value" not in str(refusal.value)


def test_what_dynamodb_could_not_hold_is_refused_with_its_size():
    room = replace(RUN, template="x" * MAX_BODY_BYTES)
    with pytest.raises(InvalidRequestError, match=str(MAX_BODY_BYTES)):
        encode(room)


def test_what_has_no_exact_text_is_a_bug_of_ours():
    @dataclass(frozen=True)
    class Odd:
        part: object

    with pytest.raises(TypeError):
        encode(Odd(part=object()))
    assert decode(encode(RUN), RunRecord).charged_at == datetime(2026, 11, 20, 12, tzinfo=UTC)
