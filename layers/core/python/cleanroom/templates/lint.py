"""What is wrong, or soon will be, with a template when it is added (B-39). Pure.

Best effort: there are no arguments, tables or settings yet. The template is rendered twice with stand-ins, once with
every condition true and once false, each loop once; what can be read then is checked against the compiler's own lists.
No finding is no promise that a run will compile, and a finding may speak of a text that real arguments never make: the
compiler alone decides, and it proves where this only looks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jinja2 import nodes
from sqlglot import exp

from cleanroom.errors import TemplateRefusedError
from cleanroom.templates import jinja_tree, parse
from cleanroom.templates.addnoise import is_addnoise, read_addnoise
from cleanroom.templates.aggregates import PAIRED, SPREADS
from cleanroom.templates.functions import allowed_function
from cleanroom.templates.operators import OPERATORS
from cleanroom.templates.other_rows import is_is_other, is_or_other, read_is_other, read_or_other
from cleanroom.templates.policy_filters import POLICY_FILTERS
from cleanroom.templates.quantile_calls import QUANTILES
from cleanroom.templates.refusals import place_of, spelled

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_IDENTIFIER = re.compile(r"\bidentifier\s*\(\s*\Z", re.IGNORECASE)
_STAND_IN = "lint_argument"
_STAND_IN_TABLE = "lint.lint_table"
_RANDOM = (exp.Rand, exp.Randn, exp.Uuid, exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.Randstr)
_MEASURED: tuple[type[exp.Expr], ...] = (
    *(exp.Count, exp.CountIf, exp.Sum, exp.Avg, exp.ApproxDistinct, exp.Hll),
    *(*SPREADS, *PAIRED, *(kind for kind in QUANTILES if kind not in (exp.Min, exp.Max, exp.WithinGroup))),
)
_ROW_VALUES = (
    *(exp.AnyValue, exp.ArrayAgg, exp.ArrayConcatAgg, exp.ArrayUniqueAgg, exp.First, exp.Last, exp.FirstValue),
    *(exp.LastValue, exp.NthValue, exp.GroupConcat, exp.Mode, exp.ArgMax, exp.ArgMin, exp.JSONObjectAgg),
)
_IN_BRACKET = re.compile(r"\bin\s*\(\s*\Z", re.IGNORECASE)
_MAYBE = "may be refused with differential 1, where it reads protected rows"

LINT_RULES = {
    "missing_policy_filter": "an argument becomes a name or SQL without a column policy filter",
    "inclause_brackets": "`IN ({{ x | inclause }})`: inclause brings its own parentheses",
    "select_star": "`SELECT *` as the outermost SELECT; over tables it is refused",
    "limit_in_subquery": f"LIMIT below the outermost SELECT; {_MAYBE}",
    "table_not_linked": "FROM reads something else than a linked table, CTE or subquery; refused",
    "window": f"a window without PARTITION BY below an aggregation; {_MAYBE}",
    "constant_noiserand": "noiserand of addnoise is a constant; it is never used",
    "not_deterministic": "a function whose value changes from call to call; refused",
    "row_value_aggregate": "an aggregate that gives the value of a single row; refused",
    "extreme_value": f"MIN or MAX; {_MAYBE}",
    "aggregate_not_allowed": "another aggregate without a private form; refused",
    "unknown_function": "a function that is not on the list; refused",
    "unnoised_number": "a number that gets noise with differential 1 only, and leaves exact with 0",
    "no_other_row": "or_other or is_other without GROUP BY or_other in the same SELECT; refused with differential 1",
    "returns_rows": "rows instead of aggregates; refused with differential 1",
}
"""Rule -> what it means, of the findings that are the linter's own; others are rules of refusals."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Finding:
    """One finding.

    Attributes:
        line: of the template, 1-based; 0 where no line can be named.
        rule: short stable name.
        sentence: what is there, and what happens with it.
        cure: the rewrite.
    """

    line: int
    rule: str
    sentence: str
    cure: str


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
        return (_from_refusal(refusal),)
    found = set(_policy_findings(tree))
    for conditions in (True, False):
        found |= set(_sql_findings(_stand_in_text(tree, conditions=conditions), dialect=dialect))
    return tuple(sorted(found))


