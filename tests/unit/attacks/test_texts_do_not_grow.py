"""Attack: a text that doubles in each of many CTEs: the run fails where one entity has a row, and not without it."""

from __future__ import annotations

import pytest

from cleanroom.errors import TemplateRefusedError
from cleanroom.templates.function_rules import LONGEST_TEXT
from tests.unit.templates.compiling import CUSTOMERS, Engine, compiled

LETTERS = "x" * 60_000  # about as long as a literal can be
LEVELS = 10  # 2^10 times 60,000 characters: 60 MB for each row
TOO_MANY_LEVELS = 24


def doubled(join: str, levels: int = LEVELS) -> str:
    ctes = [f"s0 AS (SELECT c.hashed_email, CASE WHEN c.city = 'X' THEN '{LETTERS}' END AS x FROM customers c)"]
    ctes += [f"s{i + 1} AS (SELECT hashed_email, {join} AS x FROM s{i})" for i in range(levels)]
    return (
        f"WITH {', '.join(ctes)} SELECT COUNT(CASE WHEN LENGTH(x) > {LONGEST_TEXT} THEN 1 END) AS longer, "
        f"COUNT(CASE WHEN LENGTH(x) = {LONGEST_TEXT} THEN 1 END) AS cut FROM s{levels}"
    )


@pytest.mark.parametrize("join", ["x || x", "CONCAT(x, x)", "x || 'a' || x"])
def test_a_text_that_doubles_at_each_level_stays_short(join):
    """Before: an error that the victim's row brought about, for a price of one micro-epsilon with addnoise."""
    row = ("victim", None, "X", *[None] * (len(CUSTOMERS.columns) - 3))
    plan = compiled(doubled(join))
    for rows, expected in ([row], 1), ([], 0):
        engine = Engine(customers=rows)
        engine.connection.execute("SET memory_limit = '100MB'; SET max_temp_directory_size = '0MB'")
        engine.load(plan)
        (answer,) = engine.exact(plan.measurements[0])
        assert list(answer.values()) == [0, expected]


@pytest.mark.parametrize("join", ["x || x", "CONCAT(x, x)", "x || 'a' || x"])
def test_a_text_that_would_double_more_often_is_refused(join):
    """The engine would write it out, with or without rows."""
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(doubled(join, TOO_MANY_LEVELS))
    assert refusal.value.rule == "too_large"
