"""Allowed functions of dates and timestamps: arithmetic, parts and formats. NULL outside the years 1 to 9999. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from cleanroom.templates.date_arithmetic import (
    add_months,
    date_add,
    date_difference,
    date_from_parts,
    date_trunc,
    last_day,
    months_between,
    time_slice,
    timestamp_from_parts,
    weekday_after,
)
from cleanroom.templates.date_formats import time_to_char, to_char, to_date, to_timestamp, to_timestamp_format
from cleanroom.templates.date_parts import extract, field_named, name_of
from cleanroom.templates.function_rules import Allowed
from cleanroom.templates.handlers import Handler

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
    exp.Year: _allowed(field_named("YEAR"), "YEAR(d)"),
    exp.Quarter: _allowed(field_named("QUARTER"), "QUARTER(d)"),
    exp.Month: _allowed(field_named("MONTH"), "MONTH(d)"),
    exp.Week: _allowed(field_named("WEEK"), "WEEK(d)", "WEEKOFYEAR(d)"),
    exp.WeekOfYear: _allowed(field_named("WEEK"), "WEEKISO(d)"),
    exp.YearOfWeek: _allowed(field_named("YEAROFWEEK"), "YEAROFWEEK(d)"),
    exp.YearOfWeekIso: _allowed(field_named("YEAROFWEEK"), "YEAROFWEEKISO(d)"),
    exp.Day: _allowed(field_named("DAY"), "DAY(d)"),
    exp.DayOfMonth: _allowed(field_named("DAY"), "DAYOFMONTH(d)"),
    exp.DayOfWeek: _allowed(field_named("DAYOFWEEK"), "DAYOFWEEK(d)"),
    exp.DayOfWeekIso: _allowed(field_named("DAYOFWEEKISO"), "DAYOFWEEKISO(d)"),
    exp.DayOfYear: _allowed(field_named("DAYOFYEAR"), "DAYOFYEAR(d)"),
    exp.Hour: _allowed(field_named("HOUR"), "HOUR(t)"),
    exp.Minute: _allowed(field_named("MINUTE"), "MINUTE(t)"),
    exp.Second: _allowed(field_named("SECOND"), "SECOND(t)"),
    exp.Extract: _allowed(extract, "EXTRACT(YEAR FROM d)", "DATE_PART('month', d)", "DATE_PART(epoch_second, t)"),
    exp.Dayname: _allowed(
        name_of("MonTueWedThuFriSatSun", "DAYOFWEEKISO"), "DAYNAME(d)", types="date or timestamp → text"
    ),
    exp.Monthname: _allowed(
        name_of("JanFebMarAprMayJunJulAugSepOctNovDec", "MONTH"), "MONTHNAME(d)", types="date or timestamp → text"
    ),
    exp.TimestampTrunc: _allowed(date_trunc, "DATE_TRUNC('MONTH', d)", reason=_CALENDAR, types=_SAME),
    exp.DateTrunc: _allowed(
        date_trunc, "DATE_TRUNC('MONTH', d::DATE)", "TRUNC(d, 'MONTH')", reason=_CALENDAR, types=_SAME
    ),
    exp.TimeSlice: _allowed(time_slice, "TIME_SLICE(d, 2, 'WEEK')", reason=_CALENDAR, types=_SAME),
    exp.LastDay: _allowed(
        last_day, "LAST_DAY(d)", "LAST_DAY(d, 'YEAR')", reason=_CALENDAR, types="date or timestamp → date"
    ),
    exp.NextDay: _allowed(weekday_after(1), "NEXT_DAY(d, 'fr')", reason=_ARITHMETIC, types="date or timestamp → date"),
    exp.PreviousDay: _allowed(
        weekday_after(-1), "PREVIOUS_DAY(d, 'fr')", reason=_ARITHMETIC, types="date or timestamp → date"
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
    exp.MonthsBetween: _allowed(
        months_between, "MONTHS_BETWEEN(d, e)", reason=_CALENDAR.partition(";")[0], types="dates or timestamps → double"
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
