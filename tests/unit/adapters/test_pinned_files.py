"""Pinned files: the right bytes, whatever threads, blocks and cache do; few requests; nothing else exists."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanroom.adapters.memory import MemoryObjects
from cleanroom.adapters.pinned_files import PinnedFiles
from cleanroom.errors import BusyError
from cleanroom.rooms.tables import ObjectVersion

CONTENT = bytes(range(256)) * 40


class CountedObjects(MemoryObjects):
    """Counts the reads; may give whole objects, as a server that ignores Range does."""

    def __init__(self, *, ignores_range=False):
        super().__init__()
        self.reads = []
        self.ignores_range = ignores_range

    def read(self, pinned, *, start, stop):
        self.reads.append((start, stop))
        if self.ignores_range:
            start, stop = 0, pinned.size_bytes
        return super().read(pinned, start=start, stop=stop)


def opened(objects, **keywords):
    files = PinnedFiles(objects, **({"block_bytes": 100, "whole_below_bytes": 0} | keywords))
    (name,) = files.add("t0", [objects.put("a", CONTENT)])
    return files, files.open(name)


@given(
    st.lists(st.tuples(st.integers(0, len(CONTENT) + 50), st.integers(0, 3000)), max_size=20),
    st.integers(1, 5000),
    st.sampled_from([0, 300, 10**6]),
    st.booleans(),
)
def test_every_read_gives_the_bytes_that_are_there(reads, block_bytes, cache_bytes, ignores_range):
    _, file = opened(CountedObjects(ignores_range=ignores_range), block_bytes=block_bytes, cache_bytes=cache_bytes)
    for start, length in reads:
        file.seek(start)
        assert file.read(length) == CONTENT[start : start + length]
        assert file.tell() == start + len(CONTENT[start : start + length])


def test_threads_that_share_a_file_have_their_own_positions():
    """The engine seeks and reads in two calls, on a file that its threads share: a shared position mixes up bytes."""
    _, file = opened(CountedObjects())
    all_have_sought = threading.Barrier(4)

    def read_at(start):
        file.seek(start)
        all_have_sought.wait()
        return file.read(50)

    starts = [0, 1237, 5000, 9001]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read_at, starts)) == [CONTENT[start : start + 50] for start in starts]


def test_neighbouring_blocks_come_in_one_request_and_only_once():
    objects = CountedObjects()
    files, file = opened(objects)
    file.seek(250)
    file.read(300)
    assert objects.reads == [(200, 600)]
    file.seek(100)
    file.read(700)
    assert objects.reads == [(200, 600), (100, 200), (600, 800)]
    file.seek(100)
    file.read(700)
    assert files.gets == len(objects.reads) == 3


def test_a_small_object_is_one_request():
    objects = CountedObjects()
    _, file = opened(objects, whole_below_bytes=len(CONTENT) + 1)
    file.seek(5000)
    file.read(10)
    file.seek(0)
    file.read()
    assert objects.reads == [(0, len(CONTENT))]


def test_a_block_that_two_threads_want_is_fetched_once():
    objects = CountedObjects()
    files, _ = opened(objects, whole_below_bytes=10**6)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: files.read(next(iter(files._objects)), start=at, length=10), range(200)))
    assert len(objects.reads) == 1


def test_the_cache_stays_within_its_size():
    files, file = opened(CountedObjects(), cache_bytes=1000)
    for at in range(0, 10_000, 100):
        file.seek(at)
        file.read(100)
        assert sum(len(block.result()) for block in files._blocks.values()) <= 1000


def test_warming_fetches_the_ends():
    objects = CountedObjects()
    files, _ = opened(objects)
    files.warm()
    assert objects.reads == [(10_200, 10_240)]


@pytest.mark.parametrize(
    "name", ["pinned://{t}/t0/1.parquet", "pinned://{t}/../a", "pinned://a", "a", "pinned://{t}/t0/"]
)
def test_what_is_not_of_this_run_does_not_exist(name):
    files, _ = opened(CountedObjects())
    name = name.format(t=files.prefix.removeprefix("pinned://").rstrip("/"))
    assert not files.exists(name)
    assert files.glob(name) == []
    with pytest.raises(FileNotFoundError):
        files.open(name)


def test_nothing_is_written():
    files, _ = opened(CountedObjects())
    with pytest.raises(PermissionError):
        files.open(f"{files.prefix}t0/0.parquet", "wb")


def test_a_failure_reaches_the_reader_and_the_block_can_be_tried_again():
    class Failing(CountedObjects):
        busy = True

        def read(self, pinned, *, start, stop):
            if self.busy:
                raise BusyError("S3 is busy")
            return super().read(pinned, start=start, stop=stop)

    objects = Failing()
    files, file = opened(objects)
    with pytest.raises(BusyError):
        file.read(10)
    assert isinstance(files.failure, BusyError)
    objects.busy = False
    file.seek(0)
    assert file.read(10) == CONTENT[:10]


def test_an_object_that_has_another_size_is_not_read():
    objects = CountedObjects()
    pinned = objects.put("a", CONTENT)
    files = PinnedFiles(objects)
    (name,) = files.add("t0", [ObjectVersion(key="a", version_id=pinned.version_id, size_bytes=len(CONTENT) + 1)])
    with pytest.raises(OSError, match="another size"):
        files.open(name).read()


def test_only_a_name_that_was_asked_for_can_be_written_and_none_of_a_run_is():
    """What the engine writes stays in memory, for the caller; an object of a table is never written."""
    objects = MemoryObjects()
    files = PinnedFiles(objects)
    (table,) = files.add("t0", [objects.put("a", CONTENT)])
    name, sink = files.sink("labels")
    with files.open(name, "wb") as file:
        file.write(b"made")
    assert sink.getvalue() == b"made"
    for other in (table, f"{files.prefix}other.parquet", name.replace("labels", "t0/0")):
        with pytest.raises(PermissionError):
            files.open(other, "wb")
    assert not files.exists(name)


def test_objects_of_two_places_are_read_from_their_own():
    tables, labels = MemoryObjects(), MemoryObjects()
    files = PinnedFiles(tables)
    (one,) = files.add("t0", [tables.put("a", b"table")])
    (two,) = files.add("t0_labels", [labels.put("a", b"label")], source=labels)
    assert files.open(one).read() == b"table"
    assert files.open(two).read() == b"label"
