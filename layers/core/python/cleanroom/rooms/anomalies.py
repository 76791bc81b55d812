"""What is worth a look: thresholds, and when counts reach them. Signals refuse nothing; they depend on no row. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """When counts become signals.

    Attributes:
        refusals_per_hour: requests of one party to one room that were refused within one hour of the clock; >= 1.
        alike_queries: different queries of one budget and window that are alike but for literals, or for one condition;
            >= 2.
        hourly_share: part of a window's budget that is spent within one hour of the clock; in (0, 1].

    Raises:
        ValueError: out of range.
    """

    refusals_per_hour: int = 20
    alike_queries: int = 10
    hourly_share: Fraction = Fraction(4, 5)

    def __post_init__(self) -> None:
        if not (self.refusals_per_hour >= 1 and self.alike_queries >= 2 and 0 < self.hourly_share <= 1):
            raise ValueError("a threshold of signals is out of range")


@dataclass(frozen=True, kw_only=True, slots=True)
class ChargeCounts:
    """What was counted when a run was charged.

    Attributes:
        spent_in_hour: micro-epsilon of the budget in this hour of the clock, this run included.
        alike: the most different queries of the window that share one likeness with this one, itself included.
    """

    spent_in_hour: int
    alike: int


def is_burst_of_refusals(refusals_in_hour: int, thresholds: Thresholds) -> bool:
    """Return whether so many refusals within an hour are a signal: from the one on that reaches the threshold."""
    return refusals_in_hour >= thresholds.refusals_per_hour


def is_differencing(counts: ChargeCounts, thresholds: Thresholds) -> bool:
    """Return whether so many queries that are alike are a signal."""
    return counts.alike >= thresholds.alike_queries


def is_fast_spending(counts: ChargeCounts, *, limit_micro_epsilon: int, thresholds: Thresholds) -> bool:
    """Return whether more than the share of a window's budget was spent within an hour; never of a budget of zero."""
    return counts.spent_in_hour > thresholds.hourly_share * limit_micro_epsilon > 0


FAILURE_METRICS = {"out_of_time": "EngineTimeouts", "OutOfMemoryException": "EngineOutOfMemory"}
"""Why the engine failed -> the metric that counts it."""

OTHER_FAILURES = "EngineErrors"
"""All other failures. No row makes an allowed expression fail, so one of these is a fault, or a way around the list."""


def failure_metric(reason: str) -> str:
    """Return the metric that counts a failure of the engine."""
    return FAILURE_METRICS.get(reason, OTHER_FAILURES)
