"""What the engine's type names mean to templates: our types, and the elements of arrays. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cleanroom.rooms.tables import Column, ColumnType

_TYPES: Mapping[str, ColumnType] = {
    "TINYINT": ColumnType.INTEGER,
    "SMALLINT": ColumnType.INTEGER,
    "INTEGER": ColumnType.INTEGER,
    "BIGINT": ColumnType.INTEGER,
    "UTINYINT": ColumnType.INTEGER,
    "USMALLINT": ColumnType.INTEGER,
    "UINTEGER": ColumnType.INTEGER,
    "FLOAT": ColumnType.DOUBLE,
    "DOUBLE": ColumnType.DOUBLE,
    "BOOLEAN": ColumnType.BOOLEAN,
    "DATE": ColumnType.DATE,
    "TIMESTAMP": ColumnType.TIMESTAMP,
    "TIMESTAMP_NS": ColumnType.TIMESTAMP,
    "TIMESTAMP WITH TIME ZONE": ColumnType.TIMESTAMP,
    "VARCHAR": ColumnType.TEXT,
}
"""UBIGINT is left out: it does not fit in the 64 signed bits that exact integers have."""
_DECIMAL = re.compile(r"DECIMAL\(\d+,\d+\)")
_OF = "[]"


def column_type(native_type: str) -> ColumnType:
    """Return our type for one of the engine's.

    An array of simple values is ARRAY; structs, maps, arrays of arrays and unusual types are OTHER.
    """
    if native_type.endswith(_OF):
        simple = column_type(native_type.removesuffix(_OF)) not in (ColumnType.ARRAY, ColumnType.OTHER)
        return ColumnType.ARRAY if simple else ColumnType.OTHER
    if _DECIMAL.fullmatch(native_type):
        return ColumnType.DECIMAL
    return _TYPES.get(native_type, ColumnType.OTHER)


def element_of(column: Column) -> Column:
    """Return an array column as one of its elements, which may be NULL; any other column as it is.

    What an owner declares of an array column, a range or a list of values, is about its elements.
    """
    if column.type is not ColumnType.ARRAY:
        return column
    native = column.native_type.removesuffix(_OF)
    return Column(name=column.name, type=column_type(native), native_type=native)
