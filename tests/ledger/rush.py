"""Many runs at once against one budget, on the emulated DynamoDB: `python -m tests.ledger.rush [--whole] [--payers 2]`.

Without options: 1,000 runs by 16 workers against a budget of 10 at 0.1 each, 20 times over, each on a table of its own.
Each run is charged, executed and released through the adapter that is deployed, and its answer is a fresh number that
is stored if there is none. `--whole` sends whole requests instead, over HTTP events through use cases and engine, with
the ledger on the emulated service and all other stores in memory. Whoever is told that the ledger is busy repeats the
same call, as callers do.
"""

import argparse
import itertools
import logging
import os
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from botocore.config import Config

from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from cleanroom.adapters.memory import MemoryReleaseStore
from cleanroom.adapters.system import SystemEntropy
from cleanroom.errors import BusyError, CleanRoomError
from cleanroom.privacy.accounting import Price
from cleanroom.rooms.ledger import BudgetKey, RunState
from cleanroom.rooms.ledger_chain import first_broken_chain
from local.emulator import start_emulator
from tests.contract.ledgers import KEY, NOON, OTHER_KEY, charge, create_table, table_of
from tests.house import furnished

PRICE = 100_000
MOST_REPEATS = 50
TOTAL = {
    "cleanroom_name": "room",
    "template_name": "total",
    "provider_tables": ["flights"],
    "arguments": {"carrier": "AA"},
}


@dataclass
class Rush:
    """What came of many runs at once."""

    outcomes: Counter
    answers: set
    repeats: int
    seconds: float
    slowest_seconds: float


def rush(ledger, *, runs, workers, limit, budgets=(KEY,)):
    """Charge, execute and release so many runs at once against budgets of `limit` micro-epsilon each."""
    releases, drawn, repeats = MemoryReleaseStore(), itertools.count(), itertools.count()

    def patiently(call):
        for attempt in range(MOST_REPEATS):
            try:
                return call()
            except BusyError:
                next(repeats)
                if attempt == MOST_REPEATS - 1:
                    raise

    def one(number):
        run_id = f"run-{number}"
        given = {
            "budgets": budgets,
            "price": Price(micro_epsilon=PRICE, delta_steps=0),
            "limit_micro_epsilon": (limit,) * len(budgets),
        }
        try:
            patiently(lambda: ledger.charge(charge(run_id, **given)))
        except CleanRoomError as refusal:
            return refusal.code, None
        patiently(lambda: ledger.advance(run_id, to=RunState.EXECUTED, at=NOON))
        answer = releases.put_if_absent(party="consumer", run_id=run_id, release=b"%d" % next(drawn))
        patiently(lambda: ledger.advance(run_id, to=RunState.RELEASED, at=NOON))
        return "answered", answer

    return _rushed(one, runs=runs, workers=workers, repeats=repeats)


def rush_whole(ledger, *, runs, workers, budget=10):
    """Send so many whole requests of 0.1 epsilon at once to a deployment whose ledger is the given one."""
    house, repeats = furnished(entropy=SystemEntropy()), itertools.count()
    house.ledger = ledger
    for services in ("rooms", "runs", "noises", "tasks"):
        setattr(house, services, replace(getattr(house, services), ledger=ledger))
    settings = {"differential": 1, "epsilon": 0.1, "privacy_budget": budget}
    house("airline", "provider", "add_consumers", cleanroom_name="room", consumer_names=["agency"],
          privacy_settings=settings)  # fmt: skip

    def one(number):
        for _ in range(MOST_REPEATS):
            status, answer = house.ask("agency", "consumer", "run_analysis", **TOTAL, run_id=f"whole-{number:06}")
            if status != 429:
                break
            next(repeats)
        if status == 200:
            return "answered", (answer["run_id"], answer["rows"][0][0])
        return answer["error"]["code"], None

    return _rushed(one, runs=runs, workers=workers, repeats=repeats)


def _rushed(one, *, runs, workers, repeats):
    def timed(number):
        began = time.monotonic()
        return *one(number), time.monotonic() - began

    began = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        done = list(pool.map(timed, range(runs)))
    return Rush(
        outcomes=Counter(outcome for outcome, _, _ in done),
        answers={answer for _, answer, _ in done if answer is not None},
        repeats=next(repeats),
        seconds=time.monotonic() - began,
        slowest_seconds=max(took for _, _, took in done),
    )


def check(found, ledger, *, runs, granted, budgets=(KEY,)):
    """Exactly as many answers as fit, all others refused, and a ledger that says so to the unit."""
    room = budgets[0].room
    assert found.outcomes == {"answered": granted, "budget_exhausted": runs - granted}, found.outcomes
    assert len(found.answers) == granted
    history = ledger.history(room)
    assert first_broken_chain(history) is None
    lines = [line for line in history.entries if line.kind == "charge"]
    assert len(lines) == granted * len(budgets)
    assert len({line.run_id for line in lines}) == granted
    for key in budgets:
        spending = ledger.spending(key, window=0)
        assert spending.window.micro_epsilon == spending.lifetime.micro_epsilon == granted * PRICE
        assert spending.unfinished == 0


def quietly():
    """Set what the doors read from their environment, and leave out their log: for commands, tests have it set."""
    os.environ.setdefault("PARTY_CLAIM", "custom:party")
    logging.disable(logging.CRITICAL)


def main():
    """Rush so often, and print what came of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--payers", type=int, choices=(1, 2), default=1)
    parser.add_argument("--whole", action="store_true", help="whole requests instead of charges")
    options = parser.parse_args()
    quietly()
    with tempfile.TemporaryDirectory() as folder, start_emulator(folder=Path(folder)) as aws:
        client = aws.client("dynamodb", config=Config(max_pool_connections=32))
        for number in range(1, options.rounds + 1):
            ledger = DynamoDbLedger(table_of(client, create_table(client)))
            if options.whole:
                budgets = (BudgetKey(room="room", party="agency"),)
                found = rush_whole(ledger, runs=options.runs, workers=options.workers)
            else:
                budgets = (KEY, OTHER_KEY)[: options.payers]
                found = rush(ledger, runs=options.runs, workers=options.workers, limit=100 * PRICE, budgets=budgets)
            check(found, ledger, runs=options.runs, granted=100, budgets=budgets)
            print(
                f"{number}: {dict(found.outcomes)}, {len(budgets)} payer(s), {found.repeats} repeated for busy,"
                f" {found.seconds:.1f} s, slowest run {found.slowest_seconds:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
