"""Linked tables as the rest of the package sees them: columns, versions, entity column and the owner's policy. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction


class ColumnType(StrEnum):
    """The types that templates can use; a column of any other type is `OTHER` and cannot be named in a query.

    An `ARRAY` holds values of one of the simple types; what they are says its native type (`rooms/native_types.py`).
    """

    INTEGER = "integer"
    DECIMAL = "decimal"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TEXT = "text"
    ARRAY = "array"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of a table, as its Parquet schema says; the schema is public.

    Attributes:
        name: as in the file; compared without regard to case.
        type: our type.
        native_type: the engine's own name, e.g. `DECIMAL(15,2)`; what a later version of the table must still have.
        nullable: False only where the file format itself rules NULL out.
    """

    name: str
    type: ColumnType
    native_type: str
    nullable: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class EntityColumn:
    """A column whose values are entities.

    Attributes:
        column: its name.
        kind: what its values are, e.g. `email`, `device_id`; entity columns can be joined if their kinds agree.
        evidence: plain sentences that say why it was detected, or who pinned it.
    """

    column: str
    kind: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnBounds:
    """The declared range of a column; values outside are clamped.

    Attributes:
        lo, hi: ends of the range, both in it: numbers; of a date, days since 1970-01-01; of a timestamp, microseconds
            since then (`rooms/moments.py`).
        kind: DATE or TIMESTAMP for those; None for numbers.
    """

    lo: Fraction
    hi: Fraction
    kind: ColumnType | None = None

    def __post_init__(self) -> None:
        if not self.lo < self.hi:
            raise ValueError("a range needs lo < hi")


@dataclass(frozen=True, kw_only=True, slots=True)
class Domain:
    """The public list of values that a group key may have, as literals of the column's type.

    Attributes:
        values: str, int, bool, or ISO dates as str; in the order declared, without repetition; ranges are expanded.
    """

    values: tuple[str | int | bool, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnedThrough:
    """The key through which a table's rows belong to the entities of another table of the same owner.

    Attributes:
        parent: the other table's name, without its owner.
        columns: pairs of this table's column and the parent's, as the tables spell them; all equal in a pair of rows.
        unique: the owner says that no two rows of the parent have the same key, so that the join need not make them
            distinct. It is about speed and counts: no privacy depends on it.
    """

    parent: str
    columns: tuple[tuple[str, str], ...]
    unique: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TablePolicy:
    """What the owner of a table declares about it; public to the room.

    Attributes:
        max_rows: rows that one entity may weigh in one group; None where not declared.
        max_groups: groups that one entity may weigh; None where not declared.
        bounds: column -> range (lower-case names).
        domains: column -> public values (lower-case names).
        min_entities: smallest group, in entities, that may appear (B-80); 0 for none.
        clipping_estimate: the owner agrees that a run may also measure, with noise and at a price, how much the bounds
            and ranges of this table cut off.
        owned_through: the key of another table of the same owner that says whose a row is, for a table without an
            entity column of its own: `{"parent": "orders", "on": {"l_orderkey": "o_orderkey"}, "unique": true}`.
        join_columns, project_columns, activation_columns: what the policy filters allow (B-33); None where none is set.
    """

    max_rows: int | None = None
    max_groups: int | None = None
    bounds: Mapping[str, ColumnBounds] = field(default_factory=dict)
    domains: Mapping[str, Domain] = field(default_factory=dict)
    min_entities: int = 0
    clipping_estimate: bool = False
    owned_through: OwnedThrough | None = None
    join_columns: tuple[str, ...] | None = None
    project_columns: tuple[str, ...] | None = None
    activation_columns: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkedTable:
    """One table that its owner linked to a room.

    Attributes:
        owner: the party.
        name: the table's own name, `[a-z][a-z0-9_]*`; its full name in templates is `owner.name`.
        columns: in file order.
        entity_columns: detected or pinned; empty where the table has none.
        policy: the owner's.
    """

    owner: str
    name: str
    columns: tuple[Column, ...]
    entity_columns: tuple[EntityColumn, ...] = ()
    policy: TablePolicy = field(default_factory=TablePolicy)

    @property
    def full_name(self) -> str:
        """`owner.name`, as `source_table` and `my_table` give it."""
        return f"{self.owner}.{self.name}"

    @property
    def entity_label(self) -> str | None:
        """The name of the hidden column that holds the joined entity of a row (B-04); None with at most one column."""
        if len(self.entity_columns) < 2:
            return None
        taken = {column.name.lower() for column in self.columns}
        label = "entity_label"
        while label in taken:
            label += "_"
        return label

    def column(self, name: str) -> Column | None:
        """Return the column of that name, whatever its case, or None."""
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectVersion:
    """One object of a table at one version."""

    key: str
    version_id: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TableVersion:
    """The exact objects that one run reads; `digest` names them in receipts."""

    full_name: str
    objects: tuple[ObjectVersion, ...]
    digest: str
