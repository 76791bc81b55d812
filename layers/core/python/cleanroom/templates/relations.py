"""Relations as the compiler sees them: who owns the rows, which columns there are, and their DuckDB tree. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum

from sqlglot import exp

from cleanroom.rooms.native_types import element_of
from cleanroom.rooms.tables import Column, ColumnType, LinkedTable
from cleanroom.templates.public_values import with_null
from cleanroom.templates.refusals import refuse
from cleanroom.templates.scalars import MOST_ELEMENTS, Drawn, KeyPart, Scalar, native_name
from cleanroom.templates.trees import aliased, column, fragment

ENTITY = "entity"
"""Name of the hidden column that carries the entity out of a subquery."""

_FEW_COLUMNS = 3

_WITHIN_BIGINT = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})


class World(StrEnum):
    """What the rows of a relation are."""

    PUBLIC = "public"  # depends on no protected entity, as far as this reader goes
    OWNED = "owned"  # each row belongs to one entity, and depends on its rows and public data only
    RELEASED = "released"  # computed from noisy numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Entity:
    """What is protected in an Owned relation.

    Attributes:
        kind: of the values; two entity columns can be joined only if their kinds agree.
        owner: the party that protects it.
        label: for people, `column of table`.
        tables: the protected tables involved; their policies give the contribution bounds.
        native: the engine's type of the values as they are stored; empty where it is not one type.
    """

    kind: str
    owner: str
    label: str
    tables: tuple[LinkedTable, ...]
    native: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """Where the entity of a table's rows is found, for a table that is owned through a key.

    Attributes:
        parent: the Owned relation that the key leads to; it has an entity column, or a path of its own.
        columns: pairs of the table's column and the parent's, as the tables spell them.
        unique: the owner says that a key has one row of the parent.
    """

    parent: Relation
    columns: tuple[tuple[str, str], ...]
    unique: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """One column of a relation.

    Attributes:
        name: as the template names it.
        inner: its name in the relation's tree.
        scalar: what is known; `scalar.sql` is not used from outside.
    """

    name: str
    inner: str
    scalar: Scalar


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """A table, a subquery or a CTE.

    Attributes:
        world: what its rows are.
        tree: a table or a query, without alias.
        outputs: its columns.
        entity: for Owned ones.
        entity_column: the name of the entity in `tree`.
        path: where the entity is instead, for a table that is owned through a key.
        identity: for released ones: hidden columns of `tree` that name a row.
        bare: for released ones: the tree without its own WHERE, ORDER BY and LIMIT.
        most_rows_per_entity: for Owned ones: no entity has more rows, whatever the data; None where nothing is known.
        single: there is never more than one row.
    """

    world: World
    tree: exp.Expr
    outputs: tuple[Output, ...]
    entity: Entity | None = None
    entity_column: str | None = None
    path: Path | None = None
    identity: tuple[str, ...] = ()
    bare: exp.Expr | None = None
    most_rows_per_entity: int | None = None
    single: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A relation where it stands in FROM.

    Attributes:
        name: what the template calls it, lower case.
        alias: what the output calls it, unique in the whole plan.
        relation: the relation.
        columns: lower-case name -> what is known, in terms of `alias`; None for a name that two columns share.
        outer: an outer join may replace its rows by NULLs.
    """

    name: str
    alias: str
    relation: Relation
    columns: Mapping[str, Scalar | None] = field(default_factory=dict)
    outer: bool = False

    @property
    def tree(self) -> exp.Expr:
        """The item of FROM."""
        return aliased(self.relation.tree, self.alias)

    @property
    def entity(self) -> exp.Expr | None:
        """The entity of a row, where the relation is Owned."""
        name = self.relation.entity_column
        return None if name is None else column(name, self.alias)


def instantiate(relation: Relation, *, name: str, alias: str) -> Item:
    """Return the relation as an item of FROM, with columns in terms of its alias.

    A column keeps the size of the expression that it names: the engine puts that in its place wherever the column is
    used, so that expressions in CTEs above one another multiply.
    """
    columns: dict[str, Scalar | None] = {}
    for output in relation.outputs:
        reference = column(output.inner, alias)
        known = output.scalar
        drawn = known.drawn
        if relation.world is World.PUBLIC:
            drawn = Drawn(tag=(alias,), item=aliased(relation.tree, alias), expression=reference)
        elif drawn is not None:
            drawn = replace(drawn, tag=(alias, *drawn.tag))
        if relation.world is World.OWNED and relation.entity_column == output.inner:
            known = replace(known, entity=True)
        sql: exp.Expr = reference
        if isinstance(relation.tree, exp.Table):
            sql = known.sql.copy().transform(lambda n, a=alias: column(n.name, a) if isinstance(n, exp.Column) else n)
            known = replace(known, keys=frozenset(replace(k, origin=alias) for k in known.keys))
            if drawn is not None and relation.world is World.PUBLIC:
                drawn = replace(drawn, expression=sql)
        key = output.name.lower()
        duplicate = key in columns
        columns[key] = (
            None if duplicate else replace(known, sql=sql, drawn=drawn, constant=False, literal=None, whole=False)
        )
    return Item(name=name.lower(), alias=alias, relation=relation, columns=columns)


