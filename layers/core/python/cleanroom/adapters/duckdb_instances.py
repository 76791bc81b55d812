"""Empty DuckDB instances: opening one takes 10 ms, so it can be done ahead of its run. Adapter, under the sandbox.

An instance serves one run and is closed after it. What is kept ready is empty: no file system, no relation, no
statement has been run in it, and nothing that was drawn at random in it is ever used (a run's secrets come from the
operating system at the run). So a spare instance differs from one that is opened at the run only in when it was opened.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cleanroom.adapters.duckdb_sandbox import EngineLimits
    from cleanroom.adapters.pinned_files import PinnedFiles


DISTRUSTED = ",".join(
    (
        "statistics_propagation",
        "join_filter_pushdown",
        "compressed_materialization",
        "partitioned_execution",
        "row_group_pruner",
        "top_n",
    )
)
"""Optimizers that must not run: they believe what a file says of its own rows (least, largest, no NULL).

Whoever writes a table writes its statistics too. With a largest value that is too small, the engine would drop a clamp
as needless; with the keys of one entity only, it would skip rows of others wherever that entity is not there. Filters
on constants may still skip parts of a file: which ones does not depend on anybody's rows elsewhere.
"""


def open_instance(limits: EngineLimits) -> duckdb.DuckDBPyConnection:
    """Return a connection to a new instance in memory that is neither locked nor has a directory to spill to."""
    return duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{limits.memory_bytes}B",
            "threads": limits.threads,
            "temp_directory": "",
            "max_temp_directory_size": f"{limits.spill_bytes}B",
            "preserve_insertion_order": False,
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "allow_community_extensions": False,
            "allow_unsigned_extensions": False,
            "allow_persistent_secrets": False,
            "python_enable_replacements": False,
            # The objects are pinned: they cannot change under the cache.
            "validate_external_file_cache": "NO_VALIDATION",
        },
    )


def lock_instance(
    connection: duckdb.DuckDBPyConnection, *, spill: str | None = None, files: PinnedFiles | None = None
) -> None:
    """Let the instance reach the given files and nothing else, for good; every connection to it has these settings."""
    if files is not None:
        connection.register_filesystem(files)
    allowed = f"['{files.prefix}']" if files is not None else "[]"
    escaped = (spill or "").replace("'", "''")
    connection.execute(
        f"SET temp_directory = '{escaped}';"
        # GLOBAL: by itself, SET of these would hold for this connection alone.
        "SET GLOBAL TimeZone = 'UTC';"
        "SET GLOBAL parquet_metadata_cache = true;"
        # Needs an extension that is not there; without it such a column is plain bytes.
        "SET GLOBAL enable_geoparquet_conversion = false;"
        f"SET disabled_optimizers = '{DISTRUSTED}';"
        f"SET allowed_directories = {allowed};"
        "SET enable_external_access = false;"
        "SET lock_configuration = true;"
    )


class SpareInstance:
    """At most one empty instance, opened ahead on a thread of its own.

    Args:
        limits: of memory, threads and spilling; those of the sandboxes that will take it.
    """

    def __init__(self, limits: EngineLimits) -> None:
        self.limits = limits
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spare-instance")
        self._lock = threading.Lock()
        self._spare: Future[duckdb.DuckDBPyConnection] | None = None

    def prepare(self) -> None:
        """Begin to open one, unless there is one."""
        with self._lock:
            if self._spare is None:
                self._spare = self._threads.submit(open_instance, self.limits)

    def take(self) -> duckdb.DuckDBPyConnection:
        """Return the spare instance, which is the caller's from then on, or a new one."""
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None and spare.exception() is None:
            return spare.result()
        return open_instance(self.limits)
