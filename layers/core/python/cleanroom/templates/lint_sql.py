"""What the linter sees in SQL, against the compiler's own lists. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlglot import exp

from cleanroom.errors import TemplateRefusedError
from cleanroom.templates.addnoise import is_addnoise, read_addnoise
from cleanroom.templates.aggregates import PAIRED, SPREADS
from cleanroom.templates.functions import allowed_function
from cleanroom.templates.lint_findings import MAYBE_REFUSED, Finding, finding_of
from cleanroom.templates.operators import OPERATORS
from cleanroom.templates.other_rows import is_is_other, is_or_other, read_is_other, read_or_other
from cleanroom.templates.quantile_calls import QUANTILES
from cleanroom.templates.refusals import place_of, spelled

if TYPE_CHECKING:
    from collections.abc import Iterator

_RANDOM = (exp.Rand, exp.Randn, exp.Uuid, exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.Randstr)
_MEASURED: tuple[type[exp.Expr], ...] = (
    *(exp.Count, exp.CountIf, exp.Sum, exp.Avg, exp.ApproxDistinct, exp.Hll),
    *(*SPREADS, *PAIRED, *(kind for kind in QUANTILES if kind not in (exp.Min, exp.Max, exp.WithinGroup))),
)
_ROW_VALUES = (
    *(exp.AnyValue, exp.ArrayAgg, exp.ArrayConcatAgg, exp.ArrayUniqueAgg, exp.First, exp.Last, exp.FirstValue),
    *(exp.LastValue, exp.NthValue, exp.GroupConcat, exp.Mode, exp.ArgMax, exp.ArgMin, exp.JSONObjectAgg),
)


def sql_findings(select: exp.Select) -> Iterator[tuple[Finding, exp.Expr]]:
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


def line_of(node: exp.Expr, text: str) -> int:
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
            "LIMIT inside a subquery or CTE picks rows, and which ones may depend on other entities' rows: "
            + MAYBE_REFUSED,
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
                f"a window over protected rows that is not partitioned by the entity: {MAYBE_REFUSED}",
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
        yield finding_of(refusal)
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
            yield finding_of(refusal), node
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
            node,
            "extreme_value",
            f"{spelled(node)} gives the value of a single row: {MAYBE_REFUSED}",
            "use COUNT, SUM or AVG",
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
