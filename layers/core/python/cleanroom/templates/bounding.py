"""The exact query of one measurement: every entity's whole contribution is clipped to a norm, in integers. Pure.

Level 1 (`pairs`) groups by entity and keys. `norms` finds the entities above a bound; level 2 (`totals`) scales those
down and sums. Nothing is sampled, but groups of private keys above a hard limit.

With k = max_groups, m = max_rows and c_g the entity's values in group g:
    Laplace:  v * (k m) // sum(c_g)    where sum(c_g) > k m,           so that the L1 norm is at most that of k m rows;
    Gaussian: v * W // 2^30            where sum(c_g^2) > k m^2, W = floor(2^30 sqrt(k) m / sqrt(sum(c_g^2))) - 1.
Division rounds toward zero, so no scaled value exceeds its share. W is worked out in doubles: the true quotient is
below 2^30, each of the four roundings is below one part in 2^52, so the error is below one, which the -1 covers.
"""

from __future__ import annotations

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.domains import coded, domain_query, inside, key_name
from cleanroom.templates.draft import Draft
from cleanroom.templates.grid import clamped, scaled
from cleanroom.templates.measurements import DraftColumn, PartKind, count_part
from cleanroom.templates.scalars import Scalar, cast, native_type
from cleanroom.templates.trees import aliased, bracketed, column, conjunction, fragment, integer, named, table

COUNT_STEPS = 1024
"""Steps of one counted row or entity, where counts may be scaled."""

HARD_LIMIT = 4
"""An entity is in at most this many times max_groups groups, where keys are private."""

_EVERY_ENTITY = f"{PartKind.ENTITIES} "
"""The family of COUNT(DISTINCT entity): it counts one per entity and group, and needs no column of its own."""

_WEIGHT_ONE = 2**30
_LIMIT = 2**62
_LARGEST = 2**63 - 1
_LARGEST_SQUARED = 2**31


def count_unit(draft: Draft) -> int:
    """Return the steps of one counted row or entity: 1 where scaling is exact (no group keys)."""
    return COUNT_STEPS if draft.keys else 1


def exact_query(draft: Draft) -> exp.Select:
    """Return the whole exact query of a measurement: keys, then measured integers, ordered by the keys."""
    ctes: list[tuple[str, exp.Expr]] = [("pairs", _pairs(draft))]
    source = "pairs"
    if draft.factors is None:
        ctes += _hard_limited(draft)
        source = "kept"
    if draft.keys:
        ctes.append(("norms", _norms(draft, source)))
    totals = _totals(draft, source)
    if not draft.keys:
        return _with(totals, ctes)
    ctes.append(("totals", totals))
    keys = [key_name(p) for p in range(len(draft.keys))]
    answer = exp.Select()
    if draft.factors is None:
        answer = exp.select(*(named(column(n, "t"), n) for n in [*keys, *(c.name for c in draft.columns)]))
        answer = answer.from_(table("totals", "t"), copy=False)
        order_from = "t"
    else:
        ctes.append(("domain", domain_query(draft.factors, [native_type(k) for k in draft.keys])))
        answer = exp.select(
            *(named(column(n, "d"), n) for n in keys),
            *(named(fragment("COALESCE(:v, 0)", v=column(c.name, "t")), c.name) for c in draft.columns),
        )
        matches = conjunction([exp.NullSafeEQ(this=column(n, "d"), expression=column(n, "t")) for n in keys])
        answer = answer.from_(table("domain", "d"), copy=False).join(
            table("totals", "t"), on=matches, join_type="left", copy=False
        )
        order_from = "d"
    answer = answer.order_by(*(exp.Ordered(this=column(n, order_from), nulls_first=False) for n in keys), copy=False)
    return _with(answer, ctes)


def _with(query: exp.Select, ctes: list[tuple[str, exp.Expr]]) -> exp.Select:
    for name, tree in ctes:
        query = query.with_(
            exp.to_identifier(name, quoted=True),
            as_=tree,
            materialized=True if name in ("pairs", "kept") else None,
            copy=False,
        )
    return query


def _families(draft: Draft) -> dict[str, str]:
    """Return count part -> column of `pairs` that holds that count; `entities` counts one per group."""
    families: dict[str, str] = {}
    for c in draft.columns:
        families.setdefault(_family(c), f"n{len(families)}")
    return families


def _family(c: DraftColumn) -> str:
    part = count_part(c.part) if c.part.kind is PartKind.SUM else c.part
    return f"{part.kind} {part.argument_key}"