def _from_refusal(refusal: TemplateRefusedError) -> Finding:
    return Finding(line=refusal.line or 0, rule=refusal.rule, sentence=str(refusal), cure=refusal.cure)


# --- Jinja ------------------------------------------------------------------------------------------------------------


def _policy_findings(tree: nodes.Template) -> Iterator[Finding]:
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


def _stand_in_text(tree: nodes.Template, *, conditions: bool) -> str:
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


# --- SQL --------------------------------------------------------------------------------------------------------------


def _sql_findings(text: str, *, dialect: str) -> Iterator[Finding]:
    try:
        select = parse.parse(text, dialect=dialect)
    except TemplateRefusedError as refusal:
        yield _from_refusal(refusal)
        return
    for finding, node in _found(select):
        yield finding if finding.line else replace(finding, line=_line_of(node, text))


def _found(select: exp.Select) -> Iterator[tuple[Finding, exp.Expr]]:
    """Give each finding with its node; a line of 0 stands for one that the parser did not note."""
    calls = [node for node in select.walk() if is_addnoise(node) and not isinstance(node.parent, exp.Dot)]
    for call in calls:
        yield from ((finding, call) for finding in _addnoise_findings(call))
    yield from _other_row_findings(select)
    windowed = {id(inner) for window in select.find_all(exp.Window) for inner in (window.this, window.this.this)}
    inside = {id(inner) for call in calls for inner in call.walk()}
    for node in select.walk():
        if id(node) in windowed:
            continue
        finding = _clause_finding(node, select)
        if finding is None and id(node) not in inside:
            finding = _function_finding(node)
        if finding is not None:
            yield finding, node
    yield from _unnoised(select, inside | windowed)


def _line_of(node: exp.Expr, text: str) -> int:
    """Return the line where the call first stands in the text, or else that of what is around it."""
    match = re.search(rf"\b{re.escape(spelled(node)).replace('_', '_?')}\s*\(", text, re.IGNORECASE)
    if match is not None:
        return text.count("\n", 0, match.start()) + 1
    around = node.parent
    while around is not None:
        line, _ = place_of(around)
        if line is not None:
            return line
        around = around.parent
    return 1


def _clause_finding(node: exp.Expr, select: exp.Select) -> Finding | None:
    if isinstance(node, exp.Star) and node.parent is select:
        return _finding(
            node,
            "select_star",
            "SELECT * names no columns: which ones leave cannot be checked, and over tables it is refused",
            "name the columns",
        )
    if isinstance(node, exp.Limit | exp.Offset | exp.Fetch) and node.parent is not select:
        return _finding(
            node.parent or node,
            "limit_in_subquery",
            f"LIMIT inside a subquery or CTE picks rows, and which ones may depend on other entities' rows: {_MAYBE}",
            "put LIMIT at the end of the outermost SELECT",
        )
    if isinstance(node, exp.Table) and not _is_plain_table(node):
        return _finding(
            node,
            "table_not_linked",
            "FROM reads something else than a linked table",
            "use IDENTIFIER({{ source_table[0] }}), IDENTIFIER({{ my_table[0] }}) or the name of a linked table",
        )
    if isinstance(node, exp.Window):
        return (
            _finding(
                node,
                "window",
                f"a window over protected rows that is not partitioned by the entity: {_MAYBE}",
                "add PARTITION BY <entity column>, or put the window above the aggregation",
            )
            if not node.args.get("partition_by") and not select.args.get("group")
            else None
        )
    return None


def _addnoise_findings(node: exp.Expr) -> Iterator[Finding]:
    try:
        read_addnoise(node)
    except TemplateRefusedError as refusal:
        yield _from_refusal(refusal)
    call = node.expression if isinstance(node, exp.Dot) else node
    noiserand = call.expressions[2] if len(call.expressions) > 2 else None
    if isinstance(noiserand, exp.Literal):
        yield _finding(
            node,
            "constant_noiserand",
            "noiserand is a constant; it is checked and never used: the noise comes from the system's randomness",
            "write UNIFORM(0::FLOAT, 1::FLOAT, RANDOM()), as is usual",
        )


