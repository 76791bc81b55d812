"""The exact query of one measurement: every entity's whole contribution is clipped to a norm, in integers. Pure.

Level 1 (`pairs`) groups by entity and keys. `norms` finds the entities above a bound; level 2 (`totals`) scales those
down and sums. Nothing is sampled, but groups of private keys above a hard limit.

Sums and counts are these. Different values and counts per bin have sources of their own (`wings.py`).

With k = max_groups, m = max_rows and c_g the entity's values in group g:
    Laplace:  v * (k m) // sum(c_g)    where sum(c_g) > k m,           so that the L1 norm is at most that of k m rows;
    Gaussian: v * W // 2^30            where sum(c_g^2) > k m^2, W = floor(2^30 sqrt(k) m / sqrt(sum(c_g^2))) - 1.
Columns of one vector count the same rows, so that all are scaled by the same k m / sum(c_g); in each group none is
above c_g times what one row weighs, so neither is the largest of them, and the sum of those over the groups is bounded.
Division rounds toward zero, so no scaled value exceeds its share. W is worked out in doubles: the true quotient is
below 2^30, each of the four roundings is below one part in 2^52, so the error is below one, which the -1 covers.
"""

from __future__ import annotations

from sqlglot import exp

from cleanroom.templates.domains import domain_query, key_name
from cleanroom.templates.draft import Draft
from cleanroom.templates.grid import Grid, clamped, clamped_whole, scaled, whole_steps
from cleanroom.templates.keyed_rows import counted, decoded, keyed_rows
from cleanroom.templates.measurements import DraftColumn
from cleanroom.templates.parts import PartKind, count_part
from cleanroom.templates.scalars import Scalar, native_type
from cleanroom.templates.scaling import clip_of, scaled_by, total
from cleanroom.templates.trees import aliased, bracketed, column, conjunction, fragment, integer, named, table
from cleanroom.templates.wings import COUNT_STEPS, bin_counts, distinct_values

HARD_LIMIT = 4
"""An entity is in at most this many times max_groups groups, where keys are private."""

_READ_OFTEN = ("above", "few")
"""CTEs, beside the pairs, that are worked out once."""

_EVERY_ENTITY = f"{PartKind.ENTITIES} "
"""The family of COUNT(DISTINCT entity): it counts one per entity and group, and needs no column of its own."""


def count_unit(draft: Draft) -> int:
    """Return the steps of one counted row or entity: 1 where scaling is exact (no group keys)."""
    return COUNT_STEPS if draft.keys else 1


def exact_query(draft: Draft) -> exp.Select:
    """Return the whole exact query of a measurement: keys, then measured columns, ordered by the keys.

    Its sources are `totals`, with all that is added up, and one more for each column of different values or of bins.
    """
    ctes: list[tuple[str, exp.Expr]] = []
    sources: dict[str, list[DraftColumn]] = {}
    added_up = additive(draft)
    if added_up:
        ctes.append(("pairs", _pairs(draft)))
        source = "pairs"
        if draft.factors is None:
            ctes += _hard_limited(draft)
            source = "kept"
        elif draft.keys:
            ctes.append(("norms", _norms(draft, table("pairs", "p"))))
        totals = _totals(draft, source)
        if not draft.keys and len(added_up) == len(draft.columns):
            return _with(totals, ctes)
        ctes.append(("totals", totals))
        sources["totals"] = added_up
    for number, c in enumerate(draft.columns):
        if c.part.kind is PartKind.DISTINCT:
            ctes += distinct_values(draft, c, name=f"d{number}")
            sources[f"d{number}"] = [c]
        elif c.part.kind is PartKind.BINS:
            ctes += bin_counts(draft, c, name=f"b{number}")
            sources[f"b{number}"] = [c]
    if draft.factors is not None and draft.keys:
        ctes.append(("domain", domain_query(draft.factors, [native_type(k) for k in draft.keys])))
    return _with(_joined(draft, sources), ctes)


