"""The protected rows of one measurement with their entity and group keys: what every exact query begins with. Pure."""

from __future__ import annotations

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.domains import STANDARD_DOUBLE, coded, inside, key_name
from cleanroom.templates.draft import Draft
from cleanroom.templates.scalars import Scalar, cast, combine
from cleanroom.templates.trees import bracketed, column, fragment, named


def keyed_rows(draft: Draft) -> tuple[exp.Select, list[exp.Expr]]:
    """Return the protected rows with entity `e` and keys `k0`, …, and conditions on the keys of the rows as `r`.

    Rows without an entity, and with keys outside a declared domain, are left out, the latter partly by the conditions.
    """
    inner = draft.rows.copy().select(named(draft.entity, "e"), copy=False)
    declared: list[exp.Expr] = []
    for position, key in enumerate(draft.keys):
        code = coded(key) if draft.factors is not None else None
        condition = inside(key) if draft.factors is not None else None
        inner = inner.select(named(code or standard_key(key).sql, key_name(position)), copy=False)
        if code is not None:
            declared.append(fragment(":k IS NOT NULL", k=column(key_name(position), "r")))
        elif condition is not None:
            inner = inner.where(bracketed(condition), copy=False)
    return inner.where(fragment(":e IS NOT NULL", e=draft.entity), copy=False), declared


def counted(argument: Scalar) -> exp.Expr:
    """Return what COUNT counts: NaN and infinities are as NULL."""
    if argument.type is ColumnType.DOUBLE:
        return fragment("CASE WHEN ISFINITE(:x) THEN 1 END", x=argument.sql)
    return argument.sql


def standard_key(key: Scalar) -> Scalar:
    """Return a group key in one of the standard types, equal keys being the same to the bit.

    The engine groups 0 with -0, and any NaN with any other, and gives the group the key of whichever row it met first:
    one row would decide how a group is shown.
    """
    if key.type is None:
        return cast(key, ColumnType.INTEGER)
    if key.type is ColumnType.DOUBLE:
        return combine(STANDARD_DOUBLE, kind=ColumnType.DOUBLE, span=key.span, nullable=key.nullable, a=key)
    return cast(key, ColumnType.DOUBLE if key.type is ColumnType.DECIMAL else key.type)


def decoded(key: Scalar, reference: exp.Expr) -> exp.Expr:
    """Return the key's value where `pairs` holds a code."""
    if key.type is ColumnType.TEXT:
        return fragment("CAST(:k AS TEXT)", k=reference)
    return reference
