"""The engine: runs a plan's exact queries in a sandbox over pinned objects. Adapter of the port `Engine`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from cleanroom.adapters.aws_failures import AwsFailureError
from cleanroom.adapters.duckdb_components import row_key
from cleanroom.adapters.duckdb_instances import SpareInstance
from cleanroom.adapters.duckdb_sandbox import EngineError, EngineLimits, Sandbox, open_sandbox, quoted
from cleanroom.adapters.entity_labels import labelled, rows_of
from cleanroom.adapters.pinned_files import PinnedFiles
from cleanroom.errors import BusyError, CleanRoomError, RunFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cleanroom.adapters.entity_labels import EntityLabels
    from cleanroom.adapters.pinned_files import VersionedObjects
    from cleanroom.rooms.tables import TableVersion
    from cleanroom.templates.plan import Measurement, Plan, TableUse

_log = logging.getLogger(__name__)

RUN_FAILED = "the run could not be computed; what went wrong is not shown, because it may depend on rows"
LARGEST_EXACT = 1 << 62
"""Measured integers stay within plus and minus this, so that noise can be added in 64 bits' reach."""


class DuckDbEngine:
    """Exact queries over pinned tables.

    Args:
        objects: where the tables are.
        limits: of one plan.
        labels: of tables with several entity columns; without it, plans that need them fail.
        ahead: open the instance of the next run now, and after each run that of the one after it.
    """

    def __init__(
        self,
        objects: VersionedObjects,
        *,
        limits: EngineLimits | None = None,
        labels: EntityLabels | None = None,
        ahead: bool = False,
    ) -> None:
        self._objects, self._limits, self._labels = objects, limits or EngineLimits(), labels
        self._spare = SpareInstance(self._limits) if ahead else None
        self._prepare()

    def execute(self, plan: Plan, *, versions: Mapping[str, TableVersion], run_key: int) -> Mapping[str, bytes]:
        """Return measurement name -> exact table as an Arrow IPC stream.

        Args:
            plan: what to compute.
            versions: by relation.
            run_key: fills `$run_key`; 64-bit signed.

        Raises:
            RunFailedError: anything went wrong with the data or the query; one fixed sentence.
            BusyError: the store would not answer; that says nothing of the rows.
        """
        files = PinnedFiles(self._objects)
        addresses = {use.relation: files.add(use.relation, versions[use.relation].objects) for use in plan.tables}
        try:
            labels = {
                use.relation: self._labels_of(use, versions[use.relation], files)
                for use in plan.tables
                if use.needs_labels
            }
            with open_sandbox(self._limits, files=files, spare=self._spare) as sandbox:
                return execute_in(sandbox, plan, addresses=addresses, labels=labels, run_key=run_key)
        except CleanRoomError:
            if isinstance(files.failure, BusyError):
                raise BusyError(str(files.failure)) from files.failure
            if isinstance(files.failure, AwsFailureError):
                _log.error("the tables could not be read: %s", files.failure)
            raise
        finally:
            self._prepare()

    def _prepare(self) -> None:
        if self._spare is not None:
            self._spare.prepare()

    def _labels_of(self, use: TableUse, version: TableVersion, files: PinnedFiles) -> str:
        """Return the address of the labels of a version. The first run over a version makes them, with its own limits:
        what they take is not taken from the queries."""
        reason = "no_labels"
        if self._labels is not None:
            try:
                pinned = self._labels.of(use.table, version)
                return files.add(f"{use.relation}_labels", [pinned], source=self._labels.stored)[0]
            except EngineError as failure:
                reason = failure.reason
        _log.warning("entities could not be joined: %s", reason)
        raise RunFailedError(RUN_FAILED)


def execute_in(
    sandbox: Sandbox,
    plan: Plan,
    *,
    addresses: Mapping[str, list[str]],
    run_key: int,
    labels: Mapping[str, str] | None = None,
) -> Mapping[str, bytes]:
    """Run every measurement of `plan` in an open sandbox; `addresses` and `labels` are those of each relation.

    Raises:
        RunFailedError: anything went wrong.
    """
    reason = ""
    try:
        for use in plan.tables:
            beside = plan.differential and any(owner != use.table.owner for owner in plan.protected_owners)
            _create_relation(sandbox, use, addresses[use.relation], (labels or {}).get(use.relation), copied=beside)
        relations = [use.relation for use in plan.tables]
        return {
            measurement.name: _stream(_measure(sandbox, plan, measurement, relations, run_key))
            for measurement in plan.measurements
        }
    except EngineError as failure:
        reason = failure.reason
    except _ShapeError as failure:
        reason = failure.reason
    _log.warning("exact query failed: %s", reason)
    raise RunFailedError(RUN_FAILED, reason=reason)


