"""The split of epsilon among the parts of an aggregate, against an equal one and against a search."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from cleanroom.templates.plan import MeasuredColumn
from cleanroom.templates.shares import shares
from tests.unit.templates.compiling import GAUSSIAN, compiled


def columns(sql: str, **how: object) -> tuple[MeasuredColumn, ...]:
    (measurement,) = compiled(sql, **how).measurements  # type: ignore[arg-type]
    return measurement.columns


def deviations(found: tuple[MeasuredColumn, ...]) -> list[float]:
    return [c.noise.standard_deviation * float(c.unit) for c in found]


def split(found: tuple[MeasuredColumn, ...]) -> list[float]:
    whole = sum(c.price.micro_epsilon for c in found)
    return [c.price.micro_epsilon / whole for c in found]


def test_the_sum_of_an_average_gets_more_than_its_count_where_each_has_noise_of_its_own():
    total, count = split(columns("SELECT AVG(spend) AS a FROM customers", given=GAUSSIAN))
    assert total / count == pytest.approx(3 ** (1 / 2), abs=0.01)


def errors(sums: float, squares: float, count: float, *, n: float = 1e4) -> tuple[float, float]:
    """Return mean squared errors of AVG and VAR_POP over evenly drawn populations, by their first derivatives."""
    draw = np.random.default_rng(1)
    mean = draw.uniform(-1, 1, 40_000)
    square = mean**2 + (1 - mean**2) * draw.uniform(0, 1, 40_000)
    average = (sums**2 + mean**2 * count**2) / n**2
    variance = (squares**2 + 4 * mean**2 * sums**2 + (2 * mean**2 - square + 0.5) ** 2 * count**2) / n**2
    return float(average.mean()), float(variance.mean())


def released(shares: list[float]) -> tuple[float, float]:
    """Return the errors for Laplace noise whose scales are one over the shares; squares weigh half as much."""
    root = math.sqrt(2)
    return errors(root / shares[0], 0.5 * root / shares[1], root / shares[2])


def drawn_together(sql: str) -> list[float]:
    """Return deviations at epsilon 1, in units of the most that an entity weighs, of columns that share one draw."""
    found = columns(sql)
    assert len({c.vector for c in found}) == 1
    assert found[0].vector is not None
    epsilon = sum(c.price.micro_epsilon for c in found) / 1e6
    return [c.noise.standard_deviation / c.sensitivity * epsilon for c in found]


def test_a_variance_has_less_error_than_with_any_shares():
    """0.43 of the mean squared error of the best split of epsilon among its parts, 0.37 of that of an equal one."""
    by_meaning = [c.meaning for c in columns("SELECT VAR_POP(spend) AS v FROM customers")]
    assert by_meaning == ["sum around 10", "sum around 200", "values that are not NULL"]
    sums, squares, count = drawn_together("SELECT VAR_POP(spend) AS v FROM customers")
    grid = [(a / 50, b / 50, 1 - (a + b) / 50) for a, b in itertools.product(range(1, 49), repeat=2) if a + b < 50]
    best = min(released(list(shares))[1] for shares in grid)
    found = errors(sums, 0.5 * squares, count)[1]
    assert found / best == pytest.approx(0.43, abs=0.01)
    assert found / released([1 / 3] * 3)[1] == pytest.approx(0.37, abs=0.01)


def test_an_average_alone_has_less_error_than_with_any_shares():
    """0.55 of the mean squared error of the best split, one half of that of an equal one."""
    total, count = drawn_together("SELECT AVG(spend) AS a FROM customers")
    best = min(released([a / 100, 1.0, 1 - a / 100])[0] for a in range(1, 100))
    assert errors(total, 1.0, count)[0] / best == pytest.approx(0.55, abs=0.01)
    assert errors(total, 1.0, count)[0] / released([0.5, 1.0, 0.5])[0] == pytest.approx(0.5, abs=0.01)


def test_a_count_that_many_need_gets_more_than_each_sum():
    sql = "SELECT COUNT(age) AS n, SUM(age) AS s, AVG(age) AS a, AVG(age) + 1 AS b FROM customers"
    found = columns(sql, given=GAUSSIAN)
    by_meaning = dict(zip([c.meaning for c in found], split(found), strict=True))
    assert by_meaning["values that are not NULL"] > 0.55
    assert sum(by_meaning.values()) == pytest.approx(1)


@pytest.mark.parametrize("given", [None, GAUSSIAN])
def test_the_price_is_that_of_the_aggregates_whatever_the_split(given):
    how = {} if given is None else {"given": given}
    plan = compiled("SELECT AVG(age) AS a, STDDEV(age) AS s, COUNT(*) AS n FROM customers", **how)
    assert plan.price.micro_epsilon == 3_000_000
    spent = sum(c.price.micro_epsilon for c in plan.measurements[0].columns)
    assert 3_000_000 <= spent <= 3_000_000 + len(plan.measurements[0].columns)


@pytest.mark.parametrize("parts", [1, 2, 216, 217, 3000])
@pytest.mark.parametrize("gaussian", [False, True])
def test_shares_of_any_number_of_parts_are_above_0_and_add_up_to_1(parts: int, gaussian: bool):
    """216 equal sums and their count were rounded up to more than 1 together, and the count got less than nothing."""
    split = shares({**dict.fromkeys(range(parts), 1.0), "count": float(parts)}, gaussian=gaussian)
    assert sum(split.values()) == 1
    assert min(split.values()) > 0
