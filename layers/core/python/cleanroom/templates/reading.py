"""A text is read by the parser, whose work is counted: it tries what a text may mean, and may try for ever. Pure."""

from __future__ import annotations

from functools import cache
from types import new_class

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.parser import Parser
from sqlglot.tokenizer_core import Token, TokenType

MOST_TOKENS = 10_000
"""Words and signs of a text: half a second of one processor."""
MOST_AGAIN = 10
"""How often, for each token, the parser may go back over one. Texts that mean something need less than one."""
FREE = 1_000
"""Tokens that it may go back over in any text."""


class TooManyTokensError(SqlglotError):
    """The text has more than `MOST_TOKENS`."""


class TooManyReadingsError(SqlglotError):
    """The parser goes back over the text so often that it may not come to an end."""


def statements_of(sql: str, *, dialect: str) -> list[exp.Expr | None]:
    """Return the statements of a text; None for an empty one.

    A JOIN without a condition may be given one after the joins that follow it, so that the parser reads these twice,
    and each of them twice again: 40 such joins would take days.

    Args:
        sql: any text.
        dialect: sqlglot's name of it.

    Raises:
        TooManyTokensError: it is too long.
        TooManyReadingsError: it would take too long.
        SqlglotError: it is not SQL; and what else the parser raises on odd texts (`refusals.PARSER_FAILURES`).
        RecursionError: it is nested too deeply.
    """
    known = Dialect.get_or_raise(dialect)
    tokens = known.tokenize(sql)
    if len(tokens) > MOST_TOKENS:
        raise TooManyTokensError
    parser = _counting(known.parser_class)(dialect=known)
    parser.left = MOST_AGAIN * len(tokens) + FREE
    return list(parser.parse(_with_literals_held(tokens), sql))


def _with_literals_held(tokens: list[Token]) -> list[Token]:
    """Return the tokens with brackets around each literal of a type that is cast: (DATE '2024-01-31')::VARCHAR.

    Without them the parser takes the cast for one of the text, whose outcome then becomes the date.
    """
    held: list[Token] = []
    for at, token in enumerate(tokens):
        held.append(token)
        if token.token_type is not TokenType.STRING or at + 1 >= len(tokens) or len(held) < 2:
            continue
        if held[-2].token_type in _TYPED and tokens[at + 1].token_type in (TokenType.DCOLON, TokenType.L_BRACKET):
            held[-2:] = [_sign(TokenType.L_PAREN, "(", held[-2]), *held[-2:], _sign(TokenType.R_PAREN, ")", token)]
    return held


_TYPED = Parser.TYPE_TOKENS - {TokenType.INTERVAL}
"""What a literal of a type begins with."""


def _sign(kind: TokenType, text: str, beside: Token) -> Token:
    return Token(kind, text, beside.line, beside.col, beside.start, beside.end)


class _Counting(Parser):
    """A parser that ends when it goes back over more tokens than are left to it."""

    left = 0

    def _retreat(self, index: int) -> None:
        self.left -= max(self._index - index, 0)
        if self.left < 0:
            raise TooManyReadingsError
        super()._retreat(index)


@cache
def _counting(parser: type[Parser]) -> type[_Counting]:
    """Return a dialect's parser as one that counts."""
    return new_class("Counting", (_Counting, parser))
