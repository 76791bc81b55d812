"""What follows the opening of a window: the ledger is verified, ended windows are stated, histories are exported.

All of it can be done again: statements and exports are written once, and a check goes on where the last one ended.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from cleanroom.errors import LedgerUnreadableError
from cleanroom.rooms.ledger import ALL_CUSTOM_TEMPLATES
from cleanroom.rooms.ledger_audit import (
    BrokenChainError,
    Tally,
    ever,
    in_window,
    lies_between,
    through_window,
    verified,
    without_closed,
)
from cleanroom.rooms.ledger_chain import ACCOUNT_HISTORY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cleanroom.ports import TaskServices
    from cleanroom.privacy.accounting import Price
    from cleanroom.rooms.activity import Activity
    from cleanroom.rooms.ledger import BudgetKey, LedgerEntry, Spending
    from cleanroom.rooms.ledger_audit import Checkpoint
    from cleanroom.rooms.ledger_chain import ChainHead

DIFFERENCES_METRIC = "LedgerDifferences"


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent: for people, and in the ledger's own integers."""

    epsilon: float
    delta: float
    micro_epsilon: int
    delta_steps: int

    @classmethod
    def of(cls, price: Price) -> Amount:
        """Return a price as it is stated."""
        return cls(
            epsilon=price.micro_epsilon / 1e6,
            delta=price.delta_steps / 1e12,
            micro_epsilon=price.micro_epsilon,
            delta_steps=price.delta_steps,
        )


