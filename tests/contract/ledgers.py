"""What the contract tests of the ledger share: charges to make, tables, and a client that loses replies."""

import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from cleanroom.adapters.dynamodb import Table
from cleanroom.privacy.accounting import Price
from cleanroom.rooms.ledger import BudgetKey, Charge, RoomBudgetRecord, RunState
from cleanroom.rooms.replays import Answer

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = BudgetKey(room="flights", party="consumer")
OTHER_KEY = BudgetKey(room="flights", party="provider")


def charge(run_id: str = "run-1", **changes: Any) -> Charge:
    """Return a charge of 0.1 epsilon against a limit of 1; `price` and `lifetime_limit` are for each budget alike."""
    price = changes.pop("price", Price(micro_epsilon=100_000, delta_steps=7))
    lifetime_limit = changes.pop("lifetime_limit", None)
    count = len(changes.get("budgets", (KEY,)))
    given: dict[str, Any] = {
        "run_id": run_id,
        "request_digest": f"request of {run_id}",
        "plan_digest": "plan",
        "budgets": (KEY,),
        "prices": (price,) * count,
        "limit_micro_epsilon": (1_000_000,) * count,
        "lifetime_limit_micro_epsilon": (lifetime_limit,) * count,
        "settings_versions": (0,) * count,
        "room_budget": RoomBudgetRecord(),
        "window": 0,
        "unmetered": False,
        "room": "flights",
        "party": "consumer",
        "template": "count_planes",
        "table_versions": (("provider.flights", "digest"),),
        "at": NOON,
    }
    return Charge(**(given | changes))


def release(ledger: Any, run_id: str, *, answer: Answer | None = None) -> None:
    """Charge a run and bring it to its end."""
    ledger.charge(charge(run_id, price=Price(micro_epsilon=1, delta_steps=0)))
    ledger.advance(run_id, to=RunState.EXECUTED, at=NOON)
    ledger.advance(run_id, to=RunState.RELEASED, at=NOON, answer=answer)


def charge_lines(ledger: Any, room: str = "flights") -> list[Any]:
    """Return the lines of a room's history that charges wrote; the room's own chain also has one for each new chain."""
    return [entry for entry in ledger.entries(room) if entry.kind == "charge"]


def create_table(client: Any) -> str:
    """Make a table as template.yaml has it, and return its name."""
    name = f"contract-{uuid.uuid4().hex}"
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
            {"AttributeName": "open", "AttributeType": "S"},
            {"AttributeName": "charged_at", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "open-runs",
                "KeySchema": [
                    {"AttributeName": "open", "KeyType": "HASH"},
                    {"AttributeName": "charged_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def table_of(client: Any, name: str, **changes: Any) -> Table:
    """Return the table as production has it."""
    given: dict[str, Any] = {"sleep": time.sleep, "jitter": random.random}
    return Table(client=client, name=name, **(given | changes))


@dataclass
class FaultyClient:
    """A DynamoDB client that fails as told, one fault per call; the emulated service itself never does.

    Attributes:
        client: the working one.
        faults: what the next calls of `operations` meet, in order: None for nothing, `throttle`, `conflict` and
            `fail` before anything is applied, `lost` after.
        forgets_tokens: whether the service shall not know a transaction again.
        sent: the keyword arguments of every call, by operation.
    """

    client: Any
    faults: list[str | None] = field(default_factory=list)
    operations: tuple[str, ...] = ("transact_write_items", "update_item", "put_item")
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    forgets_tokens: bool = False
    before: Callable[[str], None] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.client, name)
        if name == "exceptions":
            return real

        def call(**request: Any) -> Any:
            with self.lock:
                self.sent.append((name, request))
                fault = self.faults.pop(0) if self.faults and name in self.operations else None
            if self.before is not None:
                self.before(name)
            if fault == "throttle":
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, name)
            if fault == "fail":
                status = {"HTTPStatusCode": 500}
                raise ClientError({"Error": {"Code": "InternalServerError"}, "ResponseMetadata": status}, name)
            if fault == "conflict":
                reasons = [{"Code": "None"} for _ in request["TransactItems"]]
                reasons[-1] = {"Code": "TransactionConflict"}
                raise real.__self__.exceptions.TransactionCanceledException(
                    {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}, name
                )
            if self.forgets_tokens:
                request.pop("ClientRequestToken", None)
            answer = real(**request)
            if fault == "lost":
                raise ReadTimeoutError(endpoint_url="lost")
            return answer

        return call
