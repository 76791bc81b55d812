"""Releases in the results bucket, each written once. Adapter of the port `ReleaseStore`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cleanroom.adapters.aws_failures import AwsFailureError, explained
from cleanroom.errors import BusyError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ATTEMPTS = 5
_BINARY = "application/octet-stream"
_CONTENT_TYPES = {"json": "application/json", "csv": "text/csv", "pem": "application/x-pem-file"}
_KEYS = "receipt_keys/"


class S3ReleaseStore:
    """Objects of one bucket: `releases/<party>/<run id>/<name>`, `drawn/<party>/<run id>/tables`, `receipt_keys/*.pem`.

    Args:
        s3: a client that may put and get there.
        bucket: its name.
        pause_seconds: between two tries when two writers meet; > 0.
    """

    def __init__(self, s3: S3Client, *, bucket: str, pause_seconds: float = 0.1) -> None:
        self._s3, self._bucket, self._pause_seconds = s3, bucket, pause_seconds
        self._kept: set[str] = set()

    def put_if_absent(self, *, party: str, run_id: str, release: bytes) -> bytes:
        """Store `release.json` unless there is one, and return the stored one.

        Raises:
            BusyError: two writers kept meeting, or S3 would not answer. Try again: at most one release is stored.
        """
        return self._put_once(_key(party, run_id, "release.json"), release, content_type=_CONTENT_TYPES["json"])

    def put_drawn_if_absent(self, *, party: str, run_id: str, drawn: bytes) -> bytes:
        """Store the run's noisy tables at `drawn/<party>/<run id>/` unless there are some; return the stored ones.

        Raises:
            BusyError: as `put_if_absent`.
        """
        return self._put_once(_key(party, run_id, "tables", under="drawn"), drawn, content_type=_BINARY)

    def _put_once(self, key: str, content: bytes, *, content_type: str) -> bytes:
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(self._pause_seconds * attempt)
            try:
                with explained("S3"):
                    self._s3.put_object(
                        Bucket=self._bucket, Key=key, Body=content, ContentType=content_type, IfNoneMatch="*"
                    )
            except AwsFailureError as failure:
                # 412: there is one. 409: another writer is at it, and may yet fail.
                if failure.code not in {"PreconditionFailed", "ConditionalRequestConflict"}:
                    raise
                stored = self._get(key)
                if stored is not None:
                    return stored
            else:
                return content
        raise BusyError("the release is being written by another attempt; the same call may be tried again")

    def put_derived(self, *, party: str, run_id: str, name: str, content: bytes) -> None:
        """Store another form of the stored release; overwriting is harmless, for it is made from the release alone."""
        with explained("S3"):
            self._s3.put_object(
                Bucket=self._bucket,
                Key=_key(party, run_id, name),
                Body=content,
                ContentType=_CONTENT_TYPES.get(name.rpartition(".")[2], _BINARY),
            )

    def get(self, *, party: str, run_id: str) -> bytes | None:
        """Return `release.json`, or None."""
        return self._get(_key(party, run_id, "release.json"))

    def get_drawn(self, *, party: str, run_id: str) -> bytes | None:
        """Return the run's noisy tables, or None."""
        return self._get(_key(party, run_id, "tables", under="drawn"))

    def _get(self, key: str) -> bytes | None:
        try:
            with explained("S3"):
                return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except AwsFailureError as failure:
            if failure.code == "NoSuchKey":
                return None
            raise

    def location(self, *, party: str, run_id: str) -> str:
        """Return the s3:// address of the run's folder."""
        return f"s3://{self._bucket}/{_key(party, run_id, '')}"

    def keep_receipt_key(self, *, fingerprint: str, pem: str) -> None:
        """Keep a public key at `receipt_keys/<fingerprint>.pem`; asked of S3 once per process and key.

        Raises:
            BusyError: as `put_if_absent`.
        """
        if fingerprint not in self._kept:
            self._put_once(f"{_KEYS}{fingerprint}.pem", pem.encode("ascii"), content_type=_CONTENT_TYPES["pem"])
            self._kept.add(fingerprint)

    def receipt_keys(self) -> tuple[str, ...]:
        """Return every public key that was kept, in PEM, by fingerprint."""
        with explained("S3"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=_KEYS)
            names = [found["Key"] for page in pages for found in page.get("Contents", [])]
        kept = [self._get(name) for name in sorted(names)]
        return tuple(pem.decode("ascii") for pem in kept if pem is not None)


def _key(party: str, run_id: str, name: str, *, under: str = "releases") -> str:
    if "/" in party or "/" in run_id or not party or not run_id:
        raise ValueError("a party and a run id are one part of a key each")
    return f"{under}/{party}/{run_id}/{name}"
