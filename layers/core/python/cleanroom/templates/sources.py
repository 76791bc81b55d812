"""What one SELECT reads, item by item: tables, subqueries, rows in the text, elements of arrays. Pure; under
`selects.py`.
"""

from __future__ import annotations

from sqlglot import exp

from cleanroom.templates.flattening import Flattened, flattened, written_elements
from cleanroom.templates.from_items import Alias, Resolve, Subquery, flat_from, item_of
from cleanroom.templates.joins import Joined
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.relations import Item, Relation, World, instantiate
from cleanroom.templates.subqueries import is_subquery
from cleanroom.templates.trees import integer, named
from cleanroom.templates.written import is_written, numbered


def joined_sources(
    node: exp.Select,
    *,
    resolve: Resolve,
    subquery: Subquery,
    alias: Alias,
    below: bool,
    where: list[exp.Expr],
) -> Joined:
    """Return what FROM of a SELECT joins.

    Args:
        node: the SELECT.
        resolve: a table reference -> its relation and default name.
        subquery: a SELECT in FROM -> its relation.
        alias: gives a fresh alias.
        below: this is not the outermost SELECT, and may do without FROM: it reads one row without columns. The
            outermost may where it holds a subquery.
        where: conjuncts of WHERE.

    Raises:
        TemplateRefusedError: rule `no_from`, a rule of ownership, or a source that is none of the above.
    """

    def item(part: exp.Expr) -> Item | Flattened:
        source = flattened(part)
        if source is None:
            return item_of(part, resolve=resolve, subquery=subquery, alias=alias)
        written = written_elements(source)
        if written is None:
            return source
        name = alias()
        return instantiate(subquery(written), name=source.name or name, alias=name)

    sources = [(item(part), join) for part, join in _sources(node, below=below)]
    if not sources or isinstance(sources[0][0], Flattened):
        name = alias()
        sources = [(instantiate(_one_row(), name=name, alias=name), None), *sources]
    items = _with_written([i for i, _ in sources], node, alias=alias)
    first = items[0]
    if isinstance(first, Flattened):
        raise AssertionError("a row is first")
    joined = Joined(first, alias=alias)
    for part, (_, join) in zip(items[1:], sources[1:], strict=True):
        if isinstance(part, Flattened):
            joined.flatten(part, join)
        else:
            joined.join(join or exp.Join(this=exp.Null(), kind="CROSS"), part, where=where)
    return joined


def _sources(node: exp.Select, *, below: bool) -> list[tuple[exp.Expr, exp.Join | None]]:
    """Return what FROM names, one by one, and the join that each came with; nothing where there need be no FROM."""
    source = node.args.get("from_")
    if source is None and (below or _has_subquery(node)):
        return []
    if not isinstance(source, exp.From):
        refuse(
            "a SELECT needs FROM",
            rule="no_from",
            cure="name a linked table; subqueries of one value may stand in the list without FROM",
            at=node,
        )
    only(source, {"this"})
    first, inner = flat_from(source.this)
    joins = [*inner, *(node.args.get("joins") or [])]
    views = node.args.get("laterals") or []
    return [(first, None), *((j.this, j) for j in joins), *((view, None) for view in views)]


def _has_subquery(node: exp.Select) -> bool:
    """Return whether an expression of the SELECT, or of one inside it, is a subquery."""
    return any(is_subquery(part) for part in node.walk() if part is not node)


def _with_written(items: list[Item | Flattened], node: exp.Select, *, alias: Alias) -> list[Item | Flattened]:
    """Return the items with numbers for rows that stand in the text, where they may meet noisy numbers."""
    relations = [i.relation for i in items if isinstance(i, Item)]
    noisy = any(r.world is World.RELEASED for r in relations)
    if not noisy and not (all(map(is_written, relations)) and _has_subquery(node)):
        return items
    world = World.RELEASED if noisy else World.PUBLIC
    return [
        instantiate(numbered(i.relation, alias=alias(), world=world), name=i.name, alias=i.alias)
        if isinstance(i, Item) and is_written(i.relation)
        else i
        for i in items
    ]


def _one_row() -> Relation:
    """Return the row that a SELECT without FROM reads: it depends on no data."""
    tree = exp.Select(expressions=[named(integer(1), "one")])
    return Relation(world=World.PUBLIC, tree=tree, outputs=(), single=True)
