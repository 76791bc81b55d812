"""Tables: which Parquet objects a table has now, and what their footers say. Adapter of the port `TableStore`."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from typing import TYPE_CHECKING

from cleanroom.adapters.aws_failures import AwsFailureError
from cleanroom.adapters.duckdb_components import row_key
from cleanroom.adapters.duckdb_sandbox import EngineError, EngineLimits, Sandbox, open_sandbox, quoted
from cleanroom.adapters.duckdb_suggestions import measure
from cleanroom.adapters.entity_labels import labelled, rows_of
from cleanroom.adapters.parquet_schema import check_linked, merged, read_columns, read_samples
from cleanroom.adapters.pinned_files import PinnedFiles
from cleanroom.errors import OwnPrivacyPolicyError, TableTooLargeError, TableUnreadableError
from cleanroom.ports import TableDescription
from cleanroom.rooms.tables import Column, LinkedTable, ObjectVersion, TableVersion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cleanroom.adapters.entity_labels import EntityLabels
    from cleanroom.adapters.pinned_files import VersionedObjects
    from cleanroom.rooms.suggestions import ExactSuggestions

MAX_OBJECTS = 1000
"""Objects of one table: each is opened for its footer before a run is priced."""
OWN_POLICY_MARKER = "_own_privacy_policy"
"""An object of this name beside a table's: its owner says that the table has a privacy policy of its own (B-07)."""
_FOOTER_BLOCK_BYTES = 64 << 10
_MEASURING = EngineLimits(memory_bytes=900 << 20, seconds=15.0, spill_bytes=384 << 20)
_REMEMBERED_FOOTERS = 10_000


