"""A read-only file system for the engine over exactly the object versions of one run. Adapter, under the engine.

The engine sees names like `pinned://<random>/t0/0.parquet`; the keys of the bucket are not visible through it, and
an object that is not of this run does not exist. A new version that is uploaded during the run is not read.

One name may be written, if it was asked for (`sink`): what is written there stays in memory, for the caller.

Reads are cut into blocks and kept until the run ends or the cache is full. Neighbouring blocks that are missing come
in one request; a block that another thread is fetching is waited for. Small objects are one block: one request.
"""

from __future__ import annotations

import io
import secrets
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from fsspec.spec import AbstractFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cleanroom.rooms.tables import ObjectVersion

MEBIBYTE = 1 << 20
BLOCK_BYTES = MEBIBYTE // 2
WHOLE_BELOW_BYTES = 8 * MEBIBYTE
CACHE_BYTES = 256 * MEBIBYTE
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class VersionedObjects(Protocol):
    """A place where objects keep their versions: a bucket, or its twin in memory."""

    def present(self, prefix: str) -> Sequence[ObjectVersion]:
        """Return the present version of every object whose key starts so."""

    def read(self, pinned: ObjectVersion, *, start: int, stop: int) -> tuple[int, bytes]:
        """Return bytes of that very version that hold `start` to `stop`, and the place of the first of them.

        Raises:
            BusyError: no answer for the moment.
            AwsFailureError: no answer, with the code, e.g. `NoSuchVersion`.
        """


class StoredObjects(VersionedObjects, Protocol):
    """A versioned place of our own: what is made from tables is kept there."""

    def put(self, key: str, content: bytes) -> ObjectVersion:
        """Store a new version and return it."""


class Sink(io.BytesIO):
    """What the engine wrote; it stays readable after the engine has closed it."""

    def close(self) -> None:
        """Keep the content."""


