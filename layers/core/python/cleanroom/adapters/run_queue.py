"""Asynchronous runs wait in SQS. Adapter of the port `RunQueue`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.adapters.aws_failures import explained

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class SqsRunQueue:
    """One queue; a message may be delivered twice, which the run's id makes harmless.

    Args:
        sqs: a client that may send there.
        queue_url: its address.
    """

    def __init__(self, sqs: SQSClient, *, queue_url: str) -> None:
        self._sqs, self._queue_url = sqs, queue_url

    def send(self, body: str) -> None:
        """Enqueue one JSON message."""
        with explained("SQS"):
            self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=body)
