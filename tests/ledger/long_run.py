"""Many random commands against the model: `python -m tests.ledger.long_run --commands 1000000 [--dynamodb]`.

The same commands and checks as the tests', chosen by a seeded generator instead of by hypothesis: nothing is shrunk,
and more are tried a second. Prints what was done; ends with an error at the first difference, with the commands that
led there.
"""

import argparse
import random
import time

import boto3
from moto import mock_aws

from cleanroom.adapters.memory_ledger import MemoryLedger
from tests.ledger.dynamodb_world import DynamoDbWorld
from tests.ledger.faults import FlakyLedger
from tests.ledger.world import COMMANDS, World

EPISODE = 50
"""Commands before a new, empty account: what a check costs grows with the history."""
WEIGHTS = {"charge": 8, "charge_many": 2, "finish": 8, "execute": 3, "release": 3, "charge_overtaken": 2, "set_task": 2}


def memory_world(ledger=None, releases=None):
    """A world over the twin in memory, or over another ledger of its kind."""
    stored = ledger or MemoryLedger()
    line = FlakyLedger(stored)
    return World(line, line, stored, releases)


def chosen(rng):
    """Return a command and its arguments, at random."""
    name = rng.choices(list(COMMANDS), [WEIGHTS.get(name, 1) for name in COMMANDS])[0]
    return name, {argument: rng.choice(values) for argument, values in COMMANDS[name].items()}


def episode(rng, world, *, commands):
    """Run random commands on a world; an AssertionError tells which led to a difference."""
    done = []
    try:
        for _ in range(commands):
            done.append(chosen(rng))
            world.run(*done[-1])
        world.conclude()
    except AssertionError as error:
        error.add_note("after: " + "\n".join(f"{name}({arguments})" for name, arguments in done))
        raise
    return world


def main():
    """Run as many commands as asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dynamodb", action="store_true", help="the adapter on moto instead of the twin in memory")
    options = parser.parse_args()
    began, totals, number = time.monotonic(), dict.fromkeys(("commands", "faults", "unknown", "runs", "answers"), 0), 0
    while totals["commands"] < options.commands:
        rng = random.Random(f"{options.seed}/{number}")
        if options.dynamodb:
            with mock_aws():
                world = DynamoDbWorld(boto3.client("dynamodb", region_name="us-east-1"))
                episode(rng, world, commands=EPISODE)
        else:
            world = episode(rng, memory_world(), commands=EPISODE)
        number += 1
        totals["commands"] += world.commands
        totals["faults"] += world.line.met
        totals["unknown"] += world.unknown
        totals["runs"] += len(world.model.runs)
        totals["answers"] += len(world.answers)
        if number % (10 if options.dynamodb else 1000) == 0:
            print(f"{totals}, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{totals}, seed {options.seed}, {number} accounts, {time.monotonic() - began:.0f} s: no difference")


if __name__ == "__main__":
    main()
