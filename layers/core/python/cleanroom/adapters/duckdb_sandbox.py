"""DuckDB locked down: one connection that opens the objects of one run and nothing else. Adapter, under both engines.

What holds, and what holds it:
- no file, network or extension: `enable_external_access` off, the configuration locked;
- no other run's objects: the only directory allowed is a name drawn for this run, and the file system behind it
  knows this run's objects alone (DuckDB lets `prefix/../elsewhere` pass its own check, so the prefix is not enough);
- no statement but one SELECT over the relations given, and no table function but those that make rows of
  constants: `accepted` reads the engine's own syntax tree, so that no second parser can disagree;
- no message: what the engine says may quote a cell, so an `EngineError` keeps only the class of its exception.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import tempfile
import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cleanroom.adapters.duckdb_instances import lock_instance, open_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    import duckdb
    import pyarrow as pa

    from cleanroom.adapters.duckdb_instances import SpareInstance
    from cleanroom.adapters.pinned_files import PinnedFiles

_Answer = TypeVar("_Answer")
_log = logging.getLogger(__name__)

ROW_MAKERS = frozenset({"unnest", "range", "generate_series"})
"""Table functions that may run: each makes rows from its arguments, and from nothing else."""

_SOURCES = frozenset({"BASE_TABLE", "TABLE_FUNCTION", "SUBQUERY", "JOIN", "EMPTY", "EXPRESSION_LIST"})
_OTHER_SOURCES = frozenset({"SHOW_REF", "PIVOT", "COLUMN_DATA", "DELIM_GET", "BOUND_TABLE_REF", "CTE", "INVALID"})
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EngineError(Exception):
    """A statement was not accepted or did not finish. It never holds the engine's message: that may quote a cell.

    Attributes:
        reason: class of the engine's exception, or `not_accepted`, or `out_of_time`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineLimits:
    """What one sandbox may use.

    Attributes:
        memory_bytes: of the engine's buffers; the process needs more around them; >= 64 MiB.
        threads: >= 1.
        seconds: for everything that is asked of the sandbox together; > 0.
        spill_bytes: that may be spilled to `temp_directory`; 0: nothing is spilled and no directory is made.
        temp_directory: under which a fresh directory is made; None: the system's.
    """

    memory_bytes: int = 1 << 30
    threads: int = 2
    seconds: float = 600.0
    spill_bytes: int = 4 << 30
    temp_directory: str | None = None

    def __post_init__(self) -> None:
        if not self.memory_bytes >= 64 << 20:
            raise ValueError("an engine needs 64 MiB")
        if not self.threads >= 1 or not self.spill_bytes >= 0:
            raise ValueError("threads >= 1 and spill_bytes >= 0")
        if not 0 < self.seconds < float("inf"):
            raise ValueError("a time limit is a positive number of seconds")


