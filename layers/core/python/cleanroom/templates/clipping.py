"""The clipping note: which bounds hold, and the measurement of how much they cut off, where the owner agreed. Pure.

The estimate is a histogram of *entities*: for each bound, each entity is counted once, in one of five classes by how
far it is above the bound. Its class depends on its own rows and on public data only, so one entity more, with all its
rows, adds 1 to one class: the L1 and the L2 sensitivity of a whole histogram is 1, however much is cut off. What the
entity has above the bound is never added up itself: that has no bound. Each histogram is a column with noise and a
share of epsilon of its own, so several are composed like all other columns of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from sqlglot import exp

from cleanroom.rooms.moments import FIRST_DAY, LAST_DAY, MICROSECONDS_PER_DAY, moment_text
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.charge_book import Charges
from cleanroom.templates.domains import key_name
from cleanroom.templates.draft import Draft
from cleanroom.templates.keyed_rows import counted, keyed_rows, standard_key
from cleanroom.templates.measurements import DraftColumn
from cleanroom.templates.moments import as_integer
from cleanroom.templates.notes import entity_word, weight_of
from cleanroom.templates.parts import Part, PartKind, count_part
from cleanroom.templates.plan import Clipping, ClippingEstimate, ClippingProfile, DeclaredRange
from cleanroom.templates.refusals import refuse
from cleanroom.templates.scalars import TEMPORAL, Scalar
from cleanroom.templates.trees import aliased, column, double, fragment, integer, named, table

FACTORS = (1, 2, 4, 10)
"""Classes 0 to 3 are entities whose contribution has at most so many times the norm of the bound; 4 are those above."""

SHARES = (Fraction(0), Fraction(1, 100), Fraction(1, 10), Fraction(1, 2))
"""Classes 0 to 3 are entities of whose values at most this share is outside the range; 4 are those above."""

CLASSES = len(FACTORS) + 1

_MOST_COUNT = 2**45
"""Counts are taken as at most this where they are squared: ten times any bound is less, and no sum overflows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EstimateDraft:
    """The measurement of a clipping estimate before its noise.

    Attributes:
        name: `m1`, …: after all other measurements.
        tree: the whole exact query.
        columns: one for each profile.
        estimate: what they mean.
        texts: bounds for the receipt.
    """

    name: str
    tree: exp.Select
    columns: tuple[DraftColumn, ...]
    estimate: ClippingEstimate
    texts: Mapping[str, str] = field(default_factory=dict)


def clipping_of(draft: Draft) -> Clipping:
    """Return which bounds a measurement has."""
    counts_rows = any(c.part.kind is not PartKind.ENTITIES for c in draft.columns)
    ranges = tuple(
        DeclaredRange(asked=c.asked, lo=_shown(lo, argument), hi=_shown(hi, argument))
        for c in draft.columns
        for argument, lo, hi in [_range(c)]
        if argument is not None
    )
    words = []
    weight = weight_of(draft)
    if weight is not None:
        words.append(f"one {entity_word(draft)} weighs at most {weight}: what is above is scaled down")
    if any(c.part.kind is PartKind.DISTINCT for c in draft.columns):
        words.append("of different values above that, which ones count is chosen by chance")
    words += [
        f"values outside {_text(r.lo)} to {_text(r.hi)} count as the nearer end, in {', '.join(r.asked)}"
        for r in ranges
    ]
    if "rows with other keys" in draft.texts:
        words.append("rows whose keys are not in the declared domain are left out")
    if not any(_cutting(draft)):
        words.append("no bound can cut anything off: a clipping_estimate has nothing to measure, and costs nothing")
    return Clipping(
        max_groups=draft.bounds.max_groups if draft.keys else None,
        max_rows=draft.bounds.max_rows if counts_rows else None,
        ranges=ranges,
        words=tuple(words),
    )


