"""Mistakes that show only where values, rows or entities coincide: each was a defect once, and is planted again.

Neighbours and other orders of rows find them without any reference.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import starmap

import pytest
import sqlglot
from sqlglot import exp

from tests.soundness.check import Bench, check_one, compiled
from tests.soundness.features import RELATIONS
from tests.soundness.mistakes import in_trees
from tests.soundness.owners import labels
from tests.soundness.queries import random_query

MOST_QUERIES = 300


def found(focus, *, databases, seed=48, where=lambda query: True, **planted):
    """Return what is said of the first query in which the mistake is found, or how many were tried.

    `where`: other queries are not tried; the mistake cannot be in them.
    """
    rng, bench, counted = random.Random(seed), Bench(), Counter()
    for _ in range(MOST_QUERIES):
        query = random_query(rng, focus=frozenset([focus]))
        if not where(query):
            continue
        failure = check_one(query, rng, bench, counted, databases=databases, **planted)
        if failure is not None and not query.unsound:
            return failure.what
    return f"nothing: {counted}"


def listed_in_each_text(query):
    """Compile a query so that its public groups are those texts that it has of them: 0 and -0 are two."""
    plan = compiled(query)
    return replace(plan, measurements=tuple(starmap(_relisted, zip(plan.measurements, query.asked, strict=True))))


def _relisted(m, asked):
    tree = sqlglot.parse_one(m.exact_sql, dialect="duckdb")
    texts = {f"k{i}": _texts(key) for i, key in enumerate(asked.keys)}
    for listed in tree.find_all(exp.Values):
        found = texts.get(listed.args["alias"].columns[0].name)
        if found:
            listed.set("expressions", [exp.Tuple(expressions=[text]) for text in found])
    return replace(m, exact_sql=tree.sql("duckdb"))


def _texts(key):
    """Return the results of a CASE, each text once."""
    tree = sqlglot.parse_one(key.sql, dialect="snowflake").unnest()
    if not isinstance(tree, exp.Case):
        return []
    results = [branch.args["true"] for branch in tree.args["ifs"]] + [tree.args.get("default") or exp.null()]
    return list({result.sql("duckdb"): result for result in results}.values())


def listed_for_each_row(node):
    """Groups that a public relation gives come as often as it has such rows."""
    if isinstance(node, exp.Select) and node.args.get("distinct") and node.named_selects[0].startswith("k"):
        node.set("distinct", None)
    return node


def two_orders(node):
    """Of two windows of one SELECT that sort its rows in one order, the second sorts them in the reverse."""
    if isinstance(node, exp.Select):
        windows = [w for e in node.expressions for w in e.find_all(exp.Window) if w.args.get("order")]
        for entry in (o for w in windows[1:] for o in w.args["order"].expressions):
            entry.set("desc", not entry.args.get("desc"))
    return node


def has_texts_of_one_value(query):
    return any(key.spelled and key.values is not None and _texts(key) for a in query.asked for key in a.keys)


def has_public_rows(query):
    return any(key.public is not None and key.values is None for asked in query.asked for key in asked.keys)


def has_two_windows(query):
    return RELATIONS["two windows of one order"](query, None)


@pytest.mark.parametrize(
    ("where", "planted"),
    [
        (has_texts_of_one_value, {"compiling": listed_in_each_text}),
        (has_public_rows, {"mistake": in_trees(listed_for_each_row)}),
    ],
)
def test_a_group_that_comes_twice_is_found(where, planted):
    """It would get noise twice for the price of one."""
    assert "a group appears twice" in found("spelled", databases=1, where=where, meanings=False, **planted)


def test_two_orders_of_rows_that_are_alike_are_found():
    """Which numbers meet hangs on how the engine sorts the rows of others; a few dozen rows never show it."""
    assert "UnsoundError: " in found(
        "windowed", databases=1, where=has_two_windows, meanings=False, mistake=in_trees(two_orders)
    )


def without_look_up(table, rows):
    """Label rows as was done before: one that has the first column alone is looked up among first columns only."""
    first, *others = [e.column for e in table.entity_columns]
    linked = {row[first] for row in rows if any(row[name] is not None for name in others)}
    alone = [row[first] is not None and all(row[name] is None for name in others) for row in rows]
    return [
        repr(row[first]) if own and row[first] not in linked else label
        for row, own, label in zip(rows, alone, labels(table, rows), strict=True)
    ]


@pytest.mark.parametrize(("meanings", "said"), [(False, ": moved "), (True, "rows are joined into other entities")])
def test_a_row_that_is_not_joined_to_its_value_in_another_column_is_found(meanings, said):
    """B-04: by neighbours, which lose all rows of what flooding finds to be one entity; and by what it finds itself."""
    assert said in found("j", databases=16, seed=54, meanings=meanings, labelling=without_look_up)
