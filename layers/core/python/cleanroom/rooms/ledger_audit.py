"""What the histories of a room say was spent, and where the counters that limits stand on say otherwise. Pure.

Sums are folded line by line from where the last check ended, so that a check costs what is new.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cleanroom.privacy.accounting import ZERO_PRICE, Price
from cleanroom.privacy.rho import ZERO_RHO, RhoPrice
from cleanroom.rooms.ledger import ALL_CUSTOM_TEMPLATES, BudgetKey, LedgerEntry
from cleanroom.rooms.ledger_chain import ROOM_CHAIN, ChainHead, first_broken_line, head_after, key_of_chain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CHARGE_KIND = "charge"
"""Kind of the lines that cost something; all others are changes of settings, parties, tables, templates or the task."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What lines add up to, for one budget.

    Attributes:
        metered: what counts against limits of windows.
        unmetered: what was spent while the task was suspended.
        runs: charged runs, unmetered ones included.
        unmetered_runs: how many of them were unmetered.
    """

    metered: Price = ZERO_PRICE
    unmetered: Price = ZERO_PRICE
    runs: int = 0
    unmetered_runs: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            metered=self.metered + other.metered,
            unmetered=self.unmetered + other.unmetered,
            runs=self.runs + other.runs,
            unmetered_runs=self.unmetered_runs + other.unmetered_runs,
        )

    @property
    def all(self) -> Price:
        """All that was spent: what the lifetime counter must say."""
        return self.metered + self.unmetered


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowTally:
    """What one budget has spent in one window."""

    budget: BudgetKey
    window: int
    tally: Tally


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetTally:
    """What one budget has spent in all windows before those that a checkpoint still keeps apart."""

    budget: BudgetKey
    tally: Tally


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """How far one history was verified, and what its lines add up to until there.

    Attributes:
        count, hash: the end of what was verified, as `ChainHead` has it.
        last_at: time of the last verified line, as text; empty before the first.
        closed: sums over windows whose statements are written.
        windows: sums of later windows, each apart.
    """

    count: int = 0
    hash: str = field(default_factory=lambda: ChainHead().hash)
    last_at: str = ""
    closed: tuple[BudgetTally, ...] = ()
    windows: tuple[WindowTally, ...] = ()

    @property
    def head(self) -> ChainHead:
        """The end of what was verified."""
        return ChainHead(count=self.count, hash=self.hash)


class BrokenChainError(Exception):
    """A history is not what was written.

    Attributes:
        line: number of the first line that is changed, missing, added, out of place or unreadable.
    """

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line} of a history is not what was written")
        self.line = line


def verified(checkpoint: Checkpoint, lines: Sequence[LedgerEntry], *, head: ChainHead) -> Checkpoint:
    """Return the checkpoint moved over `lines`, which must lead from it to `head`.

    Raises:
        BrokenChainError: they do not, or a charge among them cannot be read.
    """
    broken = first_broken_line(lines, start=checkpoint.head, head=head)
    if broken is not None:
        raise BrokenChainError(broken)
    windows = {(one.budget, one.window): one.tally for one in checkpoint.windows}
    end = checkpoint.head
    for line in lines:
        try:
            for spent in tallies_of(line):
                key = (spent.budget, spent.window)
                windows[key] = windows.get(key, Tally()) + spent.tally
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenChainError(end.count) from error
        end = head_after(end, line)
    return replace(
        checkpoint,
        count=end.count,
        hash=end.hash,
        last_at=lines[-1].at.isoformat() if lines else checkpoint.last_at,
        windows=_sorted_windows(windows),
    )


def tallies_of(line: LedgerEntry) -> tuple[WindowTally, ...]:
    """Return what a line costs its chain's budget; nothing for a line that is no charge.

    Charges of the older form stand in the room's own chain, and cost each budget that they name the same.

    Raises:
        KeyError, TypeError, ValueError: a charge that cannot be read.
    """
    if line.kind != CHARGE_KIND:
        return ()
    body: dict[str, Any] = json.loads(line.body)
    price, is_unmetered = Price(**body["price"]), body["unmetered"]
    if not isinstance(is_unmetered, bool) or type(body["window"]) is not int:
        raise ValueError("a charge says whether it was unmetered, and in which window it was")
    tally = Tally(
        metered=ZERO_PRICE if is_unmetered else price,
        unmetered=price if is_unmetered else ZERO_PRICE,
        runs=1,
        unmetered_runs=int(is_unmetered),
    )
    named = tuple(BudgetKey(room=one["room"], party=one["party"], template=one["template"]) for one in body["budgets"])
    if line.chain != ROOM_CHAIN:
        own = key_of_chain(line.room, line.chain)
        if own not in named:
            raise ValueError("a charge names the budget whose chain it is in")
        named = (own,)
    return tuple(WindowTally(budget=budget, window=body["window"], tally=tally) for budget in named)


def least_rho_of(line: LedgerEntry) -> RhoPrice:
    """Return what a line says that its chain's budget has spent of its window in rho, at least.

    Zero for a line that is no charge, that is unmetered, or that was written before rho was counted.

    Raises:
        KeyError, TypeError, ValueError: a charge that cannot be read.
    """
    if line.kind != CHARGE_KIND:
        return ZERO_RHO
    body: dict[str, Any] = json.loads(line.body)
    return ZERO_RHO if body["unmetered"] or "rho_price" not in body else RhoPrice(**body["rho_price"])


def without_closed(checkpoint: Checkpoint, *, closed_through: int) -> Checkpoint:
    """Return the checkpoint with windows up to `closed_through` added up into one sum for each budget."""
    closed = {one.budget: one.tally for one in checkpoint.closed}
    for one in checkpoint.windows:
        if one.window <= closed_through:
            closed[one.budget] = closed.get(one.budget, Tally()) + one.tally
    return replace(
        checkpoint,
        closed=tuple(BudgetTally(budget=budget, tally=closed[budget]) for budget in sorted(closed, key=budget_order)),
        windows=tuple(one for one in checkpoint.windows if one.window > closed_through),
    )


def in_window(checkpoints: Iterable[Checkpoint], window: int) -> Mapping[BudgetKey, Tally]:
    """Return what each budget has spent in a window that is not added up yet, over all histories of a room."""
    found: dict[BudgetKey, Tally] = {}
    for checkpoint in checkpoints:
        for one in checkpoint.windows:
            if one.window == window:
                found[one.budget] = found.get(one.budget, Tally()) + one.tally
    return found


def through_window(checkpoints: Iterable[Checkpoint], window: int) -> Mapping[BudgetKey, Tally]:
    """Return what each budget has spent up to the end of `window`, ever, over all histories of a room."""
    found: dict[BudgetKey, Tally] = {}
    for checkpoint in checkpoints:
        parts = [(one.budget, one.tally) for one in checkpoint.closed]
        parts += [(one.budget, one.tally) for one in checkpoint.windows if one.window <= window]
        for budget, tally in parts:
            found[budget] = found.get(budget, Tally()) + tally
    return found


def ever(checkpoints: Iterable[Checkpoint]) -> Mapping[BudgetKey, Tally]:
    """Return what each budget has spent by all verified lines."""
    known = tuple(checkpoints)
    last = max((one.window for checkpoint in known for one in checkpoint.windows), default=0)
    return through_window(known, last)


def lies_between(price: Price, *, least: Price, most: Price) -> bool:
    """Return whether each part of a price is at least and at most that of two others."""
    parts, low, high = price.as_json(), least.as_json(), most.as_json()
    return all(low[name] <= parts[name] <= high[name] for name in parts)


def concerns(line: LedgerEntry, party: str) -> bool:
    """Return whether a party may see a line of a room that it consumes: what it did, and what was done to its record.

    The second are its settings, its being added and removed, and runs that were charged to its own budget or to the
    provider's budget over its data.
    """
    if line.party == party:
        return True
    try:
        body = json.loads(line.body)
    except ValueError:
        return False
    if not isinstance(body, dict):
        return False
    if line.kind == CHARGE_KIND:
        return any(_is_of(str(named.get("party")), party) for named in body.get("budgets", ()))
    if line.kind == "settings":
        return _is_of(str(body.get("party")), party)
    return line.kind in {"add_consumer", "remove_consumer"} and body.get("consumer") == party


def _is_of(budget_party: str, party: str) -> bool:
    """Return whether a budget is the party's own, or the provider's over the party's data (`provider@party`)."""
    return budget_party == party or budget_party.endswith(f"@{party}")


def _sorted_windows(windows: Mapping[tuple[BudgetKey, int], Tally]) -> tuple[WindowTally, ...]:
    ordered = sorted(windows, key=lambda key: (budget_order(key[0]), key[1]))
    return tuple(WindowTally(budget=budget, window=window, tally=windows[budget, window]) for budget, window in ordered)


def budget_order(budget: BudgetKey) -> tuple[str, str, str]:
    """Return what budgets are sorted by: room, party, and the shared record before those of templates."""
    return (budget.room, budget.party, "" if budget.template == ALL_CUSTOM_TEMPLATES else budget.template)
