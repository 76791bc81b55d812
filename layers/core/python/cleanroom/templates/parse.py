"""First pass: the rendered text becomes one checked SELECT tree, within limits of size and depth. Pure."""

from __future__ import annotations

import logging
import re
from typing import NoReturn

from sqlglot import exp
from sqlglot.errors import ParseError

from cleanroom.errors import TemplateRefusedError
from cleanroom.templates.reading import MOST_TOKENS, TooManyReadingsError, TooManyTokensError, statements_of
from cleanroom.templates.refusals import PARSER_FAILURES, refuse

# The parser's warnings quote the text, with its literals; what is wrong with a text is told to its author alone.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL + 1)

MAX_CHARACTERS = 100_000
MAX_DEPTH = 100
MAX_NODES = 20_000
_NUMBER = re.compile(r"[0-9]{0,400}(\.[0-9]{0,400})?([eE][+-]?[0-9]{1,3})?")
"""What can be made an exact number at once: exponents are written out by it, and 1e-9999999 takes half a minute."""
_GROUPS = re.compile(r"\b(CUBE|ROLLUP)\b", re.IGNORECASE)


def parse(sql: str, *, dialect: str) -> exp.Select:
    """Return the one SELECT of the text.

    Args:
        sql: the rendered template.
        dialect: sqlglot's name of it.

    Raises:
        TemplateRefusedError: rules `not_sql`, `not_one_select`, `too_large`, `bad_literal`. The parser's own message
            is not passed on: it quotes the text, with its literals.
    """
    if len(sql) > MAX_CHARACTERS:
        _too_large(f"the rendered text has more than {MAX_CHARACTERS} characters")
    try:
        statements = [s for s in statements_of(sql, dialect=dialect) if s is not None]
    except RecursionError:
        _too_large("the rendered text is nested too deeply")
    except TooManyTokensError:
        refuse(
            f"the rendered text has more than {MOST_TOKENS:,} words and signs",
            rule="too_large",
            cure="make the query smaller; a long list of values can be linked as a table",
        )
    except TooManyReadingsError:
        refuse(
            "the rendered text can be read in too many ways",
            rule="too_large",
            cure="write ON or USING right behind each JOIN, or CROSS JOIN",
        )
    except PARSER_FAILURES as error:
        _not_sql(dialect, error, text=sql)
    tree = _select_of(statements[0]) if len(statements) == 1 else None
    if tree is None:
        refuse(
            "a template renders to exactly one SELECT statement",
            rule="not_one_select",
            cure="write one SELECT; several questions can be CTEs of one SELECT, or the parts of a UNION ALL",
            at=statements[-1] if statements else None,
        )
    _within_limits(tree)
    return tree


def _select_of(node: exp.Expr) -> exp.Select | None:
    """Return the statement as a SELECT: brackets around it fall away, a UNION becomes what is selected from.

    The columns of a UNION have the names that its first part gives them; its ORDER BY, LIMIT and OFFSET are the
    SELECT's.
    """
    while isinstance(node, exp.Subquery) and {name for name, value in node.args.items() if value} <= {"this"}:
        node = node.this
    if isinstance(node, exp.Select):
        return node
    first = node
    while isinstance(first, exp.SetOperation | exp.Subquery):
        first = first.this
    if not isinstance(node, exp.SetOperation) or not isinstance(first, exp.Select):
        return None
    names = [entry.alias_or_name or f"column_{place}" for place, entry in enumerate(first.expressions, start=1)]
    listed = [exp.Star() if name == "*" else exp.column(exp.to_identifier(name, quoted=True)) for name in names]
    outer = exp.Select(expressions=listed)
    for part in ("order", "limit", "offset"):
        outer.set(part, node.args.get(part))
        node.set(part, None)
    return outer.from_(exp.Subquery(this=node, alias=exp.TableAlias(this=exp.to_identifier("united"))), copy=False)


def canonical_text(tree: exp.Expr, *, dialect: str) -> str:
    """Return a parsed query as text, for the receipt and for people.

    Raises:
        TemplateRefusedError: rule `not_sql`: it was parsed, and cannot be written.
    """
    try:
        return tree.sql(dialect=dialect, comments=False)
    except PARSER_FAILURES as error:
        _not_sql(dialect, error, text="")


def _not_sql(dialect: str, error: Exception, *, text: str) -> NoReturn:
    line = column = None
    if isinstance(error, ParseError) and error.errors:
        line, column = error.errors[0].get("line"), error.errors[0].get("col")
    where = f" (line {line}, column {column})" if line else ""
    if _GROUPS.search(text):
        raise TemplateRefusedError(
            f"the rendered text with CUBE or ROLLUP is not SQL that can be read{where}",
            rule="not_sql",
            cure=f"check the text against the {dialect} dialect; in CUBE and ROLLUP a condition wants brackets: "
            "CUBE(a, (b > 1))",
            line=line,
            column=column,
        ) from None
    raise TemplateRefusedError(
        f"the rendered text is not SQL that can be read{where}",
        rule="not_sql",
        cure=f"check the text at that place against the {dialect} dialect",
        line=line,
        column=column,
    ) from None


def _too_large(sentence: str) -> NoReturn:
    refuse(sentence, rule="too_large", cure="make the query smaller")


def _within_limits(tree: exp.Expr) -> None:
    """Refuse trees on which a recursive pass could run out of stack, or take long."""
    nodes = 0
    stack: list[tuple[exp.Expr, int]] = [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        nodes += 1
        if depth > MAX_DEPTH or nodes > MAX_NODES:
            _too_large("the query is nested too deeply or has too many parts")
        if isinstance(node, exp.Literal) and not node.is_string and not _NUMBER.fullmatch(str(node.this)):
            refuse(
                "a number is out of range",
                rule="bad_literal",
                cure="use a number between 1e-308 and 1e308",
                at=node,
            )
        stack.extend((child, depth + 1) for child in node.iter_expressions())
