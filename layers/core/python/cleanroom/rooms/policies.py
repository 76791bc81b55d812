"""What the owner of a table declares about it, read from JSON and written back (B-33, B-80). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from itertools import pairwise

from cleanroom.errors import InvalidRequestError
from cleanroom.privacy.accounting import exact_fraction
from cleanroom.rooms.moments import moment_number, moment_text
from cleanroom.rooms.names import shown_name
from cleanroom.rooms.native_types import element_of
from cleanroom.rooms.tables import Column, ColumnBounds, ColumnType, Domain, OwnedThrough, TablePolicy

MAX_DOMAIN = 1_000_000  # values of one column; more combinations than this are refused anyway
_MAX_ROWS = 10**9
_MAX_GROUPS = 10**6
_MAX_ENTITIES = 10**9
_MAX_BOUND = Fraction(10) ** 30
_MAX_KEY = 8  # columns of a declared key
_MAX_TEXT = 1024  # characters of one group key
_KEYS = (
    *("max_rows", "max_groups", "bounds", "domains", "min_entities", "clipping_estimate", "owned_through"),
    *("join_columns", "project_columns", "activation_columns"),
)
_NUMBERS = (ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.DOUBLE)
_MOMENTS = (ColumnType.DATE, ColumnType.TIMESTAMP)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def policy_from_json(policy: object, columns: Sequence[Column]) -> TablePolicy:
    """Return the policy that a JSON object declares for a table with these columns.

    Args:
        policy: keys `max_rows`, `max_groups` (whole numbers >= 1), `bounds` (column -> [lo, hi]; dates as
            "YYYY-MM-DD", timestamps also as "YYYY-MM-DD HH:MM:SS"), `domains` (column -> list of values, or
            {"range": [first, last]} for whole numbers and dates), `min_entities` (whole number >= 0),
            `clipping_estimate` (true or false), `owned_through` (`parent`, `on`: column -> the parent's column, and
            `unique`; the parent itself is checked by `owned_through.path_of`), and `join_columns`, `project_columns`,
            `activation_columns` (lists of columns).
            Column names are compared without regard to case.
        columns: the table's schema.

    Raises:
        InvalidRequestError: an unknown key or column, a wrong type, a range the wrong way round, more than a million
            values. It names the key and what is possible.
    """
    if not isinstance(policy, Mapping):
        raise InvalidRequestError(f"a table policy is an object with {', '.join(_KEYS)}")
    unknown = [key for key in policy if key not in _KEYS]
    if unknown:
        raise InvalidRequestError(
            f"a table policy has an unknown key, {shown_name(unknown[0])}; the keys are {', '.join(_KEYS)}"
        )
    table = _Columns(columns)
    min_entities = _whole(policy, "min_entities", smallest=0, largest=_MAX_ENTITIES)
    return TablePolicy(
        max_rows=_whole(policy, "max_rows", smallest=1, largest=_MAX_ROWS),
        max_groups=_whole(policy, "max_groups", smallest=1, largest=_MAX_GROUPS),
        bounds={column.name.lower(): _bounds(value, column) for column, value in table.entries(policy, "bounds")},
        domains={column.name.lower(): _domain(value, column) for column, value in table.entries(policy, "domains")},
        min_entities=0 if min_entities is None else min_entities,
        clipping_estimate=_flag(policy, "clipping_estimate"),
        owned_through=_owned_through(policy.get("owned_through"), table),
        join_columns=table.listed(policy, "join_columns"),
        project_columns=table.listed(policy, "project_columns"),
        activation_columns=table.listed(policy, "activation_columns"),
    )


def policy_as_json(policy: TablePolicy) -> dict[str, object]:
    """Return a policy as JSON values, without what is not declared; `policy_from_json` gives the same policy back.

    Whole numbers or days in a row are written as a range.
    """
    written: dict[str, object] = {
        "max_rows": policy.max_rows,
        "max_groups": policy.max_groups,
        "bounds": {name: _bounds_as_json(bounds) for name, bounds in policy.bounds.items()} or None,
        "domains": {name: _domain_as_json(domain) for name, domain in policy.domains.items()} or None,
        "min_entities": policy.min_entities or None,
        "clipping_estimate": policy.clipping_estimate or None,
        "owned_through": None if policy.owned_through is None else _owned_through_as_json(policy.owned_through),
    }
    for key in ("join_columns", "project_columns", "activation_columns"):
        listed = getattr(policy, key)
        written[key] = None if listed is None else list(listed)
    return {key: value for key, value in written.items() if value is not None}


class _Columns:
    """The table's columns by lower-case name."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._by_name = {column.name.lower(): column for column in columns}

    def named(self, name: object, *, key: str) -> Column:
        column = self._by_name.get(name.lower()) if isinstance(name, str) else None
        if column is None:
            raise InvalidRequestError(f"{key} names a column that the table does not have: {shown_name(name)}", key=key)
        return column

    def entries(self, policy: Mapping[str, object], key: str) -> list[tuple[Column, object]]:
        value = policy.get(key)
        if value is None:
            return []
        if not isinstance(value, Mapping):
            raise InvalidRequestError(f"{key} is an object: column -> what is declared", key=key)
        entries = [(self.named(name, key=key), declared) for name, declared in value.items()]
        if len({column.name for column, _ in entries}) != len(entries):
            raise InvalidRequestError(f"{key} names a column twice", key=key)
        return entries

    def listed(self, policy: Mapping[str, object], key: str) -> tuple[str, ...] | None:
        value = policy.get(key)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)):
            raise InvalidRequestError(f"{key} is a list of columns", key=key)
        return tuple(dict.fromkeys(self.named(name, key=key).name for name in value))


