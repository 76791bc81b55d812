"""Of what AWS does not do, only what may pass by itself is a refusal; the rest is an unexpected failure."""

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from cleanroom.adapters.aws_failures import AwsFailureError, explained
from cleanroom.errors import BusyError, CleanRoomError


def answered(code, status=400):
    return ClientError({"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Op")


@pytest.mark.parametrize(
    "failure",
    [
        answered("ThrottlingException"),
        answered("SlowDown", 503),
        answered("TooManyRequestsException", 429),
        answered("SomethingNew", 500),
        ConnectTimeoutError(endpoint_url="x"),
        ReadTimeoutError(endpoint_url="x"),
        EndpointConnectionError(endpoint_url="x"),
    ],
)
def test_what_may_pass_by_itself_may_be_tried_again(failure):
    with pytest.raises(BusyError) as busy, explained("S3"):
        raise failure
    assert busy.value.__cause__ is failure


@pytest.mark.parametrize("failure", [answered("AccessDenied", 403), answered("NoSuchKey", 404), NoCredentialsError()])
def test_all_else_is_unexpected_and_keeps_its_code(failure):
    with pytest.raises(AwsFailureError) as unexpected, explained("S3"):
        raise failure
    assert unexpected.value.__cause__ is failure
    assert not isinstance(unexpected.value, CleanRoomError)
    assert unexpected.value.code in {"AccessDenied", "NoSuchKey", "NoCredentialsError"}


def test_what_is_not_of_aws_passes_through():
    with pytest.raises(KeyError), explained("S3"):
        raise KeyError("x")
