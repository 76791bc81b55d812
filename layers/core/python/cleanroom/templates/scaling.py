"""Scales an entity's whole contribution down to a norm, in SQL on integers, dividing toward zero. Pure.

`bounding.py` says why the results are within the bound.
"""

from __future__ import annotations

from sqlglot import exp

from cleanroom.templates.trees import fragment, integer

LIMIT = 2**62
"""Totals are clamped to +- this."""

_WEIGHT_ONE = 2**30
_LARGEST_SQUARED = 2**31
_LARGEST = 2**63 - 1


def clip_of(count: exp.Expr | None, *, groups: int, rows: int, gaussian: bool) -> tuple[exp.Expr, exp.Expr]:
    """Return (condition, scale) as aggregates over one entity's groups: whether it is above the bound, and by what.

    Args:
        count: its values in a group; None: one in each.
        groups, rows: what it may weigh: k groups of so many.
        gaussian: bound the L2 norm, and give a weight below 2^30; otherwise the L1 norm, and give that norm.
    """
    if not gaussian:
        norm = fragment("COUNT(*)") if count is None else fragment("SUM(:c)", c=count)
        over = fragment(":n > :b", n=norm, b=integer(groups * rows))
        return over, fragment("CAST(:n AS BIGINT)", n=norm)
    norm = fragment("COUNT(*)")
    if count is not None:  # a count of 2^31 or more would overflow the square: it weighs nothing
        norm = fragment("SUM(CASE WHEN :c < :most THEN :c * :c END)", c=count, most=integer(_LARGEST_SQUARED))
    bound = integer(groups * rows * rows)
    weight = fragment(
        "CAST(FLOOR(:one * SQRT(CAST(:b AS DOUBLE)) / SQRT(CAST(:n AS DOUBLE))) AS BIGINT) - 1",
        one=integer(_WEIGHT_ONE),
        b=bound,
        n=norm,
    )
    scale = fragment("GREATEST(:w, 0)", w=weight)
    over = fragment(":n > :b", n=norm, b=bound)
    if count is not None:
        beyond = fragment("MAX(:c) >= :most", c=count, most=integer(_LARGEST_SQUARED))
        scale = fragment("CASE WHEN :x THEN 0 ELSE :s END", x=beyond, s=scale)
        over = fragment(":o OR :x", o=over, x=beyond)
    return over, scale


def scaled_by(scale: exp.Expr, value: exp.Expr, *, cap: int, gaussian: bool) -> exp.Expr:
    """Return a value scaled down by what `clip_of` gave for its entity; NULL there: as it is.

    A weight is below 2^30, so that its product with a value within 2^33 is below 2^63; with Laplace noise the factor is
    the constant `cap`. Products of 64 bits take a fraction of the time of 128, and hardly any value is wider.

    Args:
        scale: of the entity.
        value: to be scaled.
        cap: the L1 norm that it may have.
        gaussian: as in `clip_of`.
    """
    factor, norm = (scale, integer(_WEIGHT_ONE)) if gaussian else (integer(cap), scale)
    narrow = 2**33 if gaussian else _LARGEST // max(cap, 1)
    return fragment(
        "CASE WHEN :w IS NULL THEN :v WHEN :v BETWEEN :low AND :high THEN (:v * :cap) // :norm "
        "ELSE CAST((CAST(:v AS HUGEINT) * :cap) // :norm AS BIGINT) END",
        w=scale,
        v=value,
        cap=factor,
        norm=norm,
        low=integer(-narrow),
        high=integer(narrow),
    )


def total(value: exp.Expr, *, limit: int = LIMIT) -> exp.Expr:
    """Return the sum of a value over entities as BIGINT within +- `limit`; 0 for no rows."""
    return fragment(
        "CAST(LEAST(GREATEST(COALESCE(SUM(:v), 0), :lo), :hi) AS BIGINT)",
        v=value,
        lo=integer(-limit),
        hi=integer(limit),
    )
