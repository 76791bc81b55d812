"""What a run would cost and how exact it would be, without running it (B-56); and what a template renders to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.privacy.rho import ZERO_RHO
from cleanroom.use_cases.clipping_notes import clipping_notes
from cleanroom.use_cases.plan_views import measurement_view, post_view, rho_view
from cleanroom.use_cases.prepare import prepare
from cleanroom.use_cases.replaying import stored_answer
from cleanroom.use_cases.settings import budget_views, runs_left

if TYPE_CHECKING:
    from cleanroom.ports import RunServices
    from cleanroom.use_cases.arguments import RunArguments


def quote_analysis(arguments: RunArguments, party: str, services: RunServices) -> dict[str, object]:
    """Return price by part, expected error of each measured number, and how many such runs the budgets still hold.

    `runs_left_limit` is the limit that binds first: its name as in a refusal, what it counts, and whose budget it is.
    The same code prices the charge. No table is read, nothing is charged. Where the same question over the same data
    was paid for before, the price is 0, `replay` says why, and `parts` are what fresh noise would cost.
    """
    prepared = prepare(arguments, party, services)
    plan = prepared.plan
    standing = services.ledger.standing(
        prepared.room, [payer.budget for payer in prepared.payers], window=prepared.task.window
    )
    budgets = budget_views(standing, renewal=services.renewal, clock=services.clock)
    stored = stored_answer(prepared, services)
    price = plan.price.micro_epsilon
    left = runs_left(prepared.payers, standing)
    return {
        "cleanroom_name": prepared.room,
        "template_name": prepared.template,
        "differential": int(plan.differential),
        "epsilon": 0.0 if stored else price / 1e6,
        "delta": 0.0 if stored else plan.price.delta_steps / 1e12,
        "replay": None
        if stored is None
        else {**stored, "fresh_epsilon": price / 1e6, "fresh_delta": plan.price.delta_steps / 1e12},
        "parts": [
            {"what": p.what, "epsilon": p.price.micro_epsilon / 1e6, "delta": p.price.delta_steps / 1e12}
            for p in plan.parts
        ],
        "measurements": [measurement_view(m) for m in plan.measurements],
        "clipping": clipping_notes(plan),
        "post_processing": post_view(plan),
        "entity": plan.entity,
        **rho_view(ZERO_RHO if stored else plan.rho_price),
        "runs_left": None if left is None else left.runs,
        "runs_left_limit": None if left is None else left.as_json(),
        "budget": budgets[0],
        "budgets": budgets,
        "notes": list(plan.notes),
    }


def get_sql_jinja(arguments: RunArguments, party: str, services: RunServices) -> dict[str, object]:
    """Return what a template renders to with these arguments, and the checked query that would run."""
    prepared = prepare(arguments, party, services)
    return {"template_name": prepared.template, "rendered": prepared.rendered.sql, "query": prepared.plan.sql}
