"""The release query: what stands above the measurements, as it is, and once per replicate for error bars. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from sqlglot import exp

from cleanroom.templates.plan import ReleaseColumn, ReleaseQuery
from cleanroom.templates.relations import Output, Relation
from cleanroom.templates.trees import aliased, column, named, table, to_sql


def release_query(relation: Relation, *, measured: Iterable[tuple[str, tuple[str, ...]]]) -> ReleaseQuery:
    """Return the release query of a released relation.

    Args:
        relation: of the outermost SELECT.
        measured: each measurement's name with the columns of its noisy table.
    """
    identity = _hidden_names(relation)
    tree = _renamed(relation.tree, relation, identity)
    columns = tuple(_release_column(o) for o in relation.outputs)
    interval = None
    if any(c.role == "derived" for c in columns):
        bare = relation.bare if relation.bare is not None else relation.tree
        interval = to_sql(replicated(_renamed(bare, relation, identity), dict(measured)))
    return ReleaseQuery(sql=to_sql(tree), interval_sql=interval, columns=columns, identity=tuple(identity.values()))


def _hidden_names(relation: Relation) -> dict[str, str]:
    """Return inner identity column -> a name that no visible column has."""
    taken = {o.name.lower() for o in relation.outputs}
    names = {}
    for number, inner in enumerate(relation.identity):
        name = f"identity_{number}"
        while name in taken:
            name += "_"
        taken.add(name)
        names[inner] = name
    return names


def _renamed(tree: exp.Expr, relation: Relation, identity: dict[str, str]) -> exp.Expr:
    """Return the query with its columns under the names that the template gives them."""
    shown = {o.inner: o.name for o in relation.outputs} | identity
    renamed = tree.copy()
    for entry in renamed.args["expressions"]:
        if isinstance(entry, exp.Alias):
            entry.set("alias", exp.to_identifier(shown[entry.alias], quoted=True))
    return renamed


def _release_column(output: Output) -> ReleaseColumn:
    scalar = output.scalar
    role: Literal["key", "measured", "derived"] = "derived" if scalar.noisy else "key"
    if scalar.measured is None:
        return ReleaseColumn(name=output.name, role=role)
    measurement, name = scalar.measured
    return ReleaseColumn(name=output.name, role="measured", measurement=measurement, column=name)


def replicated(tree: exp.Expr, measured: dict[str, tuple[str, ...]]) -> exp.Expr:
    """Return the query once per replicate: each noisy table is narrowed to the replicate's rows.

    Args:
        tree: over the noisy tables.
        measured: noisy table -> its columns, without `replicate`.
    """

    def narrowed(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Table) or node.name not in measured:
            return node
        names = measured[node.name]
        rows = exp.select(*(named(column(n, "s"), n) for n in names)).from_(table(node.name, "s"))
        rows = rows.where(exp.EQ(this=column("replicate", "s"), expression=column("replicate", "replicates")))
        return aliased(rows, node.alias)

    first = next(iter(measured))
    replicates = exp.select(named(column("replicate", "s"), "replicate")).distinct().from_(table(first, "s"))
    answer = tree.transform(narrowed)
    columns = [named(column("replicate", "replicates"), "replicate")]
    columns += [named(column(e.alias, "q"), e.alias) for e in answer.args["expressions"]]
    lateral = exp.Lateral(
        this=exp.Subquery(this=answer), alias=exp.TableAlias(this=exp.to_identifier("q", quoted=True))
    )
    return exp.select(*columns).from_(aliased(replicates, "replicates")).join(lateral, join_type="cross")
