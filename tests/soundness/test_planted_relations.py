"""Mistakes about whose a row is, planted in plans and in what is compiled: both halves of the check find them.

The neighbours' half knows nothing of what a query means. It finds a mistake by one entity that moves what is others'.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from sqlglot import exp

from cleanroom.rooms.tables import OwnedThrough
from tests.soundness.check import Bench, check_one, compiled
from tests.soundness.features import RELATIONS
from tests.soundness.mistakes import in_trees
from tests.soundness.queries import random_query

MOST_QUERIES = 200


def window_over_everybody(node):
    if isinstance(node, exp.Window):
        node.set("partition_by", [])
    return node


def subquery_over_everybody(node):
    if isinstance(node, exp.Exists | exp.Subquery) and not isinstance(node.parent, exp.From | exp.Join | exp.Union):
        for select in node.find_all(exp.Select):
            select.set("where", None)
    return node


def join_with_anybody(node):
    """One join in a SELECT alone: of many, all pairs of rows would be too many."""
    alone = isinstance(node, exp.Join) and len(node.parent.args["joins"]) == 1
    if alone and node.args.get("kind") == "INNER":
        node.set("on", exp.true())
    return node


def repeated_owners(node):
    """Of the key's owners each is there as often as the parent has rows of it."""
    if isinstance(node, exp.Select) and node.args.get("distinct") and "entity" in node.named_selects:
        node.set("distinct", None)
    return node


def one_owner_of_a_key(node):
    """Only one of a key's owners has the rows under it: the smallest, whoever else leaves."""
    if isinstance(node, exp.Select) and node.args.get("distinct") and node.named_selects[-1] == "entity":
        node.set("distinct", None)
        *keys, entity = node.expressions
        node.set("expressions", [*keys, exp.alias_(exp.Min(this=entity.this), "entity", quoted=True)])
        node.set("group", exp.Group(expressions=[exp.Literal.number(i + 1) for i in range(len(keys))]))
    return node


def without_ties(node):
    """Rows are numbered as the engine meets them."""
    if isinstance(node, exp.Window) and isinstance(node.this, exp.RowNumber):
        node.set("order", None)
    return node


def without_qualify(node):
    if isinstance(node, exp.Select):
        node.set("qualify", None)
    return node


def union_for_union_all(node):
    if isinstance(node, exp.Union):
        node.set("distinct", True)
    return node


IN_PLANS = {
    "a window is over the rows of everybody": (window_over_everybody, "windowed"),
    "subqueries in expressions ask the rows of everybody": (subquery_over_everybody, "one_value"),
    "rows of different entities are joined": (join_with_anybody, ""),
    "rows are numbered as they come": (without_ties, "windowed"),
}
"""Changes of trees, and of what the queries must have much so that they matter."""

SEEN_IN_MEANINGS = {
    "a row is one owner's alone": (one_owner_of_a_key, "c"),
    "a key that is there twice counts twice": (repeated_owners, "c"),
    "QUALIFY is forgotten": (without_qualify, "windowed"),
    "UNION ALL is UNION": (union_for_union_all, "union"),
}
"""These take rows of an entity for more, or fewer, of its own, or for another's: neighbours hardly ever show it."""


def with_tables(change):
    """Return a compiler that is told other policies than the room has."""

    def compiling(query):
        schema = replace(query.schema, tables=tuple(map(change, query.schema.tables)))
        return compiled(replace(query, schema=schema))

    return compiling


def of_first_column(table):
    return replace(table, entity_columns=table.entity_columns[:1])


def through_first_column(table):
    through = table.policy.owned_through
    if through is None:
        return table
    part = OwnedThrough(parent=through.parent, columns=through.columns[:1], unique=through.unique)
    return replace(table, policy=replace(table.policy, owned_through=part))


IN_COMPILING = {
    "one of two entity columns is forgotten": (with_tables(of_first_column), "j", "several entity columns"),
    "one of two columns of a key is forgotten": (with_tables(through_first_column), "c", "a key of two columns"),
}


def found(focus, *, meanings, where="", **planted):
    """Return what is said of the first query in which the mistake is found, or how many were tried.

    `where`: what else a query must have, or the mistake cannot be in it.
    """
    rng, bench, counted = random.Random(52), Bench(), Counter()
    for _ in range(MOST_QUERIES):
        query = random_query(rng, focus=frozenset([focus]))
        if where and not RELATIONS[where](query, None):
            continue
        failure = check_one(query, rng, bench, counted, databases=16, meanings=meanings, **planted)
        if failure is not None and not query.unsound:
            return failure.what
    return f"nothing: {counted}"


@pytest.mark.parametrize("name", IN_PLANS)
def test_a_mistake_about_whose_a_row_is_shows_in_neighbours_alone(name):
    """B-06: what is another entity's moves when one leaves, or when rows come in another order."""
    change, focus = IN_PLANS[name]
    assert "UnsoundError: " in found(focus, meanings=False, mistake=in_trees(change))


@pytest.mark.parametrize("name", SEEN_IN_MEANINGS)
def test_a_mistake_about_the_rows_of_an_entity_shows_in_what_they_mean(name):
    change, focus = SEEN_IN_MEANINGS[name]
    assert "UnsoundError: " in found(focus, meanings=True, mistake=in_trees(change))


@pytest.mark.parametrize("name", IN_COMPILING)
def test_a_wrong_ownership_rule_shows_in_neighbours_alone(name):
    """B-04, B-06: the compiler is told another owner than the data has."""
    compiling, focus, where = IN_COMPILING[name]
    assert "UnsoundError: " in found(focus, meanings=False, where=where, compiling=compiling)
