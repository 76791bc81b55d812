"""Aggregations that need no noise: of public rows, of noisy ones, and of the rows of one entity. Pure.

`queries.py` asks. Keys and aggregates are the columns of a SELECT of their own, and expressions stand above it: the
engine takes no aggregate inside the guards that keep expressions from failing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.aggregates import is_aggregate
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.from_items import Alias
from cleanroom.templates.grouping import GroupScope
from cleanroom.templates.keys import holds_entity
from cleanroom.templates.plain_aggregates import plain_aggregate
from cleanroom.templates.projections import ordered_by
from cleanroom.templates.refusals import refuse
from cleanroom.templates.relations import ENTITY, Relation, World
from cleanroom.templates.scalars import Scalar, native_type, require
from cleanroom.templates.selects import Rows, Wanted, finished
from cleanroom.templates.subqueries import Read, is_subquery, subquery_value
from cleanroom.templates.trees import aliased, bracketed, column, fragment, integer, is_written_out, named, to_sql
from cleanroom.templates.windows import Windows, WindowScope, inside_window, qualified


@dataclass(frozen=True, kw_only=True, slots=True)
class Grouped:
    """An aggregation that needs no noise.

    Attributes:
        world: of its groups.
        select: a SELECT from it, with no expressions yet.
        scope: names above it.
        keys: in terms of `select`.
        entity: likewise, where a key holds it.
    """

    world: World
    select: exp.Select
    scope: GroupScope
    keys: tuple[Scalar, ...]
    entity: exp.Expr | None

    def windows(self, wanted: Wanted) -> Scope:
        """Return the names above it, with window functions where the SELECT has some; keys tell groups apart."""
        if not wanted.windowed:
            return self.scope
        ties = tuple(k.sql for k in self.keys)
        return WindowScope(self.scope, Windows(world=self.world, entity=self.entity, ties=ties))


def grouped(
    rows: Rows,
    wanted: Wanted,
    keys: list[tuple[str, Scalar]],
    *,
    alias: Alias,
    inner: Read,
    least: bool = True,
) -> Grouped:
    """Return FROM, WHERE and GROUP BY of an aggregation that needs no noise, and names above it.

    Args:
        rows: of FROM and WHERE.
        wanted: what the SELECT asks for.
        keys: translated over the rows, by fingerprint.
        alias: gives a fresh alias.
        inner: a subquery in an expression, and what is around it -> what it gives.
        least: with DP off and a smallest group, groups below it are left out (B-80).
    """
    noisy = rows.world is World.RELEASED
    above_all = alias()

    def aggregate(node: exp.Expr) -> Scalar:
        if not is_aggregate(node):
            refuse(
                "addnoise stands over protected rows, or above all other queries",
                rule="addnoise_place",
                cure="use it in the SELECT list of the grouped query",
                at=node,
            )
        return replace(plain_aggregate(node, rows.scope, exact_sums=not noisy), noisy=noisy)

    select = rows.select
    group = [bracketed(_no_position(k)) for _, k in keys]
    if rows.entity is not None and rows.protected is not None:
        select = select.where(fragment(":e IS NOT NULL", e=rows.entity))
        if holds_entity(k for _, k in keys):
            group.append(rows.entity.copy())
            select = select.select(named(rows.entity, ENTITY))
        elif least:
            fewest = max(t.policy.min_entities for t in rows.protected.tables)
            select = select.having(fragment("COUNT(DISTINCT :e) >= :n", e=rows.entity, n=integer(max(fewest, 1))))
    if group:
        select = select.group_by(*group)
    select = select.select(*(named(_no_position(k), f"k{i}") for i, (_, k) in enumerate(keys)))
    calls = {to_sql(sql): sql for sql in (aggregate(n).sql for part in wanted.parts for n in _aggregates_in(part))}
    names = {text: f"a{i}" for i, text in enumerate(calls)}
    select = select.select(*(named(sql, names[text]) for text, sql in calls.items()))
    if not keys and not names:  # HAVING alone: one group all the same
        select = select.select(named(fragment("COUNT(*)"), "rows"))

    def above(node: exp.Expr) -> Scalar | None:
        scalar = aggregate(node)
        return replace(scalar, sql=column(names[to_sql(scalar.sql)], above_all))

    seen = [
        replace(k, drawn=None) if k.constant else replace(k, sql=column(f"k{i}", above_all), drawn=None)
        for i, (_, k) in enumerate(keys)
    ]
    scope = GroupScope(
        rows.scope,
        [(f, k) for (f, _), k in zip(keys, seen, strict=True)],
        above,
        subquery=lambda node, outer: subquery_value(node, outer, rows.around.above(rows.world), read=inner),
    )
    return Grouped(
        world=rows.world,
        select=exp.Select().from_(aliased(select, above_all)),
        scope=scope,
        keys=tuple(seen),
        entity=column(ENTITY, above_all) if rows.entity is not None and holds_entity(k for _, k in keys) else None,
    )


def aggregated(
    rows: Rows,
    wanted: Wanted,
    keys: list[tuple[str, Scalar]],
    *,
    alias: Alias,
    inner: Read,
    least: bool = True,
) -> Relation:
    """Return what a SELECT gives that aggregates public rows, noisy ones, or those of one entity; see `grouped`.

    Raises:
        TemplateRefusedError: rule `limit_on_protected`, or an expression's own.
    """
    if rows.around.written:  # a noisy number inside an aggregate makes them noisy, which is asked for below
        for call in (n for part in wanted.parts for n in _aggregates_in(part)):
            plain_aggregate(call, rows.scope, exact_sums=True)
    owned = rows.world is World.OWNED and holds_entity(k for _, k in keys)
    noisy = rows.world is World.RELEASED
    if owned and (wanted.limit is not None or wanted.offset is not None):
        refuse(
            "LIMIT over protected rows: which rows remain depends on other entities",
            rule="limit_on_protected",
            cure="limit what the last aggregation gives",
            at=wanted.node.args.get("limit") or wanted.node.args.get("offset"),
        )
    groups = grouped(rows, wanted, keys, alias=alias, inner=inner, least=least)
    select, scope = groups.select, groups.scope
    listed = groups.windows(wanted)
    outputs = [translate(e, listed) for e in wanted.expressions]
    order = [ordered_by(o, translate(o.this, listed)) for o in wanted.order]
    if owned:
        order = []
    if wanted.having is not None:
        having = require(
            translate(wanted.having, scope), frozenset({ColumnType.BOOLEAN}), what="HAVING", at=wanted.having
        )
        select = select.where(bracketed(having.sql))
    return finished(
        wanted,
        outputs,
        select=select,
        bare=select,
        order=order,
        identity=tuple(k.sql for k in groups.keys) if noisy else (),
        world=rows.world if owned or noisy else World.PUBLIC,
        entity=groups.entity if owned else None,
        protected=rows.protected if owned else None,
        most_rows_per_entity=1 if owned and all(k.entity for _, k in keys) else None,
        single=not keys,
        qualify=None if wanted.qualify is None else qualified(wanted.qualify, listed),
    )


def _aggregates_in(node: exp.Expr) -> Iterator[exp.Expr]:
    """Give every aggregate call in an expression above groups, but not what is inside one, or in a subquery."""
    if is_subquery(node):
        return
    if is_aggregate(node) and not isinstance(node, exp.Window):
        yield node
        return
    for part in inside_window(node) if isinstance(node, exp.Window) else node.iter_expressions():
        yield from _aggregates_in(part)


def _no_position(key: Scalar) -> exp.Expr:
    """Return a group key that the engine cannot take for the number of a column."""
    if not is_written_out(key.sql):
        return key.sql
    return exp.Cast(this=key.sql.copy(), to=exp.DataType.build(native_type(key), dialect="duckdb"))
