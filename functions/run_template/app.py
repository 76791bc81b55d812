"""POST /consumer/run_analysis, quotes and provider-runs; and the queue of asynchronous and dropped run requests."""

from __future__ import annotations

from typing import Any

from cleanroom.adapters.aws import run_services
from cleanroom.edge import answer_http, answer_queue, logger, metrics, tracer
from cleanroom.procedures.runs import RUNS
from cleanroom.use_cases.queue import handle_message


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False, capture_error=False)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> Any:
    """Answer one HTTP request, or handle a batch of the queue."""
    if "Records" in event:
        return answer_queue(event, context, lambda record: handle_message(record.body, run_services()))
    return answer_http(event, RUNS, run_services)