def _joined(draft: Draft, sources: dict[str, list[DraftColumn]]) -> exp.Select:
    """Return the sources side by side: to the groups of a public domain, or else to those that there are."""
    keys = [key_name(p) for p in range(len(draft.keys))]
    first = "domain" if draft.factors is not None and keys else next(iter(sources))
    source_of = {c.name: source for source, columns in sources.items() for c in columns}
    answer = exp.select(*(named(column(n, first), n) for n in keys)) if keys else exp.Select()
    for c in draft.columns:
        value: exp.Expr = column(c.name, source_of[c.name])
        if source_of[c.name] != first and c.part.kind is not PartKind.BINS:
            value = fragment("COALESCE(:v, 0)", v=value)
        answer = answer.select(named(value, c.name), copy=False)
    answer = answer.from_(table(first), copy=False)
    for source in sources:
        if source == first:
            continue
        if not keys:  # one row each
            answer = answer.join(table(source), join_type="cross", copy=False)
            continue
        matches: list[exp.Expr] = [exp.NullSafeEQ(this=column(n, first), expression=column(n, source)) for n in keys]
        answer = answer.join(table(source), on=conjunction(matches), join_type="left", copy=False)
    if not keys:
        return answer
    return answer.order_by(*(exp.Ordered(this=column(n, first), nulls_first=False) for n in keys), copy=False)


def additive(draft: Draft) -> list[DraftColumn]:
    """Return the columns that are sums over an entity's rows in a group."""
    return [c for c in draft.columns if c.part.kind not in (PartKind.DISTINCT, PartKind.BINS)]


def _with(query: exp.Select, ctes: list[tuple[str, exp.Expr]]) -> exp.Select:
    for name, tree in ctes:
        query = query.with_(
            exp.to_identifier(name, quoted=True),
            as_=tree,
            materialized=True if name in _READ_OFTEN or name.endswith("pairs") else None,
            copy=False,
        )
    return query


def _families(draft: Draft) -> dict[str, str]:
    """Return count part -> column of `pairs` that holds that count; `entities` counts one per group."""
    families: dict[str, str] = {}
    for c in additive(draft):
        families.setdefault(_family(c), f"n{len(families)}")
    return families


def _family(c: DraftColumn) -> str:
    part = count_part(c.part) if c.part.kind is PartKind.SUM else c.part
    return f"{part.kind} {part.argument_key}"


def _pairs(draft: Draft) -> exp.Select:
    """Level 1: counts and sums per entity and group."""
    inner, declared = keyed_rows(draft)
    outer: list[exp.Expr] = [named(column("e", "r"), "e")]
    outer += [named(column(key_name(p), "r"), key_name(p)) for p in range(len(draft.keys))]
    families = _families(draft)
    counts: dict[str, exp.Expr] = {}
    for number, c in enumerate(additive(draft)):
        family, argument = _family(c), c.part.argument
        value, seen = f"v{number}", family in counts
        steps = None if argument is None or c.grid is None else whole_steps(argument, c.grid)
        if argument is not None and c.grid is not None:
            scaled_one = scaled(argument, c.grid, never_nan=c.part.never_nan) if steps is None else argument.sql
            inner = inner.select(named(scaled_one, value), copy=False)
        elif argument is not None and not seen:
            inner = inner.select(named(counted(argument), value), copy=False)
        count = counts.setdefault(family, _count(family, column(value, "r")))
        if argument is not None and c.grid is not None:
            total = _sum(column(value, "r"), argument, c.grid, steps=steps, count=count)
            outer.append(named(total, f"s{number}"))
        if not seen and family != _EVERY_ENTITY:
            outer.append(named(count, families[family]))
    group = [integer(i + 1) for i in range(1 + len(draft.keys))]
    pairs = exp.select(*outer).from_(aliased(inner, "r"), copy=False).group_by(*group, copy=False)
    return pairs.having(*declared, copy=False) if declared else pairs


def _count(family: str, value: exp.Expr) -> exp.Expr:
    """Return the count of an entity's rows in a group: all, or those with a value; or whether there is one."""
    if family.startswith(PartKind.ROWS):
        return fragment("COUNT(*)")
    if family.startswith(PartKind.VALUES):
        return fragment("COUNT(:v)", v=value)
    return fragment("CAST(COUNT(:v) > 0 AS BIGINT)", v=value)