def _owned_through(value: object, table: _Columns) -> OwnedThrough | None:
    key = "owned_through"
    if value is None:
        return None
    possible = InvalidRequestError(
        f'{key} must be {{"parent": <table>, "on": {{<column>: <column of the parent>}}}}, and may have "unique"',
        key=key,
    )
    if not isinstance(value, Mapping) or not {"parent", "on"} <= set(value) <= {"parent", "on", "unique"}:
        raise possible
    parent, pairs, unique = value["parent"], value["on"], value.get("unique", False)
    if not (isinstance(parent, str) and parent and isinstance(unique, bool)):
        raise possible
    if not isinstance(pairs, Mapping) or not 0 < len(pairs) <= _MAX_KEY or not all(map(_is_name, pairs.values())):
        raise possible
    columns = tuple((table.named(child, key=key).name, str(of_parent)) for child, of_parent in pairs.items())
    if len({child for child, _ in columns}) != len(columns) or len({p.lower() for _, p in columns}) != len(columns):
        raise InvalidRequestError(f"{key} names a column twice", key=key)
    return OwnedThrough(parent=parent.lower(), columns=columns, unique=unique)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and _is_text(value)


def _owned_through_as_json(through: OwnedThrough) -> dict[str, object]:
    written: dict[str, object] = {"parent": through.parent, "on": dict(through.columns)}
    return {**written, "unique": True} if through.unique else written


def _whole(policy: Mapping[str, object], key: str, *, smallest: int, largest: int) -> int | None:
    value = policy.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
        raise InvalidRequestError(f"{key} must be a whole number from {smallest} to {largest}", key=key)
    return value


def _flag(policy: Mapping[str, object], key: str) -> bool:
    value = policy.get(key)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequestError(f"{key} must be true or false", key=key)
    return bool(value)


def _bounds(value: object, column: Column) -> ColumnBounds:
    key = f"bounds.{column.name.lower()}"
    column = element_of(column)
    if column.type in _MOMENTS:
        return _moment_bounds(value, column, key=key)
    if column.type not in _NUMBERS:
        raise InvalidRequestError(
            f"{key}: only number, date and timestamp columns have bounds, and this one is {column.type.value}", key=key
        )
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise InvalidRequestError(f"{key} must be [lo, hi], two numbers with lo < hi", key=key)
    lo, hi = (_fraction(number, key=key) for number in value)
    if not lo < hi:
        raise InvalidRequestError(f"{key} must be [lo, hi] with lo < hi", key=key)
    return ColumnBounds(lo=lo, hi=hi)


def _moment_bounds(value: object, column: Column, *, key: str) -> ColumnBounds:
    written = '"YYYY-MM-DD"' + (' or "YYYY-MM-DD HH:MM:SS"' if column.type is ColumnType.TIMESTAMP else "")
    possible = InvalidRequestError(f"{key} must be [first, last], each as {written}, with first < last", key=key)
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise possible
    ends = [moment_number(end, column.type) if isinstance(end, str) else None for end in value]
    first, last = ends
    if first is None or last is None or not first < last:
        raise possible
    return ColumnBounds(lo=Fraction(first), hi=Fraction(last), kind=column.type)


