"""Dates moved, subtracted, cut to units and put together: handlers of `function_dates.py`. Pure."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from sqlglot import exp

from cleanroom.rooms.moments import FIRST_DAY, MICROSECONDS_PER_DAY
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates import spans
from cleanroom.templates.calendar_units import DAYS, MICROSECONDS, MONTHS, UNITS, beginning, index, unit_named
from cleanroom.templates.function_rules import literal_integer, literal_text, moment, refuse_form
from cleanroom.templates.handlers import Handler, Translate, child
from cleanroom.templates.moments import (
    MOST_DERIVED,
    as_integer,
    beginnings,
    difference,
    moment_literals,
    moment_of,
    shifted,
    unit_index,
    with_values,
)
from cleanroom.templates.refusals import only
from cleanroom.templates.scalars import Scalar, Span, cast, combine, guarded, require

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


def months_between(node: exp.Expr, translate: Translate) -> Scalar:
    """Return MONTHS_BETWEEN(end, start): whole where both are the same day of a month, or its last; else in 31sts."""
    only(node, {"this", "expression"})
    end, start = (moment(translate(child(node, name)), at=node) for name in ("this", "expression"))
    months = difference(start, end, "MONTH")
    parts = {}
    for name, one in (("x", end), ("y", start)):
        kind = one.type or ColumnType.DATE
        parts[name] = combine(guarded(one), kind=kind, nullable=True, a=one)
        of_day = (
            "(EPOCH_US(:a) - EPOCH_US(CAST(CAST(:a AS DATE) AS TIMESTAMP)))" if kind is ColumnType.TIMESTAMP else "0"
        )
        into = f"CAST(DAY(:a) AS DOUBLE) + {of_day} / {MICROSECONDS_PER_DAY}e0"
        parts[f"t{name}"] = combine(into, kind=ColumnType.DOUBLE, nullable=True, a=parts[name])
    last = " AND ".join(f"CAST(:{n} AS DATE) = LAST_DAY(:{n})" for n in "xy")
    text = f"TRY(:m + CASE WHEN DAY(:x) = DAY(:y) OR ({last}) THEN 0e0 ELSE (:tx - :ty) / 31 END)"
    low, high = months.span.lo, months.span.hi
    span = Span(lo=None if low is None else low - 1, hi=None if high is None else high + 1)
    return combine(text, kind=ColumnType.DOUBLE, span=span, nullable=True, m=months, **parts)


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


def weekday_after(sign: int) -> Handler:
    """Return the handler of NEXT_DAY (sign 1) or PREVIOUS_DAY (sign -1): never the day itself."""

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
