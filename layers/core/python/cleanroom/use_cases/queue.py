"""Messages of the run queue: asynchronous runs of our own, and S3's notices of dropped requests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

import msgspec

from cleanroom.use_cases.inbox import run_dropped_request
from cleanroom.use_cases.run_template import run_queued

if TYPE_CHECKING:
    from cleanroom.ports import RunServices


def handle_message(body: str, services: RunServices) -> None:
    """Handle one message; one that says neither is unknown and fails, so that it ends in the dead-letter queue.

    Raises:
        ValueError: the message is of no known kind.
    """
    message = msgspec.json.decode(body)
    if isinstance(message, dict) and message.get("Event") == "s3:TestEvent":
        return
    if isinstance(message, dict) and "Records" in message:
        for record in message["Records"]:
            s3_object = record["s3"]["object"]
            run_dropped_request(
                key=unquote_plus(s3_object["key"]), version_id=s3_object["versionId"], services=services
            )
        return
    if isinstance(message, dict) and "procedure" in message:
        run_queued(body.encode(), services)
        return
    raise ValueError("the message is of no known kind")
