"""A case of a public suite, as a statement of our own with the same point. Data only; `test_breadth.py` tries it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Numbers = Mapping[str, str]
"""File of a suite -> positions in it, as `1-3, 7`."""


class Here(StrEnum):
    """What becomes of the point of a case."""

    SUPPORTED = "supported"
    REWRITTEN = "in another form"
    SET_ELSEWHERE = "set elsewhere"
    NOT_YET = "not yet"
    NO_MEANING = "no sound meaning here"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One point, and the cases of a suite that make it.

    Attributes:
        point: in a few words.
        sql: our statement.
        of: the suite's cases that it stands for.
        here: what becomes of it.
        rule: what refuses `sql`; empty where it is supported.
        why: it is refused, for readers.
        rewrite: a statement that compiles and answers the same.
    """

    point: str
    sql: str
    of: Numbers
    here: Here
    rule: str = ""
    why: str = ""
    rewrite: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """A suite of a peer.

    Attributes:
        name: of the peer.
        repository: on GitHub.
        commit: that was read.
        where: the files, and how a position is counted.
        cases: every position that holds a statement.
        rejected: those that the peer refuses, in at least one of a case's variants.
        points: ours; together they stand for each of `cases` once.
    """

    name: str
    repository: str
    commit: str
    where: str
    cases: Numbers
    rejected: Numbers
    points: tuple[Case, ...] = field(repr=False)


def supported(point: str, sql: str, of: Numbers) -> Case:
    """Return a case whose statement compiles and runs."""
    return Case(point=point, sql=sql, of=of, here=Here.SUPPORTED)


def rewritten(point: str, sql: str, of: Numbers, *, rule: str, rewrite: str, why: str) -> Case:
    """Return a case that is refused as it is written, and whose rewrite answers the same question."""
    return Case(point=point, sql=sql, of=of, here=Here.REWRITTEN, rule=rule, rewrite=rewrite, why=why)


def set_elsewhere(point: str, sql: str, of: Numbers, *, rule: str, rewrite: str, why: str) -> Case:
    """Return a case about something that is no part of a query here: settings, policies, receipts hold it."""
    return Case(point=point, sql=sql, of=of, here=Here.SET_ELSEWHERE, rule=rule, rewrite=rewrite, why=why)


def not_yet(point: str, sql: str, of: Numbers, *, rule: str, why: str) -> Case:
    """Return a case that has a sound meaning, and no form here that says it."""
    return Case(point=point, sql=sql, of=of, here=Here.NOT_YET, rule=rule, why=why)


def no_meaning(point: str, sql: str, of: Numbers, *, rule: str, why: str, rewrite: str = "") -> Case:
    """Return a case that must be refused: it would leak, says nothing, or asks for something that is no query."""
    return Case(point=point, sql=sql, of=of, here=Here.NO_MEANING, rule=rule, why=why, rewrite=rewrite)


def both(first: str, second: str, rest: str, numbers: str) -> Numbers:
    """Return the same positions in two files that differ in the first part of their names."""
    return {f"{first}{rest}": numbers, f"{second}{rest}": numbers}


def positions(numbers: Numbers) -> Iterator[tuple[str, int]]:
    """Yield file and position, one by one."""
    for file, spans in numbers.items():
        for span in filter(None, re.split(r",\s*", spans)):
            first, _, last = span.partition("-")
            yield from ((file, n) for n in range(int(first), int(last or first) + 1))


def counted(suite: Suite, cases: tuple[Case, ...] | None = None) -> Counter[tuple[Here, bool]]:
    """Return how many cases of the suite end how; the flag says that the peer refuses them."""
    refused = set(positions(suite.rejected))
    return Counter((c.here, p in refused) for c in (suite.points if cases is None else cases) for p in positions(c.of))
