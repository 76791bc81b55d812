"""Run requests dropped into the S3 inbox: `<party>/runs/<anything>.json`, with the arguments of run_analysis."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from cleanroom.errors import CleanRoomError, InvalidRequestError, Kind
from cleanroom.rooms.names import check_party
from cleanroom.use_cases.arguments import RunAnalysis, parse_arguments
from cleanroom.use_cases.run_ids import scoped_run_id
from cleanroom.use_cases.run_template import refuse_request, run_analysis

if TYPE_CHECKING:
    from cleanroom.ports import RunServices


def run_dropped_request(*, key: str, version_id: str, services: RunServices) -> None:
    """Run the request in one object of the inbox; its release or its refusal lands in the results bucket.

    The run id is a digest of the object and its version, so that an event delivered twice is one run. The party is the
    first part of the key: who may write below that prefix is for the bucket's policies to say, and its budget pays.
    """
    party, folder, *_rest = (*key.split("/"), "", "")
    check_party(party)
    run_id = hashlib.sha256(f"{key}\n{version_id}".encode()).hexdigest()[:40]
    arguments: RunAnalysis | None = None
    try:
        if folder != "runs":
            raise InvalidRequestError("run requests belong under `<party>/runs/`")
        arguments = parse_arguments(RunAnalysis, services.inbox.read(key=key, version_id=version_id))
        if arguments.run_id is not None:
            raise InvalidRequestError("a dropped request takes its run id from the object: leave run_id out")
        run_analysis(msgspec.structs.replace(arguments, run_id=run_id, mode="sync"), party, services)
    except CleanRoomError as refusal:
        if refusal.kind is Kind.BUSY:
            raise  # the queue delivers it again, under the same run id
        if arguments is not None:
            refuse_request(refusal, arguments, party, scoped_run_id(party, run_id), services)
        services.noise.publish_refusal(
            party=party, run_id=run_id, error=msgspec.json.encode({"run_id": run_id, "error": refusal.as_json()})
        )
