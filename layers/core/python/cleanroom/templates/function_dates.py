"""Allowed functions of dates and timestamps: arithmetic and parts. NULL outside the years 1 to 9999. Pure.

Weeks begin on Monday and are numbered as ISO 8601 says, a Sunday is day 0: what Snowflake's session parameters
WEEK_START and WEEK_OF_YEAR_POLICY are without being set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from fractions import Fraction
from typing import NoReturn

from sqlglot import exp

from cleanroom.rooms.moments import FIRST_DAY, MICROSECONDS_PER_DAY, day
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates import spans
from cleanroom.templates.calendar_units import DAYS, MICROSECONDS, MONTHS, UNITS, beginning, index, unit_named
from cleanroom.templates.function_rules import Allowed, literal_integer, literal_text, moment, refuse_form
from cleanroom.templates.moments import (
    MOST_DERIVED,
    as_integer,
    beginnings,
    difference,
    moment_literals,
    moment_of,
    shifted,
    unit_index,
    whole_values,
    with_values,
)
from cleanroom.templates.operators import Handler, Translate, child
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.scalars import Scalar, Span, cast, combine, guarded, require, within_years

_INTEGER = frozenset({ColumnType.INTEGER})
_WEEKDAYS = ("mo", "tu", "we", "th", "fr", "sa", "su")


def _unit(node: exp.Expr, *, allowed: tuple[str, ...] = UNITS, default: str = "") -> str:
    """Return the unit that a call names.

    Raises:
        TemplateRefusedError: rule `function_form`.
    """
    given = node.args.get("unit")
    plain = isinstance(given, exp.Var | exp.Literal)
    unit = default if given is None else unit_named(given.name) if plain else None
    if unit not in allowed:
        refuse_form("this unit of time", cure=f"use one of {', '.join(allowed)}", at=node)
    return unit


# --- arithmetic -------------------------------------------------------------------------------------------------------


def date_add(node: exp.Expr, translate: Translate) -> Scalar:
    """Return DATEADD(unit, n, d); TIMEADD and TIMESTAMPADD are the same."""
    only(node, {"this", "expression", "unit"})
    a = moment(translate(child(node)), at=node)
    n = require(translate(child(node, "expression")), _INTEGER, what="the number of DATEADD", at=node)
    return shifted(a, n, _unit(node))


def add_months(node: exp.Expr, translate: Translate) -> Scalar:
    """Return ADD_MONTHS(d, n): the last day of a month becomes the last of the other."""
    only(node, {"this", "expression", "preserve_end_of_month"})
    a = moment(translate(child(node)), at=node)
    n = require(translate(child(node, "expression")), _INTEGER, what="the number of ADD_MONTHS", at=node)
    later = shifted(a, n, "MONTH")
    if not node.args.get("preserve_end_of_month"):
        return later
    kind = a.type or ColumnType.DATE
    span = Span(lo=later.span.lo, hi=None if later.span.hi is None else _month_end(later.span.hi, kind))
    end = "LAST_DAY(:l)"
    if kind is ColumnType.TIMESTAMP:  # the time of day stays
        end = ":l + TO_DAYS(CAST(DATE_DIFF('day', CAST(:l AS DATE), LAST_DAY(:l)) AS INTEGER))"
    text = f"TRY(CASE WHEN CAST({guarded(a)} AS DATE) = LAST_DAY({guarded(a)}) THEN {end} ELSE :l END)"
    return replace(combine(text, kind=kind, span=span, nullable=True, a=a, l=later), within_years=True)


def _month_end(number: Fraction, kind: ColumnType) -> Fraction:
    """Return the last moment of a month, which the last day's may reach."""
    return Fraction(beginning(index(number, kind, "MONTH") + 1, kind, "MONTH"))


