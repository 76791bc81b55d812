"""INTERSECT and EXCEPT: rows of one relation that are, or are not, in another. Pure.

A row stays by what both parts say of rows that are equal to it. Protected rows are compared with their entity among the
columns, so that equal rows are of one entity and no other has a say.
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from cleanroom.templates.ownership import same_exact_type
from cleanroom.templates.refusals import refuse
from cleanroom.templates.relations import ENTITY, Output, Relation, World
from cleanroom.templates.scalars import Scalar
from cleanroom.templates.trees import aliased, column, named
from cleanroom.templates.unions import known_of, typed_columns, united_entity


def rows_kept(
    first: Relation, second: Relation, *, kind: type[exp.SetOperation], distinct: bool, alias: str, at: exp.Expr
) -> Relation:
    """Return the rows of `first` that are (INTERSECT) or are not (EXCEPT) in `second`.

    Args:
        first: whose rows they are.
        second: of the same world; public rows may stand here beside protected ones.
        kind: `exp.Intersect` or `exp.Except`.
        distinct: each row once; else as often as the two parts say (ALL).
        alias: for the result as an item of FROM.
        at: for refusals.

    Raises:
        TemplateRefusedError: rules `union_of_worlds`, `union_of_entities`, `different_entities`, `union_columns`,
            `type_mismatch`.
    """
    word = "INTERSECT" if kind is exp.Intersect else "EXCEPT"
    owned = first.world is World.OWNED
    if first.world is not second.world and not (owned and second.world is World.PUBLIC):
        refuse(
            f"{word} of protected rows, public rows or noisy numbers with one another",
            rule="union_of_worlds",
            cure="put the protected rows first, or aggregate each part alone",
            at=at,
        )
    columns = typed_columns([first, second], at=at)
    entity = place = None
    if owned:
        entity = first.entity if second.world is World.PUBLIC else united_entity([first, second], at=at)
        place = next((i for i, pair in enumerate(columns) if _same_entity(pair, second.world)), None)
        if place is None:
            refuse(
                f"{word} of protected rows without their entity: rows of different entities would be one",
                rule="union_of_entities",
                cure="select the entity column in both parts, at the same place",
                at=at,
            )
    known = [known_of(pair, column(f"x{i}", alias)) for i, pair in enumerate(columns)]
    outputs = tuple(
        Output(name=o.name, inner=f"x{i}", scalar=replace(s, entity=s.entity or i == place))
        for i, (o, s) in enumerate(zip(first.outputs, known, strict=True))
    )
    hidden = {ENTITY: f"x{place}"} if owned else {}
    if first.world is World.RELEASED:
        hidden = {f"i{i}": o.inner for i, o in enumerate(outputs)}
    parts = [_part(relation, [pair[n] for pair in columns]) for n, relation in enumerate((first, second))]
    kept = kind(this=exp.Subquery(this=parts[0]), expression=exp.Subquery(this=parts[1]), distinct=distinct)
    listed = [named(column(o.inner, alias), o.inner) for o in outputs]
    listed += [named(column(inner, alias), name) for name, inner in hidden.items()]
    tree = exp.select(*listed).from_(aliased(kept, alias), copy=False)
    return Relation(
        world=first.world,
        tree=tree,
        outputs=outputs,
        entity=entity,
        entity_column=ENTITY if owned else None,
        identity=() if owned else tuple(hidden),
        bare=tree,
        most_rows_per_entity=first.most_rows_per_entity,
        single=first.single,
    )


def _same_entity(pair: list[Scalar], second: World) -> bool:
    """Return whether equal values of a column are one entity: it is the entity on the left, and on the right, too.

    A public column has no entity; compared exactly with one, it says whether public rows name it.
    """
    left, right = pair
    return left.entity and (right.entity if second is World.OWNED else same_exact_type(left, right))


def _part(relation: Relation, typed: list[Scalar]) -> exp.Select:
    """Return one part with its visible columns alone, in the common types."""
    tree = relation.tree.copy()
    if not isinstance(tree, exp.Select):
        raise TypeError("a query's tree is a SELECT")
    tree.set("expressions", [named(s.sql, f"x{i}") for i, s in enumerate(typed)])
    return tree
