"""How the compiler refuses: one call, with rule, cure and place. Pure; the first thing that every pass imports."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NoReturn

from sqlglot import exp
from sqlglot.errors import SqlglotError

from cleanroom.errors import MissingBoundsError, TemplateRefusedError

_CALL = re.compile(r"([A-Z][A-Z0-9_]*)\(")


def place_of(node: exp.Expr | None) -> tuple[int | None, int | None]:
    """Return the first line and column (1-based) that the parser noted for the node or anything below it."""
    if node is not None:
        for part in node.walk():
            if "line" in part.meta:
                start = part.meta["col"] - (part.meta["end"] - part.meta["start"])
                return part.meta["line"], max(start, 1)
    return None, None


def refuse(sentence: str, *, rule: str, cure: str, at: exp.Expr | None = None) -> NoReturn:
    """Raise the refusal of a template.

    Args:
        sentence: what was asked and why it has no private meaning; names constructs and columns, never a literal.
        rule: stable name of the rule.
        cure: the rewrite or the call that would work.
        at: where in the rendered text.

    Raises:
        TemplateRefusedError: always.
    """
    line, column = place_of(at)
    raise TemplateRefusedError(sentence, rule=rule, cure=cure, line=line, column=column)


def refuse_missing_bounds(sentence: str, *, rule: str, cure: str, at: exp.Expr | None = None) -> NoReturn:
    """Raise the refusal for a bound that the owner has not declared.

    Raises:
        MissingBoundsError: always.
    """
    line, column = place_of(at)
    raise MissingBoundsError(sentence, rule=rule, cure=cure, line=line, column=column)


def only(node: exp.Expr, parts: Collection[str]) -> None:
    """Refuse the node when it carries any part but `parts`: what a pass does not know, it does not let through.

    Args:
        node: from the parser.
        parts: names of the arguments that the caller reads or knows to be without meaning.

    Raises:
        TemplateRefusedError: rule `unsupported_clause`.
    """
    for name, value in node.args.items():
        if name not in parts and value not in (None, False, []):
            refuse(
                f"{words(type(node))} with {name.strip('_').replace('_', ' ')} is not supported",
                rule="unsupported_clause",
                cure="leave that clause out",
                at=node,
            )


def words(kind: type[exp.Expr]) -> str:
    """Return a node class as people write it, e.g. `TABLE SAMPLE` for `TableSample`."""
    name = kind.__name__
    return "".join(
        f" {c}" if i and c.isupper() and not name[i - 1].isupper() else c for i, c in enumerate(name)
    ).upper()


def spelled(node: exp.Expr) -> str:
    """Return the name of a call as SQL writes it, e.g. `COUNT_IF`, `DATEADD`; of other nodes, their `words`."""
    try:
        match = _CALL.match(node.sql(dialect="snowflake", comments=False))
    except (SqlglotError, ValueError, TypeError, AttributeError):  # a half-built node of a hostile text
        match = None
    return match[1] if match is not None else words(type(node))
