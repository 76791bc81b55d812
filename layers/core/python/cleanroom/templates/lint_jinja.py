"""What the linter sees in a template's Jinja, and the SQL that it is with stand-ins for its arguments. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jinja2 import nodes

from cleanroom.templates import jinja_tree
from cleanroom.templates.lint_findings import Finding
from cleanroom.templates.policy_filters import POLICY_FILTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_IDENTIFIER = re.compile(r"\bidentifier\s*\(\s*\Z", re.IGNORECASE)
_STAND_IN = "lint_argument"
_STAND_IN_TABLE = "lint.lint_table"
_IN_BRACKET = re.compile(r"\bin\s*\(\s*\Z", re.IGNORECASE)


def policy_findings(tree: nodes.Template) -> Iterator[Finding]:
    """Find arguments that become names or SQL without a policy filter."""
    for output in tree.find_all(nodes.Output):
        before = ""
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                before = node.data
                continue
            filters = {inner.name for inner in (node, *node.find_all(nodes.Filter)) if isinstance(inner, nodes.Filter)}
            if "inclause" in filters and _IN_BRACKET.search(before) is not None:
                yield Finding(
                    line=node.lineno,
                    rule="inclause_brackets",
                    sentence="inclause brings its own parentheses: a list within a list is refused",
                    cure="write IN {{ x | inclause }}",
                )
            as_name = _IN_IDENTIFIER.search(before) is not None
            if ("sqlsafe" in filters or as_name) and not filters & POLICY_FILTERS and _argument(node) is not None:
                yield Finding(
                    line=node.lineno,
                    rule="missing_policy_filter",
                    sentence=f"the argument {_argument(node)} becomes {'a name' if as_name else 'SQL'} unchecked by "
                    "the column policies",
                    cure="add join_policy, column_policy or join_and_column_policy where it names a column",
                )
            before = ""


def _argument(node: nodes.Node) -> str | None:
    """Return the first caller's argument, or loop variable, that an expression reads."""
    names = [node, *node.find_all(nodes.Name)]
    return next(
        (name.name for name in names if isinstance(name, nodes.Name) and name.name not in jinja_tree.RESERVED), None
    )


def stand_in_text(tree: nodes.Template, *, conditions: bool) -> str:
    """Return the template as SQL with stand-ins for what arguments will be; lines stay where they are."""
    text = ""
    for line, piece in _pieces(tree.body, conditions=conditions):
        text += "\n" * max(0, line - 1 - text.count("\n")) + piece
    return text


def _pieces(body: list[nodes.Node], *, conditions: bool) -> Iterator[tuple[int, str]]:
    for node in body:
        if isinstance(node, nodes.Output):
            before = ""
            for child in node.nodes:
                if isinstance(child, nodes.TemplateData):
                    before = child.data
                    yield child.lineno, before
                else:
                    yield child.lineno, _stand_in(child, as_name=_IN_IDENTIFIER.search(before) is not None)
                    before = ""
        elif isinstance(node, nodes.If):
            branch = node.body if conditions else node.else_ or (node.elif_[0].body if node.elif_ else [])
            yield from _pieces(branch, conditions=conditions)
        elif isinstance(node, nodes.For):
            # Conditions inside a loop are mostly about separators: after the last item there is none.
            yield from _pieces(node.body, conditions=False)


def _stand_in(node: nodes.Node, *, as_name: bool) -> str:
    names = {name.name for name in (node, *node.find_all(nodes.Name)) if isinstance(name, nodes.Name)}
    filters = {inner.name for inner in (node, *node.find_all(nodes.Filter)) if isinstance(inner, nodes.Filter)}
    sql = "sqlsafe" in filters
    if names & {"source_table", "my_table"}:
        return _STAND_IN_TABLE if sql else f"'{_STAND_IN_TABLE}'"
    if "privacy" in names:
        parts = (node, *node.find_all(nodes.Getattr))
        mechanism = any(isinstance(part, nodes.Getattr) and part.attr == "noise_mechanism" for part in parts)
        return "'Laplace'" if mechanism else "1"
    if "loop" in names:
        return "1"
    constant = node.node if isinstance(node, nodes.Filter) else node
    if isinstance(constant, nodes.Const):
        value = constant.value
        if isinstance(value, str):
            return value if sql else "'" + value.replace("'", "''") + "'"
        return "NULL" if value is None else str(value)
    if sql:
        return _STAND_IN
    return f"'{_STAND_IN}'" if as_name else "1"