def date_difference(node: exp.Expr, translate: Translate) -> Scalar:
    """Return DATEDIFF(unit, start, end): the boundaries of the unit between them."""
    only(node, {"this", "expression", "unit", "date_part_boundary"})
    unit = _unit(node, default="DAY")
    if not node.args.get("date_part_boundary") and unit not in ("DAY", "MONTH", "QUARTER", "YEAR"):
        refuse_form("a difference in this unit, in this dialect,", cure="use DAY, MONTH, QUARTER or YEAR", at=node)
    end, start = (moment(translate(child(node, name)), at=node) for name in ("this", "expression"))
    return difference(start, end, unit)


def _month_start(months: Scalar) -> Scalar:
    """Return the first day of a month, given its number; NULL outside the years 1 to 9999."""
    text = "TRY(MAKE_DATE(CASE WHEN :m BETWEEN 12 AND 119999 THEN :m // 12 END, :m % 12 + 1, 1))"
    return replace(combine(text, kind=ColumnType.DATE, nullable=True, m=months), within_years=True)


def _first_day(unit_number: Scalar, unit: str) -> Scalar:
    """Return as days since 1970-01-01 when a unit begins."""
    if unit in DAYS:
        text = f":a * {DAYS[unit]} + {FIRST_DAY}"
        return combine(text, kind=ColumnType.INTEGER, nullable=True, a=unit_number)
    months = combine(f":a * {MONTHS[unit]}", kind=ColumnType.INTEGER, nullable=True, a=unit_number)
    return as_integer(_month_start(months))


def last_day(node: exp.Expr, translate: Translate) -> Scalar:
    """Return LAST_DAY(d [, unit]) as a DATE."""
    only(node, {"this", "unit"})
    unit = _unit(node, allowed=("WEEK", "MONTH", "QUARTER", "YEAR"), default="MONTH")
    return _last_day(moment(translate(child(node)), at=node), unit)


def _last_day(a: Scalar, unit: str) -> Scalar:
    a = cast(a, ColumnType.DATE)
    inside = guarded(a)
    if unit == "WEEK":
        number = as_integer(a)
        text = f":a + 6 - (:a - {FIRST_DAY}) % 7"  # the year 1 began on a Monday
        result = moment_of(combine(text, kind=ColumnType.INTEGER, nullable=True, a=number), ColumnType.DATE)
    else:
        month = {"MONTH": inside, "QUARTER": f"MAKE_DATE(YEAR({inside}), QUARTER({inside}) * 3, 1)"}
        text = f"TRY(LAST_DAY({month.get(unit, f'MAKE_DATE(YEAR({inside}), 12, 1)')}))"
        result = combine(text, kind=ColumnType.DATE, nullable=True, a=a)
    last = spans.monotone(
        a.span, lambda x: Fraction(beginning(index(x, ColumnType.DATE, unit) + 1, ColumnType.DATE, unit) - 1)
    )
    _, firsts = beginnings(a, unit)
    kept = replace(result, span=last, within_years=True)
    if firsts is None or a.span.lo is None or a.span.hi is None:
        return kept
    numbers = range(index(a.span.lo, ColumnType.DATE, unit), index(a.span.hi, ColumnType.DATE, unit) + 1)
    ends = (beginning(i + 1, ColumnType.DATE, unit) - 1 for i in numbers)
    return with_values(kept, moment_literals(ends, ColumnType.DATE))


def _weekday_after(sign: int) -> Handler:
    def handler(node: exp.Expr, translate: Translate) -> Scalar:
        only(node, {"this", "expression"})
        named = literal_text(node.args.get("expression"), translate, what="the day of the week").strip().lower()[:2]
        if named not in _WEEKDAYS:
            refuse_form("this day of the week", cure="write one, in English", at=node)
        target = _WEEKDAYS.index(named)
        a = as_integer(cast(moment(translate(child(node)), at=node), ColumnType.DATE))
        # Days since the year 1, which began on a Monday, are never negative.
        ahead = f"({target} - (:a - {FIRST_DAY}) % 7 + 6) % 7 + 1"
        behind = f"((:a - {FIRST_DAY}) % 7 - {target} + 6) % 7 + 1"
        text = f":a + {ahead}" if sign > 0 else f":a - ({behind})"
        ends = Span(lo=Fraction(min(sign, 7 * sign)), hi=Fraction(max(sign, 7 * sign)))
        moved = combine(text, kind=ColumnType.INTEGER, span=spans.plus(a.span, ends), nullable=True, a=a)
        return moment_of(moved, ColumnType.DATE)

    return handler


