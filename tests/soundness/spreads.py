"""Variances, deviations, covariances and correlations: what is measured for each, and its value from that."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.soundness.parts import Aggregate, Part, filtered, kept
from tests.soundness.reference_grids import present

if TYPE_CHECKING:
    from tests.soundness.expressions import Expression
    from tests.soundness.parts import Asking, Numbers

SPREADS = ("VARIANCE", "VAR_POP", "VAR_SAMP", "STDDEV", "STDDEV_POP", "STDDEV_SAMP")
POPULATION = ("VAR_POP", "STDDEV_POP", "COVAR_POP")
PAIRED = ("COVAR_POP", "COVAR_SAMP", "CORR")


def spread(q: Asking, given: tuple[Expression, tuple[str, ...]], *, where: Expression | None) -> Aggregate:
    """Return E[(x - a)^2] - E[x - a]^2, between 0 and a quarter of the squared range: no values have a larger one."""
    x, noted = given
    word, y = q.rng.choice(SPREADS), kept(x, where)
    total, squares, count = (Part(kind=kind, x=y) for kind in ("centred sum", "squares", "values"))

    def of(n: Numbers) -> float | None:
        rows = n[count.name]
        if rows <= (0 if word in POPULATION else 1):
            return None
        lo, hi, _ = n[f"ends {y.sql}"]
        off = n[total.name] / rows
        variance = min(max(n[f"middle of {squares.name}"] + n[squares.name] / rows - off * off, 0.0), _half(lo, hi))
        if word not in POPULATION:
            variance = variance * rows / (rows - 1)
        return math.sqrt(variance) if word.startswith("STDDEV") else variance

    constructs = (word, *noted, *(() if where is None else ("FILTER",)))
    return Aggregate(
        sql=f"{word}({x.sql}){filtered(where)}", parts=(total, squares, count), of=of, constructs=constructs
    )


def _half(lo: float, hi: float) -> float:
    return ((hi - lo) / 2) ** 2


def paired(q: Asking, x: Expression, y: Expression, *, where: Expression | None) -> Aggregate:
    """Return a covariance or correlation of the rows in which both values are there."""
    word = q.rng.choice(PAIRED)
    a, b = kept(_beside(x, y), where), kept(_beside(y, x), where)
    one, other, count = Part(kind="centred sum", x=a), Part(kind="centred sum", x=b), Part(kind="values", x=a)
    products = Part(kind="squares", x=a) if x.sql == y.sql else Part(kind="product", x=a, y=b)
    squares = tuple(Part(kind="squares", x=v) for v in (a, b)) if word == "CORR" else ()

    def mean_of(n: Numbers, part: Part) -> float:
        return float(n[f"middle of {part.name}"] + n[part.name] / n[count.name])

    def of(n: Numbers) -> float | None:
        rows = n[count.name]
        if rows <= (1 if word == "COVAR_SAMP" else 0):
            return None
        off = n[one.name] / rows, n[other.name] / rows
        covariance = mean_of(n, products) - off[0] * off[1]
        if word == "CORR":
            variances = [mean_of(n, s) - o * o for s, o in zip(squares, off, strict=True)]
            if min(variances) <= 0:
                return None
            return min(max(covariance / (math.sqrt(variances[0]) * math.sqrt(variances[1])), -1.0), 1.0)
        (lo, hi, _), (low, high, _) = n[f"ends {a.sql}"], n[f"ends {b.sql}"]
        most = (hi - lo) * (high - low) / 4
        covariance = min(max(covariance, -most), most)
        return covariance * rows / (rows - 1) if word == "COVAR_SAMP" else covariance

    constructs = ("CORR" if word == "CORR" else "COVAR", *(() if where is None else ("FILTER",)))
    parts = (one, other, products, *squares, count)
    return Aggregate(sql=f"{word}({x.sql}, {y.sql}){filtered(where)}", parts=parts, of=of, constructs=constructs)


def _beside(x: Expression, y: Expression) -> Expression:
    """Return x where y is there, and NULL elsewhere."""
    return replace(
        x,
        sql=f"{x.sql} beside {y.sql}",
        of=lambda row: x.of(row) if present(y.of(row)) else None,
        column=False,
        entity=False,
    )
