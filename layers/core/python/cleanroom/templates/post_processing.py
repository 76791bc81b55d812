"""Post-processing that a caller asks for: counts that are not negative, totals that agree with their parts. Pure.

Which numbers it concerns follows from the query. `use_cases/` does it, to noisy numbers; nobody pays for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from cleanroom.templates.domains import Factor, inside, public_domain
from cleanroom.templates.draft import Draft
from cleanroom.templates.parts import PartKind
from cleanroom.templates.plan import ConsistentTotals, PostProcessing
from cleanroom.templates.refusals import refuse
from cleanroom.templates.relations import Relation
from cleanroom.templates.scalars import Scalar

ADDITIVE = frozenset({PartKind.ROWS, PartKind.VALUES, PartKind.SUM})
"""What a total has of its groups together. An entity, or a value, can be in several groups."""

MOST_AXES = 12
"""Different keys of all sets together."""

MOST_COMPONENTS = 512
"""Subsets of keys, over all sets and numbers: as many averages are compared, each over up to 4 million simulated rows,
at about 20 ns a row. The noise function has a minute for all."""


def nonnegative_columns(relation: Relation) -> tuple[str, ...]:
    """Return the released columns that are counts as they were measured.

    Raises:
        TemplateRefusedError: rule `post_processing`: there is none.
    """
    names = tuple(o.name for o in relation.outputs if o.scalar.count)
    if not names:
        refuse(
            "nonnegative_counts was asked for, and no released column is a count as it was measured",
            rule="post_processing",
            cure="leave it out, or write GREATEST(x, 0) for a number that the query computes",
        )
    return names


def check_agreeing(factors: tuple[Factor, ...] | None, *, at_least: int, at: exp.Expr) -> None:
    """Refuse groups that totals could not agree with: all of them must be there, and every combination of keys.

    Args:
        factors: the public domain of a set's keys; None for private ones.
        at_least: entities that a group must have to appear; 0 for none.
        at: for refusals.

    Raises:
        TemplateRefusedError: rule `post_processing`.
    """
    if factors is None:
        refuse(
            "totals cannot agree with their parts where groups are left out: a key is private",
            rule="post_processing",
            cure="leave consistent_totals out; or the owner declares domains for the keys with link_datasets",
            at=at,
        )
    if at_least:
        refuse(
            "totals cannot agree with their parts where groups are left out: a smallest group is set",
            rule="post_processing",
            cure="leave consistent_totals out",
            at=at,
        )
    if any(len(f.keys) > 1 for f in factors):
        refuse(
            "totals of two keys from one public table cannot be made to agree: not every combination is a group",
            rule="post_processing",
            cure="leave consistent_totals out, or group by one of them",
            at=at,
        )


def listed_rows(dropped: Iterable[tuple[str, Scalar]], *, at: exp.Expr) -> list[exp.Expr]:
    """Return conditions that a total has no rows but those of its parts: whose other keys are in their domains, too.

    Args:
        dropped: the keys that other sets have.
        at: for refusals.

    Raises:
        TemplateRefusedError: rule `post_processing`: one of them is private.
    """
    conditions = []
    for _, key in dropped:
        check_agreeing(public_domain((key,), at=at), at_least=0, at=at)
        condition = inside(key)
        if condition is not None:
            conditions.append(condition)
    return conditions


def consistent_totals(drafts: Iterable[Draft]) -> tuple[ConsistentTotals, ...]:
    """Return which measurements belong together, query by query.

    Raises:
        TemplateRefusedError: rule `post_processing`: there are no totals of parts, or too many keys.
    """
    by_query: dict[int, list[Draft]] = {}
    for draft in drafts:
        if draft.grouping is not None:
            by_query.setdefault(draft.grouping.of, []).append(draft)
    found = tuple(totals for sets in by_query.values() if (totals := _together(sets)) is not None)
    if not found:
        refuse(
            "consistent_totals was asked for, and the query has no totals of parts that add up",
            rule="post_processing",
            cure="leave it out, or write GROUP BY ROLLUP (…), CUBE (…) or GROUPING SETS (…) over COUNT, SUM or AVG",
        )
    return found


def _together(sets: list[Draft]) -> ConsistentTotals | None:
    keys = [d.grouping.keys for d in sets if d.grouping is not None]
    axes = {text: number for number, text in enumerate(dict.fromkeys(text for own in keys for text in own))}
    columns = [[c for c in d.columns if c.part.kind in ADDITIVE] for d in sets]
    if len(axes) > MOST_AXES or sum(2 ** len(k) for k in keys) * max(len(columns[0]), 1) > MOST_COMPONENTS:
        refuse(
            "the grouping sets have too many keys for totals to be made to agree",
            rule="post_processing",
            cure="leave consistent_totals out, or group by fewer keys, or ask for fewer numbers",
        )
    if len(sets) < 2 or not columns[0]:
        return None
    kinds = [[c.part.kind for c in listed] for listed in columns]
    if any(k != kinds[0] for k in kinds):
        raise AssertionError("all grouping sets measure the same numbers")
    sizes: list[int | None] = [None] * len(axes)
    for draft, own in zip(sets, keys, strict=True):
        for factor in draft.factors or ():
            if factor.values is not None:
                sizes[axes[own[factor.keys[0]]]] = len(factor.values)
    return ConsistentTotals(
        measurements=tuple(d.name for d in sets),
        keys=tuple(tuple(axes[text] for text in own) for own in keys),
        sizes=tuple(sizes),
        columns=tuple(tuple(c.name for c in same) for same in zip(*columns, strict=True)),
    )


def post_notes(post: PostProcessing) -> tuple[str, ...]:
    """Return sentences that say what was done."""
    notes = []
    if post.consistent:
        notes.append(
            "totals and their parts were made to agree by weighted least squares over the noisy numbers: counts and "
            "sums are no longer what was measured, and no whole numbers; their intervals are those of what is shown"
        )
    if post.nonnegative:
        notes.append(
            f"counts below 0 are shown as 0 ({', '.join(post.nonnegative)}): sums of many shown counts are too large; "
            "what the query computes from counts was computed before"
        )
    return tuple(notes)
