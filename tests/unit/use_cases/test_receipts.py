"""Receipts: what they say, and that no changed value of a release, its receipt or its signature is verified."""

from __future__ import annotations

import base64
import copy
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import cleanroom
from cleanroom.adapters.memory_signer import MemoryReceiptSigner
from cleanroom.errors import BusyError
from cleanroom.verify_receipt import NotVerifiedError, main, verified_receipt
from tests.house import BY_CARRIER, FLIGHTS, furnished

DIRECT = {"cleanroom_name": "room", "values": [10.5, -3.0], "sensitivity": 2.5, "epsilon": 0.5}


def released(house, **request):
    request = request or {**BY_CARRIER, "run_id": "with-receipt"}
    house("agency", "consumer", "run_analysis", **request)
    return house.releases.files["agency", request["run_id"], "release.json"]


def pem(house, party="agency"):
    side = "provider" if party == "airline" else "consumer"
    return house(party, side, "view_receipt_key")["pem"].encode()


def not_verified(release, key):
    with pytest.raises(NotVerifiedError) as reason:
        verified_receipt(release if isinstance(release, bytes) else json.dumps(release).encode(), [key])
    return str(reason.value)


def test_a_release_is_verified_with_the_key_that_every_party_is_shown():
    house = furnished()
    release = released(house)
    for party in ("agency", "airline", "stranger"):
        receipt = verified_receipt(release, [pem(house, party)])
        assert (receipt["run_id"], receipt["party_name"], receipt["cleanroom_name"]) == (
            "with-receipt",
            "agency",
            "room",
        )


def test_the_answer_of_a_run_can_be_verified_too_however_it_is_written_down():
    """Order, spaces and 1.0 for 1 are no change: digests are over canonical JSON."""
    house = furnished()
    answer = house("agency", "consumer", "run_analysis", **BY_CARRIER)
    written = json.dumps(dict(reversed(answer.items())), indent=3, ensure_ascii=True).encode()
    assert verified_receipt(written, [pem(house)])["run_id"] == answer["run_id"]


def test_a_receipt_says_what_was_charged_in_whole_numbers():
    """Every number is an integer, every fraction a text: nothing is rounded by a reader."""
    house = furnished()
    house("agency", "consumer", "run_analysis", **BY_CARRIER, run_id="one-before")
    release = json.loads(released(house))
    receipt = release["receipt"]
    assert receipt["price"]["micro_epsilon"] == 2_000_000 == sum(p["micro_epsilon"] for p in receipt["price"]["parts"])
    (budget,) = receipt["budgets"]
    assert budget["spent_before"] == {"micro_epsilon": 2_000_000, "delta_steps": 0}
    assert budget["spent_after"] == {"micro_epsilon": 4_000_000, "delta_steps": 0}
    assert budget["lifetime_after"] == {"micro_epsilon": 4_000_000, "delta_steps": 0}
    assert (budget["limit_micro_epsilon"], budget["settings_version"], budget["party_name"]) == (
        10_000_000,
        1,
        "agency",
    )
    run = house.ledger.run("agency.with-receipt")
    assert receipt["plan_digest"] == run.plan_digest
    assert receipt["request_digest"] == run.request_digest
    assert receipt["table_versions"] == dict(run.table_versions)
    assert receipt["intervals"]["columns"] == {
        "flights": {"method": "quantile of the noise"},
        "delay": {"method": "simulation", "replicates": 1000},
    }
    assert receipt["released_at"] == "2026-01-01T08:00:00.000000+00:00"
    assert (receipt["window"], receipt["unmetered"], receipt["differential"]) == (0, False, True)

    def kinds(value):
        if isinstance(value, dict | list):
            yield from (k for inner in (value.values() if isinstance(value, dict) else value) for k in kinds(inner))
        else:
            yield type(value)

    assert set(kinds(receipt)) == {str, int, bool, type(None)}


def test_an_unmetered_run_says_so_and_its_window_is_the_same_before_and_after():
    """B-60."""
    house = furnished()
    house("airline", "provider", "suspend_account_dp_task")
    receipt = verified_receipt(released(house), [pem(house)])
    assert receipt["unmetered"] is True
    (budget,) = receipt["budgets"]
    assert budget["spent_before"] == budget["spent_after"] == {"micro_epsilon": 0, "delta_steps": 0}
    assert budget["lifetime_after"]["micro_epsilon"] == 2_000_000


def test_noise_for_own_numbers_has_a_receipt_too():
    house = furnished()
    answer = house("agency", "consumer", "add_noise", **DIRECT, run_id="own-numbers")
    receipt = verified_receipt(json.dumps(answer).encode(), [pem(house)])
    assert (receipt["stated_sensitivity"], receipt["norm"], receipt["template_name"]) == ("5/2", "l1", "add_noise")
    assert receipt["price"]["micro_epsilon"] == 500_000
    answer["values"][1] += 1
    assert "a value was changed" in not_verified(answer, pem(house))


