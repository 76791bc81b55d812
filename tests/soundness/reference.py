"""What a measurement is, computed slowly and obviously: one entity at a time, in Python integers and fractions.

Written from docs/privacy.md ("Bounding", "Which groups appear") and the decisions 7 and 8 in docs/adr; nothing of the
compiler is used.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from tests.soundness import meaning as mean
from tests.soundness.aggregates import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.soundness.aggregates import Aggregate
    from tests.soundness.expressions import Expression, Row
    from tests.soundness.queries import Asked
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


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The whole steps on which the values of one expression lie."""

    unit: Fraction
    lowest: int
    highest: int
    middle: int
    ends: tuple[Fraction, Fraction]

    @property
    def heaviest(self) -> int:
        return max(abs(self.lowest - self.middle), abs(self.highest - self.middle), 1)

    def steps(self, value: Any) -> int | None:
        """Return the nearest step, from the middle; None for NULL, NaN and infinities."""
        if value is None or not math.isfinite(value):
            return None
        there = float(value) * float(1 / self.unit)
        if not math.isfinite(there):
            return (self.highest if there > 0 else self.lowest) - self.middle
        away = Fraction(there - float(self.middle))
        return max(self.lowest - self.middle, min(self.highest - self.middle, round(away)))


def grid(x: Expression, *, centred: bool) -> Grid:
    """Return the grid of an expression with a closed range."""
    lo, hi = x.range
    assert lo is not None
    assert hi is not None
    return _grid(min(lo, hi), max(lo, hi), centred=centred)


@cache
def _grid(lo: Fraction, hi: Fraction, *, centred: bool) -> Grid:
    """Return the grid for a declared range: a power of two of at most 2^-20 of it."""
    if lo == hi:
        lo, hi = min(lo, Fraction(0)), max(hi, Fraction(0))
    if lo == hi:
        hi = Fraction(1)
    width = hi - lo if centred else max(abs(lo), abs(hi))
    unit = Fraction(1)
    while unit > width / 2**20:
        unit /= 2
    while unit * 2 <= width / 2**20:
        unit *= 2
    lowest, highest = math.floor(lo / unit), math.ceil(hi / unit)
    middle = (lowest + highest) // 2 if centred else 0
    return Grid(unit=unit, lowest=lowest, highest=highest, middle=middle, ends=(lo, hi))


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
        """Return the bounded total of every group in steps."""
        key = part.name, part.x.range if part.x is not None else None, gaussian
        if key in self._known:
            return self._known[key]
        totals = self._known[key] = dict.fromkeys(self.groups, 0)
        for groups in self.by_entity.values():
            counts = {g: self._count(part, rows) for g, rows in groups.items()}
            for group, rows in groups.items():
                totals[group] += self._scaled(part, self._value(part, rows), counts, group, gaussian=gaussian)
        return totals

    def heaviest(self, part: Part) -> int:
        """Return the most steps that one row, or one entity, has."""
        if part.kind in ("sum", "centred sum"):
            assert part.x is not None
            return grid(part.x, centred=part.kind == "centred sum").heaviest
        return self.bounds.count_unit

    def sensitivity(self, part: Part, *, gaussian: bool) -> int:
        """Return the norm to which an entity is clipped; squared for Gaussian noise."""
        one = self.heaviest(part) * (1 if part.kind == "entities" else self.bounds.rows)
        return self.bounds.groups * (one * one if gaussian else one)

    def unit(self, part: Part) -> Fraction:
        """Return what one step is worth."""
        if part.kind in ("sum", "centred sum"):
            assert part.x is not None
            return grid(part.x, centred=part.kind == "centred sum").unit
        return Fraction(1, self.bounds.count_unit)

    def _count(self, part: Part, rows: list[Row]) -> int:
        """Return how many rows of an entity and group the part counts, or sums."""
        if part.kind == "entities":
            return 1
        if part.x is None:
            return len(rows)
        return sum(_present(part.x.of(row)) for row in rows)

    def _value(self, part: Part, rows: list[Row]) -> int:
        if part.kind in ("sum", "centred sum"):
            assert part.x is not None
            on = grid(part.x, centred=part.kind == "centred sum")
            return sum(on.steps(part.x.of(row)) or 0 for row in rows)
        return self._count(part, rows) * self.bounds.count_unit

    def _scaled(self, part: Part, value: int, counts: dict[Group, int], group: Group, *, gaussian: bool) -> int:
        """Return the value, scaled down where the entity's counts are above the norm, and cut toward zero."""
        rows = 1 if part.kind == "entities" else self.bounds.rows
        if not self.asked.keys:
            if part.kind == "entities" or counts[group] <= rows:
                return value
            return math.trunc(Fraction(value * rows, counts[group]))
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
        self, numbers: Callable[[Aggregate, Part], tuple[dict[Group, int], Part]], *, entities: dict[Group, int]
    ) -> list[list[Any]]:
        """Return keys and aggregates of every group without noise, after HAVING and the smallest group.

        Args:
            numbers: of a part of an aggregate: group -> steps, and the part as it was measured: a sum may have been
                taken around the middle.
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
        numbers: Callable[[Aggregate, Part], tuple[dict[Group, int], Part]],
    ) -> dict[str, Any]:
        """Return part's name -> its number as it is shown; of a centred sum also the ends and the middle."""
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
        return shown

    def _shown(self, part: Part, steps: int) -> Any:
        if part.kind in ("sum", "centred sum"):
            return float(steps) * float(self.unit(part))
        return round(steps / self.bounds.count_unit)


def _present(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


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
