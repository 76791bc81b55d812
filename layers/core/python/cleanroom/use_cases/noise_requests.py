"""What run_template may ask of add_noise: release a run, give a release again, publish a dropped request's refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from cleanroom.errors import InvalidRequestError
from cleanroom.rooms.replays import NewRun, Question
from cleanroom.use_cases.release import answer_of_release, release_run
from cleanroom.use_cases.replays import describe_answer, replay_run

if TYPE_CHECKING:
    from cleanroom.ports import NoiseServices


class ReleaseRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="action", tag="release"):
    """Release one executed run."""

    run_id: str


class AnswerRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="action", tag="find_answer"):
    """Say which stored release answers a question, if one does."""

    question: Question


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="action", tag="replay"):
    """Give the stored release of a question again under a new run id."""

    question: Question
    run: NewRun


class RefusalRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="action", tag="publish_refusal"):
    """Write the refusal of a dropped request to where its release would have been."""

    party: str
    run_id: str
    error: str


def handle_invocation(event: dict[str, Any], services: NoiseServices) -> bytes:
    """Do what run_template asks for, and return JSON.

    Raises:
        InvalidRequestError: the event is not one of run_template's.
    """
    try:
        asked = msgspec.convert(event, ReleaseRequest | AnswerRequest | ReplayRequest | RefusalRequest)
    except msgspec.ValidationError as error:
        raise InvalidRequestError("the event is none of those that run_template sends") from error
    if isinstance(asked, ReleaseRequest):
        return answer_of_release(release_run(asked.run_id, services))
    if isinstance(asked, AnswerRequest):
        return msgspec.json.encode(describe_answer(asked.question, services))
    if isinstance(asked, ReplayRequest):
        release = replay_run(asked.question, asked.run, services)
        return b"null" if release is None else answer_of_release(release)
    services.releases.put_derived(
        party=asked.party, run_id=asked.run_id, name="refusal.json", content=asked.error.encode()
    )
    return b"{}"
