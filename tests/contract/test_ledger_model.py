"""The ledger on DynamoDB against the same model as its twin in memory, with one write in four failing in some way."""

import random

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from tests.contract.ledgers import FaultyClient, create_table, table_of
from tests.unit.adapters.test_memory_ledger_model import LedgerAgainstModel

QUICK = settings(
    max_examples=3,
    stateful_step_count=12,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
FAULTS = ["throttle", "conflict", "fail", "lost"]


class Unreliable(FaultyClient):
    """Fails a share of its writes, before or after they are applied."""

    def __getattr__(self, name):
        if name in self.operations and not self.faults:
            source = self.source
            self.faults.append(source.choice(FAULTS) if source.random() < self.share else None)
            if name != "transact_write_items" and self.faults[0] == "conflict":
                self.faults[0] = "throttle"
        return super().__getattr__(name)

    source = random.Random(20261122)
    share = 0.25


def test_the_ledger_on_dynamodb_does_what_the_model_says_whatever_writes_fail(dynamodb):
    """Rules 1 to 5 and 8: limits, sums, histories and retries, under random sequences of all that can happen."""

    class Machine(LedgerAgainstModel):
        def make_ledger(self):
            client = Unreliable(client=dynamodb)
            return DynamoDbLedger(table_of(client, create_table(dynamodb), sleep=lambda _: None))

    run_state_machine_as_test(Machine, settings=QUICK)
