"""Exact store, release store, queue and inbox: the same assertions on the twins and on the emulated services."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.stub import Stubber

from cleanroom.adapters.exact_store import S3ExactStore
from cleanroom.adapters.inbox import S3Inbox
from cleanroom.adapters.memory import MemoryExactStore, MemoryInbox, MemoryReleaseStore, MemoryRunQueue
from cleanroom.adapters.release_store import S3ReleaseStore
from cleanroom.adapters.run_queue import SqsRunQueue
from cleanroom.errors import BusyError, InvalidRequestError

RUN = "run-12345678"


def bucket_of(aws, *, versions=False):
    name = f"stores-{uuid.uuid4().hex[:12]}"
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=name)
    if versions:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return s3, name


@pytest.fixture(params=["memory", "aws"])
def exact(request):
    if request.param == "memory":
        return MemoryExactStore()
    aws = request.getfixturevalue("emulated_aws")
    s3, bucket = bucket_of(aws)
    kms = aws.client("kms")
    return S3ExactStore(s3=s3, kms=kms, bucket=bucket, key_arn=kms.create_key()["KeyMetadata"]["Arn"])


def test_exact_intermediates_are_put_read_overwritten_and_deleted(exact):
    assert exact.get(RUN) is None
    exact.delete(RUN)
    exact.put(RUN, b"first attempt")
    exact.put(RUN, b"second attempt")
    exact.put("consumer.run-2", b"")
    assert exact.get(RUN) == b"second attempt"
    assert exact.get("consumer.run-2") == b""
    exact.delete(RUN)
    assert exact.get(RUN) is None
    assert exact.get("consumer.run-2") == b""


def test_large_intermediates_keep_every_byte(exact):
    payload = bytes(range(256)) * 20_000
    exact.put(RUN, payload)
    assert exact.get(RUN) == payload


@pytest.fixture(params=["memory", "aws"])
def releases(request):
    if request.param == "memory":
        return MemoryReleaseStore()
    s3, bucket = bucket_of(request.getfixturevalue("emulated_aws"))
    return S3ReleaseStore(s3, bucket=bucket)


def test_a_release_is_written_once(releases):
    """Ledger rule 3: noise is drawn once; a second attempt gets what the first one stored."""
    assert releases.get(party="consumer", run_id=RUN) is None
    assert releases.put_if_absent(party="consumer", run_id=RUN, release=b'{"n": 1}') == b'{"n": 1}'
    assert releases.put_if_absent(party="consumer", run_id=RUN, release=b'{"n": 2}') == b'{"n": 1}'
    assert releases.get(party="consumer", run_id=RUN) == b'{"n": 1}'


def test_of_many_writers_at_once_one_wins_and_all_return_its_release(releases):
    def write(number):
        return releases.put_if_absent(party="consumer", run_id=RUN, release=b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(write, range(24)))
    assert answers == {releases.get(party="consumer", run_id=RUN)}


def test_noisy_tables_are_written_once_and_apart_from_the_release(releases):
    """Ledger rule 3: what failed after the noise was drawn goes on with that noise."""
    assert releases.get_drawn(party="consumer", run_id=RUN) is None
    assert releases.put_drawn_if_absent(party="consumer", run_id=RUN, drawn=b"one") == b"one"
    assert releases.put_drawn_if_absent(party="consumer", run_id=RUN, drawn=b"two") == b"one"
    assert releases.get_drawn(party="consumer", run_id=RUN) == b"one"
    assert releases.get_drawn(party="rival", run_id=RUN) is None
    assert releases.get(party="consumer", run_id=RUN) is None


def test_parties_and_runs_do_not_see_each_other(releases):
    releases.put_if_absent(party="consumer", run_id=RUN, release=b"mine")
    assert releases.get(party="rival", run_id=RUN) is None
    assert releases.get(party="consumer", run_id=RUN + "0") is None


def test_derived_files_lie_beside_the_release_and_are_not_it(releases):
    releases.put_derived(party="consumer", run_id=RUN, name="release.csv", content=b"n\n1\n")
    releases.put_derived(party="consumer", run_id=RUN, name="release.csv", content=b"n\n1\n")
    assert releases.get(party="consumer", run_id=RUN) is None


def test_public_keys_are_kept_once_apart_from_releases_and_shown_by_fingerprint(releases):
    """Receipts of a retired key stay verifiable."""
    assert releases.receipt_keys() == ()
    releases.keep_receipt_key(fingerprint="b1", pem="second")
    releases.keep_receipt_key(fingerprint="a0", pem="first")
    releases.keep_receipt_key(fingerprint="b1", pem="another under that name")
    assert releases.receipt_keys() == ("first", "second")
    assert releases.get(party="receipt_keys", run_id="a0") is None


def test_the_location_is_the_runs_folder(releases):
    location = releases.location(party="consumer", run_id=RUN)
    assert location.startswith("s3://")
    assert location.endswith(f"/releases/consumer/{RUN}/")


def test_a_release_lies_where_its_location_says(emulated_aws):
    s3, bucket = bucket_of(emulated_aws)
    store = S3ReleaseStore(s3, bucket=bucket)
    store.put_if_absent(party="consumer", run_id=RUN, release=b"{}")
    store.put_derived(party="consumer", run_id=RUN, name="release.csv", content=b"n\n")
    assert store.location(party="consumer", run_id=RUN) == f"s3://{bucket}/releases/consumer/{RUN}/"
    objects = s3.list_objects_v2(Bucket=bucket, Prefix=f"releases/consumer/{RUN}/")["Contents"]
    assert [o["Key"].rpartition("/")[2] for o in objects] == ["release.csv", "release.json"]
    types = [s3.head_object(Bucket=bucket, Key=o["Key"])["ContentType"] for o in objects]
    assert types == ["text/csv", "application/json"]


def test_writers_that_keep_meeting_are_told_to_try_again(emulated_aws):
    """S3 answers 409 while another conditional write to the key is under way; that one may still fail."""
    s3, bucket = bucket_of(emulated_aws)
    with Stubber(s3) as stub:
        for _ in range(5):
            stub.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
            stub.add_client_error("get_object", "NoSuchKey", http_status_code=404)
        with pytest.raises(BusyError):
            S3ReleaseStore(s3, bucket=bucket, pause_seconds=0.001).put_if_absent(
                party="consumer", run_id=RUN, release=b"{}"
            )
        stub.assert_no_pending_responses()


def test_a_kept_key_is_not_sent_again_by_the_same_process_and_not_overwritten_by_another(emulated_aws):
    s3, bucket = bucket_of(emulated_aws)
    store = S3ReleaseStore(s3, bucket=bucket)
    store.keep_receipt_key(fingerprint="a0", pem="first")
    s3.delete_object(Bucket=bucket, Key="receipt_keys/a0.pem")
    store.keep_receipt_key(fingerprint="a0", pem="first")
    assert store.receipt_keys() == ()
    for pem in ("first", "forged"):
        S3ReleaseStore(s3, bucket=bucket).keep_receipt_key(fingerprint="a0", pem=pem)
    assert store.receipt_keys() == ("first",)


def test_a_party_or_run_id_that_is_not_one_part_of_a_key_is_our_bug(emulated_aws):
    s3, bucket = bucket_of(emulated_aws)
    with pytest.raises(ValueError):
        S3ReleaseStore(s3, bucket=bucket).put_if_absent(party="a/b", run_id=RUN, release=b"{}")


def test_a_message_is_queued_as_it_is(emulated_aws):
    sqs = emulated_aws.client("sqs")
    url = sqs.create_queue(QueueName=f"runs-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    twin = MemoryRunQueue()
    for queue in (SqsRunQueue(sqs, queue_url=url), twin):
        queue.send('{"run_id": "run-ä"}')
    received = [m["Body"] for m in sqs.receive_message(QueueUrl=url)["Messages"]]
    assert received == twin.bodies == ['{"run_id": "run-ä"}']


@pytest.fixture(params=["memory", "aws"])
def dropped(request):
    """Give (inbox, drop): `drop(key, content)` returns the version id."""
    if request.param == "memory":
        inbox = MemoryInbox()

        def drop(key, content):
            version_id = uuid.uuid4().hex
            inbox.drop(key=key, version_id=version_id, content=content)
            return version_id

        return inbox, drop
    s3, bucket = bucket_of(request.getfixturevalue("emulated_aws"), versions=True)
    return S3Inbox(s3, bucket=bucket), lambda key, content: s3.put_object(Bucket=bucket, Key=key, Body=content)[
        "VersionId"
    ]


def test_the_version_that_the_event_named_is_read(dropped):
    """A request that is overwritten before its event arrives is still the request of that event."""
    inbox, drop = dropped
    first = drop("consumer/runs/a b.json", b"first")
    second = drop("consumer/runs/a b.json", b"second")
    assert inbox.read(key="consumer/runs/a b.json", version_id=first) == b"first"
    assert inbox.read(key="consumer/runs/a b.json", version_id=second) == b"second"


def test_a_request_that_is_too_large_or_gone_is_refused(dropped):
    inbox, drop = dropped
    largest = drop("consumer/runs/a.json", b" " * (1 << 20))
    assert len(inbox.read(key="consumer/runs/a.json", version_id=largest)) == 1 << 20
    too_large = drop("consumer/runs/a.json", b" " * ((1 << 20) + 1))
    with pytest.raises(InvalidRequestError, match="1 MiB"):
        inbox.read(key="consumer/runs/a.json", version_id=too_large)
    with pytest.raises(InvalidRequestError, match="removed"):
        inbox.read(key="consumer/runs/b.json", version_id=largest)
