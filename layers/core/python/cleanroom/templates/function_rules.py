"""What an allowed function is, and what the handlers of all families share: literals and typed operands. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.handlers import TEXT, Handler, Translate, child
from cleanroom.templates.refusals import refuse
from cleanroom.templates.scalars import NUMERIC, TEMPORAL, Scalar, cast, require
from cleanroom.templates.trees import integer

LONGEST_TEXT = 4_096
"""Characters that a joined or changed text keeps. Without a limit, a column joined to itself in a chain of CTEs doubles
each time, and a run would run out of memory where one entity has a text in it, and not without it."""

MOST_GROWTH = 8
"""A replacement is at most so many times as long as what it replaces, in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """One allowed function.

    Attributes:
        handler: checks the arguments and builds the DuckDB tree.
        examples: how a template may write it, in the Snowflake dialect; a, b texts, x, y numbers, d, e dates, t a
            timestamp, p, q conditions.
        types: operands -> result.
        reason: why no row can make it fail, and why it gives the same value each time.
        arrays: whether its operands may be arrays; the handler says which.
    """

    handler: Handler
    examples: tuple[str, ...]
    types: str
    reason: str
    arrays: bool = False


def literal_integer(node: exp.Expr | None, translate: Translate, *, least: int, most: int, what: str) -> int:
    """Return the whole number that the node writes out.

    Raises:
        TemplateRefusedError: rule `literal_needed`.
    """
    value = translate(node).literal if node is not None else None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        refuse(
            f"{what} must be a whole number written out, from {least} to {most}",
            rule="literal_needed",
            cure="write a number",
            at=node,
        )
    return value


def literal_text(node: exp.Expr | None, translate: Translate, *, what: str) -> str:
    """Return the text that the node writes out.

    Raises:
        TemplateRefusedError: rule `literal_needed`.
    """
    value = translate(node).literal if node is not None else None
    if not isinstance(value, str):
        refuse(f"{what} must be a text written out", rule="literal_needed", cure="write the text", at=node)
    return value


def constant(value: int | str) -> Scalar:
    """Return a literal of ours as a scalar."""
    tree = integer(value) if isinstance(value, int) else exp.Literal.string(value)
    kind = ColumnType.INTEGER if isinstance(value, int) else ColumnType.TEXT
    return Scalar(sql=tree, type=kind, nullable=False, constant=True, literal=value)


def number(node: exp.Expr, translate: Translate, *, what: str, name: str = "this") -> Scalar:
    """Return an operand that must be a number, as DOUBLE."""
    return cast(require(translate(child(node, name)), NUMERIC, what=what, at=node), ColumnType.DOUBLE)


def whole(node: exp.Expr, translate: Translate, *, what: str, name: str = "this") -> Scalar:
    """Return an operand that must be an INTEGER."""
    return require(translate(child(node, name)), frozenset({ColumnType.INTEGER}), what=what, at=node)


def text(node: exp.Expr, translate: Translate, *, what: str, name: str = "this") -> Scalar:
    """Return an operand that must be a text."""
    return cast(require(translate(child(node, name)), TEXT, what=what, at=node), ColumnType.TEXT)


def moment(scalar: Scalar, *, at: exp.Expr) -> Scalar:
    """Return a DATE or TIMESTAMP; a text written out is one if it has the form of one.

    Raises:
        TemplateRefusedError: rule `type_mismatch`.
    """
    if scalar.type is ColumnType.TEXT and isinstance(scalar.literal, str):
        return cast(scalar, ColumnType.DATE if len(scalar.literal) <= len("2024-12-31") else ColumnType.TIMESTAMP)
    found = require(scalar, TEMPORAL, what="a date function", at=at)
    return cast(found, ColumnType.DATE) if found.type is None else found


def refuse_form(what: str, *, cure: str, at: exp.Expr) -> NoReturn:
    """Refuse arguments of an allowed function that have no exact meaning here.

    Raises:
        TemplateRefusedError: rule `function_form`.
    """
    refuse(f"{what} is not supported in this form", rule="function_form", cure=cure, at=at)


def within_growth(new: str, replaced_bytes: int, what: str, *, at: exp.Expr) -> None:
    """Refuse a replacement that could make a text more than MOST_GROWTH times as long.

    Raises:
        TemplateRefusedError: rule `function_form`.
    """
    if replaced_bytes and len(new.encode()) > MOST_GROWTH * replaced_bytes:
        refuse_form(f"{what} by something more than {MOST_GROWTH} times as long", cure="put in a shorter text", at=at)