def date_from_parts(node: exp.Expr, translate: Translate) -> Scalar:
    """Return DATE_FROM_PARTS(year, month, day); months and days past the end count on."""
    only(node, {"year", "month", "day", "allow_overflow"})
    return _date_of_parts(node, translate)


def _date_of_parts(node: exp.Expr, translate: Translate) -> Scalar:
    what = "the parts of a date"
    y, m, d = (require(translate(child(node, name)), _INTEGER, what=what, at=node) for name in ("year", "month", "day"))
    text = "TRY(CAST(:y AS BIGINT) * 12 + CAST(:m AS BIGINT) - 1)"
    months = combine(text, kind=ColumnType.INTEGER, nullable=True, y=y, m=m)
    first = as_integer(_month_start(months))
    days = combine("TRY(:f + CAST(:d AS BIGINT) - 1)", kind=ColumnType.INTEGER, nullable=True, f=first, d=d)
    return moment_of(days, ColumnType.DATE)


def timestamp_from_parts(node: exp.Expr, translate: Translate) -> Scalar:
    """Return TIMESTAMP_NTZ_FROM_PARTS(year, month, day, hour, minute, second); what is past the end counts on."""
    only(node, {"year", "month", "day", "hour", "min", "sec", "allow_overflow"})
    days = as_integer(_date_of_parts(node, translate))
    hour, minute, second = (
        require(translate(child(node, name)), _INTEGER, what="the parts of a timestamp", at=node)
        for name in ("hour", "min", "sec")
    )
    text = (
        f"TRY(:d * {MICROSECONDS_PER_DAY} + CAST(:h AS BIGINT) * {MICROSECONDS['HOUR']} "
        f"+ CAST(:m AS BIGINT) * {MICROSECONDS['MINUTE']} + CAST(:s AS BIGINT) * {MICROSECONDS['SECOND']})"
    )
    number = combine(text, kind=ColumnType.INTEGER, nullable=True, d=days, h=hour, m=minute, s=second)
    return moment_of(number, ColumnType.TIMESTAMP)


# --- cutting ----------------------------------------------------------------------------------------------------------

_TRUNCATED = tuple(u for u in UNITS if u != "MICROSECOND")


def date_trunc(node: exp.Expr, translate: Translate) -> Scalar:
    """Return the moment cut to a unit, of the same type as what was cut; NULL outside the years 1 to 9999."""
    only(node, {"this", "unit", "input_type_preserved"})
    unit = _unit(node, allowed=_TRUNCATED)
    a = moment(translate(child(node)), at=node)
    kind = a.type or ColumnType.DATE
    if kind is ColumnType.DATE and unit in MICROSECONDS:
        unit = "DAY"
    text = f"TRY_CAST(TRY(DATE_TRUNC('{unit.lower()}', {guarded(a)})) AS {kind.value.upper()})"
    span, values = beginnings(a, unit)
    cut = combine(text, kind=kind, span=span, nullable=True, a=a)
    return with_values(replace(cut, within_years=True), values)


