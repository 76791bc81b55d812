"""What the use cases need from outside, as Protocols. Adapters implement them; tests pass twins in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cleanroom.privacy.entropy import Entropy

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

    from cleanroom.rooms.activity import Activity
    from cleanroom.rooms.anomalies import ChargeCounts, Thresholds
    from cleanroom.rooms.ledger import (
        BudgetKey,
        Charge,
        LedgerEntry,
        RoomBudget,
        RoomBudgetRecord,
        RunRecord,
        RunRequest,
        RunState,
        SettingsRecord,
        Spending,
        Standing,
        StuckRun,
        TaskState,
        TaskStatus,
        Terms,
    )
    from cleanroom.rooms.ledger_audit import Checkpoint
    from cleanroom.rooms.ledger_chain import ChainHead, RoomHistory
    from cleanroom.rooms.receipts import ReceiptKey
    from cleanroom.rooms.replays import Answer, NewRun, Question, Replay
    from cleanroom.rooms.rooms import AddedTemplate, CleanRoom, Consumer, Snapshot
    from cleanroom.rooms.settings import PrivacySettings
    from cleanroom.rooms.suggestions import ExactSuggestions
    from cleanroom.rooms.tables import Column, LinkedTable, TableVersion
    from cleanroom.templates.kinship import Kinship
    from cleanroom.templates.plan import Plan


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """Return the time now, aware, in UTC."""


class Catalogue(Protocol):
    """Rooms and what is in them. Every write is conditional where two writers could meet."""

    def create_room(self, room: CleanRoom) -> None:
        """Store a new room. Raises ConflictError where the name is taken."""

    def put_room(self, room: CleanRoom) -> None:
        """Overwrite the record of a room that exists."""

    def drop_room(self, name: str) -> None:
        """Remove the room and all that is in it; the ledger keeps what was spent."""

    def rooms_of(self, party: str) -> tuple[CleanRoom, ...]:
        """Return the rooms that the party made or was added to, by name."""

    def snapshot(self, name: str) -> Snapshot | None:
        """Return the room with everything in it, consistently read; None where there is none."""

    def put_consumer(self, room: str, consumer: Consumer) -> None:
        """Add or overwrite a consumer."""

    def remove_consumer(self, room: str, party: str) -> None:
        """Remove a consumer; nothing happens where there is none."""

    def put_table(self, room: str, table: LinkedTable) -> None:
        """Add or overwrite a linked table."""

    def remove_table(self, room: str, *, owner: str, name: str) -> None:
        """Remove a linked table; nothing happens where there is none."""

    def put_template(self, room: str, template: AddedTemplate) -> None:
        """Add or overwrite a template."""

    def remove_template(self, room: str, name: str) -> None:
        """Remove a template; nothing happens where there is none."""


class Ledger(Protocol):
    """Budgets: exact, atomic, append-only history. `ledger.md` of the design has the rules."""

    def settings(self, key: BudgetKey) -> SettingsRecord:
        """Return the stored settings, or the defaults at version 0."""

    def put_settings(self, key: BudgetKey, settings: PrivacySettings, *, by: str, at: datetime) -> SettingsRecord:
        """Overwrite the record, raise its version, and add an entry to the room's history."""

    def settings_of_room(self, room: str) -> Mapping[BudgetKey, SettingsRecord]:
        """Return all stored settings of a room."""

    def keys_with_dp_on(self) -> tuple[BudgetKey, ...]:
        """Return every budget key of the account whose settings have DP on (B-64)."""

    def task(self) -> TaskState:
        """Return the state of the DP task; a new account is running, in window 0."""

    def set_task(self, status: TaskStatus, *, by: str, at: datetime) -> TaskState:
        """Suspend or resume; setting what is already set changes nothing."""

    def open_window(self, *, scheduled_for: datetime, at: datetime) -> TaskState:
        """Open the next window unless one was already opened for this or a later scheduled time (idempotent)."""

    def spending(self, key: BudgetKey, *, window: int) -> Spending:
        """Return what was spent in that window and ever; zero where nothing was."""

    def room_budget(self, room: str) -> RoomBudgetRecord:
        """Return the budget of a room, or none at version 0."""

    def put_room_budget(self, room: str, budget: RoomBudget, *, by: str, at: datetime) -> RoomBudgetRecord:
        """Overwrite the budget of a room, raise its version, and add an entry to the room's history.

        What was spent before counts: interrupted, it is not in force, and the same call sets it. A room that was ever
        given one keeps adding up, also without a limit.
        """

    def terms(self, room: str, keys: Sequence[BudgetKey]) -> Terms:
        """Return what a run that these budgets pay is priced under, read at once."""

    def standing(self, room: str, keys: Sequence[BudgetKey], *, window: int | None = None) -> Standing:
        """Return how these budgets of a room stand in a window, or in the present one, which is one read more."""

    def charge(self, charge: Charge) -> RunRecord:
        """Charge a run, once, all or nothing (rule 1).

        Returns the run as it now stands; where the same request was charged before under this run id, the earlier
        run, and nothing is charged.

        Raises:
            BudgetExhaustedError: a limit does not hold the price; nothing was charged.
            TooManyUnfinishedRunsError: too many runs of a budget's window have no release; nothing was charged.
            RunConflictError: the run id belongs to another request.
            StaleChargeError: window, settings, room budget or task changed since pricing; price again.
            BusyError: the store would not answer; the same charge may be tried again.
        """

    def run(self, run_id: str) -> RunRecord | None:
        """Return the run, or None."""

    def advance(
        self,
        run_id: str,
        *,
        to: RunState,
        at: datetime,
        known: RunRecord | None = None,
        answer: Answer | None = None,
    ) -> RunRecord:
        """Move a run forward; moving it to where it is already changes nothing. Raises ConflictError otherwise.

        Args:
            run_id: which.
            to: where.
            at: UTC.
            known: the run as the caller has just read it, which saves reading it again.
            answer: what the release answers, to be kept together with it, unless a later answer to that is kept.
        """

    def stuck_runs(self, *, at: datetime) -> tuple[StuckRun, ...]:
        """Return the runs that nobody works on any more and that have no end, oldest first; reads no other run."""

    def put_request(self, request: RunRequest) -> RunRequest:
        """Store an asynchronous request, or return the stored one of that id; refused overwrites queued only."""

    def request(self, run_id: str) -> RunRequest | None:
        """Return the asynchronous request, or None."""

    def answer(self, question: str) -> Answer | None:
        """Return the last answer of a question, or None."""

    def replay(self, replay: Replay, *, run: RunRecord) -> RunRecord:
        """Add a run that gives a stored release again, with a line in the room's history; nothing is charged.

        Returns the run as it now stands; where the same request was stored before under this run id, that one: it may
        have been charged, and be no replay.

        Raises:
            RunConflictError: the run id belongs to another request.
        """

    def replay_of(self, run_id: str) -> Replay | None:
        """Return what a run replays, or None."""

    def note(self, room: str, *, kind: str, party: str, body: str, at: datetime) -> None:
        """Add a line to the room's history (an audited change that costs nothing)."""

    def entries(self, room: str) -> tuple[LedgerEntry, ...]:
        """Return the room's history, by time."""

    def history(self, room: str) -> RoomHistory:
        """Return the room's history with the end of each of its chains: what `first_broken_line` verifies."""

    def account_entries(self) -> tuple[LedgerEntry, ...]:
        """Return the account's own history, the DP task's, oldest first."""


