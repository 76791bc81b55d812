"""The release engine: release queries over noisy tables in memory; it opens nothing. Adapter of `ReleaseEngine`."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from cleanroom.adapters.duckdb_instances import lock_instance, open_instance
from cleanroom.adapters.duckdb_sandbox import EngineError, EngineLimits, Sandbox
from cleanroom.errors import RunFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb
    import pyarrow as pa

_log = logging.getLogger(__name__)

RELEASE_FAILED = "the release could not be computed from its noisy tables"


class DuckDbReleaseEngine:
    """Release queries, each on a connection of its own to one locked instance, which is opened with the first.

    What a query reads is already noisy, and about to be given away: unlike a sandbox over tables, the instance need not
    be a fresh one. Nor can one query see another's tables: they are registered on its connection alone and go with it;
    a query is one SELECT, so it leaves nothing in the instance. An instance in which something failed is given up.

    Args:
        limits: `spill_bytes` must be 0: noisy tables are small, and then no directory can be read.

    Raises:
        ValueError: it may spill.
    """

    def __init__(self, *, limits: EngineLimits | None = None) -> None:
        self._limits = limits or EngineLimits(seconds=60.0, spill_bytes=0)
        if self._limits.spill_bytes:
            raise ValueError("release queries do not spill")
        self._lock = threading.Lock()
        self._instance: duckdb.DuckDBPyConnection | None = None

    def query(self, sql: str, tables: Mapping[str, pa.Table]) -> pa.Table:
        """Return the answer of one SELECT over `tables`.

        Raises:
            RunFailedError: it is not one SELECT over them, or did not finish.
        """
        sandbox = Sandbox(self._connection(), self._limits)
        try:
            for name, table in tables.items():
                sandbox.register(name, table)
            return sandbox.query(sql, relations=tables.keys())
        except EngineError as failure:
            reason = failure.reason
        finally:
            sandbox.close()
        with self._lock:
            self._instance = None
        _log.warning("release query failed: %s", reason)
        raise RunFailedError(RELEASE_FAILED)

    def _connection(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._instance is None:
                instance = open_instance(self._limits)
                lock_instance(instance)
                self._instance = instance
            return self._instance.cursor()
