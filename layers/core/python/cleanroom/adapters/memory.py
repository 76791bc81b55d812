"""Twins in memory of what meets AWS, for tests: they pass the same `tests/contract/` files.

Tables need no twin of their own: `ParquetTableStore(objects)` and `DuckDbEngine(objects)` work over `MemoryObjects`
as over a bucket. Catalogue and ledger have theirs in `memory_catalogue.py` and `memory_ledger.py`.
"""

from __future__ import annotations

import itertools
import json
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from cleanroom.adapters.aws_failures import AwsFailureError
from cleanroom.adapters.inbox import LARGEST_REQUEST_BYTES
from cleanroom.adapters.noise_function import answer_of
from cleanroom.errors import InvalidRequestError
from cleanroom.rooms.tables import ObjectVersion
from cleanroom.rooms.windows import next_renewal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, tzinfo

    from cleanroom.rooms.replays import NewRun, Question


class MemoryObjects:
    """A versioned bucket in memory: the twin of `S3Objects`."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], bytes] = {}
        self._present: dict[str, ObjectVersion] = {}
        self._numbers = itertools.count(1)

    def put(self, key: str, content: bytes) -> ObjectVersion:
        """Store a new version."""
        pinned = ObjectVersion(key=key, version_id=f"v{next(self._numbers)}", size_bytes=len(content))
        self._versions[key, pinned.version_id] = content
        self._present[key] = pinned
        return pinned

    def put_table(self, *, owner: str, name: str, table: pa.Table, part: str = "0") -> ObjectVersion:
        """Store an Arrow table as one Parquet object of `owner.name`."""
        return self.put(f"{owner}/{name}/{part}.parquet", parquet_bytes(table))

    def delete(self, key: str) -> None:
        """Hide the object; its versions stay."""
        self._present.pop(key, None)

    def present(self, prefix: str) -> Sequence[ObjectVersion]:
        """Return the present version of every object under `prefix`."""
        return [pinned for key, pinned in self._present.items() if key.startswith(prefix)]

    def read(self, pinned: ObjectVersion, *, start: int, stop: int) -> tuple[int, bytes]:
        """Return the bytes from `start` to `stop` of that version."""
        try:
            return start, self._versions[pinned.key, pinned.version_id][start:stop]
        except KeyError:
            raise AwsFailureError("memory", "NoSuchVersion") from None


def parquet_bytes(table: pa.Table) -> bytes:
    """Return an Arrow table as one Parquet object; a field that is not nullable is REQUIRED there."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


class MemoryExactStore:
    """The twin of `S3ExactStore`; nothing is encrypted, for nothing leaves the process."""

    def __init__(self) -> None:
        self._payloads: dict[str, bytes] = {}

    def put(self, run_id: str, payload: bytes) -> None:
        """Store; overwrites."""
        self._payloads[run_id] = payload

    def get(self, run_id: str) -> bytes | None:
        """Fetch; None where there is none."""
        return self._payloads.get(run_id)

    def delete(self, run_id: str) -> None:
        """Remove it; nothing happens where there is none."""
        self._payloads.pop(run_id, None)


class MemoryReleaseStore:
    """The twin of `S3ReleaseStore`.

    Attributes:
        files: (party, run id, name) -> content.
        drawn: (party, run id) -> noisy tables.
        keys: fingerprint -> public key in PEM.
    """

    def __init__(self) -> None:
        self.files: dict[tuple[str, str, str], bytes] = {}
        self.drawn: dict[tuple[str, str], bytes] = {}
        self.keys: dict[str, str] = {}

    def put_if_absent(self, *, party: str, run_id: str, release: bytes) -> bytes:
        """Store `release.json` unless there is one, and return the stored one."""
        return self.files.setdefault((party, run_id, "release.json"), release)

    def put_derived(self, *, party: str, run_id: str, name: str, content: bytes) -> None:
        """Store another form of the stored release."""
        self.files[party, run_id, name] = content

    def get(self, *, party: str, run_id: str) -> bytes | None:
        """Return `release.json`, or None."""
        return self.files.get((party, run_id, "release.json"))

    def put_drawn_if_absent(self, *, party: str, run_id: str, drawn: bytes) -> bytes:
        """Store the noisy tables unless there are some, and return the stored ones."""
        return self.drawn.setdefault((party, run_id), drawn)

    def get_drawn(self, *, party: str, run_id: str) -> bytes | None:
        """Return the noisy tables, or None."""
        return self.drawn.get((party, run_id))

    def location(self, *, party: str, run_id: str) -> str:
        """Return the address that a bucket called `memory` would have."""
        return f"s3://memory/releases/{party}/{run_id}/"

    def keep_receipt_key(self, *, fingerprint: str, pem: str) -> None:
        """Keep a public key."""
        self.keys.setdefault(fingerprint, pem)

    def receipt_keys(self) -> tuple[str, ...]:
        """Return every public key that was kept, in PEM."""
        return tuple(pem for _, pem in sorted(self.keys.items()))


