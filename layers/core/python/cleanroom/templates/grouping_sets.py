"""GROUPING SETS, ROLLUP and CUBE: written out as UNION ALL of a SELECT for each set, before anything is checked. Pure.

Each set is then a measurement of its own, with its own price: one row of an entity weighs in every set, so the vector
of all sets has as many times the sensitivity of one, and no composition is cheaper (with Gaussian noise the sets share
one rho, as all columns of a run do). A column that a set leaves out is NULL in its rows; GROUPING tells that NULL from
others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, combinations, product

from sqlglot import exp

from cleanroom.templates.aggregates import is_aggregate
from cleanroom.templates.grouping_windows import Lifted
from cleanroom.templates.other_rows import is_is_other, is_or_other, read_or_other
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.trees import integer, is_written_out
from cleanroom.templates.windows import has_window

MOST_SETS = 64
MOST_PARTS = 30_000

MARKS = (exp.Grouping, exp.GroupingId)
_SEVERAL = (exp.GroupingSets, exp.Rollup, exp.Cube)
_OUTER = ("with_", "order", "limit", "offset", "distinct")

Keys = tuple[exp.Expr, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupingSet:
    """What is noted at the SELECT of one set, so that its numbers can be made to agree with those of the others.

    Attributes:
        of: number of the query whose sets these are.
        keys: texts of its keys, in order; equal for equal keys of one query.
        dropped: the keys that other sets have and this one has not.
    """

    of: int
    keys: tuple[str, ...]
    dropped: Keys


_NOTE = "grouping_set"


def grouping_set_of(node: exp.Expr) -> GroupingSet | None:
    """Return which set the SELECT is of, if it is one that `written_out` made."""
    noted = node.meta.get(_NOTE)
    return noted if isinstance(noted, GroupingSet) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """One entry of the SELECT list: the name that it gets, and what it is."""

    name: str
    node: exp.Expr


def has_sets(node: exp.Select) -> bool:
    """Return whether a SELECT has GROUPING SETS, ROLLUP or CUBE, so that GROUPING may stand in it."""
    group = node.args.get("group")
    return isinstance(group, exp.Group) and any(isinstance(e, _SEVERAL) for e in group.expressions)


def written_out(node: exp.Select, *, number: int) -> exp.Select:
    """Return a SELECT with several grouping sets as one over their UNION ALL; any other SELECT as it is.

    Args:
        node: from the parser.
        number: of the query, for `GroupingSet`.

    Raises:
        TemplateRefusedError: rules `grouping_sets`, `bad_ordinal`, `unsupported_clause`.
    """
    group = node.args.get("group")
    if not isinstance(group, exp.Group) or not has_sets(node):
        return node
    only(group, {"expressions"})
    entries = [_entry(e, position) for position, e in enumerate(node.expressions)]
    sets = [tuple(_resolved(k, entries) for k in keys) for keys in _sets(group.expressions, at=group)]
    if len(sets) > MOST_SETS:
        refuse(
            f"the grouping sets are {len(sets)}, and {MOST_SETS} is the most",
            rule="grouping_sets",
            cure="name the sets that are needed with GROUPING SETS",
            at=group,
        )
    if len(sets) * sum(1 for _ in node.walk()) > MOST_PARTS:
        refuse("the query is too large once for each grouping set", rule="too_large", cure="name fewer sets", at=group)
    every: dict[str, exp.Expr] = {_text(k): k for keys in sets for k in keys}
    order = node.args.get("order")
    asked = [integer(0) if has_window(e.node) else e.node for e in entries]

    def hidden(part: exp.Expr) -> exp.Expr:
        asked.append(part)
        return _column(len(asked) - 1)

    inside = Lifted(set(), set(), column=hidden)
    shown = [inside.above(e.node) if has_window(e.node) else _column(n) for n, e in enumerate(entries)]
    by = [_ordered(o, entries, shown, inside) for o in (order.expressions if order is not None else [])]
    windowed = {e.name.lower() for e in entries if has_window(e.node)}
    named = Lifted({e.name.lower() for e in entries}, windowed, column=hidden)
    qualify = node.args.get("qualify")
    kept = None if qualify is None else exp.Qualify(this=named.above(qualify.this))
    asked = [_marked(n, entries) for n in asked]
    having = _having(node.args.get("having"), entries)
    parts: list[exp.Expr] = [_one_set(node, asked, keys, every, having, number=number) for keys in sets]
    united = parts[0]
    for part in parts[1:]:
        united = exp.Union(this=united, expression=part, distinct=False)
    alias = exp.TableAlias(this=exp.to_identifier("grouping_sets"))
    outer = exp.Select(
        expressions=[
            exp.alias_(one, exp.to_identifier(e.name, quoted=True)) for one, e in zip(shown, entries, strict=True)
        ],
        from_=exp.From(this=exp.Subquery(this=united, alias=alias)),
    )
    for clause in _OUTER:
        if node.args.get(clause) is not None:
            outer.set(clause, node.args[clause].copy())
    if by:
        outer.set("order", exp.Order(expressions=by))
    if kept is not None:
        outer.set("qualify", kept)
    return outer


def _column(place: int) -> exp.Column:
    return exp.column(exp.to_identifier(f"g{place}", quoted=True), table=exp.to_identifier("grouping_sets"))


def _entry(node: exp.Expr, position: int) -> _Entry:
    if isinstance(node, exp.Alias):
        only(node, {"this", "alias"})
        return _Entry(name=node.alias, node=node.this)
    if isinstance(node, exp.Star) or (isinstance(node, exp.Column) and isinstance(node.this, exp.Star)):
        refuse("SELECT * with grouping sets is not supported", rule="star", cure="name the columns", at=node)
    return _Entry(name=node.name if isinstance(node, exp.Column) else f"column_{position + 1}", node=node)


def _sets(entries: list[exp.Expr], *, at: exp.Expr) -> list[Keys]:
    """Return all sets: those of each entry of GROUP BY, put together in every way."""
    per_entry = [_sets_of(e) for e in entries]
    count = 1
    for found in per_entry:
        count *= len(found)
        if count > MOST_SETS:
            refuse(
                f"there are more than {MOST_SETS} grouping sets",
                rule="grouping_sets",
                cure="name the sets that are needed with GROUPING SETS",
                at=at,
            )
    return [tuple(chain.from_iterable(choice)) for choice in product(*per_entry)]


def _sets_of(entry: exp.Expr) -> list[Keys]:
    if isinstance(entry, exp.GroupingSets):
        only(entry, {"expressions"})
        return [keys for e in entry.expressions for keys in _sets_of(e)]
    if isinstance(entry, exp.Rollup | exp.Cube):
        only(entry, {"expressions"})
        parts = [_together(e) for e in entry.expressions]
        if isinstance(entry, exp.Rollup):
            chosen: Iterator[tuple[Keys, ...]] = (tuple(parts[:n]) for n in range(len(parts), -1, -1))
        else:
            if len(parts) > MOST_SETS.bit_length():
                refuse(
                    "CUBE of so many columns has too many sets",
                    rule="grouping_sets",
                    cure="name the sets that are needed with GROUPING SETS",
                    at=entry,
                )
            chosen = chain.from_iterable(combinations(parts, n) for n in range(len(parts), -1, -1))
        return [tuple(chain.from_iterable(c)) for c in chosen]
    return [_together(entry)]


def _together(entry: exp.Expr) -> Keys:
    """Return the columns of one element: of a tuple all of its columns."""
    if isinstance(entry, exp.Tuple):
        return tuple(e.unnest() for e in entry.expressions)
    return (entry.unnest(),)


def _resolved(key: exp.Expr, entries: list[_Entry]) -> exp.Expr:
    """Return a key with a position in the SELECT list replaced by what stands there."""
    if isinstance(key, exp.Literal) and not key.is_string:
        text = str(key.this)
        if not text.isdigit() or not 1 <= int(text) <= len(entries):
            refuse(
                "an ordinal must be a position in the SELECT list",
                rule="bad_ordinal",
                cure="name the column",
                at=key,
            )
        return entries[int(text) - 1].node
    named = [e.node for e in entries if _is_name(key, e.name)]
    parts = (p for e in entries for p in e.node.walk(prune=lambda n: isinstance(n, MARKS)))
    inside = any(_text(part) == _text(key) for part in parts if not isinstance(part, MARKS))
    return named[0] if len(named) == 1 and not inside else key


def _marked(node: exp.Expr, entries: list[_Entry]) -> exp.Expr:
    """Return an expression in which GROUPING names keys as GROUP BY does after their aliases are resolved."""
    copy = exp.Paren(this=node.copy())
    for mark in copy.find_all(*MARKS):
        mark.set("expressions", [_resolved(k.unnest(), entries).copy() for k in mark.expressions])
    inner: exp.Expr = copy.this
    return inner


def _is_name(node: exp.Expr, name: str) -> bool:
    return isinstance(node, exp.Column) and not node.table and node.name.lower() == name.lower()


def _text(node: exp.Expr) -> str:
    """Return a text that is equal for expressions that are written alike, whatever the case of names.

    A key in or_other has that of the key: it is NULL in the rows of sets that leave it out, whatever its label.
    """
    if is_or_other(node.unnest()):
        return _text(_bare(node))
    return node.unnest().sql(dialect="snowflake", comments=False, normalize=True)


def _ordered(entry: exp.Expr, entries: list[_Entry], shown: list[exp.Expr], inside: Lifted) -> exp.Ordered:
    """Return an entry of ORDER BY over the union; what is not selected becomes a hidden column."""
    only(entry, {"this", "desc", "nulls_first"})
    by = entry.this.unnest()
    place = next((i for i, e in enumerate(entries) if _is_name(by, e.name)), None)
    if place is None and isinstance(by, exp.Literal) and not by.is_string:
        wanted = _resolved(by, entries)
        place = next(i for i, e in enumerate(entries) if e.node is wanted)
    if place is None:
        place = next((i for i, e in enumerate(entries) if _text(e.node) == _text(by)), None)
    return exp.Ordered(
        this=inside.above(by) if place is None else shown[place].copy(),
        desc=bool(entry.args.get("desc")),
        nulls_first=bool(entry.args.get("nulls_first")),
    )


def _having(having: exp.Expr | None, entries: list[_Entry]) -> exp.Expr | None:
    """Return the condition of HAVING with aliases of the SELECT list replaced by what they stand for."""
    if having is None:
        return None

    def meant(node: exp.Expr) -> exp.Expr:
        named = [e.node for e in entries if _is_name(node, e.name) and not _is_name(e.node, e.name)]
        return exp.Paren(this=named[0].copy()) if len(named) == 1 else node

    return _marked(having.this.copy().transform(meant), entries)


def _one_set(
    node: exp.Select,
    asked: list[exp.Expr],
    keys: Keys,
    every: dict[str, exp.Expr],
    having: exp.Expr | None,
    *,
    number: int,
) -> exp.Select:
    """Return the SELECT of one set."""
    kept = {_text(k) for k in keys}
    dropped = every.keys() - kept
    if _has_or_other(every.values()) and not _has_or_other(keys):  # this set has no other row
        asked = [_never_other(a) for a in asked]
        having = None if having is None else _never_other(having)
    listed = [
        exp.alias_(_narrowed(a, kept, dropped), exp.to_identifier(f"g{place}", quoted=True))
        for place, a in enumerate(asked)
    ]
    part = node.copy()
    for clause in (*_OUTER, "qualify"):
        part.set(clause, None)
    part.set("expressions", listed)
    distinct_keys = {_text(k): k for k in keys}
    part.set("group", exp.Group(expressions=[_grouped(k, asked) for k in distinct_keys.values()]) if keys else None)
    if having is not None:
        part.set("having", exp.Having(this=_narrowed(having, kept, dropped)))
    elif not keys:  # without a key and an aggregate it would not group at all
        part.set("having", exp.Having(this=exp.true()))
    without = tuple(_bare(key) for text, key in every.items() if text in dropped)
    part.meta[_NOTE] = GroupingSet(of=number, keys=tuple(distinct_keys), dropped=without)
    return part


def _grouped(key: exp.Expr, asked: list[exp.Expr]) -> exp.Expr:
    """Return a key as an entry of GROUP BY: a number that is selected is named by its place, or it would be a place."""
    if isinstance(key.unnest(), exp.Literal) and not key.unnest().is_string:
        return integer(1 + next(place for place, one in enumerate(asked) if _text(one) == _text(key)))
    return key.copy()


def _bare(key: exp.Expr) -> exp.Expr:
    """Return a key without its or_other."""
    return read_or_other(key.unnest()).key if is_or_other(key.unnest()) else key


def _has_or_other(keys: Iterable[exp.Expr]) -> bool:
    return any(is_or_other(k.unnest()) for k in keys)


def _never_other(node: exp.Expr) -> exp.Expr:
    return node.copy().transform(lambda part: exp.false() if is_is_other(part) else part, copy=False)


def _narrowed(node: exp.Expr, kept: set[str], dropped: set[str]) -> exp.Expr:
    """Return an expression over one set: keys that it leaves out are NULL, and GROUPING is a number.

    A constant that is a key is one where it stands alone: `COUNT(*) + 1` has a 1 of its own.
    """
    if isinstance(node, MARKS):
        bits = 0
        for key in node.expressions:
            if _text(key) not in kept | dropped:
                refuse("GROUPING needs a group key", rule="grouping_sets", cure="name a column of GROUP BY", at=key)
            bits = bits * 2 + (_text(key) in dropped)
        return integer(bits)
    if is_aggregate(node):
        return node.copy()
    if _text(node) in dropped:
        return exp.null()
    if _text(node) in kept:
        return node.copy()
    copy = node.copy()
    for child in list(copy.iter_expressions()):
        if not is_written_out(child):
            child.replace(_narrowed(child, kept, dropped))
    return copy
