"""The neighbour fuzzer on a fixed seed, and the proof that it would find what it looks for."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import duckdb
import pytest

from cleanroom.errors import CleanRoomError
from cleanroom.privacy.accounting import Price
from cleanroom.privacy.calibration import other_noise
from cleanroom.privacy.noise import DiscreteGaussian
from cleanroom.templates.plan import MeasuredColumn
from tests.unit.attacks.neighbours import Case, LeakError, check_other_row, check_price, fuzz, random_case, tried

PAIRS = 300


def test_no_accepted_query_shows_more_of_an_entity_than_is_declared():
    """B-01: 300 neighbouring databases; columns, types, public keys, errors, and each column in its declared norm."""
    counted, found = fuzz(seed=2026, cases=5000, pairs=PAIRS)
    assert [what for what, _ in found] == []
    assert counted["pairs"] >= PAIRS
    assert counted["accepted"] >= 60


KINDS = ("join", "several tables", "subquery", "private", "public", "gaussian", "estimate", "other row", "array")


def test_the_fuzzer_asks_joins_subqueries_and_private_and_public_groups():
    """What is accepted is not the easy part only."""
    rng, seen = random.Random(7), Counter()
    for _ in range(220):
        case = random_case(rng)
        try:
            plan = case.compiled()
        except CleanRoomError:
            continue
        seen["join"] += "JOIN" in case.sql
        seen["several tables"] += len(plan.tables) > 1
        seen["array"] += "FLATTEN" in case.sql
        seen["subquery"] += "(SELECT" in case.sql or "WITH" in case.sql
        for m in plan.measurements:
            seen["private"] += m.partition_selection is not None
            seen["public"] += bool(m.keys) and m.partition_selection is None
            seen["other row"] += m.other_row is not None
            seen["estimate"] += m.estimate is not None
            seen["gaussian"] += any(c.norm == "l2" for c in m.columns)
    assert all(seen[kind] >= 5 for kind in KINDS), seen


def halved(plan):
    """Half the sensitivity, as if a bound were forgotten."""
    return replace(
        plan,
        measurements=tuple(
            replace(m, columns=tuple(replace(c, sensitivity=c.sensitivity // 2) for c in m.columns))
            for m in plan.measurements
        ),
    )


def unscaled(plan):
    """No contribution bound: no entity is above the norm."""
    return replace(
        plan,
        measurements=tuple(replace(m, exact_sql=m.exact_sql.replace("IS NULL THEN", "IS NOT NULL OR TRUE THEN"))
                           for m in plan.measurements),
    )  # fmt: skip


def undomained(plan):
    """Groups of public keys appear only where there are rows."""
    return replace(
        plan,
        measurements=tuple(
            replace(m, exact_sql=m.exact_sql.replace('LEFT JOIN "totals"', 'JOIN "totals"')) for m in plan.measurements
        ),
    )


def counted_twice(plan):
    """An entity is in two classes of the clipping estimate, or twice in one."""
    return replace(
        plan,
        measurements=tuple(
            replace(m, exact_sql=m.exact_sql.replace('FROM "entities" AS "q"', 'FROM "entities" AS "q", RANGE(2)'))
            for m in plan.measurements
        ),
    )


def try_many(rng, *, mistake):
    connection = duckdb.connect(config={"threads": 1})
    for _ in range(600):
        tried(random_case(rng), rng, connection, mistake=mistake)


@pytest.mark.parametrize("mistake", [halved, unscaled, undomained, counted_twice])
def test_a_planted_mistake_is_found(mistake):
    with pytest.raises(LeakError):
        try_many(random.Random(3), mistake=mistake)


def test_gaussian_noise_of_one_width_in_an_other_row_is_found():
    """An entity that weighs one half in each of four groups, which are its bound of one group."""
    noise = DiscreteGaussian(sigma_squared=Fraction(9))
    column = MeasuredColumn(
        name="c0", meaning="entities", unit=Fraction(1, 2), is_count=True, noise=noise, norm="l2", sensitivity=4,
        price=Price(micro_epsilon=1, delta_steps=0), other_noise=other_noise(noise, most_groups=4),
    )  # fmt: skip
    moved = {(group, None): 1 for group in "abcd"}
    check_other_row(column, [moved])
    with pytest.raises(LeakError, match="with an other row"):
        check_other_row(replace(column, other_noise=noise), [moved])


def test_a_price_below_what_the_noise_spends_is_found():
    case = next(c for c in map(random_case, [random.Random(n) for n in range(50)]) if accepted_with_laplace(c))
    plan = case.compiled()
    check_price(plan)
    cheap = replace(plan.parts[0], price=Price(micro_epsilon=0, delta_steps=0))
    with pytest.raises(LeakError):
        check_price(replace(plan, parts=(cheap, *plan.parts[1:])))


def accepted_with_laplace(case: Case) -> bool:
    try:
        plan = case.compiled()
    except CleanRoomError:
        return False
    return plan.parts[0].price.micro_epsilon > 0 and all(c.norm == "l1" for m in plan.measurements for c in m.columns)
