"""Regular expressions that templates may write: a part of RE2's syntax, read here, so that the engine takes every one.

RE2 matches in time linear in the text, whatever the pattern. A pattern is a literal; what this reader does not know is
refused when the template is compiled, so that no pattern can fail on a row. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from sqlglot import exp

from cleanroom.templates.refusals import refuse

MOST_CHARACTERS = 256
MOST_REPEATS = 100
_MOST_STATES = 1_000
_MOST_DEPTH = 20

_ESCAPED = set("dDwWsS")
_PUNCTUATION = set("\\.[]{}()*+?^$|-/_\"'`~!@#%&=:;,<> ")
_REPEAT = re.compile(r"\{([0-9]{1,4})(,([0-9]{0,4}))?\}", re.ASCII)
_NAMED_CLASS = re.compile(r"\[:(alnum|alpha|blank|digit|lower|punct|space|upper|xdigit):\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """A pattern that the engine takes.

    Attributes:
        text: as written.
        groups: capturing groups in it.
        shortest: characters that a match has at least.
    """

    text: str
    groups: int
    shortest: int


def read_pattern(text: str, *, at: exp.Expr) -> Pattern:
    """Return the pattern after reading all of it.

    Known are characters, `.`, `[…]` with ranges and `[:digit:]`-like classes, `\\d \\w \\s` and their opposites,
    escaped punctuation, groups `(…)` and `(?:…)`, `|`, `^`, `$`, and `* + ? {n} {n,} {n,m}`, also lazy, up to 100
    repetitions.

    Raises:
        TemplateRefusedError: rule `bad_pattern`; the pattern is not quoted.
    """
    if len(text) > MOST_CHARACTERS:
        _bad("the pattern is too long", at=at)
    reader = _Reader(text, at)
    shortest, _ = reader.choice(0)
    if reader.place < len(text):
        _bad("the pattern has a ) without its (", at=at)
    return Pattern(text=text, groups=reader.groups, shortest=shortest)


def _bad(sentence: str, *, at: exp.Expr) -> NoReturn:
    refuse(
        sentence,
        rule="bad_pattern",
        cure=r"use characters, . [a-z] \d \w \s, (…), (?:…), |, ^, $ and * + ? {n,m} up to 100",
        at=at,
    )


class _Reader:
    """Reads from left to right; each method returns the shortest match and the size of the automaton."""

    def __init__(self, text: str, at: exp.Expr) -> None:
        self.text, self.at = text, at
        self.place = self.groups = 0

    def choice(self, depth: int) -> tuple[int, int]:
        """Read `a|b|…` up to a closing bracket or the end."""
        if depth > _MOST_DEPTH:
            _bad("the pattern is nested too deeply", at=self.at)
        shortest, size = self._sequence(depth)
        while self._peek() == "|":
            self.place += 1
            other, more = self._sequence(depth)
            shortest, size = min(shortest, other), size + more + 1
        if size > _MOST_STATES:
            _bad("the pattern is too large", at=self.at)
        return shortest, size

    def _peek(self) -> str:
        return self.text[self.place : self.place + 1]

    def _sequence(self, depth: int) -> tuple[int, int]:
        shortest = size = 0
        while self._peek() not in ("", "|", ")"):
            one, states = self._atom(depth)
            one, states = self._repeated(one, states)
            shortest, size = shortest + one, size + states
        return shortest, size

    def _atom(self, depth: int) -> tuple[int, int]:
        character = self._peek()
        self.place += 1
        match character:
            case "(":
                return self._group(depth)
            case "[":
                return self._set()
            case "\\":
                self._escape()
            case "^" | "$":
                if self._peek() in ("*", "+", "?", "{"):
                    _bad("the pattern repeats an anchor", at=self.at)
                return 0, 1
            case "*" | "+" | "?" | "{" | "}" | "]":
                _bad("the pattern has an operator without an operand", at=self.at)
            case _ if not character.isprintable():
                _bad("the pattern has a character that cannot be printed", at=self.at)
        return 1, 1

    def _group(self, depth: int) -> tuple[int, int]:
        if self._peek() == "?":
            if self.text[self.place : self.place + 2] != "?:":
                _bad("the pattern has a group of a kind that is not supported", at=self.at)
            self.place += 2
        else:
            self.groups += 1
        inner = self.choice(depth + 1)
        if self._peek() != ")":
            _bad("the pattern has a ( without its )", at=self.at)
        self.place += 1
        return inner

    def _escape(self) -> str:
        character = self._peek()
        self.place += 1
        if not character or (character not in _ESCAPED and character not in _PUNCTUATION):
            _bad("the pattern has an escape that is not supported", at=self.at)
        return character

    def _set(self) -> tuple[int, int]:
        if self._peek() == "^":
            self.place += 1
        if self._peek() in ("]", ""):
            _bad("the pattern has an empty [ ]", at=self.at)
        while self._peek() != "]":
            named = _NAMED_CLASS.match(self.text, self.place)
            if named is not None:
                self.place = named.end()
                continue
            first = self._member()
            if self._peek() == "-" and self.text[self.place + 1 : self.place + 2] not in ("]", ""):
                self.place += 1
                last = self._member()
                if first is None or last is None or not first <= last:
                    _bad("the pattern has a range the wrong way round", at=self.at)
        self.place += 1
        return 1, 1

    def _member(self) -> str | None:
        """Read one character of a set; None for a class like \\d."""
        character = self._peek()
        self.place += 1
        if character == "\\":
            escaped = self._escape()
            return None if escaped in _ESCAPED else escaped
        if character in ("", "[") or not character.isprintable():
            _bad("the pattern has a [ ] that does not end, or that holds a [", at=self.at)
        return character

    def _repeated(self, shortest: int, size: int) -> tuple[int, int]:
        least, most = 1, 1
        character = self._peek()
        if character in ("*", "+", "?"):
            self.place += 1
            least, most = (1, 2) if character == "+" else (0, 1)
        elif character == "{":
            found = _REPEAT.match(self.text, self.place)
            if found is None:
                _bad("the pattern has a { that is no repetition", at=self.at)
            self.place = found.end()
            least = int(found[1])
            most = least if found[2] is None else int(found[3]) if found[3] else least + 1
            if not least <= most <= MOST_REPEATS:
                _bad("the pattern repeats something too often", at=self.at)
        else:
            return shortest, size
        if self._peek() == "?":  # lazy
            self.place += 1
        if self._peek() in ("*", "+", "?", "{"):
            _bad("the pattern repeats a repetition", at=self.at)
        total = size * max(most, 1) + 1
        if total > _MOST_STATES:
            _bad("the pattern is too large", at=self.at)
        return shortest * least, total
