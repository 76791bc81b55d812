"""Counts what is worth a look: refusals, queries that are alike, fast spending. Nothing here refuses or fails a run."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cleanroom.errors import (
    BusyError,
    CleanRoomError,
    CleanRoomNotFoundError,
    Kind,
    LedgerUnreadableError,
    RunFailedError,
)
from cleanroom.rooms.anomalies import is_burst_of_refusals, is_differencing, is_fast_spending
from cleanroom.rooms.ledger import BudgetKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cleanroom.ports import NoiseServices, RunServices
    from cleanroom.rooms.ledger import RunRecord
    from cleanroom.templates.kinship import Kinship

    Watching = RunServices | NoiseServices

LOST_METRIC = "SignalsLost"


@contextmanager
def refusals_counted(room: str, party: str, services: Watching) -> Iterator[None]:
    """Count a refusal that passes through, for the party's statement and for the signal of bursts.

    Not counted are: a party that has no part in the room, so that nobody writes into another's statements; `busy`,
    which is no answer to the request; and `run_failed`, which is not known before data is read.
    """
    try:
        yield
    except CleanRoomError as refusal:
        is_of_member = not isinstance(refusal, CleanRoomNotFoundError)
        if is_of_member and refusal.kind is not Kind.BUSY and not isinstance(refusal, RunFailedError):
            _count_refusal(BudgetKey(room=room, party=party), refusal.code, services)
        raise


def _count_refusal(budget: BudgetKey, code: str, services: Watching) -> None:
    try:
        window = services.ledger.task().window
        counted = services.signals.refused(budget, window=window, at=services.clock.now())
    except (BusyError, LedgerUnreadableError):
        services.telemetry.count(LOST_METRIC)
        return
    services.telemetry.step("refused", room=budget.room, party=budget.party, code=code)
    if is_burst_of_refusals(counted.refusals_in_hour, services.thresholds):
        _signal("RefusalBursts", budget, services, counted.refusals_in_hour)


def watch_charge(run: RunRecord, kinship: Kinship | None, services: Watching) -> None:
    """Count a run that was just charged, and signal what its budgets' counts say; costs one write for each budget.

    Args:
        run: as charged. While the task is suspended there is no budget to spend fast, but queries are compared.
        kinship: of its query; None for noise on a caller's own numbers.
        services: of the function.
    """
    for number, budget in enumerate(run.budgets):
        try:
            counts = services.signals.charged(
                budget,
                window=run.window,
                at=services.clock.now(),
                micro_epsilon=0 if run.unmetered else run.prices[number].micro_epsilon,
                kinship=kinship,
            )
        except (BusyError, LedgerUnreadableError):
            services.telemetry.count(LOST_METRIC)
            continue
        if counts is None:
            services.telemetry.count(LOST_METRIC)
            continue
        if is_differencing(counts, services.thresholds):
            _signal("SimilarQueries", budget, services, counts.alike)
        limit = run.limit_micro_epsilon[number]
        if is_fast_spending(counts, limit_micro_epsilon=limit, thresholds=services.thresholds):
            _signal("FastSpending", budget, services, counts.spent_in_hour)


def _signal(metric: str, budget: BudgetKey, services: Watching, count: int) -> None:
    """Raise a signal. The log line says whose it is; alarms, which may leave the account, name nobody."""
    services.telemetry.step("signal", signal=metric, room=budget.room, party=budget.party, counted=count)
    services.telemetry.count(metric)