def time_slice(node: exp.Expr, translate: Translate) -> Scalar:
    """Return TIME_SLICE(d, n, unit [, 'START' or 'END']): slices of n units, aligned with 1970-01-01."""
    only(node, {"this", "expression", "unit", "kind"})
    a = moment(translate(child(node)), at=node)
    kind = a.type or ColumnType.DATE
    whole_days = (*MONTHS, *DAYS)
    unit = _unit(node, allowed=whole_days if kind is ColumnType.DATE else (*whole_days, "HOUR", "MINUTE", "SECOND"))
    n = literal_integer(node.args.get("expression"), translate, least=1, most=100_000, what="the length of a slice")
    which = "START"
    if node.args.get("kind") is not None:
        which = literal_text(node.args["kind"], translate, what="the end of a slice").upper()
    if which not in ("START", "END"):
        refuse_form("TIME_SLICE with this end", cure="use 'START' or 'END'", at=node)
    lead = -index(0, kind, unit) % n
    ahead = n if which == "END" else 0

    def of(number: int) -> int:
        return (number + lead) // n * n - lead + ahead

    cut = combine(
        f"(:a + {lead}) // {n} * {n} + {ahead - lead}", kind=ColumnType.INTEGER, nullable=True, a=unit_index(a, unit)
    )
    if unit in MICROSECONDS:
        text = f":a * {MICROSECONDS[unit]} + {FIRST_DAY * MICROSECONDS_PER_DAY}"
        result = moment_of(combine(text, kind=ColumnType.INTEGER, nullable=True, a=cut), kind)
    else:
        result = cast(moment_of(_first_day(cut, unit), ColumnType.DATE), kind)
    span = spans.monotone(a.span, lambda x: Fraction(beginning(of(index(x, kind, unit)), kind, unit)))
    kept = replace(result, span=span)
    if a.span.lo is None or a.span.hi is None:
        return kept
    first, last = of(index(a.span.lo, kind, unit)), of(index(a.span.hi, kind, unit))
    if not 0 <= last - first < MOST_DERIVED * n:
        return kept
    return with_values(kept, moment_literals((beginning(i, kind, unit) for i in range(first, last + 1, n)), kind))


# --- parts ------------------------------------------------------------------------------------------------------------


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
    text = f"TRY(DATE_PART('{engine}', {guarded(a)}))"
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


def _field(word: str) -> Handler:
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


def _name(names: str, part: str) -> Handler:
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


# --- formats ----------------------------------------------------------------------------------------------------------

_TOKENS = {"YYYY": "%Y", "MM": "%m", "DD": "%d", "HH24": "%H", "MI": "%M", "SS": "%S", "MON": "%b", "DY": "%a"}
_SEPARATORS = "-/:. _"
_READABLE = ("%Y", "%m", "%d", "%H", "%M", "%S")


def _written_format(text: str, *, at: exp.Expr) -> str:
    """Return the engine's format for one of Snowflake's.

    Raises:
        TemplateRefusedError: rule `function_form`.
    """
    rest, result = text.upper(), ""
    while rest:
        token = next((t for t in ("YYYY", "HH24", "MON", "MM", "DD", "DY", "MI", "SS") if rest.startswith(t)), None)
        if token is None and rest[0] not in _SEPARATORS:
            _refuse_format(at=at)
        result += _TOKENS[token] if token is not None else rest[0]
        rest = rest[len(token) if token is not None else 1 :]
    return result


def to_char(node: exp.Expr, translate: Translate) -> Scalar:
    """Return TO_CHAR(x), or TO_CHAR(d, format) with the format written out."""
    only(node, {"this", "format"})
    operand = translate(child(node))
    if node.args.get("format") is None:
        return cast(operand, ColumnType.TEXT)
    made = _written_format(literal_text(node.args["format"], translate, what="the format"), at=node)
    return _written(moment(operand, at=node), made)


def time_to_char(node: exp.Expr, translate: Translate) -> Scalar:
    """Return TO_CHAR(d, format) where the parser knows the type of d, and has brought the format to `%` codes."""
    only(node, {"this", "format"})
    made = literal_text(node.args.get("format"), translate, what="the format")
    codes = set(_TOKENS.values())
    place = 0
    while place < len(made):
        size = 2 if made[place : place + 2] in codes else 1
        if size == 1 and made[place] not in _SEPARATORS:
            _refuse_format(at=node)
        place += size
    return _written(moment(translate(child(node)), at=node), made)


def _refuse_format(*, at: exp.Expr) -> NoReturn:
    refuse_form("this format", cure=f"use {', '.join(_TOKENS)} with {_SEPARATORS!r} between them", at=at)


