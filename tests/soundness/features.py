"""What the grammar's queries ask: each construct by how it is written, or by what the plan then is.

A run counts these for the queries that are accepted, so that a construct that is refused from one day on, or made no
more, fails a test instead of falling silent.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cleanroom.templates.plan import Plan
    from tests.soundness.queries import Query


def _says(pattern: str) -> Callable[[Query, Plan], bool]:
    return lambda query, _: re.search(pattern, query.sql) is not None


def _steps(query: Query) -> int:
    """Return through how many keys the tables lead that a query names."""
    named = [t for t in query.schema.protected if re.search(rf"\b{t.full_name}\b", query.sql)]
    return max((len(query.schema.way(t)) - 1 for t in named), default=0)


def _of_keys(query: Query, number: int) -> bool:
    """Return whether a key that counts here has so many columns."""
    ways = [t for t in query.schema.protected if re.search(rf"\b{t.full_name}\b", query.sql)]
    return any(t.policy.owned_through is not None and len(t.policy.owned_through.columns) == number for t in ways)


def _owners(query: Query) -> set[str]:
    return {t.owner for a in query.asked for t in a.read.protected}


RELATIONS: dict[str, Callable[[Query, Plan], bool]] = {
    "a left join": _says(" LEFT JOIN "),
    "a right join": _says(" RIGHT JOIN "),
    "a semi-join": _says(" SEMI JOIN "),
    "an anti-join": _says(" ANTI JOIN "),
    "a CTE": _says(r"WITH "),
    "a CTE in a subquery": _says(r"\(WITH "),
    "a CTE that is used twice": lambda q, _: any(
        len(re.findall(rf"\b{name} s\d+\b", q.sql)) > 1 for name in re.findall(r"\b(q\d+) AS \(", q.sql)
    ),
    "a subquery": _says(r"\((WITH|SELECT) "),
    "WHERE": _says(" WHERE "),
    "UNION ALL": _says(" UNION ALL "),
    "UNION": _says(" UNION SELECT "),
    "INTERSECT": _says(" INTERSECT "),
    "EXCEPT": _says(" EXCEPT "),
    "DISTINCT": _says("SELECT DISTINCT "),
    "a window": _says(r" OVER \("),
    "a window with ORDER BY": _says(r" OVER \(PARTITION BY [^()]* ORDER BY"),
    "a window with a frame": _says("ROWS "),
    "QUALIFY": _says(" QUALIFY "),
    "IN": _says(r"( IN | = ANY )\((WITH|SELECT) "),
    "NOT IN": _says(r"( NOT IN | <> ALL )\((WITH|SELECT) "),
    "EXISTS": _says(r"[^T] ?\(?EXISTS \("),
    "NOT EXISTS": _says(r"NOT EXISTS \("),
    "a subquery of one value": _says(r"\(SELECT (COUNT|SUM|AVG|MIN|MAX)\("),
    "several protected tables": lambda q, _: any(len(a.read.protected) > 1 for a in q.asked),
    "a table that is owned through a key": lambda q, _: _steps(q) >= 1,
    "a table that is owned through two keys": lambda q, _: _steps(q) >= 2,
    "a join on a declared key": _says(r"s\d+\.(code|nr|key)\w* = s\d+\.(code|nr|key)"),
    "a key of two columns": lambda q, _: _of_keys(q, 2),
    "several entity columns": lambda q, _: any(t.entity_label is not None for a in q.asked for t in a.read.protected),
    "rows in the text": _says(r"\(VALUES "),
    "a public group in several texts": lambda q, p: any(
        k.spelled and k.values is not None and m.partition_selection is None
        for m, a in zip(p.measurements, q.asked, strict=True)
        for k in a.keys
    ),
    "two windows of one order": lambda q, _: any(
        often > 1 for often in Counter(re.findall(r" OVER \((PARTITION BY [^()]* ORDER BY [^()]*)\)", q.sql)).values()
    ),
    "several entity columns of one kind": lambda q, _: any(
        len({e.kind for e in t.entity_columns}) < len(t.entity_columns) > 1 for a in q.asked for t in a.read.protected
    ),
    "tables of two owners": lambda q, _: len(_owners(q)) > 1,
    "tables of an owner with DP off": lambda q, _: any(f"{owner}." in q.sql for owner in q.schema.exempt),
}
"""Of relations."""

COMMON = (
    "a left join",
    "a right join",
    "a CTE",
    "a subquery",
    "WHERE",
    "DISTINCT",
    "several protected tables",
    "a table that is owned through a key",
    "a window",
    "rows in the text",
)
"""Those that are in every run, however short; the others are counted over more queries, without data."""

RARE = (
    "tables of an owner with DP off",
    "tables of two owners",
    "several entity columns",
    "several entity columns of one kind",
    "two windows of one order",
    "a CTE in a subquery",
    "a CTE that is used twice",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "a semi-join",
    "an anti-join",
    "NOT EXISTS",
    "a window with a frame",
    "a table that is owned through two keys",
)
"""Those that one of twenty to one of fifty queries has: a few hundred queries need not have each, but nearly all."""