class Sandbox:
    """One locked connection; made by `open_sandbox`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, limits: EngineLimits) -> None:
        self._connection = connection
        self._out_of_time = threading.Event()
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._interrupt_after, args=(limits.seconds,), daemon=True)
        self._watch.start()

    def query(
        self, sql: str, *, relations: Collection[str], parameters: Mapping[str, object] | None = None
    ) -> pa.Table:
        """Run one SELECT that reads nothing but `relations`, and return its answer.

        Raises:
            EngineError: it is not one SELECT, reads something else, failed, or took too long.
        """
        if not ACCEPTED.remembers(sql, relations=relations):
            if not accepted(self._syntax_tree(sql), relations=relations):
                raise EngineError("not_accepted")
            ACCEPTED.remember(sql, relations=relations)
        return self._run(lambda: self._connection.sql(sql, params=dict(parameters or {})).to_arrow_table())

    def trusted(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement whose text is this package's own, and return its rows. Raises EngineError."""
        return self._run(lambda: self._connection.execute(sql, dict(parameters or {})).fetchall())

    def register(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable as `name`."""
        self._connection.register(name, table)

    def close(self) -> None:
        """Stop whatever runs and forget everything."""
        self._closed.set()
        self._watch.join()
        self._connection.close()

    def _syntax_tree(self, sql: str) -> Mapping[str, Any]:
        (text,) = self.trusted("SELECT json_serialize_sql($sql)", {"sql": sql})[0]
        tree: Mapping[str, Any] = json.loads(text)
        return tree

    def _run(self, action: Callable[[], _Answer]) -> _Answer:
        reason = "out_of_time"
        if not self._out_of_time.is_set():
            try:
                return action()
            except Exception as failure:  # noqa: BLE001 - whatever it is, its text must not go further
                reason = "out_of_time" if self._out_of_time.is_set() else type(failure).__name__
        # Raised outside the handler: an exception raised inside would carry the engine's message as its context.
        _log.warning("the engine did not finish: %s", reason)
        raise EngineError(reason)

    def _interrupt_after(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            return
        self._out_of_time.set()
        # Again and again: an interrupt between two statements would be lost.
        while not self._closed.wait(0.02):
            self._connection.interrupt()


class AcceptedTexts:
    """The last texts that were accepted, each with its relations, by their digests.

    Whether a text is accepted depends on the text, the names of the relations and the engine's parser, and on nothing
    that a sandbox holds: the answer of one sandbox is that of every other in this process.
    """

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._digests: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def remembers(self, sql: str, *, relations: Collection[str]) -> bool:
        """Return whether this very text was accepted over these very relations."""
        digest = _digest(sql, relations)
        with self._lock:
            if digest not in self._digests:
                return False
            self._digests.move_to_end(digest)
            return True

    def remember(self, sql: str, *, relations: Collection[str]) -> None:
        """Keep a text that was accepted; the one that was not asked for the longest time goes."""
        with self._lock:
            self._digests[_digest(sql, relations)] = None
            while len(self._digests) > self._most:
                self._digests.popitem(last=False)


def _digest(sql: str, relations: Collection[str]) -> bytes:
    # As JSON, so that no name can pass for two, or for a part of the text.
    return hashlib.sha256(json.dumps([sql, sorted(relations)]).encode()).digest()


ACCEPTED = AcceptedTexts()


@contextmanager
def open_sandbox(
    limits: EngineLimits, *, files: PinnedFiles | None = None, spare: SpareInstance | None = None
) -> Iterator[Sandbox]:
    """Open a sandbox; at the end its memory and its temporary directory are gone.

    Args:
        limits: of memory, threads, time and spilling.
        files: the only objects that can be opened; None: nothing can be.
        spare: where the instance is taken from; None: one is opened now.

    Raises:
        ValueError: the spare instance has other limits.
    """
    if spare is not None and spare.limits != limits:
        raise ValueError("the spare instance has other limits")
    spill = tempfile.mkdtemp(prefix="spill-", dir=limits.temp_directory) if limits.spill_bytes else None
    try:
        connection = open_instance(limits) if spare is None else spare.take()
        try:
            lock_instance(connection, spill=spill, files=files)
        except BaseException:
            connection.close()
            raise
        sandbox = Sandbox(connection, limits)
        try:
            yield sandbox
        finally:
            sandbox.close()
    finally:
        if spill is not None:
            shutil.rmtree(spill, ignore_errors=True)


def accepted(tree: Mapping[str, Any], *, relations: Collection[str]) -> bool:
    """Return whether a syntax tree of DuckDB's `json_serialize_sql` is one SELECT that reads only `relations`.

    A name is read if it is one of `relations`, whatever its case, or a CTE of the statement whose name is a plain
    identifier (a CTE that is called like a file must not make that file readable elsewhere in the statement).
    """
    statements = tree.get("statements", ())
    if tree.get("error") or len(statements) != 1:
        return False
    names = {name.lower() for name in relations}
    nodes = list(_nodes(statements[0]))
    for node in nodes:
        if "cte_map" in node:
            ctes = [entry["key"] for entry in node["cte_map"]["map"]]
            if not all(_PLAIN_NAME.fullmatch(name) for name in ctes):
                return False
            names.update(name.lower() for name in ctes)
    return all(_source_accepted(node, names) for node in nodes)


def _source_accepted(node: Mapping[str, Any], names: Collection[str]) -> bool:
    # A source of a kind that this file does not know is refused, wherever the tree has a place for sources.
    for place in ("from_table", "left", "right"):
        source = node.get(place)
        if isinstance(source, dict) and "class" not in source and source.get("type") not in _SOURCES:
            return False
    kind = node.get("type")
    if not isinstance(kind, str):
        return True  # a data type is an object of its own, and this node is not a source
    if kind == "BASE_TABLE":
        plain = not (node.get("schema_name") or node.get("catalog_name") or node.get("at_clause"))
        return plain and str(node.get("table_name")).lower() in names
    if kind == "TABLE_FUNCTION":
        function = node["function"]
        plain = not function.get("schema") and not function.get("catalog")
        return plain and function["function_name"].lower() in ROW_MAKERS
    return kind not in _OTHER_SOURCES


def _nodes(value: Any) -> Iterator[Mapping[str, Any]]:
    """Give every object of the tree."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def quoted(name: str) -> str:
    """Return `name` as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'
