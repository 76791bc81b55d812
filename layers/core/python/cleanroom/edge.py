"""Events in, answers out: the only file that knows HTTP. Nothing but a coded refusal or a reference ever leaves.

Each function has three kinds of event at most: an HTTP request with the caller's verified JWT claims, a batch of queue
messages, and a direct invocation by another of our functions or by the scheduler.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2

from cleanroom.errors import CleanRoomError, ForbiddenError, InvalidRequestError, Kind, UnknownProcedureError
from cleanroom.rooms.names import check_party
from cleanroom.use_cases.arguments import Arguments, parse_arguments

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

STATUS = {
    Kind.INVALID: 400,
    Kind.BUDGET: 402,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.REFUSED: 422,
    Kind.BUSY: 429,
}
LARGEST_BODY_BYTES = 1_000_000

logger = Logger()
metrics = Metrics()
tracer = Tracer()

ServicesT = TypeVar("ServicesT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Procedure(Generic[ServicesT]):
    """One procedure over HTTP: `POST /{side}/{name}` with named JSON arguments.

    Attributes:
        arguments: how the body is read.
        call: takes the arguments, the calling party and the services; gives JSON-able values, or JSON as bytes.
    """

    arguments: type[Any]
    call: Callable[[Any, str, ServicesT], object]


Routes = Mapping[tuple[str, str], Procedure[ServicesT]]
"""(side, name) -> procedure; side is `provider` or `consumer`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An HTTP answer: JSON."""

    status: int
    body: bytes

    def as_event(self) -> dict[str, object]:
        """Return what API Gateway takes."""
        return {
            "statusCode": self.status,
            "headers": {"content-type": "application/json", "cache-control": "no-store"},
            "body": self.body.decode(),
        }


def answer_http(
    event: dict[str, Any],
    routes: Routes[ServicesT],
    services: Callable[[], ServicesT],
    *,
    get: Mapping[str, Callable[[str, str, ServicesT], bytes]] | None = None,
) -> dict[str, object]:
    """Answer one HTTP request; every failure becomes a coded refusal or a reference that is in the log.

    Args:
        event: of an HTTP API, payload format 2.0, whose JWT authorizer has verified the token.
        routes: procedures of this function.
        services: gives what they need, made at first use.
        get: `GET` routes by their first path part: called with the rest of the path, the party and the services.
    """
    try:
        return _answer(APIGatewayProxyEventV2(event), routes, services, get or {}).as_event()
    except CleanRoomError as refusal:
        logger.info("refused", code=refusal.code)
        body = msgspec.json.encode({"error": refusal.as_json()}, enc_hook=str)
        return Answer(status=STATUS[refusal.kind], body=body).as_event()
    except Exception as error:  # the last line of defence: no trace, text or value leaves
        return Answer(status=500, body=msgspec.json.encode({"error": _unexpected(error)})).as_event()


def _answer(
    request: APIGatewayProxyEventV2,
    routes: Routes[ServicesT],
    services: Callable[[], ServicesT],
    get: Mapping[str, Callable[[str, str, ServicesT], bytes]],
) -> Answer:
    party = _party_of(request)
    side, _, name = request.raw_path.removeprefix(_stage_prefix(request)).strip("/").partition("/")
    logger.append_keys(party=party, procedure=name or side)
    if request.http_method == "GET" and side in get:
        return Answer(status=200, body=get[side](name, party, services()))
    procedure = routes.get((side, name))
    if procedure is None or request.http_method != "POST":
        raise UnknownProcedureError(f"there is no procedure {name[:64]!r} for the {side[:16]}")
    arguments: Arguments = parse_arguments(procedure.arguments, _body_of(request))
    result = procedure.call(arguments, party, services())
    return Answer(status=200, body=result if isinstance(result, bytes) else msgspec.json.encode(result))


def _stage_prefix(request: APIGatewayProxyEventV2) -> str:
    stage = request.request_context.stage
    return "" if stage in {"", "$default"} else f"/{stage}"


def _party_of(request: APIGatewayProxyEventV2) -> str:
    """Return the party that the verified token names; a token without one can do nothing."""
    authorizer = request.request_context.authorizer
    claims = authorizer.jwt_claim if authorizer else {}
    party = (claims or {}).get(os.environ["PARTY_CLAIM"])
    if not isinstance(party, str):
        raise ForbiddenError("the token names no party")
    check_party(party)
    return party


def _body_of(request: APIGatewayProxyEventV2) -> bytes:
    text = request.body or ""
    if len(text) > LARGEST_BODY_BYTES:
        raise InvalidRequestError("the body is larger than 1 MB")
    if request.is_base64_encoded:
        try:
            return base64.b64decode(text, validate=True)
        except ValueError as error:
            raise InvalidRequestError("the body is not valid base64") from error
    return text.encode()


def answer_invocation(call: Callable[[], bytes]) -> dict[str, object]:
    """Answer another of our functions: `{"ok": …}` with JSON, or `{"error": …}` with code, kind and sentence.

    Raises:
        RuntimeError: an unexpected failure, whose reference is in the log.
    """
    try:
        return {"ok": call().decode()}
    except CleanRoomError as refusal:
        logger.info("refused", code=refusal.code)
        error = msgspec.to_builtins(refusal.as_json(), enc_hook=str)
        return {"error": {**error, "kind": refusal.kind.value}}
    except Exception as error:
        _unexpected(error)
        # Lambda logs and returns what is raised here: only this fixed sentence.
        raise RuntimeError("an invocation failed unexpectedly; the reference is in the log") from None


def answer_schedule(call: Callable[[], bytes]) -> dict[str, object]:
    """Answer the scheduler. It looks at no answer, so whatever was not done is raised: Lambda then tries again.

    Raises:
        RuntimeError: a refusal, or an unexpected failure, whose code or reference is in the log.
    """
    answer = answer_invocation(call)
    if "ok" not in answer:
        raise RuntimeError("a scheduled call was not done; the refusal's code is in the log")
    return answer


def answer_queue(event: dict[str, Any], context: LambdaContext, handle: Callable[[SQSRecord], None]) -> Any:
    """Handle a batch of queue messages; those that failed are delivered again, and end in the dead-letter queue."""

    def guarded(record: SQSRecord) -> None:
        try:
            handle(record)
        except CleanRoomError as refusal:
            logger.info("refused", code=refusal.code)
            raise
        except Exception as error:
            _unexpected(error)
            # The batch processor logs what it catches: only this fixed sentence may reach it.
            raise RuntimeError("a queued run failed unexpectedly; the reference is in the log") from None

    return process_partial_response(
        event=event, record_handler=guarded, processor=BatchProcessor(event_type=EventType.SQS), context=context
    )


def _unexpected(error: Exception) -> dict[str, object]:
    """Log an unexpected failure by kind and place, never by its message, which may hold a value."""
    reference = secrets.token_hex(8)
    places = []
    trace = error.__traceback__
    while trace is not None:
        places.append(f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}")
        trace = trace.tb_next
    logger.error("unexpected failure", reference=reference, kind=type(error).__name__, places=places)
    metrics.add_metric(name="UnexpectedFailures", unit=MetricUnit.Count, value=1)
    return {
        "code": "internal_error",
        "message": "something went wrong on our side; the reference is in the log",
        "reference": reference,
    }
