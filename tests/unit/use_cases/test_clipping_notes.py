"""The clipping note in quotes, explanations and releases: bounds always, the estimate where agreed and asked."""

from __future__ import annotations

import json
from copy import deepcopy

import pyarrow as pa
import pytest

from cleanroom.verify_receipt import verified_receipt
from tests.house import BY_CARRIER, FLIGHTS, POLICIES, House, furnish, furnished


def agreeing(*, min_entities: int = 0, table: pa.Table = FLIGHTS) -> House:
    """Return a house whose owner agreed, with tight bounds."""
    house = House()
    house.objects.put_table(owner="airline", name="flights", table=table)
    house.objects.put_table(owner="agency", name="fleet", table=pa.table({"tailnum": ["N100AA"]}))
    furnish(house, settings={"differential": 1, "epsilon": 100.0, "privacy_budget": 10_000})
    policies = deepcopy(POLICIES)
    policies["flights"] |= {
        "clipping_estimate": True,
        "max_rows": 2,
        "max_groups": 1,
        "bounds": {"dep_delay": [-5, 30]},
    }
    policies["flights"] |= {"min_entities": min_entities}
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["flights"], policies=policies)
    return house


def test_every_release_says_which_bounds_hold_and_the_signature_covers_it():
    house = furnished()
    release = house("agency", "consumer", "run_analysis", **BY_CARRIER)
    (note,) = release["clipping"]
    assert note == {
        "measurement": "m0",
        "max_groups": 4,
        "max_rows": 6,
        "ranges": [{"of": ["AVG(p.dep_delay)"], "lo": -30.0, "hi": 180.0}],
        "words": [
            "one tailnum weighs at most 24 rows (4 groups of 6): what is above is scaled down",
            "values outside -30 to 180 count as the nearer end, in AVG(p.dep_delay)",
            "rows whose keys are not in the declared domain are left out",
        ],
        "estimated_by": None,
        "estimate": [],
    }
    assert house.get_run("agency", release["run_id"])[1]["clipping"] == [note]
    pem = house("agency", "consumer", "view_receipt_key")["pem"].encode()
    verified_receipt(json.dumps(release).encode(), [pem])
    release["clipping"][0]["max_rows"] = 7
    with pytest.raises(Exception, match="release"):
        verified_receipt(json.dumps(release).encode(), [pem])


def test_an_owner_who_has_not_agreed_is_not_measured_and_nothing_is_charged():
    house = furnished()
    status, refusal = house.ask("agency", "consumer", "run_analysis", **BY_CARRIER, clipping_estimate=0.1)
    assert (status, refusal["error"]["rule"]) == (422, "clipping_estimate")
    assert "airline has not agreed" in refusal["error"]["message"]
    (budget,) = house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room")["budgets"]
    assert budget["lifetime_epsilon"] == 0


def test_the_quote_and_the_explanation_show_what_the_estimate_adds_to_the_price():
    """B-56"""
    house = agreeing()
    asked = {**BY_CARRIER, "clipping_estimate": 0.1}
    quote = house("agency", "consumer", "quote_analysis", **asked)
    assert [(p["what"], p["epsilon"]) for p in quote["parts"]] == [
        ("COUNT(*)", 100.0), ("AVG(p.dep_delay)", 100.0), ("clipping estimate of m0", 20.0),
    ]  # fmt: skip
    assert quote["clipping"][0]["estimated_by"] == "m1"
    assert "estimate" not in quote["clipping"][0]
    explained = house("agency", "consumer", "explain_analysis", **asked)["plan"]
    assert explained["clipping"] == quote["clipping"]
    assert [m["name"] for m in explained["measurements"]] == ["m0", "m1"]
    release = house("agency", "consumer", "run_analysis", **asked)
    assert release["price"]["epsilon"] == quote["epsilon"] == 220.0
    assert house("agency", "consumer", "quote_analysis", **BY_CARRIER)["epsilon"] == 200.0


