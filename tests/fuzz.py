"""The random tests for longer than `make test` has time for. Each says at the end what it tried, and how much of it.

`PYTHONPATH=layers/core/python python -m tests.fuzz meanings --pairs 100000` (about half an hour of one core): plans
against the reference on 32 databases each, and up to three neighbours of each database. All go in chunks, each with a
seed of its own that follows from `--seed` alone, and say after each how far they are; `--first N` begins with chunk N,
so that what was stopped can go on.
`… neighbours --cases 5000`: sound and unsound constructs alike. `… texts --cases 10000`: hostile texts and arguments.
`--seed N` for other cases.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable

from tests.soundness.check import Found, check_many
from tests.soundness.hostile import complaints
from tests.unit.attacks.neighbours import fuzz

CHUNK = 500
"""Pairs of query and database, or cases, in a chunk: about as many as one test of `make test` has."""
NEIGHBOURS = 3
"""Of each database: to compile a query takes ten times as long as to ask it of one database and of these."""
FOUND, DONE = "found", "done"
"""What each run counts, beside what it met."""
MOST_FINDINGS = 50
"""After so many, a run ends."""
BUGS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
APART = 1_000_003
"""Between the seeds of two runs: no two chunks of runs with small seeds are the same."""


def main() -> int:
    """Try random cases and print what was found; 1 where anything was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["meanings", "neighbours", "texts"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=100_000, help="of meanings")
    parser.add_argument("--simple", action="store_true", help="meanings over plain tables: more aggregates in a time")
    parser.add_argument("--chunk", type=int, default=CHUNK, help="pairs or cases after which there is a line")
    parser.add_argument("--first", type=int, default=0, help="chunk to begin with")
    parser.add_argument("--cases", type=int, default=2_000, help="of neighbours and texts")
    asked = parser.parse_args()
    counted = {"meanings": meanings, "neighbours": neighbours, "texts": texts}[asked.what](asked)
    for what, often in sorted(counted.items()):
        print(f"{often:>9,} {what}")
    return 1 if counted[FOUND] else 0


def meanings(asked: argparse.Namespace) -> Counter[str]:
    """Compare plans with the reference."""
    depth, databases = (0, 16) if asked.simple else (2, 32)
    pairs = min(asked.chunk, asked.pairs)

    def chunk(seed: int) -> Counter[str]:
        counted, found = check_many(seed=seed, pairs=pairs, depth=depth, databases=databases, neighbours=NEIGHBOURS)
        for violation in found:
            _print(violation, seed)
        return counted + Counter({FOUND: len(found), DONE: min(counted["meanings"], counted["neighbours"])})

    return in_chunks(asked, asked.pairs, chunk)


def in_chunks(asked: argparse.Namespace, wanted: int, chunk: Callable[[int], Counter[str]]) -> Counter[str]:
    """Try chunk after chunk: what is found is printed at once, and the run goes on."""
    counted: Counter[str] = Counter()
    number, began = asked.first, time.monotonic()
    while counted[DONE] < wanted and counted[FOUND] < MOST_FINDINGS:
        seed = asked.seed * APART + number
        try:
            counted += chunk(seed)
        except BUGS:  # the compiler's, or of the reference: either is to be looked at, and neither ends the run
            print(f"seed {seed}: {traceback.format_exc()}", flush=True)
            counted[FOUND] += 1
        print(
            f"chunk {number}, seed {seed}: {counted[DONE]:,} in {time.monotonic() - began:,.0f} s, "
            f"found {counted[FOUND]}",
            flush=True,
        )
        number += 1
    return counted


def _print(case: Found, seed: int) -> None:
    policies = [(t.name, t.policy) for t in case.query.schema.tables]
    print(
        f"seed {seed}: {case.what}",
        case.query.sql,
        case.query.settings,
        policies,
        case.query.schema.exempt,
        case.database,
        case.entity,
        sep="\n  ",
        flush=True,
    )


def neighbours(asked: argparse.Namespace) -> Counter[str]:
    """Compare neighbouring databases, on queries of the other grammar."""

    def chunk(seed: int) -> Counter[str]:
        counted, found = fuzz(seed=seed, cases=min(asked.chunk, asked.cases))
        for what, case in found:
            print(what, case.sql, case.settings, [t.policy for t in case.tables], sep="\n  ", flush=True)
        return counted + Counter({FOUND: len(found), DONE: min(asked.chunk, asked.cases)})

    return in_chunks(asked, asked.cases, chunk)


def texts(asked: argparse.Namespace) -> Counter[str]:
    """Render and compile hostile requests."""

    def chunk(seed: int) -> Counter[str]:
        counted, found = complaints(seed=seed, cases=min(asked.chunk, asked.cases))
        for complaint in found:
            print(complaint.what, ascii(complaint.request.text), complaint.request.arguments, sep="\n  ", flush=True)
        return counted + Counter({FOUND: len(found), DONE: min(asked.chunk, asked.cases)})

    return in_chunks(asked, asked.cases, chunk)


if __name__ == "__main__":
    sys.exit(main())
