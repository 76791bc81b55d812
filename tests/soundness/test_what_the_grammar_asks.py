"""The grammar does not fall silent: most of its queries are accepted, and each construct is among them."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from cleanroom.errors import CleanRoomError
from tests.soundness.check import FEATURES, compiled
from tests.soundness.features import RARE
from tests.soundness.queries import random_query

QUERIES = 60
LEAST_ACCEPTED = 0.7


@pytest.fixture(scope="module")
def asked():
    """Return how many queries of the grammar have a feature, and how many of the sound ones are accepted."""
    counted = Counter()
    for seed in range(2):
        rng = random.Random(seed)
        for _ in range(QUERIES):
            query = random_query(rng)
            counted["unsound" if query.unsound else "sound"] += 1
            try:
                plan = compiled(query)
            except CleanRoomError:
                counted["unsound and refused"] += bool(query.unsound)
                continue
            counted["accepted"] += 1
            counted.update(what for what, has in FEATURES.items() if has(query, plan))
    return counted


def test_most_queries_with_a_private_meaning_are_accepted_and_no_others(asked):
    assert asked["accepted"] >= LEAST_ACCEPTED * asked["sound"]
    assert asked["unsound"] == asked["unsound and refused"] > 0


def test_each_construct_is_asked_and_accepted(asked):
    missing = [what for what in FEATURES if not asked[what]]
    assert [what for what in missing if what not in RARE] == [], asked
    assert len(missing) <= 3, missing
