"""Canonical JSON is RFC 8785's: numbers as in its appendix B, names as in its section 3.2.3."""

import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanroom.rooms.canonical_json import canonical_json

APPENDIX_B = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
# Whole doubles beyond 2^53 read back as integers, which are other numbers: 5e16 and 5e16 + 1 are one double.
FLOATS = st.floats(-(2.0**53), 2.0**53)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | FLOATS
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
JSON = st.recursive(SCALARS | TEXT, lambda x: st.lists(x, max_size=4) | st.dictionaries(TEXT, x, max_size=4))


@pytest.mark.parametrize(("bits", "text"), APPENDIX_B.items())
def test_numbers_are_written_as_in_the_rfcs_appendix(bits, text):
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(number).decode() == text


@pytest.mark.parametrize("bits", ["7ff8000000000000", "7ff0000000000000", "fff0000000000000"])
def test_what_is_no_number_in_json_is_refused(bits):
    with pytest.raises(ValueError, match="NaN"):
        canonical_json([struct.unpack(">d", bytes.fromhex(bits))[0]])


def test_names_are_sorted_by_utf_16_as_in_the_rfcs_example():
    """By code points U+FB33 would come before U+1F600; in UTF-16 it does not."""
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    written = canonical_json(dict.fromkeys(names, 0)).decode()
    assert list(json.loads(written)) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert sorted(names) != list(json.loads(written))


def test_text_is_escaped_only_where_json_must():
    assert (
        canonical_json('\u0000\u001f\b\t\n\f\r"\\/\u007fé€😀')
        == '"\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\/\u007fé€😀"'.encode()
    )


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, b"bytes", {1: 2}, {"a": {3}}, object()])
def test_what_has_no_canonical_text_is_refused(value):
    with pytest.raises(ValueError):
        canonical_json(value)


def test_whole_numbers_keep_all_digits_where_the_rfc_would_round():
    assert (
        canonical_json([2**53 + 1, 2.0**53, -(10**30)]) == b"[9007199254740993,9007199254740992,-1" + b"0" * 30 + b"]"
    )


@given(JSON)
def test_the_text_reads_back_as_the_same_value_and_has_one_form(value):
    written = canonical_json(value)
    read = json.loads(written)
    assert read == value
    assert canonical_json(read) == written


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_whole_double_and_the_same_integer_are_one(number):
    assert float(canonical_json(number)) == number
    if math.isfinite(number) and abs(number) < 2**53 and number == int(number):
        assert canonical_json(number) == canonical_json(int(number))
