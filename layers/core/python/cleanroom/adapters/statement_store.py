"""Statements of windows in the results bucket, and histories in the export bucket. Adapters of their ports."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import quote

from cleanroom.adapters.aws_failures import AwsFailureError, explained
from cleanroom.adapters.written_once import put_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_s3 import S3Client


class S3StatementStore:
    """Objects `statements/<room>/<window, ten digits>.json` of one bucket: by number, as S3 lists them by name.

    Args:
        s3: a client that may put there, or get and list, or all three.
        bucket: its name.
    """

    def __init__(self, s3: S3Client, *, bucket: str) -> None:
        self._s3, self._bucket = s3, bucket

    def put_if_absent(self, *, room: str, window: int, statement: bytes) -> bool:
        """Store a statement, unless there is one; return whether it was written now. Raises BusyError."""
        return put_once(
            self._s3, bucket=self._bucket, key=_key(room, window), content=statement, content_type="application/json"
        )

    def get(self, *, room: str, window: int) -> bytes | None:
        """Return a statement, or None. Raises BusyError."""
        try:
            with explained("S3"):
                return self._s3.get_object(Bucket=self._bucket, Key=_key(room, window))["Body"].read()
        except AwsFailureError as failure:
            if failure.code == "NoSuchKey":
                return None
            raise

    def windows(self, room: str, *, after: int, limit: int) -> Sequence[int]:
        """Return the numbers of up to `limit` windows after `after` that have a statement, in order."""
        prefix = _prefix(room)
        start = _key(room, after) if after >= 0 else prefix
        with explained("S3"):
            found = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=limit, StartAfter=start)
        return [int(one["Key"].removeprefix(prefix).removesuffix(".json")) for one in found.get("Contents", [])]


class S3AuditExport:
    """Objects `rooms/<room>/<chain>/<first line>-<count of lines>.jsonl`, and `account/…`, of one bucket.

    Two checks at once, or one that was repeated, may store some lines twice, never with a gap between.

    Args:
        s3: a client that may put there; the bucket itself keeps every object for as long as it was told.
        bucket: its name.
    """

    def __init__(self, s3: S3Client, *, bucket: str) -> None:
        self._s3, self._bucket = s3, bucket

    def put_if_absent(self, *, room: str | None, chain: str, first: int, count: int, content: bytes) -> None:
        """Store the lines from number `first` up to the chain's `count`, unless done before. Raises BusyError."""
        folder = "account" if room is None else f"rooms/{_part(room)}/{chain_folder(chain)}"
        put_once(
            self._s3,
            bucket=self._bucket,
            key=f"{folder}/{first:020d}-{count:020d}.jsonl",
            content=content,
            content_type="application/x-ndjson",
        )


def chain_folder(chain: str) -> str:
    """Return the name that a chain has in keys: `room` for the room's own, else what `hash` of the name says."""
    return "room" if not chain else hashlib.sha256(chain.encode()).hexdigest()[:32]


def _key(room: str, window: int) -> str:
    return f"{_prefix(room)}{window:010d}.json"


def _prefix(room: str) -> str:
    return f"statements/{_part(room)}/"


def _part(name: str) -> str:
    """Return a name as one part of a key; rooms' names hold letters, digits, `_`, `-` and blanks, which stay."""
    return quote(name, safe=" ")
