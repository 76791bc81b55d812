"""A template: SQL that a party added to a room. Pure value; `templates/` gives it a meaning."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """Approved SQL of a room.

    Attributes:
        name: lower-case letters, digits, underscores (B-36).
        text: Jinja SQL.
        sensitivity: multiplies epsilon (B-35); > 0.
        dialect: of the SQL, `snowflake` by default (B-30).
    """

    name: str
    text: str
    sensitivity: Fraction = Fraction(1)
    dialect: str = "snowflake"
