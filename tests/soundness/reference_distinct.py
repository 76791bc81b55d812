"""Numbers of different values, for the reference: exact where each entity is within its bound, else between two ends.

Of an entity at most k m pairs of group and value count, with Gaussian noise at most m of one group (docs/privacy.md).
Which of them count is a secret of the run; how many is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.soundness import meaning as mean
from tests.soundness.reference_grids import present

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.soundness.expressions import Row
    from tests.soundness.parts import Part

Group = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Different:
    """What is known of the number of different values.

    Attributes:
        least, most: per group.
        least_in_all, most_in_all: of the sum over all groups.
    """

    least: dict[Group, int]
    most: dict[Group, int]
    least_in_all: int
    most_in_all: int

    @property
    def exact(self) -> bool:
        return self.least == self.most

    def holds(self, found: Mapping[Group, int]) -> bool:
        """Return whether these numbers can be: of the groups that there are."""
        return (
            found.keys() <= self.most.keys()
            and all(low <= found.get(g, 0) <= self.most[g] for g, low in self.least.items())
            and self.least_in_all <= sum(found.values()) <= self.most_in_all
        )


def different(
    entities: Iterable[Mapping[Group, list[Row]]],
    groups: set[Group],
    part: Part,
    *,
    most_groups: int,
    most_rows: int,
    gaussian: bool,
) -> Different:
    """Return what is known of the number of different values of a part.

    Args:
        entities: of each its rows by group.
        groups: all that the exact table has.
        part: whose values.
        most_groups, most_rows: k and m.
        gaussian: whether the L2 norm is bounded.
    """
    assert part.x is not None
    all_pairs = most_groups * most_rows
    in_a_group = most_rows if gaussian else all_pairs
    sure: dict[Group, set[Any]] = {g: set() for g in groups}
    possible: dict[Group, set[Any]] = {g: set() for g in groups}
    beside = dict.fromkeys(groups, 0)
    counted, of_the_big = [0], 0
    for per_group in entities:
        there = {
            g: {mean.standard(part.x.of(r)) for r in rows if present(part.x.of(r))} for g, rows in per_group.items()
        }
        kept = min(all_pairs, sum(min(len(v), in_a_group) for v in there.values()))
        counted.append(kept)
        within = kept == sum(map(len, there.values()))
        of_the_big += 0 if within else kept
        for g, values in there.items():
            possible[g] |= values
            if within:
                sure[g] |= values
            else:
                beside[g] += min(len(values), in_a_group)
    return Different(
        least={g: len(v) for g, v in sure.items()},
        most={g: min(len(v), len(sure[g]) + beside[g]) for g, v in possible.items()},
        least_in_all=max(sum(map(len, sure.values())), *counted),
        most_in_all=sum(map(len, sure.values())) + of_the_big,
    )
