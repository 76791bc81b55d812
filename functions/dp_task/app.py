"""The DP task: opens budget windows for EventBridge Scheduler; POST /provider/suspend_account_dp_task and resume."""

from __future__ import annotations

from typing import Any

from cleanroom.adapters.aws import task_services
from cleanroom.edge import answer_http, answer_schedule, logger, metrics, tracer
from cleanroom.procedures.task import TASK
from cleanroom.use_cases.dp_task import handle_schedule


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False, capture_error=False)
@metrics.log_metrics
def handler(event: dict[str, Any], _context: object) -> dict[str, object]:
    """Answer the scheduler, or one HTTP request."""
    if "task" in event:
        return answer_schedule(lambda: handle_schedule(event, task_services()))
    return answer_http(event, TASK, task_services)
