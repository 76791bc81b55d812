"""Dates to text and back, by formats written out: handlers of `function_dates.py`. Pure."""

from __future__ import annotations

from datetime import date
from typing import NoReturn

from sqlglot import exp

from cleanroom.rooms.moments import FIRST_DAY, day
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.calendar_units import index
from cleanroom.templates.function_rules import literal_text, moment, refuse_form
from cleanroom.templates.handlers import Translate, child
from cleanroom.templates.moments import (
    MOST_DERIVED,
    with_values,
)
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.scalars import NUMERIC, Scalar, cast, combine, guarded, require, within_years

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
    if operand.type in NUMERIC:
        refuse_form(
            "a number with a format", cure="write ROUND(x, 2) and leave the format out: TO_CHAR(ROUND(x, 2))", at=node
        )
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