def _sum(value: exp.Expr, argument: Scalar, grid: Grid, *, steps: int | None, count: exp.Expr) -> exp.Expr:
    """Return the sum of an entity's clamped values in a group, in steps from the middle.

    Whole numbers are added up as they are, and their sum is put on the grid: the same to the last step, for less work
    in each row. Others go on the grid one by one, since each is rounded.

    Args:
        value: in steps from the middle, or the whole number.
        argument: what it is of.
        grid: of that.
        steps: in 1, of whole numbers; None for others.
        count: of the values that are not NULL.
    """
    # Each value is at most 2^22 steps from zero, and from the middle, so a sum in 64 bits would need 2^40 rows of one
    # entity to overflow.
    if steps is None:
        return fragment("CAST(COALESCE(SUM_NO_OVERFLOW(:v), 0) AS BIGINT)", v=clamped(value, grid))
    each = clamped_whole(value, grid, nullable=argument.nullable)
    total = fragment("CAST(COALESCE(SUM_NO_OVERFLOW(:v), 0) AS BIGINT)", v=each)
    if steps > 1:
        total = fragment(":t * :s", t=total, s=integer(steps))
    if grid.middle:
        total = fragment(":t - :m * :n", t=total, m=integer(grid.middle), n=count)
    return total


def _hard_limited(draft: Draft) -> list[tuple[str, exp.Expr]]:
    """Return CTEs that leave each entity at most HARD_LIMIT * k groups, chosen by a hash with the run's secret.

    One pass over the pairs finds the entities that are `above` a bound, with their norms. Of those with too many
    groups, `few` has the groups that stay, and norms of their own; whoever else is `kept` as they are.
    """
    limit = integer(HARD_LIMIT * draft.bounds.max_groups)
    over, scales = _over(draft)
    groups = fragment("COUNT(*)")
    above = exp.select(column("e", "p"), named(groups, "groups"), *scales).from_(table("pairs", "p"), copy=False)
    above = above.group_by(column("e", "p"), copy=False).having(
        fragment(":o OR :g > :n", o=over, g=groups, n=limit), copy=False
    )
    many = fragment(":g > :n", g=column("groups", "a"), n=limit)
    big = exp.select(column("e", "a")).from_(table("above", "a"), copy=False).where(many, copy=False)
    names = [key_name(p) for p in range(len(draft.keys))]
    chosen = ["e", *names, *(n for n in _pair_columns(draft))]
    same = exp.EQ(this=column("e", "p"), expression=column("e", "b"))
    keyed = exp.Anonymous(
        this="hash", expressions=[exp.Placeholder(this="run_key"), column("e", "p"), *(column(n, "p") for n in names)]
    )
    rank = exp.Window(
        this=exp.RowNumber(),
        partition_by=[column("e", "p")],
        order=exp.Order(
            expressions=[exp.Ordered(this=t, nulls_first=False) for t in [keyed, *(column(n, "p") for n in names)]]
        ),
    )
    ranked = exp.select(*(column(n, "p") for n in chosen), named(rank, "rank")).from_(table("pairs", "p"), copy=False)
    ranked = ranked.join(table("big", "b"), on=same, join_type="semi", copy=False)
    within = fragment(":r <= :n", r=column("rank", "q"), n=limit)
    few = exp.select(*(column(n, "q") for n in chosen)).from_(aliased(ranked, "q"), copy=False)
    small = exp.select(*(column(n, "p") for n in chosen)).from_(table("pairs", "p"), copy=False)
    small = small.join(table("big", "b"), on=same, join_type="anti", copy=False)
    left = exp.select(*(column(n, "f") for n in chosen)).from_(table("few", "f"), copy=False)
    norms = exp.select(column("e", "a"), *(column(s.alias, "a") for s in scales)).from_(table("above", "a"), copy=False)
    norms = norms.where(exp.Not(this=bracketed(many)), copy=False)
    ctes: list[tuple[str, exp.Expr]] = [
        ("above", above),
        ("big", big),
        ("few", few.where(within, copy=False)),
        ("kept", exp.union(small, left, distinct=False)),
        ("norms", exp.union(norms, _norms(draft, table("few", "p")), distinct=False)),
    ]
    if len(additive(draft)) < len(draft.columns):  # what else is counted leaves out the same groups
        dropped = exp.select(*(column(n, "q") for n in ["e", *names])).from_(aliased(ranked, "q"), copy=False)
        ctes.append(("dropped", dropped.where(exp.Not(this=bracketed(within)), copy=False)))
    return ctes


def _pair_columns(draft: Draft) -> list[str]:
    counts = [name for family, name in _families(draft).items() if family != _EVERY_ENTITY]
    return [*counts, *(f"s{i}" for i, c in enumerate(additive(draft)) if c.part.kind is PartKind.SUM)]


