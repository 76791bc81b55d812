"""Exact intermediates in S3, encrypted by us before they leave the process. Adapter of the port `ExactStore`.

Envelope encryption by the AWS Encryption SDK: one data key per object under the exact KMS key, AES-256-GCM with key
commitment, and an encryption context that names the run and the purpose. KMS checks the context on decryption (and
key policies can), and it is checked again here: an object that was copied to another run's place does not open.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import aws_encryption_sdk
from aws_encryption_sdk.exceptions import DecryptKeyError
from aws_encryption_sdk.identifiers import AlgorithmSuite, CommitmentPolicy
from aws_encryption_sdk.key_providers.kms import KMSMasterKey
from botocore.exceptions import ClientError

from cleanroom.adapters.aws_failures import AwsFailureError, explained, is_momentary
from cleanroom.errors import BusyError, RunFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_kms import KMSClient
    from mypy_boto3_s3 import S3Client

_log = logging.getLogger(__name__)

EXACT_UNREADABLE = "the exact part of the run cannot be read; a new run id runs it again, at its price"
_FRAME_BYTES = 1 << 20
_RUN_ID = re.compile(r"[A-Za-z0-9_.-]{1,160}")


class S3ExactStore:
    """Objects `exact/<run id>` of one bucket.

    Args:
        s3: a client that may put, get and delete there.
        kms: a client that may generate data keys (to put) or decrypt (to get) with `key_arn`.
        bucket: its name.
        key_arn: of the KMS key; the ARN itself, no alias: it is compared with what a stored object names.
    """

    def __init__(self, *, s3: S3Client, kms: KMSClient, bucket: str, key_arn: str) -> None:
        self._s3, self._bucket = s3, bucket
        self._master_key = _ExactKey(key_id=key_arn, client=kms)
        self._sdk = aws_encryption_sdk.EncryptionSDKClient(
            commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, max_encrypted_data_keys=1
        )

    def put(self, run_id: str, payload: bytes) -> None:
        """Encrypt and store; overwrites what an earlier attempt of the same run stored."""
        with explained("KMS"):
            ciphertext, _ = self._sdk.encrypt(
                source=payload,
                key_provider=self._master_key,
                encryption_context=_context(run_id),
                # Not signed: who may write here and who may read are told apart by IAM, and the context binds the run.
                algorithm=AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
                frame_length=_FRAME_BYTES,
            )
        with explained("S3"):
            self._s3.put_object(Bucket=self._bucket, Key=_key(run_id), Body=ciphertext)

    def get(self, run_id: str) -> bytes | None:
        """Fetch and decrypt; None where there is none.

        Raises:
            RunFailedError: it was tampered with, or belongs to another run, purpose or key.
        """
        try:
            with explained("S3"):
                ciphertext = self._s3.get_object(Bucket=self._bucket, Key=_key(run_id))["Body"].read()
        except AwsFailureError as failure:
            if failure.code == "NoSuchKey":
                return None
            raise
        return self._decrypted(run_id, ciphertext)

    def delete(self, run_id: str) -> None:
        """Remove it; nothing happens where there is none."""
        with explained("S3"):
            self._s3.delete_object(Bucket=self._bucket, Key=_key(run_id))

    def _decrypted(self, run_id: str, ciphertext: bytes) -> bytes:
        expected = _context(run_id)
        try:
            with explained("KMS"):
                payload, context = self._opened(ciphertext)
        except (BusyError, AwsFailureError):
            raise
        except Exception as failure:
            # Whatever a forged ciphertext makes the parser raise.
            _log.warning("an exact object did not decrypt: %s", type(failure).__name__)
            raise RunFailedError(EXACT_UNREADABLE) from failure
        if context != expected:
            _log.warning("an exact object names another run or purpose")
            raise RunFailedError(EXACT_UNREADABLE)
        return payload

    def _opened(self, ciphertext: bytes) -> tuple[bytes, dict[str, str]]:
        stream = self._sdk.stream(mode="decrypt-unsigned", source=ciphertext, key_provider=self._master_key)
        try:
            return bytes(stream.read()), dict(stream.header.encryption_context)
        finally:
            # A stream that failed half-way refuses to be closed, and would complain on stderr when it is collected.
            stream.footer = getattr(stream, "footer", None)
            stream.close()


class _ExactKey(KMSMasterKey):  # type: ignore[misc]
    """The KMS key; unlike its base it does not say "cannot decrypt" of a KMS that is only busy."""

    def _decrypt_data_key(self, *arguments: Any, **keywords: Any) -> Any:
        try:
            return super()._decrypt_data_key(*arguments, **keywords)
        except DecryptKeyError as failure:
            if isinstance(failure.__cause__, ClientError) and is_momentary(failure.__cause__):
                raise BusyError("KMS is busy; the same call may be tried again") from failure
            raise


def _context(run_id: str) -> Mapping[str, str]:
    return {"run_id": run_id, "purpose": "exact"}


def _key(run_id: str) -> str:
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError("a run id has letters, digits, dots, hyphens and underscores")
    return f"exact/{run_id}"