def _written(a: Scalar, made: str) -> Scalar:
    """Return a moment as text, in the engine's format."""
    kind = a.type or ColumnType.DATE
    text = f"TRY(STRFTIME({guarded(a)}, '{made}'))"
    result = combine(text, kind=ColumnType.TEXT, nullable=True, a=a)
    if a.span.lo is None or a.span.hi is None or any(t in made for t in ("%H", "%M", "%S")):
        return result
    first, last = (index(x, kind, "DAY") + FIRST_DAY for x in (a.span.lo, a.span.hi))
    if not 0 <= last - first < MOST_DERIVED * 4:
        return result
    found = dict.fromkeys(_formatted(day(number), made) for number in range(first, last + 1))
    return with_values(result, tuple(map(exp.Literal.string, found)) if len(found) <= MOST_DERIVED else None)


def _formatted(at: date, made: str) -> str:
    """Return what STRFTIME makes of a date, in English whatever the locale."""
    months, days = "JanFebMarAprMayJunJulAugSepOctNovDec", "MonTueWedThuFriSatSun"
    parts = {
        "%Y": f"{at.year:04}",
        "%m": f"{at.month:02}",
        "%d": f"{at.day:02}",
        "%b": months[at.month * 3 - 3 : at.month * 3],
        "%a": days[at.weekday() * 3 : at.weekday() * 3 + 3],
    }
    for token, value in parts.items():
        made = made.replace(token, value)
    return made


def _read_format(node: exp.Expr, translate: Translate) -> str:
    """Return a format that the parser has already brought to `%` codes, if it is one whose meaning is certain."""
    text = literal_text(node.args.get("format"), translate, what="the format")
    rest, seen = text, []
    while rest:
        size = 2 if rest[0] == "%" else 1
        if size == 2:
            seen.append(rest[:2])
        elif rest[0] not in _SEPARATORS + "T":
            seen.append("?")
        rest = rest[size:]
    if set(seen) - set(_READABLE) or len(seen) != len(set(seen)) or not {"%Y", "%m", "%d"} <= set(seen):
        refuse_form("this format", cure="use YYYY, MM, DD, HH24, MI, SS once each, the date complete", at=node)
    return text


def _parsed(a: Scalar, made: str, kind: ColumnType, *, at: exp.Expr) -> Scalar:
    """Return the moment that a text has in exactly this format; NULL for a text that is written in another way."""
    operand = cast(require(a, frozenset({ColumnType.TEXT}), what="a format", at=at), ColumnType.TEXT)
    native = kind.value.upper()
    moment_text = "TRY(TRY_STRPTIME(:a, :f))"
    guarded = within_years("TIMESTAMP").replace(":a", moment_text)
    text = f"CASE WHEN TRY(STRFTIME({guarded}, :f)) = :a THEN TRY_CAST({moment_text} AS {native}) END"
    made_scalar = Scalar(sql=exp.Literal.string(made), type=ColumnType.TEXT, nullable=False, constant=True)
    return combine(text, kind=kind, nullable=True, a=operand, f=made_scalar)


def to_date(node: exp.Expr, translate: Translate) -> Scalar:
    """Return TO_DATE(x [, format]), TRY_TO_DATE, DATE; NULL where it is no date."""
    only(node, {"this", "safe", "format"})
    operand = translate(child(node))
    if node.args.get("format") is not None:
        return _parsed(operand, _read_format(node, translate), ColumnType.DATE, at=node)
    if operand.type not in (ColumnType.TEXT, ColumnType.DATE, ColumnType.TIMESTAMP, None):
        require(operand, frozenset({ColumnType.TEXT}), what="TO_DATE", at=node)
    return cast(operand, ColumnType.DATE)


