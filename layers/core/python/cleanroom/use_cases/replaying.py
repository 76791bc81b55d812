"""run_template's part of free replay: recognises a question that was paid for before, and has add_noise answer it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from cleanroom.privacy.accounting import ZERO_PRICE, limit_micro_epsilon
from cleanroom.rooms.replays import NewRun, Question
from cleanroom.templates.plan_json import plan_as_json
from cleanroom.use_cases.questions import question_digest

if TYPE_CHECKING:
    from cleanroom.ports import RunServices
    from cleanroom.use_cases.prepare import PreparedRun

WHY_FREE = "the same question over the same data was paid for before: its stored release is given again"


def replayed(
    prepared: PreparedRun,
    table_versions: tuple[tuple[str, str], ...],
    plan_json: bytes,
    *,
    run_id: str,
    request_digest: str,
    services: RunServices,
) -> bytes | None:
    """Return the stored release of the same question under a new run id, charging nothing; None where there is none.

    The request was authorised and compiled under today's policies and settings: what is refused today is not replayed.
    """
    question = _question(prepared, table_versions, plan_json, services)
    if question is None:
        return None
    new = NewRun(
        run_id=run_id,
        request_digest=request_digest,
        plan_digest=hashlib.sha256(plan_json).hexdigest(),
        template=prepared.template,
        template_digest=prepared.template_digest,
        query=prepared.plan.sql,
        window=prepared.task.window,
        settings_versions=tuple(payer.record.version for payer in prepared.payers),
        limit_micro_epsilon=tuple(limit_micro_epsilon(p.record.settings.privacy_budget) for p in prepared.payers),
    )
    return services.noise.replay(question, run=new)


def stored_answer(prepared: PreparedRun, services: RunServices) -> dict[str, object] | None:
    """Return which stored release would answer a request now, for a quote; None where none would.

    What holds now need not hold when it is run: a run that must not cost anything says `"replay": "only"`.
    """
    plan_json = plan_as_json(prepared.plan)
    digest = _digest(prepared, plan_json)
    if digest is None or services.ledger.answer(digest) is None:
        return None
    versions = {use.relation: services.tables.resolve(use.table) for use in prepared.plan.tables}
    digests = tuple((use.table.full_name, versions[use.relation].digest) for use in prepared.plan.tables)
    question = _question(prepared, digests, plan_json, services)
    answer = None if question is None else services.noise.find_answer(question)
    return None if answer is None else {**msgspec.json.decode(answer), "why": WHY_FREE}


def _question(
    prepared: PreparedRun, table_versions: tuple[tuple[str, str], ...], plan_json: bytes, services: RunServices
) -> Question | None:
    """Return the question if the ledger remembers an answer to it over the same data; add_noise checks it again."""
    digest = _digest(prepared, plan_json)
    if digest is None:
        return None
    question = Question(digest=digest, room=prepared.room, party=prepared.party, table_versions=table_versions)
    answer = services.ledger.answer(digest)
    return question if answer is not None and question.is_answered_by(answer) else None


def _digest(prepared: PreparedRun, plan_json: bytes) -> str | None:
    """Return the question's digest; None where nothing is replayed: it costs nothing, or the party may ask nothing.

    A budget of 0 allows no query at all while DP is on (B-13), and so no replay either.
    """
    if prepared.plan.price == ZERO_PRICE:
        return None
    settings = [payer.record.settings for payer in prepared.payers]
    if any(s.differential and s.privacy_budget == 0 for s in settings):
        return None
    budgets = [payer.budget for payer in prepared.payers]
    return question_digest(plan_json, room=prepared.room, party=prepared.party, budgets=budgets)
