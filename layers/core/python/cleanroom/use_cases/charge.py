"""Charging a run: the one place where a price meets a budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cleanroom.errors import BudgetExhaustedError
from cleanroom.privacy.accounting import limit_micro_epsilon
from cleanroom.privacy.rho import UNKNOWN_RHO, RhoPrice
from cleanroom.rooms.ledger import Charge, TaskStatus
from cleanroom.rooms.settings import rho_limit_of

if TYPE_CHECKING:
    from cleanroom.ports import Clock, Ledger, Renewal, Telemetry
    from cleanroom.privacy.accounting import Price
    from cleanroom.rooms.ledger import BudgetKey, RoomBudgetRecord, RunRecord, SettingsRecord, TaskState


@dataclass(frozen=True, kw_only=True, slots=True)
class Payer:
    """One budget that pays for a run.

    Attributes:
        budget: whose.
        record: the settings that its price and its limits come from.
        price: what the run costs the data that this budget stands for. Where several parties' data are protected,
            each has a budget, settings and a price of its own, and a run is charged to all of them or to none.
        rho_price: the same where rho is counted; both are charged, whatever this budget counts. Left
            out, it is not known, and fits in no limit of rho.
    """

    budget: BudgetKey
    record: SettingsRecord
    price: Price
    rho_price: RhoPrice = UNKNOWN_RHO


def charge_run(
    *,
    run_id: str,
    request_digest: str,
    plan_digest: str,
    payers: tuple[Payer, ...],
    task: TaskState,
    room_budget: RoomBudgetRecord,
    template: str,
    reader: str,
    table_versions: tuple[tuple[str, str], ...],
    ledger: Ledger,
    renewal: Renewal,
    clock: Clock,
    telemetry: Telemetry,
) -> RunRecord:
    """Charge every payer its price, once per run id; while the task is suspended the run is marked unmetered (B-60).

    The payers' records, `task` and `room_budget` are what prices and limits come from; the ledger checks that they
    still hold.

    Raises:
        BudgetExhaustedError: with the time of the next renewal; nothing was charged.
        RunConflictError, StaleChargeError, TooManyUnfinishedRunsError, BusyError: as the ledger says.
    """
    settings = [payer.record.settings for payer in payers]
    charge = Charge(
        run_id=run_id,
        request_digest=request_digest,
        plan_digest=plan_digest,
        budgets=tuple(payer.budget for payer in payers),
        prices=tuple(payer.price for payer in payers),
        rho_prices=tuple(payer.rho_price for payer in payers),
        limit_micro_epsilon=tuple(limit_micro_epsilon(s.privacy_budget) for s in settings),
        rho_limits=tuple(rho_limit_of(s) for s in settings),
        lifetime_limit_micro_epsilon=tuple(
            None if s.lifetime_budget is None else limit_micro_epsilon(s.lifetime_budget) for s in settings
        ),
        settings_versions=tuple(payer.record.version for payer in payers),
        room_budget=room_budget,
        window=task.window,
        unmetered=task.status is TaskStatus.SUSPENDED,
        room=payers[0].budget.room,
        party=reader,
        template=template,
        table_versions=table_versions,
        at=clock.now(),
    )
    try:
        run = ledger.charge(charge)
    except BudgetExhaustedError as refusal:
        raise refusal.renewed_at(renewal.next_renewal(clock.now()).strftime("%Y-%m-%d %H:%M UTC")) from refusal
    telemetry.step(
        "charged",
        run_id=run_id,
        room=run.room,
        template=run.template,
        micro_epsilon=run.price.micro_epsilon,
        unmetered=run.unmetered,
    )
    if run.unmetered:
        telemetry.count("UnmeteredRuns")
    return run
