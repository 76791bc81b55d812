"""Table policies: read strictly, written back the same."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanroom.errors import InvalidRequestError
from cleanroom.rooms.native_types import column_type
from cleanroom.rooms.policies import policy_as_json, policy_from_json
from cleanroom.rooms.tables import Column, ColumnBounds, ColumnType, TablePolicy

COLUMNS = tuple(
    Column(name=name, type=ColumnType(type_), native_type="X")
    for name, type_ in (
        ("tailnum", "text"),
        ("Carrier", "text"),
        ("month", "integer"),
        ("dep_delay", "integer"),
        ("price", "decimal"),
        ("air_time", "double"),
        ("day", "date"),
        ("at", "timestamp"),
        ("late", "boolean"),
        ("blob", "other"),
    )
)
FULL = {
    "max_rows": 3,
    "max_groups": 2,
    "bounds": {"dep_delay": [-30, 180], "price": [0, 0.1]},
    "domains": {
        "carrier": ["AA", "UA", "aa"],
        "month": {"range": [1, 12]},
        "day": {"range": ["2024-02-27", "2024-03-02"]},
        "late": [True, False],
    },
    "min_entities": 5,
    "join_columns": ["tailnum"],
    "project_columns": ["Carrier", "month"],
    "activation_columns": [],
}


def test_a_policy_is_read_as_declared():
    """B-33, B-80"""
    policy = policy_from_json(FULL, COLUMNS)
    assert (policy.max_rows, policy.max_groups, policy.min_entities) == (3, 2, 5)
    assert policy.bounds["dep_delay"] == ColumnBounds(lo=Fraction(-30), hi=Fraction(180))
    assert policy.bounds["price"].hi == Fraction(1, 10)
    assert policy.domains["carrier"].values == ("AA", "UA", "aa")
    assert policy.domains["month"].values == tuple(range(1, 13))
    assert policy.domains["day"].values == ("2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01", "2024-03-02")
    assert policy.domains["late"].values == (True, False)
    assert policy.join_columns == ("tailnum",)
    assert policy.activation_columns == ()


def test_ranges_of_dates_and_timestamps_are_days_and_microseconds():
    """Counted by hand: 2024-01-01 is 54 years, 13 of them leap years, after 1970-01-01."""
    declared = {"bounds": {"day": ["2024-01-01", "2024-12-31"], "at": ["2024-01-01", "2024-01-01 00:00:01.5"]}}
    policy = policy_from_json(declared, COLUMNS)
    first = 54 * 365 + 13
    assert policy.bounds["day"] == ColumnBounds(lo=Fraction(first), hi=Fraction(first + 365), kind=ColumnType.DATE)
    at = policy.bounds["at"]
    assert (at.lo, at.hi - at.lo) == (first * 86_400 * 10**6, 1_500_000)
    assert policy_as_json(policy)["bounds"] == {
        "day": ["2024-01-01", "2024-12-31"],
        "at": ["2024-01-01 00:00:00", "2024-01-01 00:00:01.500000"],
    }
    assert policy_from_json(policy_as_json(policy), COLUMNS) == policy


def test_what_is_declared_of_an_array_is_about_its_elements():
    """A range for numbers, a list of values for texts; neither for arrays of what has none."""
    natives = {"tags": "VARCHAR[]", "scores": "INTEGER[]", "days": "DATE[]", "many": "VARCHAR[][]"}
    columns = tuple(Column(name=n, type=column_type(t), native_type=t) for n, t in natives.items())
    declared = {
        "bounds": {"scores": [0, 10], "days": ["2024-01-01", "2024-01-31"]},
        "domains": {"tags": ["a", "b"], "scores": {"range": [1, 3]}},
    }
    policy = policy_from_json(declared, columns)
    assert policy.bounds["scores"] == ColumnBounds(lo=Fraction(0), hi=Fraction(10))
    assert policy.bounds["days"].kind is ColumnType.DATE
    assert policy.domains["tags"].values == ("a", "b")
    assert policy_from_json(policy_as_json(policy), columns) == policy
    for wrong in ({"bounds": {"tags": [0, 1]}}, {"domains": {"scores": ["a"]}}, {"domains": {"many": ["a"]}}):
        with pytest.raises(InvalidRequestError):
            policy_from_json(wrong, columns)


def test_a_policy_comes_back_as_it_was_declared():
    """B-80"""
    policy = policy_from_json(FULL, COLUMNS)
    written = json.loads(json.dumps(policy_as_json(policy)))
    assert written == FULL
    assert policy_from_json(written, COLUMNS) == policy
    assert policy_as_json(policy_from_json({}, COLUMNS)) == {}
    assert policy_from_json({}, COLUMNS) == TablePolicy()


def test_dates_as_text_come_back_too():
    """A text column may hold dates, and its days in a row are written as a range."""
    days = {"domains": {"carrier": ["2024-01-01", "2024-01-02", "2024-01-03"]}}
    policy = policy_from_json(days, COLUMNS)
    assert policy_from_json(policy_as_json(policy), COLUMNS) == policy


def test_column_names_are_compared_without_case_and_kept_lower():
    """Names in SQL have no case unless quoted."""
    policy = policy_from_json({"bounds": {"DEP_DELAY": [0, 1]}, "join_columns": ["CARRIER", "carrier"]}, COLUMNS)
    assert list(policy.bounds) == ["dep_delay"]
    assert policy.join_columns == ("Carrier",)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (None, "object"),
        ([], "object"),
        ({"max_row": 1}, "unknown key, 'max_row'; the keys are max_rows"),
        ({"max_rows": 1, "x" * 65: 1}, f"unknown key, '{'x' * 64}';"),
        ({1: 1}, "unknown key, something of type int;"),
        *(({"max_rows": value}, "max_rows must be") for value in (0, -1, 1.0, True, "3", [1], 10**12)),
        *(({"max_groups": value}, "max_groups must be") for value in (0, -1, 1.5, False, "3", 10**12)),
        *(({"min_entities": value}, "min_entities must be") for value in (-1, 0.5, True, "3")),
        ({"bounds": [1]}, "object"),
        ({"bounds": {"month": [0, 1], "no\nthing": [0, 1]}}, "does not have: 'no\\nthing'"),
        ({"bounds": {"tailnum": [0, 1]}}, "only number, date and timestamp columns"),
        *(
            ({"bounds": {"day": value}}, "bounds.day")
            for value in (
                *([0, 1], ["2024-01-01"], ["2024-01-02", "2024-01-01"], ["2024-01-01", "2024-01-01"], "2024-01-01"),
                *(["2024-01-01", "2024-02-30"], ["2024-01-01", "2024-02-01 00:00:00"], ["0000-01-01", "2024-01-01"]),
            )
        ),
        ({"bounds": {"at": ["2024-01-01", "2024-01-01 00:00:00.0000001"]}}, "bounds.at"),
        ({"bounds": {"month": [0, 1], "MONTH": [0, 2]}}, "twice"),
        *(
            ({"bounds": {"month": value}}, "bounds.month")
            for value in ([1], [1, 2, 3], 5, None, {"lo": 1}, [2, 1], [1, 1])
        ),
        *(
            ({"bounds": {"month": [0, v]}}, "bounds.month")
            for v in (float("nan"), float("inf"), "1", True, None, 1e300)
        ),
        ({"domains": {"n" * 65: [1]}}, f"domains names a column that the table does not have: '{'n' * 64}'"),
        ({"domains": {"price": [1]}}, "have domains"),
        ({"domains": {"at": ["2024-01-01"]}}, "have domains"),
        ({"domains": {"blob": ["x"]}}, "have domains"),
        *(
            ({"domains": {"month": value}}, "domains.month")
            for value in ([], [1.0], ["1"], [True], [1, 1], 5, None, [2**63])
        ),
        *(
            ({"domains": {"carrier": value}}, "domains.carrier")
            for value in ([1], [None], ["\x00"], ["\ud800"], ["x" * 2000], "AA")
        ),
        *(({"domains": {"late": value}}, "domains.late") for value in ([1], ["true"], {"range": [False, True]})),
        *(
            ({"domains": {"day": [value]}}, "domains.day")
            for value in ("2024-1-1", "20240101", "2023-02-29", "x", 5, "２024-01-01")
        ),
        *(
            ({"domains": {"month": {"range": v}}}, "domains.month")
            for v in ([1], [2, 1], ["a", "b"], 5, [1, 2, 3], [1.5, 2])
        ),
        ({"domains": {"month": {"rang": [1, 2]}}}, "domains.month"),
        ({"domains": {"month": {"range": [1, 2], "x": 1}}}, "domains.month"),
        ({"domains": {"carrier": {"range": ["a", "c"]}}}, "list the values"),
        ({"domains": {"month": {"range": [0, 10**6]}}}, "1000001 values"),
        ({"domains": {"month": {"range": [0, 2**62]}}}, "values"),
        ({"join_columns": "tailnum"}, "list of columns"),
        ({"join_columns": ["tailnum", "nothing"]}, "does not have: 'nothing'"),
        ({"project_columns": [12]}, "does not have: something of type int"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(policy, says):
    """Strict: a slip in a policy would be a slip in what is protected."""
    with pytest.raises(InvalidRequestError) as caught:
        policy_from_json(policy, COLUMNS)
    assert says in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["month", "range", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*FULL, "x"]), JSON))
def test_any_json_is_a_policy_or_refused(declared):
    """Whatever is declared, it is stored exactly or not at all."""
    try:
        policy = policy_from_json(declared, COLUMNS)
    except InvalidRequestError:
        return
    assert policy_from_json(policy_as_json(policy), COLUMNS) == policy
