"""Run requests dropped into S3. Adapter of the port `Inbox`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.adapters.aws_failures import AwsFailureError, explained
from cleanroom.errors import InvalidRequestError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LARGEST_REQUEST_BYTES = 1 << 20


class S3Inbox:
    """One versioned bucket: exactly the version that the event named is read.

    Args:
        s3: a client that may get object versions there.
        bucket: its name.
    """

    def __init__(self, s3: S3Client, *, bucket: str) -> None:
        self._s3, self._bucket = s3, bucket

    def read(self, *, key: str, version_id: str) -> bytes:
        """Return the object's bytes.

        Raises:
            InvalidRequestError: it is larger than 1 MiB, or was removed meanwhile.
        """
        try:
            with explained("S3"):
                answer = self._s3.get_object(Bucket=self._bucket, Key=key, VersionId=version_id)
                if answer["ContentLength"] > LARGEST_REQUEST_BYTES:
                    answer["Body"].close()
                    raise InvalidRequestError("a run request is at most 1 MiB")
                return answer["Body"].read()
        except AwsFailureError as failure:
            if failure.code in {"NoSuchKey", "NoSuchVersion"}:
                raise InvalidRequestError("the dropped request was removed before it was read") from failure
            raise
