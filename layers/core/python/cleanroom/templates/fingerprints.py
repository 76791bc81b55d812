"""Tells equal expressions of one SELECT, and puts aliases in place of what they stand for. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from cleanroom.templates.relations import RowScope
from cleanroom.templates.trees import to_sql


def fingerprint(node: exp.Expr, rows: RowScope) -> str:
    """Return a text that two expressions share if they are the same after names are resolved."""

    def resolved(part: exp.Expr) -> exp.Expr:
        if isinstance(part, exp.Column) and id(part) not in inside:
            found = rows.find(part)
            if found is not None:
                return exp.Var(this=to_sql(found.sql))
        if isinstance(part, exp.Anonymous):
            part.set("this", str(part.this).lower())
        return part

    tree = node.unnest().copy()
    inside = _in_subqueries(tree)
    return _written(tree.transform(resolved, copy=False))


def _written(part: object) -> str:
    """Return all of a tree as text: the generator of a dialect would leave out what the dialect has no word for."""
    if isinstance(part, exp.Paren):
        return _written(part.this)
    if isinstance(part, exp.Expr):
        given = ((k, v) for k, v in sorted(part.args.items()) if not k.startswith("_"))
        held = (f"{k}={_written(v)}" for k, v in given if not (v is None or v is False or v == []))
        return f"{type(part).__name__}({', '.join(held)})"
    if isinstance(part, list):
        return f"[{', '.join(map(_written, part))}]"
    return repr(part)


def without_aliases(
    node: exp.Expr, *, aliases: Mapping[str, exp.Expr], rows: RowScope, aliases_first: bool
) -> exp.Expr:
    """Return the expression with aliases of the SELECT list replaced by what they name.

    Args:
        node: from GROUP BY, HAVING or ORDER BY.
        aliases: lower-case alias -> expression.
        rows: the columns of FROM.
        aliases_first: an alias hides a column of the same name (ORDER BY), not the other way round.
    """

    def replaced(part: exp.Expr) -> exp.Expr:
        if id(part) in inside:
            return part
        if isinstance(part, exp.Column) and not part.table and isinstance(part.this, exp.Identifier):
            target = aliases.get(part.name.lower())
            if target is not None and (aliases_first or rows.find(part) is None):
                return exp.Paren(this=target.copy())
        return part

    tree = node.copy()
    inside = _in_subqueries(tree)
    if isinstance(node, exp.Column):
        return replaced(tree).unnest()
    return tree.transform(replaced, copy=False)


def _in_subqueries(tree: exp.Expr) -> set[int]:
    """Return the columns inside subqueries, by identity: their names are the subqueries' own."""
    return {id(c) for query in tree.find_all(exp.Query) for c in query.find_all(exp.Column)}
