"""Exact queries of columns that are no sums over entities: different values, and counts per bin. Pure.

Different values are kept, not scaled: of each entity at most k m pairs of (group, value), and with Gaussian noise at
most m of them in one group. An entity then changes the number of different values of group g by at most t_g, the pairs
that it keeps there, whatever the others have: |A or B| - |A| <= |B|. So the L1 norm of the change is at most the sum of
all t_g, k m, and the square of its L2 norm at most max(t_g) * sum(t_g) <= m * k m. Which pairs are kept depends on the
entity's own rows and on a hash with the run's secret.

Counts per bin are scaled like any count, by the entity's count in the *whole group*: the bins of a group hold together
what the group holds, and every node above bins adds up bins, so that with n_g values in group g
    L1: the sum over bins is the sum of n_g;    L2: the sum of squares over any nodes of a group is at most n_g^2.
One weight for all levels therefore bounds each level's norm, and the level above is the sum of the level below.
"""

from __future__ import annotations

from sqlglot import exp

from cleanroom.privacy.bins import CELL_LIMIT, Bins
from cleanroom.templates.bins import bin_of
from cleanroom.templates.domains import key_name
from cleanroom.templates.draft import Draft
from cleanroom.templates.keyed_rows import counted, decoded, keyed_rows, standard_key
from cleanroom.templates.measurements import DraftColumn
from cleanroom.templates.scaling import clip_of, scaled_by, total
from cleanroom.templates.trees import aliased, column, fragment, integer, named, table

Ctes = list[tuple[str, exp.Expr]]

COUNT_STEPS = 1024
"""Steps of one counted row or entity, where counts may be scaled."""


def distinct_values(draft: Draft, c: DraftColumn, *, name: str) -> Ctes:
    """Return CTEs whose last, `name`, has the keys and the number of different values."""
    if c.part.argument is None:
        raise AssertionError("different values have an argument")
    keys = [key_name(p) for p in range(len(draft.keys))]
    k, m = draft.bounds.max_groups, draft.bounds.max_rows
    inner, declared = keyed_rows(draft)
    there = counted(c.part.argument)
    value = standard_key(c.part.argument).sql
    inner = inner.select(named(value, "x"), named(there, "there"), copy=False)
    pairs = exp.select(*(named(column(n, "r"), n) for n in ["e", *keys, "x"])).from_(aliased(inner, "r"), copy=False)
    pairs = pairs.where(fragment(":t IS NOT NULL", t=column("there", "r")), copy=False)
    for condition in declared:
        pairs = pairs.where(condition, copy=False)
    pairs = _limited(draft, pairs.group_by(*(column(n, "r") for n in ["e", *keys, "x"]), copy=False))
    per_group = exp.select(column("e", "p"), named(fragment("COUNT(*)"), "n")).from_(
        table(f"{name}_pairs", "p"), copy=False
    )
    per_group = per_group.group_by(*(column(n, "p") for n in ["e", *keys]), copy=False)
    big = exp.select(column("e", "g")).from_(aliased(per_group, "g"), copy=False).group_by(column("e", "g"), copy=False)
    over = fragment("SUM(:n) > :all", n=column("n", "g"), all=integer(k * m))
    if c.gaussian:
        over = fragment(":o OR MAX(:n) > :one", o=over, n=column("n", "g"), one=integer(m))
    big = big.having(over, copy=False)
    kept = _ranked(table(f"{name}_pairs", "p"), keys, semi=table(f"{name}_big", "b"))
    if c.gaussian:
        kept = _within(kept, keys, by=["e", *keys], most=m)
        kept = _within(kept, keys, by=["e"], most=k * m)
    else:
        kept = _within(kept, keys, by=["e"], most=k * m)
    small = exp.select(*(column(n, "p") for n in ["e", *keys, "x"])).from_(table(f"{name}_pairs", "p"), copy=False)
    small = small.join(table(f"{name}_big", "b"), on=_same("p", "b"), join_type="anti", copy=False)
    chosen = exp.select(*(column(n, "q") for n in ["e", *keys, "x"])).from_(aliased(kept, "q"), copy=False)
    answer = exp.Select().from_(table(f"{name}_kept", "v"), copy=False)
    answer = answer.select(
        *(named(decoded(key, column(n, "v")), n) for n, key in zip(keys, draft.keys, strict=True)),
        named(fragment("COUNT(DISTINCT :x)", x=column("x", "v")), c.name),
        copy=False,
    )
    if keys:
        answer = answer.group_by(*(column(n, "v") for n in keys), copy=False)
    return [
        (f"{name}_pairs", pairs),
        (f"{name}_big", big),
        (f"{name}_kept", exp.union(small, chosen, distinct=False)),
        (name, answer),
    ]


