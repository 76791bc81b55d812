"""GROUPING SETS, ROLLUP and CUBE of some keys: the text, and which keys each set groups by, in its order."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

Sets = list[tuple[int, ...]]


def random_sets(rng: random.Random, keys: list[str]) -> tuple[str, str, Sets]:
    """Return what it is called, the text after GROUP BY, and the places of the keys in each set.

    Args:
        rng: of the choice.
        keys: texts; one to three.
    """
    places, word = range(len(keys)), rng.choice(["ROLLUP", "CUBE", "GROUPING SETS"])
    if word == "ROLLUP":
        return word, f"ROLLUP({', '.join(keys)})", [tuple(places[:n]) for n in range(len(keys), -1, -1)]
    if word == "CUBE":
        chosen = [c for n in range(len(keys), -1, -1) for c in combinations(places, n)]
        return word, f"CUBE({', '.join(keys)})", chosen
    every = [c for n in range(len(keys) + 1) for c in combinations(places, n)]
    sets = rng.sample(every, rng.randint(2, min(3, len(every))))  # one set is a plain GROUP BY
    if {place for chosen in sets for place in chosen} != set(places):  # a key that no set has is no key of the query
        sets[-1 if sets[-1] else 0] = tuple(places)
    texts = [f"({', '.join(keys[place] for place in chosen)})" for chosen in sets]
    return word, f"GROUPING SETS ({', '.join(texts)})", sets