def to_timestamp_format(node: exp.Expr, translate: Translate) -> Scalar:
    """Return TO_TIMESTAMP(text, format); NULL where it is none."""
    only(node, {"this", "format", "safe", "target_type"})
    target = node.args.get("target_type")
    if target is not None and target.this.name not in ("TIMESTAMP", "TIMESTAMPNTZ"):
        refuse_form("a timestamp with a zone", cure="use TO_TIMESTAMP_NTZ", at=node)
    return _parsed(translate(child(node)), _read_format(node, translate), ColumnType.TIMESTAMP, at=node)


def to_timestamp(node: exp.Expr, translate: Translate) -> Scalar:
    """Return TO_TIMESTAMP(x) of a text or a date; NULL where it is none."""
    if len(node.expressions) != 1:
        refuse_form("TO_TIMESTAMP", cure="TO_TIMESTAMP(x), or with a format written out", at=node)
    operand = translate(node.expressions[0])
    if operand.type not in (ColumnType.TEXT, ColumnType.DATE, ColumnType.TIMESTAMP, None):
        refuse(
            "TO_TIMESTAMP needs text, a date or a timestamp",
            rule="type_mismatch",
            cure="use DATEADD('second', x, '1970-01-01'::TIMESTAMP_NTZ) for seconds",
            at=node,
        )
    return cast(operand, ColumnType.TIMESTAMP)


_ARITHMETIC = "on integers of days or microseconds, in TRY; NULL outside the years 1 to 9999"
_PART = "a field of a date; NULL outside the years 1 to 9999"
_CALENDAR = "in TRY, NULL outside the years 1 to 9999; the unit is one of a fixed list"
_FORMAT = "the format is a literal of known parts; NULL where the text is not written exactly so"
_NUMBER_OF = "date or timestamp → integer"
_SAME = "date or timestamp → the same"


def _allowed(handler: Handler, *examples: str, reason: str = _PART, types: str = _NUMBER_OF) -> Allowed:
    return Allowed(handler=handler, examples=examples, types=types, reason=reason)


_ADDED = "integer, date or timestamp → the same; a date with hours or less → timestamp"

