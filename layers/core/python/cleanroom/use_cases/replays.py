"""Stored releases given again: add_noise's part of free replay. It trusts the ledger, not whoever asks."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from cleanroom.errors import InvalidRequestError
from cleanroom.privacy.accounting import ZERO_PRICE
from cleanroom.privacy.rho import ZERO_RHO
from cleanroom.rooms.ledger import RunState
from cleanroom.rooms.replays import Replay
from cleanroom.use_cases.release import release_run
from cleanroom.use_cases.run_ids import public_run_id, scoped_run_id

if TYPE_CHECKING:
    from cleanroom.ports import NoiseServices
    from cleanroom.rooms.ledger import RunRecord
    from cleanroom.rooms.replays import Answer, NewRun, Question


def describe_answer(question: Question, services: NoiseServices) -> dict[str, str] | None:
    """Return which stored release answers a question, for a quote; None where none does."""
    found = _found(question, services)
    if found is None:
        return None
    answer, _ = found
    return {"run_id": public_run_id(answer.run_id), "released_at": answer.released_at.isoformat()}


def replay_run(question: Question, new: NewRun, services: NoiseServices) -> bytes | None:
    """Give the stored release of a question again under a new run id; nothing is charged, drawn or read from a table.

    Returns:
        `release.json` of the new run; None where no stored release answers the question (any more), or the run id was
        charged in the meantime: then the run goes on at its price.

    Raises:
        RunConflictError: the run id belongs to another request.
    """
    if new.run_id != scoped_run_id(question.party, public_run_id(new.run_id)):
        raise InvalidRequestError("the run id is not of the party that asks")
    found = _found(question, services)
    if found is None:
        return None
    answer, source = found
    run = replace(
        source,
        run_id=new.run_id,
        state=RunState.EXECUTED,
        request_digest=new.request_digest,
        plan_digest=new.plan_digest,
        template=new.template,
        prices=(ZERO_PRICE,) * len(source.budgets),
        rho_prices=(ZERO_RHO,) * len(source.budgets),
        rho_limits=(),
        window=new.window,
        settings_versions=new.settings_versions,
        limit_micro_epsilon=new.limit_micro_epsilon,
        charged_at=services.clock.now(),
    )
    replay = Replay(
        run_id=new.run_id,
        replay_of=source.run_id,
        release_sha256=answer.release_sha256,
        template_digest=new.template_digest,
        query=new.query,
    )
    services.ledger.replay(replay, run=run)
    if services.ledger.replay_of(new.run_id) is None:
        return None
    services.telemetry.step("replayed", run_id=new.run_id, room=run.room, template=run.template)
    return release_run(new.run_id, services)


def _found(question: Question, services: NoiseServices) -> tuple[Answer, RunRecord] | None:
    """Return the answer of a question and its run, after checking that its release is there, byte for byte."""
    answer = services.ledger.answer(question.digest)
    if answer is None or not question.is_answered_by(answer):
        return None
    source = services.ledger.run(answer.run_id)
    if source is None or source.state is not RunState.RELEASED:
        return None
    if (source.room, source.party, source.table_versions) != (question.room, question.party, question.table_versions):
        return None
    stored = services.releases.get(party=source.party, run_id=public_run_id(source.run_id))
    if stored is None or hashlib.sha256(stored).hexdigest() != answer.release_sha256:
        return None
    return answer, source