def clipping_estimates(drafts: list[Draft], *, share: Fraction, charges: Charges) -> list[EstimateDraft]:
    """Return a measurement for each draft of which a bound can cut something off, and add its line to the price.

    It costs `share` of what the draft's columns cost, in equal parts for its histograms, and with Gaussian noise
    `share` of the settings' delta; nothing is taken from them.

    Args:
        drafts: all of the run.
        share: > 0.
        charges: the settings' mechanism, and the price so far.

    Raises:
        TemplateRefusedError: rule `clipping_estimate`: the owner of a protected table has not agreed.
    """
    for draft in drafts:
        for protected in draft.protected.tables:
            if not protected.policy.clipping_estimate:
                refuse(
                    f"{protected.owner} has not agreed that runs measure how much the bounds of {protected.full_name} "
                    "cut off",
                    rule="clipping_estimate",
                    cure="leave clipping_estimate out; or the owner declares clipping_estimate, true, in the policy of "
                    "link_datasets",
                )
    estimates: list[EstimateDraft] = []
    number = 1 + max((int(d.name[1:]) for d in drafts), default=-1)
    for draft in drafts:
        histograms = _histograms(draft)
        if not histograms:
            continue
        epsilon = share * sum((c.epsilon for c in draft.columns), Fraction(0))
        delta = share * charges.delta if charges.gaussian else Fraction(0)
        names = [f"c{i}" for i in range(len(histograms))]
        charges.pay(f"clipping estimate of {draft.name}", epsilon=epsilon, delta=delta)
        estimates.append(
            EstimateDraft(
                name=f"m{number + len(estimates)}",
                tree=_exact_query(draft, histograms),
                columns=tuple(
                    DraftColumn(
                        name=name,
                        part=Part(kind=PartKind.ENTITIES),
                        grid=None,
                        epsilon=epsilon / len(names),
                        gaussian=charges.gaussian,
                        delta=delta / len(names),
                    )
                    for name in names
                ),
                estimate=ClippingEstimate(
                    of=draft.name,
                    at_least=draft.at_least,
                    profiles=tuple(
                        ClippingProfile(column=name, bound=h.bound, asked=h.asked)
                        for name, h in zip(names, histograms, strict=True)
                    ),
                ),
                texts={"entity": draft.protected.label, "an entity counts": "once in each column, in one class"},
            )
        )
    return estimates


@dataclass(frozen=True, kw_only=True, slots=True)
class _Histogram:
    """How one bound sorts entities.

    Attributes:
        bound, asked: as in `ClippingProfile`.
        rows: columns to be selected from the protected rows: name -> SQL.
        pairs: likewise per entity and group, over the rows as `r`.
        norms: likewise per entity, over the pairs as `p`.
        entity_class: of an entity, over the norms as `n`: 0 to 4; NULL where the entity is not counted.
    """

    bound: Literal["rows", "groups", "range"]
    asked: tuple[str, ...]
    rows: dict[str, exp.Expr]
    pairs: dict[str, exp.Expr]
    norms: dict[str, exp.Expr]
    entity_class: exp.Expr


def _cutting(draft: Draft) -> tuple[list[DraftColumn], list[DraftColumn], list[DraftColumn]]:
    """Return the columns of which a bound on rows, on groups, or a range can cut something off."""
    k, m, most = draft.bounds.max_groups, draft.bounds.max_rows, draft.most_rows
    rows = [c for c in draft.columns if c.part.kind is not PartKind.ENTITIES]
    groups = [c for c in draft.columns if c.part.kind is PartKind.ENTITIES]
    return (
        rows if most is None or most > m else [],
        groups if draft.keys and (most is None or most > k) else [],
        [c for c in draft.columns if (argument := _range(c)[0]) is not None and _can_be_outside(argument.sql)],
    )


def _histograms(draft: Draft) -> list[_Histogram]:
    """Return the histograms of a draft, each bound that can cut something off once."""
    rows, groups, ranges = _cutting(draft)
    found: list[_Histogram] = []
    if rows:
        found.append(_contributions(draft, rows, bound="rows"))
    if groups:
        found.append(_contributions(draft, groups, bound="groups"))
    asked: dict[str, tuple[DraftColumn, list[str]]] = {}
    for c in ranges:
        asked.setdefault(c.part.argument_key, (c, []))[1].extend(c.asked)
    found += [
        _values(c, tuple(dict.fromkeys(labels)), number=number) for number, (c, labels) in enumerate(asked.values())
    ]
    return found


