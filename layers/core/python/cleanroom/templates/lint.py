"""What is wrong, or soon will be, with a template when it is added (B-39). Pure.

Best effort: there are no arguments, tables or settings yet. The template is rendered twice with stand-ins, once with
every condition true and once false, each loop once; what can be read then is checked against the compiler's own lists.
No finding is no promise that a run will compile, and a finding may speak of a text that real arguments never make: the
compiler alone decides, and it proves where this only looks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cleanroom.errors import TemplateRefusedError
from cleanroom.templates import jinja_tree, parse
from cleanroom.templates.lint_findings import Finding, finding_of
from cleanroom.templates.lint_jinja import policy_findings, stand_in_text
from cleanroom.templates.lint_sql import line_of, sql_findings

if TYPE_CHECKING:
    from collections.abc import Iterator


def lint(template_text: str, *, dialect: str = "snowflake") -> tuple[Finding, ...]:
    """Return what a reader of the template should know before it runs, by line.

    Args:
        template_text: Jinja SQL.
        dialect: of the SQL.

    Returns:
        Findings, each sentence at most once per line; empty where nothing was seen.
    """
    try:
        tree = jinja_tree.parse(template_text).tree
    except TemplateRefusedError as refusal:
        return (finding_of(refusal),)
    found = set(policy_findings(tree))
    for conditions in (True, False):
        found |= set(_findings_of(stand_in_text(tree, conditions=conditions), dialect=dialect))
    return tuple(sorted(found))


def _findings_of(text: str, *, dialect: str) -> Iterator[Finding]:
    try:
        select = parse.parse(text, dialect=dialect)
    except TemplateRefusedError as refusal:
        yield finding_of(refusal)
        return
    for finding, node in sql_findings(select):
        yield finding if finding.line else replace(finding, line=line_of(node, text))
