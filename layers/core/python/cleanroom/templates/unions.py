"""UNION ALL and UNION: rows of relations of one world, one below the other. Pure."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates import spans
from cleanroom.templates.public_values import distinct_values
from cleanroom.templates.refusals import refuse
from cleanroom.templates.relations import ENTITY, Entity, Output, Relation, World
from cleanroom.templates.scalars import OPEN, Scalar, cast
from cleanroom.templates.trees import aliased, column, integer, named

_WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})


def union_all(parts: list[Relation], *, alias: str, at: exp.Expr) -> Relation:
    """Return the rows of all parts.

    Args:
        parts: at least two.
        alias: for the union as an item of FROM.
        at: for refusals.

    Raises:
        TemplateRefusedError: rules `union_of_worlds`, `different_entities`, `union_columns`, `type_mismatch`.
    """
    first = parts[0]
    if any(p.world is not first.world for p in parts):
        refuse(
            "UNION of protected rows, public rows or noisy numbers with one another: whose a row is must be the same "
            "for all parts",
            rule="union_of_worlds",
            cure="aggregate each part alone, with UNION ALL of what the aggregations give",
            at=at,
        )
    columns = typed_columns(parts, at=at)
    entity = united_entity(parts, at=at) if first.world is World.OWNED else None
    names = tuple(o.name for o in first.outputs)
    width = sum(len(p.identity) for p in parts)
    hidden = ("i0", *(f"i{1 + i}" for i in range(width))) if first.world is World.RELEASED else ()
    trees, bare = [], []
    before = 0
    for number, part in enumerate(parts):
        typed = [column_parts[number] for column_parts in columns]
        trees.append(_part(part, number, typed, hidden=hidden, before=before))
        whole = part if part.bare is None else replace(part, tree=part.bare)
        bare.append(_part(whole, number, typed, hidden=hidden, before=before))
        before += len(part.identity)
    outputs = tuple(
        Output(name=name, inner=f"x{i}", scalar=known_of(typed, column(f"x{i}", alias)))
        for i, (name, typed) in enumerate(zip(names, columns, strict=True))
    )
    most = [p.most_rows_per_entity for p in parts]
    return Relation(
        world=first.world,
        tree=_stacked(trees, outputs, hidden, alias=alias, entity=entity is not None),
        bare=_stacked(bare, outputs, hidden, alias=alias, entity=entity is not None),
        outputs=outputs,
        entity=entity,
        entity_column=ENTITY if entity is not None else None,
        identity=hidden,
        most_rows_per_entity=None if any(m is None for m in most) else sum(m for m in most if m is not None),
    )


def typed_columns(parts: list[Relation], *, at: exp.Expr) -> list[list[Scalar]]:
    """Return for each column what it is in every part, in one type.

    Raises:
        TemplateRefusedError: rules `union_columns`, `type_mismatch`.
    """
    width = len(parts[0].outputs)
    if any(len(p.outputs) != width for p in parts):
        refuse(
            "the parts of a UNION have different numbers of columns",
            rule="union_columns",
            cure="select as many columns in each part",
            at=at,
        )
    return [_column([p.outputs[i].scalar for p in parts], at=at) for i in range(width)]


def united_entity(parts: list[Relation], *, at: exp.Expr) -> Entity:
    """Return what protects the rows: entities of one kind and of one stored type, so that equal is the same entity."""
    found = [p.entity for p in parts if p.entity is not None]
    first = found[0]
    same_kind = all(e.kind == first.kind for e in found)
    natives = {e.native for e in found}
    if not same_kind or not (natives <= _WHOLE or (len(natives) == 1 and "" not in natives)):
        labels = ", ".join(dict.fromkeys(f"{e.label} is {e.kind} ({e.native})" for e in found))
        refuse(
            f"the entities of a UNION differ: {labels}",
            rule="different_entities",
            cure="unite protected rows only of entity columns of one kind and type",
            at=at,
        )
    tables = dict.fromkeys(t.full_name for e in found for t in e.tables)
    by_name = {t.full_name: t for e in found for t in e.tables}
    return replace(first, tables=tuple(by_name[name] for name in tables))


def _column(parts: list[Scalar], *, at: exp.Expr) -> list[Scalar]:
    """Return one column of all parts in one type: the same for all; decimals, and decimals with doubles, as doubles.

    Raises:
        TemplateRefusedError: rule `type_mismatch`: nothing is converted that could change a value unasked.
    """
    types = {p.type for p in parts if p.type is not None}
    if not types:
        return parts
    to = ColumnType.DOUBLE if types in ({ColumnType.DECIMAL}, {ColumnType.DECIMAL, ColumnType.DOUBLE}) else None
    if to is None and len(types) == 1:
        to = next(iter(types))
    if to is None or to is ColumnType.OTHER:
        names = " and ".join(sorted(t.value for t in types))
        refuse(
            f"a column of a UNION is {names}",
            rule="type_mismatch",
            cure="cast it to one type in each part",
            at=at,
        )
    return [p if p.entity or p.type is None else _typed(p, to) for p in parts]


def _typed(part: Scalar, to: ColumnType) -> Scalar:
    """Return a part's column in the type of the union: what is no entity, which is never converted, or it were none."""
    typed = replace(cast(part, to), entity=False, count=part.count)
    return replace(typed, values=part.values) if part.type is to else typed


