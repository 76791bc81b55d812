"""Subqueries inside expressions: IN (SELECT …), EXISTS, and those that give one value. Pure.

A subquery is evaluated for a row of the query around it. It may stand there if what it gives for a row of entity e is a
function of that row, of e's rows and of public data:
    over public rows                                     -> beside public and protected rows, also correlated
    over protected rows, entity = entity in its WHERE    -> beside protected rows of that entity
    over protected rows, as `entity IN (SELECT entity …)` -> likewise
    over noisy numbers                                   -> beside noisy numbers
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NoReturn

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.ownership import merged_entity, same_exact_type
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.relations import Entity, Item, Relation, World
from cleanroom.templates.scalars import Scalar, cast, combine, common_type
from cleanroom.templates.trees import bracketed, fragment, named
from cleanroom.templates.written import is_written


@dataclass(kw_only=True, slots=True)
class Around:
    """The rows for which a subquery is evaluated.

    Attributes:
        world: of the rows.
        items: their FROM; a correlated subquery may name these columns. Empty above a GROUP BY.
        entity: of a row, where Owned.
        protected: what protects them; it grows with the protected tables that subqueries read.
        written: they stand in the text, with numbers, and become released beside a subquery of noisy numbers.
        found: subqueries that were compiled already, by the names in scope and their text: an aggregate is read more
            than once, and must not be measured twice.
    """

    world: World
    items: tuple[Item, ...] = ()
    entity: exp.Expr | None = None
    protected: Entity | None = None
    written: bool = False
    found: dict[tuple[int, str], tuple[Scope, Scalar]] = field(default_factory=dict)

    def above(self, world: World) -> Around:
        """Return the same after GROUP BY: no column of a row can be named."""
        return replace(self, world=world, items=(), written=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    """What a subquery gives.

    Attributes:
        relation: its columns; `tree` is as it runs.
        correlated: it names columns of the query around it.
        tied: it reads protected rows of the entity of the row around it, and no others.
        protected: what protects the rows that it reads.
    """

    relation: Relation
    correlated: bool = False
    tied: bool = False
    protected: Entity | None = field(default=None)


Read = Callable[[exp.Expr, Around], Inner]


def is_subquery(node: exp.Expr) -> bool:
    """Return whether an expression is, or asks, a subquery."""
    if isinstance(node, exp.In):
        return node.args.get("query") is not None
    return isinstance(node, exp.Exists | exp.Query) or _quantified(node) is not None


def _quantified(node: exp.Expr) -> exp.In | None:
    """Return `x = ANY (SELECT …)`, or `x <> ALL (SELECT …)` without its NOT, as IN; None for anything else."""
    if not isinstance(node, exp.EQ | exp.NEQ):
        return None
    word = exp.Any if isinstance(node, exp.EQ) else exp.All
    query = node.expression.this if isinstance(node.expression, word) else None
    return exp.In(this=node.this, query=query) if isinstance(query, exp.Query) else None


def subquery_value(node: exp.Expr, scope: Scope, around: Around, *, read: Read) -> Scalar:
    """Return the value of EXISTS, IN (SELECT …), or of a subquery of one row and column.

    Args:
        node: for which `is_subquery` holds.
        scope: names where it stands.
        around: the rows where it stands.
        read: compiles the subquery.

    Raises:
        TemplateRefusedError: rules `subquery_expression`, `subquery_entity`, `correlated_subquery`,
            `join_noisy_with_table`, `type_mismatch`.
    """
    key = (id(scope), node.sql(comments=False))
    if key not in around.found:
        around.found[key] = (scope, _translated(node, scope, around, read))
    return around.found[key][1]


def _translated(node: exp.Expr, scope: Scope, around: Around, read: Read) -> Scalar:
    quantified = _quantified(node)
    if quantified is not None:
        found = _membership(quantified, scope, around, read)
        return found if isinstance(node, exp.EQ) else combine("NOT :a", kind=ColumnType.BOOLEAN, a=found)
    if isinstance(node, exp.Exists):
        only(node, {"this"})
        inner = read(_query(node.this, at=node), around)
        _may_stand(inner, around, at=node)
        return _value(exp.Exists(this=_visible(inner.relation)), inner, kind=ColumnType.BOOLEAN, nullable=False)
    if isinstance(node, exp.In):
        only(node, {"this", "query"})
        return _membership(node, scope, around, read)
    inner = read(_query(node, at=node), around)
    _may_stand(inner, around, at=node)
    if len(inner.relation.outputs) != 1 or not inner.relation.single:
        refuse(
            "a subquery in an expression must give one column and, whatever the rows, no more than one row",
            rule="subquery_expression",
            cure="aggregate in it, without GROUP BY: e.g. (SELECT MAX(x) FROM …); or join it in FROM",
            at=node,
        )
    (output,) = inner.relation.outputs
    value = _value(exp.Subquery(this=_visible(inner.relation)), inner, kind=output.scalar.type, nullable=True)
    return replace(value, span=output.scalar.span, noisy=output.scalar.noisy)


def _query(node: exp.Expr, *, at: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Subquery):
        only(node, {"this"})
        node = node.this
    if not isinstance(node, exp.Select | exp.SetOperation):
        refuse(
            "only a SELECT can be a subquery here", rule="subquery_expression", cure="write (SELECT … FROM …)", at=at
        )
    return node


def _membership(node: exp.In, scope: Scope, around: Around, read: Read) -> Scalar:
    """Return x IN (SELECT y …): NULL where nothing is equal and x or some y is NULL, as in SQL."""
    if isinstance(node.this.unnest(), exp.Tuple):
        refuse(
            "IN takes one column here",
            rule="subquery_expression",
            cure="write EXISTS (SELECT 1 FROM … WHERE …) with a condition for each column",
            at=node,
        )
    value = translate(node.this, scope)
    inner = read(_query(node.args["query"], at=node), around)
    if len(inner.relation.outputs) != 1:
        refuse(
            "the subquery of IN has more than one column", rule="subquery_expression", cure="select one column", at=node
        )
    listed = inner.relation.outputs[0].scalar
    if inner.relation.world is World.OWNED and not inner.tied and around.world is World.OWNED:
        _check_entities(value, listed, inner, around, at=node)
        around.protected = merged_entity(around.protected, inner.protected)
    else:
        _may_stand(inner, around, at=node)
    to = common_type([value, listed], at=node)
    if to is not None and not (value.type is listed.type and value.type is not ColumnType.DECIMAL):
        value = value if value.type is None else cast(value, to)
        listed = listed if listed.type is None else cast(listed, to)
    tree = _visible(replace(inner.relation, outputs=(replace(inner.relation.outputs[0], scalar=listed),)))
    if inner.relation.entity_column is not None:  # rows of nobody are left out, as they are everywhere
        entity = next(
            e.this for e in inner.relation.tree.args["expressions"] if e.alias == inner.relation.entity_column
        )
        if not tree.args.get("group"):
            tree = tree.where(fragment(":e IS NOT NULL", e=entity))
    found = exp.In(this=bracketed(value.sql), query=exp.Subquery(this=tree))
    result = _value(found, inner, kind=ColumnType.BOOLEAN, nullable=True)
    return replace(result, noisy=result.noisy or value.noisy or listed.noisy, size=result.size + value.size)


def _check_entities(value: Scalar, listed: Scalar, inner: Inner, around: Around, *, at: exp.Expr) -> None:
    """Refuse an uncorrelated subquery over protected rows, but `entity IN (SELECT entity …)`."""
    if not (value.entity and listed.entity):
        _refuse_entity(at)
    if around.protected is None or inner.protected is None or around.protected.kind != inner.protected.kind:
        refuse(
            "IN compares entities of different kinds",
            rule="different_entities",
            cure="compare entity columns of one kind",
            at=at,
        )
    if not same_exact_type(value, listed):
        _refuse_entity(at)


def _may_stand(inner: Inner, around: Around, *, at: exp.Expr) -> None:
    """Refuse a subquery that does not keep every row with its entity.

    Raises:
        TemplateRefusedError: rules `join_noisy_with_table`, `subquery_entity`.
    """
    world = inner.relation.world
    if inner.tied:
        around.protected = merged_entity(around.protected, inner.protected)
        return
    if world is World.RELEASED and around.written:
        around.world = World.RELEASED
    if around.world is World.RELEASED and is_written(inner.relation):
        return
    if not is_written(inner.relation):
        around.written = False  # they depend on a table now
    if (world is World.RELEASED) is not (around.world is World.RELEASED):
        refuse(
            "noisy numbers and tables cannot meet in an expression: what is released is computed apart from all tables",
            rule="join_noisy_with_table",
            cure="compare noisy numbers above the aggregation, and tables below it; rows of your own may stand in the "
            "text: (VALUES (…), (…)) AS v(a, b)",
            at=at,
        )
    if world is World.OWNED:
        _refuse_entity(at)


def _refuse_entity(at: exp.Expr) -> NoReturn:
    refuse(
        "a subquery over protected rows gives a row of one entity what the rows of all others say",
        rule="subquery_entity",
        cure="let its WHERE say <entity of the subquery> = <entity of the query>, or write "
        "<entity> IN (SELECT <entity> FROM …)",
        at=at,
    )


def _value(tree: exp.Expr, inner: Inner, *, kind: ColumnType | None, nullable: bool) -> Scalar:
    """Return the scalar of a subquery; it is no column, and its values are listed for booleans only."""
    size = 1 + sum(o.scalar.size for o in inner.relation.outputs)
    empty = combine(":a", kind=kind, nullable=nullable, a=Scalar(sql=exp.null(), type=kind, size=size))
    return replace(empty, sql=tree, noisy=inner.relation.world is World.RELEASED, whole=True)


def _visible(relation: Relation) -> exp.Select:
    """Return the relation's query without its hidden columns."""
    tree = relation.tree.copy()
    if not isinstance(tree, exp.Select):
        raise TypeError("a query's tree is a SELECT")
    tree.set("expressions", [named(o.scalar.sql, o.inner) for o in relation.outputs])
    return tree
