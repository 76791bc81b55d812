"""Values of ours as JSON text for storage, and back; what cannot be read exactly refuses (rule 6 of the ledger)."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache
from typing import Any, TypeVar

import msgspec

from cleanroom.errors import InvalidRequestError, LedgerUnreadableError

T = TypeVar("T")

MAX_BODY_BYTES = 350_000
"""Largest body. A DynamoDB item holds 400 KB, keys and names included."""

_FRACTION = re.compile(r"-?[0-9]+/[1-9][0-9]*", re.ASCII)


def encode(value: object) -> str:
    """Return a dataclass as JSON text: fractions as "n/d", times in ISO 8601, enumerations by value.

    Raises:
        InvalidRequestError: the value is too large for one record.
    """
    body: bytes = _encoder().encode(value)
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequestError(
            f"this is too large to store: {len(body)} bytes of at most {MAX_BODY_BYTES}; declare a shorter list or text"
        )
    return body.decode()


def decode(body: str, kind: type[T]) -> T:
    """Return the value that `encode` made this text from.

    Fields that are missing are never filled with defaults: a settings record without `differential` must not
    become one that has DP off. So whatever does not encode to the same JSON again is refused.

    Raises:
        LedgerUnreadableError: not JSON, a field missing, unknown, or of another type.
    """
    try:
        value: T = msgspec.json.decode(body, type=kind, dec_hook=_from_text)
        again = msgspec.json.decode(_encoder().encode(value))
        if again == msgspec.json.decode(body):
            return value
    except (msgspec.MsgspecError, ValueError, TypeError):
        pass
    # Not chained, and without the text: what is stored may be of any party.
    raise LedgerUnreadableError(f"a stored {kind.__name__} cannot be read")


@cache
def _encoder() -> msgspec.json.Encoder:
    return msgspec.json.Encoder(enc_hook=_to_text)


def _to_text(value: object) -> str:
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    raise TypeError(f"no text form for {type(value).__name__}")


def _from_text(kind: type[Any], value: Any) -> Any:
    if kind is Fraction and isinstance(value, str) and _FRACTION.fullmatch(value) is not None:
        return Fraction(value)
    raise TypeError("not a text form of ours")