def made_optional(item: Item) -> Item:
    """Return the item as the optional side of an outer join: every column may be NULL, and is no entity any more."""
    columns: dict[str, Scalar | None] = {}
    for name, scalar in item.columns.items():
        if scalar is None:
            columns[name] = None
            continue
        drawn = replace(scalar.drawn, outer=True) if scalar.drawn is not None else None
        columns[name] = replace(
            scalar, nullable=True, values=with_null(scalar.values), drawn=drawn, entity=False, keys=frozenset()
        )
    return replace(item, columns=columns, outer=True)


def table_relation(
    table: LinkedTable,
    *,
    name: str,
    world: World,
    path: Path | None = None,
    keys: Mapping[str, frozenset[KeyPart]] | None = None,
) -> Relation:
    """Return a linked table as a relation.

    Args:
        table: what was linked.
        name: what the exact queries call it.
        world: PUBLIC or OWNED; an owned table has exactly one entity column, or a path.
        path: for one that is owned through a key.
        keys: lower-case column -> the declared keys that it is part of; for owned tables.
    """
    outputs = []
    for c in table.columns:
        sql, known_type = _standard(c.name, c.type, c.native_type)
        scalar = Scalar(sql=sql, type=known_type, nullable=c.nullable or sql.key != "column")
        element = element_of(c)
        if c.type is ColumnType.ARRAY:
            of = ColumnType.DOUBLE if element.type is ColumnType.DECIMAL else element.type
            scalar = replace(scalar, sql=_standard_array(c.name, element.native_type, of), element=of)
        bounds = table.policy.bounds.get(c.name.lower())
        if bounds is not None:
            scalar = replace(scalar, span=replace(scalar.span, lo=bounds.lo, hi=bounds.hi))
        domain = table.policy.domains.get(c.name.lower())
        if domain is not None:
            scalar = replace(scalar, values=tuple(_domain_literal(v, element.type) for v in domain.values))
        elif element.type is ColumnType.BOOLEAN:
            scalar = replace(scalar, values=(exp.false(), exp.true(), *([exp.null()] if element.nullable else [])))
        scalar = replace(scalar, keys=(keys or {}).get(c.name.lower(), frozenset()))
        outputs.append(Output(name=c.name, inner=c.name, scalar=scalar))
    entity = entity_column = None
    if path is not None and path.parent.entity is not None:
        entity = replace(path.parent.entity, tables=(table, *path.parent.entity.tables))
    elif world is World.OWNED:
        columns = [e.column if (f := table.column(e.column)) is None else f.name for e in table.entity_columns]
        # The label of a joined entity is no output: no template can name it, and it equals no other table's entity.
        entity_column = table.entity_label or columns[0]
        kind = table.entity_columns[0].kind if table.entity_label is None else f"joined entity of {table.full_name}"
        label = f"{' or '.join(columns)} of {table.full_name}"
        stored = table.column(entity_column)
        native = (
            "BIGINT" if table.entity_label is not None else stored.native_type.upper() if stored is not None else ""
        )
        entity = Entity(kind=kind, owner=table.owner, label=label, tables=(table,), native=native)
    return Relation(
        world=world,
        tree=exp.Table(this=exp.to_identifier(name, quoted=True)),
        outputs=tuple(outputs),
        entity=entity,
        entity_column=entity_column,
        path=path,
    )


def is_converted(of: Column) -> bool:
    """Return whether queries see the column through a conversion, in which two values may become one."""
    return _standard(of.name, of.type, of.native_type)[0].key != "column"


def _standard(name: str, kind: ColumnType, native: str) -> tuple[exp.Expr, ColumnType]:
    """Return the column in one of the engine's standard types; wider ones give NULL where they do not fit."""
    reference = column(name)
    wide = native.upper()
    if kind is ColumnType.INTEGER and wide not in _WITHIN_BIGINT:
        return exp.TryCast(this=reference, to=exp.DataType.build("BIGINT", dialect="duckdb")), kind
    if kind is ColumnType.TIMESTAMP and wide != "TIMESTAMP":
        return exp.TryCast(this=reference, to=exp.DataType.build("TIMESTAMP", dialect="duckdb")), kind
    return reference, kind