def test_the_estimate_is_about_the_entities_that_the_bounds_cut_something_off_from():
    """Every plane flies 6 times and may weigh 2; noise of scale 0.1 leaves the counts nearly as they are."""
    release = agreeing()("agency", "consumer", "run_analysis", **BY_CARRIER, clipping_estimate=0.1)
    rows, values = release["clipping"][0]["estimate"]
    assert (rows["bound"], values["bound"]) == ("max_groups and max_rows", "range")
    assert rows["share_of_entities_cut"] == pytest.approx(1, abs=0.02)
    assert {c["entities"]: c["count"] for c in rows["classes"]}["up to 4 times the bound"] == pytest.approx(200, abs=2)
    delays: dict[str, list[int]] = {}
    for plane, delay in zip(*(FLIGHTS.column(n).to_pylist() for n in ("tailnum", "dep_delay")), strict=True):
        delays.setdefault(plane, []).append(delay)
    outside = [sum(not -5 <= d <= 30 for d in some) / len(some) for some in delays.values()]
    assert values["share_of_entities_cut"] == pytest.approx(sum(o > 0 for o in outside) / 200, abs=0.03)
    low, high = values["interval"]
    assert 0 <= low <= values["share_of_entities_cut"] <= high <= 1
    exact = [sum(lo < o <= hi for o in outside) for lo, hi in [(-1, 0), (0, 0.01), (0.01, 0.1), (0.1, 0.5), (0.5, 1)]]
    for shown, truth in zip(values["classes"], exact, strict=True):
        low, high = shown["interval"]
        assert 0 <= low <= shown["count"] <= high
        assert shown["count"] == pytest.approx(truth, abs=3)


def test_no_number_of_fewer_entities_than_a_policy_asks_for_is_shown():
    """B-80"""
    house = agreeing(min_entities=150)
    release = house("agency", "consumer", "run_analysis", **BY_CARRIER, clipping_estimate=0.5)
    rows, groups, _ = release["clipping"][0]["estimate"]
    assert (groups["share_of_entities_cut"], groups["interval"]) == (None, None)
    assert [c["count"] is None for c in rows["classes"]] == [True, True, False, True, True]
    assert all((c["count"] is None) == (c["interval"] is None) for c in rows["classes"])


def test_the_receipt_lists_the_estimate_as_a_measurement_with_its_noise_and_price():
    release = agreeing()("agency", "consumer", "run_analysis", **BY_CARRIER, clipping_estimate=0.1)
    main, estimate = release["receipt"]["measurements"]
    assert (main["clipping_estimate_of"], estimate["clipping_estimate_of"]) == (None, "m0")
    assert [(c["sensitivity"], c["norm"], c["micro_epsilon"]) for c in estimate["columns"]] == [("1", "l1", 10**7)] * 2


def test_a_question_with_an_estimate_is_another_question():
    house = agreeing()
    house("agency", "consumer", "run_analysis", **BY_CARRIER, replay="allow")
    again = {**BY_CARRIER, "clipping_estimate": 0.1, "replay": "allow"}
    assert house("agency", "consumer", "run_analysis", **again)["price"]["epsilon"] == 220.0
    repeated = house("agency", "consumer", "run_analysis", **again)
    assert repeated["price"]["epsilon"] == 0
    assert len(repeated["clipping"][0]["estimate"]) == 2


@pytest.mark.parametrize("share", [0, -0.1, 1.5, "0.1", True])
def test_a_share_is_a_number_from_a_thousandth_to_one(share: object):
    status, refusal = agreeing().ask("agency", "consumer", "quote_analysis", **BY_CARRIER, clipping_estimate=share)
    assert (status, refusal["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("wrong", [1, "yes", []])
def test_the_owners_agreement_is_true_or_false(wrong: object):
    policies = {"flights": {**POLICIES["flights"], "clipping_estimate": wrong}}
    arguments = {"cleanroom_name": "room", "tables": ["flights"], "policies": policies}
    status, refusal = furnished().ask("airline", "provider", "link_datasets", **arguments)
    assert (status, refusal["error"]["key"]) == (400, "clipping_estimate")
