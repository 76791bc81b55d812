"""What run_template may ask of add_noise: release a run, or publish the refusal of a dropped request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from cleanroom.errors import InvalidRequestError
from cleanroom.use_cases.release import answer_of_release, release_run

if TYPE_CHECKING:
    from cleanroom.ports import NoiseServices


class ReleaseRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="action", tag="release"):
    """Release one executed run."""

    run_id: str


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
        asked = msgspec.convert(event, ReleaseRequest | RefusalRequest)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"the event does not fit: {error}") from error
    if isinstance(asked, ReleaseRequest):
        return answer_of_release(release_run(asked.run_id, services))
    services.releases.put_derived(
        party=asked.party, run_id=asked.run_id, name="refusal.json", content=asked.error.encode()
    )
    return b"{}"
