"""The random tests for longer than `make test` has time for. Each says at the end what it tried, and how much of it.

`PYTHONPATH=layers/core/python python -m tests.fuzz meanings --pairs 100000` (about 20 minutes of one core): plans
against the reference, and neighbouring databases. `… neighbours --cases 5000`: sound and unsound constructs alike.
`… texts --cases 10000`: hostile texts and arguments. `--seed N` for other cases.
"""

from __future__ import annotations

import argparse
import sys

from tests.soundness.check import check_many
from tests.soundness.hostile import complaints
from tests.unit.attacks.neighbours import fuzz


def main() -> int:
    """Try random cases and print what was found; 1 where anything was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["meanings", "neighbours", "texts"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=100_000, help="of meanings")
    parser.add_argument("--simple", action="store_true", help="meanings over plain tables: more aggregates in a time")
    parser.add_argument("--cases", type=int, default=2_000, help="of neighbours and texts")
    asked = parser.parse_args()
    return {"meanings": meanings, "neighbours": neighbours, "texts": texts}[asked.what](asked)


def meanings(asked: argparse.Namespace) -> int:
    """Compare plans with the reference."""
    depth, databases = (0, 8) if asked.simple else (2, 16)
    counted, found = check_many(seed=asked.seed, pairs=asked.pairs, depth=depth, databases=databases)
    for case in found:
        policies = [(t.name, t.policy) for t in case.query.schema.tables]
        print(case.what, case.query.sql, case.query.settings, policies, case.database, case.entity, sep="\n  ")
    print(f"{dict(counted)}, found {len(found)}")
    return 1 if found else 0


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
