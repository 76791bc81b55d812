"""Random queries in random rooms: the noise-free plan is the reference's, and no entity moves it further than declared.

Seeds are fixed. `python -m tests.fuzz meanings --pairs 100000` looks for more than these tests have time for.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.soundness.check import FEATURES, Bench, check_one
from tests.soundness.ci_runs import ONE_PROCESS, PAIRS, WHOLE, tried
from tests.soundness.features import COMMON, RELATIONS
from tests.soundness.mistakes import rewritten, with_columns
from tests.soundness.queries import random_query


@ONE_PROCESS
@pytest.mark.parametrize("seed", WHOLE)
def test_a_plan_without_noise_is_what_its_query_means_and_its_neighbours_are_near(seed):
    """B-01: 2 x 670 pairs of query and database, and as many neighbouring databases."""
    counted, found = tried(seed)
    assert [(f.what, f.query.sql) for f in found] == []
    assert min(counted["meanings"], counted["neighbours"]) >= PAIRS
    assert counted["accepted"] >= 30
    assert counted["releases"] >= 0.7 * counted["accepted"]
    assert counted["over the hard limit"] <= 0.1 * counted["meanings"]
    assert counted["refused"] <= 0.4 * counted["accepted"]
    # What is compared is not the easy part only.
    always = [*COMMON, *(what for what in FEATURES if what not in RELATIONS)]
    assert [what for what in always if not counted[f"with {what}"]] == []


MISTAKES = {
    "half the sensitivity": with_columns(sensitivity=lambda s: s // 2),
    "another unit": with_columns(unit=lambda u: u * 2),
    "nothing is scaled": rewritten(r"IS NULL THEN", "IS NOT NULL OR TRUE THEN"),
    "one step is lost where something is scaled": rewritten(r"// (\S+) AS BIGINT\)", r"// \1 AS BIGINT) - 1"),
    "the clamp above is missing": rewritten(r'"(v\d+)" > (\d+) THEN \2', r'"\1" > 1e9 THEN \2'),
    "values are cut off, not rounded": rewritten(r'ELSE ("r"\."v\d+") END AS INT', r"ELSE TRUNC(\1) END AS INT"),
    "rows of nobody count": rewritten(r'NOT "r\d+"\."[^"]+" IS NULL', "TRUE"),
    "groups appear only where there are rows": rewritten('LEFT JOIN "totals"', 'JOIN "totals"'),
    "an outer join keeps what matches only": rewritten(r' LEFT JOIN "t(\d)"', r' JOIN "t\1"'),
    "AND is OR": rewritten(r" AND ", " OR "),
    "less is not less": rewritten(r" < ", " <= "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(mistake):
    rng, bench, counted = random.Random(32), Bench(), Counter()
    for _ in range(400):
        if (
            check_one(random_query(rng, depth=1), rng, bench, counted, databases=8, mistake=MISTAKES[mistake])
            is not None
        ):
            return
    pytest.fail(f"not found: {counted}")
