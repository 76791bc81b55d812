"""benchmarks: interleaved timing, and the arithmetic of ratios and errors. Pure but for the clock that it is given."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Clock = Callable[[], float]
Cells = Mapping[tuple[Any, ...], Sequence[float | None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Median, smallest and largest of some positive numbers."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one finite value.

        Raises:
            ValueError: there is none, or one is NaN or infinite.
        """
        if not values or not all(math.isfinite(value) for value in values):
            raise ValueError("a spread needs finite values")
        return cls(median=statistics.median(values), low=min(values), high=max(values))


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """What one call took: seconds on the wall, and CPU seconds of all threads of the process."""

    wall_seconds: float
    cpu_seconds: float


def timed(call: Callable[[], object], *, wall: Clock = time.perf_counter, cpu: Clock = time.process_time) -> Timed:
    """Call once and say what it took."""
    wall_start, cpu_start = wall(), cpu()
    call()
    return Timed(wall_seconds=wall() - wall_start, cpu_seconds=cpu() - cpu_start)


def interleaved(subjects: Mapping[str, Callable[[], Timed]], *, rounds: int) -> dict[str, list[Timed]]:
    """Run every subject once a round, in turned order every second round, so that what drifts meets all alike.

    Args:
        subjects: each prepares itself, times what counts and returns it.
        rounds: >= 1; one more is run before them and dropped, so that all start with warm files.
    """
    taken: dict[str, list[Timed]] = {name: [] for name in subjects}
    for number in range(rounds + 1):
        for name in list(subjects)[:: 1 if number % 2 else -1]:
            one = subjects[name]()
            if number:
                taken[name].append(one)
    return taken


def paired_ratio(ours: Sequence[float], beside: Sequence[float]) -> Spread:
    """Return ours / beside, round by round.

    Raises:
        ValueError: the rounds differ in number, or one of `beside` is not positive.
    """
    if len(ours) != len(beside) or not all(value > 0 for value in beside):
        raise ValueError("a ratio needs as many rounds on both sides, and positive numbers beside ours")
    return Spread.of([a / b for a, b in zip(ours, beside, strict=True)])


def relative_error(released: float | None, truth: float) -> float:
    """Return |released - truth| / |truth|, at most 1; 1 where nothing or NaN was released; 0 counts as 1e-9."""
    if released is None or math.isnan(released):
        return 1.0
    return min(1.0, abs(released - truth) / max(abs(truth), 1e-9))


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """How near repeated answers come to the truth.

    Attributes:
        released: mean relative error over the groups that were released; NaN where none was.
        all_groups: the same over all true groups, one that is not released counting as 1.
        groups: how many true groups appear, on average.
        of: how many there are.
    """

    released: float
    all_groups: float
    groups: float
    of: int


def accuracy(answers: Sequence[Cells], truth: Mapping[tuple[Any, ...], Sequence[float]]) -> Accuracy:
    """Compare answers with the true table; groups of an answer that are not true ones are left out.

    Raises:
        ValueError: no answer, no true group, or rows of different length.
    """
    if not answers or not truth:
        raise ValueError("accuracy needs an answer and a true group")
    seen: list[float] = []
    missing = 0
    groups = 0
    for answer in answers:
        for key, values in truth.items():
            row = answer.get(key)
            if row is None:
                missing += len(values)
                continue
            groups += 1
            seen += [relative_error(value, true) for value, true in zip(row, values, strict=True)]
    return Accuracy(
        released=statistics.fmean(seen) if seen else math.nan,
        all_groups=(math.fsum(seen) + missing) / (len(seen) + missing),
        groups=groups / len(answers),
        of=len(truth),
    )