def known_of(parts: list[Scalar], reference: exp.Expr) -> Scalar:
    """Return what holds for a value of any part.

    Its public list holds those of all parts. That is sound whichever part a row is of, and also where rows are against
    what was declared: the list hangs on no row, and a row with a value outside of it is left out of groups by it, as of
    those by any column.
    """
    kind = next((p.type for p in parts if p.type is not None), None)
    values: tuple[exp.Expr, ...] | None = None
    if all(p.values is not None for p in parts):
        values = distinct_values((v for p in parts for v in p.values or ()), kind)
    typed = [p for p in parts if p.type is not None]
    return Scalar(
        sql=reference,
        type=kind,
        nullable=any(p.nullable for p in parts),
        size=1 + sum(p.size for p in parts),
        span=spans.either([p.span for p in typed]) if typed else OPEN,
        values=values,
        declared=values is not None,
        entity=all(p.entity for p in parts),
        noisy=any(p.noisy for p in parts),
        count=bool(typed) and all(p.count for p in typed),
    )


def _part(relation: Relation, number: int, typed: list[Scalar], *, hidden: tuple[str, ...], before: int) -> exp.Expr:
    """Return one part with its columns in the union's types and order, and its hidden columns in their places."""
    tree = relation.tree.copy()
    if not isinstance(tree, exp.Select):
        raise TypeError("a query's tree is a SELECT")
    own = {e.alias: e.this for e in tree.expressions if isinstance(e, exp.Alias)}
    listed = [named(s.sql, f"x{i}") for i, s in enumerate(typed)]
    if relation.entity_column is not None:
        listed.append(named(own[relation.entity_column], ENTITY))
    for place, name in enumerate(hidden):
        position = place - 1 - before
        if place == 0:
            listed.append(named(integer(number), name))
        elif 0 <= position < len(relation.identity):
            listed.append(named(own[relation.identity[position]], name))
        else:
            listed.append(named(exp.null(), name))
    tree.set("expressions", listed)
    return tree


def _stacked(
    trees: list[exp.Expr], outputs: tuple[Output, ...], hidden: tuple[str, ...], *, alias: str, entity: bool
) -> exp.Select:
    """Return the parts as one SELECT; each in brackets, since it may have ORDER BY and LIMIT of its own."""
    united: exp.Expr = exp.Subquery(this=trees[0])
    for tree in trees[1:]:
        united = exp.Union(this=united, expression=exp.Subquery(this=tree), distinct=False)
    names = [*(o.inner for o in outputs), *([ENTITY] if entity else []), *hidden]
    listed = [named(column(n, alias), n) for n in names]
    return exp.select(*listed).from_(aliased(united, alias), copy=False)