def leaves(value, path=()):
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[name], (*path, name))
        yield (path, value)
    else:
        yield (path, value)


def changed(value):
    """Return other values of the same kind, and of others."""
    if isinstance(value, bool):
        return [not value, None]
    if isinstance(value, int | float):
        return [value + 1, -value - 0.5, str(value)]
    if isinstance(value, str):
        return [value + "x", value[:-1], None]
    if isinstance(value, list):
        return [[*value, None], value[:-1], value[::-1]]
    if isinstance(value, dict):
        return [{**value, "more": 1}, dict(list(value.items())[1:])]
    return [0, "null"]


@pytest.mark.parametrize("request_", ["run", "direct"])
def test_any_changed_value_anywhere_is_noticed(request_):
    house = furnished()
    if request_ == "run":
        release = json.loads(released(house))
    else:
        release = house("agency", "consumer", "add_noise", **DIRECT, run_id="own-numbers")
    key = pem(house)
    tried = 0
    for path, value in leaves(release):
        for other in changed(value) if path else []:
            if other == value and type(other) is type(value):
                continue
            tampered = copy.deepcopy(release)
            at = tampered
            for name in path[:-1]:
                at = at[name]
            at[path[-1]] = other
            assert not_verified(tampered, key), path
            tried += 1
    for name in release:
        without = {n: v for n, v in release.items() if n != name}
        assert not_verified(without, key), name
    assert tried > 100


def test_rows_of_another_run_under_this_receipt_are_noticed():
    house = furnished()
    mine = json.loads(released(house))
    other = json.loads(released(house, **BY_CARRIER, run_id="another-one"))
    assert "a value was changed" in not_verified({**mine, "rows": other["rows"]}, pem(house))
    swapped = {**mine, "receipt": other["receipt"], "signature": other["signature"]}
    assert "a value was changed" in not_verified(swapped, pem(house))
    assert "does not fit" in not_verified({**mine, "receipt": other["receipt"]}, pem(house))


def test_every_bit_of_the_signature_counts():
    house = furnished()
    release = json.loads(released(house))
    signature = base64.b64decode(release["signature"])
    for place in range(len(signature)):
        flipped = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]
        assert not_verified({**release, "signature": base64.b64encode(flipped).decode()}, pem(house))
    for text in ("", "AA==", "no base64!", release["signature"] + "AAAA", release["signature"][:-4]):
        assert not_verified({**release, "signature": text}, pem(house))


def test_a_name_that_stands_twice_is_refused():
    """Readers differ in which of the two they take: the one that is shown need not be the one that is signed."""
    house = furnished()
    release = released(house)
    assert release.startswith(b"{")
    doubled = b'{"rows":[["AA",1,2.0]],' + release[1:]
    assert json.loads(doubled) == json.loads(release)
    assert "twice" in not_verified(doubled, pem(house))


@pytest.mark.parametrize(
    "release",
    [b"", b"{}", b"[]", b"null", b"\xff", b"{" * 100_000, b'{"receipt": {}, "signature": ""}', b'{"rows": [NaN]}',
     b'{"receipt": {"kind": "cleanroom.receipt/1"}, "signature": "AA=="}',
     b'{"receipt": {"kind": "cleanroom.receipt/1", "key": {"algorithm": "none"}}, "signature": "AA=="}'],
)  # fmt: skip
def test_what_is_no_release_is_not_verified(release):
    assert not_verified(release, MemoryReceiptSigner().key().pem.encode())


def test_another_key_is_not_accepted_even_under_the_first_ones_name():
    """Who can write the file can sign it, but not with the reader's key."""
    house = furnished()
    release, key = released(house), pem(house)
    forger = MemoryReceiptSigner(key_id=house.signer.key().key_id)
    house.noises = replace(house.noises, signer=forger)
    forged = json.loads(released(house, **BY_CARRIER, run_id="forged-one"))
    assert "none of the keys given" in not_verified(forged, key)
    named = {**forged["receipt"], "key": json.loads(release)["receipt"]["key"]}
    assert "does not fit" in not_verified({**forged, "receipt": named}, key)


def test_receipts_of_a_retired_key_are_verified_with_the_key_that_was_kept():
    house = furnished()
    old = released(house)
    old_key = pem(house)
    house.noises = replace(house.noises, signer=MemoryReceiptSigner(key_id="second"))
    new = released(house, **BY_CARRIER, run_id="after-rotation")
    shown = house("agency", "consumer", "view_receipt_key")
    assert shown["id"] == "second"
    assert [earlier.encode() for earlier in shown["earlier"]] == [old_key]
    assert "none of the keys given" in not_verified(old, shown["pem"].encode())
    for release in (old, new):
        assert verified_receipt(release, [shown["pem"].encode(), old_key])
        assert verified_receipt(release, [shown["pem"].encode() + old_key])


