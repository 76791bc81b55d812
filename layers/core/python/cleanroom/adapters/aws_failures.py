"""What AWS answers when it does not do what was asked, in our words. Adapter, under all others that call AWS."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from cleanroom.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRY_AGAIN = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "KMSInternalException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "EC2ThrottledException",
    }
)


class AwsFailureError(RuntimeError):
    """AWS refused what a correct deployment is allowed, or answered nonsense: an unexpected failure, never a refusal.

    Attributes:
        code: AWS's own error code; for branching in adapters.
    """

    def __init__(self, service: str, code: str) -> None:
        super().__init__(f"{service} answered {code}")
        self.code = code


def error_code(failure: ClientError) -> str:
    """Return AWS's error code."""
    return str(failure.response.get("Error", {}).get("Code", "unknown"))


@contextmanager
def explained(service: str) -> Iterator[None]:
    """Translate failures of AWS calls made inside.

    Raises:
        BusyError: throttled, timed out or out of order for the moment; the same call is safe.
        AwsFailureError: anything else.
    """
    try:
        yield
    except ClientError as failure:
        code = error_code(failure)
        status = failure.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _TRY_AGAIN or status >= 500:
            raise BusyError(f"{service} is busy; the same call may be tried again") from failure
        raise AwsFailureError(service, code) from failure
    except (NoConnectionError, HTTPClientError) as failure:
        raise BusyError(f"{service} did not answer; the same call may be tried again") from failure
    except BotoCoreError as failure:
        raise AwsFailureError(service, type(failure).__name__) from failure