def _contributions(draft: Draft, columns: list[DraftColumn], *, bound: Literal["rows", "groups"]) -> _Histogram:
    """Sort entities by the norm of their contribution, where it is farthest above what bounding leaves.

    Counts are of rows, of values, or of different values per group, as for the columns; the norm is that of the noise.
    """
    k, m = draft.bounds.max_groups, draft.bounds.max_rows if bound == "rows" else 1
    rows: dict[str, exp.Expr] = {}
    pairs: dict[str, exp.Expr] = {}
    norms: dict[str, exp.Expr] = {}
    bounds: list[tuple[str, int, int]] = []  # a norm, its bound, and 1 or 2 for a norm or its square
    counts: dict[str, str] = {}
    seen: set[tuple[str, bool]] = set()

    def limited(norm: exp.Expr, most: int, power: int) -> None:
        name = f"{bound[0]}norm{len(norms)}"
        norms[name] = norm
        bounds.append((name, most, power))

    for c in columns:
        part = count_part(c.part) if c.part.kind is PartKind.SUM else c.part
        kind = PartKind.VALUES if part.kind is PartKind.BINS else part.kind
        key = f"{kind} {part.argument_key}"
        if key not in counts:
            name = counts[key] = f"{bound[0]}{len(counts)}"
            own, pairs[name] = _count(part, name)
            rows |= own
        if (key, c.gaussian) in seen:
            continue
        seen.add((key, c.gaussian))
        n = column(counts[key], "p")
        if not c.gaussian or kind is PartKind.DISTINCT:
            limited(fragment("SUM(:n)", n=n), k * m, 1)
            if c.gaussian:  # different values are limited in each group, too
                limited(fragment("MAX(:n)", n=n), m, 1)
        else:
            little = fragment("LEAST(:n, :most)", n=n, most=integer(_MOST_COUNT))
            limited(fragment("SUM(CAST(:n AS HUGEINT) * :n)", n=little), k * m * m, 2)
    within = [
        exp.and_(
            *(fragment(":n <= :b", n=column(name, "n"), b=integer(f**power * most)) for name, most, power in bounds)
        )
        for f in FACTORS
    ]
    asked = tuple(dict.fromkeys(label for c in columns for label in c.asked))
    return _Histogram(bound=bound, asked=asked, rows=rows, pairs=pairs, norms=norms, entity_class=_class(within))


def _count(part: Part, name: str) -> tuple[dict[str, exp.Expr], exp.Expr]:
    """Return what a count needs of the rows, and the count of an entity in a group."""
    argument, there = part.argument, f"{name}_there"
    if argument is None:
        return {}, fragment("COUNT(*)" if part.kind is PartKind.ROWS else "CAST(1 AS BIGINT)")
    rows = {there: counted(argument)}
    if part.kind is PartKind.ENTITIES:
        return rows, fragment("CAST(COUNT(:t) > 0 AS BIGINT)", t=column(there, "r"))
    if part.kind is PartKind.DISTINCT:
        rows[name] = standard_key(argument).sql
        value = fragment("CASE WHEN :t IS NOT NULL THEN :x END", t=column(there, "r"), x=column(name, "r"))
        return rows, fragment("COUNT(DISTINCT :x)", x=value)
    return rows, fragment("COUNT(:t)", t=column(there, "r"))


def _values(c: DraftColumn, asked: tuple[str, ...], *, number: int) -> _Histogram:
    """Sort entities by the share of their values that lie outside the range; those without a value are not counted."""
    argument, lo, hi = _range(c)
    if argument is None:
        raise AssertionError("a range has an argument")
    value, outside, values = (f"{letter}{number}" for letter in ("v", "o", "n"))
    plain = as_integer(argument).sql if argument.type in TEMPORAL else argument.sql
    text = "CASE WHEN ISFINITE(:x) THEN :x END" if argument.type is ColumnType.DOUBLE else "CAST(:x AS DOUBLE)"
    seen = column(value, "r")
    beyond = fragment("CASE WHEN :v < :lo OR :v > :hi THEN 1 END", v=seen, lo=double(lo), hi=double(hi))
    out, of = column(outside, "n"), column(values, "n")
    within = [
        fragment(":o * :d <= :n * :s", o=out, n=of, d=integer(s.denominator), s=integer(s.numerator)) for s in SHARES
    ]
    return _Histogram(
        bound="range",
        asked=asked,
        rows={value: fragment(text, x=plain)},
        pairs={outside: fragment("COUNT(:b)", b=beyond), values: fragment("COUNT(:v)", v=seen)},
        norms={name: fragment("SUM(:n)", n=column(name, "p")) for name in (outside, values)},
        entity_class=fragment("CASE WHEN :n > 0 THEN :c END", n=of, c=_class(within)),
    )


def _class(within: Sequence[exp.Expr]) -> exp.Expr:
    """Return the number of the first condition that holds, or of none."""
    case = exp.Case(ifs=[exp.If(this=w, true=integer(i)) for i, w in enumerate(within)])
    case.set("default", integer(len(within)))
    return case