def _norms(draft: Draft, pairs: exp.Expr) -> exp.Select:
    """Return per entity above a bound: for each family its norm (Laplace) or weight (Gaussian), NULL where within.

    Args:
        draft: the measurement.
        pairs: an item of FROM called `p`, with all pairs of every entity that is in it.
    """
    over, scales = _over(draft)
    norms = exp.select(named(column("e", "p"), "e"), *scales).from_(pairs, copy=False)
    return norms.group_by(column("e", "p"), copy=False).having(over, copy=False)


def _over(draft: Draft) -> tuple[exp.Expr, list[exp.Expr]]:
    """Return, as aggregates over the pairs `p` of an entity: whether it is above any bound, and its scales."""
    k, m = draft.bounds.max_groups, draft.bounds.max_rows
    scales: list[exp.Expr] = []
    above: list[exp.Expr] = []
    for family, name, gaussian in _scales(draft):
        entities = family == _EVERY_ENTITY
        count = integer(1) if entities else column(name, "p")
        rows = 1 if family.startswith(PartKind.ENTITIES) else m
        over, scale = clip_of(None if entities else count, groups=k, rows=rows, gaussian=gaussian)
        above.append(over)
        scales.append(named(fragment("CASE WHEN :o THEN :w END", o=over, w=scale), _scale_name(name, gaussian)))
    having = above[0]
    for condition in above[1:]:
        having = exp.Or(this=bracketed(having), expression=bracketed(condition))
    return having, scales


def _scales(draft: Draft) -> list[tuple[str, str, bool]]:
    """Return (family, its count column, gaussian) of all columns, each once."""
    families = _families(draft)
    seen = {(_family(c), families[_family(c)], c.gaussian): None for c in additive(draft)}
    return list(seen)


def _scale_name(count: str, gaussian: bool) -> str:
    return f"{'g' if gaussian else 'l'}_{count}"


def _totals(draft: Draft, source: str) -> exp.Select:
    """Level 2: scaled values summed per group, within +-2^62."""
    families = _families(draft)
    query = exp.Select().from_(table(source, "p"), copy=False)
    names = [key_name(p) for p in range(len(draft.keys))]
    if draft.keys:
        same = exp.EQ(this=column("e", "p"), expression=column("e", "w"))
        query = query.join(table("norms", "w"), on=same, join_type="left", copy=False)
        query = query.select(
            *(named(decoded(key, column(n, "p")), n) for n, key in zip(names, draft.keys, strict=True)), copy=False
        )
    unit = count_unit(draft)
    for number, c in enumerate(additive(draft)):
        family = _family(c)
        entities, every = family.startswith(PartKind.ENTITIES), family == _EVERY_ENTITY
        count = integer(1) if every else column(families[family], "p")
        value = column(f"s{number}", "p") if c.part.kind is PartKind.SUM else count
        steps = c.finer if c.vector is not None else 1 if c.part.kind is PartKind.SUM else unit
        if steps > 1:
            value = integer(steps) if every else _in_steps(value, steps)
        rows = draft.bounds.max_groups * (1 if entities else draft.bounds.max_rows)
        scale = _scale_name(families[family], c.gaussian)
        scaled = _scaled(draft, value, count=count, rows=rows, scale=scale, gaussian=c.gaussian)
        if entities and not draft.keys:
            scaled = value
        query = query.select(named(total(scaled), c.name), copy=False)
    if draft.keys:
        query = query.group_by(*(column(n, "p") for n in names), copy=False)
    return query


def _in_steps(value: exp.Expr, steps: int) -> exp.Expr:
    """Return a count or a sum in finer steps, within 64 bits: nearer to 0 where they would not hold it.

    Only a join with more than 2^35 rows for one entity comes there. It must not fail: that would tell of the entity.
    """
    most = 2**63 // steps - 1
    return fragment(
        "LEAST(GREATEST(:v, :lo), :hi) * :u", v=value, lo=integer(-most), hi=integer(most), u=integer(steps)
    )


def _scaled(draft: Draft, value: exp.Expr, *, count: exp.Expr, rows: int, scale: str, gaussian: bool) -> exp.Expr:
    """Return the value with its entity's whole contribution scaled down to the bound."""
    if not draft.keys:  # one group: its count is the norm, in L1 and in L2
        return fragment(
            "CASE WHEN :c > :b THEN CAST((CAST(:v AS HUGEINT) * :b) // :c AS BIGINT) ELSE :v END",
            c=count,
            b=integer(rows),
            v=value,
        )
    return scaled_by(column(scale, "w"), value, cap=rows, gaussian=gaussian)
