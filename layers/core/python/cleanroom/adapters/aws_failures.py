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


def is_momentary(failure: ClientError) -> bool:
    """Return whether AWS was throttled or out of order, so that the same call may succeed later."""
    status = failure.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return error_code(failure) in _TRY_AGAIN or status >= 500


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
        if is_momentary(failure):
            raise BusyError(f"{service} is busy; the same call may be tried again") from failure
        raise AwsFailureError(service, error_code(failure)) from failure
    except (NoConnectionError, HTTPClientError) as failure:
        raise BusyError(f"{service} did not answer; the same call may be tried again") from failure
    except BotoCoreError as failure:
        raise AwsFailureError(service, type(failure).__name__) from failure
