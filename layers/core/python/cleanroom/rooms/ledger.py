"""What the ledger holds, as values: budgets, charges, runs, the DP task. Pure; the arithmetic of limits is here too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cleanroom.privacy.accounting import Price
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
    """What one budget key has spent: in the window, and ever; and the window's priced runs without a release."""

    window: Price
    lifetime: Price
    unfinished: int = 0


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
        budgets: whose budgets pay, each in full; one, or two where both parties' data are protected.
        limit_micro_epsilon: for each of `budgets`, in the same order.
        settings_versions: for each of `budgets`: the version that limit and price came from.
        price: of the run.
        window: in which it was priced.
        unmetered: the task was suspended when it was priced.
        room, party, template: who runs what.
        table_versions: full name -> digest.
        at: UTC.
    """

    run_id: str
    request_digest: str
    plan_digest: str
    budgets: tuple[BudgetKey, ...]
    limit_micro_epsilon: tuple[int, ...]
    settings_versions: tuple[int, ...]
    price: Price
    window: int
    unmetered: bool
    room: str
    party: str
    template: str
    table_versions: tuple[tuple[str, str], ...]
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run as the ledger has it."""

    run_id: str
    state: RunState
    request_digest: str
    plan_digest: str
    room: str
    party: str
    template: str
    price: Price
    window: int
    unmetered: bool
    table_versions: tuple[tuple[str, str], ...]
    settings_versions: tuple[int, ...]
    charged_at: datetime
    budgets: tuple[BudgetKey, ...] = ()
    limit_micro_epsilon: tuple[int, ...] = ()


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
    """One line of a room's append-only history; `previous_hash` chains it to the line before."""

    room: str
    at: datetime
    kind: str
    run_id: str | None
    party: str
    body: str
    previous_hash: str
    hash: str
