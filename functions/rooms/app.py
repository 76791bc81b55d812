"""POST /provider/{procedure} and /consumer/{procedure}, except runs, noise and the DP task; GET /openapi.json."""

from __future__ import annotations

from typing import Any

from cleanroom.adapters.aws import room_services
from cleanroom.edge import answer_http, logger, metrics, tracer
from cleanroom.openapi import openapi_json
from cleanroom.procedures.rooms import ROOMS


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False, capture_error=False)
@metrics.log_metrics
def handler(event: dict[str, Any], _context: object) -> dict[str, object]:
    """Answer one HTTP request."""
    return answer_http(event, ROOMS, room_services, get={"openapi.json": openapi_json})
