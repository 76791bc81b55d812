"""A measurement while it is being worked out: everything but its noise. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from cleanroom.templates.domains import Factor
from cleanroom.templates.grouping_sets import GroupingSet
from cleanroom.templates.measurements import DraftColumn
from cleanroom.templates.relations import Entity
from cleanroom.templates.scalars import Scalar


@dataclass(frozen=True, kw_only=True, slots=True)
class ContributionBounds:
    """How much one entity may weigh in all.

    Attributes:
        max_groups: whole groups; >= 1; 1 where there is no GROUP BY.
        max_rows: rows in one group; >= 1; without GROUP BY all k m rows that an entity may weigh. Where only entities
            are counted it has no effect.
    """

    max_groups: int
    max_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """One measurement before its noise.

    Attributes:
        name: `m0`, ….
        rows: the SELECT over protected rows, with FROM and WHERE and no expressions yet.
        entity: of a row, in terms of `rows`; rows where it is NULL count for nobody.
        protected: what the entity is.
        keys: group keys, in order.
        columns: what is measured.
        bounds: contribution bounds.
        factors: the public domain of the keys; None for private keys.
        entities_column: the measured number of entities, where something is selected by it.
        at_least: entities that a group must have, as far as policies say; 0 for none.
        paid: lines of the price: what, epsilon and delta are in the columns' shares.
        texts: bounds for the receipt.
        grouping: which grouping set it is, where totals are to agree with their parts.
        most_rows: no entity has more rows, whatever the data; None where nothing is known.
        other: the groups that are not shown become a row of their own.
        counts_distinct: a COUNT(DISTINCT …) is asked for: over several groups it is no sum.
    """

    name: str
    rows: exp.Select
    entity: exp.Expr
    protected: Entity
    keys: tuple[Scalar, ...]
    columns: tuple[DraftColumn, ...]
    bounds: ContributionBounds
    factors: tuple[Factor, ...] | None
    entities_column: str | None
    at_least: int
    texts: Mapping[str, str] = field(default_factory=dict)
    grouping: GroupingSet | None = None
    most_rows: int | None = None
    other: bool = False
    counts_distinct: bool = False
