"""What Parquet footers say of a table, read by the engine itself inside a sandbox. Adapter, under the table stores."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cleanroom.adapters.duckdb_sandbox import quoted
from cleanroom.errors import TableUnreadableError
from cleanroom.rooms.native_types import column_type
from cleanroom.rooms.tables import Column, ColumnType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cleanroom.adapters.duckdb_sandbox import Sandbox
    from cleanroom.rooms.tables import LinkedTable

SAMPLED_VALUES = 1000
_SAMPLED_PLACES = 20


def read_columns(sandbox: Sandbox, address: str) -> tuple[Column, ...]:
    """Return the top-level columns of one Parquet object, in file order. Raises EngineError if it is none."""
    rows = sandbox.trusted(
        "SELECT name, coalesce(num_children, 0), repetition_type, duckdb_type "
        "FROM parquet_schema($address) ORDER BY column_id",
        {"address": address},
    )
    columns = []
    position = 1  # 0 is the schema's root
    while position < len(rows):
        name, children, repetition, native_type = rows[position]
        known = column_type(str(native_type))
        nested = bool(children) and known is not ColumnType.ARRAY
        columns.append(
            Column(
                name=name,
                type=ColumnType.OTHER if nested or repetition == "REPEATED" else known,
                native_type=str(native_type),
                nullable=repetition != "REQUIRED",
            )
        )
        position = _after_subtree(rows, position)
    return tuple(columns)


def _after_subtree(rows: Sequence[tuple[object, ...]], position: int) -> int:
    """Return where the next sibling stands: rows are in depth-first order, each with its number of children."""
    waiting = 1
    while waiting and position < len(rows):
        children = rows[position][1]
        waiting += (children if isinstance(children, int) else 0) - 1
        position += 1
    return position


def merged(full_name: str, schemas: Iterable[tuple[Column, ...]]) -> tuple[Column, ...]:
    """Return the schema that all objects of a table have; a column is nullable if it is in any of them.

    Raises:
        TableUnreadableError: they differ, a name repeats but for case, or no column can be used.
    """
    first, *others = schemas
    names = [column.name.lower() for column in first]
    if len(set(names)) != len(names):
        raise TableUnreadableError(f"two columns of {full_name} have the same name but for upper and lower case")
    if all(column.type is ColumnType.OTHER for column in first):
        raise TableUnreadableError(f"no column of {full_name} has a type that a template could use")
    nullable = {column.name.lower() for columns in (first, *others) for column in columns if column.nullable}
    for columns in others:
        if _shape(columns) != _shape(first):
            raise TableUnreadableError(f"the objects of {full_name} do not all have the same columns and types")
    return tuple(replace(column, nullable=column.name.lower() in nullable) for column in first)


def check_linked(table: LinkedTable, columns: tuple[Column, ...]) -> None:
    """Check that an object still has the schema that was linked.

    Raises:
        TableUnreadableError: columns or types differ, or NULL became possible where it was ruled out.
    """
    linked_not_null = {column.name.lower() for column in table.columns if not column.nullable}
    if _shape(columns) != _shape(table.columns) or any(
        column.nullable and column.name.lower() in linked_not_null for column in columns
    ):
        raise TableUnreadableError(f"the columns of {table.full_name} are not those that were linked: link it again")


def _shape(columns: Iterable[Column]) -> list[tuple[str, str]]:
    return sorted((column.name.lower(), column.native_type) for column in columns)


def read_samples(
    sandbox: Sandbox, addresses: Sequence[str], columns: Iterable[Column]
) -> Mapping[str, Sequence[str | None]] | None:
    """Return up to 1000 values, as text, of each text and integer column; None where the table has no rows.

    They come from places spread over all rows, short runs of neighbouring rows: the engine then reads a few row
    groups and not the table.

    Raises:
        EngineError: an object cannot be read.
    """
    counts = _row_counts(sandbox, addresses)
    if not sum(rows for _, rows in counts):
        return None
    sampled = [column for column in columns if column.type in {ColumnType.TEXT, ColumnType.INTEGER}]
    if not sampled:
        return {}
    selected = ", ".join(f"CAST({quoted(column.name)} AS VARCHAR)" for column in sampled)
    rows: list[tuple[str | None, ...]] = []
    for address, first, last in _places(counts):
        rows += sandbox.trusted(
            f"SELECT {selected} FROM read_parquet($address, file_row_number=true, hive_partitioning=false) "
            f"WHERE file_row_number BETWEEN {first} AND {last}",
            {"address": address},
        )
    return {column.name: tuple(row[i] for row in rows[:SAMPLED_VALUES]) for i, column in enumerate(sampled)}


def _row_counts(sandbox: Sandbox, addresses: Sequence[str]) -> list[tuple[str, int]]:
    return [
        (address, int(sandbox.trusted("SELECT num_rows FROM parquet_file_metadata($a)", {"a": address})[0][0]))
        for address in addresses
    ]


def _places(counts: Sequence[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """Return (address, first row, last row) of the sampled runs, at most 1000 rows together."""
    total = sum(rows for _, rows in counts)
    if total <= SAMPLED_VALUES:
        return [(address, 0, rows - 1) for address, rows in counts if rows]
    length = SAMPLED_VALUES // _SAMPLED_PLACES
    places = []
    for number in range(_SAMPLED_PLACES):
        row = number * (total - length) // (_SAMPLED_PLACES - 1)
        for address, rows in counts:
            if row < rows:
                places.append((address, row, min(row + length, rows) - 1))
                break
            row -= rows
    return places
