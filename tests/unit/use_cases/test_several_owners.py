"""One run over the protected tables of several parties: all their settings hold, all their budgets pay, or none."""

from __future__ import annotations

from fractions import Fraction

import pyarrow as pa
import pytest

from cleanroom.errors import InvalidRequestError
from cleanroom.rooms.settings import NoiseMechanism, PrivacySettings, strictest
from tests.house import House

GUESTS = pa.table({"email": [f"guest{i}@mail.example" for i in range(300)], "nights": pa.array([2] * 300, pa.int32())})
BUYERS = pa.table(
    {"email": [f"guest{i}@mail.example" for i in range(100, 400)], "spend": pa.array([9] * 300, pa.int32())}
)
BOTH = {"cleanroom_name": "room", "template_name": "both", "consumer_name": "hotel",
        "consumer_tables": ["guests", "shop.buyers"]}  # fmt: skip
TEXT = (
    "SELECT COUNT(*) AS n FROM IDENTIFIER({{ my_table[0] }}) c JOIN IDENTIFIER({{ my_table[1] }}) c1 "
    "ON c.email = c1.email"
)


def house_of_three(*, hotel: dict[str, object], shop: dict[str, object] | None, text: str = TEXT) -> House:
    """Return a house where the provider may run `both` over what hotel and shop linked, each with its settings."""
    house = House()
    house.objects.put_table(owner="hotel", name="guests", table=GUESTS)
    house.objects.put_table(owner="shop", name="buyers", table=BUYERS)
    house("airline", "provider", "cleanroom_init", cleanroom_name="room")
    house("airline", "provider", "add_custom_sql_template", cleanroom_name="room", template_name="both", template=text)
    house("airline", "provider", "add_consumers", cleanroom_name="room", consumer_names=["hotel", "shop"])
    for party, table, settings in (("hotel", "guests", hotel), ("shop", "buyers", shop)):
        house(party, "consumer", "install_cleanroom", cleanroom_name="room")
        house(party, "consumer", "link_datasets", cleanroom_name="room", tables=[table],
              policies={table: {"max_rows": 1, "max_groups": 1}})  # fmt: skip
        if settings is not None:
            house(party, "consumer", "enable_templates_for_provider_run", cleanroom_name="room",
                  template_names=["both"], differential=1)  # fmt: skip
            house(party, "consumer", "set_privacy_settings", cleanroom_name="room", party_name="airline",
                  privacy_settings=settings)  # fmt: skip
    return house


def spent(house: House) -> dict[str, float]:
    answer = house("airline", "provider", "view_remaining_privacy_budget", cleanroom_name="room")
    return {b["party_name"]: b["spent"] for b in answer["budgets"] if "@" in b["party_name"]}


def test_a_join_of_two_consumers_tables_is_priced_by_the_stricter_and_charged_to_both():
    """B-21: each consumer set what the provider's runs over its tables may spend."""
    house = house_of_three(
        hotel={"differential": 1, "epsilon": 2.0, "privacy_budget": 10},
        shop={"differential": 1, "epsilon": 0.5, "privacy_budget": 1},
    )
    quote = house("airline", "provider", "quote_analysis", **BOTH)
    assert quote["epsilon"] == 0.5
    assert [b["party_name"] for b in quote["budgets"]] == ["airline@hotel", "airline@shop"]
    assert quote["runs_left"] == 2
    assert quote["runs_left_limit"] == {"limit": "privacy_budget", "counts": "epsilon", "party_name": "airline@shop"}
    release = house("airline", "provider", "submit_analysis_request", **BOTH)
    assert abs(release["rows"][0][0] - 200) < 60
    assert spent(house) == {"airline@hotel": 0.5, "airline@shop": 0.5}


def test_where_one_budget_does_not_hold_the_price_none_is_charged():
    """B-51: all or nothing."""
    house = house_of_three(
        hotel={"differential": 1, "epsilon": 1.0, "privacy_budget": 10},
        shop={"differential": 1, "epsilon": 1.0, "privacy_budget": 1},
    )
    house("airline", "provider", "submit_analysis_request", **BOTH)
    status, _ = house.ask("airline", "provider", "submit_analysis_request", **BOTH)
    assert status != 200
    assert spent(house) == {"airline@hotel": 1.0, "airline@shop": 1.0}


def test_an_owner_whose_table_is_not_read_does_not_pay():
    house = house_of_three(
        hotel={"differential": 1, "epsilon": 1.0, "privacy_budget": 10},
        shop={"differential": 1, "epsilon": 1.0, "privacy_budget": 10},
        text="SELECT COUNT(*) AS n FROM IDENTIFIER({{ my_table[0] }}) c",
    )
    house("airline", "provider", "submit_analysis_request", **BOTH)
    assert spent(house) == {"airline@hotel": 1.0, "airline@shop": 0.0}


def test_where_one_owner_has_differential_privacy_off_the_other_is_protected_and_pays():
    """B-38: its rows are public to the provider, as it chose."""
    house = house_of_three(
        hotel={"differential": 1, "epsilon": 1.0, "privacy_budget": 10},
        shop={"differential": 0},
    )
    house("airline", "provider", "submit_analysis_request", **BOTH)
    assert spent(house) == {"airline@hotel": 1.0, "airline@shop": 0.0}


def test_a_consumer_who_has_not_enabled_the_template_is_not_read():
    """B-72."""
    house = house_of_three(hotel={"differential": 1}, shop=None)
    status, answer = house.ask("airline", "provider", "submit_analysis_request", **BOTH)
    assert status == 403
    assert "enable_templates_for_provider_run" in str(answer)


def test_a_consumer_cannot_name_another_consumers_table():
    """B-73: and does not learn whether there is one."""
    house = house_of_three(hotel={"differential": 1}, shop={"differential": 1})
    answers = [
        house.ask("hotel", "consumer", "run_analysis", cleanroom_name="room", template_name="both",
                  consumer_tables=["guests", name])
        for name in ("shop.buyers", "shop.nothing", "nobody.nothing")
    ]  # fmt: skip
    assert {status for status, _ in answers} == {answers[0][0]}
    assert {answer["error"]["code"] if "error" in answer else answer["code"] for _, answer in answers} == {
        "table_not_linked"
    }


def test_the_strictest_of_all_settings_holds():
    loose = PrivacySettings(differential=True, epsilon=Fraction(3), privacy_budget=7, delta=Fraction(1, 10**5))
    tight = PrivacySettings(
        differential=True, epsilon=Fraction(1), threshold=True, threshold_value=4, lifetime_budget=9
    )
    both = strictest({"a": loose, "b": tight})
    assert (both.epsilon, both.delta, both.privacy_budget) == (1, Fraction(1, 10**6), 7)
    assert (both.threshold, both.threshold_value, both.lifetime_budget) == (True, 4, 9)
    off = PrivacySettings(epsilon=Fraction(1, 100), noise_mechanism=NoiseMechanism.GAUSSIAN)
    assert strictest({"a": loose, "b": off}).epsilon == 3
    assert strictest({"a": loose, "b": off}).differential
    assert strictest({"a": tight}) == tight
    assert strictest({"a": off}) == off


def test_owners_who_set_different_mechanisms_are_told_so():
    one = PrivacySettings(differential=True)
    other = PrivacySettings(differential=True, noise_mechanism=NoiseMechanism.GAUSSIAN)
    with pytest.raises(InvalidRequestError, match="Laplace of a, Gaussian of b"):
        strictest({"a": one, "b": other})
