"""Values become SQL text: bound literals, plain decimals, and the checks on text that `sqlsafe` inserts. Pure.

A literal is made by the SQL library's generator for the dialect and then read back by the same dialect's tokenizer:
what does not come back as one string token with the same text is refused, so no quoting rule has to be trusted.
"""

from __future__ import annotations

import unicodedata
from decimal import ROUND_FLOOR, Context, Decimal
from typing import TYPE_CHECKING, Any

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from cleanroom.errors import TemplateRefusedError

if TYPE_CHECKING:
    from fractions import Fraction

MAX_STRING = 65_536  # characters of one string, in arguments and in anything computed while rendering
MAX_ITEMS = 10_000  # of one list
MAX_SQL_TEXT = 16_384  # characters that one `sqlsafe` may insert
_LARGEST = Decimal(10) ** 38  # what DECIMAL(38) holds
_SMALLEST = Decimal("1e-30")  # a plain decimal below this is mostly zeros
_WIDE = Context(prec=60, rounding=ROUND_FLOOR)


class SqlText(str):
    """Text that the template marked with `sqlsafe`; everything else is bound as a literal."""

    __slots__ = ()


class CheckedName(str):
    """A column name that passed a policy filter; still bound as a literal, e.g. inside `IDENTIFIER(…)`."""

    __slots__ = ()


class CheckedSql(SqlText):
    """Column names that passed a policy filter and are inserted as SQL, each as a token of its own."""

    __slots__ = ()


def refused(sentence: str, *, rule: str, cure: str) -> TemplateRefusedError:
    """Return a refusal without a line; `render` adds the line of the template where it is known."""
    return TemplateRefusedError(sentence, rule=rule, cure=cure)


def decimal_from_fraction(value: Fraction) -> Decimal:
    """Return a fraction as a decimal of at most 60 significant digits, rounded down where it has no exact decimal."""
    return _WIDE.divide(Decimal(value.numerator), Decimal(value.denominator))


def plain_number(value: int | float | Decimal) -> str:
    """Return a number as plain decimal digits, never with an exponent.

    A float is read through its shortest text, so 0.1 is `0.1`. A negative number has a blank in front, for `-`
    before it would otherwise begin a comment.

    Args:
        value: int, float or Decimal; finite, below 10**38, and 0 or at least 1e-30 in size.

    Raises:
        TemplateRefusedError: it is not finite, or out of that range.
    """
    number = value if isinstance(value, int) else Decimal(repr(value) if isinstance(value, float) else value)
    if isinstance(number, Decimal) and not number.is_finite():
        raise refused(
            "a number in a template must be finite, not NaN or infinity",
            rule="number_not_finite",
            cure="pass a finite number, or null",
        )
    size = Decimal(number).copy_abs()
    if not (size == 0 or _SMALLEST <= size < _LARGEST):
        raise refused(
            "a number in a template must be 0, or between 1e-30 and 1e38 in size",
            rule="number_out_of_range",
            cure="pass a number that DECIMAL(38) can hold",
        )
    text = str(number) if isinstance(number, int) else format(number, "f")
    return f" {text}" if text.startswith("-") else text


def string_literal(text: str, *, dialect: str) -> str:
    """Return a string as a literal of the dialect, read back and compared before it is believed.

    Raises:
        TemplateRefusedError: the text is too long, holds NUL or half a surrogate pair, or the dialect has no literal
            for it.
    """
    if len(text) > MAX_STRING:
        raise refused(
            f"a string in a template is longer than {MAX_STRING:,} characters",
            rule="string_too_long",
            cure="pass a shorter string",
        )
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise refused(
            "a string in a template holds a character that is no text (NUL or half a surrogate pair)",
            rule="string_not_text",
            cure="pass text only",
        )
    literal = exp.Literal.string(str(text)).sql(dialect=dialect)
    tokens = tokenize(literal, dialect=dialect)
    if len(tokens) != 1 or tokens[0].token_type is not TokenType.STRING or tokens[0].text != text:
        raise refused(
            f"a string in a template cannot be written as a literal of {dialect}",
            rule="string_not_bindable",
            cure="pass a string without control characters",
        )
    return literal


