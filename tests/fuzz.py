"""The random tests for longer than `make test` has time for. Each says at the end what it tried, and how much of it.

`PYTHONPATH=layers/core/python python -m tests.fuzz meanings --pairs 100000` (about an hour of one core): plans against
the reference, and neighbouring databases. It goes in chunks, each with a seed of its own that follows from `--seed`
alone, and says after each how far it is; `--first N` begins with chunk N, so that what was stopped can go on.
`… neighbours --cases 5000`: sound and unsound constructs alike. `… texts --cases 10000`: hostile texts and arguments.
`--seed N` for other cases.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter

from tests.soundness.check import Found, check_many
from tests.soundness.hostile import complaints
from tests.unit.attacks.neighbours import fuzz

CHUNK = 500
"""Pairs of query and database in a chunk: as many as one test of `make test` has."""
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
    parser.add_argument("--chunk", type=int, default=CHUNK, help="pairs of meanings after which there is a line")
    parser.add_argument("--first", type=int, default=0, help="chunk of meanings to begin with")
    parser.add_argument("--cases", type=int, default=2_000, help="of neighbours and texts")
    asked = parser.parse_args()
    return {"meanings": meanings, "neighbours": neighbours, "texts": texts}[asked.what](asked)


def meanings(asked: argparse.Namespace) -> int:
    """Compare plans with the reference, chunk by chunk: what is found is printed at once, and the run goes on."""
    depth, databases = (0, 8) if asked.simple else (2, 16)
    counted: Counter[str] = Counter()
    number, found, began = asked.first, 0, time.monotonic()
    while min(counted["meanings"], counted["neighbours"]) < asked.pairs and found < MOST_FINDINGS:
        seed = asked.seed * APART + number
        try:
            pairs = min(asked.chunk, asked.pairs)
            more, violations = check_many(seed=seed, pairs=pairs, depth=depth, databases=databases)
        except BUGS:  # the compiler's, or of the reference: either is to be looked at, and neither ends the run
            print(f"seed {seed}: {traceback.format_exc()}", flush=True)
            more, violations, found = Counter(), [], found + 1
        counted += more
        found += len(violations)
        for violation in violations:
            _print(violation, seed)
        share = counted["accepted"] / max(counted["accepted"] + counted["refused"], 1)
        print(
            f"chunk {number}, seed {seed}: {counted['meanings']:,} meanings, {counted['neighbours']:,} neighbours in "
            f"{time.monotonic() - began:,.0f} s, {share:.0%} of queries accepted, found {found}",
            flush=True,
        )
        number += 1
    for what, often in sorted(counted.items()):
        print(f"{often:>9,} {what}")
    return 1 if found else 0


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


def neighbours(asked: argparse.Namespace) -> int:
    """Compare neighbouring databases, on queries of the other grammar."""
    counted, found = fuzz(seed=asked.seed, cases=asked.cases)
    for what, case in found:
        print(what, case.sql, case.settings, [t.policy for t in case.tables], sep="\n  ")
    print(f"{dict(counted)}, found {len(found)}")
    return 1 if found else 0


def texts(asked: argparse.Namespace) -> int:
    """Render and compile hostile requests."""
    counted, found = complaints(seed=asked.seed, cases=asked.cases)
    for complaint in found:
        print(complaint.what, repr(complaint.request.text), complaint.request.arguments, sep="\n  ")
    print(f"{dict(counted)}, found {len(found)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