class AuditTrail(Protocol):
    """The ledger as its auditor reads it: what was active in a window, histories by line, how far they were checked.

    A room's history may be several chains; `chain` names one of them, and `ROOM_CHAIN` is the room's own. `room` is
    None for the account's history.
    """

    def active(self, window: int) -> tuple[Activity, ...]:
        """Return every budget that was charged or refused in a window, by room, party and template."""

    def chains(self, room: str | None, budgets: Collection[BudgetKey]) -> tuple[str, ...]:
        """Return the chains that hold a room's own changes and the charges of these budgets of it."""

    def head(self, room: str | None, chain: str) -> ChainHead:
        """Return the end of a chain, as it was written beside its last line."""

    def lines(self, room: str | None, chain: str, *, checkpoint: Checkpoint, head: ChainHead) -> Sequence[LedgerEntry]:
        """Return the lines after `checkpoint` that `head` ends with, oldest first; lines that are missing are not."""

    def page(
        self, room: str | None, chain: str, *, after: str, limit: int
    ) -> tuple[Sequence[tuple[str, LedgerEntry]], bool]:
        """Return up to `limit` lines after a place, each with its own place, oldest first; and whether more follow."""

    def checkpoint(self, room: str | None, chain: str) -> Checkpoint:
        """Return how far a chain was verified; the beginning where it never was."""

    def put_checkpoint(self, room: str | None, chain: str, checkpoint: Checkpoint, *, replaces: Checkpoint) -> None:
        """Store a checkpoint; nothing happens where another check has replaced `replaces` in the meantime."""

    def closed_through(self) -> int:
        """Return the last window whose statements are all written; -1 where there is none."""

    def set_closed_through(self, window: int) -> None:
        """Say that all statements up to `window` are written; it never goes back."""