def _exact_query(draft: Draft, histograms: list[_Histogram]) -> exp.Select:
    """Return the exact query: a row for each class, with the number of entities in it by each histogram."""
    inner, declared = keyed_rows(draft)
    for histogram in histograms:
        inner = inner.select(*(named(tree, n) for n, tree in histogram.rows.items()), copy=False)
    keys = [key_name(p) for p in range(len(draft.keys))]
    pairs = exp.select(named(column("e", "r"), "e")).from_(aliased(inner, "r"), copy=False)
    for histogram in histograms:
        pairs = pairs.select(*(named(tree, n) for n, tree in histogram.pairs.items()), copy=False)
    for condition in declared:
        pairs = pairs.where(condition, copy=False)
    pairs = pairs.group_by(*(column(n, "r") for n in ["e", *keys]), copy=False)
    norms = exp.select(named(column("e", "p"), "e")).from_(table("pairs", "p"), copy=False)
    for histogram in histograms:
        norms = norms.select(*(named(tree, n) for n, tree in histogram.norms.items()), copy=False)
    norms = norms.group_by(column("e", "p"), copy=False)
    sorted_ = exp.Select().from_(table("norms", "n"), copy=False)
    sorted_ = sorted_.select(*(named(h.entity_class, f"b{i}") for i, h in enumerate(histograms)), copy=False)
    totals = exp.Select().from_(table("entities", "q"), copy=False)
    answer = exp.Select()
    answer = answer.select(
        named(fragment("CAST(:k AS BIGINT)", k=column(key_name(0), "classes")), key_name(0)), copy=False
    )
    for number in range(len(histograms)):
        names = [f"n{number}_{place}" for place in range(CLASSES)]
        for place, name in enumerate(names):
            one = fragment("CASE WHEN :b = :i THEN 1 END", b=column(f"b{number}", "q"), i=integer(place))
            totals = totals.select(named(fragment("COUNT(:o)", o=one), name), copy=False)
        of_class = [
            exp.If(
                this=fragment(":k = :i", k=column(key_name(0), "classes"), i=integer(place)),
                true=column(name, "totals"),
            )
            for place, name in enumerate(names[:-1])
        ]
        answer = answer.select(
            named(exp.Case(ifs=of_class, default=column(names[-1], "totals")), f"c{number}"), copy=False
        )
    listed = exp.Values(
        expressions=[exp.Tuple(expressions=[integer(place)]) for place in range(CLASSES)],
        alias=exp.TableAlias(
            this=exp.to_identifier("classes", quoted=True), columns=[exp.to_identifier(key_name(0), quoted=True)]
        ),
    )
    answer = answer.from_(listed, copy=False).join(table("totals"), join_type="cross", copy=False)
    answer = answer.order_by(column(key_name(0), "classes"), copy=False)
    for name, tree in (("pairs", pairs), ("norms", norms), ("entities", sorted_), ("totals", totals)):
        answer = answer.with_(exp.to_identifier(name, quoted=True), as_=tree, copy=False)
    return answer


def _range(c: DraftColumn) -> tuple[Scalar | None, Fraction, Fraction]:
    """Return whose values a range clamps, and its ends; None for a column without one, and for moments of one."""
    argument = c.part.argument
    if argument is None or c.part.never_nan or (c.grid is None and c.bins is None):
        return None, Fraction(0), Fraction(0)
    lo, hi = argument.span.lo, argument.span.hi
    if lo is None or hi is None:
        raise AssertionError("what is summed or ranked has a range")
    return argument, min(lo, hi), max(lo, hi)


def _can_be_outside(tree: exp.Expr) -> bool:
    """Return whether the value may depend on a number in a row: a choice among written numbers keeps to its range."""
    if isinstance(tree, exp.Column):
        return True
    if isinstance(tree, exp.Predicate):
        return False
    if isinstance(tree, exp.If):
        return any(_can_be_outside(part) for part in (tree.args.get("true"), tree.args.get("false")) if part)
    if isinstance(tree, exp.Case):
        return any(map(_can_be_outside, [*tree.args["ifs"], *filter(None, [tree.args.get("default")])]))
    return any(map(_can_be_outside, tree.iter_expressions()))


def _shown(end: Fraction, argument: Scalar) -> float | str:
    if argument.type not in TEMPORAL or argument.type is None:
        return float(end)
    unit = 1 if argument.type is ColumnType.DATE else MICROSECONDS_PER_DAY
    return moment_text(min(max(end, Fraction(FIRST_DAY * unit)), Fraction((LAST_DAY + 1) * unit - 1)), argument.type)


def _text(end: float | str) -> str:
    return end if isinstance(end, str) else f"{end:g}"
