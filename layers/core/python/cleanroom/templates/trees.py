"""Builds DuckDB SQL as trees: fixed fragments of ours with trees put in. No caller text is ever joined to SQL. Pure.

sqlglot's generator does not add brackets by precedence, so every tree that is put into a fragment is bracketed
unless it is self-contained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from fractions import Fraction
from functools import lru_cache

import sqlglot
from sqlglot import exp

MOST_WORK = 70_000
"""Nodes that are copied, or written as SQL, while one query is compiled, each as often as it is."""

_done: ContextVar[list[int] | None] = ContextVar("done", default=None)

_SELF_CONTAINED = (exp.Column, exp.Literal, exp.Paren, exp.Func, exp.Null, exp.Boolean, exp.Subquery, exp.Placeholder)
_OPERATORS = (exp.Connector, exp.Binary, exp.Unary)

_OPERANDS = "operands"
"""The one parameter of our lambdas. No column can be taken for it: their bodies have none."""


@lru_cache(maxsize=512)
def _template(text: str) -> exp.Expr:
    tree: exp.Expr = sqlglot.parse_one(text, read="duckdb")
    # The parser wraps an operator before a placeholder (`-:a`, `NOT :a`) as if the colon could begin an alias.
    result: exp.Expr = tree.transform(lambda n: n.this if isinstance(n, exp.Alias) and not n.alias else n)
    for node in result.walk():
        if node.meta_get("line") is not None:  # places in a text of ours say nothing, and are copied with each node
            node.meta.clear()
    return result


def bracketed(tree: exp.Expr) -> exp.Expr:
    """Return a copy of the tree that can stand anywhere in an expression."""
    _count(tree)
    contained = isinstance(tree, _SELF_CONTAINED) and not (
        isinstance(tree, _OPERATORS) and not isinstance(tree, exp.Paren)
    )
    return tree.copy() if contained else exp.Paren(this=tree.copy())


def fragment(text: str, **trees: exp.Expr) -> exp.Expr:
    """Return the DuckDB expression `text` with each `:name` replaced by a copy of `trees[name]`.

    Args:
        text: a constant of this package; `$run_key` in it stays a parameter.
        trees: what to put in; brackets are added where needed.
    """

    def put(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Placeholder) and node.this in trees:
            return bracketed(trees[node.this])
        return node

    return _template(text).copy().transform(put, copy=False)


def shared(make: Callable[[dict[str, exp.Expr]], exp.Expr], operands: dict[str, exp.Expr]) -> exp.Expr:
    """Return what `make` gives, with each operand written once, however often `make` writes it.

    They are the fields of one struct, the only element of a list, and what is made of them is the body of a lambda.

    Args:
        make: gives a tree without columns, aggregates and windows of its own.
        operands: all that it needs but constants; these may hold columns, aggregates and windows.
    """
    fields: dict[str, exp.Expr] = {
        name: exp.StructExtract(this=exp.to_identifier(_OPERANDS), expression=exp.Literal.string(name))
        for name in operands
    }
    row = exp.Anonymous(
        this="STRUCT_PACK",
        expressions=[
            exp.PropertyEQ(this=exp.to_identifier(name, quoted=True), expression=bracketed(tree))
            for name, tree in operands.items()
        ],
    )
    body = exp.Lambda(this=bracketed(make(fields)), expressions=[exp.to_identifier(_OPERANDS)])
    made = exp.Transform(this=exp.Array(expressions=[row]), expression=body)
    return exp.Anonymous(this="LIST_EXTRACT", expressions=[made, exp.Literal.number(1)])


def column(name: str, table: str | None = None) -> exp.Column:
    """Return a quoted column reference."""
    return exp.column(
        exp.to_identifier(name, quoted=True),
        table=exp.to_identifier(table, quoted=True) if table else None,
        copy=False,
    )


def named(tree: exp.Expr, name: str) -> exp.Expr:
    """Return `tree AS "name"`."""
    return exp.Alias(this=tree.copy(), alias=exp.to_identifier(name, quoted=True))


def table(name: str, alias: str | None = None) -> exp.Table:
    """Return a quoted table reference."""
    return exp.Table(
        this=exp.to_identifier(name, quoted=True),
        alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True)) if alias else None,
    )


def aliased(tree: exp.Expr, alias: str) -> exp.Expr:
    """Return a table or a query as an item of FROM under that alias."""
    name = exp.TableAlias(this=exp.to_identifier(alias, quoted=True))
    if isinstance(tree, exp.Table):
        item = tree.copy()
        item.set("alias", name)
        return item
    return exp.Subquery(this=tree.copy(), alias=name)


def integer(value: int) -> exp.Expr:
    """Return an integer literal; negative ones are bracketed."""
    literal = exp.Literal.number(str(abs(value)))
    return literal if value >= 0 else exp.Paren(this=exp.Neg(this=literal))


def double(value: Fraction | float) -> exp.Expr:
    """Return the literal of the DOUBLE nearest to `value`."""
    number = float(value)
    text = repr(abs(number))
    literal = exp.Literal.number(text if "e" in text else f"{text}e0")
    return literal if number >= 0 else exp.Paren(this=exp.Neg(this=literal))


def conjunction(trees: list[exp.Expr]) -> exp.Expr | None:
    """Return all trees joined by AND, each in brackets where needed; None for no trees."""
    result: exp.Expr | None = None
    for tree in trees:
        result = bracketed(tree) if result is None else exp.And(this=result, expression=bracketed(tree))
    return result


def is_written_out(tree: exp.Expr) -> bool:
    """Return whether the tree is a bare literal, which ORDER BY and GROUP BY would read as a position, or refuse."""
    while isinstance(tree, exp.Paren | exp.Neg):
        tree = tree.this
    return isinstance(tree, exp.Literal | exp.Null | exp.Boolean)


def to_sql(tree: exp.Expr) -> str:
    """Return the tree as DuckDB SQL.

    Raises:
        TooMuchWorkError: inside `limited_work`.
    """
    _count(tree)
    return tree.sql(dialect="duckdb", comments=False)


class TooMuchWorkError(Exception):
    """What a query becomes is too large to be worked out."""


@contextmanager
def limited_work() -> Iterator[None]:
    """Limit what is copied and written until the end of the block; `bracketed` and `to_sql` raise TooMuchWorkError.

    A short text can become a large query, and take long before it is known how large: what each level of it takes is
    counted when it is done.
    """
    before = _done.set([0])
    try:
        yield
    finally:
        _done.reset(before)


def _count(tree: exp.Expr) -> None:
    done = _done.get()
    if done is not None:
        done[0] += sum(1 for _ in tree.walk())
        if done[0] > MOST_WORK:
            raise TooMuchWorkError


def laid_out(sql: str) -> str:
    """Return SQL that `to_sql` wrote, in lines for people to read; nothing but white space differs.

    A text that would not come out of the parser as it went in is given back as it is.
    """
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    return tree.sql(dialect="duckdb", pretty=True) if to_sql(tree) == sql else sql
