"""What the use cases need from outside, as Protocols. Adapters implement them; tests pass twins in memory."""

from cleanroom.ports.data import (
    Engine,
    ExactStore,
    ReceiptSigner,
    ReleaseEngine,
    ReleaseStore,
    TableDescription,
    TableStore,
)
from cleanroom.ports.functions import Clock, Ids, Inbox, NoiseFunction, Pace, Renewal, RunQueue, Schedule, Telemetry
from cleanroom.ports.history import AuditExport, AuditTrail, Signals, StatementStore
from cleanroom.ports.ledger import Ledger
from cleanroom.ports.rooms import Catalogue
from cleanroom.ports.services import NoiseServices, RoomServices, RunServices, TaskServices
from cleanroom.privacy.entropy import Entropy

__all__ = [
    "AuditExport",
    "AuditTrail",
    "Catalogue",
    "Clock",
    "Engine",
    "Entropy",
    "ExactStore",
    "Ids",
    "Inbox",
    "Ledger",
    "NoiseFunction",
    "NoiseServices",
    "Pace",
    "ReceiptSigner",
    "ReleaseEngine",
    "ReleaseStore",
    "Renewal",
    "RoomServices",
    "RunQueue",
    "RunServices",
    "Schedule",
    "Signals",
    "StatementStore",
    "TableDescription",
    "TableStore",
    "TaskServices",
    "Telemetry",
]
