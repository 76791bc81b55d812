"""Which budgets something was asked of in a window, and how often it was refused. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cleanroom.rooms.ledger import BudgetKey

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """One budget in one window: written by charges and refusals, read when the window's statement is made.

    Attributes:
        budget: whose.
        refusals: requests to run that were refused; depends on requests, policies and budgets, never on rows.
        refusals_in_hour: how many of them in `hour`.
        hour: number of the hour, since 1970, of the last refusal; 0 where nothing was refused.
    """

    budget: BudgetKey
    refusals: int = 0
    refusals_in_hour: int = 0
    hour: int = 0


def hour_of(at: datetime) -> int:
    """Return the number of the hour since 1970 that an aware time lies in.

    Raises:
        ValueError: the time is naive. That is our bug.
    """
    if at.tzinfo is None:
        raise ValueError("the time must be aware")
    return int(at.timestamp()) // 3600
