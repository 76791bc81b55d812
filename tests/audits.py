"""Black-box audits of whole runs for longer than `make test` has time for: each mechanism with each aggregate.

`PYTHONPATH=layers/core/python python -m tests.audits --worlds 50000 [--only sum]` prints one line for each: the epsilon
paid, and a lower bound on what was lost (`tests/statistical/audit.py`). Seeds are fixed: the same command gives the
same lines. The outcome is written down in docs/audits.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace

from tests.statistical.audit import FALSE_ALARM, epsilon_lower_bound, gaussian_epsilon_lower_bound
from tests.statistical.worlds import HIGH, MAX_ROWS, Experiment, Rows

WORLD = "p.shelf, p.slot"
QUERY = f"SELECT {WORLD}, {{aggregate}} FROM {{{{table}}}} GROUP BY {WORLD} ORDER BY {WORLD}"
THIRD = "FLOOR(p.value / 34)::INTEGER"
"""0, 1 or 2: three bins, on one level. Whole numbers from 0 to 100 have a tree of two levels; 1,024 bins for each of
50,000 worlds would be more counts than a run may have."""

AGGREGATES = {
    "count": "COUNT(*) AS a",
    "values": "COUNT(p.value) AS a",
    "entities": "COUNT(DISTINCT p.person) AS a",
    "conditional count": "COUNT_IF(p.value > 50) AS a",
    "sum": "SUM(p.value) AS a",
    "average": "AVG(p.value) AS a",
    "variance": "VARIANCE(p.value) AS a",
    "different values": "COUNT(DISTINCT p.place) AS a",
    "median of 101 bins": "MEDIAN(p.value::INTEGER) AS a",
    "maximum of 101 bins": "MAX(p.value::INTEGER) AS a",
    "median of 3 bins": f"MEDIAN({THIRD}) AS a",
    "maximum of 3 bins": f"MAX({THIRD}) AS a",
    "three columns": "COUNT(*) AS a, COUNT(DISTINCT p.person) AS b, SUM(p.value) AS c",
    "own noise": "cleanroom.addnoise(COUNT(*), 1, 0.5) AS a",
}
DERIVED = tuple(name for name in AGGREGATES if name.startswith(("average", "variance", "median", "maximum")))
"""Computed from several noisy numbers: not Gaussian themselves, whatever these are."""

DELTA = 1e-4
UNSEEN = 41_000
"""More groups than error bars are simulated for, which would take long."""


def audited(name: str, *, mechanism: str, worlds: int) -> tuple[float, float, float]:
    """Return price, lower bound, and the same bound for what is Gaussian in all its numbers (0 for Laplace)."""
    experiment = Experiment(
        query=QUERY.format(aggregate=AGGREGATES[name]),
        mechanism=mechanism,
        delta=DELTA,
        worlds=worlds,
        victim=Rows(counts=(MAX_ROWS,), value=HIGH),
    )
    if name == "different values":
        experiment = replace(experiment, victim=Rows(counts=(1,) * MAX_ROWS))
    if name in DERIVED:
        experiment = replace(experiment, worlds=max(worlds, UNSEEN))
    releases = [experiment.release(present=present) for present in (False, True)]
    absent, present = (experiment.outputs_of(r) for r in releases)
    price = releases[1]["price"]
    bound = epsilon_lower_bound(absent, present, delta=price["delta"])
    gaussian = 0.0
    if mechanism == "Gaussian" and name not in DERIVED and price["delta"] > 0:
        gaussian = gaussian_epsilon_lower_bound(absent, present, delta=price["delta"])
    return price["epsilon"], bound, gaussian


def main() -> int:
    """Audit all that is asked for; 1 where a bound is above its price."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=50_000)
    parser.add_argument("--only", choices=AGGREGATES, nargs="+")
    asked = parser.parse_args()
    os.environ.setdefault("PARTY_CLAIM", "custom:party")  # as the tests' fixture does
    broken = 0
    print(
        f"| mechanism | aggregate | epsilon paid | proved to be lost (false alarm {FALSE_ALARM:g}) |\n|---|---|---|---|"
    )
    for mechanism in ("Laplace", "Gaussian"):
        for name in asked.only or AGGREGATES:
            price, bound, gaussian = audited(name, mechanism=mechanism, worlds=asked.worlds)
            broken += max(bound, gaussian) > price
            also = f" ({gaussian:.2f} as a Gaussian mechanism)" if gaussian else ""
            print(f"| {mechanism} | {name} | {price:g} | {bound:.2f}{also} |", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
