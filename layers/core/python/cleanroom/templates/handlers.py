"""What the handlers of operators and functions share: their type, and how they reach their operands. Pure."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.refusals import refuse
from cleanroom.templates.scalars import Scalar

Translate = Callable[[exp.Expr], Scalar]
Handler = Callable[[exp.Expr, Translate], Scalar]

BOOLEAN = frozenset({ColumnType.BOOLEAN})
TEXT = frozenset({ColumnType.TEXT})


def child(node: exp.Expr, name: str = "this") -> exp.Expr:
    """Return a part that must be there.

    Raises:
        TemplateRefusedError: rule `unsupported_clause`: it is missing, or no expression.
    """
    part = node.args.get(name)
    if not isinstance(part, exp.Expr):
        refuse("an operand is missing", rule="unsupported_clause", cure="write the expression out", at=node)
    return part
