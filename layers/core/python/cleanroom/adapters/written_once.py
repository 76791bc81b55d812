"""Objects that are written once: S3 refuses a second one under the same key. Used by the stores in S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.adapters.aws_failures import AwsFailureError, explained

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def put_once(s3: S3Client, *, bucket: str, key: str, content: bytes, content_type: str) -> bool:
    """Store an object unless there is one of that key; return whether it was written now.

    A write whose answer was lost looks like another's: it returns False, and what is stored is what was asked.

    Raises:
        BusyError: S3 would not answer. Try again: at most one is stored.
    """
    try:
        with explained("S3"):
            s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type, IfNoneMatch="*")
    except AwsFailureError as failure:
        # 412: there is one. 409: another writer is at it, and the next attempt finds out what became of it.
        if failure.code == "PreconditionFailed":
            return False
        raise
    return True