BIN_LISTS = pa.list_(pa.struct([pa.field("b", pa.int32()), pa.field("n", pa.int64())]))
"""Exact counts per bin."""


class _ShapeError(Exception):
    """An exact table is not what its measurement says; names the rule, never a value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _create_relation(
    sandbox: Sandbox, use: TableUse, addresses: list[str], labels: str | None, *, copied: bool
) -> None:
    """Make the relation: only the columns that the plan names, which must have the types that were linked.

    A table beside another owner's protected rows is copied, all of it, before any of those is read. A join without a
    row on its protected side leaves the other side unread. If that is a file which its owner, say the reader, damaged
    in its pages or indexes, the run would fail or not by whether there is such a row. Now it fails in any case.
    """
    columns = [column for name in use.columns if (column := use.table.column(name)) is not None]
    if len(columns) + use.needs_labels != len(use.columns) or not addresses or use.needs_labels != (labels is not None):
        raise _ShapeError("unknown_column")
    # COUNT(*) alone names no column, but a view needs one.
    selected = ", ".join(quoted(column.name) for column in columns) or 'true AS "_"'
    rows = rows_of(addresses)
    expected = [(column.name.lower(), column.native_type) for column in columns]
    if labels is None:
        text = f"SELECT {selected} FROM {rows}"
    else:
        label = str(use.table.entity_label)
        text = labelled(rows, row_key=row_key(use.table), selected=selected, label=quoted(label), labels=labels)
        expected.append((label, "VARCHAR"))
    sandbox.trusted(f"CREATE {'TABLE' if copied else 'VIEW'} {quoted(use.relation)} AS {text}")
    described = sandbox.trusted(f"DESCRIBE {quoted(use.relation)}")
    if columns and [(row[0].lower(), row[1]) for row in described] != expected:
        raise _ShapeError("schema_changed")


def _measure(sandbox: Sandbox, plan: Plan, measurement: Measurement, relations: list[str], run_key: int) -> pa.Table:
    parameters = {"run_key": run_key} if "$run_key" in measurement.exact_sql else {}
    table = sandbox.query(measurement.exact_sql, relations=relations, parameters=parameters)
    measured = [column.name for column in measurement.columns]
    if plan.differential:
        if table.column_names != [*measurement.keys, *measured]:
            raise _ShapeError("columns")
    elif sorted(table.column_names) != sorted({*measurement.keys, *plan.exact_columns, *measured}):
        raise _ShapeError("columns")
    for column in measurement.columns:
        exact = table.column(column.name)
        if column.bins is None:
            _check_measured(exact)
        else:
            _check_bins(exact, number=column.bins.number)
    if plan.differential and not measurement.keys and table.num_rows != 1:
        raise _ShapeError("rows_without_keys")
    return table


def _check_measured(column: pa.ChunkedArray) -> None:
    if column.type != pa.int64():
        raise _ShapeError("measured_type")
    if column.null_count:
        raise _ShapeError("measured_null")
    if len(column):
        extremes = pc.min_max(column).as_py()
        if not -LARGEST_EXACT <= extremes["min"] <= extremes["max"] <= LARGEST_EXACT:
            raise _ShapeError("measured_range")


def _check_bins(column: pa.ChunkedArray, *, number: int) -> None:
    """Check lists of (bin, count); a group without rows may have no list."""
    if column.type != BIN_LISTS:
        raise _ShapeError("measured_type")
    flat = column.combine_chunks().flatten()
    counts = flat.field("n")
    if flat.null_count or flat.field("b").null_count:
        raise _ShapeError("measured_null")
    _check_measured(pa.chunked_array([counts]))
    if len(flat):
        extremes = pc.min_max(flat.field("b")).as_py()
        if not 0 <= extremes["min"] <= extremes["max"] < number:
            raise _ShapeError("measured_range")


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data
