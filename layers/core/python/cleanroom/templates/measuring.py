"""One SELECT with aggregates over protected rows becomes one measurement, and a released relation above it. Pure."""

from __future__ import annotations

from math import prod

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.bins import MOST_CELLS
from cleanroom.templates.charge_book import Book, Charges
from cleanroom.templates.contribution_bounds import contribution_bounds, receipt_texts
from cleanroom.templates.domains import key_name, public_domain
from cleanroom.templates.draft import Draft
from cleanroom.templates.expressions import translate
from cleanroom.templates.grouping import GroupScope, as_key, group_keys
from cleanroom.templates.grouping_sets import grouping_set_of
from cleanroom.templates.other_rows import OTHER, refuse_without_selection
from cleanroom.templates.parts import PartKind
from cleanroom.templates.post_processing import check_agreeing, listed_rows
from cleanroom.templates.refusals import refuse
from cleanroom.templates.relations import Relation, World
from cleanroom.templates.scalars import Scalar, require
from cleanroom.templates.selects import Rows, Wanted, finished
from cleanroom.templates.subqueries import Read, subquery_value
from cleanroom.templates.trees import column, conjunction, fragment, integer, table
from cleanroom.templates.windows import Windows, WindowScope, qualified


def measured_select(
    rows: Rows,
    wanted: Wanted,
    keys: list[tuple[str, Scalar]],
    *,
    name: str,
    alias: str,
    charges: Charges,
    inner: Read,
    other: exp.Expr | None = None,
    consistent: bool = False,
) -> tuple[Relation, Draft]:
    """Return the released relation of a grouped SELECT over protected rows, and its measurement.

    `other` is the or_other that asks for the groups that are not shown as a row of their own; None where nothing does.
    With `consistent`, all sets of a query with grouping sets have the same rows, and their counts are no whole numbers.

    Raises:
        TemplateRefusedError: an aggregate without a private form, a column that is no key, too many groups.
        MissingBoundsError: a contribution bound or a range is not declared.
    """
    if rows.protected is None or rows.entity is None:
        raise AssertionError("protected rows have an entity")
    grouping = grouping_set_of(wanted.node) if consistent else None
    book = Book(rows.scope, charges, other=other is not None, whole=grouping is None)
    for part in wanted.parts:
        book.collect(part)
    key_scalars = tuple(k for _, k in keys)
    factors = public_domain(key_scalars, at=wanted.node)
    if other is not None and factors is not None:
        refuse_without_selection(other, public=True)
    at_least = max(charges.at_least, *(t.policy.min_entities for t in rows.protected.tables))
    select, narrowed = rows.select, False
    if grouping is not None:
        check_agreeing(factors, at_least=at_least, at=wanted.node)
        conditions = listed_rows(group_keys(grouping.dropped, rows.scope), at=wanted.node)
        narrowed = bool(conditions)
        select = select.where(*conditions)
    entities = book.close(private=factors is None, at_least=at_least)
    bounds = contribution_bounds(
        rows.protected,
        most_rows=rows.most_rows_per_entity,
        grouped=bool(keys),
        counts_rows=any(c.part.kind is not PartKind.ENTITIES for c in book.columns),
        at=wanted.node,
    )
    draft = Draft(
        name=name,
        rows=select,
        entity=rows.entity,
        protected=rows.protected,
        keys=key_scalars,
        columns=tuple(book.columns),
        bounds=bounds,
        factors=factors,
        entities_column=entities,
        at_least=at_least,
        texts=receipt_texts(
            rows.protected, bounds, book.columns, key_scalars, public=factors is not None, narrowed=narrowed
        )
        | ({} if other is None else {"other row": "the groups that are not shown, together"}),
        other=other is not None,
        counts_distinct=book.counts_distinct,
        grouping=grouping,
        most_rows=rows.most_rows_per_entity,
    )
    is_other = None if other is None else column(OTHER, alias)
    _check_cells(draft, at=wanted.node)
    above = [(f, as_key(k, column(key_name(i), alias), other=draft.other)) for i, (f, k) in enumerate(keys)]
    scope = GroupScope(
        rows.scope,
        above,
        lambda node: book.value(node, measurement=name, alias=alias),
        subquery=lambda node, names: subquery_value(node, names, rows.around.above(World.RELEASED), read=inner),
        other=is_other,
    )
    row = [*(column(key_name(i), alias) for i in range(len(keys))), *([] if is_other is None else [is_other])]
    numbers = Windows(world=World.RELEASED, entity=None, ties=tuple(row))
    listed = WindowScope(scope, numbers)
    outputs = [translate(e, listed) for e in wanted.expressions]
    order = [
        exp.Ordered(this=translate(o.this, listed).sql, desc=o.args["desc"], nulls_first=o.args["nulls_first"])
        for o in wanted.order
    ]
    filters: list[exp.Expr] = []
    if factors is not None and at_least > 0 and entities is not None:
        filters.append(fragment(":n >= :least", n=column(entities, alias), least=integer(at_least)))
    if is_other is not None and at_least > 0:
        filters.append(book.large_enough(is_other, at_least, bounds=bounds, alias=alias))
    if wanted.having is not None:
        having = require(
            translate(wanted.having, scope), frozenset({ColumnType.BOOLEAN}), what="HAVING", at=wanted.having
        )
        filters.append(having.sql)
    bare = exp.Select().from_(table(name, alias))
    condition = conjunction(filters)
    relation = finished(
        wanted,
        outputs,
        select=bare.where(condition) if condition is not None else bare,
        bare=bare,
        order=order,
        identity=tuple(row),
        world=World.RELEASED,
        single=not keys,
        qualify=None if wanted.qualify is None else qualified(wanted.qualify, listed),
    )
    return relation, draft


def _check_cells(draft: Draft, *, at: exp.Expr) -> None:
    """Refuse more counts per bin than the noise function can hold, as far as the declared groups tell.

    Raises:
        TemplateRefusedError: rule `too_many_groups`.
    """
    groups = prod(len(f.values) for f in draft.factors or () if f.values is not None)
    cells = groups * sum(c.bins.nodes for c in draft.columns if c.bins is not None)
    if cells > MOST_CELLS:
        refuse(
            f"quantiles of {groups} groups need {cells} counts, and {MOST_CELLS} is the most",
            rule="too_many_groups",
            cure="group by fewer keys, or by coarser ones, or ask for the quantiles of fewer columns",
            at=at,
        )
