"""Reads of one version by range, on moto: the emulated stack's S3 ignores Range where a version is named."""

import boto3
import pytest
from moto import mock_aws

from cleanroom.adapters.aws_failures import AwsFailureError
from cleanroom.adapters.duckdb_engine import DuckDbEngine
from cleanroom.adapters.parquet_tables import ParquetTableStore
from cleanroom.adapters.pinned_files import WHOLE_BELOW_BYTES, PinnedFiles
from cleanroom.adapters.pinned_s3 import S3Objects
from cleanroom.rooms.tables import LinkedTable, ObjectVersion
from tests.contract.tables import plan_of, table_of

CONTENT = bytes(range(256)) * 8


@pytest.fixture
def s3():
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
        client.create_bucket(Bucket="tables")
        client.put_bucket_versioning(Bucket="tables", VersioningConfiguration={"Status": "Enabled"})
        yield client


def test_a_range_of_an_old_version_is_read(s3):
    old = s3.put_object(Bucket="tables", Key="a", Body=CONTENT)["VersionId"]
    s3.put_object(Bucket="tables", Key="a", Body=b"new")
    objects = S3Objects(s3, bucket="tables")
    pinned = ObjectVersion(key="a", version_id=old, size_bytes=len(CONTENT))
    assert objects.read(pinned, start=100, stop=300) == (100, CONTENT[100:300])
    assert objects.read(pinned, start=2000, stop=2048) == (2000, CONTENT[2000:])
    files = PinnedFiles(objects, block_bytes=64, whole_below_bytes=0)
    (name,) = files.add("t0", [pinned])
    file = files.open(name)
    file.seek(1000)
    assert file.read(500) == CONTENT[1000:1500]
    assert files.fetched_bytes == 576, "nine blocks of 64 bytes, and not the object"


def test_all_pages_of_a_listing_are_read(s3):
    for number in range(1005):
        s3.put_object(Bucket="tables", Key=f"airline/flights/{number}.parquet", Body=b"")
    assert len(S3Objects(s3, bucket="tables").present("airline/flights/")) == 1005


def test_a_version_that_is_gone_says_so(s3):
    gone = ObjectVersion(key="a", version_id="gone", size_bytes=10)
    with pytest.raises(AwsFailureError) as failure:
        S3Objects(s3, bucket="tables").read(gone, start=0, stop=10)
    assert failure.value.code in {"NoSuchKey", "NoSuchVersion"}


def test_a_large_object_is_queried_by_ranges(s3, tmp_path):
    """Several row groups, several threads: only the column that is asked for is fetched."""
    import duckdb

    path = tmp_path / "large.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT range AS i, hash(range) AS h, hash(range + 1) AS k FROM range(800000)) "
            f"TO '{path}' (FORMAT parquet, COMPRESSION uncompressed)"
        )
    assert path.stat().st_size > WHOLE_BELOW_BYTES
    s3.put_object(Bucket="tables", Key="airline/flights/0.parquet", Body=path.read_bytes())
    objects = S3Objects(s3, bucket="tables")
    store = ParquetTableStore(objects)
    linked = LinkedTable(
        owner="airline", name="flights", columns=store.describe(owner="airline", name="flights").columns
    )
    plan = plan_of("SELECT sum(i)::BIGINT AS n FROM t0", columns=("i",), table=linked)
    answer = DuckDbEngine(objects).execute(plan, versions={"t0": store.resolve(linked)}, run_key=1)
    assert table_of(answer["m0"]).to_pydict() == {"n": [799_999 * 400_000]}
