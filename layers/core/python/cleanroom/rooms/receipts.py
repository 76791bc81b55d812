"""What a receipt's signature covers, and how the key that made it is named. Pure; shared by signing and verifying.

`release.json` is an object. Its member `receipt` says what was released and from what; `released_digest` in it is over
all other members but `signature`. The signature is over `receipt`. So a changed number breaks the digest, and a changed
digest breaks the signature.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cleanroom.rooms.canonical_json import canonical_json

RECEIPT_KIND = "cleanroom.receipt/1"
"""A receipt's `kind`: its fields never change meaning; a new meaning is a new kind."""

SIGNATURE_ALGORITHM = "ECDSA_SHA_256"
"""As KMS names it: ECDSA on the curve P-256 over a SHA-256 digest; the signature is the DER form of (r, s)."""

_APART = frozenset({"receipt", "signature"})
_PEM_LINE = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptKey:
    """The public half of a key that receipts are signed with.

    Attributes:
        key_id: KMS's ARN of it.
        public_der: the key as SubjectPublicKeyInfo, DER.
    """

    key_id: str
    public_der: bytes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER form, in hex."""
        return hashlib.sha256(self.public_der).hexdigest()

    @property
    def pem(self) -> str:
        """The PEM form, as `openssl` and most libraries read it."""
        return pem_of(self.public_der)

    def named(self) -> dict[str, str]:
        """Return what a receipt says of the key. It is signed too: no other key can claim the signature as its own."""
        return {"id": self.key_id, "fingerprint": self.fingerprint, "algorithm": SIGNATURE_ALGORITHM}


def pem_of(public_der: bytes) -> str:
    """Return a public key in PEM."""
    text = base64.b64encode(public_der).decode("ascii")
    lines = [text[start : start + _PEM_LINE] for start in range(0, len(text), _PEM_LINE)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


def released_digest(release: Mapping[str, object]) -> str:
    """Return the SHA-256, in hex, of the canonical JSON of a release without its receipt and signature.

    Args:
        release: `release.json` as read back: what JSON cannot hold, as NaN, was made null when it was written.

    Raises:
        ValueError: it is not JSON of a kind that has a canonical form.
    """
    covered = {name: value for name, value in release.items() if name not in _APART}
    return hashlib.sha256(canonical_json(covered)).hexdigest()


def digest_to_sign(receipt: Mapping[str, object]) -> bytes:
    """Return the SHA-256 of a receipt's canonical JSON: what the key signs. Raises ValueError as `released_digest`."""
    return hashlib.sha256(canonical_json(receipt)).digest()