def _limited(draft: Draft, pairs: exp.Select) -> exp.Select:
    """Return the pairs without those of private groups that the hard limit left out for their entity.

    Otherwise an entity could still weigh in a group that only exists because of another one.
    """
    if draft.factors is not None:
        return pairs
    keys = [key_name(p) for p in range(len(draft.keys))]
    same = exp.and_(
        _same("f", "d"), *(exp.NullSafeEQ(this=column(n, "f"), expression=column(n, "d")) for n in keys), copy=False
    )
    rest = exp.select(*(column(e.alias, "f") for e in pairs.expressions)).from_(aliased(pairs, "f"), copy=False)
    return rest.join(table("dropped", "d"), on=same, join_type="anti", copy=False)


def _same(left: str, right: str) -> exp.Expr:
    return exp.EQ(this=column("e", left), expression=column("e", right))


def _ranked(pairs: exp.Expr, keys: list[str], *, semi: exp.Expr) -> exp.Select:
    """Return the pairs of the big entities with a hash that nobody can foresee."""
    names = ["e", *keys, "x"]
    keyed = exp.Anonymous(this="hash", expressions=[exp.Placeholder(this="run_key"), *(column(n, "p") for n in names)])
    ranked = exp.select(*(column(n, "p") for n in names), named(keyed, "h")).from_(pairs, copy=False)
    return ranked.join(semi, on=_same("p", "b"), join_type="semi", copy=False)


def _within(pairs: exp.Select, keys: list[str], *, by: list[str], most: int) -> exp.Select:
    """Return the pairs that come first by the hash among those with equal `by`."""
    order = [exp.Ordered(this=column(n, "h"), nulls_first=False) for n in ["h", *keys, "x"]]
    rank = exp.Window(
        this=exp.RowNumber(), partition_by=[column(n, "h") for n in by], order=exp.Order(expressions=order)
    )
    names = ["e", *keys, "x", "h"]
    numbered = exp.select(*(column(n, "h") for n in names), named(rank, "rank")).from_(aliased(pairs, "h"), copy=False)
    first = exp.select(*(column(n, "w") for n in names)).from_(aliased(numbered, "w"), copy=False)
    return first.where(fragment(":r <= :n", r=column("rank", "w"), n=integer(most)), copy=False)


def bin_counts(draft: Draft, c: DraftColumn, *, name: str) -> Ctes:
    """Return CTEs whose last, `name`, has the keys and a list of (bin, scaled count), bins without rows left out."""
    if c.part.argument is None or not isinstance(c.bins, Bins):
        raise AssertionError("bins have an argument")
    keys = [key_name(p) for p in range(len(draft.keys))]
    k, m = draft.bounds.max_groups, draft.bounds.max_rows
    inner, declared = keyed_rows(draft)
    inner = inner.select(named(bin_of(c.part.argument, c.bins), "b"), copy=False)
    names = ["e", *keys, "b"]
    pairs = exp.select(*(named(column(n, "r"), n) for n in names), named(fragment("COUNT(*)"), "n"))
    pairs = pairs.from_(aliased(inner, "r"), copy=False).group_by(*(column(n, "r") for n in names), copy=False)
    pairs = _limited(draft, pairs.having(fragment(":b IS NOT NULL", b=column("b", "r")), *declared, copy=False))
    groups = exp.select(column("e", "p"), named(fragment("CAST(SUM(:n) AS BIGINT)", n=column("n", "p")), "n"))
    groups = groups.from_(table(f"{name}_pairs", "p"), copy=False)
    groups = groups.group_by(*(column(n, "p") for n in ["e", *keys]), copy=False)
    over, scale = clip_of(column("n", "g"), groups=k, rows=m, gaussian=c.gaussian)
    norms = exp.select(column("e", "g"), named(scale, "w")).from_(aliased(groups, "g"), copy=False)
    norms = norms.group_by(column("e", "g"), copy=False).having(over, copy=False)
    steps = fragment(":n * :u", n=column("n", "p"), u=integer(COUNT_STEPS))
    scaled = scaled_by(column("w", "w"), steps, cap=k * m, gaussian=c.gaussian)
    cells = exp.Select().from_(table(f"{name}_pairs", "p"), copy=False)
    cells = cells.join(table(f"{name}_norms", "w"), on=_same("p", "w"), join_type="left", copy=False)
    cells = cells.select(
        *(named(decoded(key, column(n, "p")), n) for n, key in zip(keys, draft.keys, strict=True)),
        named(column("b", "p"), "b"),
        named(total(scaled, limit=CELL_LIMIT), "n"),
        copy=False,
    )
    cells = cells.group_by(*(column(n, "p") for n in [*keys, "b"]), copy=False)
    listed = fragment("LIST({'b': :b, 'n': :n} ORDER BY :b)", b=column("b", "c"), n=column("n", "c"))
    answer = exp.select(*(named(column(n, "c"), n) for n in keys), named(listed, c.name))
    answer = answer.from_(table(f"{name}_cells", "c"), copy=False)
    if keys:
        answer = answer.group_by(*(column(n, "c") for n in keys), copy=False)
    return [(f"{name}_pairs", pairs), (f"{name}_norms", norms), (f"{name}_cells", cells), (name, answer)]
