"""The random runs of CI, each made once for all tests that look at it. Seeds are fixed."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from tests.soundness.check import Found, check_many

PAIRS, SIMPLE_PAIRS = 670, 330
WHOLE = (12, 14)
"""Seeds of runs with subqueries, each query over many databases."""

SIMPLE = (21, 23)
"""Seeds of runs over plain tables and joins: more queries, and so more aggregates, in the same time."""


ONE_PROCESS = pytest.mark.xdist_group("runs of the soundness check")
"""For every test that calls `tried`: what is kept is kept by a process."""


@cache
def tried(seed: int) -> tuple[Counter[str], list[Found]]:
    """Return what one run compared, and what it found."""
    if seed in WHOLE:
        return check_many(seed=seed, pairs=PAIRS, databases=16)
    return check_many(seed=seed, pairs=SIMPLE_PAIRS, databases=8, depth=0)
