"""The neighbour fuzzer for longer than the unit tests have time for.

`PYTHONPATH=layers/core/python python -m tests.fuzz [--seed N] [--cases N]`
"""

from __future__ import annotations

import argparse
import sys

from tests.unit.attacks.neighbours import fuzz


def main() -> int:
    """Try random cases and print what was found; 1 where anything was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=2000)
    asked = parser.parse_args()
    counted, found = fuzz(seed=asked.seed, cases=asked.cases)
    for what, case in found:
        print(what, case.sql, case.settings, [t.policy for t in case.tables], sep="\n  ")
    print(f"{dict(counted)}, found {len(found)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
