"""What a measurement is, computed slowly and obviously: one entity at a time, in Python integers and fractions.

Written from docs/privacy.md ("Bounding", "Which groups appear") and the decisions 7 and 8 in docs/adr; nothing of the
compiler is used.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, Any

from tests.soundness import meaning as mean
from tests.soundness.parts import SUMS, Part
from tests.soundness.reference_distinct import Different, different
from tests.soundness.reference_grids import grid, grid_of, present, steps_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.soundness.expressions import Row
    from tests.soundness.parts import Aggregate
    from tests.soundness.queries import Asked
    from tests.soundness.reference_bins import Bins
    from tests.soundness.schemas import Rows

HARD_LIMIT = 4
STEPS_OF_A_COUNT = 1024
Group = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """k and m: the most that one entity may weigh; and how many steps a counted row has."""

    groups: int
    rows: int
    count_unit: int


def bounds(asked: Asked, stated: Mapping[str, str]) -> Bounds:
    """Return k and m as the receipt states them; they are at most what the owners declared.

    A relation that has fewer rows per entity than an owner allows may be bounded by that: the promise is about what is
    stated, and what is above it is scaled down.
    """
    k = max(t.policy.max_groups or 1 for t in asked.read.protected)
    m = max(t.policy.max_rows or 1 for t in asked.read.protected)
    if not asked.keys:
        k, m = 1, k * m
    groups = int(stated.get("max groups per entity", k))
    rows = int(stated.get("max rows per entity and group" if asked.keys else "max rows per entity", m))
    assert 1 <= groups <= k, stated
    assert 1 <= rows <= m, stated
    return Bounds(groups=groups, rows=rows, count_unit=STEPS_OF_A_COUNT if asked.keys else 1)


class Measured:
    """One measured SELECT on one database."""

    def __init__(
        self, asked: Asked, database: Rows, *, stated: Mapping[str, str], public: set[Group] | None = None
    ) -> None:
        """Take what is asked of which database.

        Args:
            asked: the measured SELECT.
            database: rows of all tables.
            stated: bounds of the receipt.
            public: all groups, where they are known better than from here.
        """
        self.asked, self.database, self.stated = asked, database, stated
        self.bounds = bounds(asked, stated)
        self._known: dict[tuple[Any, ...], dict[Group, int]] = {}
        self._different: dict[tuple[Any, ...], Different] = {}
        self._steps: dict[tuple[Any, ...], Callable[[Row], int]] = {}
        self.public = _public_groups(asked, database) if public is None else public
        self.by_entity: dict[Any, dict[Group, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for entity, row in asked.read.rows(database):
            group = tuple(mean.standard(k.of(row)) for k in asked.keys)
            if entity is None or (self.public is not None and group not in self.public):
                continue
            self.by_entity[mean.standard(entity)][group].append(row)

    @property
    def over_the_hard_limit(self) -> bool:
        """Whether an entity is in more private groups than are kept; which are kept is a secret of the run."""
        most = HARD_LIMIT * self.bounds.groups
        return self.public is None and any(len(groups) > most for groups in self.by_entity.values())

    @property
    def groups(self) -> set[Group]:
        """All groups that the exact table has."""
        if self.public is not None:
            return self.public
        return {g for groups in self.by_entity.values() for g in groups}

    def integers(self, part: Part, *, gaussian: bool) -> dict[Group, int]:
        """Return the bounded total of every group in steps; of a part that is no list of bins."""
        key = part.name, part.ranges, part.finer, gaussian
        if key in self._known:
            return self._known[key]
        totals = self._known[key] = dict.fromkeys(self.groups, 0)
        for groups in self.by_entity.values():
            counts = {g: self._count(part, rows) for g, rows in groups.items()}
            for group, rows in groups.items():
                totals[group] += self._scaled(part, self._value(part, rows), counts, group, gaussian=gaussian)
        return totals

    def cells(self, part: Part, on: Bins, *, gaussian: bool) -> dict[Group, dict[int, int]]:
        """Return the bounded count of every bin of every group in steps; bins that hold nothing are left out."""
        assert part.x is not None
        found: dict[Group, dict[int, int]] = {g: {} for g in self.groups}
        for groups in self.by_entity.values():
            placed = {g: Counter(on.bin_of(part.x.of(row)) for row in rows) for g, rows in groups.items()}
            counts = {g: sum(n for place, n in per_bin.items() if place is not None) for g, per_bin in placed.items()}
            for group, per_bin in placed.items():
                for place, n in per_bin.items():
                    if place is not None:
                        weighed = self._weighed(n * STEPS_OF_A_COUNT, counts, self.bounds.rows, gaussian=gaussian)
                        found[group][place] = found[group].get(place, 0) + weighed
        return {g: {place: n for place, n in per_bin.items() if n} for g, per_bin in found.items()}

    def different(self, part: Part, *, gaussian: bool) -> Different:
        """Return what is known of the numbers of different values."""
        key = part.name, part.ranges, gaussian
        if key not in self._different:
            self._different[key] = different(
                self.by_entity.values(),
                self.groups,
                part,
                most_groups=self.bounds.groups,
                most_rows=self.bounds.rows,
                gaussian=gaussian,
            )
        return self._different[key]

    def heaviest(self, part: Part) -> int:
        """Return the most steps that one row, or one entity, has."""
        if part.kind in SUMS:
            return grid_of(part).heaviest * (part.finer or 1)
        if part.kind == "distinct":
            return 1
        return STEPS_OF_A_COUNT if part.kind == "bins" else part.finer or self.bounds.count_unit

    def sensitivity(self, part: Part, *, gaussian: bool, levels: int = 1) -> int:
        """Return the norm to which an entity is clipped; squared for Gaussian noise.

        Args:
            part: which.
            gaussian: whether it is the L2 norm.
            levels: of bins: how often each row is counted.
        """
        one = self.heaviest(part) * (1 if part.kind == "entities" else self.bounds.rows)
        return levels * self.bounds.groups * (one * one if gaussian else one)

    def unit(self, part: Part) -> Fraction:
        """Return what one step is worth."""
        return grid_of(part).unit / (part.finer or 1) if part.kind in SUMS else Fraction(1, self.heaviest(part))

    def _count(self, part: Part, rows: list[Row]) -> int:
        """Return how many rows of an entity and group the part counts, or sums."""
        if part.x is None:
            return 1 if part.kind == "entities" else len(rows)
        found = sum(present(part.x.of(row)) for row in rows)
        return min(found, 1) if part.kind == "entities" else found

    def _value(self, part: Part, rows: list[Row]) -> int:
        if part.kind in SUMS:
            return sum(map(self._steps_of(part), rows)) * (part.finer or 1)
        return self._count(part, rows) * (part.finer or self.bounds.count_unit)

    def _steps_of(self, part: Part) -> Callable[[Row], int]:
        key = part.name, part.ranges
        if key not in self._steps:
            self._steps[key] = steps_of(part)
        return self._steps[key]

    def _scaled(self, part: Part, value: int, counts: dict[Group, int], group: Group, *, gaussian: bool) -> int:
        """Return the value, scaled down where the entity's counts are above the norm, and cut toward zero."""
        rows = 1 if part.kind == "entities" else self.bounds.rows
        if self.asked.keys:
            return self._weighed(value, counts, rows, gaussian=gaussian)
        if part.kind == "entities" or counts[group] <= rows:
            return value
        return math.trunc(Fraction(value * rows, counts[group]))

    def _weighed(self, value: int, counts: dict[Group, int], rows: int, *, gaussian: bool) -> int:
        """Return the value, scaled down where all of the entity's groups together are above the norm."""
        if not gaussian:
            norm, most = sum(counts.values()), self.bounds.groups * rows
            return math.trunc(Fraction(value * most, norm)) if norm > most else value
        norm, most = sum(c * c for c in counts.values()), self.bounds.groups * rows * rows
        if norm <= most:
            return value
        # The root is irrational: 2^30 parts of it, rounded down, and one less for the roundings of doubles.
        weight = max(math.floor(2**30 * math.sqrt(most) / math.sqrt(norm)) - 1, 0)
        return math.trunc(Fraction(value * weight, 2**30))

    def released(
        self, numbers: Callable[[Aggregate, Part], tuple[dict[Group, Any], Part]], *, entities: dict[Group, int]
    ) -> list[list[Any]]:
        """Return keys and aggregates of every group without noise, after HAVING and the smallest group.

        Args:
            numbers: of a part of an aggregate: group -> steps, or the histogram of its bins; and the part as it was
                measured: a sum may have been taken around the middle.
            entities: group -> steps; read where a smallest group is asked for.
        """
        found = []
        for group in sorted(self.groups, key=repr):
            row = [*group, *(a.of(self._shown_of(a, group, numbers)) for a in self.asked.aggregates)]
            least = self.asked.at_least if self.public is not None else 0
            if least and round(entities[group] / self.bounds.count_unit) < least:
                continue
            if self.asked.keep(row):
                found.append(row)
        return found

    def _shown_of(
        self,
        aggregate: Aggregate,
        group: Group,
        numbers: Callable[[Aggregate, Part], tuple[dict[Group, Any], Part]],
    ) -> dict[str, Any]:
        """Return part's name -> its number as it is shown; of sums around a middle also that, and the ends."""
        shown: dict[str, Any] = {}
        for part in aggregate.parts:
            steps, seen = numbers(aggregate, part)
            shown[part.name] = self._shown(seen, steps[group])
            if seen.kind == "centred sum":
                assert seen.x is not None
                on = grid(seen.x, centred=True)
                middle = float(on.middle * on.unit)
                shown[f"ends {seen.x.sql}"] = (*map(float, on.ends), middle)
                if part.kind == "sum":  # what was taken off each value is put back with their count
                    counts, count = numbers(aggregate, Part(kind="values", x=seen.x))
                    shown[part.name] += middle * self._shown(count, counts[group])
            elif seen.kind in SUMS:
                on = grid_of(seen)
                shown[f"middle of {part.name}"] = float(on.middle * on.unit)
        return shown

    def _shown(self, part: Part, steps: Any) -> Any:
        if part.kind in SUMS:
            return float(steps) * float(self.unit(part))
        return steps if part.kind == "bins" else round(Fraction(steps, self.heaviest(part)))


