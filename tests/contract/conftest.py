"""Both ledgers and both catalogues: every contract test runs on the twin in memory and on the emulated service."""

import pytest

from cleanroom.adapters.dynamodb_catalogue import DynamoDbCatalogue
from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from cleanroom.adapters.memory_catalogue import MemoryCatalogue
from cleanroom.adapters.memory_ledger import MemoryLedger
from tests.contract.ledgers import create_table, table_of


@pytest.fixture(scope="session")
def dynamodb(emulated_aws):
    """Give a client of the emulated service with room for 16 threads."""
    from botocore.config import Config

    return emulated_aws.client("dynamodb", config=Config(max_pool_connections=32))


@pytest.fixture
def table_name(dynamodb):
    """Give the name of a new, empty table."""
    return create_table(dynamodb)


@pytest.fixture(params=["memory", "dynamodb"])
def ledger(request):
    """Give an empty ledger of either kind."""
    if request.param == "memory":
        return MemoryLedger()
    client = request.getfixturevalue("dynamodb")
    return DynamoDbLedger(table_of(client, create_table(client)))


@pytest.fixture(params=["memory", "dynamodb"])
def catalogue(request):
    """Give an empty catalogue of either kind."""
    if request.param == "memory":
        return MemoryCatalogue()
    client = request.getfixturevalue("dynamodb")
    return DynamoDbCatalogue(table_of(client, create_table(client)))