def _pairs(draft: Draft) -> exp.Select:
    """Level 1: counts and sums per entity and group."""
    inner = draft.rows.copy().select(named(draft.entity, "e"), copy=False)
    declared: list[exp.Expr] = []
    for position, key in enumerate(draft.keys):
        code = coded(key) if draft.factors is not None else None
        condition = inside(key) if draft.factors is not None else None
        inner = inner.select(named(code or standard_key(key).sql, key_name(position)), copy=False)
        if code is not None:
            declared.append(fragment(":k IS NOT NULL", k=column(key_name(position), "r")))
        elif condition is not None:
            inner = inner.where(bracketed(condition), copy=False)
    inner = inner.where(fragment(":e IS NOT NULL", e=draft.entity), copy=False)
    outer: list[exp.Expr] = [named(column("e", "r"), "e")]
    outer += [named(column(key_name(p), "r"), key_name(p)) for p in range(len(draft.keys))]
    families = _families(draft)
    counted: set[str] = set()
    for number, c in enumerate(draft.columns):
        family, argument = _family(c), c.part.argument
        value = f"v{number}"
        if c.part.kind is PartKind.SUM and argument is not None and c.grid is not None:
            inner = inner.select(named(scaled(argument, c.grid), value), copy=False)
            steps = clamped(column(value, "r"), c.grid)
            # Each step count is below 2^22, so a sum in 64 bits would need 2^41 rows of one entity to overflow.
            total = fragment("CAST(COALESCE(SUM_NO_OVERFLOW(:v), 0) AS BIGINT)", v=steps)
            outer.append(named(total, f"s{number}"))
        elif argument is not None and family not in counted:
            inner = inner.select(named(_counted(argument), value), copy=False)
        if family in counted:
            continue
        counted.add(family)
        if family.startswith(PartKind.VALUES):
            outer.append(named(fragment("COUNT(:v)", v=column(value, "r")), families[family]))
        elif family.startswith(PartKind.ENTITIES) and family != _EVERY_ENTITY:
            there = fragment("CAST(COUNT(:v) > 0 AS BIGINT)", v=column(value, "r"))
            outer.append(named(there, families[family]))
        elif family.startswith(PartKind.ROWS):
            outer.append(named(fragment("COUNT(*)"), families[family]))
    group = [integer(i + 1) for i in range(1 + len(draft.keys))]
    pairs = exp.select(*outer).from_(aliased(inner, "r"), copy=False).group_by(*group, copy=False)
    return pairs.having(*declared, copy=False) if declared else pairs


def _counted(argument: Scalar) -> exp.Expr:
    """Return what COUNT counts: NaN and infinities are as NULL."""
    if argument.type is ColumnType.DOUBLE:
        return fragment("CASE WHEN ISFINITE(:x) THEN 1 END", x=argument.sql)
    return argument.sql


def standard_key(key: Scalar) -> Scalar:
    """Return a group key in one of the standard types."""
    if key.type is None:
        return cast(key, ColumnType.INTEGER)
    return cast(key, ColumnType.DOUBLE if key.type is ColumnType.DECIMAL else key.type)


def _hard_limited(draft: Draft) -> list[tuple[str, exp.Expr]]:
    """Return CTEs that leave each entity at most HARD_LIMIT * k groups, chosen by a hash with the run's secret."""
    limit = integer(HARD_LIMIT * draft.bounds.max_groups)
    big = exp.select(column("e")).from_(table("pairs"), copy=False).group_by(column("e"), copy=False)
    big = big.having(fragment("COUNT(*) > :n", n=limit), copy=False)
    names = [key_name(p) for p in range(len(draft.keys))]
    chosen = ["e", *names, *(n for n in _pair_columns(draft))]
    small = exp.select(*(column(n, "p") for n in chosen)).from_(table("pairs", "p"), copy=False)
    small = small.join(
        table("big", "b"), on=exp.EQ(this=column("e", "p"), expression=column("e", "b")), join_type="anti", copy=False
    )
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
    ranked = ranked.join(
        table("big", "b"), on=exp.EQ(this=column("e", "p"), expression=column("e", "b")), join_type="semi", copy=False
    )
    limited = exp.select(*(column(n, "q") for n in chosen)).from_(aliased(ranked, "q"), copy=False)
    limited = limited.where(fragment(":r <= :n", r=column("rank", "q"), n=limit), copy=False)
    return [("big", big), ("kept", exp.union(small, limited, distinct=False))]


def _pair_columns(draft: Draft) -> list[str]:
    counts = [name for family, name in _families(draft).items() if family != _EVERY_ENTITY]
    return [*counts, *(f"s{i}" for i, c in enumerate(draft.columns) if c.part.kind is PartKind.SUM)]


