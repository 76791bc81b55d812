"""Names are plain ASCII, so that nothing has to be escaped anywhere (B-36, B-37)."""

import pytest

from cleanroom.errors import InvalidRequestError
from cleanroom.rooms.names import check_cleanroom_name, check_party, check_table_name, check_template_name

HOSTILE = [
    "",
    " ",
    "a/b",
    "a.b",
    "a'b",
    'a"b',
    "a;b",
    "a\n",
    "\na",
    "a\x00",
    "é",
    "ａ",
    "a@b",
    "a:b",
    "../x",
    "a#b",
    None,
    5,
    b"a",
]


@pytest.mark.parametrize("check", [check_party, check_table_name, check_template_name, check_cleanroom_name])
@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_nothing_but_plain_text_is_a_name(check, name):
    """B-36, B-37"""
    with pytest.raises(InvalidRequestError):
        check(name)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            check_party,
            ["a", "airline", "a_1", "a" * 63],
            ["A", "1a", "_a", "a" * 64, "a-b", "a b", "cleanroom", "main"],
        ),
        (check_table_name, ["a", "flights_2013", "a" * 63], ["Flights", "1a", "_a", "a" * 64, "a-b", "a b"]),
        (check_template_name, ["a", "1", "_a", "count_by_carrier", "a" * 64], ["A", "a-b", "a b", "a" * 65]),
        (
            check_cleanroom_name,
            ["a", "A", "1", "My clean-room_1", "x" * 128],
            [" a", "a ", "-a", "a-", "x" * 129, "a\tb", "a,b"],
        ),
    ],
)
def test_each_name_has_its_rule(check, good, bad):
    """B-36: template names are lower-case letters, digits, underscores."""
    assert [check(name) for name in good] == good
    for name in bad:
        with pytest.raises(InvalidRequestError):
            check(name)