def _standard_array(name: str, native: str, kind: ColumnType) -> exp.Expr:
    """Return an array column's first elements in one of the engine's standard types; NULL for one that does not fit."""
    wanted = native_name(kind)
    changed = f"TRY_CAST(:a AS {wanted}[])" if native.upper() != wanted else ":a"
    return fragment(f"LIST_SLICE({changed}, 1, {MOST_ELEMENTS})", a=column(name))


def _domain_literal(value: str | int | bool, kind: ColumnType) -> exp.Expr:
    if isinstance(value, bool):
        return exp.true() if value else exp.false()
    if isinstance(value, int):
        literal = exp.Literal.number(str(abs(value)))
        return literal if value >= 0 else exp.Paren(this=exp.Neg(this=literal))
    text = exp.Literal.string(value)
    if kind in (ColumnType.DATE, ColumnType.TIMESTAMP):
        return exp.TryCast(this=text, to=exp.DataType.build(kind.value.upper(), dialect="duckdb"))
    return text


class RowScope:
    """Names in a SELECT before grouping: the columns of its FROM items."""

    def __init__(
        self,
        items: tuple[Item, ...],
        merged: Mapping[str, str] | None = None,
        *,
        subquery: Callable[[exp.Expr, RowScope], Scalar | None] | None = None,
        around: tuple[Item, ...] = (),
    ) -> None:
        """Take the items, and what may stand in an expression beside their columns.

        Args:
            items: of FROM.
            merged: USING column -> the item that answers for it.
            subquery: what a node that is a subquery becomes; None for other nodes.
            around: items of the query around this one, whose columns may be named where these have none of the name.
        """
        self.items = items
        self.correlated = False
        self.merged = merged or {}
        self._subquery = subquery
        self._around = around

    def whole(self, node: exp.Expr) -> Scalar | None:
        """Return what a subquery gives; nothing else is taken as a whole here."""
        return None if self._subquery is None else self._subquery(node, self)

    def outer(self, node: exp.Column) -> Scalar | None:
        """Return the column of the query around this one that the node names, or None."""
        if not self._around:
            return None
        found = RowScope(self._around).find(node)
        self.correlated = self.correlated or found is not None
        return found

    def find(self, node: exp.Column) -> Scalar | None:
        """Return the column that the node names, or None where there is none."""
        if node.args.get("db") or node.args.get("catalog") or not isinstance(node.this, exp.Identifier):
            return None
        name, of = node.name.lower(), node.table.lower()
        if not of and name in self.merged:
            of = self.merged[name]
        candidates = [i for i in self.items if name in i.columns and of in ("", i.name)]
        if len(candidates) > 1 or (candidates and candidates[0].columns[name] is None):
            refuse(
                f"the column {node.name} could be one of several",
                rule="ambiguous_column",
                cure="write it with the table's alias in front",
                at=node,
            )
        return candidates[0].columns[name] if candidates else None

    def named(self, node: exp.Column) -> list[Scalar]:
        """Return the columns that the node can mean if it stands here, or in a subquery that has no such name."""
        name, of = node.name.lower(), node.table.lower()
        found = [i.columns[name] for i in self.items if name in i.columns and of in ("", i.name)]
        return [scalar for scalar in found if scalar is not None]

    def _close_to(self, node: exp.Column) -> str:
        """Return the cure for an unknown column: up to three names of the schema that are close to it.

        Where none is close, what is named in front of it says all that it has, if that is little.
        """
        of = node.table.lower()
        seen = [i for i in self.items if of in ("", i.name)] or self.items
        names = {o.name.lower(): o.name for i in seen for o in i.relation.outputs}
        close = [names[n] for n in get_close_matches(node.name.lower()[:64], names, n=3)]
        if close:
            return f"write {' or '.join(close)}, if that was meant"
        if of and len(seen) == 1 and 0 < len(names) <= _FEW_COLUMNS:
            return f"write {' or '.join(f'{of}.{name}' for name in names)}: {of} has no other columns"
        return "see the linked tables' columns, and the aliases in FROM"

    def column(self, node: exp.Column) -> Scalar:
        """Return the column that the node names.

        Raises:
            TemplateRefusedError: rules `unknown_column`, `ambiguous_column`, `unsupported_type`.
        """
        found = self.find(node) or self.outer(node)
        if found is None:
            refuse(
                f"there is no column {node.sql(dialect='snowflake')} here",
                rule="unknown_column",
                cure=self._close_to(node),
                at=node,
            )
        if found.type is ColumnType.OTHER:
            refuse(
                f"the column {node.name} has a type that queries cannot use",
                rule="unsupported_type",
                cure="ask the owner to link the table with a simple type for it",
                at=node,
            )
        return found
