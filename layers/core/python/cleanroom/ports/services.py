"""What each of the four functions holds, and by leaving it out, what it cannot do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cleanroom.ports.data import Engine, ExactStore, ReceiptSigner, ReleaseEngine, ReleaseStore, TableStore
    from cleanroom.ports.functions import Clock, Ids, Inbox, NoiseFunction, Pace, Renewal, RunQueue, Schedule, Telemetry
    from cleanroom.ports.history import AuditExport, AuditTrail, Signals, StatementStore
    from cleanroom.ports.ledger import Ledger
    from cleanroom.ports.rooms import Catalogue
    from cleanroom.privacy.entropy import Entropy
    from cleanroom.rooms.anomalies import Thresholds


@dataclass(frozen=True, kw_only=True)
class RoomServices:
    """What the `rooms` function holds."""

    catalogue: Catalogue
    ledger: Ledger
    audit: AuditTrail
    statements: StatementStore
    tables: TableStore
    schedule: Schedule
    clock: Clock
    provider_parties: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class RunServices:
    """What the `run_template` function holds: it can read tables, and can neither write nor read a release."""

    catalogue: Catalogue
    ledger: Ledger
    tables: TableStore
    engine: Engine
    exact: ExactStore
    noise: NoiseFunction
    queue: RunQueue
    inbox: Inbox
    renewal: Renewal
    clock: Clock
    ids: Ids
    signals: Signals
    thresholds: Thresholds
    telemetry: Telemetry
    pace: Pace


@dataclass(frozen=True, kw_only=True)
class NoiseServices:
    """What the `add_noise` function holds: the only door out, and no table."""

    catalogue: Catalogue
    ledger: Ledger
    exact: ExactStore
    releases: ReleaseStore
    signer: ReceiptSigner
    engine: ReleaseEngine
    entropy: Entropy
    renewal: Renewal
    clock: Clock
    ids: Ids
    signals: Signals
    thresholds: Thresholds
    telemetry: Telemetry


@dataclass(frozen=True, kw_only=True)
class TaskServices:
    """What the `dp_task` function holds."""

    ledger: Ledger
    audit: AuditTrail
    statements: StatementStore
    export: AuditExport | None
    schedule: Schedule
    clock: Clock
    telemetry: Telemetry
    provider_parties: frozenset[str]
