"""Procedures of the `dp_task` function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.edge import Procedure
from cleanroom.use_cases import arguments as a
from cleanroom.use_cases import dp_task

if TYPE_CHECKING:
    from cleanroom.edge import Routes
    from cleanroom.ports import TaskServices

TASK: Routes[TaskServices] = {
    ("provider", "suspend_account_dp_task"): Procedure(arguments=a.NoArguments, call=dp_task.suspend_account_dp_task),
    ("provider", "resume_account_dp_task"): Procedure(arguments=a.NoArguments, call=dp_task.resume_account_dp_task),
}
