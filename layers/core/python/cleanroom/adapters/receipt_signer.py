"""Signs receipts with an asymmetric KMS key. Adapter of the port `ReceiptSigner`; the private half never leaves KMS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.adapters.aws_failures import explained
from cleanroom.rooms.receipts import ReceiptKey

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient


class KmsReceiptSigner:
    """The receipt key.

    Args:
        kms: a client that may sign with `key_arn` and get its public half.
        key_arn: of a key ECC_NIST_P256 for SIGN_VERIFY; the ARN itself: an alias could move between two calls.
    """

    def __init__(self, kms: KMSClient, *, key_arn: str) -> None:
        self._kms, self._key_arn = kms, key_arn
        self._key: ReceiptKey | None = None

    def key(self) -> ReceiptKey:
        """Return the public half; asked of KMS once per process, for a key under one ARN never changes.

        Raises:
            BusyError: KMS would not answer.
        """
        if self._key is None:
            with explained("KMS"):
                answer = self._kms.get_public_key(KeyId=self._key_arn)
            self._key = ReceiptKey(key_id=self._key_arn, public_der=answer["PublicKey"])
        return self._key

    def sign(self, digest: bytes) -> bytes:
        """Return the DER signature of a SHA-256 digest. Raises BusyError where KMS would not answer."""
        with explained("KMS"):
            answer = self._kms.sign(
                KeyId=self._key_arn, Message=digest, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256"
            )
        return answer["Signature"]