@pytest.mark.parametrize("kind", ["secp384r1", "ed25519", "none", "private"])
def test_keys_of_another_kind_are_refused(kind):
    house = furnished()
    made = {
        "secp384r1": ec.generate_private_key(ec.SECP384R1()).public_key(),
        "ed25519": ed25519.Ed25519PrivateKey.generate().public_key(),
    }
    formats = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    key = made[kind].public_bytes(*formats) if kind in made else b"-----BEGIN PRIVATE KEY-----\nAA==\n"
    assert "key" in not_verified(released(house), key)


class FailingSigner(MemoryReceiptSigner):
    """A KMS that is busy for its first signatures."""

    def __init__(self, *, failures):
        super().__init__()
        self.failures = failures

    def sign(self, digest):
        self.failures -= 1
        if self.failures >= 0:
            raise BusyError("KMS is busy; the same call may be tried again")
        return super().sign(digest)


def test_a_run_whose_receipt_could_not_be_signed_is_released_later_with_the_same_noise():
    """Ledger rule 3: it stays executed, is charged once, and no unsigned release is ever stored."""
    house = furnished()
    house.noises = replace(house.noises, signer=FailingSigner(failures=2))
    request = {**BY_CARRIER, "run_id": "kms-was-busy"}
    assert house.ask("agency", "consumer", "run_analysis", **request)[0] == 429
    assert house.get_run("agency", "kms-was-busy")[0] == 429
    assert house.releases.files == {}
    drawn = dict(house.releases.drawn)
    assert house.ledger.run("agency.kms-was-busy").state == "executed"
    release = house("agency", "consumer", "run_analysis", **request)
    assert house.releases.drawn == drawn
    assert release["receipt"]["budgets"][0]["spent_after"]["micro_epsilon"] == 2_000_000
    again = house("agency", "consumer", "run_analysis", **request)
    assert again == release


def test_an_answer_without_its_rows_says_where_they_are_verified():
    house = furnished()
    release = json.loads(released(house))
    left_out = {**release, "rows": None, "intervals": None, "left_out": "the rows are too many for one answer"}
    assert "release.json" in not_verified(left_out, pem(house))


def test_keys_that_json_cannot_hold_are_covered_as_they_are_written():
    """NaN, infinities and dates beyond Python's years: the digest is over what a reader gets."""
    house = furnished(settings={"differential": 0})
    odd = FLIGHTS.append_column("x", pa.array([float("nan"), float("inf"), 1e22, -0.0] * 300))
    house.objects.put_table(owner="airline", name="flights", table=odd)
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["flights"])
    text = "SELECT p.x, COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) p GROUP BY p.x"
    house("airline", "provider", "add_custom_sql_template", cleanroom_name="room", template_name="odd", template=text)
    release = released(house, **{**BY_CARRIER, "template_name": "odd"}, run_id="odd-keys")
    assert {row[0] for row in json.loads(release)["rows"]} >= {None, 1e22}
    assert verified_receipt(release, [pem(house)])


def test_the_command_verifies_offline_and_says_what_the_receipt_says(tmp_path, capsys):
    house = furnished()
    (tmp_path / "release.json").write_bytes(released(house))
    (tmp_path / "key.pem").write_bytes(pem(house))
    arguments = [str(tmp_path / "release.json"), "--key", str(tmp_path / "key.pem")]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "verified" in said
    assert "agency: 0 spent before, 2 after, of 10" in said
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == "with-receipt"
    tampered = (tmp_path / "release.json").read_bytes().replace(b'"AA"', b'"AB"')
    (tmp_path / "release.json").write_bytes(tampered)
    assert main(arguments) == 1
    assert "a value was changed" in capsys.readouterr().err
    assert main([str(tmp_path / "missing.json"), "--key", str(tmp_path / "key.pem")]) == 1


def test_verifying_needs_nothing_of_the_cloud():
    """In a process of its own: neither boto3, nor the engine, nor anything of use cases and adapters is imported."""
    import os
    import subprocess
    import sys

    code = (
        "import sys, cleanroom.verify_receipt;"
        "print([m for m in sys.modules if m.split('.')[0] in ('boto3','botocore','duckdb','pyarrow','msgspec')"
        " or m.startswith(('cleanroom.use_cases','cleanroom.adapters','cleanroom.ports'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(Path(cleanroom.__file__).parents[1])})  # fmt: skip
    assert done.stdout.strip() == "[]"
