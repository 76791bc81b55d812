"""Which names parties, clean rooms, templates and tables may have. Pure.

Names stand in SQL, in object keys and in messages, so they are plain ASCII from the start: nothing is ever escaped.
"""

from __future__ import annotations

import re

from cleanroom.errors import InvalidRequestError

_PLAIN = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_CLEANROOM = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_ -]{0,126}[A-Za-z0-9_])?", re.ASCII)
_TEMPLATE = re.compile(r"[a-z0-9_]{1,64}", re.ASCII)
# A party is the schema of its tables in SQL; these are schemas that mean something else.
_TAKEN = frozenset(("cleanroom", "information_schema", "pg_catalog", "main", "temp", "system", "snowflake"))


_SHOWN = 64  # characters of a name that does not exist, in a message


def shown_name(name: object) -> str:
    """Return a key or a column that a caller named, for a message: in quotes, escaped, its first 64 characters.

    Only for names: what is no text could be a value, and only its type is told.
    """
    return repr(name[:_SHOWN]) if isinstance(name, str) else f"something of type {type(name).__name__}"


def check_party(party: str) -> str:
    """Return a party's id: a lower-case letter, then lower-case letters, digits and underscores, at most 63 in all.

    Raises:
        InvalidRequestError: it is something else, or a schema name that is taken.
    """
    if not isinstance(party, str) or not _PLAIN.fullmatch(party):
        raise InvalidRequestError(
            "a party is named by a lower-case letter, then lower-case letters, digits, underscores, at most 63 in all"
        )
    if party in _TAKEN:
        raise InvalidRequestError(f"no party can be called {party}: SQL means something else by it")
    return party


def check_cleanroom_name(name: str) -> str:
    """Return a clean room's name: up to 128 letters, digits, `_`, `-` and blanks, no blank or `-` at the ends.

    Raises:
        InvalidRequestError: it is something else.
    """
    if not isinstance(name, str) or not _CLEANROOM.fullmatch(name):
        raise InvalidRequestError(
            "a clean room's name has up to 128 letters (A to Z, a to z), digits, underscores, hyphens and blanks, "
            "and begins and ends with a letter, digit or underscore"
        )
    return name


def check_template_name(name: str) -> str:
    """Return a template's name: up to 64 lower-case letters, digits and underscores (B-36).

    Raises:
        InvalidRequestError: it is something else.
    """
    if not isinstance(name, str) or not _TEMPLATE.fullmatch(name):
        raise InvalidRequestError("a template's name has up to 64 lower-case letters (a to z), digits and underscores")
    return name


def check_table_name(name: str) -> str:
    """Return a table's own name: a lower-case letter, then lower-case letters, digits, underscores; at most 63 in all.

    Raises:
        InvalidRequestError: it is something else.
    """
    if not isinstance(name, str) or not _PLAIN.fullmatch(name):
        raise InvalidRequestError(
            "a table is named by a lower-case letter, then lower-case letters, digits, underscores, at most 63 in all"
        )
    return name
