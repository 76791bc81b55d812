"""Turns a checked SELECT into relations and drafts of measurements, CTE by CTE, subquery by subquery. Pure.

The rules for what a SELECT becomes:
    no aggregates                                 -> keeps its world; LIMIT and ORDER BY only above protected rows
    aggregates over public or noisy rows          -> public, or released: plain SQL
    aggregates over protected rows, keys hold the entity -> Owned: one row belongs to one entity; plain SQL
    aggregates over protected rows otherwise      -> a measurement; what it gives is released
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from sqlglot import exp

from cleanroom.rooms.tables import LinkedTable
from cleanroom.templates.charge_book import Charges
from cleanroom.templates.draft import Draft
from cleanroom.templates.grouping import group_keys
from cleanroom.templates.grouping_sets import written_out
from cleanroom.templates.keys import holds_entity
from cleanroom.templates.measuring import measured_select
from cleanroom.templates.other_rows import grouped_keys, refuse_without_selection
from cleanroom.templates.plain import PlainPlan, plain_plan
from cleanroom.templates.plain_grouping import aggregated, grouped
from cleanroom.templates.projections import projected, row_windows
from cleanroom.templates.refusals import only, refuse, refuse_rows
from cleanroom.templates.relations import Relation, World
from cleanroom.templates.selects import Rows, Star, Wanted, rows_of, wanted_of
from cleanroom.templates.set_operations import rows_kept
from cleanroom.templates.subqueries import Around, Inner, Read
from cleanroom.templates.unions import union_all
from cleanroom.templates.used_tables import UsedTables
from cleanroom.templates.windows import qualified
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
        self._tables = UsedTables(
            tables=tables, room_tables=room_tables, reader=reader, differential=differential, exempt=exempt
        )
        self._differential = differential
        self._charges = charges
        self._aliases = count()
        self._measured = count()
        self._grouped_sets = count()
        self._consistent = consistent
        self._drafts: dict[int, Draft] = {}
        self._mentioned: frozenset[str] = frozenset()

    @property
    def used(self) -> dict[str, LinkedTable]:
        """The tables seen so far, by the names that exact queries give them."""
        return self._tables.used

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
        rows, wanted, ctes = self._read(node, {}, star=Star(over_tables=False))
        return self._finished(rows, wanted, ctes, outermost=True)

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

    def _finished(
        self,
        rows: Rows,
        wanted: Wanted,
        ctes: Mapping[str, _Cte],
        *,
        arrays: bool = False,
        outermost: bool = False,
    ) -> Relation:
        """Return what a SELECT gives that is no correlated subquery; with `arrays`, its list may hold some.

        The outermost says that it returns rows before it says that a LIMIT of them is refused.
        """
        limited = outermost and (wanted.limit is not None or wanted.offset is not None)
        if not wanted.grouped:
            if limited and rows.world is World.OWNED:
                refuse_rows(wanted.node)
            return projected(rows, wanted, differential=self._differential, arrays=arrays)
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
                inner=self._reading(ctes),
                consistent=self._consistent,
            )
            self._drafts[number] = draft
            return relation
        if other is not None:
            refuse_without_selection(other, public=False)
        if limited and rows.world is World.OWNED and holds_entity(k for _, k in keys):
            refuse_rows(wanted.node)
        return aggregated(rows, wanted, keys, alias=self.alias, inner=self._reading(ctes))

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
            inner=self._reading(known),
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
            relation = aggregated(rows, wanted, keys, alias=self.alias, inner=self._reading(known), least=False)
        else:
            relation = projected(rows, wanted, differential=self._differential)
        return Inner(relation=relation, correlated=True, tied=rows.tied, protected=rows.protected)

    def _reading(self, ctes: Mapping[str, _Cte]) -> Read:
        """Return what reads a subquery in an expression of a query that knows these CTEs."""
        return lambda query, around: self._inner(query, around, ctes)

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
        select, names, listed = rows.select, row_windows(rows, wanted, differential=self._differential), None
        if wanted.grouped:
            groups = grouped(rows, wanted, keys, alias=self.alias, inner=self._reading(ctes))
            select, listed, names = groups.select, list(groups.keys), groups.windows(wanted)
        if wanted.qualify is not None:
            select = select.copy()
            select.set("qualify", exp.Qualify(this=qualified(wanted.qualify, names)))
        return plain_plan(wanted, select=select, exact=names, keys=listed, having=wanted.having)

    def _resolve(self, node: exp.Table, ctes: Mapping[str, _Cte]) -> tuple[Relation, str]:
        """Return what a name in FROM stands for, a CTE first, and the name that it has without an alias."""
        if isinstance(node.this, exp.Identifier) and not node.args.get("db") and node.name.lower() in ctes:
            return ctes[node.name.lower()].relation, node.name
        return self._tables.relation_of(node)


def _bare(node: exp.Expr) -> exp.Expr:
    """Return a part of a UNION without its brackets."""
    while isinstance(node, exp.Subquery):
        only(node, {"this"})
        node = node.this
    return node


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
