"""Gives every measured column its noise: pure epsilon adds up, Gaussian columns share one rho. Pure.

Columns of a vector have one noise, for the epsilon that is paid for all of them.

All Gaussian columns of a run are one vector: their epsilons and deltas are added, the sum becomes one zCDP parameter
by the tight conversion, and that is split in proportion to the epsilons paid.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from sqlglot import exp

from cleanroom.privacy.accounting import DELTA_STEPS, WINDOW_DELTA_STEPS, price_of
from cleanroom.privacy.calibration import cube_noise, gaussian_noise, gaussian_rho, laplace_noise, other_noise
from cleanroom.privacy.noise import DiscreteCube, Noise, can_be_drawn
from cleanroom.privacy.partition_selection import threshold
from cleanroom.templates.bounding import HARD_LIMIT, count_unit, exact_query
from cleanroom.templates.clipping import EstimateDraft, clipping_of
from cleanroom.templates.domains import key_name
from cleanroom.templates.draft import Draft
from cleanroom.templates.measurements import DraftColumn
from cleanroom.templates.other_rows import OTHER
from cleanroom.templates.parts import PartKind
from cleanroom.templates.plan import MeasuredColumn, Measurement, PartitionSelection
from cleanroom.templates.refusals import refuse
from cleanroom.templates.trees import to_sql
from cleanroom.templates.wings import COUNT_STEPS


def measurements_of(
    drafts: list[Draft], *, selection_delta: Fraction, estimates: list[EstimateDraft] | None = None
) -> tuple[tuple[Measurement, ...], list[exp.Expr]]:
    """Return the finished measurements, and the trees of their exact queries.

    Args:
        drafts: all of the run: the Gaussian share of each depends on the others.
        selection_delta: spent by each selection of private groups.
        estimates: measured for the clipping note; they come last.

    Raises:
        TemplateRefusedError: rule `too_much_delta`.
    """
    estimates = estimates or []
    drafts = [_drawable(d) for d in drafts]
    gaussian = [c for d in drafts for c in d.columns if c.gaussian]
    gaussian += [c for e in estimates for c in e.columns if c.gaussian]
    epsilon = sum((c.epsilon for c in gaussian), Fraction(0))
    delta = sum((c.delta for c in gaussian), Fraction(0))
    whole_delta = delta + selection_delta * sum(d.factors is None for d in drafts)
    if whole_delta > Fraction(WINDOW_DELTA_STEPS, DELTA_STEPS):
        refuse(
            f"the run's Gaussian columns and private groups cost a delta of {float(whole_delta):g}, "
            "and a budget window has 0.001",
            rule="too_much_delta",
            cure="ask for fewer Gaussian columns, or for less delta each",
        )
    rho_per_epsilon = gaussian_rho(epsilon=epsilon, delta=delta) / epsilon if gaussian else Fraction(0)
    trees: list[exp.Expr] = [exact_query(d) for d in drafts]
    measurements = tuple(
        _measurement(d, tree, rho_per_epsilon=rho_per_epsilon, selection_delta=selection_delta)
        for d, tree in zip(drafts, trees, strict=True)
    )
    measurements += tuple(_estimate(e, rho_per_epsilon=rho_per_epsilon) for e in estimates)
    return measurements, [*trees, *(e.tree for e in estimates)]


def _estimate(draft: EstimateDraft, *, rho_per_epsilon: Fraction) -> Measurement:
    """Return a measurement for the clipping note: each column counts an entity at most once over all classes."""
    columns = []
    for c in draft.columns:
        noise: Noise
        if c.gaussian:
            noise = gaussian_noise(l2_squared=1, rho=rho_per_epsilon * c.epsilon)
        else:
            noise = laplace_noise(l1_sensitivity=1, epsilon=c.epsilon)
        columns.append(
            MeasuredColumn(
                name=c.name,
                meaning="entities by how much a bound cuts off from them",
                unit=Fraction(1),
                is_count=True,
                noise=noise,
                norm="l2" if c.gaussian else "l1",
                sensitivity=1,
                price=price_of(epsilon=c.epsilon, delta=c.delta),
            )
        )
    return Measurement(
        name=draft.name,
        exact_sql=to_sql(draft.tree),
        keys=(key_name(0),),
        columns=tuple(columns),
        bounds=draft.texts,
        estimate=draft.estimate,
    )


def _measurement(draft: Draft, tree: exp.Expr, *, rho_per_epsilon: Fraction, selection_delta: Fraction) -> Measurement:
    columns = tuple(_measured(draft, c, rho_per_epsilon=rho_per_epsilon) for c in draft.columns)
    selection = None
    if draft.factors is None and draft.entities_column is not None:
        entities = next(c for c in columns if c.name == draft.entities_column)
        tau = threshold(
            noise=entities.noise,
            unit=count_unit(draft),
            delta=selection_delta,
            max_groups=draft.bounds.max_groups,
            hard_limit=HARD_LIMIT * draft.bounds.max_groups,
            at_least=draft.at_least,
        )
        selection = PartitionSelection(column=entities.name, tau=tau, delta=selection_delta)
    return Measurement(
        name=draft.name,
        exact_sql=to_sql(tree),
        keys=tuple(key_name(p) for p in range(len(draft.keys))),
        columns=columns,
        partition_selection=selection,
        quantiles=tuple(q for c in draft.columns for q in c.quantiles),
        bounds=draft.texts,
        clipping=clipping_of(draft),
        other_row=OTHER if draft.other else None,
    )


def _drawable(draft: Draft) -> Draft:
    """Return the draft with the columns of a vector by themselves, at the same shares, where it could not be drawn.

    That is at an epsilon of hundreds, or where an entity may have millions of rows.
    """
    noises = {c.name: _vector_noise(draft, c)[0] for c in draft.columns if c.vector is not None}
    columns = tuple(c if c.name not in noises or can_be_drawn(noises[c.name]) else c.alone() for c in draft.columns)
    return replace(draft, columns=columns)


def _vector_noise(draft: Draft, c: DraftColumn) -> tuple[DiscreteCube, int]:
    """Return the noise of the vector that a column is in, for all that is paid for its columns, and its sensitivity."""
    columns = [other for other in draft.columns if other.vector == c.vector]
    sensitivity = draft.bounds.max_groups * draft.bounds.max_rows * c.row_weight
    epsilon = sum((other.epsilon for other in columns), Fraction(0))
    return cube_noise(sensitivity=sensitivity, epsilon=epsilon, dimension=len(columns)), sensitivity


def _measured(draft: Draft, c: DraftColumn, *, rho_per_epsilon: Fraction) -> MeasuredColumn:
    k, m = draft.bounds.max_groups, draft.bounds.max_rows
    rows = 1 if c.part.kind is PartKind.ENTITIES else m
    step, unit = _step(draft, c)
    levels = 1 if c.bins is None else c.bins.levels  # each row is counted once on each level of the bins' tree
    noise: Noise
    if c.vector is not None:
        noise, sensitivity = _vector_noise(draft, c)
    elif c.gaussian:
        sensitivity = levels * k * (rows * step) ** 2
        noise = gaussian_noise(l2_squared=sensitivity, rho=rho_per_epsilon * c.epsilon)
    else:
        sensitivity = levels * k * rows * step
        noise = laplace_noise(l1_sensitivity=sensitivity, epsilon=c.epsilon)
    other = draft.other and c.name != draft.entities_column
    return MeasuredColumn(
        name=c.name,
        meaning=_meaning(c),
        unit=unit,
        is_count=c.grid is None and c.whole,
        noise=noise,
        norm="l1_max" if c.vector is not None else "l2" if c.gaussian else "l1",
        sensitivity=sensitivity,
        price=price_of(epsilon=c.epsilon, delta=c.delta),
        bins=c.bins,
        other_noise=other_noise(noise, most_groups=HARD_LIMIT * k) if other else None,
        vector=c.vector,
    )


def _step(draft: Draft, c: DraftColumn) -> tuple[int, Fraction]:
    """Return what one row weighs at most, in steps, and what one step is worth."""
    if c.vector is not None:
        return c.row_weight, (Fraction(1) if c.grid is None else c.grid.unit) / c.finer
    if c.grid is not None:
        return c.grid.heaviest, c.grid.unit
    if c.part.kind is PartKind.DISTINCT:  # never scaled
        return 1, Fraction(1)
    steps = COUNT_STEPS if c.part.kind is PartKind.BINS else count_unit(draft)
    return steps, Fraction(1, steps)


def _meaning(c: DraftColumn) -> str:
    """Say what is measured, for people; literals are left out."""
    match c.part.kind:
        case PartKind.ROWS:
            return "rows"
        case PartKind.ENTITIES:
            return "entities" if c.part.argument is None else "entities with such a row"
        case PartKind.VALUES:
            return "values that are not NULL"
        case PartKind.DISTINCT:
            return "different values"
        case PartKind.BINS:
            return f"values in each of {c.bins.number if c.bins else 0} bins"
    if c.grid is not None and c.grid.centred:
        return f"sum around {float(c.grid.middle * c.grid.unit):g}"
    return "sum"
