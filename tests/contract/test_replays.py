"""Remembered answers and replays: the same assertions on the ledger in memory and on the emulated DynamoDB."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from cleanroom.errors import LedgerUnreadableError, RunConflictError
from cleanroom.privacy.accounting import ZERO_PRICE
from cleanroom.rooms.ledger import RunState
from cleanroom.rooms.ledger_chain import first_broken_chain
from cleanroom.rooms.ledger_rules import run_of
from cleanroom.rooms.replays import Answer, Replay
from tests.contract.ledgers import KEY, NOON, charge, create_table, release, table_of

ANSWER = Answer(
    question="a" * 64,
    run_id="consumer.run-1",
    room="flights",
    party="consumer",
    table_versions=(("provider.flights", "digest"),),
    release_sha256="b" * 64,
    released_at=NOON,
)
RUN = replace(run_of(charge("run-2", prices=(ZERO_PRICE,))), state=RunState.EXECUTED)
REPLAY = Replay(run_id="run-2", replay_of="run-1", release_sha256="b" * 64, template_digest="t", query="SELECT 1")


def test_an_answer_is_found_by_its_question_alone(ledger):
    assert ledger.answer(ANSWER.question) is None
    release(ledger, "run-1", answer=ANSWER)
    assert ledger.answer(ANSWER.question) == ANSWER
    assert ledger.answer("c" * 64) is None


def test_a_later_answer_takes_the_place_of_an_earlier_one_and_never_the_other_way_round(ledger):
    """Two attempts at once, or a late one: the order in which they are stored does not matter."""
    later = replace(ANSWER, run_id="consumer.run-9", released_at=NOON + timedelta(microseconds=1))
    release(ledger, "run-9", answer=later)
    release(ledger, "run-1", answer=ANSWER)
    assert ledger.answer(ANSWER.question) == later
    release(ledger, "run-7", answer=replace(later, run_id="consumer.run-7"))
    assert ledger.answer(ANSWER.question) == later
    assert [ledger.run(f"run-{number}").state for number in (9, 1, 7)] == [RunState.RELEASED] * 3


def test_a_replay_is_a_run_with_a_line_of_its_own_and_charges_nothing(ledger):
    """B-50: nothing is spent, in the window or ever; the history names both runs and is intact."""
    ledger.charge(charge("run-1"))
    before = ledger.spending(KEY, window=0)
    assert ledger.replay(REPLAY, run=RUN) == RUN
    assert ledger.run("run-2") == RUN
    assert ledger.replay_of("run-2") == REPLAY
    assert ledger.replay_of("run-1") is None
    assert ledger.spending(KEY, window=0) == before
    (line,) = [line for line in ledger.entries("flights") if line.kind == "replay"]
    assert (line.run_id, line.party) == ("run-2", "consumer")
    assert json.loads(line.body)["replay_of"] == "run-1"
    assert first_broken_chain(ledger.history("flights")) is None
    assert ledger.advance("run-2", to=RunState.RELEASED, at=NOON).state is RunState.RELEASED
    assert ledger.spending(KEY, window=0) == before


def test_a_replay_is_stored_once_whatever_is_retried(ledger):
    first = ledger.replay(REPLAY, run=RUN)
    assert ledger.replay(REPLAY, run=replace(RUN, charged_at=NOON + timedelta(hours=1))) == first
    assert ledger.replay(replace(REPLAY, replay_of="run-8"), run=RUN) == first
    assert ledger.replay_of("run-2") == REPLAY
    assert len([line for line in ledger.entries("flights") if line.kind == "replay"]) == 1


def test_a_run_id_of_another_request_is_refused_and_one_that_was_charged_stays_charged(ledger):
    ledger.charge(charge("run-2"))
    assert ledger.replay(REPLAY, run=RUN).state is RunState.CHARGED
    assert ledger.replay_of("run-2") is None
    with pytest.raises(RunConflictError):
        ledger.replay(REPLAY, run=replace(RUN, request_digest="another"))
    assert [line.kind for line in ledger.entries("flights") if line.run_id == "run-2"] == ["charge"]


def test_a_charge_under_the_id_of_a_replay_gives_the_replay_and_charges_nothing(ledger):
    """The other order of the race above."""
    ledger.replay(REPLAY, run=RUN)
    assert ledger.charge(charge("run-2")) == RUN
    assert ledger.spending(KEY, window=0).lifetime == ZERO_PRICE


def test_of_many_replays_at_once_each_has_one_line(ledger):
    """They share the end of one chain: none is lost, none doubled."""

    def once(number):
        name = f"run-{number % 6}"
        return ledger.replay(replace(REPLAY, run_id=name), run=replace(RUN, run_id=name))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(once, range(12)))
    lines = [line.run_id for line in ledger.entries("flights") if line.kind == "replay"]
    assert sorted(lines) == [f"run-{number}" for number in range(6)]
    assert first_broken_chain(ledger.history("flights")) is None


def test_a_damaged_answer_refuses(dynamodb):
    """Ledger rule 6."""
    name = create_table(dynamodb)
    ledger = DynamoDbLedger(table_of(dynamodb, name))
    release(ledger, "run-1", answer=ANSWER)
    key = {"pk": {"S": f"ANSWER#{ANSWER.question}"}, "sk": {"S": "ANSWER"}}
    assert "Item" in dynamodb.get_item(TableName=name, Key=key)
    for kind, body in (("answer/2", "{}"), ("answer/1", "{}")):
        dynamodb.put_item(TableName=name, Item=key | {"kind": {"S": kind}, "body": {"S": body}})
        with pytest.raises(LedgerUnreadableError):
            ledger.answer(ANSWER.question)
