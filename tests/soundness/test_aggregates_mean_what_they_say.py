"""The same for aggregates, over simpler relations: each of them is asked for, and mistakes in them are found."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from tests.soundness.check import Bench, check_one
from tests.soundness.ci_runs import ONE_PROCESS, SIMPLE, SIMPLE_PAIRS, WHOLE, tried
from tests.soundness.mistakes import (
    by_bin,
    in_measurements,
    is_of_squares,
    rewritten,
    squares_without_a_clamp,
    with_columns,
)
from tests.soundness.quantiles import WRITTEN
from tests.soundness.queries import random_query
from tests.soundness.spreads import SPREADS


@ONE_PROCESS
@pytest.mark.parametrize("seed", SIMPLE)
def test_an_aggregate_without_noise_is_what_it_says_and_its_neighbours_are_near(seed):
    """B-01: 2 x 330 pairs of query and database, and as many neighbouring databases."""
    counted, found = tried(seed)
    assert [(f.what, f.query.sql) for f in found] == []
    assert min(counted["meanings"], counted["neighbours"]) >= SIMPLE_PAIRS
    assert counted["releases"] >= 0.7 * counted["accepted"]
    assert counted["refused"] <= 0.3 * counted["accepted"]


CONSTRUCTS = (
    *SPREADS,
    *WRITTEN,
    "COVAR",
    "CORR",
    "COUNT(DISTINCT x)",
    "different values above the bound",
    "a quantile of DATE",
    "a quantile of TIMESTAMP",
    "a quantile of DECIMAL",
    "a number of a date",
    "a decimal",
    "COUNT_IF",
    "CASE in COUNT",
    "CASE in SUM",
    "a sum of conditions",
    "an average of conditions",
    "entities with such a row",
    "FILTER",
    "GROUPING SETS",
    "ROLLUP",
    "CUBE",
    "bins on one level",
    "bins on two levels",
    "Gaussian bins",
    "Gaussian different values",
    "Gaussian squares",
)


FEWEST = 4


@ONE_PROCESS
def test_every_aggregate_is_asked_for():
    """Counted in the pairs that all runs compared: what vanishes from the grammar, or is refused, would be missed."""
    pairs = sum((tried(seed)[0] for seed in (*WHOLE, *SIMPLE)), Counter())
    assert {c: pairs[f"pairs of {c}"] for c in CONSTRUCTS if pairs[f"pairs of {c}"] < FEWEST} == {}


# Constructs that it is planted in, the mistake, and whether the reference is needed to see it.
MISTAKES = {
    "half the sensitivity of squares": (
        SPREADS,
        with_columns(is_of_squares, sensitivity=lambda s: s // 2),
        False,
    ),
    "squares are not clamped": (SPREADS, in_measurements(squares_without_a_clamp), False),
    "bins are not bounded": (WRITTEN, rewritten(r'"w"."w" IS NULL', "TRUE"), False),
    "bins are bounded one by one": (WRITTEN, in_measurements(by_bin), False),
    "a row counts in its bin only": (
        WRITTEN,
        with_columns(lambda _, c: c.bins is not None and c.bins.levels > 1, sensitivity=lambda s: s // 2),
        False,
    ),
    "different values are not bounded": (
        ("COUNT(DISTINCT x)",),
        rewritten(r'"w"."rank" <= \d+', '"w"."rank" <= 1000000'),
        False,
    ),
    "entities with such a row count by the row": (
        ("entities with such a row",),
        rewritten(r'CAST\((COUNT\("r"\."v\d+"\)) > 0 AS BIGINT\)', r"\1"),
        False,
    ),
    "grouping sets for the price of one": (
        ("ROLLUP", "CUBE"),
        lambda plan: replace(plan, parts=plan.parts[: len(plan.parts) // len(plan.measurements)]),
        False,
    ),
    "values above the range are in no bin": (
        WRITTEN,
        rewritten(r">= (\d+) THEN \1 WHEN", r">= \1 THEN NULL WHEN"),
        True,
    ),
    "the middle of squares is another": (SPREADS, with_columns(is_of_squares, unit=lambda u: u * 2), True),
    "different values are counted once for all groups": (
        ("COUNT(DISTINCT x)",),
        rewritten(r'COUNT\(DISTINCT "v"\."x"\)', 'COUNT("v"."x")'),
        True,
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_in_an_aggregate_is_found(name):
    """Those that take privacy away by neighbours alone, without any reference."""
    constructs, mistake, meanings = MISTAKES[name]
    rng, bench, counted = random.Random(45), Bench(), Counter()
    for _ in range(3000):
        query = random_query(rng, depth=0)
        if not any(c in constructs for asked in query.asked for a in asked.aggregates for c in a.constructs):
            continue
        if check_one(query, rng, bench, counted, databases=8, mistake=mistake, meanings=meanings) is not None:
            return
    pytest.fail(f"not found: {counted}")
