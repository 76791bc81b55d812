"""Allowed functions of numbers. On doubles they cannot fail, or are guarded so that they give NULL instead. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates import spans
from cleanroom.templates.function_rules import Allowed, constant, literal_integer, number, whole
from cleanroom.templates.handlers import Handler, Translate, child
from cleanroom.templates.moments import whole_values
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.scalars import NUMERIC, OPEN, Scalar, Span, cast, combine, require
from cleanroom.templates.trees import double, fragment

_EARTH_KILOMETRES = 6371
_MOST_BUCKETS = 100_000


def absolute(node: exp.Expr, translate: Translate) -> Scalar:
    """Return ABS(x); NULL for the one integer that has none."""
    a = require(translate(child(node)), NUMERIC, what="ABS", at=node)
    if a.type is ColumnType.INTEGER:
        return combine("TRY(ABS(CAST(:a AS BIGINT)))", kind=a.type, span=spans.absolute(a.span), nullable=True, a=a)
    span = spans.absolute(a.span)
    return combine("ABS(:a)", kind=ColumnType.DOUBLE, span=span, a=cast(a, ColumnType.DOUBLE))


def sign(node: exp.Expr, translate: Translate) -> Scalar:
    """Return -1, 0 or 1."""
    only(node, {"this"})
    text = "CASE WHEN :a > 0 THEN 1 WHEN :a < 0 THEN -1 WHEN :a = 0 THEN 0 END"
    a = number(node, translate, what="SIGN")
    result = combine(text, kind=ColumnType.INTEGER, span=Span(lo=Fraction(-1), hi=Fraction(1)), a=a)
    return whole_values(replace(result, sql=fragment("CAST(:a AS BIGINT)", a=result.sql)), sure=True)


def _digits(node: exp.Expr, translate: Translate, what: str) -> int:
    if node.args.get("decimals") is None:
        return 0
    return literal_integer(node.args["decimals"], translate, least=-15, most=15, what=f"the digits of {what}")


def rounded(node: exp.Expr, translate: Translate) -> Scalar:
    """Return ROUND(x [, digits]) as DOUBLE; halves go away from zero."""
    only(node, {"this", "decimals", "casts_non_integer_decimals"})
    a = number(node, translate, what="ROUND")
    digits = _digits(node, translate, "ROUND")
    step = Fraction(10) ** -digits
    span = Span(
        lo=None if a.span.lo is None else floor(a.span.lo / step) * step,
        hi=None if a.span.hi is None else ceil(a.span.hi / step) * step,
    )
    return combine("ROUND(:a, :n)", kind=ColumnType.DOUBLE, span=span, a=a, n=constant(digits))


def _cut(word: str, do: Callable[[Fraction], int], beyond: str) -> Handler:
    """Return FLOOR, CEIL or TRUNC, also to digits: the rounded number, one step back where rounding went `beyond`."""

    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "decimals", "fractions_supported"})
        a = number(node, translate, what=word)
        digits = _digits(node, translate, word)
        step = Fraction(10) ** -digits
        span = spans.monotone(a.span, lambda x: do(x / step) * step)
        if not digits:
            return combine(f"{word}(:a)", kind=ColumnType.DOUBLE, span=span, a=a)
        back = {"FLOOR": "- :s", "CEIL": "+ :s", "TRUNC": "- SIGN(:a) * :s"}[word]
        text = f"CASE WHEN {beyond} THEN ROUND(ROUND(:a, :n) {back}, :n) ELSE ROUND(:a, :n) END"
        width = Scalar(sql=double(step), type=ColumnType.DOUBLE, nullable=False, constant=True)
        return combine(text, kind=ColumnType.DOUBLE, span=span, a=a, n=constant(digits), s=width)

    return handler


def _unknown(_: Span) -> Span:
    return OPEN


def _finite(call: str, what: str, span: Callable[[Span], Span] = _unknown, *, names: str = "a") -> Handler:
    """Return a function on doubles that gives NULL outside of its domain, and instead of infinity."""
    text = f"TRY(CASE WHEN ISFINITE({call}) THEN {call} END)"

    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "expression"} if names == "ab" else {"this"})
        a = number(node, translate, what=what)
        if names == "a":
            return combine(text, kind=ColumnType.DOUBLE, nullable=True, span=span(a.span), a=a)
        b = number(node, translate, what=what, name="expression")
        return combine(text, kind=ColumnType.DOUBLE, nullable=True, a=a, b=b)

    return handler


def _within(lo: float, hi: float) -> Callable[[Span], Span]:
    # Half a unit in the last place of pi is below 1e-15.
    return lambda _: Span(lo=Fraction(lo) - Fraction(1, 10**12), hi=Fraction(hi) + Fraction(1, 10**12))


def _rising(do: Callable[[float], float], lowest: float = -math.inf) -> Callable[[Span], Span]:
    """Return the range of a function that never falls, rounded outward; open where Python has no value for an end."""

    def end(x: Fraction | None, towards: float) -> Fraction | None:
        if x is None:
            return None
        try:
            value = do(max(float(x), lowest))
        except (ValueError, OverflowError):
            return None
        if not math.isfinite(value):
            return None
        return Fraction(math.nextafter(math.nextafter(value, towards), towards))

    return lambda a: Span(lo=end(a.lo, -math.inf), hi=end(a.hi, math.inf))


def _exact_root(a: Span) -> Span:
    """Return the range of SQRT, which is rounded correctly, so that the ends need no margin."""

    def end(x: Fraction | None) -> Fraction | None:
        try:
            return None if x is None else Fraction(math.sqrt(max(float(x), 0.0)))
        except OverflowError:
            return None

    return Span(lo=end(a.lo) or Fraction(0), hi=end(a.hi))


def power(node: exp.Expr, translate: Translate) -> Scalar:
    """Return POWER(x, y); NULL where that is no finite number."""
    only(node, {"this", "expression"})
    x = number(node, translate, what="POWER")
    exponent = translate(child(node, "expression"))
    y = cast(require(exponent, NUMERIC, what="POWER", at=node), ColumnType.DOUBLE)
    span = OPEN
    if exponent.literal == 2:
        square = spans.times(spans.absolute(x.span), spans.absolute(x.span))
        span = Span(lo=Fraction(0), hi=square.hi)
    text = "TRY(CASE WHEN ISFINITE(POWER(:a, :b)) THEN POWER(:a, :b) END)"
    return combine(text, kind=ColumnType.DOUBLE, nullable=True, span=span, a=x, b=y)


def logarithm(node: exp.Expr, translate: Translate) -> Scalar:
    """Return LOG(base, x); NULL unless base > 0, base <> 1 and x > 0."""
    only(node, {"this", "expression"})
    base, x = number(node, translate, what="LOG"), number(node, translate, what="LOG", name="expression")
    text = "TRY(CASE WHEN :b > 0 AND :b <> 1 AND :a > 0 AND ISFINITE(:a) AND ISFINITE(:b) THEN LOG(:b, :a) END)"
    written = base.span.lo
    span = OPEN
    if written is not None and written == base.span.hi and written > 1:  # it rises with x, and never falls
        span = _rising(lambda v: math.log(v) / math.log(float(written)))(x.span)
    return combine(text, kind=ColumnType.DOUBLE, nullable=True, span=span, a=x, b=base)


def pi(node: exp.Expr, _: Translate) -> Scalar:
    """Return the number."""
    only(node, ())
    value = Fraction(math.pi)
    return Scalar(
        sql=double(value), type=ColumnType.DOUBLE, nullable=False, span=Span(lo=value, hi=value), constant=True
    )


def haversine(node: exp.Expr, translate: Translate) -> Scalar:
    """Return HAVERSINE(lat1, lon1, lat2, lon2): the great-circle distance in kilometres."""
    if len(node.expressions) != 4:
        refuse("HAVERSINE takes four numbers", rule="function_form", cure="HAVERSINE(lat1, lon1, lat2, lon2)", at=node)
    names = ("a", "b", "c", "d")
    parts = {
        n: cast(require(translate(e), NUMERIC, what="HAVERSINE", at=node), ColumnType.DOUBLE)
        for n, e in zip(names, node.expressions, strict=True)
    }
    half = (
        "POWER(SIN(RADIANS(:c - :a) / 2e0), 2) "
        "+ COS(RADIANS(:a)) * COS(RADIANS(:c)) * POWER(SIN(RADIANS(:d - :b) / 2e0), 2)"
    )
    text = (
        "TRY(CASE WHEN ISFINITE(:a) AND ISFINITE(:b) AND ISFINITE(:c) AND ISFINITE(:d) "
        f"THEN {2 * _EARTH_KILOMETRES}e0 * ASIN(SQRT(LEAST(GREATEST({half}, 0e0), 1e0))) END)"
    )
    span = Span(lo=Fraction(0), hi=Fraction(20_016))
    return combine(text, kind=ColumnType.DOUBLE, nullable=True, span=span, **parts)


def _bits(text: str, *, two: bool = True) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "expression"} if two else {"this"})
        a = whole(node, translate, what="a function of bits")
        if not two:
            return combine(text, kind=ColumnType.INTEGER, a=a)
        b = whole(node, translate, what="a function of bits", name="expression")
        return combine(text, kind=ColumnType.INTEGER, a=a, b=b)

    return handler


def shift(node: exp.Expr, translate: Translate) -> Scalar:
    """Return BITSHIFTLEFT or BITSHIFTRIGHT by a literal number of bits; NULL where 64 bits do not hold it."""
    only(node, {"this", "expression", "requires_int128"})
    left = isinstance(node, exp.BitwiseLeftShift)
    word = "BITSHIFTLEFT" if left else "BITSHIFTRIGHT"
    n = literal_integer(node.args.get("expression"), translate, least=0, most=63, what=f"the number of {word}")
    a = whole(node, translate, what=word)
    if left:
        sql = "TRY_CAST(CAST(:a AS HUGEINT) * CAST(:n AS HUGEINT) AS BIGINT)"
        return combine(sql, kind=ColumnType.INTEGER, nullable=True, a=a, n=constant(2**n))
    sql = "CASE WHEN CAST(:a AS BIGINT) >= 0 THEN CAST(:a AS BIGINT) // CAST(:n AS HUGEINT) END"
    return combine(f"CAST({sql} AS BIGINT)", kind=ColumnType.INTEGER, nullable=True, a=a, n=constant(2**n))


def factorial(node: exp.Expr, translate: Translate) -> Scalar:
    """Return FACTORIAL(x) for 0 to 20, which 64 bits hold; NULL for others."""
    only(node, {"this"})
    span = Span(lo=Fraction(1), hi=Fraction(math.factorial(20)))
    sql = "CAST(FACTORIAL(CAST(CASE WHEN :a BETWEEN 0 AND 20 THEN :a END AS INTEGER)) AS BIGINT)"
    a = whole(node, translate, what="FACTORIAL")
    return combine(sql, kind=ColumnType.INTEGER, span=span, nullable=True, a=a)


def width_bucket(node: exp.Expr, translate: Translate) -> Scalar:
    """Return WIDTH_BUCKET(x, low, high, n): 1 to n, 0 below and n + 1 from `high` on; the ends are literals."""
    only(node, {"this", "min_value", "max_value", "num_buckets"})
    x = number(node, translate, what="WIDTH_BUCKET")
    ends = [translate(child(node, name)).literal for name in ("min_value", "max_value")]
    low, high = (Fraction(e) if isinstance(e, int | Fraction) else None for e in ends)
    if low is None or high is None or not low < high:
        refuse(
            "the ends of WIDTH_BUCKET must be two numbers written out, the lower one first",
            rule="literal_needed",
            cure="write WIDTH_BUCKET(x, low, high, number of buckets)",
            at=node,
        )
    n = literal_integer(
        node.args.get("num_buckets"), translate, least=1, most=_MOST_BUCKETS, what="the number of buckets"
    )
    text = (
        f"CAST(CASE WHEN ISFINITE(:x) THEN CASE WHEN :x < :lo THEN 0 WHEN :x >= :hi THEN {n + 1} "
        f"ELSE LEAST(FLOOR((:x - :lo) * {n} / :width) + 1, {n}) END END AS BIGINT)"
    )
    ends_sql = {
        name: Scalar(sql=double(value), type=ColumnType.DOUBLE, nullable=False, constant=True)
        for name, value in (("lo", low), ("hi", high), ("width", high - low))
    }
    span = Span(lo=Fraction(0), hi=Fraction(n + 1))
    return whole_values(combine(text, kind=ColumnType.INTEGER, span=span, nullable=True, x=x, **ends_sql), sure=True)


_DOUBLES = "number → double"
_UNSIGNED = "CASE WHEN :{0} = 0e0 THEN 0e0 ELSE :{0} END"
"""A number without the sign of zero: equal arguments have equal angles."""
_GUARDED = "on doubles; NULL where it is not defined or not finite"
_TOTAL = "defined for every double"
_ONE = _within(-1, 1)


def _trigonometry() -> dict[type[exp.Expr], Allowed]:
    known: dict[type[exp.Expr], tuple[str, Callable[[Span], Span]]] = {
        exp.Sin: ("SIN", _ONE),
        exp.Cos: ("COS", _ONE),
        exp.Tan: ("TAN", _unknown),
        exp.Cot: ("COT", _unknown),
        exp.Asin: ("ASIN", _within(-math.pi / 2, math.pi / 2)),
        exp.Acos: ("ACOS", _within(0, math.pi)),
        exp.Atan: ("ATAN", _within(-math.pi / 2, math.pi / 2)),
        exp.Sinh: ("SINH", _rising(math.sinh)),
        exp.Cosh: ("COSH", _unknown),
        exp.Tanh: ("TANH", _ONE),
        exp.Asinh: ("ASINH", _rising(math.asinh)),
        exp.Acosh: ("ACOSH", _unknown),
        exp.Atanh: ("ATANH", _unknown),
        exp.Degrees: ("DEGREES", _rising(math.degrees)),
        exp.Radians: ("RADIANS", _rising(math.radians)),
    }
    return {
        kind: Allowed(
            handler=_finite(f"{word}(:a)", word, span), examples=(f"{word}(x)",), types=_DOUBLES, reason=_GUARDED
        )
        for kind, (word, span) in known.items()
    }


NUMBER_FUNCTIONS: Mapping[type[exp.Expr], Allowed] = {
    exp.Abs: Allowed(
        handler=absolute,
        examples=("ABS(x)",),
        types="integer → integer; number → double",
        reason="on integers in TRY, for the one that overflows",
    ),
    exp.Sign: Allowed(handler=sign, examples=("SIGN(x)",), types="number → integer", reason="compares with 0"),
    exp.Round: Allowed(
        handler=rounded,
        examples=("ROUND(x)", "ROUND(x, 2)"),
        types=_DOUBLES,
        reason=f"{_TOTAL}; the digits are a literal from -15 to 15",
    ),
    exp.Floor: Allowed(
        handler=_cut("FLOOR", floor, "ROUND(:a, :n) > :a"),
        examples=("FLOOR(x)", "FLOOR(x, 2)"),
        types=_DOUBLES,
        reason=f"{_TOTAL}; the digits are a literal from -15 to 15",
    ),
    exp.Ceil: Allowed(
        handler=_cut("CEIL", ceil, "ROUND(:a, :n) < :a"),
        examples=("CEIL(x)", "CEIL(x, 2)"),
        types=_DOUBLES,
        reason=f"{_TOTAL}; the digits are a literal from -15 to 15",
    ),
    exp.Trunc: Allowed(
        handler=_cut("TRUNC", math.trunc, "ABS(ROUND(:a, :n)) > ABS(:a)"),
        examples=("TRUNC(x)", "TRUNC(x, 2)", "TRUNCATE(x, 2)"),
        types=_DOUBLES,
        reason=f"{_TOTAL}; the digits are a literal from -15 to 15",
    ),
    exp.Sqrt: Allowed(
        handler=_finite("CASE WHEN :a >= 0 THEN SQRT(:a) END", "SQRT", _exact_root),
        examples=("SQRT(x)",),
        types=_DOUBLES,
        reason=_GUARDED,
    ),
    exp.Cbrt: Allowed(
        handler=_finite("CBRT(:a)", "CBRT", _rising(math.cbrt)), examples=("CBRT(x)",), types=_DOUBLES, reason=_GUARDED
    ),
    exp.Ln: Allowed(
        handler=_finite("CASE WHEN :a > 0 THEN LN(:a) END", "LN", _rising(math.log)),
        examples=("LN(x)",),
        types=_DOUBLES,
        reason=_GUARDED,
    ),
    exp.Log: Allowed(handler=logarithm, examples=("LOG(10, x)",), types=_DOUBLES, reason=_GUARDED),
    exp.Exp: Allowed(
        handler=_finite("EXP(:a)", "EXP", _rising(math.exp)), examples=("EXP(x)",), types=_DOUBLES, reason=_GUARDED
    ),
    exp.Pow: Allowed(
        handler=power, examples=("POWER(x, y)", "POW(x, y)", "SQUARE(x)"), types=_DOUBLES, reason=_GUARDED
    ),
    **_trigonometry(),
    exp.Atan2: Allowed(
        handler=_finite(f"ATAN2({_UNSIGNED.format('a')}, {_UNSIGNED.format('b')})", "ATAN2", names="ab"),
        examples=("ATAN2(x, y)",),
        types=_DOUBLES,
        reason=_GUARDED,
    ),
    exp.Pi: Allowed(handler=pi, examples=("PI()",), types="→ double", reason="a constant"),
    exp.BitwiseAnd: Allowed(
        handler=_bits("CAST(:a AS BIGINT) & CAST(:b AS BIGINT)"),
        examples=("BITAND(x, y)",),
        types="integers → integer",
        reason="defined for all 64-bit integers",
    ),
    exp.BitwiseOr: Allowed(
        handler=_bits("CAST(:a AS BIGINT) | CAST(:b AS BIGINT)"),
        examples=("BITOR(x, y)",),
        types="integers → integer",
        reason="defined for all 64-bit integers",
    ),
    exp.BitwiseXor: Allowed(
        handler=_bits("XOR(CAST(:a AS BIGINT), CAST(:b AS BIGINT))"),
        examples=("BITXOR(x, y)",),
        types="integers → integer",
        reason="defined for all 64-bit integers",
    ),
    exp.BitwiseNot: Allowed(
        handler=_bits("-1 - CAST(:a AS BIGINT)", two=False),
        examples=("BITNOT(x)",),
        types="integer → integer",
        reason="-1 - x, which no 64-bit integer can make overflow",
    ),
    exp.BitwiseLeftShift: Allowed(
        handler=shift,
        examples=("BITSHIFTLEFT(x, 3)",),
        types="integer → integer",
        reason="by a literal number of bits; NULL where 64 bits do not hold it",
    ),
    exp.BitwiseRightShift: Allowed(
        handler=shift,
        examples=("BITSHIFTRIGHT(x, 3)",),
        types="integer → integer",
        reason="by a literal number of bits; NULL for negative numbers",
    ),
    exp.Factorial: Allowed(
        handler=factorial, examples=("FACTORIAL(x)",), types="integer → integer", reason="NULL outside 0 to 20"
    ),
    exp.WidthBucket: Allowed(
        handler=width_bucket,
        examples=("WIDTH_BUCKET(x, 0, 100, 10)",),
        types="number → integer",
        reason="ends and number of buckets are literals; NULL for NaN and infinity",
    ),
}
"""Parser's class -> what is allowed."""

NAMED_NUMBER_FUNCTIONS: Mapping[str, Allowed] = {
    "HAVERSINE": Allowed(
        handler=haversine,
        examples=("HAVERSINE(x, y, x, y)",),
        types="numbers → double",
        reason="on a sphere of 6,371 km; NULL for NaN and infinity",
    ),
}
"""Names that the parser has no class for -> what is allowed."""
