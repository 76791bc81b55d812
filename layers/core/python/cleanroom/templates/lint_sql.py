"""What the linter sees in SQL, against the compiler's own lists. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlglot import exp

from cleanroom.errors import TemplateRefusedError
from cleanroom.templates.addnoise import is_addnoise, read_addnoise
from cleanroom.templates.aggregates import PAIRED, SPREADS, refuse_aggregate
from cleanroom.templates.expressions import refuse_node
from cleanroom.templates.functions import allowed_function
from cleanroom.templates.grouping_sets import MARKS, has_sets
from cleanroom.templates.lint_findings import MAYBE_REFUSED, WILL_BE_REFUSED, Finding, finding_of
from cleanroom.templates.operators import OPERATORS
from cleanroom.templates.other_rows import is_is_other, is_or_other, read_is_other, read_or_other
from cleanroom.templates.quantile_calls import QUANTILES
from cleanroom.templates.refusals import place_of, spelled
from cleanroom.templates.subqueries import is_subquery

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEASURED: tuple[type[exp.Expr], ...] = (
    *(exp.Count, exp.CountIf, exp.Sum, exp.Avg, exp.ApproxDistinct, exp.Hll),
    *(*SPREADS, *PAIRED, *(kind for kind in QUANTILES if kind is not exp.WithinGroup)),
)
_EXACT_ONLY = (exp.LogicalOr, exp.LogicalAnd)
"""Aggregates that are taken of public rows, of noisy numbers, and with differential 0; of protected rows never."""


def sql_findings(select: exp.Select) -> Iterator[tuple[Finding, exp.Expr]]:
    """Give each finding with its node; a line of 0 stands for one that the parser did not note."""
    calls = [node for node in select.walk() if is_addnoise(node) and not isinstance(node.parent, exp.Dot)]
    for call in calls:
        yield from ((finding, call) for finding in _addnoise_findings(call))
    yield from _other_row_findings(select)
    windowed = {id(inner) for window in select.find_all(exp.Window) for inner in (window.this, window.this.this)}
    inside = {id(inner) for call in calls for inner in call.walk()}
    beside = inside - {id(inner) for call in calls for inner in _value_of(call)}
    for node in select.walk():
        if id(node) in windowed:
            continue
        finding = _clause_finding(node, select)
        if finding is None and id(node) not in beside:
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
            "FROM reads IDENTIFIER(…), which only the dialect snowflake has"
            if isinstance(node.this, exp.Anonymous) and node.this.name.lower() == "identifier"
            else "FROM reads something else than a linked table",
            "write {{ source_table[0] | sqlsafe }}, {{ my_table[0] | sqlsafe }} or the name of a linked table",
        )
    if isinstance(node, exp.Window):
        return (
            _finding(
                node,
                "window_not_partitioned",
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


def _value_of(node: exp.Expr) -> Iterator[exp.Expr]:
    """Give what addnoise puts noise on, part by part; nothing where the call is wrong."""
    try:
        yield from read_addnoise(node).value.walk()
    except TemplateRefusedError:
        return


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
    """Find calls that the compiler refuses wherever they stand; it is asked itself for what it says of them."""
    if not isinstance(node, exp.Func) or isinstance(node.parent, exp.Table) or _has_meaning(node):
        return None
    outlook = MAYBE_REFUSED if isinstance(node, _EXACT_ONLY) else WILL_BE_REFUSED
    try:
        if isinstance(node, exp.AggFunc):
            refuse_aggregate(node, at=node)
        refuse_node(node)
    except TemplateRefusedError as refusal:
        return finding_of(refusal, outlook=outlook)


def _has_meaning(node: exp.Func) -> bool:
    """Return whether the compiler has a meaning for such a call, at least in some places."""
    if isinstance(node, MARKS):
        around = node.find_ancestor(exp.Select)
        return around is not None and has_sets(around)
    if isinstance(node, exp.AggFunc):
        return isinstance(node, _MEASURED)
    if allowed_function(node) is not None or type(node) in OPERATORS or is_subquery(node):
        return True
    return is_addnoise(node) or is_or_other(node) or is_is_other(node) or _makes_rows(node) or not node.sql_names()


def _makes_rows(node: exp.Expr) -> bool:
    """Return whether the node is FLATTEN, UNNEST or the like at a place in FROM."""
    places = (exp.From, exp.Join, exp.Lateral, exp.TableFromRows)
    return isinstance(node, exp.Explode | exp.Unnest | exp.SplitToTable) and isinstance(node.parent, places)


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
    if select.find(exp.AggFunc, exp.Group, exp.Having, exp.Distinct) is None:
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
