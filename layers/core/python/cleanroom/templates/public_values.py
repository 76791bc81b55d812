"""Public lists of values: which of the literals in them are one value to the engine. Pure.

A value can be written in several texts: 0 and -0, 1 and 1.0, a midnight as a date or as a timestamp. Each value is one
group, which gets noise once: whoever counts groups, limits them or sets them out lists them by these functions.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from cleanroom.rooms.moments import moment_number
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.scalars import NUMERIC, TEMPORAL


def distinct_values(values: Iterable[exp.Expr], kind: ColumnType | None) -> tuple[exp.Expr, ...]:
    """Return the different values of a public list, each in the first text that it has there, in the list's order.

    Args:
        values: literals of types that have `kind` as their common one; NULL is a value, too.
        kind: type in which the engine compares them; None for a list of bare NULLs.

    Raises:
        TypeError: a value is no literal. That is our bug: what is not written out is on no public list.
    """
    found: dict[object, exp.Expr] = {}
    for value in values:
        found.setdefault(_read(value, kind), value)
    return tuple(found.values())


def with_null(values: tuple[exp.Expr, ...] | None) -> tuple[exp.Expr, ...] | None:
    """Return the list with NULL in it, at the end where it was not yet; None stays None."""
    if values is None or any(isinstance(v, exp.Null) for v in values):
        return values
    return (*values, exp.null())


def _read(value: exp.Expr, kind: ColumnType | None) -> object:
    """Return what is equal for two literals exactly where the engine finds them equal as values of `kind`."""
    if isinstance(value, exp.Cast):  # a moment, of the type that it is cast to or of a shorter one
        number = moment_number(str(value.this.this), kind) if kind in TEMPORAL else None
        if number is None:
            raise TypeError("a public moment is written in full")
        return number
    minus = False
    while isinstance(value, exp.Paren | exp.Neg):
        minus ^= isinstance(value, exp.Neg)
        value = value.this
    match value:
        case exp.Null():
            return None
        case exp.Boolean():
            return bool(value.this)
        case exp.Literal() if value.is_string and kind not in TEMPORAL:
            return str(value.this)
        case exp.Literal() if kind is ColumnType.INTEGER and not value.is_string:
            return -int(value.this) if minus else int(value.this)
        case exp.Literal() if kind in NUMERIC and not value.is_string:
            nearest = float(value.this)  # as the engine reads it, also of a whole number past 2^53
            return -nearest if minus else nearest  # -0.0 equals 0.0
    raise TypeError("a public value is a literal")
