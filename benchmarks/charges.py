"""benchmarks: charges through the deployed adapter on the emulated DynamoDB, beside bare conditional updates."""

from __future__ import annotations

import itertools
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.config import Config

from benchmarks.measure import Spread, Timed, interleaved, paired_ratio, timed
from cleanroom.adapters.dynamodb import Table
from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from cleanroom.errors import BusyError
from cleanroom.privacy.accounting import Price
from cleanroom.rooms.ledger import BudgetKey, Charge, RoomBudgetRecord
from local.emulator import start_emulator

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = 8
CALLS = 96
"""Of each kind in each round: enough for a tail, few enough that the history stays short."""
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """Charges beside bare updates, each called in the same way; per second, and seconds of one call.

    Attributes:
        how: one after another, or by how many workers on what.
        ours_rate, bare_rate, rate_ratio: calls per second, over the rounds.
        ours_p50, bare_p50, p50_ratio, ours_p99, bare_p99, p99_ratio: seconds of one call, over the rounds.
    """

    how: str
    ours_rate: Spread
    bare_rate: Spread
    rate_ratio: Spread
    ours_p50: Spread
    bare_p50: Spread
    p50_ratio: Spread
    ours_p99: Spread
    bare_p99: Spread
    p99_ratio: Spread


def compare(*, rounds: int) -> list[Compared]:
    """Start an emulator, and time both in turn: alone, by many on a budget or item each, by many on one together."""
    with tempfile.TemporaryDirectory() as folder, start_emulator(folder=Path(folder)) as aws:
        client = aws.client("dynamodb", config=Config(max_pool_connections=2 * WORKERS))
        ledger = DynamoDbLedger(
            Table(client=client, name=_created(client), sleep=time.sleep, jitter=random.random, attempts=60)
        )
        bare_table = _created(client)
        numbers = itertools.count()

        def charge(party: str) -> None:
            run_id = f"run-{next(numbers)}"
            try:
                ledger.charge(_charge(run_id, party))
            except BusyError:  # as a caller does
                ledger.charge(_charge(run_id, party))

        def bare(party: str) -> None:
            client.update_item(
                TableName=bare_table,
                Key={"pk": {"S": party}, "sk": {"S": "WINDOW"}},
                UpdateExpression="ADD #spent :price",
                ConditionExpression="attribute_not_exists(#spent) OR #spent <= :at_most",
                ExpressionAttributeNames={"#spent": "spent"},
                ExpressionAttributeValues={":price": {"N": "1"}, ":at_most": {"N": "1000000000"}},
            )

        ways = [
            ("one after another", 1, "alone"),
            (f"{WORKERS} workers, a budget each", WORKERS, "each"),
            (f"{WORKERS} workers, one budget", WORKERS, "together"),
        ]
        return [_compared(how, charge, bare, workers, whose, rounds=rounds) for how, workers, whose in ways]


def _compared(
    how: str, charge: Callable[[str], None], bare: Callable[[str], None], workers: int, whose: str, *, rounds: int
) -> Compared:
    waited: dict[str, list[list[float]]] = {"ours": [], "bare": []}

    def subject(name: str, call: Callable[[str], None]) -> Callable[[], Timed]:
        def one(number: int) -> float:
            # Workers take calls in turn; each budget or item of `each` belongs to one in so many calls.
            party = f"party-{number % workers}" if whose == "each" else f"{whose}-party"
            return timed(lambda: call(party)).wall_seconds

        def run() -> Timed:
            with ThreadPoolExecutor(workers) as pool:
                found: list[float] = []
                took = timed(lambda: found.extend(pool.map(one, range(CALLS))))
            waited[name].append(found)
            return took

        return run

    taken = interleaved({"ours": subject("ours", charge), "bare": subject("bare", bare)}, rounds=rounds)
    rate = {name: [CALLS / t.wall_seconds for t in times] for name, times in taken.items()}
    # The first round is dropped, as `interleaved` drops it.
    p50 = {name: [_share(calls, 0.50) for calls in rounds_[1:]] for name, rounds_ in waited.items()}
    p99 = {name: [_share(calls, 0.99) for calls in rounds_[1:]] for name, rounds_ in waited.items()}
    return Compared(
        how=how,
        ours_rate=Spread.of(rate["ours"]),
        bare_rate=Spread.of(rate["bare"]),
        rate_ratio=paired_ratio(rate["ours"], rate["bare"]),
        ours_p50=Spread.of(p50["ours"]),
        bare_p50=Spread.of(p50["bare"]),
        p50_ratio=paired_ratio(p50["ours"], p50["bare"]),
        ours_p99=Spread.of(p99["ours"]),
        bare_p99=Spread.of(p99["bare"]),
        p99_ratio=paired_ratio(p99["ours"], p99["bare"]),
    )


def _share(calls: list[float], share: float) -> float:
    """Return the smallest time that this share of the calls does not exceed."""
    return sorted(calls)[min(len(calls) - 1, int(share * len(calls)))]


def _charge(run_id: str, party: str) -> Charge:
    """Return a charge of delta alone: it writes what any charge writes, and is not one of 20 unfinished runs."""
    return Charge(
        run_id=run_id,
        request_digest=f"{run_id:64}",
        plan_digest="0" * 64,
        budgets=(BudgetKey(room="benchmark", party=party),),
        prices=(Price(micro_epsilon=0, delta_steps=1),),
        limit_micro_epsilon=(10_000_000,),
        lifetime_limit_micro_epsilon=(None,),
        settings_versions=(0,),
        room_budget=RoomBudgetRecord(),
        window=0,
        unmetered=False,
        room="benchmark",
        party=party,
        template="count_planes",
        table_versions=(("airline.flights", "0" * 64),),
        at=NOON,
    )


def _created(client: Any) -> str:
    """Make a table with the ledger's keys and index, and return its name."""
    name = f"charges-{random.randrange(10**9)}"
    keys = [("pk", "HASH"), ("sk", "RANGE")]
    index = [("open", "HASH"), ("charged_at", "RANGE")]
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in keys + index],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "open-runs",
                "KeySchema": [{"AttributeName": key, "KeyType": kind} for key, kind in index],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return name
