"""The door out: releases a charged run for run_template; GET /runs/{run_id}; POST /consumer/add_noise."""

from __future__ import annotations

from typing import Any

from cleanroom.adapters.aws import noise_services
from cleanroom.edge import answer_http, answer_invocation, logger, metrics, tracer
from cleanroom.procedures.noise import NOISE
from cleanroom.use_cases.noise_requests import handle_invocation
from cleanroom.use_cases.view_run import view_run


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False, capture_error=False)
@metrics.log_metrics
def handler(event: dict[str, Any], _context: object) -> dict[str, object]:
    """Answer run_template, or one HTTP request."""
    if "action" in event:
        return answer_invocation(lambda: handle_invocation(event, noise_services()))
    return answer_http(event, NOISE, noise_services, get={"runs": view_run})
