"""The settings record: defaults, exact rules, and what is refused (B-10 to B-18)."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanroom.errors import InvalidRequestError
from cleanroom.rooms.settings import Accounting, NoiseMechanism, PrivacySettings, as_record, settings_from_record

DEFAULTS = {
    "differential": 0,
    "epsilon": 0.1,
    "noise_mechanism": "Laplace",
    "privacy_budget": 10,
    "threshold": 0,
    "threshold_value": 0,
    "delta": 0.000001,
    "lifetime_budget": None,
    "accounting": "epsilon",
}


def test_what_is_left_out_has_its_default():
    """B-10 to B-17"""
    assert settings_from_record({}) == PrivacySettings()
    assert as_record(settings_from_record({})) == DEFAULTS
    changed = settings_from_record({"differential": 1})
    assert as_record(changed) == DEFAULTS | {"differential": 1}


@pytest.mark.parametrize(
    ("key", "given_value", "attribute"),
    [
        ("differential", 1, True),
        ("epsilon", 0.1, Fraction(1, 10)),
        ("epsilon", 0.3, Fraction(3, 10)),
        ("epsilon", 2, Fraction(2)),
        ("epsilon", 1e-6, Fraction(1, 10**6)),
        ("privacy_budget", 0, 0),
        ("lifetime_budget", 0, 0),
        ("lifetime_budget", 10**9, 10**9),
        ("lifetime_budget", None, None),
        ("accounting", "epsilon", Accounting.EPSILON),
        ("accounting", "zcdp", Accounting.ZCDP),
        ("threshold", 1, True),
        ("threshold_value", 25, 25),
        ("delta", 1e-3, Fraction(1, 1000)),
        ("delta", 1e-9, Fraction(1, 10**9)),
        ("noise_mechanism", "Laplace", NoiseMechanism.LAPLACE),
        ("noise_mechanism", "LAPLACE", NoiseMechanism.LAPLACE),
        ("noise_mechanism", "gaussian", NoiseMechanism.GAUSSIAN),
        ("noise_mechanism", "Gauss", NoiseMechanism.GAUSSIAN),
        ("noise_mechanism", "Gauß", NoiseMechanism.GAUSSIAN),
        ("noise_mechanism", "GAUß", NoiseMechanism.GAUSSIAN),
    ],
)
def test_a_setting_means_what_was_written(key, given_value, attribute):
    """B-10 to B-16"""
    assert getattr(settings_from_record({key: given_value}), key) == attribute


WRONG = [
    *(("differential", v) for v in (True, False, 2, -1, 1.0, "1", None, [1])),
    *(
        ("epsilon", v)
        for v in (0, 0.0, -0.1, True, "0.1", None, float("nan"), float("inf"), float("-inf"), 1e300, 1e-300)
    ),
    *(("noise_mechanism", v) for v in ("", "Laplace ", "geometric", 1, None, True, ["Laplace"])),
    *(("accounting", v) for v in ("", "zCDP", "ZCDP", "rdp", "rho", 1, None, True, ["zcdp"])),
    *(("privacy_budget", v) for v in (-1, 1.5, 10.0, True, "10", None, float("nan"), 10**30)),
    *(("threshold", v) for v in (2, True, "yes", None, 0.0)),
    *(("threshold_value", v) for v in (-1, 2.5, True, "5", None)),
    *(("delta", v) for v in (0, 0.0, -1e-6, 0.0011, 1, True, "1e-6", None, float("nan"), float("inf"), 1e-300)),
]


@pytest.mark.parametrize(("key", "value"), WRONG, ids=str)
def test_a_wrong_type_or_range_is_refused_by_name(key, value):
    """B-18"""
    with pytest.raises(InvalidRequestError) as caught:
        settings_from_record({key: value})
    assert str(caught.value).startswith(f"{key} must be ")
    assert caught.value.details["setting"] == key
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ({"Epsilon": 1}, "'Epsilon'"),
        ({"epsilon ": 1}, "'epsilon '"),
        ({"budget": 1}, "'budget'"),
        ({"": 1}, "''"),
        ({1: 1}, "something of type int"),
        ({"epsilon": 1, "x": 2}, "'x'"),
        ({"x" * 65: 1}, f"'{'x' * 64}'"),
    ],
)
def test_an_unknown_key_is_refused_and_named_beside_the_known_ones(record, named):
    """B-18"""
    with pytest.raises(InvalidRequestError) as caught:
        settings_from_record(record)
    assert f"no setting, {named}; the settings are differential, epsilon, noise_mechanism" in str(caught.value)


@pytest.mark.parametrize("record", [None, [], "x", 1])
def test_a_record_is_an_object(record):
    """B-18"""
    with pytest.raises(InvalidRequestError):
        settings_from_record(record)


@given(
    st.fixed_dictionaries(
        {
            "differential": st.sampled_from([0, 1]),
            "epsilon": st.floats(min_value=1e-6, max_value=1e6),
            "noise_mechanism": st.sampled_from(["Laplace", "Gaussian"]),
            "privacy_budget": st.integers(0, 10**9),
            "threshold": st.sampled_from([0, 1]),
            "threshold_value": st.integers(0, 10**9),
            "delta": st.floats(min_value=1e-30, max_value=1e-3),
            "lifetime_budget": st.none() | st.integers(0, 10**9),
            "accounting": st.sampled_from(["epsilon", "zcdp"]),
        }
    )
)
def test_a_record_comes_back_as_it_was_given(record):
    """B-17: through JSON too, to the last digit."""
    settings = settings_from_record(record)
    assert json.loads(json.dumps(as_record(settings))) == record
    assert settings_from_record(as_record(settings)) == settings


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3)


@given(st.dictionaries(st.sampled_from([*DEFAULTS, "x"]), JSON))
def test_any_json_is_a_record_or_refused(record):
    """B-18"""
    try:
        settings = settings_from_record(record)
    except InvalidRequestError:
        return
    assert settings.epsilon > 0
    assert 0 < settings.delta <= Fraction(1, 1000)
