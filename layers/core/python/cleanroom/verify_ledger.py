"""Command: verify histories against the counters, in the ledger and in exported copies. `docs/operations.md` says when.

`python -m cleanroom.verify_ledger --table NAME [--room ROOM ...] [--export FOLDER]`, or `--export FOLDER`, offline.
It reads with the rights of whoever calls it, and writes nothing. It ends with 0 where everything agrees, else with 1.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cleanroom.rooms.ledger import LedgerEntry
from cleanroom.rooms.ledger_chain import ChainHead
from cleanroom.use_cases.verify_ledger import verify_account, verify_exported, verify_room

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cleanroom.adapters.dynamodb import Table
    from cleanroom.use_cases.verify_ledger import Exported


def main(arguments: Sequence[str] | None = None, *, table_of: Callable[[str], Table] | None = None) -> int:
    """Verify what the arguments name; return 0 where everything agrees, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m cleanroom.verify_ledger", description=__doc__)
    parser.add_argument("--table", help="the ledger's table: output LedgerTableName of the stack")
    parser.add_argument("--room", action="append", default=[], help="only this clean room; may be repeated")
    parser.add_argument("--export", type=Path, help="a folder with copies of exported histories")
    asked = parser.parse_args(arguments)
    if asked.table is None and asked.export is None:
        parser.error("name --table, --export or both")
    differences: list[str] = []
    exported: dict[tuple[str | None, str], Exported] = {}
    if asked.export is not None:
        exported, differences = read_exports(asked.export)
        _say(f"{len(exported)} exported chains, {sum(map(len, exported.values()))} lines")
    if asked.table is not None:
        differences += _verify_table((table_of or _table)(asked.table), asked.room, exported)
    for difference in differences:
        _say(f"DIFFERENCE: {difference}")
    _say("everything agrees" if not differences else f"{len(differences)} differences")
    return 1 if differences else 0


def _verify_table(table: Table, rooms: Sequence[str], exported: dict[tuple[str | None, str], Exported]) -> list[str]:
    # Here, not above: exports are verified offline, without AWS.
    from cleanroom.adapters.dynamodb_audit import rooms_with_history
    from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger

    ledger, now = DynamoDbLedger(table), datetime.now(UTC)
    differences: list[str] = []
    if not rooms:
        differences += verify_account(ledger.account_entries())
    for room in rooms or rooms_with_history(table):
        of_room = {chain: lines for (name, chain), lines in exported.items() if name == room}
        found = verify_room(room, ledger=ledger, now=now, exported=of_room)
        _say(f"{room}: {'agrees' if not found else 'differs'}")
        differences += found
    return differences


def read_exports(folder: Path) -> tuple[dict[tuple[str | None, str], Exported], list[str]]:
    """Read and verify copies of exported histories.

    Returns:
        (room or None for the account, chain) -> lines, as far as they are what was written; and the differences.
    """
    parts: defaultdict[tuple[str | None, str], list[tuple[int, ChainHead, Exported]]] = defaultdict(list)
    differences = []
    for path in sorted(folder.rglob("*.jsonl")):
        try:
            *lines, last = [json.loads(line) for line in path.read_bytes().splitlines()]
            head = last["head"]
            entries = tuple(msgspec.convert(line, LedgerEntry) for line in lines)
            end = ChainHead(count=int(head["count"]), hash=str(head["hash"]))
            parts[head["room"], str(head["chain"])].append((int(path.stem.partition("-")[0]), end, entries))
        except (ValueError, TypeError, KeyError, msgspec.MsgspecError):
            differences.append(f"{path.name}: not an exported history")
    exported = {}
    for (room, chain), found in parts.items():
        lines_of_chain, wrong = verify_exported(sorted(found, key=lambda part: (part[0], part[1].count)))
        exported[room, chain] = lines_of_chain
        if wrong is not None:
            differences.append(f"exported {room or 'account'}, chain {chain!r}: {wrong}")
    return exported, differences


def _table(name: str) -> Table:
    import boto3

    from cleanroom.adapters.dynamodb import Table as DynamoDbTable

    return DynamoDbTable(client=boto3.client("dynamodb"), name=name, sleep=time.sleep, jitter=random.random)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
