"""Attack: many Gaussian calls that cost hardly any epsilon and much delta, averaged until the noise is gone."""

from __future__ import annotations

from tests.house import furnished

COUNT_OF_ONE = "FROM IDENTIFIER({{ source_table[0] }}) p WHERE p.tailnum = 'N100AA'"
ROOM = {"cleanroom_name": "room"}


def asked(house, calls, *, name="asked"):
    house("airline", "provider", "add_custom_sql_template", **ROOM, template_name=name,
          template=f"SELECT {', '.join(calls)} {COUNT_OF_ONE}")  # fmt: skip
    return house.ask("agency", "consumer", "run_analysis", **ROOM, template_name=name, provider_tables=["flights"])


def call(number, delta):
    return f"cleanroom.addnoise(COUNT(*), 0.000001, 0.{number:05d}, TRUE, {delta}) AS a{number}"


def test_one_run_cannot_buy_many_deltas_for_hardly_any_epsilon():
    """Before: 900 calls cost epsilon 0.0009 and delta 0.9, and their mean told one plane's flights within 3."""
    house = furnished()
    status, answer = asked(house, [call(i, "0.001") for i in range(1, 101)])
    assert (status, answer["error"]["rule"]) == (422, "too_much_delta")


def test_many_runs_cannot_buy_many_deltas_either():
    """Before: the budget of epsilon 10 had room for ten million such runs."""
    house = furnished()
    assert asked(house, [call(1, "0.0006")])[0] == 200
    status, answer = asked(house, [call(1, "0.0006")])
    assert (status, answer["error"]["code"]) == (402, "budget_exhausted")
    assert "delta 0.0006" in answer["error"]["message"]
    assert asked(house, [call(1, "0.0004")])[0] == 200


def test_delta_is_limited_with_dp_off_too():
    """B-42: addnoise costs what it says, settings or none."""
    house = furnished(settings={})
    assert asked(house, [call(1, "0.001")])[0] == 200
    assert asked(house, [call(1, "0.001")])[0] == 402


def test_what_the_settings_ask_for_fits_by_far():
    """A budget of 10 at epsilon 0.1 has room for all its hundred Gaussian counts at the default delta."""
    house = furnished(settings={"differential": 1, "noise_mechanism": "Gaussian"})
    tens = [f"COUNT_IF(p.dep_delay > {i}) AS n{i}" for i in range(10)]
    for _ in range(10):
        assert asked(house, tens)[0] == 200
    status, answer = asked(house, tens)
    assert (status, answer["error"]["spent_epsilon"]) == (402, 10.0)
