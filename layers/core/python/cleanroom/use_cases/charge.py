"""Charging a run: the one place where a price meets a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.errors import BudgetExhaustedError
from cleanroom.privacy.accounting import limit_micro_epsilon
from cleanroom.rooms.ledger import Charge, TaskStatus

if TYPE_CHECKING:
    from cleanroom.ports import Clock, Ledger, Renewal, Telemetry
    from cleanroom.privacy.accounting import Price
    from cleanroom.rooms.ledger import BudgetKey, RunRecord, SettingsRecord, TaskState


def charge_run(
    *,
    run_id: str,
    request_digest: str,
    plan_digest: str,
    budget: BudgetKey,
    record: SettingsRecord,
    task: TaskState,
    price: Price,
    template: str,
    reader: str,
    table_versions: tuple[tuple[str, str], ...],
    ledger: Ledger,
    renewal: Renewal,
    clock: Clock,
    telemetry: Telemetry,
) -> RunRecord:
    """Charge `price` to `budget`, once per run id; while the task is suspended the run is marked unmetered (B-60).

    `record` and `task` are what the price was computed from; the ledger checks that they still hold.

    Raises:
        BudgetExhaustedError: with the time of the next renewal; nothing was charged.
        RunConflictError, StaleChargeError, BusyError: as the ledger says.
    """
    charge = Charge(
        run_id=run_id,
        request_digest=request_digest,
        plan_digest=plan_digest,
        budgets=(budget,),
        limit_micro_epsilon=(limit_micro_epsilon(record.settings.privacy_budget),),
        settings_versions=(record.version,),
        price=price,
        window=task.window,
        unmetered=task.status is TaskStatus.SUSPENDED,
        room=budget.room,
        party=reader,
        template=template,
        table_versions=table_versions,
        at=clock.now(),
    )
    try:
        run = ledger.charge(charge)
    except BudgetExhaustedError as refusal:
        raise BudgetExhaustedError(
            price_micro_epsilon=refusal.price_micro_epsilon,
            spent_micro_epsilon=refusal.spent_micro_epsilon,
            limit_micro_epsilon=refusal.limit_micro_epsilon,
            price_delta_steps=refusal.price_delta_steps,
            spent_delta_steps=refusal.spent_delta_steps,
            window_ends=renewal.next_renewal(clock.now()).strftime("%Y-%m-%d %H:%M UTC"),
        ) from refusal
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
