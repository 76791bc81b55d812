"""Quantiles, MIN and MAX of numbers, dates and timestamps, and COUNT(DISTINCT x): text and value."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from cleanroom.rooms.tables import ColumnType
from tests.soundness import meaning as mean
from tests.soundness.expressions import combined
from tests.soundness.parts import Aggregate, Part, filtered, kept
from tests.soundness.reference_bins import moment

if TYPE_CHECKING:
    from tests.soundness.expressions import Expression
    from tests.soundness.parts import Asking, Numbers
    from tests.soundness.reference_bins import Histogram

T = ColumnType
MOMENTS = (T.DATE, T.TIMESTAMP)
FRACTIONS = ("0.5", "0.25", "0.9", "0.37", "1", "0")

WRITTEN = {
    "MEDIAN": "MEDIAN({x})",
    "PERCENTILE_CONT": "PERCENTILE_CONT({p}) WITHIN GROUP (ORDER BY {x}{desc})",
    "PERCENTILE_DISC": "PERCENTILE_DISC({p}) WITHIN GROUP (ORDER BY {x}{desc})",
    "APPROX_PERCENTILE": "APPROX_PERCENTILE({x}, {p})",
    "MIN": "MIN({x})",
    "MAX": "MAX({x})",
}


def ranked(q: Asking, scope: list[Expression]) -> Expression:
    """Return a number, date or timestamp with a closed range."""
    moments = [c for c in scope if c.type in MOMENTS and None not in c.range]
    return q.rng.choice(moments) if moments and q.rng.random() < 0.5 else q.expressions.summed(scope)


def quantile(q: Asking, scope: list[Expression], *, where: Expression | None) -> Aggregate:
    """Return where a share of the rows lies below."""
    x, word = ranked(q, scope), q.rng.choice([*WRITTEN])
    share, desc = q.rng.choice(FRACTIONS), q.rng.choice(["", "", " DESC"])
    fraction = {"MEDIAN": Fraction(1, 2), "MIN": Fraction(0), "MAX": Fraction(1)}.get(word, Fraction(share))
    if desc and "{desc}" in WRITTEN[word]:
        fraction = 1 - fraction
    part = Part(kind="bins", x=kept(x, where))
    whole = x.type is T.INTEGER and word in ("MIN", "MAX", "PERCENTILE_DISC")

    def of(n: Numbers) -> Any:
        found: Histogram = n[part.name]
        value = found.smallest() if fraction == 0 else found.largest() if fraction == 1 else found.quantile(fraction)
        if value is None:
            return None
        if x.type in MOMENTS:
            return moment(value, x.type)
        return round(value) if whole else value

    noted = [word, *(() if where is None else ("FILTER",))]
    noted += [f"a quantile of {x.type.value.upper()}"] if x.type in (*MOMENTS, T.DECIMAL) else []
    return Aggregate(
        sql=WRITTEN[word].format(x=x.sql, p=share, desc=desc) + filtered(where),
        parts=(part,),
        of=of,
        constructs=tuple(noted),
        number=x.type not in MOMENTS,
    )


def different(q: Asking, scope: list[Expression], *, where: Expression | None) -> Aggregate:
    """Return the number of different values, of anything but the entity, which is counted otherwise."""
    entity = q.schema.entity_type
    sure = [c for c in scope if c.type is not entity]  # others may be the entity, or equal to it
    if entity is T.TEXT:
        texts = [c for c in scope if c.type is T.TEXT]
        sure += [combined(f"UPPER({c.sql})", T.TEXT, mean.strict(str.upper), c) for c in texts]
    x = q.expressions.expression(q.rng.choice([T.TEXT, T.DOUBLE, T.INTEGER, T.BOOLEAN, T.DATE]), sure, 1)
    plain = [c for c in sure if c.type in (T.DECIMAL, T.TIMESTAMP, T.TEXT, T.DOUBLE)]
    if plain and q.rng.random() < 0.4:
        x = q.rng.choice(plain)
    part = Part(kind="distinct", x=replace(kept(x, where), entity=False))
    word = q.rng.choice(["COUNT(DISTINCT {})", "COUNT(DISTINCT {})", "APPROX_COUNT_DISTINCT({})"])
    return Aggregate(
        sql=word.format(x.sql) + filtered(where),
        parts=(part,),
        of=lambda n: n[part.name],
        constructs=("COUNT(DISTINCT x)", *(() if where is None else ("FILTER",))),
    )