class PinnedFiles(AbstractFileSystem):  # type: ignore[misc]
    """The objects of one run, as a file system for the engine.

    Args:
        objects: where they are.
        block_bytes: smallest read; > 0.
        whole_below_bytes: smaller objects are read whole, at the first read.
        cache_bytes: kept at most, beside what is being read; >= 0.
    """

    protocol = "pinned"
    cachable = False

    def __init__(
        self,
        objects: VersionedObjects,
        *,
        block_bytes: int = BLOCK_BYTES,
        whole_below_bytes: int = WHOLE_BELOW_BYTES,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        super().__init__()
        self._source = objects
        self._block_bytes = block_bytes
        self._whole_below_bytes = whole_below_bytes
        self._cache_bytes = cache_bytes
        self._token = secrets.token_hex(16)
        self._objects: dict[str, ObjectVersion] = {}
        self._sources: dict[str, VersionedObjects] = {}
        self._sinks: dict[str, Sink] = {}
        self._lock = threading.Lock()
        self._blocks: OrderedDict[tuple[str, int], Future[bytes]] = OrderedDict()
        self._kept_bytes = 0
        self._whole: dict[str, bytes] = {}
        self.failure: Exception | None = None
        """The first failure of the store: the engine hides it, and it says nothing of the data."""
        self.gets = 0
        """How many requests were sent."""
        self.fetched_bytes = 0
        """How many bytes they asked for."""

    @property
    def prefix(self) -> str:
        """The only directory that the engine may open; random, so that no other run's text can name it."""
        return f"pinned://{self._token}/"

    def add(
        self, relation: str, objects: Iterable[ObjectVersion], *, source: VersionedObjects | None = None
    ) -> list[str]:
        """Make objects readable and return their names, in order; `source` is where they are, if elsewhere."""
        names = []
        for position, pinned in enumerate(objects):
            path = f"{self._token}/{relation}/{position}.parquet"
            self._objects[path] = pinned
            self._sources[path] = source or self._source
            names.append(f"pinned://{path}")
        return names

    def sink(self, relation: str) -> tuple[str, Sink]:
        """Make one name writable, and return it with what will hold the content."""
        path = f"{self._token}/{relation}.parquet"
        self._sinks[path] = Sink()
        return f"pinned://{path}", self._sinks[path]

    def warm(self, *, threads: int = 8) -> None:
        """Fetch the ends of all objects at once: that is where Parquet keeps its schema. Failures wait for the read."""
        with ThreadPoolExecutor(max_workers=threads) as pool:
            for future in [pool.submit(self._read_end, path) for path in self._objects]:
                future.exception()

    # --- what the engine calls ----------------------------------------------------------------------------------------

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, size and type; FileNotFoundError for what is not of this run."""
        path, pinned = self._find(path)
        return {"name": path, "size": pinned.size_bytes, "type": "file"}

    def exists(self, path: str, **_: Any) -> bool:
        """Return whether the object is one of this run."""
        return self._strip_protocol(path) in self._objects

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the object itself, or nothing: names are not patterns here."""
        return [path] if self.exists(path) else []

    def modified(self, path: str) -> datetime:
        """Return a constant: a version does not change."""
        self._find(path)
        return _LONG_AGO

    def _open(self, path: str, mode: str = "rb", **_: Any) -> PinnedFile | Sink:
        if mode == "wb" and self._strip_protocol(path) in self._sinks:
            return self._sinks[self._strip_protocol(path)]
        if mode != "rb":
            raise PermissionError("pinned objects are only read")
        path, pinned = self._find(path)
        return PinnedFile(self, path, pinned.size_bytes)

    def _find(self, path: str) -> tuple[str, ObjectVersion]:
        path = self._strip_protocol(path)
        try:
            return path, self._objects[path]
        except KeyError:
            raise FileNotFoundError("no such object in this run") from None

    # --- blocks -------------------------------------------------------------------------------------------------------

    def read(self, path: str, *, start: int, length: int) -> bytes:
        """Return `length` bytes from `start`, fewer at the end of the object."""
        pinned = self._objects[path]
        stop = min(start + length, pinned.size_bytes)
        if not 0 <= start < stop:
            return b""
        if path in self._whole:
            return self._whole[path][start:stop]
        block_bytes = pinned.size_bytes if pinned.size_bytes < self._whole_below_bytes else self._block_bytes
        first, last = start // block_bytes, (stop - 1) // block_bytes
        blocks = self._futures(path, pinned, block_bytes, range(first, last + 1))
        data = blocks[0].result() if first == last else b"".join(block.result() for block in blocks)
        offset = first * block_bytes
        return data[start - offset : stop - offset]

    def _futures(self, path: str, pinned: ObjectVersion, block_bytes: int, wanted: range) -> list[Future[bytes]]:
        missing: list[tuple[int, Future[bytes]]] = []
        futures = []
        with self._lock:
            for number in wanted:
                future = self._blocks.get((path, number))
                if future is None:
                    future = Future()
                    self._blocks[path, number] = future
                    missing.append((number, future))
                self._blocks.move_to_end((path, number))
                futures.append(future)
        for run in _neighbours(missing):
            self._fetch(path, pinned, block_bytes, run)
        return futures

    def _fetch(self, path: str, pinned: ObjectVersion, block_bytes: int, run: list[tuple[int, Future[bytes]]]) -> None:
        start = run[0][0] * block_bytes
        stop = min((run[-1][0] + 1) * block_bytes, pinned.size_bytes)
        try:
            offset, data = self._sources[path].read(pinned, start=start, stop=stop)
            if (offset, len(data)) == (0, pinned.size_bytes):
                self._whole[path] = data
            data = data[start - offset : stop - offset]
            if len(data) != stop - start:
                raise OSError("an object has another size than its version had")
        except Exception as failure:  # noqa: BLE001 - handed to every thread that waits for these blocks
            with self._lock:
                self.failure = self.failure or failure
                for number, _ in run:
                    self._blocks.pop((path, number), None)
            for _, future in run:
                future.set_exception(failure)
            return
        for number, future in run:
            offset = number * block_bytes - start
            future.set_result(data[offset : offset + block_bytes] if len(run) > 1 else data)
        with self._lock:
            self.gets += 1
            self.fetched_bytes += len(data)
            self._kept_bytes += len(data)
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Drop the blocks longest unused until the cache fits; whoever reads one still holds it."""
        for key in list(self._blocks):
            if self._kept_bytes <= self._cache_bytes:
                return
            if self._blocks[key].done():
                self._kept_bytes -= len(self._blocks.pop(key).result())

    def _read_end(self, path: str) -> None:
        self.read(path, start=max(0, self._objects[path].size_bytes - 1), length=1)


class PinnedFile:
    """One open object. Threads share it: the engine seeks and reads in two calls, so each thread has its own position.

    A `threading.local` would not do: the engine's threads are not Python's, and lose such values between two calls.
    """

    def __init__(self, files: PinnedFiles, path: str, size_bytes: int) -> None:
        self._files, self._path, self._size_bytes = files, path, size_bytes
        self._positions: dict[int, int] = {}

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move this thread's position."""
        start = (0, self.tell(), self._size_bytes)[whence]
        self._positions[threading.get_ident()] = start + offset
        return start + offset

    def tell(self) -> int:
        """Return this thread's position."""
        return self._positions.get(threading.get_ident(), 0)

    def read(self, length: int = -1) -> bytes:
        """Return up to `length` bytes from this thread's position; all that is left for -1."""
        start = self.tell()
        data = self._files.read(self._path, start=start, length=self._size_bytes if length < 0 else length)
        self._positions[threading.get_ident()] = start + len(data)
        return data

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return False."""
        return False

    def close(self) -> None:
        """Do nothing: the blocks belong to the run."""


def _neighbours(missing: list[tuple[int, Future[bytes]]]) -> list[list[tuple[int, Future[bytes]]]]:
    runs: list[list[tuple[int, Future[bytes]]]] = []
    for number, future in missing:
        if runs and runs[-1][-1][0] == number - 1:
            runs[-1].append((number, future))
        else:
            runs.append([(number, future)])
    return runs
