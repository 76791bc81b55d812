"""What the ledger holds, as values: budgets, charges, runs, the DP task. Pure; the arithmetic of limits is here too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cleanroom.privacy.accounting import ZERO_PRICE, Price, largest
from cleanroom.privacy.rho import UNKNOWN_RHO, ZERO_RHO, RhoLimit, RhoPrice
from cleanroom.rooms.settings import PrivacySettings

ALL_CUSTOM_TEMPLATES = "*"
"""The template part of the record that all custom templates of a room share (B-19: template NULL)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetKey:
    """Whose budget: a room, a party and a template or `*`."""

    room: str
    party: str
    template: str = ALL_CUSTOM_TEMPLATES


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingsRecord:
    """Stored settings with their version; version 0 means that none is stored and the defaults hold."""

    settings: PrivacySettings
    version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RoomBudget:
    """What all parties of a room may spend together, for they may pool what they learn; None is no limit.

    Attributes:
        per_window: epsilon, whole number >= 0.
        lifetime: epsilon, whole number >= 0; never renewed.
    """

    per_window: int | None = None
    lifetime: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RoomBudgetRecord:
    """A room's budget with its version; version 0 means that none was ever set."""

    budget: RoomBudget = RoomBudget()
    version: int = 0


class TaskStatus(StrEnum):
    """Whether budgets are enforced in this account."""

    RUNNING = "running"
    SUSPENDED = "suspended"


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskState:
    """The DP task of the account.

    Attributes:
        status: running or suspended.
        window: number of the current budget window; raised by one when a scheduled time passes.
        window_opened_for: the scheduled time that opened the window; None for the first one.
        since: when `status` was last set.
        by: the party that set it.
    """

    status: TaskStatus = TaskStatus.RUNNING
    window: int = 0
    window_opened_for: datetime | None = None
    since: datetime | None = None
    by: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Spending:
    """What one budget key has spent: in the window, and ever; and the window's priced runs without a release.

    Attributes:
        window_rho: what the same runs of the window cost where rho is counted; it is added up whatever counts.
    """

    window: Price
    lifetime: Price
    unfinished: int = 0
    window_rho: RhoPrice = ZERO_RHO


NOTHING_SPENT = Spending(window=ZERO_PRICE, lifetime=ZERO_PRICE)


@dataclass(frozen=True, kw_only=True, slots=True)
class RoomStanding:
    """A room's budget, and the sums over all budgets of the room: what was spent in the window, and ever."""

    record: RoomBudgetRecord = RoomBudgetRecord()
    window: Price = ZERO_PRICE
    lifetime: Price = ZERO_PRICE


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What a run is priced under, read at once; the charge checks that all of it still holds.

    Attributes:
        task: of the account.
        records: the settings of each budget that was asked for.
        room: the budget of the room.
    """

    task: TaskState
    records: Mapping[BudgetKey, SettingsRecord]
    room: RoomBudgetRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How budgets of one room stand in one window, read at once.

    Attributes:
        task: of the account.
        window: which: the present one where the caller named none.
        records: the settings of each budget that was asked for.
        spending: of each.
        room: the room's own budget; None where none was ever set: nothing adds up its sums then.
    """

    task: TaskState
    window: int
    records: Mapping[BudgetKey, SettingsRecord]
    spending: Mapping[BudgetKey, Spending]
    room: RoomStanding | None


class RunState(StrEnum):
    """`charged -> executed -> released`, or `failed`."""

    CHARGED = "charged"
    EXECUTED = "executed"
    RELEASED = "released"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Charge:
    """One run to be charged; every part of it is checked again by the transaction.

    Attributes:
        run_id: the caller's idempotency key, or a digest of the event.
        request_digest: SHA-256 of the request; another request under the same run id is refused.
        plan_digest: SHA-256 of the plan: what add_noise later must hold in its hands.
        budgets: whose budgets pay, all of the room; one, or several where several parties' data are protected.
        prices: for each of `budgets`, in the same order: what the run costs the data that it stands for.
        limit_micro_epsilon: for each of `budgets`: of the window.
        lifetime_limit_micro_epsilon: for each of `budgets`: of all windows together, or None.
        settings_versions: for each of `budgets`: the version that limits and price came from.
        room_budget: what all budgets of the room may spend together, with its version.
        window: in which it was priced.
        unmetered: the task was suspended when it was priced.
        room, party, template: who runs what.
        table_versions: full name -> digest.
        at: UTC.
        rho_prices: for each of `budgets`: what the run costs where rho is counted. Left out, it is not known, and then
            it is more than any limit of rho holds.
        rho_limits: for each of `budgets`: the window's limit of rho where that is what counts (then
            `limit_micro_epsilon` is not compared), or None. Left out, epsilon counts for all.
    """

    run_id: str
    request_digest: str
    plan_digest: str
    budgets: tuple[BudgetKey, ...]
    prices: tuple[Price, ...]
    limit_micro_epsilon: tuple[int, ...]
    lifetime_limit_micro_epsilon: tuple[int | None, ...]
    settings_versions: tuple[int, ...]
    room_budget: RoomBudgetRecord
    window: int
    unmetered: bool
    room: str
    party: str
    template: str
    table_versions: tuple[tuple[str, str], ...]
    at: datetime
    rho_prices: tuple[RhoPrice, ...] = ()
    rho_limits: tuple[RhoLimit | None, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.budgets)
        if not self.rho_prices:
            object.__setattr__(self, "rho_prices", (UNKNOWN_RHO,) * count)
        if not self.rho_limits:
            object.__setattr__(self, "rho_limits", (None,) * count)

    @property
    def price(self) -> Price:
        """Return what the run costs the budget that pays most."""
        return largest(self.prices)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run as the ledger has it; `budgets`, `prices`, limits and versions are in one order, as in `Charge`.

    Attributes:
        rho_prices, rho_limits: empty for a run that was charged before rho was counted.
    """

    run_id: str
    state: RunState
    request_digest: str
    plan_digest: str
    room: str
    party: str
    template: str
    prices: tuple[Price, ...]
    window: int
    unmetered: bool
    table_versions: tuple[tuple[str, str], ...]
    settings_versions: tuple[int, ...]
    charged_at: datetime
    budgets: tuple[BudgetKey, ...]
    limit_micro_epsilon: tuple[int, ...]
    lifetime_limit_micro_epsilon: tuple[int | None, ...]
    rho_prices: tuple[RhoPrice, ...] = ()
    rho_limits: tuple[RhoLimit | None, ...] = ()

    @property
    def price(self) -> Price:
        """Return what the run costs the budget that pays most."""
        return largest(self.prices)


@dataclass(frozen=True, kw_only=True, slots=True)
class StuckRun:
    """A run that has been in one state for longer than any function lives: nobody works on it. It stays charged.

    Attributes:
        since: when it got into `state`.
    """

    run_id: str
    room: str
    party: str
    template: str
    state: RunState
    since: datetime


class RequestState(StrEnum):
    """An asynchronous request before, or instead of, its charge."""

    QUEUED = "queued"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """An asynchronous request: queued, or refused with the error that the caller would have got."""

    run_id: str
    party: str
    request_digest: str
    state: RequestState
    at: datetime
    error: str | None = None
    """JSON of the refusal, as `edge` shows it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerEntry:
    """One line of a room's append-only history; `previous_hash` chains it to the line before in its chain.

    Attributes:
        chain: which of the room's chains it is in: "" is the room's own, and each budget has one of its charges.
    """

    room: str
    at: datetime
    kind: str
    run_id: str | None
    party: str
    body: str
    previous_hash: str
    hash: str
    chain: str = ""
