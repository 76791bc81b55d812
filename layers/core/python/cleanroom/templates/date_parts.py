"""Parts of dates, as numbers and names: handlers of `function_dates.py`. Pure.

Weeks begin on Monday and are numbered as ISO 8601 says, a Sunday is day 0: what Snowflake's session parameters
WEEK_START and WEEK_OF_YEAR_POLICY are without being set.
"""

from __future__ import annotations

from fractions import Fraction

from sqlglot import exp

from cleanroom.rooms.moments import FIRST_DAY, MICROSECONDS_PER_DAY, day
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates import spans
from cleanroom.templates.calendar_units import index, unit_named
from cleanroom.templates.function_rules import moment, refuse_form
from cleanroom.templates.handlers import Handler, Translate, child
from cleanroom.templates.moments import (
    as_integer,
    whole_values,
    with_values,
)
from cleanroom.templates.refusals import only
from cleanroom.templates.scalars import Scalar, Span, cast, combine, guarded


def _span(lo: int, hi: int) -> Span:
    return Span(lo=Fraction(lo), hi=Fraction(hi))


_FIELDS: dict[str, tuple[str, Span]] = {
    "YEAR": ("year", _span(1, 9999)),
    "YEAROFWEEK": ("isoyear", _span(0, 10_000)),
    "QUARTER": ("quarter", _span(1, 4)),
    "MONTH": ("month", _span(1, 12)),
    "WEEK": ("week", _span(1, 53)),
    "DAY": ("day", _span(1, 31)),
    "DAYOFWEEK": ("dayofweek", _span(0, 6)),
    "DAYOFWEEKISO": ("isodow", _span(1, 7)),
    "DAYOFYEAR": ("dayofyear", _span(1, 366)),
    "HOUR": ("hour", _span(0, 23)),
    "MINUTE": ("minute", _span(0, 59)),
    "SECOND": ("second", _span(0, 59)),
}
"""Part -> the engine's name, and the range within the years 1 to 9999."""

_EPOCHS = {"EPOCH_SECOND": 1_000_000, "EPOCH_MILLISECOND": 1_000, "EPOCH_MICROSECOND": 1}

_PARTS = {
    "DAYOFMONTH": "DAY",
    "DOW": "DAYOFWEEK",
    "DW": "DAYOFWEEK",
    "WEEKDAY": "DAYOFWEEK",
    "DOY": "DAYOFYEAR",
    "DY": "DAYOFYEAR",
    "YEARDAY": "DAYOFYEAR",
    "WEEKISO": "WEEK",
    "WEEK_ISO": "WEEK",
    "WEEKOFYEAR": "WEEK",
    "WOY": "WEEK",
    "WY": "WEEK",
    "YEAROFWEEKISO": "YEAROFWEEK",
    "ISODOW": "DAYOFWEEKISO",
    "ISOYEAR": "YEAROFWEEK",
    "WEEKDAY_ISO": "DAYOFWEEKISO",
    "DOW_ISO": "DAYOFWEEKISO",
    "DW_ISO": "DAYOFWEEKISO",
    "DAYOFWEEK_ISO": "DAYOFWEEKISO",
    "EPOCH": "EPOCH_SECOND",
    "EPOCH_SECONDS": "EPOCH_SECOND",
    "EPOCH_MILLISECONDS": "EPOCH_MILLISECOND",
    "EPOCH_MICROSECONDS": "EPOCH_MICROSECOND",
}


def _date_field(name: str, a: Scalar, *, at: exp.Expr) -> Scalar:
    upper = _PARTS.get(name.upper(), name.upper())
    part = upper if upper in _FIELDS or upper in _EPOCHS else (unit_named(upper) or "")
    if part in _EPOCHS:
        return _epoch(a, _EPOCHS[part])
    if part not in _FIELDS:
        refuse_form("this part of a date", cure=f"use one of {', '.join((*_FIELDS, *_EPOCHS))}", at=at)
    engine, span = _FIELDS[part]
    if part in ("HOUR", "MINUTE", "SECOND"):
        a = cast(a, ColumnType.TIMESTAMP)
    kind = a.type or ColumnType.DATE
    # Of a constant NULL the engine's part is a double, and would make doubles of the integers beside it.
    text = f"CAST(TRY(DATE_PART('{engine}', {guarded(a)})) AS BIGINT)"
    if part in ("YEAR", "YEAROFWEEK"):

        def year(x: Fraction) -> Fraction:
            on = day(index(x, kind, "DAY") + FIRST_DAY)
            return Fraction(on.year if part == "YEAR" else on.isocalendar().year)

        known = spans.monotone(a.span, year)
        result = combine(
            text, kind=ColumnType.INTEGER, span=Span(lo=known.lo or span.lo, hi=known.hi or span.hi), nullable=True, a=a
        )
        return whole_values(result) if known.lo is not None and known.hi is not None else result
    return whole_values(combine(text, kind=ColumnType.INTEGER, span=span, nullable=True, a=a), sure=True)


def _epoch(a: Scalar, unit: int) -> Scalar:
    number = as_integer(cast(a, ColumnType.TIMESTAMP))
    if unit == 1:
        return number
    first = -FIRST_DAY * MICROSECONDS_PER_DAY
    text = f"(:a + {first}) // {unit} - {first // unit}"
    span = spans.monotone(number.span, lambda x: Fraction(x // unit))
    return combine(text, kind=ColumnType.INTEGER, span=span, nullable=True, a=number)


def field_named(word: str) -> Handler:
    """Return the handler of YEAR(d), MONTH(d) and the like."""

    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this"})
        return _date_field(word, moment(translate(child(node)), at=node), at=node)

    return handler


def extract(node: exp.Expr, translate: Translate) -> Scalar:
    """Return EXTRACT(part FROM x), DATE_PART."""
    only(node, {"this", "expression"})
    part = child(node)
    if not isinstance(part, exp.Var | exp.Literal):
        refuse_form("this part of a date", cure="name the part", at=node)
    return _date_field(part.name, moment(translate(child(node, "expression")), at=node), at=node)


def name_of(names: str, part: str) -> Handler:
    """Return DAYNAME or MONTHNAME: the first three letters, in English."""

    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "abbreviated"})
        if not node.args.get("abbreviated"):
            refuse_form("this function of another dialect", cure="use the Snowflake dialect", at=node)
        number = _date_field(part, moment(translate(child(node)), at=node), at=node)
        text = f"SUBSTR('{names}', CAST((:a - 1) * 3 + 1 AS BIGINT), 3)"
        listed = tuple(exp.Literal.string(names[i : i + 3]) for i in range(0, len(names), 3))
        return with_values(combine(text, kind=ColumnType.TEXT, nullable=True, a=number), listed, sure=True)

    return handler