class Signals(Protocol):
    """Counts that let somebody notice what is worth a look. They limit nothing, and depend on no row."""

    def refused(self, budget: BudgetKey, *, window: int, at: datetime) -> Activity:
        """Count one refused request to run, and return the counts as they now stand."""

    def charged(
        self, budget: BudgetKey, *, window: int, at: datetime, micro_epsilon: int, kinship: Kinship | None
    ) -> ChargeCounts | None:
        """Count one charged run, and return what its counts are now; None where too many were counted already."""


class StatementStore(Protocol):
    """Statements of windows, one object for each room and window, written once."""

    def put_if_absent(self, *, room: str, window: int, statement: bytes) -> bool:
        """Store a statement, unless there is one; return whether it was written now."""

    def get(self, *, room: str, window: int) -> bytes | None:
        """Return a statement, or None."""

    def windows(self, room: str, *, after: int, limit: int) -> Sequence[int]:
        """Return the numbers of up to `limit` windows after `after` that have a statement, in order."""


class AuditExport(Protocol):
    """Where histories are copied to, out of reach of whoever can write the ledger."""

    def put_if_absent(self, *, room: str | None, chain: str, first: int, count: int, content: bytes) -> None:
        """Store the lines from number `first` up to the chain's `count`, unless that was done before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableDescription:
    """What linking needs to know of a table: its schema, and sampled values as text for entity detection.

    Samples never leave the function: they are neither stored nor logged nor returned.
    """

    columns: tuple[Column, ...]
    samples: Mapping[str, Sequence[str | None]]
    version: TableVersion


class TableStore(Protocol):
    """Tables in S3: all Parquet objects under `<owner>/<name>/` of the tables bucket."""

    def describe(self, *, owner: str, name: str) -> TableDescription:
        """Read schema and samples. Raises TableUnreadableError."""

    def resolve(self, table: LinkedTable) -> TableVersion:
        """Return the present version of every object, after checking that each still has the linked schema.

        Reads footers' schemas only, no rows. Raises TableUnreadableError.
        """

    def join_entities(self, table: LinkedTable, version: TableVersion) -> bool:
        """Join the rows of a version that share an entity value, and store the labels (B-04).

        Returns:
            False if that takes more time or memory than this function has: then the first run over the version does.
        """

    def suggest_bounds(
        self, table: LinkedTable, *, groups: Sequence[Column], columns: Sequence[Column]
    ) -> ExactSuggestions:
        """Measure the present version of a table, exactly, for its owner alone.

        Raises TableTooLargeError and TableUnreadableError.
        """


class Engine(Protocol):
    """Runs the exact queries of a plan over pinned versions of tables."""

    def execute(self, plan: Plan, *, versions: Mapping[str, TableVersion], run_key: int) -> Mapping[str, bytes]:
        """Return measurement name -> exact table as an Arrow IPC stream. `versions` is by relation (`t0`, …).

        Raises:
            RunFailedError: anything went wrong; the message is fixed, for the cause may depend on rows.
        """


class ReleaseEngine(Protocol):
    """Runs release queries over noisy tables in memory; it can open nothing else."""

    def query(self, sql: str, tables: Mapping[str, pa.Table]) -> pa.Table:
        """Return the answer. Raises RunFailedError."""


class ExactStore(Protocol):
    """Exact intermediates between the two functions: encrypted for one run id, short-lived."""

    def put(self, run_id: str, payload: bytes) -> None:
        """Encrypt and store; overwrites what an earlier attempt of the same run stored."""

    def get(self, run_id: str) -> bytes | None:
        """Fetch and decrypt; None where there is none. Raises RunFailedError on tampering or a foreign context."""

    def delete(self, run_id: str) -> None:
        """Remove it; nothing happens where there is none."""


class ReleaseStore(Protocol):
    """Releases in the results bucket, under `releases/<party>/<run_id>/`, written once."""

    def put_if_absent(self, *, party: str, run_id: str, release: bytes) -> bytes:
        """Store `release.json` unless there is one, and return the stored one: noise is drawn once per run."""

    def put_derived(self, *, party: str, run_id: str, name: str, content: bytes) -> None:
        """Store another form of the stored release, as `release.csv`; made from it alone: overwriting is harmless."""

    def get(self, *, party: str, run_id: str) -> bytes | None:
        """Return `release.json`, or None."""

    def put_drawn_if_absent(self, *, party: str, run_id: str, drawn: bytes) -> bytes:
        """Store a run's noisy tables unless there are some, and return the stored ones, before anything is made of
        them: whatever fails afterwards, a second attempt works on the same noise. They lie apart from `releases/`."""

    def get_drawn(self, *, party: str, run_id: str) -> bytes | None:
        """Return the run's noisy tables, or None."""

    def location(self, *, party: str, run_id: str) -> str:
        """Return the s3:// address of the run's folder."""

    def keep_receipt_key(self, *, fingerprint: str, pem: str) -> None:
        """Keep a public key that receipts are signed with, under `receipt_keys/`; one that is kept already stays."""

    def receipt_keys(self) -> tuple[str, ...]:
        """Return every public key that was kept, in PEM: those of retired keys too."""