class DirectNoiseFunction:
    """The twin of `LambdaNoiseFunction`: calls what the function would call; requests and answers still are JSON.

    Args:
        invoke: takes the event, returns the function's answer, `{"ok": …}` or `{"error": …}`.
    """

    def __init__(self, invoke: Callable[[dict[str, object]], dict[str, object]]) -> None:
        self._invoke = invoke

    def release(self, run_id: str) -> bytes:
        """Release one executed run. Raises what it answers with."""
        return self._answer({"action": "release", "run_id": run_id})

    def find_answer(self, question: Question) -> bytes | None:
        """Find the stored release of a question. Raises what it answers with."""
        answer = self._answer({"action": "find_answer", "question": msgspec.to_builtins(question)})
        return None if answer == b"null" else answer

    def replay(self, question: Question, *, run: NewRun) -> bytes | None:
        """Give a stored release again. Raises what it answers with."""
        request = {"action": "replay", "question": msgspec.to_builtins(question), "run": msgspec.to_builtins(run)}
        answer = self._answer(request)
        return None if answer == b"null" else answer

    def publish_refusal(self, *, party: str, run_id: str, error: bytes) -> None:
        """Have a refusal written. Raises what it answers with."""
        self._answer({"action": "publish_refusal", "party": party, "run_id": run_id, "error": error.decode()})

    def _answer(self, event: dict[str, object]) -> bytes:
        return answer_of(json.dumps(self._invoke(json.loads(json.dumps(event)))).encode())


class MemoryRunQueue:
    """The twin of `SqsRunQueue`.

    Attributes:
        bodies: what was sent, in order.
    """

    def __init__(self) -> None:
        self.bodies: list[str] = []

    def send(self, body: str) -> None:
        """Enqueue one JSON message."""
        self.bodies.append(body)


class MemoryInbox:
    """The twin of `S3Inbox`."""

    def __init__(self) -> None:
        self._contents: dict[tuple[str, str], bytes] = {}

    def drop(self, *, key: str, version_id: str, content: bytes) -> None:
        """Drop a request."""
        self._contents[key, version_id] = content

    def read(self, *, key: str, version_id: str) -> bytes:
        """Return the object's bytes. Raises InvalidRequestError."""
        content = self._contents.get((key, version_id))
        if content is None:
            raise InvalidRequestError("the dropped request was removed before it was read")
        if len(content) > LARGEST_REQUEST_BYTES:
            raise InvalidRequestError("a run request is at most 1 MiB")
        return content


class MemorySchedule:
    """The twin of `EventBridgeSchedule`."""

    def __init__(self, *, expression: str = "cron(0 0 * * ? *)", zone: tzinfo = UTC, enabled: bool = True) -> None:
        self._expression, self._zone, self._enabled = expression, zone, enabled

    def set_enabled(self, enabled: bool) -> None:
        """Enable or disable it."""
        self._enabled = enabled

    def is_enabled(self) -> bool:
        """Return whether it is enabled."""
        return self._enabled

    def next_renewal(self, now: datetime) -> datetime:
        """Return when the schedule next opens a window; UTC."""
        return next_renewal(self._expression, zone=self._zone, now=now)


class FixedClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, at: datetime) -> None:
        self._now = at.astimezone(UTC)

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return self._now

    def advance(self, *, seconds: float) -> None:
        """Go on by so many seconds."""
        self._now += timedelta(seconds=seconds)


class CountingIds:
    """Identifiers that repeat from test to test: `run-00000001`, …, and keys 1, 2, …"""

    def __init__(self) -> None:
        self._runs = itertools.count(1)
        self._keys = itertools.count(1)

    def run_id(self) -> str:
        """Return the next run id."""
        return f"run-{next(self._runs):08}"

    def run_key(self) -> int:
        """Return the next key."""
        return next(self._keys)


class ListTelemetry:
    """The twin of `PowertoolsTelemetry`.

    Attributes:
        steps: (step, facts), in order.
        counts: metrics, in order.
        measures: (values, dimensions), in order.
    """

    def __init__(self) -> None:
        self.steps: list[tuple[str, dict[str, object]]] = []
        self.counts: list[str] = []
        self.measures: list[tuple[dict[str, float], dict[str, str]]] = []

    def step(self, step: str, **facts: str | float | bool | None) -> None:
        """Keep one step."""
        self.steps.append((step, dict(facts)))

    def count(self, metric: str) -> None:
        """Keep one event."""
        self.counts.append(metric)

    def measure(self, metrics: Mapping[str, float], **dimensions: str) -> None:
        """Keep values with their dimensions."""
        self.measures.append((dict(metrics), dimensions))
