"""Calls add_noise and gives its refusals back as the refusals that they are. Adapter of the port `NoiseFunction`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from cleanroom.adapters.aws_failures import explained
from cleanroom.errors import CleanRoomError, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_lambda import LambdaClient

    from cleanroom.rooms.replays import NewRun, Question


class LambdaNoiseFunction:
    """The function add_noise, invoked and waited for.

    Args:
        lambda_: a client that may invoke it; its read timeout must be longer than the function's.
        function: name or ARN.
    """

    def __init__(self, lambda_: LambdaClient, *, function: str) -> None:
        self._lambda, self._function = lambda_, function

    def release(self, run_id: str) -> bytes:
        """Release one executed run and return its `release.json`.

        Raises:
            CleanRoomError: the refusal that add_noise answered with, as its own class.
            RuntimeError: add_noise failed unexpectedly; what happened is in its log.
        """
        return self._answer({"action": "release", "run_id": run_id})

    def find_answer(self, question: Question) -> bytes | None:
        """Return, as JSON, which stored release answers a question, or None. Raises as `release` does."""
        return _or_none(self._answer({"action": "find_answer", "question": msgspec.to_builtins(question)}))

    def replay(self, question: Question, *, run: NewRun) -> bytes | None:
        """Have a stored release given again, or return None. Raises as `release` does."""
        request = {"action": "replay", "question": msgspec.to_builtins(question), "run": msgspec.to_builtins(run)}
        return _or_none(self._answer(request))

    def publish_refusal(self, *, party: str, run_id: str, error: bytes) -> None:
        """Have a refusal written where the release would have been. Raises as `release` does."""
        self._answer({"action": "publish_refusal", "party": party, "run_id": run_id, "error": error.decode()})

    def _answer(self, request: Mapping[str, object]) -> bytes:
        with explained("Lambda"):
            response = self._lambda.invoke(
                FunctionName=self._function, InvocationType="RequestResponse", Payload=json.dumps(request).encode()
            )
            payload = response["Payload"].read()
        if response.get("FunctionError"):
            raise RuntimeError("add_noise failed unexpectedly; what happened is in its log")
        return answer_of(payload)


def _or_none(answer: bytes) -> bytes | None:
    return None if answer == b"null" else answer


def answer_of(payload: bytes) -> bytes:
    """Return the JSON of a good answer `{"ok": …}`.

    Raises:
        CleanRoomError: the answer is a refusal, `{"error": {"code", "message", "kind", …}}`.
        RuntimeError: it is neither.
    """
    answer = json.loads(payload)
    if not isinstance(answer, dict) or not ("ok" in answer or "error" in answer):
        raise RuntimeError("add_noise gave no answer")
    if "error" in answer:
        raise refusal_of(answer["error"])
    ok = answer["ok"]
    return ok.encode() if isinstance(ok, str) else json.dumps(ok).encode()


def refusal_of(error: Mapping[str, Any]) -> CleanRoomError:
    """Return the refusal whose `as_json`, with its kind beside it, `error` is: the class that has its code.

    A code that this version does not know gives a plain `CleanRoomError` with that code and kind.
    """
    details = {name: value for name, value in error.items() if name not in {"code", "message", "kind"}}
    code, kind = str(error["code"]), Kind(error["kind"])
    known = next((kind_ for kind_ in _refusals(CleanRoomError) if kind_.code == code), CleanRoomError)
    # Not through the class's own constructor: each has its own arguments, and the sentence is made already.
    refusal = known.__new__(known, error["message"])
    CleanRoomError.__init__(refusal, str(error["message"]), **details)
    for name, value in details.items():
        setattr(refusal, name, value)
    refusal.code, refusal.kind = code, kind
    return refusal


def _refusals(base: type[CleanRoomError]) -> Iterator[type[CleanRoomError]]:
    yield base
    for refusal in base.__subclasses__():
        yield from _refusals(refusal)
