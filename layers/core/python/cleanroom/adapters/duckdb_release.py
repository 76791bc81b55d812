"""The release engine: release queries over noisy tables in memory; it opens nothing. Adapter of `ReleaseEngine`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cleanroom.adapters.duckdb_sandbox import EngineError, EngineLimits, open_sandbox
from cleanroom.errors import RunFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

_log = logging.getLogger(__name__)

RELEASE_FAILED = "the release could not be computed from its noisy tables"


class DuckDbReleaseEngine:
    """Release queries. `limits.spill_bytes` is best 0: noisy tables are small, and then no directory can be read."""

    def __init__(self, *, limits: EngineLimits | None = None) -> None:
        self._limits = limits or EngineLimits(seconds=60.0, spill_bytes=0)

    def query(self, sql: str, tables: Mapping[str, pa.Table]) -> pa.Table:
        """Return the answer of one SELECT over `tables`.

        Raises:
            RunFailedError: it is not one SELECT over them, or did not finish.
        """
        reason = ""
        try:
            with open_sandbox(self._limits) as sandbox:
                for name, table in tables.items():
                    sandbox.register(name, table)
                return sandbox.query(sql, relations=tables.keys())
        except EngineError as failure:
            reason = failure.reason
        _log.warning("release query failed: %s", reason)
        raise RunFailedError(RELEASE_FAILED)