class ReceiptSigner(Protocol):
    """The key that receipts are signed with."""

    def key(self) -> ReceiptKey:
        """Return its public half. Raises BusyError."""

    def sign(self, digest: bytes) -> bytes:
        """Return the DER signature (ECDSA, P-256) of a SHA-256 digest. Raises BusyError."""


class NoiseFunction(Protocol):
    """The door out, called by run_template."""

    def release(self, run_id: str) -> bytes:
        """Release one executed run and return its `release.json`; raises the refusal that it answers with."""

    def find_answer(self, question: Question) -> bytes | None:
        """Return, as JSON, which stored release answers a question that was paid for before; None where none does."""

    def replay(self, question: Question, *, run: NewRun) -> bytes | None:
        """Have the stored release of a question given again under a new run id; None where none is there (any more)."""

    def publish_refusal(self, *, party: str, run_id: str, error: bytes) -> None:
        """Have the refusal of an inbox request written where its release would have been."""


class RunQueue(Protocol):
    """Asynchronous runs."""

    def send(self, body: str) -> None:
        """Enqueue one JSON message."""


class Inbox(Protocol):
    """Run requests dropped into S3."""

    def read(self, *, key: str, version_id: str) -> bytes:
        """Return the object's bytes, at most 1 MiB. Raises InvalidRequestError."""


class Renewal(Protocol):
    """When budgets are renewed."""

    def next_renewal(self, now: datetime) -> datetime:
        """Return when the schedule next opens a window; UTC."""


class Schedule(Renewal, Protocol):
    """The schedule of the DP task in EventBridge Scheduler."""

    def set_enabled(self, enabled: bool) -> None:
        """Enable or disable it, keeping everything else of it (B-66)."""

    def is_enabled(self) -> bool:
        """Return whether it is enabled."""


class Ids(Protocol):
    """Fresh identifiers and secrets."""

    def run_id(self) -> str:
        """Return a fresh run id."""

    def run_key(self) -> int:
        """Return a fresh secret 63-bit key for one run's keyed hashes."""


class Telemetry(Protocol):
    """One log line for each step of a run, and metrics. Never a row, value, exact count or SQL literal."""

    def step(self, step: str, **facts: str | int | float | bool | None) -> None:
        """Log one step of a run: which, and public facts about it."""

    def count(self, metric: str) -> None:
        """Count one event; the metric's name is one that an alarm may watch."""

    def measure(self, metrics: Mapping[str, float], **dimensions: str) -> None:
        """Give metrics their values, under these dimensions."""


class Pace(Protocol):
    """Keeps running times from telling more than a public step."""

    def hold(self, began: datetime) -> None:
        """Wait until a whole number of steps has passed since `began`."""


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
