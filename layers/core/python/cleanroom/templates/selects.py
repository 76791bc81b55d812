"""Walks a SELECT bottom-up: FROM, joins, WHERE, grouping and list become a relation; aggregates over protected rows
become measurements. The order of the passes over one SELECT is the order of the functions here. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.addnoise import is_addnoise
from cleanroom.templates.aggregates import is_aggregate
from cleanroom.templates.conditions import conjuncts, where_condition
from cleanroom.templates.expressions import translate
from cleanroom.templates.fingerprints import without_aliases
from cleanroom.templates.from_items import Alias, Resolve, Subquery
from cleanroom.templates.function_rules import literal_integer
from cleanroom.templates.other_rows import is_is_other
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.relations import ENTITY, Entity, Output, Relation, RowScope, World
from cleanroom.templates.scalars import Scalar
from cleanroom.templates.sources import joined_sources
from cleanroom.templates.subqueries import Around, Read, is_subquery, subquery_value
from cleanroom.templates.trees import column, integer, is_written_out, named
from cleanroom.templates.windows import has_window, inside_window, most_rows
from cleanroom.templates.written import is_written

MOST_PARTS = 8_000

CLAUSES = {
    "with_",
    "expressions",
    "from_",
    "joins",
    "laterals",
    "where",
    "group",
    "having",
    "order",
    "limit",
    "offset",
    "kind",
    "distinct",
    "qualify",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """What FROM and WHERE of one SELECT give.

    Attributes:
        select: a SELECT with FROM, joins and WHERE, and no expressions yet.
        scope: names.
        around: the rows, for the subqueries in expressions.
        entity: of a row, where Owned.
        identity: of a row, where released.
        bare: as `select`, without WHERE.
        most_rows_per_entity: where Owned: no entity has more rows; None where nothing is known.
        single: there is never more than one row.
        correlated: WHERE names columns of the query around.
        tied: these are protected rows of the entity of the query around.
    """

    select: exp.Select
    scope: RowScope
    around: Around
    entity: exp.Expr | None
    identity: tuple[exp.Expr, ...]
    bare: exp.Select
    most_rows_per_entity: int | None = None
    single: bool = False
    correlated: bool = False
    tied: bool = False

    @property
    def world(self) -> World:
        """What the rows are: rows that stand in the text become released beside a subquery of noisy numbers."""
        return self.around.world

    @property
    def protected(self) -> Entity | None:
        """What protects the rows, where Owned: also the tables that subqueries in expressions read so far."""
        return self.around.protected


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a SELECT asks for, with aliases resolved.

    Attributes:
        names: of the output columns.
        expressions: of the list.
        keys: of GROUP BY.
        having: or None.
        order: expressions with their direction.
        grouped: whether it aggregates.
        qualify: or None.
        windowed: whether a window function is in the list, ORDER BY or QUALIFY.
        limit, offset: or None.
    """

    names: tuple[str, ...]
    expressions: tuple[exp.Expr, ...]
    keys: tuple[exp.Expr, ...]
    having: exp.Expr | None
    order: tuple[exp.Ordered, ...]
    grouped: bool
    qualify: exp.Expr | None
    windowed: bool
    limit: int | None
    offset: int | None
    node: exp.Select = field(repr=False)

    @property
    def parts(self) -> list[exp.Expr]:
        """All expressions above the rows: the list, HAVING, ORDER BY and QUALIFY."""
        filters = [f for f in (self.having, self.qualify) if f is not None]
        return [*self.expressions, *filters, *(o.this for o in self.order)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Star:
    """What `*` stands for in one SELECT.

    Attributes:
        over_tables: whether it may stand for the columns of tables, and not only for those of released relations.
        names: lower-case names that can be asked for above; None where all columns are needed.
    """

    over_tables: bool
    names: frozenset[str] | None = None


def rows_of(
    node: exp.Select,
    *,
    resolve: Resolve,
    subquery: Subquery,
    inner: Read,
    alias: Alias,
    below: bool,
    around: Around | None = None,
) -> Rows:
    """Return the rows of FROM, JOIN and WHERE.

    Args:
        node: the SELECT.
        resolve: a table reference -> its relation and default name.
        subquery: a SELECT in FROM -> its relation.
        inner: a subquery in an expression, and the rows around it -> what it gives.
        alias: gives a fresh alias.
        below: this is not the outermost SELECT, and may do without FROM: it reads one row without columns. The
            outermost may where it holds a subquery.
        around: the rows around, where this SELECT is a subquery in an expression.

    Raises:
        TemplateRefusedError: a rule of ownership, or a source that is no linked table, CTE or subquery.
    """
    only(node, CLAUSES)
    where = node.args.get("where")
    conditions = conjuncts(where.this) if where is not None else []
    joined = joined_sources(node, resolve=resolve, subquery=subquery, alias=alias, below=below, where=conditions)
    tie = None if around is None else joined.tie(around.items, around.entity, conditions)
    joined.finish()
    rows = Around(
        world=joined.world,
        items=tuple(joined.items),
        entity=joined.entity,
        protected=joined.protected,
        written=all(i.relation.identity and is_written(i.relation) for i in joined.items),
    )

    def expression(part: exp.Expr, scope: RowScope) -> Scalar | None:
        return subquery_value(part, scope, rows, read=inner) if is_subquery(part) else None

    scope = RowScope(tuple(joined.items), joined.merged, subquery=expression)
    bare = select = joined.select
    correlated = False
    if where is not None:
        inside = RowScope(
            tuple(joined.items), joined.merged, subquery=expression, around=() if around is None else around.items
        )
        select = select.where(where_condition(where, inside))
        correlated = inside.correlated
    if tie is not None:
        select = select.where(tie)
    most = joined.most_rows
    if len(joined.items) == 1 and around is None:  # a row's number among its entity's rows, from below
        numbers = [n for c in conditions if (n := most_rows(c, scope)) is not None]
        most = min([*numbers, *([most] if most is not None else [])], default=None)
    identity = [column(n, i.alias) for i in scope.items for n in i.relation.identity]
    return Rows(
        select=select,
        scope=scope,
        around=rows,
        entity=joined.entity,
        identity=tuple(identity),
        bare=bare,
        most_rows_per_entity=most if joined.world is World.OWNED else None,
        single=joined.single,
        correlated=correlated,
        tied=joined.tied,
    )


def wanted_of(node: exp.Select, rows: Rows, *, star: Star) -> Wanted:
    """Return what the SELECT asks for, with ordinals and aliases replaced by what they stand for.

    Args:
        node: from the parser.
        rows: what it reads.
        star: what `*` over tables stands for.

    Raises:
        TemplateRefusedError: rules `star`, `unsupported_clause`, `bad_ordinal`.
    """
    kind = node.args.get("kind")
    if kind:
        refuse("this kind of SELECT is not supported", rule="unsupported_clause", cure="write SELECT", at=node)
    names: list[str] = []
    expressions: list[exp.Expr] = []
    aliases: dict[str, exp.Expr] = {}
    for position, entry in enumerate(node.expressions):
        if _is_star(entry):
            for name, expression in _expanded(entry, rows, star=star):
                names.append(name)
                expressions.append(expression)
            continue
        expression, name = entry, ""
        if isinstance(entry, exp.Alias):
            only(entry, {"this", "alias"})
            expression, name = entry.this, entry.alias
            aliases[name.lower()] = expression
        elif isinstance(entry, exp.Column):
            name = entry.name
        names.append(name or f"column_{position + 1}")
        expressions.append(expression)

    def plain(part: exp.Expr, *, aliases_first: bool) -> exp.Expr:
        ordinal = part.unnest()
        if isinstance(ordinal, exp.Literal) and not ordinal.is_string:
            text = str(ordinal.this)
            if not text.isdigit() or not 1 <= int(text) <= len(expressions):
                refuse(
                    "an ordinal must be a position in the SELECT list",
                    rule="bad_ordinal",
                    cure="name the column",
                    at=part,
                )
            return expressions[int(text) - 1]
        return without_aliases(part, aliases=aliases, rows=rows.scope, aliases_first=aliases_first)

    group = node.args.get("group")
    keys: list[exp.Expr] = []
    if group is not None:
        only(group, {"expressions", "all"})
        keys = [plain(k, aliases_first=False) for k in group.expressions]
        if group.args.get("all"):
            keys = [e for e in expressions if not _aggregates(e) and not isinstance(e.unnest(), exp.Literal)]
    having = node.args.get("having")
    having_part = None
    if having is not None:
        having_part = without_aliases(having.this, aliases=aliases, rows=rows.scope, aliases_first=False)
    qualify = node.args.get("qualify")
    qualify_part = None
    if qualify is not None:
        qualify_part = without_aliases(qualify.this, aliases=aliases, rows=rows.scope, aliases_first=False)
    order = node.args.get("order")
    ordered: list[exp.Ordered] = []
    for entry in order.expressions if order is not None else []:
        only(entry, {"this", "desc", "nulls_first"})
        ordered.append(
            exp.Ordered(
                this=plain(entry.this, aliases_first=True),
                desc=bool(entry.args.get("desc")),
                nulls_first=bool(entry.args.get("nulls_first")),
            )
        )
    distinct = node.args.get("distinct")
    if distinct is not None:  # each combination once: a group by all that is selected
        only(distinct, {"expressions"})
        if distinct.expressions or group is not None or having is not None or any(map(_aggregates, expressions)):
            refuse(
                "DISTINCT with GROUP BY, an aggregate or ON is not supported",
                rule="unsupported_clause",
                cure="leave DISTINCT out, or put the grouped query in a subquery and select DISTINCT from it",
                at=node,
            )
        keys = list(expressions)
    filters = [f for f in (having_part, qualify_part) if f is not None]
    everything = [*expressions, *filters, *(o.this for o in ordered)]
    windowed = any(map(has_window, everything))
    if distinct is not None and windowed:
        refuse(
            "DISTINCT with a window function is not supported",
            rule="unsupported_clause",
            cure="put the window in a subquery and select DISTINCT from it",
            at=node,
        )
    if qualify_part is not None and not has_window(qualify_part):
        refuse("QUALIFY needs a window function", rule="window", cure="use WHERE or HAVING", at=qualify)
    return Wanted(
        names=tuple(names),
        expressions=tuple(expressions),
        keys=tuple(keys),
        having=having_part,
        order=tuple(ordered),
        grouped=distinct is not None
        or group is not None
        or having is not None
        or any(_aggregates(e) for e in everything),
        qualify=qualify_part,
        windowed=windowed,
        limit=_count(node.args.get("limit"), rows),
        offset=_count(node.args.get("offset"), rows),
        node=node,
    )


def _is_star(entry: exp.Expr) -> bool:
    return isinstance(entry, exp.Star) or (isinstance(entry, exp.Column) and isinstance(entry.this, exp.Star))


def _expanded(entry: exp.Expr, rows: Rows, *, star: Star) -> list[tuple[str, exp.Expr]]:
    """Return the columns that a star stands for; those of a type that queries cannot use are none.

    Arrays are columns only where what is named above is all that counts. A column that USING merged stands there once.
    Where only some names can be asked for above, only those stand there, so that a table's other columns are not read.
    """
    if rows.world is World.OWNED and not star.over_tables:
        refuse(
            "SELECT * over protected tables asks for their rows, and a template releases aggregates alone",
            rule="star",
            cure="aggregate, as in SELECT COUNT(*) AS n, and do not group by the entity column; a CTE or subquery may "
            "say * under a SELECT that aggregates",
            at=entry,
        )
    if rows.world is not World.RELEASED and not star.over_tables:
        refuse(
            "SELECT * over tables is not supported here: what a template releases does not grow with a table",
            rule="star",
            cure="name the columns; a CTE or subquery may say * under a SELECT that names them",
            at=entry,
        )
    only(entry if isinstance(entry, exp.Star) else entry.this, ())
    of = entry.args["table"].name.lower() if isinstance(entry, exp.Column) and entry.args.get("table") else ""
    found: list[tuple[str, exp.Expr]] = []
    for item in rows.scope.items:
        if of not in ("", item.name):
            continue
        for output in item.relation.outputs:
            name = output.name.lower()
            merged_elsewhere = not of and rows.scope.merged.get(name, item.name) != item.name
            kind = output.scalar.type
            if kind is ColumnType.OTHER or merged_elsewhere or (kind is ColumnType.ARRAY and star.names is None):
                continue
            reference = exp.column(
                exp.to_identifier(output.name, quoted=True), table=exp.to_identifier(item.name, quoted=True)
            )
            found.append((output.name, reference))
    if not found:
        refuse("the star stands for nothing", rule="unknown_column", cure="name the columns", at=entry)
    named_above = [(n, e) for n, e in found if star.names is None or n.lower() in star.names]
    return named_above or found[:1]


def _aggregates(node: exp.Expr) -> bool:
    if is_subquery(node):
        return False
    if isinstance(node, exp.Window):
        return any(map(_aggregates, inside_window(node)))
    whole = is_aggregate(node) or is_addnoise(node) or is_is_other(node)
    return whole or any(map(_aggregates, node.iter_expressions()))


def _count(node: exp.Expr | None, rows: Rows) -> int | None:
    if node is None:
        return None
    only(node, {"expression"})
    return literal_integer(
        node.args.get("expression"), lambda n: translate(n, rows.scope), least=0, most=10**9, what="LIMIT and OFFSET"
    )


def finished(
    wanted: Wanted,
    outputs: list[Scalar],
    *,
    select: exp.Select,
    bare: exp.Select,
    order: list[exp.Ordered],
    identity: tuple[exp.Expr, ...],
    world: World,
    entity: exp.Expr | None = None,
    protected: Entity | None = None,
    most_rows_per_entity: int | None = None,
    single: bool = False,
    qualify: exp.Expr | None = None,
) -> Relation:
    """Return the relation of a SELECT whose parts are translated.

    Args:
        wanted: names, LIMIT and OFFSET.
        outputs: the translated list.
        select: FROM, WHERE, GROUP BY and HAVING.
        bare: the same without what filters the answer.
        order: translated.
        identity: expressions that name a row of a released relation.
        world: of the result.
        entity: the hidden entity of an Owned result.
        protected: what it is.
        most_rows_per_entity: of an Owned result, where it is known.
        single: there is never more than one row.
        qualify: translated.
    """
    columns = [
        Output(name=n, inner=f"x{i}", scalar=s) for i, (n, s) in enumerate(zip(wanted.names, outputs, strict=True))
    ]
    hidden = [(f"i{i}", tree) for i, tree in enumerate(identity)]
    if entity is not None:
        hidden.append((ENTITY, entity))
    listed = [named(o.scalar.sql, o.inner) for o in columns] + [named(tree, name) for name, tree in hidden]
    tree = select.select(*listed)
    if qualify is not None:
        tree.set("qualify", exp.Qualify(this=qualify.copy()))
    order = [o for o in order if not is_written_out(o.this)]
    if world is World.PUBLIC and not single and (wanted.limit is not None or wanted.offset is not None):
        # Which rows remain must not be the engine's chance, which the rows of others have a hand in. Rows that agree
        # in all that is selected can be exchanged. As names, for what a UNION makes of a column is what is seen of it.
        order = [*order, *(exp.Ordered(this=exp.column(exp.to_identifier(o.inner, quoted=True))) for o in columns)]
    if order:
        tree = tree.order_by(*(o.copy() for o in order))
    if wanted.limit is not None:
        tree = tree.limit(integer(wanted.limit))
    if wanted.offset is not None:
        tree = tree.offset(integer(wanted.offset))
    if sum(1 for _ in tree.walk()) > MOST_PARTS:  # CTEs that use one another twice would double at each level
        refuse("the query is too large once its CTEs are put in", rule="too_large", cure="use each CTE fewer times")
    return Relation(
        world=world,
        tree=tree,
        outputs=tuple(columns),
        entity=protected,
        entity_column=ENTITY if entity is not None else None,
        identity=tuple(name for name, _ in hidden) if entity is None else (),
        # Windows are over the rows that remain: without the filter they would be over others.
        bare=(select if wanted.windowed else bare).select(*listed),
        most_rows_per_entity=most_rows_per_entity,
        single=single or wanted.limit in (0, 1),
    )
