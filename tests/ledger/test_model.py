"""The ledger against its model: random commands with faults, on the twin in memory and on the adapter over DynamoDB.

Rules 1 to 5 and 8 of the ledger, in any order and with any fault: nobody spends more than a limit, what is spent is
the sum of the lines, an answer has one charge and a run one answer, chains are whole, states go forward only.
"""

import random
from collections import Counter

import boto3
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from moto import mock_aws

from tests.ledger import planted
from tests.ledger.dynamodb_world import DynamoDbWorld
from tests.ledger.long_run import EPISODE, episode, memory_world
from tests.ledger.world import COMMANDS

MEMORY = settings(
    max_examples=225,
    stateful_step_count=50,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def machine(world_of):
    """Return a state machine of all commands over the worlds that `world_of` makes, and what its runs have counted."""
    counted = Counter()

    def start(self):
        RuleBasedStateMachine.__init__(self)
        self.world = world_of()

    def teardown(self):
        counted.update(commands=self.world.commands, faults=self.world.line.met, unknown=self.world.unknown)
        counted.update(run[0] for run in self.world.model.runs.values())
        counted["answers"] += len(self.world.answers)

    members = {"__init__": start, "teardown": teardown}
    for name, arguments in COMMANDS.items():

        def command(self, name=name, **chosen):
            self.world.run(name, chosen)

        choices = {argument: st.sampled_from(list(values)) for argument, values in arguments.items()}
        command.__name__ = name
        members[name] = rule(**choices)(command)
    return type("LedgerMachine", (RuleBasedStateMachine,), members), counted


def test_ten_thousand_commands_leave_ledger_and_model_the_same():
    """B-51, B-52, B-53, B-60, B-61; more with `python -m tests.ledger.long_run`."""
    under_test, counted = machine(memory_world)
    run_state_machine_as_test(under_test, settings=MEMORY)
    assert counted["commands"] >= 10_000
    # The commands reach what they are about.
    for what in ("faults", "unknown", "charged", "executed", "released", "failed", "answers"):
        assert counted[what] > 30, counted


def test_the_adapter_over_dynamodb_is_the_same_as_the_model_whatever_happens_to_its_requests():
    """Rule 8: throttled, in conflict, applied with a lost reply, or ended in the middle of a call."""
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        under_test, counted = machine(lambda: DynamoDbWorld(client))
        few = settings(MEMORY, max_examples=2, stateful_step_count=12, phases=[Phase.generate])
        run_state_machine_as_test(under_test, settings=few)
        assert counted["commands"] >= 20
        # What hypothesis chooses may be harmless; this is not.
        world = episode(random.Random("dynamodb"), DynamoDbWorld(client), commands=25)
    assert world.line.met > 5
    assert world.model.runs


def many_episodes(make_world):
    """Enough random commands to meet any fault that is planted."""
    for number in range(100):
        episode(random.Random(f"planted/{number}"), make_world(), commands=EPISODE)


@pytest.mark.parametrize("fault", planted.LEDGERS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_noticed(fault):
    with pytest.raises(AssertionError):
        many_episodes(lambda: memory_world(fault()))


def test_a_store_that_gives_two_answers_for_one_charge_is_noticed():
    with pytest.raises(AssertionError, match="answers"):
        many_episodes(lambda: memory_world(releases=planted.NoiseTwice()))


@pytest.mark.parametrize("fault", [planted.NoCondition, planted.ChargeOnRetry, planted.LostLink])
def test_hypothesis_finds_planted_faults_too(fault):
    under_test, _ = machine(lambda: memory_world(fault()))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(under_test, settings=settings(MEMORY, phases=[Phase.generate]))
