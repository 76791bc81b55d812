"""The compiler: a rendered query becomes a plan, or a refusal. Pure.

Passes, in order: parse -> queries (names, ownership, expressions, measurements) -> charging (noise, exact SQL, price)
-> release query. With DP off, `plain.py` takes the place of the last two.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager

from sqlglot import exp

from cleanroom.privacy.noise import can_be_drawn
from cleanroom.rooms.settings import NoiseMechanism
from cleanroom.rooms.tables import LinkedTable
from cleanroom.templates.charge_book import Charges
from cleanroom.templates.charging import measurements_of
from cleanroom.templates.clipping import EstimateDraft, clipping_estimates
from cleanroom.templates.notes import notes_of
from cleanroom.templates.other_rows import without_other_rows
from cleanroom.templates.parse import canonical_text, parse
from cleanroom.templates.plan import Measurement, Plan, PostProcessing, TableUse
from cleanroom.templates.post_processing import (
    consistent_totals,
    nonnegative_columns,
    post_notes,
)
from cleanroom.templates.queries import Queries
from cleanroom.templates.refusals import refuse, refuse_rows
from cleanroom.templates.relations import Relation, World
from cleanroom.templates.release_query import release_query
from cleanroom.templates.template import CompileContext, RenderedQuery, Template
from cleanroom.templates.trees import TooMuchWorkError, limited_work

OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""While a query is compiled; the interpreter's own number is 700 to 2,000."""


def compile_query(rendered: RenderedQuery, *, template: Template, context: CompileContext) -> Plan:
    """Return the plan of a rendered query.

    Args:
        rendered: exactly one SELECT, and the tables it may name.
        template: for its sensitivity.
        context: the reader and its effective settings.

    Returns:
        The plan; its price is final.

    Raises:
        TemplateRefusedError: the query has no private meaning that can be proved; with rule and cure.
        MissingBoundsError: the owner has not declared a bound that is needed.
        TableNotLinkedError: the query names a table that is not linked.
    """
    try:
        with limited_work(), _collecting_seldom():
            return _compiled(rendered, template=template, context=context)
    except TooMuchWorkError:
        refuse(
            "what is asked for together is too long to be worked out",
            rule="too_large",
            cure="give a long expression a name in a CTE, or ask for fewer aggregates or grouping sets in one query",
        )
    except RecursionError:
        pass  # refused below, outside: an exception in flight would carry a deep traceback along
    refuse("the query is nested too deeply", rule="too_large", cure="make the query smaller")


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Look for garbage seldom: trees are many objects in circles, and looking was up to half of the time.

    Should two queries be compiled at once, it may stay so afterwards, which does no harm.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], OBJECTS_BETWEEN_COLLECTIONS), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _compiled(rendered: RenderedQuery, *, template: Template, context: CompileContext) -> Plan:
    tree = parse(rendered.sql, dialect=rendered.dialect)
    settings = context.settings
    charges = Charges(
        epsilon=settings.epsilon * template.sensitivity,
        gaussian=settings.noise_mechanism is NoiseMechanism.GAUSSIAN,
        delta=settings.delta,
        at_least=settings.threshold_value if settings.threshold else 0,
    )
    room_tables = (*context.source_tables, *context.my_tables, *context.room_tables, *rendered.tables.values())
    queries = Queries(
        tables=rendered.tables,
        room_tables={t.full_name.lower(): t for t in room_tables},
        reader=context.reader,
        differential=settings.differential,
        exempt=context.exempt,
        charges=charges,
        consistent=context.consistent_totals and settings.differential,
    )
    text = canonical_text(tree, dialect=rendered.dialect)
    if not settings.differential:
        if context.clipping_share is not None:
            refuse(
                "with differential privacy off nothing is cut off",
                rule="clipping_estimate",
                cure="leave clipping_estimate out",
            )
        if context.nonnegative_counts or context.consistent_totals:
            refuse(
                "with differential privacy off no count is negative, and totals agree with their parts",
                rule="post_processing",
                cure="leave post_processing out",
            )
        return _plain(queries, without_other_rows(tree), text)
    relation = queries.outermost(tree)
    _check_released(relation, tree)
    estimates: list[EstimateDraft] = []
    if context.clipping_share is not None:
        estimates = clipping_estimates(queries.drafts, share=context.clipping_share, charges=charges)
    measurements, trees = measurements_of(queries.drafts, estimates=estimates, selection_delta=settings.delta)
    answering = measurements[: len(queries.drafts)]
    _check_noise(measurements)
    _check_apart(relation, measurements, exact=trees)
    post = PostProcessing(
        nonnegative=nonnegative_columns(relation) if context.nonnegative_counts else (),
        consistent=consistent_totals(queries.drafts) if context.consistent_totals else (),
    )
    owners = tuple(dict.fromkeys(t.owner for d in queries.drafts for t in d.protected.tables))
    return Plan(
        differential=True,
        sql=text,
        tables=table_uses(queries.used, trees),
        measurements=measurements,
        release=release_query(relation, measured=((m.name, _noisy_columns(m)) for m in answering)),
        parts=tuple(charges.parts),
        entity=", ".join(dict.fromkeys(d.protected.label for d in queries.drafts)),
        protected_owners=owners,
        notes=(*notes_of(queries.drafts, answering), *post_notes(post)),
        post=post,
    )