class StatedBudget(msgspec.Struct, frozen=True, kw_only=True):
    """One budget's line of a statement.

    Attributes:
        spent: against the window's limit, as the counters say that limits stand on.
        unmetered: beside it, while the task was suspended.
        runs: that were charged, unmetered ones included; free replays are none.
        refusals: of requests to run.
        lifetime: all that was ever spent until the window's end; where `verified` is false, until now.
        verified: the histories are as they were written, and add up to the counters.
    """

    party_name: str
    template_name: str | None
    spent: Amount
    unmetered: Amount
    runs: int
    unmetered_runs: int
    refusals: int
    lifetime: Amount
    verified: bool


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in one room in one budget window: a line for each budget that was charged or refused."""

    cleanroom_name: str
    window: int
    written_at: datetime
    verified: bool
    budgets: tuple[StatedBudget, ...]


def close_windows(services: TaskServices) -> int:
    """Verify and state every window that has ended and is not stated yet; return how many were.

    Verified are the account's history and, of each room that was active in the window, its own chain and those of the
    budgets that were: line by line since the last check, and against the counters that limits stand on. The cost grows
    with what was active and with the lines that are new, not with what the ledger holds.

    Raises:
        BusyError: a store would not answer. What is done stays done, and the next call goes on.
    """
    task = services.ledger.task()
    ended = range(services.audit.closed_through() + 1, task.window)
    for window in ended:
        by_room: dict[str, list[Activity]] = defaultdict(list)
        for one in services.audit.active(window):
            by_room[one.budget.room].append(one)
        _verify(None, (), closed_through=window - 1, services=services)
        for room in sorted(by_room):
            _close_room(room, by_room[room], window, services)
        services.audit.set_closed_through(window)
        services.telemetry.step("window_closed", window=window, rooms=len(by_room))
    return len(ended)


def _close_room(room: str, active: Sequence[Activity], window: int, services: TaskServices) -> None:
    """Verify one room against its counters, and write its statement of a window."""
    budgets = [one.budget for one in active]
    before = _verify(room, budgets, closed_through=window - 1, services=services)
    counters = {budget: services.ledger.spending(budget, window=window) for budget in budgets}
    # Charges of the next window go on meanwhile: a lifetime counter read in between lies between the sums before it
    # was read and after. Nothing is charged to a window that has ended, so its sums are compared exactly.
    after = None if before is None else _verify(room, budgets, closed_through=window - 1, services=services)
    rows = []
    for one in active:
        spent = counters[one.budget]
        agrees = before is not None and after is not None and _agree(one.budget, spent, window, before, after)
        if after is not None and not agrees:
            _report("counter", room=room, party=one.budget.party, window=window, services=services)
        rows.append(_row(one, spent, window, after or (), agrees=agrees))
    statement = Statement(
        cleanroom_name=room,
        window=window,
        written_at=services.clock.now(),
        verified=all(row.verified for row in rows),
        budgets=tuple(rows),
    )
    if services.statements.put_if_absent(room=room, window=window, statement=msgspec.json.encode(statement)):
        for row in rows:
            _measure(row, room, services)


def _agree(
    budget: BudgetKey, spent: Spending, window: int, before: Sequence[Checkpoint], after: Sequence[Checkpoint]
) -> bool:
    """Return whether counters and lines say the same: exactly, where nothing was charged while they were read."""
    in_lines = in_window(before, window).get(budget, Tally()).metered
    least, most = ever(before).get(budget, Tally()).all, ever(after).get(budget, Tally()).all
    return spent.window == in_lines and lies_between(spent.lifetime, least=least, most=most)


def _row(
    one: Activity, spent: Spending, window: int, checkpoints: Sequence[Checkpoint], *, agrees: bool
) -> StatedBudget:
    tally = in_window(checkpoints, window).get(one.budget, Tally())
    lifetime = through_window(checkpoints, window).get(one.budget, Tally()).all if agrees else spent.lifetime
    template = one.budget.template
    return StatedBudget(
        party_name=one.budget.party,
        template_name=None if template == ALL_CUSTOM_TEMPLATES else template,
        spent=Amount.of(spent.window),
        unmetered=Amount.of(tally.unmetered),
        runs=tally.runs,
        unmetered_runs=tally.unmetered_runs,
        refusals=one.refusals,
        lifetime=Amount.of(lifetime),
        verified=agrees,
    )


def _measure(row: StatedBudget, room: str, services: TaskServices) -> None:
    values = {
        "WindowEpsilon": row.spent.epsilon,
        "WindowDelta": row.spent.delta,
        "WindowRuns": row.runs,
        "WindowRefusals": row.refusals,
        "LifetimeEpsilon": row.lifetime.epsilon,
    }
    services.telemetry.measure(values, room=room, party=row.party_name)


def _verify(
    room: str | None, budgets: Sequence[BudgetKey], *, closed_through: int, services: TaskServices
) -> tuple[Checkpoint, ...] | None:
    """Verify the chains of a room from where the last check ended, store how far it came, and export what is new.

    Returns:
        The checkpoints; None where a chain is not what was written, which is reported.
    """
    found = []
    for chain in services.audit.chains(room, budgets):
        known = services.audit.checkpoint(room, chain)
        head = services.audit.head(room, chain)
        try:
            lines = services.audit.lines(room, chain, checkpoint=known, head=head)
            _check_place(lines, room, chain, first=known.count)
            reached = verified(known, lines, head=head)
        except (BrokenChainError, LedgerUnreadableError) as error:
            line = error.line if isinstance(error, BrokenChainError) else None
            _report("line", room=room or "", chain=chain, line=line, services=services)
            return None
        if lines and services.export is not None:
            content = as_json_lines(lines, room, chain, head)
            services.export.put_if_absent(room=room, chain=chain, first=known.count, count=head.count, content=content)
        reached = without_closed(reached, closed_through=closed_through)
        services.audit.put_checkpoint(room, chain, reached, replaces=known)
        found.append(reached)
    return tuple(found)


def _check_place(lines: Sequence[LedgerEntry], room: str | None, chain: str, *, first: int) -> None:
    """Refuse lines that were written for another room or chain, however well they follow each other."""
    place = (ACCOUNT_HISTORY if room is None else room, chain)
    for number, line in enumerate(lines, start=first):
        if (line.room, line.chain) != place:
            raise BrokenChainError(number)


def as_json_lines(lines: Sequence[LedgerEntry], room: str | None, chain: str, head: ChainHead) -> bytes:
    """Return lines for export: one JSON object each, and at the end one that says where the chain stands."""
    end = {"room": room, "chain": chain, "count": head.count, "hash": head.hash}
    return b"".join(msgspec.json.encode(one) + b"\n" for one in (*lines, {"head": end}))


def _report(difference: str, *, services: TaskServices, **facts: str | int | None) -> None:
    """Raise the alarm: names of rooms and parties and numbers of lines, no amounts."""
    services.telemetry.step("ledger_difference", difference=difference, **facts)
    services.telemetry.count(DIFFERENCES_METRIC)