DATE_FUNCTIONS: Mapping[type[exp.Expr], Allowed] = {
    exp.Year: _allowed(_field("YEAR"), "YEAR(d)"),
    exp.Quarter: _allowed(_field("QUARTER"), "QUARTER(d)"),
    exp.Month: _allowed(_field("MONTH"), "MONTH(d)"),
    exp.Week: _allowed(_field("WEEK"), "WEEK(d)", "WEEKOFYEAR(d)"),
    exp.WeekOfYear: _allowed(_field("WEEK"), "WEEKISO(d)"),
    exp.YearOfWeek: _allowed(_field("YEAROFWEEK"), "YEAROFWEEK(d)"),
    exp.YearOfWeekIso: _allowed(_field("YEAROFWEEK"), "YEAROFWEEKISO(d)"),
    exp.Day: _allowed(_field("DAY"), "DAY(d)"),
    exp.DayOfMonth: _allowed(_field("DAY"), "DAYOFMONTH(d)"),
    exp.DayOfWeek: _allowed(_field("DAYOFWEEK"), "DAYOFWEEK(d)"),
    exp.DayOfWeekIso: _allowed(_field("DAYOFWEEKISO"), "DAYOFWEEKISO(d)"),
    exp.DayOfYear: _allowed(_field("DAYOFYEAR"), "DAYOFYEAR(d)"),
    exp.Hour: _allowed(_field("HOUR"), "HOUR(t)"),
    exp.Minute: _allowed(_field("MINUTE"), "MINUTE(t)"),
    exp.Second: _allowed(_field("SECOND"), "SECOND(t)"),
    exp.Extract: _allowed(extract, "EXTRACT(YEAR FROM d)", "DATE_PART('month', d)", "DATE_PART(epoch_second, t)"),
    exp.Dayname: _allowed(
        _name("MonTueWedThuFriSatSun", "DAYOFWEEKISO"), "DAYNAME(d)", types="date or timestamp → text"
    ),
    exp.Monthname: _allowed(
        _name("JanFebMarAprMayJunJulAugSepOctNovDec", "MONTH"), "MONTHNAME(d)", types="date or timestamp → text"
    ),
    exp.TimestampTrunc: _allowed(date_trunc, "DATE_TRUNC('MONTH', d)", reason=_CALENDAR, types=_SAME),
    exp.DateTrunc: _allowed(
        date_trunc, "DATE_TRUNC('MONTH', d::DATE)", "TRUNC(d, 'MONTH')", reason=_CALENDAR, types=_SAME
    ),
    exp.TimeSlice: _allowed(time_slice, "TIME_SLICE(d, 2, 'WEEK')", reason=_CALENDAR, types=_SAME),
    exp.LastDay: _allowed(
        last_day, "LAST_DAY(d)", "LAST_DAY(d, 'YEAR')", reason=_CALENDAR, types="date or timestamp → date"
    ),
    exp.NextDay: _allowed(_weekday_after(1), "NEXT_DAY(d, 'fr')", reason=_ARITHMETIC, types="date or timestamp → date"),
    exp.PreviousDay: _allowed(
        _weekday_after(-1), "PREVIOUS_DAY(d, 'fr')", reason=_ARITHMETIC, types="date or timestamp → date"
    ),
    exp.DateAdd: _allowed(
        date_add, "DATEADD('day', 3, d)", "TIMESTAMPADD('hour', 3, t)", reason=_ARITHMETIC, types=_ADDED
    ),
    exp.TimeAdd: _allowed(date_add, "TIMEADD('hour', 3, t)", reason=_ARITHMETIC, types=_ADDED),
    exp.AddMonths: _allowed(add_months, "ADD_MONTHS(d, 1)", reason=_CALENDAR, types=_ADDED),
    exp.DateDiff: _allowed(
        date_difference,
        "DATEDIFF('day', d, e)",
        "TIMESTAMPDIFF('hour', d, t)",
        reason=_ARITHMETIC,
        types="dates or timestamps → integer",
    ),
    exp.DateFromParts: _allowed(
        date_from_parts, "DATE_FROM_PARTS(x, 12, 31)", reason=_ARITHMETIC, types="integers → date"
    ),
    exp.TimestampFromParts: _allowed(
        timestamp_from_parts,
        "TIMESTAMP_NTZ_FROM_PARTS(x, 12, 31, 23, 59, 0)",
        reason=_ARITHMETIC,
        types="integers → timestamp",
    ),
    exp.ToChar: _allowed(
        to_char, "TO_CHAR(x)", "TO_VARCHAR(x)", "TO_CHAR(d, 'YYYY-MM')", reason=_FORMAT, types="any → text"
    ),
    exp.TimeToStr: _allowed(
        time_to_char,
        "TO_CHAR(d::DATE, 'YYYY-MM')",
        reason="the format is a literal of known parts",
        types="date or timestamp → text",
    ),
    exp.TsOrDsToDate: _allowed(
        to_date,
        "TO_DATE(a)",
        "TRY_TO_DATE(a)",
        "TO_DATE(a, 'YYYYMMDD')",
        reason=f"TRY_CAST; {_FORMAT}",
        types="text, date or timestamp → date",
    ),
    exp.StrToTime: _allowed(
        to_timestamp_format, "TO_TIMESTAMP(a, 'YYYY-MM-DD HH24:MI:SS')", reason=_FORMAT, types="text → timestamp"
    ),
}
"""Parser's class -> what is allowed."""

NAMED_DATE_FUNCTIONS: Mapping[str, Allowed] = {
    name: _allowed(
        to_timestamp,
        f"{name}(a)",
        reason="TRY_CAST: NULL where the text is no timestamp",
        types="text, date or timestamp → timestamp",
    )
    for name in ("TO_TIMESTAMP", "TO_TIMESTAMP_NTZ", "TRY_TO_TIMESTAMP", "TRY_TO_TIMESTAMP_NTZ")
}
"""Names that the parser has no class for -> what is allowed."""
