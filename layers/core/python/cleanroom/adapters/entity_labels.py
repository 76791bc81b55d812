"""Labels of joined entities: made once for each table version, and kept in a place of our own. Adapter.

A version of a table that has several entity columns has labels: which values belong to one entity
(`rooms/entity_joining.py`). They are made when the table is linked, or by the first run over a version, and stored
under the digest of what they were made from: the objects' versions and the entity columns. Two makers at once store
the same labels, and either's may be read. They are values of entities, as secret as the table itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.adapters.aws_failures import AwsFailureError
from cleanroom.adapters.duckdb_components import LABELS, join_entities
from cleanroom.adapters.duckdb_sandbox import EngineError, EngineLimits, open_sandbox
from cleanroom.adapters.pinned_files import PinnedFiles
from cleanroom.errors import BusyError
from cleanroom.rooms.entity_joining import labels_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cleanroom.adapters.pinned_files import StoredObjects, VersionedObjects
    from cleanroom.rooms.tables import LinkedTable, ObjectVersion, TableVersion

PARQUET_OPTIONS = "hive_partitioning=false, union_by_name=false, binary_as_string=false, filename=false"


class EntityLabels:
    """The labels of all tables.

    Args:
        tables: where the tables are.
        stored: where labels are kept.
        limits: of making the labels of one version.
    """

    def __init__(self, tables: VersionedObjects, stored: StoredObjects, *, limits: EngineLimits) -> None:
        self._tables, self.stored, self._limits = tables, stored, limits

    def of(self, table: LinkedTable, version: TableVersion) -> ObjectVersion:
        """Return the stored labels of a version, made now if there are none: a Parquet object with `key`, `label`.

        Raises:
            EngineError: they cannot be made within the limits, or a row cannot be read.
            BusyError, AwsFailureError: a store does not answer.
        """
        key = f"{table.owner}/{table.name}/{labels_digest(table, version)}.parquet"
        found = [pinned for pinned in self.stored.present(key) if pinned.key == key]
        return found[0] if found else self.stored.put(key, self._make(table, version))

    def _make(self, table: LinkedTable, version: TableVersion) -> bytes:
        files = PinnedFiles(self._tables)
        addresses = files.add("t0", version.objects)
        name, sink = files.sink(LABELS)
        try:
            with open_sandbox(self._limits, files=files) as sandbox:
                join_entities(sandbox, rows_of(addresses), table)
                # Sorted, so that runs find few row groups alike and the object is small.
                sandbox.trusted(f"COPY (FROM {LABELS} ORDER BY label) TO '{name}' (FORMAT parquet, COMPRESSION zstd)")
        except EngineError:
            if isinstance(files.failure, BusyError | AwsFailureError):
                raise files.failure from None
            raise
        return sink.getvalue()


def rows_of(addresses: Sequence[str]) -> str:
    """Return what stands in FROM for the rows of these Parquet objects."""
    listed = ", ".join(f"'{address}'" for address in addresses)
    return f"read_parquet([{listed}], {PARQUET_OPTIONS})"


def labelled(rows: str, *, row_key: str, selected: str, label: str, labels: str) -> str:
    """Return a SELECT of the rows with their labels, at the cost of one join with the stored ones.

    Args:
        rows: what stands in FROM.
        row_key: the expression by which a row's label is looked up; a key without a stored label is its own.
        selected: the columns.
        label: the name of the label's column, quoted.
        labels: the address of the stored labels.
    """
    return (
        f"SELECT r.* EXCLUDE ({label}), coalesce(l.label, r.{label}) AS {label} "
        f"FROM (SELECT {selected}, {row_key} AS {label} FROM {rows}) r "
        f"LEFT JOIN read_parquet('{labels}') l ON l.key = r.{label}"
    )
