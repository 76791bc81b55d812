"""What one run costs in operations: every call of the real adapters to DynamoDB, S3 and KMS is counted, on moto.

docs/ledger.md says the same numbers; the last test reads them there.
"""

import re
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from cleanroom.adapters.duckdb_engine import DuckDbEngine
from cleanroom.adapters.dynamodb_audit import DynamoDbAuditTrail
from cleanroom.adapters.dynamodb_catalogue import DynamoDbCatalogue
from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from cleanroom.adapters.dynamodb_signals import DynamoDbSignals
from cleanroom.adapters.exact_store import S3ExactStore
from cleanroom.adapters.memory import parquet_bytes
from cleanroom.adapters.parquet_tables import ParquetTableStore
from cleanroom.adapters.pinned_s3 import S3Objects
from cleanroom.adapters.receipt_signer import KmsReceiptSigner
from cleanroom.adapters.release_store import S3ReleaseStore
from cleanroom.rooms.ledger import BudgetKey
from tests.contract.ledgers import create_table, table_of
from tests.house import BY_CARRIER, FLEET, FLIGHTS, House, furnish

REPLAY_OPERATIONS = 9
"""Single operations on the ledger's table for a release that is given again."""
DOCS = Path(__file__).parents[2] / "docs" / "ledger.md"


class Counted:
    """Clients that note every request that they send: service, operation, and the table or bucket that it is for."""

    def __init__(self):
        self.session = boto3.Session(region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
        self.sent = []

    def client(self, service):
        made = self.session.client(service)
        made.meta.events.register("provide-client-params.*.*", self.note)
        return made

    def note(self, params, model, **_):
        whole = str(params)
        where = params.get("TableName") or params.get("Bucket") or ("" if "TransactItems" not in params else whole)
        if "RequestItems" in params:
            (where,) = params["RequestItems"]
        self.sent.append((model.service_model.service_name, model.name, where))

    def of(self, service, where=""):
        return Counter(name for sent, name, to in self.sent if sent == service and where in to)


class AwsHouse(House):
    """The deployment over the adapters of AWS, of which only Lambda, SQS and the schedule are twins."""

    def __init__(self, counted):
        super().__init__()
        dynamodb, s3, kms = (counted.client(service) for service in ("dynamodb", "s3", "kms"))
        self.counted = counted
        self.ledger_table, catalogue_table = create_table(dynamodb), create_table(dynamodb)
        buckets = {name: f"{name}-{uuid.uuid4().hex}" for name in ("tables", "exact", "results")}
        for bucket in buckets.values():
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=buckets["tables"], VersioningConfiguration={"Status": "Enabled"})
        for name, table in (("airline/flights", FLIGHTS), ("agency/fleet", FLEET)):
            s3.put_object(Bucket=buckets["tables"], Key=f"{name}/0.parquet", Body=parquet_bytes(table))
        exact_key = kms.create_key()["KeyMetadata"]["Arn"]
        receipt_key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        objects = S3Objects(s3, bucket=buckets["tables"])
        self.ledger = DynamoDbLedger(table_of(dynamodb, self.ledger_table))
        shared = {
            "ledger": self.ledger,
            "catalogue": DynamoDbCatalogue(table_of(dynamodb, catalogue_table)),
        }
        signals = DynamoDbSignals(table_of(dynamodb, self.ledger_table))
        audit = DynamoDbAuditTrail(table_of(dynamodb, self.ledger_table))
        exact = S3ExactStore(s3=s3, kms=kms, bucket=buckets["exact"], key_arn=exact_key)
        tables = ParquetTableStore(objects, labels=self.rooms.tables._labels)
        self.rooms = replace(self.rooms, **shared, audit=audit, tables=tables)
        self.runs = replace(
            self.runs, **shared, tables=tables, engine=DuckDbEngine(objects), exact=exact, signals=signals
        )
        self.noises = replace(
            self.noises,
            **shared,
            exact=exact,
            signals=signals,
            releases=S3ReleaseStore(s3, bucket=buckets["results"]),
            signer=KmsReceiptSigner(kms, key_arn=receipt_key),
        )
        self.buckets = buckets


