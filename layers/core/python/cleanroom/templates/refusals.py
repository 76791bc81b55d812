"""How the compiler refuses: one call, with rule, cure and place. Pure; the first thing that every pass imports."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NoReturn

from sqlglot import exp
from sqlglot.errors import SqlglotError

from cleanroom.errors import MissingBoundsError, TemplateRefusedError

PARSER_FAILURES = (
    SqlglotError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    NotImplementedError,
)
"""Whatever the parser, or its generator, does on hostile text is the text's fault."""

_CALL = re.compile(r"([A-Z][A-Z0-9_]*)\(")


def place_of(node: exp.Expr | None) -> tuple[int | None, int | None]:
    """Return line and column (1-based) of the leftmost thing that the parser noted for the node or below it.

    A SELECT is where its list begins, a UNION where its first part does; a node without any place, such as
    CURRENT_DATE, is where what is around it begins.
    """
    while node is not None:
        shown = node.expressions if isinstance(node, exp.Select) else [node.this]
        for part in [p for p in shown if isinstance(p, exp.Expr)] if isinstance(node, exp.Query) else []:
            found = place_of_part(part)
            if found is not None:
                return found
        found = place_of_part(node)
        if found is not None:
            return found
        node = node.parent
    return None, None


def place_of_part(node: exp.Expr) -> tuple[int, int] | None:
    """Return the leftmost place noted for the node or below it, if there is one."""
    noted = (part.meta for part in node.walk() if "line" in part.meta)
    return min(((m["line"], max(m["col"] - (m["end"] - m["start"]), 1)) for m in noted), default=None)


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


def refuse_rows(at: exp.Expr) -> NoReturn:
    """Refuse a query whose answer is protected rows, or a row for each entity.

    Raises:
        TemplateRefusedError: rule `rows_released`.
    """
    refuse(
        "the query returns protected rows; with differential privacy on, every output is an aggregate, "
        "a group key, or computed from those",
        rule="rows_released",
        cure="aggregate with COUNT, SUM or AVG, and do not group by the entity column",
        at=at,
    )


def refuse_missing_bounds(sentence: str, *, rule: str, cure: str, at: exp.Expr | None = None) -> NoReturn:
    """Raise the refusal for a bound that the owner has not declared.

    Raises:
        MissingBoundsError: always.
    """
    line, column = place_of(at)
    raise MissingBoundsError(sentence, rule=rule, cure=cure, line=line, column=column)


INSTEAD = {
    "sample": "leave SAMPLE out: fewer rows cost as much, and say less",
    "pivots": "write SUM(CASE WHEN key = 'a' THEN x END) for each value, or a UNION ALL of the columns for UNPIVOT",
    "recursive": "write each step as a CTE of its own",
    "method": "write JOIN … USING (…), or ON",
    "columns": "give the columns their names inside the subquery: SELECT x AS a",
    "direction": "write LIMIT n",
    "windows": "write the window out after OVER",
    "when": "leave the time out: a query reads the tables as they are linked",
    "locks": "leave FOR UPDATE out: a query changes nothing",
    "into": "leave INTO out: what is released comes as the run's answer",
}
"""Argument of a parser's node -> what to write instead, where one sentence fits all nodes that have it."""


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
            clause = name.strip("_").replace("_", " ")
            held = next((v for v in (value if isinstance(value, list) else [value]) if isinstance(v, exp.Expr)), None)
            refuse(
                f"{words(type(node))} with {clause} is not supported",
                rule="unsupported_clause",
                cure=INSTEAD.get(name, f"write it without {clause}; docs/sql.md says what a query may have"),
                at=held if held is not None and place_of_part(held) is not None else node,
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
    except PARSER_FAILURES:  # a half-built node of a hostile text
        match = None
    return match[1] if match is not None else words(type(node))