def _other_row_findings(select: exp.Select) -> Iterator[tuple[Finding, exp.Expr]]:
    """Find calls of or_other and is_other that are not as they should be, or without a GROUP BY that they belong to."""
    for node in select.walk():
        if isinstance(node.parent, exp.Dot) or not (is_or_other(node) or is_is_other(node)):
            continue
        try:
            if is_or_other(node):
                read_or_other(node)
            else:
                read_is_other(node)
        except TemplateRefusedError as refusal:
            yield _from_refusal(refusal), node
            continue
        around = node.find_ancestor(exp.Select) or select
        if not any(map(is_or_other, around.find_all(exp.Dot, exp.Anonymous))) or not _groups(around):
            yield (
                _finding(
                    node,
                    "no_other_row",
                    "there is no GROUP BY with or_other in this SELECT, and so no other row",
                    "write GROUP BY cleanroom.or_other(key), and is_other() in the same SELECT",
                ),
                node,
            )


def _groups(select: exp.Select) -> bool:
    return select.args.get("group") is not None or select.args.get("distinct") is not None


def _function_finding(node: exp.Expr) -> Finding | None:
    if isinstance(node, _RANDOM):
        return _finding(
            node,
            "not_deterministic",
            "a function whose value changes from call to call may stand only in the noiserand of addnoise",
            "pass what it would say as an argument, e.g. {{ today }}",
        )
    if isinstance(node, _ROW_VALUES):
        return _finding(
            node,
            "row_value_aggregate",
            f"{spelled(node)} gives the value of a single row: it will be refused",
            "use COUNT, SUM or AVG",
        )
    if isinstance(node, exp.Min | exp.Max):
        return _finding(
            node, "extreme_value", f"{spelled(node)} gives the value of a single row: {_MAYBE}", "use COUNT, SUM or AVG"
        )
    if isinstance(node, exp.AggFunc) and not isinstance(node, _MEASURED):
        return _finding(
            node,
            "aggregate_not_allowed",
            f"{spelled(node)} has no private form yet: it will be refused",
            "use COUNT, SUM or AVG",
        )
    if is_or_other(node) or is_is_other(node) or _makes_rows(node):
        return None
    if isinstance(node, exp.Anonymous) and node.name.lower() != "identifier":
        return None if allowed_function(node) is not None else _unknown_function(node, node.name.upper())
    if isinstance(node, exp.Func) and not isinstance(node, exp.AggFunc | exp.DynamicIdentifier):
        allowed = allowed_function(node) is not None or type(node) in OPERATORS or not node.sql_names()
        return None if allowed else _unknown_function(node, spelled(node))
    return None


def _makes_rows(node: exp.Expr) -> bool:
    """Return whether the node is FLATTEN, UNNEST or the like at a place in FROM."""
    places = (exp.From, exp.Join, exp.Lateral, exp.TableFromRows)
    return isinstance(node, exp.Explode | exp.Unnest | exp.SplitToTable) and isinstance(node.parent, places)


def _unknown_function(node: exp.Expr, name: str) -> Finding:
    return _finding(
        node,
        "unknown_function",
        f"{name} is not on the list of functions that cannot fail or leak: it will be refused",
        "use a function of the list in docs/sql.md",
    )


def _unnoised(select: exp.Select, inside: set[int]) -> Iterator[tuple[Finding, exp.Expr]]:
    """Find numbers that the template itself leaves without noise."""
    for column in select.expressions:
        for node in column.walk():
            if isinstance(node, _MEASURED) and id(node) not in inside:
                finding = _finding(
                    node,
                    "unnoised_number",
                    f"{spelled(node)} gets noise while differential is 1, and leaves exact while it is 0",
                    "set differential to 1 for those who run it, or wrap it in cleanroom.addnoise(…)",
                )
                yield finding, node
    if select.find(exp.AggFunc, exp.Group, exp.Having) is None:
        finding = _finding(
            select,
            "returns_rows",
            "the template returns rows, not aggregates: refused with differential 1",
            "aggregate: COUNT, SUM or AVG, with GROUP BY where needed",
        )
        yield finding, select


def _is_plain_table(node: exp.Table) -> bool:
    return isinstance(node.this, exp.Identifier | exp.DynamicIdentifier) and not node.catalog


def _finding(node: exp.Expr, rule: str, sentence: str, cure: str) -> Finding:
    line, _ = place_of(node)
    return Finding(line=line or 0, rule=rule, sentence=sentence, cure=cure)