def _norms(draft: Draft, source: str) -> exp.Select:
    """Return per entity above a bound: for each family its norm (Laplace) or weight (Gaussian), NULL where within."""
    k, m = draft.bounds.max_groups, draft.bounds.max_rows
    columns: list[exp.Expr] = [named(column("e", "p"), "e")]
    above: list[exp.Expr] = []
    for family, name, gaussian in _scales(draft):
        entities = family == _EVERY_ENTITY
        count = integer(1) if entities else column(name, "p")
        rows = 1 if family.startswith(PartKind.ENTITIES) else m
        if gaussian:
            norm = fragment("COUNT(*)")
            if not entities:  # a count of 2^31 or more would overflow the square: it weighs nothing
                norm = fragment("SUM(CASE WHEN :c < :most THEN :c * :c END)", c=count, most=integer(_LARGEST_SQUARED))
            bound = integer(k * rows * rows)
            weight = fragment(
                "CAST(FLOOR(:one * SQRT(CAST(:b AS DOUBLE)) / SQRT(CAST(:n AS DOUBLE))) AS BIGINT) - 1",
                one=integer(_WEIGHT_ONE),
                b=bound,
                n=norm,
            )
            scale = fragment("GREATEST(:w, 0)", w=weight)
            over = fragment(":n > :b", n=norm, b=bound)
            if not entities:
                beyond = fragment("MAX(:c) >= :most", c=count, most=integer(_LARGEST_SQUARED))
                scale = fragment("CASE WHEN :x THEN 0 ELSE :s END", x=beyond, s=scale)
                over = fragment(":o OR :x", o=over, x=beyond)
        else:
            norm = fragment("COUNT(*)") if entities else fragment("SUM(:c)", c=count)
            bound = integer(k * rows)
            scale = fragment("CAST(:n AS BIGINT)", n=norm)
            over = fragment(":n > :b", n=norm, b=bound)
        above.append(over)
        columns.append(named(fragment("CASE WHEN :o THEN :w END", o=over, w=scale), _scale_name(name, gaussian)))
    having = above[0]
    for condition in above[1:]:
        having = exp.Or(this=bracketed(having), expression=bracketed(condition))
    return (
        exp.select(*columns)
        .from_(table(source, "p"), copy=False)
        .group_by(column("e", "p"), copy=False)
        .having(having, copy=False)
    )


def _scales(draft: Draft) -> list[tuple[str, str, bool]]:
    """Return (family, its count column, gaussian) of all columns, each once."""
    families = _families(draft)
    seen = {(_family(c), families[_family(c)], c.gaussian): None for c in draft.columns}
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
            *(named(_decoded(key, column(n, "p")), n) for n, key in zip(names, draft.keys, strict=True)), copy=False
        )
    unit = count_unit(draft)
    for number, c in enumerate(draft.columns):
        family = _family(c)
        entities, every = family.startswith(PartKind.ENTITIES), family == _EVERY_ENTITY
        count = integer(1) if every else column(families[family], "p")
        value = column(f"s{number}", "p") if c.part.kind is PartKind.SUM else count
        if c.part.kind is not PartKind.SUM and unit > 1:
            value = integer(unit) if every else fragment(":v * :u", v=value, u=integer(unit))
        rows = draft.bounds.max_groups * (1 if entities else draft.bounds.max_rows)
        scale = _scale_name(families[family], c.gaussian)
        scaled = _scaled(draft, value, count=count, rows=rows, scale=scale, gaussian=c.gaussian)
        if entities and not draft.keys:
            scaled = value
        total = fragment(
            "CAST(LEAST(GREATEST(COALESCE(SUM(:v), 0), :lo), :hi) AS BIGINT)",
            v=scaled,
            lo=integer(-_LIMIT),
            hi=integer(_LIMIT),
        )
        query = query.select(named(total, c.name), copy=False)
    if draft.keys:
        query = query.group_by(*(column(n, "p") for n in names), copy=False)
    return query


def _decoded(key: Scalar, reference: exp.Expr) -> exp.Expr:
    """Return the key's value where `pairs` holds a code."""
    if key.type is ColumnType.TEXT:
        return fragment("CAST(:k AS TEXT)", k=reference)
    return reference


def _scaled(draft: Draft, value: exp.Expr, *, count: exp.Expr, rows: int, scale: str, gaussian: bool) -> exp.Expr:
    """Return the value with its entity's whole contribution scaled down to the bound."""
    if not draft.keys:  # one group: its count is the norm, in L1 and in L2
        return fragment(
            "CASE WHEN :c > :b THEN CAST((CAST(:v AS HUGEINT) * :b) // :c AS BIGINT) ELSE :v END",
            c=count,
            b=integer(rows),
            v=value,
        )
    weight = column(scale, "w")
    cap, norm = (weight, integer(_WEIGHT_ONE)) if gaussian else (integer(rows), weight)
    # A weight is below 2^30, so with a value within 2^33 the product is below 2^63; k m is a constant. 64 bits take a
    # fraction of the time of 128, and hardly any value is wider.
    narrow = 2**33 if gaussian else _LARGEST // max(rows, 1)
    return fragment(
        "CASE WHEN :w IS NULL THEN :v WHEN :v BETWEEN :low AND :high THEN (:v * :cap) // :norm "
        "ELSE CAST((CAST(:v AS HUGEINT) * :cap) // :norm AS BIGINT) END",
        w=weight,
        v=value,
        cap=cap,
        norm=norm,
        low=integer(-narrow),
        high=integer(narrow),
    )
