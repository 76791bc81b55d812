"""Which linked table a name in FROM means: IDENTIFIER('owner.name'), owner.name, or name where it is clear. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlglot import exp

from cleanroom.errors import TableNotLinkedError
from cleanroom.rooms.tables import LinkedTable
from cleanroom.templates.refusals import place_of, refuse

_PART = r'(?:"((?:[^"]|"")*)"|([^".\s]+))'
_NAME = re.compile(rf"\s*{_PART}(?:\.{_PART})?\s*")


def named_table(node: exp.Table, tables: Mapping[str, LinkedTable]) -> LinkedTable:
    """Return the linked table that a reference names; case does not matter.

    Args:
        node: from FROM.
        tables: lower-case full name -> table: all that this run may name.

    Raises:
        TableNotLinkedError: none, or more than one, has that name.
        TemplateRefusedError: rule `unsupported_source`: a table function or another source.
    """
    parts = _parts(node)
    wanted = ".".join(parts).lower()
    found = [t for full, t in tables.items() if full == wanted]
    if not found and len(parts) == 1:
        found = [t for t in tables.values() if t.name.lower() == wanted]
    line, column = place_of(node)
    if len(found) > 1:
        meant = ", ".join(sorted(t.full_name for t in found))
        raise TableNotLinkedError(
            f"the query names a table that could be one of several ({meant})",
            cure="write owner.name",
            line=line,
            column=column,
        )
    if not found:
        # No name of the caller's is repeated: it may be a literal.
        linked = ", ".join(sorted(t.full_name for t in tables.values())) or "none"
        raise TableNotLinkedError(
            f"the query names a table that is not among those of this run (those are: {linked})",
            cure="name it in provider_tables or consumer_tables of the call, or name one of those in the query",
            line=line,
            column=column,
        )
    return found[0]


def _parts(node: exp.Table) -> list[str]:
    this = node.this
    if isinstance(this, exp.Identifier):
        database = node.args.get("db")
        return [*([database.name] if isinstance(database, exp.Identifier) else []), this.name]
    if isinstance(this, exp.DynamicIdentifier) and not node.args.get("db"):
        literal = this.this
        match = None
        if isinstance(literal, exp.Literal) and literal.is_string:
            match = _NAME.fullmatch(str(literal.this))
        if match is not None:
            first = match[1].replace('""', '"') if match[1] is not None else match[2]
            second = match[3].replace('""', '"') if match[3] is not None else match[4]
            return [first] if second is None else [first, second]
    refuse(
        "FROM may name linked tables, CTEs and subqueries only",
        rule="unsupported_source",
        cure="name a linked table by owner.name or {{ source_table[0] | sqlsafe }}, or with "
        "IDENTIFIER({{ source_table[0] }}) in the dialect snowflake",
        at=node,
    )
