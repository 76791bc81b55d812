"""What a template is compiled against, and what rendering it gives. Pure values; `compile.py` takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from cleanroom.rooms.approved import Template
from cleanroom.rooms.settings import PrivacySettings
from cleanroom.rooms.tables import LinkedTable

Argument = str | int | float | bool | None | tuple["Argument", ...] | Mapping[str, "Argument"]
"""What a caller may pass for a template variable: JSON values, lists as tuples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CompileContext:
    """All that compiling may depend on beside template and arguments.

    Attributes:
        reader: the party that will see the release; its own tables are public to it.
        settings: the effective settings of the reader: the strictest of all owners whose tables the run names.
        exempt: the owners among them who have DP off for the reader, where another has it on.
        source_tables: the provider's tables named for this run, in order.
        my_tables: the consumer's tables named for this run, in order.
        room_tables: all tables of the room: a declared key may lead to one that the run does not name.
        clipping_share: what the run may spend on measuring how much the bounds cut off, as a share of what it spends
            on its aggregates; None: nothing, and nothing is measured.
        nonnegative_counts, consistent_totals: post-processing that the caller asked for.
    """

    reader: str
    settings: PrivacySettings
    source_tables: tuple[LinkedTable, ...] = ()
    my_tables: tuple[LinkedTable, ...] = ()
    room_tables: tuple[LinkedTable, ...] = ()
    exempt: frozenset[str] = frozenset()
    clipping_share: Fraction | None = None
    nonnegative_counts: bool = False
    consistent_totals: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedQuery:
    """The text after Jinja, with the tables it may name.

    Attributes:
        sql: exactly one statement, in `dialect`.
        tables: lower-case full name -> table.
    """

    sql: str
    dialect: str
    tables: Mapping[str, LinkedTable] = field(default_factory=dict)


__all__ = ["Argument", "CompileContext", "RenderedQuery", "Template"]