def _public_groups(asked: Asked, database: Rows) -> set[Group] | None:
    """Return every combination of public values, or None where one key is private."""
    if not asked.keys:
        return {()}
    factors: list[tuple[tuple[int, ...], set[Group]]] = []
    drawn: dict[tuple[str, ...], list[int]] = {}
    for place, key in enumerate(asked.keys):
        if key.values is not None:
            factors.append(((place,), {(mean.standard(v),) for v in key.values}))
        elif key.constant:
            factors.append(((place,), {(mean.standard(key.of({})),)}))
        elif key.public is not None:
            drawn.setdefault(key.public.tag, []).append(place)
        else:
            return None
    for places in drawn.values():
        sources = [asked.keys[p] for p in places]
        source = sources[0].public
        assert source is not None
        rows = source.rows(database)
        nobody = next((s.public.nobody for s in sources if s.public and s.public.nobody is not None), None)
        rows = rows if nobody is None else [*rows, nobody]
        made = {tuple(mean.standard(s.of_public(row)) for s in sources if s.of_public) for row in rows}
        factors.append((tuple(places), made))
    groups: set[Group] = set()
    for combination in product(*(values for _, values in factors)):
        values = {
            p: v
            for (places, _), group in zip(factors, combination, strict=True)
            for p, v in zip(places, group, strict=True)
        }
        groups.add(tuple(values[p] for p in range(len(asked.keys))))
    return groups
