"""Public group keys: which combinations there can be, as literals or as a query over public tables. Pure.

Keys whose possible values are public need no selection: every combination appears, empty ones as noise around zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.public_values import distinct_values
from cleanroom.templates.refusals import refuse
from cleanroom.templates.scalars import Drawn, Scalar
from cleanroom.templates.trees import column, fragment, integer, named

MOST_COMBINATIONS = 1_000_000

MOST_LISTED = 20_000
"""Values of all keys' lists together: each is written out in the query, more than once (`trees.MOST_WORK`)."""

STANDARD_DOUBLE = "CASE WHEN :a = 0e0 THEN 0e0 WHEN ISNAN(:a) THEN CAST('nan' AS DOUBLE) ELSE :a END"
"""A key that is the same to the bit for 0 and -0, and for all NaN: the engine would show whichever row came first."""

_MOST_CODED = 1_000

_ALL_BOOLEANS = 3
"""False, true and NULL; an owner may declare fewer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Factor:
    """Keys whose values come together, apart from all other keys.

    Attributes:
        keys: positions among the group keys.
        values: the different values of a single key, as literals, NULL among them where it is a group; or None.
        drawn: for each key its expression over one public relation; or None.
    """

    keys: tuple[int, ...]
    values: tuple[exp.Expr, ...] | None = None
    drawn: tuple[Drawn, ...] | None = None


def public_domain(keys: tuple[Scalar, ...], *, at: exp.Expr) -> tuple[Factor, ...] | None:
    """Return the domain as factors, or None if one of the keys is private (then all are treated so).

    Raises:
        TemplateRefusedError: rule `too_many_groups`: more than 10^6 declared combinations, or than 20,000 values in
            lists.
    """
    listed = sum(len(key.values) for key in keys if key.values is not None)
    if listed > MOST_LISTED:  # refused further on in any case, after seconds
        refuse(
            f"the public lists of the group keys have {listed} values together, and {MOST_LISTED} is the most",
            rule="too_many_groups",
            cure="group by coarser keys, such as the month of a date or WIDTH_BUCKET of a number",
            at=at,
        )
    factors: list[Factor] = []
    drawn: dict[tuple[str, ...], list[int]] = {}
    for position, key in enumerate(keys):
        if key.values is not None:
            factors.append(Factor(keys=(position,), values=distinct_values(key.values, key.type)))
        elif key.constant:
            factors.append(Factor(keys=(position,), values=(key.sql,)))
        elif key.drawn is not None:
            drawn.setdefault(key.drawn.tag, []).append(position)
        else:
            return None
    combinations = prod(len(f.values) for f in factors if f.values is not None)
    if combinations > MOST_COMBINATIONS:
        refuse(
            f"the group keys have {combinations} combinations, and {MOST_COMBINATIONS} is the most",
            rule="too_many_groups",
            cure="group by fewer keys, or by coarser ones",
            at=at,
        )
    for positions in drawn.values():
        sources = [keys[p].drawn for p in positions]
        factors.append(Factor(keys=tuple(positions), drawn=tuple(s for s in sources if s is not None)))
    return tuple(factors)


def key_name(position: int) -> str:
    """Return the name of a group key in exact and noisy tables."""
    return f"k{position}"


def inside(key: Scalar) -> exp.Expr | None:
    """Return the condition that a row's key is in its declared domain; None where it always is."""
    held = key.declared or isinstance(key.sql, exp.Column | exp.TryCast)
    if key.values is None or not held or (key.type is ColumnType.BOOLEAN and len(key.values) == _ALL_BOOLEANS):
        return None
    listed = [v for v in key.values if not isinstance(v, exp.Null)]
    condition: exp.Expr = exp.In(this=key.sql.copy(), expressions=[v.copy() for v in listed])
    if len(listed) < len(key.values):
        condition = fragment(":c OR :k IS NULL", c=condition, k=key.sql)
    return condition


def coded(key: Scalar) -> exp.Expr | None:
    """Return a text key as an enumeration of its declared values, NULL for all others: a small integer to group by.

    None where the key is no declared text, or NULL is one of its groups, or the list is long.
    """
    if inside(key) is None or key.type is not ColumnType.TEXT or key.values is None:
        return None
    if len(key.values) > _MOST_CODED or not all(isinstance(v, exp.Literal) and v.is_string for v in key.values):
        return None
    kind = exp.DataType(this=exp.DataType.Type.ENUM, expressions=[v.copy() for v in key.values])
    return exp.TryCast(this=exp.Cast(this=key.sql.copy(), to=exp.DataType.build("TEXT")), to=kind)


def domain_query(factors: tuple[Factor, ...], natives: list[str]) -> exp.Select:
    """Return a SELECT of every combination, with one column per key.

    Args:
        factors: at least one.
        natives: the engine's type of each key.
    """
    query = exp.Select()
    for number, factor in enumerate(factors):
        item = exp.Subquery(
            this=_listed(factor, natives) if factor.values is not None else _drawn(factor, natives),
            alias=exp.TableAlias(this=exp.to_identifier(f"f{number}", quoted=True)),
        )
        query = query.from_(item, copy=False) if not number else query.join(item, join_type="cross", copy=False)
    owner = {position: f"f{number}" for number, factor in enumerate(factors) for position in factor.keys}
    return query.select(*(named(column(key_name(p), owner[p]), key_name(p)) for p in sorted(owner)), copy=False)


def _listed(factor: Factor, natives: list[str]) -> exp.Expr:
    """Return the listed values as rows."""
    (position,) = factor.keys
    rows = [exp.Tuple(expressions=[v.copy()]) for v in factor.values or ()]
    name = key_name(position)
    values = exp.Values(
        expressions=rows,
        alias=exp.TableAlias(this=exp.to_identifier("v", quoted=True), columns=[exp.to_identifier(name, quoted=True)]),
    )
    cast = exp.Cast(this=column(name, "v"), to=exp.DataType.build(natives[position], dialect="duckdb"))
    return exp.select(named(cast, name)).from_(values, copy=False)


def _standard(expression: exp.Expr, native: str) -> exp.Expr:
    """Return a key of a public relation in the engine's type of it, equal keys being the same to the bit."""
    value = exp.Cast(this=expression.copy(), to=exp.DataType.build(native, dialect="duckdb"))
    return fragment(STANDARD_DOUBLE, a=value) if native == "DOUBLE" else value


def _drawn(factor: Factor, natives: list[str]) -> exp.Expr:
    """Return the distinct tuples of a public relation; with the row of NULLs that an outer join may add."""
    sources = factor.drawn or ()
    expressions = [
        named(_standard(s.expression, natives[p]), key_name(p)) for p, s in zip(factor.keys, sources, strict=True)
    ]
    query: exp.Query = exp.select(*expressions).from_(sources[0].item.copy(), copy=False).distinct()
    if any(s.outer for s in sources):
        nobody = exp.select(*(e.copy() for e in expressions)).from_(
            exp.Subquery(
                this=exp.select(named(integer(1), "one")),
                alias=exp.TableAlias(this=exp.to_identifier("nobody", quoted=True)),
            ),
            copy=False,
        )
        nobody = nobody.join(sources[0].item.copy(), on=exp.false(), join_type="left", copy=False)
        query = exp.union(query, nobody, distinct=True)
    return query
