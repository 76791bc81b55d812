"""What became of a run: its release, its state, or the refusal of an asynchronous request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cleanroom.errors import RunNotFoundError
from cleanroom.rooms.ledger import RunState
from cleanroom.use_cases.release import answer_of_release, release_run
from cleanroom.use_cases.run_ids import scoped_run_id

if TYPE_CHECKING:
    from cleanroom.ports import NoiseServices


def view_run(run_id: str, party: str, services: NoiseServices) -> bytes:
    """Return a run of the calling party as JSON: `state` and, once released, the whole release.

    A run that was executed and never released, after a crash between the two functions, is released now.

    Raises:
        RunNotFoundError: the party has no such run.
    """
    scoped = scoped_run_id(party, run_id)
    run = services.ledger.run(scoped)
    if run is None:
        request = services.ledger.request(scoped)
        if request is None:
            raise RunNotFoundError("this party has no such run")
        error = None if request.error is None else msgspec.json.decode(request.error)
        return msgspec.json.encode({"run_id": run_id, "state": request.state.value, "error": error})
    if run.state in {RunState.EXECUTED, RunState.RELEASED}:
        return answer_of_release(release_run(scoped, services))
    return msgspec.json.encode({"run_id": run_id, "state": run.state.value, "unmetered": run.unmetered})
