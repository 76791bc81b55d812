"""A SELECT without aggregates: its list, ORDER BY and QUALIFY over the rows of FROM. Pure; `queries.py` asks."""

from __future__ import annotations

from sqlglot import exp

from cleanroom.templates.conditions import conjuncts
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.refusals import refuse
from cleanroom.templates.relations import Relation, World
from cleanroom.templates.scalars import Scalar
from cleanroom.templates.selects import Rows, Wanted, finished
from cleanroom.templates.windows import Windows, WindowScope, most_rows, qualified, tie_breakers


def projected(rows: Rows, wanted: Wanted, *, differential: bool, arrays: bool = False) -> Relation:
    """Return what a SELECT without aggregates gives: a row for each row of FROM that remains.

    Args:
        rows: of FROM and WHERE.
        wanted: what it asks for.
        differential: DP is on for the reader.
        arrays: its list may hold some.

    Raises:
        TemplateRefusedError: rule `limit_on_protected`, or an expression's own.
    """
    if rows.world is World.OWNED and (wanted.limit is not None or wanted.offset is not None):
        refuse(
            "LIMIT over protected rows: which rows remain depends on other entities",
            rule="limit_on_protected",
            cure="limit what the aggregation gives; the first rows of each entity are "
            "QUALIFY ROW_NUMBER() OVER (PARTITION BY <entity> ORDER BY …) <= n",
            at=wanted.node.args.get("limit") or wanted.node.args.get("offset"),
        )
    scope = row_windows(rows, wanted, differential=differential)
    outputs = [translate(e, scope, arrays=arrays) for e in wanted.expressions]
    order = [ordered_by(o, translate(o.this, scope)) for o in wanted.order]
    if rows.world is World.OWNED:  # without LIMIT, the order of what is aggregated above says nothing
        order = []
    most = rows.most_rows_per_entity
    if wanted.qualify is not None:
        numbers = [n for c in conjuncts(wanted.qualify) if (n := most_rows(c, scope)) is not None]
        most = min([*numbers, *([most] if most is not None else [])], default=None)
    # Before the world is asked for: a subquery of noisy numbers makes rows that stand in the text noisy.
    qualify = None if wanted.qualify is None else qualified(wanted.qualify, scope)
    return finished(
        wanted,
        outputs,
        select=rows.select,
        bare=rows.bare,
        order=order,
        identity=rows.identity,
        world=rows.world,
        entity=rows.entity if rows.world is World.OWNED else None,
        protected=rows.protected,
        most_rows_per_entity=most,
        single=rows.single,
        qualify=qualify,
    )


def row_windows(rows: Rows, wanted: Wanted, *, differential: bool) -> Scope:
    """Return the names over rows, with window functions where the SELECT has some."""
    if not wanted.windowed:
        return rows.scope
    ties = tie_breakers(wanted.parts, rows.scope.named)
    alike = differential and rows.world is not World.RELEASED
    return WindowScope(rows.scope, Windows(world=rows.world, entity=rows.entity, ties=ties, alike=alike))


def ordered_by(entry: exp.Ordered, by: Scalar) -> exp.Ordered:
    """Return an entry of ORDER BY, translated."""
    return exp.Ordered(this=by.sql.copy(), desc=entry.args["desc"], nulls_first=entry.args["nulls_first"])
