"""The allow-list of row-wise functions, each with the reason why it is total and deterministic. Pure.

What is not here is refused: the engine offers functions that read files, run SQL, sleep, or fail with a row's value in
the message. Aggregates are in `aggregates.py`; `addnoise` is in `addnoise.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates import spans
from cleanroom.templates.operators import TEXT, Handler, Translate, child
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.scalars import (
    NUMERIC,
    OPEN,
    TEMPORAL,
    Scalar,
    Span,
    build,
    cast,
    combine,
    require,
    unified,
    within_years,
)
from cleanroom.templates.trees import fragment, integer


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """One allowed function.

    Attributes:
        handler: checks the arguments and builds the DuckDB tree.
        reason: why no row can make it fail, and why it gives the same value each time.
    """

    handler: Handler
    reason: str


def _arguments(node: exp.Expr) -> list[exp.Expr]:
    return [child(node), *node.expressions]


def coalesce(node: exp.Expr, translate: Translate) -> Scalar:
    """Return the first that is not NULL."""
    to, parts = unified([translate(a) for a in _arguments(node)], at=node)
    names = {f"a{i}": part for i, part in enumerate(parts)}
    text = f"COALESCE({', '.join(f':{n}' for n in names)})"
    span = spans.either([p.span for p in parts if p.type is not None]) if to is not None else Span()
    return build(
        lambda trees: fragment(text, **trees), names, kind=to, span=span, nullable=all(p.nullable for p in parts)
    )


def _extreme(word: str, span: Callable[[list[Span]], Span]) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        to, parts = unified([translate(a) for a in _arguments(node)], at=node)
        names = {f"a{i}": part for i, part in enumerate(parts)}
        any_null = " OR ".join(f":{n} IS NULL" for n in names)  # the engine would skip NULLs, Snowflake does not
        text = f"CASE WHEN {any_null} THEN NULL ELSE {word}({', '.join(f':{n}' for n in names)}) END"
        known = span([p.span for p in parts if p.type is not None])
        return build(lambda trees: fragment(text, **trees), names, kind=to, span=known, copies=2)

    return handler


def nullif(node: exp.Expr, translate: Translate) -> Scalar:
    """Return NULL where both are equal, else the first."""
    to, (a, b) = unified([translate(child(node)), translate(child(node, "expression"))], at=node)
    return combine("NULLIF(:a, :b)", kind=to, span=a.span, nullable=True, a=a, b=b)


def absolute(node: exp.Expr, translate: Translate) -> Scalar:
    """Return ABS(x); NULL for the one integer that has none."""
    a = require(translate(child(node)), NUMERIC, what="ABS", at=node)
    if a.type is ColumnType.INTEGER:
        return combine("TRY(ABS(CAST(:a AS BIGINT)))", kind=a.type, span=spans.absolute(a.span), nullable=True, a=a)
    span = spans.absolute(a.span)
    return combine("ABS(:a)", kind=ColumnType.DOUBLE, span=span, a=cast(a, ColumnType.DOUBLE))


def sign(node: exp.Expr, translate: Translate) -> Scalar:
    """Return -1, 0 or 1."""
    a = require(translate(child(node)), NUMERIC, what="SIGN", at=node)
    text = "CASE WHEN :a > 0 THEN 1 WHEN :a < 0 THEN -1 WHEN :a = 0 THEN 0 END"
    result = combine(
        text, kind=ColumnType.INTEGER, span=Span(lo=Fraction(-1), hi=Fraction(1)), a=cast(a, ColumnType.DOUBLE)
    )
    return replace(result, sql=fragment("CAST(:a AS BIGINT)", a=result.sql))


def literal_integer(node: exp.Expr | None, translate: Translate, *, least: int, most: int, what: str) -> int:
    """Return the whole number that the node writes out.

    Raises:
        TemplateRefusedError: rule `literal_needed`.
    """
    value = translate(node).literal if node is not None else None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        refuse(
            f"{what} must be a whole number written out, from {least} to {most}",
            rule="literal_needed",
            cure="write a number",
            at=node,
        )
    return value


def literal_text(node: exp.Expr | None, translate: Translate, *, what: str) -> str:
    """Return the text that the node writes out.

    Raises:
        TemplateRefusedError: rule `literal_needed`.
    """
    value = translate(node).literal if node is not None else None
    if not isinstance(value, str):
        refuse(f"{what} must be a text written out", rule="literal_needed", cure="write the text", at=node)
    return value


def constant(value: int | str) -> Scalar:
    """Return a literal of ours as a scalar."""
    tree = integer(value) if isinstance(value, int) else exp.Literal.string(value)
    kind = ColumnType.INTEGER if isinstance(value, int) else ColumnType.TEXT
    return Scalar(sql=tree, type=kind, nullable=False, constant=True, literal=value)


def rounded(node: exp.Expr, translate: Translate) -> Scalar:
    """Return ROUND(x [, digits]) as DOUBLE."""
    only(node, {"this", "decimals", "casts_non_integer_decimals"})
    a = require(translate(child(node)), NUMERIC, what="ROUND", at=node)
    digits = 0
    if node.args.get("decimals") is not None:
        digits = literal_integer(node.args["decimals"], translate, least=-15, most=15, what="the digits of ROUND")
    step = Fraction(10) ** -digits
    span = Span(
        lo=None if a.span.lo is None else floor(a.span.lo / step) * step,
        hi=None if a.span.hi is None else ceil(a.span.hi / step) * step,
    )
    text = "ROUND(:a, :n)"
    return combine(text, kind=ColumnType.DOUBLE, span=span, a=cast(a, ColumnType.DOUBLE), n=constant(digits))


def _whole(word: str, do: Callable[[Fraction], Fraction]) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this"})
        a = require(translate(child(node)), NUMERIC, what=word, at=node)
        span = spans.monotone(a.span, do)
        return combine(f"{word}(:a)", kind=ColumnType.DOUBLE, span=span, a=cast(a, ColumnType.DOUBLE))

    return handler


def _guarded(text: str, what: str, span: Span = OPEN) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this"})
        a = require(translate(child(node)), NUMERIC, what=what, at=node)
        return combine(text, kind=ColumnType.DOUBLE, nullable=True, span=span, a=cast(a, ColumnType.DOUBLE))

    return handler


def power(node: exp.Expr, translate: Translate) -> Scalar:
    """Return POWER(x, y); NULL where that is not a number."""
    only(node, {"this", "expression"})
    a = require(translate(child(node)), NUMERIC, what="POWER", at=node)
    b = require(translate(child(node, "expression")), NUMERIC, what="POWER", at=node)
    text = "TRY(CASE WHEN ISFINITE(POWER(:a, :b)) THEN POWER(:a, :b) END)"
    x, y = cast(a, ColumnType.DOUBLE), cast(b, ColumnType.DOUBLE)
    return combine(text, kind=ColumnType.DOUBLE, nullable=True, a=x, b=y)


def _text(text: str, kind: ColumnType = ColumnType.TEXT) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "binary"})
        a = require(translate(child(node)), TEXT, what="this function", at=node)
        span = Span(lo=Fraction(0)) if kind is ColumnType.INTEGER else Span()
        return combine(text, kind=kind, span=span, a=cast(a, ColumnType.TEXT))

    return handler


def trim(node: exp.Expr, translate: Translate) -> Scalar:
    """Return TRIM, LTRIM or RTRIM of spaces."""
    only(node, {"this", "position"})
    word = {"LEADING": "LTRIM", "TRAILING": "RTRIM"}.get(str(node.args.get("position") or ""), "TRIM")
    a = require(translate(child(node)), TEXT, what=word, at=node)
    return combine(f"{word}(:a, ' ')", kind=ColumnType.TEXT, a=cast(a, ColumnType.TEXT))


def substring(node: exp.Expr, translate: Translate) -> Scalar:
    """Return SUBSTR(text, start [, length]) with both numbers written out."""
    only(node, {"this", "start", "length", "zero_start"})
    a = cast(require(translate(child(node)), TEXT, what="SUBSTR", at=node), ColumnType.TEXT)
    start = literal_integer(node.args.get("start"), translate, least=-10_000, most=10_000, what="the start of SUBSTR")
    length = 1_000_000
    if node.args.get("length") is not None:
        length = literal_integer(node.args["length"], translate, least=0, most=1_000_000, what="the length of SUBSTR")
    first = constant(start or 1)  # a start of 0 means 1 there
    return combine("SUBSTR(:a, :s, :n)", kind=ColumnType.TEXT, a=a, s=first, n=constant(length))


def _side(word: str) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "expression", "negative_length_returns_empty"})
        a = cast(require(translate(child(node)), TEXT, what=word, at=node), ColumnType.TEXT)
        n = literal_integer(
            node.args.get("expression"), translate, least=0, most=1_000_000, what=f"the length of {word}"
        )
        return combine(f"{word}(:a, :n)", kind=ColumnType.TEXT, a=a, n=constant(n))

    return handler


LONGEST_TEXT = 4_096
"""Characters that a joined text keeps. Without a limit, a column joined to itself in a chain of CTEs doubles each time,
and a run would run out of memory where one entity has a text in it, and not without it."""


def concatenation(node: exp.Expr, translate: Translate) -> Scalar:
    """Return a || b, its first 4,096 characters; NULL as soon as one is."""
    if isinstance(node, exp.DPipe):
        only(node, {"this", "expression", "safe"})
        operands = [child(node), child(node, "expression")]
    else:
        only(node, {"expressions", "safe"})
        operands = node.expressions
    names = {}
    for i, operand in enumerate(operands):
        names[f"a{i}"] = cast(require(translate(operand), TEXT, what="||", at=node), ColumnType.TEXT)
    text = f"LEFT({' || '.join(f':{n}' for n in names)}, {LONGEST_TEXT})"
    return build(lambda trees: fragment(text, **trees), names, kind=ColumnType.TEXT)


def _like(word: str) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "expression"})
        return _matched(word, node, "", translate)

    return handler


def _matched(word: str, node: exp.Expr, escape: str, translate: Translate) -> Scalar:
    a = cast(require(translate(child(node)), TEXT, what=word, at=node), ColumnType.TEXT)
    pattern = literal_text(node.args.get("expression"), translate, what=f"the pattern of {word}")
    if escape and pattern.replace(escape * 2, "").endswith(escape):  # the engine fails on that, if a row reaches it
        refuse("the pattern ends with its escape", rule="literal_needed", cure="end it with a character", at=node)
    make_escape = f" ESCAPE '{escape}'" if escape in ("!", "#", "^", "~", "|", "@", "\\") else ""
    return combine(f":a {word} :p{make_escape}", kind=ColumnType.BOOLEAN, a=a, p=constant(pattern))


def escaped(node: exp.Expr, translate: Translate) -> Scalar:
    """Return x LIKE pattern ESCAPE character."""
    only(node, {"this", "expression"})
    inner = child(node)
    escape = literal_text(node.args.get("expression"), translate, what="the escape")
    if not isinstance(inner, exp.Like | exp.ILike) or escape not in ("!", "#", "^", "~", "|", "@", "\\"):
        refuse("ESCAPE needs one of ! # ^ ~ | @ \\", rule="literal_needed", cure="use one of those characters", at=node)
    only(inner, {"this", "expression"})
    return _matched("LIKE" if isinstance(inner, exp.Like) else "ILIKE", inner, escape, translate)


def starts_with(node: exp.Expr, translate: Translate) -> Scalar:
    """Return whether a text begins with another."""
    only(node, {"this", "expression"})
    a = cast(require(translate(child(node)), TEXT, what="STARTSWITH", at=node), ColumnType.TEXT)
    b = cast(require(translate(child(node, "expression")), TEXT, what="STARTSWITH", at=node), ColumnType.TEXT)
    return combine("STARTS_WITH(:a, :b)", kind=ColumnType.BOOLEAN, a=a, b=b)


_FIELDS = {
    "YEAR": Span(),
    "QUARTER": Span(lo=Fraction(1), hi=Fraction(4)),
    "MONTH": Span(lo=Fraction(1), hi=Fraction(12)),
    "WEEK": Span(lo=Fraction(1), hi=Fraction(53)),
    "DAY": Span(lo=Fraction(1), hi=Fraction(31)),
    "DAYOFWEEK": Span(lo=Fraction(0), hi=Fraction(6)),
    "DAYOFYEAR": Span(lo=Fraction(1), hi=Fraction(366)),
    "HOUR": Span(lo=Fraction(0), hi=Fraction(23)),
    "MINUTE": Span(lo=Fraction(0), hi=Fraction(59)),
    "SECOND": Span(lo=Fraction(0), hi=Fraction(60)),
}


def _moment(scalar: Scalar, *, at: exp.Expr) -> Scalar:
    if scalar.type is ColumnType.TEXT and scalar.literal is not None:
        return cast(scalar, ColumnType.DATE)
    return require(scalar, TEMPORAL, what="a date function", at=at)


def _date_field(word: str, moment: exp.Expr, translate: Translate, *, at: exp.Expr) -> Scalar:
    name = {"DAYOFMONTH": "DAY", "DOW": "DAYOFWEEK", "DOY": "DAYOFYEAR"}.get(word.upper(), word.upper())
    if name not in _FIELDS:
        refuse(
            "this part of a date is not supported",
            rule="function_not_allowed",
            cure=f"use one of {', '.join(_FIELDS)}",
            at=at,
        )
    a = cast(_moment(translate(moment), at=at), ColumnType.TIMESTAMP)
    # NULL for infinite dates
    return combine(f"TRY({name}(:a))", kind=ColumnType.INTEGER, span=_FIELDS[name], nullable=True, a=a)


def _field(word: str) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this"})
        return _date_field(word, child(node), translate, at=node)

    return handler


def extract(node: exp.Expr, translate: Translate) -> Scalar:
    """Return EXTRACT(part FROM x), DATE_PART."""
    only(node, {"this", "expression"})
    return _date_field(child(node).name, child(node, "expression"), translate, at=node)


def date_trunc(node: exp.Expr, translate: Translate) -> Scalar:
    """Return the moment cut to a unit, of the same type as what was cut; NULL outside the years 1 to 9999."""
    only(node, {"this", "unit", "input_type_preserved", "zone"})
    unit = child(node, "unit").name.upper()
    a = _moment(translate(child(node)), at=node)
    units = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE")
    if unit not in units or node.args.get("zone") is not None:
        refuse(
            "this unit of DATE_TRUNC is not supported",
            rule="function_not_allowed",
            cure=f"use one of {', '.join(units)}",
            at=node,
        )
    to = "DATE" if a.type is ColumnType.DATE else "TIMESTAMP"
    return combine(
        f"TRY_CAST(TRY(DATE_TRUNC(:u, {within_years(to)})) AS {to})",
        kind=a.type,
        nullable=True,
        a=a,
        u=constant(unit.lower()),
    )


def to_date(node: exp.Expr, translate: Translate) -> Scalar:
    """Return TO_DATE(x) without a format; NULL where it is no date."""
    only(node, {"this", "safe"})
    return cast(translate(child(node)), ColumnType.DATE)


_NUMBER = "on doubles; out of range gives infinity or NULL"
_STRING = "defined for every text"
_JOINED = "defined for every text, and cut after 4,096 characters"
_PART = "a field of a date; NULL for infinite dates"

FUNCTIONS: Mapping[type[exp.Expr], Allowed] = {
    exp.Coalesce: Allowed(handler=coalesce, reason="chooses among its arguments, all brought to one type before"),
    exp.Nullif: Allowed(handler=nullif, reason="compares two values of one type"),
    exp.Least: Allowed(handler=_extreme("LEAST", spans.least), reason="compares values of one type"),
    exp.Greatest: Allowed(handler=_extreme("GREATEST", spans.greatest), reason="compares values of one type"),
    exp.Abs: Allowed(handler=absolute, reason="on integers in TRY, for the one that overflows"),
    exp.Sign: Allowed(handler=sign, reason="compares with 0"),
    exp.Round: Allowed(handler=rounded, reason=_NUMBER),
    exp.Floor: Allowed(handler=_whole("FLOOR", lambda x: Fraction(floor(x))), reason=_NUMBER),
    exp.Ceil: Allowed(handler=_whole("CEIL", lambda x: Fraction(ceil(x))), reason=_NUMBER),
    exp.Sqrt: Allowed(
        handler=_guarded("TRY(CASE WHEN :a >= 0 THEN SQRT(:a) END)", "SQRT"), reason="guarded: NULL below 0"
    ),
    exp.Ln: Allowed(
        handler=_guarded("TRY(CASE WHEN :a > 0 THEN LN(:a) END)", "LN"), reason="guarded: NULL at and below 0"
    ),
    exp.Exp: Allowed(handler=_guarded("TRY(EXP(:a))", "EXP"), reason=_NUMBER),
    exp.Pow: Allowed(handler=power, reason="in TRY, and NULL where the result is no finite number"),
    exp.Lower: Allowed(handler=_text("LOWER(:a)"), reason=_STRING),
    exp.Upper: Allowed(handler=_text("UPPER(:a)"), reason=_STRING),
    exp.Length: Allowed(handler=_text("LENGTH(:a)", ColumnType.INTEGER), reason=_STRING),
    exp.Trim: Allowed(handler=trim, reason=_STRING),
    exp.Substring: Allowed(handler=substring, reason="positions are literals within limits"),
    exp.Left: Allowed(handler=_side("LEFT"), reason="the length is a literal within limits"),
    exp.Right: Allowed(handler=_side("RIGHT"), reason="the length is a literal within limits"),
    exp.Concat: Allowed(handler=concatenation, reason=_JOINED),
    exp.DPipe: Allowed(handler=concatenation, reason=_JOINED),
    exp.Like: Allowed(handler=_like("LIKE"), reason="the pattern is a literal, checked when compiled"),
    exp.ILike: Allowed(handler=_like("ILIKE"), reason="the pattern is a literal, checked when compiled"),
    exp.Escape: Allowed(handler=escaped, reason="pattern and escape are literals, checked when compiled"),
    exp.StartsWith: Allowed(handler=starts_with, reason=_STRING),
    exp.Year: Allowed(handler=_field("YEAR"), reason=_PART),
    exp.Quarter: Allowed(handler=_field("QUARTER"), reason=_PART),
    exp.Month: Allowed(handler=_field("MONTH"), reason=_PART),
    exp.Day: Allowed(handler=_field("DAY"), reason=_PART),
    exp.DayOfMonth: Allowed(handler=_field("DAY"), reason=_PART),
    exp.DayOfWeek: Allowed(handler=_field("DAYOFWEEK"), reason=_PART),
    exp.DayOfYear: Allowed(handler=_field("DAYOFYEAR"), reason=_PART),
    exp.Hour: Allowed(handler=_field("HOUR"), reason=_PART),
    exp.Minute: Allowed(handler=_field("MINUTE"), reason=_PART),
    exp.Second: Allowed(handler=_field("SECOND"), reason=_PART),
    exp.Extract: Allowed(handler=extract, reason=_PART),
    exp.TimestampTrunc: Allowed(
        handler=date_trunc, reason="in TRY, NULL outside the years 1 to 9999; the unit is one of a fixed list"
    ),
    exp.DateTrunc: Allowed(
        handler=date_trunc, reason="in TRY, NULL outside the years 1 to 9999; the unit is one of a fixed list"
    ),
    exp.TsOrDsToDate: Allowed(handler=to_date, reason="TRY_CAST: NULL where the text is no date"),
}
"""Parser's class -> what is allowed. One list, closed."""
