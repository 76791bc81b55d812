"""What is said of arguments that do not fit: which one, and what it must be; never the value that was given. Pure.

The decoder says where, in words of its own; what must be there follows from the declared types.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec.inspect as declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`\Z")
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<entry>\d+|\.\.\.)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[A-Za-z0-9_]{1,64})`(?: - at |\Z)")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")


def sentence_of(kind: type[object], said: str, *, patterns: Mapping[str, str]) -> str:
    """Return what is wrong with the arguments of one procedure, as a part of a sentence.

    Args:
        kind: how they are declared: a `msgspec.Struct`.
        said: by the decoder, which may quote the value.
        patterns: regular expression of a declared text -> words for it.
    """
    place = _PLACE.search(said)
    name, wanted = _at(declared.type_info(kind), "" if place is None else place["path"])
    missing = _MISSING.match(said)
    if missing is not None:
        return f"{name}{'.' if name else ''}{missing['name']} is missing"
    if said.startswith("Object contains unknown field") and isinstance(wanted, declared.StructType):
        unknown = _UNKNOWN.match(said)
        given = "such argument" if unknown is None else f"argument {unknown['name']}"
        known = ", ".join(field.encode_name for field in wanted.fields)
        possible = f"the arguments are {known}" if known else "there are no arguments"
        return f"{f'in {name} ' if name else ''}there is no {given}; {possible}"
    return f"{name or 'the body'} must be {_words(wanted, patterns)}"


def _at(kind: declared.Type, path: str) -> tuple[str, declared.Type]:
    """Return the place of a path and what is declared for it; of what holds it, where nothing is declared so deep."""
    name = ""
    for step in _STEP.finditer(path):
        kind = _without_null(kind)
        inner = None
        if isinstance(kind, declared.StructType):
            inner = next((field.type for field in kind.fields if field.encode_name == step["name"]), None)
        elif isinstance(kind, declared.VarTupleType):
            inner = kind.item_type
        elif isinstance(kind, declared.DictType):
            inner = kind.value_type
        if inner is None:
            break
        kind, name = inner, f"{name}{step[0]}"
    return name.removeprefix("."), kind


def _without_null(kind: declared.Type) -> declared.Type:
    if isinstance(kind, declared.UnionType):
        return next(t for t in kind.types if not isinstance(t, declared.NoneType))
    return kind


def _words(kind: declared.Type, patterns: Mapping[str, str]) -> str:
    """Return what a value of a type is, with its limits."""
    match kind:
        case declared.UnionType():
            others = [_words(t, patterns) for t in kind.types if not isinstance(t, declared.NoneType)]
            return ", or ".join([*others, *(["null"] if len(others) < len(kind.types) else [])])
        case declared.LiteralType():
            return f"one of {', '.join(str(value) for value in kind.values)}"
        case declared.BoolType():
            return "true or false"
        case declared.IntType():
            return f"a whole number{_limits(kind)}"
        case declared.FloatType():
            return f"a number{_limits(kind)}"
        case declared.StrType() if kind.pattern is not None:
            return patterns.get(kind.pattern, "text of another form")
        case declared.StrType():
            return f"text{_length(kind.min_length, kind.max_length, 'character')}"
        case declared.VarTupleType():
            size = _length(kind.min_length, kind.max_length, "entry", "entries")
            return f"a list{size}, each {_words(kind.item_type, patterns)}"
        case declared.DictType() | declared.StructType():
            return "a JSON object"
    return "a JSON value whose numbers are finite"


def _limits(kind: declared.IntType | declared.FloatType) -> str:
    """Return the range of a number, with a blank in front; nothing where there is none."""
    limits: Iterable[tuple[str, float | None]] = (
        ("above", kind.gt),
        ("at least", kind.ge),
        ("below", kind.lt),
        ("at most", kind.le),
    )
    if kind.ge is not None and kind.le is not None:
        return f" from {_number(kind.ge)} to {_number(kind.le)}"
    parts = [f"{word} {_number(limit)}" for word, limit in limits if limit is not None]
    return f" {' and '.join(parts)}" if parts else ""


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _length(least: int | None, most: int | None, one: str, many: str | None = None) -> str:
    """Return how long something is, with a blank in front; nothing where that is free."""
    many = many or f"{one}s"
    if least is not None and most is not None:
        return f" of {least:,} to {most:,} {many}"
    if most is not None:
        return f" of at most {most:,} {many}"
    return f" of at least {least:,} {one if least == 1 else many}" if least else ""
