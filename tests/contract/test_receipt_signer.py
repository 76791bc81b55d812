"""The receipt key: the same assertions on the twin and on the emulated stack's KMS, whose ECDSA is real.

moto is no third: it takes `MessageType=DIGEST` and hashes the digest once more, so that its signatures verify nowhere.
"""

import hashlib

import pytest
from botocore.stub import ANY, Stubber
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from cleanroom.adapters.aws_failures import AwsFailureError
from cleanroom.adapters.memory_signer import MemoryReceiptSigner
from cleanroom.adapters.receipt_signer import KmsReceiptSigner
from cleanroom.errors import BusyError

DIGEST = hashlib.sha256(b"a receipt").digest()


def kms_signer(kms):
    key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    return KmsReceiptSigner(kms, key_arn=key)


@pytest.fixture(params=["memory", "emulated"])
def signer(request):
    if request.param == "memory":
        return MemoryReceiptSigner()
    return kms_signer(request.getfixturevalue("emulated_aws").client("kms"))


def public(signer):
    key = serialization.load_der_public_key(signer.key().public_der)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    return key


def test_what_is_signed_is_verified_with_the_public_half_and_nothing_else_is(signer):
    signature = signer.sign(DIGEST)
    algorithm = ec.ECDSA(Prehashed(hashes.SHA256()))
    public(signer).verify(signature, DIGEST, algorithm)
    with pytest.raises(InvalidSignature):
        public(signer).verify(signature, hashlib.sha256(b"another").digest(), algorithm)


def test_the_key_is_named_by_the_digest_of_its_public_half_and_shown_in_pem(signer):
    key = signer.key()
    assert key.fingerprint == hashlib.sha256(key.public_der).hexdigest()
    read = serialization.load_pem_public_key(key.pem.encode())
    formats = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert read.public_bytes(*formats).decode() == key.pem
    assert signer.key() == key


def test_the_public_half_is_asked_for_once_and_a_busy_kms_is_told_apart_from_a_refusal(emulated_aws):
    kms = emulated_aws.client("kms")
    signer = kms_signer(kms)
    with Stubber(kms) as stub:
        stub.add_client_error("get_public_key", "ThrottlingException")
        stub.add_response("get_public_key", {"PublicKey": b"der"})
        with pytest.raises(BusyError):
            signer.key()
        assert [signer.key().public_der, signer.key().public_der] == [b"der", b"der"]
        asked = {"KeyId": ANY, "Message": DIGEST, "MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256"}
        stub.add_client_error("sign", "KMSInternalException", http_status_code=500, expected_params=asked)
        stub.add_client_error("sign", "AccessDeniedException", http_status_code=400, expected_params=asked)
        with pytest.raises(BusyError):
            signer.sign(DIGEST)
        with pytest.raises(AwsFailureError):
            signer.sign(DIGEST)
        stub.assert_no_pending_responses()
