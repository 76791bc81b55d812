"""Groups that are known before any row is read: each is listed once, however its value is written."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from cleanroom.rooms.tables import Domain
from cleanroom.use_cases.noisy_tables import draw_noise
from tests.unit.templates.compiling import CUSTOMERS, SEGMENTS, Engine, compiled
from tests.unit.templates.test_bounding import customer

PEOPLE = {"customers": [customer("a", age=4), customer("b", age=1), customer("c", age=9)]}
AGED = replace(CUSTOMERS, policy=replace(CUSTOMERS.policy, domains={"age": Domain(values=(-1, 0, 1, 4))}))
ZERO = "SELECT hashed_email, 0 AS k FROM customers"
ZEROS = "CASE WHEN age > 8 THEN 0 WHEN age > 3 THEN -0 WHEN age > 2 THEN -(-0) ELSE 1 END"


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT {ZEROS} AS k, COUNT(*) AS n FROM customers GROUP BY 1",
        f"SELECT {ZEROS} AS k, CASE WHEN age > 1 THEN -0 ELSE 0 END AS j, COUNT(*) AS n FROM customers GROUP BY 1, 2",
        f"SELECT {ZEROS} AS k, COUNT(*) AS n FROM customers GROUP BY ROLLUP(1)",
        f"SELECT {ZEROS} AS k, MAX(age) AS n FROM customers GROUP BY 1",
        "SELECT COALESCE(age, -1) AS k, COUNT(*) AS n FROM customers GROUP BY 1",
        "SELECT DECODE(status, 'gold', 0, 'x', -0, 1) AS k, COUNT(*) AS n FROM customers GROUP BY 1",
        f"SELECT k, COUNT(*) AS n FROM ({ZERO} UNION ALL {ZERO.replace('0', '-0')}) u GROUP BY 1",
    ],
)
def test_a_public_group_is_listed_once_however_its_value_is_written(sql):
    """0 and -0 were two groups with the same rows, each with noise of its own: up to 512 draws for one price."""
    bounded = replace(AGED, policy=replace(AGED.policy, max_rows=3, max_groups=3))
    plan = compiled(sql, tables=(bounded, SEGMENTS))
    engine = Engine(**PEOPLE)
    engine.load(plan)
    for measurement in plan.measurements:
        rows = engine.connection.execute(measurement.exact_sql).fetchall()
        groups = [row[: len(measurement.keys)] for row in rows]
        assert len(set(groups)) == len(groups)
        assert measurement.partition_selection is None


def test_no_noise_is_drawn_for_a_table_with_a_group_twice():
    plan = compiled("SELECT age > 3 AS k, COUNT(*) AS n FROM customers GROUP BY 1")
    (measurement,) = plan.measurements
    twice = pa.table({"k0": [True, True], measurement.columns[0].name: [8, 8]})
    with pytest.raises(AssertionError, match="each group once"):
        draw_noise(twice, measurement, plan, None)
