"""The adapter over DynamoDB beside its model: its writes meet faults, and whoever looks has none."""

from cleanroom.adapters.dynamodb_keys import run_key
from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from tests.contract.ledgers import create_table, table_of
from tests.ledger.faults import FlakyClient
from tests.ledger.world import World


class DynamoDbWorld(World):
    """A world over a table of its own. With 4 attempts some calls give up, which nobody else's do."""

    def __init__(self, client):
        name = create_table(client)
        line = FlakyClient(client)
        given = {"sleep": lambda _: None, "jitter": lambda: 0.0, "attempts": 4}
        self.table = table_of(client, name, **given)
        super().__init__(DynamoDbLedger(table_of(line, name, **given)), line, DynamoDbLedger(self.table))

    def states_of(self, run_ids):
        """All at once, and as the items say it."""
        found = self.table.get_each([run_key(run_id) for run_id in run_ids]) if run_ids else {}
        return {run_id: found[run_key(run_id)]["state"]["S"] for run_id in run_ids if run_key(run_id) in found}
