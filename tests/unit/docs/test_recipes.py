"""The recipes of the documents run, and mean what they say."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.house import FLIGHTS, furnished

if TYPE_CHECKING:
    from collections.abc import Iterable

TEXT = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"```sql (\w+)\n(.*?)```", TEXT, flags=re.DOTALL))

ROWS = FLIGHTS.to_pylist()
BY_CARRIER = Counter(row["carrier"] for row in ROWS)
BY_DEST = Counter(row["dest"] for row in ROWS)
PLANES = {carrier: {row["tailnum"] for row in ROWS if row["carrier"] == carrier} for carrier in BY_CARRIER}


def _bucket(delay: int) -> int:
    return 0 if delay < 0 else 7 if delay >= 60 else delay // 10 + 1


MEANT: dict[str, set[tuple[object, ...]]] = {
    "other": {*((d, False, n, n / len(ROWS)) for d, n in BY_DEST.items()), ("other", True, 0, 0.0)},
    "not_negative": set(BY_CARRIER.items()),
    "agreeing_totals": {(carrier, n, len(ROWS), n / len(ROWS)) for carrier, n in BY_CARRIER.items()},
    "clipped_values": {(0.0,)},
    "histogram": {(None, 0), *((b, Counter(_bucket(row["dep_delay"]) for row in ROWS)[b]) for b in range(8))},
    "in_both": {(len(PLANES["AA"] & PLANES["DL"]),)},
    "combinations": {(len({(row["carrier"], row["dest"]) for row in ROWS}),)},
    "elements": {("AA", BY_CARRIER["AA"]), ("DL", BY_CARRIER["DL"]), ("BOS", BY_DEST["BOS"])},
    "by_activity": {(True, 200), (False, 0)},
}


def released(name: str, *, epsilon: float) -> dict[str, object]:
    """Return the release of a recipe; with a huge epsilon hardly any noise is in it."""
    settings = {"differential": 1, "epsilon": epsilon, "privacy_budget": 1_000_000_000}
    house = furnished(settings=settings)
    house("airline", "provider", "add_custom_sql_template", cleanroom_name="room", template_name="recipe",
          template=RECIPES[name])  # fmt: skip
    return house("agency", "consumer", "run_analysis", cleanroom_name="room", template_name="recipe",
                 provider_tables=["flights"])  # fmt: skip


def _values(release: dict[str, object]) -> set[tuple[object, ...]]:
    rows = release["rows"]
    assert isinstance(rows, list)
    return _rounded(rows)


def _rounded(rows: Iterable[Iterable[Any]]) -> set[tuple[object, ...]]:
    return {tuple(v if isinstance(v, str | bool | None) else round(float(v), 1) for v in row) for row in rows}


@pytest.mark.parametrize("name", sorted(MEANT))
def test_a_recipe_means_what_the_plain_rows_say(name):
    """B-38"""
    assert _values(released(name, epsilon=1_000_000)) == _rounded(MEANT[name])


def test_the_largest_are_as_many_as_asked_for():
    rows = released("largest", epsilon=1_000_000)["rows"]
    assert len(rows) == 3


def test_every_recipe_is_tried_with_noise_and_has_intervals():
    """Every released number has one."""
    assert set(RECIPES) == {*MEANT, "largest"}
    for name in RECIPES:
        release = released(name, epsilon=1.0)
        assert release["price"]["epsilon"] >= 1.0
        assert release["columns"]
