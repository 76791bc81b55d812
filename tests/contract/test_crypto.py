"""Exact intermediates against forgery: on a KMS that authenticates (the emulated stack's does not, it is an XOR)."""

import aws_encryption_sdk
import boto3
import pytest
from aws_encryption_sdk.identifiers import AlgorithmSuite, CommitmentPolicy
from aws_encryption_sdk.key_providers.kms import KMSMasterKey
from botocore.stub import ANY, Stubber
from moto import mock_aws

from cleanroom.adapters.exact_store import S3ExactStore
from cleanroom.errors import BusyError, RunFailedError

RUN = "consumer.run-12345678"
PAYLOAD = b"exact counts: 17, 4, 23"
CONTEXT = {"run_id": RUN, "purpose": "exact"}


class Account:
    """An AWS account with a bucket, the exact key and another key."""

    def __init__(self):
        keywords = {"region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
        self.s3 = boto3.client("s3", **keywords)
        self.kms = boto3.client("kms", **keywords)
        self.s3.create_bucket(Bucket="exact")
        self.key_arn, self.other_key_arn = (self.kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
        self.store = S3ExactStore(s3=self.s3, kms=self.kms, bucket="exact", key_arn=self.key_arn)

    def stored(self, run_id=RUN):
        return self.s3.get_object(Bucket="exact", Key=f"exact/{run_id}")["Body"].read()

    def plant(self, ciphertext, run_id=RUN):
        self.s3.put_object(Bucket="exact", Key=f"exact/{run_id}", Body=ciphertext)

    def encrypted(self, context, *, key_arn=None, algorithm=AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY):
        """Return what another writer with access to KMS could make."""
        keys = KMSMasterKey(key_id=key_arn or self.key_arn, client=self.kms)
        sdk = aws_encryption_sdk.EncryptionSDKClient(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)
        if "COMMIT" in algorithm.name:
            sdk = aws_encryption_sdk.EncryptionSDKClient()
        return sdk.encrypt(source=PAYLOAD, key_provider=keys, encryption_context=context, algorithm=algorithm)[0]


@pytest.fixture(scope="module")
def account():
    with mock_aws():
        yield Account()


def refused(account, run_id=RUN):
    with pytest.raises(RunFailedError, match=r"^the exact part of the run cannot be read"):
        account.store.get(run_id)
    return True


def test_what_was_put_is_read_back(account):
    account.store.put(RUN, PAYLOAD)
    assert account.store.get(RUN) == PAYLOAD


def test_what_is_stored_is_ciphertext_under_a_fresh_key(account):
    account.store.put(RUN, PAYLOAD)
    first = account.stored()
    account.store.put(RUN, PAYLOAD)
    assert PAYLOAD not in first
    assert first != account.stored()
    assert first[0] == 2, "version 2 of the message format is the one with key commitment"


def test_another_writers_object_with_the_same_key_and_context_is_read(account):
    """The counterpart of the tests below: what they change is what makes them fail."""
    account.plant(account.encrypted(CONTEXT))
    assert account.store.get(RUN) == PAYLOAD


def test_another_runs_object_is_refused(account):
    """Attack model, neighbours: an object that is copied to another run's place does not open."""
    account.store.put("rival.run-87654321", PAYLOAD)
    account.plant(account.stored("rival.run-87654321"))
    assert refused(account)


@pytest.mark.parametrize(
    "context",
    [
        {"run_id": RUN, "purpose": "other"},
        {"run_id": RUN},
        {"purpose": "exact"},
        {},
        {"run_id": RUN, "purpose": "exact", "more": "x"},
        {"run_id": RUN + "9", "purpose": "exact"},
    ],
)
def test_a_foreign_context_is_refused(account, context):
    account.plant(account.encrypted(context))
    assert refused(account)


def test_another_key_is_refused(account):
    account.plant(account.encrypted(CONTEXT, key_arn=account.other_key_arn))
    assert refused(account)


def test_an_object_without_key_commitment_is_refused(account):
    account.plant(account.encrypted(CONTEXT, algorithm=AlgorithmSuite.AES_256_GCM_IV12_TAG16_HKDF_SHA256))
    assert refused(account)


def test_any_changed_byte_is_refused(account):
    account.store.put(RUN, PAYLOAD)
    ciphertext = account.stored()
    for position in range(0, len(ciphertext), 9):
        account.plant(ciphertext[:position] + bytes([ciphertext[position] ^ 1]) + ciphertext[position + 1 :])
        assert refused(account), position


def test_a_missing_end_or_another_format_is_refused(account):
    account.store.put(RUN, PAYLOAD)
    ciphertext = account.stored()
    for length in range(0, len(ciphertext), 60):
        account.plant(ciphertext[:length])
        assert refused(account), length
    account.plant(b"not a ciphertext")
    assert refused(account)


def test_frames_cannot_be_swapped(account):
    """Payloads over one frame: the order of frames is authenticated too."""
    payload = bytes(2 << 20) + b"\x01" * (1 << 20) + b"end"
    account.store.put(RUN, payload)
    assert account.store.get(RUN) == payload
    frame = 4 + 12 + (1 << 20) + 16
    ciphertext = account.stored()
    body = len(ciphertext) - 3 * frame - (4 + 4 + 12 + 4 + len(b"end") + 16)
    frames = [ciphertext[body + i * frame : body + (i + 1) * frame] for i in range(3)]
    assert ciphertext[:body] + b"".join(frames) + ciphertext[body + 3 * frame :] == ciphertext
    account.plant(ciphertext[:body] + frames[1] + frames[0] + frames[2] + ciphertext[body + 3 * frame :])
    assert refused(account)


def test_a_refusal_says_the_same_whatever_was_wrong(account):
    said = set()
    account.plant(b"not a ciphertext")
    for _ in range(2):
        with pytest.raises(RunFailedError) as refusal:
            account.store.get(RUN)
        said.add(str(refusal.value))
        account.plant(account.encrypted({}))
    assert len(said) == 1


def test_a_kms_that_is_only_busy_is_not_called_tampering(account):
    account.store.put(RUN, PAYLOAD)
    with Stubber(account.kms) as kms:
        kms.add_client_error(
            "decrypt",
            "ThrottlingException",
            expected_params={"CiphertextBlob": ANY, "KeyId": account.key_arn, "EncryptionContext": CONTEXT},
        )
        with pytest.raises(BusyError):
            account.store.get(RUN)
    assert account.store.get(RUN) == PAYLOAD


@pytest.mark.parametrize("run_id", ["", "a/b", "../x", "a b", "a\n", "ä" * 8])
def test_a_run_id_that_is_no_part_of_a_key_is_our_bug(account, run_id):
    with pytest.raises(ValueError):
        account.store.put(run_id, PAYLOAD)
