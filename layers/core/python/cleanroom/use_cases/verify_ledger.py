"""The full check of a room: every line of its history, and every counter that they must add up to. Changes nothing."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cleanroom.privacy.rho import ZERO_RHO, RhoPrice
from cleanroom.rooms.ledger_audit import Tally, least_rho_of, lies_between, tallies_of
from cleanroom.rooms.ledger_chain import ROOM_CHAIN, ChainHead, first_broken_chain, first_broken_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cleanroom.ports import Ledger
    from cleanroom.privacy.accounting import Price
    from cleanroom.rooms.ledger import BudgetKey, LedgerEntry
    from cleanroom.rooms.ledger_chain import RoomHistory

COUNTERS_KEPT = timedelta(days=390)
"""Counters of windows expire 400 days after their last charge; ten days less, so that none is missed that may go."""

Exported = tuple["LedgerEntry", ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What lines add up to: for each budget and window, and for each budget ever; when each window was last charged.

    Attributes:
        rho: of each budget and window, as far as lines say it.
    """

    windows: Mapping[tuple[BudgetKey, int], Tally]
    ever: Mapping[BudgetKey, Tally]
    last: Mapping[tuple[BudgetKey, int], datetime]
    rho: Mapping[tuple[BudgetKey, int], RhoPrice]


def verify_room(
    room: str, *, ledger: Ledger, now: datetime, exported: Mapping[str, Exported] | None = None
) -> tuple[str, ...]:
    """Return a sentence for each difference in a room; none where everything agrees.

    Counters are read between two readings of the lines: what is charged meanwhile is no difference.

    Args:
        room: which.
        ledger: read only.
        now: UTC.
        exported: chain -> its exported lines from the first on, already verified; the ledger's must begin with them.
    """
    before = ledger.history(room)
    found = _broken(room, before)
    if found:
        return found
    window = ledger.task().window
    least = _spent(before)
    counters = {key: ledger.spending(key, window=window) for key in least.ever}
    of_windows = {
        (key, number): ledger.spending(key, window=number)
        for (key, number), at in least.last.items()
        if now - at < COUNTERS_KEPT
    }
    after = ledger.history(room)
    found = _broken(room, after)
    if found:
        return found
    most = _spent(after)
    differences = []
    for key, spending in counters.items():
        if not lies_between(spending.lifetime, least=least.ever[key].all, most=most.ever[key].all):
            ever = most.ever[key].all
            differences.append(f"{room}, {key.party}: ever spent is {_text(spending.lifetime)}, by lines {_text(ever)}")
    for (key, number), spending in of_windows.items():
        price, rho, least_rho = spending.window, spending.window_rho, least.rho[key, number]
        # A counter may say more than lines do: runs from before rho was counted are worth a whole window there.
        if rho.rho_steps < least_rho.rho_steps or rho.delta_steps < least_rho.delta_steps:
            said, due = json.dumps(rho.as_json()), json.dumps(least_rho.as_json())
            differences.append(f"{room}, {key.party}, window {number}: spent is {said}, by lines {due} or more")
        low, high = least.windows[key, number].metered, most.windows[key, number].metered
        if not lies_between(price, least=low, most=high):
            differences.append(f"{room}, {key.party}, window {number}: spent is {_text(price)}, by lines {_text(high)}")
    return (*differences, *_exported_differences(room, after, exported or {}))


def verify_account(entries: Sequence[LedgerEntry]) -> tuple[str, ...]:
    """Return a sentence where the account's history is not what was written."""
    broken = first_broken_line(entries)
    return () if broken is None else (f"account: line {broken} is not what was written",)


def verify_exported(parts: Sequence[tuple[int, ChainHead, Exported]]) -> tuple[Exported, str | None]:
    """Put the exported parts of one chain together.

    Args:
        parts: number of the first line, the end that was exported with it, and the lines; in order of the first. Parts
            may overlap, where a check was repeated.

    Returns:
        The lines from the first on, as far as they are what was written; and what is wrong after them, if anything.
    """
    whole: list[LedgerEntry] = []
    for first, head, lines in parts:
        if first > len(whole):
            return tuple(whole), f"lines {len(whole)} to {first - 1} are missing"
        known = min(len(whole) - first, len(lines))
        if tuple(whole[first : first + known]) != lines[:known]:
            return tuple(whole), f"line {first} was exported twice, and differently"
        start = ChainHead(count=len(whole), hash=whole[-1].hash) if whole else ChainHead()
        if first + len(lines) != head.count:
            return tuple(whole), f"the part that begins with line {first} is not whole"
        rest = lines[known:]
        broken = first_broken_line(rest, start=start, head=head if rest else None)
        if broken is not None:
            return tuple(whole), f"line {broken} is not what was written"
        whole += rest
    return tuple(whole), None


def _broken(room: str, history: RoomHistory) -> tuple[str, ...]:
    broken = first_broken_chain(history)
    if broken is None:
        foreign = any(line.room != room for line in history.entries)
        return (f"{room}: lines of another room stand in its history",) if foreign else ()
    chain, line = broken
    return (f"{room}, {_chain_text(chain)}: line {line} is not what was written",)


def _exported_differences(room: str, history: RoomHistory, exported: Mapping[str, Exported]) -> list[str]:
    chains: dict[str, list[LedgerEntry]] = defaultdict(list)
    for line in history.entries:
        chains[line.chain].append(line)
    differences = []
    for chain, lines in exported.items():
        if tuple(chains[chain][: len(lines)]) != lines:
            differences.append(f"{room}, {_chain_text(chain)}: the ledger's lines are not those that were exported")
    return differences


def _spent(history: RoomHistory) -> Spent:
    windows: defaultdict[tuple[BudgetKey, int], Tally] = defaultdict(Tally)
    ever: defaultdict[BudgetKey, Tally] = defaultdict(Tally)
    last: dict[tuple[BudgetKey, int], datetime] = {}
    rho: defaultdict[tuple[BudgetKey, int], RhoPrice] = defaultdict(lambda: ZERO_RHO)
    for line in history.entries:
        for one in tallies_of(line):
            windows[one.budget, one.window] += one.tally
            ever[one.budget] += one.tally
            last[one.budget, one.window] = line.at
            rho[one.budget, one.window] += least_rho_of(line)
    return Spent(windows=windows, ever=ever, last=last, rho=rho)


def _chain_text(chain: str) -> str:
    return "the room's own chain" if chain == ROOM_CHAIN else f"chain {chain}"


def _text(price: Price) -> str:
    return json.dumps(price.as_json())
