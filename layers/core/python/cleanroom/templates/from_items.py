"""One item of FROM as a relation: a linked table, a CTE, a query in brackets, rows written out. Pure."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.relations import Item, Relation, instantiate
from cleanroom.templates.written import one_query

MOST_WRITTEN_ROWS = 1_000
"""Of one VALUES: what a text brings along; more is a table."""

Resolve = Callable[[exp.Table], tuple[Relation, str]]


Subquery = Callable[[exp.Expr], Relation]
Alias = Callable[[], str]


def item_of(node: exp.Expr, *, resolve: Resolve, subquery: Subquery, alias: Alias) -> Item:
    """Return one source of FROM.

    Raises:
        TemplateRefusedError: rule `unsupported_source`, or the source's own.
    """
    given = node.args.get("alias")
    name = ""
    if isinstance(given, exp.TableAlias) and isinstance(node, exp.Table | exp.Subquery | exp.Values):
        only(given, {"this", "columns"} if isinstance(node, exp.Values) else {"this"})
        name = given.name
    if isinstance(node, exp.Table):
        only(node, {"this", "db", "alias"})
        relation, default = resolve(node)
        return instantiate(relation, name=name or default, alias=alias())
    if isinstance(node, exp.Subquery):
        fresh = alias()
        return instantiate(subquery(_query_in(node, named=name != "")), name=name or fresh, alias=fresh)
    if isinstance(node, exp.Values):
        fresh = alias()
        return instantiate(subquery(written_rows(node)), name=name or fresh, alias=fresh)
    refuse(
        "FROM may name linked tables, CTEs and subqueries only",
        rule="unsupported_source",
        cure="name a linked table by owner.name or {{ source_table[0] | sqlsafe }}, or with "
        "IDENTIFIER({{ source_table[0] }}) in the dialect snowflake; what a function would give, its owner links as "
        "a table",
        at=node,
    )


def written_rows(node: exp.Values) -> exp.Query:
    """Return VALUES as a UNION ALL of SELECTs without FROM.

    Columns have the names of the alias, or column1, column2, as in Snowflake.

    Raises:
        TemplateRefusedError: rules `unsupported_source`, `union_columns`.
    """
    only(node, {"expressions", "alias"})
    given = node.args.get("alias")
    names = [c.name for c in given.args.get("columns") or []] if given is not None else []
    rows = [e.expressions if isinstance(e, exp.Tuple) else [e] for e in node.expressions]
    if len(rows) > MOST_WRITTEN_ROWS:
        refuse(
            f"VALUES has more than {MOST_WRITTEN_ROWS} rows",
            rule="unsupported_source",
            cure="link the rows as a table",
            at=node,
        )
    width = len(rows[0])
    if any(len(row) != width for row in rows) or len(names) not in (0, width):
        refuse(
            "the rows of VALUES and its names have different lengths",
            rule="union_columns",
            cure="write as many values in each row, and as many names",
            at=node,
        )
    called = names or [f"column{place}" for place in range(1, width + 1)]
    return one_query(zip(called, row, strict=True) for row in rows)


def flat_from(source: exp.Expr) -> tuple[exp.Expr, list[exp.Join]]:
    """Return the first source of FROM and its joins, without brackets: (a JOIN b …) JOIN c is a JOIN b … JOIN c."""
    if isinstance(source, exp.Subquery) and not source.alias and _is_source(source.this):
        only(source, {"this", "joins"})
        first, joins = flat_from(source.this)
        return first, [*joins, *(source.args.get("joins") or [])]
    if source.args.get("joins"):
        first = source.copy()
        first.set("joins", None)
        return first, list(source.args["joins"])
    return source, []


def _is_source(node: exp.Expr) -> bool:
    """Return whether what stands in brackets in FROM is a table, or joins, and no query."""
    if isinstance(node, exp.Subquery):
        return bool(node.alias or node.args.get("joins")) or _is_source(node.this)
    return isinstance(node, exp.Table)


def _query_in(node: exp.Subquery, *, named: bool) -> exp.Expr:
    """Return the query in brackets in FROM; joins in brackets, with a name, are one that selects all their columns."""
    if not _is_source(node.this):
        only(node, {"this", "alias"})
        inner: exp.Expr = node.this
        while isinstance(inner, exp.Subquery):
            only(inner, {"this"})
            inner = inner.this
        return inner
    only(node, {"this", "alias", "joins"})
    if not named:
        refuse(
            "joins in brackets on the right of a join need a name",
            rule="unsupported_join",
            cure="write (a JOIN b ON …) AS q, or the joins one after another",
            at=node,
        )
    first, joins = flat_from(node.this)
    return exp.Select(
        expressions=[exp.Star()],
        from_=exp.From(this=first.copy()),
        joins=[join.copy() for join in (*joins, *(node.args.get("joins") or []))],
    )
