"""Objects of one versioned S3 bucket: what is there now, and Range GETs of one version. Adapter, under the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.adapters.aws_failures import explained
from cleanroom.rooms.tables import ObjectVersion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_s3 import S3Client


class S3Objects:
    """A bucket that keeps versions.

    Args:
        s3: a client that may `s3:ListBucketVersions` and `s3:GetObjectVersion` there, and `s3:PutObject` for `put`.
        bucket: its name.
    """

    def __init__(self, s3: S3Client, *, bucket: str) -> None:
        self._s3, self._bucket = s3, bucket

    def present(self, prefix: str) -> Sequence[ObjectVersion]:
        """Return the present version of every object under `prefix`; what is deleted has none."""
        with explained("S3"):
            pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=prefix)
            return [
                ObjectVersion(key=version["Key"], version_id=version["VersionId"], size_bytes=version["Size"])
                for page in pages
                for version in page.get("Versions", ())
                if version["IsLatest"]
            ]

    def read(self, pinned: ObjectVersion, *, start: int, stop: int) -> tuple[int, bytes]:
        """Return the bytes from `start` to `stop`, or the whole object: a server may ignore Range (RFC 9110, 14.2)."""
        with explained("S3"):
            answer = self._s3.get_object(
                Bucket=self._bucket,
                Key=pinned.key,
                VersionId=pinned.version_id,
                Range=f"bytes={start}-{stop - 1}",
            )
            data = answer["Body"].read()
        return start if "ContentRange" in answer else 0, data

    def put(self, key: str, content: bytes) -> ObjectVersion:
        """Store a new version, encrypted as the bucket says, and return it."""
        with explained("S3"):
            answer = self._s3.put_object(Bucket=self._bucket, Key=key, Body=content)
        return ObjectVersion(key=key, version_id=answer["VersionId"], size_bytes=len(content))
