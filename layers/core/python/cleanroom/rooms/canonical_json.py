"""One text for one JSON value, whoever writes it: what digests and signatures of releases are made over. Pure.

RFC 8785 (JSON Canonicalization Scheme), with one extension: integers beyond 2^53 are written in all their digits, where
the RFC has readers round them to a double. Nothing but the standard library is needed, so that a receipt can be
verified anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal


def canonical_json(value: object) -> bytes:
    """Return the canonical text of a JSON value, in UTF-8.

    Members are sorted by the UTF-16 code units of their names, nothing stands between tokens, text is escaped only
    where JSON must, and numbers are written as ECMAScript writes them: 1.0 and 1 give the same text.

    Args:
        value: None, bool, int, finite float, str, or lists and string-keyed mappings of those.

    Raises:
        ValueError: it holds something else, NaN, an infinity, or text that is no Unicode (a lone surrogate).
        RecursionError: it is nested more deeply than this interpreter can follow.
    """
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts).encode("utf-8")


def _write(value: object, parts: list[str]) -> None:
    if value is None or value is True or value is False:
        parts.append({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, str):
        parts.append(json.dumps(str(value), ensure_ascii=False))
    elif isinstance(value, int):
        parts.append(str(int(value)))
    elif isinstance(value, float):
        parts.append(_number(float(value)))
    elif isinstance(value, Mapping):
        _write_object(value, parts)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        parts.append("[")
        for place, item in enumerate(value):
            if place:
                parts.append(",")
            _write(item, parts)
        parts.append("]")
    else:
        raise ValueError(f"JSON has no {type(value).__name__}")


def _write_object(value: Mapping[object, object], parts: list[str]) -> None:
    names = [name for name in value if isinstance(name, str)]
    if len(names) != len(value):
        raise ValueError("names in JSON are text")
    parts.append("{")
    for place, name in enumerate(sorted(names, key=lambda name: name.encode("utf-16-be"))):
        parts.append("," if place else "")
        parts.append(json.dumps(str(name), ensure_ascii=False))
        parts.append(":")
        _write(value[name], parts)
    parts.append("}")


def _number(value: float) -> str:
    """Return a double as ECMAScript's `Number::toString` does: its shortest digits, an exponent only where it is long.

    Source:
        RFC 8785, section 3.2.2.3; ECMA-262, `Number::toString`.
    """
    shortest = repr(value)
    if "n" in shortest:
        raise ValueError("JSON has no NaN and no infinity")
    if "e" not in shortest:  # both agree from 1e-4 up to 1e16, but for a fraction of zero
        plain = shortest.removesuffix(".0")
        return "0" if plain == "-0" else plain
    sign, digits, exponent = Decimal(shortest).as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    point = len(digits) + int(exponent)  # value = 0.text * 10^point
    minus = "-" if sign else ""
    if len(text) <= point <= 21:
        return minus + text + "0" * (point - len(text))
    if 0 < point <= 21:
        return f"{minus}{text[:point]}.{text[point:]}"
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{minus}{text[0]}{fraction}e{'+' if point > 0 else '-'}{abs(point - 1)}"