def literal(value: object, *, dialect: str) -> str:
    """Return any value that may be bound as SQL text: a literal, NULL, or a list of literals in parentheses.

    Raises:
        TemplateRefusedError: the value is a mapping, a nested or empty list, or a scalar that cannot be bound.
    """
    if isinstance(value, (tuple, list, range)):
        if not value:
            raise refused(
                "an empty list has no SQL: IN () does not exist",
                rule="empty_list",
                cure="pass at least one value, or test the list with {% if … %}",
            )
        if len(value) > MAX_ITEMS:
            raise refused(
                f"a list in a template has more than {MAX_ITEMS:,} values",
                rule="list_too_long",
                cure="link the values as a table and join it",
            )
        return "(" + ", ".join(_scalar(item, dialect=dialect) for item in value) + ")"
    return _scalar(value, dialect=dialect)


def _scalar(value: object, *, dialect: str) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, float, Decimal)):
        return plain_number(value)
    if isinstance(value, str) and not isinstance(value, SqlText):
        return string_literal(value, dialect=dialect)
    raise refused(
        "only text, numbers, true, false, null and flat lists of those can be bound into a template",
        rule="value_not_bindable",
        cure="name one entry of the mapping or list, e.g. {{ x.key }} or {{ x[0] }}",
    )


def sql_text(text: str, *, dialect: str) -> SqlText:
    """Return text that `sqlsafe` inserts, after checking that it is a fragment that ends where it began.

    The compiler checks the whole query later; this keeps a caller from cutting the template's own text away: no
    comment, no semicolon, no unbalanced parenthesis or quote, no Jinja, no invisible characters.

    Raises:
        TemplateRefusedError: one of those is there, or the text is too long.
    """
    if len(text) > MAX_SQL_TEXT:
        raise refused(
            f"sqlsafe inserts at most {MAX_SQL_TEXT:,} characters at one place",
            rule="sqlsafe_too_long",
            cure="pass a shorter text",
        )
    if any(_invisible(character) for character in text):
        raise refused(
            "text for sqlsafe holds control or invisible characters",
            rule="sqlsafe_characters",
            cure="pass printable text",
        )
    tokens = tokenize(text, dialect=dialect, of="text for sqlsafe")
    if any(mark in text for mark in ("{{", "{%", "{#", "}}", "%}", "#}", "$$")):
        raise refused(
            "text for sqlsafe holds a Jinja or dollar-quote mark",
            rule="sqlsafe_marks",
            cure="pass plain SQL",
        )
    if _has_comment(text, tokens, dialect=dialect):
        raise refused("text for sqlsafe holds a comment", rule="sqlsafe_comment", cure="leave the comment out")
    if any(token.token_type is TokenType.SEMICOLON for token in tokens):
        raise refused(
            "text for sqlsafe holds a semicolon", rule="sqlsafe_semicolon", cure="a template is exactly one SELECT"
        )
    depth = 0
    for token in tokens:
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
        if depth < 0:
            break
    if depth:
        raise refused(
            "text for sqlsafe has unbalanced parentheses", rule="sqlsafe_parentheses", cure="pass a whole expression"
        )
    # A blank keeps `-`, `/`, `*` at the ends from meeting the template's own and beginning a comment there.
    before = " " if text[:1] in ("-", "/", "*", "$") else ""
    after = " " if text[-1:] in ("-", "/", "*", "$") else ""
    return SqlText(before + text + after)


def tokenize(text: str, *, dialect: str, of: str = "the rendered text") -> list[Any]:
    """Return the tokens of a dialect's text; a text that has none is refused without being quoted.

    Raises:
        TemplateRefusedError: the text cannot be cut into tokens (an open quote, for instance), or the dialect is
            unknown.
    """
    try:
        return list(Dialect.get_or_raise(dialect).tokenize(text))
    except (SqlglotError, ValueError):
        raise refused(
            f"{of} is not SQL of the dialect {dialect!r}: a quote or comment may be open",
            rule="not_sql",
            cure="close every quote and comment",
        ) from None


def _has_comment(text: str, tokens: list[Any], *, dialect: str) -> bool:
    if any(token.comments for token in tokens):
        return True
    # A text of nothing but a comment has no token to hang it on: behind a token it has.
    return any(token.comments for token in tokenize(f"x {text}", dialect=dialect, of="text for sqlsafe"))


def _invisible(character: str) -> bool:
    return character not in "\t\n\r" and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
