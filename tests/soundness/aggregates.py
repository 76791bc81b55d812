"""What is measured per group: counts, sums and averages, and the list of all aggregates of the grammar.

One place to add an aggregate: a function that returns an `Aggregate`, and an entry of `AGGREGATES`.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from cleanroom.rooms.tables import ColumnType
from tests.soundness import meaning as mean
from tests.soundness.expressions import Expression, combined
from tests.soundness.moments_as_numbers import number_of_a_moment
from tests.soundness.parts import Aggregate, Part, filtered, kept
from tests.soundness.quantiles import different, quantile
from tests.soundness.spreads import paired, spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.soundness.parts import Asking, Numbers

T = ColumnType
FILTERED = 0.2
"""How often an aggregate that can have FILTER has it."""


def condition(q: Asking, scope: list[Expression]) -> Expression | None:
    """Return the condition of FILTER, or None for no FILTER."""
    return q.expressions.expression(T.BOOLEAN, scope, 1) if q.rng.random() < FILTERED else None


def trues(c: Expression) -> Expression:
    """Return what is NULL where the condition is not true."""
    return replace(c, sql=f"if {c.sql}", of=lambda row: True if c.of(row) is True else None)


def _noted(where: Expression | None, *constructs: str) -> tuple[str, ...]:
    return constructs if where is None else (*constructs, "FILTER")


def _rows(q: Asking, scope: list[Expression]) -> Aggregate:
    where = condition(q, scope)
    part = Part(kind="rows") if where is None else Part(kind="values", x=trues(where))
    return Aggregate(
        sql=f"COUNT(*){filtered(where)}", parts=(part,), of=lambda n: n[part.name], constructs=_noted(where)
    )


def _values(q: Asking, scope: list[Expression]) -> Aggregate:
    x = q.expressions.expression(q.rng.choice([T.TEXT, T.DOUBLE, T.INTEGER, T.BOOLEAN, T.DATE]), scope)
    where = condition(q, scope)
    part = Part(kind="values", x=kept(x, where))
    return Aggregate(
        sql=f"COUNT({x.sql}){filtered(where)}", parts=(part,), of=lambda n: n[part.name], constructs=_noted(where)
    )


def _count_if(q: Asking, scope: list[Expression]) -> Aggregate:
    """COUNT_IF, and what else counts the rows that meet a condition."""
    x, where = q.expressions.expression(T.BOOLEAN, scope), condition(q, scope)
    part = Part(kind="values", x=kept(trues(x), where))
    sum_of_cases = "SUM(CASE WHEN {} THEN 1 ELSE 0 END)"
    text, construct = q.rng.choice(
        [
            ("COUNT_IF({})", "COUNT_IF"),
            ("COUNT_IF({})", "COUNT_IF"),
            ("COUNT(CASE WHEN {} THEN 1 END)", "CASE in COUNT"),
            # What depends on no row is summed as it is: the list of its values is not known.
            ("SUM({})", "a sum of conditions") if x.constant else (sum_of_cases, "CASE in SUM"),
            ("SUM({})", "a sum of conditions"),
        ]
    )
    return Aggregate(
        sql=f"{text.format(x.sql)}{filtered(where)}",
        parts=(part,),
        of=lambda n: n[part.name],
        constructs=_noted(where, construct),
    )


def _entities(q: Asking, scope: list[Expression]) -> Aggregate:
    shown = [c for c in scope if c.entity]
    if not shown:
        return _rows(q, scope)
    e, part, where = q.rng.choice(shown), Part(kind="entities"), condition(q, scope)
    sql, constructs = f"COUNT(DISTINCT {e.sql}){filtered(where)}", _noted(where)
    if where is None and q.rng.random() < 0.4:
        where = q.expressions.expression(T.BOOLEAN, scope, 1)
        text = q.rng.choice(["CASE WHEN {} THEN {} END", "IFF({}, {}, NULL)"]).format(where.sql, e.sql)
        sql, constructs = f"COUNT(DISTINCT {text})", ("entities with such a row",)
    if where is not None:
        part = Part(kind="entities", x=trues(where))
    return Aggregate(sql=sql, parts=(part,), of=lambda n: n[part.name], constructs=constructs)


def _summed(q: Asking, scope: list[Expression]) -> tuple[Expression, tuple[str, ...]]:
    """Return a number with a closed range, and what to note about it."""
    moment = number_of_a_moment(q, scope) if q.rng.random() < 0.25 else None
    if moment is not None:
        return moment, ("a number of a date",)
    x = q.expressions.summed(scope)
    if q.rng.random() < 0.15:
        c = q.expressions.expression(T.BOOLEAN, scope, 1)
        zero = (Fraction(0), Fraction(0))
        lo, hi = x.range
        assert lo is not None
        assert hi is not None
        cased = combined(
            f"(CASE WHEN {c.sql} THEN {x.sql} ELSE 0 END)",
            T.INTEGER if x.type is T.INTEGER else T.DOUBLE,
            lambda when, value: (value if x.type is T.INTEGER else mean.number(value)) if when is True else 0,
            c,
            x,
            span=(min(lo, zero[0]), max(hi, zero[1])),
        )
        return cased, ("CASE in SUM",)
    return x, ("a decimal",) if x.type is T.DECIMAL else ()


def _sum(q: Asking, scope: list[Expression]) -> Aggregate:
    (x, noted), where = _summed(q, scope), condition(q, scope)
    part = Part(kind="sum", x=kept(x, where))
    return Aggregate(
        sql=f"SUM({x.sql}){filtered(where)}",
        parts=(part,),
        of=lambda n: n[part.name],
        constructs=_noted(where, *noted),
    )


def _average(q: Asking, scope: list[Expression]) -> Aggregate:
    (x, noted), where = _summed(q, scope), condition(q, scope)
    if q.rng.random() < 0.2:  # the share of rows that meet a condition
        c = q.expressions.expression(T.BOOLEAN, scope, 1)
        x = replace(
            combined(c.sql, T.INTEGER, lambda v: None if v is None else int(v), c), range=(Fraction(0), Fraction(1))
        )
        noted = ("an average of conditions",)
    y = kept(x, where)
    total, count = Part(kind="centred sum", x=y), Part(kind="values", x=y)

    def of(n: Numbers) -> float | None:
        if n[count.name] <= 0:
            return None
        lo, hi, middle = n[f"ends {y.sql}"]
        return min(max(middle + n[total.name] / n[count.name], lo), hi)

    return Aggregate(
        sql=f"AVG({x.sql}){filtered(where)}", parts=(total, count), of=of, constructs=_noted(where, "AVG", *noted)
    )


def _mean(q: Asking, scope: list[Expression]) -> Aggregate:
    """SUM(x) / COUNT(x): both measured, so that the sum is taken around the middle."""
    x = q.expressions.summed(scope)
    total, count = Part(kind="sum", x=x), Part(kind="values", x=x)
    return Aggregate(
        sql=f"SUM({x.sql}) / COUNT({x.sql})",
        parts=(total, count),
        of=lambda n: None if n[count.name] == 0 else n[total.name] / n[count.name],
    )


def _spread(q: Asking, scope: list[Expression]) -> Aggregate:
    return spread(q, _summed(q, scope), where=condition(q, scope))


def _paired(q: Asking, scope: list[Expression]) -> Aggregate:
    return paired(q, q.expressions.summed(scope), q.expressions.summed(scope), where=condition(q, scope))


def _different(q: Asking, scope: list[Expression]) -> Aggregate:
    return different(q, scope, where=condition(q, scope))


def _quantile(q: Asking, scope: list[Expression]) -> Aggregate:
    return quantile(q, scope, where=condition(q, scope))


def _added(q: Asking, scope: list[Expression]) -> Aggregate:
    a, b = q.aggregate(scope), q.aggregate(scope)
    return Aggregate(
        sql=f"({a.sql} + 2 * {b.sql})",
        parts=(*a.parts, *b.parts),
        of=lambda n: mean.strict(lambda x, y: x + 2 * y)(a.of(n), b.of(n)),
        constructs=(*a.constructs, *b.constructs),
    )


def _with_noise_of_its_own(q: Asking, scope: list[Expression]) -> Aggregate:
    a = q.aggregate(scope) if q.rng.random() < 0.8 else _added(q, scope)
    gaussian = q.rng.choice([True, False])
    sql = f"cleanroom.addnoise({a.sql}, {q.rng.choice(['0.5', '2'])}, 0.5, {str(gaussian).upper()})"
    return replace(a, sql=sql, pool=sql, gaussian=gaussian)


COUNTS_AND_SUMS = (_rows, _values, _count_if, _entities, _sum, _sum, _average, _mean)
FURTHER = (_spread, _spread, _paired, _different, _quantile, _quantile)
TOGETHER = (_added, _with_noise_of_its_own)

AGGREGATES: list[Callable[[Asking, list[Expression]], Aggregate]] = [*COUNTS_AND_SUMS, *FURTHER, *TOGETHER]
"""What is measured. A new aggregate of the compiler is one more entry."""

ALONE = AGGREGATES[: -len(TOGETHER)]
"""Those that hold no other one."""
