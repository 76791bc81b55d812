"""The twin in memory of `receipt_signer.py`, for tests: a key of its own, lost with the process."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from cleanroom.rooms.receipts import ReceiptKey


class MemoryReceiptSigner:
    """The twin of `KmsReceiptSigner`."""

    def __init__(self, key_id: str = "memory") -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._key_id = key_id

    def key(self) -> ReceiptKey:
        """Return the public half."""
        public = self._private.public_key()
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return ReceiptKey(key_id=self._key_id, public_der=der)

    def sign(self, digest: bytes) -> bytes:
        """Return the DER signature of a SHA-256 digest."""
        return self._private.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