def _plain(queries: Queries, tree: exp.Select, text: str) -> Plan:
    """Return the plan with DP off."""
    plain = queries.plain(tree)
    _check_names((c.name for c in plain.release.columns), tree)
    _check_noise([plain.measurement])
    return Plan(
        differential=False,
        sql=text,
        tables=table_uses(queries.used, [plain.exact]),
        measurements=(plain.measurement,),
        release=plain.release,
        parts=plain.parts,
        exact_columns=plain.exact_columns,
        notes=plain.notes,
    )


def _check_released(relation: Relation, tree: exp.Select) -> None:
    """Refuse a query whose answer is rows, or has nothing protected in it (B-38)."""
    if relation.world is World.OWNED:
        refuse_rows(tree)
    if relation.world is World.PUBLIC:
        refuse(
            "the query reads no protected table",
            rule="nothing_protected",
            cure="name a table of the other party",
            at=tree,
        )
    _check_names((o.name for o in relation.outputs), tree)


def _check_apart(relation: Relation, measurements: Iterable[Measurement], *, exact: Iterable[exp.Expr]) -> None:
    """Refuse a release query that would read a table, and exact queries that would read noisy numbers.

    No rule lets one pass, and this holds if one is wrong.
    """
    noisy = {m.name for m in measurements}
    above = (relation.tree, relation.bare or relation.tree)
    if any(t.name not in noisy for tree in above for t in tree.find_all(exp.Table)) or any(
        t.name in noisy for tree in exact for t in tree.find_all(exp.Table)
    ):
        refuse(
            "noisy numbers and tables cannot meet: what is released is computed apart from all tables",
            rule="join_noisy_with_table",
            cure="join tables below the aggregation",
        )


def _check_noise(measurements: Iterable[Measurement]) -> None:
    """Refuse noise that could not be drawn: a tiny epsilon, or bounds that are too wide for it."""
    for measurement in measurements:
        for c in measurement.columns:
            if not all(can_be_drawn(noise) for noise in (c.noise, c.other_noise) if noise is not None):
                refuse(
                    f"the noise of {c.meaning} would be too large for any number to be told from it",
                    rule="too_much_noise",
                    cure="spend more epsilon, or have narrower bounds declared",
                )


def _check_names(names: Iterable[str], tree: exp.Select) -> None:
    seen: set[str] = set()
    for place, name in enumerate(names):
        if name.lower() in seen:
            refuse(
                f"two output columns are called {name}",
                rule="duplicate_column",
                cure="give each an alias of its own",
                at=tree.expressions[place] if place < len(tree.expressions) else tree,
            )
        seen.add(name.lower())


def _noisy_columns(measurement: Measurement) -> tuple[str, ...]:
    names = [c.name for c in measurement.columns if c.bins is None] + [q.name for q in measurement.quantiles]
    other = () if measurement.other_row is None else (measurement.other_row,)
    return (*measurement.keys, *other, *names)


def table_uses(used: Mapping[str, LinkedTable], queries: Sequence[exp.Expr]) -> tuple[TableUse, ...]:
    """Return each table with the columns that the exact queries name, in file order, a joined entity's label last.

    Args:
        used: relation -> table.
        queries: the exact queries.
    """
    named: dict[str, set[str]] = {}
    for tree in queries:
        relation_of: dict[str, str] = {}
        references: list[tuple[str, str]] = []
        for node in tree.walk():
            if isinstance(node, exp.Table) and node.name in used:
                relation_of[node.alias] = node.name
                named.setdefault(node.name, set())
            elif isinstance(node, exp.Column):
                references.append((node.table, node.name))
        for alias, name in references:
            if alias in relation_of:
                named[relation_of[alias]].add(name)
    return tuple(
        TableUse(
            relation=relation,
            table=table,
            columns=_columns_named(table, named[relation]) or (table.columns[0].name,),
        )
        for relation, table in used.items()
        if relation in named
    )


def _columns_named(table: LinkedTable, names: Set[str]) -> tuple[str, ...]:
    label = table.entity_label
    hidden = (label,) if label is not None and label in names else ()
    return (*(c.name for c in table.columns if c.name in names), *hidden)
