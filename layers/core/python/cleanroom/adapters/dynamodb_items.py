"""Attributes of DynamoDB items from plain values, and back. Strict: an unreadable item refuses (rule 6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cleanroom.adapters import codec
from cleanroom.errors import LedgerUnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from cleanroom.adapters.dynamodb_keys import Key

T = TypeVar("T")

MAX_DIGITS = 38
"""DynamoDB numbers are exact up to here."""

_INTEGER = re.compile(rf"-?[0-9]{{1,{MAX_DIGITS}}}", re.ASCII)


def attributes(**values: str | int | bool | None) -> dict[str, AttributeValueTypeDef]:
    """Return values as DynamoDB attributes; None is left out.

    Raises:
        ValueError: a value is no str, int or bool, or an integer has more than 38 digits. That is our bug.
    """
    return {name: attribute(value) for name, value in values.items() if value is not None}


def attribute(value: str | int | bool) -> AttributeValueTypeDef:
    """Return one value as a DynamoDB attribute. Floats have none: what is compared with a limit is an integer."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        if _INTEGER.fullmatch(str(int(value))) is None:
            raise ValueError(f"an integer in the ledger has at most {MAX_DIGITS} digits")
        return {"N": str(int(value))}
    if isinstance(value, str):
        return {"S": str(value)}
    raise ValueError("the ledger holds text, integers and booleans only")


def placeholders(**values: str | int | bool) -> dict[str, AttributeValueTypeDef]:
    """Return values as `ExpressionAttributeValues`: `kind=…` for `:kind`."""
    return {f":{name}": attribute(value) for name, value in values.items()}


def item(key: Key, *, kind: str, **values: str | int | bool | None) -> dict[str, AttributeValueTypeDef]:
    """Return a whole item."""
    return attributes(pk=key.pk, sk=key.sk, kind=kind, **values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """A stored item of a known kind; every access is checked.

    Raises:
        LedgerUnreadableError: from all methods, where the kind or a field is not what it must be.
    """

    stored: Mapping[str, AttributeValueTypeDef]

    @classmethod
    def of(cls, stored: Mapping[str, AttributeValueTypeDef], *, kind: str, older: tuple[str, ...] = ()) -> Fields:
        """Return the item, after checking that its kind is `kind`, or one of the `older` that the caller can read."""
        fields = cls(stored=stored)
        if fields.text("kind") not in (kind, *older):
            raise LedgerUnreadableError(f"a stored record should be of kind {kind!r} and is not")
        return fields

    def text(self, name: str) -> str:
        """Return a text."""
        value = self.stored.get(name, {}).get("S")
        if not isinstance(value, str):
            raise LedgerUnreadableError(f"a stored record has no text {name!r}")
        return value

    def text_or_none(self, name: str) -> str | None:
        """Return a text, or None where there is no such field."""
        return self.text(name) if name in self.stored else None

    def number(self, name: str) -> int:
        """Return an integer of at most 38 digits that is not negative."""
        value = self.stored.get(name, {}).get("N")
        if not isinstance(value, str) or _INTEGER.fullmatch(value) is None or int(value) < 0:
            raise LedgerUnreadableError(f"a stored record has no whole number {name!r}")
        return int(value)

    def flag(self, name: str) -> bool:
        """Return a boolean."""
        value = self.stored.get(name, {}).get("BOOL")
        if not isinstance(value, bool):
            raise LedgerUnreadableError(f"a stored record has no flag {name!r}")
        return value

    def body(self, kind: type[T]) -> T:
        """Return the value that is stored as JSON in `body`."""
        return codec.decode(self.text("body"), kind)
