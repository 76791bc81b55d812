"""Verify the receipt of a release, offline: `python -m cleanroom.verify_receipt release.json --key key.pem`.

Needs this package and `cryptography`, no AWS and no network. A door of its own, for readers of releases: it answers
whether the file is, number for number, what a deployment signed with a key that the reader trusts.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from cleanroom.rooms.receipts import RECEIPT_KIND, SIGNATURE_ALGORITHM, digest_to_sign, released_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_END = b"-----END PUBLIC KEY-----"


class NotVerifiedError(Exception):
    """The release is not what a trusted key signed, or cannot be read; the sentence says why."""


def verified_receipt(release: bytes, keys: Iterable[bytes]) -> dict[str, Any]:
    """Return the receipt of a release after checking the signature and that every released value is covered by it.

    Args:
        release: the bytes of `release.json`, or the answer of a run, in any order and indentation.
        keys: public keys that the reader trusts, in PEM; an entry may hold several.

    Raises:
        NotVerifiedError: anything is missing, changed, doubled, or signed by another key.
    """
    parsed = _parsed(release)
    receipt, signature = parsed.get("receipt"), parsed.get("signature")
    if not isinstance(receipt, dict) or not isinstance(signature, str):
        raise NotVerifiedError("there is no signed receipt in it")
    if receipt.get("kind") != RECEIPT_KIND:
        raise NotVerifiedError(f"the receipt is of a kind that this version does not know; it knows {RECEIPT_KIND}")
    named = receipt.get("key")
    if not isinstance(named, dict) or named.get("algorithm") != SIGNATURE_ALGORITHM:
        raise NotVerifiedError(f"the receipt names no key for {SIGNATURE_ALGORITHM}")
    trusted = {_fingerprint(key): key for pem in keys for key in _public_keys(pem)}
    key = trusted.get(str(named.get("fingerprint")))
    if key is None:
        raise NotVerifiedError(
            f"it names the key with fingerprint {named.get('fingerprint')}, which is none of the keys given"
        )
    try:
        digest, covered = digest_to_sign(receipt), released_digest(parsed)
        key.verify(base64.b64decode(signature, validate=True), digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except (ValueError, RecursionError, binascii.Error):
        raise NotVerifiedError("the receipt or its signature cannot be read") from None
    except InvalidSignature:
        raise NotVerifiedError("the signature does not fit the receipt: one of them was changed") from None
    if "left_out" in parsed:
        raise NotVerifiedError(
            "the receipt is genuine, but the rows were left out of this answer: verify release.json at its location"
        )
    if covered != receipt.get("released_digest"):
        raise NotVerifiedError(
            "the receipt is genuine, and what was released is not what it is for: a value was changed"
        )
    return receipt


def _parsed(release: bytes) -> dict[str, Any]:
    """Return the JSON object; a name that stands twice is refused, for readers differ in which of the two they take."""

    def once(members: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(members)
        if len(found) != len(members):
            raise ValueError("a name stands twice")
        return found

    def never(constant: str) -> Any:
        raise ValueError(f"JSON has no {constant}")

    try:
        parsed = json.loads(release.decode("utf-8"), object_pairs_hook=once, parse_constant=never)
    except (ValueError, RecursionError):
        raise NotVerifiedError("it is not JSON, or a name stands in it twice") from None
    if not isinstance(parsed, dict):
        raise NotVerifiedError("it is not a release")
    return parsed


def _public_keys(pem: bytes) -> Iterable[ec.EllipticCurvePublicKey]:
    blocks = [block + _END for block in pem.split(_END)[:-1]]
    if not blocks:
        raise NotVerifiedError("there is no public key in PEM in a key file")
    for block in blocks:
        try:
            key = serialization.load_pem_public_key(block[block.index(b"-----BEGIN PUBLIC KEY-----") :])
        except (ValueError, UnsupportedAlgorithm):
            raise NotVerifiedError("a key cannot be read") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise NotVerifiedError("receipts are signed with keys of the curve P-256, and a key given is none")
        yield key


def _fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify one file and say what its receipt says; return 0 if it is genuine, 1 if not."""
    parser = argparse.ArgumentParser(
        prog="cleanroom-verify-receipt", description="verify the receipt of a release, offline"
    )
    parser.add_argument("release", type=Path, help="release.json, or the stored answer of a run")
    parser.add_argument(
        "--key", type=Path, action="append", required=True, help="public key in PEM; may be given again"
    )
    parser.add_argument("--json", action="store_true", help="print the whole receipt as JSON")
    chosen = parser.parse_args(arguments)
    try:
        receipt = verified_receipt(chosen.release.read_bytes(), [key.read_bytes() for key in chosen.key])
    except OSError as failure:
        sys.stderr.write(f"not verified: {failure.strerror}: {failure.filename}\n")
        return 1
    except NotVerifiedError as reason:
        sys.stderr.write(f"not verified: {reason}\n")
        return 1
    said = json.dumps(receipt, indent=2, ensure_ascii=False) if chosen.json else "\n".join(_summary(receipt))
    sys.stdout.write(said + "\n")
    return 0


def _summary(receipt: dict[str, Any]) -> Iterable[str]:
    price = receipt["price"]
    yield "verified: nothing in this release was changed since it was signed"
    yield f"  run        {receipt['run_id']} of {receipt['party_name']} in {receipt['cleanroom_name']}"
    yield f"  template   {receipt['template_name']}"
    unmetered = ", unmetered" if receipt["unmetered"] else ""
    yield f"  released   {receipt['released_at']}, window {receipt['window']}{unmetered}"
    yield f"  price      epsilon {price['micro_epsilon'] / 1e6:g}, delta {price['delta_steps'] / 1e12:g}"
    for budget in receipt["budgets"]:
        before, after = (budget[name]["micro_epsilon"] / 1e6 for name in ("spent_before", "spent_after"))
        limit = budget["limit_micro_epsilon"] / 1e6
        yield f"  budget     {budget['party_name']}: {before:g} spent before, {after:g} after, of {limit:g}"
    yield f"  signed by  {receipt['key']['fingerprint']}"


if __name__ == "__main__":
    raise SystemExit(main())