@pytest.fixture(scope="module")
def house():
    """Give a room on moto in which one run was made, so that chain, window and key are there."""
    with mock_aws():
        made = furnish(AwsHouse(Counted()), settings={"differential": 1, "epsilon": 1.0, "privacy_budget": 100})
        made("agency", "consumer", "run_analysis", **BY_CARRIER)
        yield made


@pytest.fixture
def counted(house):
    """Run once, and give what was sent."""
    house.clock.advance(seconds=1)
    before = house.ledger.spending(BudgetKey(room="room", party="agency"), window=0).lifetime
    house.counted.sent.clear()
    answer = house("agency", "consumer", "run_analysis", **BY_CARRIER)
    assert answer["state"] == "released"
    sent = list(house.counted.sent)
    after = house.ledger.spending(BudgetKey(room="room", party="agency"), window=0).lifetime
    assert after.micro_epsilon - before.micro_epsilon == 2_000_000
    house.counted.sent = sent
    return house.counted


def documented():
    """Return the table of docs/ledger.md: (service, operation) -> times."""
    block = re.search(r"<!-- counted: operations -->(.*?)<!-- end: operations -->", DOCS.read_text(), re.DOTALL)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block[1].strip().splitlines()[2:]]
    return {(service, operation): int(times) for service, operation, times, _ in rows}


def test_one_run_takes_exactly_the_operations_that_are_documented(house, counted):
    """Cost: on the ledger's table two transactions and few single operations; one data key for the one object."""
    found = {("ledger table", name): times for name, times in counted.of("dynamodb", house.ledger_table).items()}
    found |= {("KMS", name): times for name, times in counted.of("kms").items() if name != "GetPublicKey"}
    found |= {("S3", name): times for name, times in counted.of("s3").items()}
    assert found == documented()


def test_a_run_takes_two_transactions_and_one_data_key(house, counted):
    on_ledger = counted.of("dynamodb", house.ledger_table)
    assert on_ledger["TransactWriteItems"] == 2
    assert "Scan" not in on_ledger
    assert counted.of("kms")["GenerateDataKey"] == counted.of("s3", house.buckets["exact"])["PutObject"] == 1


def test_a_run_id_of_the_callers_is_looked_up_first(house, counted):
    """It may be a retry; an id that was drawn for the call cannot be."""
    singles = counted.of("dynamodb", house.ledger_table)
    house.counted.sent = []
    house.clock.advance(seconds=1)
    house("agency", "consumer", "run_analysis", **BY_CARRIER, replay="never", run_id="of-the-caller")
    assert house.counted.of("dynamodb", house.ledger_table) == singles + Counter({"GetItem": 1})


def test_a_replay_takes_what_is_documented_and_touches_neither_rows_nor_exact_integers(house):
    """B-50: two transactions that charge nothing, nothing of the exact bucket, and of the tables a listing alone."""
    house("agency", "consumer", "run_analysis", **BY_CARRIER)
    house.counted.sent.clear()
    answer = house("agency", "consumer", "run_analysis", **BY_CARRIER, replay="only")
    assert answer["replayed_from"]
    on_ledger = house.counted.of("dynamodb", house.ledger_table)
    assert on_ledger.pop("TransactWriteItems") == 2
    assert on_ledger.total() == REPLAY_OPERATIONS
    assert f"take {REPLAY_OPERATIONS} single operations and 2 transactions" in re.sub(r"\s+", " ", DOCS.read_text())
    assert "GenerateDataKey" not in house.counted.of("kms")
    assert set(house.counted.of("s3", house.buckets["exact"])) <= {"DeleteObject"}


def test_every_request_is_counted(house):
    """The count can fail: an operation of any client is seen, with the table it is for."""
    house.counted.sent.clear()
    house.ledger.run("none")
    house.ledger.stuck_runs(at=house.clock.now())
    assert house.counted.of("dynamodb", house.ledger_table) == {"GetItem": 1, "Query": 8}
