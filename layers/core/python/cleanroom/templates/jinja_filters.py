"""The filters that templates have: our own, few, and none that Jinja brings. Pure; used by `sandbox`."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from jinja2.runtime import Undefined

from cleanroom.templates.literals import MAX_STRING, CheckedName, CheckedSql, SqlText, refused, sql_text
from cleanroom.templates.policy_filters import POLICY_FILTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cleanroom.errors import TemplateRefusedError


def too_much() -> TemplateRefusedError:
    """Return the refusal for a rendering beyond its limits."""
    return refused(
        "rendering the template takes more loop passes or longer texts than allowed",
        rule="rendering_too_large",
        cure="loop over fewer items, and keep texts short",
    )


def checked_is_final() -> TemplateRefusedError:
    """Return the refusal for changing a checked name."""
    return refused(
        "a column name that passed a policy filter cannot be changed afterwards",
        rule="policy_filter_combined",
        cure="apply the policy filter last, with nothing but sqlsafe beside it",
    )


def text_of(value: object) -> str:
    """Return text or a number as text, numbers without an exponent."""
    if isinstance(value, Undefined):
        return str(value)  # raises Jinja's error with the name
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < 60:
        return format(value, "f")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise refused("only text and numbers can be joined or changed as text", rule="jinja_text", cure="pass text")


def _plain(value: object) -> str:
    if not isinstance(value, str):
        raise refused("this filter works on text", rule="jinja_text", cure="pass text")
    return str(value)


def _sequence(value: object) -> tuple[Any, ...]:
    if isinstance(value, (tuple, list, range, dict)):
        return tuple(value)
    raise refused("this filter works on lists", rule="jinja_list", cure="pass a list")


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else len(_sequence(value))


def _first(value: object) -> Any:
    return _sequence(value)[0]


def _last(value: object) -> Any:
    return _sequence(value)[-1]


def _join(value: object, separator: object = "") -> str:
    items = _sequence(value)
    if sum(len(item) for item in items if isinstance(item, str)) + len(items) * len(_plain(separator)) > MAX_STRING:
        raise too_much()
    if any(isinstance(item, SqlText) for item in items):
        raise refused(
            "join works on values that are not sqlsafe yet",
            rule="sqlsafe_mixed",
            cure="use {{ x | join(', ') | sqlsafe }}",
        )
    return _plain(separator).join(map(text_of, items))


def _default(value: object, default: object = "", boolean: object = False) -> object:
    return default if isinstance(value, Undefined) or (boolean is True and not value) else value


def _int(value: object) -> int:
    return int(_bounded(value))


def _float(value: object) -> Decimal:
    return _bounded(value)


def _bounded(value: object) -> Decimal:
    text = text_of(value).strip()
    if len(text) > 40 or not text.isascii():
        raise refused("this is not a number", rule="jinja_number", cure="pass a number")
    number = Decimal(text)
    if not (number.is_finite() and (number == 0 or abs(number.adjusted()) < 38)):
        raise refused("this number is out of range", rule="jinja_number", cure="pass a finite number below 1e38")
    return number


def _abs(value: Any) -> Any:
    return abs(_bounded(value) if not isinstance(value, int) else value)


def _round(value: object, digits: object = 0) -> Decimal:
    if type(digits) is not int or not 0 <= digits <= 30:
        raise refused("round takes 0 to 30 digits", rule="jinja_number", cure="use {{ x | round(2) }}")
    return round(_bounded(value), digits)


def _unique(value: object) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(_sequence(value)))


def _sort(value: object) -> tuple[Any, ...]:
    return tuple(sorted(_sequence(value)))


def _sqlsafe(value: object) -> object:
    raise NotImplementedError  # `guarded` answers it: it needs the dialect


FILTERS: Mapping[str, Callable[..., Any]] = {
    "sqlsafe": _sqlsafe,
    "inclause": _sequence,
    "length": _length,
    "count": _length,
    "first": _first,
    "last": _last,
    "join": _join,
    "default": _default,
    "d": _default,
    "upper": lambda value: _plain(value).upper(),
    "lower": lambda value: _plain(value).lower(),
    "trim": lambda value: _plain(value).strip(),
    "int": _int,
    "float": _float,
    "string": text_of,
    "abs": _abs,
    "round": _round,
    "list": _sequence,
    "unique": _unique,
    "sort": _sort,
    **dict.fromkeys(POLICY_FILTERS, _sqlsafe),
}


def guarded(
    function: Callable[..., Any], *, dialect: str, count: Callable[[int], None], measured: Callable[[object], Any]
) -> Callable[..., Any]:
    """Return the filter with its input checked and its output measured.

    Args:
        function: one of `FILTERS`.
        dialect: of the SQL.
        count: adds to the work done.
        measured: returns a value whose size is within bounds.
    """

    def call(value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, Undefined) and function is not _default:
            str(value)  # raises Jinja's error with the name
        if function is _sqlsafe:
            return measured(_mark(value, dialect=dialect))
        if any(isinstance(item, (CheckedName, CheckedSql)) for item in _flat(value)) and function is not _length:
            raise checked_is_final()
        count(len(value) if isinstance(value, (str, tuple, list, dict)) else 1)
        return measured(function(value, *args, **kwargs))

    return call


def _flat(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, (tuple, list)):
        yield from value


def _mark(value: object, *, dialect: str) -> SqlText:
    if isinstance(value, SqlText):
        return value
    if isinstance(value, (tuple, list)):
        if value and all(isinstance(item, CheckedName) for item in value):
            return CheckedSql(", ".join(value))
        return sql_text(", ".join(map(text_of, value)), dialect=dialect)
    if isinstance(value, CheckedName):
        return CheckedSql(value)
    return sql_text(text_of(value), dialect=dialect)


def policy_filter(policy: Callable[..., object], name: str) -> Callable[[Any], object]:
    """Return the policy filter of that name; `policy` checks a value for it."""

    def call(value: Any) -> object:
        if isinstance(value, Undefined):
            str(value)  # raises Jinja's error with the name
        if not isinstance(value, SqlText):
            return policy(value, filter_name=name)
        checked = policy(str(value), filter_name=name)  # `x | sqlsafe | column_policy` is the same as the other order
        return CheckedSql(str(checked))

    return call
