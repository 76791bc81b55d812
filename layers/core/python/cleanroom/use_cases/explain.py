"""Everything that a run would do, without doing it: the rendered text, the plan, its SQL and its noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.use_cases.plan_views import explained_plan
from cleanroom.use_cases.prepare import prepare

if TYPE_CHECKING:
    from cleanroom.ports import RunServices
    from cleanroom.use_cases.arguments import RunArguments


def explain_analysis(arguments: RunArguments, party: str, services: RunServices) -> dict[str, object]:
    """Return what a run would do: the query, the measurements with sensitivity and noise, and every SQL text.

    The SQL is what the engine gets, laid out in lines; `$run_key` in it is a secret that each run draws afresh. No
    table is read, nothing is charged, and whatever would refuse the run refuses this call.
    """
    prepared = prepare(arguments, party, services)
    return {
        "cleanroom_name": prepared.room,
        "template_name": prepared.template,
        "template_digest": prepared.template_digest,
        "rendered": prepared.rendered.sql,
        "query": prepared.plan.sql,
        "settings_versions": {payer.budget.party: payer.record.version for payer in prepared.payers},
        "plan": explained_plan(prepared.plan),
    }
