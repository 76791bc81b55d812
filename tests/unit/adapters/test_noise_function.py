"""What add_noise answers comes back as it was raised there; what it does not answer is no refusal."""

import io
import json
from fractions import Fraction

import pytest

from cleanroom import errors
from cleanroom.adapters.memory import DirectNoiseFunction
from cleanroom.adapters.noise_function import LambdaNoiseFunction, refusal_of
from cleanroom.errors import BudgetExhaustedError, CleanRoomError, Kind, RunFailedError, TemplateRefusedError


class FakeLambda:
    """Answers as Lambda does; keeps what it was asked."""

    def __init__(self, payload, *, function_error=None):
        self._payload, self._function_error = payload, function_error
        self.asked = []

    def invoke(self, **keywords):
        self.asked.append(keywords)
        answer = {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(self._payload).encode())}
        return answer | ({"FunctionError": self._function_error} if self._function_error else {})


def both(payload):
    return [LambdaNoiseFunction(FakeLambda(payload), function="add_noise"), DirectNoiseFunction(lambda event: payload)]


def test_a_release_is_returned_as_it_was_stored():
    stored = '{"rows": [[1.50]], "ä": 1}'
    for noise in both({"ok": stored}):
        assert noise.release("consumer.run-1") == stored.encode()


def test_the_function_is_asked_and_waited_for():
    lambda_ = FakeLambda({"ok": "{}"})
    noise = LambdaNoiseFunction(lambda_, function="add_noise")
    noise.release("consumer.run-1")
    noise.publish_refusal(party="consumer", run_id="run-1", error=b'{"code": "x"}')
    assert [(call["FunctionName"], call["InvocationType"]) for call in lambda_.asked] == [
        ("add_noise", "RequestResponse")
    ] * 2
    assert [json.loads(call["Payload"]) for call in lambda_.asked] == [
        {"action": "release", "run_id": "consumer.run-1"},
        {"action": "publish_refusal", "party": "consumer", "run_id": "run-1", "error": '{"code": "x"}'},
    ]


def answered(refusal):
    return {"error": {**json.loads(json.dumps(refusal.as_json(), default=str)), "kind": refusal.kind.value}}


@pytest.mark.parametrize(
    "refusal",
    [
        RunFailedError("the run failed"),
        errors.BusyError("later"),
        TemplateRefusedError("no", rule="r", cure="c", line=3, column=None),
        BudgetExhaustedError(price_micro_epsilon=1, spent_micro_epsilon=2, limit_micro_epsilon=3, window_ends="soon"),
        errors.CleanRoomNotFoundError("room"),
    ],
)
def test_a_refusal_is_raised_as_its_own_class_with_all_it_said(refusal):
    for noise in both(answered(refusal)):
        with pytest.raises(type(refusal)) as raised:
            noise.release("consumer.run-1")
        assert raised.value.as_json() == refusal.as_json()
        assert raised.value.kind is refusal.kind


def test_every_refusal_of_ours_keeps_its_class():
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, CleanRoomError)]
    assert len(classes) > 15
    for kind in classes:
        refusal = refusal_of({"code": kind.code, "kind": kind.kind.value, "message": "a sentence"})
        assert type(refusal) is kind
        assert (str(refusal), refusal.code, refusal.kind) == ("a sentence", kind.code, kind.kind)


def test_a_code_that_is_not_known_is_still_a_refusal():
    refusal = refusal_of({"code": "from_the_future", "kind": "conflict", "message": "x", "more": 1})
    assert type(refusal) is CleanRoomError
    assert refusal.as_json() == {"code": "from_the_future", "message": "x", "more": 1}
    assert refusal.kind is Kind.CONFLICT
    assert CleanRoomError.code == "clean_room_error"


def test_an_unexpected_failure_is_no_refusal():
    noise = LambdaNoiseFunction(FakeLambda({"errorMessage": "boom"}, function_error="Unhandled"), function="f")
    with pytest.raises(RuntimeError, match="unexpectedly"):
        noise.release("consumer.run-1")
    for answer in ({}, None, [], {"statusCode": 200}):
        for noise in both(answer):
            with pytest.raises(RuntimeError, match="no answer"):
                noise.release("consumer.run-1")


def test_requests_to_the_twin_are_json_too():
    with pytest.raises(TypeError):
        DirectNoiseFunction(lambda event: {"ok": "{}"}).release(Fraction(1))
