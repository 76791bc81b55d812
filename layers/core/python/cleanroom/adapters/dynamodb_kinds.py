"""The kinds of the ledger's items, and how items of older kinds are read (rule 6). In the adapters of the ledger.

A kind is `family/number`. The meaning of a field never changes within a family: another meaning is another family. A
field that is added makes the next number, and the older kinds keep a reader of their own here, which says what their
items mean without the field. Nothing is filled with defaults anywhere else, and a kind that is not listed refuses: an
item that newer code wrote is never half understood. Every write leaves an item of the newest kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING

from cleanroom.adapters.dynamodb_items import Fields
from cleanroom.privacy.accounting import Price
from cleanroom.rooms.ledger import BudgetKey, LedgerEntry, RunRecord, RunState
from cleanroom.rooms.settings import Accounting, NoiseMechanism, PrivacySettings

if TYPE_CHECKING:
    from cleanroom.adapters.dynamodb import Attributes

TASK = "dp_task/1"
TASK_COPY = "dp_task_copy/1"
REQUEST = "request/1"
HEAD = "head/1"
DP_ON = "dp_on/1"
ROOM_TOTAL = "room_total/1"
ROOM_WINDOW = "room_window/1"
ANSWER = "answer/1"
REPLAY = "replay/1"

SETTINGS, SETTINGS_2, SETTINGS_1 = "settings/3", "settings/2", "settings/1"
"""2 has no `accounting`: epsilon was counted. 1 has no `lifetime_budget` either: there was no such limit."""
SETTINGS_FAMILY = "settings/"

RUN, RUN_2, RUN_1 = "run/3", "run/2", "run/1"
"""2 has no prices and limits of rho: they are not known. 1 has one `price` for all its budgets, and no lifetime limits.
"""
RUN_FAMILY = "run/"

WINDOW_SPENDING, *WINDOW_SPENDING_OLDER = "window_spending/3", "window_spending/2", "window_spending/1"
"""2 has no sums of rho: where anything was spent, it is `UNKNOWN_RHO`, which fits in no limit of rho. 1 may lack
`unfinished` too: then its runs were not counted, and none of them is taken off."""
WINDOW_SPENDING_1 = "window_spending/1"

LIFETIME_SPENDING, LIFETIME_SPENDING_1 = "lifetime_spending/2", "lifetime_spending/1"
"""1 has no chain, and is in no room's total: its charges stand in the room's own chain."""

LINE, LINE_1 = "line/2", "line/1"
"""1 has no `chain`: all lines of a room were in its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSettings:
    """What `body` of a settings item holds; the key is in it so that no key text need be parsed."""

    key: BudgetKey
    settings: PrivacySettings


@dataclass(frozen=True, kw_only=True, slots=True)
class _Settings2:
    differential: bool
    epsilon: Fraction
    noise_mechanism: NoiseMechanism
    privacy_budget: int
    threshold: bool
    threshold_value: int
    delta: Fraction
    lifetime_budget: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _StoredSettings2:
    key: BudgetKey
    settings: _Settings2


@dataclass(frozen=True, kw_only=True, slots=True)
class _Settings1:
    differential: bool
    epsilon: Fraction
    noise_mechanism: NoiseMechanism
    privacy_budget: int
    threshold: bool
    threshold_value: int
    delta: Fraction


@dataclass(frozen=True, kw_only=True, slots=True)
class _StoredSettings1:
    key: BudgetKey
    settings: _Settings1


def settings_in(stored: Attributes) -> StoredSettings:
    """Return the settings of an item of any known kind. Raises LedgerUnreadableError."""
    fields = Fields.of(stored, kind=SETTINGS, older=(SETTINGS_2, SETTINGS_1))
    kind = fields.text("kind")
    if kind == SETTINGS:
        return fields.body(StoredSettings)
    old: _StoredSettings2 | _StoredSettings1
    old = fields.body(_StoredSettings2) if kind == SETTINGS_2 else fields.body(_StoredSettings1)
    settings = PrivacySettings(
        differential=old.settings.differential,
        epsilon=old.settings.epsilon,
        noise_mechanism=old.settings.noise_mechanism,
        privacy_budget=old.settings.privacy_budget,
        threshold=old.settings.threshold,
        threshold_value=old.settings.threshold_value,
        delta=old.settings.delta,
        lifetime_budget=old.settings.lifetime_budget if isinstance(old.settings, _Settings2) else None,
        accounting=Accounting.EPSILON,
    )
    return StoredSettings(key=old.key, settings=settings)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run2:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run1:
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
    budgets: tuple[BudgetKey, ...]
    limit_micro_epsilon: tuple[int, ...]


def run_in(fields: Fields) -> RunRecord:
    """Return the run, as it was charged, of an item of any known kind. Raises LedgerUnreadableError."""
    kind = fields.text("kind")
    if kind == RUN:
        return fields.body(RunRecord)
    old: _Run2 | _Run1 = fields.body(_Run2) if kind == RUN_2 else fields.body(_Run1)
    if isinstance(old, _Run2):
        prices, lifetime_limits = old.prices, old.lifetime_limit_micro_epsilon
    else:
        prices, lifetime_limits = (old.price,) * len(old.budgets), (None,) * len(old.budgets)
    return RunRecord(
        run_id=old.run_id,
        state=old.state,
        request_digest=old.request_digest,
        plan_digest=old.plan_digest,
        room=old.room,
        party=old.party,
        template=old.template,
        prices=prices,
        window=old.window,
        unmetered=old.unmetered,
        table_versions=old.table_versions,
        settings_versions=old.settings_versions,
        charged_at=old.charged_at,
        budgets=old.budgets,
        limit_micro_epsilon=old.limit_micro_epsilon,
        lifetime_limit_micro_epsilon=lifetime_limits,
        rho_prices=(),
        rho_limits=(),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line1:
    room: str
    at: datetime
    kind: str
    run_id: str | None
    party: str
    body: str
    previous_hash: str
    hash: str


def line_in(fields: Fields) -> LedgerEntry:
    """Return the line of an item of any known kind. Raises LedgerUnreadableError."""
    if fields.text("kind") == LINE:
        return fields.body(LedgerEntry)
    old = fields.body(_Line1)
    return LedgerEntry(
        room=old.room,
        at=old.at,
        kind=old.kind,
        run_id=old.run_id,
        party=old.party,
        body=old.body,
        previous_hash=old.previous_hash,
        hash=old.hash,
    )