class ParquetTableStore:
    """All Parquet objects under `<owner>/<name>/` of one versioned place.

    Args:
        objects: the place.
        limits: of reading footers and samples.
        labels: of tables with several entity columns; without it, the first run over a version has to make them.
    """

    def __init__(
        self, objects: VersionedObjects, *, limits: EngineLimits | None = None, labels: EntityLabels | None = None
    ) -> None:
        self._objects, self._labels = objects, labels
        self._limits = limits or EngineLimits(memory_bytes=256 << 20, seconds=60.0, spill_bytes=0)
        self._footers: OrderedDict[tuple[str, str], tuple[Column, ...]] = OrderedDict()

    def describe(self, *, owner: str, name: str) -> TableDescription:
        """Read schema and samples of the present version.

        Raises:
            TableUnreadableError: there is no table, no row, or no common schema.
            OwnPrivacyPolicyError: its owner marked it so.
        """
        full_name = f"{owner}.{name}"
        version = self._present(owner=owner, name=name)
        files = PinnedFiles(self._objects)
        addresses = files.add("t0", version.objects)
        files.warm()
        with open_sandbox(self._limits, files=files) as sandbox:
            schemas = [self._footer(sandbox, full_name, version, i, addresses[i], files) for i in range(len(addresses))]
            columns = merged(full_name, schemas)
            try:
                samples = read_samples(sandbox, addresses, columns)
            except EngineError:
                raise _unreadable(files, f"the rows of {full_name} cannot be read") from None
        if samples is None:
            raise TableUnreadableError(f"{full_name} has no rows yet: link it when it has")
        return TableDescription(columns=columns, samples=samples, version=version)

    def resolve(self, table: LinkedTable) -> TableVersion:
        """Return the present version of every object, after checking that each still has the linked schema.

        Reads footers only, and each version's only once while this process lives.

        Raises:
            TableUnreadableError: the table is gone, corrupt or of another schema.
            OwnPrivacyPolicyError: its owner has marked it so since it was linked.
        """
        version = self._present(owner=table.owner, name=table.name)
        unknown = [
            i for i, pinned in enumerate(version.objects) if (pinned.key, pinned.version_id) not in self._footers
        ]
        if unknown:
            self._read_footers(table.full_name, version, unknown)
        for pinned in version.objects:
            check_linked(table, self._footers[pinned.key, pinned.version_id])
        while len(self._footers) > _REMEMBERED_FOOTERS:
            self._footers.popitem(last=False)
        return version

    def join_entities(self, table: LinkedTable, version: TableVersion) -> bool:
        """Make and store the labels of a version, unless they are there."""
        if self._labels is None:
            return False
        try:
            self._labels.of(table, version)
        except EngineError:
            return False
        return True

    def suggest_bounds(
        self, table: LinkedTable, *, groups: Sequence[Column], columns: Sequence[Column]
    ) -> ExactSuggestions:
        """Measure the present version for its owner: exact figures.

        Raises:
            TableTooLargeError: that takes more time or memory than this function has.
            TableUnreadableError: as `resolve`.
        """
        version = self.resolve(table)
        files = PinnedFiles(self._objects)
        rows = rows_of(files.add("t0", version.objects))
        named = {e.column.lower() for e in table.entity_columns} | {c.name.lower() for c in (*groups, *columns)}
        selected = ", ".join(quoted(c.name) for c in table.columns if c.name.lower() in named)
        entity = None
        try:
            if table.entity_label is not None and self._labels is not None:
                entity = quoted(table.entity_label)
                (labels,) = files.add("labels", [self._labels.of(table, version)], source=self._labels.stored)
                rows = labelled(rows, row_key=row_key(table), selected=selected, label=entity, labels=labels)
                rows = f"({rows})"
            elif len(table.entity_columns) == 1:
                entity = quoted(table.entity_columns[0].column)
            with open_sandbox(_MEASURING, files=files) as sandbox:
                return measure(sandbox, rows, version=version.digest, entity=entity, groups=groups, columns=columns)
        except EngineError:
            if files.failure is not None:
                raise files.failure from None
            raise TableTooLargeError(
                f"{table.full_name} cannot be measured within the {_MEASURING.seconds:g} seconds and the memory of one "
                "call: ask for fewer columns and no groups, or declare bounds from what is known of the table"
            ) from None

    def _read_footers(self, full_name: str, version: TableVersion, positions: Sequence[int]) -> None:
        files = PinnedFiles(self._objects, block_bytes=_FOOTER_BLOCK_BYTES, whole_below_bytes=_FOOTER_BLOCK_BYTES)
        addresses = files.add("t0", [version.objects[i] for i in positions])
        files.warm()
        with open_sandbox(self._limits, files=files) as sandbox:
            for i, address in zip(positions, addresses, strict=True):
                self._footer(sandbox, full_name, version, i, address, files)

    def _footer(
        self, sandbox: Sandbox, full_name: str, version: TableVersion, position: int, address: str, files: PinnedFiles
    ) -> tuple[Column, ...]:
        pinned = version.objects[position]
        try:
            columns = read_columns(sandbox, address)
        except EngineError:
            columns = ()
        if not columns:
            raise _unreadable(
                files,
                f"object {position + 1} of {len(version.objects)} of {full_name}, in the order of names, is not a "
                "readable Parquet file",
            )
        self._footers[pinned.key, pinned.version_id] = columns
        return columns

    def _present(self, *, owner: str, name: str) -> TableVersion:
        present = self._objects.present(f"{owner}/{name}/")
        if any(pinned.key.rpartition("/")[2] == OWN_POLICY_MARKER for pinned in present):
            raise OwnPrivacyPolicyError(full_name=f"{owner}.{name}", marker=OWN_POLICY_MARKER)
        return table_version(f"{owner}.{name}", [p for p in present if p.key.lower().endswith(".parquet")])


def _unreadable(files: PinnedFiles, sentence: str) -> Exception:
    """Return the refusal, unless it is S3 that failed; an object that was removed meanwhile is a refusal too."""
    failure = files.failure
    if failure is None or (isinstance(failure, AwsFailureError) and failure.code in {"NoSuchKey", "NoSuchVersion"}):
        return TableUnreadableError(sentence)
    return failure


def table_version(full_name: str, objects: Sequence[ObjectVersion]) -> TableVersion:
    """Name a set of object versions by the SHA-256 over their (key, version id, size), sorted, one JSON line each.

    Raises:
        TableUnreadableError: there is no object, or too many, or one that has no version.
    """
    if not objects:
        raise TableUnreadableError(f"{full_name} has no Parquet objects")
    if len(objects) > MAX_OBJECTS:
        raise TableUnreadableError(f"{full_name} has more than {MAX_OBJECTS} objects: write fewer, larger ones")
    if any(pinned.version_id == "null" for pinned in objects):
        raise TableUnreadableError(f"{full_name} was written before its bucket kept versions: write it again")
    ordered = sorted(objects, key=lambda pinned: (pinned.key, pinned.version_id, pinned.size_bytes))
    lines = (json.dumps([p.key, p.version_id, p.size_bytes], separators=(",", ":")) + "\n" for p in ordered)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return TableVersion(full_name=full_name, objects=tuple(ordered), digest=digest)
