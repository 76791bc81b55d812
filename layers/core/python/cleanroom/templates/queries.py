"""Turns a checked SELECT into relations and drafts of measurements, CTE by CTE, subquery by subquery. Pure.

The rules for what a SELECT becomes:
    no aggregates                                 -> keeps its world; LIMIT and ORDER BY only above protected rows
    aggregates over public or noisy rows          -> public, or released: plain SQL
    aggregates over protected rows, keys hold the entity -> Owned: one row belongs to one entity; plain SQL
    aggregates over protected rows otherwise      -> a measurement; what it gives is released
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

from sqlglot import exp

from cleanroom.errors import InvalidRequestError
from cleanroom.rooms.owned_through import Step, path_of
from cleanroom.rooms.tables import ColumnType, LinkedTable
from cleanroom.templates.aggregates import is_aggregate
from cleanroom.templates.charge_book import Charges
from cleanroom.templates.conditions import conjuncts
from cleanroom.templates.draft import Draft
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.grouping import GroupScope, group_keys
from cleanroom.templates.grouping_sets import written_out
from cleanroom.templates.keys import holds_entity, key_parts
from cleanroom.templates.measuring import measured_select
from cleanroom.templates.names import named_table
from cleanroom.templates.other_rows import grouped_keys, refuse_without_selection
from cleanroom.templates.ownership import world_of_table
from cleanroom.templates.plain import PlainPlan, plain_plan
from cleanroom.templates.plain_aggregates import plain_aggregate
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.relations import ENTITY, Path, Relation, World, table_relation
from cleanroom.templates.scalars import Scalar, native_type, require
from cleanroom.templates.selects import Rows, Star, Wanted, finished, rows_of, wanted_of
from cleanroom.templates.set_operations import rows_kept
from cleanroom.templates.subqueries import Around, Inner, is_subquery, subquery_value
from cleanroom.templates.trees import aliased, bracketed, column, fragment, integer, is_written_out, named, to_sql
from cleanroom.templates.unions import union_all
from cleanroom.templates.windows import Windows, WindowScope, inside_window, most_rows, qualified, tie_breakers
from cleanroom.templates.written import is_written, numbered


class Queries:
    """The state of compiling one template: tables seen, aliases given, measurements found."""

    def __init__(
        self,
        *,
        tables: Mapping[str, LinkedTable],
        room_tables: Mapping[str, LinkedTable],
        reader: str,
        differential: bool,
        exempt: frozenset[str],
        charges: Charges,
        consistent: bool = False,
    ) -> None:
        """Begin.

        Args:
            tables: lower-case full name -> table: what the query may name.
            room_tables: likewise: where declared keys may lead.
            reader: the party that will see the release.
            differential: whether DP is on for it.
            exempt: owners who have it off for the reader all the same.
            charges: what an aggregate gets.
            consistent: totals of grouping sets are to agree with their parts.
        """
        self._tables = tables
        self._room_tables = room_tables
        self._reader = reader
        self._differential = differential
        self._exempt = exempt
        self._charges = charges
        self._aliases = count()
        self.used: dict[str, LinkedTable] = {}
        self._measured = count()
        self._grouped_sets = count()
        self._consistent = consistent
        self._drafts: dict[int, Draft] = {}
        self._mentioned: frozenset[str] = frozenset()

    @property
    def drafts(self) -> list[Draft]:
        """The measurements found so far, in the order of their names."""
        return [draft for _, draft in sorted(self._drafts.items())]

    def alias(self) -> str:
        """Return a fresh alias."""
        return f"r{next(self._aliases)}"

    def outermost(self, node: exp.Select) -> Relation:
        """Return what the outermost SELECT gives; `relation` is for those inside it.

        Raises:
            TemplateRefusedError: any rule.
        """
        self._mentioned = frozenset(i.name.lower() for i in node.find_all(exp.Identifier))
        return self._finished(*self._read(node, {}, star=Star(over_tables=False)))

    def relation(self, node: exp.Expr, ctes: Mapping[str, _Cte], *, whole: bool = False) -> Relation:
        """Return what a SELECT in FROM or in a CTE gives.

        Args:
            node: from the parser.
            ctes: those of the queries around it.
            whole: all columns count, also those whose names are nowhere in the query.

        Raises:
            TemplateRefusedError: any rule.
        """
        if isinstance(node, exp.SetOperation):
            return self._union(node, ctes)
        if not isinstance(node, exp.Select):
            refuse(
                "only SELECT and VALUES are supported, and what UNION, INTERSECT and EXCEPT make of them",
                rule="unsupported_query",
                cure="write a SELECT",
                at=node,
            )
        by_place = whole or any(node.args.get(part) is not None for part in ("distinct", "group", "order"))
        star = Star(over_tables=True, names=None if by_place else self._mentioned)
        return self._finished(*self._read(node, ctes, star=star), arrays=not whole)

    def _finished(self, rows: Rows, wanted: Wanted, ctes: Mapping[str, _Cte], *, arrays: bool = False) -> Relation:
        """Return what a SELECT gives that is no correlated subquery; with `arrays`, its list may hold some."""
        if not wanted.grouped:
            return self._projected(rows, wanted, arrays=arrays)
        asked, other = grouped_keys(wanted.keys)
        keys = group_keys(asked, rows.scope)
        if self._differential and rows.world is World.OWNED and not holds_entity(k for _, k in keys):
            number = next(self._measured)  # the measurements of its subqueries come after
            relation, draft = measured_select(
                rows,
                wanted,
                keys,
                name=f"m{number}",
                alias=self.alias(),
                charges=self._charges,
                other=other,
                inner=lambda query, around: self._inner(query, around, ctes),
                consistent=self._consistent,
            )
            self._drafts[number] = draft
            return relation
        if other is not None:
            refuse_without_selection(other, public=False)
        return self._aggregated(rows, wanted, keys, ctes)

    def _union(self, node: exp.SetOperation, ctes: Mapping[str, _Cte]) -> Relation:
        """Return the rows of UNION ALL, of UNION (each of them once), of INTERSECT or of EXCEPT."""
        only(node, {"this", "expression", "distinct", "with_"})
        known = self._with(node, ctes)
        parts = [self.relation(_bare(side), known, whole=True) for side in (node.this, node.expression)]
        if any(p.world is World.RELEASED for p in parts):
            parts = [numbered(p, alias=self.alias(), world=World.RELEASED) if is_written(p) else p for p in parts]
        if not isinstance(node, exp.Union):
            return rows_kept(
                *parts,
                kind=type(node),
                distinct=bool(node.args.get("distinct")),
                alias=self.alias(),
                at=node.expression,
            )
        united = union_all(parts, alias=self.alias(), at=node.expression)
        if not node.args.get("distinct"):
            return united
        alias = self.alias()
        keys = [o.name for o in united.outputs]
        if len({k.lower() for k in keys}) != len(keys):
            refuse("two columns of a UNION share a name", rule="duplicate_column", cure="name each once", at=node)
        again = exp.Select(
            expressions=[exp.column(exp.to_identifier(k, quoted=True)) for k in keys], distinct=exp.Distinct()
        ).from_(exp.to_table(alias))
        if united.world is World.OWNED and not any(o.scalar.entity for o in united.outputs):
            refuse(
                "UNION makes rows of different entities one; UNION ALL keeps them apart",
                rule="union_of_entities",
                cure="write UNION ALL, or select the entity column in both parts",
                at=node,
            )
        return self.relation(again, {**known, alias: _Cte(self, again, known, relation=united)})

    def _with(self, node: exp.Expr, ctes: Mapping[str, _Cte]) -> dict[str, _Cte]:
        """Return the CTEs that a query can name."""
        known = dict(ctes)
        with_ = node.args.get("with_")
        if with_ is not None:
            only(with_, {"expressions"})
            for cte in with_.expressions:
                only(cte, {"this", "alias", "materialized"})
                only(cte.args["alias"], {"this"})
                known[cte.alias.lower()] = _Cte(self, cte.this, dict(known))
        return known

    def _read(
        self, node: exp.Select, ctes: Mapping[str, _Cte], *, star: Star, around: Around | None = None
    ) -> tuple[Rows, Wanted, Mapping[str, _Cte]]:
        """Return what a SELECT reads, what it asks for, and the CTEs that it knows."""
        node = written_out(node, number=next(self._grouped_sets))
        known = self._with(node, ctes)
        rows = rows_of(
            node,
            resolve=lambda t: self._resolve(t, known),
            subquery=lambda s: self.relation(s, known),
            inner=lambda query, outside: self._inner(query, outside, known),
            alias=self.alias,
            below=star.over_tables,
            around=around,
        )
        return rows, wanted_of(node, rows, star=star), known

    def _inner(self, query: exp.Expr, around: Around, ctes: Mapping[str, _Cte]) -> Inner:
        """Return what a subquery in an expression gives for a row of the query around it."""
        if not isinstance(query, exp.Select):
            relation = self.relation(query, ctes, whole=True)
            return Inner(relation=relation, protected=relation.entity)
        rows, wanted, known = self._read(query, ctes, star=Star(over_tables=True), around=around)
        if not rows.correlated:
            relation = self._finished(rows, wanted, known)
            return Inner(relation=relation, protected=relation.entity)
        if rows.world is World.OWNED:
            if not rows.tied:
                refuse(
                    "a correlated subquery over protected rows must be about the entity of the row around it",
                    rule="correlated_subquery",
                    cure="add <entity of the subquery> = <entity of the query> to its WHERE, or the whole declared key",
                    at=query,
                )
            if rows.protected is None or around.protected is None or rows.protected.kind != around.protected.kind:
                refuse(
                    "a correlated subquery compares entities of different kinds",
                    rule="different_entities",
                    cure="compare entity columns of one kind",
                    at=query,
                )
        if wanted.grouped:
            keys = group_keys(wanted.keys, rows.scope)
            relation = self._aggregated(rows, wanted, keys, known, least=False)
        else:
            relation = self._projected(rows, wanted)
        return Inner(relation=relation, correlated=True, tied=rows.tied, protected=rows.protected)

    def plain(self, node: exp.Select) -> PlainPlan:
        """Return the plan of the outermost SELECT with DP off.

        Raises:
            TemplateRefusedError: any rule; `rows_released` where the owner set a smallest group (B-80).
        """
        self._mentioned = frozenset(i.name.lower() for i in node.find_all(exp.Identifier))
        rows, wanted, ctes = self._read(node, {}, star=Star(over_tables=False))
        keys = group_keys(wanted.keys, rows.scope)
        if rows.world is World.OWNED and (not wanted.grouped or holds_entity(k for _, k in keys)):
            refuse(
                "the query returns rows of single entities, and the owner of the table set a smallest group",
                rule="rows_released",
                cure="aggregate, and do not group by the entity column",
                at=node,
            )
        select, names, listed = rows.select, self._windowed(rows.scope, rows, wanted), None
        if wanted.grouped:
            grouped = self._grouped(rows, wanted, keys, ctes)
            select, listed = grouped.select, list(grouped.keys)
            names = self._windowed(grouped.scope, rows, wanted, grouped=grouped)
        if wanted.qualify is not None:
            select = select.copy()
            select.set("qualify", exp.Qualify(this=qualified(wanted.qualify, names)))
        return plain_plan(wanted, select=select, exact=names, keys=listed, having=wanted.having)

    def _resolve(self, node: exp.Table, ctes: Mapping[str, _Cte]) -> tuple[Relation, str]:
        if isinstance(node.this, exp.Identifier) and not node.args.get("db") and node.name.lower() in ctes:
            return ctes[node.name.lower()].relation, node.name
        table = named_table(node, self._tables)
        return self._table(table, at=node), table.name

    def _table(self, table: LinkedTable, *, at: exp.Expr, parent: bool = False) -> Relation:
        """Return a linked table as a relation, with the path to its entity where it is owned through a key.

        Args:
            table: from FROM, or where a declared key leads.
            at: for refusals.
            parent: a key leads here, from a table that is protected.
        """
        steps = self._steps(table, at=at)
        world = World.OWNED
        if not parent:
            through = tuple(s.parent for s in steps)
            differential = self._differential and table.owner not in self._exempt
            world = world_of_table(table, through=through, reader=self._reader, differential=differential, at=at)
        name = next((name for name, t in self.used.items() if t.full_name == table.full_name), f"t{len(self.used)}")
        self.used.setdefault(name, table)
        if world is World.PUBLIC:
            return table_relation(table, name=name, world=world)
        path = None
        if steps:
            columns = tuple((child.name, of_parent.name) for child, of_parent in steps[0].columns)
            owner = self._table(steps[0].parent, at=at, parent=True)
            path = Path(parent=owner, columns=columns, unique=steps[0].unique)
        keys = key_parts(table, self._room_tables.values())
        return table_relation(table, name=name, world=world, path=path, keys=keys)

    def _steps(self, table: LinkedTable, *, at: exp.Expr) -> tuple[Step, ...]:
        if table.owner == self._reader:
            return ()
        try:
            return path_of(table, self._room_tables)
        except InvalidRequestError as problem:
            refuse(
                str(problem),
                rule="owned_through",
                cure=f"{table.owner} links the tables again, with their policies",
                at=at,
            )

    def _projected(self, rows: Rows, wanted: Wanted, *, arrays: bool = False) -> Relation:
        if rows.world is World.OWNED and (wanted.limit is not None or wanted.offset is not None):
            refuse(
                "LIMIT over protected rows: which rows remain depends on other entities",
                rule="limit_on_protected",
                cure="limit what the aggregation gives; the first rows of each entity are "
                "QUALIFY ROW_NUMBER() OVER (PARTITION BY <entity> ORDER BY …) <= n",
                at=wanted.node.args.get("limit") or wanted.node.args.get("offset"),
            )
        scope = self._windowed(rows.scope, rows, wanted)
        outputs = [translate(e, scope, arrays=arrays) for e in wanted.expressions]
        order = [_ordered(o, translate(o.this, scope)) for o in wanted.order]
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

    def _windowed(self, scope: Scope, rows: Rows, wanted: Wanted, *, grouped: _Grouped | None = None) -> Scope:
        """Return names with window functions, over rows or over groups: keys tell groups apart."""
        if not wanted.windowed:
            return scope
        ties = tie_breakers(wanted.parts, rows.scope.named) if grouped is None else tuple(k.sql for k in grouped.keys)
        entity = rows.entity if grouped is None else grouped.entity
        alike = self._differential and grouped is None and rows.world is not World.RELEASED
        return WindowScope(scope, Windows(world=rows.world, entity=entity, ties=ties, alike=alike))

    def _grouped(
        self,
        rows: Rows,
        wanted: Wanted,
        keys: list[tuple[str, Scalar]],
        ctes: Mapping[str, _Cte],
        *,
        least: bool = True,
    ) -> _Grouped:
        """Return FROM, WHERE and GROUP BY of an aggregation that needs no noise, and names above it.

        Keys and aggregates are the columns of a SELECT of their own, and expressions stand above it: the engine takes
        no aggregate inside the guards that keep expressions from failing. With DP off and a smallest group, groups
        below it are left out (B-80): with `least`.
        """
        noisy = rows.world is World.RELEASED
        alias = self.alias()

        def aggregate(node: exp.Expr) -> Scalar:
            if not is_aggregate(node):
                refuse(
                    "addnoise stands over protected rows, or above all other queries",
                    rule="addnoise_place",
                    cure="use it in the SELECT list of the grouped query",
                    at=node,
                )
            return replace(plain_aggregate(node, rows.scope, exact_sums=not noisy), noisy=noisy)

        inner = rows.select
        group = [bracketed(_no_position(k)) for _, k in keys]
        if rows.entity is not None and rows.protected is not None:
            inner = inner.where(fragment(":e IS NOT NULL", e=rows.entity))
            if holds_entity(k for _, k in keys):
                group.append(rows.entity.copy())
                inner = inner.select(named(rows.entity, ENTITY))
            elif least:
                fewest = max(t.policy.min_entities for t in rows.protected.tables)
                inner = inner.having(fragment("COUNT(DISTINCT :e) >= :n", e=rows.entity, n=integer(max(fewest, 1))))
        if group:
            inner = inner.group_by(*group)
        inner = inner.select(*(named(_no_position(k), f"k{i}") for i, (_, k) in enumerate(keys)))
        calls = {to_sql(sql): sql for sql in (aggregate(n).sql for part in wanted.parts for n in _aggregates_in(part))}
        names = {text: f"a{i}" for i, text in enumerate(calls)}
        inner = inner.select(*(named(sql, names[text]) for text, sql in calls.items()))
        if not keys and not names:  # HAVING alone: one group all the same
            inner = inner.select(named(fragment("COUNT(*)"), "rows"))

        def above(node: exp.Expr) -> Scalar | None:
            scalar = aggregate(node)
            return replace(scalar, sql=column(names[to_sql(scalar.sql)], alias))

        seen = [
            replace(k, drawn=None) if k.constant else replace(k, sql=column(f"k{i}", alias), drawn=None)
            for i, (_, k) in enumerate(keys)
        ]
        scope = GroupScope(
            rows.scope,
            [(f, k) for (f, _), k in zip(keys, seen, strict=True)],
            above,
            subquery=lambda node, outer: subquery_value(
                node, outer, rows.around.above(rows.world), read=lambda query, around: self._inner(query, around, ctes)
            ),
        )
        return _Grouped(
            select=exp.Select().from_(aliased(inner, alias)),
            scope=scope,
            keys=tuple(seen),
            entity=column(ENTITY, alias) if rows.entity is not None and holds_entity(k for _, k in keys) else None,
        )

    def _aggregated(
        self,
        rows: Rows,
        wanted: Wanted,
        keys: list[tuple[str, Scalar]],
        ctes: Mapping[str, _Cte],
        *,
        least: bool = True,
    ) -> Relation:
        """Aggregate rows that need no noise: public ones, noisy ones, or those of one entity."""
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
        grouped = self._grouped(rows, wanted, keys, ctes, least=least)
        select, scope = grouped.select, grouped.scope
        listed = self._windowed(scope, rows, wanted, grouped=grouped)
        outputs = [translate(e, listed) for e in wanted.expressions]
        order = [_ordered(o, translate(o.this, listed)) for o in wanted.order]
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
            identity=tuple(k.sql for k in grouped.keys) if noisy else (),
            world=rows.world if owned or noisy else World.PUBLIC,
            entity=grouped.entity if owned else None,
            protected=rows.protected if owned else None,
            most_rows_per_entity=1 if owned and all(k.entity for _, k in keys) else None,
            single=not keys,
            qualify=None if wanted.qualify is None else qualified(wanted.qualify, listed),
        )


def _bare(node: exp.Expr) -> exp.Expr:
    """Return a part of a UNION without its brackets."""
    while isinstance(node, exp.Subquery):
        only(node, {"this"})
        node = node.this
    return node


@dataclass(frozen=True, kw_only=True, slots=True)
class _Grouped:
    """An aggregation that needs no noise.

    Attributes:
        select: a SELECT from it, with no expressions yet.
        scope: names above it.
        keys: in terms of `select`.
        entity: likewise, where a key holds it.
    """

    select: exp.Select
    scope: GroupScope
    keys: tuple[Scalar, ...]
    entity: exp.Expr | None


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


def _ordered(entry: exp.Ordered, by: Scalar) -> exp.Ordered:
    return exp.Ordered(this=by.sql.copy(), desc=entry.args["desc"], nulls_first=entry.args["nulls_first"])


class _Cte:
    """A CTE, translated when it is first used: one that is not used costs nothing."""

    def __init__(
        self, queries: Queries, node: exp.Expr, around: Mapping[str, _Cte], *, relation: Relation | None = None
    ) -> None:
        self._queries, self._node, self._around = queries, node, around
        self._relation = relation

    @property
    def relation(self) -> Relation:
        """What it gives."""
        if self._relation is None:
            self._relation = self._queries.relation(self._node, self._around)
        return self._relation
