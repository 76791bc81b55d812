"""Attack: a stored date or timestamp at the far end of its type, on which a function fails for that row only."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.house import House


@pytest.mark.parametrize(
    ("values", "expression"),
    [
        (pa.array([0, -(2**31)], pa.date32()), "DATE_TRUNC('week', p.x)"),
        (pa.array([0, -(2**63)], pa.timestamp("us")), "p.x::VARCHAR"),
    ],
)
def test_a_stored_extreme_fails_no_run(values, expression):
    """Before: run_failed with the row and not without, although the function stands in TRY."""
    for rows in (2, 1):
        house, room = House(), {"cleanroom_name": "room"}
        stored = pa.table({"e": ["a", "b"], "x": values}).slice(0, rows)
        house.objects.put_table(owner="airline", name="t", table=stored)
        house("airline", "provider", "cleanroom_init", **room)
        house(
            "airline",
            "provider",
            "link_datasets",
            **room,
            tables=["t"],
            policies={"t": {"max_groups": 2, "max_rows": 2}},
            entity_columns={"t": {"pin": {"e": "person"}}},
        )
        house(
            "airline",
            "provider",
            "add_consumers",
            **room,
            consumer_names=["agency"],
            privacy_settings={"differential": 1, "epsilon": 1.0},
        )
        house("agency", "consumer", "install_cleanroom", **room)
        house(
            "airline",
            "provider",
            "add_custom_sql_template",
            **room,
            template_name="asked",
            template=f"SELECT COUNT({expression}) AS n FROM IDENTIFIER({{{{ source_table[0] }}}}) p",
        )
        asked = {**room, "template_name": "asked", "provider_tables": ["t"]}
        assert house.ask("agency", "consumer", "run_analysis", **asked)[0] == 200