def _fraction(value: object, *, key: str) -> Fraction:
    possible = InvalidRequestError(f"{key} must be two finite numbers between -1e30 and 1e30", key=key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise possible
    try:
        number = exact_fraction(value)
    except ValueError:  # NaN and the infinities
        raise possible from None
    if not abs(number) <= _MAX_BOUND:
        raise possible
    return number


def _domain(value: object, column: Column) -> Domain:
    key = f"domains.{column.name.lower()}"
    column = element_of(column)
    if column.type not in (ColumnType.TEXT, ColumnType.INTEGER, ColumnType.BOOLEAN, ColumnType.DATE):
        raise InvalidRequestError(
            f"{key}: only text, integer, boolean and date columns have domains, and this one is {column.type.value}",
            key=key,
        )
    if isinstance(value, Mapping):
        return Domain(values=_expanded(value, column, key=key))
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= MAX_DOMAIN:
        raise InvalidRequestError(f'{key} must be a list of 1 to {MAX_DOMAIN} values, or {{"range": [..]}}', key=key)
    values = tuple(_domain_value(item, column, key=key) for item in value)
    if len(set(values)) != len(values):
        raise InvalidRequestError(f"{key} has a value twice", key=key)
    return Domain(values=values)


def _expanded(value: Mapping[str, object], column: Column, *, key: str) -> tuple[str | int | bool, ...]:
    ends = value.get("range")
    if set(value) != {"range"} or not isinstance(ends, (list, tuple)) or len(ends) != 2:
        raise InvalidRequestError(f'{key} must be {{"range": [first, last]}}', key=key)
    first, last = (_domain_value(end, column, key=key) for end in ends)
    dates = isinstance(first, str) and isinstance(last, str) and _is_date(first) and _is_date(last)
    if not (dates or column.type is ColumnType.INTEGER):
        raise InvalidRequestError(f"{key}: only whole numbers and dates have a range; list the values", key=key)
    start, end = _ordinal(first), _ordinal(last)
    if not start <= end:
        raise InvalidRequestError(f"{key} must be a range with first <= last", key=key)
    if end - start >= MAX_DOMAIN:
        raise InvalidRequestError(f"{key} has {end - start + 1} values; at most {MAX_DOMAIN} are possible", key=key)
    if column.type is ColumnType.INTEGER:
        return tuple(range(start, end + 1))
    return tuple(date.fromordinal(day).isoformat() for day in range(start, end + 1))


def _domain_value(value: object, column: Column, *, key: str) -> str | int | bool:
    match column.type:
        case ColumnType.BOOLEAN if isinstance(value, bool):
            return value
        case ColumnType.INTEGER if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
            return value
        case ColumnType.TEXT if isinstance(value, str) and len(value) <= _MAX_TEXT and _is_text(value):
            return value
        case ColumnType.DATE if isinstance(value, str) and _is_date(value):
            return value
    possible = {
        ColumnType.BOOLEAN: "true or false",
        ColumnType.INTEGER: "whole numbers of 64 bits",
        ColumnType.DATE: 'dates as "YYYY-MM-DD"',
    }.get(column.type, f"text of at most {_MAX_TEXT} characters")
    raise InvalidRequestError(f"{key}: the values must be {possible}", key=key)


def _is_text(value: str) -> bool:
    return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_date(value: str) -> bool:
    try:
        return _DATE.fullmatch(value) is not None and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _ordinal(value: str | int | bool) -> int:
    return date.fromisoformat(value).toordinal() if isinstance(value, str) else int(value)


def _bounds_as_json(bounds: ColumnBounds) -> list[object]:
    if bounds.kind is not None:
        return [moment_text(bounds.lo, bounds.kind), moment_text(bounds.hi, bounds.kind)]
    return [_number(bounds.lo), _number(bounds.hi)]


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)


def _domain_as_json(domain: Domain) -> object:
    values = domain.values
    consecutive = len(values) > 2 and (
        all(type(value) is int for value in values)
        or all(isinstance(value, str) and _is_date(value) for value in values)
    )
    if consecutive:
        ordinals = [_ordinal(value) for value in values]
        if all(later - earlier == 1 for earlier, later in pairwise(ordinals)):
            return {"range": [values[0], values[-1]]}
    return list(values)
