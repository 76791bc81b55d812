"""Many runs at once on the emulated DynamoDB: exactly as many answers as the budget holds, in small.

In large, with `python -m tests.ledger.rush`: 1,000 runs by 16 workers, 20 times over; docs/ledger.md has the outcome.
"""

import copy

import pytest

from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from cleanroom.rooms.ledger import BudgetKey
from tests.contract.ledgers import KEY, OTHER_KEY, create_table, table_of
from tests.ledger.rush import PRICE, check, rush, rush_whole


@pytest.fixture(scope="module")
def client(emulated_aws):
    from botocore.config import Config

    return emulated_aws.client("dynamodb", config=Config(max_pool_connections=32))


@pytest.mark.parametrize("budgets", [(KEY,), (KEY, OTHER_KEY)], ids=["one payer", "two payers"])
def test_of_120_runs_at_once_exactly_the_12_that_fit_are_answered(client, budgets):
    """B-51, B-52: whatever happens at the same time, spent is never above the limit, and what fits is granted."""
    ledger = DynamoDbLedger(table_of(client, create_table(client)))
    found = rush(ledger, runs=120, workers=8, limit=12 * PRICE, budgets=budgets)
    check(found, ledger, runs=120, granted=12, budgets=budgets)


def test_of_40_whole_requests_at_once_exactly_the_10_that_fit_are_answered(client):
    """The same through the use cases: the charge is what stands between a request and the data."""
    ledger = DynamoDbLedger(table_of(client, create_table(client)))
    found = rush_whole(ledger, runs=40, workers=8, budget=1)
    check(found, ledger, runs=40, granted=10, budgets=(BudgetKey(room="room", party="agency"),))


class Unconditional:
    """A client whose transactions have lost their conditions, but for that on the run: limits are looked at before."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        return getattr(self._client, name)

    def transact_write_items(self, **request):
        actions = []
        for action in copy.deepcopy(request["TransactItems"][1:]):
            ((kind, what),) = action.items()
            what.pop("ConditionExpression", None)
            if kind == "ConditionCheck":
                continue
            text = what.get("UpdateExpression", "").replace(",", " ").split()
            for names in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
                kept = {name: value for name, value in what.pop(names, {}).items() if name in text}
                what |= {names: kept} if kept else {}
            actions.append(action)
        del request["ClientRequestToken"]
        request["TransactItems"] = [request["TransactItems"][0], *actions]
        return self._client.transact_write_items(**request)


def test_limits_that_are_looked_at_before_the_transaction_only_would_be_noticed(client):
    name = create_table(client)
    planted = DynamoDbLedger(table_of(Unconditional(client), name))
    found = rush(planted, runs=120, workers=8, limit=12 * PRICE)
    with pytest.raises(AssertionError):
        check(found, DynamoDbLedger(table_of(client, name)), runs=120, granted=12)
    assert found.outcomes["answered"] > 12
