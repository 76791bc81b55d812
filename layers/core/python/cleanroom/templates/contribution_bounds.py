"""How much one entity weighs in a measurement at most, and what the receipt says of it. Pure."""

from __future__ import annotations

from sqlglot import exp

from cleanroom.templates.domains import inside
from cleanroom.templates.draft import ContributionBounds
from cleanroom.templates.measurements import DraftColumn
from cleanroom.templates.parts import PartKind
from cleanroom.templates.refusals import refuse_missing_bounds
from cleanroom.templates.relations import Entity
from cleanroom.templates.scalars import Scalar


def contribution_bounds(
    protected: Entity, *, most_rows: int | None, grouped: bool, counts_rows: bool, at: exp.Expr
) -> ContributionBounds:
    """Return k and m: the largest that the owner declared for the protected tables in the join.

    Any declared pair is sound, for it only says to which norm contributions are clipped; the largest loses least.
    Where the query itself leaves an entity no more than `most_rows` rows, it is in no more groups, and has no more
    rows in one: then nothing need be declared, and less noise does.

    Raises:
        MissingBoundsError: none of the tables declares one that is needed.
    """
    groups = [t.policy.max_groups for t in protected.tables if t.policy.max_groups is not None]
    rows = [t.policy.max_rows for t in protected.tables if t.policy.max_rows is not None]
    names = " or ".join(t.full_name for t in protected.tables)
    if grouped and not groups and most_rows is None:
        refuse_missing_bounds(
            f"how many groups one entity may weigh is not declared for {names}",
            rule="missing_max_groups",
            cure=f"{protected.owner} declares max_groups, for one {protected.label}, in the policy of link_datasets",
            at=at,
        )
    if counts_rows and not rows and most_rows is None:
        refuse_missing_bounds(
            f"how many rows one entity may weigh in a group is not declared for {names}",
            rule="missing_max_rows",
            cure=f"{protected.owner} declares max_rows, for one {protected.label}, in the policy of link_datasets",
            at=at,
        )
    most = [] if most_rows is None else [most_rows]
    k = min([*([max(groups)] if groups else []), *most], default=1)
    m = min([*([max(rows)] if rows else []), *most], default=1)
    if grouped:
        return ContributionBounds(max_groups=k, max_rows=m)
    # One group holds all of an entity's weight: k groups of m rows weigh k m rows in one.
    return ContributionBounds(max_groups=1, max_rows=min([k * m, *most]))


def receipt_texts(
    protected: Entity,
    bounds: ContributionBounds,
    columns: list[DraftColumn],
    keys: tuple[Scalar, ...],
    *,
    public: bool,
    narrowed: bool,
) -> dict[str, str]:
    """Return the bounds for the receipt."""
    texts = {"entity": protected.label}
    if keys:
        texts["max groups per entity"] = str(bounds.max_groups)
        texts["group keys"] = "public" if public else "private"
    if narrowed or (public and any(inside(k) is not None for k in keys)):
        texts["rows with other keys"] = "left out: their values are not in the declared domain"
    if any(c.part.kind is not PartKind.ENTITIES for c in columns):
        texts["max rows per entity and group" if keys else "max rows per entity"] = str(bounds.max_rows)
    for c in columns:
        if c.bins is not None:
            texts[f"bins of {c.name}"] = f"{c.bins.number} of width {float(c.bins.width):g} from {float(c.bins.lo):g}"
        if c.part.kind is PartKind.DISTINCT:
            texts[f"values of {c.name}"] = (
                f"at most {bounds.max_groups * bounds.max_rows} different ones of an entity count, chosen by chance"
            )
        if c.grid is not None:
            texts[f"clamp of {c.name}"] = f"{float(c.grid.lo):g} to {float(c.grid.hi):g}"
    return texts
