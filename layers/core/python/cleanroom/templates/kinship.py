"""Which queries are alike but for one predicate or for literals: told by digests that only such queries share. Pure.

Whoever asks how many there are, and how many there are without one, learns of that one: the differencing attack. Noise
and budgets are what holds it off. This only lets somebody notice that it is being tried.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from cleanroom.templates.reading import statements_of
from cleanroom.templates.refusals import PARSER_FAILURES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cleanroom.templates.plan import Plan

MOST_PREDICATES = 8
"""Of one query whose absence is looked at; further ones are taken as they are."""

_DIGITS = 12
_READ_AS = ("duckdb", "snowflake")


@dataclass(frozen=True, kw_only=True, slots=True)
class Kinship:
    """What a query is, and what it shares with queries that are like it. Digests, from which no literal is read back.

    Attributes:
        query: digest of the query: equal for equal ones, whatever the order of their conditions.
        kin: digests of the query with all literals blank, of the query itself, and of the query without one of its
            conditions. Two queries that differ in one condition, which one of them may lack, share one of these.
    """

    query: str
    kin: tuple[str, ...]


def kinship_of(plan: Plan) -> Kinship:
    """Return the kinship of a plan's query over its tables."""
    tables = [use.table.full_name for use in plan.tables]
    return kinship_of_sql(plan.sql, tables=tables)


def kinship_of_sql(sql: str, *, tables: list[str]) -> Kinship:
    """Return the kinship of a checked query in canonical text.

    Args:
        sql: of any dialect. The run is charged by now, so no text makes this fail: one that cannot be read again is
            like itself alone.
        tables: full names of what it reads.
    """
    for dialect in _READ_AS:
        try:
            (parsed,) = statements_of(sql, dialect=dialect)
            if parsed is not None:
                return _kinship(parsed, tables)
        except PARSER_FAILURES:
            continue
    query = _digest("text", sql, tables)
    return Kinship(query=query, kin=(query,))


def _kinship(parsed: exp.Expr, tables: list[str]) -> Kinship:
    tree = _in_order(parsed)
    query = _digest("query", _text(tree), tables)
    kin = [_digest("blank", _text(_blank(tree)), tables), query]
    kin += [_digest("query", _text(less), tables) for less in _without_one(tree)]
    return Kinship(query=query, kin=tuple(dict.fromkeys(kin)))


def _digest(kind: str, text: str, tables: list[str]) -> str:
    whole = json.dumps([kind, tables, text], ensure_ascii=True)
    return hashlib.sha256(whole.encode("ascii")).hexdigest()[:_DIGITS]


def _in_order(tree: exp.Expr) -> exp.Expr:
    """Sort the operands of every AND and OR of a query, innermost first, and return it."""
    root = exp.Paren(this=tree)  # so that every chain has a place to be replaced in
    for node in reversed(list(root.find_all(exp.Connector))):
        if type(node.parent) is not type(node):
            node.replace(_joined(type(node), sorted(node.flatten(unnest=False), key=_text)))
    ordered: exp.Expr = root.this
    return ordered


def _blank(tree: exp.Expr) -> exp.Expr:
    """Return the query with every literal blank, and every list of nothing else as one blank."""

    def blank(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.In) and node.expressions and all(map(_is_literal, node.expressions)):
            return exp.In(this=node.this.copy(), expressions=[exp.Placeholder()])
        return exp.Placeholder() if isinstance(node, exp.Literal | exp.Boolean | exp.Null) else node

    return tree.transform(blank)


def _is_literal(node: exp.Expr) -> bool:
    inner = node.this if isinstance(node, exp.Neg | exp.Paren | exp.Cast) else node
    return isinstance(inner, exp.Literal | exp.Boolean | exp.Null)


def _without_one(tree: exp.Expr) -> Iterator[exp.Expr]:
    """Give the query without each of the conditions of its WHERE and HAVING clauses, one at a time."""
    given = 0
    for clause_number, clause in enumerate(tree.find_all(exp.Where, exp.Having)):
        top = clause.this.unnest()
        parts = list(top.flatten(unnest=False)) if isinstance(top, exp.Connector) else [top]
        for number in range(len(parts)):
            if given == MOST_PREDICATES:
                return
            given += 1
            less = tree.copy()
            found = list(less.find_all(exp.Where, exp.Having))[clause_number]
            kept = [part.copy() for at, part in enumerate(parts) if at != number]
            if kept:
                found.set("this", _joined(type(top), kept) if len(kept) > 1 else kept[0])
            else:
                found.pop()
            yield less


def _joined(kind: type[exp.Expr], parts: list[exp.Expr]) -> exp.Expr:
    result = parts[0].copy()
    for part in parts[1:]:
        result = kind(this=result, expression=part.copy())
    return result


def _text(node: exp.Expr) -> str:
    return node.sql(dialect="duckdb", comments=False)
